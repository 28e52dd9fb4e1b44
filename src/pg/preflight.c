/*
 * preflight.c - what must not be archived as it is, each finding with its remedy.
 *
 * The checks of the catalogs are a table of queries over m(oid, t), all relations of the family's
 * partition trees with their table's index; each row that a query gives is one finding's text.
 * Every one of these shapes lost or duplicated rows in a trial, or would.
 * source  PostgreSQL manual, "System Catalogs"
 */
#include "family_priv.h"

#include <stdio.h>

/* Relations of the family as r: oid, t, its own name, and whether the job names it (top). */
#define MEMBERS                                                                                    \
    "WITH m AS (SELECT * FROM unnest($1::oid[], $2::int[]) AS u(oid, t)), r AS ("                  \
    "SELECT c.oid, m.t, c.relkind, c.relpersistence, c.relispartition, c.relam, c.relreplident,"   \
    " c.relnamespace, format('%I.%I', n.nspname, c.relname) AS name,"                              \
    " c.oid = ANY ($3::oid[]) AS top FROM m JOIN pg_class c ON c.oid = m.oid"                      \
    " JOIN pg_namespace n ON n.oid = c.relnamespace) "

/* Relations and those that they are partitions of: a publication may name any of them. */
#define PUBLISHED                                                                                  \
    "EXISTS (SELECT 1 FROM pg_publication p WHERE p.pubdelete AND (p.puballtables OR EXISTS ("     \
    "SELECT 1 FROM pg_publication_rel l WHERE l.prpubid = p.oid AND l.prrelid IN ("                \
    "SELECT r.oid UNION SELECT relid FROM pg_partition_ancestors(r.oid)))"

struct check {
    int from_version, to_version; /* of the server; 0: any */
    const char *sql;
};
static const struct check checks[] = {
    /* 1. what kind of relation */
    {.sql = MEMBERS
     "SELECT format('%s is a %s: only tables can be archived%s', name, CASE relkind"
     " WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'"
     " WHEN 'S' THEN 'sequence' ELSE 'relation of another kind' END, CASE WHEN top"
     " THEN '; name the table behind it' ELSE '; detach it from its parent first' END)"
     " FROM r WHERE relkind NOT IN ('r', 'p') ORDER BY 1"},
    {.sql = MEMBERS "SELECT format('%s is a temporary table: it ends with its session; archive a "
                    "permanent one', name) FROM r WHERE top AND relpersistence = 't' ORDER BY 1"},
    {.sql =
         MEMBERS "SELECT format('%s is a partition of %s: name the partitioned table in the job',"
                 " name, (SELECT format('%I.%I', n.nspname, p.relname) FROM pg_inherits i"
                 " JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace n"
                 " ON n.oid = p.relnamespace WHERE i.inhrelid = r.oid))"
                 " FROM r WHERE top AND relispartition ORDER BY 1"},
    {.sql =
         MEMBERS "SELECT format('%s is stored by the access method %s, whose row identities (ctid) "
                 "can''t be vouched for: ALTER TABLE %1$s SET ACCESS METHOD heap', name, a.amname)"
                 " FROM r JOIN pg_am a ON a.oid = r.relam WHERE relkind = 'r' AND a.amname <> "
                 "'heap' ORDER BY 1"},
    {.sql = MEMBERS
     "SELECT format('%I.%I inherits from %s: rows of inheritance children can''t be moved with "
     "their parent; ALTER TABLE %1$I.%2$I NO INHERIT %3$s, or make it a partition',"
     " n.nspname, c.relname, r.name) FROM r JOIN pg_inherits i ON i.inhparent = r.oid"
     " JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
     " WHERE NOT c.relispartition AND c.relkind IN ('r', 'f') ORDER BY 1"},
    {.from_version = 140000,
     .sql = MEMBERS "SELECT format('%s is half detached: finish with ALTER TABLE ... DETACH "
                    "PARTITION ... FINALIZE', c.oid::regclass) FROM r JOIN pg_inherits i"
                    " ON i.inhparent = r.oid JOIN pg_class c ON c.oid = i.inhrelid"
                    " WHERE i.inhdetachpending ORDER BY 1"},
    /* 2. what would happen beside the deletion */
    {.sql = MEMBERS
     "SELECT format('trigger %I of %s fires on DELETE: ALTER TABLE %2$s DISABLE TRIGGER %1$I while "
     "archiving, or make it anew without DELETE', tgname, min(name))"
     " FROM r JOIN pg_trigger g ON g.tgrelid = r.oid WHERE NOT g.tgisinternal"
     " AND g.tgtype & 8 <> 0 AND g.tgenabled IN ('O', 'A') GROUP BY r.t, tgname ORDER BY 1"},
    {.sql = MEMBERS
     "SELECT format('rule %I of %s changes what DELETE does: DROP RULE %1$I ON %2$s, or archive "
     "another table', w.rulename, name) FROM r JOIN pg_rewrite w ON w.ev_class = r.oid"
     " WHERE w.ev_type = '4' AND w.ev_enabled IN ('O', 'A') ORDER BY 1"},
    {.sql = MEMBERS
     "SELECT format('the triggers that enforce foreign key %I are disabled on %s: ALTER TABLE %2$s "
     "ENABLE TRIGGER ALL', k.conname, min(name)) FROM r JOIN pg_trigger g ON g.tgrelid = r.oid"
     " JOIN pg_constraint k ON k.oid = g.tgconstraint WHERE g.tgisinternal AND k.contype = 'f'"
     " AND g.tgenabled IN ('D', 'R') GROUP BY k.conname, r.t ORDER BY 1"},
    /* 3. what we could not see or do */
    {.sql = MEMBERS "SELECT format('row security of %s hides rows from %I: run amberfs as its "
                    "owner (without FORCE "
                    "ROW LEVEL SECURITY) or as a role with BYPASSRLS', name, current_user)"
                    " FROM r WHERE relkind IN ('r', 'p') AND row_security_active(oid) ORDER BY 1"},
    {.sql = MEMBERS
     "SELECT format('%I has no right to %s %s: GRANT %s ON %s TO %1$I', current_user, p, name, p,"
     " name) FROM r CROSS JOIN unnest(ARRAY['SELECT', 'DELETE']) AS p"
     " WHERE relkind IN ('r', 'p') AND NOT has_table_privilege(oid, p) ORDER BY name, p DESC"},
    {.sql = MEMBERS "SELECT DISTINCT format('%I has no right to use schema %I: GRANT USAGE ON "
                    "SCHEMA %2$I TO %1$I',"
                    " current_user, n.nspname) FROM r JOIN pg_namespace n ON n.oid = r.relnamespace"
                    " WHERE NOT has_schema_privilege(n.oid, 'USAGE') ORDER BY 1"},
    {.sql = MEMBERS
     "SELECT 'track_counts is off, so that changes to other tables would go unnoticed: set "
     "track_counts = on in postgresql.conf' FROM r"
     " WHERE current_setting('track_counts') <> 'on' LIMIT 1"},
    {.sql = MEMBERS
     "SELECT format('the database''s encoding %s has no conversion to UTF-8, so that texts of %s "
     "can''t be written as JSON: copy it into a database made with ENCODING ''UTF8''',"
     " getdatabaseencoding(), min(name)) FROM r HAVING getdatabaseencoding() <> 'UTF8'"
     " AND NOT EXISTS (SELECT 1 FROM pg_conversion WHERE condefault"
     " AND pg_encoding_to_char(conforencoding) = getdatabaseencoding()"
     " AND pg_encoding_to_char(contoencoding) = 'UTF8')"},
    /* 4. where the server itself would refuse */
    {.to_version = 149999,
     .sql =
         MEMBERS "SELECT format('%s is published with its deletes but has no replica identity: "
                 "give it a primary key, or ALTER TABLE %1$s REPLICA IDENTITY FULL', name)"
                 " FROM r WHERE relkind = 'r' AND " PUBLISHED
                 ")) AND CASE relreplident WHEN 'f' THEN false WHEN 'd' THEN NOT EXISTS (SELECT 1"
                 " FROM pg_index i WHERE i.indrelid = r.oid AND i.indisprimary AND i.indisvalid)"
                 " ELSE NOT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = r.oid"
                 " AND i.indisreplident) END ORDER BY 1"},
    {.from_version = 150000,
     .sql =
         MEMBERS "SELECT format('%s is published with its deletes but has no replica identity: "
                 "give it a primary key, or ALTER TABLE %1$s REPLICA IDENTITY FULL', name)"
                 " FROM r WHERE relkind = 'r' AND " PUBLISHED
                 " OR EXISTS (SELECT 1 FROM pg_publication_namespace s WHERE s.pnpubid = p.oid"
                 "  AND s.pnnspid IN (SELECT relnamespace FROM pg_class WHERE oid IN ("
                 "  SELECT r.oid UNION SELECT relid FROM pg_partition_ancestors(r.oid))))"
                 ")) AND CASE relreplident WHEN 'f' THEN false WHEN 'd' THEN NOT EXISTS (SELECT 1"
                 " FROM pg_index i WHERE i.indrelid = r.oid AND i.indisprimary AND i.indisvalid)"
                 " ELSE NOT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = r.oid"
                 " AND i.indisreplident) END ORDER BY 1"},
};

/* ---- findings ---- */

#define FINDINGS_MAX_BYTES 860U /* what fits into struct amber_err beside the job's name */

void amber_findings_clear(struct amber_findings *f)
{
    amber_buf_clear(&f->text);
}

enum amber_rc amber_finding(struct amber_findings *f, struct amber_err *err, const char *fmt, ...)
{
    AMBER_AUTO_FREE char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    int len = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (len < 0) {
        text = NULL;
        return amber_fail_nomem(err, "a finding", 0);
    }
    /* A finding that doesn't fit behind the first is counted: a text cut within a remedy misleads.
     */
    if (f->n++ > 0 && f->text.len + 2 + (size_t)len > FINDINGS_MAX_BYTES) {
        f->n_untold++;
        return AMBER_OK;
    }
    return amber_buf_printf(&f->text, err, "%s%s", f->text.len > 0 ? "; " : "", text);
}

enum amber_rc amber_findings_rc(const struct amber_findings *f, const char *job,
                                struct amber_err *err)
{
    enum amber_rc code = f->missing ? AMBER_E_NOT_FOUND : AMBER_E_INVALID;

    if (f->n == 0)
        return AMBER_OK;
    if (f->n_untold == 0)
        return amber_fail(err, code, "job %s: %s", job, f->text.data);
    return amber_fail(err, code, "job %s: %s; and %zu more, told once these are settled", job,
                      f->text.data, f->n_untold);
}

/* ---- shapes ---- */

static enum amber_rc run_check(struct amber_pg *pg, const struct check *c,
                               const char *const params[3], struct amber_findings *found,
                               struct amber_err *err)
{
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    int version = amber_pg_version(pg);
    enum amber_rc rc;

    if (version < c->from_version || (c->to_version > 0 && version > c->to_version))
        return AMBER_OK;
    rc = amber_pg_query(pg, &r, err, c->sql, 3, params);
    for (size_t i = 0; rc == AMBER_OK && i < amber_res_rows(r); i++)
        rc = amber_finding(found, err, "%s", amber_res_get(r, i, 0));
    return rc;
}

enum amber_rc amber_preflight_shapes(struct amber_pg *pg, const struct amber_family *f,
                                     struct amber_findings *found, struct amber_err *err)
{
    struct amber_buf top AMBER_AUTO_BUF = AMBER_BUF_INIT(1U << 20);
    AMBER_AUTO_FREE char *oids = NULL;
    AMBER_AUTO_FREE char *tables = NULL;
    enum amber_rc rc = amber_family_members(pg, f, &oids, &tables, err);

    for (size_t t = 0; rc == AMBER_OK && t < f->n_tables; t++)
        rc = amber_buf_printf(&top, err, "%s%u", t == 0 ? "{" : ",", f->tables[t].oid);
    if (rc == AMBER_OK)
        rc = amber_buf_puts(&top, "}", err);
    for (size_t i = 0; rc == AMBER_OK && i < amber_countof(checks); i++) {
        const char *params[] = {oids, tables, top.data};
        rc = run_check(pg, &checks[i], params, found, err);
    }
    return rc;
}

/* ---- foreign keys ---- */

static const char *action_name(char action)
{
    switch (action) {
    case 'c':
        return "CASCADE";
    case 'n':
        return "SET NULL";
    case 'd':
        return "SET DEFAULT";
    default:
        return "NO ACTION";
    }
}

/* "a", "b" of the referencing columns. */
static enum amber_rc column_list(const struct amber_fk *fk, struct amber_buf *out,
                                 struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    for (size_t i = 0; rc == AMBER_OK && i < fk->n_columns; i++) {
        if (i > 0)
            rc = amber_buf_puts(out, ", ", err);
        if (rc == AMBER_OK)
            rc = amber_sql_ident(out, fk->columns[i].fk, err);
    }
    return rc;
}

static enum amber_rc check_fk(const struct amber_fk *fk, struct amber_findings *found,
                              struct amber_err *err)
{
    struct amber_buf from AMBER_AUTO_BUF = AMBER_BUF_INIT(4096);
    struct amber_buf columns AMBER_AUTO_BUF = AMBER_BUF_INIT(1U << 16);
    enum amber_rc rc = amber_sql_table(&from, fk->from_schema, fk->from_name, err);
    bool acts = fk->on_delete == 'c' || fk->on_delete == 'n' || fk->on_delete == 'd';

    if (rc == AMBER_OK)
        rc = column_list(fk, &columns, err);
    /* Deleting children first leaves nothing for an edge's own action to do. */
    if (rc == AMBER_OK && acts && !fk->tree_edge)
        rc = amber_finding(
            found, err,
            "foreign key \"%s\" of %s references \"%s\".\"%s\" with ON DELETE %s, which would "
            "change rows that aren't archived: %s",
            fk->name, from.data, fk->to_schema, fk->to_name, action_name(fk->on_delete),
            fk->from < 0 ? "add that table to the job as a child, or make the key ON DELETE NO "
                           "ACTION (rows referenced then stay)"
                         : "make the key ON DELETE NO ACTION (rows referenced then stay)");
    if (rc == AMBER_OK && fk->tree_edge && !fk->validated)
        rc = amber_finding(found, err,
                           "foreign key \"%s\" of %s is not validated, so that rows may have no "
                           "parent: ALTER TABLE %s VALIDATE CONSTRAINT \"%s\"",
                           fk->name, from.data, from.data, fk->name);
    if (rc == AMBER_OK && !fk->indexed)
        rc = amber_finding(found, err,
                           "foreign key \"%s\" of %s has no index, so that each deleted row would "
                           "read the whole table: CREATE INDEX ON %s (%s)",
                           fk->name, from.data, from.data, columns.data);
    if (rc == AMBER_OK && fk->from < 0 && !fk->readable)
        rc = amber_finding(found, err,
                           "%s references the job's tables and can't be read: GRANT SELECT on it "
                           "and USAGE of its schema",
                           from.data);
    return rc;
}

enum amber_rc amber_preflight_fks(const struct amber_family *f, struct amber_findings *found,
                                  struct amber_err *err)
{
    const struct amber_family_priv *p = amber_family_priv(f);
    enum amber_rc rc = AMBER_OK;

    for (size_t i = 0; rc == AMBER_OK && i < p->n_fks; i++)
        rc = check_fk(&p->fks[i], found, err);
    return rc;
}

/* ---- the condition ---- */

/* What to do about a condition that the server refuses as an index's. */
static const char *where_remedy(const char *sqlstate)
{
    if (strcmp(sqlstate, "42P17") == 0)
        return "it must not depend on the clock or on settings: instead of now() use the job's "
               "time column with a retention, and convert times with AT TIME ZONE 'UTC'";
    if (strcmp(sqlstate, "0A000") == 0)
        return "it may use the columns of the job's first table only, without subqueries, "
               "aggregates or whole rows";
    if (strcmp(sqlstate, "42883") == 0 || strcmp(sqlstate, "42704") == 0)
        return "name functions and types of your own with their schema";
    return "it must be one true or false condition over the columns of the job's first table";
}

/*
 * A partial index over an empty copy of the table: the server itself refuses what isn't immutable,
 * what has subqueries, and whatever isn't one expression ("a) OR (b" comes back as one), and tells
 * how it understood the rest. One statement only can be in an extended query.
 */
enum amber_rc amber_preflight_where(struct amber_pg *pg, const struct amber_family *f,
                                    const char *where, char **out, struct amber_findings *found,
                                    struct amber_err *err)
{
    const struct amber_table *root = &f->tables[0];
    struct amber_sqltext sql AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    enum amber_rc rc;

    amber_sqltext_add(&sql, "CREATE TEMP TABLE %i (LIKE %t)", root->name, root->schema, root->name);
    rc = amber_sqltext_exec(&sql, pg);
    if (rc != AMBER_OK && strcmp(err->sqlstate, "42501") == 0)
        return amber_finding(found, err,
                             "checking the condition takes a temporary table: GRANT TEMPORARY ON "
                             "DATABASE \"%s\" to the role that amberfs runs as",
                             amber_pg_database(pg));
    if (rc != AMBER_OK)
        return rc;
    amber_sqltext_reset(&sql);
    amber_sqltext_add(&sql, "CREATE INDEX amberfs_where ON pg_temp.%i ((1)) WHERE (%s\n)",
                      root->name, where);
    rc = amber_sqltext_query(&sql, pg, &r);
    if (rc == AMBER_E_DB)
        return amber_finding(found, err, "the job's condition is refused by the server (%s): %s",
                             err->text, where_remedy(err->sqlstate));
    if (rc != AMBER_OK)
        return rc;
    amber_res_free_p(&r);
    rc = amber_pg_query(pg, &r, err,
                        "SELECT pg_get_expr(indpred, indrelid) FROM pg_index"
                        " WHERE indexrelid = 'pg_temp.amberfs_where'::regclass",
                        0, NULL);
    if (rc != AMBER_OK)
        return rc;
    if (amber_res_rows(r) != 1)
        return amber_fail(err, AMBER_E_DB, "the server doesn't tell the job's condition back");
    /* None: the server drops the constant. */
    return amber_strdup(amber_res_get(r, 0, 0) ? amber_res_get(r, 0, 0) : "true", out, err);
}
