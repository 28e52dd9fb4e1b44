/*
 * test_unit_race.c - others work on the same tables while a unit runs: nothing is lost, whatever
 * they do, and what can be tried again says so.
 */
#include "unit_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

static const struct fx_job ROOT = {.tables = {{.name = "root"}}};
static const struct fx_job FAMILY = {.tables = {{.name = "root"}, {.name = "kid", .parent = 0}}};
static const char FAMILY_SQL[] =
    "CREATE TABLE app.root (id int PRIMARY KEY, at timestamptz, n int DEFAULT 0);"
    "CREATE TABLE app.kid (id int PRIMARY KEY, r int REFERENCES app.root %s); CREATE INDEX ON "
    "app.kid (r);"
    "INSERT INTO app.root VALUES (1, '2024-01-01'), (2, '2024-01-02'), (3, '2024-02-02');"
    "INSERT INTO app.kid VALUES (10, 1), (20, 2), (30, 3)";
static struct amber_pg *other;

static int open_both(void **state)
{
    fx_open(state);
    other = fx_connect(NULL);
    return 0;
}

static int close_both(void **state)
{
    amber_pg_close(other);
    return fx_close(state);
}

static void make_family(const char *action)
{
    char sql[1024];

    amber_pg_rollback(other);
    snprintf(sql, sizeof(sql), FAMILY_SQL, action);
    fx_schema(sql);
}

static struct amber_unit_config january(const struct fx_job *job)
{
    return fx_config(fx_family(job), US(2024, 1, 1), US(2024, 2, 1));
}

/* Every row of the family is still there. */
static void assert_untouched(const char *roots, const char *kids)
{
    fx_assert_text("SELECT string_agg(id::text, ',' ORDER BY id) FROM app.root", roots);
    fx_assert_text("SELECT string_agg(id::text, ',' ORDER BY id) FROM app.kid", kids);
}

/* amber_unit_begin in a thread of its own, while this one sees it wait for a lock. */
struct beginner {
    pthread_t thread;
    struct amber_unit_config cfg;
    struct amber_unit *unit;
    struct amber_err err;
    enum amber_rc rc;
    atomic_bool ended;
};

static void *begin_main(void *arg)
{
    struct beginner *b = arg;

    b->rc = amber_unit_begin(&b->cfg, &b->unit, &b->err);
    atomic_store(&b->ended, true);
    return NULL;
}

static void begin_and_wait(struct beginner *b, const struct amber_unit_config *cfg)
{
    struct amber_pg *watcher = fx_connect(NULL);

    *b = (struct beginner){.cfg = *cfg, .err = AMBER_ERR_INIT};
    assert_int_equal(pthread_create(&b->thread, NULL, begin_main, b), 0);
    for (;;) { /* until the server shows the waiter */
        AMBER_AUTO_FREE char *n =
            fx_text(watcher, "SELECT count(*) FROM pg_locks WHERE NOT granted");
        if (strcmp(n, "0") != 0)
            break;
        assert_false(atomic_load(&b->ended)); /* without having waited */
    }
    amber_pg_close(watcher);
}

static void begin_end(struct beginner *b)
{
    assert_int_equal(pthread_join(b->thread, NULL), 0);
}

static void begin_waiting_for_share_sees_what_was_committed_meanwhile(void **state)
{
    struct beginner b;
    struct fx_export e;
    (void)state;
    fx_schema("CREATE TABLE app.root (id int, at timestamptz) PARTITION BY RANGE (at);"
              "CREATE TABLE app.p1 PARTITION OF app.root FOR VALUES FROM ('2024-01-01') TO "
              "('2024-02-01');"
              "INSERT INTO app.root VALUES (1, '2024-01-05')");
    struct amber_unit_config cfg = january(&ROOT);
    cfg.lock_wait_ms = 60000;
    fx_sql(other, "BEGIN; INSERT INTO app.root VALUES (2, '2024-01-06')");
    begin_and_wait(&b, &cfg);
    fx_sql(other, "COMMIT");
    begin_end(&b);
    fx_ok(b.rc, b.err);
    fx_export(b.unit, 1, &e);
    assert_string_equal(e.lines[0], "1\t2024-01-05 00:00:00+00\n2\t2024-01-06 00:00:00+00");
    fx_finish(b.unit, &e);
    fx_export_clear(&e);
    fx_assert_text("SELECT coalesce(to_regclass('app.p1')::text, 'gone')", "gone");
}

static void begin_waiting_for_row_exclusive_sees_what_was_committed_meanwhile(void **state)
{
    struct beginner b;
    struct fx_export e;
    (void)state;
    make_family("");
    struct amber_unit_config cfg = january(&FAMILY);
    cfg.lock_wait_ms = 60000;
    fx_sql(other, "BEGIN; LOCK TABLE app.kid; INSERT INTO app.root VALUES (4, '2024-01-06');"
                  "INSERT INTO app.kid VALUES (40, 4)");
    begin_and_wait(&b, &cfg);
    fx_sql(other, "COMMIT");
    begin_end(&b);
    fx_ok(b.rc, b.err);
    fx_export(b.unit, 2, &e);
    assert_int_equal(e.tables[0].rows, 3);
    assert_string_equal(e.lines[1], "10\t1\n20\t2\n40\t4");
    fx_finish(b.unit, &e);
    fx_export_clear(&e);
    assert_untouched("3", "30");
}

static void begin_lock_not_to_be_had_busy(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_unit *u = NULL;
    (void)state;
    make_family("");
    struct amber_unit_config cfg = january(&FAMILY);
    cfg.lock_wait_ms = 10;
    fx_sql(other, "BEGIN; LOCK TABLE app.kid");
    assert_int_equal(amber_unit_begin(&cfg, &u, &err), AMBER_E_BUSY);
    assert_true(amber_pg_unit_retryable(&err));
    fx_contains(err.text, "locking its tables");
    assert_null(u);
    fx_sql(other, "ROLLBACK");
}

static void begin_second_of_one_job_busy(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_unit *second = NULL;
    (void)state;
    make_family("");
    struct amber_unit_config cfg = january(&FAMILY);
    struct amber_unit *first = fx_begin(&cfg);
    struct amber_unit_config cfg2 = cfg;
    cfg2.pg = other;
    assert_int_equal(amber_unit_begin(&cfg2, &second, &err), AMBER_E_BUSY);
    fx_contains(err.text, "job test is being run by another amberfs");
    assert_string_equal(err.sqlstate, "");
    amber_unit_free(first);
    fx_ok(amber_unit_begin(&cfg2, &second, &err), err);
    amber_unit_free(second);
}

/* Begin and export, let the other session do something, delete: it must fail so that the unit can
 * be tried again, and the second try moves everything that is there then. */
static void conflict(const char *sql, const char *sqlstate, const char *roots, const char *kids,
                     uint64_t kids_moved)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct fx_export e;
    struct amber_unit_config cfg = january(&FAMILY);
    struct amber_unit *u = fx_begin(&cfg);

    cfg.lock_wait_ms = 10;
    fx_export(u, 2, &e);
    fx_sql(other, sql);
    enum amber_rc rc = amber_unit_delete(u, e.tables, &err);
    if (rc == AMBER_OK)
        rc = amber_unit_check(u, &err);
    assert_int_not_equal(rc, AMBER_OK);
    assert_string_equal(err.sqlstate, sqlstate);
    assert_true(amber_pg_unit_retryable(&err));
    amber_unit_free(u);
    fx_export_clear(&e);
    assert_untouched(roots, kids);
    fx_move(&cfg, &e);
    assert_int_equal(e.tables[1].rows, kids_moved);
    fx_export_clear(&e);
    assert_untouched("3", "30");
}

static void delete_after_concurrent_update_serialization_failure(void **state)
{
    (void)state;
    make_family("");
    conflict("UPDATE app.root SET n = 1 WHERE id = 2", "40001", "1,2,3", "10,20,30", 2);
}

static void delete_after_concurrent_delete_serialization_failure(void **state)
{
    (void)state;
    make_family("");
    conflict("DELETE FROM app.kid WHERE id = 10", "40001", "1,2,3", "20,30", 1);
}

static void delete_after_concurrent_child_foreign_key_failure(void **state)
{
    (void)state;
    make_family("");
    conflict("INSERT INTO app.kid VALUES (21, 2)", "23503", "1,2,3", "10,20,21,30", 3);
}

static void delete_after_concurrent_child_of_cascading_key_not_lost(void **state)
{
    (void)state;
    make_family("ON DELETE CASCADE");
    conflict("INSERT INTO app.kid VALUES (21, 2)", "40001", "1,2,3", "10,20,21,30", 3);
}

static void delete_after_concurrent_child_of_set_null_key_not_lost(void **state)
{
    (void)state;
    make_family("ON DELETE SET NULL");
    conflict("INSERT INTO app.kid VALUES (21, 2)", "40001", "1,2,3", "10,20,21,30", 3);
}

static void delete_blocked_by_open_transaction_gives_up_in_time(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct fx_export e;
    (void)state;
    make_family("");
    struct amber_unit_config cfg = january(&FAMILY);
    cfg.lock_wait_ms = 10;
    struct amber_unit *u = fx_begin(&cfg);
    fx_export(u, 2, &e);
    fx_sql(other, "BEGIN; UPDATE app.root SET n = 1 WHERE id = 2");
    assert_int_equal(amber_unit_delete(u, e.tables, &err), AMBER_E_BUSY);
    assert_true(amber_pg_unit_retryable(&err));
    amber_unit_free(u);
    fx_export_clear(&e);
    fx_sql(other, "ROLLBACK");
    assert_untouched("1,2,3", "10,20,30");
}

static void insert_behind_snapshot_survives(void **state)
{
    struct fx_export e;
    (void)state;
    make_family("");
    struct amber_unit_config cfg = january(&FAMILY);
    struct amber_unit *u = fx_begin(&cfg);
    fx_sql(other,
           "INSERT INTO app.root VALUES (4, '2024-01-04'); INSERT INTO app.kid VALUES (40, 4)");
    fx_export(u, 2, &e);
    fx_sql(other, "INSERT INTO app.root VALUES (5, '2024-01-05')");
    fx_finish(u, &e);
    fx_export_clear(&e);
    assert_untouched("3,4,5", "30,40");
}

/* What somebody does between the load of the family and a unit of it. */
static void begin_after_change_of_tables_refused(void **state)
{
    static const char *const changes[] = {
        "ALTER TABLE app.root ADD gained int",
        "ALTER TABLE app.kid ALTER id TYPE bigint",
        "CREATE TABLE app.o (x int REFERENCES app.kid ON DELETE CASCADE)",
        ("CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
         "CREATE TRIGGER g BEFORE DELETE ON app.kid FOR EACH ROW EXECUTE FUNCTION app.f()"),
        "CREATE RULE r AS ON DELETE TO app.root DO INSTEAD NOTHING",
        "CREATE TABLE app.heir () INHERITS (app.kid)",
    };
    (void)state;
    for (size_t i = 0; i < amber_countof(changes); i++) {
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_unit *u = NULL;
        make_family("");
        struct amber_unit_config cfg = january(&FAMILY);
        fx_sql(other, changes[i]);
        assert_int_equal(amber_unit_begin(&cfg, &u, &err), AMBER_E_DB);
        fx_contains(err.text, "was changed since the run began");
        assert_false(amber_pg_unit_retryable(&err));
        assert_untouched("1,2,3", "10,20,30");
    }
}

static const char PARTITIONED[] =
    "CREATE TABLE app.root (id int, at timestamptz, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);"
    "CREATE TABLE app.p1 PARTITION OF app.root FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');"
    "CREATE TABLE app.kid (id int PRIMARY KEY, r int, at timestamptz, FOREIGN KEY (r, at) "
    "REFERENCES app.root);"
    "CREATE INDEX ON app.kid (r, at); INSERT INTO app.root VALUES (1, '2024-01-05'), (2, "
    "'2024-01-06');"
    "INSERT INTO app.kid VALUES (10, 1, '2024-01-05')";
static const char NEW_PARTITION[] =
    "CREATE TABLE app.p2 PARTITION OF app.root FOR VALUES FROM ('2023-12-01') TO ('2024-01-01');"
    "INSERT INTO app.root VALUES (3, '2023-12-05'); INSERT INTO app.kid VALUES (30, 3, "
    "'2023-12-05')";

static void partition_gained_by_family_refused(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_unit *u = NULL;
    (void)state;
    fx_schema(PARTITIONED);
    struct amber_unit_config cfg = fx_config(fx_family(&FAMILY), US(2023, 12, 1), US(2024, 2, 1));
    fx_sql(other, NEW_PARTITION);
    assert_int_equal(amber_unit_begin(&cfg, &u, &err), AMBER_E_DB);
    fx_contains(err.text, "\"app\".\"root\" got a new partition");
    assert_untouched("1,2,3", "10,30");
}

static void partition_gained_or_lost_by_single_table_goes_on(void **state)
{
    struct fx_export e;
    (void)state;
    fx_schema("CREATE TABLE app.root (id int, at timestamptz) PARTITION BY RANGE (at);"
              "CREATE TABLE app.p0 PARTITION OF app.root FOR VALUES FROM ('2023-11-01') TO "
              "('2023-12-01');"
              "CREATE TABLE app.p1 PARTITION OF app.root FOR VALUES FROM ('2024-01-01') TO "
              "('2024-02-01');"
              "INSERT INTO app.root VALUES (1, '2024-01-05'), (2, '2024-01-06')");
    struct amber_unit_config cfg = january(&ROOT);
    fx_sql(other, "DROP TABLE app.p0;"
                  "CREATE TABLE app.p2 PARTITION OF app.root FOR VALUES FROM ('2024-02-01') TO "
                  "('2024-03-01');"
                  "INSERT INTO app.root VALUES (3, '2024-02-05')");
    fx_move(&cfg, &e);
    assert_int_equal(e.tables[0].rows, 2);
    fx_export_clear(&e);
    fx_assert_text("SELECT string_agg(id::text, ',') FROM app.root", "3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begin_waiting_for_share_sees_what_was_committed_meanwhile),
        cmocka_unit_test(begin_waiting_for_row_exclusive_sees_what_was_committed_meanwhile),
        cmocka_unit_test(begin_lock_not_to_be_had_busy),
        cmocka_unit_test(begin_second_of_one_job_busy),
        cmocka_unit_test(delete_after_concurrent_update_serialization_failure),
        cmocka_unit_test(delete_after_concurrent_delete_serialization_failure),
        cmocka_unit_test(delete_after_concurrent_child_foreign_key_failure),
        cmocka_unit_test(delete_after_concurrent_child_of_cascading_key_not_lost),
        cmocka_unit_test(delete_after_concurrent_child_of_set_null_key_not_lost),
        cmocka_unit_test(delete_blocked_by_open_transaction_gives_up_in_time),
        cmocka_unit_test(insert_behind_snapshot_survives),
        cmocka_unit_test(begin_after_change_of_tables_refused),
        cmocka_unit_test(partition_gained_by_family_refused),
        cmocka_unit_test(partition_gained_or_lost_by_single_table_goes_on),
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
