/*
 * progress.c - what a run is doing, written by its thread and read by .status and terminals.
 */
#include <string.h>

#include "amber/archiver.h"

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
