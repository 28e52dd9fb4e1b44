/*
 * mount_priv.h - what the files of the mount share.
 *
 *   fuse_ops.c        FUSE requests -> node -> handle        mount.c      session, event thread
 *   node.c, vnode.c   numbers and names -> nodes             listing.c    readdir
 *   fuse_read.c       open archives                          notify.c     what the kernel forgets
 *   foreign_files.c   other programs' files
 *   raw_files.c       .raw                                   call.c       blocking work, parking
 *   control_files.c   .status .metrics .control              xattr.c      user.amber.*
 *   restore_files.c   .restore                               mountinfo.c  which mounts there are
 *
 * Locks, each held for a few instructions and never over store, codec, database or operator calls:
 *   m->mutex          parked requests, restore files, handles, counts of threads
 *   archives' mutex   table of open archives (fuse_read.c)
 *   vnodes' mutex, notify's mutex
 * Order: m->mutex before vnodes' mutex; no other pair is held together. Answering a request (a
 * write to /dev/fuse, which doesn't wait) is allowed under m->mutex.
 */
#ifndef AMBER_MOUNT_PRIV_H
#define AMBER_MOUNT_PRIV_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>

#include "amber/cancel.h"
#include "amber/mount.h"
#include "node_priv.h"

#define MAX_WRITE_BYTES (1024U * 1024U)
#define CALLS_MAX 192U /* threads for what blocks, at one time */
#define WAITS_MAX 160U /* of these, for .control/wait: commands and restores always have some */

struct handle;
/* What can be done with an open file. Each answers req once, now or later. Missing: refused. */
struct handle_ops {
    void (*read)(struct handle *h, fuse_req_t req, size_t size, uint64_t off, bool nonblock);
    void (*write)(struct handle *h, fuse_req_t req, const char *data, size_t len, uint64_t off);
    void (*flush)(struct handle *h, fuse_req_t req);
    void (*readdir)(struct handle *h, fuse_req_t req, size_t size, uint64_t off, bool plus);
    void (*release)(struct handle *h); /* the last reference is gone; frees h */
};
/*
 * An open file or folder; fi->fh points to it. First member of each kind's struct. One reference is
 * the kernel's until it sends release, others are those of handlers that run: once an answer is
 * written, the release may be there before its handler has returned.
 */
struct handle {
    const struct handle_ops *ops;
    struct amber_mount *m;
    atomic_uint refs;
    struct handle *prev, *next; /* m->handles; guarded by m->mutex */
};

/*
 * A request whose answer comes later from another thread. m->mutex guards everything but
 * signaled, which libfuse's callback sets while it holds the request's own lock.
 */
struct parked {
    struct amber_mount *m;
    fuse_req_t req;       /* NULL: not parked (any more) */
    atomic_bool signaled; /* the caller got a signal, of whatever kind */
    bool interrupted;     /* it means that he gives up */
    bool told;            /* on_interrupt was called */
    bool like_pipe;       /* the caller waits for something to happen */
    /* Event thread, under m->mutex; once, when the caller gives up or the mount ends. */
    void (*on_interrupt)(struct parked *p);
    struct parked *prev, *next; /* m->parked */
};

struct notify_change {
    enum amber_tree_what what;
    uint64_t folder, ino;
    const char *name, *key; /* the tree's */
};
struct notify_queue {
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t changed;
    struct notify_change *items; /* owned */
    size_t n, cap;
    uint64_t added, sent; /* changes ever queued, ever told to the kernel */
    bool serving;         /* the kernel asks: it may know something */
    bool end;             /* nothing is sent any more */
};

struct archive;
struct archive_table;
struct restore_file;

struct amber_mount {
    struct amber_mount_config cfg; /* borrowed content */
    struct fuse_session *se;
    bool mounted;
    int64_t start_us;
    int event_fd;     /* eventfd: something for the event thread */
    int stop_fd;      /* eventfd: amber_mount_stop */
    int readahead_fd; /* the mount's read_ahead_kb, or -1 */
    pthread_t serve_thread, event_thread, notify_thread;
    atomic_bool asked;      /* a request came */
    atomic_bool loop_ended; /* serve is behind libfuse's loop */

    pthread_mutex_t mutex;
    pthread_cond_t idle; /* n_calls became 0 */
    struct parked *parked;
    struct handle *handles;
    struct restore_file *restores;
    unsigned n_calls, n_restores, n_waits;
    bool stopping; /* nothing is parked or started any more */

    struct vnode_table vnodes;
    struct notify_queue notify;
    struct archive_table *archives; /* owned */

    _Atomic uint64_t opens, reads, read_bytes, read_errors, control_writes, restore_count;
};

/* ---- fuse_ops.c ---- */
extern const struct fuse_lowlevel_ops amber_fuse_ops;
struct amber_caller amber_caller_of(fuse_req_t req);
void amber_audit(struct amber_mount *m, const char *what, const char *path,
                 const struct amber_caller *caller);
/* Answer a lookup with n, which loses its kernel reference if nobody waits for the answer any more. */
void amber_reply_node(struct amber_mount *m, fuse_req_t req, const struct node *n);
/* Answer open or opendir with h, which is released if nobody waits for the answer any more. */
void amber_reply_open(fuse_req_t req, struct fuse_file_info *fi, struct handle *h);
/* Put h on the mount's list of handles, with one reference / take it off (before it is freed). */
void amber_handle_add(struct amber_mount *m, struct handle *h, const struct handle_ops *ops);
void amber_handle_remove(struct handle *h);
void amber_handle_hold(struct handle *h);
void amber_handle_put(struct handle *h); /* the last one releases h */
/* Answer a read of a whole text with the part that was asked for. */
void amber_reply_text(fuse_req_t req, const char *text, size_t len, size_t size, uint64_t off);

/* ---- listing.c ---- */
/* A directory reply under construction. */
struct dir_fill {
    fuse_req_t req;
    char *buf; /* owned */
    size_t size, used;
    bool plus, full;
};
bool amber_dir_begin(struct dir_fill *d, fuse_req_t req, size_t size, bool plus);
/* One name, with e's attributes; e->ino 0: the kernel shall look it up itself. Returns false when
 * the buffer is full. */
bool amber_dir_add(struct dir_fill *d, const char *name, const struct fuse_entry_param *e,
                   uint64_t next_off);
void amber_dir_end(struct dir_fill *d);
/* Answer a readdir of a folder other than the store's own. */
void amber_list(fuse_req_t req, const struct node *n, size_t size, uint64_t off, bool plus);

/* ---- fuse_read.c ---- */
enum amber_rc amber_archives_new(struct archive_table **out,
                                 struct amber_err *err) AMBER_MUST_CHECK;
void amber_archives_free(struct archive_table *t); /* nothing acquired; NULL allowed */
/*
 * The archive with its manifest loaded and its reader open, until released. A failure is logged
 * here, once.
 * errors  as amber_manifest_get and amber_reader_open; CORRUPT the manifest is missing or isn't
 *         the entry's
 */
enum amber_rc amber_archive_acquire(struct amber_mount *m, const struct amber_tree_entry *entry,
                                    struct archive **out, struct amber_err *err) AMBER_MUST_CHECK;
void amber_archive_release(struct amber_mount *m, struct archive *a);
struct amber_reader *amber_archive_reader(const struct archive *a);
/* "schema.name" and the dates of the manifest. */
const char *amber_archive_table(const struct archive *a);
void amber_archive_days(const struct archive *a, int64_t *out_start, int64_t *out_end);
void amber_archive_open(struct amber_mount *m, fuse_req_t req, const struct node *n,
                        struct fuse_file_info *fi);
/* What happens with an archive that was acquired for an open: answers req and owns a. */
typedef void archive_opened_fn(struct amber_mount *m, fuse_req_t req, struct archive *a,
                               const struct amber_tree_entry *entry, struct fuse_file_info *fi,
                               const struct amber_caller *caller);
/* Acquire an archive without keeping others waiting, then opened, or answer the error. */
void amber_archive_open_by(struct amber_mount *m, fuse_req_t req,
                           const struct amber_tree_entry *entry, const struct fuse_file_info *fi,
                           archive_opened_fn *opened);
/* Another program's file was opened: what it is now goes to the tree, and if that is news, to the
 * kernel. Returns whether the kernel's pages of it may stay. Not on a FUSE thread. */
bool amber_foreign_note(struct amber_mount *m, const struct amber_tree_entry *e, uint64_t ino,
                        const char *version, uint64_t size, uint64_t stored_size);
bool amber_archive_note(struct amber_mount *m, const struct node *n, const struct archive *a);
/* An archive_opened_fn: it becomes an open file. */
void amber_archive_opened(struct amber_mount *m, fuse_req_t req, struct archive *a,
                          const struct amber_tree_entry *entry, struct fuse_file_info *fi,
                          const struct amber_caller *caller);
/* Count a failed read, and answer it. */
void amber_archive_read_failed(struct amber_mount *m, fuse_req_t req, const struct amber_err *err);
/* errno for what failed while reading: a stored object that is gone is an I/O error to the reader
 * of a file that is there. */
int amber_read_errno(const struct amber_err *err);

/* ---- foreign_files.c ---- */
/* Another program's archive whose size nobody has asked for yet. */
bool amber_foreign_unsized(const struct node *n);
/* Index it on a call thread, then answer. */
void amber_foreign_lookup(struct amber_mount *m, fuse_req_t req, const struct node *n);
void amber_foreign_getattr(struct amber_mount *m, fuse_req_t req, const struct node *n);
/* Open another program's file: decoded, or the stored bytes (PLAIN, or below .raw). */
void amber_foreign_file_open(struct amber_mount *m, fuse_req_t req, const struct node *n,
                             struct fuse_file_info *fi);

/* ---- raw_files.c ---- */
/* Open an object as it is. foreign: its entry, if it is another program's; else NULL. */
void amber_object_file_open(struct amber_mount *m, fuse_req_t req, const char *key,
                            const struct amber_tree_entry *foreign, uint64_t ino,
                            struct fuse_file_info *fi);
void amber_raw_open(struct amber_mount *m, fuse_req_t req, const struct node *n,
                    struct fuse_file_info *fi);
/* The name of an archive's stored file: the last component of its key. */
const char *amber_raw_name(const struct amber_tree_entry *e);
/* The archive or folder of this name in the .raw folder of a tree folder. */
bool amber_raw_lookup(struct amber_mount *m, uint64_t tree_folder, const char *name,
                      struct amber_node *out);
/* Answer the lookup of a name in .raw/.amberfs or a folder below. */
void amber_meta_lookup(struct amber_mount *m, fuse_req_t req, const struct node *parent,
                       const char *name);
void amber_meta_opendir(struct amber_mount *m, fuse_req_t req, const struct node *n,
                        struct fuse_file_info *fi);
void amber_meta_open(struct amber_mount *m, fuse_req_t req, const struct node *n,
                     struct fuse_file_info *fi);

/* ---- control_files.c ---- */
void amber_control_open(struct amber_mount *m, fuse_req_t req, const struct node *n,
                        struct fuse_file_info *fi);
/* Event thread, under m->mutex: give new lines to those who follow the log. */
void amber_follow_wake(struct amber_mount *m);

/* ---- restore_files.c ---- */
/* Returns errno; on success out has one kernel reference. */
int amber_restore_lookup(struct amber_mount *m, const struct node *parent, const char *name,
                         struct node *out);
void amber_restore_create(struct amber_mount *m, fuse_req_t req, const struct node *parent,
                          const char *name, struct fuse_file_info *fi);
/* setattr on a restore file or folder: what copying programs do to a new file is accepted and
 * without effect. Returns errno. */
int amber_restore_setattr(struct amber_mount *m, const struct node *n, const struct stat *attr,
                          int to_set);
/* Event thread, without lock: interrupt the sinks for which that was asked. */
void amber_restore_interrupts(struct amber_mount *m);
/* Under m->mutex: fail all restores that aren't done, since the mount ends. */
void amber_restore_stop(struct amber_mount *m);

/* ---- call.c ---- */
/* Run run(arg) on a thread of its own. Returns false if too many run, the mount ends or no thread
 * can be made: the caller answers the request itself. */
bool amber_call_start(struct amber_mount *m, void (*run)(void *arg), void *arg);
/* Park req until amber_parked_end. Under m->mutex. */
void amber_park(struct amber_mount *m, struct parked *p, fuse_req_t req, bool like_pipe,
                void (*on_interrupt)(struct parked *p));
/* Take the request back: the caller answers it now. NULL: it was answered already. Under
 * m->mutex. */
fuse_req_t amber_parked_end(struct parked *p);
/*
 * Work that may wait for the store, apart from its answer: a caller who gets a signal is answered
 * (EINTR) at once, and the work ends by itself. First member of each kind's struct.
 */
struct store_call {
    struct parked parked;
    void (*work)(struct store_call *c);
    /* Frees c. req NULL: the caller was answered, so what work took is given back. */
    void (*answer)(struct store_call *c, fuse_req_t req);
};
/* Do both: on a thread of its own where the store is remote, else right here. */
void amber_store_call(struct amber_mount *m, struct store_call *c, fuse_req_t req);
/* On a thread of its own wherever the store is. */
void amber_store_call_slow(struct amber_mount *m, struct store_call *c, fuse_req_t req);
bool amber_store_is_remote(const struct amber_mount *m);
/* Make the event thread look. Any thread; async-signal-safe. */
void amber_event_wake(struct amber_mount *m);
/* Event thread, under m->mutex: tell the parked requests whose caller gives up (all: all). Returns
 * whether one got a signal and doesn't give up: look again soon, nobody tells of the next signal. */
bool amber_parked_interrupts(struct amber_mount *m, bool all);
/* caller.c: whether a signal that waits for this thread ends what it waits for; like_pipe: each that it
 * catches does. A thread that is gone, or that can't be seen from here, gives up. */
bool amber_caller_gives_up(pid_t tid, bool like_pipe);
/* pthread_create with all signals blocked in the new thread. Returns errno. */
int amber_thread_start(pthread_t *out, bool detached, void *(*run)(void *arg), void *arg);

/* ---- notify.c ---- */
void amber_notify_init(struct notify_queue *q);
void amber_notify_clear(struct notify_queue *q);
void *amber_notify_main(void *mount);
/* It was mounted, perhaps as root. */
void amber_notify_mounted(struct amber_mount *m);
/* The kernel's first request came. */
void amber_notify_serving(struct amber_mount *m);
/* An inode's attributes and pages changed; returns when the kernel was told. Not on a FUSE thread. */
void amber_notify_altered(struct amber_mount *m, uint64_t ino);
/* End the thread; those who wait for it go on. */
void amber_notify_end(struct amber_mount *m);

/* ---- xattr.c ---- */
void amber_xattr_get(struct amber_mount *m, fuse_req_t req, const struct node *n, const char *name,
                     size_t size);
void amber_xattr_list(fuse_req_t req, const struct node *n, size_t size);

#endif
