/*
 * test_calendar.c - days and dates over leap years, centuries and before year 0; periods; texts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "amber/calendar.h"

static int64_t day(const char *text)
{
    struct amber_err err = AMBER_ERR_INIT;
    int64_t d = 0;

    if (amber_date_parse(text, &d, &err) != AMBER_OK)
        fail_msg("%s", err.text);
    return d;
}

static const char *date(int64_t d)
{
    static char text[4][AMBER_DATE_MAX];
    static unsigned next;
    char *out = text[next++ % 4];

    amber_date_format(d, out);
    return out;
}

static void day_of_known_dates_is_right(void **state)
{
    (void)state;
    assert_int_equal(day("1970-01-01"), 0);
    assert_int_equal(day("1969-12-31"), -1);
    assert_int_equal(day("2000-01-01"), 10957);
    assert_int_equal(day("2000-02-29"), 11016);
    assert_int_equal(day("2024-12-31"), 20088);
    assert_int_equal(day("0001-01-01"), -719162);
    assert_int_equal(day("0000-03-01"), -719468);
    assert_int_equal(day("-4713-11-24"), -2440588); /* Julian day 0 */
    assert_int_equal(day("9999-12-31"), 2932896);
    assert_int_equal(day("5874897-12-31"),
                     2145042905); /* Julian day 2147483493, the last date of PostgreSQL */
}

/* Walk day by day through 1,000 years around year 0 and today with a calendar of the test's own. */
static void every_day_of_a_millennium_round_trips(void **state)
{
    static const int lengths[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    static const int starts[] = {-500, 1600};

    (void)state;
    for (size_t s = 0; s < 2; s++) {
        int64_t d = amber_day_from_civil(starts[s], 1, 1);
        for (int64_t y = starts[s]; y < starts[s] + 1000; y++) {
            bool leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
            for (int m = 1; m <= 12; m++) {
                for (int i = 1; i <= lengths[m - 1] + (m == 2 && leap); i++, d++) {
                    struct amber_civil c;
                    amber_civil_from_us(d * AMBER_DAY_US, &c);
                    if (c.year != y || c.month != m || c.day != i ||
                        amber_day_from_civil(y, m, i) != d)
                        fail_msg("day %lld is not %lld-%d-%d", (long long)d, (long long)y, m, i);
                }
            }
        }
    }
}

static void civil_of_time_before_1970_rounds_down(void **state)
{
    struct amber_civil c;

    (void)state;
    amber_civil_from_us(-1, &c);
    assert_int_equal(c.year, 1969);
    assert_int_equal(c.month, 12);
    assert_int_equal(c.day, 31);
    assert_int_equal(c.hour, 23);
    assert_int_equal(c.minute, 59);
    assert_int_equal(c.second, 59);
    assert_int_equal(c.us, 999999);
    assert_int_equal(c.weekday, 3);
    assert_int_equal(amber_us_from_civil(&c), -1);
    assert_int_equal(amber_day_from_us(-1), -1);
    assert_int_equal(amber_day_from_us(-AMBER_DAY_US), -1);
    assert_int_equal(amber_day_from_us(-AMBER_DAY_US - 1), -2);
}

static void civil_of_extreme_times_round_trips(void **state)
{
    static const int64_t times[] = {INT64_MIN, INT64_MIN + 1, -1, 0, INT64_MAX - 1, INT64_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        struct amber_civil c;
        amber_civil_from_us(times[i], &c);
        assert_true(amber_us_from_civil(&c) == times[i]);
    }
}

static void weekday_of_known_dates_is_right(void **state)
{
    static const struct {
        const char *date;
        int weekday;
    } cases[] = {{"1970-01-01", 4}, {"2024-02-29", 4}, {"2023-12-31", 0},
                 {"2024-01-01", 1}, {"1900-03-01", 4}, {"1969-12-28", 0}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct amber_civil c;
        amber_civil_from_us(day(cases[i].date) * AMBER_DAY_US, &c);
        assert_int_equal(c.weekday, cases[i].weekday);
    }
}

static void period_bounds_hold_the_day(void **state)
{
    static const struct {
        enum amber_period p;
        const char *day, *first, *next;
    } cases[] = {
        {AMBER_PERIOD_DAY, "2024-02-29", "2024-02-29", "2024-03-01"},
        {AMBER_PERIOD_WEEK, "2024-01-01", "2024-01-01", "2024-01-08"}, /* a Monday */
        {AMBER_PERIOD_WEEK, "2023-12-31", "2023-12-25", "2024-01-01"}, /* the Sunday before */
        {AMBER_PERIOD_WEEK, "2021-01-01", "2020-12-28", "2021-01-04"}, /* week 53 of 2020 */
        {AMBER_PERIOD_WEEK, "1969-12-31", "1969-12-29", "1970-01-05"},
        {AMBER_PERIOD_MONTH, "2024-02-29", "2024-02-01", "2024-03-01"},
        {AMBER_PERIOD_MONTH, "1900-02-28", "1900-02-01", "1900-03-01"},
        {AMBER_PERIOD_MONTH, "2023-12-31", "2023-12-01", "2024-01-01"},
        {AMBER_PERIOD_QUARTER, "2024-03-31", "2024-01-01", "2024-04-01"},
        {AMBER_PERIOD_QUARTER, "2024-04-01", "2024-04-01", "2024-07-01"},
        {AMBER_PERIOD_QUARTER, "2024-12-31", "2024-10-01", "2025-01-01"},
        {AMBER_PERIOD_QUARTER, "-0001-02-03", "-0001-01-01", "-0001-04-01"},
        {AMBER_PERIOD_YEAR, "2000-12-31", "2000-01-01", "2001-01-01"},
        {AMBER_PERIOD_YEAR, "0000-01-01", "0000-01-01", "0001-01-01"},
        {AMBER_PERIOD_YEAR, "-0001-12-31", "-0001-01-01", "0000-01-01"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t first, next;
        amber_period_bounds(cases[i].p, day(cases[i].day), &first, &next);
        assert_string_equal(date(first), cases[i].first);
        assert_string_equal(date(next), cases[i].next);
    }
}

static void period_bounds_of_run_are_everything(void **state)
{
    int64_t first, next;

    (void)state;
    amber_period_bounds(AMBER_PERIOD_RUN, 5, &first, &next);
    assert_true(first == INT64_MIN && next == INT64_MAX);
}

static void period_bounds_tile_the_days(void **state)
{
    (void)state;
    for (int p = AMBER_PERIOD_DAY; p <= AMBER_PERIOD_YEAR; p++) {
        int64_t first, next, end = -2;
        amber_period_bounds((enum amber_period)p, -300000, &first, &end);
        for (int64_t d = end; d < 30000; d = next) {
            amber_period_bounds((enum amber_period)p, d, &first, &next);
            assert_true(first == d && next > d);
            amber_period_bounds((enum amber_period)p, next - 1, &first, &end);
            assert_true(first == d && end == next);
        }
    }
}

static void add_months_lowers_the_day_where_needed(void **state)
{
    static const struct {
        const char *from;
        int64_t months;
        const char *to;
    } cases[] = {
        {"2024-01-31", 1, "2024-02-29"},     {"2023-01-31", 1, "2023-02-28"},
        {"2024-03-31", -1, "2024-02-29"},    {"2024-02-29", 12, "2025-02-28"},
        {"2024-02-29", -48, "2020-02-29"},   {"2024-12-15", 1, "2025-01-15"},
        {"2024-01-15", -1, "2023-12-15"},    {"2024-05-31", -12, "2023-05-31"},
        {"0000-01-31", -1, "-0001-12-31"},   {"2024-02-29", -24 * 50, "1924-02-29"},
        {"2000-02-29", -1200, "1900-02-28"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(date(amber_day_add_months(day(cases[i].from), cases[i].months)),
                            cases[i].to);
}

static void date_format_of_unusual_years_round_trips(void **state)
{
    static const char *const dates[] = {"0000-01-01", "-0001-12-31", "-4713-11-24", "12345-06-07",
                                        "5874897-12-31"};

    (void)state;
    for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++)
        assert_string_equal(date(day(dates[i])), dates[i]);
}

static void date_format_of_any_day_fits(void **state)
{
    (void)state;
    assert_true(strlen(date(INT64_MAX)) < AMBER_DATE_MAX);
    assert_true(strlen(date(INT64_MIN)) < AMBER_DATE_MAX);
}

static void date_parse_of_anything_else_is_invalid(void **state)
{
    static const char *const wrong[] = {
        "",
        "2024",
        "2024-1-01",
        "2024-01-1",
        "2024-01-011",
        "2024-13-01",
        "2024-00-01",
        "2024-01-00",
        "2024-01-32",
        "2023-02-29",
        "1900-02-29",
        "2024-04-31",
        " 2024-01-01",
        "2024-01-01 ",
        "2024/01/01",
        "02024-01-01",
        "-0000-01-01",
        "+2024-01-01",
        "24-01-01",
        "2024-01-01T",
        "99999999-01-01",
        "x024-01-01",
        "2024-0x-01",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct amber_err err = AMBER_ERR_INIT;
        int64_t d = 77;
        if (amber_date_parse(wrong[i], &d, &err) != AMBER_E_INVALID || d != 77)
            fail_msg("\"%s\" was taken for a date", wrong[i]);
    }
}

static void check_timestamp(int64_t us, const char *want)
{
    struct amber_err err = AMBER_ERR_INIT;
    char text[AMBER_TIMESTAMP_MAX];
    int64_t back = 0;

    amber_timestamp_format(us, text);
    if (want)
        assert_string_equal(text, want);
    assert_int_equal(amber_timestamp_parse(text, &back, &err), AMBER_OK);
    assert_true(back == us);
}

static void timestamp_format_round_trips(void **state)
{
    (void)state;
    check_timestamp(0, "1970-01-01T00:00:00Z");
    check_timestamp(-1, "1969-12-31T23:59:59.999999Z");
    check_timestamp(INT64_C(1706666400000001), "2024-01-31T02:00:00.000001Z");
    check_timestamp(INT64_C(951782399500000), "2000-02-28T23:59:59.500000Z");
    check_timestamp(INT64_MAX, "294247-01-10T04:00:54.775807Z");
    check_timestamp(INT64_MIN, "-290308-12-21T19:59:05.224192Z");
}

static void timestamp_parse_of_anything_else_is_invalid(void **state)
{
    static const char *const wrong[] = {
        "",
        "2024-01-31",
        "2024-01-31T02:00:00",
        "2024-01-31 02:00:00Z",
        "2024-01-31T24:00:00Z",
        "2024-01-31T02:60:00Z",
        "2024-01-31T02:00:60Z",
        "2024-01-31T02:00:00.5Z",
        "2024-01-31T02:00:00.1234567Z",
        "2024-01-31T02:00:00Zx",
        "2024-01-31T02:00:00+00",
        "2023-02-29T00:00:00Z",
        "294247-01-10T04:00:54.775808Z", /* one past 64 bits */
        "-290308-12-21T19:59:05.224191Z",
        "5000000-01-01T00:00:00Z",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct amber_err err = AMBER_ERR_INIT;
        int64_t us = 77;
        if (amber_timestamp_parse(wrong[i], &us, &err) != AMBER_E_INVALID || us != 77)
            fail_msg("\"%s\" was taken for a time", wrong[i]);
    }
}

static void period_words_round_trip(void **state)
{
    enum amber_period p;

    (void)state;
    for (int i = AMBER_PERIOD_DAY; i <= AMBER_PERIOD_RUN; i++) {
        assert_true(amber_period_parse(amber_period_name((enum amber_period)i), &p));
        assert_int_equal(p, i);
    }
    assert_false(amber_period_parse("Month", &p));
    assert_false(amber_period_parse("", &p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(day_of_known_dates_is_right),
        cmocka_unit_test(every_day_of_a_millennium_round_trips),
        cmocka_unit_test(civil_of_time_before_1970_rounds_down),
        cmocka_unit_test(civil_of_extreme_times_round_trips),
        cmocka_unit_test(weekday_of_known_dates_is_right),
        cmocka_unit_test(period_bounds_hold_the_day),
        cmocka_unit_test(period_bounds_of_run_are_everything),
        cmocka_unit_test(period_bounds_tile_the_days),
        cmocka_unit_test(add_months_lowers_the_day_where_needed),
        cmocka_unit_test(date_format_of_unusual_years_round_trips),
        cmocka_unit_test(date_format_of_any_day_fits),
        cmocka_unit_test(date_parse_of_anything_else_is_invalid),
        cmocka_unit_test(timestamp_format_round_trips),
        cmocka_unit_test(timestamp_parse_of_anything_else_is_invalid),
        cmocka_unit_test(period_words_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
