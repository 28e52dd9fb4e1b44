/*
 * test_unit.c - exactly the rows of a period move: by every kind of time column, down a tree of
 * tables, whatever the names, capped, pinned, from partitions that are dropped or deleted from;
 * and a unit that would do anything else stops.
 */
#include "unit_fixture.h"

#include <stdio.h>

static const struct fx_job ROOT = {.tables = {{.name = "root"}}};
static const char TIMES[] =
    "CREATE TABLE app.root (id int PRIMARY KEY, at %s);"
    "INSERT INTO app.root VALUES (1, '2023-12-31 23:59:59.999999'), (2, '2024-01-01 00:00:00'),"
    " (3, '2024-01-31 23:59:59.999999'), (4, '2024-02-01'), (5, '-infinity'), (6, 'infinity'),"
    " (7, NULL)";

static void make_times(const char *type)
{
    char sql[1024];

    snprintf(sql, sizeof(sql), TIMES, type);
    fx_schema(sql);
}

/* Move a range of ROOT and compare the payload lines. */
static void assert_moves(const struct fx_job *job, int64_t from_us, int64_t to_us,
                         const char *expected)
{
    const struct amber_family *f = fx_family(job);
    struct amber_unit_config cfg = fx_config(f, from_us, to_us);
    struct fx_export e;

    fx_move(&cfg, &e);
    assert_string_equal(e.lines[0], expected);
    fx_export_clear(&e);
}

static void range_timestamptz_half_open_and_finite(void **state)
{
    (void)state;
    make_times("timestamptz");
    assert_moves(&ROOT, US(2024, 1, 1), US(2024, 2, 1),
                 "2\t2024-01-01 00:00:00+00\n3\t2024-01-31 23:59:59.999999+00");
    fx_assert_text("SELECT string_agg(id::text, ',' ORDER BY id) FROM app.root", "1,4,5,6,7");
    /* an open range leaves what has no time */
    assert_moves(&ROOT, INT64_MIN, INT64_MAX,
                 "1\t2023-12-31 23:59:59.999999+00\n4\t2024-02-01 00:00:00+00");
    fx_assert_text("SELECT string_agg(id::text, ',' ORDER BY id) FROM app.root", "5,6,7");
}

static void range_timestamp_in_zone_by_its_instant(void **state)
{
    struct fx_job job = ROOT;
    (void)state;
    make_times("timestamp");
    job.zone = "Europe/Berlin"; /* midnight UTC is one o'clock there */
    fx_sql(fx_pg,
           "INSERT INTO app.root VALUES (8, '2024-01-01 00:59:59.999999'), (9, '2024-01-01 01:00'),"
           " (10, '2024-02-01 00:59:59.999999'), (11, '2024-02-01 01:00')");
    assert_moves(&job, US(2024, 1, 1), US(2024, 2, 1),
                 "10\t2024-02-01 00:59:59.999999\n3\t2024-01-31 23:59:59.999999\n"
                 "4\t2024-02-01 00:00:00\n9\t2024-01-01 01:00:00");
    fx_assert_text("SELECT string_agg(id::text, ',' ORDER BY id) FROM app.root", "1,2,5,6,7,8,11");
    make_times("timestamp");
    assert_moves(&ROOT, US(2024, 1, 1), US(2024, 2, 1),
                 "2\t2024-01-01 00:00:00\n3\t2024-01-31 23:59:59.999999");
}

static void range_date_by_its_midnight(void **state)
{
    struct fx_job job = ROOT;
    (void)state;
    make_times("date");
    assert_moves(&ROOT, US(2024, 1, 1), US(2024, 2, 1), "2\t2024-01-01\n3\t2024-01-31");
    make_times("date");
    job.zone = "America/New_York"; /* a day begins there at five in the morning UTC */
    assert_moves(&job, US(2024, 1, 1), US(2024, 2, 1), "2\t2024-01-01\n3\t2024-01-31");
    make_times("date");
    job.zone = "Europe/Berlin"; /* a day begins there on the evening before */
    assert_moves(&job, US(2024, 1, 1), US(2024, 2, 1), "3\t2024-01-31\n4\t2024-02-01");
    assert_moves(&job, INT64_MIN, INT64_MAX, "1\t2023-12-31\n2\t2024-01-01");
}

static void span_tells_rows_and_outermost_times(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct fx_job job = ROOT;
    uint64_t rows = 0, bytes = 0;
    int64_t min = 0, max = 0;
    (void)state;
    make_times("timestamp");
    job.zone = "Europe/Berlin";
    const struct amber_family *f = fx_family(&job);
    struct amber_unit_config cfg = fx_config(f, US(2023, 12, 1), US(2024, 1, 1));
    struct amber_unit *u = fx_begin(&cfg);
    fx_ok(amber_unit_span(u, &rows, &min, &max, &err), err);
    assert_int_equal(rows, 2);
    assert_true(min == US(2024, 1, 1) - INT64_C(3600000001));
    assert_true(max == US(2024, 1, 1) - INT64_C(3600000000));
    fx_ok(amber_unit_count(u, 0, &rows, &bytes, &err), err);
    assert_int_equal(rows, 2);
    assert_true(bytes > 2 * 20);
    amber_unit_free(u);
    cfg = fx_config(f, US(2020, 1, 1), US(2021, 1, 1));
    u = fx_begin(&cfg);
    fx_ok(amber_unit_span(u, &rows, &min, &max, &err), err);
    assert_true(rows == 0 && min == 0 && max == 0);
    amber_unit_free(u);
}

static void condition_and_pins_keep_rows(void **state)
{
    struct amber_day_range pins[] = {{DAY(2024, 1, 10), DAY(2024, 1, 11)},
                                     {DAY(2024, 1, 20), DAY(2024, 1, 20)}};
    struct fx_job job = ROOT;
    struct fx_export e;
    (void)state;
    fx_schema(
        "CREATE TABLE app.root (id int, at timestamptz, done boolean);"
        "INSERT INTO app.root SELECT g, '2024-01-01'::timestamptz + (g - 1) * interval '1 day',"
        " CASE g % 3 WHEN 0 THEN NULL WHEN 1 THEN true ELSE false END"
        " FROM generate_series(1, 31) g");
    job.where = "done) OR (id = 10";
    struct amber_unit_config cfg = fx_config(fx_family(&job), US(2024, 1, 1), US(2024, 2, 1));
    cfg.pins = pins;
    cfg.n_pins = 2;
    fx_move(&cfg, &e);
    fx_export_clear(&e);
    fx_assert_text("SELECT string_agg(id::text, ',' ORDER BY id) FROM app.root WHERE done", "10");
    fx_assert_text("SELECT count(*) FROM app.root", "21");
}

/* Three levels, a key of two columns, names that need quoting everywhere. */
static const char ODD[] =
    "CREATE SCHEMA \"Ap p\"\"s\"; CREATE TABLE \"Ap p\"\"s\".\"Röot 'x'\" (\"I d\" int, \"K\" text,"
    " \"when?\" timestamptz, \"%s %l\" boolean, PRIMARY KEY (\"I d\", \"K\"));"
    "CREATE TABLE \"Ap p\"\"s\".\"Child;--\" (\"Id\" int PRIMARY KEY, \"k\" text, \"i\" int,"
    " \"when?\" timestamptz, FOREIGN KEY (\"k\", \"i\") REFERENCES \"Ap p\"\"s\".\"Röot 'x'\" "
    "(\"K\", \"I d\"));"
    "CREATE INDEX ON \"Ap p\"\"s\".\"Child;--\" (\"i\", \"k\");"
    "CREATE TABLE \"Ap p\"\"s\".\"grand\\child\" (\"é\" int REFERENCES \"Ap p\"\"s\".\"Child;--\" "
    "ON DELETE"
    " CASCADE, \"a\\b\" text, \"a b\" text[]); CREATE INDEX ON \"Ap p\"\"s\".\"grand\\child\" "
    "(\"é\");"
    "INSERT INTO \"Ap p\"\"s\".\"Röot 'x'\" VALUES (1, 'a', '2024-01-05', true), (1, 'b', "
    "'2024-01-06', false),"
    " (2, 'a', '2024-02-05', true);"
    "INSERT INTO \"Ap p\"\"s\".\"Child;--\" VALUES (10, 'a', 1, '2030-01-01'), (11, 'b', 1, "
    "'2024-01-05'),"
    " (12, 'a', 2, '2024-01-05'), (13, NULL, 1, '2024-01-05'), (14, 'a', NULL, NULL);"
    "INSERT INTO \"Ap p\"\"s\".\"grand\\child\" VALUES (10, E'tab\\tand\\nline', ARRAY['x', "
    "NULL]), (10, NULL, NULL),"
    " (12, 'stays', NULL), (NULL, 'loose', NULL)";

static void names_odd_three_levels_composite_key(void **state)
{
    static const struct amber_table_spec tables[] = {
        {.schema = "Ap p\"s", .name = "Röot 'x'", .parent = -1},
        {.schema = "Ap p\"s", .name = "Child;--", .parent = 0},
        {.schema = "Ap p\"s", .name = "grand\\child", .parent = 1},
    };
    struct amber_family_spec spec = {.job = "odd 'job'",
                                     .tables = tables,
                                     .n_tables = 3,
                                     .time_column = "when?",
                                     .where = "\"%s %l\""};
    struct amber_family f = {0};
    struct amber_err err = AMBER_ERR_INIT;
    struct fx_export e;
    (void)state;
    fx_sql(fx_pg, "DROP SCHEMA IF EXISTS \"Ap p\"\"s\" CASCADE");
    fx_sql(fx_pg, ODD);
    fx_ok(amber_family_load(fx_pg, &spec, &f, &err), err);
    struct amber_unit_config cfg = fx_config(&f, US(2024, 1, 1), US(2024, 2, 1));
    fx_move(&cfg, &e);
    assert_string_equal(e.lines[0], "1\ta\t2024-01-05 00:00:00+00\tt");
    assert_string_equal(e.lines[1], "10\ta\t1\t2030-01-01 00:00:00+00");
    assert_string_equal(e.lines[2], "10\t\\N\t\\N\n10\ttab\\tand\\nline\t{x,NULL}");
    fx_export_clear(&e);
    fx_ok(amber_unit_vacuum(fx_pg, &f, false, &err), err);
    amber_family_clear(&f);
    assert_int_equal(fx_int("SELECT count(*) FROM \"Ap p\"\"s\".\"Röot 'x'\""), 2);
    assert_int_equal(fx_int("SELECT count(*) FROM \"Ap p\"\"s\".\"Child;--\""), 4);
    assert_int_equal(fx_int("SELECT count(*) FROM \"Ap p\"\"s\".\"grand\\child\""), 2);
    fx_sql(fx_pg, "DROP SCHEMA \"Ap p\"\"s\" CASCADE");
}

static void keys_compared_by_their_own_operators(void **state)
{
    static const struct fx_job job = {.tables = {{.name = "root"}, {.name = "kid", .parent = 0}}};
    (void)state;
    if (fx_int("SELECT count(*) FROM pg_available_extensions WHERE name = 'citext'") == 0)
        skip();
    /* by pg_catalog's own operator 'abc' would not be 'ABC' */
    fx_schema("CREATE EXTENSION citext SCHEMA app; CREATE TABLE app.root (c app.citext PRIMARY KEY,"
              " at timestamptz); CREATE TABLE app.kid (c app.citext REFERENCES app.root);"
              "CREATE INDEX ON app.kid (c); INSERT INTO app.root VALUES ('abc', '2024-01-05');"
              "INSERT INTO app.kid VALUES ('ABC'), ('abc')");
    struct amber_unit_config cfg = fx_config(fx_family(&job), US(2024, 1, 1), US(2024, 2, 1));
    struct fx_export e;
    fx_move(&cfg, &e);
    assert_int_equal(e.tables[1].rows, 2);
    fx_export_clear(&e);
}

static void keys_of_different_collations_match(void **state)
{
    static const struct fx_job job = {.tables = {{.name = "root"}, {.name = "kid", .parent = 0}}};
    (void)state;
    fx_schema("CREATE TABLE app.root (c text COLLATE \"C\" PRIMARY KEY, at timestamptz);"
              "CREATE TABLE app.kid (c text COLLATE \"POSIX\" REFERENCES app.root);"
              "CREATE INDEX ON app.kid (c); INSERT INTO app.root VALUES ('a', '2024-01-05');"
              "INSERT INTO app.kid VALUES ('a')");
    struct amber_unit_config cfg = fx_config(fx_family(&job), US(2024, 1, 1), US(2024, 2, 1));
    struct fx_export e;
    fx_move(&cfg, &e);
    assert_int_equal(e.tables[1].rows, 1);
    fx_export_clear(&e);
}

static void columns_of_server_kind_sent_twice(void **state)
{
    (void)state;
    fx_schema("CREATE TYPE app.temp AS RANGE (subtype = float8);"
              "CREATE FUNCTION app.temp_json(app.temp) RETURNS json LANGUAGE sql IMMUTABLE AS"
              " $$SELECT json_build_array(lower($1), upper($1))$$;"
              "CREATE CAST (app.temp AS json) WITH FUNCTION app.temp_json(app.temp);"
              "CREATE TABLE app.root (a app.temp, gone int, at timestamptz);"
              "ALTER TABLE app.root DROP gone;"
              "INSERT INTO app.root VALUES ('[1,2)', '2024-01-05'), (NULL, '2024-01-06')");
    assert_moves(&ROOT, US(2024, 1, 1), US(2024, 2, 1),
                 "[1,2)\t[1, 2]\t2024-01-05 00:00:00+00\n\\N\t\\N\t2024-01-06 00:00:00+00");
}

/* ---- caps ---- */

static void cap_never_parts_equal_times(void **state)
{
    struct fx_export e;
    int64_t from, to = US(2024, 1, 1);
    (void)state;
    fx_schema(
        "CREATE TABLE app.root (id int, at timestamptz);"
        "INSERT INTO app.root SELECT g, '2024-01-01'::timestamptz + (g / 4) * interval '1 hour'"
        " FROM generate_series(4, 23) g");
    const struct amber_family *f = fx_family(&ROOT);
    static const uint64_t moved[] = {8, 8, 4};
    for (size_t i = 0; i < amber_countof(moved); i++) {
        struct amber_unit_config cfg = fx_config(f, to, US(2024, 2, 1));
        cfg.max_rows = 10;
        struct amber_unit *u = fx_begin(&cfg);
        amber_unit_range(u, &from, &to);
        fx_export(u, 1, &e);
        fx_finish(u, &e);
        assert_int_equal(e.tables[0].rows, moved[i]);
        fx_export_clear(&e);
    }
    assert_true(to == US(2024, 2, 1));
    /* all of one time: more than the cap rather than none */
    fx_sql(fx_pg, "INSERT INTO app.root SELECT g, '2024-01-01' FROM generate_series(1, 9) g;"
                  "INSERT INTO app.root VALUES (10, '2024-01-01 00:00:00.000001+00')");
    struct amber_unit_config cfg = fx_config(f, US(2024, 1, 1), US(2024, 2, 1));
    cfg.max_rows = 5;
    struct amber_unit *u = fx_begin(&cfg);
    amber_unit_range(u, &from, &to);
    assert_true(from == US(2024, 1, 1) && to == US(2024, 1, 1) + 1);
    fx_export(u, 1, &e);
    assert_int_equal(e.tables[0].rows, 9);
    fx_finish(u, &e);
    fx_export_clear(&e);
}

static void cap_of_dates_in_zone_moves_whole_days(void **state)
{
    struct fx_job job = ROOT;
    struct fx_export e;
    int64_t from, to;
    (void)state;
    fx_schema("CREATE TABLE app.root (id int, at date); INSERT INTO app.root SELECT g,"
              " '2024-01-01'::date + g / 3 FROM generate_series(0, 29) g");
    job.zone = "Asia/Tokyo";
    struct amber_unit_config cfg = fx_config(fx_family(&job), US(2023, 12, 1), US(2024, 2, 1));
    cfg.max_rows = 7;
    struct amber_unit *u = fx_begin(&cfg);
    amber_unit_range(u, &from, &to);
    assert_true(to == US(2024, 1, 3) - INT64_C(9) * 3600000000);
    fx_export(u, 1, &e);
    assert_int_equal(e.tables[0].rows, 6);
    fx_finish(u, &e);
    fx_export_clear(&e);
}

/* ---- partitions ---- */

static const char PARTS[] =
    "CREATE TABLE app.root (id int, at timestamptz NOT NULL, PRIMARY KEY (id, at)) PARTITION BY "
    "RANGE (at);"
    "CREATE TABLE app.p1 PARTITION OF app.root FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');"
    "CREATE TABLE app.p2 (at timestamptz NOT NULL, junk text, id int NOT NULL); ALTER TABLE app.p2 "
    "DROP junk;"
    "ALTER TABLE app.root ATTACH PARTITION app.p2 FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');"
    "CREATE TABLE app.p3 PARTITION OF app.root FOR VALUES FROM ('2024-03-01') TO (MAXVALUE);"
    "CREATE TABLE app.rest PARTITION OF app.root DEFAULT;"
    "INSERT INTO app.root SELECT g, '2023-12-30'::timestamptz + g * interval '1 day'"
    " FROM generate_series(0, 79) g";

static size_t partitions_after(const struct amber_unit_config *cfg, struct fx_export *e)
{
    struct amber_unit *u = fx_begin(cfg);
    size_t n;

    const struct amber_partition *p = amber_unit_partitions(u, &n);
    if (n > 0)
        fx_contains(p[0].bound, "FOR VALUES FROM (");
    fx_export(u, 1, e);
    fx_finish(u, e);
    return n;
}

static void partitions_whole_dropped_others_deleted_from(void **state)
{
    struct fx_export e;
    (void)state;
    fx_schema(PARTS);
    struct amber_unit_config cfg = fx_config(fx_family(&ROOT), US(2023, 12, 1), US(2024, 2, 15));
    assert_int_equal(partitions_after(&cfg, &e), 1);
    assert_int_equal(e.tables[0].rows, 2 + 31 + 14);
    fx_contains(e.lines[0], "46\t2024-02-14 00:00:00+00"); /* columns in the root's order */
    fx_export_clear(&e);
    fx_assert_text("SELECT coalesce(to_regclass('app.p1')::text, 'gone')", "gone");
    fx_assert_text("SELECT (min(at) AT TIME ZONE 'UTC')::text || ' ' || count(*) FROM app.root",
                   "2024-02-15 00:00:00 33");
    /* the same family goes on with what is left */
    cfg.from_us = US(2024, 2, 15);
    cfg.to_us = US(2024, 4, 1);
    assert_int_equal(partitions_after(&cfg, &e), 0);
    fx_export_clear(&e);
    fx_assert_text("SELECT count(*) FROM app.root", "0");
}

/* What makes a partition that lies in the range be deleted from instead of dropped. */
static void partitions_not_safe_to_drop_deleted_from(void **state)
{
    static const char *const reasons[] = {
        "CREATE VIEW app.v AS SELECT * FROM app.p1",
        "CREATE TABLE app.uses (row app.p1)",
        "CREATE PUBLICATION p FOR ALL TABLES",
        "CREATE PUBLICATION p FOR TABLE app.root",
        "CREATE FUNCTION app.et() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        "CREATE EVENT TRIGGER amber_et ON sql_drop EXECUTE FUNCTION app.et()",
        "CREATE SEQUENCE app.s OWNED BY app.p1.id",
        "CREATE TABLE app.o (id int, at timestamptz, FOREIGN KEY (id, at) REFERENCES app.root);"
        "CREATE INDEX ON app.o (id, at)",
    };
    struct fx_export e;
    (void)state;
    for (size_t i = 0; i < amber_countof(reasons); i++) {
        print_message("# %s\n", reasons[i]);
        fx_schema(PARTS);
        fx_sql(fx_pg, reasons[i]);
        struct amber_unit_config cfg = fx_config(fx_family(&ROOT), US(2024, 1, 1), US(2024, 2, 1));
        assert_int_equal(partitions_after(&cfg, &e), 0);
        assert_int_equal(e.tables[0].rows, 31);
        fx_export_clear(&e);
        fx_assert_text("SELECT count(*) FROM app.p1", "0");
        fx_sql(fx_pg, "DROP PUBLICATION IF EXISTS p; DROP EVENT TRIGGER IF EXISTS amber_et");
    }
}

static void partitions_kept_by_settings_condition_or_pin(void **state)
{
    struct amber_day_range pin = {DAY(2024, 1, 31), DAY(2024, 2, 3)};
    struct fx_job conditional = ROOT;
    struct fx_export e;
    (void)state;
    fx_schema(PARTS);
    struct amber_unit_config cfg = fx_config(fx_family(&ROOT), US(2024, 1, 1), US(2024, 2, 1));
    cfg.pins = &pin;
    cfg.n_pins = 1;
    assert_int_equal(partitions_after(&cfg, &e), 0);
    assert_int_equal(e.tables[0].rows, 30);
    fx_export_clear(&e);
    cfg = fx_config(cfg.family, US(2024, 2, 1), US(2024, 3, 1));
    cfg.drop_partitions = false;
    struct amber_unit *u = fx_begin(&cfg);
    size_t n;
    amber_unit_partitions(u, &n);
    assert_int_equal(n, 0);
    amber_unit_free(u);
    cfg.drop_partitions = true;
    cfg.check_sizes = true; /* some row may be too large, and stay */
    u = fx_begin(&cfg);
    amber_unit_partitions(u, &n);
    assert_int_equal(n, 0);
    amber_unit_free(u);
    conditional.where = "id > 0";
    cfg = fx_config(fx_family(&conditional), US(2024, 2, 1), US(2024, 3, 1));
    assert_int_equal(partitions_after(&cfg, &e), 0);
    assert_int_equal(e.tables[0].rows, 29);
    fx_export_clear(&e);
}

static void partitions_to_be_dropped_not_cut_by_cap(void **state)
{
    struct fx_export e;
    int64_t from, to;
    (void)state;
    fx_schema(PARTS);
    const struct amber_family *f = fx_family(&ROOT);
    struct amber_unit_config cfg = fx_config(f, US(2023, 12, 1), US(2024, 3, 1));
    cfg.max_rows = 20;
    struct amber_unit *u = fx_begin(&cfg);
    amber_unit_range(u, &from, &to);
    assert_true(to == US(2024, 1, 1)); /* what comes before the partition, first */
    amber_unit_free(u);
    cfg.from_us = US(2024, 1, 1);
    u = fx_begin(&cfg);
    amber_unit_range(u, &from, &to);
    assert_true(to == US(2024, 2, 1));
    fx_export(u, 1, &e);
    assert_int_equal(e.tables[0].rows, 31);
    fx_finish(u, &e);
    fx_export_clear(&e);
    fx_assert_text("SELECT coalesce(to_regclass('app.p1')::text, 'gone')", "gone");
}

/* ---- rows deleted while they are read ---- */

/* A row fills a page: of so many a heap is worth two connections. */
#define PAGES "1100"
#define FILL " SELECT g, '2024-01-10', repeat('x', 5000) FROM generate_series(1, " PAGES ") g;"

/* Export all of January and half of February, by two connections; how many rows of a leaf are left
 * then. */
static void export_taking(const char *count_a, int64_t *a, const char *count_b, int64_t *b)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pg *helper = fx_connect(NULL);
    struct amber_unit_config cfg = fx_config(fx_family(&ROOT), US(2024, 1, 1), US(2024, 2, 15));
    uint64_t rows;
    int64_t min, max;
    struct fx_export e;

    cfg.helpers = &helper;
    cfg.n_helpers = 1;
    cfg.take = true;
    struct amber_unit *u = fx_begin(&cfg);
    fx_ok(amber_unit_span(u, &rows, &min, &max, &err), err);
    fx_export(u, 1, &e);
    assert_int_equal(e.tables[0].rows, rows);
    *a = fx_int(count_a);
    *b = fx_int(count_b);
    fx_finish(u, &e);
    fx_export_clear(&e);
    amber_pg_close(helper);
}

/* What DROP takes anyway isn't deleted row by row before, and nothing is locked that wasn't. */
static void partition_to_be_dropped_is_not_deleted_from_by_the_export(void **state)
{
    int64_t dropped, deleted;
    (void)state;
    fx_schema("CREATE TABLE app.root (id int, at timestamptz NOT NULL, t text) PARTITION BY RANGE (at);"
              "ALTER TABLE app.root ALTER t SET STORAGE PLAIN;"
              "CREATE TABLE app.p1 PARTITION OF app.root FOR VALUES FROM ('2024-01-01') TO "
              "('2024-02-01');"
              "CREATE TABLE app.p2 PARTITION OF app.root FOR VALUES FROM ('2024-02-01') TO "
              "('2024-03-01');"
              "INSERT INTO app.root" FILL
              "INSERT INTO app.root SELECT id, '2024-02-10', t FROM app.p1");
    export_taking("SELECT count(*) FROM app.p1", &dropped, "SELECT count(*) FROM app.p2", &deleted);
    assert_int_equal(dropped, 1100);
    assert_in_range(deleted, 1, 1099); /* by one of the two connections */
    fx_assert_text("SELECT coalesce(to_regclass('app.p1')::text, 'gone')", "gone");
    assert_int_equal(fx_int("SELECT count(*) FROM app.root"), 0);
}

static void rows_that_refer_to_each_other_are_not_deleted_by_the_export(void **state)
{
    int64_t left, referring;
    (void)state;
    fx_schema("CREATE TABLE app.root (id int PRIMARY KEY, at timestamptz, t text,"
              " up int REFERENCES app.root); CREATE INDEX ON app.root (up);"
              "ALTER TABLE app.root ALTER t SET STORAGE PLAIN;"
              "INSERT INTO app.root" FILL
              "UPDATE app.root SET up = " PAGES " + 1 - id");
    export_taking("SELECT count(*) FROM app.root", &left, "SELECT count(up) FROM app.root", &referring);
    assert_int_equal(left, 1100);
    assert_int_equal(referring, 1100);
    assert_int_equal(fx_int("SELECT count(*) FROM app.root"), 0);
}

static void partitions_of_children_and_lower_levels(void **state)
{
    static const struct fx_job job = {.tables = {{.name = "root"}, {.name = "kid", .parent = 0}}};
    struct fx_export e;
    (void)state;
    fx_schema("CREATE TABLE app.root (id int, at timestamptz, k int, PRIMARY KEY (id, at, k)) "
              "PARTITION BY RANGE (at);"
              "CREATE TABLE app.r1 PARTITION OF app.root FOR VALUES FROM ('2024-01-01') TO "
              "('2024-02-01') PARTITION BY LIST (k);"
              "CREATE TABLE app.r1a PARTITION OF app.r1 FOR VALUES IN (1); CREATE TABLE app.r1b "
              "PARTITION OF app.r1 FOR VALUES IN (2);"
              "CREATE TABLE app.r2 PARTITION OF app.root FOR VALUES FROM ('2024-02-01') TO "
              "('2024-03-01');"
              "CREATE TABLE app.kid (n int, id int, at timestamptz, k int, FOREIGN KEY (id, at, k) "
              "REFERENCES app.root)"
              " PARTITION BY HASH (n); CREATE TABLE app.k0 PARTITION OF app.kid FOR VALUES WITH "
              "(MODULUS 2, REMAINDER 0);"
              "CREATE TABLE app.k1 PARTITION OF app.kid FOR VALUES WITH (MODULUS 2, REMAINDER 1); "
              "CREATE INDEX ON app.kid (id, at, k);"
              "INSERT INTO app.root SELECT g, '2024-01-01'::timestamptz + g * interval '1 day', g "
              "% 2 + 1 FROM generate_series(1, 50) g;"
              "INSERT INTO app.kid SELECT g * 10 + n, id, at, k FROM app.root, generate_series(1, "
              "3) n, LATERAL (SELECT id AS g) x");
    struct amber_unit_config cfg = fx_config(fx_family(&job), US(2024, 1, 1), US(2024, 2, 1));
    fx_move(&cfg, &e);
    assert_int_equal(e.tables[0].rows, 30);
    assert_int_equal(e.tables[1].rows, 90);
    fx_export_clear(&e);
    fx_assert_text(
        "SELECT (SELECT count(*) FROM app.root) || ' ' || (SELECT count(*) FROM app.kid)", "20 60");
}

/* A role that may read and delete but owns nothing moves rows all the same; only dropping is not
 * for it. */
static void rights_of_a_mere_deleter_suffice(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pg *owner = fx_pg;
    struct amber_family f = {0};
    struct fx_export e;
    (void)state;
    fx_schema(PARTS);
    fx_sql(fx_pg, "DROP ROLE IF EXISTS amber_deleter; CREATE ROLE amber_deleter LOGIN;"
                  "GRANT USAGE ON SCHEMA app TO amber_deleter;"
                  "GRANT SELECT, DELETE ON ALL TABLES IN SCHEMA app TO amber_deleter");
    struct amber_pg *deleter = fx_connect("user=amber_deleter");
    fx_ok(fx_load(deleter, &ROOT, &f, &err), err);
    struct amber_unit_config cfg = fx_config(&f, US(2024, 1, 1), US(2024, 2, 1));
    cfg.pg = fx_pg = deleter;
    assert_int_equal(partitions_after(&cfg, &e), 0);
    fx_ok(amber_unit_vacuum(deleter, &f, false, &err), err);
    fx_pg = owner;
    assert_int_equal(e.tables[0].rows, 31);
    fx_export_clear(&e);
    amber_family_clear(&f);
    amber_pg_close(deleter);
    fx_assert_text("SELECT count(*) FROM app.p1", "0");
    fx_sql(fx_pg, "DROP OWNED BY amber_deleter; DROP ROLE amber_deleter");
}

/* ---- guards ---- */

static void delete_of_other_rows_than_exported_is_corrupt(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct fx_export e;
    (void)state;
    make_times("timestamptz");
    struct amber_unit_config cfg = fx_config(fx_family(&ROOT), US(2024, 1, 1), US(2024, 2, 1));
    struct amber_unit *u = fx_begin(&cfg);
    fx_export(u, 1, &e);
    /* the same number of rows, but another one: what the unit's own session changes, it sees */
    fx_sql(fx_pg, "UPDATE app.root SET at = '2024-01-01 00:00:00+00' WHERE id = 2");
    assert_int_equal(amber_unit_delete(u, e.tables, &err), AMBER_E_CORRUPT);
    fx_contains(err.text, "the 2 rows deleted aren't the 2 rows exported");
    amber_unit_free(u);
    fx_export_clear(&e);
    assert_int_equal(fx_int("SELECT count(*) FROM app.root"), 7);
}

static void check_change_beside_deletes_is_corrupt(void **state)
{
    static const char *const sides[] = {
        "INSERT INTO app.other VALUES (1)", "UPDATE app.other SET x = x + 1 WHERE x = 7",
        "DELETE FROM app.other WHERE x = 7", "DELETE FROM app.root WHERE id = 1"};
    struct amber_err err = AMBER_ERR_INIT;
    (void)state;
    for (size_t i = 0; i < amber_countof(sides); i++) {
        struct fx_export e;
        make_times("timestamptz");
        fx_sql(fx_pg, "CREATE TABLE app.other (x int); INSERT INTO app.other VALUES (7)");
        struct amber_unit_config cfg = fx_config(fx_family(&ROOT), US(2024, 1, 1), US(2024, 2, 1));
        struct amber_unit *u = fx_begin(&cfg);
        fx_export(u, 1, &e);
        fx_ok(amber_unit_delete(u, e.tables, &err), err);
        fx_sql(fx_pg, sides[i]);
        assert_int_equal(amber_unit_check(u, &err), AMBER_E_CORRUPT);
        fx_contains(err.text, i < 3 ? "changed app.other beside" : "changed app.root beside");
        amber_unit_free(u);
        fx_export_clear(&e);
    }
}

/* Without the server's counts nobody could tell. */
static void check_without_statistics_is_corrupt(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct fx_export e;
    (void)state;
    make_times("timestamptz");
    struct amber_unit_config cfg = fx_config(fx_family(&ROOT), US(2024, 1, 1), US(2024, 2, 1));
    cfg.pg = fx_connect(NULL); /* a session that has counted nothing yet */
    struct amber_unit *u = fx_begin(&cfg);
    fx_export(u, 1, &e);
    fx_sql(cfg.pg, "SET LOCAL track_counts = off");
    fx_ok(amber_unit_delete(u, e.tables, &err), err);
    enum amber_rc rc = amber_unit_check(u, &err);
    amber_unit_free(u);
    amber_pg_close(cfg.pg);
    fx_export_clear(&e);
    assert_int_equal(rc, AMBER_E_CORRUPT);
    fx_contains(err.text, "the server's statistics don't show");
}

/* A cascade that nobody could foresee: the key is changed within the unit's own transaction, since
 * no other session can change it while the unit holds its locks. */
static void check_cascade_from_within_is_corrupt(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct fx_export e;
    (void)state;
    make_times("timestamptz");
    fx_sql(fx_pg,
           "CREATE TABLE app.other (x int REFERENCES app.root); INSERT INTO app.other VALUES (1);"
           "CREATE INDEX ON app.other (x)");
    struct amber_unit_config cfg = fx_config(fx_family(&ROOT), US(2023, 12, 1), US(2024, 1, 1));
    struct amber_unit *u = fx_begin(&cfg);
    struct amber_unit_stayed stayed;
    amber_unit_stayed(u, &stayed);
    assert_int_equal(stayed.referenced, 1);
    amber_unit_free(u);
    fx_sql(fx_pg, "DELETE FROM app.other");
    u = fx_begin(&cfg);
    fx_export(u, 1, &e);
    fx_sql(fx_pg,
           "INSERT INTO app.other VALUES (1); ALTER TABLE app.other DROP CONSTRAINT other_x_fkey,"
           " ADD FOREIGN KEY (x) REFERENCES app.root ON DELETE CASCADE");
    fx_ok(amber_unit_delete(u, e.tables, &err), err);
    assert_int_equal(amber_unit_check(u, &err), AMBER_E_CORRUPT);
    fx_contains(err.text, "changed app.other beside");
    amber_unit_free(u);
    fx_export_clear(&e);
}

static enum amber_rc refuse_second(void *arg, char *line, size_t skip_bytes, size_t len,
                                   struct amber_err *err)
{
    int *n = arg;

    (void)skip_bytes;
    (void)len;
    amber_pg_copy_free(line);
    return ++*n < 2 ? AMBER_OK : amber_fail(err, AMBER_E_IO, "disk full");
}

static void export_callback_failure_passed_on_connection_stays(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_unit_table out = {.rows = 99};
    int n = 0;
    (void)state;
    fx_schema(
        "CREATE TABLE app.root (at timestamptz, t text); INSERT INTO app.root SELECT '2024-01-05',"
        " repeat('x', 1000) FROM generate_series(1, 20000)");
    struct amber_unit_config cfg = fx_config(fx_family(&ROOT), US(2024, 1, 1), US(2024, 2, 1));
    struct amber_unit *u = fx_begin(&cfg);
    assert_int_equal(amber_unit_export(u, 0, refuse_second, &n, &out, &err), AMBER_E_IO);
    assert_string_equal(err.text, "disk full");
    assert_int_equal(out.rows, 99);
    amber_unit_free(u);
    assert_true(amber_pg_alive(fx_pg));
    assert_int_equal(fx_int("SELECT count(*) FROM app.root"), 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(range_timestamptz_half_open_and_finite),
        cmocka_unit_test(range_timestamp_in_zone_by_its_instant),
        cmocka_unit_test(range_date_by_its_midnight),
        cmocka_unit_test(span_tells_rows_and_outermost_times),
        cmocka_unit_test(condition_and_pins_keep_rows),
        cmocka_unit_test(names_odd_three_levels_composite_key),
        cmocka_unit_test(keys_compared_by_their_own_operators),
        cmocka_unit_test(keys_of_different_collations_match),
        cmocka_unit_test(columns_of_server_kind_sent_twice),
        cmocka_unit_test(cap_never_parts_equal_times),
        cmocka_unit_test(cap_of_dates_in_zone_moves_whole_days),
        cmocka_unit_test(partitions_whole_dropped_others_deleted_from),
        cmocka_unit_test(partitions_not_safe_to_drop_deleted_from),
        cmocka_unit_test(partitions_kept_by_settings_condition_or_pin),
        cmocka_unit_test(partitions_to_be_dropped_not_cut_by_cap),
        cmocka_unit_test(partition_to_be_dropped_is_not_deleted_from_by_the_export),
        cmocka_unit_test(rows_that_refer_to_each_other_are_not_deleted_by_the_export),
        cmocka_unit_test(partitions_of_children_and_lower_levels),
        cmocka_unit_test(rights_of_a_mere_deleter_suffice),
        cmocka_unit_test(delete_of_other_rows_than_exported_is_corrupt),
        cmocka_unit_test(check_change_beside_deletes_is_corrupt),
        cmocka_unit_test(check_without_statistics_is_corrupt),
        cmocka_unit_test(check_cascade_from_within_is_corrupt),
        cmocka_unit_test(export_callback_failure_passed_on_connection_stays),
    };
    return cmocka_run_group_tests(tests, fx_open, fx_close);
}
