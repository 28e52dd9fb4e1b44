/*
 * test_progress.c - what a run tells of itself: of the present unit, of all of it, of its phases.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "amber/calendar.h"
#include "archiver_priv.h"

#define SECOND_US INT64_C(1000000)

static struct amber_progress progress;
static struct amber_archive_options opt;
static struct amber_archive_result result;
static struct archiver a;

static int begin(void **state)
{
    (void)state;
    amber_progress_init(&progress);
    opt = (struct amber_archive_options){.progress = &progress};
    result = (struct amber_archive_result){0};
    a = (struct archiver){.opt = &opt, .result = &result};
    return 0;
}

static int end(void **state)
{
    (void)state;
    amber_progress_clear(&progress);
    return 0;
}

static struct amber_progress told(void)
{
    struct amber_progress p;

    amber_progress_get(&progress, &p);
    return p;
}

static void unit_begins_at_no_row_and_the_run_goes_on(void **state)
{
    int64_t day = amber_day_from_civil(2024, 1, 1);
    (void)state;
    amber_archiver_tell_unit(&a, day, day + 90, 10);
    amber_archiver_tell_rows(&a, 4, 100, true);
    amber_archiver_tell_rows(&a, 9, 250, false); /* of a child */
    struct amber_progress p = told();
    assert_string_equal(p.period, "2024-01-01 to 2024-03-31");
    assert_int_equal(p.unit_rows_total, 10);
    assert_int_equal(p.unit_rows_done, 4);
    assert_int_equal(p.rows, 13);
    assert_int_equal(p.raw_bytes, 250);
    result.raw_bytes = 250; /* it is committed */
    amber_archiver_tell_unit(&a, day + 91, day + 91, 3);
    assert_int_equal(told().unit_rows_done, 0);
    amber_archiver_tell_rows(&a, 3, 40, true);
    p = told();
    assert_string_equal(p.period, "2024-04-01 to 2024-04-01");
    assert_int_equal(p.unit_rows_total, 3);
    assert_int_equal(p.unit_rows_done, 3);
    assert_int_equal(p.rows, 16);
    assert_int_equal(p.raw_bytes, 290);
}

static void time_goes_to_the_phase_that_ends(void **state)
{
    int64_t begun = amber_mono_us(), sum = 0;
    (void)state;
    amber_archiver_phase(&a, AMBER_PHASE_EXPORT);
    assert_int_equal(told().phase, AMBER_PHASE_EXPORT);
    a.phase_since_us -= 5 * SECOND_US;
    amber_archiver_phase(&a, AMBER_PHASE_VERIFY);
    assert_int_equal(told().phase, AMBER_PHASE_VERIFY);
    a.phase_since_us -= 7 * SECOND_US;
    amber_archiver_phase(&a, AMBER_PHASE_EXPORT); /* another unit's */
    a.phase_since_us -= 5 * SECOND_US;
    amber_archiver_phase(&a, AMBER_PHASE_IDLE);
    assert_true(result.phase_us[AMBER_PHASE_EXPORT] >= 10 * SECOND_US);
    assert_true(result.phase_us[AMBER_PHASE_VERIFY] >= 7 * SECOND_US);
    for (size_t i = 0; i < AMBER_PHASE_COUNT; i++)
        sum += result.phase_us[i];
    assert_true(sum <= 17 * SECOND_US + amber_mono_us() - begun); /* and to it alone */
}

static void table_and_leaving_time_are_told(void **state)
{
    char schema[] = "app", name[] = "ev";
    struct amber_table t = {.schema = schema, .name = name};
    (void)state;
    amber_archiver_tell_table(&a, &t);
    assert_string_equal(told().table, "app.ev");
    amber_archiver_tell_leaves_time(&a, true);
    assert_true(told().leaves_time);
    amber_archiver_tell_leaves_time(&a, false);
    assert_false(told().leaves_time);
}

static void run_that_nobody_looks_at_keeps_its_times_only(void **state)
{
    char schema[] = "app", name[] = "ev";
    struct amber_table t = {.schema = schema, .name = name};
    (void)state;
    opt.progress = NULL;
    amber_archiver_phase(&a, AMBER_PHASE_EXPORT);
    a.phase_since_us -= 5 * SECOND_US;
    amber_archiver_phase(&a, AMBER_PHASE_IDLE);
    assert_true(result.phase_us[AMBER_PHASE_EXPORT] >= 5 * SECOND_US);
    amber_archiver_tell_unit(&a, 0, 0, 1);
    amber_archiver_tell_table(&a, &t);
    amber_archiver_tell_rows(&a, 1, 1, true);
    amber_archiver_tell_leaves_time(&a, true);
    assert_int_equal(told().rows, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        T(unit_begins_at_no_row_and_the_run_goes_on),
        T(time_goes_to_the_phase_that_ends),
        T(table_and_leaving_time_are_told),
        T(run_that_nobody_looks_at_keeps_its_times_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
