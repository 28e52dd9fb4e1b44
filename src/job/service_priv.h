/*
 * service_priv.h - the daemon's engine, shared by its files: tasks and their runners (service.c),
 * the watcher (service_watch.c), replicas (service_replicas.c), what is shown (service_status.c) and
 * told (service_control.c).
 *
 * Everything below the mutex line is guarded by struct amber_service's mutex.
 */
#ifndef AMBER_SERVICE_PRIV_H
#define AMBER_SERVICE_PRIV_H

#include <pthread.h>

#include "amber/catalog.h"
#include "amber/copies.h"
#include "amber/recover.h"
#include "amber/replicator.h"
#include "amber/restorer.h"
#include "amber/service.h"
#include "folders_priv.h"

/* Somebody who waits for a task to end; on the waiter's stack. */
struct waiter {
    int event_fd;
    struct waiter *next;
};

enum task_kind { TASK_ARCHIVE, TASK_VERIFY, TASK_RESTORE };

/* One thing that can be queued by name: a job, or "verify" and "restore" with their arguments. */
struct task {
    char *name;
    enum task_kind kind;
    struct amber_progress progress; /* its own mutex */
    struct amber_cancel cancel;     /* of the running one; made anew for each run */
    /* --- guarded by the service's mutex --- */
    const struct amber_job *job; /* NULL: not a job, or gone from the jobs file */
    bool queued, running;
    struct amber_job_result last;
    struct amber_archive_result detail; /* of the last run in this process */
    char text[2048];                    /* verify, restore: what came of it, in lines */
    int64_t next_run_us;                /* INT64_MAX: never */
    int64_t retry_us;                   /* 0: no retry planned */
    unsigned failures;                  /* in a row */
    struct waiter *waiters;
};

/* A queued piece of work. */
struct work {
    struct task *task;
    char *argument; /* owned; of verify and restore */
    struct work *next;
};

/* Two runners: archive jobs one after the other; verify and restore beside them. */
struct runner {
    struct amber_service *service;
    pthread_t thread;
    bool started;
    struct work *head, **tail; /* guarded */
};

/* A replica of the store, filled by a thread of its own (service_replicas.c). */
struct replica {
    struct amber_service *service;
    unsigned copy;
    const char *name; /* the store's */
    pthread_t thread;
    bool started;
    char store_id[AMBER_UUID_LEN]; /* the thread's own copy */
    /* --- guarded by the service's mutex --- */
    bool copying, known; /* known: lag was read */
    struct amber_replica_lag lag;
    char error[1024]; /* why it is behind; "" */
};

struct pin {
    char table[256];
    int64_t from_day, to_day, until_us;
};

struct amber_service {
    const struct amber_context *ctx;
    bool read_only, enabled;
    char *store_type, *store_path, *mountpoint;
    struct amber_tree *tree;
    struct amber_mount *mount; /* NULL before start */
    int64_t started_us;
    struct amber_cancel stop; /* set once: everything ends */

    pthread_mutex_t mutex;
    pthread_cond_t changed; /* queue, schedule or stop */
    /* --- guarded by mutex --- */
    struct task **tasks;
    size_t n_tasks, tasks_cap;
    struct amber_jobs **job_sets; /* the newest is last; older ones may still be run */
    size_t n_job_sets, job_sets_cap;
    struct runner archive_runner, side_runner;
    struct amber_store_identity id;
    bool database_up;
    char database_name[128], database_error[1024];
    struct amber_recovery recovery;
    struct amber_missing missing; /* when the store was last listed */
    struct pin *pins;
    size_t n_pins;
    uint64_t refresh_begun, refresh_applied;
    bool tree_of_catalog; /* and no longer of the commit markers */
    /* What the tree is made from; markers, elsewhere and folders are the watcher's, and before it
     * starts the main thread's. */
    struct amber_marker_view *markers; /* owned; NULL: look at all of them */
    uint64_t elsewhere;                /* digest of what the store lists otherwise */
    struct amber_folders folders;      /* owned; of a local store, from before it was listed */
    struct amber_elsewhere listed;     /* owned; what the store listed last */
    int64_t listed_us, list_due_us;    /* monotonic; 0: never */
    uint64_t commits_seen; /* here or elsewhere: replicas may be behind */
    struct replica replicas[AMBER_COPIES_MAX - 1];
    size_t n_replicas;

    pthread_t scheduler, watcher;
    bool scheduler_started, watcher_started;
};

struct task *amber_service_task(struct amber_service *s, const char *name); /* mutex held */
/* Queue a task. argument is copied. errors BUSY; NOMEM. Takes the mutex. */
enum amber_rc amber_service_queue(struct amber_service *s, const char *name, const char *argument,
                                  const char *by, struct amber_err *err) AMBER_MUST_CHECK;
/* The text lines of a task's last result. Mutex held. */
enum amber_rc amber_service_result_text(const struct task *t, struct amber_buf *out,
                                        struct amber_err *err) AMBER_MUST_CHECK;
/* Run one verify or restore; fills text (2048 bytes). */
enum amber_rc amber_service_verify(struct amber_service *s, struct task *t, const char *argument,
                                   char *text, size_t text_len, struct amber_err *err)
    AMBER_MUST_CHECK;
enum amber_rc amber_service_restore(struct amber_service *s, struct task *t, const char *argument,
                                    char *text, size_t text_len, struct amber_err *err)
    AMBER_MUST_CHECK;
/* Parse "ARCHIVE [--into TABLE] [--on-conflict WORD] [--force] [--allow-triggers]"; the strings
 * point into line, which is changed. errors INVALID. */
enum amber_rc amber_restore_words(char *line, char **out_archive, struct amber_restore_options *out,
                                  struct amber_err *err) AMBER_MUST_CHECK;

/* The watcher thread; arg is the service. */
void *amber_service_watch_main(void *arg);
/* The first tree, before the mount shows anything: from the catalog if it can be had, else from the
 * commit markers. errors DENIED (another catalog's store, not a refused login), UNSUPPORTED,
 * INVALID: somebody has to look; IO of the store. */
enum amber_rc amber_service_first_tree(struct amber_service *s, struct amber_err *err)
    AMBER_MUST_CHECK;
/* A replica's thread; arg is its struct replica. */
void *amber_service_replica_main(void *arg);
/* Let the replicas' threads look for work. */
void amber_service_commit_seen(struct amber_service *s);
/* After the commit of a run or a restore; arg is the service. */
void amber_service_refresh_after_commit(void *arg, const char *what);

/* Mount operations in service_status.c. */
enum amber_rc amber_service_status(void *arg, struct amber_buf *out, struct amber_err *err);
enum amber_rc amber_service_metrics(void *arg, struct amber_buf *out, struct amber_err *err);

#endif
