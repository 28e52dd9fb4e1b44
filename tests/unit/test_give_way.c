/*
 * test_give_way.c - how a unit that gave way is tried again, and how often.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "give_way_priv.h"

static void give_way_each_time_halves_rows_and_doubles_pause(void **state)
{
    static const int pauses[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000};
    uint64_t rows = 1000000;

    (void)state;
    for (unsigned n = 1; n <= AMBER_GIVE_WAYS_MAX; n++) {
        struct amber_give_way next = {0};
        assert_true(amber_give_way(n, rows, &next));
        assert_int_equal(next.pause_ms, pauses[n - 1]);
        assert_int_equal(next.max_rows, rows / 2);
        rows = next.max_rows;
    }
}

static void give_way_of_few_rows_keeps_a_thousand(void **state)
{
    struct amber_give_way next = {0};

    (void)state;
    for (uint64_t rows = 0; rows <= 2001; rows += 667) {
        assert_true(amber_give_way(1, rows, &next));
        assert_int_equal(next.max_rows, 1000);
    }
}

static void give_way_behind_the_last_time_is_refused(void **state)
{
    struct amber_give_way next = {.max_rows = 7, .pause_ms = 7};

    (void)state;
    assert_false(amber_give_way(AMBER_GIVE_WAYS_MAX + 1, 1000000, &next));
    assert_int_equal(next.max_rows, 7);
    assert_int_equal(next.pause_ms, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(give_way_each_time_halves_rows_and_doubles_pause),
        cmocka_unit_test(give_way_of_few_rows_keeps_a_thousand),
        cmocka_unit_test(give_way_behind_the_last_time_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
