/*
 * pg.h - one PostgreSQL connection: queries, COPY, quoting, errors.
 *
 * SQLSTATE and the primary message reach struct amber_err; DETAIL, CONTEXT and HINT don't, since
 * they carry rows' values (of a COPY's context only "line N, column C" is kept).
 * thread  a connection belongs to one thread; amber_pg_interrupt may come from any
 */
#ifndef AMBER_PG_H
#define AMBER_PG_H

#include "amber/cancel.h"
#include "amber/err.h"
#include "amber/manifest.h"
#include "amber/mem.h"

struct amber_pg;

struct amber_pg_config {
    const char *conninfo; /* a postgresql:// URL, a keyword string, or NULL/"": libpq's PG* */
    const char *purpose;  /* application_name becomes "amberfs: <purpose>" */
    const struct amber_cancel *cancel; /* borrowed, may be NULL: every call ends with CANCELED soon
                                          after it is set (the server is sent a cancel too) */
    bool read_only;
};

/*
 * Connect (10 s deadline), check the server version (12 or newer) and set the session settings of
 * the design (extra_float_digits, DateStyle, ... search_path=pg_catalog,pg_temp, timeouts 0), then
 * read them back.
 * errors  NET can't connect (host and port named); DENIED authentication; UNSUPPORTED version;
 *         INVALID conninfo; DB a setting did not take
 */
enum amber_rc amber_pg_open(const struct amber_pg_config *cfg, struct amber_pg **out,
                            struct amber_err *err) AMBER_MUST_CHECK;
void amber_pg_close(struct amber_pg *pg); /* NULL allowed; an open transaction is rolled back */
int amber_pg_version(const struct amber_pg *pg); /* 150004 */
const char *amber_pg_database(const struct amber_pg *pg);
/* False once the connection broke. */
bool amber_pg_alive(const struct amber_pg *pg);
/* Ask the server to cancel the running statement; any thread. */
void amber_pg_interrupt(struct amber_pg *pg);
/* The settings as (name, value as read back); n of them; the connection's. */
const struct amber_setting *amber_pg_settings(const struct amber_pg *pg, size_t *out_n);

struct amber_res;
void amber_res_free(struct amber_res *r); /* NULL allowed */
void amber_res_free_p(struct amber_res **r);
size_t amber_res_rows(const struct amber_res *r);
/* NULL for SQL NULL; valid until the result is freed. */
const char *amber_res_get(const struct amber_res *r, size_t row, size_t col);
int64_t amber_res_int(const struct amber_res *r, size_t row, size_t col); /* 0 for NULL */
bool amber_res_bool(const struct amber_res *r, size_t row, size_t col);
uint64_t amber_res_affected(const struct amber_res *r);
const char *amber_res_tag(const struct amber_res *r); /* command tag: "COMMIT" */

/*
 * Run one statement with n text parameters ($1...; NULL entries are SQL NULL) and keep its result.
 * errors  DB with sqlstate; NET connection lost; CANCELED; BUSY lock_not_available (55P03)
 */
enum amber_rc amber_pg_query(struct amber_pg *pg, struct amber_res **out, struct amber_err *err,
                             const char *sql, size_t n, const char *const *params)
    AMBER_MUST_CHECK;
/* Run statements without parameters or interest in rows; several, separated by ';', are allowed. */
enum amber_rc amber_pg_exec(struct amber_pg *pg, struct amber_err *err, const char *sql)
    AMBER_MUST_CHECK;
/* BEGIN with these words behind it ("ISOLATION LEVEL REPEATABLE READ"), or "". */
enum amber_rc amber_pg_begin(struct amber_pg *pg, const char *mode, struct amber_err *err)
    AMBER_MUST_CHECK;
/*
 * COMMIT whose tag must say COMMIT; no cancel is looked at once it was sent.
 * errors  DB rolled back for certain; NET the answer was lost: in doubt (settle it by the fence)
 */
enum amber_rc amber_pg_commit(struct amber_pg *pg, struct amber_err *err) AMBER_MUST_CHECK;
void amber_pg_rollback(struct amber_pg *pg); /* best effort, also in a failed transaction */

/*
 * COPY (...) TO STDOUT in text format: start, then rows until *out_line is NULL (then it is ended).
 * shape   next: a malloc'ed line (free with amber_pg_copy_free) with its '\n' counted in len
 */
enum amber_rc amber_pg_copy_out(struct amber_pg *pg, const char *sql, struct amber_err *err)
    AMBER_MUST_CHECK;
enum amber_rc amber_pg_copy_next(struct amber_pg *pg, char **out_line, size_t *out_len,
                                 struct amber_err *err) AMBER_MUST_CHECK;
void amber_pg_copy_free(char *line);

/* COPY ... FROM STDIN: start, send, end. abort ends it with an error on the server's side. */
enum amber_rc amber_pg_copy_in(struct amber_pg *pg, const char *sql, struct amber_err *err)
    AMBER_MUST_CHECK;
enum amber_rc amber_pg_copy_send(struct amber_pg *pg, const void *data, size_t len,
                                 struct amber_err *err) AMBER_MUST_CHECK;
/* errors  DB: text has "line N, column C" of this COPY where PostgreSQL said so; *out_line gets N
 * (0 unknown); out_line may be NULL */
enum amber_rc amber_pg_copy_end(struct amber_pg *pg, uint64_t *out_rows, uint64_t *out_line,
                                struct amber_err *err) AMBER_MUST_CHECK;
void amber_pg_copy_abort(struct amber_pg *pg);

/* Wait for a notification on a channel that was LISTENed to, at most timeout_ms (*out_notified
 * false then); all that came are taken at once. errors NET connection lost; CANCELED. */
enum amber_rc amber_pg_wait_notify(struct amber_pg *pg, int timeout_ms, bool *out_notified,
                                   struct amber_err *err) AMBER_MUST_CHECK;

/* Append a quoted identifier, schema.name, or literal: any text is safe. errors NOMEM, LIMIT. */
enum amber_rc amber_sql_ident(struct amber_buf *b, const char *name, struct amber_err *err)
    AMBER_MUST_CHECK;
enum amber_rc amber_sql_table(struct amber_buf *b, const char *schema, const char *name,
                              struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_sql_literal(struct amber_buf *b, const char *text, struct amber_err *err)
    AMBER_MUST_CHECK;

/* Whether the failure means "roll this unit back and try it anew": serialization (40001),
 * deadlock (40P01), lock timeout (55P03), foreign key (23503), and lost connections. */
bool amber_pg_unit_retryable(const struct amber_err *err);

#endif
