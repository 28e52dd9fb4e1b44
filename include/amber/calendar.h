/*
 * calendar.h - UTC calendar arithmetic (proleptic Gregorian) and the clock.
 *
 * A day is a count of days since 1970-01-01; a time is microseconds since then, both UTC. Pure
 * functions, but for the two clocks.
 */
#ifndef AMBER_CALENDAR_H
#define AMBER_CALENDAR_H

#include "amber/err.h"

#define AMBER_DAY_US INT64_C(86400000000)
#define AMBER_DATE_LEN 11      /* "2024-01-31" and NUL; years past 9999 or before 0000 take more */
#define AMBER_DATE_MAX 40      /* room for any day */
#define AMBER_TIMESTAMP_MAX 64 /* room for "2024-01-31T02:00:00.123456Z" of any year */

struct amber_civil {
    int64_t year;
    int month; /* 1-12 */
    int day;   /* 1-31 */
    int hour, minute, second, us;
    int weekday; /* 0 Sunday .. 6 Saturday */
};

/* How archives are split by calendar date. RUN: one archive a run, not split. */
enum amber_period {
    AMBER_PERIOD_DAY,
    AMBER_PERIOD_WEEK, /* ISO week, Monday first */
    AMBER_PERIOD_MONTH,
    AMBER_PERIOD_QUARTER,
    AMBER_PERIOD_YEAR,
    AMBER_PERIOD_RUN,
};
bool amber_period_parse(const char *word, enum amber_period *out);
const char *amber_period_name(enum amber_period p);

int64_t amber_day_from_civil(int64_t year, int month, int day);
void amber_civil_from_us(int64_t us, struct amber_civil *out);
/* Weekday ignored; a time outside of 64 bits gives INT64_MIN or INT64_MAX. */
int64_t amber_us_from_civil(const struct amber_civil *c);
/* floor(us / day): right for times before 1970 */
int64_t amber_day_from_us(int64_t us);

/* First day of the period that holds day, and the first day of the next one. RUN: INT64_MIN/MAX. */
void amber_period_bounds(enum amber_period p, int64_t day, int64_t *out_first, int64_t *out_next);
/* Same day some months earlier or later; the day of month is lowered where the month is shorter. */
int64_t amber_day_add_months(int64_t day, int64_t months);

/* "2024-01-31" (AMBER_DATE_MAX bytes). */
void amber_date_format(int64_t day, char *out);
/* What amber_date_format writes: strict YYYY-MM-DD, a sign or more digits of the year only where
 * they are needed, years up to 9,999,999. errors INVALID. */
enum amber_rc amber_date_parse(const char *text, int64_t *out_day, struct amber_err *err)
    AMBER_MUST_CHECK;
/* "2024-01-31T02:00:00Z", with ".ffffff" only if not zero (AMBER_TIMESTAMP_MAX bytes). */
void amber_timestamp_format(int64_t us, char *out);
/* What amber_timestamp_format writes. errors INVALID. */
enum amber_rc amber_timestamp_parse(const char *text, int64_t *out_us, struct amber_err *err)
    AMBER_MUST_CHECK;

int64_t amber_now_us(void);  /* CLOCK_REALTIME */
int64_t amber_mono_us(void); /* CLOCK_MONOTONIC */

#endif
