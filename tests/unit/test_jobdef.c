/*
 * test_jobdef.c - the built-in jobs, what a job gets for what it leaves out, and every refusal with
 * its JSON path.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "amber/jobdef.h"

static const struct amber_job_defaults defaults = {
    .retention_days = 90,
    .period = AMBER_PERIOD_QUARTER,
    .cron = "0 2 1 * *",
    .memory_cleanup_enabled = true,
    .memory_cleanup_cron = "0 2 * * *",
};

static struct amber_jobs parse_with(const char *text, const struct amber_job_defaults *d)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf findings AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    struct amber_jobs jobs = {0};
    if (amber_jobs_parse(text, strlen(text), d, &jobs, &findings, &err))
        fail_msg("%s\n%s", err.text, findings.data ? findings.data : "");
    assert_int_equal(findings.len, 0);
    return jobs;
}

static struct amber_jobs parse(const char *text)
{
    return parse_with(text, &defaults);
}

/* Refused, and out untouched; the findings go to the caller. */
static void refuse(const char *text, size_t len, struct amber_buf *findings, struct amber_err *err)
{
    struct amber_jobs jobs = {(struct amber_job *)0x5a, 77};
    enum amber_rc rc = amber_jobs_parse(text, len, &defaults, &jobs, findings, err);
    if (rc != AMBER_E_INVALID)
        fail_msg("not refused: %s", text);
    assert_ptr_equal(jobs.jobs, (struct amber_job *)0x5a);
    assert_int_equal(jobs.n, 77);
}

static void assert_refused(const char *text, const char *want)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf findings AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    refuse(text, strlen(text), &findings, &err);
    if (!findings.data || !strstr(findings.data, want))
        fail_msg("%s\ngives:    %sexpected: %s", text, findings.data ? findings.data : "(none)\n",
                 want);
}

#define FILE_OF(jobs) "{\"version\":1,\"jobs\":[" jobs "]}"
#define JOB_OF(more) "{\"name\":\"j\",\"time_column\":\"t\"," more "}"
#define TABLES(tables) FILE_OF(JOB_OF("\"tables\":[" tables "]"))
#define MEMBER(more) FILE_OF(JOB_OF("\"tables\":[{\"name\":\"x\"}]," more))

/* ---- the built-in jobs ---- */

static struct amber_jobs builtin(const struct amber_job_defaults *d)
{
    size_t len;
    const char *text = amber_jobs_builtin(&len);
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf findings AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    struct amber_jobs jobs = {0};
    if (amber_jobs_parse(text, len, d, &jobs, &findings, &err))
        fail_msg("%s", err.text);
    return jobs;
}

static void builtin_text_equals_shipped_file(void **state)
{
    size_t len;
    const char *text = amber_jobs_builtin(&len);
    char file[65536];
    (void)state;
    FILE *f = fopen(AMBER_SOURCE_ROOT "/docs/jobs.json", "re");
    assert_non_null(f);
    size_t n = fread(file, 1, sizeof(file), f);
    fclose(f);
    assert_int_equal(n, len);
    assert_memory_equal(file, text, len);
}

static void builtin_jobs_are_the_four_documented_ones(void **state)
{
    struct amber_jobs jobs AMBER_CLEANUP(amber_jobs_clear) = builtin(&defaults);
    (void)state;
    assert_int_equal(jobs.n, 4);

    const struct amber_job *j = amber_jobs_find(&jobs, "log-archival");
    assert_non_null(j);
    assert_int_equal(j->n_tables, 1);
    assert_string_equal(j->tables[0].name, "flow_execution_logs");
    assert_string_equal(j->tables[0].folder, "flow_logs");
    assert_string_equal(j->tables[0].pattern, "flow_logs_{start}_to_{end}");
    assert_string_equal(j->time_column, "created_at");
    assert_int_equal(j->retention_days, 90);
    assert_string_equal(j->cron_text, "0 2 1 * *");
    assert_int_equal(j->period, AMBER_PERIOD_QUARTER);
    assert_true(j->enabled);

    j = amber_jobs_find(&jobs, "session-archival");
    assert_non_null(j);
    assert_string_equal(j->where, "ended_at IS NOT NULL");
    assert_string_equal(j->time_column, "created_at");
    assert_int_equal(j->n_tables, 2);
    assert_string_equal(j->tables[0].name, "flow_execution_sessions");
    assert_string_equal(j->tables[0].folder, "flow_sessions");
    assert_string_equal(j->tables[1].name, "flow_execution_deltas");
    assert_string_equal(j->tables[1].folder, "flow_deltas");
    assert_int_equal(j->tables[0].parent, -1);
    assert_int_equal(j->tables[1].parent, 0);
    assert_int_equal(j->tables[1].n_fk_columns, 1);
    assert_string_equal(j->tables[1].fk_columns[0], "session_id");

    j = amber_jobs_find(&jobs, "call-archival");
    assert_non_null(j);
    assert_string_equal(j->time_column, "started_at");
    assert_int_equal(j->retention_months, 12);
    assert_int_equal(j->retention_days, 0);
    assert_string_equal(j->tables[0].folder, "call_sessions");
    assert_string_equal(j->tables[1].folder, "call_events");
    assert_string_equal(j->tables[1].fk_columns[0], "call_session_id");

    j = amber_jobs_find(&jobs, "memory-cleanup");
    assert_non_null(j);
    assert_string_equal(j->time_column, "expires_at");
    assert_int_equal(j->retention_days, 0);
    assert_int_equal(j->retention_months, 0);
    assert_int_equal(j->period, AMBER_PERIOD_RUN);
    assert_string_equal(j->cron_text, "0 2 * * *");
    assert_string_equal(j->tables[0].folder, "memory_chunks");
    assert_string_equal(j->tables[0].pattern, "expired_chunks_{day}_{epoch_ms}");
    assert_null(amber_jobs_find(&jobs, "memory"));
}

static void builtin_jobs_follow_the_configuration(void **state)
{
    struct amber_job_defaults d = {
        .retention_days = 7,
        .period = AMBER_PERIOD_DAY,
        .cron = "@daily",
        .memory_cleanup_enabled = false,
        .memory_cleanup_cron = "5 5 * * *",
    };
    struct amber_jobs jobs AMBER_CLEANUP(amber_jobs_clear) = builtin(&d);
    (void)state;
    const struct amber_job *logs = amber_jobs_find(&jobs, "log-archival");
    const struct amber_job *memory = amber_jobs_find(&jobs, "memory-cleanup");
    assert_int_equal(logs->retention_days, 7);
    assert_int_equal(logs->period, AMBER_PERIOD_DAY);
    assert_string_equal(logs->cron_text, "@daily");
    assert_true(logs->enabled);
    assert_int_equal(memory->retention_days, 0);
    assert_int_equal(memory->period, AMBER_PERIOD_RUN);
    assert_string_equal(memory->cron_text, "5 5 * * *");
    assert_false(memory->enabled);
    assert_int_equal(amber_jobs_find(&jobs, "call-archival")->retention_months, 12);
}

static void cleanup_switched_off_beats_enabled_in_file(void **state)
{
    struct amber_job_defaults d = defaults;
    d.memory_cleanup_enabled = false;
    struct amber_jobs jobs AMBER_CLEANUP(amber_jobs_clear) =
        parse_with(FILE_OF("{\"name\":\"memory-cleanup\",\"time_column\":\"t\",\"enabled\":true,"
                           "\"cron\":\"@hourly\",\"tables\":[{\"name\":\"x\"}]}"),
                   &d);
    (void)state;
    assert_false(jobs.jobs[0].enabled);
    assert_string_equal(jobs.jobs[0].cron_text, "@hourly");
}

/* ---- what is left out, and what is said ---- */

static void job_with_required_members_only_gets_defaults(void **state)
{
    struct amber_jobs jobs AMBER_CLEANUP(amber_jobs_clear) =
        parse(TABLES("{\"name\":\"Order Lines\"}"));
    (void)state;
    const struct amber_job *j = &jobs.jobs[0];
    assert_string_equal(j->tables[0].schema, "public");
    assert_string_equal(j->tables[0].name, "Order Lines");
    assert_string_equal(j->tables[0].folder, "Order%20Lines");
    assert_string_equal(j->tables[0].pattern, "{table}_{start}_to_{end}");
    assert_null(j->tables[0].fk_columns);
    assert_null(j->zone);
    assert_null(j->where);
    assert_int_equal(j->retention_days, 90);
    assert_int_equal(j->retention_months, 0);
    assert_int_equal(j->period, AMBER_PERIOD_QUARTER);
    assert_true(j->enabled);
    assert_false(j->run_missed);
    assert_true(j->drop_partitions);
    assert_int_equal(j->max_unit_rows, 5000000);
    assert_int_equal(j->max_unit_s, 600);
}

static void job_with_all_members_keeps_them(void **state)
{
    struct amber_jobs jobs AMBER_CLEANUP(amber_jobs_clear) = parse(
        "\xef\xbb\xbf{\"version\":1,\"comment\":\"c\",\"jobs\":[{\"name\":\"A-b_9\",\"comment\":"
        "\"c\","
        "\"time_column\":\"at \\\"x\\\"\",\"zone\":\"Europe/Berlin\",\"where\":\"ok\","
        "\"retention_days\":0,\"period\":\"year\",\"cron\":\"1 2 3 4 *\",\"enabled\":false,"
        "\"run_missed\":true,\"drop_partitions\":false,\"max_unit_rows\":10,\"max_unit_seconds\":5,"
        "\"tables\":[{\"schema\":\"s\",\"name\":\"a\",\"folder\":\"x/y\",\"pattern\":\"p_{day}\"},"
        "{\"schema\":\"s\",\"name\":\"b\",\"parent\":\"s.a\",\"foreign_key\":[\"k\",\"l\"]},"
        "{\"schema\":\"r\",\"name\":\"b\",\"parent\":\"b\",\"comment\":\"c\"},"
        "{\"name\":\"d\",\"parent\":\"r.b\"}]}]}");
    (void)state;
    const struct amber_job *j = &jobs.jobs[0];
    assert_string_equal(j->name, "A-b_9");
    assert_string_equal(j->time_column, "at \"x\"");
    assert_string_equal(j->zone, "Europe/Berlin");
    assert_string_equal(j->where, "ok");
    assert_int_equal(j->retention_days, 0);
    assert_int_equal(j->period, AMBER_PERIOD_YEAR);
    assert_false(j->enabled);
    assert_true(j->run_missed);
    assert_false(j->drop_partitions);
    assert_int_equal(j->max_unit_rows, 10);
    assert_int_equal(j->max_unit_s, 5);
    assert_int_equal(j->n_tables, 4);
    assert_string_equal(j->tables[0].folder, "x/y");
    assert_int_equal(j->tables[1].parent, 0);
    assert_int_equal(j->tables[1].n_fk_columns, 2);
    assert_string_equal(j->tables[1].fk_columns[1], "l");
    assert_string_equal(j->tables[1].folder, "s/b");
    assert_int_equal(j->tables[2].parent, 1);
    assert_int_equal(j->tables[3].parent, 2);
}

static void job_with_period_run_is_named_after_the_run(void **state)
{
    struct amber_jobs jobs AMBER_CLEANUP(amber_jobs_clear) = parse(MEMBER("\"period\":\"run\""));
    (void)state;
    assert_string_equal(jobs.jobs[0].tables[0].pattern, "{table}_{day}_{epoch_ms}");
}

static void file_without_jobs_is_taken(void **state)
{
    struct amber_jobs jobs AMBER_CLEANUP(amber_jobs_clear) = parse(FILE_OF(""));
    (void)state;
    assert_int_equal(jobs.n, 0);
    assert_null(amber_jobs_find(&jobs, "x"));
}

static void every_example_of_the_document_is_taken(void **state)
{
    static char file[65536];
    size_t n_examples = 0;
    (void)state;
    FILE *f = fopen(AMBER_SOURCE_ROOT "/docs/jobs.md", "re");
    assert_non_null(f);
    file[fread(file, 1, sizeof(file) - 1, f)] = '\0';
    fclose(f);
    for (char *at = file; (at = strstr(at, "\n```json\n")); n_examples++) {
        at += strlen("\n```json\n");
        char *end = strstr(at, "\n```\n");
        assert_non_null(end);
        *end = '\0';
        struct amber_jobs jobs AMBER_CLEANUP(amber_jobs_clear) = parse(at);
        assert_true(jobs.n > 0);
        at = end + 1;
    }
    assert_true(n_examples >= 3);
}

/* ---- refusals ---- */

static void wrong_document_is_refused_with_path(void **state)
{
    (void)state;
    assert_refused("", "document: is empty: ");
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf findings AMBER_AUTO_BUF = AMBER_BUF_INIT(4096);
    static const char utf16[] = "\xff\xfe{\0}";
    refuse(utf16, sizeof(utf16), &findings, &err);
    assert_non_null(strstr(err.text, "is this an UTF-16 or a binary file?"));
    assert_refused("{\n\"version\":1,\n]", "line 3, column");
    assert_refused("{\"version\":1,\"version\":1,\"jobs\":[]}", "duplicate object key");
    assert_refused("[]", "document: must be an object, not an array");
    assert_refused("{}", "version: is missing\njobs: is missing\n");
    assert_refused("{\"version\":2,\"jobs\":[]}", "version: is 2: allowed are 1 to 1");
    assert_refused("{\"version\":\"1\",\"jobs\":[]}",
                   "version: must be a whole number, not a string");
    assert_refused("{\"version\":1,\"jobs\":{}}", "jobs: must be an array, not an object");
    assert_refused("{\"version\":1,\"jobs\":[],\"job\":[]}",
                   "job: unknown member: did you mean \"jobs\"?");
    assert_refused("{\"version\":1,\"jobs\":[],\"zzzzz\":[]}",
                   "zzzzz: unknown member: known are version, jobs, comment");
    assert_refused("{\"version\":1,\"jobs\":[],\"a\\nb\":1}", "a b: unknown member");
    assert_refused(FILE_OF("7"), "jobs[0]: must be an object, not a whole number");
    assert_refused(FILE_OF("null"), "jobs[0]: must be an object, not null");
}

static void wrong_job_is_refused_with_path(void **state)
{
    (void)state;
    assert_refused(FILE_OF("{}"), "jobs[0].name: is missing\njobs[0].tables: is missing\n"
                                  "jobs[0].time_column: is missing\n");
    assert_refused(FILE_OF(JOB_OF("\"tables\":[]")),
                   "jobs[0].tables: has 0 items: allowed are 1 to 100");
    assert_refused(MEMBER("\"nam\":1"), "jobs[0].nam: unknown member: did you mean \"name\"?");
    assert_refused(MEMBER("\"timeColumn\":\"x\""), "did you mean \"time_column\"?");
    assert_refused(MEMBER("\"where\":\"\""), "jobs[0].where: is empty");
    assert_refused(MEMBER("\"where\":true"), "jobs[0].where: must be a string, not true or false");
    assert_refused(MEMBER("\"enabled\":\"yes\""),
                   "jobs[0].enabled: must be true or false, not a string");
    assert_refused(MEMBER("\"enabled\":null"), "jobs[0].enabled: must be true or false, not null");
    assert_refused(MEMBER("\"retention_days\":-1"),
                   "jobs[0].retention_days: is -1: allowed are 0 to 36500");
    assert_refused(MEMBER("\"retention_days\":1.5"),
                   "jobs[0].retention_days: must be a whole number, not a number with a fraction");
    assert_refused(MEMBER("\"retention_days\":1,\"retention_months\":1"),
                   "jobs[0].retention_months: stands beside retention_days");
    assert_refused(MEMBER("\"period\":\"decade\""),
                   "jobs[0].period: \"decade\" is not allowed: day");
    assert_refused(MEMBER("\"cron\":\"0 25 * * *\""), "jobs[0].cron: hour: \"25\" is not allowed");
    assert_refused(MEMBER("\"cron\":\"0 0 30 2 *\""), "jobs[0].cron: day of month: no month");
    assert_refused(MEMBER("\"max_unit_rows\":0"), "jobs[0].max_unit_rows: is 0: allowed are 1 to");
    assert_refused(
        FILE_OF("{\"name\":\"a b\",\"time_column\":\"t\",\"tables\":[{\"name\":\"x\"}]}"),
        "jobs[0].name: \"a b\" is not allowed: letters");
    assert_refused(
        FILE_OF("{\"name\":\"verify\",\"time_column\":\"t\",\"tables\":[{\"name\":\"x\"}]}"),
        "jobs[0].name: \"verify\" is not allowed: it is the name of a task");
    assert_refused(
        FILE_OF("{\"name\":\"restore\",\"time_column\":\"t\",\"tables\":[{\"name\":\"x\"}]}"),
        "jobs[0].name: \"restore\" is not allowed: it is the name of a task");
    assert_refused(
        FILE_OF("{\"name\":\"../x\",\"time_column\":\"t\",\"tables\":[{\"name\":\"x\"}]}"),
        "jobs[0].name: \"../x\" is not allowed");
    assert_refused(FILE_OF("{\"name\":\"a\",\"time_column\":\"t\",\"tables\":[{\"name\":\"x\"}]},"
                           "{\"name\":\"a\",\"time_column\":\"t\",\"tables\":[{\"name\":\"y\"}]}"),
                   "jobs[1].name: \"a\" is the name of jobs[0] too");
}

static void wrong_table_is_refused_with_path(void **state)
{
    (void)state;
    assert_refused(TABLES("{}"), "jobs[0].tables[0].name: is missing");
    assert_refused(TABLES("\"x\""), "jobs[0].tables[0]: must be an object, not a string");
    assert_refused(
        TABLES("{\"name\":\"0123456789012345678901234567890123456789012345678901234567890"
               "123\"}"),
        "jobs[0].tables[0].name: is longer than 63 bytes");
    assert_refused(TABLES("{\"name\":\"x\",\"parent\":\"y\"}"),
                   "jobs[0].tables[0].parent: the first table is the root");
    assert_refused(TABLES("{\"name\":\"x\",\"foreign_key\":[\"y\"]}"),
                   "jobs[0].tables[0].foreign_key: names a child's columns");
    assert_refused(TABLES("{\"name\":\"x\"},{\"name\":\"y\"}"),
                   "jobs[0].tables[1].parent: is missing: only the first table has no parent");
    assert_refused(TABLES("{\"name\":\"x\"},{\"name\":\"y\",\"parent\":\"z\"}"),
                   "jobs[0].tables[1].parent: no table \"z\" stands before this one");
    assert_refused(TABLES("{\"name\":\"x\"},{\"name\":\"y\",\"parent\":\"y\"}"),
                   "jobs[0].tables[1].parent: no table \"y\" stands before this one");
    assert_refused(TABLES("{\"name\":\"x\"},{\"schema\":\"s\",\"name\":\"x\",\"parent\":\"x\"},"
                          "{\"name\":\"y\",\"parent\":\"x\"}"),
                   "jobs[0].tables[2].parent: \"x\" may be one of 2 tables");
    assert_refused(
        TABLES("{\"name\":\"x\"},{\"name\":\"y\",\"parent\":\"x\",\"foreign_key\":[\"a\","
               "7,\"\"]}"),
        "jobs[0].tables[1].foreign_key[1]: must be a column's name");
    assert_refused(TABLES("{\"name\":\"x\"},{\"name\":\"y\",\"parent\":\"x\",\"foreign_key\":[]}"),
                   "jobs[0].tables[1].foreign_key: has 0 items");
    assert_refused(TABLES("{\"name\":\"x\"},{\"name\":\"x\",\"parent\":\"x\",\"folder\":\"f\"}"),
                   "jobs[0].tables[1]: is the same table as tables[0]");
}

static void wrong_parent_type_is_one_finding(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf findings AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    const char *text = TABLES("{\"name\":\"x\"},{\"name\":\"y\",\"parent\":7}");
    (void)state;
    refuse(text, strlen(text), &findings, &err);
    assert_string_equal(findings.data,
                        "jobs[0].tables[1].parent: must be a string, not a whole number\n");
    assert_string_equal(err.text, "jobs[0].tables[1].parent: must be a string, not a whole number");
}

static void wrong_folder_or_pattern_is_refused_with_path(void **state)
{
    (void)state;
#define FOLDER(f) TABLES("{\"name\":\"x\",\"folder\":\"" f "\"}")
    assert_refused(FOLDER("/abs"), "jobs[0].tables[0].folder: has an empty part");
    assert_refused(FOLDER("a/"), "jobs[0].tables[0].folder: has an empty part");
    assert_refused(FOLDER("a//b"), "has an empty part");
    assert_refused(FOLDER(".."), "has a part that starts with a dot");
    assert_refused(FOLDER("a/../b"), "has a part that starts with a dot");
    assert_refused(FOLDER(".amberfs"), "has a part that starts with a dot");
    assert_refused(FOLDER("a\\u0007b"), "has a control character");
#define PATTERN(p) TABLES("{\"name\":\"x\",\"pattern\":\"" p "\"}")
    assert_refused(PATTERN("{nope}"), "jobs[0].tables[0].pattern: ");
    assert_refused(PATTERN("a/b"), "jobs[0].tables[0].pattern: ");
    assert_refused(PATTERN("{start"), "jobs[0].tables[0].pattern: ");
}

static void names_that_would_be_too_long_are_refused(void **state)
{
    char text[1024], part[250], folder[1000];
    (void)state;
    memset(part, 'x', sizeof(part));
    /* "_2024-01-01_to_2024-03-31" and "_10000.json" more: 248 bytes. */
#define PATTERN_OF(n) TABLES("{\"name\":\"t\",\"pattern\":\"%.*s_{start}_to_{end}\"}"), n, part
    snprintf(text, sizeof(text), PATTERN_OF(212));
    assert_refused(text, "jobs[0].tables[0]: archive name \"xx");
    assert_refused(text, "\": 248 bytes, the limit is 247: shorten the pattern");
    snprintf(text, sizeof(text), PATTERN_OF(211));
    struct amber_jobs jobs AMBER_CLEANUP(amber_jobs_clear) = parse(text);
    assert_int_equal(jobs.n, 1);
    memset(folder, 'x', sizeof(folder));
    for (size_t i = 200; i < sizeof(folder); i += 201)
        folder[i] = '/';
    snprintf(text, sizeof(text), TABLES("{\"name\":\"t\",\"folder\":\"%.*s\"}"), 900, folder);
    assert_refused(text, "bytes with its folder, the limit is 880: shorten the folder");
}

#define TWO(a, b)                                                                                  \
    FILE_OF("{\"name\":\"a\",\"time_column\":\"t\",\"tables\":[" a "]},"                           \
            "{\"name\":\"b\",\"time_column\":\"t\",\"tables\":[" b "]}")

static void tables_that_would_share_names_are_refused(void **state)
{
    (void)state;
    assert_refused(TWO("{\"name\":\"x\",\"folder\":\"f\",\"pattern\":\"p_{day}\"}",
                       "{\"name\":\"y\",\"folder\":\"f\",\"pattern\":\"p_{day}\"}"),
                   "jobs[1].tables[0]: has the folder and the pattern of jobs[0].tables[0]");
    assert_refused(TWO("{\"name\":\"x\"}", "{\"name\":\"x\"}"),
                   "jobs[1].tables[0]: has the folder and the pattern of jobs[0].tables[0]");
    struct amber_jobs jobs AMBER_CLEANUP(amber_jobs_clear) =
        parse(TWO("{\"name\":\"x\",\"folder\":\"f\"}", "{\"name\":\"y\",\"folder\":\"f\"}"));
    assert_int_equal(jobs.n, 2); /* {table} tells them apart */
}

static void every_finding_is_reported_and_the_first_is_the_error(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf findings AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    const char *text =
        FILE_OF("{\"name\":\"a b\",\"time_column\":\"\",\"cron\":\"x\",\"tables\":[{}]},"
                "{\"naem\":\"b\",\"time_column\":\"t\",\"tables\":[{\"name\":\"x\","
                "\"folder\":\"..\"}]}");
    (void)state;
    refuse(text, strlen(text), &findings, &err);
    const char *const want[] = {
        "jobs[0].time_column: is empty\n",      "jobs[0].name: \"a b\" is not allowed",
        "jobs[0].cron: a cron expression has",  "jobs[0].tables[0].name: is missing\n",
        "jobs[1].naem: unknown member",         "jobs[1].name: is missing\n",
        "jobs[1].tables[0].folder: has a part",
    };
    size_t lines = 0;
    for (const char *p = findings.data; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, amber_countof(want));
    for (size_t i = 0; i < amber_countof(want); i++)
        assert_non_null(strstr(findings.data, want[i]));
    assert_string_equal(err.text, "jobs[0].time_column: is empty (and 6 more)");
}

static void findings_without_room_still_refuse(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf findings AMBER_AUTO_BUF = AMBER_BUF_INIT(60);
    const char *text = FILE_OF("{},{},{}");
    (void)state;
    refuse(text, strlen(text), &findings, &err);
    assert_non_null(strstr(err.text, "jobs[0].name: is missing (and 8 more)"));
}

static void file_too_large_is_refused(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf findings AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    struct amber_jobs jobs = {0};
    char *text = malloc(AMBER_JOBS_FILE_MAX + 1);
    (void)state;
    assert_non_null(text);
    memset(text, ' ', AMBER_JOBS_FILE_MAX + 1);
    assert_int_equal(
        amber_jobs_parse(text, AMBER_JOBS_FILE_MAX + 1, &defaults, &jobs, &findings, &err),
        AMBER_E_LIMIT);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builtin_text_equals_shipped_file),
        cmocka_unit_test(builtin_jobs_are_the_four_documented_ones),
        cmocka_unit_test(builtin_jobs_follow_the_configuration),
        cmocka_unit_test(cleanup_switched_off_beats_enabled_in_file),
        cmocka_unit_test(job_with_required_members_only_gets_defaults),
        cmocka_unit_test(job_with_all_members_keeps_them),
        cmocka_unit_test(job_with_period_run_is_named_after_the_run),
        cmocka_unit_test(file_without_jobs_is_taken),
        cmocka_unit_test(every_example_of_the_document_is_taken),
        cmocka_unit_test(wrong_document_is_refused_with_path),
        cmocka_unit_test(wrong_job_is_refused_with_path),
        cmocka_unit_test(wrong_table_is_refused_with_path),
        cmocka_unit_test(wrong_parent_type_is_one_finding),
        cmocka_unit_test(wrong_folder_or_pattern_is_refused_with_path),
        cmocka_unit_test(names_that_would_be_too_long_are_refused),
        cmocka_unit_test(tables_that_would_share_names_are_refused),
        cmocka_unit_test(every_finding_is_reported_and_the_first_is_the_error),
        cmocka_unit_test(findings_without_room_still_refuse),
        cmocka_unit_test(file_too_large_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
