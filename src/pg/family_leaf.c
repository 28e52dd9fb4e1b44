/*
 * family_leaf.c - the leaves of a family's tables: where rows live, which range of time a leaf of
 * the root holds, and whether it may be dropped as a whole.
 *
 * A leaf is droppable here as far as definitions go: a plain range partition of the root, one
 * level deep, on the time column alone; nothing but its parent depends on it, it is not published
 * (a DROP isn't replicated), and both it and its parent are ours. The unit adds what depends on
 * the range, the pins and the rows. Whatever isn't droppable has its rows deleted, which is right
 * in any case, only slower.
 */
#include "unit_priv.h"

#include <stdio.h>

static enum amber_rc leaf_fill(struct amber_leaf *leaf, const struct amber_res *r, size_t row,
                               struct amber_err *err)
{
    const char *bound = amber_res_get(r, row, 3);
    enum amber_rc rc;

    leaf->oid = (uint32_t)amber_res_int(r, row, 0);
    rc = amber_strdup(amber_res_get(r, row, 1), &leaf->schema, err);
    if (rc == AMBER_OK)
        rc = amber_strdup(amber_res_get(r, row, 2), &leaf->name, err);
    if (rc == AMBER_OK && bound)
        rc = amber_strdup(bound, &leaf->bound, err);
    leaf->is_default = bound && strcmp(bound, "DEFAULT") == 0;
    return rc;
}

static enum amber_rc load_table_leaves(struct amber_pg *pg, struct amber_table *t,
                                       struct amber_err *err)
{
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    char oid[16];
    const char *param = oid;
    enum amber_rc rc;

    snprintf(oid, sizeof(oid), "%u", t->oid);
    /* A bound is told for partitions of this family only: a table is not asked what it belongs to.
     */
    rc = amber_pg_query(
        pg, &r, err,
        "SELECT c.oid, n.nspname, c.relname,"
        " CASE WHEN c.oid <> $1::oid THEN pg_get_expr(c.relpartbound, c.oid) END "
        "FROM (SELECT relid::oid AS oid FROM pg_partition_tree($1::oid) WHERE isleaf"
        " UNION SELECT oid FROM pg_class WHERE oid = $1::oid AND relkind <> 'p') l "
        "JOIN pg_class c ON c.oid = l.oid JOIN pg_namespace n ON n.oid = c.relnamespace "
        "ORDER BY n.nspname, c.relname",
        1, &param);
    if (rc == AMBER_OK)
        rc = amber_calloc(amber_res_rows(r), sizeof(*t->leaves), &t->leaves, err);
    if (rc != AMBER_OK)
        return rc;
    t->n_leaves = amber_res_rows(r);
    for (size_t i = 0; rc == AMBER_OK && i < t->n_leaves; i++)
        rc = leaf_fill(&t->leaves[i], r, i, err);
    return rc;
}

static int leaf_ref_compare(const void *a, const void *b)
{
    uint32_t x = ((const struct amber_leaf_ref *)a)->oid;
    uint32_t y = ((const struct amber_leaf_ref *)b)->oid;

    return (x > y) - (x < y);
}

/* Oldest first, so that an archive's rows come in the order of time as far as partitions go. */
static int leaf_compare(const void *a, const void *b)
{
    const struct amber_leaf *x = a, *y = b;

    if (x->has_range != y->has_range)
        return x->has_range ? -1 : 1;
    if (x->has_range && x->from_us != y->from_us)
        return x->from_us < y->from_us ? -1 : 1;
    return strcmp(x->name, y->name);
}

static enum amber_rc index_leaves(struct amber_family *f, struct amber_err *err)
{
    struct amber_family_priv *p = amber_family_priv(f);
    size_t n = 0;
    enum amber_rc rc;

    for (size_t t = 0; t < f->n_tables; t++)
        n += f->tables[t].n_leaves;
    rc = amber_calloc(n, sizeof(*p->by_oid), &p->by_oid, err);
    if (rc == AMBER_OK)
        rc = amber_calloc(n, sizeof(*p->dirty), &p->dirty, err);
    if (rc == AMBER_OK)
        rc = amber_calloc(f->tables[0].n_leaves, sizeof(*p->droppable), &p->droppable, err);
    if (rc != AMBER_OK)
        return rc;
    for (size_t t = 0; t < f->n_tables; t++)
        for (size_t l = 0; l < f->tables[t].n_leaves; l++)
            p->by_oid[p->n_by_oid++] =
                (struct amber_leaf_ref){.oid = f->tables[t].leaves[l].oid, .table = t, .leaf = l};
    qsort(p->by_oid, p->n_by_oid, sizeof(*p->by_oid), leaf_ref_compare);
    return AMBER_OK;
}

ptrdiff_t amber_family_leaf_find(const struct amber_family *f, uint32_t oid)
{
    const struct amber_family_priv *p = amber_family_priv(f);
    struct amber_leaf_ref key = {.oid = oid};
    const struct amber_leaf_ref *found =
        bsearch(&key, p->by_oid, p->n_by_oid, sizeof(key), leaf_ref_compare);

    return found ? found - p->by_oid : -1;
}

enum amber_rc amber_family_load_leaves(struct amber_pg *pg, struct amber_family *f,
                                       struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    for (size_t t = 0; rc == AMBER_OK && t < f->n_tables; t++)
        rc = load_table_leaves(pg, &f->tables[t], err);
    return rc;
}

static struct amber_leaf *root_leaf(struct amber_family *f, int64_t oid)
{
    for (size_t l = 0; l < f->tables[0].n_leaves; l++)
        if (f->tables[0].leaves[l].oid == (uint32_t)oid)
            return &f->tables[0].leaves[l];
    return NULL;
}

/* The range of each partition of the root that is a leaf, if time alone is the key. */
static enum amber_rc load_root_ranges(struct amber_pg *pg, struct amber_family *f,
                                      struct amber_err *err)
{
    static const char *const type_of[] = {[AMBER_TIME_TIMESTAMPTZ] = "timestamptz",
                                          [AMBER_TIME_TIMESTAMP] = "timestamp",
                                          [AMBER_TIME_DATE] = "date"};
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    struct amber_sqltext sql AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    char lo[64], hi[64];
    enum amber_rc rc;

    snprintf(lo, sizeof(lo), "btrim(b.m[1], '''')::%s", type_of[f->time_kind]);
    snprintf(hi, sizeof(hi), "btrim(b.m[2], '''')::%s", type_of[f->time_kind]);
    amber_sqltext_add(&sql, "SELECT i.oid, CASE WHEN isfinite(i.lo) THEN ");
    amber_sql_us_of(&sql, "i.lo");
    amber_sqltext_add(&sql, " END, CASE WHEN isfinite(i.hi) THEN ");
    amber_sql_us_of(&sql, "i.hi");
    amber_sqltext_add(&sql, " END, i.lo IS NOT NULL AND NOT isfinite(i.lo)"
                            " FROM (SELECT b.oid, CASE WHEN b.m[1] LIKE '''%%' THEN ");
    amber_sql_instant_of(&sql, f, lo);
    amber_sqltext_add(&sql, " END AS lo, CASE WHEN b.m[2] LIKE '''%%' THEN ");
    amber_sql_instant_of(&sql, f, hi);
    amber_sqltext_add(
        &sql,
        " END AS hi FROM (SELECT c.oid, regexp_match(pg_get_expr(c.relpartbound, c.oid),"
        " '^FOR VALUES FROM \\((.*)\\) TO \\((.*)\\)$') AS m"
        " FROM pg_partitioned_table p JOIN pg_inherits h ON h.inhparent = p.partrelid"
        " JOIN pg_class c ON c.oid = h.inhrelid"
        " JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]"
        " WHERE p.partrelid = %u AND p.partstrat = 'r' AND p.partnatts = 1 AND c.relkind <> 'p'"
        " AND a.attname = %l OFFSET 0) b WHERE b.m IS NOT NULL OFFSET 0) i",
        f->tables[0].oid, f->time_column);
    rc = amber_sqltext_query(&sql, pg, &r);
    for (size_t i = 0; rc == AMBER_OK && i < amber_res_rows(r); i++) {
        struct amber_leaf *leaf = root_leaf(f, amber_res_int(r, i, 0));
        /* '-infinity' or 'infinity' as a bound holds infinite rows, which never move: no range. */
        if (!leaf || amber_res_bool(r, i, 3))
            continue;
        leaf->has_range = true;
        leaf->from_us = amber_res_get(r, i, 1) ? amber_res_int(r, i, 1) : INT64_MIN;
        leaf->to_us = amber_res_get(r, i, 2) ? amber_res_int(r, i, 2) : INT64_MAX;
    }
    return rc;
}

static const char DROPPABLE_SQL[] =
    "SELECT c.oid FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid"
    " JOIN pg_class p ON p.oid = h.inhparent WHERE p.oid = $1::oid AND c.relkind = 'r'"
    " AND pg_has_role(c.relowner, 'USAGE') AND pg_has_role(p.relowner, 'USAGE')"
    " AND NOT EXISTS (SELECT 1 FROM pg_publication WHERE puballtables)"
    " AND NOT EXISTS (SELECT 1 FROM pg_publication_rel WHERE prrelid IN (c.oid, p.oid))"
    /* views, functions, foreign keys, columns of its row type, sequences that it owns, extensions
     */
    " AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.refclassid = 'pg_class'::regclass"
    "  AND d.refobjid = c.oid AND (d.deptype = 'n' OR d.classid = 'pg_class'::regclass"
    "   AND d.deptype = 'a' AND (SELECT s.relkind FROM pg_class s WHERE s.oid = d.objid) = 'S'))"
    " AND NOT EXISTS (SELECT 1 FROM pg_type y JOIN pg_depend d ON d.refclassid = "
    "'pg_type'::regclass"
    "  AND d.refobjid IN (y.oid, y.typarray) AND d.deptype = 'n' WHERE y.oid = c.reltype)"
    " AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass"
    "  AND d.objid = c.oid AND d.deptype = 'e')"
    /* these run somebody's code at DETACH and DROP */
    " AND NOT EXISTS (SELECT 1 FROM pg_event_trigger WHERE evtenabled <> 'D')";
static const char PUBLISHED_SCHEMA_SQL[] = " AND NOT EXISTS (SELECT 1 FROM pg_publication_namespace"
                                           " WHERE pnnspid IN (c.relnamespace, p.relnamespace))";

static enum amber_rc load_droppable(struct amber_pg *pg, struct amber_family *f,
                                    struct amber_err *err)
{
    struct amber_family_priv *p = amber_family_priv(f);
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    AMBER_AUTO_FREE char *sql = NULL;
    char oid[16];
    const char *param = oid;
    enum amber_rc rc;

    snprintf(oid, sizeof(oid), "%u", f->tables[0].oid);
    rc = amber_asprintf(&sql, err, "%s%s", DROPPABLE_SQL,
                        amber_pg_version(pg) >= 150000 ? PUBLISHED_SCHEMA_SQL : "");
    if (rc == AMBER_OK)
        rc = amber_pg_query(pg, &r, err, sql, 1, &param);
    for (size_t i = 0; rc == AMBER_OK && i < amber_res_rows(r); i++) {
        struct amber_leaf *leaf = root_leaf(f, amber_res_int(r, i, 0));
        if (leaf && leaf->has_range && !leaf->is_default && leaf->from_us != INT64_MIN &&
            leaf->to_us != INT64_MAX)
            p->droppable[leaf - f->tables[0].leaves] = true;
    }
    return rc;
}

enum amber_rc amber_family_load_ranges(struct amber_pg *pg, struct amber_family *f,
                                       bool conditional, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    if (f->tables[0].partitioned)
        rc = load_root_ranges(pg, f, err);
    if (rc != AMBER_OK)
        return rc;
    for (size_t t = 0; t < f->n_tables; t++)
        if (f->tables[t].n_leaves > 1)
            qsort(f->tables[t].leaves, f->tables[t].n_leaves, sizeof(struct amber_leaf),
                  leaf_compare);
    rc = index_leaves(f, err);
    if (rc == AMBER_OK && f->tables[0].partitioned && f->n_tables == 1 && !f->may_stay &&
        !conditional)
        rc = load_droppable(pg, f, err);
    return rc;
}

enum amber_rc amber_family_members(struct amber_pg *pg, const struct amber_family *f,
                                   char **out_oids, char **out_tables, struct amber_err *err)
{
    struct amber_buf list AMBER_AUTO_BUF = AMBER_BUF_INIT(1U << 20);
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    AMBER_AUTO_FREE char *oids = NULL;
    const char *param;
    enum amber_rc rc = AMBER_OK;

    for (size_t t = 0; rc == AMBER_OK && t < f->n_tables; t++)
        rc = amber_buf_printf(&list, err, "%s%u", t == 0 ? "{" : ",", f->tables[t].oid);
    if (rc == AMBER_OK)
        rc = amber_buf_puts(&list, "}", err);
    if (rc != AMBER_OK)
        return rc;
    param = list.data;
    rc = amber_pg_query(
        pg, &r, err,
        "SELECT '{' || string_agg(q.oid::text, ',' ORDER BY q.oid) || '}',"
        " '{' || string_agg((q.ord - 1)::text, ',' ORDER BY q.oid) || '}' FROM ("
        "SELECT oid, ord FROM unnest($1::oid[]) WITH ORDINALITY AS x(oid, ord) UNION "
        "SELECT p.relid::oid, x.ord FROM unnest($1::oid[]) WITH ORDINALITY AS x(oid, ord),"
        " pg_partition_tree(x.oid) AS p) q",
        1, &param);
    if (rc == AMBER_OK)
        rc = amber_strdup(amber_res_get(r, 0, 0), &oids, err);
    if (rc == AMBER_OK)
        rc = amber_strdup(amber_res_get(r, 0, 1), out_tables, err);
    if (rc == AMBER_OK)
        *out_oids = amber_steal(&oids);
    return rc;
}
