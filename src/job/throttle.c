/*
 * throttle.c - what slows a run down for the sake of others. While we wait, a row more or less is in
 * the socket's buffer, and PostgreSQL waits with us.
 */
#include <poll.h>

#include "amber/calendar.h"
#include "amber/log.h"

#include "archiver_priv.h"

static enum amber_rc wait_us(struct archiver *a, int64_t us, struct amber_err *err)
{
    struct pollfd p = {.fd = a->cancel->fd, .events = POLLIN};
    int64_t begun = amber_mono_us();

    if (us > 0) {
        (void)poll(&p, 1, (int)(us / 1000));
        a->rest_us += amber_mono_us() - begun;
    }
    return amber_cancel_check(a->cancel, err);
}

enum amber_rc amber_archiver_keep_pace(struct archiver *a, struct amber_err *err)
{
    if (!a->pace.rows_per_second)
        return AMBER_OK;
    return wait_us(a, amber_pace_row(&a->pace, amber_mono_us()), err);
}

static void note_busy(struct archiver *a, bool busy)
{
    a->leaves_time = busy;
    a->share = (struct amber_share){0};
    amber_archiver_tell_leaves_time(a, busy);
    if (busy && !a->said_so)
        amber_info("job %s: other sessions are at work in the database: while they are, it works for "
                   "this run a fifth of the time (ARCHIVAL_EXPORT_CONNECTIONS=2 would take all)",
                   a->job->name);
    a->said_so |= busy;
}

enum amber_rc amber_archiver_breathe(void *arg, struct amber_err *err)
{
    struct archiver *a = arg;
    bool busy = amber_guard_busy(a->guard);

    if (busy != a->leaves_time)
        note_busy(a, busy);
    return busy ? wait_us(a, amber_share_rest(&a->share, amber_mono_us()), err) : AMBER_OK;
}
