/*
 * pg_priv.h - what the files of src/pg share: the connection's inside, the exchange with the
 * server, and the diagnosis of its last error.
 *
 * Every wait is a poll() on the connection's socket and the cancel flag's descriptor. Whoever
 * starts an exchange says by a struct amber_turn how long it may take and whether the cancel flag
 * counts.
 */
#ifndef AMBER_PG_PRIV_H
#define AMBER_PG_PRIV_H

#include <libpq-fe.h>

#include "amber/pg.h"

#define AMBER_PG_NAME_MAX 256 /* bytes kept of a name in a diagnosis: NAMEDATALEN is 64 */

/* The last error that the server reported, without any value of a row. */
struct amber_pg_diag {
    char sqlstate[6];
    uint64_t line;                  /* of the COPY, from 1; 0 unknown */
    char column[AMBER_PG_NAME_MAX]; /* of the COPY's context, or the error's own column */
    char schema[AMBER_PG_NAME_MAX];
    char table[AMBER_PG_NAME_MAX];
    char constraint[AMBER_PG_NAME_MAX];
    char text[640]; /* the primary message, cleaned, with the names that it doesn't have itself */
};

struct amber_canceler; /* a PGcancel that outlives the connection while a thread uses it */
enum amber_pg_copy { AMBER_PG_COPY_NONE, AMBER_PG_COPY_IN, AMBER_PG_COPY_OUT };

struct amber_pg {
    PGconn *conn;                      /* owned */
    struct amber_canceler *canceler;   /* a reference; not changed until close */
    const struct amber_cancel *cancel; /* borrowed; may be NULL */
    char *where;                       /* owned; "database x at host:port" */
    struct amber_setting *settings;    /* owned */
    size_t n_settings;
    struct amber_pg_diag diag;
    enum amber_pg_copy copy;
    bool broken;      /* nothing more is sent */
    bool english;     /* lc_messages: quoting in messages is known */
    bool stirred;     /* during COPY IN the server sent something else than a notice, or may have */
    bool overread;    /* in this COPY IN libpq couldn't write at once, and read meanwhile */
    size_t unheard;   /* bytes sent since then */
    unsigned notices; /* received so far */
};

struct amber_res {
    PGresult *pg; /* owned */
};

/* How long one exchange with the server may take. */
struct amber_turn {
    bool heed;           /* the cancel flag ends it */
    bool commit;         /* the flag sends no cancel request, it only ends our patience */
    int64_t deadline_us; /* amber_mono_us(), 0: as long as the server needs */
    bool canceled;       /* out: a cancel was sent */
};
#define AMBER_PG_TURN                                                                              \
    (struct amber_turn)                                                                            \
    {                                                                                              \
        .heed = true                                                                               \
    }

/* OK, or NET: the connection broke before. With heed also CANCELED. */
enum amber_rc amber_pg_ready(struct amber_pg *pg, bool heed,
                             struct amber_err *err) AMBER_MUST_CHECK;
/* Poll the socket for events. errors  CANCELED with turn->heed; TIMEOUT the deadline passed. */
enum amber_rc amber_pg_wait(struct amber_pg *pg, short events, struct amber_turn *turn,
                            struct amber_err *err) AMBER_MUST_CHECK;
/* Ask the server to cancel; returns after at most 2 s. */
void amber_canceler_fire(struct amber_canceler *c);
/* The next result of what was sent, NULL behind the last. On CANCELED the server was told, and had
 * 2 s to answer. errors  NET, CANCELED: the connection is broken then */
enum amber_rc amber_pg_next_result(struct amber_pg *pg, struct amber_turn *turn, PGresult **out,
                                   struct amber_err *err) AMBER_MUST_CHECK;
/* All results of what was sent: out gets the last one (owned by the caller, may be NULL), or the
 * first one that failed becomes the error. */
enum amber_rc amber_pg_finish(struct amber_pg *pg, struct amber_turn *turn, PGresult **out,
                              struct amber_err *err) AMBER_MUST_CHECK;
/* Run a query and give its rows one at a time, each as a result of one row, valid for the call.
 * each doesn't use the connection; its failure ends the query. */
enum amber_rc amber_pg_stream(struct amber_pg *pg, const char *sql, size_t n,
                              const char *const *params,
                              enum amber_rc (*each)(void *arg, const struct amber_res *row,
                                                    struct amber_err *err),
                              void *arg, struct amber_err *err) AMBER_MUST_CHECK;
/* End whatever runs, a COPY included, canceling it if it takes long. Afterwards the connection is
 * idle or broken. */
void amber_pg_settle(struct amber_pg *pg);

/* Record a failed result in pg->diag and err; returns err->code. */
enum amber_rc amber_pg_fail(struct amber_pg *pg, const PGresult *res, struct amber_err *err);
/* Mark the connection as broken: NET with libpq's reason. */
enum amber_rc amber_pg_lost(struct amber_pg *pg, struct amber_err *err);
/* libpq's message as one line without what may hold a secret, and the SQLSTATE in it ("" if none).
 */
void amber_pg_connect_message(const char *message, char *out, size_t out_len, char sqlstate[6]);
/* Replace everything from the first to the last quotation mark of text. */
void amber_pg_hide_quoted(char *text);

/* During COPY IN the server has or may have something to say, most likely an error: end the COPY and
 * see. */
bool amber_pg_copy_stirred(const struct amber_pg *pg);

/* Append names as quoted identifiers, separated by ", ". */
enum amber_rc amber_sql_ident_list(struct amber_buf *b, const char *const *names, size_t n,
                                   struct amber_err *err) AMBER_MUST_CHECK;

#endif
