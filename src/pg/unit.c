/*
 * unit.c - one unit's transaction: its start, and what moves in it.
 *
 * In REPEATABLE READ the first query takes the snapshot, LOCK TABLE doesn't. So the order is
 *
 *   1 try the job's advisory lock in a statement of its own, which lets it go at once: a second
 *     process leaves here, before it can queue up behind the first one's table locks
 *   2 BEGIN, lock_timeout, LOCK TABLE of all leaves in reach: ROW EXCLUSIVE, or SHARE on those to
 *     be dropped; rows that others commit while we wait are in our snapshot therefore
 *   3 take the advisory lock until the transaction's end; this statement takes the snapshot
 *   4 compare the tables with what was loaded: nobody can change them any more
 *
 * Should the other process commit between the snapshot of 3 and its lock, our snapshot is older
 * than its deletes: ours fail with 40001 then, and the unit is tried anew.
 * Lock order: tables in the family's order, then the advisory lock; ACCESS EXCLUSIVE on a
 * partition to be dropped and its parent come last, just before COMMIT.
 */
#include "unit_priv.h"

#include <stdio.h>

#include "amber/failpoint.h"

#include "pg_priv.h"

/* ---- which leaves ---- */

/* Local time may jump: leaves are told apart by instants only where that is the column's own order.
 */
static bool is_plain_time(const struct amber_family *f)
{
    return f->time_kind == AMBER_TIME_TIMESTAMPTZ || strcmp(f->zone, "UTC") == 0;
}

static bool is_out_of_range(const struct amber_unit *u, const struct amber_leaf *leaf)
{
    int64_t margin = is_plain_time(u->cfg.family) ? 0 : 2 * AMBER_DAY_US;
    bool before = leaf->to_us < INT64_MAX - margin && u->from_us > INT64_MIN + margin &&
                  leaf->to_us + margin <= u->from_us;
    bool behind = leaf->from_us > INT64_MIN + margin && u->to_us < INT64_MAX - margin &&
                  leaf->from_us >= u->to_us + margin;

    return leaf->has_range && (before || behind);
}

static bool is_pinned(const struct amber_unit *u, const struct amber_leaf *leaf)
{
    for (size_t i = 0; i < u->cfg.n_pins; i++) {
        const struct amber_day_range *pin = &u->cfg.pins[i];
        int64_t behind = pin->to_day == INT64_MAX ? INT64_MAX : amber_day_us(pin->to_day + 1);
        if (leaf->from_us < behind && leaf->to_us > amber_day_us(pin->from_day))
            return true;
    }
    return false;
}

/* What to skip and what to drop, for the range as it is now. */
static void choose_leaves(struct amber_unit *u)
{
    const struct amber_table *root = &u->cfg.family->tables[0];

    for (size_t l = 0; l < root->n_leaves; l++) {
        const struct amber_leaf *leaf = &root->leaves[l];
        u->skip[l] = is_out_of_range(u, leaf);
        u->drop[l] = u->cfg.drop_partitions && !u->cfg.check_sizes && u->fp->droppable[l] &&
                     is_plain_time(u->cfg.family) && leaf->from_us >= u->from_us &&
                     leaf->to_us <= u->to_us && !is_pinned(u, leaf);
    }
}

bool amber_unit_skips(const struct amber_unit *u, size_t table, size_t leaf)
{
    return table == 0 && u->skip[leaf];
}

/* ---- begin ---- */

static enum amber_rc busy(const struct amber_unit *u, struct amber_err *err)
{
    return amber_fail(err, AMBER_E_BUSY,
                      "job %s is being run by another amberfs on this database: wait for it to end",
                      u->cfg.family->job);
}

static enum amber_rc try_advisory(struct amber_unit *u, struct amber_err *err)
{
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    const char *job = u->cfg.family->job;
    enum amber_rc rc = amber_pg_query(
        u->cfg.pg, &r, err,
        "SELECT pg_try_advisory_xact_lock(hashtextextended('amberfs:' || $1, 0))", 1, &job);

    if (rc == AMBER_OK && !amber_res_bool(r, 0, 0))
        rc = busy(u, err);
    return rc;
}

static enum amber_rc lock_leaves(struct amber_unit *u, bool dropped, const char *mode,
                                 struct amber_err *err)
{
    const struct amber_family *f = u->cfg.family;
    struct amber_sqltext sql AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    size_t n = 0;

    for (size_t t = 0; t < f->n_tables; t++)
        for (size_t l = 0; l < f->tables[t].n_leaves; l++) {
            const struct amber_leaf *leaf = &f->tables[t].leaves[l];
            if (amber_unit_skips(u, t, l) || (t == 0 && u->drop[l]) != dropped)
                continue;
            amber_sqltext_add(&sql, "%s ONLY %t", n++ == 0 ? "LOCK TABLE" : ",", leaf->schema,
                              leaf->name);
        }
    if (n == 0)
        return AMBER_OK;
    amber_sqltext_add(&sql, " IN %s MODE", mode);
    return amber_sqltext_exec(&sql, u->cfg.pg);
}

static enum amber_rc lock_all(struct amber_unit *u, struct amber_err *err)
{
    char sql[64];
    enum amber_rc rc;

    snprintf(sql, sizeof(sql), "SET LOCAL lock_timeout = %u", u->cfg.lock_wait_ms);
    rc = amber_pg_exec(u->cfg.pg, err, sql);
    if (rc == AMBER_OK)
        rc = lock_leaves(u, false, "ROW EXCLUSIVE", err);
    if (rc == AMBER_OK)
        rc = lock_leaves(u, true, "SHARE", err);
    if (rc != AMBER_OK)
        return amber_wrap(err, "job %s: locking its tables", u->cfg.family->job);
    return try_advisory(u, err);
}

static enum amber_rc check_family(struct amber_unit *u, struct amber_err *err)
{
    AMBER_AUTO_FREE bool *use = NULL;
    enum amber_rc rc = amber_calloc(u->fp->n_by_oid, sizeof(*use), &use, err);

    if (rc != AMBER_OK)
        return rc;
    for (size_t i = 0; i < u->fp->n_by_oid; i++)
        use[i] = !amber_unit_skips(u, u->fp->by_oid[i].table, u->fp->by_oid[i].leaf);
    rc = amber_family_check_facts(u->cfg.pg, u->cfg.family, use, err);
    if (rc == AMBER_OK)
        rc = amber_family_check_partitions(u->cfg.pg, u->cfg.family, err);
    return rc;
}

static enum amber_rc make_selection(struct amber_unit *u, struct amber_err *err)
{
    struct amber_selection sel;
    enum amber_rc rc = amber_selection_init(u->cfg.pg, u->cfg.family, u->from_us, u->to_us,
                                            u->cfg.pins, u->cfg.n_pins, &sel, err);

    if (rc != AMBER_OK)
        return rc;
    amber_selection_clear(&u->sel);
    u->sel = sel;
    return AMBER_OK;
}

static void add_root(struct amber_sqltext *sql, const struct amber_unit *u)
{
    amber_selection_from(sql, u->cfg.family, 0);
    amber_sqltext_add(sql, " AS %a WHERE ", 0U);
    amber_selection_where(sql, &u->sel, 0, 0);
}

/* Root rows that move, the first so many of them (0: all), and their oldest and newest times. */
static enum amber_rc count_root(struct amber_unit *u, uint64_t most, struct unit_span *out,
                                struct amber_err *err)
{
    const struct amber_family *f = u->cfg.family;
    struct amber_sqltext sql AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    char limit[48] = "";
    enum amber_rc rc;

    if (most > 0)
        snprintf(limit, sizeof(limit), " OFFSET 0 LIMIT %llu", (unsigned long long)most);
    amber_sqltext_add(&sql, "SELECT j.n, ");
    amber_sql_us_of(&sql, "j.lo");
    amber_sqltext_add(&sql, ", ");
    amber_sql_us_of(&sql, "j.hi");
    amber_sqltext_add(&sql, " FROM (SELECT count(*) AS n, min(i.t) AS lo, max(i.t) AS hi"
                            " FROM (SELECT ");
    amber_sql_instant_of(&sql, f, "q.t");
    amber_sqltext_add(&sql, " AS t FROM (SELECT %a.%i AS t FROM ", 0U, f->time_column);
    add_root(&sql, u);
    amber_sqltext_add(&sql, "%s) q) i OFFSET 0) j", limit);
    rc = amber_sqltext_query(&sql, u->cfg.pg, &r);
    if (rc != AMBER_OK)
        return amber_wrap(err, "job %s: counting what moves", f->job);
    *out = (struct unit_span){.rows = (uint64_t)amber_res_int(r, 0, 0),
                              .min_us = amber_res_int(r, 0, 1),
                              .max_us = amber_res_int(r, 0, 2)};
    return AMBER_OK;
}

/* Where it doesn't, what was counted is the span already. */
static enum amber_rc exceeds_cap(struct amber_unit *u, bool *out, struct amber_err *err)
{
    struct unit_span found;
    enum amber_rc rc = count_root(u, u->cfg.max_rows + 1, &found, err);

    if (rc != AMBER_OK)
        return rc;
    *out = found.rows > u->cfg.max_rows;
    u->span_known = !*out;
    u->span = found;
    return AMBER_OK;
}

/* Time of the first row past the cap, or just behind the first ones if all up to it are equal; as
 * a literal and in microseconds; and that of the oldest row. */
static enum amber_rc find_cap(struct amber_unit *u, char **out_literal, int64_t *out_us,
                              int64_t *out_min_us, struct amber_err *err)
{
    const struct amber_family *f = u->cfg.family;
    bool date = f->time_kind == AMBER_TIME_DATE;
    struct amber_sqltext sql AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    char limit[32];
    enum amber_rc rc;

    snprintf(limit, sizeof(limit), "%llu", (unsigned long long)u->cfg.max_rows);
    amber_sqltext_add(&sql, "SELECT j.t::text, ");
    amber_sql_us_of(&sql, "j.i");
    amber_sqltext_add(&sql, ", ");
    amber_sql_us_of(&sql, "j.m");
    amber_sqltext_add(&sql, " FROM (SELECT i.t, ");
    amber_sql_instant_of(&sql, f, "i.t");
    amber_sqltext_add(&sql, " AS i, ");
    amber_sql_instant_of(&sql, f, "i.m");
    amber_sqltext_add(&sql,
                      " AS m FROM (SELECT m.t AS m, CASE WHEN q.t > m.t THEN q.t ELSE q.t + %s END"
                      " AS t FROM (SELECT %a.%i AS t FROM ",
                      date ? "1" : "interval '1 microsecond'", 0U, f->time_column);
    add_root(&sql, u);
    amber_sqltext_add(&sql, " ORDER BY 1 OFFSET %s LIMIT 1) q, (SELECT min(%a.%i) AS t FROM ",
                      limit, 0U, f->time_column);
    add_root(&sql, u);
    amber_sqltext_add(&sql, ") m OFFSET 0) i OFFSET 0) j");
    rc = amber_sqltext_query(&sql, u->cfg.pg, &r);
    if (rc != AMBER_OK)
        return rc;
    if (amber_res_rows(r) != 1)
        return amber_fail(err, AMBER_E_DB, "job %s: the rows counted can't be found again", f->job);
    *out_us = amber_res_int(r, 0, 1);
    *out_min_us = amber_res_int(r, 0, 2);
    return amber_asprintf(out_literal, err, "%s '%s'",
                          date                                   ? "date"
                          : f->time_kind == AMBER_TIME_TIMESTAMP ? "timestamp"
                                                                 : "timestamptz",
                          amber_res_get(r, 0, 0));
}

/* A partition to be dropped isn't cut: the unit ends before it, or behind it if it comes first. */
static int64_t spare_partition(const struct amber_unit *u, int64_t cap_us, int64_t min_us)
{
    const struct amber_table *root = &u->cfg.family->tables[0];

    for (size_t l = 0; l < root->n_leaves; l++) {
        const struct amber_leaf *leaf = &root->leaves[l];
        if (u->drop[l] && leaf->from_us < cap_us && cap_us < leaf->to_us)
            return min_us < leaf->from_us ? leaf->from_us : leaf->to_us;
    }
    return cap_us;
}

static enum amber_rc apply_cap(struct amber_unit *u, struct amber_err *err)
{
    AMBER_AUTO_FREE char *literal = NULL;
    int64_t cap_us = 0, min_us = 0, end_us;
    bool exceeds = false;
    enum amber_rc rc = AMBER_OK;

    if (u->cfg.max_rows > 0)
        rc = exceeds_cap(u, &exceeds, err);
    if (rc != AMBER_OK || !exceeds)
        return rc;
    rc = find_cap(u, &literal, &cap_us, &min_us, err);
    if (rc != AMBER_OK)
        return rc;
    end_us = spare_partition(u, cap_us, min_us);
    if (end_us >= u->to_us)
        return AMBER_OK;
    u->to_us = end_us;
    if (end_us != cap_us)
        return make_selection(u, err);
    free(u->sel.to);
    u->sel.to = amber_steal(&literal);
    return AMBER_OK;
}

static enum amber_rc list_partitions(struct amber_unit *u, struct amber_err *err)
{
    const struct amber_table *root = &u->cfg.family->tables[0];
    enum amber_rc rc =
        amber_calloc(root->n_leaves + 1, sizeof(*u->partitions), &u->partitions, err);

    for (size_t l = 0; rc == AMBER_OK && l < root->n_leaves; l++)
        if (u->drop[l])
            u->partitions[u->n_partitions++] =
                (struct amber_partition){.schema = root->leaves[l].schema,
                                         .name = root->leaves[l].name,
                                         .bound = root->leaves[l].bound};
    return rc;
}

static enum amber_rc begin(struct amber_unit *u, struct amber_err *err)
{
    enum amber_rc rc;

    choose_leaves(u);
    rc = try_advisory(u, err); /* 1 */
    if (rc == AMBER_OK)
        rc = amber_pg_begin(u->cfg.pg, "ISOLATION LEVEL REPEATABLE READ, READ WRITE", err);
    if (rc != AMBER_OK)
        return rc;
    u->began = true;
    rc = lock_all(u, err); /* 2, 3 */
    if (rc == AMBER_OK)
        rc = amber_failpoint("unit-begin", err);
    if (rc == AMBER_OK)
        rc = check_family(u, err); /* 4 */
    if (rc == AMBER_OK)
        rc = make_selection(u, err);
    if (rc == AMBER_OK)
        rc = apply_cap(u, err);
    if (rc != AMBER_OK)
        return rc;
    choose_leaves(u); /* the cap may have left some behind */
    rc = amber_unit_find_stay(u, err);
    if (rc == AMBER_OK)
        rc = amber_unit_helpers_begin(u, err);
    if (rc == AMBER_OK)
        rc = list_partitions(u, err);
    if (rc == AMBER_OK)
        rc = amber_unit_remember(u, err);
    return rc;
}

enum amber_rc amber_unit_begin(const struct amber_unit_config *cfg, struct amber_unit **out,
                               struct amber_err *err)
{
    size_t n_root = cfg->family->tables[0].n_leaves;
    struct amber_unit *u = NULL;
    enum amber_rc rc = amber_calloc(1, sizeof(*u), &u, err);

    if (rc != AMBER_OK)
        return rc;
    u->cfg = *cfg;
    u->fp = amber_family_priv(cfg->family);
    u->n_helpers = cfg->n_helpers;
    u->from_us = cfg->from_us;
    u->to_us = cfg->to_us;
    rc = amber_calloc(n_root + 1, sizeof(*u->drop), &u->drop, err);
    if (rc == AMBER_OK)
        rc = amber_calloc(n_root + 1, sizeof(*u->skip), &u->skip, err);
    if (rc == AMBER_OK)
        rc = amber_calloc(u->fp->n_by_oid + 1, sizeof(*u->deleted), &u->deleted, err);
    if (rc == AMBER_OK)
        rc = begin(u, err);
    if (rc != AMBER_OK) {
        amber_unit_free(u);
        return rc;
    }
    *out = u;
    return AMBER_OK;
}

void amber_unit_free(struct amber_unit *u)
{
    if (!u)
        return;
    amber_unit_helpers_end(u);
    if (u->began)
        amber_pg_rollback(u->cfg.pg); /* does nothing after a commit */
    amber_selection_clear(&u->sel);
    amber_res_free(u->before);
    free(u->partitions);
    free(u->deleted);
    free(u->skip);
    free(u->drop);
    free(u);
}

void amber_unit_range(const struct amber_unit *u, int64_t *out_from_us, int64_t *out_to_us)
{
    *out_from_us = u->from_us;
    *out_to_us = u->to_us;
}

void amber_unit_stayed(const struct amber_unit *u, struct amber_unit_stayed *out)
{
    *out = u->stayed;
}

const struct amber_partition *amber_unit_partitions(const struct amber_unit *u, size_t *out_n)
{
    *out_n = u->n_partitions;
    return u->partitions;
}

/* ---- what moves ---- */

enum amber_rc amber_unit_span(struct amber_unit *u, uint64_t *out_rows, int64_t *out_min_us,
                              int64_t *out_max_us, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    if (!u->span_known || u->sel.stay)
        rc = count_root(u, 0, &u->span, err);
    if (rc != AMBER_OK)
        return rc;
    *out_rows = u->span.rows;
    *out_min_us = u->span.min_us;
    *out_max_us = u->span.max_us;
    return AMBER_OK;
}

enum amber_rc amber_unit_count(struct amber_unit *u, size_t table, uint64_t *out_rows,
                               uint64_t *out_bytes, struct amber_err *err)
{
    const struct amber_family *f = u->cfg.family;
    const struct amber_schema *s = &f->tables[table].columns;
    struct amber_sqltext sql AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    uint64_t keys = 2;
    enum amber_rc rc;

    /* Sizes as stored: nothing is decompressed for an estimate. A key takes quotes, ':' and ','. */
    amber_sqltext_add(&sql, "SELECT count(*), sum(0::bigint");
    for (size_t c = 0; c < s->n_columns; c++) {
        amber_sqltext_add(&sql, " + coalesce(pg_column_size(%a.%i), 4)", 0U, s->columns[c].name);
        keys += strlen(s->columns[c].name) + 4;
    }
    amber_sqltext_add(&sql, ")::bigint FROM ");
    amber_selection_from(&sql, f, table);
    amber_sqltext_add(&sql, " AS %a WHERE ", 0U);
    amber_selection_where(&sql, &u->sel, table, 0);
    rc = amber_sqltext_query(&sql, u->cfg.pg, &r);
    if (rc != AMBER_OK)
        return amber_wrap(err, "job %s: counting rows of \"%s\".\"%s\"", f->job,
                          f->tables[table].schema, f->tables[table].name);
    *out_rows = (uint64_t)amber_res_int(r, 0, 0);
    *out_bytes = (uint64_t)amber_res_int(r, 0, 1) + *out_rows * keys;
    return AMBER_OK;
}
