/*
 * sqltext.c - SQL put together piece by piece.
 *
 * The format letters are our own, so the compiler can't check them: every statement of this folder
 * is run by the integration tests, and an unknown letter is our own bug.
 */
#include "sqltext_priv.h"

#include <assert.h>

void amber_sqltext_clear(struct amber_sqltext *s)
{
    amber_buf_clear(&s->buf);
}

void amber_sqltext_reset(struct amber_sqltext *s)
{
    amber_buf_clear(&s->buf);
    s->rc = AMBER_OK;
}

void amber_sqltext_add(struct amber_sqltext *s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    while (*fmt && s->rc == AMBER_OK) {
        size_t plain = strcspn(fmt, "%");
        if (plain > 0) {
            s->rc = amber_buf_append(&s->buf, fmt, plain, s->err);
            fmt += plain;
            continue;
        }
        switch (fmt[1]) {
        case 's':
            s->rc = amber_buf_puts(&s->buf, va_arg(ap, const char *), s->err);
            break;
        case 'i':
            s->rc = amber_sql_ident(&s->buf, va_arg(ap, const char *), s->err);
            break;
        case 'l':
            s->rc = amber_sql_literal(&s->buf, va_arg(ap, const char *), s->err);
            break;
        case 't': {
            const char *schema = va_arg(ap, const char *);
            const char *name = va_arg(ap, const char *);
            s->rc = amber_sql_table(&s->buf, schema, name, s->err);
            break;
        }
        case 'a':
            s->rc = amber_buf_printf(&s->buf, s->err, "amber_%u", va_arg(ap, unsigned));
            break;
        case 'u':
            s->rc = amber_buf_printf(&s->buf, s->err, "%u", va_arg(ap, unsigned));
            break;
        case '%':
            s->rc = amber_buf_append(&s->buf, "%", 1, s->err);
            break;
        default:
            assert(false); /* a letter that isn't one of ours */
        }
        fmt += 2;
    }
    va_end(ap);
}

enum amber_rc amber_sqltext_rc(const struct amber_sqltext *s)
{
    return s->rc;
}

const char *amber_sqltext_str(const struct amber_sqltext *s)
{
    return s->buf.data ? s->buf.data : "";
}

enum amber_rc amber_sqltext_exec(const struct amber_sqltext *s, struct amber_pg *pg)
{
    return s->rc != AMBER_OK ? s->rc : amber_pg_exec(pg, s->err, amber_sqltext_str(s));
}

enum amber_rc amber_sqltext_query(const struct amber_sqltext *s, struct amber_pg *pg,
                                  struct amber_res **out)
{
    return s->rc != AMBER_OK ? s->rc
                             : amber_pg_query(pg, out, s->err, amber_sqltext_str(s), 0, NULL);
}
