/*
 * fuse_read.c - archives as files: one loaded manifest and reader for each archive in use, shared
 * by all its open files, and replies straight from the decoded blocks.
 *
 *   open -> acquire (load once, others wait) -> stream -> read: pins -> reply -> release pins
 *
 * Table: an archive is LOADING (by one thread, without the lock), READY, or gone: a failure isn't
 * kept, so that the next open tries again. What nobody uses stays open in least-recently-used
 * order, up to IDLE_MAX archives and IDLE_BLOCKS block table entries. The key is the tree's entry,
 * so a manifest that was rebuilt is a new archive.
 *
 * A short answer means end of file to the kernel, which would then believe it for ever: a read gets
 * all its bytes or an error. After an error the kernel asks again page by page, so that only the
 * pages that a bad block touches are lost.
 */
#include "mount_priv.h"

#include <errno.h>

#include "amber/log.h"

#define BUCKETS 256U
#define IDLE_MAX 64U
#define IDLE_BLOCKS 65536U /* about 5 MiB of block tables */
#define READ_PINS 32       /* blocks of one answer that are sent without being copied */

struct archive {
    const struct amber_tree_entry *entry;
    struct archive *next_bucket;
    struct archive *idle_prev, *idle_next; /* while refs is 0 */
    unsigned refs;                         /* guarded by the table's mutex */
    bool loading;
    atomic_bool gone; /* its file was changed: not in the table any more, gives no more bytes */
    struct amber_err fault; /* why loading failed; code OK: it didn't */
    struct amber_reader *reader;
    char *table; /* owned */
    int64_t start_day, end_day;
};

struct archive_table {
    pthread_mutex_t mutex; /* guards all below and the archives' fields up to fault */
    pthread_cond_t loaded;
    struct archive *buckets[BUCKETS];
    struct archive *idle_first, *idle_last; /* least recently used first */
    size_t n_idle, idle_blocks;
};

/* ---- the table ---- */

static struct archive **bucket_of(struct archive_table *t, const struct amber_tree_entry *e)
{
    uint64_t h = (uint64_t)(uintptr_t)e * UINT64_C(0x9e3779b97f4a7c15);
    return &t->buckets[(h >> 32) % BUCKETS];
}

static void unlink_bucket(struct archive_table *t, struct archive *a)
{
    struct archive **p = bucket_of(t, a->entry);
    while (*p != a)
        p = &(*p)->next_bucket;
    *p = a->next_bucket;
}

static size_t block_count(const struct archive *a)
{
    return amber_reader_part(a->reader)->n_blocks;
}

static void idle_add(struct archive_table *t, struct archive *a)
{
    a->idle_next = NULL;
    a->idle_prev = t->idle_last;
    if (t->idle_last)
        t->idle_last->idle_next = a;
    else
        t->idle_first = a;
    t->idle_last = a;
    t->n_idle++;
    t->idle_blocks += block_count(a);
}

static void idle_remove(struct archive_table *t, struct archive *a)
{
    if (a->idle_prev)
        a->idle_prev->idle_next = a->idle_next;
    else
        t->idle_first = a->idle_next;
    if (a->idle_next)
        a->idle_next->idle_prev = a->idle_prev;
    else
        t->idle_last = a->idle_prev;
    t->n_idle--;
    t->idle_blocks -= block_count(a);
}

static void archive_free(struct archive *a)
{
    amber_reader_close(a->reader);
    free(a->table);
    free(a);
}

enum amber_rc amber_archives_new(struct archive_table **out, struct amber_err *err)
{
    struct archive_table *t;
    enum amber_rc rc = amber_calloc(1, sizeof(*t), &t, err);
    if (rc)
        return rc;
    pthread_mutex_init(&t->mutex, NULL);
    pthread_cond_init(&t->loaded, NULL);
    *out = t;
    return AMBER_OK;
}

void amber_archives_free(struct archive_table *t)
{
    if (!t)
        return;
    for (struct archive *a = t->idle_first, *next; a; a = next) {
        next = a->idle_next;
        archive_free(a);
    }
    pthread_cond_destroy(&t->loaded);
    pthread_mutex_destroy(&t->mutex);
    free(t);
}

/* ---- loading ---- */

static void manifest_clear_p(struct amber_manifest *m)
{
    amber_manifest_clear(m);
}

static enum amber_rc check_manifest(const struct amber_tree_entry *e,
                                    const struct amber_manifest *mf, struct amber_err *err)
{
    if (strcmp(mf->archive.key, e->key) != 0)
        return amber_fail(err, AMBER_E_CORRUPT, "manifest %s is of another archive, %s",
                          e->manifest_key, mf->archive.key);
    /* Programs were told the entry's size: another one would give them holes or cut them off. */
    if (mf->archive.raw_bytes != e->size)
        return amber_fail(err, AMBER_E_CORRUPT,
                          "manifest %s says %llu bytes, expected %llu by its name or the catalog",
                          e->manifest_key, (unsigned long long)mf->archive.raw_bytes,
                          (unsigned long long)e->size);
    return AMBER_OK;
}

static enum amber_rc load(struct amber_mount *m, struct archive *a, struct amber_err *err)
{
    const struct amber_tree_entry *e = a->entry;
    AMBER_CLEANUP(manifest_clear_p) struct amber_manifest mf = {0};
    if (e->form == AMBER_TREE_FOREIGN)
        return amber_foreign_open(m->cfg.foreign, e->key, m->cfg.cache, &a->reader, err);
    enum amber_rc rc = amber_entry_manifest(m->cfg.store, e, &mf, err);
    if (!rc)
        rc = check_manifest(e, &mf, err);
    if (!rc)
        rc = amber_asprintf(&a->table, err, "%s.%s", mf.table_schema, mf.table_name);
    if (!rc)
        rc = amber_reader_open(m->cfg.store, &mf.archive, m->cfg.cache, &a->reader, err);
    a->start_day = mf.start_day;
    a->end_day = mf.end_day;
    return rc;
}

/* The archive's record, made if missing (*out_made: the caller must load it), with a reference. */
static struct archive *reference(struct archive_table *t, const struct amber_tree_entry *e,
                                 bool *out_made)
{
    *out_made = false;
    for (struct archive *a = *bucket_of(t, e); a; a = a->next_bucket) {
        if (a->entry == e) {
            if (a->refs++ == 0)
                idle_remove(t, a);
            return a;
        }
    }
    struct archive *a = calloc(1, sizeof(*a));
    if (!a)
        return NULL;
    struct archive **b = bucket_of(t, e);
    a->entry = e;
    a->refs = 1;
    a->loading = true;
    a->next_bucket = *b;
    *b = a;
    *out_made = true;
    return a;
}

/* Give up one reference to an archive that couldn't be loaded. Under the mutex. */
static enum amber_rc drop_failed(struct archive *a, struct amber_err *err)
{
    *err = a->fault;
    if (--a->refs == 0) {
        free(a->table);
        free(a);
    }
    return err->code;
}

/* Take the archives of this file with another version off the table, into a list of those that nobody
 * uses. Under the mutex. */
static struct archive *take_changed(struct archive_table *t, const struct amber_tree_entry *entry,
                                    const char *version)
{
    struct archive *unused = NULL;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct archive *a = t->buckets[i], *next; a; a = next) {
            next = a->next_bucket;
            if (a->loading || a->entry->form != AMBER_TREE_FOREIGN ||
                strcmp(a->entry->key, entry->key) != 0 ||
                strcmp(amber_foreign_version(a->reader), version) == 0)
                continue;
            unlink_bucket(t, a);
            atomic_store(&a->gone, true);
            if (a->refs == 0) {
                idle_remove(t, a);
                a->idle_next = unused;
                unused = a;
            }
        }
    }
    return unused;
}

/* Whether an archive of this file, of whatever version, is on the table. */
static bool is_known(struct archive_table *t, const char *key)
{
    bool known = false;
    pthread_mutex_lock(&t->mutex);
    for (size_t i = 0; i < BUCKETS && !known; i++)
        for (const struct archive *a = t->buckets[i]; a && !known; a = a->next_bucket)
            known = a->entry->form == AMBER_TREE_FOREIGN && strcmp(a->entry->key, key) == 0;
    pthread_mutex_unlock(&t->mutex);
    return known;
}

/* Another program may have changed its file since it was opened: then it is opened anew, and who had
 * it open before gets no more of it, since the kernel keeps the pages of both together. */
static void drop_changed(struct amber_mount *m, const struct amber_tree_entry *entry)
{
    struct archive_table *t = m->archives;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object_info info;
    if (entry->form != AMBER_TREE_FOREIGN || !is_known(t, entry->key) ||
        amber_store_stat(m->cfg.store, entry->key, &info, &err))
        return; /* what is wrong with the store is seen in opening it */
    pthread_mutex_lock(&t->mutex);
    struct archive *unused = take_changed(t, entry, info.version);
    pthread_mutex_unlock(&t->mutex);
    for (struct archive *next; unused; unused = next) {
        next = unused->idle_next;
        archive_free(unused);
    }
}

enum amber_rc amber_archive_acquire(struct amber_mount *m, const struct amber_tree_entry *entry,
                                    struct archive **out, struct amber_err *err)
{
    struct archive_table *t = m->archives;
    bool made;
    drop_changed(m, entry);
    pthread_mutex_lock(&t->mutex);
    struct archive *a = reference(t, entry, &made);
    if (!a) {
        pthread_mutex_unlock(&t->mutex);
        return amber_fail_nomem(err, "an open archive", sizeof(*a));
    }
    if (made) {
        pthread_mutex_unlock(&t->mutex);
        struct amber_err fault = AMBER_ERR_INIT;
        enum amber_rc rc = load(m, a, &fault);
        if (rc)
            amber_error("%s can't be read: %s", entry->path, fault.text);
        pthread_mutex_lock(&t->mutex);
        a->loading = false;
        if (rc) {
            a->fault = fault;
            unlink_bucket(t, a);
        }
        pthread_cond_broadcast(&t->loaded);
    }
    while (a->loading)
        pthread_cond_wait(&t->loaded, &t->mutex);
    enum amber_rc rc = a->fault.code == AMBER_OK ? AMBER_OK : drop_failed(a, err);
    pthread_mutex_unlock(&t->mutex);
    if (!rc)
        *out = a;
    return rc;
}

void amber_archive_release(struct amber_mount *m, struct archive *a)
{
    struct archive_table *t = m->archives;
    struct archive *closed = NULL;
    pthread_mutex_lock(&t->mutex);
    if (--a->refs == 0 && atomic_load(&a->gone)) {
        a->idle_next = closed;
        closed = a;
    } else if (a->refs == 0) {
        idle_add(t, a);
    }
    while (t->n_idle > IDLE_MAX || (t->n_idle > 1 && t->idle_blocks > IDLE_BLOCKS)) {
        struct archive *old = t->idle_first;
        idle_remove(t, old);
        unlink_bucket(t, old);
        old->idle_next = closed;
        closed = old;
    }
    pthread_mutex_unlock(&t->mutex);
    for (struct archive *next; closed; closed = next) {
        next = closed->idle_next;
        archive_free(closed);
    }
}

struct amber_reader *amber_archive_reader(const struct archive *a)
{
    return a->reader;
}

const char *amber_archive_table(const struct archive *a)
{
    return a->table;
}

void amber_archive_days(const struct archive *a, int64_t *out_start, int64_t *out_end)
{
    *out_start = a->start_day;
    *out_end = a->end_day;
}

/* ---- failed reads: the reader's cache has logged them ---- */

int amber_read_errno(const struct amber_err *err)
{
    switch (err->code) {
    case AMBER_E_INVALID:
    case AMBER_E_NOT_FOUND:
    case AMBER_E_EXISTS:
    case AMBER_E_DENIED:
    case AMBER_E_CORRUPT:
    case AMBER_E_UNSUPPORTED:
    case AMBER_E_LIMIT:
    case AMBER_E_DB:
    case AMBER_E_BUSY:
        return EIO;
    case AMBER_OK:
    case AMBER_E_NOMEM:
    case AMBER_E_IO:
    case AMBER_E_NET:
    case AMBER_E_TIMEOUT:
    case AMBER_E_CANCELED:
        break;
    }
    return amber_err_errno(err);
}

void amber_archive_read_failed(struct amber_mount *m, fuse_req_t req, const struct amber_err *err)
{
    atomic_fetch_add(&m->read_errors, 1);
    fuse_reply_err(req, amber_read_errno(err));
}

/* ---- open files ---- */

struct archive_file {
    struct handle h;
    struct archive *a;
    struct amber_stream *stream;
};

/* The bytes of one read: pinned blocks, or a copy where they lie in too many. */
struct archive_bytes {
    struct amber_pin pins[READ_PINS];
    struct iovec iov[READ_PINS];
    int n;
    char *copy; /* owned */
    size_t len;
    struct amber_err err; /* code OK: the bytes are there */
};

static void copy_range(struct archive_file *f, uint64_t off, size_t size, struct archive_bytes *b)
{
    b->copy = malloc(size);
    if (b->copy)
        (void)!amber_reader_read(f->a->reader, off, b->copy, size, &b->len, &b->err);
    else
        amber_fail_nomem(&b->err, "a read", size);
}

static void take_bytes(struct archive_file *f, uint64_t off, size_t size, struct archive_bytes *b)
{
    uint64_t at = off;
    size_t left = size;
    b->n = 0;
    b->copy = NULL;
    b->err = (struct amber_err)AMBER_ERR_INIT;
    while (left > 0 && b->n < READ_PINS) {
        struct amber_pin *pin = &b->pins[b->n];
        if (amber_stream_pin(f->stream, at, pin, &b->err))
            return;
        size_t skip = (size_t)(at - pin->raw_off);
        size_t len = pin->len - skip < left ? pin->len - skip : left;
        b->iov[b->n].iov_base = (char *)(uintptr_t)(pin->data + skip);
        b->iov[b->n++].iov_len = len;
        at += len;
        left -= len;
    }
    if (left > 0)
        copy_range(f, off, size, b);
}

/* Answer a read, if anybody waits for it, and let its bytes go. */
static void send_bytes(struct amber_mount *m, fuse_req_t req, size_t size, struct archive_bytes *b)
{
    if (req && !b->err.code)
        atomic_fetch_add(&m->read_bytes, size);
    if (!req)
        atomic_fetch_add(&m->read_errors, b->err.code != AMBER_OK);
    else if (b->err.code)
        amber_archive_read_failed(m, req, &b->err);
    else if (b->copy)
        fuse_reply_buf(req, b->copy, b->len);
    else if (b->n == 1)
        fuse_reply_buf(req, b->iov[0].iov_base, b->iov[0].iov_len);
    else
        fuse_reply_iov(req, b->iov, b->n);
    for (int i = 0; i < b->n; i++)
        amber_pin_release(&b->pins[i]);
    free(b->copy);
}

struct read_call {
    struct store_call call; /* first */
    struct archive_file *f; /* held */
    uint64_t off;
    size_t size;
    struct archive_bytes bytes;
};

static void read_work(struct store_call *call)
{
    struct read_call *c = (struct read_call *)call;
    take_bytes(c->f, c->off, c->size, &c->bytes);
}

static void read_answer(struct store_call *call, fuse_req_t req)
{
    struct read_call *c = (struct read_call *)call;
    struct handle *h = &c->f->h;
    send_bytes(h->m, req, c->size, &c->bytes);
    free(c);
    amber_handle_put(h);
}

static void read_remote(struct archive_file *f, fuse_req_t req, size_t size, uint64_t off)
{
    struct read_call *c = calloc(1, sizeof(*c));
    if (!c) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    c->call = (struct store_call){.work = read_work, .answer = read_answer};
    c->f = f;
    c->off = off;
    c->size = size;
    amber_handle_hold(&f->h);
    amber_store_call(f->h.m, &c->call, req);
}

static void archive_read(struct handle *h, fuse_req_t req, size_t size, uint64_t off, bool nonblock)
{
    struct archive_file *f = (struct archive_file *)h;
    struct amber_mount *m = h->m;
    struct archive_bytes bytes;
    uint64_t total = amber_reader_size(f->a->reader);
    uint64_t good = amber_foreign_fault(f->a->reader) ? total - 1 : total;
    (void)nonblock;
    atomic_fetch_add(&m->reads, 1);
    if (atomic_load(&f->a->gone)) {
        struct amber_err err = AMBER_ERR_INIT;
        amber_fail(&err, AMBER_E_CORRUPT, "it was changed since it was opened");
        amber_archive_read_failed(m, req, &err);
        return;
    }
    if (off >= total)
        size = 0;
    else if (off < good && size > good - off)
        size = (size_t)(good - off); /* of a damaged file, opened without the kernel's pages */
    else if (size > total - off)
        size = (size_t)(total - off);
    if (size > 0 && amber_store_is_remote(m) && !amber_stream_ready(f->stream, off, size)) {
        read_remote(f, req, size, off);
        return;
    }
    take_bytes(f, off, size, &bytes);
    send_bytes(m, req, size, &bytes);
}

static void archive_close(struct handle *h)
{
    struct archive_file *f = (struct archive_file *)h;
    amber_handle_remove(h);
    amber_stream_close(f->stream);
    amber_archive_release(h->m, f->a);
    free(f);
}

bool amber_archive_note(struct amber_mount *m, const struct node *n, const struct archive *a)
{
    return amber_foreign_note(m, n->tree.entry, n->ino, amber_foreign_version(a->reader),
                              amber_reader_size(a->reader),
                              amber_reader_part(a->reader)->stored_bytes);
}

static const struct handle_ops archive_ops = {.read = archive_read, .release = archive_close};

struct open_call {
    struct store_call call; /* first */
    struct amber_mount *m;
    const struct amber_tree_entry *entry;
    struct fuse_file_info fi;
    struct amber_caller caller;
    archive_opened_fn *opened;
    struct archive *a; /* NULL: err says why */
    struct amber_err err;
};

static void open_work(struct store_call *call)
{
    struct open_call *c = (struct open_call *)call;
    if (amber_archive_acquire(c->m, c->entry, &c->a, &c->err))
        c->a = NULL;
}

static void open_answer(struct store_call *call, fuse_req_t req)
{
    struct open_call *c = (struct open_call *)call;
    if (req && c->a)
        c->opened(c->m, req, c->a, c->entry, &c->fi, &c->caller);
    else if (req)
        fuse_reply_err(req, amber_read_errno(&c->err));
    else if (c->a)
        amber_archive_release(c->m, c->a);
    free(c);
}

void amber_archive_open_by(struct amber_mount *m, fuse_req_t req,
                           const struct amber_tree_entry *entry, const struct fuse_file_info *fi,
                           archive_opened_fn *opened)
{
    struct open_call *c = calloc(1, sizeof(*c));
    if (!c) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    c->call = (struct store_call){.work = open_work, .answer = open_answer};
    c->m = m;
    c->entry = entry;
    c->fi = *fi;
    c->caller = amber_caller_of(req);
    c->opened = opened;
    amber_store_call(m, &c->call, req);
}

void amber_archive_opened(struct amber_mount *m, fuse_req_t req, struct archive *a,
                          const struct amber_tree_entry *entry, struct fuse_file_info *fi,
                          const struct amber_caller *caller)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct archive_file *f = calloc(1, sizeof(*f));
    if (!f || amber_stream_open(a->reader, &f->stream, &err)) {
        free(f);
        amber_archive_release(m, a);
        fuse_reply_err(req, ENOMEM);
        return;
    }
    f->a = a;
    amber_handle_add(m, &f->h, &archive_ops);
    atomic_fetch_add(&m->opens, 1);
    amber_audit(m, "open", entry->path, caller);
    if (entry->form == AMBER_TREE_OURS)
        fi->keep_cache = 1;
    else
        fi->direct_io = amber_foreign_fault(a->reader) != NULL;
    amber_reply_open(req, fi, &f->h);
}

void amber_archive_open(struct amber_mount *m, fuse_req_t req, const struct node *n,
                        struct fuse_file_info *fi)
{
    amber_archive_open_by(m, req, n->tree.entry, fi, amber_archive_opened);
}
