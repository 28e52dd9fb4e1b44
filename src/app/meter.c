/*
 * meter.c - progress on a terminal; silent in a pipe.
 */
#include <stdio.h>
#include <unistd.h>

#include "amber/calendar.h"
#include "app.h"

#define INTERVAL_US 200000

void amber_meter_start(struct amber_meter *m, const struct app *app)
{
    *m = (struct amber_meter){
        .on = isatty(STDERR_FILENO) && !app->opt->quiet,
        .started_us = amber_mono_us(),
    };
}

void amber_meter_show(struct amber_meter *m, const char *label, uint64_t done, uint64_t total,
                      const char *unit)
{
    int64_t now = amber_mono_us();
    if (!m->on || now - m->last_us < INTERVAL_US)
        return;
    m->last_us = now;
    double seconds = (double)(now - m->started_us) / 1e6;
    double rate = seconds > 0 ? (double)done / seconds : 0;
    fprintf(stderr, "\r\033[K%s", label);
    if (total)
        fprintf(stderr, "  %3.0f %%", (double)done * 100 / (double)total);
    if (unit) {
        char d[32], t[32], r[32];
        amber_human_count(done, d);
        amber_human_count(total, t);
        amber_human_count((uint64_t)rate, r);
        fprintf(stderr, "  %s of %s %s  %s %s/s", d, t, unit, r, unit);
    } else {
        fprintf(stderr, "  %.1f MB/s", rate / 1e6);
    }
    if (rate > 0 && total > done)
        fprintf(stderr, "  %.0f s left", (double)(total - done) / rate);
    fflush(stderr);
}

void amber_meter_end(struct amber_meter *m)
{
    if (m->on && m->last_us)
        fprintf(stderr, "\r\033[K");
}
