/*
 * catalog_install.c - making the catalog, once, however many come at the same time.
 *
 * One transaction under an advisory lock: look, check rights and names, make everything (or what an
 * older version lacks), commit.
 * Whoever waited for the lock looks again. What is asked of the server's tables is asked by plain
 * queries: to_regclass() and the like answer from the session's cache, which may not know yet what
 * another session has just made.
 */
#include <inttypes.h>
#include <stdio.h>

#include "amber/catalog.h"
#include "catalog_priv.h"
#include "pg_priv.h"

static enum amber_rc run(struct amber_pg *pg, struct amber_err *err, const char *sql, size_t n,
                         const char *const *params)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    return amber_pg_query(pg, &res, err, sql, n, params);
}

/* 0: no catalog here. */
static enum amber_rc read_version(struct amber_pg *pg, int64_t *out, struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *version = NULL;
    *out = 0;
    enum amber_rc rc = amber_pg_query(pg, &res, err,
                                      "SELECT EXISTS (SELECT 1 FROM pg_class c"
                                      " JOIN pg_namespace n ON n.oid = c.relnamespace"
                                      " WHERE n.nspname = 'amberfs' AND c.relname = 'meta')",
                                      0, NULL);
    if (rc || !amber_res_bool(res, 0, 0))
        return rc;
    rc = amber_pg_query(pg, &version, err, "SELECT version FROM amberfs.meta", 0, NULL);
    if (rc && strcmp(err->sqlstate, "42501") == 0)
        return amber_fail(err, AMBER_E_DENIED,
                          "%s: this user may not read the catalog: as its owner GRANT USAGE ON "
                          "SCHEMA amberfs and rights on its tables to it, or connect as the owner",
                          pg->where);
    if (!rc && amber_res_rows(version) == 1)
        *out = amber_res_int(version, 0, 0);
    return rc;
}

static enum amber_rc check_version(struct amber_pg *pg, int64_t version, struct amber_err *err)
{
    if (version <= AMBER_CATALOG_VERSION)
        return AMBER_OK;
    return amber_fail(err, AMBER_E_UNSUPPORTED,
                      "%s: the catalog has version %" PRId64 ", and this amberfs knows versions up "
                      "to %d: use a newer amberfs",
                      pg->where, version, AMBER_CATALOG_VERSION);
}

/* What the server says before anything is made. */
struct prospect {
    bool standby, has_schema, may_schema, has_public, may_public;
    char user[128]; /* quoted */
};

static enum amber_rc look_around(struct amber_pg *pg, struct prospect *out, struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    enum amber_rc rc = amber_pg_query(
        pg, &res, err,
        "SELECT pg_is_in_recovery(), a.oid IS NOT NULL,"
        " CASE WHEN a.oid IS NULL THEN has_database_privilege(current_database(), 'CREATE')"
        "  ELSE has_schema_privilege(a.oid, 'CREATE') END,"
        " p.oid IS NOT NULL, has_schema_privilege(p.oid, 'CREATE'), quote_ident(current_user)"
        " FROM (SELECT) one"
        " LEFT JOIN pg_namespace a ON a.nspname = 'amberfs'"
        " LEFT JOIN pg_namespace p ON p.nspname = 'public'",
        0, NULL);
    if (rc)
        return rc;
    *out = (struct prospect){
        .standby = amber_res_bool(res, 0, 0),
        .has_schema = amber_res_bool(res, 0, 1),
        .may_schema = amber_res_bool(res, 0, 2),
        .has_public = amber_res_bool(res, 0, 3),
        .may_public = amber_res_bool(res, 0, 4),
    };
    snprintf(out->user, sizeof(out->user), "%s", amber_res_get(res, 0, 5));
    return AMBER_OK;
}

/* tables_only: an upgrade, which leaves the views in public alone. */
static enum amber_rc check_rights(struct amber_pg *pg, const struct prospect *p, bool tables_only,
                                  struct amber_err *err)
{
    bool views_denied = p->has_public && !p->may_public && !tables_only;

    if (p->standby)
        return amber_fail(err, AMBER_E_DENIED,
                          "%s is a standby without a catalog, or with an older one: run `amberfs "
                          "init` against the primary",
                          pg->where);
    if (p->may_schema && !views_denied)
        return AMBER_OK;
    char schema[256] = "", views[256] = "";
    if (!p->may_schema && p->has_schema)
        snprintf(schema, sizeof(schema), " GRANT CREATE, USAGE ON SCHEMA amberfs TO %s;", p->user);
    else if (!p->may_schema)
        snprintf(schema, sizeof(schema), " CREATE SCHEMA amberfs AUTHORIZATION %s;", p->user);
    if (views_denied)
        snprintf(views, sizeof(views), " GRANT CREATE ON SCHEMA public TO %s;", p->user);
    return amber_fail(err, AMBER_E_DENIED,
                      "%s: %s may not create the catalog. As a superuser or the database's owner "
                      "run:%s%s then try again (the right on public may be revoked afterwards)",
                      pg->where, p->user, schema, views);
}

/* The views' names must be free or ours. */
static enum amber_rc check_views(struct amber_pg *pg, struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    enum amber_rc rc = amber_pg_query(
        pg, &res, err,
        "SELECT c.relname, CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'"
        " WHEN 'S' THEN 'SEQUENCE' WHEN 'i' THEN 'INDEX' WHEN 'f' THEN 'FOREIGN TABLE'"
        " ELSE 'TABLE' END"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'public' AND c.relname IN ('archived_partitions', "
        "'database_size_stats')"
        " AND NOT EXISTS (SELECT 1 FROM pg_rewrite r JOIN pg_depend d"
        "  ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid"
        "  AND d.refclassid = 'pg_class'::regclass"
        "  AND d.refobjid = to_regclass('amberfs.archived_partitions')"
        "  WHERE r.ev_class = c.oid)"
        " ORDER BY 1",
        0, NULL);
    if (rc || !amber_res_rows(res))
        return rc;
    const char *name = amber_res_get(res, 0, 0), *kind = amber_res_get(res, 0, 1);
    return amber_fail(
        err, AMBER_E_EXISTS,
        "%s: public.%s is there already and isn't amberfs's view: rename it (ALTER %s "
        "public.%s RENAME TO %s_old), then try again; nothing was changed",
        pg->where, name, kind, name, name);
}

static enum amber_rc make_catalog(struct amber_pg *pg, struct amber_err *err)
{
    struct prospect p;
    enum amber_rc rc = look_around(pg, &p, err);
    if (!rc)
        rc = check_rights(pg, &p, false, err);
    if (!rc)
        rc = check_views(pg, err);
    if (!rc && !p.has_schema)
        rc = amber_pg_exec(pg, err, "CREATE SCHEMA amberfs");
    if (!rc)
        rc = amber_pg_exec(pg, err, amber_catalog_tables_sql);
    if (!rc)
        rc = amber_pg_exec(pg, err, amber_catalog_replicas_sql);
    if (rc && strcmp(err->sqlstate, "42P07") == 0)
        return amber_wrap(err,
                          "%s: schema amberfs holds something that isn't ours: rename that schema "
                          "and try again",
                          pg->where);
    if (!rc && p.has_public)
        rc = amber_pg_exec(pg, err, amber_catalog_views_sql);
    char id[AMBER_UUID_LEN];
    if (!rc)
        rc = amber_uuid_new(id, err);
    if (rc)
        return rc;
    char version[16];
    snprintf(version, sizeof(version), "%d", AMBER_CATALOG_VERSION);
    const char *params[] = {id, version};
    return run(pg, err,
               "INSERT INTO amberfs.meta (catalog_id, version) VALUES ($1::uuid, $2::integer)", 2,
               params);
}

/* Bring an older catalog up, step by step. */
static enum amber_rc upgrade_catalog(struct amber_pg *pg, int64_t version, struct amber_err *err)
{
    char now[16];
    struct prospect p;
    enum amber_rc rc = look_around(pg, &p, err);
    if (!rc)
        rc = check_rights(pg, &p, true, err);
    if (!rc && version < 2)
        rc = amber_pg_exec(pg, err, amber_catalog_replicas_sql);
    snprintf(now, sizeof(now), "%d", AMBER_CATALOG_VERSION);
    const char *params[] = {now};
    return rc ? rc
              : run(pg, err, "UPDATE amberfs.meta SET version = $1::integer", 1, params);
}

enum amber_rc amber_catalog_install(struct amber_pg *pg, bool *out_made, struct amber_err *err)
{
    int64_t version;
    enum amber_rc rc = read_version(pg, &version, err);
    if (!rc)
        rc = check_version(pg, version, err);
    if (rc)
        return rc;
    *out_made = false;
    if (version == AMBER_CATALOG_VERSION)
        return AMBER_OK;
    /* A standby can't take the lock, and has no right to anything. */
    struct prospect p;
    rc = look_around(pg, &p, err);
    if (!rc)
        rc = check_rights(pg, &p, version > 0, err);
    if (!rc)
        rc = amber_pg_begin(pg, "", err);
    if (rc)
        return rc;
    /* Somebody else may have made it while we waited for the lock. */
    rc = run(pg, err, "SELECT pg_advisory_xact_lock(hashtextextended('amberfs catalog', 0))", 0,
             NULL);
    if (!rc)
        rc = read_version(pg, &version, err);
    if (!rc)
        rc = check_version(pg, version, err);
    if (!rc && !version)
        rc = make_catalog(pg, err);
    else if (!rc && version < AMBER_CATALOG_VERSION)
        rc = upgrade_catalog(pg, version, err);
    if (!rc)
        rc = amber_pg_commit(pg, err);
    if (rc) {
        amber_pg_rollback(pg);
        return rc;
    }
    *out_made = !version;
    return AMBER_OK;
}

enum amber_rc amber_catalog_id(struct amber_pg *pg, char out[AMBER_UUID_LEN], struct amber_err *err)
{
    int64_t version;
    enum amber_rc rc = read_version(pg, &version, err);
    if (!rc)
        rc = check_version(pg, version, err);
    if (!rc && !version)
        rc = amber_fail(err, AMBER_E_NOT_FOUND, "%s has no catalog yet: run `amberfs init`",
                        pg->where);
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    if (!rc)
        rc = amber_pg_query(pg, &res, err, "SELECT catalog_id FROM amberfs.meta", 0, NULL);
    if (!rc)
        snprintf(out, AMBER_UUID_LEN, "%s", amber_res_get(res, 0, 0));
    return rc;
}
