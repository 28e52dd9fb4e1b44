/*
 * env_file.c - one pass over the text, entry by entry.
 *
 *   [export] NAME = VALUE [# comment] <end of line>
 *
 * The cursor only goes forward; line counts the line breaks it passed, also those within quotes.
 * Values may be secrets: no message shows one.
 */
#include "env_file.h"

#include <ctype.h>
#include <string.h>

#include "small_file.h"

struct cursor {
    const char *at, *end;
    unsigned line;
    const char *file;
};

static bool done(const struct cursor *c)
{
    return c->at == c->end;
}

static bool at_line_end(const struct cursor *c)
{
    return done(c) || *c->at == '\n' ||
           (*c->at == '\r' && (c->at + 1 == c->end || c->at[1] == '\n'));
}

static void skip_blanks(struct cursor *c)
{
    while (!done(c) && !at_line_end(c) && (*c->at == ' ' || *c->at == '\t' || *c->at == '\r'))
        c->at++;
}

static void skip_line(struct cursor *c)
{
    const char *stop = memchr(c->at, '\n', (size_t)(c->end - c->at));
    c->at = stop ? stop + 1 : c->end;
    c->line++;
}

static enum amber_rc fail_at(const struct cursor *c, unsigned line, struct amber_err *err,
                             const char *what)
{
    return amber_fail(err, AMBER_E_INVALID, "%s:%u: %s", c->file, line, what);
}

/* Take a name off; no bytes if none stands here. */
static size_t name_take(struct cursor *c, const char **out)
{
    *out = c->at;
    while (!done(c) && (isalnum((unsigned char)*c->at) || *c->at == '_' ||
                        (c->at > *out && (*c->at == '.' || *c->at == '-'))))
        c->at++;
    return (size_t)(c->at - *out);
}

/* What a backslash and this byte mean within double quotes; both stay as they are for others. */
static bool escape_decode(char c, char *out)
{
    static const char from[] = "nrt\"\\$`", to[] = "\n\r\t\"\\$`";
    const char *hit = c ? strchr(from, c) : NULL;
    if (hit)
        *out = to[hit - from];
    return hit != NULL;
}

/* A value in quotes, the cursor on the opening one. Only double quotes have escapes. */
static enum amber_rc quoted_take(struct cursor *c, struct amber_buf *value, struct amber_err *err)
{
    char quote = *c->at++;
    unsigned opened = c->line;

    while (!done(c) && *c->at != quote) {
        char byte = *c->at++;
        size_t left = (size_t)(c->end - c->at);
        if (byte == '\r' && left && *c->at == '\n')
            continue;
        if (byte == '\\' && quote == '"' && left) {
            size_t eol = *c->at == '\n' ? 1 : left > 1 && memcmp(c->at, "\r\n", 2) == 0 ? 2 : 0;
            if (eol) { /* a line that goes on in the next one */
                c->at += eol;
                c->line++;
                continue;
            }
            if (escape_decode(*c->at, &byte))
                c->at++;
        } else if (byte == '\n') {
            c->line++;
        }
        enum amber_rc rc = amber_buf_append(value, &byte, 1, err);
        if (rc)
            return rc;
    }
    if (done(c))
        return fail_at(c, opened, err,
                       "the quote that opens here is never closed: close it, or put the value into "
                       "quotes of the other kind");
    c->at++;
    skip_blanks(c);
    if (!at_line_end(c) && *c->at != '#')
        return amber_fail(err, AMBER_E_INVALID,
                          "%s:%u: text behind the closing quote of the value that starts in line "
                          "%u: put the whole value into one pair of quotes",
                          c->file, c->line, opened);
    return AMBER_OK;
}

/* A value without quotes: to the end of the line or a comment, white space at its ends cut off. */
static enum amber_rc plain_take(struct cursor *c, bool after_blank, struct amber_buf *value,
                                struct amber_err *err)
{
    const char *start = c->at, *stop = c->at;
    bool blank = after_blank;
    for (; !at_line_end(c) && !(blank && *c->at == '#'); c->at++) {
        blank = *c->at == ' ' || *c->at == '\t' || *c->at == '\r';
        if (!blank)
            stop = c->at + 1;
    }
    return amber_buf_append(value, start, (size_t)(stop - start), err);
}

static enum amber_rc value_take(struct cursor *c, struct amber_buf *value, struct amber_err *err)
{
    const char *start = c->at;
    skip_blanks(c);
    enum amber_rc rc = amber_buf_reserve(value, 0, err); /* an empty value is "" too */
    if (rc)
        return rc;
    if (!done(c) && (*c->at == '"' || *c->at == '\''))
        return quoted_take(c, value, err);
    return plain_take(c, c->at > start, value, err);
}

/* "export" is a word of its own only if a name follows: export=1 sets a variable of that name. */
static void export_skip(struct cursor *c)
{
    static const char word[] = "export";
    size_t len = sizeof(word) - 1;
    if ((size_t)(c->end - c->at) <= len || memcmp(c->at, word, len) != 0 ||
        (c->at[len] != ' ' && c->at[len] != '\t'))
        return;
    struct cursor ahead = *c;
    ahead.at += len;
    skip_blanks(&ahead);
    if (!done(&ahead) && *ahead.at != '=')
        *c = ahead;
}

static struct amber_env_entry *find(const struct amber_env *env, const char *name)
{
    for (size_t i = 0; i < env->n; i++)
        if (strcmp(env->items[i].name, name) == 0)
            return &env->items[i];
    return NULL;
}

/* Put an entry in, or in the place of an earlier one of that name. Takes both strings. */
static enum amber_rc entry_put(struct amber_env *env, const struct cursor *c, char **name,
                               char **value, unsigned line, struct amber_buf *warnings,
                               struct amber_err *err)
{
    struct amber_env_entry *entry = find(env, *name);
    enum amber_rc rc = AMBER_OK;
    if (entry) {
        struct amber_err full = AMBER_ERR_INIT;
        rc = amber_buf_printf(warnings, &full,
                              "%s:%u: %s is set in line %u too: the last one counts\n", c->file,
                              line, *name, entry->line);
        if (rc && rc != AMBER_E_LIMIT) {
            *err = full;
            return rc;
        }
        free(entry->name);
        free(entry->value);
    } else {
        if (env->n == AMBER_ENV_NAMES_MAX)
            return amber_fail(err, AMBER_E_LIMIT, "%s:%u: more than %u names", c->file, line,
                              AMBER_ENV_NAMES_MAX);
        rc = amber_grow(&env->items, &env->cap, env->n + 1, sizeof(*env->items), err);
        if (rc)
            return rc;
        entry = &env->items[env->n++];
    }
    *entry = (struct amber_env_entry){amber_steal(name), amber_steal(value), line};
    return AMBER_OK;
}

/* One line that isn't blank. */
static enum amber_rc entry_take(struct cursor *c, struct amber_env *env, struct amber_buf *warnings,
                                struct amber_err *err)
{
    AMBER_AUTO_FREE char *name = NULL;
    struct amber_buf value AMBER_AUTO_BUF = AMBER_BUF_INIT(AMBER_ENV_FILE_MAX);
    unsigned line = c->line;
    const char *start;

    export_skip(c);
    size_t len = name_take(c, &start);
    if (len == 0 || isdigit((unsigned char)*start))
        return fail_at(c, line, err,
                       "expected NAME=VALUE, a comment behind '#', or nothing: a name has letters, "
                       "digits and '_', and no digit first");
    skip_blanks(c);
    if (done(c) || *c->at != '=')
        return fail_at(c, line, err, "no '=' behind the name: write NAME=VALUE");
    c->at++;
    name = strndup(start, len);
    if (!name)
        return amber_fail_nomem(err, "a variable's name", len + 1);
    enum amber_rc rc = value_take(c, &value, err);
    return rc ? rc : entry_put(env, c, &name, &value.data, line, warnings, err);
}

static unsigned line_of(const char *text, const char *at)
{
    unsigned line = 1;
    for (; text < at; text++)
        line += *text == '\n';
    return line;
}

enum amber_rc amber_env_parse(const char *text, size_t len, const char *file, struct amber_env *out,
                              struct amber_buf *warnings, struct amber_err *err)
{
    struct amber_env env AMBER_CLEANUP(amber_env_clear) = {0};

    if (len > AMBER_ENV_FILE_MAX)
        return amber_fail(err, AMBER_E_LIMIT, "%s is larger than %u bytes: is it the right file?",
                          file, AMBER_ENV_FILE_MAX);
    if (len == 0) { /* text may be NULL */
        *out = env;
        return AMBER_OK;
    }
    struct cursor c = {text, text + len, 1, file};
    const char *nul = memchr(text, '\0', len);
    if (nul)
        return fail_at(&c, line_of(text, nul), err,
                       "a NUL byte: is this an UTF-16 or a binary file? UTF-8 text is expected");
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        c.at += 3;
    while (!done(&c)) {
        skip_blanks(&c);
        if (!at_line_end(&c) && *c.at != '#') {
            enum amber_rc rc = entry_take(&c, &env, warnings, err);
            if (rc)
                return rc;
        }
        skip_line(&c);
    }
    *out = env;
    env = (struct amber_env){0};
    return AMBER_OK;
}

enum amber_rc amber_env_load(const char *file, struct amber_env *out, struct amber_buf *warnings,
                             struct amber_err *err)
{
    struct amber_buf text AMBER_AUTO_BUF = AMBER_BUF_INIT(AMBER_ENV_FILE_MAX);
    enum amber_rc rc = amber_small_file_read(file, &text, err);
    return rc ? rc : amber_env_parse(text.data, text.len, file, out, warnings, err);
}

void amber_env_clear(struct amber_env *env)
{
    for (size_t i = 0; i < env->n; i++) {
        free(env->items[i].name);
        free(env->items[i].value);
    }
    free(env->items);
    *env = (struct amber_env){0};
}

const struct amber_env_entry *amber_env_find(const struct amber_env *env, const char *name)
{
    return find(env, name);
}
