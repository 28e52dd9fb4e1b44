/*
 * unit_stay.c - rows that have to stay: something that remains references them, or COPY can't
 * carry a row of their family.
 *
 *   amberfs_seed   root rows whose family a remaining row references (from outside, or from rows
 *                  of the family's tables that don't move), or that are too large
 *   amberfs_link   "if a stays, b stays": a row of a's family references one of b's
 *   amberfs_stay   the seeds and all that can be reached from them by links
 *
 * A family moves as a whole or stays as a whole, so everything is said of root rows, known by
 * (tableoid, ctid). The closure is one recursive query, however long a chain of references is.
 * The three tables are temporary and end with the transaction.
 */
#include "unit_priv.h"

#include <stdio.h>

/* Compressed and of the widest kind (an array of NULLs by LZ4), fewer bytes than these can't pass
 * AMBER_ROW_BYTES_MAX as text: such rows, nearly all, needn't be written out to be measured. */
#define SMALL_ROW_BYTES "16384"

/* Alias of table t in a join that climbs from table `first` to the root. */
static void alias(char out[32], const char *prefix, size_t t)
{
    snprintf(out, 32, "%s_%zu", prefix, t);
}

/* "(SELECT its identity, all its columns FROM relation WHERE it moves) AS alias": a scope of its
 * own for the job's condition. The two names have a blank, which few columns do. */
static void add_root_scope(struct amber_sqltext *sql, const struct amber_selection *sel,
                           const char *relation, const char *as)
{
    amber_sqltext_add(sql,
                      "(SELECT %a.tableoid AS \"amberfs o\", %a.ctid AS \"amberfs c\", %a.*"
                      " FROM %s AS %a WHERE ",
                      0U, 0U, 0U, relation, 0U);
    amber_selection_where(sql, sel, 0, 0);
    amber_sqltext_add(sql, ") AS %s", as);
}

/* Joins from a table up to its moving root row. relation: SQL of the table itself or a partition.
 */
static void add_climb(struct amber_sqltext *sql, const struct amber_selection *sel, size_t table,
                      const char *relation, const char *prefix)
{
    const struct amber_family *f = sel->family;
    const struct amber_family_priv *p = amber_family_priv(f);
    char here[32], above[32];

    alias(here, prefix, table);
    if (table == 0) {
        add_root_scope(sql, sel, relation, here);
        return;
    }
    amber_sqltext_add(sql, "%s AS %s", relation, here);
    for (size_t t = table; t != 0; t = (size_t)f->tables[t].parent) {
        size_t parent = (size_t)f->tables[t].parent;
        struct amber_sqltext name = AMBER_SQLTEXT_INIT(sql->err);
        alias(here, prefix, t);
        alias(above, prefix, parent);
        amber_selection_from(&name, f, parent);
        if (name.rc != AMBER_OK && sql->rc == AMBER_OK)
            sql->rc = name.rc;
        amber_sqltext_add(sql, " JOIN ");
        if (parent == 0)
            add_root_scope(sql, sel, amber_sqltext_str(&name), above);
        else
            amber_sqltext_add(sql, "%s AS %s", amber_sqltext_str(&name), above);
        amber_sqltext_clear(&name);
        amber_sqltext_add(sql, " ON ");
        amber_sql_fk_match(sql, &p->fks[p->edge[t]], above, here);
    }
}

/* "[ONLY] schema.name" of either side of a foreign key. */
static void add_relation(struct amber_sqltext *sql, const struct amber_fk *fk, bool from)
{
    bool partitioned = from ? fk->from_partitioned : fk->to_partitioned;

    amber_sqltext_add(sql, "%s%t", partitioned ? "" : "ONLY ",
                      from ? fk->from_schema : fk->to_schema, from ? fk->from_name : fk->to_name);
}

static enum amber_rc make_tables(struct amber_unit *u, struct amber_err *err)
{
    return amber_pg_exec(u->cfg.pg, err,
                         "CREATE TEMP TABLE amberfs_seed (o oid NOT NULL, c tid NOT NULL,"
                         " large boolean NOT NULL) ON COMMIT DROP;"
                         "CREATE TEMP TABLE amberfs_link (ao oid NOT NULL, ac text NOT NULL,"
                         " bo oid NOT NULL, bc text NOT NULL) ON COMMIT DROP;"
                         "CREATE TEMP TABLE amberfs_stay (o oid NOT NULL, c tid NOT NULL)"
                         " ON COMMIT DROP");
}

static enum amber_rc insert_rows(struct amber_unit *u, const struct amber_sqltext *sql,
                                 uint64_t *out_rows)
{
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    enum amber_rc rc = amber_sqltext_query(sql, u->cfg.pg, &r);

    if (rc == AMBER_OK)
        *out_rows = amber_res_affected(r);
    return rc;
}

/* Root rows whose family is referenced through fk by a row that doesn't move. */
static enum amber_rc seed_by_fk(struct amber_unit *u, const struct amber_fk *fk, uint64_t *out_rows,
                                struct amber_err *err)
{
    struct amber_sqltext sql AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    struct amber_sqltext to AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    char target[32], root[32];

    alias(target, "b", (size_t)fk->to);
    alias(root, "b", 0);
    add_relation(&to, fk, false);
    amber_sqltext_add(&sql,
                      "INSERT INTO pg_temp.amberfs_seed SELECT DISTINCT %s.\"amberfs o\","
                      " %s.\"amberfs c\", false FROM ",
                      root, root);
    add_climb(&sql, &u->sel, (size_t)fk->to, amber_sqltext_str(&to), "b");
    amber_sqltext_add(&sql, " WHERE EXISTS (SELECT 1 FROM ");
    add_relation(&sql, fk, true);
    amber_sqltext_add(&sql, " AS %a WHERE ", 0U);
    amber_sql_fk_match(&sql, fk, target, "amber_0");
    if (fk->from == 0) { /* its own condition may be unknown as well as false */
        amber_sqltext_add(&sql, " AND (");
        amber_selection_where(&sql, &u->sel, 0, 0);
        amber_sqltext_add(&sql, ") IS NOT TRUE");
    } else if (fk->from > 0) {
        amber_sqltext_add(&sql, " AND NOT ");
        amber_selection_where(&sql, &u->sel, (size_t)fk->from, 0);
    }
    amber_sqltext_add(&sql, ")");
    if (to.rc != AMBER_OK)
        return to.rc;
    return insert_rows(u, &sql, out_rows);
}

/* Links between moving roots through a foreign key within the family. */
static enum amber_rc link_by_fk(struct amber_unit *u, const struct amber_fk *fk,
                                struct amber_err *err)
{
    struct amber_sqltext sql AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    struct amber_sqltext from AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    struct amber_sqltext to AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    char a[32], b[32];
    uint64_t rows;

    add_relation(&from, fk, true);
    add_relation(&to, fk, false);
    amber_sqltext_add(&sql, "INSERT INTO pg_temp.amberfs_link"
                            " SELECT a_0.\"amberfs o\", a_0.\"amberfs c\"::text,"
                            " b_0.\"amberfs o\", b_0.\"amberfs c\"::text FROM ");
    add_climb(&sql, &u->sel, (size_t)fk->from, amber_sqltext_str(&from), "a");
    amber_sqltext_add(&sql, " JOIN %s", fk->to > 0 ? "(" : ""); /* a root is one item, not a join */
    add_climb(&sql, &u->sel, (size_t)fk->to, amber_sqltext_str(&to), "b");
    alias(a, "a", (size_t)fk->from);
    alias(b, "b", (size_t)fk->to);
    amber_sqltext_add(&sql, "%s ON ", fk->to > 0 ? ")" : "");
    amber_sql_fk_match(&sql, fk, b, a);
    amber_sqltext_add(&sql, " WHERE (a_0.\"amberfs o\", a_0.\"amberfs c\") <>"
                            " (b_0.\"amberfs o\", b_0.\"amberfs c\")");
    if (from.rc != AMBER_OK || to.rc != AMBER_OK)
        return err->code;
    return insert_rows(u, &sql, &rows);
}

/* The length of a column's text. Strings tell it without being read; bytea doubles. */
static void add_text_bytes(struct amber_sqltext *sql, const char *as, const struct amber_column *c)
{
    const char *type = c->type.name;
    bool json = strcmp(type, "json") == 0 || strcmp(type, "xml") == 0;

    if (strcmp(type, "bytea") == 0)
        amber_sqltext_add(sql, " + coalesce(octet_length(%s.%i)::bigint * 2 + 3, 3)", as, c->name);
    else if (strcmp(type, "text") == 0 || strncmp(type, "character varying", 17) == 0)
        amber_sqltext_add(sql, " + coalesce(octet_length(%s.%i)::bigint, 3)", as, c->name);
    else if (json)
        amber_sqltext_add(sql, " + coalesce(octet_length(%s.%i::text)::bigint, 3)", as, c->name);
    else /* format() writes by the type's own output function, as COPY does */
        amber_sqltext_add(sql, " + octet_length(format('%%s', %s.%i))::bigint + 3", as, c->name);
    if (c->type.kind == AMBER_KIND_SERVER)
        amber_sqltext_add(sql, " + coalesce(octet_length(to_json(%s.%i)::text)::bigint, 3)", as,
                          c->name);
}

/* Root rows of whose family a row of this table is too large. */
static enum amber_rc seed_by_size(struct amber_unit *u, size_t table, uint64_t *out_rows,
                                  struct amber_err *err)
{
    const struct amber_family *f = u->cfg.family;
    const struct amber_schema *s = &f->tables[table].columns;
    struct amber_sqltext sql AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    struct amber_sqltext name AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    char as[32], limit[32];

    alias(as, "b", table);
    snprintf(limit, sizeof(limit), "%llu", (unsigned long long)AMBER_ROW_BYTES_MAX);
    amber_selection_from(&name, f, table);
    amber_sqltext_add(&sql, "INSERT INTO pg_temp.amberfs_seed SELECT DISTINCT b_0.\"amberfs o\","
                            " b_0.\"amberfs c\", true FROM ");
    add_climb(&sql, &u->sel, table, amber_sqltext_str(&name), "b");
    amber_sqltext_add(&sql, " WHERE CASE WHEN 0::bigint");
    for (size_t c = 0; c < s->n_columns; c++)
        amber_sqltext_add(&sql, " + coalesce(pg_column_size(%s.%i), 0)", as, s->columns[c].name);
    amber_sqltext_add(&sql, " > " SMALL_ROW_BYTES " THEN 0::bigint");
    for (size_t c = 0; c < s->n_columns; c++)
        add_text_bytes(&sql, as, &s->columns[c]);
    amber_sqltext_add(&sql, " > %s ELSE false END", limit);
    if (name.rc != AMBER_OK)
        return name.rc;
    return insert_rows(u, &sql, out_rows);
}

static void note_why(struct amber_unit *u, const struct amber_fk *fk)
{
    size_t len = strlen(u->stayed.why);
    char text[320];

    snprintf(text, sizeof(text), "%s\"%s\" of \"%s\".\"%s\"", len > 0 ? ", " : "", fk->name,
             fk->from_schema, fk->from_name);
    if (len + strlen(text) < sizeof(u->stayed.why)) /* whole names only */
        memcpy(u->stayed.why + len, text, strlen(text) + 1);
}

static enum amber_rc find_seeds(struct amber_unit *u, uint64_t *out_total, struct amber_err *err)
{
    const struct amber_family *f = u->cfg.family;
    uint64_t rows = 0;
    enum amber_rc rc = AMBER_OK;

    *out_total = 0;
    for (size_t i = 0; rc == AMBER_OK && i < u->fp->n_fks; i++) {
        const struct amber_fk *fk = &u->fp->fks[i];
        if (fk->tree_edge)
            continue;
        rc = seed_by_fk(u, fk, &rows, err);
        if (rc == AMBER_OK && rows > 0)
            note_why(u, fk);
        *out_total += rows;
    }
    for (size_t t = 0; rc == AMBER_OK && u->cfg.check_sizes && t < f->n_tables; t++) {
        rc = seed_by_size(u, t, &rows, err);
        *out_total += rows;
    }
    return rc;
}

/* tid has no hash support before 14, which UNION in a recursive query takes: texts there. */
static enum amber_rc close_over(struct amber_unit *u, struct amber_err *err)
{
    bool links = false;
    enum amber_rc rc = AMBER_OK;

    for (size_t i = 0; rc == AMBER_OK && i < u->fp->n_fks; i++) {
        const struct amber_fk *fk = &u->fp->fks[i];
        if (fk->tree_edge || fk->from < 0)
            continue;
        links = true;
        rc = link_by_fk(u, fk, err);
    }
    if (rc == AMBER_OK && links)
        rc = amber_pg_exec(u->cfg.pg, err,
                           "CREATE INDEX ON pg_temp.amberfs_link (ac, ao);"
                           "ANALYZE pg_temp.amberfs_link; ANALYZE pg_temp.amberfs_seed");
    if (rc == AMBER_OK)
        rc = amber_pg_exec(
            u->cfg.pg, err,
            "INSERT INTO pg_temp.amberfs_stay WITH RECURSIVE reach(o, c) AS ("
            "SELECT o, c::text FROM pg_temp.amberfs_seed UNION SELECT l.bo, l.bc FROM reach r"
            " JOIN pg_temp.amberfs_link l ON l.ao = r.o AND l.ac = r.c) SELECT o, c::tid FROM "
            "reach;"
            "ANALYZE pg_temp.amberfs_stay");
    return rc;
}

static enum amber_rc count_stayed(struct amber_unit *u, struct amber_err *err)
{
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    enum amber_rc rc = amber_pg_query(u->cfg.pg, &r, err,
                                      "SELECT (SELECT count(*) FROM pg_temp.amberfs_stay),"
                                      " (SELECT count(*) FROM (SELECT DISTINCT o, c::text FROM "
                                      "pg_temp.amberfs_seed WHERE large) q)",
                                      0, NULL);

    if (rc != AMBER_OK)
        return rc;
    u->stayed.too_large = (uint64_t)amber_res_int(r, 0, 1);
    u->stayed.referenced = (uint64_t)amber_res_int(r, 0, 0) - u->stayed.too_large;
    return AMBER_OK;
}

enum amber_rc amber_unit_find_stay(struct amber_unit *u, struct amber_err *err)
{
    uint64_t seeds = 0;
    enum amber_rc rc;

    if (!u->cfg.family->may_stay && !u->cfg.check_sizes)
        return AMBER_OK;
    rc = make_tables(u, err);
    if (rc == AMBER_OK)
        rc = find_seeds(u, &seeds, err);
    if (rc == AMBER_OK && seeds > 0)
        rc = close_over(u, err);
    if (rc == AMBER_OK && seeds > 0)
        rc = count_stayed(u, err);
    if (rc != AMBER_OK)
        return amber_wrap(err, "job %s: looking for rows that have to stay", u->cfg.family->job);
    u->sel.stay = seeds > 0;
    return AMBER_OK;
}
