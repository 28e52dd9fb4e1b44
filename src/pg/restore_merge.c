/*
 * restore_merge.c - the staging table: rows wait there until it is known which keys are taken.
 *
 *   pg_temp.amberfs_staging    line, set, every emitted column, no constraint
 *   pg_temp.amberfs_conflict   a staged row, a row of the table with one of its keys, which key,
 *                              and whether the two are the same
 *
 * Rows are the same if each column has the same text, which works for every type. Sets (rows with
 * the same columns) are merged one after the other:
 *
 *   1 detect    join staging and table on every unique key whose columns the set has
 *   2 decide    error: the first row that differs; replace: UPDATE it (never DELETE, which would
 *               cascade); skip: nothing
 *   3 insert    the rows without a conflict, ON CONFLICT DO NOTHING; a row that the table refuses
 * is found by halving 4 again     fewer were inserted: two rows of the file have one key, or
 * somebody else was faster. The same detection tells whether they differ
 */
#include <inttypes.h>
#include <stdio.h>

#include "amber/count.h"
#include "restore_priv.h"

#define STAGING "pg_temp.amberfs_staging"
#define CONFLICT "pg_temp.amberfs_conflict"

/* What one merge works on. */
struct merge {
    struct amber_restore *r;
    size_t set_no;
    const struct amber_row_set *set;
    bool *checked; /* owned; per key of r: its columns are all in the set */
    uint64_t todo; /* staged rows without a conflict */
};

enum amber_rc amber_staging_make(struct amber_restore *r, struct amber_err *err)
{
    AMBER_AUTO_SQLTEXT struct amber_sqltext sql = AMBER_SQLTEXT_INIT(err);
    amber_sqltext_add(&sql,
                      "DROP TABLE IF EXISTS " STAGING ", " CONFLICT ";"
                      "CREATE TEMP TABLE amberfs_conflict (line bigint, tab oid, tup tid, key_no"
                      " integer, same boolean) ON COMMIT DROP;"
                      "CREATE TEMP TABLE amberfs_staging ON COMMIT DROP AS SELECT"
                      " NULL::bigint AS %i, NULL::integer AS %i",
                      r->line_col, r->set_col);
    for (size_t i = 0; i < r->n_emit; i++)
        amber_sqltext_add(&sql, ", %i", r->names[i]);
    amber_sqltext_add(&sql, " FROM %t WITH NO DATA", r->schema, r->table);
    enum amber_rc rc = amber_sqltext_exec(&sql, r->pg);
    if (rc && strcmp(err->sqlstate, "42501") == 0)
        return amber_fail(err, AMBER_E_DENIED,
                          "some keys are taken, and to compare their rows a restore makes a temporary "
                          "table, which this database role may not: GRANT TEMPORARY ON DATABASE \"%s\" "
                          "to it, or restore as the database's owner",
                          amber_pg_database(r->pg));
    return rc ? amber_wrap(err, "making a temporary table for the restore") : AMBER_OK;
}

/* ---- 1: detect ---- */

static const struct amber_target_column *generated_column(const struct amber_restore *r,
                                                          const char *name)
{
    for (size_t i = 0; i < r->n_columns; i++)
        if (r->columns[i].generated && strcmp(r->columns[i].name, name) == 0)
            return &r->columns[i];
    return NULL;
}

/* A key can be looked at if the set has all it depends on; generated columns and a partition's
 * constraint may depend on anything, so that they ask for all columns. */
static bool key_is_checked(const struct merge *m, const struct amber_target_key *k)
{
    const struct amber_restore *r = m->r;
    bool whole = m->set->n == r->n_emit;
    if (k->of_partition && !whole)
        return false;
    for (size_t i = 0; i < k->n_columns; i++) {
        ptrdiff_t at = amber_restore_emitted(r, k->columns[i]);
        bool has = at >= 0 ? m->set->has[at] : whole && generated_column(r, k->columns[i]);
        if (!has)
            return false;
    }
    return true;
}

/* The set's columns as c0, c1, ... so that no name of the table's can clash with ours. */
static void add_columns(struct amber_sqltext *sql, const struct merge *m)
{
    for (size_t i = 0; i < m->r->n_emit; i++)
        if (m->set->has[i])
            amber_sqltext_add(sql, ", x.%i AS c%u", m->r->names[i], (uint32_t)i);
}

/* Whether all of them have the same text. */
static void add_same(struct amber_sqltext *sql, const struct merge *m)
{
    amber_sqltext_add(sql, "true");
    for (size_t i = 0; i < m->r->n_emit; i++)
        if (m->set->has[i])
            amber_sqltext_add(sql, " AND s.c%u::text IS NOT DISTINCT FROM t.c%u::text", (uint32_t)i,
                              (uint32_t)i);
}

/* The staged rows of the set, with generated columns worked out, as a FROM item. */
static void add_staged(struct amber_sqltext *sql, const struct merge *m)
{
    const struct amber_restore *r = m->r;
    char no[24];
    snprintf(no, sizeof(no), "%zu", m->set_no);
    amber_sqltext_add(sql, "(SELECT *");
    for (size_t i = 0; i < r->n_columns; i++)
        if (r->columns[i].generated && m->set->n == r->n_emit)
            amber_sqltext_add(sql, ", (%s)::%s AS %i", r->columns[i].generated, r->columns[i].type,
                              r->columns[i].name);
    amber_sqltext_add(sql, " FROM " STAGING " WHERE %i = %s) AS x", r->set_col, no);
}

/* A key's expressions as k0, k1, ... */
static void add_parts(struct amber_sqltext *sql, const struct amber_target_key *k)
{
    for (size_t i = 0; i < k->n_parts; i++)
        amber_sqltext_add(sql, ", (%s) AS k%u", k->parts[i].expr, (uint32_t)i);
}

static void add_match(struct amber_sqltext *sql, const struct amber_target_key *k)
{
    for (size_t i = 0; i < k->n_parts; i++) {
        const struct amber_key_part *p = &k->parts[i];
        amber_sqltext_add(sql, "%s(s.k%u", i ? " AND " : "", (uint32_t)i);
        if (p->coll_name)
            amber_sqltext_add(sql, " COLLATE %t", p->coll_schema, p->coll_name);
        /* An operator's name has no quoted form; the server gave it. */
        amber_sqltext_add(sql, " OPERATOR(%i.%s) t.k%u", p->op_schema, p->op_name, (uint32_t)i);
        if (k->nulls_equal)
            amber_sqltext_add(sql, " OR (s.k%u IS NULL AND t.k%u IS NULL)", (uint32_t)i,
                              (uint32_t)i);
        amber_sqltext_add(sql, ")");
    }
}

static enum amber_rc detect_key(const struct merge *m, size_t key_no, struct amber_err *err)
{
    const struct amber_restore *r = m->r;
    const struct amber_target_key *k = &r->keys[key_no];
    AMBER_AUTO_SQLTEXT struct amber_sqltext sql = AMBER_SQLTEXT_INIT(err);
    amber_sqltext_add(&sql,
                      "INSERT INTO " CONFLICT " (line, tab, tup, key_no, same)"
                      " SELECT s.line, t.tab, t.tup, %u, ",
                      (uint32_t)key_no);
    add_same(&sql, m);
    amber_sqltext_add(&sql, " FROM (SELECT x.%i AS line", r->line_col);
    add_columns(&sql, m);
    add_parts(&sql, k);
    amber_sqltext_add(&sql, " FROM ");
    add_staged(&sql, m);
    if (k->predicate || k->routed)
        amber_sqltext_add(&sql, " WHERE (%s) AND (%s)", k->predicate ? k->predicate : "true",
                          k->routed ? k->routed : "true");
    amber_sqltext_add(&sql, ") AS s JOIN (SELECT x.tableoid AS tab, x.ctid AS tup");
    add_columns(&sql, m);
    add_parts(&sql, k);
    amber_sqltext_add(&sql, " FROM %t AS x", k->schema, k->rel);
    if (k->predicate)
        amber_sqltext_add(&sql, " WHERE %s", k->predicate);
    amber_sqltext_add(&sql, ") AS t ON ");
    add_match(&sql, k);
    return amber_sqltext_exec(&sql, r->pg);
}

static enum amber_rc detect(const struct merge *m, struct amber_err *err)
{
    enum amber_rc rc = amber_pg_exec(m->r->pg, err, "TRUNCATE " CONFLICT);
    for (size_t i = 0; !rc && i < m->r->n_keys; i++)
        if (m->checked[i])
            rc = detect_key(m, i, err);
    return rc ? amber_wrap(err, "looking for rows with the same key in %s.%s", m->r->schema,
                           m->r->table)
              : AMBER_OK;
}

/* ---- 2: decide ---- */

static enum amber_rc duplicate(struct amber_err *err, const char *what)
{
    enum amber_rc rc = amber_fail(err, AMBER_E_DB, "%s (SQLSTATE 23505)", what);
    memcpy(err->sqlstate, "23505", sizeof(err->sqlstate));
    return rc;
}

/* The first staged row that differs from the one that has its key. */
static enum amber_rc refuse_differing(const struct merge *m, struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    enum amber_rc rc = amber_pg_query(m->r->pg, &res, err,
                                      "SELECT line, key_no FROM " CONFLICT " WHERE NOT same"
                                      " ORDER BY line, key_no LIMIT 1",
                                      0, NULL);
    if (rc || !amber_res_rows(res))
        return rc;
    const struct amber_target_key *k = &m->r->keys[amber_res_int(res, 0, 1)];
    char text[768];
    snprintf(
        text, sizeof(text),
        "line %" PRId64 ": another row with the same key is there and differs (constraint "
        "\"%s\" of %s.%s); choose what wins: --on-conflict skip keeps the table's row, replace "
        "the file's",
        amber_res_int(res, 0, 0), k->name, k->schema, k->rel);
    return duplicate(err, text);
}

/* A row that has the keys of several rows could replace only one of them. */
static enum amber_rc refuse_ambiguous(const struct merge *m, struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    enum amber_rc rc = amber_pg_query(
        m->r->pg, &res, err,
        "SELECT line, min(key_no), max(key_no) FROM " CONFLICT
        " GROUP BY line HAVING count(DISTINCT (tab, tup::text)) > 1 ORDER BY line LIMIT 1",
        0, NULL);
    if (rc || !amber_res_rows(res))
        return rc;
    const struct amber_target_key *a = &m->r->keys[amber_res_int(res, 0, 1)];
    const struct amber_target_key *b = &m->r->keys[amber_res_int(res, 0, 2)];
    char text[768];
    snprintf(text, sizeof(text),
             "line %" PRId64
             " has the keys of several rows of %s.%s (constraints \"%s\", \"%s\") and "
             "can't replace them all: remove the wrong ones first",
             amber_res_int(res, 0, 0), m->r->schema, m->r->table, a->name, b->name);
    return duplicate(err, text);
}

/* The rows of the table that are replaced, each with the last line that has its key. */
static void add_winners(struct amber_sqltext *sql, const struct amber_restore *r)
{
    amber_sqltext_add(sql,
                      "(SELECT DISTINCT ON (tab, tup::text) line, tab, tup, same FROM " CONFLICT
                      " ORDER BY tab, tup::text, line DESC) w"
                      " JOIN " STAGING " s ON s.%i = w.line",
                      r->line_col);
}

static char identity_of(const struct amber_restore *r, const char *name)
{
    for (size_t i = 0; i < r->n_columns; i++)
        if (strcmp(r->columns[i].name, name) == 0)
            return r->columns[i].identity;
    return '\0';
}

/* GENERATED ALWAYS identity columns can't be updated, so they must be the same. */
static enum amber_rc refuse_new_identity(const struct merge *m, size_t col, struct amber_err *err)
{
    const struct amber_restore *r = m->r;
    AMBER_AUTO_SQLTEXT struct amber_sqltext sql = AMBER_SQLTEXT_INIT(err);
    amber_sqltext_add(&sql, "SELECT min(w.line) FROM ");
    add_winners(&sql, r);
    amber_sqltext_add(&sql,
                      " JOIN %t t ON t.tableoid = w.tab AND t.ctid = w.tup"
                      " WHERE NOT w.same AND s.%i::text IS DISTINCT FROM t.%i::text",
                      r->schema, r->table, r->names[col], r->names[col]);
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    enum amber_rc rc = amber_sqltext_query(&sql, r->pg, &res);
    if (rc || !amber_res_get(res, 0, 0))
        return rc;
    char text[512];
    snprintf(text, sizeof(text),
             "line %s, column %s: the row that it would replace has another value, and the column "
             "is GENERATED ALWAYS AS IDENTITY",
             amber_res_get(res, 0, 0), r->names[col]);
    return duplicate(err, text);
}

static enum amber_rc replace(const struct merge *m, struct amber_err *err)
{
    struct amber_restore *r = m->r;
    enum amber_rc rc = refuse_ambiguous(m, err);
    AMBER_AUTO_SQLTEXT struct amber_sqltext sql = AMBER_SQLTEXT_INIT(err);
    amber_sqltext_add(&sql, "UPDATE %t t SET ", r->schema, r->table);
    size_t n = 0;
    for (size_t i = 0; !rc && i < r->n_emit; i++) {
        if (!m->set->has[i])
            continue;
        if (identity_of(r, r->names[i]) == 'a')
            rc = refuse_new_identity(m, i, err);
        else
            amber_sqltext_add(&sql, "%s%i = s.%i", n++ ? ", " : "", r->names[i], r->names[i]);
    }
    if (rc || !n)
        return rc;
    amber_sqltext_add(&sql, " FROM ");
    add_winners(&sql, r);
    amber_sqltext_add(&sql, " WHERE NOT w.same AND t.tableoid = w.tab AND t.ctid = w.tup");
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    rc = amber_sqltext_query(&sql, r->pg, &res);
    if (rc)
        return amber_restore_explain(r, 0, err);
    r->stats.rows_replaced += amber_res_affected(res);
    return AMBER_OK;
}

static enum amber_rc decide(const struct merge *m, struct amber_err *err)
{
    switch (m->r->mode) {
    case AMBER_CONFLICT_DEFAULT:
    case AMBER_CONFLICT_ERROR:
        return refuse_differing(m, err);
    case AMBER_CONFLICT_SKIP:
        return AMBER_OK;
    case AMBER_CONFLICT_REPLACE:
        return replace(m, err);
    }
    return AMBER_OK;
}

/* ---- 3: insert ---- */

static enum amber_rc count_todo(struct merge *m, struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    enum amber_rc rc =
        amber_pg_query(m->r->pg, &res, err, "SELECT count(DISTINCT line) FROM " CONFLICT, 0, NULL);
    if (!rc)
        m->todo = m->set->rows - (uint64_t)amber_res_int(res, 0, 0);
    return rc;
}

/* Lines first to last. Of several rows with one key the first wins, or the last where the file's
 * rows win. */
static enum amber_rc insert_lines(const struct merge *m, uint64_t first, uint64_t last,
                                  uint64_t *out_n, struct amber_err *err)
{
    struct amber_restore *r = m->r;
    bool deferrable = false;
    for (size_t i = 0; i < r->n_keys; i++)
        deferrable = deferrable || r->keys[i].deferrable;
    char set[24], range[64];
    snprintf(set, sizeof(set), "%zu", m->set_no);
    snprintf(range, sizeof(range), "%" PRIu64 " AND %" PRIu64, first, last);
    AMBER_AUTO_SQLTEXT struct amber_sqltext sql = AMBER_SQLTEXT_INIT(err);
    AMBER_AUTO_SQLTEXT struct amber_sqltext cols = AMBER_SQLTEXT_INIT(err);
    for (size_t i = 0, n = 0; i < r->n_emit; i++)
        if (m->set->has[i])
            amber_sqltext_add(&cols, "%s%i", n++ ? ", " : "", r->names[i]);
    if (amber_sqltext_rc(&cols))
        return err->code;
    amber_sqltext_add(&sql,
                      "INSERT INTO %t (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM " STAGING
                      " AS s WHERE s.%i = %s AND s.%i BETWEEN %s",
                      r->schema, r->table, amber_sqltext_str(&cols), amber_sqltext_str(&cols),
                      r->set_col, set, r->line_col, range);
    if (m->todo < m->set->rows)
        amber_sqltext_add(&sql,
                          " AND NOT EXISTS (SELECT 1 FROM " CONFLICT " AS c WHERE c.line = s.%i)",
                          r->line_col);
    amber_sqltext_add(&sql, " ORDER BY s.%i%s%s", r->line_col,
                      r->mode == AMBER_CONFLICT_REPLACE ? " DESC" : "",
                      deferrable ? "" : " ON CONFLICT DO NOTHING");
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    enum amber_rc rc = amber_sqltext_query(&sql, r->pg, &res);
    if (!rc)
        *out_n = amber_res_affected(res);
    return rc;
}

/* The first line that can't be inserted, by halving; 0 if it can't be told. A staged row fails
 * without its line being named, and a search costs less than a line number checked for each row. */
static uint64_t find_bad_line(const struct merge *m)
{
    uint64_t good = 0, bad = m->r->line, n;
    while (bad - good > 1) {
        uint64_t mid = good + (bad - good) / 2;
        struct amber_err err = AMBER_ERR_INIT;
        enum amber_rc rc = amber_pg_exec(m->r->pg, &err, "ROLLBACK TO SAVEPOINT amberfs_rows");
        if (rc)
            return 0;
        rc = insert_lines(m, good + 1, mid, &n, &err);
        if (rc && rc != AMBER_E_DB)
            return 0;
        if (rc)
            bad = mid;
        else
            good = mid;
    }
    return bad;
}

static enum amber_rc insert(const struct merge *m, uint64_t *out_n, struct amber_err *err)
{
    struct amber_restore *r = m->r;
    enum amber_rc rc = amber_pg_exec(r->pg, err, "SAVEPOINT amberfs_rows");
    if (!rc)
        rc = insert_lines(m, 1, r->line, out_n, err);
    if (!rc)
        return amber_pg_exec(r->pg, err, "RELEASE SAVEPOINT amberfs_rows");
    if (rc != AMBER_E_DB)
        return rc;
    const struct amber_err first = *err;
    const struct amber_pg_diag diag = r->pg->diag;
    uint64_t line = strncmp(diag.sqlstate, "23505", 5) == 0 ? 0 : find_bad_line(m);
    *err = first;
    r->pg->diag = diag;
    return amber_restore_explain(r, line, err);
}

/* ---- 4: fewer were inserted ---- */

static enum amber_rc explain_rest(const struct merge *m, uint64_t missing, struct amber_err *err)
{
    struct amber_restore *r = m->r;
    if (r->mode == AMBER_CONFLICT_SKIP)
        return AMBER_OK;
    for (size_t i = 0; i < r->n_keys; i++) {
        if (m->checked[i])
            continue;
        char text[512];
        snprintf(text, sizeof(text),
                 "%s with a key that is taken, perhaps that of constraint \"%s\", "
                 "whose columns the file leaves to their defaults",
                 AMBER_COUNT(missing, "row"), r->keys[i].name);
        return duplicate(err, text);
    }
    /* Where the file's rows win, its later ones do: that is what "last" means. */
    if (r->mode == AMBER_CONFLICT_REPLACE)
        return AMBER_OK;
    enum amber_rc rc = detect(m, err);
    return rc ? rc : refuse_differing(m, err);
}

static enum amber_rc merge_set(struct merge *m, struct amber_err *err)
{
    struct amber_restore *r = m->r;
    for (size_t i = 0; i < r->n_keys; i++)
        m->checked[i] = key_is_checked(m, &r->keys[i]);
    uint64_t n = 0;
    enum amber_rc rc = detect(m, err);
    if (!rc)
        rc = decide(m, err);
    if (!rc)
        rc = count_todo(m, err);
    if (!rc && m->todo)
        rc = insert(m, &n, err);
    if (!rc && n < m->todo)
        rc = explain_rest(m, m->todo - n, err);
    r->stats.rows_inserted += n;
    return rc;
}

enum amber_rc amber_staging_merge(struct amber_restore *r, struct amber_err *err)
{
    enum amber_rc rc = amber_pg_exec(r->pg, err, "ANALYZE " STAGING);
    bool *checked = NULL;
    if (!rc)
        rc = amber_calloc(r->n_keys + 1, sizeof(*checked), &checked, err);
    for (size_t i = 0; !rc && i < r->n_sets; i++) {
        struct merge m = {.r = r, .set_no = i, .set = &r->sets[i], .checked = checked};
        if (m.set->rows && m.set->n)
            rc = merge_set(&m, err);
    }
    free(checked);
    return rc;
}
