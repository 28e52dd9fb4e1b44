/*
 * test_catalog.c - the catalog on a real server: installing, the fence and its races, names,
 * archives, results, pins, restores, views. Runs under tests/lib/with-pg.
 */
#include "unit_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "amber/catalog.h"
#include "amber/catalog_replicas.h"

#define STORE "11111111-2222-4333-8444-555555555555"
#define OTHER_STORE "99999999-2222-4333-8444-555555555555"

/* No catalog, no views. */
static void wipe(void)
{
    amber_pg_rollback(fx_pg);
    fx_sql(fx_pg, "DROP SCHEMA IF EXISTS amberfs CASCADE;"
                  "DROP TABLE IF EXISTS public.archived_partitions");
}

static void install(struct amber_pg *pg)
{
    struct amber_err err = AMBER_ERR_INIT;
    bool made;

    fx_ok(amber_catalog_install(pg, &made, &err), err);
}

static void fresh(void)
{
    wipe();
    install(fx_pg);
}

static struct amber_run new_run(const char *job)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_run run = {.store_id = STORE, .job = job, .host = "host.example", .pid = 42};

    fx_ok(amber_uuid_new(run.run_id, &err), err);
    return run;
}

static struct amber_run begun(const char *job)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_run run = new_run(job);

    fx_ok(amber_catalog_run_begin(fx_pg, &run, &err), err);
    return run;
}

struct names_of_archive {
    char id[AMBER_UUID_LEN], key[128], manifest[160];
};

static struct amber_archive_row archive(struct names_of_archive *n, const struct amber_run *run,
                                        const char *logical)
{
    struct amber_err err = AMBER_ERR_INIT;

    fx_ok(amber_uuid_new(n->id, &err), err);
    snprintf(n->key, sizeof(n->key), "%s.gz", logical);
    snprintf(n->manifest, sizeof(n->manifest), ".amberfs/manifests/%s/x.json", n->key);
    return (struct amber_archive_row){
        .archive_id = n->id,
        .run_id = run->run_id,
        .job = run->job,
        .logical = logical,
        .key = n->key,
        .manifest_key = n->manifest,
        .manifest_sha256 = {{1, 2, 3, 255}},
        .table_schema = "app",
        .table_name = "events",
        .start_day = DAY(2024, 1, 1),
        .end_day = DAY(2024, 3, 31),
        .rows = 1000,
        .raw_bytes = 500000,
        .stored_bytes = 40000,
    };
}

static void assert_state(const struct amber_run *run, const char *expected)
{
    struct amber_err err = AMBER_ERR_INIT;
    char state[16];

    fx_ok(amber_catalog_run_state(fx_pg, run->run_id, state, &err), err);
    assert_string_equal(state, expected);
}

/* ---- installing ---- */

static void install_twice_made_once(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    char id[AMBER_UUID_LEN], again[AMBER_UUID_LEN];
    bool made;
    (void)state;

    wipe();
    assert_int_equal(amber_catalog_id(fx_pg, id, &err), AMBER_E_NOT_FOUND);
    fx_contains(err.text, "amberfs init");
    fx_ok(amber_catalog_install(fx_pg, &made, &err), err);
    assert_true(made);
    fx_ok(amber_catalog_id(fx_pg, id, &err), err);
    assert_true(amber_uuid_valid(id));
    fx_ok(amber_catalog_install(fx_pg, &made, &err), err);
    assert_false(made);
    fx_ok(amber_catalog_id(fx_pg, again, &err), err);
    assert_string_equal(id, again);
    fx_assert_text("SELECT count(*) FROM public.archived_partitions", "0");
    bool primary = false;
    fx_ok(amber_catalog_is_primary(fx_pg, &primary, &err), err);
    assert_true(primary);
}

static int install_child(int go)
{
    struct amber_pg_config cfg = {.purpose = "install"};
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pg *pg = NULL;
    bool made = false;
    char byte;

    if (amber_pg_open(&cfg, &pg, &err) || read(go, &byte, 1) < 0 ||
        amber_catalog_install(pg, &made, &err)) {
        print_error("%s\n", err.text);
        _exit(2);
    }
    amber_pg_close(pg);
    _exit(made);
}

static void install_by_four_processes_made_once(void **state)
{
    int pipe_fds[2], made = 0;
    (void)state;

    wipe();
    assert_int_equal(pipe(pipe_fds), 0);
    for (int i = 0; i < 4; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            close(pipe_fds[1]);
            install_child(pipe_fds[0]);
        }
    }
    close(pipe_fds[1]); /* they start together */
    for (int i = 0; i < 4; i++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
        made += WEXITSTATUS(status);
    }
    close(pipe_fds[0]);
    assert_int_equal(made, 1);
    fx_assert_text("SELECT count(*) FROM amberfs.meta", "1");
}

static void install_foreign_view_name_changes_nothing(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    bool made;
    (void)state;

    wipe();
    fx_sql(fx_pg, "CREATE TABLE public.archived_partitions (mine int)");
    assert_int_equal(amber_catalog_install(fx_pg, &made, &err), AMBER_E_EXISTS);
    fx_contains(err.text, "public.archived_partitions");
    fx_contains(err.text, "RENAME");
    fx_assert_text("SELECT to_regnamespace('amberfs')", "");
    fx_assert_text("SELECT count(*) FROM public.archived_partitions", "0");
    fx_sql(fx_pg, "ALTER TABLE public.archived_partitions RENAME TO archived_partitions_old");
    install(fx_pg);
    fx_sql(fx_pg, "DROP TABLE public.archived_partitions_old");
}

static void install_without_right_names_the_sql(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    bool made;
    (void)state;

    wipe();
    fx_sql(fx_pg, "REVOKE CREATE ON SCHEMA public FROM public; CREATE ROLE \"Small User\" LOGIN");
    struct amber_pg *pg = fx_connect("user='Small User'");
    assert_int_equal(amber_catalog_install(pg, &made, &err), AMBER_E_DENIED);
    fx_contains(err.text, "CREATE SCHEMA amberfs AUTHORIZATION \"Small User\"");
    fx_contains(err.text, "GRANT CREATE ON SCHEMA public TO \"Small User\"");
    /* The text is the remedy. */
    fx_sql(fx_pg, "CREATE SCHEMA amberfs AUTHORIZATION \"Small User\";"
                  "GRANT CREATE ON SCHEMA public TO \"Small User\"");
    fx_ok(amber_catalog_install(pg, &made, &err), err);
    assert_true(made);
    amber_pg_close(pg);
    wipe();
    fx_sql(fx_pg, "DROP OWNED BY \"Small User\"; DROP ROLE \"Small User\"");
}

static void install_newer_version_refused(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    char id[AMBER_UUID_LEN];
    bool made;
    (void)state;

    fresh();
    fx_sql(fx_pg, "UPDATE amberfs.meta SET version = 99");
    assert_int_equal(amber_catalog_install(fx_pg, &made, &err), AMBER_E_UNSUPPORTED);
    assert_int_equal(amber_catalog_id(fx_pg, id, &err), AMBER_E_UNSUPPORTED);
    fx_contains(err.text, "99");
}

/* A catalog as version 1 made it, with what it holds. */
static void install_over_version_1_upgrades(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    bool made;
    uint64_t n = 0;
    (void)state;

    fresh();
    struct amber_run run = begun("j");
    fx_sql(fx_pg, "DROP TABLE amberfs.replications; UPDATE amberfs.meta SET version = 1;"
                  "UPDATE amberfs.runs SET state = 'committed', ended_at = now()");
    fx_ok(amber_catalog_install(fx_pg, &made, &err), err);
    assert_false(made);
    fx_assert_text("SELECT version FROM amberfs.meta", "2");
    assert_state(&run, "committed");
    fx_ok(amber_catalog_replica_catch_up(fx_pg, run.store_id, "west", &n, &err), err);
    assert_int_equal(n, 1);
}

static void install_tables_and_columns_are_explained(void **state)
{
    (void)state;
    fresh();
    fx_assert_text("SELECT string_agg(relname, ',') FROM pg_class"
                   " WHERE relnamespace = 'amberfs'::regnamespace AND relkind = 'r'"
                   " AND obj_description(oid) IS NULL",
                   "");
    fx_assert_text("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
                   " AND relkind = 'v' AND obj_description(oid) LIKE 'amberfs:%'",
                   "2");
}

/* ---- the fence ---- */

static void run_commit_then_abort_misses(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct names_of_archive n;
    bool hit = true;
    (void)state;

    fresh();
    struct amber_run run = begun("job");
    assert_state(&run, "running");
    fx_ok(amber_catalog_name_reserve(fx_pg, &run, "e/e_1.json", &err), err);
    struct amber_archive_row row = archive(&n, &run, "e/e_1.json");
    fx_ok(amber_pg_begin(fx_pg, "ISOLATION LEVEL REPEATABLE READ", &err), err);
    fx_ok(amber_catalog_run_commit(fx_pg, &run, &row, 1, &err), err);
    fx_ok(amber_pg_commit(fx_pg, &err), err);
    assert_state(&run, "committed");
    fx_ok(amber_catalog_run_abort(fx_pg, run.run_id, "why", &hit, &err), err);
    assert_false(hit);
    assert_state(&run, "committed");
    fx_ok(amber_catalog_names_release(fx_pg, run.run_id, &err), err);
    fx_assert_text("SELECT count(*) FROM amberfs.names", "1");
}

static void run_commit_after_abort_fenced_off(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pg *other = fx_connect(NULL);
    (void)state;

    fresh();
    for (int seen = 0; seen < 2; seen++) {
        /* The abort is before, or behind, the snapshot of the unit's transaction. */
        struct amber_run run = begun("job");
        bool hit = false;
        if (seen)
            fx_ok(amber_catalog_run_abort(other, run.run_id, "gone", &hit, &err), err);
        fx_ok(amber_pg_begin(fx_pg, "ISOLATION LEVEL REPEATABLE READ", &err), err);
        fx_sql(fx_pg, "SELECT 1 FROM amberfs.runs");
        if (!seen)
            fx_ok(amber_catalog_run_abort(other, run.run_id, "gone", &hit, &err), err);
        assert_true(hit);
        assert_int_equal(amber_catalog_run_commit(fx_pg, &run, NULL, 0, &err), AMBER_E_BUSY);
        assert_true(amber_pg_unit_retryable(&err));
        amber_pg_rollback(fx_pg);
        assert_state(&run, "aborted");
        assert_int_equal(amber_catalog_name_reserve(fx_pg, &run, "late.json", &err), AMBER_E_BUSY);
    }
    fx_assert_text("SELECT error FROM amberfs.runs LIMIT 1", "gone");
    amber_pg_close(other);
}

struct aborter {
    struct amber_pg *pg;
    const char *run_id;
    bool hit;
};

static void *abort_run(void *arg)
{
    struct aborter *a = arg;
    struct amber_err err = AMBER_ERR_INIT;

    fx_ok(amber_catalog_run_abort(a->pg, a->run_id, "doubt", &a->hit, &err), err);
    return NULL;
}

/* The abort waits for a transaction in doubt, and then does what that decided. */
static void run_abort_waits_for_a_commit_in_doubt(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct aborter a = {.pg = fx_connect(NULL)};
    (void)state;

    fresh();
    for (int commit = 0; commit < 2; commit++) {
        struct amber_run run = begun("job");
        pthread_t thread;
        a.run_id = run.run_id;
        fx_ok(amber_pg_begin(fx_pg, "ISOLATION LEVEL REPEATABLE READ", &err), err);
        fx_ok(amber_catalog_run_commit(fx_pg, &run, NULL, 0, &err), err);
        assert_int_equal(pthread_create(&thread, NULL, abort_run, &a), 0);
        while (fx_int("SELECT count(*) FROM pg_locks WHERE NOT granted") == 0)
            ;
        if (commit)
            fx_ok(amber_pg_commit(fx_pg, &err), err);
        else
            amber_pg_rollback(fx_pg);
        pthread_join(thread, NULL);
        assert_int_equal(a.hit, !commit);
        assert_state(&run, commit ? "committed" : "aborted");
    }
    amber_pg_close(a.pg);
}

static void run_state_unknown_not_found(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_run run = new_run("job");
    char word[16];
    bool known = true;
    (void)state;

    fresh();
    assert_int_equal(amber_catalog_run_state(fx_pg, run.run_id, word, &err), AMBER_E_NOT_FOUND);
    fx_ok(amber_catalog_run_known(fx_pg, run.run_id, &known, &err), err);
    assert_false(known);
}

/* ---- names ---- */

static void name_reserve_taken_exists(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    bool hit;
    (void)state;

    fresh();
    struct amber_run a = begun("job"), b = begun("job");
    struct amber_run elsewhere = new_run("job");
    memcpy(elsewhere.store_id, OTHER_STORE, sizeof(elsewhere.store_id));
    fx_ok(amber_catalog_run_begin(fx_pg, &elsewhere, &err), err);
    fx_ok(amber_catalog_name_reserve(fx_pg, &a, "e/Ünï \"q\".json", &err), err);
    assert_int_equal(amber_catalog_name_reserve(fx_pg, &b, "e/Ünï \"q\".json", &err),
                     AMBER_E_EXISTS);
    fx_ok(amber_catalog_name_reserve(fx_pg, &elsewhere, "e/Ünï \"q\".json", &err), err);
    /* Not freed while the run may still commit. */
    fx_ok(amber_catalog_names_release(fx_pg, a.run_id, &err), err);
    assert_int_equal(amber_catalog_name_reserve(fx_pg, &b, "e/Ünï \"q\".json", &err),
                     AMBER_E_EXISTS);
    fx_ok(amber_catalog_run_abort(fx_pg, a.run_id, NULL, &hit, &err), err);
    fx_ok(amber_catalog_names_release(fx_pg, a.run_id, &err), err);
    fx_ok(amber_catalog_name_reserve(fx_pg, &b, "e/Ünï \"q\".json", &err), err);
}

static enum amber_rc append_name(void *arg, const char *logical, struct amber_err *err)
{
    struct amber_buf *b = arg;
    return amber_buf_printf(b, err, "%s;", logical);
}

static enum amber_rc append_run(void *arg, const struct amber_run_row *run, struct amber_err *err)
{
    struct amber_buf *b = arg;
    assert_int_equal(run->pid, 42);
    assert_string_equal(run->host, "host.example");
    assert_true(run->started_us > US(2020, 1, 1));
    return amber_buf_printf(b, err, "%s/%d;", run->job, (int)run->age_days);
}

static void runs_filters_and_order(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_BUF struct amber_buf out = AMBER_BUF_INIT(4096);
    bool hit;
    (void)state;

    fresh();
    struct amber_run a = begun("a"), b = begun("b"), c = begun("c");
    fx_sql(fx_pg, "UPDATE amberfs.runs SET started_at = started_at - interval '50 hours'"
                  " WHERE job = 'c'");
    fx_ok(amber_catalog_name_reserve(fx_pg, &b, "b2.json", &err), err);
    fx_ok(amber_catalog_name_reserve(fx_pg, &b, "b1.json", &err), err);
    fx_ok(amber_catalog_runs(fx_pg, STORE, "running", NULL, false, append_run, &out, &err), err);
    assert_string_equal(out.data, "c/2;a/0;b/0;");
    out.len = 0;
    fx_ok(amber_catalog_runs(fx_pg, STORE, "running", "a", false, append_run, &out, &err), err);
    assert_string_equal(out.data, "a/0;");
    out.len = 0;
    fx_ok(amber_catalog_run_abort(fx_pg, a.run_id, "x", &hit, &err), err);
    fx_ok(amber_catalog_run_abort(fx_pg, b.run_id, "x", &hit, &err), err);
    fx_ok(amber_catalog_run_abort(fx_pg, c.run_id, "x", &hit, &err), err);
    fx_ok(amber_catalog_runs(fx_pg, STORE, "aborted", NULL, true, append_run, &out, &err), err);
    assert_string_equal(out.data, "b/0;");
    out.len = 0;
    fx_ok(amber_catalog_names(fx_pg, b.run_id, append_name, &out, &err), err);
    assert_string_equal(out.data, "b1.json;b2.json;");
    out.len = 0;
    fx_ok(amber_catalog_runs(fx_pg, OTHER_STORE, "aborted", NULL, false, append_run, &out, &err),
          err);
    assert_int_equal(out.len, 0);
}

/* ---- archives ---- */

static enum amber_rc append_archive(void *arg, const struct amber_archive_row *row,
                                    struct amber_err *err)
{
    struct amber_buf *b = arg;
    struct amber_sha256 expected = {{1, 2, 3, 255}};

    assert_true(amber_sha256_equal(&row->manifest_sha256, &expected));
    assert_true(row->archived_us > US(2020, 1, 1));
    assert_string_equal(row->table_schema, "app");
    return amber_buf_printf(b, err, "%s|%s|%s|%lld|%lld|%llu|%llu|%llu;", row->logical, row->key,
                            row->parent_table ? row->parent_table : "-", (long long)row->start_day,
                            (long long)row->end_day, (unsigned long long)row->rows,
                            (unsigned long long)row->raw_bytes,
                            (unsigned long long)row->stored_bytes);
}

static enum amber_rc refuse_archive(void *arg, const struct amber_archive_row *row,
                                    struct amber_err *err)
{
    ++*(int *)arg;
    return amber_fail(err, AMBER_E_LIMIT, "enough of %s", row->logical);
}

static void archives_come_back_as_they_were(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_BUF struct amber_buf out = AMBER_BUF_INIT(4096);
    struct names_of_archive n[2];
    struct amber_archive_row rows[2];
    struct amber_pg *listener = fx_connect(NULL);
    (void)state;

    fresh();
    struct amber_run run = begun("job");
    fx_ok(amber_catalog_name_reserve(fx_pg, &run, "e/b.json", &err), err);
    fx_ok(amber_catalog_name_reserve(fx_pg, &run, "e/B.json", &err), err);
    rows[0] = archive(&n[0], &run, "e/b.json");
    rows[1] = archive(&n[1], &run, "e/B.json");
    rows[1].parent_table = "app.\"Eltern\"";
    rows[1].start_day = -5;
    rows[1].rows = (UINT64_C(1) << 53) - 1;
    fx_ok(amber_pg_begin(fx_pg, "ISOLATION LEVEL REPEATABLE READ", &err), err);
    fx_ok(amber_catalog_run_commit(fx_pg, &run, rows, 2, &err), err);
    fx_ok(amber_pg_commit(fx_pg, &err), err);

    fx_ok(amber_catalog_archives(fx_pg, STORE, NULL, append_archive, &out, &err), err);
    assert_string_equal(
        out.data, "e/B.json|e/B.json.gz|app.\"Eltern\"|-5|19813|9007199254740991|500000|40000;"
                  "e/b.json|e/b.json.gz|-|19723|19813|1000|500000|40000;");
    out.len = 0;
    struct amber_run none = new_run("job");
    fx_ok(amber_catalog_archives(fx_pg, STORE, none.run_id, append_archive, &out, &err), err);
    fx_ok(amber_catalog_archives(fx_pg, OTHER_STORE, NULL, append_archive, &out, &err), err);
    assert_int_equal(out.len, 0);

    int calls = 0;
    assert_int_equal(amber_catalog_archives(fx_pg, STORE, run.run_id, refuse_archive, &calls, &err),
                     AMBER_E_LIMIT);
    assert_int_equal(calls, 1);
    fx_assert_text("SELECT table_name || ' ' || partition_name || ' ' || archive_path || ' '"
                   " || start_date || ' ' || row_count || ' ' || compressed_size"
                   " FROM public.archived_partitions WHERE parent_table IS NULL",
                   "events b e/b.json.gz 2024-01-01 1000 40000");
    amber_pg_close(listener);
}

/* Names are reserved on another connection, after the unit's snapshot was taken. */
static void run_commit_name_behind_snapshot_goes(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pg *other = fx_connect(NULL);
    struct names_of_archive n;
    (void)state;

    fresh();
    struct amber_run run = begun("job");
    struct amber_archive_row row = archive(&n, &run, "e/late.json");
    fx_ok(amber_pg_begin(fx_pg, "ISOLATION LEVEL REPEATABLE READ", &err), err);
    fx_sql(fx_pg, "SELECT 1 FROM amberfs.runs");
    fx_ok(amber_catalog_name_reserve(other, &run, "e/late.json", &err), err);
    fx_ok(amber_catalog_run_commit(fx_pg, &run, &row, 1, &err), err);
    fx_ok(amber_pg_commit(fx_pg, &err), err);
    assert_state(&run, "committed");
    amber_pg_close(other);
}

static void run_adopt_unknown_and_fenced_runs(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_BUF struct amber_buf out = AMBER_BUF_INIT(4096);
    struct names_of_archive n[3];
    bool hit;
    (void)state;

    fresh();
    struct amber_run lost = new_run("job"), fenced = begun("job"), thief = new_run("job");
    fx_ok(amber_catalog_run_abort(fx_pg, fenced.run_id, "old time line", &hit, &err), err);
    struct amber_archive_row a = archive(&n[0], &lost, "e/1.json");
    struct amber_archive_row b = archive(&n[1], &fenced, "e/2.json");
    struct amber_archive_row c = archive(&n[2], &thief, "e/2.json");
    fx_ok(amber_pg_begin(fx_pg, "", &err), err);
    fx_ok(amber_catalog_run_adopt(fx_pg, &lost, &a, 1, &err), err);
    fx_ok(amber_catalog_run_adopt(fx_pg, &fenced, &b, 1, &err), err);
    fx_ok(amber_pg_commit(fx_pg, &err), err);
    assert_state(&lost, "committed");
    assert_state(&fenced, "committed");
    fx_ok(amber_catalog_archives(fx_pg, STORE, NULL, append_archive, &out, &err), err);
    fx_contains(out.data, "e/1.json");
    fx_contains(out.data, "e/2.json");
    fx_ok(amber_pg_begin(fx_pg, "", &err), err);
    assert_int_equal(amber_catalog_run_adopt(fx_pg, &lost, &a, 1, &err), AMBER_E_EXISTS);
    assert_int_equal(amber_catalog_run_adopt(fx_pg, &thief, &c, 1, &err), AMBER_E_EXISTS);
    amber_pg_rollback(fx_pg);
}

static void size_stats_sum_partitions_and_archives(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct names_of_archive n[2];
    struct amber_archive_row rows[2];
    (void)state;

    fresh();
    fx_schema(
        "CREATE TABLE app.events (at date) PARTITION BY RANGE (at);"
        "CREATE TABLE app.e1 PARTITION OF app.events FOR VALUES FROM ('2024-01-01') TO"
        " ('2024-02-01');"
        "CREATE TABLE app.e2 PARTITION OF app.events FOR VALUES FROM ('2024-02-01') TO"
        " ('2024-03-01');"
        "CREATE TABLE app.plain (x text);"
        "INSERT INTO app.events SELECT DATE '2024-01-01' + i % 40 FROM generate_series(1,999) i;"
        "ANALYZE app.events");
    struct amber_run run = begun("job");
    fx_ok(amber_catalog_name_reserve(fx_pg, &run, "e/1.json", &err), err);
    fx_ok(amber_catalog_name_reserve(fx_pg, &run, "e/2.json", &err), err);
    rows[0] = archive(&n[0], &run, "e/1.json");
    rows[1] = archive(&n[1], &run, "e/2.json");
    rows[1].table_name = "gone";
    fx_ok(amber_pg_begin(fx_pg, "", &err), err);
    fx_ok(amber_catalog_run_commit(fx_pg, &run, rows, 2, &err), err);
    fx_ok(amber_pg_commit(fx_pg, &err), err);
    fx_assert_text("SELECT string_agg(table_name, ',') FROM public.database_size_stats"
                   " WHERE table_schema = 'app'",
                   "events,gone,plain");
    fx_assert_text("SELECT archived_rows || ' ' || compressed_size || ' ' || archives || ' '"
                   " || (total_size = pg_total_relation_size('app.e1')"
                   "     + pg_total_relation_size('app.e2'))"
                   " FROM public.database_size_stats WHERE table_name = 'events'",
                   "1000 40000 1 true");
    fx_assert_text("SELECT total_size || ' ' || archived_rows FROM public.database_size_stats"
                   " WHERE table_name = 'gone'",
                   "0 1000");
}

/* ---- the queue of the replicas ---- */

/* A committed run with one archive, queued for west in its transaction. */
static struct amber_run committed_and_queued(const char *logical)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct names_of_archive n;
    struct amber_run run = begun("j");
    struct amber_archive_row row = archive(&n, &run, logical);

    fx_ok(amber_pg_begin(fx_pg, "ISOLATION LEVEL REPEATABLE READ", &err), err);
    fx_ok(amber_catalog_run_commit(fx_pg, &run, &row, 1, &err), err);
    fx_ok(amber_catalog_replica_queue(fx_pg, &run, "west", 0, &err), err);
    fx_ok(amber_pg_commit(fx_pg, &err), err);
    return run;
}

static struct amber_replica_lag lag_of(const char *replica)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_replica_lag lag;

    fx_ok(amber_catalog_replica_lag(fx_pg, STORE, replica, &lag, &err), err);
    return lag;
}

static void queued_run_is_taken_once_and_done(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    char taken[AMBER_UUID_LEN], second[AMBER_UUID_LEN];
    bool found;
    (void)state;

    fresh();
    struct amber_run run = committed_and_queued("e/a.json");
    struct amber_pg *other = fx_connect(NULL);
    struct amber_replica_lag lag = lag_of("west");
    assert_int_equal(lag.runs, 1);
    assert_int_equal(lag.archives, 1);
    assert_int_equal(lag.bytes, 40000);
    assert_true(lag.oldest_us > 0);
    fx_ok(amber_catalog_replica_take(fx_pg, STORE, "west", false, taken, &found, &err), err);
    assert_true(found);
    assert_string_equal(taken, run.run_id);
    /* Another process finds nothing while it is held, nor settles it. */
    fx_ok(amber_catalog_replica_take(other, STORE, "west", false, second, &found, &err), err);
    assert_false(found);
    fx_ok(amber_catalog_replica_settle(other, STORE, "west", run.run_id, &err), err);
    /* A holder that dies lets go. */
    amber_pg_rollback(fx_pg);
    fx_ok(amber_catalog_replica_take(other, STORE, "west", false, second, &found, &err), err);
    assert_true(found);
    fx_ok(amber_catalog_replica_done(other, STORE, "west", second, &err), err);
    fx_ok(amber_catalog_replica_take(fx_pg, STORE, "west", false, taken, &found, &err), err);
    assert_false(found);
    lag = lag_of("west");
    assert_int_equal(lag.runs, 0);
    assert_int_equal(lag.oldest_us, 0);
    assert_true(lag.copied_us > 0);
    amber_pg_close(other);
}

static void failed_copy_waits_and_keeps_its_error(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    char taken[AMBER_UUID_LEN];
    bool found;
    (void)state;

    fresh();
    committed_and_queued("e/a.json");
    fx_ok(amber_catalog_replica_take(fx_pg, STORE, "west", false, taken, &found, &err), err);
    fx_ok(amber_catalog_replica_failed(fx_pg, STORE, "west", taken, "disk full", &err), err);
    assert_string_equal(lag_of("west").error, "disk full");
    fx_ok(amber_catalog_replica_take(fx_pg, STORE, "west", false, taken, &found, &err), err);
    assert_false(found);
    fx_assert_text("SELECT tries::text || (next_try_at > clock_timestamp()) FROM amberfs.replications", "1true");
    fx_ok(amber_catalog_replica_take(fx_pg, STORE, "west", true, taken, &found, &err), err);
    assert_true(found);
    amber_pg_rollback(fx_pg);
    fx_ok(amber_catalog_replica_settle(fx_pg, STORE, "west", taken, &err), err);
    assert_int_equal(lag_of("west").runs, 0);
}

static void new_replica_catches_up_with_committed_runs(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    uint64_t n = 0;
    (void)state;

    fresh();
    committed_and_queued("e/a.json");
    committed_and_queued("e/b.json");
    begun("j"); /* running: not yet */
    fx_ok(amber_catalog_replica_catch_up(fx_pg, STORE, "east", &n, &err), err);
    assert_int_equal(n, 2);
    assert_int_equal(lag_of("east").archives, 2);
    fx_ok(amber_catalog_replica_catch_up(fx_pg, STORE, "east", &n, &err), err);
    assert_int_equal(n, 0);
    fx_ok(amber_catalog_replica_catch_up(fx_pg, STORE, "west", &n, &err), err);
    assert_int_equal(n, 0);
    assert_int_equal(lag_of("nobody").runs, 0);
}

/* ---- results, pins, restores ---- */

static void job_result_is_kept(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_job_result in = {.started_us = US(2024, 5, 1) + 123456,
                                  .finished_us = US(2024, 5, 1) + 999999,
                                  .state = "failed",
                                  .error = "it's \"so\" \\ é",
                                  .rows = 1,
                                  .bytes = UINT64_C(1) << 40,
                                  .archives = 3,
                                  .rows_stayed = 4};
    struct amber_job_result out;
    (void)state;

    fresh();
    fx_ok(amber_catalog_job_result_get(fx_pg, STORE, "job", &out, &err), err);
    assert_int_equal(out.started_us, 0);
    assert_string_equal(out.state, "");
    fx_ok(amber_catalog_job_result_put(fx_pg, STORE, "job", &out, &err), err);
    fx_ok(amber_catalog_job_result_put(fx_pg, STORE, "job", &in, &err), err);
    fx_ok(amber_catalog_job_result_get(fx_pg, STORE, "job", &out, &err), err);
    assert_int_equal(out.started_us, in.started_us);
    assert_int_equal(out.finished_us, in.finished_us);
    assert_string_equal(out.state, in.state);
    assert_string_equal(out.error, in.error);
    assert_int_equal(out.bytes, in.bytes);
    assert_int_equal(out.rows_stayed, 4);
}

static enum amber_rc append_pin(void *arg, const struct amber_pin_row *pin, struct amber_err *err)
{
    struct amber_buf *b = arg;
    return amber_buf_printf(b, err, "%s.%s %lld-%lld %s;", pin->table_schema, pin->table_name,
                            (long long)pin->from_day, (long long)pin->to_day, pin->reason);
}

static void pins_hold_until_their_time(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_BUF struct amber_buf out = AMBER_BUF_INIT(4096);
    (void)state;

    fresh();
    struct amber_pin_row pin = {"app", "events", 10, 20, 0, "one"};
    fx_ok(amber_catalog_pin_add(fx_pg, &pin, AMBER_DAY_US, &err), err);
    pin.reason = "past";
    pin.to_day = 21;
    fx_ok(amber_catalog_pin_add(fx_pg, &pin, -1000000, &err), err);
    pin = (struct amber_pin_row){"app", "logs", INT64_MIN, INT64_MAX, 0, "all"};
    fx_ok(amber_catalog_pin_add(fx_pg, &pin, AMBER_DAY_US, &err), err);
    fx_ok(amber_catalog_pins(fx_pg, "app", "events", append_pin, &out, &err), err);
    assert_string_equal(out.data, "app.events 10-20 one;");
    fx_ok(amber_catalog_pins(fx_pg, NULL, NULL, append_pin, &out, &err), err);
    fx_contains(out.data, "app.logs");
    assert_null(strstr(out.data, "past"));
}

static enum amber_rc last_until(void *arg, const struct amber_pin_row *pin, struct amber_err *err)
{
    int64_t *until = arg;
    (void)err;
    *until = pin->until_us;
    return AMBER_OK;
}

static void pins_of_the_same_days_are_one_until_the_latest_time(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_BUF struct amber_buf out = AMBER_BUF_INIT(4096);
    int64_t until = 0, latest = 0;
    (void)state;

    fresh();
    struct amber_pin_row pin = {"app", "events", 10, 20, 0, "one"};
    fx_ok(amber_catalog_pin_add(fx_pg, &pin, AMBER_DAY_US, &err), err);
    fx_ok(amber_catalog_pins(fx_pg, "app", "events", last_until, &until, &err), err);
    fx_ok(amber_catalog_pin_add(fx_pg, &pin, 3 * AMBER_DAY_US, &err), err);
    fx_ok(amber_catalog_pins(fx_pg, "app", "events", last_until, &latest, &err), err);
    assert_true(latest >= until + 2 * AMBER_DAY_US);
    fx_ok(amber_catalog_pin_add(fx_pg, &pin, 2 * AMBER_DAY_US, &err), err);
    fx_ok(amber_catalog_pins(fx_pg, "app", "events", append_pin, &out, &err), err);
    assert_string_equal(out.data, "app.events 10-20 one;");
    fx_ok(amber_catalog_pins(fx_pg, "app", "events", last_until, &until, &err), err);
    assert_int_equal(until, latest);
}

static void restore_is_remembered_per_table(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_run run = new_run("x");
    bool before = true;
    (void)state;

    fresh();
    fx_ok(amber_catalog_restored_before(fx_pg, run.run_id, "app", "t", &before, &err), err);
    assert_false(before);
    fx_ok(amber_catalog_restore_add(fx_pg, run.run_id, "app", "t", 10, 0, &err), err);
    fx_ok(amber_catalog_restore_add(fx_pg, NULL, "app", "other", 10, 0, &err), err);
    fx_ok(amber_catalog_restored_before(fx_pg, run.run_id, "app", "t", &before, &err), err);
    assert_true(before);
    fx_ok(amber_catalog_restored_before(fx_pg, run.run_id, "app", "other", &before, &err), err);
    assert_false(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(install_twice_made_once),
        cmocka_unit_test(install_by_four_processes_made_once),
        cmocka_unit_test(install_foreign_view_name_changes_nothing),
        cmocka_unit_test(install_without_right_names_the_sql),
        cmocka_unit_test(install_newer_version_refused),
        cmocka_unit_test(install_over_version_1_upgrades),
        cmocka_unit_test(install_tables_and_columns_are_explained),
        cmocka_unit_test(run_commit_then_abort_misses),
        cmocka_unit_test(run_commit_after_abort_fenced_off),
        cmocka_unit_test(run_abort_waits_for_a_commit_in_doubt),
        cmocka_unit_test(run_state_unknown_not_found),
        cmocka_unit_test(name_reserve_taken_exists),
        cmocka_unit_test(runs_filters_and_order),
        cmocka_unit_test(archives_come_back_as_they_were),
        cmocka_unit_test(run_commit_name_behind_snapshot_goes),
        cmocka_unit_test(run_adopt_unknown_and_fenced_runs),
        cmocka_unit_test(size_stats_sum_partitions_and_archives),
        cmocka_unit_test(job_result_is_kept),
        cmocka_unit_test(queued_run_is_taken_once_and_done),
        cmocka_unit_test(failed_copy_waits_and_keeps_its_error),
        cmocka_unit_test(new_replica_catches_up_with_committed_runs),
        cmocka_unit_test(pins_hold_until_their_time),
        cmocka_unit_test(pins_of_the_same_days_are_one_until_the_latest_time),
        cmocka_unit_test(restore_is_remembered_per_table),
    };
    return cmocka_run_group_tests(tests, fx_open, fx_close);
}
