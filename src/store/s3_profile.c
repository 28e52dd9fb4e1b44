/*
 * s3_profile.c - keys in Amazon's shared files, ~/.aws/credentials and ~/.aws/config.
 * source  "Configuration and credential file settings" in Amazon's CLI user guide
 */
#include "s3_credentials_priv.h"

#include <stdio.h>

#define FILE_BYTES (1U << 20)

/* A line's part without blanks around it. */
struct words {
    const char *s;
    size_t len;
};

static struct words trim(const char *s, size_t len)
{
    while (len > 0 && strchr(" \t\r", s[0])) {
        s++;
        len--;
    }
    while (len > 0 && strchr(" \t\r", s[len - 1]))
        len--;
    return (struct words){s, len};
}

static bool is(const struct words *w, const char *text)
{
    return w->len == strlen(text) && memcmp(w->s, text, w->len) == 0;
}

/* "[name]" or "[profile name]" -> whether it is the section, blanks aside. */
static bool is_section(const struct words *line, const char *section)
{
    const char *close = memchr(line->s, ']', line->len);

    if (!close)
        return false;
    struct words name = trim(line->s + 1, (size_t)(close - line->s) - 1);
    return is(&name, section);
}

static enum amber_rc set_key(const struct words *key, const struct words *value,
                             struct s3_profile *out, struct amber_err *err)
{
    static const char *const others[] = {"role_arn", "credential_process", "sso_session",
                                         "sso_start_url", "credential_source"};
    const struct {
        const char *name;
        char *out;
        size_t cap;
    } fields[] = {
        {"aws_access_key_id", out->access_key, sizeof(out->access_key)},
        {"aws_secret_access_key", out->secret_key, sizeof(out->secret_key)},
        {"aws_session_token", out->token, sizeof(out->token)},
    };

    for (size_t i = 0; i < amber_countof(fields); i++) {
        if (!is(key, fields[i].name) || fields[i].out[0])
            continue;
        if (value->len >= fields[i].cap || memchr(value->s, '\0', value->len))
            return amber_fail(err, AMBER_E_LIMIT, "the value of %s is too long or none",
                              fields[i].name);
        memcpy(fields[i].out, value->s, value->len);
        fields[i].out[value->len] = '\0';
    }
    for (size_t i = 0; i < amber_countof(others); i++)
        if (is(key, others[i]))
            snprintf(out->other, sizeof(out->other), "%s", others[i]);
    return AMBER_OK;
}

enum amber_rc amber_s3_profile_parse(const char *text, size_t len, const char *section,
                                     struct s3_profile *out, bool *out_found, struct amber_err *err)
{
    bool inside = false;
    enum amber_rc rc = AMBER_OK;

    *out_found = false;
    while (!rc && len > 0) {
        const char *end = memchr(text, '\n', len);
        size_t n = end ? (size_t)(end - text) : len;
        struct words line = trim(text, n);
        /* An indented line belongs to the setting above it. */
        bool nested = n > 0 && (text[0] == ' ' || text[0] == '\t');
        const char *equals = memchr(line.s, '=', line.len);
        if (line.len > 0 && line.s[0] == '[') {
            inside = is_section(&line, section);
            *out_found |= inside;
        } else if (inside && !nested && equals && line.s[0] != '#' && line.s[0] != ';') {
            struct words key = trim(line.s, (size_t)(equals - line.s));
            struct words value = trim(equals + 1, line.len - (size_t)(equals - line.s) - 1);
            rc = set_key(&key, &value, out, err);
        }
        text += n + (end != NULL);
        len -= n + (end != NULL);
    }
    return rc;
}

/* One of the files; one that isn't there has no profiles. name: "credentials", "config" */
static enum amber_rc read_shared(const char *variable, const char *name, const char *section,
                                 struct s3_profile *p, bool *found, struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(FILE_BYTES);
    AMBER_AUTO_FREE char *own = NULL;
    struct amber_err why = AMBER_ERR_INIT;
    const char *path = amber_s3_env(variable), *home = amber_s3_env("HOME");
    bool here = false;
    enum amber_rc rc = AMBER_OK;

    if (!path && !home)
        return AMBER_OK;
    if (!path)
        rc = amber_asprintf(&own, err, "%s/.aws/%s", home, name);
    if (rc)
        return rc;
    rc = amber_s3_read_file(path ? path : own, &text, &why);
    if (rc == AMBER_E_NOT_FOUND)
        return AMBER_OK;
    if (!rc)
        rc = amber_s3_profile_parse(text.data, text.len, section, p, &here, &why);
    if (text.data)
        explicit_bzero(text.data, text.cap);
    *found |= here;
    if (!rc)
        return AMBER_OK;
    *err = why;
    return path ? amber_wrap(err, "%s", variable) : amber_wrap(err, "%s", own);
}

static void profile_clear(struct s3_profile *p)
{
    explicit_bzero(p, sizeof(*p));
}

enum amber_rc amber_s3_from_profile(const struct s3_source *src, struct s3_credentials *out,
                                    bool *out_found, struct amber_err *err)
{
    struct s3_profile p AMBER_CLEANUP(profile_clear) = {.other = ""};
    const char *wanted = amber_s3_env("AWS_PROFILE"), *name = wanted ? wanted : "default";
    AMBER_AUTO_FREE char *section = NULL;
    bool found = false;

    (void)src;
    enum amber_rc rc =
        read_shared("AWS_SHARED_CREDENTIALS_FILE", "credentials", name, &p, &found, err);
    if (!rc)
        rc = amber_asprintf(&section, err, "%s%s", strcmp(name, "default") == 0 ? "" : "profile ",
                            name);
    if (!rc)
        rc = read_shared("AWS_CONFIG_FILE", "config", section, &p, &found, err);
    if (rc)
        return rc;
    if (wanted && !found)
        return amber_fail(err, AMBER_E_INVALID,
                          "AWS_PROFILE is \"%.60s\", and neither of Amazon's shared files has that "
                          "profile",
                          wanted);
    if (!p.access_key[0] || !p.secret_key[0]) {
        *out_found = false;
        if (!wanted)
            return AMBER_OK;
        return amber_fail(
            err, AMBER_E_UNSUPPORTED,
            "profile \"%.60s\" has no aws_access_key_id and aws_secret_access_key%s%s: "
            "let it hold keys, or use another way",
            name, p.other[0] ? "; amberfs doesn't know its " : "", p.other);
    }
    memcpy(out->access_key, p.access_key, sizeof(out->access_key));
    memcpy(out->secret_key, p.secret_key, sizeof(out->secret_key));
    memcpy(out->token, p.token, sizeof(out->token));
    *out_found = true;
    return AMBER_OK;
}
