/*
 * cron.c - parsing a cron expression into five bit sets, and finding the minutes that fit.
 *
 * A set has bit i for value i, so a minute fits if its five bits are set, with Vixie cron's rule
 * for the two day fields: a field that starts with '*' does not restrict, and then both must fit;
 * if both restrict, either does.
 *
 * next and prev walk day by day, skipping months that don't fit, and look for the minute within
 * the day that fits. The longest gap an expression that fires can have is 40 years (29 February
 * on one weekday, across a century year that is no leap year), so the walk ends after SPAN_DAYS.
 */
#include "amber/cron.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "amber/calendar.h"

#define MINUTE_US INT64_C(60000000)
#define DAY_MINUTES 1440
#define SPAN_DAYS (50 * 366)
/* Days whose microseconds fit int64_t, with room for a whole walk behind them. */
#define DAY_LIMIT (INT64_MAX / AMBER_DAY_US - SPAN_DAYS - 1)
#define ITEM_MAX 64 /* bytes of a field shown in a message */

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                          "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const weekday_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

/* One of the five fields: what it may hold. */
struct field {
    const char *name;
    unsigned min, max; /* values, both allowed */
    const char *const *names;
    unsigned n_names; /* names[i] stands for min + i */
    const char *allowed;
};
enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY, N_FIELDS };
static const struct field fields[N_FIELDS] = {
    [MINUTE] = {"minute", 0, 59, NULL, 0, "0-59"},
    [HOUR] = {"hour", 0, 23, NULL, 0, "0-23"},
    [DAY] = {"day of month", 1, 31, NULL, 0, "1-31"},
    [MONTH] = {"month", 1, 12, month_names, 12, "1-12 or jan-dec"},
    [WEEKDAY] = {"day of week", 0, 7, weekday_names, 7, "0-7 (0 and 7 are Sunday) or sun-sat"},
};

static const struct {
    const char *name, *text;
} macros[] = {
    {"@hourly", "0 * * * *"},   {"@daily", "0 0 * * *"},   {"@midnight", "0 0 * * *"},
    {"@weekly", "0 0 * * 0"},   {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"},
    {"@annually", "0 0 1 1 *"},
};

/* A cut of the expression under work. */
struct text {
    const char *at, *end;
};

static bool text_is(struct text t, const char *word)
{
    size_t len = (size_t)(t.end - t.at);
    return len == strlen(word) && strncasecmp(t.at, word, len) == 0;
}

/* Bytes of t that a message shows. */
static int shown(struct text t)
{
    return t.end - t.at > ITEM_MAX ? ITEM_MAX : (int)(t.end - t.at);
}

/* Take what stands before the next separator off t. */
static struct text cut(struct text *t, char separator, bool *out_more)
{
    const char *stop = memchr(t->at, separator, (size_t)(t->end - t->at));
    struct text head = {t->at, stop ? stop : t->end};
    *out_more = stop != NULL;
    t->at = stop ? stop + 1 : t->end;
    return head;
}

/* Digits only, at most three: no value of a field is longer. */
static bool number_parse(struct text t, unsigned *out)
{
    if (t.at == t.end || t.end - t.at > 3)
        return false;
    unsigned n = 0;
    for (const char *p = t.at; p < t.end; p++) {
        if (!isdigit((unsigned char)*p))
            return false;
        n = n * 10 + (unsigned)(*p - '0');
    }
    *out = n;
    return true;
}

static enum amber_rc value_parse(const struct field *f, struct text t, unsigned *out,
                                 struct amber_err *err)
{
    for (unsigned i = 0; i < f->n_names; i++) {
        if (text_is(t, f->names[i])) {
            *out = f->min + i;
            return AMBER_OK;
        }
    }
    unsigned n = 0;
    if (t.at == t.end)
        return amber_fail(err, AMBER_E_INVALID,
                          "%s: a value is missing: allowed are *, %s, lists (1,3), "
                          "ranges (1-5) and steps (*/5, 1-9/2)",
                          f->name, f->allowed);
    if (!number_parse(t, &n) || n < f->min || n > f->max)
        return amber_fail(err, AMBER_E_INVALID,
                          "%s: \"%.*s\" is not allowed: allowed are *, %s, "
                          "lists (1,3), ranges (1-5) and steps (*/5, 1-9/2)",
                          f->name, shown(t), t.at, f->allowed);
    *out = n;
    return AMBER_OK;
}

/* One item of a list: `*`, a value or a range, the first and the last with a step behind. */
static enum amber_rc item_parse(const struct field *f, struct text item, uint64_t *set,
                                struct amber_err *err)
{
    struct text whole = item;
    bool has_step, is_range;
    struct text range = cut(&item, '/', &has_step);
    unsigned step = 1, first = f->min, last = f->max;

    if (text_is(range, "*")) {
        is_range = true;
        if (f == &fields[WEEKDAY])
            last = 6; /* or a step would count Sunday twice: once as 0, once as 7 */
    } else {
        struct text rest = range;
        struct text low = cut(&rest, '-', &is_range);
        enum amber_rc rc = value_parse(f, low, &first, err);
        if (!rc)
            rc = is_range ? value_parse(f, rest, &last, err) : AMBER_OK;
        if (rc)
            return rc;
        if (!is_range)
            last = first;
        if (first > last)
            return amber_fail(err, AMBER_E_INVALID,
                              "%s: the range \"%.*s\" runs backwards: write it as two ranges "
                              "with a comma between%s",
                              f->name, shown(whole), whole.at,
                              f == &fields[WEEKDAY] ? ", or Sunday as 7" : "");
    }
    if (has_step && !is_range)
        return amber_fail(
            err, AMBER_E_INVALID,
            "%s: \"%.*s\" has a step behind one value: write a range, \"%u-%u%.*s\"", f->name,
            shown(whole), whole.at, first, f->max,
            (int)(whole.end - range.end > ITEM_MAX ? ITEM_MAX : whole.end - range.end), range.end);
    if (has_step && (!number_parse(item, &step) || step < 1 || step > f->max))
        return amber_fail(err, AMBER_E_INVALID, "%s: the step of \"%.*s\" must be 1 to %u", f->name,
                          shown(whole), whole.at, f->max);
    for (unsigned i = first; i <= last; i += step)
        *set |= UINT64_C(1) << i;
    return AMBER_OK;
}

static enum amber_rc field_parse(const struct field *f, struct text t, uint64_t *out,
                                 struct amber_err *err)
{
    uint64_t set = 0;
    bool more = true;
    while (more) {
        struct text item = cut(&t, ',', &more);
        enum amber_rc rc = item_parse(f, item, &set, err);
        if (rc)
            return rc;
    }
    *out = set;
    return AMBER_OK;
}

/* Cut an expression into its fields; false if there aren't exactly five. */
static bool split(const char *text, struct text out[N_FIELDS], unsigned *out_n)
{
    unsigned n = 0;
    for (const char *p = text;;) {
        p += strspn(p, " \t");
        if (!*p)
            break;
        size_t len = strcspn(p, " \t");
        if (n < N_FIELDS)
            out[n] = (struct text){p, p + len};
        n++;
        p += len;
    }
    *out_n = n;
    return n == N_FIELDS;
}

/* Replace @daily and the like by their five fields. */
static enum amber_rc macro_expand(const char **text, struct amber_err *err)
{
    const char *start = *text + strspn(*text, " \t");
    struct text word = {start, start + strlen(start)};
    while (word.end > word.at && (word.end[-1] == ' ' || word.end[-1] == '\t'))
        word.end--;
    if (*start != '@')
        return AMBER_OK;
    for (size_t i = 0; i < sizeof(macros) / sizeof(macros[0]); i++) {
        if (text_is(word, macros[i].name)) {
            *text = macros[i].text;
            return AMBER_OK;
        }
    }
    return amber_fail(err, AMBER_E_INVALID,
                      "\"%.*s\" is not known: allowed are @hourly, @daily, @midnight, @weekly, "
                      "@monthly, @yearly, @annually, or five fields",
                      shown(word), word.at);
}

/* Whether a day exists that the expression allows. Every date of a month falls on every weekday
 * sooner or later, so the weekdays never matter. */
static bool can_fire(const struct amber_cron *c)
{
    static const int longest[] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (!c->any_day && !c->any_weekday)
        return true;
    for (int month = 1; month <= 12; month++) {
        uint32_t possible = (uint32_t)((UINT64_C(1) << (longest[month] + 1)) - 1);
        if ((c->months >> month & 1) && (c->days & possible))
            return true;
    }
    return false;
}

enum amber_rc amber_cron_parse(const char *text, struct amber_cron *out, struct amber_err *err)
{
    struct text part[N_FIELDS];
    uint64_t set[N_FIELDS];
    unsigned n;

    enum amber_rc rc = macro_expand(&text, err);
    if (rc)
        return rc;
    if (!split(text, part, &n))
        return amber_fail(err, AMBER_E_INVALID,
                          "a cron expression has five fields (minute hour day-of-month month "
                          "day-of-week) and this one has %u: \"0 2 1 * *\" is 02:00 UTC on the "
                          "1st of each month",
                          n);
    for (unsigned i = 0; i < N_FIELDS; i++) {
        rc = field_parse(&fields[i], part[i], &set[i], err);
        if (rc)
            return rc;
    }
    struct amber_cron c = {
        .minutes = set[MINUTE],
        .hours = (uint32_t)set[HOUR],
        .days = (uint32_t)set[DAY],
        .months = (uint16_t)set[MONTH],
        .weekdays = (uint8_t)((set[WEEKDAY] | set[WEEKDAY] >> 7) & 0x7f),
        .any_day = *part[DAY].at == '*',
        .any_weekday = *part[WEEKDAY].at == '*',
    };
    if (!can_fire(&c))
        return amber_fail(err, AMBER_E_INVALID,
                          "day of month: no month of \"%.*s\" has a day of \"%.*s\": this would "
                          "never run",
                          shown(part[MONTH]), part[MONTH].at, shown(part[DAY]), part[DAY].at);
    *out = c;
    return AMBER_OK;
}

static bool day_fits(const struct amber_cron *c, const struct amber_civil *date)
{
    bool day = c->days >> date->day & 1;
    bool weekday = c->weekdays >> date->weekday & 1;
    return c->any_day || c->any_weekday ? day && weekday : day || weekday;
}

/* First minute of a day at or behind from that fits, -1 if none. */
static int minute_from(const struct amber_cron *c, int from)
{
    for (int hour = from / 60; hour < 24; hour++) {
        if (!(c->hours >> hour & 1))
            continue;
        for (int minute = hour == from / 60 ? from % 60 : 0; minute < 60; minute++)
            if (c->minutes >> minute & 1)
                return hour * 60 + minute;
    }
    return -1;
}

/* Last minute of a day at or before from that fits, -1 if none. */
static int minute_until(const struct amber_cron *c, int from)
{
    for (int hour = from / 60; hour >= 0; hour--) {
        if (!(c->hours >> hour & 1))
            continue;
        for (int minute = hour == from / 60 ? from % 60 : 59; minute >= 0; minute--)
            if (c->minutes >> minute & 1)
                return hour * 60 + minute;
    }
    return -1;
}

static void date_of(int64_t day, struct amber_civil *out)
{
    amber_civil_from_us(day * AMBER_DAY_US, out);
}

static int minute_of_day(int64_t us)
{
    int64_t left = us % AMBER_DAY_US; /* negative before 1970 */
    return (int)((left < 0 ? left + AMBER_DAY_US : left) / MINUTE_US);
}

static int64_t at(int64_t day, int minute)
{
    return day * AMBER_DAY_US + minute * MINUTE_US;
}

int64_t amber_cron_next(const struct amber_cron *c, int64_t after_us)
{
    int64_t day = amber_day_from_us(after_us);
    if (day > DAY_LIMIT)
        return INT64_MAX;
    if (day < -DAY_LIMIT)
        day = -DAY_LIMIT;
    int from = minute_of_day(after_us) + 1; /* strictly after; DAY_MINUTES at midnight's eve */
    for (int64_t end = day + SPAN_DAYS; day < end;) {
        struct amber_civil date;
        date_of(day, &date);
        if (!(c->months >> date.month & 1)) {
            day = amber_day_add_months(day - date.day + 1, 1);
        } else {
            int minute = day_fits(c, &date) && from < DAY_MINUTES ? minute_from(c, from) : -1;
            if (minute >= 0)
                return at(day, minute);
            day++;
        }
        from = 0;
    }
    return INT64_MAX;
}

int64_t amber_cron_prev(const struct amber_cron *c, int64_t at_us)
{
    int64_t day = amber_day_from_us(at_us);
    if (day < -DAY_LIMIT)
        return INT64_MIN;
    if (day > DAY_LIMIT)
        day = DAY_LIMIT;
    int from = minute_of_day(at_us);
    for (int64_t end = day - SPAN_DAYS; day > end;) {
        struct amber_civil date;
        date_of(day, &date);
        if (!(c->months >> date.month & 1)) {
            day -= date.day;
        } else {
            int minute = day_fits(c, &date) ? minute_until(c, from) : -1;
            if (minute >= 0)
                return at(day, minute);
            day--;
        }
        from = DAY_MINUTES - 1;
    }
    return INT64_MIN;
}
