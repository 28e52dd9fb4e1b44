/*
 * catalog.c - the catalog in use: the fence, names, archives, results, pins, restores.
 *
 * Every statement stands on its own (autocommit), but for run_commit, run_adopt, pin_add and
 * restore_add, which belong to the transaction that the caller has open. Listings are streamed: a
 * callback doesn't use the connection.
 *
 * The fence: run_abort and run_commit update the run's row only from 'running', so that one of
 * them wins; the loser of two that overlap waits for the other's transaction to end. A unit's
 * transaction sees a lost race as a serialization failure, or as no row: both are told as BUSY
 * with SQLSTATE 40001, "roll back and try anew".
 */
#include "amber/catalog.h"

#include <inttypes.h>
#include <stdio.h>

#include "pg_priv.h"

#define INT_TEXT 24 /* room for any int64_t as text */

#define EPOCH_DATE "DATE '1970-01-01'"
#define US_OF(col) "(extract(epoch FROM " col ") * 1000000)::bigint"
#define TIME_OF(param) "(TIMESTAMPTZ 'epoch' + " param "::bigint * INTERVAL '1 microsecond')"

/* Run a statement for its effect. out_rows may be NULL. */
static enum amber_rc run(struct amber_pg *pg, uint64_t *out_rows, struct amber_err *err,
                         const char *sql, size_t n, const char *const *params)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    enum amber_rc rc = amber_pg_query(pg, &res, err, sql, n, params);
    if (!rc && out_rows)
        *out_rows = amber_res_affected(res);
    return rc;
}

static const char *int_text(char buf[INT_TEXT], int64_t v)
{
    snprintf(buf, INT_TEXT, "%" PRId64, v);
    return buf;
}

enum amber_rc amber_catalog_is_primary(struct amber_pg *pg, bool *out, struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    enum amber_rc rc = amber_pg_query(pg, &res, err, "SELECT NOT pg_is_in_recovery()", 0, NULL);
    if (!rc)
        *out = amber_res_bool(res, 0, 0);
    return rc;
}

/* ---- runs and names ---- */

enum amber_rc amber_catalog_run_begin(struct amber_pg *pg, const struct amber_run *r,
                                      struct amber_err *err)
{
    char pid[INT_TEXT];
    const char *params[] = {r->run_id, r->store_id, r->job, r->host, int_text(pid, r->pid)};
    return run(pg, NULL, err,
               "INSERT INTO amberfs.runs (run_id, store_id, job, host, pid, state)"
               " VALUES ($1::uuid, $2::uuid, $3, $4, $5::integer, 'running')",
               5, params);
}

static enum amber_rc fenced_off(const char *run_id, struct amber_err *err)
{
    enum amber_rc rc = amber_fail(err, AMBER_E_BUSY,
                                  "run %s was fenced off by another process, which took it for "
                                  "dead: its work is rolled back and done anew",
                                  run_id);
    memcpy(err->sqlstate, "40001", sizeof(err->sqlstate));
    return rc;
}

enum amber_rc amber_catalog_name_reserve(struct amber_pg *pg, const struct amber_run *r,
                                         const char *logical, struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    const char *params[] = {r->run_id, r->store_id, logical};
    enum amber_rc rc = amber_pg_query(
        pg, &res, err,
        "WITH alive AS (SELECT run_id FROM amberfs.runs"
        "  WHERE run_id = $1::uuid AND state = 'running'),"
        " taken AS (INSERT INTO amberfs.names (store_id, logical_name, run_id)"
        "  SELECT $2::uuid, $3, run_id FROM alive ON CONFLICT DO NOTHING RETURNING 1)"
        " SELECT EXISTS (SELECT 1 FROM alive), EXISTS (SELECT 1 FROM taken)",
        3, params);
    if (rc)
        return rc;
    if (!amber_res_bool(res, 0, 0))
        return fenced_off(r->run_id, err);
    if (!amber_res_bool(res, 0, 1))
        return amber_fail(err, AMBER_E_EXISTS, "the archive name %s is taken", logical);
    return AMBER_OK;
}

static enum amber_rc insert_archive(struct amber_pg *pg, const struct amber_run *r,
                                    const struct amber_archive_row *a, struct amber_err *err)
{
    char hex[AMBER_SHA256_HEX], first[INT_TEXT], last[INT_TEXT];
    char rows[INT_TEXT], raw[INT_TEXT], stored[INT_TEXT];
    amber_sha256_hex(&a->manifest_sha256, hex);
    const char *params[] = {
        a->archive_id,
        r->run_id,
        r->store_id,
        r->job,
        a->logical,
        a->key,
        a->manifest_key,
        hex,
        a->table_schema,
        a->table_name,
        a->parent_table,
        int_text(first, a->start_day),
        int_text(last, a->end_day),
        int_text(rows, (int64_t)a->rows),
        int_text(raw, (int64_t)a->raw_bytes),
        int_text(stored, (int64_t)a->stored_bytes),
    };
    enum amber_rc rc = run(
        pg, NULL, err,
        "INSERT INTO amberfs.archived_partitions (archive_id, run_id, store_id, job, logical_name,"
        " key, manifest_key, manifest_sha256, table_schema, table_name, parent_table, start_date,"
        " end_date, row_count, raw_bytes, stored_bytes)"
        " VALUES ($1::uuid, $2::uuid, $3::uuid, $4, $5, $6, $7, decode($8, 'hex'), $9, $10, $11,"
        " " EPOCH_DATE " + $12::integer, " EPOCH_DATE " + $13::integer, $14::bigint, $15::bigint,"
        " $16::bigint)",
        amber_countof(params), params);
    return rc ? amber_wrap(err, "recording the archive %s", a->logical) : AMBER_OK;
}

/* Archives of a run and the word to everybody's mounts, at COMMIT. */
static enum amber_rc insert_archives(struct amber_pg *pg, const struct amber_run *r,
                                     const struct amber_archive_row *rows, size_t n,
                                     struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    for (size_t i = 0; !rc && i < n; i++)
        rc = insert_archive(pg, r, &rows[i], err);
    const char *params[] = {r->store_id};
    return rc ? rc : run(pg, NULL, err, "SELECT pg_notify('amberfs', $1)", 1, params);
}

void amber_archive_row_of(const struct amber_manifest *m, const char *logical,
                          const char *manifest_key, const struct amber_sha256 *manifest_digest,
                          struct amber_archive_row *out)
{
    *out = (struct amber_archive_row){
        .archive_id = m->archive_id,
        .run_id = m->run_id,
        .job = m->job,
        .logical = logical,
        .key = m->archive.key,
        .manifest_key = manifest_key,
        .manifest_sha256 = *manifest_digest,
        .table_schema = m->table_schema,
        .table_name = m->table_name,
        .parent_table = m->parent_table,
        .start_day = m->start_day,
        .end_day = m->end_day,
        .rows = m->archive.rows,
        .raw_bytes = m->archive.raw_bytes,
        .stored_bytes = m->archive.stored_bytes,
    };
}

enum amber_rc amber_catalog_run_commit(struct amber_pg *pg, const struct amber_run *r,
                                       const struct amber_archive_row *rows, size_t n,
                                       struct amber_err *err)
{
    uint64_t hit = 0;
    const char *params[] = {r->run_id};
    enum amber_rc rc = run(pg, &hit, err,
                           "UPDATE amberfs.runs SET state = 'committed',"
                           " ended_at = clock_timestamp()"
                           " WHERE run_id = $1::uuid AND state = 'running'",
                           1, params);
    if ((!rc && hit != 1) || (rc == AMBER_E_DB && strcmp(err->sqlstate, "40001") == 0))
        return fenced_off(r->run_id, err);
    return rc ? rc : insert_archives(pg, r, rows, n, err);
}

enum amber_rc amber_catalog_run_abort(struct amber_pg *pg, const char *run_id,
                                      const char *error_text, bool *out_hit, struct amber_err *err)
{
    uint64_t hit = 0;
    const char *params[] = {run_id, error_text};
    enum amber_rc rc = run(pg, &hit, err,
                           "UPDATE amberfs.runs SET state = 'aborted',"
                           " ended_at = clock_timestamp(), error = $2"
                           " WHERE run_id = $1::uuid AND state = 'running'",
                           2, params);
    if (!rc)
        *out_hit = hit == 1;
    return rc;
}

enum amber_rc amber_catalog_run_state(struct amber_pg *pg, const char *run_id, char out[16],
                                      struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    const char *params[] = {run_id};
    enum amber_rc rc = amber_pg_query(
        pg, &res, err, "SELECT state FROM amberfs.runs WHERE run_id = $1::uuid", 1, params);
    if (!rc && !amber_res_rows(res))
        return amber_fail(err, AMBER_E_NOT_FOUND, "the catalog doesn't know run %s", run_id);
    if (!rc)
        snprintf(out, 16, "%s", amber_res_get(res, 0, 0));
    return rc;
}

enum amber_rc amber_catalog_run_known(struct amber_pg *pg, const char *run_id, bool *out,
                                      struct amber_err *err)
{
    char state[16];
    struct amber_err why = AMBER_ERR_INIT;
    enum amber_rc rc = amber_catalog_run_state(pg, run_id, state, &why);
    if (rc && rc != AMBER_E_NOT_FOUND) {
        *err = why;
        return rc;
    }
    *out = rc == AMBER_OK;
    return AMBER_OK;
}

enum amber_rc amber_catalog_names_release(struct amber_pg *pg, const char *run_id,
                                          struct amber_err *err)
{
    const char *params[] = {run_id};
    return run(pg, NULL, err,
               "DELETE FROM amberfs.names n USING amberfs.runs r WHERE n.run_id = $1::uuid"
               " AND r.run_id = n.run_id AND r.state = 'aborted'",
               1, params);
}

/* A run that an earlier point in time knows as running or aborted is committed all the same: its
 * marker is in the store. */
enum amber_rc amber_catalog_run_adopt(struct amber_pg *pg, const struct amber_run *r,
                                      const struct amber_archive_row *rows, size_t n,
                                      struct amber_err *err)
{
    uint64_t hit = 0;
    const char *params[] = {r->run_id, r->store_id, r->job, r->host};
    enum amber_rc rc = run(pg, &hit, err,
                           "INSERT INTO amberfs.runs AS r"
                           " (run_id, store_id, job, host, state, ended_at)"
                           " VALUES ($1::uuid, $2::uuid, $3, $4, 'committed', clock_timestamp())"
                           " ON CONFLICT (run_id) DO UPDATE SET state = 'committed',"
                           " ended_at = clock_timestamp(), error = NULL"
                           " WHERE r.state IN ('running', 'aborted')",
                           4, params);
    if (!rc && hit != 1)
        return amber_fail(err, AMBER_E_EXISTS, "the catalog has run %s already", r->run_id);
    for (size_t i = 0; !rc && i < n; i++) {
        AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
        const char *name[] = {r->store_id, rows[i].logical, r->run_id};
        rc = run(pg, NULL, err,
                 "INSERT INTO amberfs.names (store_id, logical_name, run_id)"
                 " VALUES ($1::uuid, $2, $3::uuid) ON CONFLICT DO NOTHING",
                 3, name);
        if (!rc)
            rc = amber_pg_query(pg, &res, err,
                                "SELECT run_id = $3::uuid FROM amberfs.names"
                                " WHERE store_id = $1::uuid AND logical_name = $2",
                                3, name);
        if (!rc && (!amber_res_rows(res) || !amber_res_bool(res, 0, 0)))
            rc = amber_fail(err, AMBER_E_EXISTS,
                            "run %s can't be adopted: another run of this catalog has the archive "
                            "name %s",
                            r->run_id, rows[i].logical);
    }
    return rc ? rc : insert_archives(pg, r, rows, n, err);
}

/* ---- listings ---- */

struct run_listing {
    enum amber_rc (*each)(void *arg, const struct amber_run_row *run, struct amber_err *err);
    void *arg;
};

static enum amber_rc run_row(void *arg, const struct amber_res *r, struct amber_err *err)
{
    const struct run_listing *l = arg;
    struct amber_run_row row = {
        .run_id = amber_res_get(r, 0, 0),
        .job = amber_res_get(r, 0, 1),
        .host = amber_res_get(r, 0, 2),
        .pid = (int)amber_res_int(r, 0, 3),
        .started_us = amber_res_int(r, 0, 4),
        .age_days = amber_res_int(r, 0, 5),
    };
    return l->each(l->arg, &row, err);
}

enum amber_rc amber_catalog_runs(struct amber_pg *pg, const char *store_id, const char *state,
                                 const char *job, bool names_left,
                                 enum amber_rc (*each)(void *arg, const struct amber_run_row *run,
                                                       struct amber_err *err),
                                 void *arg, struct amber_err *err)
{
    struct run_listing l = {each, arg};
    const char *params[] = {store_id, state, job, names_left ? "true" : "false"};
    return amber_pg_stream(
        pg,
        "SELECT run_id, job, coalesce(host, ''), pid, " US_OF(
            "started_at") ","
                          " floor(extract(epoch FROM clock_timestamp() - started_at) / "
                          "86400)::bigint"
                          " FROM amberfs.runs r WHERE store_id = $1::uuid AND state = $2"
                          " AND ($3::text IS NULL OR job = $3) AND (NOT $4::boolean OR EXISTS"
                          "  (SELECT 1 FROM amberfs.names n WHERE n.run_id = r.run_id))"
                          " ORDER BY started_at, run_id",
        4, params, run_row, &l, err);
}

struct name_listing {
    enum amber_rc (*each)(void *arg, const char *logical, struct amber_err *err);
    void *arg;
};

static enum amber_rc name_row(void *arg, const struct amber_res *r, struct amber_err *err)
{
    const struct name_listing *l = arg;
    return l->each(l->arg, amber_res_get(r, 0, 0), err);
}

enum amber_rc amber_catalog_names(struct amber_pg *pg, const char *run_id,
                                  enum amber_rc (*each)(void *arg, const char *logical,
                                                        struct amber_err *err),
                                  void *arg, struct amber_err *err)
{
    struct name_listing l = {each, arg};
    const char *params[] = {run_id};
    return amber_pg_stream(pg,
                           "SELECT logical_name FROM amberfs.names WHERE run_id = $1::uuid"
                           " ORDER BY logical_name",
                           1, params, name_row, &l, err);
}

enum amber_rc amber_catalog_names_of_store(struct amber_pg *pg, const char *store_id,
                                           enum amber_rc (*each)(void *arg, const char *logical,
                                                                 struct amber_err *err),
                                           void *arg, struct amber_err *err)
{
    struct name_listing l = {each, arg};
    const char *params[] = {store_id};
    return amber_pg_stream(pg, "SELECT logical_name FROM amberfs.names WHERE store_id = $1::uuid",
                           1, params, name_row, &l, err);
}

struct archive_listing {
    enum amber_rc (*each)(void *arg, const struct amber_archive_row *row, struct amber_err *err);
    void *arg;
};

static enum amber_rc archive_row(void *arg, const struct amber_res *r, struct amber_err *err)
{
    const struct archive_listing *l = arg;
    struct amber_archive_row row = {
        .archive_id = amber_res_get(r, 0, 0),
        .run_id = amber_res_get(r, 0, 1),
        .job = amber_res_get(r, 0, 2),
        .logical = amber_res_get(r, 0, 3),
        .key = amber_res_get(r, 0, 4),
        .manifest_key = amber_res_get(r, 0, 5),
        .table_schema = amber_res_get(r, 0, 7),
        .table_name = amber_res_get(r, 0, 8),
        .parent_table = amber_res_get(r, 0, 9),
        .start_day = amber_res_int(r, 0, 10),
        .end_day = amber_res_int(r, 0, 11),
        .rows = (uint64_t)amber_res_int(r, 0, 12),
        .raw_bytes = (uint64_t)amber_res_int(r, 0, 13),
        .stored_bytes = (uint64_t)amber_res_int(r, 0, 14),
        .archived_us = amber_res_int(r, 0, 15),
    };
    enum amber_rc rc = amber_sha256_parse(amber_res_get(r, 0, 6), &row.manifest_sha256, err);
    return rc ? rc : l->each(l->arg, &row, err);
}

enum amber_rc amber_catalog_archives(struct amber_pg *pg, const char *store_id, const char *run_id,
                                     enum amber_rc (*each)(void *arg,
                                                           const struct amber_archive_row *row,
                                                           struct amber_err *err),
                                     void *arg, struct amber_err *err)
{
    struct archive_listing l = {each, arg};
    const char *params[] = {store_id, run_id};
    return amber_pg_stream(
        pg,
        "SELECT archive_id, run_id, job, logical_name, key, manifest_key,"
        " encode(manifest_sha256, 'hex'), table_schema, table_name, parent_table,"
        " start_date - " EPOCH_DATE ", end_date - " EPOCH_DATE ", row_count, raw_bytes,"
        " stored_bytes, " US_OF(
            "archived_at") " FROM amberfs.archived_partitions"
                           " WHERE store_id = $1::uuid AND ($2::uuid IS NULL OR run_id = $2::uuid)"
                           " ORDER BY logical_name",
        2, params, archive_row, &l, err);
}

enum amber_rc amber_catalog_any_store(struct amber_pg *pg, char store_id[AMBER_UUID_LEN],
                                      uint64_t *out_archives, struct amber_err *err)
{
    struct amber_res *r;
    enum amber_rc rc = amber_pg_query(
        pg, &r, err,
        "SELECT coalesce(max(store_id::text), ''), count(*) FROM amberfs.archived_partitions", 0,
        NULL);
    if (rc)
        return rc;
    snprintf(store_id, AMBER_UUID_LEN, "%s", amber_res_get(r, 0, 0));
    *out_archives = (uint64_t)amber_res_int(r, 0, 1);
    amber_res_free(r);
    return AMBER_OK;
}

/* ---- job results ---- */

enum amber_rc amber_catalog_job_result_put(struct amber_pg *pg, const char *store_id,
                                           const char *job, const struct amber_job_result *r,
                                           struct amber_err *err)
{
    char started[INT_TEXT], finished[INT_TEXT];
    char rows[INT_TEXT], bytes[INT_TEXT], archives[INT_TEXT], stayed[INT_TEXT];
    const char *params[] = {
        store_id,
        job,
        r->started_us ? int_text(started, r->started_us) : NULL,
        r->finished_us ? int_text(finished, r->finished_us) : NULL,
        r->state,
        r->error,
        int_text(rows, (int64_t)r->rows),
        int_text(bytes, (int64_t)r->bytes),
        int_text(archives, (int64_t)r->archives),
        int_text(stayed, (int64_t)r->rows_stayed),
    };
    return run(
        pg, NULL, err,
        "INSERT INTO amberfs.job_results (store_id, job, started_at, finished_at, state,"
        " error, row_count, byte_count, archive_count, rows_stayed)"
        " VALUES ($1::uuid, $2, " TIME_OF("$3") ", " TIME_OF(
            "$4") ", $5, $6, $7::bigint,"
                  " $8::bigint, $9::bigint, $10::bigint)"
                  " ON CONFLICT (store_id, job) DO UPDATE SET started_at = excluded.started_at,"
                  " finished_at = excluded.finished_at, state = excluded.state,"
                  " error = excluded.error, row_count = excluded.row_count,"
                  " byte_count = excluded.byte_count, archive_count = excluded.archive_count,"
                  " rows_stayed = excluded.rows_stayed",
        amber_countof(params), params);
}

enum amber_rc amber_catalog_job_result_get(struct amber_pg *pg, const char *store_id,
                                           const char *job, struct amber_job_result *out,
                                           struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    const char *params[] = {store_id, job};
    enum amber_rc rc = amber_pg_query(
        pg, &res, err,
        "SELECT " US_OF("started_at") ", " US_OF(
            "finished_at") ", state, error,"
                           " row_count, byte_count, archive_count, rows_stayed"
                           " FROM amberfs.job_results WHERE store_id = $1::uuid AND job = $2",
        2, params);
    if (rc)
        return rc;
    *out = (struct amber_job_result){0};
    if (!amber_res_rows(res))
        return AMBER_OK;
    out->started_us = amber_res_int(res, 0, 0);
    out->finished_us = amber_res_int(res, 0, 1);
    snprintf(out->state, sizeof(out->state), "%s", amber_res_get(res, 0, 2));
    snprintf(out->error, sizeof(out->error), "%s", amber_res_get(res, 0, 3));
    out->rows = (uint64_t)amber_res_int(res, 0, 4);
    out->bytes = (uint64_t)amber_res_int(res, 0, 5);
    out->archives = (uint64_t)amber_res_int(res, 0, 6);
    out->rows_stayed = (uint64_t)amber_res_int(res, 0, 7);
    return AMBER_OK;
}

/* ---- pins and restores ---- */

/* The days that PostgreSQL's date can hold: 4713-11-24 BC to 5874897-12-31. */
static int64_t clamp_day(int64_t day)
{
    const int64_t first = -2440588, last = 2145042541;
    return day < first ? first : day > last ? last : day;
}

enum amber_rc amber_catalog_pin_add(struct amber_pg *pg, const struct amber_pin_row *pin,
                                    int64_t hold_us, struct amber_err *err)
{
    char from[INT_TEXT], to[INT_TEXT], hold[INT_TEXT];
    const char *params[] = {
        pin->table_schema,
        pin->table_name,
        int_text(from, clamp_day(pin->from_day)),
        int_text(to, clamp_day(pin->to_day)),
        int_text(hold, hold_us),
        pin->reason,
    };
    return run(pg, NULL, err,
               "WITH new(s, t, first, last, until, reason) AS (VALUES ($1, $2,"
               " " EPOCH_DATE " + $3::integer, " EPOCH_DATE " + $4::integer,"
               " clock_timestamp() + $5::bigint * interval '1 microsecond', $6)),"
               " longer AS (UPDATE amberfs.pins p SET until = greatest(p.until, new.until)"
               " FROM new WHERE (p.table_schema, p.table_name, p.from_date, p.to_date)"
               " = (s, t, first, last) RETURNING 1)"
               "INSERT INTO amberfs.pins (table_schema, table_name, from_date, to_date, until,"
               " reason) SELECT * FROM new WHERE NOT EXISTS (SELECT FROM longer)",
               6, params);
}

struct pin_listing {
    enum amber_rc (*each)(void *arg, const struct amber_pin_row *pin, struct amber_err *err);
    void *arg;
};

static enum amber_rc pin_row(void *arg, const struct amber_res *r, struct amber_err *err)
{
    const struct pin_listing *l = arg;
    struct amber_pin_row row = {
        .table_schema = amber_res_get(r, 0, 0),
        .table_name = amber_res_get(r, 0, 1),
        .from_day = amber_res_int(r, 0, 2),
        .to_day = amber_res_int(r, 0, 3),
        .until_us = amber_res_int(r, 0, 4),
        .reason = amber_res_get(r, 0, 5),
    };
    return l->each(l->arg, &row, err);
}

enum amber_rc amber_catalog_pins(struct amber_pg *pg, const char *table_schema, const char *table,
                                 enum amber_rc (*each)(void *arg, const struct amber_pin_row *pin,
                                                       struct amber_err *err),
                                 void *arg, struct amber_err *err)
{
    struct pin_listing l = {each, arg};
    const char *params[] = {table_schema, table};
    return amber_pg_stream(
        pg,
        "SELECT table_schema, table_name, from_date - " EPOCH_DATE ", to_date - " EPOCH_DATE ","
        " " US_OF("until") ", coalesce(reason, '') FROM amberfs.pins"
                           " WHERE until > clock_timestamp()"
                           " AND ($2::text IS NULL OR (table_schema = $1 AND table_name = $2))"
                           " ORDER BY table_schema, table_name, from_date, pin_id",
        2, params, pin_row, &l, err);
}

enum amber_rc amber_catalog_restore_add(struct amber_pg *pg, const char *archive_id,
                                        const char *table_schema, const char *table_name,
                                        uint64_t rows_inserted, uint64_t rows_skipped,
                                        struct amber_err *err)
{
    char inserted[INT_TEXT], skipped[INT_TEXT];
    const char *params[] = {archive_id, table_schema, table_name,
                            int_text(inserted, (int64_t)rows_inserted),
                            int_text(skipped, (int64_t)rows_skipped)};
    return run(pg, NULL, err,
               "INSERT INTO amberfs.restores (archive_id, table_schema, table_name, rows_inserted,"
               " rows_skipped) VALUES ($1::uuid, $2, $3, $4::bigint, $5::bigint)",
               5, params);
}

enum amber_rc amber_catalog_restored_before(struct amber_pg *pg, const char *archive_id,
                                            const char *table_schema, const char *table_name,
                                            bool *out, struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    const char *params[] = {archive_id, table_schema, table_name};
    enum amber_rc rc =
        amber_pg_query(pg, &res, err,
                       "SELECT EXISTS (SELECT 1 FROM amberfs.restores WHERE archive_id = $1::uuid"
                       " AND table_schema = $2 AND table_name = $3)",
                       3, params);
    if (!rc)
        *out = amber_res_bool(res, 0, 0);
    return rc;
}
