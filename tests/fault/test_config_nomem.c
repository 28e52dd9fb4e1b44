/*
 * test_config_nomem.c - the n-th allocation fails, for every n, while command line, env file,
 * variables and jobs file are read: NOMEM, outputs untouched, nothing lost, and the next try works.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "amber/config.h"
#include "amber/jobdef.h"
#include "nth.h"
#include "options.h"

/* Run try with each allocation failing in turn, until one run has none that fails. */
static void fail_each(enum amber_rc (*try)(struct amber_err *err))
{
    for (unsigned long n = 1;; n++) {
        struct amber_err err = AMBER_ERR_INIT;
        nth_arm(NTH_ALLOC, n, false);
        enum amber_rc rc = try(&err);
        bool reached = nth_calls() >= n;
        nth_arm(NTH_ALLOC, 0, false);
        if (!reached) {
            if (rc)
                fail_msg("without a failure: %s", err.text);
            return;
        }
        if (rc != AMBER_E_NOMEM || err.code != AMBER_E_NOMEM)
            fail_msg("allocation %lu: %s \"%s\"", n, amber_rc_name(rc), err.text);
        assert_true(n < 10000);
    }
}

static enum amber_rc options_try(struct amber_err *err)
{
    static char *argv[] = {(char *)"amberfs",
                           (char *)"/srv/a",
                           (char *)"/m",
                           (char *)"-o",
                           (char *)"ro,allow_other,nosuid,group=g,env_file=e",
                           (char *)"--jobs",
                           (char *)"j",
                           (char *)"--env-file",
                           (char *)"e2",
                           NULL};
    struct amber_options o = {.n_args = 77};
    enum amber_rc rc = amber_options_read(9, argv, &o, err);
    if (rc)
        assert_int_equal(o.n_args, 77);
    else
        amber_options_clear(&o);
    return rc;
}

static void options_without_memory_fail_clean(void **state)
{
    (void)state;
    fail_each(options_try);
}

static enum amber_rc help_try(struct amber_err *err)
{
    struct amber_buf text AMBER_AUTO_BUF = AMBER_BUF_INIT(1U << 20);
    enum amber_command c = AMBER_COMMAND_MOUNT;
    enum amber_rc rc = amber_options_help(NULL, &text, err);
    if (!rc)
        rc = amber_options_help(&c, &text, err);
    return rc ? rc : amber_options_roff(AMBER_LIST_COMMANDS, &text, err);
}

static void help_without_memory_fails_clean(void **state)
{
    (void)state;
    fail_each(help_try);
}

static char env_path[] = "/tmp/amber_nomem_XXXXXX";

static int env_file_make(void **state)
{
    static const char text[] = "ARCHIVAL_PATH='/a b'\nARCHIVAL_PATHS=1\nARCHIVAL_PATH=/c # d\n"
                               "ARCHIVAL_COMPRESSION=zstd\nDATABASE_URL=\"postgresql://x/y\"\n";
    (void)state;
    int fd = mkstemp(env_path);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        return -1;
    return close(fd);
}

static int env_file_drop(void **state)
{
    (void)state;
    return unlink(env_path);
}

static enum amber_rc config_try(struct amber_err *err)
{
    static char *list[] = {(char *)"ARCHIVAL_ORPHAN_DAYS=3", (char *)"ARCHIVAL_NOPE=1", NULL};
    struct amber_buf warnings AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    struct amber_config c = {.orphan_days = 77};
    enum amber_rc rc = amber_config_load(env_path, list, &c, &warnings, err);
    if (rc) {
        assert_int_equal(c.orphan_days, 77);
    } else {
        assert_string_equal(c.path, "/c");
        amber_config_clear(&c);
    }
    return rc;
}

static void config_without_memory_fails_clean(void **state)
{
    (void)state;
    fail_each(config_try);
}

static const struct amber_job_defaults defaults = {
    .retention_days = 90,
    .period = AMBER_PERIOD_QUARTER,
    .cron = "0 2 1 * *",
    .memory_cleanup_enabled = true,
    .memory_cleanup_cron = "0 2 * * *",
};

static enum amber_rc jobs_try(struct amber_err *err)
{
    static const char text[] =
        "{\"version\":1,\"jobs\":[{\"name\":\"j\",\"time_column\":\"t\",\"zone\":\"z\",\"where\":"
        "\"w\",\"tables\":[{\"schema\":\"s\",\"name\":\"a b\"},{\"name\":\"c\",\"parent\":\"a b\","
        "\"foreign_key\":[\"k\",\"l\"],\"folder\":\"f\",\"pattern\":\"p\"}]}]}";
    struct amber_buf findings AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    struct amber_jobs jobs = {.n = 77};
    enum amber_rc rc = amber_jobs_parse(text, strlen(text), &defaults, &jobs, &findings, err);
    if (rc)
        assert_int_equal(jobs.n, 77);
    else
        amber_jobs_clear(&jobs);
    return rc;
}

static void jobs_without_memory_fail_clean(void **state)
{
    (void)state;
    fail_each(jobs_try);
}

/* Here the good end is INVALID; it must not be taken for good, nor the other way round. */
static enum amber_rc findings_try(struct amber_err *err)
{
    static const char text[] = "{\"version\":1,\"zzzzzzzzz\":1,\"jobs\":[{\"naem\":\"j\"},7]}";
    struct amber_buf findings AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    struct amber_jobs jobs = {.n = 77};
    enum amber_rc rc = amber_jobs_parse(text, strlen(text), &defaults, &jobs, &findings, err);
    assert_int_equal(jobs.n, 77);
    return rc == AMBER_E_INVALID ? AMBER_OK : rc;
}

static void findings_without_memory_fail_clean(void **state)
{
    (void)state;
    fail_each(findings_try);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_without_memory_fail_clean),
        cmocka_unit_test(help_without_memory_fails_clean),
        cmocka_unit_test_setup_teardown(config_without_memory_fails_clean, env_file_make,
                                        env_file_drop),
        cmocka_unit_test(jobs_without_memory_fail_clean),
        cmocka_unit_test(findings_without_memory_fail_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
