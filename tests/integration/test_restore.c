/*
 * test_restore.c - rows back into their table on a real server: equality, conflicts of every kind
 * of key, files by hand, sequences, triggers, partitions, and that a failure leaves nothing.
 * Runs under tests/lib/with-pg.
 */
#include "unit_fixture.h"

#include <stdio.h>

#include "amber/cancel.h"
#include "amber/restore.h"

/* The rows of a table as an archive has them. */
struct dump {
    struct amber_schema schema;
    char **json, **overlay; /* overlay NULL: none */
    size_t n, cap;
};

static void dump_clear(struct dump *d)
{
    for (size_t i = 0; i < d->n; i++) {
        free(d->json[i]);
        free(d->overlay[i]);
    }
    free(d->json);
    free(d->overlay);
    amber_schema_clear(&d->schema);
    *d = (struct dump){0};
}
#define AUTO_DUMP AMBER_CLEANUP(dump_clear)

static void dump_add(struct dump *d, const char *json, const char *overlay)
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

static void dump_table(const char *schema, const char *table, struct dump *d)
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
        dump_add(d, json.data, overlay.len ? overlay.data : NULL);
        amber_pg_copy_free(line);
    }
    amber_row_encoder_free(e);
}

/* Lines that are given as they stand here, with the table's own schema as the archive's. */
static void dump_lines(const char *schema, const char *table, const char *const *lines, size_t n,
                       struct dump *d)
{
    struct amber_err err = AMBER_ERR_INIT;

    fx_ok(amber_table_schema(fx_pg, schema, table, &d->schema, &err), err);
    for (size_t i = 0; i < n; i++)
        dump_add(d, lines[i], NULL);
}

static enum amber_rc give(struct amber_restore *r, const struct dump *d, struct amber_err *err)
{
    for (size_t i = 0; i < d->n; i++) {
        const char *o = d->overlay[i];
        enum amber_rc rc = amber_restore_row(r, d->json[i], strlen(d->json[i]), o,
                                             o ? strlen(o) : 0, err);
        if (rc)
            return rc;
    }
    return AMBER_OK;
}

/* A whole restore as its callers do it. */
static enum amber_rc restore(struct amber_pg *pg, const struct amber_restore_config *cfg,
                             const struct dump *d, struct amber_restore_stats *stats,
                             struct amber_err *err)
{
    struct amber_restore *r = NULL;

    *stats = (struct amber_restore_stats){0};
    enum amber_rc rc = amber_pg_begin(pg, "", err);
    if (!rc)
        rc = amber_restore_open(pg, cfg, &r, err);
    if (!rc)
        rc = give(r, d, err);
    if (!rc)
        rc = amber_restore_close(r, stats, err);
    if (rc == AMBER_E_EXISTS && cfg->can_repeat && r) {
        rc = amber_restore_again(r, err);
        if (!rc)
            rc = give(r, d, err);
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

static struct amber_restore_config into(const char *table, const struct dump *d)
{
    return (struct amber_restore_config){.table_schema = "app",
                                         .table_name = table,
                                         .schema = d ? &d->schema : NULL,
                                         .can_repeat = d != NULL};
}

static struct amber_restore_stats restored(const struct amber_restore_config *cfg,
                                           const struct dump *d)
{
    struct amber_restore_stats stats;
    struct amber_err err = AMBER_ERR_INIT;

    fx_ok(restore(fx_pg, cfg, d, &stats, &err), err);
    return stats;
}

/* Fails with this code and text, and the table's rows are as before. */
static void refused(const struct amber_restore_config *cfg, const struct dump *d, enum amber_rc rc,
                    const char *told)
{
    struct amber_restore_stats stats;
    struct amber_err err = AMBER_ERR_INIT;

    if (restore(fx_pg, cfg, d, &stats, &err) != rc)
        fail_msg("%s: %s", amber_rc_name(err.code), err.text);
    fx_contains(err.text, told);
}

static void assert_stats(struct amber_restore_stats s, uint64_t in, uint64_t inserted,
                         uint64_t skipped, uint64_t replaced)
{
    assert_int_equal(s.rows_in, in);
    assert_int_equal(s.rows_inserted, inserted);
    assert_int_equal(s.rows_skipped, skipped);
    assert_int_equal(s.rows_replaced, replaced);
}

/* Archive a table, empty it, restore it: the same text in each column. */
static void round_trip(const char *table, bool can_repeat)
{
    AUTO_DUMP struct dump d = {0};
    char sql[512];

    snprintf(sql, sizeof(sql), "SELECT string_agg(t::text, E'\\n' ORDER BY t::text) FROM app.%s t",
             table);
    AMBER_AUTO_FREE char *before = fx_text(fx_pg, sql);
    dump_table("app", table, &d);
    snprintf(sql, sizeof(sql), "TRUNCATE app.%s CASCADE", table);
    fx_sql(fx_pg, sql);
    struct amber_restore_config cfg = into(table, &d);
    cfg.can_repeat = can_repeat;
    struct amber_restore_stats stats = restored(&cfg, &d);
    assert_stats(stats, d.n, d.n, 0, 0);
    snprintf(sql, sizeof(sql), "SELECT string_agg(t::text, E'\\n' ORDER BY t::text) FROM app.%s t",
             table);
    AMBER_AUTO_FREE char *after = fx_text(fx_pg, sql);
    assert_string_equal(before, after);
}

/* ---- equality ---- */

static const char MANY_TYPES[] =
    "CREATE TYPE app.mood AS ENUM ('sad', 'ok');"
    "CREATE TYPE app.pair AS (a int, \"b c\" text);"
    "CREATE DOMAIN app.positive AS int CHECK (VALUE > 0);"
    "CREATE TABLE app.t (id bigint PRIMARY KEY, gone int, n numeric, f float8, t text, b bytea,"
    " j json, jb jsonb, a int[], aa text[], c app.pair, e app.mood, d app.positive, r int4range,"
    " mr int4multirange, ts timestamp, tz timestamptz, dt date, iv interval, ip inet, bi bit(3),"
    " p point, bx box[], tv tsvector, m money, x xml, u uuid, ch char(5));"
    "ALTER TABLE app.t DROP COLUMN gone;"
    "INSERT INTO app.t VALUES (1, 'NaN', '-0', E'a\\tb\\\\c\\n\\\"é☃', '\\x00ff',"
    " '{\"a\" : 1,\n\"a\":2}', 'null', '[0:2]={1,NULL,3}', '{\"a,b\",NULL,\"NULL\",\"\"}',"
    " '(1,\"x \"\"y\")', 'ok', 3, '[1,5)', '{[1,2),[5,6)}', 'infinity', '2024-01-01 00:00:00.123456Z',"
    " '0044-03-15 BC', '1 mon -1 day', '10.0.0.1/8', '101', '(1,2)', '{(2,2),(1,1);(4,4),(3,3)}',"
    " 'a:1 b', '12.34', '<a>x</a>', '00000000-0000-0000-0000-000000000001', 'ab');"
    "INSERT INTO app.t (id) VALUES (-9223372036854775808), (9223372036854775807);";

static void rows_of_many_types_return_as_they_were(void **state)
{
    (void)state;
    fx_schema(MANY_TYPES);
    round_trip("t", true);
    round_trip("t", false);
    /* Both ways once more over what is there: every type is compared. */
    for (int again = 0; again < 2; again++) {
        AUTO_DUMP struct dump d = {0};
        dump_table("app", "t", &d);
        struct amber_restore_config cfg = into("t", &d);
        cfg.can_repeat = again;
        assert_stats(restored(&cfg, &d), 3, 0, 3, 0);
        fx_sql(fx_pg, "UPDATE app.t SET p = '(1,2.5)' WHERE id = 1");
        refused(&cfg, &d, AMBER_E_DB, "t_pkey");
        fx_sql(fx_pg, "UPDATE app.t SET p = '(1,2)' WHERE id = 1");
    }
}

static void rows_of_300_columns_return(void **state)
{
    AMBER_AUTO_BUF struct amber_buf sql = AMBER_BUF_INIT(1 << 20);
    struct amber_err err = AMBER_ERR_INIT;
    (void)state;

    fx_ok(amber_buf_puts(&sql, "CREATE TABLE app.t (c0 int PRIMARY KEY", &err), err);
    for (int i = 1; i < 300; i++)
        fx_ok(amber_buf_printf(&sql, &err, ", c%d %s", i, i % 2 ? "text" : "int"), err);
    fx_ok(amber_buf_puts(&sql, "); INSERT INTO app.t SELECT i", &err), err);
    for (int i = 1; i < 300; i++)
        fx_ok(amber_buf_printf(&sql, &err, i % 3 ? ", i + %d" : ", NULL", i), err);
    fx_ok(amber_buf_puts(&sql, " FROM generate_series(1, 50) i", &err), err);
    fx_schema(sql.data);
    round_trip("t", true);
    round_trip("t", false);
    AUTO_DUMP struct dump d = {0};
    dump_table("app", "t", &d);
    struct amber_restore_config cfg = into("t", &d);
    assert_stats(restored(&cfg, &d), 50, 0, 50, 0);
}

static void names_of_every_kind_are_quoted(void **state)
{
    (void)state;
    AUTO_DUMP struct dump d = {0};
    fx_schema("CREATE SCHEMA \"Sché ma\"\"x\";"
              "CREATE TABLE \"Sché ma\"\"x\".\"Ta'ble \\ 100%s\" (\"I d\" int, \"sel\"\"ect\" text,"
              " \"ünï☃\" text, amberfs_line int, \"amberfs_set\" int, \"%i\" int, tab int, c0 text,"
              " k0 text, UNIQUE (\"I d\", \"sel\"\"ect\"));"
              "INSERT INTO \"Sché ma\"\"x\".\"Ta'ble \\ 100%s\" VALUES (1, 'a', 'b', 2, 3, 4, 5, 'c', 'k')");
    dump_table("Sché ma\"x", "Ta'ble \\ 100%s", &d);
    struct amber_restore_config cfg = into(NULL, &d);
    cfg.table_schema = "Sché ma\"x";
    cfg.table_name = "Ta'ble \\ 100%s";
    assert_stats(restored(&cfg, &d), 1, 0, 1, 0);
    fx_sql(fx_pg, "UPDATE \"Sché ma\"\"x\".\"Ta'ble \\ 100%s\" SET \"ünï☃\" = 'other'");
    refused(&cfg, &d, AMBER_E_DB, "line 1: ");
    cfg.on_conflict = AMBER_CONFLICT_REPLACE;
    assert_stats(restored(&cfg, &d), 1, 0, 0, 1);
    fx_sql(fx_pg, "TRUNCATE \"Sché ma\"\"x\".\"Ta'ble \\ 100%s\"");
    assert_stats(restored(&cfg, &d), 1, 1, 0, 0);
    fx_sql(fx_pg, "DROP SCHEMA \"Sché ma\"\"x\" CASCADE");
}

static void generated_and_identity_columns_return(void **state)
{
    (void)state;
    fx_schema("CREATE TABLE app.t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
              " twice int GENERATED ALWAYS AS (v * 2) STORED, v int,"
              " other int GENERATED BY DEFAULT AS IDENTITY);"
              "INSERT INTO app.t (v) SELECT i * 10 FROM generate_series(1, 5) i");
    round_trip("t", true);
    round_trip("t", false);
    fx_assert_text("SELECT string_agg(twice::text, ',' ORDER BY id) FROM app.t", "20,40,60,80,100");
}

static void rows_without_key_are_doubled_only_by_force(void **state)
{
    AUTO_DUMP struct dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.t (a int, b text); INSERT INTO app.t VALUES (1, 'x'), (1, 'x')");
    round_trip("t", true);
    dump_table("app", "t", &d);
    struct amber_restore_config cfg = into("t", &d);
    cfg.restored_before = true;
    refused(&cfg, &d, AMBER_E_INVALID, "no unique key");
    cfg.force = true;
    assert_stats(restored(&cfg, &d), 2, 2, 0, 0);
    fx_assert_text("SELECT count(*) FROM app.t", "4");
    /* A key whose columns are all NOT NULL is enough; a partial or nullable one isn't. */
    fx_schema("CREATE TABLE app.t (a int UNIQUE, b text); INSERT INTO app.t VALUES (NULL, 'x')");
    dump_clear(&d);
    dump_table("app", "t", &d);
    cfg = into("t", &d);
    cfg.restored_before = true;
    refused(&cfg, &d, AMBER_E_INVALID, "no unique key");
    fx_sql(fx_pg, "DELETE FROM app.t; ALTER TABLE app.t ALTER a SET NOT NULL;"
                  "INSERT INTO app.t VALUES (1, 'x')");
    dump_clear(&d);
    dump_table("app", "t", &d);
    cfg = into("t", &d);
    cfg.restored_before = true;
    assert_stats(restored(&cfg, &d), 1, 0, 1, 0);
}

static void table_without_columns_returns(void **state)
{
    (void)state;
    fx_schema("CREATE TABLE app.t (); INSERT INTO app.t DEFAULT VALUES;"
              "INSERT INTO app.t DEFAULT VALUES");
    round_trip("t", true);
    fx_assert_text("SELECT count(*) FROM app.t", "2");
}

/* ---- conflicts ---- */

static void conflict_fixture(struct dump *d)
{
    fx_schema("CREATE TABLE app.t (id int PRIMARY KEY, email text UNIQUE, v json);"
              "INSERT INTO app.t VALUES (1, 'a', '{}'), (2, 'b', '{}'), (3, 'c', '{}')");
    dump_table("app", "t", d);
    /* 1 is the same, 2 differs, 3 is gone, 4 is another. */
    fx_sql(fx_pg, "UPDATE app.t SET v = '[2]' WHERE id = 2; DELETE FROM app.t WHERE id = 3;"
                  "INSERT INTO app.t VALUES (4, 'd', NULL)");
}
#define CONFLICT_ROWS                                                                              \
    "SELECT string_agg(id || email || coalesce(v::text, ''), ' ' ORDER BY id) FROM app.t"

static void conflict_modes(bool can_repeat)
{
    AUTO_DUMP struct dump d = {0};
    conflict_fixture(&d);
    struct amber_restore_config cfg = into("t", &d);
    cfg.can_repeat = can_repeat;
    refused(&cfg, &d, AMBER_E_DB, "line 2: ");
    refused(&cfg, &d, AMBER_E_DB, "t_pkey");
    cfg.on_conflict = AMBER_CONFLICT_ERROR;
    refused(&cfg, &d, AMBER_E_DB, "line 1: ");
    refused(&cfg, &d, AMBER_E_DB, "t_pkey");
    fx_assert_text(CONFLICT_ROWS, "1a{} 2b[2] 4d");
    cfg.on_conflict = AMBER_CONFLICT_SKIP;
    assert_stats(restored(&cfg, &d), 3, 1, 2, 0);
    fx_assert_text(CONFLICT_ROWS, "1a{} 2b[2] 3c{} 4d");
    fx_sql(fx_pg, "DELETE FROM app.t WHERE id = 3");
    cfg.on_conflict = AMBER_CONFLICT_REPLACE;
    assert_stats(restored(&cfg, &d), 3, 1, 1, 1);
    fx_assert_text(CONFLICT_ROWS, "1a{} 2b{} 3c{} 4d");
    cfg.on_conflict = AMBER_CONFLICT_DEFAULT;
    assert_stats(restored(&cfg, &d), 3, 0, 3, 0);
}

static void conflict_modes_on_a_stream(void **state)
{
    (void)state;
    conflict_modes(false);
}

static void conflict_modes_on_rows_given_twice(void **state)
{
    (void)state;
    conflict_modes(true);
}

static void conflict_word_parsed(void **state)
{
    enum amber_conflict c = AMBER_CONFLICT_DEFAULT;
    (void)state;
    assert_true(amber_conflict_parse("replace", &c));
    assert_int_equal(c, AMBER_CONFLICT_REPLACE);
    assert_false(amber_conflict_parse("", &c));
    assert_false(amber_conflict_parse("Skip", &c));
}

/* One row in the table, one in the file: do they have the same key? */
static void key_case(const char *ddl, const char *in_table, const char *in_file, bool taken)
{
    for (int can_repeat = 0; can_repeat < 2; can_repeat++) {
        AUTO_DUMP struct dump d = {0};
        fx_schema(ddl);
        fx_sql(fx_pg, in_table);
        dump_lines("app", "t", &in_file, 1, &d);
        struct amber_restore_config cfg = into("t", &d);
        cfg.can_repeat = can_repeat;
        if (taken) {
            refused(&cfg, &d, AMBER_E_DB, "line 1: ");
            refused(&cfg, &d, AMBER_E_DB, "the_key");
            fx_assert_text("SELECT count(*) FROM app.t", "1");
            cfg.on_conflict = AMBER_CONFLICT_ERROR;
            refused(&cfg, &d, AMBER_E_DB, "key"); /* a partition's may have a name of its own */
            cfg.on_conflict = AMBER_CONFLICT_SKIP;
            assert_stats(restored(&cfg, &d), 1, 0, 1, 0);
            cfg.on_conflict = AMBER_CONFLICT_REPLACE;
            assert_stats(restored(&cfg, &d), 1, 0, 0, 1);
            assert_stats(restored(&cfg, &d), 1, 0, 1, 0);
        } else {
            assert_stats(restored(&cfg, &d), 1, 1, 0, 0);
        }
    }
}

static void keys_of_every_kind_are_seen(void **state)
{
    (void)state;
    key_case("CREATE TABLE app.t (a text, b int); CREATE UNIQUE INDEX the_key ON app.t (lower(a))",
             "INSERT INTO app.t VALUES ('ABC', 1)", "{\"a\":\"abc\",\"b\":2}", true);
    key_case("CREATE TABLE app.t (a int, b int); CREATE UNIQUE INDEX the_key ON app.t (a)"
             " WHERE b > 10", "INSERT INTO app.t VALUES (1, 11)", "{\"a\":1,\"b\":12}", true);
    key_case("CREATE TABLE app.t (a int, b int); CREATE UNIQUE INDEX the_key ON app.t (a)"
             " WHERE b > 10", "INSERT INTO app.t VALUES (1, 11)", "{\"a\":1,\"b\":5}", false);
    key_case("CREATE TABLE app.t (a int, b int); CREATE UNIQUE INDEX the_key ON app.t (a, b)",
             "INSERT INTO app.t VALUES (1, NULL)", "{\"a\":1,\"b\":null}", false);
    key_case("CREATE TABLE app.t (a int, b int, c int);"
             "CREATE UNIQUE INDEX the_key ON app.t (a, b) INCLUDE (c)",
             "INSERT INTO app.t VALUES (1, 2, 3)", "{\"a\":1,\"b\":2,\"c\":4}", true);
    key_case("CREATE TABLE app.t (r int4range, v int, CONSTRAINT the_key EXCLUDE USING gist"
             " (r WITH &&))", "INSERT INTO app.t VALUES ('[1,5)', 1)", "{\"r\":\"[3,9)\",\"v\":2}",
             true);
    key_case("CREATE TABLE app.t (a int CONSTRAINT the_key UNIQUE DEFERRABLE INITIALLY IMMEDIATE,"
             " v int)", "INSERT INTO app.t VALUES (1, 1)", "{\"a\":1,\"v\":2}", true);
    key_case("CREATE TABLE app.t (v int, g int GENERATED ALWAYS AS (a % 10) STORED"
             " CONSTRAINT the_key UNIQUE, a int)", "INSERT INTO app.t VALUES (1, DEFAULT, 13)",
             "{\"v\":1,\"g\":3,\"a\":23}", true);
    key_case("CREATE COLLATION app.ci (provider = icu, locale = 'und-u-ks-level2',"
             " deterministic = false);"
             "CREATE TABLE app.t (a text COLLATE app.ci CONSTRAINT the_key UNIQUE, v int)",
             "INSERT INTO app.t VALUES ('ABC', 1)", "{\"a\":\"abc\",\"v\":2}", true);
    key_case("CREATE TABLE app.t (a text, v int);"
             "CREATE UNIQUE INDEX the_key ON app.t (a text_pattern_ops)",
             "INSERT INTO app.t VALUES ('abc', 1)", "{\"a\":\"abc\",\"v\":2}", true);
    key_case("CREATE TABLE app.t (a int[] CONSTRAINT the_key UNIQUE, v int)",
             "INSERT INTO app.t VALUES ('{1,2}', 1)", "{\"a\":[1,2],\"v\":2}", true);
}

static void key_nulls_not_distinct_is_seen(void **state)
{
    (void)state;
    if (amber_pg_version(fx_pg) < 150000)
        skip();
    key_case("CREATE TABLE app.t (a int, b int, v int);"
             "CREATE UNIQUE INDEX the_key ON app.t (a, b) NULLS NOT DISTINCT",
             "INSERT INTO app.t VALUES (1, NULL, 1)", "{\"a\":1,\"b\":null,\"v\":2}", true);
}

static void key_deferred_to_commit_is_seen(void **state)
{
    AUTO_DUMP struct dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.t (a int CONSTRAINT the_key UNIQUE DEFERRABLE INITIALLY DEFERRED,"
              " v int); INSERT INTO app.t VALUES (1, 1), (2, 2)");
    dump_table("app", "t", &d);
    struct amber_restore_config cfg = into("t", &d);
    assert_stats(restored(&cfg, &d), 2, 0, 2, 0);
    fx_sql(fx_pg, "UPDATE app.t SET v = 9 WHERE a = 2");
    refused(&cfg, &d, AMBER_E_DB, "line 2: ");
}

static void key_of_one_partition_is_seen(void **state)
{
    static const char ddl[] =
        "CREATE TABLE app.t (at date, id int, v int) PARTITION BY RANGE (at);"
        "CREATE TABLE app.p1 PARTITION OF app.t FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');"
        "CREATE TABLE app.p2 PARTITION OF app.t FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');"
        "CREATE UNIQUE INDEX the_key ON app.p1 (id)";
    (void)state;
    key_case(ddl, "INSERT INTO app.t VALUES ('2024-01-05', 1, 1)",
             "{\"at\":\"2024-01-06\",\"id\":1,\"v\":2}", true);
    key_case(ddl, "INSERT INTO app.t VALUES ('2024-02-05', 1, 1)",
             "{\"at\":\"2024-02-06\",\"id\":1,\"v\":2}", false);
    key_case(ddl, "INSERT INTO app.t VALUES ('2024-01-05', 1, 1)",
             "{\"at\":\"2024-02-06\",\"id\":1,\"v\":2}", false);
    key_case("CREATE TABLE app.t (at date, id int, v int, CONSTRAINT the_key PRIMARY KEY (at, id))"
             " PARTITION BY RANGE (at);"
             "CREATE TABLE app.p1 PARTITION OF app.t DEFAULT",
             "INSERT INTO app.t VALUES ('2024-01-05', 1, 1)",
             "{\"at\":\"2024-01-05\",\"id\":1,\"v\":2}", true);
}

static void file_with_one_key_twice(void **state)
{
    static const char *const same[] = {"{\"id\":1,\"v\":\"a\"}", "{\"id\":2,\"v\":\"b\"}",
                                       "{\"id\":1,\"v\":\"a\"}"};
    static const char *const other[] = {"{\"id\":1,\"v\":\"a\"}", "{\"id\":2,\"v\":\"b\"}",
                                        "{\"id\":1,\"v\":\"c\"}", "{\"id\":1,\"v\":\"d\"}"};
    (void)state;
    for (int can_repeat = 0; can_repeat < 2; can_repeat++) {
        AUTO_DUMP struct dump s = {0};
        AUTO_DUMP struct dump o = {0};
        fx_schema("CREATE TABLE app.t (id int PRIMARY KEY, v text)");
        dump_lines("app", "t", same, 3, &s);
        dump_lines("app", "t", other, 4, &o);
        struct amber_restore_config cfg = into("t", &s);
        cfg.can_repeat = can_repeat;
        assert_stats(restored(&cfg, &s), 3, 2, 1, 0);
        fx_sql(fx_pg, "TRUNCATE app.t");
        refused(&cfg, &o, AMBER_E_DB, "line 3: ");
        cfg.on_conflict = AMBER_CONFLICT_SKIP;
        assert_stats(restored(&cfg, &o), 4, 2, 2, 0);
        fx_assert_text("SELECT string_agg(v, '' ORDER BY id) FROM app.t", "ab");
        cfg.on_conflict = AMBER_CONFLICT_REPLACE;
        assert_stats(restored(&cfg, &o), 4, 0, 3, 1);
        fx_assert_text("SELECT string_agg(v, '' ORDER BY id) FROM app.t", "db");
        fx_sql(fx_pg, "TRUNCATE app.t");
        assert_stats(restored(&cfg, &o), 4, 2, 2, 0);
        fx_assert_text("SELECT string_agg(v, '' ORDER BY id) FROM app.t", "db");
    }
}

/* Replacing a parent must neither delete its children nor fail because of them. */
static void replace_keeps_what_references_the_row(void **state)
{
    AUTO_DUMP struct dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.t (id int PRIMARY KEY, v text);"
              "CREATE TABLE app.child (t int REFERENCES app.t ON DELETE CASCADE);"
              "INSERT INTO app.t VALUES (1, 'old'); INSERT INTO app.child VALUES (1)");
    dump_table("app", "t", &d);
    fx_sql(fx_pg, "UPDATE app.t SET v = 'new'");
    struct amber_restore_config cfg = into("t", &d);
    cfg.on_conflict = AMBER_CONFLICT_REPLACE;
    assert_stats(restored(&cfg, &d), 1, 0, 0, 1);
    fx_assert_text("SELECT v || count(*) FROM app.t, app.child GROUP BY v", "old1");
}

static void replace_of_several_rows_or_identity_refused(void **state)
{
    static const char *const line[] = {"{\"id\":1,\"u\":2,\"n\":5}"};
    AUTO_DUMP struct dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.t (id int PRIMARY KEY, u int UNIQUE,"
              " n int GENERATED ALWAYS AS IDENTITY);"
              "INSERT INTO app.t (id, u) VALUES (1, 1), (2, 2)");
    dump_lines("app", "t", line, 1, &d);
    struct amber_restore_config cfg = into("t", &d);
    cfg.on_conflict = AMBER_CONFLICT_REPLACE;
    refused(&cfg, &d, AMBER_E_DB, "several rows");
    fx_sql(fx_pg, "DELETE FROM app.t WHERE id = 2");
    refused(&cfg, &d, AMBER_E_DB, "line 1, column n: ");
    fx_assert_text("SELECT count(*) FROM app.t", "1");
}

/* ---- files by hand ---- */

static void file_by_hand_takes_defaults(void **state)
{
    static const char *const lines[] = {
        "{\"v\":\"x\", \"id\": 7}", "", "{\"id\":8,\"extra\":true,\"v\":null}", "{\"v\":\"y\"}", "{}",
        "{\"id\":9,\"v\":\"z\"}",
    };
    (void)state;
    for (int key = 0; key < 2; key++) {
        AUTO_DUMP struct dump d = {0};
        fx_schema("CREATE TABLE app.t (id int DEFAULT 100, v text DEFAULT 'dflt',"
                  " extra bool DEFAULT false, n int GENERATED ALWAYS AS IDENTITY)");
        if (key)
            fx_sql(fx_pg, "ALTER TABLE app.t ADD PRIMARY KEY (n)");
        for (size_t i = 0; i < amber_countof(lines); i++)
            dump_add(&d, lines[i], NULL);
        struct amber_restore_config cfg = into("t", NULL);
        assert_stats(restored(&cfg, &d), 5, 5, 0, 0);
        fx_assert_text("SELECT string_agg(id || coalesce(v, '-') || extra, ' ' ORDER BY id, v)"
                       " FROM app.t",
                       "7xfalse 8-true 9zfalse 100dfltfalse 100yfalse");
        fx_assert_text("SELECT count(DISTINCT n) FROM app.t", "5");
    }
}

static void file_by_hand_mistakes_name_the_line(void **state)
{
    static const struct {
        const char *line;
        enum amber_rc rc;
        const char *told;
    } cases[] = {
        {"{\"id\":1,\"nothing\":2}", AMBER_E_INVALID, "nothing"},
        {"{\"id\":1", AMBER_E_INVALID, "line 5"},
        {"not json", AMBER_E_INVALID, "line 5"},
        {"{\"id\":{}}", AMBER_E_INVALID, "id"},
        {"{\"v\":\"x\",\"v\":\"y\"}", AMBER_E_INVALID, "v"},
        {"{\"id\":99999999999}", AMBER_E_DB, "line 5, column id: "},
        {"{\"v\":\"x\",\"id\":\"s3cret\"}", AMBER_E_DB, "line 5, column id: "},
        {"{\"id\":null}", AMBER_E_DB, "line 5"},
        {"{\"id\":5,\"v\":\"too long\"}", AMBER_E_DB, "line 5, column v: "},
        {"{\"id\":-5}", AMBER_E_DB, "positive"},
        {"{\"at\":\"s3cret\",\"id\":5}", AMBER_E_DB, "line 5, column at: "},
    };
    (void)state;
    for (int key = 0; key < 2; key++) {
        fx_schema("CREATE TABLE app.t (id int NOT NULL CONSTRAINT positive CHECK (id > 0),"
                  " v varchar(5), at date)");
        if (key)
            fx_sql(fx_pg, "CREATE UNIQUE INDEX ON app.t (id)");
        for (size_t i = 0; i < amber_countof(cases); i++) {
            AUTO_DUMP struct dump d = {0};
            struct amber_restore_stats stats;
            struct amber_err err = AMBER_ERR_INIT;
            dump_add(&d, "{\"id\":1}", NULL);
            dump_add(&d, "", NULL);
            dump_add(&d, "{\"id\":2,\"v\":\"x\"}", NULL);
            dump_add(&d, "{\"id\":3}", NULL);
            dump_add(&d, cases[i].line, NULL);
            dump_add(&d, "{\"id\":4}", NULL);
            struct amber_restore_config cfg = into("t", NULL);
            assert_int_equal(restore(fx_pg, &cfg, &d, &stats, &err), cases[i].rc);
            fx_contains(err.text, cases[i].told);
            if (strstr(err.text, "s3cret"))
                fail_msg("a value is told: %s", err.text);
            fx_assert_text("SELECT count(*) FROM app.t", "0");
        }
    }
}

static void file_by_hand_conflicts_compare_given_columns(void **state)
{
    static const char *const lines[] = {"{\"id\":1,\"v\":\"a\"}", "{\"v\":\"b\",\"id\":2,\"w\":5}"};
    AUTO_DUMP struct dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.t (id int PRIMARY KEY, v text, w int DEFAULT 7);"
              "INSERT INTO app.t VALUES (1, 'a', 99)");
    dump_add(&d, lines[0], NULL);
    dump_add(&d, lines[1], NULL);
    struct amber_restore_config cfg = into("t", NULL);
    assert_stats(restored(&cfg, &d), 2, 1, 1, 0);
    fx_sql(fx_pg, "UPDATE app.t SET w = 6 WHERE id = 2");
    refused(&cfg, &d, AMBER_E_DB, "line 2: ");
    cfg.on_conflict = AMBER_CONFLICT_REPLACE;
    assert_stats(restored(&cfg, &d), 2, 0, 1, 1);
    fx_assert_text("SELECT string_agg(id || v || w, ' ' ORDER BY id) FROM app.t", "1a99 2b5");
}

static void file_by_hand_default_key_taken_told(void **state)
{
    AUTO_DUMP struct dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.t (id int PRIMARY KEY DEFAULT 1, v text);"
              "INSERT INTO app.t VALUES (1, 'a')");
    dump_add(&d, "{\"v\":\"b\"}", NULL);
    struct amber_restore_config cfg = into("t", NULL);
    refused(&cfg, &d, AMBER_E_DB, "t_pkey");
}

/* ---- the table changed since ---- */

static void columns_lost_gained_and_changed_are_told(void **state)
{
    AUTO_DUMP struct dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.t (id int PRIMARY KEY, gone text, wide int, calc int);"
              "INSERT INTO app.t VALUES (1, 'g', 5, 6)");
    dump_table("app", "t", &d);
    fx_sql(fx_pg, "TRUNCATE app.t; ALTER TABLE app.t DROP gone, DROP calc,"
                  " ALTER wide TYPE numeric, ADD late text DEFAULT 'l',"
                  " ADD calc int GENERATED ALWAYS AS (id + 1) STORED");
    struct amber_restore_config cfg = into("t", &d);
    struct amber_restore_stats s = restored(&cfg, &d);
    fx_contains(s.notes, "column gone is no longer in the table");
    fx_contains(s.notes, "column late is new in the table");
    fx_contains(s.notes, "column wide is now numeric");
    fx_assert_text("SELECT id || ' ' || wide || ' ' || late || ' ' || calc FROM app.t", "1 5 l 2");
    fx_sql(fx_pg, "TRUNCATE app.t; ALTER TABLE app.t ADD must int NOT NULL");
    refused(&cfg, &d, AMBER_E_INVALID, "must");
}

static void target_missing_or_no_table_refused(void **state)
{
    AUTO_DUMP struct dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.t (id int); CREATE VIEW app.v AS SELECT * FROM app.t");
    dump_table("app", "t", &d);
    struct amber_restore_config cfg = into("nothing", &d);
    refused(&cfg, &d, AMBER_E_NOT_FOUND, "app.nothing");
    cfg = into("v", &d);
    refused(&cfg, &d, AMBER_E_INVALID, "view");
}

/* ---- foreign keys, triggers, rules ---- */

static void foreign_key_missing_parent_told(void **state)
{
    AUTO_DUMP struct dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.parent (id int PRIMARY KEY);"
              "CREATE TABLE app.t (p int CONSTRAINT to_parent REFERENCES app.parent);"
              "INSERT INTO app.parent VALUES (1); INSERT INTO app.t VALUES (1)");
    dump_table("app", "t", &d);
    fx_sql(fx_pg, "TRUNCATE app.t, app.parent");
    struct amber_restore_config cfg = into("t", &d);
    refused(&cfg, &d, AMBER_E_DB, "to_parent");
}

static void triggers_named_and_refused_unless_allowed(void **state)
{
    AUTO_DUMP struct dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.t (id int PRIMARY KEY, v text); INSERT INTO app.t VALUES (1, 'x'),"
              " (2, 'x');"
              "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS"
              " $$ BEGIN RAISE WARNING 'hello %', repeat('x', 5000); NEW.v = 'fired'; RETURN NEW;"
              " END $$;"
              "CREATE TRIGGER \"My Trigger\" BEFORE INSERT ON app.t FOR EACH ROW"
              " EXECUTE FUNCTION app.f();"
              "CREATE TRIGGER at_update BEFORE UPDATE ON app.t FOR EACH ROW"
              " EXECUTE FUNCTION app.f()");
    dump_table("app", "t", &d);
    struct amber_restore_config cfg = into("t", &d);
    fx_sql(fx_pg, "TRUNCATE app.t");
    refused(&cfg, &d, AMBER_E_INVALID, "\"My Trigger\" on app.t");
    fx_assert_text("SELECT count(*) FROM app.t", "0");
    cfg.allow_triggers = true;
    struct amber_restore_stats s = restored(&cfg, &d);
    assert_stats(s, 2, 2, 0, 0);
    fx_contains(s.notes, "My Trigger");
    fx_assert_text("SELECT string_agg(v, ',') FROM app.t", "fired,fired");
    fx_sql(fx_pg, "ALTER TABLE app.t DISABLE TRIGGER \"My Trigger\"; TRUNCATE app.t");
    cfg.allow_triggers = false;
    assert_stats(restored(&cfg, &d), 2, 2, 0, 0);
    fx_assert_text("SELECT string_agg(v, ',') FROM app.t", "x,x");
    cfg.on_conflict = AMBER_CONFLICT_REPLACE;
    refused(&cfg, &d, AMBER_E_INVALID, "at_update");
}

static void triggers_of_partitions_and_rules_refused(void **state)
{
    AUTO_DUMP struct dump d = {0};
    (void)state;
    fx_schema("CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS"
              " $$ BEGIN RETURN NEW; END $$;"
              "CREATE TABLE app.t (id int) PARTITION BY LIST (id);"
              "CREATE TABLE app.p PARTITION OF app.t DEFAULT;"
              "CREATE TRIGGER deep AFTER INSERT ON app.p FOR EACH ROW EXECUTE FUNCTION app.f();"
              "INSERT INTO app.t VALUES (1);"
              "CREATE TABLE app.r (id int); CREATE RULE \"no in\" AS ON INSERT TO app.r DO INSTEAD"
              " NOTHING");
    dump_table("app", "t", &d);
    struct amber_restore_config cfg = into("t", &d);
    refused(&cfg, &d, AMBER_E_INVALID, "deep on app.p");
    cfg = into("r", &d);
    refused(&cfg, &d, AMBER_E_INVALID, "\"no in\"");
    fx_sql(fx_pg, "ALTER TABLE app.r DISABLE RULE \"no in\"");
    assert_stats(restored(&cfg, &d), 1, 1, 0, 0);
}

static void trigger_that_keeps_rows_out_counted(void **state)
{
    AUTO_DUMP struct dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.t (id int); INSERT INTO app.t VALUES (1), (2), (3);"
              "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS"
              " $$ BEGIN IF NEW.id = 2 THEN RETURN NULL; END IF; RETURN NEW; END $$;"
              "CREATE TRIGGER f BEFORE INSERT ON app.t FOR EACH ROW EXECUTE FUNCTION app.f()");
    dump_table("app", "t", &d);
    fx_sql(fx_pg, "TRUNCATE app.t");
    struct amber_restore_config cfg = into("t", &d);
    cfg.allow_triggers = true;
    struct amber_restore_stats s = restored(&cfg, &d);
    assert_stats(s, 3, 2, 1, 0);
    fx_contains(s.notes, "kept 1 rows out");
}

/* ---- sequences ---- */

static void sequences_follow_and_are_never_lowered(void **state)
{
    AUTO_DUMP struct dump d = {0};
    (void)state;
    fx_schema("CREATE SEQUENCE app.shared;"
              "CREATE SEQUENCE app.down INCREMENT -1 MINVALUE -1000 MAXVALUE -1 START -1;"
              "CREATE TABLE app.t (id serial PRIMARY KEY, i bigint GENERATED ALWAYS AS IDENTITY,"
              " s int DEFAULT nextval('app.shared'), n int DEFAULT nextval('app.down'),"
              " small smallint GENERATED BY DEFAULT AS IDENTITY (MAXVALUE 50));"
              "INSERT INTO app.t (id, s, n, small) VALUES (40, 60, -70, 60)");
    fx_sql(fx_pg, "INSERT INTO app.t (id, i, s, n, small) OVERRIDING SYSTEM VALUE"
                  " VALUES (41, 50, 61, -71, 49)");
    dump_table("app", "t", &d);
    fx_sql(fx_pg, "TRUNCATE app.t");
    struct amber_restore_config cfg = into("t", &d);
    struct amber_restore_stats s = restored(&cfg, &d);
    fx_contains(s.notes, "sequence app.shared was set");
    fx_sql(fx_pg, "INSERT INTO app.t (small) VALUES (1)");
    fx_assert_text("SELECT id || ' ' || i || ' ' || s || ' ' || n FROM app.t WHERE id = 42",
                   "42 51 62 -72");
    fx_sql(fx_pg, "SELECT setval('app.shared', 1000), setval('app.down', -900); TRUNCATE app.t");
    restored(&cfg, &d);
    fx_assert_text("SELECT nextval('app.shared') || ' ' || nextval('app.down')", "1001 -901");
}

static void sequence_not_called_yet_is_passed(void **state)
{
    AUTO_DUMP struct dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.t (id serial PRIMARY KEY); INSERT INTO app.t VALUES (1)");
    dump_table("app", "t", &d);
    fx_sql(fx_pg, "TRUNCATE app.t");
    struct amber_restore_config cfg = into("t", &d);
    restored(&cfg, &d);
    fx_assert_text("SELECT nextval('app.t_id_seq')", "2");
}

/* ---- partitions ---- */

static void partition_dropped_is_made_anew(void **state)
{
    struct amber_partition p = {.schema = (char[]){"app"}, .name = (char[]){"P 2024 \"q\""},
                                .bound = (char[]){"FOR VALUES FROM ('2024-01-01 00:00:00+00') TO"
                                                  " ('2024-02-01 00:00:00+00')"}};
    AUTO_DUMP struct dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.t (at timestamptz, v int) PARTITION BY RANGE (at);"
              "CREATE TABLE app.\"P 2024 \"\"q\"\"\" PARTITION OF app.t FOR VALUES FROM ('2024-01-01')"
              " TO ('2024-02-01'); INSERT INTO app.t VALUES ('2024-01-05', 1)");
    dump_table("app", "t", &d);
    fx_sql(fx_pg, "DROP TABLE app.\"P 2024 \"\"q\"\"\"");
    struct amber_restore_config cfg = into("t", &d);
    refused(&cfg, &d, AMBER_E_DB, "partition");
    cfg.partitions = &p;
    cfg.n_partitions = 1;
    struct amber_restore_stats s = restored(&cfg, &d);
    fx_contains(s.notes, "made anew");
    fx_assert_text("SELECT tableoid::regclass FROM app.t", "app.\"P 2024 \"\"q\"\"\"");
    fx_sql(fx_pg, "TRUNCATE app.t");
    s = restored(&cfg, &d); /* it is there: nothing to do */
    assert_string_equal(s.notes, "");

    fx_sql(fx_pg, "DROP TABLE app.\"P 2024 \"\"q\"\"\";"
                  "CREATE TABLE app.year PARTITION OF app.t FOR VALUES FROM ('2024-01-01') TO"
                  " ('2025-01-01')");
    s = restored(&cfg, &d); /* another one covers it */
    fx_contains(s.notes, "not made anew");
    fx_assert_text("SELECT tableoid::regclass FROM app.t", "app.year");

    fx_sql(fx_pg, "DROP TABLE app.year; CREATE TABLE app.rest PARTITION OF app.t DEFAULT;"
                  "INSERT INTO app.t VALUES ('2024-01-20', 2)");
    s = restored(&cfg, &d); /* the default one has rows of it */
    fx_contains(s.notes, "not made anew");
    fx_assert_text("SELECT count(*) FROM app.rest", "2");

    /* A failure behind it takes the partition away again. */
    fx_sql(fx_pg, "DROP TABLE app.rest");
    dump_add(&d, "{\"at\":\"2030-01-01T00:00:00+00:00\",\"v\":1}", NULL);
    refused(&cfg, &d, AMBER_E_DB, "line 2");
    fx_assert_text("SELECT to_regclass('app.\"P 2024 \"\"q\"\"\"')", "");
}

static void partition_bound_that_is_sql_refused(void **state)
{
    static const char *const bounds[] = {
        "FOR VALUES FROM ('2024-01-01') TO (now())",
        "FOR VALUES FROM ('2024-01-01') TO ('2024-02-01'); DROP TABLE app.t",
        "FOR VALUES FROM ('2024-01-01') TO ('2024-02-01') WITH (fillfactor=10)",
        "FOR VALUES FROM ('2024-01-01",
        "FOR VALUES IN (pg_sleep(1))",
        "FOR VALUES WITH (modulus 2, remainder 1) x",
        "",
    };
    AUTO_DUMP struct dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.t (at date) PARTITION BY RANGE (at)");
    dump_table("app", "t", &d);
    for (size_t i = 0; i < amber_countof(bounds); i++) {
        AMBER_AUTO_FREE char *bound = strdup(bounds[i]);
        struct amber_partition p = {.schema = (char[]){"app"}, .name = (char[]){"p"}, .bound = bound};
        struct amber_restore_config cfg = into("t", &d);
        cfg.partitions = &p;
        cfg.n_partitions = 1;
        refused(&cfg, &d, AMBER_E_INVALID, "bound");
    }
}

static void partition_bounds_of_every_kind_pass(void **state)
{
    static const struct {
        const char *by, *bound;
    } cases[] = {
        {"RANGE (a, b)", "FOR VALUES FROM (MINVALUE, MINVALUE) TO (-1, 'it''s')"},
        {"RANGE (a)", "FOR VALUES FROM ('-5') TO (MAXVALUE)"},
        {"LIST (b)", "FOR VALUES IN ('x, y', NULL, 'a)b')"},
        {"LIST (c)", "FOR VALUES IN (true)"},
        {"HASH (a)", "FOR VALUES WITH (modulus 4, remainder 3)"},
        {"LIST (a)", "DEFAULT"},
    };
    (void)state;
    for (size_t i = 0; i < amber_countof(cases); i++) {
        AUTO_DUMP struct dump d = {0};
        char sql[256];
        snprintf(sql, sizeof(sql), "CREATE TABLE app.t (a int, b text, c bool) PARTITION BY %s",
                 cases[i].by);
        fx_schema(sql);
        /* As PostgreSQL itself writes it. */
        snprintf(sql, sizeof(sql), "CREATE TABLE app.p PARTITION OF app.t %s", cases[i].bound);
        fx_sql(fx_pg, sql);
        AMBER_AUTO_FREE char *bound = fx_text(
            fx_pg, "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'p'");
        fx_sql(fx_pg, "DROP TABLE app.p");
        dump_table("app", "t", &d);
        struct amber_partition p = {.schema = (char[]){"app"}, .name = (char[]){"p"}, .bound = bound};
        struct amber_restore_config cfg = into("t", &d);
        cfg.partitions = &p;
        cfg.n_partitions = 1;
        restored(&cfg, &d);
        fx_assert_text("SELECT to_regclass('app.p')", "app.p");
    }
}

/* ---- many rows, large rows, stopping ---- */

static void bad_row_is_told_long_before_the_end(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_restore *r = NULL;
    enum amber_rc rc = AMBER_OK;
    (void)state;
    fx_schema("CREATE TABLE app.t (at date, filler text)");
    struct amber_restore_config cfg = into("t", NULL);
    AMBER_AUTO_FREE char *line = NULL;
    fx_ok(amber_asprintf(&line, &err, "{\"at\":\"2024-01-01\",\"filler\":\"%01000d\"}", 7), err);
    fx_ok(amber_pg_begin(fx_pg, "", &err), err);
    fx_ok(amber_restore_open(fx_pg, &cfg, &r, &err), err);
    fx_ok(amber_restore_row(r, line, strlen(line), NULL, 0, &err), err);
    static const char bad[] = "{\"at\":\"2024-99-99\",\"filler\":\"x\"}";
    fx_ok(amber_restore_row(r, bad, sizeof(bad) - 1, NULL, 0, &err), err);
    int n = 0;
    for (; n < 1000000 && !rc; n++)
        rc = amber_restore_row(r, line, strlen(line), NULL, 0, &err);
    assert_int_equal(rc, AMBER_E_DB);
    fx_contains(err.text, "line 2, column at: ");
    assert_true(n < 1000000);
    amber_restore_free(r);
    amber_pg_rollback(fx_pg);
}

static void large_rows_return(void **state)
{
    (void)state;
    fx_schema("CREATE TABLE app.t (id int PRIMARY KEY, v text);"
              "INSERT INTO app.t SELECT i, repeat(chr(64 + i), 3000000) FROM generate_series(1, 5) i");
    round_trip("t", true);
    round_trip("t", false);
}

static void many_rows_return(void **state)
{
    (void)state;
    fx_schema("CREATE TABLE app.t (id int PRIMARY KEY, v text);"
              "INSERT INTO app.t SELECT i, md5(i::text) FROM generate_series(1, 20000) i");
    round_trip("t", true);
    round_trip("t", false);
}

static void cancel_midway_leaves_nothing(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_cancel cancel;
    struct amber_pg *pg = NULL;
    struct amber_restore *r = NULL;
    enum amber_rc rc = AMBER_OK;
    (void)state;
    fx_schema("CREATE TABLE app.t (id int PRIMARY KEY)");
    fx_ok(amber_cancel_init(&cancel, &err), err);
    struct amber_pg_config pc = {.purpose = "test", .cancel = &cancel};
    fx_ok(amber_pg_open(&pc, &pg, &err), err);
    struct amber_restore_config cfg = into("t", NULL);
    cfg.on_conflict = AMBER_CONFLICT_ERROR;
    fx_ok(amber_pg_begin(pg, "", &err), err);
    fx_ok(amber_restore_open(pg, &cfg, &r, &err), err);
    for (int i = 0; i < 100000 && !rc; i++) {
        char line[64];
        snprintf(line, sizeof(line), "{\"id\":%d}", i);
        if (i == 50000)
            amber_cancel_set(&cancel);
        rc = amber_restore_row(r, line, strlen(line), NULL, 0, &err);
    }
    if (!rc) {
        struct amber_restore_stats stats;
        rc = amber_restore_close(r, &stats, &err);
    }
    assert_int_equal(rc, AMBER_E_CANCELED);
    amber_restore_free(r);
    amber_pg_rollback(pg);
    assert_true(amber_pg_alive(pg));
    amber_pg_close(pg);
    amber_cancel_clear(&cancel);
    fx_assert_text("SELECT count(*) FROM app.t", "0");
}

static void family_parents_before_children_in_one_transaction(void **state)
{
    AUTO_DUMP struct dump p = {0};
    AUTO_DUMP struct dump c = {0};
    struct amber_err err = AMBER_ERR_INIT;
    (void)state;
    fx_schema("CREATE TABLE app.parent (id int PRIMARY KEY);"
              "CREATE TABLE app.child (id int PRIMARY KEY, p int NOT NULL REFERENCES app.parent);"
              "INSERT INTO app.parent SELECT generate_series(1, 10);"
              "INSERT INTO app.child SELECT i, i % 10 + 1 FROM generate_series(1, 100) i");
    dump_table("app", "parent", &p);
    dump_table("app", "child", &c);
    fx_sql(fx_pg, "TRUNCATE app.child, app.parent; INSERT INTO app.parent VALUES (3)");
    fx_ok(amber_pg_begin(fx_pg, "", &err), err);
    for (int i = 0; i < 2; i++) {
        const struct dump *d = i ? &c : &p;
        struct amber_restore_config cfg = into(i ? "child" : "parent", d);
        struct amber_restore_stats stats;
        struct amber_restore *r = NULL;
        fx_ok(amber_restore_open(fx_pg, &cfg, &r, &err), err);
        enum amber_rc rc = give(r, d, &err);
        if (!rc)
            rc = amber_restore_close(r, &stats, &err);
        if (!i) {
            assert_int_equal(rc, AMBER_E_EXISTS);
            fx_ok(amber_restore_again(r, &err), err);
            fx_ok(give(r, d, &err), err);
            rc = amber_restore_close(r, &stats, &err);
        }
        fx_ok(rc, err);
        amber_restore_free(r);
    }
    fx_ok(amber_pg_commit(fx_pg, &err), err);
    fx_assert_text("SELECT count(*) FROM app.parent JOIN app.child ON p = parent.id", "100");
    fx_assert_text("SELECT count(*) FROM pg_class WHERE relname LIKE 'amberfs\\_%'"
                   " AND relpersistence = 't'", "0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_many_types_return_as_they_were),
        cmocka_unit_test(rows_of_300_columns_return),
        cmocka_unit_test(names_of_every_kind_are_quoted),
        cmocka_unit_test(generated_and_identity_columns_return),
        cmocka_unit_test(rows_without_key_are_doubled_only_by_force),
        cmocka_unit_test(table_without_columns_returns),
        cmocka_unit_test(conflict_modes_on_a_stream),
        cmocka_unit_test(conflict_modes_on_rows_given_twice),
        cmocka_unit_test(conflict_word_parsed),
        cmocka_unit_test(keys_of_every_kind_are_seen),
        cmocka_unit_test(key_nulls_not_distinct_is_seen),
        cmocka_unit_test(key_deferred_to_commit_is_seen),
        cmocka_unit_test(key_of_one_partition_is_seen),
        cmocka_unit_test(file_with_one_key_twice),
        cmocka_unit_test(replace_keeps_what_references_the_row),
        cmocka_unit_test(replace_of_several_rows_or_identity_refused),
        cmocka_unit_test(file_by_hand_takes_defaults),
        cmocka_unit_test(file_by_hand_mistakes_name_the_line),
        cmocka_unit_test(file_by_hand_conflicts_compare_given_columns),
        cmocka_unit_test(file_by_hand_default_key_taken_told),
        cmocka_unit_test(columns_lost_gained_and_changed_are_told),
        cmocka_unit_test(target_missing_or_no_table_refused),
        cmocka_unit_test(foreign_key_missing_parent_told),
        cmocka_unit_test(triggers_named_and_refused_unless_allowed),
        cmocka_unit_test(triggers_of_partitions_and_rules_refused),
        cmocka_unit_test(trigger_that_keeps_rows_out_counted),
        cmocka_unit_test(sequences_follow_and_are_never_lowered),
        cmocka_unit_test(sequence_not_called_yet_is_passed),
        cmocka_unit_test(partition_dropped_is_made_anew),
        cmocka_unit_test(partition_bound_that_is_sql_refused),
        cmocka_unit_test(partition_bounds_of_every_kind_pass),
        cmocka_unit_test(bad_row_is_told_long_before_the_end),
        cmocka_unit_test(large_rows_return),
        cmocka_unit_test(many_rows_return),
        cmocka_unit_test(cancel_midway_leaves_nothing),
        cmocka_unit_test(family_parents_before_children_in_one_transaction),
    };
    return cmocka_run_group_tests(tests, fx_open, fx_close);
}
