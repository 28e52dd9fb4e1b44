/*
 * sqltext_priv.h - SQL put together piece by piece: any name and any text is safe in it.
 *
 * Errors are sticky: pieces are added without looking, and the first failure is told by
 * amber_sqltext_rc before the text is used.
 */
#ifndef AMBER_SQLTEXT_PRIV_H
#define AMBER_SQLTEXT_PRIV_H

#include "amber/pg.h"

#define AMBER_SQL_MAX_BYTES (64U * 1024U * 1024U) /* one statement with thousands of partitions */

struct amber_sqltext {
    struct amber_buf buf;
    struct amber_err *err; /* borrowed */
    enum amber_rc rc;      /* the first failure */
};
#define AMBER_AUTO_SQLTEXT AMBER_CLEANUP(amber_sqltext_clear)
#define AMBER_SQLTEXT_INIT(err_ptr)                                                                \
    {                                                                                              \
        .buf = AMBER_BUF_INIT(AMBER_SQL_MAX_BYTES), .err = (err_ptr)                               \
    }

void amber_sqltext_clear(struct amber_sqltext *s);
/* Empty it for the next statement. */
void amber_sqltext_reset(struct amber_sqltext *s);

/*
 * Append fmt, in which
 *   %s  const char *                text as it is
 *   %i  const char *                a quoted identifier
 *   %l  const char *                a quoted literal
 *   %t  const char *, const char *  schema.name, quoted
 *   %a  unsigned                    the alias of a nesting level: amber_0, amber_1, ...
 *   %u  uint32_t                    digits
 *   %%  a percent sign
 */
void amber_sqltext_add(struct amber_sqltext *s, const char *fmt, ...);

enum amber_rc amber_sqltext_rc(const struct amber_sqltext *s) AMBER_MUST_CHECK;
/* The text; "" before anything was added. */
const char *amber_sqltext_str(const struct amber_sqltext *s);
/* Run the statement. */
enum amber_rc amber_sqltext_exec(const struct amber_sqltext *s,
                                 struct amber_pg *pg) AMBER_MUST_CHECK;
enum amber_rc amber_sqltext_query(const struct amber_sqltext *s, struct amber_pg *pg,
                                  struct amber_res **out) AMBER_MUST_CHECK;

#endif
