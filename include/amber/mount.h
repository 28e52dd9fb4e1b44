/*
 * mount.h - the FUSE side: serves the tree, the readers behind it and the control files.
 *
 * The mount knows archives, the store and the tree. Whatever a job, a database or a configuration
 * would be is behind struct amber_mount_ops, which the layers to the right implement.
 *
 * Nodes:  archives and their folders · .raw/ (stored bytes; .raw/.amberfs/ the meta objects) ·
 * .status · .metrics · .control/{trigger,cancel,verify,restore,log,follow,wait/JOB} · .restore/
 * [TABLE/]. The dotted names answer lookup but aren't in the root's listing.
 *
 * Handlers only translate; what may block (control writes, restores, waits) runs on threads of
 * the mount's own and replies later, so that reads go on.
 */
#ifndef AMBER_MOUNT_H
#define AMBER_MOUNT_H

#include <sys/types.h>

#include "amber/cancel.h"
#include "amber/foreign.h"
#include "amber/reader.h"
#include "amber/tree.h"

struct amber_caller {
    uid_t uid;
    gid_t gid;
    pid_t pid;
};

enum amber_control {
    AMBER_CONTROL_TRIGGER,
    AMBER_CONTROL_CANCEL,
    AMBER_CONTROL_VERIFY,
    AMBER_CONTROL_RESTORE,
};

/* A restore that a file copied into .restore/ feeds. Calls come in order from one thread. */
struct amber_sink;
struct amber_sink_ops {
    /* Bytes of the file, in order. errors as found; sticky. */
    enum amber_rc (*write)(struct amber_sink *s, const void *data, size_t len,
                           struct amber_err *err);
    /* All bytes are there: commit, or roll back and say why. */
    enum amber_rc (*finish)(struct amber_sink *s, struct amber_err *err);
    /* Roll back unless finished, and free. Never while another call runs. */
    void (*close)(struct amber_sink *s);
    /* Make a running write or finish return CANCELED soon. Any thread. */
    void (*interrupt)(struct amber_sink *s);
};
struct amber_sink {
    const struct amber_sink_ops *ops;
};

/* What the mount asks of the rest. arg is the config's; calls come from any thread, may be
 * concurrent, and may block unless noted. */
struct amber_mount_ops {
    /* Append the .status document. Must not block on the database. */
    enum amber_rc (*status)(void *arg, struct amber_buf *out, struct amber_err *err);
    /* Append the Prometheus text. Must not block. */
    enum amber_rc (*metrics)(void *arg, struct amber_buf *out, struct amber_err *err);
    /* One line written to a control file, without its line break. A job accepted is running (or
     * queued) when this returns. errors NOT_FOUND no such job or archive; BUSY already running;
     * INVALID; DENIED read-only mount */
    enum amber_rc (*control)(void *arg, enum amber_control what, const char *line,
                             const struct amber_caller *caller, struct amber_err *err);
    /* Names below .control/wait/: true if name is one. */
    bool (*job_exists)(void *arg, const char *name);
    /* Names below .control/wait/, for its listing: the i-th, NULL behind the last. */
    const char *(*job_name)(void *arg, size_t i);
    /* Append the last result of the job as text lines ("state: ok", "rows: 12", ...), after its
     * running or queued run ended; at once if none runs. Blocks; returns CANCELED when cancel is
     * set. */
    enum amber_rc (*wait)(void *arg, const char *job, const struct amber_cancel *cancel,
                          struct amber_buf *out, struct amber_err *err);
    /* A file is created in .restore/ (table NULL) or .restore/TABLE/. errors INVALID not an
     * archive's name, NOT_FOUND no such table, DENIED, DB */
    enum amber_rc (*restore_open)(void *arg, const char *table, const char *file,
                                  const struct amber_caller *caller, struct amber_sink **out,
                                  struct amber_err *err);
    /* An archive was opened, a command written, a restore begun: audit. Must not block. what:
     * "open", "control", "restore"; path: below the mount point. */
    void (*audit)(void *arg, const char *what, const char *path, const struct amber_caller *caller);
};

struct amber_mount_config {
    const char *mountpoint; /* absolute */
    const char *options;    /* what -o gave that FUSE itself understands: "allow_other,..." or NULL */
    const char *source;     /* shown as the device in /proc/mounts; NULL "amberfs" */
    bool read_only;         /* -o ro: no control files but log and wait, no restore */
    uid_t uid;              /* owner of all files */
    gid_t gid;              /* group of archives (mode 0440, folders 0550) */
    unsigned threads;       /* FUSE threads, 0: default */
    struct amber_store *store;
    struct amber_tree *tree;
    struct amber_cache *cache;
    struct amber_foreign *foreign; /* NULL: the tree has no such entries */
    const struct amber_mount_ops *ops;
    void *arg;
};

struct amber_mount_stats {
    uint64_t opens, reads, read_bytes, read_errors, control_writes, restores;
};

struct amber_mount;
/*
 * Mount. A dead mount left at the mount point by a crash is detached first.
 * owner   everything in cfg is borrowed until amber_mount_free
 * thread  starts none: a caller may still fork; one mount a process follows the log
 * errors  NOT_FOUND mount point missing; BUSY an amberfs mount is alive there; DENIED; IO with
 *         FUSE's reason (no /dev/fuse, user_allow_other missing)
 */
enum amber_rc amber_mount_new(const struct amber_mount_config *cfg, struct amber_mount **out,
                              struct amber_err *err) AMBER_MUST_CHECK;
/*
 * Serve until amber_mount_stop or an outside unmount; all threads of the mount have ended then.
 * ready (may be NULL) is called once, when nothing but FUSE itself can keep it from serving.
 * Operations that run are waited for. While it serves, SIGURG is the mount's own, and the process
 * must not use its own mount (killed within such a request, it would wait for itself for ever).
 */
enum amber_rc amber_mount_serve(struct amber_mount *m, void (*ready)(void *arg), void *arg,
                                struct amber_err *err) AMBER_MUST_CHECK;
/* End serve: running reads finish, blocked waits and follows end, then unmount. Any thread;
 * async-signal-safe. */
void amber_mount_stop(struct amber_mount *m);
void amber_mount_free(struct amber_mount *m); /* unmounts if serve didn't; NULL allowed */
void amber_mount_stats(struct amber_mount *m, struct amber_mount_stats *out);

/* As amber_tree_replace on the mount's tree, telling the kernel what to forget (from a thread of
 * the mount's own), and returning when it was told. Any thread that isn't a FUSE handler and holds
 * no lock that an operation of amber_mount_ops takes. */
enum amber_rc amber_mount_update(struct amber_mount *m, const struct amber_tree_entry *entries,
                                 size_t n, struct amber_err *err) AMBER_MUST_CHECK;

/* Whether path is, or lies on, an amberfs mount (alive or dead); out_root gets its mount point
 * (owned by the caller, may be NULL). source /proc/self/mountinfo */
bool amber_mount_find(const char *path, char **out_root, bool *out_alive);
/* The mount point of the only amberfs mount of this machine that is alive; NULL if there is none or
 * more than one. Owned by the caller. */
char *amber_mount_only(void);
/* Detach the dead mount at root (a mount point as amber_mount_find gives it). errors DENIED, IO. */
enum amber_rc amber_mount_detach(const char *root, struct amber_err *err) AMBER_MUST_CHECK;

#endif
