/*
 * test_unit_stay.c - a row that something remaining references stays, with its whole family, and
 * so does what that family references; and a row that COPY can't carry.
 */
#include "unit_fixture.h"

#include <stdio.h>

static const struct fx_job ROOT = {.tables = {{.name = "root"}}};
static const struct fx_job FAMILY = {.tables = {{.name = "root"}, {.name = "kid", .parent = 0}}};
static const struct fx_job TWO_KIDS = {
    .tables = {{.name = "root"}, {.name = "a", .parent = 0}, {.name = "b", .parent = 0}}};

/* Move January and compare who stayed, by reference. */
static void assert_stays(const struct fx_job *job, uint64_t referenced, const char *left)
{
    struct amber_unit_config cfg = fx_config(fx_family(job), US(2024, 1, 1), US(2024, 2, 1));
    struct amber_unit_stayed stayed;
    struct fx_export e;
    struct amber_unit *u = fx_begin(&cfg);

    amber_unit_stayed(u, &stayed);
    assert_int_equal(stayed.referenced, referenced);
    assert_int_equal(stayed.too_large, 0);
    assert_int_equal(stayed.why[0] != '\0', referenced > 0);
    fx_export(u, cfg.family->n_tables, &e);
    fx_finish(u, &e);
    fx_export_clear(&e);
    fx_assert_text("SELECT string_agg(id::text, ',' ORDER BY id) FROM app.root", left);
}

static void stays_root_referenced_from_outside(void **state)
{
    struct amber_unit_stayed stayed;
    (void)state;
    fx_schema("CREATE TABLE app.root (id int PRIMARY KEY, at timestamptz);"
              "INSERT INTO app.root SELECT g, '2024-01-01'::timestamptz + g * interval '1 day' "
              "FROM generate_series(1, 9) g;"
              "CREATE TABLE app.o (x int CONSTRAINT \"o's key\" REFERENCES app.root ON DELETE "
              "RESTRICT); CREATE INDEX ON app.o (x);"
              "CREATE TABLE app.p (x int REFERENCES app.root); CREATE INDEX ON app.p (x); INSERT "
              "INTO app.o VALUES (3), (3), (NULL), (5)");
    struct amber_unit_config cfg = fx_config(fx_family(&ROOT), US(2024, 1, 1), US(2024, 2, 1));
    struct amber_unit *u = fx_begin(&cfg);
    amber_unit_stayed(u, &stayed);
    assert_string_equal(stayed.why, "\"o's key\" of \"app\".\"o\"");
    amber_unit_free(u);
    assert_stays(&ROOT, 2, "3,5");
}

static void stays_family_whose_kid_is_referenced(void **state)
{
    (void)state;
    fx_schema("CREATE TABLE app.root (id int PRIMARY KEY, at timestamptz); CREATE TABLE app.kid "
              "(id int PRIMARY KEY,"
              " root_id int REFERENCES app.root); CREATE INDEX ON app.kid (root_id);"
              "INSERT INTO app.root VALUES (1, '2024-01-01'), (2, '2024-01-02'), (3, '2024-03-01');"
              "INSERT INTO app.kid VALUES (10, 1), (11, 1), (20, 2), (21, 2), (30, 3);"
              "CREATE TABLE app.o (x int REFERENCES app.kid); CREATE INDEX ON app.o (x); INSERT "
              "INTO app.o VALUES (21), (30)");
    assert_stays(&FAMILY, 1, "2,3");
    fx_assert_text("SELECT string_agg(id::text, ',' ORDER BY id) FROM app.kid", "20,21,30");
}

static void stays_chain_of_self_references(void **state)
{
    (void)state;
    /* each row references the one before; the last remains, so all do */
    fx_schema(
        "CREATE TABLE app.root (id int PRIMARY KEY, at timestamptz, before int REFERENCES "
        "app.root);"
        "CREATE INDEX ON app.root (before);"
        "INSERT INTO app.root SELECT g, '2024-01-01'::timestamptz + g * interval '1 second', "
        "nullif(g - 1, 0)"
        " FROM generate_series(1, 5000) g; INSERT INTO app.root VALUES (5001, '2024-02-05', 5000)");
    struct amber_unit_config cfg = fx_config(fx_family(&ROOT), US(2024, 1, 1), US(2024, 2, 1));
    struct amber_unit *u = fx_begin(&cfg);
    struct amber_unit_stayed stayed;
    amber_unit_stayed(u, &stayed);
    assert_int_equal(stayed.referenced, 5000);
    amber_unit_free(u);
    /* without it, all move, in one statement */
    fx_sql(fx_pg, "DELETE FROM app.root WHERE id = 5001; INSERT INTO app.root VALUES (6000, NULL, "
                  "7), (6001, '2024-01-09', 6000)");
    assert_stays(&ROOT, 7, "1,2,3,4,5,6,7,6000");
}

static void stays_what_condition_leaves_unknown(void **state)
{
    struct fx_job job = ROOT;
    (void)state;
    /* row 2's condition is unknown, neither true nor false: it remains, and so does what it
     * references */
    fx_schema(
        "CREATE TABLE app.root (id int PRIMARY KEY, at timestamptz, done boolean, up int "
        "REFERENCES app.root);"
        "CREATE INDEX ON app.root (up); INSERT INTO app.root VALUES (1, '2024-01-01', true, NULL),"
        " (2, '2024-01-02', NULL, 1), (3, '2024-01-03', true, 1), (4, '2024-01-04', true, 3)");
    job.where = "done";
    assert_stays(&job, 1, "1,2");
}

static void stays_across_cross_references(void **state)
{
    (void)state;
    /* b of root 3, which remains, references a of root 2, whose b references a of root 1 */
    fx_schema(
        "CREATE TABLE app.root (id int PRIMARY KEY, at timestamptz);"
        "CREATE TABLE app.a (id int PRIMARY KEY, r int REFERENCES app.root); CREATE INDEX ON app.a "
        "(r);"
        "CREATE TABLE app.b (id int PRIMARY KEY, r int REFERENCES app.root, a int REFERENCES "
        "app.a);"
        "CREATE INDEX ON app.b (r); CREATE INDEX ON app.b (a);"
        "INSERT INTO app.root VALUES (0, '2024-01-01'), (1, '2024-01-01'), (2, '2024-01-02'), (3, "
        "'2024-02-02'), (4, '2024-01-04');"
        "INSERT INTO app.a SELECT 10 * id, id FROM app.root;"
        "INSERT INTO app.b VALUES (30, 3, 20), (20, 2, 10), (10, 1, 10), (4, 4, 0), (5, 0, 40)");
    assert_stays(&TWO_KIDS, 2, "1,2,3");
    fx_assert_text("SELECT string_agg(id::text, ',' ORDER BY id) FROM app.b", "10,20,30");
}

static void stays_what_a_loose_kid_references(void **state)
{
    (void)state;
    fx_schema("CREATE TABLE app.root (id int PRIMARY KEY, at timestamptz);"
              "CREATE TABLE app.kid (id int PRIMARY KEY, r int REFERENCES app.root, up int "
              "REFERENCES app.kid);"
              "CREATE INDEX ON app.kid (r); CREATE INDEX ON app.kid (up);"
              "INSERT INTO app.root VALUES (1, '2024-01-01'), (2, '2024-01-02');"
              "INSERT INTO app.kid VALUES (10, 1, NULL), (20, 2, 10), (21, 2, 20), (99, NULL, 10)");
    assert_stays(&FAMILY, 1, "1");
    fx_assert_text("SELECT string_agg(id::text, ',' ORDER BY id) FROM app.kid", "10,99");
}

static void moves_self_references_across_partitions(void **state)
{
    (void)state;
    fx_schema("CREATE TABLE app.root (id int, at timestamptz, up int, upat timestamptz, PRIMARY "
              "KEY (id, at),"
              " FOREIGN KEY (up, upat) REFERENCES app.root) PARTITION BY RANGE (at); CREATE INDEX "
              "ON app.root (up, upat);"
              "CREATE TABLE app.p1 PARTITION OF app.root FOR VALUES FROM ('2024-01-01') TO "
              "('2024-01-10');"
              "CREATE TABLE app.p2 PARTITION OF app.root FOR VALUES FROM ('2024-01-10') TO "
              "('2024-03-01');"
              "INSERT INTO app.root VALUES (1, '2024-01-01', NULL, NULL), (2, '2024-01-11', 1, "
              "'2024-01-01'), (3, '2024-01-02', NULL, NULL);"
              "UPDATE app.root SET up = 2, upat = '2024-01-11' WHERE id = 1; INSERT INTO app.root "
              "VALUES (4, '2024-02-20', 3, '2024-01-02')");
    assert_stays(&ROOT, 1, "3,4");
}

static void moves_circle_of_deferrable_keys(void **state)
{
    (void)state;
    fx_schema("CREATE TABLE app.root (id int PRIMARY KEY, at timestamptz, last int);"
              "CREATE TABLE app.kid (id int PRIMARY KEY, r int REFERENCES app.root); CREATE INDEX "
              "ON app.kid (r);"
              "ALTER TABLE app.root ADD FOREIGN KEY (last) REFERENCES app.kid DEFERRABLE; CREATE "
              "INDEX ON app.root (last);"
              "INSERT INTO app.root VALUES (1, '2024-01-01'), (2, '2024-01-02'), (3, '2024-02-02');"
              "INSERT INTO app.kid VALUES (10, 1), (20, 2), (30, 3); UPDATE app.root SET last = "
              "CASE id WHEN 3 THEN 20 ELSE id * 10 END");
    assert_stays(&FAMILY, 1, "2,3");
}

static void stays_reference_to_one_partition(void **state)
{
    (void)state;
    fx_schema("CREATE TABLE app.root (id int, at timestamptz) PARTITION BY RANGE (at);"
              "CREATE TABLE app.p1 PARTITION OF app.root (PRIMARY KEY (id)) FOR VALUES FROM "
              "('2024-01-01') TO ('2024-02-01');"
              "CREATE TABLE app.o (x int REFERENCES app.p1); CREATE INDEX ON app.o (x);"
              "INSERT INTO app.root SELECT g, '2024-01-01'::timestamptz + g * interval '1 day' "
              "FROM generate_series(1, 5) g;"
              "INSERT INTO app.o VALUES (2)");
    assert_stays(&ROOT, 1, "2");
}

static enum amber_rc drop_line(void *arg, char *line, size_t skip_bytes, size_t len,
                               struct amber_err *err)
{
    (void)arg, (void)skip_bytes, (void)len, (void)err;
    amber_pg_copy_free(line);
    return AMBER_OK;
}

/* 540 MB of bytea need 1.08 GB as text: more than the server can hold in one value. */
static void stays_family_with_row_too_large(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_unit_table out;
    struct amber_unit_stayed stayed;
    struct fx_export e;
    (void)state;
    fx_schema("CREATE TABLE app.root (id int PRIMARY KEY, at timestamptz);"
              "CREATE TABLE app.kid (id int PRIMARY KEY, r int REFERENCES app.root, b bytea, t "
              "text, j json, x int[], m jsonb);"
              "CREATE INDEX ON app.kid (r); INSERT INTO app.root VALUES (1, '2024-01-01'), (2, "
              "'2024-01-02'), (3, '2024-01-03');"
              "INSERT INTO app.kid VALUES (10, 1, 'x', 'y', '{}', '{1}', '{}'), (21, 2, NULL, "
              "repeat('y', 40000), '[]',"
              " array_fill(1, ARRAY[9000]), to_jsonb(repeat('z', 90000)));"
              "ALTER TABLE app.kid ALTER b SET STORAGE EXTERNAL;" /* compressing takes far longer */
              "INSERT INTO app.kid SELECT 20, 2, repeat('x', 540000000)::bytea");
    struct amber_unit_config cfg = fx_config(fx_family(&FAMILY), US(2024, 1, 1), US(2024, 2, 1));
    struct amber_unit *u = fx_begin(&cfg);
    assert_int_equal(amber_unit_export(u, 1, drop_line, NULL, &out, &err), AMBER_E_LIMIT);
    fx_contains(err.text, "a row of \"app\".\"kid\" is too large for COPY");
    amber_unit_free(u);
    cfg.check_sizes = true;
    u = fx_begin(&cfg);
    amber_unit_stayed(u, &stayed);
    assert_int_equal(stayed.too_large, 1);
    assert_int_equal(stayed.referenced, 0);
    fx_export(u, 2, &e);
    assert_int_equal(e.tables[0].rows, 2);
    assert_int_equal(e.tables[1].rows, 1);
    fx_finish(u, &e);
    fx_export_clear(&e);
    fx_assert_text("SELECT string_agg(id::text, ',') FROM app.root", "2");
    fx_sql(fx_pg, "DROP TABLE app.kid");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stays_root_referenced_from_outside),
        cmocka_unit_test(stays_family_whose_kid_is_referenced),
        cmocka_unit_test(stays_chain_of_self_references),
        cmocka_unit_test(stays_what_condition_leaves_unknown),
        cmocka_unit_test(stays_across_cross_references),
        cmocka_unit_test(stays_what_a_loose_kid_references),
        cmocka_unit_test(moves_self_references_across_partitions),
        cmocka_unit_test(moves_circle_of_deferrable_keys),
        cmocka_unit_test(stays_reference_to_one_partition),
        cmocka_unit_test(stays_family_with_row_too_large),
    };
    return cmocka_run_group_tests(tests, fx_open, fx_close);
}
