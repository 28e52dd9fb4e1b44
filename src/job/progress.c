/*
 * progress.c - what a run is doing, written by its thread and read by .status and terminals.
 */
#include <stdio.h>
#include <string.h>

#include "amber/calendar.h"
#include "archiver_priv.h"

const char *amber_phase_name(enum amber_phase p)
{
    switch (p) {
    case AMBER_PHASE_IDLE:
        return "idle";
    case AMBER_PHASE_PREFLIGHT:
        return "preflight";
    case AMBER_PHASE_EXPORT:
        return "export";
    case AMBER_PHASE_VERIFY:
        return "verify";
    case AMBER_PHASE_DELETE:
        return "delete";
    case AMBER_PHASE_COMMIT:
        return "commit";
    case AMBER_PHASE_VACUUM:
        return "vacuum";
    case AMBER_PHASE_COUNT:
        break;
    }
    return "?";
}

void amber_progress_init(struct amber_progress *p)
{
    memset(p, 0, sizeof(*p));
    pthread_mutex_init(&p->mutex, NULL);
}

void amber_progress_clear(struct amber_progress *p)
{
    pthread_mutex_destroy(&p->mutex);
}

void amber_progress_get(struct amber_progress *p, struct amber_progress *out_copy)
{
    pthread_mutex_lock(&p->mutex);
    *out_copy = *p;
    pthread_mutex_unlock(&p->mutex);
}

/* ---- written by a run, if somebody wants to know ---- */

void amber_archiver_phase(struct archiver *a, enum amber_phase phase)
{
    struct amber_progress *p = a->opt->progress;
    int64_t now = amber_mono_us();

    if (a->phase_since_us)
        a->result->phase_us[a->phase] += now - a->phase_since_us;
    a->phase = phase;
    a->phase_since_us = now;
    if (!p)
        return;
    pthread_mutex_lock(&p->mutex);
    p->phase = phase;
    pthread_mutex_unlock(&p->mutex);
}

void amber_archiver_tell_unit(struct archiver *a, int64_t first_day, int64_t last_day, uint64_t rows)
{
    struct amber_progress *p = a->opt->progress;
    char first[AMBER_DATE_MAX], last[AMBER_DATE_MAX];

    if (!p)
        return;
    amber_date_format(first_day, first);
    amber_date_format(last_day, last);
    pthread_mutex_lock(&p->mutex);
    snprintf(p->period, sizeof(p->period), "%s to %s", first, last);
    p->unit_rows_total = rows;
    p->unit_rows_done = 0;
    pthread_mutex_unlock(&p->mutex);
}

void amber_archiver_tell_table(struct archiver *a, const struct amber_table *table)
{
    struct amber_progress *p = a->opt->progress;

    if (!p)
        return;
    pthread_mutex_lock(&p->mutex);
    snprintf(p->table, sizeof(p->table), "%s.%s", table->schema, table->name);
    pthread_mutex_unlock(&p->mutex);
}

void amber_archiver_tell_rows(struct archiver *a, uint64_t rows, uint64_t raw_bytes, bool root)
{
    struct amber_progress *p = a->opt->progress;

    if (!p)
        return;
    pthread_mutex_lock(&p->mutex);
    p->rows += rows;
    p->raw_bytes = a->result->raw_bytes + raw_bytes;
    if (root)
        p->unit_rows_done += rows;
    pthread_mutex_unlock(&p->mutex);
}

void amber_archiver_tell_leaves_time(struct archiver *a, bool leaves_time)
{
    struct amber_progress *p = a->opt->progress;

    if (!p)
        return;
    pthread_mutex_lock(&p->mutex);
    p->leaves_time = leaves_time;
    pthread_mutex_unlock(&p->mutex);
}
