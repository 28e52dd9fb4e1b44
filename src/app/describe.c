/*
 * describe.c - wrapping text for the terminal and escaping it for roff.
 *
 * roff: a line that starts with '.' or ''' is a command, '-' is a hyphen unless escaped and '\'
 * starts an escape; all texts come from our own tables.
 */
#include "describe.h"

#include <ctype.h>
#include <string.h>

#define WIDTH 79  /* columns of a terminal line */
#define COLUMN 28 /* where the meaning starts */
#define INDENT 2

/* Append text's words from column `at` on, going on in lines that start at column `indent`. A tab
 * is a space at which no line ends. */
static enum amber_rc wrap(const char *text, size_t at, size_t indent, struct amber_buf *out,
                          struct amber_err *err)
{
    bool first = true;
    for (const char *p = text; *(p += strspn(p, " ")); first = false) {
        size_t len = strcspn(p, " ");
        enum amber_rc rc = AMBER_OK;
        if (!first && at + 1 + len > WIDTH) {
            rc = amber_buf_printf(out, err, "\n%*s", (int)indent, "");
            at = indent;
        } else if (!first) {
            rc = amber_buf_puts(out, " ", err);
            at++;
        }
        if (!rc)
            rc = amber_buf_append(out, p, len, err);
        if (rc)
            return rc;
        for (char *tab = out->data + out->len - len; (tab = strchr(tab, '\t'));)
            *tab = ' ';
        at += len;
        p += len;
    }
    return amber_buf_puts(out, "\n", err);
}

enum amber_rc amber_describe_text(const char *text, size_t indent, struct amber_buf *out,
                                  struct amber_err *err)
{
    return wrap(text, 0, indent, out, err);
}

static enum amber_rc item_terminal(const char *name, const char *arg, const char *text,
                                   struct amber_buf *out, struct amber_err *err)
{
    size_t start = out->len;
    const char *gap = *arg && *arg != '=' ? " " : "";
    enum amber_rc rc = amber_buf_printf(out, err, "%*s%s%s%s", INDENT, "", name, gap, arg);
    if (rc)
        return rc;
    size_t at = out->len - start;
    rc = at + 2 > COLUMN ? amber_buf_printf(out, err, "\n%*s", COLUMN, "")
                         : amber_buf_printf(out, err, "%*s", (int)(COLUMN - at), "");
    return rc ? rc : wrap(text, COLUMN, COLUMN, out, err);
}

static enum amber_rc roff_bytes(const char *s, size_t len, struct amber_buf *out,
                                struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    for (size_t i = 0; !rc && i < len; i++) {
        if (s[i] == '\\')
            rc = amber_buf_puts(out, "\\e", err);
        else if (s[i] == '-')
            rc = amber_buf_puts(out, "\\-", err);
        else
            rc = amber_buf_append(out, &s[i], 1, err);
    }
    return rc;
}

static size_t word_len(const char *s)
{
    size_t len = 0;
    while (isalnum((unsigned char)s[len]) || s[len] == '-' || s[len] == '_')
        len++;
    return len;
}

/* An argument: options bold, capitals italic, brackets and dots as they are. */
static enum amber_rc roff_arg(const char *arg, struct amber_buf *out, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    while (!rc && *arg) {
        size_t len = word_len(arg);
        if (len == 0) {
            rc = roff_bytes(arg++, 1, out, err);
            continue;
        }
        const char *font = isupper((unsigned char)*arg) ? "\\fI" : "\\fB";
        if ((rc = amber_buf_puts(out, font, err)) || (rc = roff_bytes(arg, len, out, err)) ||
            (rc = amber_buf_puts(out, "\\fR", err)))
            return rc;
        arg += len;
    }
    return rc;
}

static enum amber_rc item_roff(const char *name, const char *arg, const char *text,
                               struct amber_buf *out, struct amber_err *err)
{
    enum amber_rc rc;
    struct amber_buf body AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    const char *gap = *arg && *arg != '=' ? " " : "";
    if ((rc = amber_buf_puts(out, ".TP\n\\fB", err)) ||
        (rc = roff_bytes(name, strlen(name), out, err)) ||
        (rc = amber_buf_printf(out, err, "\\fR%s", gap)) || (rc = roff_arg(arg, out, err)) ||
        (rc = amber_buf_puts(out, "\n", err)) || (rc = wrap(text, 0, 0, &body, err)))
        return rc;
    for (const char *line = body.data; !rc && *line;) {
        size_t len = strcspn(line, "\n");
        if (*line == '.' || *line == '\'')
            rc = amber_buf_puts(out, "\\&", err);
        if (!rc)
            rc = roff_bytes(line, len, out, err);
        if (!rc)
            rc = amber_buf_puts(out, "\n", err);
        line += len + 1;
    }
    return rc;
}

enum amber_rc amber_describe_item(bool roff, const char *name, const char *arg, const char *text,
                                  struct amber_buf *out, struct amber_err *err)
{
    return roff ? item_roff(name, arg, text, out, err) : item_terminal(name, arg, text, out, err);
}
