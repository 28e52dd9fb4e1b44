/*
 * test_cron.c - cron expressions: a table of cases, the refusals, and random ones against a walk
 * over every minute with a calendar and a reading of the expression of the test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "amber/calendar.h"
#include "amber/cron.h"
#include "amber/mem.h"

#define MINUTE_US INT64_C(60000000)

static int64_t at(const char *text)
{
    struct amber_err err = AMBER_ERR_INIT;
    int64_t us = 0;
    if (amber_timestamp_parse(text, &us, &err))
        fail_msg("%s", err.text);
    return us;
}

static struct amber_cron cron(const char *text)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_cron c = {0};
    if (amber_cron_parse(text, &c, &err))
        fail_msg("%s: %s", text, err.text);
    return c;
}

/* What next or prev gives, as text. */
static void assert_time(const char *expression, const char *from, int64_t got, const char *want)
{
    char text[AMBER_TIMESTAMP_MAX];
    amber_timestamp_format(got, text);
    if (strcmp(text, want) != 0)
        fail_msg("\"%s\" from %s: got %s, expected %s", expression, from, text, want);
}

static void next_over_table_is_right(void **state)
{
    static const char *const cases[][3] = {
        /* the defaults, at month and year ends */
        {"0 2 1 * *", "2024-01-31T12:00:00Z", "2024-02-01T02:00:00Z"},
        {"0 2 1 * *", "2024-12-01T02:00:00Z", "2025-01-01T02:00:00Z"},
        {"0 2 1 * *", "2024-12-01T01:59:59.999999Z", "2024-12-01T02:00:00Z"},
        {"0 2 * * *", "2024-02-28T02:00:00Z", "2024-02-29T02:00:00Z"},
        {"0 2 * * *", "2023-02-28T02:00:00Z", "2023-03-01T02:00:00Z"},
        {"0 2 * * *", "2024-12-31T23:59:59Z", "2025-01-01T02:00:00Z"},
        /* strictly after, to the microsecond */
        {"* * * * *", "2024-05-05T05:05:00Z", "2024-05-05T05:06:00Z"},
        {"* * * * *", "2024-05-05T05:05:59.999999Z", "2024-05-05T05:06:00Z"},
        {"59 23 * * *", "2024-05-05T23:59:00Z", "2024-05-06T23:59:00Z"},
        {"0 0 * * *", "2024-05-05T23:59:59Z", "2024-05-06T00:00:00Z"},
        /* leap days, across a century that has none and one that has */
        {"0 0 29 2 *", "2024-02-29T00:00:00Z", "2028-02-29T00:00:00Z"},
        {"0 0 29 2 *", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"},
        {"0 0 29 2 *", "1996-03-01T00:00:00Z", "2000-02-29T00:00:00Z"},
        /* days that a month lacks */
        {"30 4 31 * *", "2024-01-31T04:30:00Z", "2024-03-31T04:30:00Z"},
        {"0 0 30 * *", "2023-01-30T00:00:00Z", "2023-03-30T00:00:00Z"},
        {"0 0 31 6,8 *", "2024-01-01T00:00:00Z", "2024-08-31T00:00:00Z"},
        /* names, 7 as Sunday, lists, ranges, steps */
        {"0 0 * * sun", "2024-05-05T00:00:00Z", "2024-05-12T00:00:00Z"},
        {"0 0 * * 7", "2024-05-05T00:00:00Z", "2024-05-12T00:00:00Z"},
        {"0 0 * * 0", "2024-05-05T00:00:00Z", "2024-05-12T00:00:00Z"},
        {"0 0 * * 5-7", "2024-05-05T00:00:00Z", "2024-05-10T00:00:00Z"},
        {"0 0 * JAN-mar,Dec MON", "2024-03-25T00:00:00Z", "2024-12-02T00:00:00Z"},
        {"*/15 * * * *", "2024-05-05T05:45:00Z", "2024-05-05T06:00:00Z"},
        {"10-40/10 3 * * *", "2024-05-05T03:20:00Z", "2024-05-05T03:30:00Z"},
        {"10-40/10 3 * * *", "2024-05-05T03:40:00Z", "2024-05-06T03:10:00Z"},
        {"0 */6 * * *", "2024-05-05T18:00:00Z", "2024-05-06T00:00:00Z"},
        {"0 0 1-31/10 * *", "2024-02-21T00:00:00Z", "2024-03-01T00:00:00Z"},
        {"0 0 * */5 *", "2024-01-31T00:00:00Z", "2024-06-01T00:00:00Z"},
        {"1,2,59 0 * * *", "2024-05-05T00:02:00Z", "2024-05-05T00:59:00Z"},
        /* both day fields: either; a field that starts with a star doesn't restrict */
        {"0 0 13 * 5", "2024-05-04T00:00:00Z", "2024-05-10T00:00:00Z"},
        {"0 0 13 * 5", "2024-05-10T00:00:00Z", "2024-05-13T00:00:00Z"},
        {"0 0 */2 * 5", "2024-05-01T00:00:00Z", "2024-05-03T00:00:00Z"},
        {"0 0 */2 * 5", "2024-05-03T00:00:00Z", "2024-05-17T00:00:00Z"},
        {"0 0 13 * */2", "2024-05-01T00:00:00Z", "2024-06-13T00:00:00Z"},
        {"0 0 31 2 1", "2024-02-01T00:00:00Z", "2024-02-05T00:00:00Z"},
        /* macros */
        {"@hourly", "2024-05-05T05:05:00Z", "2024-05-05T06:00:00Z"},
        {"@daily", "2024-02-28T05:05:00Z", "2024-02-29T00:00:00Z"},
        {"@midnight", "2024-05-05T05:05:00Z", "2024-05-06T00:00:00Z"},
        {"@weekly", "2024-05-05T00:00:00Z", "2024-05-12T00:00:00Z"},
        {"@monthly", "2024-12-31T05:05:00Z", "2025-01-01T00:00:00Z"},
        {"@yearly", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"},
        {" @Annually\t", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"},
        /* before 1970 */
        {"0 12 * * *", "1969-12-31T12:00:00Z", "1970-01-01T12:00:00Z"},
        {"0 12 * * *", "1969-12-31T11:59:59.999999Z", "1969-12-31T12:00:00Z"},
        /* white space */
        {"  0\t2   1 * *  ", "2024-01-31T12:00:00Z", "2024-02-01T02:00:00Z"},
    };
    (void)state;
    for (size_t i = 0; i < amber_countof(cases); i++) {
        struct amber_cron c = cron(cases[i][0]);
        assert_time(cases[i][0], cases[i][1], amber_cron_next(&c, at(cases[i][1])), cases[i][2]);
    }
}

static void prev_over_table_is_right(void **state)
{
    static const char *const cases[][3] = {
        {"0 2 1 * *", "2024-03-01T02:00:00Z", "2024-03-01T02:00:00Z"},
        {"0 2 1 * *", "2024-03-01T02:00:59.999999Z", "2024-03-01T02:00:00Z"},
        {"0 2 1 * *", "2024-03-01T01:59:59.999999Z", "2024-02-01T02:00:00Z"},
        {"0 2 1 * *", "2025-01-01T01:00:00Z", "2024-12-01T02:00:00Z"},
        {"0 0 29 2 *", "2103-12-31T00:00:00Z", "2096-02-29T00:00:00Z"},
        {"30 4 31 * *", "2024-03-31T04:29:00Z", "2024-01-31T04:30:00Z"},
        {"0 0 * * 7", "2024-05-11T23:59:00Z", "2024-05-05T00:00:00Z"},
        {"0 0 1 1 *", "2024-12-31T23:59:00Z", "2024-01-01T00:00:00Z"},
        {"15,45 3 * * *", "2024-05-05T03:44:00Z", "2024-05-05T03:15:00Z"},
        {"15,45 3 * * *", "2024-05-05T02:44:00Z", "2024-05-04T03:45:00Z"},
        {"0 12 * * *", "1970-01-01T00:00:00Z", "1969-12-31T12:00:00Z"},
    };
    (void)state;
    for (size_t i = 0; i < amber_countof(cases); i++) {
        struct amber_cron c = cron(cases[i][0]);
        assert_time(cases[i][0], cases[i][1], amber_cron_prev(&c, at(cases[i][1])), cases[i][2]);
    }
}

/* 29 February on one weekday comes every 28 years, and 40 years apart over 2100. The field starts
 * with a star, so both must fit: the day is a leap day and a Sunday. */
static void next_across_longest_gap_is_found(void **state)
{
    struct amber_cron c = cron("0 0 29 2 */7");
    int64_t us = at("2060-01-01T00:00:00Z"), longest = 0;
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct amber_civil date, last;
        int64_t next = amber_cron_next(&c, us);
        amber_civil_from_us(next, &date);
        amber_civil_from_us(us, &last);
        assert_int_equal(date.month, 2);
        assert_int_equal(date.day, 29);
        assert_int_equal(date.weekday, 0);
        if (i > 0 && date.year - last.year > longest)
            longest = date.year - last.year;
        us = next;
    }
    assert_int_equal(longest, 40);
}

static void next_and_prev_at_ends_of_time_do_not_overflow(void **state)
{
    struct amber_cron c = cron("* * * * *");
    (void)state;
    assert_true(amber_cron_next(&c, INT64_MAX) == INT64_MAX);
    assert_true(amber_cron_next(&c, INT64_MAX - 1) == INT64_MAX);
    assert_true(amber_cron_prev(&c, INT64_MIN) == INT64_MIN);
    assert_true(amber_cron_next(&c, INT64_MIN) > INT64_MIN);
    assert_true(amber_cron_prev(&c, INT64_MAX) < INT64_MAX);
}

static void parse_of_wrong_expression_names_field_and_what_is_allowed(void **state)
{
    static const char *const cases[][2] = {
        {"60 * * * *", "minute: \"60\" is not allowed: allowed are *, 0-59"},
        {"-1 * * * *", "minute: a value is missing"},
        {"* 24 * * *", "hour: \"24\" is not allowed: allowed are *, 0-23"},
        {"* * 0 * *", "day of month: \"0\" is not allowed: allowed are *, 1-31"},
        {"* * 32 * *", "day of month: \"32\""},
        {"* * * 13 *", "month: \"13\" is not allowed: allowed are *, 1-12 or jan-dec"},
        {"* * * sun *", "month: \"sun\""},
        {"* * * * 8", "day of week: \"8\" is not allowed: allowed are *, 0-7"},
        {"* * * * jan", "day of week: \"jan\""},
        {"5-1 * * * *", "minute: the range \"5-1\" runs backwards"},
        {"* * * * fri-sun", "or Sunday as 7"},
        {"*/0 * * * *", "minute: the step of \"*/0\" must be 1 to 59"},
        {"*/60 * * * *", "minute: the step of \"*/60\" must be 1 to 59"},
        {"*/ * * * *", "minute: the step of \"*/\""},
        {"*/5/5 * * * *", "minute: the step of"},
        {"5/15 * * * *",
         "minute: \"5/15\" has a step behind one value: write a range, \"5-59/15\""},
        {"1,,2 * * * *", "minute: a value is missing"},
        {"1, * * * *", "minute: a value is missing"},
        {"1- * * * *", "minute: a value is missing"},
        {"*5 * * * *", "minute: \"*5\""},
        {"1.5 * * * *", "minute: \"1.5\""},
        {"0x1 * * * *", "minute: \"0x1\""},
        {"? * * * *", "minute: \"?\""},
        {"* * L * *", "day of month: \"L\""},
        {"99999999999999999999 * * * *", "minute: \"99999999999999999999\""},
        {"* * * *", "this one has 4"},
        {"* * * * * *", "this one has 6"},
        {"", "this one has 0"},
        {"   ", "this one has 0"},
        {"@reboot", "\"@reboot\" is not known: allowed are @hourly"},
        {"@daily x", "\"@daily x\" is not known"},
        {"0 0 31 2 *", "no month of \"2\" has a day of \"31\""},
        {"0 0 30-31 feb *", "this would never run"},
        {"0 0 31 2,4,6,9,11 *", "this would never run"},
        {"0 0 31 4 */2", "this would never run"},
    };
    (void)state;
    for (size_t i = 0; i < amber_countof(cases); i++) {
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_cron c, before;
        memset(&c, 0x5a, sizeof(c));
        before = c;
        if (amber_cron_parse(cases[i][0], &c, &err) != AMBER_E_INVALID)
            fail_msg("\"%s\" was not refused", cases[i][0]);
        if (!strstr(err.text, cases[i][1]))
            fail_msg("\"%s\": \"%s\" doesn't say \"%s\"", cases[i][0], err.text, cases[i][1]);
        assert_memory_equal(&c, &before, sizeof(c));
    }
}

/* ---- random expressions against every minute of four years ---- */

static uint64_t seed = UINT64_C(0x9e3779b97f4a7c15);

static unsigned random_below(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 33) % n;
}

/* One field as text, and which values it means, worked out while it is written. */
static bool random_field(unsigned min, unsigned max, char *out, bool set[64])
{
    char *p = out;
    memset(set, 0, 64 * sizeof(*set));
    unsigned items = 1 + random_below(3);
    if (random_below(3) == 0) {
        strcpy(out, "*");
        for (unsigned v = min; v <= max; v++)
            set[v] = true;
        return true;
    }
    for (unsigned i = 0; i < items; i++) {
        unsigned kind = random_below(4), a = min + random_below(max - min + 1),
                 b = a + random_below(max - a + 1), step = 1;
        if (kind == 0) {
            p += sprintf(p, "%s%u", i ? "," : "", a);
            b = a;
        } else if (kind == 1) {
            p += sprintf(p, "%s%u-%u", i ? "," : "", a, b);
        } else if (kind == 2) {
            step = 1 + random_below(max);
            p += sprintf(p, "%s%u-%u/%u", i ? "," : "", a, b, step);
        } else {
            step = 1 + random_below(max);
            p += sprintf(p, "%s*/%u", i ? "," : "", step);
            a = min;
            b = max;
        }
        for (unsigned v = a; v <= b; v += step)
            set[v] = true;
    }
    return *out == '*';
}

static int month_length(int year, int month)
{
    static const int days[] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && leap ? 29 : days[month];
}

static void next_and_prev_of_random_expressions_equal_walk_over_minutes(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        char field[5][160], text[900];
        bool set[5][64];
        (void)random_field(0, 59, field[0], set[0]);
        (void)random_field(0, 23, field[1], set[1]);
        bool any_day = random_field(1, 31, field[2], set[2]);
        (void)random_field(1, 12, field[3], set[3]);
        bool any_weekday = random_field(0, 6, field[4], set[4]);
        snprintf(text, sizeof(text), "%s %s %s %s %s", field[0], field[1], field[2], field[3],
                 field[4]);
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_cron c;
        if (amber_cron_parse(text, &c, &err)) {
            if (!strstr(err.text, "never run"))
                fail_msg("\"%s\": %s", text, err.text);
            continue;
        }
        /* 2095-2098 has a leap day; 2099-2102 has the century without one. 2095-01-01 is a
         * Saturday. */
        int64_t us = at("2095-01-01T00:00:00Z"), last_hit = INT64_MIN;
        int weekday = 6;
        int64_t next = amber_cron_next(&c, us - MINUTE_US);
        for (int year = 2095; year <= 2102; year++) {
            for (int month = 1; month <= 12; month++) {
                for (int day = 1; day <= month_length(year, month); day++) {
                    bool fits =
                        set[3][month] && (any_day || any_weekday ? set[2][day] && set[4][weekday]
                                                                 : set[2][day] || set[4][weekday]);
                    for (int m = 0; m < 1440; m++, us += MINUTE_US) {
                        if (fits && set[1][m / 60] && set[0][m % 60]) {
                            if (next != us)
                                fail_msg("\"%s\": next is wrong by %lld min at %d-%d-%d", text,
                                         (long long)((next - us) / MINUTE_US), year, month, day);
                            next = amber_cron_next(&c, us);
                            last_hit = us;
                        }
                        if (m == 777 && last_hit != INT64_MIN &&
                            amber_cron_prev(&c, us + 59999999) != last_hit)
                            fail_msg("\"%s\": prev is wrong at %d-%d-%d", text, year, month, day);
                    }
                    weekday = (weekday + 1) % 7;
                }
            }
        }
        assert_true(next >= us);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(next_over_table_is_right),
        cmocka_unit_test(prev_over_table_is_right),
        cmocka_unit_test(next_across_longest_gap_is_found),
        cmocka_unit_test(next_and_prev_at_ends_of_time_do_not_overflow),
        cmocka_unit_test(parse_of_wrong_expression_names_field_and_what_is_allowed),
        cmocka_unit_test(next_and_prev_of_random_expressions_equal_walk_over_minutes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
