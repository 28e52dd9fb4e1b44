/*
 * calendar.c - UTC calendar arithmetic.
 *
 * Days are turned into dates in a calendar whose year starts on 1 March, so that the leap day is
 * the last of its year: a cycle of 400 years has 146,097 days, counted from 0000-03-01, which is
 * day -719,468. All divisions round down, so that days before 1970 and years before 0 need no
 * special cases; sums that could leave 64 bits are made in 128.
 */
#include "amber/calendar.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "amber/mem.h"

#define CYCLE_DAYS 146097  /* in 400 years */
#define EPOCH_SHIFT 719468 /* days from 0000-03-01 to 1970-01-01 */
#define YEAR_LIMIT 9999999 /* of parsed text; PostgreSQL's dates end in 5874897 */

static const char *const period_words[] = {
    [AMBER_PERIOD_DAY] = "day",     [AMBER_PERIOD_WEEK] = "week",
    [AMBER_PERIOD_MONTH] = "month", [AMBER_PERIOD_QUARTER] = "quarter",
    [AMBER_PERIOD_YEAR] = "year",   [AMBER_PERIOD_RUN] = "run",
};

bool amber_period_parse(const char *word, enum amber_period *out)
{
    for (size_t i = 0; i < amber_countof(period_words); i++) {
        if (strcmp(word, period_words[i]) == 0) {
            *out = (enum amber_period)i;
            return true;
        }
    }
    return false;
}

const char *amber_period_name(enum amber_period p)
{
    return period_words[p];
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static int64_t floor_mod(int64_t a, int64_t b)
{
    int64_t m = a % b;

    return m < 0 ? m + b : m;
}

static bool is_leap(int64_t year)
{
    return floor_mod(year, 4) == 0 && (floor_mod(year, 100) != 0 || floor_mod(year, 400) == 0);
}

static int month_days(int64_t year, int month)
{
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Days before the month-th month (0 March .. 11 February) of a year that starts in March: the
 * lengths 31 30 31 30 31 repeat every five months with 153 days. */
static int64_t days_before_month(int64_t month)
{
    return (153 * month + 2) / 5;
}

int64_t amber_day_from_civil(int64_t year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t of_cycle = floor_mod(y, 400);
    int64_t days = of_cycle * 365 + of_cycle / 4 - of_cycle / 100 +
                   days_before_month(month > 2 ? month - 3 : month + 9) + day - 1;

    return floor_div(y, 400) * CYCLE_DAYS + days - EPOCH_SHIFT;
}

static void civil_from_day(int64_t day, int64_t *year, int *month, int *mday)
{
    /* Shift within the cycle rather than the day itself: INT64_MAX must not overflow. */
    int64_t cycle = floor_div(day, CYCLE_DAYS) + EPOCH_SHIFT / CYCLE_DAYS;
    int64_t d = floor_mod(day, CYCLE_DAYS) + EPOCH_SHIFT % CYCLE_DAYS;

    if (d >= CYCLE_DAYS) {
        d -= CYCLE_DAYS;
        cycle++;
    }
    /* Take out the leap days that came before d; what is left counts years of 365 days. */
    int64_t y = (d - d / 1460 + d / 36524 - d / (CYCLE_DAYS - 1)) / 365;
    int64_t of_year = d - (365 * y + y / 4 - y / 100);
    int64_t m = (5 * of_year + 2) / 153;

    *mday = (int)(of_year - days_before_month(m)) + 1;
    *month = (int)(m < 10 ? m + 3 : m - 9);
    *year = cycle * 400 + y + (*month <= 2);
}

int64_t amber_day_from_us(int64_t us)
{
    return floor_div(us, AMBER_DAY_US);
}

void amber_civil_from_us(int64_t us, struct amber_civil *out)
{
    int64_t day = amber_day_from_us(us);
    int64_t left = floor_mod(us, AMBER_DAY_US);

    civil_from_day(day, &out->year, &out->month, &out->day);
    out->us = (int)(left % 1000000);
    left /= 1000000;
    out->second = (int)(left % 60);
    out->minute = (int)(left / 60 % 60);
    out->hour = (int)(left / 3600);
    out->weekday = (int)floor_mod(day + 4, 7); /* 1970-01-01 was a Thursday */
}

/* False if the time is outside of 64 bits of microseconds. */
static bool us_from_civil(const struct amber_civil *c, int64_t *out)
{
    __int128 us = amber_day_from_civil(c->year, c->month, c->day);

    us *= AMBER_DAY_US;
    us += ((int64_t)c->hour * 3600 + (int64_t)c->minute * 60 + c->second) * 1000000 + c->us;
    *out = us < INT64_MIN ? INT64_MIN : us > INT64_MAX ? INT64_MAX : (int64_t)us;
    return us >= INT64_MIN && us <= INT64_MAX;
}

int64_t amber_us_from_civil(const struct amber_civil *c)
{
    int64_t us;

    us_from_civil(c, &us);
    return us;
}

/* First day of the month that lies some months behind January of year 0. */
static int64_t day_of_month_index(int64_t index)
{
    return amber_day_from_civil(floor_div(index, 12), (int)floor_mod(index, 12) + 1, 1);
}

void amber_period_bounds(enum amber_period p, int64_t day, int64_t *out_first, int64_t *out_next)
{
    int64_t year, months = 1;
    int month, mday;

    switch (p) {
    case AMBER_PERIOD_RUN:
        *out_first = INT64_MIN;
        *out_next = INT64_MAX;
        return;
    case AMBER_PERIOD_DAY:
        *out_first = day;
        *out_next = day + 1;
        return;
    case AMBER_PERIOD_WEEK:
        *out_first = day - floor_mod(day + 3, 7); /* 1970-01-01 is three days after its Monday */
        *out_next = *out_first + 7;
        return;
    case AMBER_PERIOD_MONTH:
        break;
    case AMBER_PERIOD_QUARTER:
        months = 3;
        break;
    case AMBER_PERIOD_YEAR:
        months = 12;
        break;
    }
    civil_from_day(day, &year, &month, &mday);
    int64_t index = year * 12 + month - 1;
    index -= floor_mod(index, months);
    *out_first = day_of_month_index(index);
    *out_next = day_of_month_index(index + months);
}

int64_t amber_day_add_months(int64_t day, int64_t months)
{
    int64_t year;
    int month, mday;

    civil_from_day(day, &year, &month, &mday);
    int64_t index = year * 12 + month - 1 + months;
    year = floor_div(index, 12);
    month = (int)floor_mod(index, 12) + 1;
    int last = month_days(year, month);
    return amber_day_from_civil(year, month, mday < last ? mday : last);
}

void amber_date_format(int64_t day, char *out)
{
    int64_t year;
    int month, mday;

    civil_from_day(day, &year, &month, &mday);
    snprintf(out, AMBER_DATE_MAX, "%s%04lld-%02d-%02d", year < 0 ? "-" : "",
             (long long)(year < 0 ? -year : year), month, mday);
}

/* Read exactly n digits at *s into *out and move behind them. */
static bool take_digits(const char **s, int n, int *out)
{
    int value = 0;

    for (int i = 0; i < n; i++) {
        unsigned digit = (unsigned)(unsigned char)(*s)[i] - '0';
        if (digit > 9)
            return false;
        value = value * 10 + (int)digit;
    }
    *s += n;
    *out = value;
    return true;
}

static bool take_char(const char **s, char c)
{
    if (**s != c)
        return false;
    (*s)++;
    return true;
}

/* [-]YYYY with as many digits as needed and no more than four that start with 0. */
static bool take_year(const char **s, int64_t *out)
{
    bool negative = take_char(s, '-');
    const char *start = *s;
    int64_t year = 0;

    while (**s >= '0' && **s <= '9' && year <= YEAR_LIMIT) {
        year = year * 10 + (**s - '0');
        (*s)++;
    }
    long n = *s - start;
    *out = negative ? -year : year;
    return n >= 4 && (n == 4 || *start != '0') && year <= YEAR_LIMIT && !(negative && year == 0);
}

static bool take_date(const char **s, struct amber_civil *c)
{
    return take_year(s, &c->year) && take_char(s, '-') && take_digits(s, 2, &c->month) &&
           take_char(s, '-') && take_digits(s, 2, &c->day) && c->month >= 1 && c->month <= 12 &&
           c->day >= 1 && c->day <= month_days(c->year, c->month);
}

enum amber_rc amber_date_parse(const char *text, int64_t *out_day, struct amber_err *err)
{
    struct amber_civil c = {0};
    const char *s = text;

    if (!take_date(&s, &c) || *s)
        return amber_fail(err, AMBER_E_INVALID, "\"%.40s\" is not a date; write it as 2024-01-31",
                          text);
    *out_day = amber_day_from_civil(c.year, c.month, c.day);
    return AMBER_OK;
}

void amber_timestamp_format(int64_t us, char *out)
{
    struct amber_civil c;
    char fraction[16] = "";

    amber_civil_from_us(us, &c);
    amber_date_format(amber_day_from_us(us), out);
    if (c.us)
        snprintf(fraction, sizeof(fraction), ".%06d", c.us);
    size_t len = strlen(out);
    snprintf(out + len, AMBER_TIMESTAMP_MAX - len, "T%02d:%02d:%02d%sZ", c.hour, c.minute, c.second,
             fraction);
}

static bool take_time(const char **s, struct amber_civil *c)
{
    if (!take_char(s, 'T') || !take_digits(s, 2, &c->hour) || !take_char(s, ':') ||
        !take_digits(s, 2, &c->minute) || !take_char(s, ':') || !take_digits(s, 2, &c->second))
        return false;
    if (take_char(s, '.') && !take_digits(s, 6, &c->us))
        return false;
    return take_char(s, 'Z') && c->hour <= 23 && c->minute <= 59 && c->second <= 59;
}

enum amber_rc amber_timestamp_parse(const char *text, int64_t *out_us, struct amber_err *err)
{
    struct amber_civil c = {0};
    const char *s = text;
    int64_t us;

    if (!take_date(&s, &c) || !take_time(&s, &c) || *s || !us_from_civil(&c, &us))
        return amber_fail(err, AMBER_E_INVALID,
                          "\"%.40s\" is not a UTC time; write it as 2024-01-31T02:00:00Z", text);
    *out_us = us;
    return AMBER_OK;
}

static int64_t clock_us(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t amber_now_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

int64_t amber_mono_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}
