/*
 * test_copy.c - COPY in both directions on a real server: whole, failing, given up, lost, canceled.
 * Runs under tests/lib/with-pg.
 */
#include "unit_fixture.h"

#include <pthread.h>
#include <stdio.h>

#include "amber/cancel.h"

#define SECRET "s3cr3t-value"

static enum amber_rc open_pg(const char *conninfo, const struct amber_cancel *cancel,
                             struct amber_pg **out, struct amber_err *err)
{
    struct amber_pg_config cfg = {.conninfo = conninfo, .purpose = "test", .cancel = cancel};

    return amber_pg_open(&cfg, out, err);
}

static void assert_hidden(const struct amber_err *err)
{
    if (strstr(err->text, SECRET))
        fail_msg("a value is told: %s", err->text);
}

static void *set_cancel(void *arg)
{
    amber_cancel_set(arg);
    return NULL;
}

static void copy_out_rows_come_whole(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    uint64_t n = 0, bytes = 0;
    (void)state;

    fx_ok(amber_pg_copy_out(fx_pg,
                            "COPY (SELECT i, repeat('x', i % 3000) FROM generate_series(1, 20000)"
                            " i) TO STDOUT",
                            &err),
          err);
    for (;;) {
        char *line;
        size_t len;
        fx_ok(amber_pg_copy_next(fx_pg, &line, &len, &err), err);
        if (!line)
            break;
        assert_int_equal(line[len - 1], '\n');
        assert_int_equal(strtoull(line, NULL, 10), ++n);
        bytes += len;
        amber_pg_copy_free(line);
    }
    assert_int_equal(n, 20000);
    assert_true(bytes > 20000000);
    fx_ok(amber_pg_exec(fx_pg, &err, "SELECT 1"), err);
}

static void copy_out_fails_midway_db(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    enum amber_rc rc;
    (void)state;

    fx_ok(amber_pg_copy_out(fx_pg,
                            "COPY (SELECT 1 / (100 - i) FROM generate_series(1, 200) i)"
                            " TO STDOUT",
                            &err),
          err);
    char *line = NULL;
    size_t len;
    while ((rc = amber_pg_copy_next(fx_pg, &line, &len, &err)) == AMBER_OK && line)
        amber_pg_copy_free(line);
    assert_int_equal(rc, AMBER_E_DB);
    assert_string_equal(err.sqlstate, "22012");
    fx_ok(amber_pg_exec(fx_pg, &err, "SELECT 1"), err);
}

/* Given up in the middle of gigabytes: the rollback stops it. */
static void copy_out_given_up_rolls_back(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    char *line = NULL;
    size_t len;
    (void)state;

    fx_ok(amber_pg_begin(fx_pg, "", &err), err);
    fx_ok(amber_pg_copy_out(fx_pg, "COPY (SELECT generate_series(1, 2000000000)) TO STDOUT", &err),
          err);
    fx_ok(amber_pg_copy_next(fx_pg, &line, &len, &err), err);
    amber_pg_copy_free(line);
    amber_pg_rollback(fx_pg);
    assert_true(amber_pg_alive(fx_pg));
    fx_ok(amber_pg_exec(fx_pg, &err, "SELECT 1"), err);
}

static void copy_in_rows_arrive(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    uint64_t rows = 0, line = 9;
    char big[100];
    (void)state;

    fx_schema("CREATE TABLE app.t (id int, x text)");
    fx_ok(amber_pg_copy_in(fx_pg, "COPY app.t FROM STDIN", &err), err);
    for (int i = 0; i < 50000; i++) {
        int n = snprintf(big, sizeof(big), "%d\tsome text that makes it longer %d\n", i, i);
        fx_ok(amber_pg_copy_send(fx_pg, big, (size_t)n, &err), err);
    }
    fx_ok(amber_pg_copy_end(fx_pg, &rows, &line, &err), err);
    assert_int_equal(rows, 50000);
    assert_int_equal(line, 0);
    fx_assert_text("SELECT count(*) FROM app.t", "50000");
}

static void copy_in_bad_value_names_line_and_column(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    uint64_t line = 0;
    static const char rows[] = "1\ta\n2\tb\n" SECRET "\tc\n";
    (void)state;

    fx_schema("CREATE TABLE app.t (\"the id\" int, x text)");
    fx_ok(amber_pg_copy_in(fx_pg, "COPY app.t FROM STDIN", &err), err);
    fx_ok(amber_pg_copy_send(fx_pg, rows, sizeof(rows) - 1, &err), err);
    assert_int_equal(amber_pg_copy_end(fx_pg, NULL, &line, &err), AMBER_E_DB);
    assert_int_equal(line, 3);
    fx_contains(err.text, "line 3, column the id: ");
    assert_hidden(&err);
    fx_assert_text("SELECT count(*) FROM app.t", "0");
}

static void copy_in_aborted_leaves_nothing(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    (void)state;

    fx_schema("CREATE TABLE app.t (id int)");
    fx_ok(amber_pg_copy_in(fx_pg, "COPY app.t FROM STDIN", &err), err);
    fx_ok(amber_pg_copy_send(fx_pg, "1\n2\n", 4, &err), err);
    amber_pg_copy_abort(fx_pg);
    assert_true(amber_pg_alive(fx_pg));
    fx_assert_text("SELECT count(*) FROM app.t", "0");
}

static void copy_in_lost_connection_net(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pg *pg = fx_connect(NULL);
    static char block[1 << 16];
    enum amber_rc rc = AMBER_OK;
    (void)state;

    fx_schema("CREATE TABLE app.t (x text)");
    memset(block, 'x', sizeof(block));
    for (size_t i = 99; i < sizeof(block); i += 100)
        block[i] = '\n';
    block[sizeof(block) - 1] = '\n';
    char *pid = fx_text(pg, "SELECT pg_backend_pid()");
    fx_ok(amber_pg_copy_in(pg, "COPY app.t FROM STDIN", &err), err);
    fx_ok(amber_pg_copy_send(pg, block, sizeof(block), &err), err);
    char sql[128];
    snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%s, 10000)", pid);
    free(pid);
    fx_sql(fx_pg, sql);
    for (int i = 0; i < 1000 && !rc; i++)
        rc = amber_pg_copy_send(pg, block, sizeof(block), &err);
    if (!rc)
        rc = amber_pg_copy_end(pg, NULL, NULL, &err);
    assert_int_equal(rc, AMBER_E_NET);
    amber_pg_close(pg);
    fx_assert_text("SELECT count(*) FROM app.t", "0");
}

static void copy_in_blocked_ends_by_cancel(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_cancel cancel;
    struct amber_pg *pg = NULL;
    pthread_t thread;
    static char block[1 << 16];
    enum amber_rc rc = AMBER_OK;
    (void)state;

    /* The trigger keeps the server from reading on. */
    fx_schema(
        "CREATE TABLE app.t (x text);"
        "CREATE FUNCTION app.wait() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(1000); RETURN NEW; END $$;"
        "CREATE TRIGGER wait BEFORE INSERT ON app.t FOR EACH ROW EXECUTE FUNCTION app.wait()");
    fx_ok(amber_cancel_init(&cancel, &err), err);
    fx_ok(open_pg(NULL, &cancel, &pg, &err), err);
    memset(block, '\n', sizeof(block));
    fx_ok(amber_pg_copy_in(pg, "COPY app.t FROM STDIN", &err), err);
    assert_int_equal(pthread_create(&thread, NULL, set_cancel, &cancel), 0);
    while (!rc)
        rc = amber_pg_copy_send(pg, block, sizeof(block), &err);
    assert_int_equal(rc, AMBER_E_CANCELED);
    pthread_join(thread, NULL);
    amber_pg_rollback(pg);
    assert_true(amber_pg_alive(pg));
    amber_pg_close(pg);
    amber_cancel_clear(&cancel);
    fx_assert_text("SELECT count(*) FROM app.t", "0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copy_out_rows_come_whole),
        cmocka_unit_test(copy_out_fails_midway_db),
        cmocka_unit_test(copy_out_given_up_rolls_back),
        cmocka_unit_test(copy_in_rows_arrive),
        cmocka_unit_test(copy_in_bad_value_names_line_and_column),
        cmocka_unit_test(copy_in_aborted_leaves_nothing),
        cmocka_unit_test(copy_in_lost_connection_net),
        cmocka_unit_test(copy_in_blocked_ends_by_cancel),
    };
    return cmocka_run_group_tests(tests, fx_open, fx_close);
}
