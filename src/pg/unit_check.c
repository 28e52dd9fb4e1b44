/*
 * unit_check.c - did anything but our own deletes happen in the transaction?
 *
 * PostgreSQL counts, per relation, the rows that a session inserts, updates and deletes. Compared
 * with the counts at the unit's start (those of earlier transactions may not have been flushed
 * yet), every difference must be one of our deletes: whatever a cascade or a trigger did that the
 * preflight could not foresee shows here. Changes to foreign tables aren't counted by the server.
 * source  PostgreSQL manual, "The Cumulative Statistics System", pg_stat_xact_all_tables
 */
#include "unit_priv.h"

enum { S_OID, S_NAME, S_INSERTED, S_UPDATED, S_DELETED };

static enum amber_rc read_statistics(struct amber_unit *u, struct amber_res **out,
                                     struct amber_err *err)
{
    return amber_pg_query(
        u->cfg.pg, out, err,
        "SELECT * FROM (SELECT c.oid, format('%I.%I', n.nspname, c.relname),"
        " pg_stat_get_xact_tuples_inserted(c.oid) AS i, pg_stat_get_xact_tuples_updated(c.oid) AS "
        "u,"
        " pg_stat_get_xact_tuples_deleted(c.oid) AS d FROM pg_class c JOIN pg_namespace n"
        " ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'"
        " AND n.nspname NOT IN ('pg_catalog', 'pg_toast', 'amberfs') OFFSET 0) q"
        " WHERE i + u + d > 0 ORDER BY oid",
        0, NULL);
}

enum amber_rc amber_unit_remember(struct amber_unit *u, struct amber_err *err)
{
    return read_statistics(u, &u->before, err);
}

/* A count at the unit's start; both lists are sorted, so *at only moves on. */
static void counts_before(const struct amber_unit *u, int64_t oid, size_t *at, int64_t out[3])
{
    size_t n = amber_res_rows(u->before);

    while (*at < n && amber_res_int(u->before, *at, S_OID) < oid)
        ++*at;
    bool found = *at < n && amber_res_int(u->before, *at, S_OID) == oid;
    for (size_t i = 0; i < 3; i++)
        out[i] = found ? amber_res_int(u->before, *at, S_INSERTED + i) : 0;
}

static enum amber_rc check_relation(const struct amber_unit *u, const struct amber_res *now,
                                    size_t row, const int64_t before[3], bool *seen,
                                    struct amber_err *err)
{
    const char *name = amber_res_get(now, row, S_NAME);
    long long inserted = (long long)(amber_res_int(now, row, S_INSERTED) - before[0]);
    long long updated = (long long)(amber_res_int(now, row, S_UPDATED) - before[1]);
    long long deleted = (long long)(amber_res_int(now, row, S_DELETED) - before[2]);
    ptrdiff_t leaf =
        amber_family_leaf_find(u->cfg.family, (uint32_t)amber_res_int(now, row, S_OID));
    long long expected = leaf < 0 ? 0 : (long long)u->deleted[leaf];

    if (leaf >= 0)
        seen[leaf] = true;
    if (inserted == 0 && updated == 0 && deleted == expected)
        return AMBER_OK;
    return amber_fail(err, AMBER_E_CORRUPT,
                      "deleting the archived rows changed %s beside: %lld inserted, %lld updated, "
                      "%lld deleted where %lld were expected; nothing is moved. Look for triggers "
                      "and foreign keys with an action on the job's tables",
                      name, inserted, updated, deleted, expected);
}

static enum amber_rc check_changes(struct amber_unit *u, const struct amber_res *now, bool *seen,
                                   struct amber_err *err)
{
    const struct amber_family *f = u->cfg.family;
    size_t at = 0;
    enum amber_rc rc = AMBER_OK;

    for (size_t i = 0; rc == AMBER_OK && i < amber_res_rows(now); i++) {
        int64_t before[3];
        counts_before(u, amber_res_int(now, i, S_OID), &at, before);
        rc = check_relation(u, now, i, before, seen, err);
    }
    for (size_t i = 0; rc == AMBER_OK && i < u->fp->n_by_oid; i++) {
        const struct amber_leaf_ref *ref = &u->fp->by_oid[i];
        if (u->deleted[i] > 0 && !seen[i])
            rc = amber_fail(err, AMBER_E_CORRUPT,
                            "the server's statistics don't show the rows deleted from "
                            "\"%s\".\"%s\"; nothing is moved. Is track_counts off for this role?",
                            f->tables[ref->table].leaves[ref->leaf].schema,
                            f->tables[ref->table].leaves[ref->leaf].name);
    }
    return rc;
}

enum amber_rc amber_unit_check(struct amber_unit *u, struct amber_err *err)
{
    struct amber_res *now AMBER_CLEANUP(amber_res_free_p) = NULL;
    AMBER_AUTO_FREE bool *seen = NULL;
    enum amber_rc rc = amber_pg_exec(u->cfg.pg, err, "SET CONSTRAINTS ALL IMMEDIATE");

    if (rc == AMBER_OK)
        rc = amber_calloc(u->fp->n_by_oid + 1, sizeof(*seen), &seen, err);
    if (rc == AMBER_OK)
        rc = read_statistics(u, &now, err);
    if (rc == AMBER_OK)
        rc = check_changes(u, now, seen, err);
    if (rc == AMBER_OK)
        rc = amber_family_check_partitions(u->cfg.pg, u->cfg.family, err);
    return rc;
}

enum amber_rc amber_unit_vacuum(struct amber_pg *pg, const struct amber_family *f, bool gently,
                                struct amber_err *err)
{
    struct amber_family_priv *p = amber_family_priv(f);
    enum amber_rc rc = gently ? amber_pg_exec(pg, err, "SET vacuum_cost_delay = '2ms'") : AMBER_OK;

    for (size_t i = 0; rc == AMBER_OK && i < p->n_by_oid; i++) {
        const struct amber_leaf_ref *ref = &p->by_oid[i];
        const struct amber_leaf *leaf = &f->tables[ref->table].leaves[ref->leaf];
        struct amber_sqltext sql AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
        if (!p->dirty[i])
            continue;
        /* Somebody else who is at it, autovacuum mostly, does as well. */
        amber_sqltext_add(&sql, "VACUUM (ANALYZE, SKIP_LOCKED) %t", leaf->schema, leaf->name);
        rc = amber_sqltext_exec(&sql, pg);
        if (rc == AMBER_OK)
            p->dirty[i] = false;
    }
    return rc;
}
