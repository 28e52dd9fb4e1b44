/*
 * test_restore_conflict.c - rows whose key is taken: every mode, and every kind of key. Runs under
 * tests/lib/with-pg.
 */
#include "restore_fixture.h"

/* ---- conflicts ---- */

static void conflict_fixture(struct rs_dump *d)
{
    fx_schema("CREATE TABLE app.t (id int PRIMARY KEY, email text UNIQUE, v json);"
              "INSERT INTO app.t VALUES (1, 'a', '{}'), (2, 'b', '{}'), (3, 'c', '{}')");
    rs_table("app", "t", d);
    /* 1 is the same, 2 differs, 3 is gone, 4 is another. */
    fx_sql(fx_pg, "UPDATE app.t SET v = '[2]' WHERE id = 2; DELETE FROM app.t WHERE id = 3;"
                  "INSERT INTO app.t VALUES (4, 'd', NULL)");
}
#define CONFLICT_ROWS                                                                              \
    "SELECT string_agg(id || email || coalesce(v::text, ''), ' ' ORDER BY id) FROM app.t"

static void conflict_modes(bool can_repeat)
{
    RS_AUTO_DUMP struct rs_dump d = {0};
    conflict_fixture(&d);
    struct amber_restore_config cfg = rs_into("t", &d);
    cfg.can_repeat = can_repeat;
    rs_refused(&cfg, &d, AMBER_E_DB, "line 2: ");
    rs_refused(&cfg, &d, AMBER_E_DB, "t_pkey");
    cfg.on_conflict = AMBER_CONFLICT_ERROR;
    rs_refused(&cfg, &d, AMBER_E_DB, "line 1: ");
    rs_refused(&cfg, &d, AMBER_E_DB, "t_pkey");
    fx_assert_text(CONFLICT_ROWS, "1a{} 2b[2] 4d");
    cfg.on_conflict = AMBER_CONFLICT_SKIP;
    rs_assert_stats(rs_restored(&cfg, &d), 3, 1, 2, 0);
    fx_assert_text(CONFLICT_ROWS, "1a{} 2b[2] 3c{} 4d");
    fx_sql(fx_pg, "DELETE FROM app.t WHERE id = 3");
    cfg.on_conflict = AMBER_CONFLICT_REPLACE;
    rs_assert_stats(rs_restored(&cfg, &d), 3, 1, 1, 1);
    fx_assert_text(CONFLICT_ROWS, "1a{} 2b{} 3c{} 4d");
    cfg.on_conflict = AMBER_CONFLICT_DEFAULT;
    rs_assert_stats(rs_restored(&cfg, &d), 3, 0, 3, 0);
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
        RS_AUTO_DUMP struct rs_dump d = {0};
        fx_schema(ddl);
        fx_sql(fx_pg, in_table);
        rs_lines("app", "t", &in_file, 1, &d);
        struct amber_restore_config cfg = rs_into("t", &d);
        cfg.can_repeat = can_repeat;
        if (taken) {
            rs_refused(&cfg, &d, AMBER_E_DB, "line 1: ");
            rs_refused(&cfg, &d, AMBER_E_DB, "the_key");
            fx_assert_text("SELECT count(*) FROM app.t", "1");
            cfg.on_conflict = AMBER_CONFLICT_ERROR;
            rs_refused(&cfg, &d, AMBER_E_DB, "key"); /* a partition's may have a name of its own */
            cfg.on_conflict = AMBER_CONFLICT_SKIP;
            rs_assert_stats(rs_restored(&cfg, &d), 1, 0, 1, 0);
            cfg.on_conflict = AMBER_CONFLICT_REPLACE;
            rs_assert_stats(rs_restored(&cfg, &d), 1, 0, 0, 1);
            rs_assert_stats(rs_restored(&cfg, &d), 1, 0, 1, 0);
        } else {
            rs_assert_stats(rs_restored(&cfg, &d), 1, 1, 0, 0);
        }
    }
}

static void keys_of_every_kind_are_seen(void **state)
{
    (void)state;
    key_case("CREATE TABLE app.t (a text, b int); CREATE UNIQUE INDEX the_key ON app.t (lower(a))",
             "INSERT INTO app.t VALUES ('ABC', 1)", "{\"a\":\"abc\",\"b\":2}", true);
    key_case("CREATE TABLE app.t (a int, b int); CREATE UNIQUE INDEX the_key ON app.t (a)"
             " WHERE b > 10",
             "INSERT INTO app.t VALUES (1, 11)", "{\"a\":1,\"b\":12}", true);
    key_case("CREATE TABLE app.t (a int, b int); CREATE UNIQUE INDEX the_key ON app.t (a)"
             " WHERE b > 10",
             "INSERT INTO app.t VALUES (1, 11)", "{\"a\":1,\"b\":5}", false);
    key_case("CREATE TABLE app.t (a int, b int); CREATE UNIQUE INDEX the_key ON app.t (a, b)",
             "INSERT INTO app.t VALUES (1, NULL)", "{\"a\":1,\"b\":null}", false);
    key_case("CREATE TABLE app.t (a int, b int, c int);"
             "CREATE UNIQUE INDEX the_key ON app.t (a, b) INCLUDE (c)",
             "INSERT INTO app.t VALUES (1, 2, 3)", "{\"a\":1,\"b\":2,\"c\":4}", true);
    key_case("CREATE TABLE app.t (r int4range, v int, CONSTRAINT the_key EXCLUDE USING gist"
             " (r WITH &&))",
             "INSERT INTO app.t VALUES ('[1,5)', 1)", "{\"r\":\"[3,9)\",\"v\":2}", true);
    key_case("CREATE TABLE app.t (a int CONSTRAINT the_key UNIQUE DEFERRABLE INITIALLY IMMEDIATE,"
             " v int)",
             "INSERT INTO app.t VALUES (1, 1)", "{\"a\":1,\"v\":2}", true);
    key_case("CREATE TABLE app.t (v int, g int GENERATED ALWAYS AS (a % 10) STORED"
             " CONSTRAINT the_key UNIQUE, a int)",
             "INSERT INTO app.t VALUES (1, DEFAULT, 13)", "{\"v\":1,\"g\":3,\"a\":23}", true);
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
    RS_AUTO_DUMP struct rs_dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.t (a int CONSTRAINT the_key UNIQUE DEFERRABLE INITIALLY DEFERRED,"
              " v int); INSERT INTO app.t VALUES (1, 1), (2, 2)");
    rs_table("app", "t", &d);
    struct amber_restore_config cfg = rs_into("t", &d);
    rs_assert_stats(rs_restored(&cfg, &d), 2, 0, 2, 0);
    fx_sql(fx_pg, "UPDATE app.t SET v = 9 WHERE a = 2");
    rs_refused(&cfg, &d, AMBER_E_DB, "line 2: ");
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
        RS_AUTO_DUMP struct rs_dump s = {0};
        RS_AUTO_DUMP struct rs_dump o = {0};
        fx_schema("CREATE TABLE app.t (id int PRIMARY KEY, v text)");
        rs_lines("app", "t", same, 3, &s);
        rs_lines("app", "t", other, 4, &o);
        struct amber_restore_config cfg = rs_into("t", &s);
        cfg.can_repeat = can_repeat;
        rs_assert_stats(rs_restored(&cfg, &s), 3, 2, 1, 0);
        fx_sql(fx_pg, "TRUNCATE app.t");
        rs_refused(&cfg, &o, AMBER_E_DB, "line 3: ");
        cfg.on_conflict = AMBER_CONFLICT_SKIP;
        rs_assert_stats(rs_restored(&cfg, &o), 4, 2, 2, 0);
        fx_assert_text("SELECT string_agg(v, '' ORDER BY id) FROM app.t", "ab");
        cfg.on_conflict = AMBER_CONFLICT_REPLACE;
        rs_assert_stats(rs_restored(&cfg, &o), 4, 0, 3, 1);
        fx_assert_text("SELECT string_agg(v, '' ORDER BY id) FROM app.t", "db");
        fx_sql(fx_pg, "TRUNCATE app.t");
        rs_assert_stats(rs_restored(&cfg, &o), 4, 2, 2, 0);
        fx_assert_text("SELECT string_agg(v, '' ORDER BY id) FROM app.t", "db");
    }
}

/* Replacing a parent must neither delete its children nor fail because of them. */
static void replace_keeps_what_references_the_row(void **state)
{
    RS_AUTO_DUMP struct rs_dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.t (id int PRIMARY KEY, v text);"
              "CREATE TABLE app.child (t int REFERENCES app.t ON DELETE CASCADE);"
              "INSERT INTO app.t VALUES (1, 'old'); INSERT INTO app.child VALUES (1)");
    rs_table("app", "t", &d);
    fx_sql(fx_pg, "UPDATE app.t SET v = 'new'");
    struct amber_restore_config cfg = rs_into("t", &d);
    cfg.on_conflict = AMBER_CONFLICT_REPLACE;
    rs_assert_stats(rs_restored(&cfg, &d), 1, 0, 0, 1);
    fx_assert_text("SELECT v || count(*) FROM app.t, app.child GROUP BY v", "old1");
}

static void replace_of_several_rows_or_identity_refused(void **state)
{
    static const char *const line[] = {"{\"id\":1,\"u\":2,\"n\":5}"};
    RS_AUTO_DUMP struct rs_dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.t (id int PRIMARY KEY, u int UNIQUE,"
              " n int GENERATED ALWAYS AS IDENTITY);"
              "INSERT INTO app.t (id, u) VALUES (1, 1), (2, 2)");
    rs_lines("app", "t", line, 1, &d);
    struct amber_restore_config cfg = rs_into("t", &d);
    cfg.on_conflict = AMBER_CONFLICT_REPLACE;
    rs_refused(&cfg, &d, AMBER_E_DB, "several rows");
    fx_sql(fx_pg, "DELETE FROM app.t WHERE id = 2");
    rs_refused(&cfg, &d, AMBER_E_DB, "line 1, column n: ");
    fx_assert_text("SELECT count(*) FROM app.t", "1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    };
    return cmocka_run_group_tests(tests, fx_open, fx_close);
}
