/*
 * test_restore_target.c - what is around the rows: foreign keys, triggers, rules, sequences and
 * partitions. Runs under tests/lib/with-pg.
 */
#include "restore_fixture.h"

#include <stdio.h>

/* ---- foreign keys, triggers, rules ---- */

static void foreign_key_missing_parent_told(void **state)
{
    RS_AUTO_DUMP struct rs_dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.parent (id int PRIMARY KEY);"
              "CREATE TABLE app.t (p int CONSTRAINT to_parent REFERENCES app.parent);"
              "INSERT INTO app.parent VALUES (1); INSERT INTO app.t VALUES (1)");
    rs_table("app", "t", &d);
    fx_sql(fx_pg, "TRUNCATE app.t, app.parent");
    struct amber_restore_config cfg = rs_into("t", &d);
    rs_refused(&cfg, &d, AMBER_E_DB, "to_parent");
}

static void table_of_others_refused_with_the_grant(void **state)
{
    RS_AUTO_DUMP struct rs_dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.t (id int PRIMARY KEY); INSERT INTO app.t VALUES (1);"
              "CREATE ROLE rs_reader; GRANT USAGE ON SCHEMA app TO rs_reader;"
              "GRANT SELECT ON app.t TO rs_reader");
    rs_table("app", "t", &d);
    struct amber_restore_config cfg = rs_into("t", &d);
    fx_sql(fx_pg, "SET ROLE rs_reader");
    rs_refused(&cfg, &d, AMBER_E_DENIED, "may not write to app.t: GRANT SELECT, INSERT, DELETE");
    /* Enough for archiving, and to lock the table. */
    fx_sql(fx_pg, "RESET ROLE; GRANT DELETE ON app.t TO rs_reader; SET ROLE rs_reader");
    rs_refused(&cfg, &d, AMBER_E_DENIED, "may not write to app.t: GRANT SELECT, INSERT, DELETE");
    fx_sql(fx_pg, "RESET ROLE; GRANT INSERT ON app.t TO rs_reader;"
                  "REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC; SET ROLE rs_reader");
    rs_refused(&cfg, &d, AMBER_E_DENIED, "GRANT TEMPORARY ON DATABASE \"postgres\"");
    fx_sql(fx_pg, "RESET ROLE; GRANT TEMPORARY ON DATABASE postgres TO PUBLIC;"
                  "DROP OWNED BY rs_reader; DROP ROLE rs_reader");
}

static void triggers_named_and_refused_unless_allowed(void **state)
{
    RS_AUTO_DUMP struct rs_dump d = {0};
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
    rs_table("app", "t", &d);
    struct amber_restore_config cfg = rs_into("t", &d);
    fx_sql(fx_pg, "TRUNCATE app.t");
    rs_refused(&cfg, &d, AMBER_E_INVALID, "\"My Trigger\" on app.t");
    fx_assert_text("SELECT count(*) FROM app.t", "0");
    cfg.allow_triggers = true;
    struct amber_restore_stats s = rs_restored(&cfg, &d);
    rs_assert_stats(s, 2, 2, 0, 0);
    fx_contains(s.notes, "My Trigger");
    fx_assert_text("SELECT string_agg(v, ',') FROM app.t", "fired,fired");
    fx_sql(fx_pg, "ALTER TABLE app.t DISABLE TRIGGER \"My Trigger\"; TRUNCATE app.t");
    cfg.allow_triggers = false;
    rs_assert_stats(rs_restored(&cfg, &d), 2, 2, 0, 0);
    fx_assert_text("SELECT string_agg(v, ',') FROM app.t", "x,x");
    cfg.on_conflict = AMBER_CONFLICT_REPLACE;
    rs_refused(&cfg, &d, AMBER_E_INVALID, "at_update");
}

static void triggers_of_partitions_and_rules_refused(void **state)
{
    RS_AUTO_DUMP struct rs_dump d = {0};
    (void)state;
    fx_schema("CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS"
              " $$ BEGIN RETURN NEW; END $$;"
              "CREATE TABLE app.t (id int) PARTITION BY LIST (id);"
              "CREATE TABLE app.p PARTITION OF app.t DEFAULT;"
              "CREATE TRIGGER deep AFTER INSERT ON app.p FOR EACH ROW EXECUTE FUNCTION app.f();"
              "INSERT INTO app.t VALUES (1);"
              "CREATE TABLE app.r (id int); CREATE RULE \"no in\" AS ON INSERT TO app.r DO INSTEAD"
              " NOTHING");
    rs_table("app", "t", &d);
    struct amber_restore_config cfg = rs_into("t", &d);
    rs_refused(&cfg, &d, AMBER_E_INVALID, "deep on app.p");
    cfg = rs_into("r", &d);
    rs_refused(&cfg, &d, AMBER_E_INVALID, "\"no in\"");
    fx_sql(fx_pg, "ALTER TABLE app.r DISABLE RULE \"no in\"");
    rs_assert_stats(rs_restored(&cfg, &d), 1, 1, 0, 0);
}

static void trigger_that_keeps_rows_out_counted(void **state)
{
    RS_AUTO_DUMP struct rs_dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.t (id int); INSERT INTO app.t VALUES (1), (2), (3);"
              "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS"
              " $$ BEGIN IF NEW.id = 2 THEN RETURN NULL; END IF; RETURN NEW; END $$;"
              "CREATE TRIGGER f BEFORE INSERT ON app.t FOR EACH ROW EXECUTE FUNCTION app.f()");
    rs_table("app", "t", &d);
    fx_sql(fx_pg, "TRUNCATE app.t");
    struct amber_restore_config cfg = rs_into("t", &d);
    cfg.allow_triggers = true;
    struct amber_restore_stats s = rs_restored(&cfg, &d);
    rs_assert_stats(s, 3, 2, 1, 0);
    fx_contains(s.notes, "kept 1 row out");
}

/* ---- sequences ---- */

static void sequences_follow_and_are_never_lowered(void **state)
{
    RS_AUTO_DUMP struct rs_dump d = {0};
    (void)state;
    fx_schema("CREATE SEQUENCE app.shared;"
              "CREATE SEQUENCE app.down INCREMENT -1 MINVALUE -1000 MAXVALUE -1 START -1;"
              "CREATE TABLE app.t (id serial PRIMARY KEY, i bigint GENERATED ALWAYS AS IDENTITY,"
              " s int DEFAULT nextval('app.shared'), n int DEFAULT nextval('app.down'),"
              " small smallint GENERATED BY DEFAULT AS IDENTITY (MAXVALUE 50));"
              "INSERT INTO app.t (id, s, n, small) VALUES (40, 60, -70, 60)");
    fx_sql(fx_pg, "INSERT INTO app.t (id, i, s, n, small) OVERRIDING SYSTEM VALUE"
                  " VALUES (41, 50, 61, -71, 49)");
    rs_table("app", "t", &d);
    fx_sql(fx_pg, "TRUNCATE app.t");
    struct amber_restore_config cfg = rs_into("t", &d);
    struct amber_restore_stats s = rs_restored(&cfg, &d);
    fx_contains(s.notes, "sequence app.shared was set");
    fx_sql(fx_pg, "INSERT INTO app.t (small) VALUES (1)");
    fx_assert_text("SELECT id || ' ' || i || ' ' || s || ' ' || n FROM app.t WHERE id = 42",
                   "42 51 62 -72");
    fx_sql(fx_pg, "SELECT setval('app.shared', 1000), setval('app.down', -900); TRUNCATE app.t");
    rs_restored(&cfg, &d);
    fx_assert_text("SELECT nextval('app.shared') || ' ' || nextval('app.down')", "1001 -901");
}

static void sequence_not_called_yet_is_passed(void **state)
{
    RS_AUTO_DUMP struct rs_dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.t (id serial PRIMARY KEY); INSERT INTO app.t VALUES (1)");
    rs_table("app", "t", &d);
    fx_sql(fx_pg, "TRUNCATE app.t");
    struct amber_restore_config cfg = rs_into("t", &d);
    rs_restored(&cfg, &d);
    fx_assert_text("SELECT nextval('app.t_id_seq')", "2");
}

/* ---- partitions ---- */

static void partition_dropped_is_made_anew(void **state)
{
    struct amber_partition p = {.schema = (char[]){"app"},
                                .name = (char[]){"P 2024 \"q\""},
                                .bound = (char[]){"FOR VALUES FROM ('2024-01-01 00:00:00+00') TO"
                                                  " ('2024-02-01 00:00:00+00')"}};
    RS_AUTO_DUMP struct rs_dump d = {0};
    (void)state;
    fx_schema(
        "CREATE TABLE app.t (at timestamptz, v int) PARTITION BY RANGE (at);"
        "CREATE TABLE app.\"P 2024 \"\"q\"\"\" PARTITION OF app.t FOR VALUES FROM ('2024-01-01')"
        " TO ('2024-02-01'); INSERT INTO app.t VALUES ('2024-01-05', 1)");
    rs_table("app", "t", &d);
    fx_sql(fx_pg, "DROP TABLE app.\"P 2024 \"\"q\"\"\"");
    struct amber_restore_config cfg = rs_into("t", &d);
    rs_refused(&cfg, &d, AMBER_E_DB, "partition");
    cfg.partitions = &p;
    cfg.n_partitions = 1;
    struct amber_restore_stats s = rs_restored(&cfg, &d);
    fx_contains(s.notes, "made anew");
    fx_assert_text("SELECT tableoid::regclass FROM app.t", "app.\"P 2024 \"\"q\"\"\"");
    fx_sql(fx_pg, "TRUNCATE app.t");
    s = rs_restored(&cfg, &d); /* it is there: nothing to do */
    assert_string_equal(s.notes, "");

    fx_sql(fx_pg, "DROP TABLE app.\"P 2024 \"\"q\"\"\";"
                  "CREATE TABLE app.year PARTITION OF app.t FOR VALUES FROM ('2024-01-01') TO"
                  " ('2025-01-01')");
    s = rs_restored(&cfg, &d); /* another one covers it */
    fx_contains(s.notes, "not made anew");
    fx_assert_text("SELECT tableoid::regclass FROM app.t", "app.year");

    fx_sql(fx_pg, "DROP TABLE app.year; CREATE TABLE app.rest PARTITION OF app.t DEFAULT;"
                  "INSERT INTO app.t VALUES ('2024-01-20', 2)");
    s = rs_restored(&cfg, &d); /* the default one has rows of it */
    fx_contains(s.notes, "not made anew");
    fx_assert_text("SELECT count(*) FROM app.rest", "2");

    /* A failure behind it takes the partition away again. */
    fx_sql(fx_pg, "DROP TABLE app.rest");
    rs_add(&d, "{\"at\":\"2030-01-01T00:00:00+00:00\",\"v\":1}", NULL);
    rs_refused(&cfg, &d, AMBER_E_DB, "line 2");
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
    RS_AUTO_DUMP struct rs_dump d = {0};
    (void)state;
    fx_schema("CREATE TABLE app.t (at date) PARTITION BY RANGE (at)");
    rs_table("app", "t", &d);
    for (size_t i = 0; i < amber_countof(bounds); i++) {
        AMBER_AUTO_FREE char *bound = strdup(bounds[i]);
        struct amber_partition p = {
            .schema = (char[]){"app"}, .name = (char[]){"p"}, .bound = bound};
        struct amber_restore_config cfg = rs_into("t", &d);
        cfg.partitions = &p;
        cfg.n_partitions = 1;
        rs_refused(&cfg, &d, AMBER_E_INVALID, "bound");
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
        RS_AUTO_DUMP struct rs_dump d = {0};
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
        rs_table("app", "t", &d);
        struct amber_partition p = {
            .schema = (char[]){"app"}, .name = (char[]){"p"}, .bound = bound};
        struct amber_restore_config cfg = rs_into("t", &d);
        cfg.partitions = &p;
        cfg.n_partitions = 1;
        rs_restored(&cfg, &d);
        fx_assert_text("SELECT to_regclass('app.p')", "app.p");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreign_key_missing_parent_told),
        cmocka_unit_test(table_of_others_refused_with_the_grant),
        cmocka_unit_test(triggers_named_and_refused_unless_allowed),
        cmocka_unit_test(triggers_of_partitions_and_rules_refused),
        cmocka_unit_test(trigger_that_keeps_rows_out_counted),
        cmocka_unit_test(sequences_follow_and_are_never_lowered),
        cmocka_unit_test(sequence_not_called_yet_is_passed),
        cmocka_unit_test(partition_dropped_is_made_anew),
        cmocka_unit_test(partition_bound_that_is_sql_refused),
        cmocka_unit_test(partition_bounds_of_every_kind_pass),
    };
    return cmocka_run_group_tests(tests, fx_open, fx_close);
}
