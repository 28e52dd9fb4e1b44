/*
 * unit.h - one unit of work on the server: one period of one family in one transaction.
 *
 *   begin    BEGIN REPEATABLE READ; table locks; job's advisory lock; snapshot; which rows stay
 *   export   each table's rows as COPY lines, leaf by leaf, with their identities digested; some are
 *            deleted by the way, if that is allowed
 *   delete   children first, COPY (DELETE ... RETURNING ctid): identities must equal the export's;
 *   drop     DETACH + DROP of whole partitions instead
 *   check    constraints immediate; no table but the family's changed
 *   (the caller's catalog updates and COMMIT follow on the same connection)
 *
 * A row moves if its root row has from_us <= time < to_us, fulfils the condition, is not pinned,
 * and nothing that remains references it or a row of its family.
 * thread  one thread per unit
 */
#ifndef AMBER_UNIT_H
#define AMBER_UNIT_H

#include "amber/family.h"

/* COPY builds a row in one buffer of at most 1 GiB, in which a text may double by escaping. */
#define AMBER_ROW_BYTES_MAX UINT64_C(500000000)

struct amber_unit_config {
    struct amber_pg *pg;               /* borrowed */
    struct amber_pg *const *helpers;   /* borrowed; idle connections that help to export */
    size_t n_helpers;
    const struct amber_family *family; /* borrowed */
    int64_t from_us, to_us; /* half-open; UTC microseconds on whole days but for capped units */
    const struct amber_day_range *pins;
    size_t n_pins;
    uint64_t max_rows;      /* cap of root rows, 0: none. to_us is lowered so that about this many
                               move; rows with one and the same time are never parted, and neither
                               is a partition that will be dropped, however large */
    unsigned lock_wait_ms;  /* lock_timeout of the transaction: others' queries never queue behind
                               us longer. 0: none */
    bool take;              /* rows may be deleted while they are read, where helpers read too: what
                               others have of them is locked until COMMIT */
    /* Called before each row that the unit's own connection takes from the server, exported or
     * deleted; may wait, and the server waits with it. NULL: none. Not where helpers read. */
    enum amber_rc (*breathe)(void *arg, struct amber_err *err);
    void *breathe_arg;
    bool drop_partitions;   /* whole partitions are detached and dropped where that is safe */
    bool check_sizes;       /* an export failed with LIMIT: let families with a row whose COPY text
                               may exceed AMBER_ROW_BYTES_MAX stay, and count them */
};

struct amber_unit;

/* What moves from one table, filled by export. */
struct amber_unit_table {
    uint64_t rows;
    struct amber_set_digest identity;
};
struct amber_unit_stayed {
    uint64_t referenced; /* root rows kept because a remaining row references them or a row of
                            their family */
    uint64_t too_large;  /* root rows kept because a row of their family is too large for COPY; not
                            counted in referenced */
    char why[512];       /* the foreign keys concerned, "" if none */
};

/*
 * Start the transaction, as drawn above. pg must be idle.
 * errors  BUSY another process runs this job (no sqlstate), or a lock was not to be had in time
 *         (55P03); DB a table was changed, or a family with children got a partition, since
 *         amber_family_load: load it anew; NET
 */
enum amber_rc amber_unit_begin(const struct amber_unit_config *cfg, struct amber_unit **out,
                               struct amber_err *err) AMBER_MUST_CHECK;
/* Rolls back unless the caller committed. NULL allowed. */
void amber_unit_free(struct amber_unit *u);
/* The range after capping. Where local times jump, to_us is that of the first row left. */
void amber_unit_range(const struct amber_unit *u, int64_t *out_from_us, int64_t *out_to_us);
void amber_unit_stayed(const struct amber_unit *u, struct amber_unit_stayed *out);
/* Partitions that will be dropped rather than deleted from, as the manifest records them (the
 * unit's). */
const struct amber_partition *amber_unit_partitions(const struct amber_unit *u, size_t *out_n);

/* Root rows that move, and the times of the oldest and newest of them, before the export: archives
 * are named after these. All 0 if nothing moves. */
enum amber_rc amber_unit_span(struct amber_unit *u, uint64_t *out_rows, int64_t *out_min_us,
                              int64_t *out_max_us, struct amber_err *err) AMBER_MUST_CHECK;
/* Count rows and estimate bytes of table i that would move (dry run). */
enum amber_rc amber_unit_count(struct amber_unit *u, size_t table, uint64_t *out_rows,
                               uint64_t *out_bytes, struct amber_err *err) AMBER_MUST_CHECK;
/* A malloc'ed COPY line; its payload starts at skip and has len bytes, without line break; the
 * callee frees line in every case (as amber_writer_row_take does). */
typedef enum amber_rc (*amber_unit_row_fn)(void *arg, char *line, size_t skip, size_t len,
                                           struct amber_err *err);
/*
 * Stream table i's rows, after amber_unit_span, each leaf's in the order that one connection reading
 * its heap gives, however many take part. Helpers do where most of a large leaf moves (PostgreSQL 14
 * and later).
 * shape   row: called by this thread only
 * errors  the callback's; LIMIT a row is too large for COPY: the caller frees the unit and begins
 *         it anew with check_sizes set; DB, NET, CANCELED
 */
enum amber_rc amber_unit_export(struct amber_unit *u, size_t table, amber_unit_row_fn row,
                                void *arg, struct amber_unit_table *out,
                                struct amber_err *err) AMBER_MUST_CHECK;
/* Delete what was exported and isn't deleted yet, all tables, children first, and compare what is in
 * partitions to be dropped; identities must agree. Nothing has left before COMMIT.
 * errors  CORRUPT the deleted rows aren't the exported ones; DB, BUSY somebody else changed rows or
 *         holds them (see amber_pg_unit_retryable) */
enum amber_rc amber_unit_delete(struct amber_unit *u, const struct amber_unit_table *exported,
                                struct amber_err *err) AMBER_MUST_CHECK;
/* Detach and drop whole partitions, after their rows were looked at by amber_unit_delete: takes ACCESS
 * EXCLUSIVE locks on them and their parent until COMMIT. errors BUSY, DB */
enum amber_rc amber_unit_drop(struct amber_unit *u, struct amber_err *err) AMBER_MUST_CHECK;
/* SET CONSTRAINTS ALL IMMEDIATE; transaction statistics show exactly our deletes. errors DB,
 * CORRUPT another table changed (named). */
enum amber_rc amber_unit_check(struct amber_unit *u, struct amber_err *err) AMBER_MUST_CHECK;

/* The unit's own backend: of what helpers have locked it holds the stronger lock. errors DB, NET,
 * CANCELED */
enum amber_rc amber_unit_pid(struct amber_unit *u, int *out,
                             struct amber_err *err) AMBER_MUST_CHECK;

/* A session that waits for a lock, and for what: "ShareLock on public.orders". */
struct amber_waiter {
    int pid;
    char what[160];
};
/*
 * The sessions that wait for locks that this backend holds or stands before them in line for, at
 * most max of them. pg is a connection of its own. errors  DB, NET, CANCELED
 */
enum amber_rc amber_unit_waiters(struct amber_pg *pg, int pid, struct amber_waiter *out, size_t max,
                                 size_t *out_n, struct amber_err *err) AMBER_MUST_CHECK;

/* Whether another program's session is in a transaction in which something was done within the last
 * second, in any of the server's databases. pg is a connection of its own. errors DB, NET, CANCELED */
enum amber_rc amber_unit_others(struct amber_pg *pg, bool *out,
                                struct amber_err *err) AMBER_MUST_CHECK;

/* VACUUM (ANALYZE) of the leaves that units of this loaded family deleted from since the last call
 * (autocommit, after the commit). Those that somebody else has locked are left out. gently: with the
 * pauses that autovacuum makes. */
enum amber_rc amber_unit_vacuum(struct amber_pg *pg, const struct amber_family *f, bool gently,
                                struct amber_err *err) AMBER_MUST_CHECK;

#endif
