/*
 * catalog.h - the tables of schema amberfs: runs, names, archives, restores, pins, job results.
 *
 *   runs 1 -- n names       a run's reserved logical names, UNIQUE per store, committed before
 *                           the first byte is written
 *   runs 1 -- n archived_partitions      inserted in the transaction that deletes the rows
 *   state of a run: running -> committed (in that transaction) | aborted (by the fence)
 *
 * The fence is an UPDATE ... WHERE run_id = $1 AND state = 'running' that must hit one row: it
 * waits for a transaction in doubt and decides between committed and aborted, once.
 * Public views: public.archived_partitions, public.database_size_stats.
 */
#ifndef AMBER_CATALOG_H
#define AMBER_CATALOG_H

#include "amber/pg.h"

/* Make or upgrade the schema, in one transaction under an advisory lock. out_made: it was not
 * there before. errors DENIED no right to create (the SQL to run as owner is named); UNSUPPORTED a
 * newer version is there */
enum amber_rc amber_catalog_install(struct amber_pg *pg, bool *out_made, struct amber_err *err)
    AMBER_MUST_CHECK;
/* errors NOT_FOUND no catalog yet (run `amberfs init`) */
enum amber_rc amber_catalog_id(struct amber_pg *pg, char out[AMBER_UUID_LEN],
                               struct amber_err *err) AMBER_MUST_CHECK;
/* pg_is_in_recovery() is false: a primary. */
enum amber_rc amber_catalog_is_primary(struct amber_pg *pg, bool *out, struct amber_err *err)
    AMBER_MUST_CHECK;

struct amber_run {
    char run_id[AMBER_UUID_LEN];
    char store_id[AMBER_UUID_LEN];
    const char *job;
    const char *host; /* of the process that runs it */
    int pid;
};
/* Step 1: insert the run as running, in a transaction of its own (committed on return). */
enum amber_rc amber_catalog_run_begin(struct amber_pg *pg, const struct amber_run *run,
                                      struct amber_err *err) AMBER_MUST_CHECK;
/* Reserve a logical name for the run, committed on return (autocommit). errors EXISTS taken. */
enum amber_rc amber_catalog_name_reserve(struct amber_pg *pg, const struct amber_run *run,
                                         const char *logical, struct amber_err *err)
    AMBER_MUST_CHECK;

/* An archive as the catalog has it. Strings are borrowed for the call. */
struct amber_archive_row {
    const char *archive_id, *run_id, *job;
    const char *logical, *key, *manifest_key;
    struct amber_sha256 manifest_sha256;
    const char *table_schema, *table_name;
    const char *parent_table; /* NULL for a root */
    int64_t start_day, end_day;
    uint64_t rows, raw_bytes, stored_bytes;
    int64_t archived_us; /* set by the catalog on insert */
};
/* The row of an archive, from its manifest; all strings are borrowed. archived_us is 0. */
void amber_archive_row_of(const struct amber_manifest *m, const char *logical,
                          const char *manifest_key, const struct amber_sha256 *manifest_digest,
                          struct amber_archive_row *out);
/* Step 7, inside the unit's transaction: fence the run to committed and insert its archives.
 * errors CANCELED-free: BUSY "fenced off" if the run isn't running any more */
enum amber_rc amber_catalog_run_commit(struct amber_pg *pg, const struct amber_run *run,
                                       const struct amber_archive_row *rows, size_t n,
                                       struct amber_err *err) AMBER_MUST_CHECK;
/* Fence the run to aborted, committed on return. *out_hit false: it was not running (committed or
 * aborted before). error_text: kept in the run's row. */
enum amber_rc amber_catalog_run_abort(struct amber_pg *pg, const char *run_id,
                                      const char *error_text, bool *out_hit, struct amber_err *err)
    AMBER_MUST_CHECK;
/* 'running', 'committed' or 'aborted' into out (16 bytes). errors NOT_FOUND. */
enum amber_rc amber_catalog_run_state(struct amber_pg *pg, const char *run_id, char out[16],
                                      struct amber_err *err) AMBER_MUST_CHECK;
/* Free an aborted run's reserved names, its objects being gone from the store. */
enum amber_rc amber_catalog_names_release(struct amber_pg *pg, const char *run_id,
                                          struct amber_err *err) AMBER_MUST_CHECK;
/* Runs in a state, of a job (NULL: any) on a store, oldest first. names_left: only those that
 * still have reserved names. each gets run id, job, host, pid, start and age in whole days. */
struct amber_run_row {
    const char *run_id, *job, *host;
    int pid;
    int64_t started_us;
    int64_t age_days;
};
enum amber_rc amber_catalog_runs(struct amber_pg *pg, const char *store_id, const char *state,
                                 const char *job, bool names_left,
                                 enum amber_rc (*each)(void *arg, const struct amber_run_row *run,
                                                       struct amber_err *err),
                                 void *arg, struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_catalog_names(struct amber_pg *pg, const char *run_id,
                                  enum amber_rc (*each)(void *arg, const char *logical,
                                                        struct amber_err *err),
                                  void *arg, struct amber_err *err) AMBER_MUST_CHECK;

/* All names that runs of a store have reserved, whatever became of them. */
enum amber_rc amber_catalog_names_of_store(struct amber_pg *pg, const char *store_id,
                                           enum amber_rc (*each)(void *arg, const char *logical,
                                                                 struct amber_err *err),
                                           void *arg, struct amber_err *err) AMBER_MUST_CHECK;

/* All archives of a store, or of one run (run_id not NULL), ordered by logical name. */
enum amber_rc amber_catalog_archives(struct amber_pg *pg, const char *store_id, const char *run_id,
                                     enum amber_rc (*each)(void *arg,
                                                           const struct amber_archive_row *row,
                                                           struct amber_err *err),
                                     void *arg, struct amber_err *err) AMBER_MUST_CHECK;
/* How many archives a catalog has in all its stores, and a store that has some ("": none does). */
enum amber_rc amber_catalog_any_store(struct amber_pg *pg, char store_id[AMBER_UUID_LEN],
                                      uint64_t *out_archives, struct amber_err *err) AMBER_MUST_CHECK;
/* Whether a run is known at all (reconciliation after a failover). */
enum amber_rc amber_catalog_run_known(struct amber_pg *pg, const char *run_id, bool *out,
                                      struct amber_err *err) AMBER_MUST_CHECK;
/* Adopt a committed run that this catalog doesn't know (after a failover or restore to an earlier
 * point): insert it as committed with its archives, in the current transaction. */
enum amber_rc amber_catalog_run_adopt(struct amber_pg *pg, const struct amber_run *run,
                                      const struct amber_archive_row *rows, size_t n,
                                      struct amber_err *err) AMBER_MUST_CHECK;

/* Last result of a job, kept across restarts. */
struct amber_job_result {
    int64_t started_us, finished_us; /* 0: never */
    char state[16];                  /* "ok", "failed", "canceled", "" */
    char error[1024];
    uint64_t rows, bytes, archives, rows_stayed;
};
enum amber_rc amber_catalog_job_result_put(struct amber_pg *pg, const char *store_id,
                                           const char *job, const struct amber_job_result *r,
                                           struct amber_err *err) AMBER_MUST_CHECK;
/* All zero if never run. */
enum amber_rc amber_catalog_job_result_get(struct amber_pg *pg, const char *store_id,
                                           const char *job, struct amber_job_result *out,
                                           struct amber_err *err) AMBER_MUST_CHECK;

/* Restored rows stay: a pin keeps jobs from archiving rows of a table whose time lies in
 * [from_day, to_day] (UTC days, both included) until until_us. */
struct amber_pin_row {
    const char *table_schema, *table_name; /* the family's root table */
    int64_t from_day, to_day;
    int64_t until_us;
    const char *reason; /* "restore of flow_logs/..." */
};
/* A pin that holds for hold_us from now on, by the server's clock; its until_us isn't looked at. Of
 * several pins of one table and the same days there is one, which holds until the latest time. */
enum amber_rc amber_catalog_pin_add(struct amber_pg *pg, const struct amber_pin_row *pin,
                                    int64_t hold_us, struct amber_err *err) AMBER_MUST_CHECK;
/* Pins not yet past, of one table, or of all (table NULL). */
enum amber_rc amber_catalog_pins(struct amber_pg *pg, const char *table_schema, const char *table,
                                 enum amber_rc (*each)(void *arg, const struct amber_pin_row *pin,
                                                       struct amber_err *err),
                                 void *arg, struct amber_err *err) AMBER_MUST_CHECK;

/* A restore, in the transaction that inserts its rows. archive_id NULL: a person's file. */
enum amber_rc amber_catalog_restore_add(struct amber_pg *pg, const char *archive_id,
                                        const char *table_schema, const char *table_name,
                                        uint64_t rows_inserted, uint64_t rows_skipped,
                                        struct amber_err *err) AMBER_MUST_CHECK;
/* Whether this archive was restored into this table before. */
enum amber_rc amber_catalog_restored_before(struct amber_pg *pg, const char *archive_id,
                                            const char *table_schema, const char *table_name,
                                            bool *out, struct amber_err *err) AMBER_MUST_CHECK;

#endif
