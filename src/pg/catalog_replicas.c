/*
 * catalog_replicas.c - the queue of runs that are to be copied to a store's replicas.
 */
#include "amber/catalog_replicas.h"

#include <stdio.h>

#include "pg_priv.h"

static enum amber_rc run(struct amber_pg *pg, uint64_t *out_rows, struct amber_err *err,
                         const char *sql, size_t n, const char *const *params)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    enum amber_rc rc = amber_pg_query(pg, &res, err, sql, n, params);
    if (!rc && out_rows)
        *out_rows = amber_res_affected(res);
    return rc;
}

enum amber_rc amber_catalog_replica_queue(struct amber_pg *pg, const struct amber_run *r,
                                          const char *replica, int delay_s, struct amber_err *err)
{
    char delay[16];
    snprintf(delay, sizeof(delay), "%d", delay_s);
    const char *params[] = {r->store_id, replica, r->run_id, delay};
    return run(pg, NULL, err,
               "INSERT INTO amberfs.replications (store_id, replica, run_id, next_try_at)"
               " VALUES ($1::uuid, $2, $3::uuid,"
               " clock_timestamp() + $4::integer * INTERVAL '1 second')",
               4, params);
}

enum amber_rc amber_catalog_replica_catch_up(struct amber_pg *pg, const char *store_id,
                                             const char *replica, uint64_t *out_n,
                                             struct amber_err *err)
{
    const char *params[] = {store_id, replica};
    return run(pg, out_n, err,
               "INSERT INTO amberfs.replications (store_id, replica, run_id)"
               " SELECT r.store_id, $2, r.run_id FROM amberfs.runs r"
               " WHERE r.store_id = $1::uuid AND r.state = 'committed' AND NOT EXISTS"
               "  (SELECT 1 FROM amberfs.replications p WHERE p.store_id = r.store_id"
               "   AND p.replica = $2 AND p.run_id = r.run_id)"
               " ORDER BY r.ended_at, r.run_id ON CONFLICT DO NOTHING",
               2, params);
}

enum amber_rc amber_catalog_replica_take(struct amber_pg *pg, const char *store_id,
                                         const char *replica, bool now,
                                         char out_run_id[AMBER_UUID_LEN], bool *out_found,
                                         struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    const char *params[] = {store_id, replica, now ? "true" : "false"};
    enum amber_rc rc = amber_pg_begin(pg, "", err);
    if (rc)
        return rc;
    rc = amber_pg_query(pg, &res, err,
                        "SELECT run_id FROM amberfs.replications"
                        " WHERE store_id = $1::uuid AND replica = $2 AND done_at IS NULL"
                        " AND ($3::boolean OR next_try_at <= clock_timestamp())"
                        " ORDER BY tries, queued_at, run_id LIMIT 1 FOR UPDATE SKIP LOCKED",
                        3, params);
    *out_found = !rc && amber_res_rows(res) == 1;
    if (*out_found)
        snprintf(out_run_id, AMBER_UUID_LEN, "%s", amber_res_get(res, 0, 0));
    else
        amber_pg_rollback(pg);
    return rc;
}

#define DONE_SQL                                                                                   \
    "UPDATE amberfs.replications SET done_at = clock_timestamp(), error = NULL"                    \
    " WHERE store_id = $1::uuid AND replica = $2 AND run_id = "

enum amber_rc amber_catalog_replica_done(struct amber_pg *pg, const char *store_id,
                                         const char *replica, const char *run_id,
                                         struct amber_err *err)
{
    const char *params[] = {store_id, replica, run_id};
    enum amber_rc rc = run(pg, NULL, err, DONE_SQL "$3::uuid", 3, params);
    return rc ? rc : amber_pg_commit(pg, err);
}

enum amber_rc amber_catalog_replica_failed(struct amber_pg *pg, const char *store_id,
                                           const char *replica, const char *run_id,
                                           const char *why, struct amber_err *err)
{
    const char *params[] = {store_id, replica, run_id, why};
    enum amber_rc rc = run(pg, NULL, err,
                           "UPDATE amberfs.replications SET tries = tries + 1, error = $4,"
                           " next_try_at = clock_timestamp()"
                           "  + least(600, 5 * 2 ^ least(tries, 10)) * INTERVAL '1 second'"
                           " WHERE store_id = $1::uuid AND replica = $2 AND run_id = $3::uuid",
                           4, params);
    return rc ? rc : amber_pg_commit(pg, err);
}

enum amber_rc amber_catalog_replica_settle(struct amber_pg *pg, const char *store_id,
                                           const char *replica, const char *run_id,
                                           struct amber_err *err)
{
    const char *params[] = {store_id, replica, run_id};
    return run(pg, NULL, err,
               DONE_SQL "(SELECT run_id FROM amberfs.replications"
                        " WHERE store_id = $1::uuid AND replica = $2 AND run_id = $3::uuid"
                        " AND done_at IS NULL FOR UPDATE SKIP LOCKED)",
               3, params);
}

#define US_OF(value) "coalesce((extract(epoch FROM " value ") * 1000000)::bigint, 0)"

enum amber_rc amber_catalog_replica_lag(struct amber_pg *pg, const char *store_id,
                                        const char *replica, struct amber_replica_lag *out,
                                        struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    const char *params[] = {store_id, replica};
    enum amber_rc rc = amber_pg_query(
        pg, &res, err,
        "WITH q AS (SELECT * FROM amberfs.replications"
        "  WHERE store_id = $1::uuid AND replica = $2),"
        " behind AS (SELECT * FROM q WHERE done_at IS NULL),"
        " a AS (SELECT count(*) AS n, coalesce(sum(stored_bytes), 0)::bigint AS bytes"
        "  FROM amberfs.archived_partitions WHERE run_id IN (SELECT run_id FROM behind))"
        " SELECT (SELECT count(*) FROM behind), a.n, a.bytes,"
        " (SELECT " US_OF("min(queued_at)") " FROM behind),"
        " (SELECT " US_OF("max(done_at)") " FROM q),"
        " (SELECT error FROM behind WHERE error IS NOT NULL ORDER BY next_try_at DESC LIMIT 1)"
        " FROM a",
        2, params);
    if (rc)
        return rc;
    *out = (struct amber_replica_lag){
        .runs = (uint64_t)amber_res_int(res, 0, 0),
        .archives = (uint64_t)amber_res_int(res, 0, 1),
        .bytes = (uint64_t)amber_res_int(res, 0, 2),
        .oldest_us = amber_res_int(res, 0, 3),
        .copied_us = amber_res_int(res, 0, 4),
    };
    const char *error = amber_res_get(res, 0, 5);
    snprintf(out->error, sizeof(out->error), "%s", error ? error : "");
    return AMBER_OK;
}
