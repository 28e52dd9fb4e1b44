/*
 * test_pace.c - rows that pass within a time, by a clock that the test turns.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "pace_priv.h"

#define SECOND_US INT64_C(1000000)

/* Rows that pass from *now on within us microseconds, each waiting as it is told. */
static uint64_t pass(struct amber_pace *p, int64_t *now, int64_t us)
{
    int64_t end = *now + us;
    uint64_t n = 0;

    for (;;) {
        int64_t wait = amber_pace_row(p, *now);
        *now += wait;
        if (*now >= end)
            return n;
        n++;
        *now += 1; /* a row takes a microsecond */
    }
}

static void rows_of_seconds_are_the_rate(void **state)
{
    static const uint64_t rates[] = {1, 7, 99, 100, 101, 5000, 12345, 500000};

    (void)state;
    for (size_t i = 0; i < sizeof(rates) / sizeof(*rates); i++) {
        struct amber_pace p = {.rows_per_second = rates[i]};
        int64_t now = 123456789;
        uint64_t n = pass(&p, &now, 10 * SECOND_US);
        assert_in_range(n, 10 * rates[i] - rates[i] / 20 - 1, 10 * rates[i] + rates[i] / 8 + 1);
    }
}

static void pause_isnt_made_up_for(void **state)
{
    struct amber_pace p = {.rows_per_second = 1000};
    int64_t now = 0;

    (void)state;
    pass(&p, &now, SECOND_US);
    now += 60 * SECOND_US;
    assert_in_range(pass(&p, &now, SECOND_US), 950, 1110);
}

static void no_rate_never_waits(void **state)
{
    struct amber_pace p = {0};

    (void)state;
    for (int i = 0; i < 100000; i++)
        assert_int_equal(amber_pace_row(&p, 0), 0);
}

/* Work in steps of step us: pieces that are left alone until they are long enough, then rested from. */
static void work_is_a_fifth_of_the_time(void **state)
{
    static const int64_t steps[] = {1, 17, 1000, 9999, 10000, 150000};

    (void)state;
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        struct amber_share s = {0};
        int64_t now = 123456789, work = 0, rest = 0;
        while (work < 10 * SECOND_US) {
            int64_t wait = amber_share_rest(&s, now);
            assert_true(wait == 0 || wait >= 4 * 10000);
            rest += wait;
            now += wait + steps[i];
            work += steps[i];
        }
        assert_in_range(rest, work * 4 - SECOND_US, work * 4);
    }
}

static void long_wait_for_the_server_is_rested_from_for_a_second(void **state)
{
    struct amber_share s = {0};

    (void)state;
    assert_int_equal(amber_share_rest(&s, 1), 0);
    assert_int_equal(amber_share_rest(&s, 60 * SECOND_US), SECOND_US);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_seconds_are_the_rate),
        cmocka_unit_test(pause_isnt_made_up_for),
        cmocka_unit_test(no_rate_never_waits),
        cmocka_unit_test(work_is_a_fifth_of_the_time),
        cmocka_unit_test(long_wait_for_the_server_is_rested_from_for_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
