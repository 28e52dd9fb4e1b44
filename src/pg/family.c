/*
 * family.c - the tables of one job as the server has them.
 *
 * Loading resolves names to tables, leaves, columns and foreign keys in one snapshot, collects
 * what the preflight finds on the way, and rolls back. Nothing of a job's text reaches SQL but
 * quoted names, and the condition in the server's own deparsed form.
 */
#include "unit_priv.h"

#include <stdio.h>

#include "amber/calendar.h"
#include "amber/catalog.h"

/* ---- freeing ---- */

static void free_texts(char **texts, size_t n)
{
    for (size_t i = 0; texts && i < n; i++)
        free(texts[i]);
    free(texts);
}

static void clear_table(struct amber_table *t)
{
    free(t->schema);
    free(t->name);
    for (size_t l = 0; t->leaves && l < t->n_leaves; l++) {
        free(t->leaves[l].schema);
        free(t->leaves[l].name);
        free(t->leaves[l].bound);
    }
    free(t->leaves);
    amber_schema_clear(&t->columns);
    free_texts(t->fk_columns, t->n_fk);
    free_texts(t->pk_columns, t->n_fk);
}

static void clear_fk(struct amber_fk *fk)
{
    free(fk->name);
    free(fk->from_schema);
    free(fk->from_name);
    free(fk->to_schema);
    free(fk->to_name);
    for (size_t i = 0; fk->columns && i < fk->n_columns; i++) {
        struct amber_fk_column *c = &fk->columns[i];
        free(c->fk);
        free(c->pk);
        free(c->op_schema);
        free(c->op_name);
        free(c->coll_schema);
        free(c->coll_name);
    }
    free(fk->columns);
}

void amber_family_priv_free(struct amber_family_priv *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n_fks; i++)
        clear_fk(&p->fks[i]);
    free(p->fks);
    free(p->edge);
    free(p->delete_order);
    free(p->self_ref);
    free(p->droppable);
    free(p->dirty);
    free(p->by_oid);
    free_texts(p->table_facts, p->n_table_facts);
    free_texts(p->leaf_facts, p->n_by_oid);
    free(p);
}

void amber_family_clear(struct amber_family *f)
{
    for (size_t t = 0; f->tables && t < f->n_tables; t++)
        clear_table(&f->tables[t]);
    free(f->tables);
    free(f->job);
    free(f->time_column);
    free(f->zone);
    free(f->where);
    amber_family_priv_free(f->priv);
    *f = (struct amber_family){0};
}

/* ---- loading ---- */

static enum amber_rc check_spec(const struct amber_family_spec *spec, struct amber_err *err)
{
    if (spec->n_tables == 0 || spec->tables[0].parent != -1)
        return amber_fail(err, AMBER_E_INVALID, "job %s: its first table must be the root",
                          spec->job);
    for (size_t i = 1; i < spec->n_tables; i++)
        if (spec->tables[i].parent < 0 || (size_t)spec->tables[i].parent >= i)
            return amber_fail(err, AMBER_E_INVALID,
                              "job %s: table \"%s\".\"%s\" must come after its parent", spec->job,
                              spec->tables[i].schema, spec->tables[i].name);
    return AMBER_OK;
}

static enum amber_rc load_table(struct amber_pg *pg, const struct amber_table_spec *spec,
                                struct amber_table *t, struct amber_findings *found,
                                struct amber_err *err)
{
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    const char *params[] = {spec->schema, spec->name};
    enum amber_rc rc;

    t->parent = spec->parent;
    rc = amber_pg_query(
        pg, &r, err,
        "SELECT c.oid, c.relkind = 'p', EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid"
        " AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL"
        " AND i.indexprs IS NULL AND NOT EXISTS (SELECT 1 FROM"
        " unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS k(n) JOIN pg_attribute a"
        " ON a.attrelid = c.oid AND a.attnum = k.n WHERE NOT a.attnotnull)) "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind NOT IN ('i', 'I', 't')",
        2, params);
    if (rc == AMBER_OK)
        rc = amber_strdup(spec->schema, &t->schema, err);
    if (rc == AMBER_OK)
        rc = amber_strdup(spec->name, &t->name, err);
    if (rc != AMBER_OK)
        return rc;
    if (amber_res_rows(r) == 0) {
        found->missing = true;
        return amber_finding(found, err,
                             "table \"%s\".\"%s\" does not exist in database %s: check the job's "
                             "names, which are taken literally, capitals included",
                             spec->schema, spec->name, amber_pg_database(pg));
    }
    t->oid = (uint32_t)amber_res_int(r, 0, 0);
    t->partitioned = amber_res_bool(r, 0, 1);
    t->has_key = amber_res_bool(r, 0, 2);
    return AMBER_OK;
}

static enum amber_rc load_tables(struct amber_pg *pg, const struct amber_family_spec *spec,
                                 struct amber_family *f, struct amber_findings *found,
                                 struct amber_err *err)
{
    enum amber_rc rc = amber_calloc(spec->n_tables, sizeof(*f->tables), &f->tables, err);

    if (rc == AMBER_OK)
        f->n_tables = spec->n_tables;
    for (size_t i = 0; rc == AMBER_OK && i < f->n_tables; i++) {
        rc = load_table(pg, &spec->tables[i], &f->tables[i], found, err);
        for (size_t k = 0; rc == AMBER_OK && k < i; k++)
            if (f->tables[i].oid != 0 && f->tables[k].oid == f->tables[i].oid)
                rc = amber_finding(found, err,
                                   "table \"%s\".\"%s\" stands in the job twice: name it once",
                                   f->tables[i].schema, f->tables[i].name);
    }
    return rc;
}

static enum amber_rc load_columns(struct amber_pg *pg, struct amber_family *f,
                                  struct amber_findings *found, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    for (size_t t = 0; rc == AMBER_OK && t < f->n_tables; t++) {
        AMBER_AUTO_FREE char *unsafe = NULL;
        rc = amber_table_columns(pg, f->tables[t].oid, &f->tables[t].columns, &unsafe, err);
        if (rc == AMBER_OK && unsafe[0])
            rc = amber_finding(found, err,
                               "columns %s of \"%s\".\"%s\" are of a pseudo-type, which can't be "
                               "restored: change their types or drop them",
                               unsafe, f->tables[t].schema, f->tables[t].name);
    }
    return rc;
}

static enum amber_rc check_time_column(struct amber_family *f, struct amber_findings *found,
                                       struct amber_err *err)
{
    const struct amber_schema *s = &f->tables[0].columns;
    ptrdiff_t i = amber_schema_find(s, f->time_column, strlen(f->time_column));

    if (i < 0) {
        found->missing = true;
        return amber_finding(found, err,
                             "time column \"%s\" does not exist in \"%s\".\"%s\": check the job's "
                             "names, which are taken literally, capitals included",
                             f->time_column, f->tables[0].schema, f->tables[0].name);
    }
    const struct amber_type *type = &s->columns[i].type;
    if (type->kind == AMBER_KIND_TIMESTAMPTZ)
        f->time_kind = AMBER_TIME_TIMESTAMPTZ;
    else if (type->kind == AMBER_KIND_TIMESTAMP)
        f->time_kind = AMBER_TIME_TIMESTAMP;
    else if (type->kind == AMBER_KIND_DATE)
        f->time_kind = AMBER_TIME_DATE;
    else
        return amber_finding(found, err,
                             "time column \"%s\" of \"%s\".\"%s\" is of type %s: it must be "
                             "timestamptz, timestamp or date",
                             f->time_column, f->tables[0].schema, f->tables[0].name, type->name);
    return AMBER_OK;
}

/* Only zones with a name are taken: the server would read any other word as a POSIX rule. */
static enum amber_rc check_zone(struct amber_pg *pg, const struct amber_family *f,
                                struct amber_findings *found, struct amber_err *err)
{
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    const char *zone = f->zone;
    enum amber_rc rc;

    if (strcmp(zone, "UTC") == 0)
        return AMBER_OK;
    rc = amber_pg_query(pg, &r, err,
                        "SELECT 1 FROM pg_timezone_names WHERE lower(name) = lower($1)", 1, &zone);
    if (rc == AMBER_OK && amber_res_rows(r) == 0)
        rc = amber_finding(found, err,
                           "time zone \"%s\" is not known to the server: use a name such as "
                           "Europe/Berlin (SELECT name FROM pg_timezone_names)",
                           zone);
    return rc;
}

static enum amber_rc check_temporary(struct amber_pg *pg, const struct amber_family *f,
                                     struct amber_findings *found, struct amber_err *err)
{
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    enum amber_rc rc;

    if (!f->may_stay)
        return AMBER_OK;
    rc = amber_pg_query(pg, &r, err,
                        "SELECT has_database_privilege(current_database(), 'TEMPORARY')", 0, NULL);
    if (rc == AMBER_OK && !amber_res_bool(r, 0, 0))
        rc = amber_finding(found, err,
                           "finding the rows that others reference takes a temporary table: GRANT "
                           "TEMPORARY ON DATABASE \"%s\" to the role that amberfs runs as",
                           amber_pg_database(pg));
    return rc;
}

/* In the order in which each step needs the ones before it. */
static enum amber_rc load_all(struct amber_pg *pg, const struct amber_family_spec *spec,
                              struct amber_family *f, struct amber_findings *found,
                              struct amber_err *err)
{
    enum amber_rc rc = load_tables(pg, spec, f, found, err);

    if (rc != AMBER_OK || found->n > 0)
        return rc; /* nothing more can be said of tables that aren't there */
    rc = load_columns(pg, f, found, err);
    if (rc == AMBER_OK)
        rc = amber_family_load_leaves(pg, f, err);
    if (rc == AMBER_OK)
        rc = check_time_column(f, found, err);
    if (rc == AMBER_OK)
        rc = check_zone(pg, f, found, err);
    bool timed = rc == AMBER_OK && found->n == 0;
    if (rc == AMBER_OK)
        rc = amber_family_load_fks(pg, spec, f, found, err);
    if (rc == AMBER_OK)
        rc = amber_preflight_shapes(pg, f, found, err);
    if (rc == AMBER_OK)
        rc = amber_preflight_fks(f, found, err);
    if (rc == AMBER_OK)
        rc = amber_family_order(f, found, err);
    if (rc == AMBER_OK)
        rc = check_temporary(pg, f, found, err);
    if (rc == AMBER_OK && timed)
        rc = amber_family_load_ranges(pg, f, spec->where != NULL, err);
    if (rc == AMBER_OK && timed)
        rc = amber_family_remember_facts(pg, f, err);
    if (rc == AMBER_OK && spec->where)
        rc = amber_preflight_where(pg, f, spec->where, &f->where, found, err);
    return rc;
}

/* A standby can't even look: the condition's check makes a table. */
static enum amber_rc check_primary(struct amber_pg *pg, struct amber_err *err)
{
    bool primary;
    enum amber_rc rc = amber_catalog_is_primary(pg, &primary, err);

    if (rc != AMBER_OK || primary)
        return rc;
    return amber_fail(err, AMBER_E_INVALID,
                      "database %s runs as a standby: name its primary in DATABASE_URL",
                      amber_pg_database(pg));
}

enum amber_rc amber_family_load(struct amber_pg *pg, const struct amber_family_spec *spec,
                                struct amber_family *out, struct amber_err *err)
{
    struct amber_findings found = {.text = AMBER_BUF_INIT(AMBER_SQL_MAX_BYTES)};
    struct amber_family f = {0};
    enum amber_rc rc = check_spec(spec, err);

    if (rc == AMBER_OK)
        rc = amber_calloc(1, sizeof(struct amber_family_priv), &f.priv, err);
    if (rc == AMBER_OK)
        rc = amber_strdup(spec->job, &f.job, err);
    if (rc == AMBER_OK)
        rc = amber_strdup(spec->time_column, &f.time_column, err);
    if (rc == AMBER_OK)
        rc = amber_strdup(spec->zone ? spec->zone : "UTC", &f.zone, err);
    if (rc == AMBER_OK)
        rc = check_primary(pg, err);
    if (rc == AMBER_OK)
        rc = amber_pg_begin(pg, "ISOLATION LEVEL REPEATABLE READ, READ WRITE", err);
    if (rc == AMBER_OK) {
        rc = amber_pg_exec(pg, err, "SET LOCAL lock_timeout = '10s'"); /* somebody's ALTER TABLE */
        if (rc == AMBER_OK)
            rc = load_all(pg, spec, &f, &found, err);
        amber_pg_rollback(pg);
    }
    if (rc == AMBER_OK)
        rc = amber_findings_rc(&found, spec->job, err);
    else
        (void)amber_wrap(err, "job %s: looking at its tables", spec->job);
    amber_findings_clear(&found);
    if (rc != AMBER_OK) {
        amber_family_clear(&f);
        return rc;
    }
    *out = f;
    return AMBER_OK;
}

/* ---- what is due ---- */

enum amber_rc amber_family_cutoff(struct amber_pg *pg, int days, int months, int64_t *out_day,
                                  struct amber_err *err)
{
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    enum amber_rc rc;

    if (days < 0 || months < 0)
        return amber_fail(err, AMBER_E_INVALID,
                          "a retention of %d days and %d months: neither may be negative", days,
                          months);
    rc = amber_pg_query(pg, &r, err,
                        "SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date - date '1970-01-01'",
                        0, NULL);
    if (rc == AMBER_OK)
        *out_day = amber_day_add_months(amber_res_int(r, 0, 0), -(int64_t)months) - days;
    return rc;
}

enum amber_rc amber_family_oldest(struct amber_pg *pg, const struct amber_family *f,
                                  int64_t from_us, int64_t cutoff_day,
                                  const struct amber_day_range *pins, size_t n_pins,
                                  int64_t *out_us, bool *out_found, struct amber_err *err)
{
    struct amber_selection sel AMBER_AUTO_SELECTION = {0};
    struct amber_sqltext sql AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    enum amber_rc rc =
        amber_selection_init(pg, f, from_us, amber_day_us(cutoff_day), pins, n_pins, &sel, err);

    if (rc != AMBER_OK)
        return rc;
    /* min() of the bare column, so that an index on it answers; what is converted is one value. */
    amber_sqltext_add(&sql, "SELECT ");
    amber_sql_us_of(&sql, "i.t");
    amber_sqltext_add(&sql, " FROM (SELECT ");
    amber_sql_instant_of(&sql, f, "m.t");
    amber_sqltext_add(&sql, " AS t FROM (SELECT min(%a.%i) AS t FROM ", 0U, f->time_column);
    amber_selection_from(&sql, f, 0);
    amber_sqltext_add(&sql, " AS %a WHERE ", 0U);
    amber_selection_where(&sql, &sel, 0, 0);
    amber_sqltext_add(&sql, ") m OFFSET 0) i");
    rc = amber_sqltext_query(&sql, pg, &r);
    if (rc != AMBER_OK)
        return amber_wrap(err, "job %s: looking for the oldest row", f->job);
    *out_found = amber_res_get(r, 0, 0) != NULL;
    *out_us = amber_res_int(r, 0, 0);
    return AMBER_OK;
}

enum amber_rc amber_family_timeless(struct amber_pg *pg, const struct amber_family *f,
                                    uint64_t *out_null, uint64_t *out_infinite,
                                    struct amber_err *err)
{
    struct amber_sqltext sql AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    enum amber_rc rc;

    amber_sqltext_add(&sql, "SELECT count(*) - count(%a.%i), count(%a.%i) FROM ", 0U,
                      f->time_column, 0U, f->time_column);
    amber_selection_from(&sql, f, 0);
    amber_sqltext_add(&sql,
                      " AS %a WHERE (%a.%i IS NULL OR %a.%i = 'infinity' OR %a.%i = "
                      "'-infinity')",
                      0U, 0U, f->time_column, 0U, f->time_column, 0U, f->time_column);
    if (f->where)
        amber_sqltext_add(&sql, " AND (%s)", f->where);
    rc = amber_sqltext_query(&sql, pg, &r);
    if (rc != AMBER_OK)
        return amber_wrap(err, "job %s: counting rows without a time", f->job);
    *out_null = (uint64_t)amber_res_int(r, 0, 0);
    *out_infinite = (uint64_t)amber_res_int(r, 0, 1);
    return AMBER_OK;
}
