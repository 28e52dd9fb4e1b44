/*
 * unit_sql.c - which rows move, as SQL text.
 *
 * Times become literals of the column's own type once, so that indexes and partition pruning work
 * and no row's time is converted. A timestamp or date without zone is converted by the server,
 * which knows the zone's rules: the bound is, not the rows. Infinite times lie outside every
 * range: a finite bound excludes them by itself, an open one by not including its infinity.
 */
#include "unit_priv.h"

#include <stdio.h>

/* What PostgreSQL's timestamptz can hold, with a margin of days for any zone. */
#define PG_MIN_YEAR (-4712)
#define PG_MAX_YEAR 294275

/* "2024-01-01 00:00:00.000000+00", "... BC" for years before 1; "infinity" where it ends. */
static void format_instant(int64_t us, char *out, size_t out_len)
{
    struct amber_civil c;

    if (us != INT64_MIN && us != INT64_MAX)
        amber_civil_from_us(us, &c);
    if (us == INT64_MIN || (us != INT64_MAX && c.year < PG_MIN_YEAR))
        snprintf(out, out_len, "-infinity");
    else if (us == INT64_MAX || c.year > PG_MAX_YEAR)
        snprintf(out, out_len, "infinity");
    else
        snprintf(out, out_len, "%04lld-%02d-%02d %02d:%02d:%02d.%06d+00%s",
                 (long long)(c.year > 0 ? c.year : 1 - c.year), c.month, c.day, c.hour, c.minute,
                 c.second, c.us, c.year > 0 ? "" : " BC");
}

/* The server's literals for n instants: the first day not before it for dates. */
static enum amber_rc resolve_literals(struct amber_pg *pg, const struct amber_family *f,
                                      const int64_t *us, size_t n, char **out,
                                      struct amber_err *err)
{
    struct amber_sqltext sql AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    bool date = f->time_kind == AMBER_TIME_DATE;
    char text[64];
    enum amber_rc rc;

    amber_sqltext_add(&sql, date ? "SELECT CASE WHEN NOT isfinite(l) THEN l::date WHEN l ="
                                   " date_trunc('day', l) THEN l::date ELSE l::date + 1 END"
                                 : "SELECT l");
    amber_sqltext_add(&sql, " FROM (SELECT ord, x AT TIME ZONE %l AS l FROM unnest(ARRAY[",
                      f->zone);
    for (size_t i = 0; i < n; i++) {
        format_instant(us[i], text, sizeof(text));
        amber_sqltext_add(&sql, "%stimestamptz %l", i == 0 ? "" : ", ", text);
    }
    amber_sqltext_add(&sql, "]) WITH ORDINALITY AS u(x, ord) OFFSET 0) q ORDER BY ord");
    rc = amber_sqltext_query(&sql, pg, &r);
    if (rc != AMBER_OK)
        return rc;
    for (size_t i = 0; rc == AMBER_OK && i < n; i++)
        rc = amber_asprintf(&out[i], err, "%s '%s'", date ? "date" : "timestamp",
                            amber_res_get(r, i, 0));
    return rc;
}

static enum amber_rc make_literals(struct amber_pg *pg, const struct amber_family *f,
                                   const int64_t *us, size_t n, char **out, struct amber_err *err)
{
    char text[64];
    enum amber_rc rc = AMBER_OK;

    if (f->time_kind != AMBER_TIME_TIMESTAMPTZ)
        return resolve_literals(pg, f, us, n, out, err);
    for (size_t i = 0; rc == AMBER_OK && i < n; i++) {
        format_instant(us[i], text, sizeof(text));
        rc = amber_asprintf(&out[i], err, "timestamptz '%s'", text);
    }
    return rc;
}

enum amber_rc amber_selection_init(struct amber_pg *pg, const struct amber_family *f,
                                   int64_t from_us, int64_t to_us,
                                   const struct amber_day_range *pins, size_t n_pins,
                                   struct amber_selection *out, struct amber_err *err)
{
    struct amber_selection sel AMBER_AUTO_SELECTION = {.family = f, .n_pins = n_pins};
    AMBER_AUTO_FREE int64_t *us = NULL;
    AMBER_AUTO_FREE char **texts = NULL;
    size_t n = 2 + 2 * n_pins;
    enum amber_rc rc = amber_calloc(n, sizeof(*us), &us, err);

    if (rc == AMBER_OK)
        rc = amber_calloc(n, sizeof(*texts), &texts, err);
    if (rc == AMBER_OK)
        rc = amber_calloc(2 * n_pins + 1, sizeof(*sel.pins), &sel.pins, err);
    if (rc != AMBER_OK)
        return rc;
    us[0] = from_us;
    us[1] = to_us;
    for (size_t i = 0; i < n_pins; i++) {
        us[2 + 2 * i] = amber_day_us(pins[i].from_day);
        us[3 + 2 * i] = pins[i].to_day == INT64_MAX ? INT64_MAX : amber_day_us(pins[i].to_day + 1);
    }
    rc = make_literals(pg, f, us, n, texts, err);
    sel.from = texts[0];
    sel.to = texts[1];
    for (size_t i = 0; i < 2 * n_pins; i++)
        sel.pins[i] = texts[2 + i];
    if (rc != AMBER_OK)
        return rc;
    sel.from_open = strstr(sel.from, "'-infinity'") != NULL;
    *out = sel;
    sel = (struct amber_selection){0};
    return AMBER_OK;
}

void amber_selection_clear(struct amber_selection *s)
{
    free(s->from);
    free(s->to);
    for (size_t i = 0; s->pins && i < 2 * s->n_pins; i++)
        free(s->pins[i]);
    free(s->pins);
    *s = (struct amber_selection){0};
}

void amber_selection_from(struct amber_sqltext *sql, const struct amber_family *f, size_t table)
{
    amber_sqltext_add(sql, "%s%t", f->tables[table].partitioned ? "" : "ONLY ",
                      f->tables[table].schema, f->tables[table].name);
}

static void root_where(struct amber_sqltext *sql, const struct amber_selection *sel, unsigned depth)
{
    const struct amber_family *f = sel->family;

    amber_sqltext_add(sql, "%a.%i %s %s AND %a.%i < %s", depth, f->time_column,
                      sel->from_open ? ">" : ">=", sel->from, depth, f->time_column, sel->to);
    if (f->where)
        amber_sqltext_add(sql, " AND (%s)", f->where);
    for (size_t i = 0; i < sel->n_pins; i++)
        amber_sqltext_add(sql, " AND NOT (%a.%i >= %s AND %a.%i < %s)", depth, f->time_column,
                          sel->pins[2 * i], depth, f->time_column, sel->pins[2 * i + 1]);
    if (sel->stay)
        amber_sqltext_add(sql,
                          " AND NOT EXISTS (SELECT 1 FROM pg_temp.amberfs_stay AS s"
                          " WHERE s.o = %a.tableoid AND s.c = %a.ctid)",
                          depth, depth);
}

void amber_selection_where(struct amber_sqltext *sql, const struct amber_selection *sel,
                           size_t table, unsigned depth)
{
    const struct amber_family *f = sel->family;
    const struct amber_family_priv *p = amber_family_priv(f);
    int parent = f->tables[table].parent;
    char pk_alias[24], fk_alias[24];

    if (parent < 0) {
        root_where(sql, sel, depth);
        return;
    }
    snprintf(pk_alias, sizeof(pk_alias), "amber_%u", depth + 1);
    snprintf(fk_alias, sizeof(fk_alias), "amber_%u", depth);
    amber_sqltext_add(sql, "EXISTS (SELECT 1 FROM ");
    amber_selection_from(sql, f, (size_t)parent);
    amber_sqltext_add(sql, " AS %s WHERE ", pk_alias);
    amber_sql_fk_match(sql, &p->fks[p->edge[table]], pk_alias, fk_alias);
    amber_sqltext_add(sql, " AND ");
    amber_selection_where(sql, sel, (size_t)parent, depth + 1);
    amber_sqltext_add(sql, ")");
}

void amber_sql_fk_match(struct amber_sqltext *sql, const struct amber_fk *fk, const char *pk_alias,
                        const char *fk_alias)
{
    for (size_t i = 0; i < fk->n_columns; i++) {
        const struct amber_fk_column *c = &fk->columns[i];
        amber_sqltext_add(sql, "%s%s.%i", i == 0 ? "" : " AND ", pk_alias, c->pk);
        if (c->coll_name)
            amber_sqltext_add(sql, " COLLATE %t", c->coll_schema, c->coll_name);
        amber_sqltext_add(sql, " OPERATOR(%i.%s) %s.%i", c->op_schema, c->op_name, fk_alias, c->fk);
    }
}

void amber_sql_instant_of(struct amber_sqltext *sql, const struct amber_family *f, const char *expr)
{
    switch (f->time_kind) {
    case AMBER_TIME_TIMESTAMPTZ:
        amber_sqltext_add(sql, "(%s)", expr);
        return;
    case AMBER_TIME_TIMESTAMP:
        amber_sqltext_add(sql, "((%s) AT TIME ZONE %l)", expr, f->zone);
        return;
    case AMBER_TIME_DATE:
        amber_sqltext_add(sql, "((%s)::timestamp AT TIME ZONE %l)", expr, f->zone);
        return;
    }
}

/* Whole seconds and the rest apart: date_part gives a double, in which microseconds since the
 * epoch would lose digits (extract as numeric is new in 14). */
void amber_sql_us_of(struct amber_sqltext *sql, const char *instant)
{
    amber_sqltext_add(sql,
                      "(date_part('epoch', date_trunc('second', %s))::bigint * 1000000"
                      " + date_part('microseconds', %s)::bigint %% 1000000)",
                      instant, instant);
}
