/*
 * restore_files.c - .restore: a file written here becomes rows.
 *
 *   write -> queue (bounded) -> restore thread -> sink      flush -> restore thread -> sink.finish
 *
 * One thread for each open restore file; it owns the sink. What decides, all under m->mutex:
 *   - Bytes come in order: a write at another offset than the next fails the restore.
 *   - A write is answered when its bytes are queued; while the queue is full it is parked.
 *   - A flush commits if the process that wrote last sends it, there are bytes, and the last one is
 *     a line break. A flush of another process (a child that closes what it inherited) and one
 *     before any byte (a shell's dup) mean nothing.
 *   - A flush from a process that is dying (killed, or exiting with a failure): roll back. One from
 *     a process that exits with status 0 is a close like any other: `(echo a; echo b) > f` and many
 *     programs leave closing to exit. A release without commit rolls back.
 *   - Failures are sticky: every later write and flush gets the errno.
 *
 * Once committed or failed the file has no name any more: the next cp of the same name makes a new
 * one, though the kernel sends the release of the old one later.
 */
#include "mount_priv.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "amber/log.h"
#include "closer_priv.h"

#define QUEUE_BYTES (4U * 1024U * 1024U) /* bytes that wait for the sink, for each file */
#define OPEN_MAX 16U                     /* restore files at one time: each has a connection */

struct chunk {
    struct chunk *next;
    size_t len;
    char data[];
};

/* A flush that waits for the commit. */
struct flush_wait {
    struct parked parked;
    struct restore_file *f;
    struct flush_wait *next;
};

struct restore_file {
    struct handle h;
    struct restore_file *next_file; /* m->restores */
    struct vnode *v;                /* the open file's; the kernel knows it while it is open */
    char *table, *name, *path;      /* owned; table NULL: by the archive's name */
    struct amber_caller caller;
    struct fuse_file_info fi;
    struct parked create; /* the request that made the file, while the sink opens */

    /* all below guarded by m->mutex */
    unsigned refs; /* the thread's and the handle's */
    pthread_cond_t changed;
    struct amber_sink *sink; /* the thread's; NULL once closed */
    struct chunk *first, **last;
    size_t queued;     /* bytes in the queue and in the sink's hands */
    uint64_t accepted; /* bytes of all writes so far, the parked one too */
    char last_byte;
    pid_t writer_tid, writer; /* who wrote last: thread and process */
    struct parked write;      /* the write that waits for room */
    struct chunk *write_chunk;
    struct flush_wait *flushes;
    int sticky;          /* errno of the failure; 0 none */
    int flush_errno;     /* what the waiting flushes get, if not sticky */
    int late;            /* errno for what is written after the commit began; 0 nothing was */
    bool finish;         /* commit when the queue is empty */
    bool committing;     /* the thread is in the sink's finish */
    bool done;           /* committed */
    bool released;       /* closed by everyone */
    bool want_interrupt; /* the sink shall be interrupted */
    bool interrupting;   /* the event thread is in the sink's interrupt */
};

/* ---- state, under m->mutex ---- */

static void file_free(struct restore_file *f)
{
    for (struct chunk *c = f->first, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    pthread_cond_destroy(&f->changed);
    free(f->write_chunk);
    free(f->table);
    free(f->name);
    free(f->path);
    free(f);
}

/* Take f off the mount's list and drop the name; the last reference frees it. */
static void file_unref(struct restore_file *f)
{
    struct amber_mount *m = f->h.m;
    if (--f->refs > 0)
        return;
    struct restore_file **p = &m->restores;
    while (*p != f)
        p = &(*p)->next_file;
    *p = f->next_file;
    m->n_restores--;
    file_free(f);
}

static void drop_queue(struct restore_file *f)
{
    for (struct chunk *c = f->first, *next; c; c = next) {
        next = c->next;
        f->queued -= c->len;
        free(c);
    }
    f->first = NULL;
    f->last = &f->first;
}

static void interrupt_later(struct restore_file *f)
{
    f->want_interrupt = true;
    amber_event_wake(f->h.m);
}

/* From here on every write and flush gets errno e, and the thread rolls back. A commit that runs
 * is only interrupted: its own result tells what became of the rows. */
static void fail(struct restore_file *f, int e, const char *why)
{
    if (f->sticky || f->done)
        return;
    if (f->committing) {
        interrupt_later(f);
        return;
    }
    f->sticky = e;
    amber_warn("restore %s: rolled back: %s", f->path, why);
    drop_queue(f);
    if (f->v)
        amber_vnode_unname(&f->h.m->vnodes, f->v);
    fuse_req_t req = amber_parked_end(&f->write);
    if (req)
        fuse_reply_err(req, e);
    free(amber_steal(&f->write_chunk));
    pthread_cond_broadcast(&f->changed);
}

static void set_accepted(struct restore_file *f, uint64_t bytes)
{
    f->accepted = bytes;
    if (f->v)
        atomic_store(&f->v->size, bytes);
}

static void queue(struct restore_file *f, struct chunk *c)
{
    *f->last = c;
    f->last = &c->next;
    f->queued += c->len;
    pthread_cond_broadcast(&f->changed);
}

/* The queue has room again: the write that waits is done. */
static void admit_write(struct restore_file *f)
{
    if (!f->write_chunk || (f->queued && f->queued + f->write_chunk->len > QUEUE_BYTES))
        return;
    struct chunk *c = amber_steal(&f->write_chunk);
    size_t len = c->len;
    queue(f, c);
    fuse_req_t req = amber_parked_end(&f->write);
    if (req)
        fuse_reply_write(req, len);
}

static void answer_flushes(struct restore_file *f, int e)
{
    for (struct flush_wait *w = f->flushes, *next; w; w = next) {
        next = w->next;
        fuse_req_t req = amber_parked_end(&w->parked);
        if (req)
            fuse_reply_err(req, e);
        free(w);
    }
    f->flushes = NULL;
}

/* ---- the thread ---- */

/* Roll back unless finished. Under m->mutex, which is released meanwhile. */
static void close_sink(struct restore_file *f)
{
    struct amber_mount *m = f->h.m;
    while (f->interrupting)
        pthread_cond_wait(&f->changed, &m->mutex);
    struct amber_sink *s = amber_steal(&f->sink);
    if (!s)
        return;
    pthread_mutex_unlock(&m->mutex);
    s->ops->close(s);
    pthread_mutex_lock(&m->mutex);
}

/* A failed restore's errno for those who wait for it; the caller who interrupted it gets EINTR. */
static void fail_by_sink(struct restore_file *f, const struct amber_err *err)
{
    int e = amber_err_errno(err);
    if (f->sticky) /* that was the reason for this failure too */
        return;
    f->flush_errno = e;
    fail(f, e == EINTR ? EIO : e, err->text);
}

static void write_first(struct restore_file *f)
{
    struct amber_mount *m = f->h.m;
    struct amber_err err = AMBER_ERR_INIT;
    struct chunk *c = f->first;
    if (!(f->first = c->next))
        f->last = &f->first;
    pthread_mutex_unlock(&m->mutex);
    enum amber_rc rc = f->sink->ops->write(f->sink, c->data, c->len, &err);
    pthread_mutex_lock(&m->mutex);
    f->queued -= c->len;
    free(c);
    if (rc)
        fail_by_sink(f, &err);
    else if (!f->sticky)
        admit_write(f);
}

static void commit(struct restore_file *f)
{
    struct amber_mount *m = f->h.m;
    struct amber_err err = AMBER_ERR_INIT;
    f->committing = true;
    pthread_mutex_unlock(&m->mutex);
    enum amber_rc rc = f->sink->ops->finish(f->sink, &err);
    pthread_mutex_lock(&m->mutex);
    f->committing = f->finish = false;
    if (rc) {
        fail_by_sink(f, &err);
        return;
    }
    f->done = true;
    if (f->v)
        amber_vnode_unname(&m->vnodes, f->v);
    close_sink(f);
    answer_flushes(f, 0);
}

/* Feed the sink until the file is closed or the mount ends. Under m->mutex. */
static void feed(struct restore_file *f)
{
    struct amber_mount *m = f->h.m;
    for (;;) {
        if (f->sticky) {
            close_sink(f);
            answer_flushes(f, f->flush_errno ? f->flush_errno : f->sticky);
        }
        bool live = !f->sticky && !f->done;
        if (live && f->first)
            write_first(f);
        else if (live && f->finish)
            commit(f);
        else if (f->released || m->stopping)
            break;
        else
            pthread_cond_wait(&f->changed, &m->mutex);
    }
    if (!f->done)
        fail(f, EIO, "the mount ended"); /* nothing if it failed before */
    close_sink(f);
    answer_flushes(f, f->done ? 0 : f->sticky);
}

static const struct handle_ops restore_ops;

/* Answer the create. Under m->mutex. Returns false if nobody waits for the file any more. */
static bool publish(struct restore_file *f, fuse_req_t req)
{
    struct amber_mount *m = f->h.m;
    struct vnode *other = amber_vnode_ref(&m->vnodes, NODE_RESTORE_FILE, f->path, false);
    if (other)
        amber_vnode_forget(&m->vnodes, other->ino, 1);
    else
        f->v = amber_vnode_ref(&m->vnodes, NODE_RESTORE_FILE, f->path, true);
    if (!f->v) {
        fuse_reply_err(req, other ? EEXIST : ENOMEM);
        return false;
    }
    struct node n = {.kind = NODE_RESTORE_FILE, .ino = f->v->ino, .v = f->v};
    struct fuse_entry_param e = {.ino = f->v->ino};
    amber_node_stat(m, &n, &e.attr);
    f->fi.fh = (uintptr_t)f;
    f->fi.direct_io = 1; /* sizes are what was accepted; nothing stays in the page cache */
    f->refs++;
    pthread_mutex_unlock(&m->mutex);
    amber_handle_add(m, &f->h, &restore_ops);
    bool wanted = fuse_reply_create(req, &e, &f->fi) == 0;
    if (!wanted) {
        uint64_t ino = e.ino;
        amber_handle_remove(&f->h);
        pthread_mutex_lock(&m->mutex);
        f->refs--;
        f->v = NULL;
        pthread_mutex_unlock(&m->mutex);
        amber_vnode_forget(&m->vnodes, ino, 1);
    }
    pthread_mutex_lock(&m->mutex);
    return wanted;
}

static void restore_run(void *arg)
{
    struct restore_file *f = arg;
    struct amber_mount *m = f->h.m;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_sink *sink = NULL;
    enum amber_rc rc =
        m->cfg.ops->restore_open(m->cfg.arg, f->table, f->name, &f->caller, &sink, &err);
    if (rc)
        amber_warn("restore %s refused: %s", f->path, err.text);
    pthread_mutex_lock(&m->mutex);
    f->sink = rc ? NULL : sink;
    fuse_req_t req = amber_parked_end(&f->create);
    if (rc && req) {
        fuse_reply_err(req, amber_err_errno(&err));
    } else if (!rc && req && publish(f, req)) {
        feed(f);
    } else if (!rc) {
        amber_info("restore %s: its writer left before it began", f->path);
        f->sticky = EINTR;
        close_sink(f);
    }
    file_unref(f);
    pthread_mutex_unlock(&m->mutex);
}

/* ---- requests ---- */

/* The writer gives up waiting for room: nothing of this write was taken. */
static void write_interrupted(struct parked *p)
{
    struct restore_file *f =
        (struct restore_file *)(void *)((char *)p - offsetof(struct restore_file, write));
    fuse_req_t req = amber_parked_end(p);
    if (!req)
        return;
    set_accepted(f, f->accepted - f->write_chunk->len);
    free(amber_steal(&f->write_chunk));
    fuse_reply_err(req, EINTR);
}

/* Why these bytes can't be taken, errno; 0 if they can. */
static int refuse_write(struct restore_file *f, uint64_t off)
{
    char why[160];
    if (f->sticky || f->late)
        return f->sticky ? f->sticky : f->late;
    if (f->done || f->finish) {
        amber_warn("restore %s: bytes came after a close that committed its rows; write each file "
                   "with one program",
                   f->path);
        f->late = EINVAL;
    } else if (f->write_chunk || off != f->accepted) {
        snprintf(why, sizeof(why),
                 "a write at offset %llu where %llu was expected: holes and "
                 "rewriting can't become rows (cp --sparse=never)",
                 (unsigned long long)off, (unsigned long long)f->accepted);
        fail(f, EINVAL, why);
    }
    return f->sticky ? f->sticky : f->late;
}

static void restore_write(struct handle *h, fuse_req_t req, const char *data, size_t len,
                          uint64_t off)
{
    struct restore_file *f = (struct restore_file *)h;
    struct amber_mount *m = h->m;
    pid_t tid = fuse_req_ctx(req)->pid;
    struct chunk *c = malloc(sizeof(*c) + len);
    if (!c) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    c->next = NULL;
    c->len = len;
    memcpy(c->data, data, len);
    pthread_mutex_lock(&m->mutex);
    bool same = f->accepted && f->writer_tid == tid;
    pthread_mutex_unlock(&m->mutex);
    pid_t process = same ? 0 : amber_process_of(tid);
    pthread_mutex_lock(&m->mutex);
    int e = refuse_write(f, off);
    if (!e && !same) {
        f->writer_tid = tid;
        f->writer = process;
    }
    if (e) {
        fuse_reply_err(req, e);
        free(c);
    } else {
        set_accepted(f, f->accepted + len);
        if (len)
            f->last_byte = data[len - 1];
        if (f->queued && f->queued + len > QUEUE_BYTES && !m->stopping) {
            f->write_chunk = c;
            amber_park(m, &f->write, req, false, write_interrupted);
        } else {
            queue(f, c);
            fuse_reply_write(req, len);
        }
    }
    pthread_mutex_unlock(&m->mutex);
}

static void flush_interrupted(struct parked *p)
{
    struct restore_file *f = ((struct flush_wait *)p)->f;
    f->want_interrupt = true; /* the event thread looks right after this */
}

/* Park a flush until the rows are committed. */
static void flush_and_wait(struct restore_file *f, fuse_req_t req)
{
    struct flush_wait *w = calloc(1, sizeof(*w));
    if (!w) {
        fail(f, ENOMEM, "no memory");
        fuse_reply_err(req, ENOMEM);
        return;
    }
    w->f = f;
    w->next = f->flushes;
    f->flushes = w;
    f->finish = true;
    amber_park(f->h.m, &w->parked, req, false, flush_interrupted);
    pthread_cond_broadcast(&f->changed);
}

static void restore_flush(struct handle *h, fuse_req_t req)
{
    struct restore_file *f = (struct restore_file *)h;
    struct amber_mount *m = h->m;
    pid_t tid = fuse_req_ctx(req)->pid;
    pid_t process = amber_process_of(tid);
    bool died = tid > 0 && amber_closer_state(tid) == CLOSER_DIED;
    pthread_mutex_lock(&m->mutex);
    /* A process whose number was known has none any more: it was taken from its namespace. */
    bool vanished = tid == 0 && f->caller.pid != 0;
    if (!f->sticky && !f->done && f->accepted && (vanished || process == f->writer)) {
        if (vanished || died) {
            fail(f, EIO,
                 "its writer was killed or failed before it closed the file; copy it again");
            interrupt_later(f);
        } else if (f->last_byte != '\n') {
            fail(f, EINVAL, "the last line has no line break, the file seems cut off");
            interrupt_later(f);
        } else {
            flush_and_wait(f, req);
            req = NULL;
        }
    }
    int e = f->sticky ? f->sticky : f->late;
    pthread_mutex_unlock(&m->mutex);
    if (req)
        fuse_reply_err(req, e);
}

static void restore_release(struct handle *h)
{
    struct restore_file *f = (struct restore_file *)h;
    struct amber_mount *m = h->m;
    amber_handle_remove(h);
    pthread_mutex_lock(&m->mutex);
    f->released = true;
    if (!f->done) {
        fail(f, EIO, f->accepted ? "closed without a commit" : "nothing was written");
        interrupt_later(f);
    }
    f->v = NULL;
    pthread_cond_broadcast(&f->changed);
    file_unref(f);
    pthread_mutex_unlock(&m->mutex);
}

static const struct handle_ops restore_ops = {
    .write = restore_write,
    .flush = restore_flush,
    .release = restore_release,
};

void amber_restore_interrupts(struct amber_mount *m)
{
    pthread_mutex_lock(&m->mutex);
    for (struct restore_file *f = m->restores; f;) {
        if (!f->want_interrupt || f->interrupting) {
            f = f->next_file;
            continue;
        }
        f->want_interrupt = false;
        struct amber_sink *s = f->sink;
        if (!s || f->done)
            continue;
        f->interrupting = true; /* keeps the sink, and with it f */
        pthread_mutex_unlock(&m->mutex);
        s->ops->interrupt(s);
        pthread_mutex_lock(&m->mutex);
        f->interrupting = false;
        pthread_cond_broadcast(&f->changed);
        f = m->restores; /* the list may be another one now */
    }
    pthread_mutex_unlock(&m->mutex);
}

void amber_restore_stop(struct amber_mount *m)
{
    for (struct restore_file *f = m->restores; f; f = f->next_file) {
        fail(f, EIO, "the mount ended");
        f->want_interrupt = true;
        pthread_cond_broadcast(&f->changed);
    }
}

/* ---- names ---- */

/* Names that are files to be made, not tables: `cp` looks at its target before it makes it. */
static bool looks_like_file(const char *name)
{
    static const char *const suffixes[] = {".json", ".ndjson", ".jsonl", ".csv", ".tsv",
                                           ".txt",  ".gz",     ".zst",   ".tmp", ".part"};
    size_t len = strlen(name);
    if (name[0] == '.')
        return true;
    for (size_t i = 0; i < amber_countof(suffixes); i++) {
        size_t n = strlen(suffixes[i]);
        if (len > n && strcasecmp(name + len - n, suffixes[i]) == 0)
            return true;
    }
    return false;
}

/* The path of a file: its name, or "TABLE/name". Owned by the caller; NULL: no memory. */
static char *path_of(const struct node *parent, const char *name)
{
    struct amber_err err = AMBER_ERR_INIT;
    char *path = NULL;
    bool table = parent->kind == NODE_RESTORE_TABLE;
    if (amber_asprintf(&path, &err, ".restore/%s%s%s", table ? parent->v->name : "",
                       table ? "/" : "", name))
        return NULL;
    return path;
}

int amber_restore_lookup(struct amber_mount *m, const struct node *parent, const char *name,
                         struct node *out)
{
    AMBER_AUTO_FREE char *path = path_of(parent, name);
    if (!path)
        return ENOMEM;
    enum node_kind kind = NODE_RESTORE_FILE;
    struct vnode *v = amber_vnode_ref(&m->vnodes, kind, path, false);
    if (!v && parent->kind == NODE_RESTORE && !looks_like_file(name)) {
        kind = NODE_RESTORE_TABLE;
        v = amber_vnode_ref(&m->vnodes, kind, name, true);
        if (!v)
            return ENOMEM;
    }
    if (!v)
        return ENOENT;
    *out = (struct node){.kind = kind, .ino = v->ino, .v = v};
    return 0;
}

static void create_interrupted(struct parked *p)
{
    fuse_req_t req = amber_parked_end(p);
    if (req)
        fuse_reply_err(req, EINTR);
}

static struct restore_file *file_new(struct amber_mount *m, fuse_req_t req,
                                     const struct node *parent, const char *name,
                                     const struct fuse_file_info *fi)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct restore_file *f = calloc(1, sizeof(*f));
    if (!f)
        return NULL;
    pthread_cond_init(&f->changed, NULL);
    f->last = &f->first;
    f->h.m = m;
    f->refs = 1; /* the thread's */
    f->caller = amber_caller_of(req);
    f->fi = *fi;
    f->path = path_of(parent, name);
    enum amber_rc rc = amber_strdup(name, &f->name, &err);
    if (!rc && parent->kind == NODE_RESTORE_TABLE)
        rc = amber_strdup(parent->v->name, &f->table, &err);
    if (rc || !f->path) {
        file_free(f);
        return NULL;
    }
    return f;
}

void amber_restore_create(struct amber_mount *m, fuse_req_t req, const struct node *parent,
                          const char *name, struct fuse_file_info *fi)
{
    if ((fi->flags & O_ACCMODE) != O_WRONLY) {
        fuse_reply_err(req, EACCES); /* what is written here can't be read */
        return;
    }
    struct restore_file *f = file_new(m, req, parent, name, fi);
    if (!f) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    pthread_mutex_lock(&m->mutex);
    if (m->n_restores >= OPEN_MAX || m->stopping) {
        pthread_mutex_unlock(&m->mutex);
        amber_warn("restore %s refused: %u files are being restored already", f->path, OPEN_MAX);
        file_free(f);
        fuse_reply_err(req, EBUSY);
        return;
    }
    m->n_restores++;
    f->next_file = m->restores;
    m->restores = f;
    amber_park(m, &f->create, req, false, create_interrupted);
    pthread_mutex_unlock(&m->mutex);
    atomic_fetch_add(&m->restore_count, 1);
    amber_audit(m, "restore", f->path, &f->caller);
    if (amber_call_start(m, restore_run, f))
        return;
    pthread_mutex_lock(&m->mutex);
    req = amber_parked_end(&f->create);
    file_unref(f);
    pthread_mutex_unlock(&m->mutex);
    if (req)
        fuse_reply_err(req, EAGAIN);
}

int amber_restore_setattr(struct amber_mount *m, const struct node *n, const struct stat *attr,
                          int to_set)
{
    int e = 0;
    (void)m;
    /* To 0 before the first byte (open with O_TRUNC), or to what is there (dd, tar at the end). */
    if (to_set & FUSE_SET_ATTR_SIZE) {
        bool same =
            n->kind == NODE_RESTORE_FILE && (uint64_t)attr->st_size == atomic_load(&n->v->size);
        e = same ? 0 : EINVAL;
    }
    return e;
}
