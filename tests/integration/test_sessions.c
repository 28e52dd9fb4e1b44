/*
 * test_sessions.c - who counts as another program's session at work: neither amberfs itself, nor the
 * server's own processes, nor who holds a transaction open and does nothing in it.
 */
#include "unit_fixture.h"

#include <pthread.h>
#include <stdio.h>

#define TRIES 1000

static struct amber_pg *watch;

static int open_watch(void **state)
{
    fx_open(state);
    watch = fx_connect(NULL);
    return 0;
}

static int close_watch(void **state)
{
    amber_pg_close(watch);
    return fx_close(state);
}

static bool others(struct amber_pg *pg)
{
    struct amber_err err = AMBER_ERR_INIT;
    bool found = false;

    fx_ok(amber_unit_others(pg, &found, &err), err);
    return found;
}

/* Until the server shows what the query asks for. */
static void wait_for(const char *sql)
{
    for (;;) {
        AMBER_AUTO_FREE char *yes = fx_text(watch, sql);
        if (strcmp(yes, "t") == 0)
            return;
    }
}

/* A session of this name is in the midst of a statement, until busy_end. */
struct busy {
    struct amber_pg *pg;
    pthread_t thread;
};

static void *busy_main(void *arg)
{
    struct busy *b = arg;

    fx_sql(b->pg, "SELECT pg_advisory_xact_lock(1)");
    return NULL;
}

static void busy_begin(struct busy *b, const char *name)
{
    char sql[100];

    fx_sql(fx_pg, "SELECT pg_advisory_lock(1)");
    b->pg = fx_connect(NULL);
    snprintf(sql, sizeof(sql), "SET application_name = '%s'", name);
    fx_sql(b->pg, sql);
    assert_int_equal(pthread_create(&b->thread, NULL, busy_main, b), 0);
    wait_for("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)");
}

static void busy_end(struct busy *b)
{
    fx_sql(fx_pg, "SELECT pg_advisory_unlock(1)");
    pthread_join(b->thread, NULL);
    amber_pg_close(b->pg);
}

static void session_in_a_statement_is_at_work_whoever_asks(void **state)
{
    struct busy b;
    (void)state;
    assert_false(others(watch));
    fx_sql(fx_pg, "CREATE ROLE plain LOGIN");
    struct amber_pg *plain = fx_connect("user=plain");
    busy_begin(&b, "app");
    assert_true(others(watch));
    assert_true(others(plain)); /* who isn't told states */
    busy_end(&b);
    assert_false(others(watch));
    amber_pg_close(plain);
    fx_sql(fx_pg, "DROP ROLE plain");
}

static void our_own_sessions_are_nobody_else(void **state)
{
    struct busy b;
    (void)state;
    busy_begin(&b, "amberfs: archive");
    assert_false(others(watch));
    busy_end(&b);
}

/* Between two statements of a transaction that goes on it is at work, for a second. */
static void session_that_idles_in_its_transaction_is_not_at_work(void **state)
{
    struct amber_pg *app = fx_connect(NULL);
    int tries = 0;
    (void)state;
    fx_sql(app, "SET application_name = 'app'; BEGIN");
    do
        fx_sql(app, "SELECT 1");
    while (!others(watch) && ++tries < TRIES);
    assert_in_range(tries, 0, TRIES - 1);
    wait_for("SELECT state_change < clock_timestamp() - interval '1 second' FROM pg_stat_activity"
             " WHERE application_name = 'app'");
    assert_false(others(watch));
    amber_pg_close(app);
}

/* Autovacuum is held up in the midst of its work, by an index on an expression. */
static void process_of_the_server_is_not_at_work(void **state)
{
    (void)state;
    fx_schema("CREATE FUNCTION app.wait(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN"
              " PERFORM pg_catalog.pg_advisory_xact_lock_shared(2); RETURN $1; END $$;"
              "CREATE TABLE app.root (id int) WITH (autovacuum_analyze_threshold = 0,"
              " autovacuum_analyze_scale_factor = 0);"
              "CREATE INDEX ON app.root (app.wait(id))");
    struct amber_pg *writer = fx_connect(NULL);
    fx_sql(writer, "INSERT INTO app.root VALUES (1)");
    amber_pg_close(writer); /* tells its counts */
    fx_sql(fx_pg, "SELECT pg_advisory_lock(2)");
    fx_sql(fx_pg, "ALTER SYSTEM SET autovacuum_naptime = '1s'");
    fx_sql(fx_pg, "SELECT pg_reload_conf()");
    wait_for("SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE"
             " l.locktype = 'advisory' AND NOT l.granted AND a.backend_type = 'autovacuum worker')");
    assert_false(others(watch));
    fx_sql(fx_pg, "SELECT pg_advisory_unlock(2)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(session_in_a_statement_is_at_work_whoever_asks),
        cmocka_unit_test(our_own_sessions_are_nobody_else),
        cmocka_unit_test(session_that_idles_in_its_transaction_is_not_at_work),
        cmocka_unit_test(process_of_the_server_is_not_at_work),
    };
    return cmocka_run_group_tests(tests, open_watch, close_watch);
}
