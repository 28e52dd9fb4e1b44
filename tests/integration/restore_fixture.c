/*
 * restore_fixture.c - archives of a table made in memory, and whole restores of them.
 */
#include "restore_fixture.h"

#include <stdio.h>

void rs_clear(struct rs_dump *d)
{
    for (size_t i = 0; i < d->n; i++) {
        free(d->json[i]);
        free(d->overlay[i]);
    }
    free(d->json);
    free(d->overlay);
    amber_schema_clear(&d->schema);
    *d = (struct rs_dump){0};
}
void rs_add(struct rs_dump *d, const char *json, const char *overlay)
{
    struct amber_err err = AMBER_ERR_INIT;
    size_t cap = d->cap;

    fx_ok(amber_grow(&d->json, &cap, d->n + 1, sizeof(*d->json), &err), err);
    fx_ok(amber_grow(&d->overlay, &d->cap, d->n + 1, sizeof(*d->overlay), &err), err);
    d->overlay[d->n] = NULL;
    fx_ok(amber_strdup(json, &d->json[d->n], &err), err);
    if (overlay)
        fx_ok(amber_strdup(overlay, &d->overlay[d->n], &err), err);
    d->n++;
}

void rs_table(const char *schema, const char *table, struct rs_dump *d)
{
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_BUF struct amber_buf sql = AMBER_BUF_INIT(1 << 20);
    AMBER_AUTO_BUF struct amber_buf json = AMBER_BUF_INIT(64 << 20);
    AMBER_AUTO_BUF struct amber_buf overlay = AMBER_BUF_INIT(64 << 20);
    struct amber_row_encoder *e = NULL;

    fx_ok(amber_table_schema(fx_pg, schema, table, &d->schema, &err), err);
    fx_ok(amber_row_encoder_new(&d->schema, &e, &err), err);
    fx_ok(amber_buf_puts(&sql, "COPY (SELECT * FROM ", &err), err);
    fx_ok(amber_sql_table(&sql, schema, table, &err), err);
    fx_ok(amber_buf_puts(&sql, ") TO STDOUT", &err), err);
    fx_ok(amber_pg_copy_out(fx_pg, sql.data, &err), err);
    for (;;) {
        char *line;
        size_t len;
        fx_ok(amber_pg_copy_next(fx_pg, &line, &len, &err), err);
        if (!line)
            break;
        json.len = overlay.len = 0;
        fx_ok(amber_row_encode(e, line, len - 1, &json, &overlay, &err), err);
        json.data[json.len - 1] = '\0';
        rs_add(d, json.data, overlay.len ? overlay.data : NULL);
        amber_pg_copy_free(line);
    }
    amber_row_encoder_free(e);
}

void rs_lines(const char *schema, const char *table, const char *const *lines, size_t n,
              struct rs_dump *d)
{
    struct amber_err err = AMBER_ERR_INIT;

    fx_ok(amber_table_schema(fx_pg, schema, table, &d->schema, &err), err);
    for (size_t i = 0; i < n; i++)
        rs_add(d, lines[i], NULL);
}

enum amber_rc rs_give(struct amber_restore *r, const struct rs_dump *d, struct amber_err *err)
{
    for (size_t i = 0; i < d->n; i++) {
        const char *o = d->overlay[i];
        enum amber_rc rc =
            amber_restore_row(r, d->json[i], strlen(d->json[i]), o, o ? strlen(o) : 0, err);
        if (rc)
            return rc;
    }
    return AMBER_OK;
}

enum amber_rc rs_restore(struct amber_pg *pg, const struct amber_restore_config *cfg,
                         const struct rs_dump *d, struct amber_restore_stats *stats,
                         struct amber_err *err)
{
    struct amber_restore *r = NULL;

    *stats = (struct amber_restore_stats){0};
    enum amber_rc rc = amber_pg_begin(pg, "", err);
    if (!rc)
        rc = amber_restore_open(pg, cfg, &r, err);
    if (!rc)
        rc = rs_give(r, d, err);
    if (!rc)
        rc = amber_restore_close(r, stats, err);
    if (rc == AMBER_E_EXISTS && cfg->can_repeat && r) {
        rc = amber_restore_again(r, err);
        if (!rc)
            rc = rs_give(r, d, err);
        if (!rc)
            rc = amber_restore_close(r, stats, err);
    }
    amber_restore_free(r);
    if (!rc)
        rc = amber_pg_commit(pg, err);
    if (rc)
        amber_pg_rollback(pg);
    return rc;
}

struct amber_restore_config rs_into(const char *table, const struct rs_dump *d)
{
    return (struct amber_restore_config){.table_schema = "app",
                                         .table_name = table,
                                         .schema = d ? &d->schema : NULL,
                                         .can_repeat = d != NULL};
}

struct amber_restore_stats rs_restored(const struct amber_restore_config *cfg,
                                       const struct rs_dump *d)
{
    struct amber_restore_stats stats;
    struct amber_err err = AMBER_ERR_INIT;

    fx_ok(rs_restore(fx_pg, cfg, d, &stats, &err), err);
    return stats;
}

void rs_refused(const struct amber_restore_config *cfg, const struct rs_dump *d, enum amber_rc rc,
                const char *told)
{
    struct amber_restore_stats stats;
    struct amber_err err = AMBER_ERR_INIT;

    if (rs_restore(fx_pg, cfg, d, &stats, &err) != rc)
        fail_msg("%s: %s", amber_rc_name(err.code), err.text);
    fx_contains(err.text, told);
}

void rs_assert_stats(struct amber_restore_stats s, uint64_t in, uint64_t inserted, uint64_t skipped,
                     uint64_t replaced)
{
    assert_int_equal(s.rows_in, in);
    assert_int_equal(s.rows_inserted, inserted);
    assert_int_equal(s.rows_skipped, skipped);
    assert_int_equal(s.rows_replaced, replaced);
}

void rs_round_trip(const char *table, bool can_repeat)
{
    RS_AUTO_DUMP struct rs_dump d = {0};
    char sql[512];

    snprintf(sql, sizeof(sql), "SELECT string_agg(t::text, E'\\n' ORDER BY t::text) FROM app.%s t",
             table);
    AMBER_AUTO_FREE char *before = fx_text(fx_pg, sql);
    rs_table("app", table, &d);
    snprintf(sql, sizeof(sql), "TRUNCATE app.%s CASCADE", table);
    fx_sql(fx_pg, sql);
    struct amber_restore_config cfg = rs_into(table, &d);
    cfg.can_repeat = can_repeat;
    struct amber_restore_stats stats = rs_restored(&cfg, &d);
    rs_assert_stats(stats, d.n, d.n, 0, 0);
    snprintf(sql, sizeof(sql), "SELECT string_agg(t::text, E'\\n' ORDER BY t::text) FROM app.%s t",
             table);
    AMBER_AUTO_FREE char *after = fx_text(fx_pg, sql);
    assert_string_equal(before, after);
}
