/*
 * service.h - the daemon's engine: schedules jobs, runs them one at a time, keeps the tree in step
 * with the catalog, and answers the mount's control files.
 *
 *   scheduler thread   when a job is due: queue it
 *   runner thread      takes jobs off the queue and runs them
 *   watcher thread     one connection: LISTEN amberfs; loads the tree; tells whether the database
 *                      is there; comes back after an outage
 *
 * Lock order: service mutex, then a job's progress mutex. No lock is held over I/O or a database
 * call.
 */
#ifndef AMBER_SERVICE_H
#define AMBER_SERVICE_H

#include "amber/archiver.h"
#include "amber/mount.h"

struct amber_service_config {
    const struct amber_context *ctx; /* borrowed */
    struct amber_jobs *jobs;         /* malloc'ed; goes over to the service, also on failure */
    bool read_only;                  /* -o ro: no scheduler, no runner, no restores */
    bool enabled;                    /* ARCHIVAL_ENABLED; false: jobs run on trigger only */
    const char *store_type, *store_path; /* for .status */
    const char *mountpoint;
};

struct amber_service;
/* Make it and load the tree once (from the catalog, or from the markers if there is no database).
 * errors  NOMEM; IO the store can't be read; DENIED the store belongs to another catalog */
enum amber_rc amber_service_new(const struct amber_service_config *cfg, struct amber_tree *tree,
                                struct amber_service **out, struct amber_err *err)
    AMBER_MUST_CHECK;
/* Start the threads. mount: told of new archives; borrowed. */
enum amber_rc amber_service_start(struct amber_service *s, struct amber_mount *mount,
                                  struct amber_err *err) AMBER_MUST_CHECK;
/* Cancel what runs, end the threads; NULL allowed. The mount may still serve. */
void amber_service_stop(struct amber_service *s);
void amber_service_free(struct amber_service *s); /* stopped before */
/* Exchange the jobs (SIGHUP): a running job ends by its old definition. jobs goes over. */
void amber_service_reload(struct amber_service *s, struct amber_jobs *jobs);

/* What the mount calls; arg is the service. */
extern const struct amber_mount_ops amber_service_ops;

#endif
