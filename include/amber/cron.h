/*
 * cron.h - five-field cron expressions in UTC: a pure function of (expression, time).
 *
 *   minute hour day-of-month month day-of-week
 *
 * `*`, numbers, lists, ranges, steps (star/5, 10-40/10), month and day names (jan, MON), Sunday as
 * 0 and 7; if both day fields are restricted (don't start with `*`) a day that fits either counts;
 * @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually.
 * source  POSIX crontab, and Vixie cron's rules for the day fields, steps and names
 */
#ifndef AMBER_CRON_H
#define AMBER_CRON_H

#include "amber/err.h"

struct amber_cron {
    uint64_t minutes; /* bit i: minute i */
    uint32_t hours, days; /* bit i; days 1-31 */
    uint16_t months;      /* bit i, 1-12 */
    uint8_t weekdays;     /* bit i, 0 Sunday .. 6 */
    bool any_day, any_weekday; /* the field starts with '*' */
};

/* errors  INVALID naming the field, what stands there and what is allowed; an expression that never
 * fires (31 February) is refused too */
enum amber_rc amber_cron_parse(const char *text, struct amber_cron *out, struct amber_err *err)
    AMBER_MUST_CHECK;
/* First minute strictly after after_us that fits, as microseconds since 1970. */
int64_t amber_cron_next(const struct amber_cron *c, int64_t after_us);
/* Last minute at or before at_us that fits (for missed runs). */
int64_t amber_cron_prev(const struct amber_cron *c, int64_t at_us);

#endif
