/*
 * test_pg.c - the connection against a real server: settings, errors without values, cancel, lost
 * connections, COMMIT. Runs under tests/lib/with-pg.
 */
#include "unit_fixture.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

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

/* ---- opening ---- */

static void open_server_settings_read_back(void **state)
{
    static const char *const expected[][2] = {
        {"search_path", "pg_catalog, pg_temp"},
        {"extra_float_digits", "3"},
        {"DateStyle", "ISO, YMD"},
        {"TimeZone", "UTC"},
        {"row_security", "off"},
        {"synchronous_commit", "on"},
        {"statement_timeout", "0"},
        {"idle_in_transaction_session_timeout", "0"},
        {"session_replication_role", "origin"},
    };
    (void)state;
    /* What a role's own settings would do to us. */
    fx_sql(fx_pg, "CREATE ROLE odd SUPERUSER LOGIN;"
                  "ALTER ROLE odd SET synchronous_commit = off;"
                  "ALTER ROLE odd SET DateStyle = 'SQL, DMY';"
                  "ALTER ROLE odd SET statement_timeout = '1min';"
                  "ALTER ROLE odd SET default_transaction_isolation = 'serializable'");
    struct amber_pg *pg = fx_connect("user=odd");
    size_t n;
    const struct amber_setting *s = amber_pg_settings(pg, &n);
    for (size_t i = 0; i < amber_countof(expected); i++) {
        size_t k = 0;
        while (k < n && strcmp(s[k].name, expected[i][0]) != 0)
            k++;
        assert_true(k < n);
        assert_string_equal(s[k].value, expected[i][1]);
    }
    char *value = fx_text(pg, "SHOW transaction_isolation");
    assert_string_equal(value, "read committed");
    free(value);
    value = fx_text(pg, "SELECT application_name FROM pg_stat_activity"
                        " WHERE pid = pg_backend_pid()");
    assert_string_equal(value, "amberfs: test");
    free(value);
    amber_pg_close(pg);

    fx_sql(fx_pg, "ALTER ROLE odd SET synchronous_commit = remote_apply");
    pg = fx_connect("user=odd");
    value = fx_text(pg, "SHOW synchronous_commit");
    assert_string_equal(value, "remote_apply");
    free(value);
    amber_pg_close(pg);
    fx_sql(fx_pg, "DROP ROLE odd");
}

static void open_replica_role_refused(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pg *pg = NULL;
    (void)state;

    fx_sql(fx_pg, "CREATE ROLE replica SUPERUSER LOGIN;"
                  "ALTER ROLE replica SET session_replication_role = replica");
    assert_int_equal(open_pg("user=replica", NULL, &pg, &err), AMBER_E_DB);
    fx_contains(err.text, "session_replication_role");
    assert_null(pg);
    fx_sql(fx_pg, "DROP ROLE replica");
}

static void open_read_only_refuses_writes(void **state)
{
    struct amber_pg_config cfg = {.purpose = "look", .read_only = true};
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pg *pg = NULL;
    (void)state;

    fx_ok(amber_pg_open(&cfg, &pg, &err), err);
    assert_int_equal(amber_pg_exec(pg, &err, "CREATE TABLE public.no (x int)"), AMBER_E_DB);
    assert_string_equal(err.sqlstate, "25006");
    fx_contains(err.text, "default_transaction_read_only is on: ALTER ROLE or DATABASE ... RESET it");
    amber_pg_close(pg);
}

static void open_malformed_address_hides_password(void **state)
{
    static const char *const bad[] = {
        "postgresql://user:" SECRET "@host:port:5/db?x=%zz",
        "user=u password='" SECRET,
        "password " SECRET " = = x",
        "mysql://user:" SECRET "@host/db",
    };
    (void)state;
    for (size_t i = 0; i < amber_countof(bad); i++) {
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_pg *pg = NULL;
        assert_int_equal(open_pg(bad[i], NULL, &pg, &err), AMBER_E_INVALID);
        assert_hidden(&err);
    }
}

static void open_unknown_role_denied(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pg *pg = NULL;
    (void)state;

    assert_int_equal(open_pg("user=nobody_at_all password=" SECRET, NULL, &pg, &err),
                     AMBER_E_DENIED);
    assert_hidden(&err);
    assert_int_equal(open_pg("dbname=no_such_db", NULL, &pg, &err), AMBER_E_DB);
    assert_string_equal(err.sqlstate, "3D000");
}

/* A socket that takes connections and never answers. */
static int deaf_server(char *port, size_t len)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    snprintf(port, len, "%u", (unsigned)ntohs(a.sin_port));
    return fd;
}

static void open_refused_port_net(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pg *pg = NULL;
    char port[16], info[128];
    int fd = deaf_server(port, sizeof(port));
    (void)state;

    close(fd);
    snprintf(info, sizeof(info), "host=127.0.0.1 port=%s", port);
    assert_int_equal(open_pg(info, NULL, &pg, &err), AMBER_E_NET);
    fx_contains(err.text, port);
}

/* The first of two hosts is deaf: its half of the time passes, then the second is asked. */
static void open_deaf_host_goes_on_to_the_next(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pg *pg = NULL;
    char port[16], info[512];
    int fd = deaf_server(port, sizeof(port));
    (void)state;

    snprintf(info, sizeof(info), "host=127.0.0.1,%s port=%s,%s", getenv("PGHOST"), port,
             getenv("PGPORT"));
    fx_ok(open_pg(info, NULL, &pg, &err), err);
    amber_pg_close(pg);
    close(fd);
}

static void *set_cancel(void *arg)
{
    amber_cancel_set(arg);
    return NULL;
}

static void open_deaf_host_ends_by_cancel(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_cancel cancel;
    struct amber_pg *pg = NULL;
    char port[16], info[128];
    int fd = deaf_server(port, sizeof(port));
    pthread_t thread;
    (void)state;

    fx_ok(amber_cancel_init(&cancel, &err), err);
    snprintf(info, sizeof(info), "host=127.0.0.1 port=%s", port);
    assert_int_equal(pthread_create(&thread, NULL, set_cancel, &cancel), 0);
    assert_int_equal(open_pg(info, &cancel, &pg, &err), AMBER_E_CANCELED);
    pthread_join(thread, NULL);
    amber_cancel_clear(&cancel);
    close(fd);
}

/* ---- errors ---- */

static void query_failure_tells_no_value(void **state)
{
    static const struct {
        const char *sql, *sqlstate, *told;
    } cases[] = {
        {"SELECT '" SECRET "'::int", "22P02", "invalid input syntax for type integer"},
        {"SELECT 'a\"b" SECRET "\"c'::int", "22P02", "invalid input syntax for type integer"},
        {"SELECT '" SECRET "'::date", "22007", "date"},
        {"SELECT '{\"" SECRET "\"'::json", "22P02", "json"},
        {"SELECT '" SECRET "'::app.mood", "22P02", "enum app.mood"},
        {"INSERT INTO app.t VALUES (1, '" SECRET "')", "23505", "t_pkey"},
        {"INSERT INTO app.t VALUES (2, 'bad" SECRET "')", "23514", "not_bad"},
        {"INSERT INTO app.t VALUES (2, NULL)", "23502", "name"},
        {"INSERT INTO app.t VALUES (2, 'raise " SECRET "')", "P0001", "app.check_name"},
        {"INSERT INTO app.t VALUES (2, 'lie " SECRET "')", "23505", "app.check_name"},
        {"SELECT * FROM app.nothing", "42P01", "app.nothing"},
    };
    (void)state;
    fx_schema("CREATE TYPE app.mood AS ENUM ('ok');"
              "CREATE TABLE app.t (id int PRIMARY KEY, name text NOT NULL"
              " CONSTRAINT not_bad CHECK (name !~ '^bad'));"
              "INSERT INTO app.t VALUES (1, 'x');"
              "CREATE FUNCTION app.check_name() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
              " IF NEW.name ~ '^raise' THEN RAISE EXCEPTION 'it is %', NEW.name; END IF;"
              " IF NEW.name ~ '^lie' THEN RAISE unique_violation USING MESSAGE = NEW.name; END IF;"
              " RETURN NEW; END $$;"
              "CREATE TRIGGER check_name BEFORE INSERT ON app.t FOR EACH ROW"
              " EXECUTE FUNCTION app.check_name()");
    for (size_t i = 0; i < amber_countof(cases); i++) {
        struct amber_err err = AMBER_ERR_INIT;
        assert_int_equal(amber_pg_exec(fx_pg, &err, cases[i].sql), AMBER_E_DB);
        assert_string_equal(err.sqlstate, cases[i].sqlstate);
        fx_contains(err.text, cases[i].told);
        fx_contains(err.text, cases[i].sqlstate);
        assert_hidden(&err);
    }
}

static void query_parameters_any_text_arrives(void **state)
{
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    struct amber_err err = AMBER_ERR_INIT;
    const char *params[] = {"a'b\\c\"d\té", NULL, ""};
    (void)state;

    fx_ok(amber_pg_query(fx_pg, &r, &err, "SELECT $1::text, $2::text, $3::text", 3, params), err);
    assert_int_equal(amber_res_rows(r), 1);
    assert_string_equal(amber_res_get(r, 0, 0), params[0]);
    assert_null(amber_res_get(r, 0, 1));
    assert_string_equal(amber_res_get(r, 0, 2), "");
    assert_string_equal(amber_res_tag(r), "SELECT 1");
    assert_int_equal(amber_res_int(r, 0, 1), 0);
}

static void quoted_text_is_itself(void **state)
{
    static const char *const texts[] = {
        "",      "plain",      "it's",   "back\\slash", "\\'; DROP TABLE x; --",
        "\"q\"", "Ünï cöde ☃", "a\nb\tc"};
    (void)state;
    for (size_t i = 0; i < amber_countof(texts); i++) {
        for (int scs = 0; scs < 2; scs++) {
            struct amber_err err = AMBER_ERR_INIT;
            AMBER_AUTO_BUF struct amber_buf sql = AMBER_BUF_INIT(1024);
            fx_sql(fx_pg, scs ? "SET standard_conforming_strings = on"
                              : "SET standard_conforming_strings = off");
            fx_ok(amber_buf_puts(&sql, "SELECT", &err), err);
            fx_ok(amber_buf_puts(&sql, " ", &err), err);
            fx_ok(amber_sql_literal(&sql, texts[i], &err), err);
            if (*texts[i]) {
                fx_ok(amber_buf_puts(&sql, " AS ", &err), err);
                fx_ok(amber_sql_ident(&sql, texts[i], &err), err);
            }
            fx_assert_text(sql.data, texts[i]);
        }
    }
}

static void unit_retryable_knows_what_may_pass(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pg *other = fx_connect(NULL);
    (void)state;

    fx_schema("CREATE TABLE app.t (id int PRIMARY KEY)");
    fx_sql(other, "BEGIN; LOCK TABLE app.t");
    fx_sql(fx_pg, "SET lock_timeout = '50ms'");
    assert_int_equal(amber_pg_exec(fx_pg, &err, "SELECT * FROM app.t"), AMBER_E_BUSY);
    assert_string_equal(err.sqlstate, "55P03");
    assert_true(amber_pg_unit_retryable(&err));
    fx_sql(fx_pg, "RESET lock_timeout");
    amber_pg_close(other);
    assert_int_equal(amber_pg_exec(fx_pg, &err, "SELECT 1/0"), AMBER_E_DB);
    assert_false(amber_pg_unit_retryable(&err));
}

/* ---- cancel, lost connections ---- */

struct canceled_wait {
    struct amber_cancel cancel;
    struct amber_pg *watcher;
    int pid;
};

/* Wait until the server says that the other session waits or works, then set the flag. */
static void *cancel_when_active(void *arg)
{
    struct canceled_wait *w = arg;
    char sql[256];

    snprintf(sql, sizeof(sql),
             "SELECT count(*) FROM pg_stat_activity WHERE pid = %d AND state = 'active'"
             " AND query LIKE '%%pg_sleep%%'",
             w->pid);
    for (;;) {
        char *n = fx_text(w->watcher, sql);
        bool active = strcmp(n, "1") == 0;
        free(n);
        if (active)
            break;
    }
    amber_cancel_set(&w->cancel);
    return NULL;
}

static void query_running_ends_by_cancel_and_rolls_back(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct canceled_wait w = {.watcher = fx_connect(NULL)};
    struct amber_pg *pg = NULL;
    struct amber_res *r = NULL;
    pthread_t thread;
    (void)state;

    fx_ok(amber_cancel_init(&w.cancel, &err), err);
    fx_ok(open_pg(NULL, &w.cancel, &pg, &err), err);
    char *pid = fx_text(pg, "SELECT pg_backend_pid()");
    w.pid = atoi(pid);
    free(pid);
    fx_ok(amber_pg_begin(pg, "", &err), err);
    assert_int_equal(pthread_create(&thread, NULL, cancel_when_active, &w), 0);
    assert_int_equal(amber_pg_query(pg, &r, &err, "SELECT pg_sleep(1000)", 0, NULL),
                     AMBER_E_CANCELED);
    pthread_join(thread, NULL);
    assert_true(amber_pg_alive(pg));
    assert_int_equal(amber_pg_exec(pg, &err, "SELECT 1"), AMBER_E_CANCELED);
    amber_pg_rollback(pg);
    assert_true(amber_pg_alive(pg));
    amber_pg_close(pg);
    amber_pg_close(w.watcher);
    amber_cancel_clear(&w.cancel);
}

struct interrupted {
    struct amber_pg *pg, *watcher;
    int pid;
};

static void *interrupt_when_active(void *arg)
{
    struct interrupted *w = arg;
    struct canceled_wait c = {.watcher = w->watcher, .pid = w->pid};
    struct amber_err err = AMBER_ERR_INIT;

    fx_ok(amber_cancel_init(&c.cancel, &err), err);
    cancel_when_active(&c);
    amber_cancel_clear(&c.cancel);
    amber_pg_interrupt(w->pg);
    return NULL;
}

static void interrupt_other_thread_ends_statement_only(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct interrupted w = {.pg = fx_connect(NULL), .watcher = fx_connect(NULL)};
    pthread_t thread;
    (void)state;

    char *pid = fx_text(w.pg, "SELECT pg_backend_pid()");
    w.pid = atoi(pid);
    free(pid);
    assert_int_equal(pthread_create(&thread, NULL, interrupt_when_active, &w), 0);
    assert_int_equal(amber_pg_exec(w.pg, &err, "SELECT pg_sleep(1000)"), AMBER_E_CANCELED);
    pthread_join(thread, NULL);
    fx_ok(amber_pg_exec(w.pg, &err, "SELECT 1"), err);
    amber_pg_close(w.pg);
    amber_pg_close(w.watcher);
}

static void terminate(struct amber_pg *victim)
{
    char sql[128];
    char *pid = fx_text(victim, "SELECT pg_backend_pid()");

    snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%s, 10000)", pid);
    fx_sql(fx_pg, sql);
    free(pid);
}

static void query_lost_connection_net(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pg *pg = fx_connect(NULL);
    (void)state;

    fx_ok(amber_pg_begin(pg, "", &err), err);
    terminate(pg);
    assert_int_equal(amber_pg_exec(pg, &err, "SELECT 1"), AMBER_E_NET);
    assert_true(amber_pg_unit_retryable(&err));
    assert_false(amber_pg_alive(pg));
    assert_int_equal(amber_pg_exec(pg, &err, "SELECT 1"), AMBER_E_NET);
    amber_pg_rollback(pg);
    amber_pg_close(pg);
}

/* ---- COMMIT ---- */

static void commit_after_failure_says_rolled_back(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    (void)state;

    fx_schema("CREATE TABLE app.t (id int)");
    fx_ok(amber_pg_begin(fx_pg, "", &err), err);
    fx_sql(fx_pg, "INSERT INTO app.t VALUES (1)");
    assert_int_equal(amber_pg_exec(fx_pg, &err, "SELECT 1/0"), AMBER_E_DB);
    assert_int_equal(amber_pg_commit(fx_pg, &err), AMBER_E_DB);
    fx_contains(err.text, "ROLLBACK");
    fx_assert_text("SELECT count(*) FROM app.t", "0");
}

static void commit_deferred_constraint_db(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    (void)state;

    fx_schema("CREATE TABLE app.t (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)");
    fx_ok(amber_pg_begin(fx_pg, "", &err), err);
    fx_sql(fx_pg, "INSERT INTO app.t VALUES (1), (1)");
    assert_int_equal(amber_pg_commit(fx_pg, &err), AMBER_E_DB);
    assert_string_equal(err.sqlstate, "23505");
    fx_assert_text("SELECT count(*) FROM app.t", "0");
}

static void commit_lost_connection_in_doubt(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pg *pg = fx_connect(NULL);
    (void)state;

    fx_ok(amber_pg_begin(pg, "", &err), err);
    terminate(pg);
    assert_int_equal(amber_pg_commit(pg, &err), AMBER_E_NET);
    amber_pg_close(pg);
}

static void commit_cancel_set_commits(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_cancel cancel;
    struct amber_pg *pg = NULL;
    (void)state;

    fx_schema("CREATE TABLE app.t (id int)");
    fx_ok(amber_cancel_init(&cancel, &err), err);
    fx_ok(open_pg(NULL, &cancel, &pg, &err), err);
    fx_ok(amber_pg_begin(pg, "", &err), err);
    fx_sql(pg, "INSERT INTO app.t VALUES (1)");
    amber_cancel_set(&cancel);
    fx_ok(amber_pg_commit(pg, &err), err);
    fx_assert_text("SELECT count(*) FROM app.t", "1");
    amber_pg_close(pg);
    amber_cancel_clear(&cancel);
}

static void close_open_transaction_rolls_back(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pg *pg = fx_connect(NULL);
    (void)state;

    fx_schema("CREATE TABLE app.t (id int)");
    fx_ok(amber_pg_begin(pg, "", &err), err);
    fx_sql(pg, "INSERT INTO app.t VALUES (1)");
    amber_pg_close(pg);
    fx_sql(fx_pg, "LOCK TABLE app.t; SELECT 1"); /* waits for the other session's end */
    fx_assert_text("SELECT count(*) FROM app.t", "0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_server_settings_read_back),
        cmocka_unit_test(open_replica_role_refused),
        cmocka_unit_test(open_read_only_refuses_writes),
        cmocka_unit_test(open_malformed_address_hides_password),
        cmocka_unit_test(open_unknown_role_denied),
        cmocka_unit_test(open_refused_port_net),
        cmocka_unit_test(open_deaf_host_goes_on_to_the_next),
        cmocka_unit_test(open_deaf_host_ends_by_cancel),
        cmocka_unit_test(query_failure_tells_no_value),
        cmocka_unit_test(query_parameters_any_text_arrives),
        cmocka_unit_test(quoted_text_is_itself),
        cmocka_unit_test(unit_retryable_knows_what_may_pass),
        cmocka_unit_test(query_running_ends_by_cancel_and_rolls_back),
        cmocka_unit_test(interrupt_other_thread_ends_statement_only),
        cmocka_unit_test(query_lost_connection_net),
        cmocka_unit_test(commit_after_failure_says_rolled_back),
        cmocka_unit_test(commit_deferred_constraint_db),
        cmocka_unit_test(commit_lost_connection_in_doubt),
        cmocka_unit_test(commit_cancel_set_commits),
        cmocka_unit_test(close_open_transaction_rolls_back),
    };
    return cmocka_run_group_tests(tests, fx_open, fx_close);
}
