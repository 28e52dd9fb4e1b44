/*
 * family_fk.c - the foreign keys around a family: which of them make its tree, which may keep rows
 * back, and in which order tables can be deleted from.
 *
 * Only constraints as somebody declared them are looked at (conparentid = 0): PostgreSQL's copies
 * of them for partitions say nothing new. They compare by their own operators (conpfeqop), since
 * an operator of a type from an extension isn't in our search_path.
 */
#include "family_priv.h"

static const char FKS_SQL[] =
    "WITH m AS (SELECT * FROM unnest($1::oid[], $2::int[]) AS u(oid, t)) "
    "SELECT c.oid, c.conname, n.nspname, r.relname, r.relkind = 'p', coalesce(s.t, -1),"
    " nf.nspname, rf.relname, rf.relkind = 'p', d.t, c.confdeltype, c.convalidated, "
    "c.condeferrable,"
    " NOT EXISTS (SELECT 1 FROM (SELECT relid::oid AS oid FROM pg_partition_tree(c.conrelid)"
    "   WHERE isleaf UNION SELECT c.conrelid WHERE r.relkind <> 'p') l WHERE NOT EXISTS ("
    "  SELECT 1 FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_am m"
    "   ON m.oid = ic.relam WHERE i.indrelid = l.oid AND i.indisvalid AND i.indpred IS NULL"
    "   AND m.amname IN ('btree', 'hash') AND ("
    "    SELECT array_agg(a.attname ORDER BY a.attname) FROM"
    "     unnest((i.indkey::int2[])[0:cardinality(c.conkey) - 1]) AS k(n)"
    "     JOIN pg_attribute a ON a.attrelid = l.oid AND a.attnum = k.n) = ("
    "    SELECT array_agg(a.attname ORDER BY a.attname) FROM unnest(c.conkey) AS k(n)"
    "     JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.n))),"
    " has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(r.oid, 'SELECT'),"
    " fa.attname, pa.attname, pn.nspname, o.oprname, cn.nspname, co.collname "
    "FROM pg_constraint c JOIN m d ON d.oid = c.confrelid LEFT JOIN m s ON s.oid = c.conrelid"
    " JOIN pg_class r ON r.oid = c.conrelid JOIN pg_namespace n ON n.oid = r.relnamespace"
    " JOIN pg_class rf ON rf.oid = c.confrelid JOIN pg_namespace nf ON nf.oid = rf.relnamespace"
    " CROSS JOIN LATERAL unnest(c.conkey, c.confkey, c.conpfeqop) WITH ORDINALITY"
    "  AS k(fk, pk, op, ord)"
    " JOIN pg_attribute fa ON fa.attrelid = c.conrelid AND fa.attnum = k.fk"
    " JOIN pg_attribute pa ON pa.attrelid = c.confrelid AND pa.attnum = k.pk"
    " JOIN pg_operator o ON o.oid = k.op JOIN pg_namespace pn ON pn.oid = o.oprnamespace"
    " LEFT JOIN pg_collation co ON co.oid = pa.attcollation AND pa.attcollation <> fa.attcollation"
    " LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace "
    "WHERE c.contype = 'f' AND c.conparentid = 0 ORDER BY c.conrelid, c.conname, c.oid, k.ord";
enum {
    F_OID,
    F_NAME,
    F_FROM_SCHEMA,
    F_FROM_NAME,
    F_FROM_PARTITIONED,
    F_FROM,
    F_TO_SCHEMA,
    F_TO_NAME,
    F_TO_PARTITIONED,
    F_TO,
    F_DELETE,
    F_VALIDATED,
    F_DEFERRABLE,
    F_INDEXED,
    F_READABLE,
    F_FK,
    F_PK,
    F_OP_SCHEMA,
    F_OP,
    F_COLL_SCHEMA,
    F_COLL,
};

static enum amber_rc get_text(const struct amber_res *r, size_t row, int col, char **out,
                              struct amber_err *err)
{
    const char *text = amber_res_get(r, row, (size_t)col);

    return text ? amber_strdup(text, out, err) : AMBER_OK;
}

static enum amber_rc fill_column(struct amber_fk_column *c, const struct amber_res *r, size_t row,
                                 struct amber_err *err)
{
    enum amber_rc rc = get_text(r, row, F_FK, &c->fk, err);

    if (rc == AMBER_OK)
        rc = get_text(r, row, F_PK, &c->pk, err);
    if (rc == AMBER_OK)
        rc = get_text(r, row, F_OP_SCHEMA, &c->op_schema, err);
    if (rc == AMBER_OK)
        rc = get_text(r, row, F_OP, &c->op_name, err);
    if (rc == AMBER_OK)
        rc = get_text(r, row, F_COLL_SCHEMA, &c->coll_schema, err);
    if (rc == AMBER_OK)
        rc = get_text(r, row, F_COLL, &c->coll_name, err);
    return rc;
}

/* Whether the relation named is the family's table itself and not a partition of it. */
static bool is_table(const struct amber_family *f, int t, const char *schema, const char *name)
{
    return t >= 0 && strcmp(f->tables[t].schema, schema) == 0 &&
           strcmp(f->tables[t].name, name) == 0;
}

static enum amber_rc fill_fk(const struct amber_family *f, struct amber_fk *fk,
                             const struct amber_res *r, size_t row, size_t n, struct amber_err *err)
{
    enum amber_rc rc;

    fk->oid = (uint32_t)amber_res_int(r, row, F_OID);
    fk->from_partitioned = amber_res_bool(r, row, F_FROM_PARTITIONED);
    fk->from = (int)amber_res_int(r, row, F_FROM);
    fk->to_partitioned = amber_res_bool(r, row, F_TO_PARTITIONED);
    fk->to = (int)amber_res_int(r, row, F_TO);
    fk->on_delete = amber_res_get(r, row, F_DELETE)[0];
    fk->validated = amber_res_bool(r, row, F_VALIDATED);
    fk->deferrable = amber_res_bool(r, row, F_DEFERRABLE);
    fk->indexed = amber_res_bool(r, row, F_INDEXED);
    fk->readable = amber_res_bool(r, row, F_READABLE);
    rc = get_text(r, row, F_NAME, &fk->name, err);
    if (rc == AMBER_OK)
        rc = get_text(r, row, F_FROM_SCHEMA, &fk->from_schema, err);
    if (rc == AMBER_OK)
        rc = get_text(r, row, F_FROM_NAME, &fk->from_name, err);
    if (rc == AMBER_OK)
        rc = get_text(r, row, F_TO_SCHEMA, &fk->to_schema, err);
    if (rc == AMBER_OK)
        rc = get_text(r, row, F_TO_NAME, &fk->to_name, err);
    if (rc == AMBER_OK)
        rc = amber_calloc(n, sizeof(*fk->columns), &fk->columns, err);
    if (rc != AMBER_OK)
        return rc;
    fk->n_columns = n;
    fk->whole = is_table(f, fk->from, fk->from_schema, fk->from_name) &&
                is_table(f, fk->to, fk->to_schema, fk->to_name);
    for (size_t i = 0; rc == AMBER_OK && i < n; i++)
        rc = fill_column(&fk->columns[i], r, row + i, err);
    return rc;
}

static enum amber_rc read_fks(struct amber_pg *pg, struct amber_family *f, struct amber_err *err)
{
    struct amber_family_priv *p = amber_family_priv(f);
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    AMBER_AUTO_FREE char *oids = NULL;
    AMBER_AUTO_FREE char *tables = NULL;
    enum amber_rc rc = amber_family_members(pg, f, &oids, &tables, err);

    if (rc == AMBER_OK) {
        const char *params[] = {oids, tables};
        rc = amber_pg_query(pg, &r, err, FKS_SQL, 2, params);
    }
    if (rc == AMBER_OK)
        rc = amber_calloc(amber_res_rows(r) + 1, sizeof(*p->fks), &p->fks, err);
    for (size_t row = 0; rc == AMBER_OK && row < amber_res_rows(r);) {
        size_t n = 1;
        while (row + n < amber_res_rows(r) &&
               amber_res_int(r, row + n, F_OID) == amber_res_int(r, row, F_OID))
            n++;
        rc = fill_fk(f, &p->fks[p->n_fks++], r, row, n, err);
        row += n;
    }
    return rc;
}

static bool has_column(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* Whether fk can be the edge that the spec of its table asks for. */
static bool fits(const struct amber_fk *fk, const struct amber_table_spec *spec, size_t table)
{
    if (!fk->whole || fk->from != (int)table || fk->to != spec->parent)
        return false;
    if (!spec->fk_columns)
        return true;
    if (fk->n_columns != spec->n_fk_columns)
        return false;
    for (size_t i = 0; i < fk->n_columns; i++)
        if (!has_column(spec->fk_columns, spec->n_fk_columns, fk->columns[i].fk))
            return false;
    return true;
}

/* Two constraints over the same columns are one and the same edge. */
static bool same_columns(const struct amber_fk *a, const struct amber_fk *b)
{
    if (!a->whole || !b->whole || a->from != b->from || a->to != b->to ||
        a->n_columns != b->n_columns)
        return false;
    for (size_t i = 0; i < a->n_columns; i++) {
        bool found = false;
        for (size_t k = 0; k < b->n_columns; k++)
            found = found || (strcmp(a->columns[i].fk, b->columns[k].fk) == 0 &&
                              strcmp(a->columns[i].pk, b->columns[k].pk) == 0);
        if (!found)
            return false;
    }
    return true;
}

static enum amber_rc set_edge(struct amber_table *t, const struct amber_fk *fk,
                              struct amber_err *err)
{
    enum amber_rc rc = amber_calloc(fk->n_columns, sizeof(char *), &t->fk_columns, err);

    if (rc == AMBER_OK)
        rc = amber_calloc(fk->n_columns, sizeof(char *), &t->pk_columns, err);
    if (rc == AMBER_OK)
        t->n_fk = fk->n_columns;
    for (size_t i = 0; rc == AMBER_OK && i < fk->n_columns; i++) {
        rc = amber_strdup(fk->columns[i].fk, &t->fk_columns[i], err);
        if (rc == AMBER_OK)
            rc = amber_strdup(fk->columns[i].pk, &t->pk_columns[i], err);
    }
    return rc;
}

static enum amber_rc choose_edge(const struct amber_family_spec *spec, struct amber_family *f,
                                 size_t table, struct amber_findings *found, struct amber_err *err)
{
    struct amber_family_priv *p = amber_family_priv(f);
    struct amber_table *t = &f->tables[table];
    const struct amber_table *parent = &f->tables[t->parent];
    size_t n = 0;

    for (size_t i = 0; i < p->n_fks; i++) {
        if (!fits(&p->fks[i], &spec->tables[table], table))
            continue;
        if (n > 0 && same_columns(&p->fks[p->edge[table]], &p->fks[i]))
            continue;
        if (n++ == 0)
            p->edge[table] = i;
    }
    if (n == 1)
        return set_edge(t, &p->fks[p->edge[table]], err);
    if (n == 0)
        return amber_finding(
            found, err,
            "\"%s\".\"%s\" has no foreign key%s to \"%s\".\"%s\": declare it with ALTER TABLE ... "
            "ADD FOREIGN KEY on the table itself, not on its partitions, or leave the table out "
            "of the job",
            t->schema, t->name, spec->tables[table].fk_columns ? " on the columns given" : "",
            parent->schema, parent->name);
    return amber_finding(found, err,
                         "\"%s\".\"%s\" has %zu foreign keys to \"%s\".\"%s\": say in the job "
                         "which columns make it a child",
                         t->schema, t->name, n, parent->schema, parent->name);
}

/* Whether fks[i] is one of the tree's own edges. */
static bool is_edge(const struct amber_family *f, size_t i)
{
    const struct amber_family_priv *p = amber_family_priv(f);
    const struct amber_fk *fk = &p->fks[i];

    return fk->from > 0 && f->tables[fk->from].n_fk > 0 &&
           same_columns(&p->fks[p->edge[fk->from]], fk);
}

enum amber_rc amber_family_load_fks(struct amber_pg *pg, const struct amber_family_spec *spec,
                                    struct amber_family *f, struct amber_findings *found,
                                    struct amber_err *err)
{
    struct amber_family_priv *p = amber_family_priv(f);
    enum amber_rc rc = amber_calloc(f->n_tables, sizeof(*p->edge), &p->edge, err);

    if (rc == AMBER_OK)
        rc = amber_calloc(f->n_tables, sizeof(*p->self_ref), &p->self_ref, err);
    if (rc == AMBER_OK)
        rc = read_fks(pg, f, err);
    for (size_t t = 1; rc == AMBER_OK && t < f->n_tables; t++)
        rc = choose_edge(spec, f, t, found, err);
    for (size_t i = 0; rc == AMBER_OK && i < p->n_fks; i++) {
        p->fks[i].tree_edge = is_edge(f, i);
        f->may_stay = f->may_stay || !p->fks[i].tree_edge;
        if (p->fks[i].from == p->fks[i].to)
            p->self_ref[p->fks[i].to] = true;
    }
    return rc;
}

/* Whether table t can be deleted from now: nothing that is still full references it. */
static bool is_free(const struct amber_family_priv *p, const bool *done, size_t t, bool defer)
{
    for (size_t i = 0; i < p->n_fks; i++) {
        const struct amber_fk *fk = &p->fks[i];
        bool later = defer && fk->deferrable && fk->on_delete == 'a';
        if (fk->to == (int)t && fk->from >= 0 && fk->from != fk->to && !done[fk->from] && !later)
            return false;
    }
    return true;
}

/* Fill delete_order; returns how many tables could be ordered. Children, which have the higher
 * indexes, come first wherever there is a choice. */
static size_t order(const struct amber_family *f, bool *done, bool defer)
{
    struct amber_family_priv *p = amber_family_priv(f);
    size_t n = 0;
    bool moved = true;

    memset(done, 0, f->n_tables * sizeof(*done));
    while (moved) {
        moved = false;
        for (size_t t = f->n_tables; t-- > 0;) {
            if (done[t] || !is_free(p, done, t, defer))
                continue;
            done[t] = true;
            p->delete_order[n++] = t;
            moved = true;
            break;
        }
    }
    return n;
}

enum amber_rc amber_family_order(struct amber_family *f, struct amber_findings *found,
                                 struct amber_err *err)
{
    struct amber_family_priv *p = amber_family_priv(f);
    AMBER_AUTO_FREE bool *done = NULL;
    enum amber_rc rc = amber_calloc(f->n_tables, sizeof(*p->delete_order), &p->delete_order, err);

    if (rc == AMBER_OK)
        rc = amber_calloc(f->n_tables, sizeof(*done), &done, err);
    if (rc != AMBER_OK || order(f, done, false) == f->n_tables)
        return rc;
    p->defer = true;
    if (order(f, done, true) == f->n_tables)
        return AMBER_OK;
    for (size_t i = 0; rc == AMBER_OK && i < p->n_fks; i++) {
        const struct amber_fk *fk = &p->fks[i];
        if (fk->tree_edge || fk->from < 0 || fk->from == fk->to || done[fk->from] || done[fk->to])
            continue;
        rc = amber_finding(found, err,
                           "foreign key \"%s\" of \"%s\".\"%s\" closes a circle, so that no table "
                           "can be deleted from first: make it ON DELETE NO ACTION and ALTER "
                           "TABLE ... ALTER CONSTRAINT ... DEFERRABLE",
                           fk->name, fk->from_schema, fk->from_name);
    }
    return rc;
}
