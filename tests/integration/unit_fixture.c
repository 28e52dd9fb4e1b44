/*
 * unit_fixture.c - a private server's connections, schemas and whole units for tests.
 */
#include "unit_fixture.h"

#include <stdio.h>

struct amber_pg *fx_pg;
static struct amber_family loaded;

void fx_assert_ok(enum amber_rc rc, const struct amber_err *err, const char *file, int line)
{
    if (rc != AMBER_OK) {
        print_error("%s:%d: %s: %s\n", file, line, amber_rc_name(rc), err->text);
        _fail(file, line);
    }
}

void fx_assert_contains(const char *text, const char *part, const char *file, int line)
{
    if (!strstr(text, part)) {
        print_error("%s:%d: \"%s\" is not in \"%s\"\n", file, line, part, text);
        _fail(file, line);
    }
}

struct amber_pg *fx_connect(const char *conninfo)
{
    struct amber_pg_config cfg = {.conninfo = conninfo, .purpose = "test"};
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pg *pg = NULL;

    fx_ok(amber_pg_open(&cfg, &pg, &err), err);
    return pg;
}

int fx_open(void **state)
{
    (void)state;
    fx_pg = fx_connect(NULL);
    return 0;
}

int fx_close(void **state)
{
    (void)state;
    fx_done();
    amber_pg_close(fx_pg);
    return 0;
}

void fx_sql(struct amber_pg *pg, const char *sql)
{
    struct amber_err err = AMBER_ERR_INIT;

    fx_ok(amber_pg_exec(pg, &err, sql), err);
}

void fx_schema(const char *sql)
{
    amber_pg_rollback(fx_pg); /* of a test that failed */
    fx_done();
    fx_sql(fx_pg, "DROP SCHEMA IF EXISTS app CASCADE; CREATE SCHEMA app");
    fx_sql(fx_pg, sql);
}

char *fx_text(struct amber_pg *pg, const char *sql)
{
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    struct amber_err err = AMBER_ERR_INIT;
    const char *value = NULL;
    char *out = NULL;

    fx_ok(amber_pg_query(pg, &r, &err, sql, 0, NULL), err);
    if (amber_res_rows(r) > 0)
        value = amber_res_get(r, 0, 0);
    fx_ok(amber_strdup(value ? value : "", &out, &err), err);
    return out;
}

int64_t fx_int(const char *sql)
{
    AMBER_AUTO_FREE char *text = fx_text(fx_pg, sql);

    return strtoll(text, NULL, 10);
}

void fx_assert_text(const char *sql, const char *expected)
{
    AMBER_AUTO_FREE char *text = fx_text(fx_pg, sql);

    assert_string_equal(text, expected);
}

enum amber_rc fx_load(struct amber_pg *pg, const struct fx_job *job, struct amber_family *out,
                      struct amber_err *err)
{
    struct amber_table_spec specs[4] = {0};
    struct amber_family_spec spec = {.job = "test",
                                     .tables = specs,
                                     .time_column = job->time ? job->time : "at",
                                     .zone = job->zone,
                                     .where = job->where};

    for (size_t i = 0; i < 4 && job->tables[i].name; i++) {
        specs[i] = (struct amber_table_spec){.schema = "app",
                                             .name = job->tables[i].name,
                                             .parent = i == 0 ? -1 : job->tables[i].parent};
        if (job->tables[i].column) {
            specs[i].fk_columns = &job->tables[i].column;
            specs[i].n_fk_columns = 1;
        }
        spec.n_tables++;
    }
    return amber_family_load(pg, &spec, out, err);
}

void fx_done(void)
{
    amber_family_clear(&loaded);
}

const struct amber_family *fx_family(const struct fx_job *job)
{
    struct amber_err err = AMBER_ERR_INIT;

    fx_done();
    fx_ok(fx_load(fx_pg, job, &loaded, &err), err);
    return &loaded;
}

struct amber_unit_config fx_config(const struct amber_family *f, int64_t from_us, int64_t to_us)
{
    return (struct amber_unit_config){.pg = fx_pg,
                                      .family = f,
                                      .from_us = from_us,
                                      .to_us = to_us,
                                      .lock_wait_ms = 2000,
                                      .drop_partitions = true};
}

struct amber_unit *fx_begin(const struct amber_unit_config *cfg)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_unit *u = NULL;

    fx_ok(amber_unit_begin(cfg, &u, &err), err);
    return u;
}

struct lines {
    char **items;
    size_t n, cap, bytes;
};

static enum amber_rc keep_line(void *arg, char *line, size_t skip, size_t len,
                               struct amber_err *err)
{
    struct lines *l = arg;
    char *copy = strndup(line + skip, len);
    enum amber_rc rc = amber_grow(&l->items, &l->cap, l->n + 1, sizeof(*l->items), err);

    amber_pg_copy_free(line);
    if (rc != AMBER_OK || !copy) {
        free(copy);
        return amber_fail_nomem(err, "a line", len);
    }
    l->items[l->n++] = copy;
    l->bytes += len + 1;
    return AMBER_OK;
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *join(struct lines *l)
{
    char *out = calloc(1, l->bytes + 1), *p = out;

    assert_non_null(out);
    if (l->n > 1)
        qsort(l->items, l->n, sizeof(*l->items), compare_lines);
    for (size_t i = 0; i < l->n; i++) {
        p = stpcpy(p, l->items[i]);
        if (i + 1 < l->n)
            *p++ = '\n';
        free(l->items[i]);
    }
    free(l->items);
    return out;
}

void fx_export(struct amber_unit *u, size_t n_tables, struct fx_export *out)
{
    struct amber_err err = AMBER_ERR_INIT;

    *out = (struct fx_export){0};
    for (size_t t = 0; t < n_tables; t++) {
        struct lines l = {0};
        fx_ok(amber_unit_export(u, t, keep_line, &l, &out->tables[t], &err), err);
        assert_int_equal(l.n, out->tables[t].rows);
        out->lines[t] = join(&l);
    }
}

void fx_export_clear(struct fx_export *e)
{
    for (size_t t = 0; t < 4; t++)
        free(e->lines[t]);
    *e = (struct fx_export){0};
}

void fx_finish(struct amber_unit *u, const struct fx_export *e)
{
    struct amber_err err = AMBER_ERR_INIT;

    fx_ok(amber_unit_delete(u, e->tables, &err), err);
    fx_ok(amber_unit_drop(u, &err), err);
    fx_ok(amber_unit_check(u, &err), err);
    fx_ok(amber_pg_commit(fx_pg, &err), err);
    amber_unit_free(u);
}

void fx_move(const struct amber_unit_config *cfg, struct fx_export *out)
{
    struct amber_unit *u = fx_begin(cfg);

    fx_export(u, cfg->family->n_tables, out);
    fx_finish(u, out);
}
