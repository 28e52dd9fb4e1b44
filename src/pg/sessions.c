/*
 * sessions.c - the database's other sessions: who waits for locks that we hold, who is at work.
 */
#include "unit_priv.h"

#include <stdio.h>

/* The server is asked: a pooler tells its clients numbers of its own. */
enum amber_rc amber_unit_pid(struct amber_unit *u, int *out, struct amber_err *err)
{
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    enum amber_rc rc = amber_pg_query(u->cfg.pg, &r, err, "SELECT pg_backend_pid()", 0, NULL);

    if (rc == AMBER_OK)
        *out = (int)amber_res_int(r, 0, 0);
    return rc;
}

enum amber_rc amber_unit_waiters(struct amber_pg *pg, int pid, struct amber_waiter *out, size_t max,
                                 size_t *out_n, struct amber_err *err)
{
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    char text[16];
    const char *param = text;

    snprintf(text, sizeof(text), "%d", pid);
    /* A wait for a row is one for its transaction, which has no relation. */
    enum amber_rc rc = amber_pg_query(
        pg, &r, err,
        "SELECT l.pid, l.mode, coalesce((SELECT format('on %I.%I', n.nspname, c.relname)"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = l.relation),"
        " 'on a row') FROM pg_locks l WHERE NOT l.granted"
        " AND $1::integer = ANY (pg_blocking_pids(l.pid)) ORDER BY 1",
        1, &param);
    if (rc != AMBER_OK)
        return rc;
    *out_n = amber_res_rows(r) < max ? amber_res_rows(r) : max;
    for (size_t i = 0; i < *out_n; i++) {
        out[i].pid = (int)amber_res_int(r, i, 0);
        snprintf(out[i].what, sizeof(out[i].what), "%s %s", amber_res_get(r, i, 1),
                 amber_res_get(r, i, 2));
    }
    return AMBER_OK;
}

enum amber_rc amber_unit_others(struct amber_pg *pg, bool *out, struct amber_err *err)
{
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    /* Whoever works holds the lock on his virtual transaction, which everybody may see; a session's
     * state is seen by its own role and by those who may monitor. */
    enum amber_rc rc = amber_pg_query(
        pg, &r, err,
        "SELECT EXISTS (SELECT FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted"
        " AND l.pid <> pg_backend_pid() AND coalesce(a.application_name, '') NOT LIKE 'amberfs: %'"
        " AND coalesce(a.backend_type, 'client backend') = 'client backend'"
        " AND (a.state IS NULL OR a.state NOT LIKE 'idle%'"
        " OR a.state_change > clock_timestamp() - interval '1 second'))",
        0, NULL);

    if (rc == AMBER_OK)
        *out = amber_res_bool(r, 0, 0);
    return rc;
}
