/*
 * sql_quote.c - identifiers and literals as SQL text.
 *
 * Correct whatever standard_conforming_strings says: a literal with a backslash is written in the
 * E'' form. The connection's encoding is UTF-8, in which no byte of a longer character is a quote.
 */
#include "pg_priv.h"

static enum amber_rc put_quoted(struct amber_buf *b, const char *text, const char *doubled,
                                struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    while (!rc && *text) {
        size_t n = strcspn(text, doubled);
        rc = amber_buf_append(b, text, n, err);
        text += n;
        if (!rc && *text) {
            const char pair[2] = {*text, *text};
            rc = amber_buf_append(b, pair, 2, err);
            text++;
        }
    }
    return rc;
}

enum amber_rc amber_sql_ident(struct amber_buf *b, const char *name, struct amber_err *err)
{
    enum amber_rc rc = amber_buf_puts(b, "\"", err);
    if (!rc)
        rc = put_quoted(b, name, "\"", err);
    if (!rc)
        rc = amber_buf_puts(b, "\"", err);
    return rc;
}

enum amber_rc amber_sql_table(struct amber_buf *b, const char *schema, const char *name,
                              struct amber_err *err)
{
    enum amber_rc rc = amber_sql_ident(b, schema, err);
    if (!rc)
        rc = amber_buf_puts(b, ".", err);
    if (!rc)
        rc = amber_sql_ident(b, name, err);
    return rc;
}

enum amber_rc amber_sql_literal(struct amber_buf *b, const char *text, struct amber_err *err)
{
    /* The blank keeps the E apart from whatever stands before it. */
    enum amber_rc rc = amber_buf_puts(b, strchr(text, '\\') ? " E'" : "'", err);
    if (!rc)
        rc = put_quoted(b, text, "'\\", err);
    if (!rc)
        rc = amber_buf_puts(b, "'", err);
    return rc;
}

enum amber_rc amber_sql_ident_list(struct amber_buf *b, const char *const *names, size_t n,
                                   struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    for (size_t i = 0; !rc && i < n; i++) {
        if (i)
            rc = amber_buf_puts(b, ", ", err);
        if (!rc)
            rc = amber_sql_ident(b, names[i], err);
    }
    return rc;
}
