/*
 * family_facts.c - has a table changed since its family was loaded?
 *
 * A run takes hours, and somebody may add a column, a trigger or a cascading foreign key meanwhile.
 * Once a unit holds its table locks none of these can be added any more, so comparing then is
 * enough. Facts are kept by relation, since partitions come and go while a job runs: only those
 * that a unit touches count.
 */
#include "family_priv.h"

#include <stdio.h>

static const char FACTS_SQL[] =
    "SELECT x.oid, md5(concat_ws('|', c.relkind, c.relname, c.relnamespace, c.relowner, c.relam,"
    " c.relreplident, c.relrowsecurity, c.relforcerowsecurity,"
    " (SELECT string_agg(concat_ws(',', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull,"
    "   a.attgenerated, a.attidentity, a.attisdropped), ';' ORDER BY a.attnum)"
    "  FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0),"
    " (SELECT string_agg(concat_ws(',', k.oid, k.conrelid, k.confrelid, k.confdeltype,"
    "   k.convalidated, k.condeferrable, k.conkey, k.confkey), ';' ORDER BY k.oid)"
    "  FROM pg_constraint k WHERE k.contype = 'f' AND k.conparentid = 0"
    "   AND c.oid IN (k.conrelid, k.confrelid)),"
    " (SELECT string_agg(concat_ws(',', g.tgname, g.tgtype, g.tgenabled, g.tgfoid), ';'"
    "   ORDER BY g.tgname) FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal),"
    " (SELECT string_agg(concat_ws(',', w.rulename, w.ev_type, w.ev_enabled), ';'"
    "   ORDER BY w.rulename) FROM pg_rewrite w WHERE w.ev_class = c.oid),"
    " (SELECT string_agg(i.inhrelid::text, ',' ORDER BY i.inhrelid) FROM pg_inherits i"
    "  JOIN pg_class h ON h.oid = i.inhrelid WHERE i.inhparent = c.oid AND NOT h.relispartition))) "
    "FROM unnest($1::oid[]) AS x(oid) LEFT JOIN pg_class c ON c.oid = x.oid";

static enum amber_rc add_oid(struct amber_buf *list, uint32_t oid, struct amber_err *err)
{
    return amber_buf_printf(list, err, "%s%u", list->len > 0 ? "," : "{", oid);
}

/* Facts of all tables and of the leaves in use (NULL: all), as rows (oid, facts). */
static enum amber_rc read_facts(struct amber_pg *pg, const struct amber_family *f, const bool *use,
                                struct amber_res **out, struct amber_err *err)
{
    const struct amber_family_priv *p = amber_family_priv(f);
    struct amber_buf list AMBER_AUTO_BUF = AMBER_BUF_INIT(AMBER_SQL_MAX_BYTES);
    enum amber_rc rc = AMBER_OK;

    for (size_t t = 0; rc == AMBER_OK && t < f->n_tables; t++)
        rc = add_oid(&list, f->tables[t].oid, err);
    for (size_t i = 0; rc == AMBER_OK && i < p->n_by_oid; i++)
        if ((!use || use[i]) && f->tables[p->by_oid[i].table].partitioned)
            rc = add_oid(&list, p->by_oid[i].oid, err);
    if (rc == AMBER_OK)
        rc = amber_buf_puts(&list, "}", err);
    if (rc != AMBER_OK)
        return rc;
    const char *param = list.data;
    return amber_pg_query(pg, out, err, FACTS_SQL, 1, &param);
}

/* Where the facts of a relation are kept, or NULL. */
static char **facts_of(const struct amber_family *f, uint32_t oid)
{
    struct amber_family_priv *p = amber_family_priv(f);
    ptrdiff_t leaf;

    for (size_t t = 0; t < f->n_tables; t++)
        if (f->tables[t].oid == oid)
            return &p->table_facts[t];
    leaf = amber_family_leaf_find(f, oid);
    return leaf < 0 ? NULL : &p->leaf_facts[leaf];
}

enum amber_rc amber_family_remember_facts(struct amber_pg *pg, struct amber_family *f,
                                          struct amber_err *err)
{
    struct amber_family_priv *p = amber_family_priv(f);
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    enum amber_rc rc = amber_calloc(f->n_tables, sizeof(char *), &p->table_facts, err);

    if (rc == AMBER_OK) {
        p->n_table_facts = f->n_tables;
        rc = amber_calloc(p->n_by_oid, sizeof(char *), &p->leaf_facts, err);
    }
    if (rc == AMBER_OK)
        rc = read_facts(pg, f, NULL, &r, err);
    for (size_t i = 0; rc == AMBER_OK && i < amber_res_rows(r); i++) {
        char **slot = facts_of(f, (uint32_t)amber_res_int(r, i, 0));
        if (slot)
            rc = amber_strdup(amber_res_get(r, i, 1), slot, err);
    }
    return rc;
}

static void name_of(const struct amber_family *f, uint32_t oid, const char **schema,
                    const char **name)
{
    ptrdiff_t leaf = amber_family_leaf_find(f, oid);

    *schema = f->tables[0].schema;
    *name = f->tables[0].name;
    for (size_t t = 0; t < f->n_tables; t++)
        if (f->tables[t].oid == oid) {
            *schema = f->tables[t].schema;
            *name = f->tables[t].name;
            return;
        }
    if (leaf >= 0) {
        const struct amber_leaf_ref *ref = &amber_family_priv(f)->by_oid[leaf];
        *schema = f->tables[ref->table].leaves[ref->leaf].schema;
        *name = f->tables[ref->table].leaves[ref->leaf].name;
    }
}

enum amber_rc amber_family_check_facts(struct amber_pg *pg, const struct amber_family *f,
                                       const bool *use, struct amber_err *err)
{
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    enum amber_rc rc = read_facts(pg, f, use, &r, err);

    for (size_t i = 0; rc == AMBER_OK && i < amber_res_rows(r); i++) {
        uint32_t oid = (uint32_t)amber_res_int(r, i, 0);
        char **known = facts_of(f, oid);
        const char *schema, *name;
        if (known && *known && strcmp(*known, amber_res_get(r, i, 1)) == 0)
            continue;
        name_of(f, oid, &schema, &name);
        return amber_fail(err, AMBER_E_DB,
                          "job %s: table \"%s\".\"%s\" was changed since the run began (columns, "
                          "foreign keys, triggers or rules); nothing of this unit was moved: run "
                          "the job again, which looks at the tables anew",
                          f->job, schema, name);
    }
    return rc;
}

enum amber_rc amber_family_check_partitions(struct amber_pg *pg, const struct amber_family *f,
                                            struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    if (f->n_tables == 1)
        return AMBER_OK; /* rows of a new partition are simply found by the next run */
    for (size_t t = 0; rc == AMBER_OK && t < f->n_tables; t++) {
        struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
        char oid[16];
        const char *param = oid;
        if (!f->tables[t].partitioned)
            continue;
        snprintf(oid, sizeof(oid), "%u", f->tables[t].oid);
        rc = amber_pg_query(pg, &r, err,
                            "SELECT relid::oid FROM pg_partition_tree($1::oid) WHERE isleaf", 1,
                            &param);
        for (size_t i = 0; rc == AMBER_OK && i < amber_res_rows(r); i++)
            if (amber_family_leaf_find(f, (uint32_t)amber_res_int(r, i, 0)) < 0)
                rc = amber_fail(err, AMBER_E_DB,
                                "job %s: table \"%s\".\"%s\" got a new partition since the run "
                                "began; nothing of this unit was moved: run the job again, which "
                                "looks at the tables anew",
                                f->job, f->tables[t].schema, f->tables[t].name);
    }
    return rc;
}
