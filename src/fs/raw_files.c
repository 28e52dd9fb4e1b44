/*
 * raw_files.c - .raw: archives as they are stored, and below .raw/.amberfs the store's own objects.
 *
 * The folders of .raw are the tree's own, with RAW_BIT in their numbers. An archive's stored bytes
 * come through its reader: each block they touch is verified first. The store's own objects
 * (manifests, commit markers, attachments) carry their own digests and are read as they are; a
 * folder of them is what the store lists below its key, so listing one may take a while, wherever the
 * store is, and runs on a call thread.
 */
#include "mount_priv.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "amber/log.h"
#include "amber/name.h"

#define COLLISIONS_MAX 8 /* '~' behind a name */

const char *amber_raw_name(const struct amber_tree_entry *e)
{
    const char *slash = strrchr(e->key, '/');
    return slash ? slash + 1 : e->key;
}

bool amber_raw_lookup(struct amber_mount *m, uint64_t tree_folder, const char *name,
                      struct amber_node *out)
{
    char logical[AMBER_NAME_MAX + 1];
    if (amber_tree_lookup(m->cfg.tree, tree_folder, name, out) &&
        (out->is_folder || strcmp(amber_raw_name(out->entry), name) == 0))
        return true;
    size_t len = amber_name_logical_len(name);
    if (strlen(name) >= sizeof(logical) - COLLISIONS_MAX)
        return false;
    /* Its name in the tree has no suffix; or, where that name is taken, a '~' for the dot, or more
     * of them behind (elsewhere.c). */
    strcpy(logical, name);
    logical[len] = '\0';
    for (size_t i = 0; i <= COLLISIONS_MAX; i++) {
        if (amber_tree_lookup(m->cfg.tree, tree_folder, logical, out) && !out->is_folder &&
            strcmp(amber_raw_name(out->entry), name) == 0)
            return true;
        if (i == 0 && name[len] != '\0') {
            strcpy(logical, name);
            logical[len] = '~';
        } else {
            if (i == 0)
                strcpy(logical, name);
            strcat(logical, "~");
        }
    }
    return false;
}

/* ---- stored archives ---- */

struct raw_file {
    struct handle h;
    struct archive *a;
};

struct raw_call {
    struct store_call call; /* first */
    struct raw_file *f;     /* held */
    uint64_t off;
    size_t size, len;
    struct amber_err err;
    char buf[];
};

static void raw_work(struct store_call *call)
{
    struct raw_call *c = (struct raw_call *)call;
    (void)!amber_reader_read_stored(amber_archive_reader(c->f->a), c->off, c->buf, c->size, &c->len,
                                    &c->err);
}

static void raw_answer(struct store_call *call, fuse_req_t req)
{
    struct raw_call *c = (struct raw_call *)call;
    struct handle *h = &c->f->h;
    if (req && c->err.code) {
        amber_archive_read_failed(h->m, req, &c->err);
    } else if (req) {
        atomic_fetch_add(&h->m->read_bytes, c->len);
        fuse_reply_buf(req, c->buf, c->len);
    }
    free(c);
    amber_handle_put(h);
}

static void raw_read(struct handle *h, fuse_req_t req, size_t size, uint64_t off, bool nonblock)
{
    struct raw_call *c = malloc(sizeof(*c) + size);
    (void)nonblock;
    atomic_fetch_add(&h->m->reads, 1);
    if (!c) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    *c = (struct raw_call){.call = {.work = raw_work, .answer = raw_answer},
                           .f = (struct raw_file *)h,
                           .off = off,
                           .size = size};
    amber_handle_hold(h);
    amber_store_call(h->m, &c->call, req);
}

static void raw_close(struct handle *h)
{
    struct raw_file *f = (struct raw_file *)h;
    amber_handle_remove(h);
    amber_archive_release(h->m, f->a);
    free(f);
}

static const struct handle_ops raw_ops = {.read = raw_read, .release = raw_close};

static void raw_opened(struct amber_mount *m, fuse_req_t req, struct archive *a,
                       const struct amber_tree_entry *entry, struct fuse_file_info *fi,
                       const struct amber_caller *caller)
{
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_FREE char *path = NULL;
    struct raw_file *f = calloc(1, sizeof(*f));
    if (!f || amber_asprintf(&path, &err, ".raw/%s", entry->key)) {
        free(f);
        amber_archive_release(m, a);
        fuse_reply_err(req, ENOMEM);
        return;
    }
    f->a = a;
    amber_handle_add(m, &f->h, &raw_ops);
    atomic_fetch_add(&m->opens, 1);
    amber_audit(m, "open", path, caller);
    fi->keep_cache = 1;
    amber_reply_open(req, fi, &f->h);
}

void amber_raw_open(struct amber_mount *m, fuse_req_t req, const struct node *n,
                    struct fuse_file_info *fi)
{
    amber_archive_open_by(m, req, n->tree.entry, fi, raw_opened);
}

/* ---- the store's own objects: looking up ---- */

static int log_store_error(const char *key, const struct amber_err *err)
{
    amber_error("%s: %s", key, err->text);
    return amber_read_errno(err);
}

static enum amber_rc stop_at_first(void *arg, const char *key, const struct amber_object_info *info,
                                   struct amber_err *err)
{
    (void)key;
    (void)info;
    *(bool *)arg = true;
    return amber_fail(err, AMBER_E_CANCELED, "seen enough");
}

/* 0 if there is any object below the key, ENOENT if not. */
static int folder_exists(struct amber_mount *m, const char *key)
{
    struct amber_err err = AMBER_ERR_INIT;
    bool any = false;
    enum amber_rc rc = amber_store_list(m->cfg.store, key, stop_at_first, &any, &err);
    if (any)
        return 0;
    return !rc || rc == AMBER_E_NOT_FOUND ? ENOENT : log_store_error(key, &err);
}

struct lookup_call {
    struct store_call call; /* first */
    struct amber_mount *m;
    int fault;
    struct node found;
    char key[];
};

/* Returns errno. On success out has one kernel reference. */
static int find_meta(struct amber_mount *m, const char *key, struct node *out)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object_info info;
    if (amber_key_check(key, &err))
        return ENOENT;
    enum amber_rc rc = amber_store_stat(m->cfg.store, key, &info, &err);
    if (rc && rc != AMBER_E_NOT_FOUND)
        return log_store_error(key, &err);
    if (rc) {
        int e = folder_exists(m, key);
        if (e)
            return e;
    }
    enum node_kind kind = rc ? NODE_META_FOLDER : NODE_META_FILE;
    struct vnode *v = amber_vnode_ref(&m->vnodes, kind, key, true);
    if (!v)
        return ENOMEM;
    if (!rc)
        atomic_store(&v->size, info.size); /* objects are immutable: the same each time */
    *out = (struct node){.kind = kind, .ino = v->ino, .v = v};
    out->tree.mtime_us = rc ? m->start_us : info.mtime_us;
    atomic_store(&v->mtime_us, out->tree.mtime_us);
    return 0;
}

static void lookup_work(struct store_call *call)
{
    struct lookup_call *c = (struct lookup_call *)call;
    c->fault = find_meta(c->m, c->key, &c->found);
}

static void lookup_answer(struct store_call *call, fuse_req_t req)
{
    struct lookup_call *c = (struct lookup_call *)call;
    if (req && c->fault)
        fuse_reply_err(req, c->fault);
    else if (req)
        amber_reply_node(c->m, req, &c->found);
    else if (!c->fault)
        amber_vnode_forget(&c->m->vnodes, c->found.ino, 1);
    free(c);
}

void amber_meta_lookup(struct amber_mount *m, fuse_req_t req, const struct node *parent,
                       const char *name)
{
    const char *folder = parent->kind == NODE_META ? AMBER_META_DIR : parent->v->name;
    size_t cap = strlen(folder) + strlen(name) + 2;
    struct lookup_call *c = calloc(1, sizeof(*c) + cap);
    if (!c) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    snprintf(c->key, cap, "%s/%s", folder, name);
    c->call = (struct store_call){.work = lookup_work, .answer = lookup_answer};
    c->m = m;
    amber_store_call(m, &c->call, req);
}

/* ---- listing ---- */

struct meta_name {
    char *name; /* owned */
    bool is_folder;
};

struct meta_dir {
    struct handle h;
    struct meta_name *names; /* owned; sorted */
    size_t n, cap;
};

struct list_call {
    struct store_call call; /* first */
    struct amber_mount *m;
    struct fuse_file_info fi;
    char *key; /* owned */
    struct meta_dir *d;
    int fault;
};

static void meta_dir_close(struct handle *h)
{
    struct meta_dir *d = (struct meta_dir *)h;
    amber_handle_remove(h);
    for (size_t i = 0; i < d->n; i++)
        free(d->names[i].name);
    free(d->names);
    free(d);
}

static void meta_dir_read(struct handle *h, fuse_req_t req, size_t size, uint64_t off, bool plus)
{
    struct meta_dir *d = (struct meta_dir *)h;
    struct dir_fill fill;
    if (!amber_dir_begin(&fill, req, size, plus))
        return;
    for (uint64_t i = off; i < d->n + 2; i++) {
        const char *name = i == 0 ? "." : i == 1 ? ".." : d->names[i - 2].name;
        bool is_folder = i < 2 || d->names[i - 2].is_folder;
        struct fuse_entry_param e = {
            .attr = {.st_ino = VNODE_BIT, .st_mode = is_folder ? S_IFDIR : S_IFREG}};
        if (!amber_dir_add(&fill, name, &e, i + 1))
            break;
    }
    amber_dir_end(&fill);
}

static const struct handle_ops meta_dir_ops = {.readdir = meta_dir_read, .release = meta_dir_close};

/* Keep the first path component behind the folder's key. Objects of one folder come in any order:
 * doubles are taken out after sorting, and right here when they follow each other. */
static enum amber_rc add_name(void *arg, const char *key, const struct amber_object_info *info,
                              struct amber_err *err)
{
    struct list_call *c = arg;
    struct meta_dir *d = c->d;
    const char *name = key + strlen(c->key) + 1;
    size_t len = strcspn(name, "/");
    (void)info;
    if (d->n && strncmp(d->names[d->n - 1].name, name, len) == 0 &&
        d->names[d->n - 1].name[len] == '\0')
        return AMBER_OK;
    enum amber_rc rc = amber_grow(&d->names, &d->cap, d->n + 1, sizeof(*d->names), err);
    if (rc)
        return rc;
    char *copy = strndup(name, len);
    if (!copy)
        return amber_fail_nomem(err, "a listing", len + 1);
    d->names[d->n++] = (struct meta_name){.name = copy, .is_folder = name[len] == '/'};
    return AMBER_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct meta_name *)a)->name, ((const struct meta_name *)b)->name);
}

static void sort_names(struct meta_dir *d)
{
    size_t kept = 0;
    if (d->n)
        qsort(d->names, d->n, sizeof(*d->names), compare_names);
    for (size_t i = 0; i < d->n; i++) {
        if (kept && strcmp(d->names[kept - 1].name, d->names[i].name) == 0)
            free(d->names[i].name);
        else
            d->names[kept++] = d->names[i];
    }
    d->n = kept;
}

static void list_work(struct store_call *call)
{
    struct list_call *c = (struct list_call *)call;
    struct amber_err err = AMBER_ERR_INIT;
    enum amber_rc rc = amber_store_list(c->m->cfg.store, c->key, add_name, c, &err);
    sort_names(c->d);
    if (rc && rc != AMBER_E_NOT_FOUND)
        c->fault = log_store_error(c->key, &err);
}

static void list_answer(struct store_call *call, fuse_req_t req)
{
    struct list_call *c = (struct list_call *)call;
    if (req && !c->fault) {
        amber_reply_open(req, &c->fi, &c->d->h);
    } else {
        if (req)
            fuse_reply_err(req, c->fault);
        meta_dir_close(&c->d->h);
    }
    free(c->key);
    free(c);
}

void amber_meta_opendir(struct amber_mount *m, fuse_req_t req, const struct node *n,
                        struct fuse_file_info *fi)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct list_call *c = calloc(1, sizeof(*c));
    struct meta_dir *d = calloc(1, sizeof(*d));
    if (!c || !d ||
        amber_strdup(n->kind == NODE_META ? AMBER_META_DIR : n->v->name, &c->key, &err)) {
        free(c);
        free(d);
        fuse_reply_err(req, ENOMEM);
        return;
    }
    c->call = (struct store_call){.work = list_work, .answer = list_answer};
    c->m = m;
    c->fi = *fi;
    c->d = d;
    amber_handle_add(m, &d->h, &meta_dir_ops);
    amber_store_call_slow(m, &c->call, req);
}

/* ---- reading ---- */

struct meta_file {
    struct handle h;
    struct amber_object *object;
    uint64_t size;
    char *key; /* owned */
};

struct meta_call {
    struct store_call call; /* first */
    struct amber_mount *m;
    struct meta_file *f; /* read: held; open: what becomes the handle */
    struct fuse_file_info fi;
    uint64_t off;
    size_t size;
    int fault;
    const struct amber_tree_entry *foreign; /* open: another program's; else NULL */
    uint64_t ino;
    char buf[];
};

static void meta_read_work(struct store_call *call)
{
    struct meta_call *c = (struct meta_call *)call;
    struct amber_err err = AMBER_ERR_INIT;
    if (c->size > 0 && amber_object_read(c->f->object, c->off, c->buf, c->size, &err))
        c->fault = log_store_error(c->f->key, &err);
}

static void meta_read_answer(struct store_call *call, fuse_req_t req)
{
    struct meta_call *c = (struct meta_call *)call;
    struct handle *h = &c->f->h;
    if (req && c->fault)
        fuse_reply_err(req, c->fault);
    else if (req)
        fuse_reply_buf(req, c->buf, c->size);
    free(c);
    amber_handle_put(h);
}

static void meta_read(struct handle *h, fuse_req_t req, size_t size, uint64_t off, bool nonblock)
{
    struct meta_file *f = (struct meta_file *)h;
    (void)nonblock;
    if (off >= f->size)
        size = 0;
    else if (size > f->size - off)
        size = (size_t)(f->size - off);
    struct meta_call *c = malloc(sizeof(*c) + size);
    if (!c) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    *c = (struct meta_call){.call = {.work = meta_read_work, .answer = meta_read_answer},
                            .m = h->m,
                            .f = f,
                            .off = off,
                            .size = size};
    amber_handle_hold(h);
    amber_store_call(h->m, &c->call, req);
}

static void meta_file_free(struct meta_file *f)
{
    amber_object_close(f->object);
    free(f->key);
    free(f);
}

static void meta_close(struct handle *h)
{
    amber_handle_remove(h);
    meta_file_free((struct meta_file *)h);
}

static const struct handle_ops meta_ops = {.read = meta_read, .release = meta_close};

static void meta_open_work(struct store_call *call)
{
    struct meta_call *c = (struct meta_call *)call;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object_info info;
    if (amber_object_open(c->m->cfg.store, c->f->key, AMBER_OPEN_CACHED, &c->f->object, &info,
                          &err))
        c->fault = err.code == AMBER_E_NOT_FOUND ? ENOENT : log_store_error(c->f->key, &err);
    else
        c->f->size = info.size;
    if (!c->fault && c->foreign && c->foreign->form == AMBER_TREE_PLAIN)
        c->fi.keep_cache =
            amber_foreign_note(c->m, c->foreign, c->ino, info.version, info.size, info.size);
}

static void meta_open_answer(struct store_call *call, fuse_req_t req)
{
    struct meta_call *c = (struct meta_call *)call;
    if (req && !c->fault) {
        amber_handle_add(c->m, &c->f->h, &meta_ops);
        amber_reply_open(req, &c->fi, &c->f->h);
    } else {
        if (req)
            fuse_reply_err(req, c->fault);
        meta_file_free(c->f);
    }
    free(c);
}

void amber_object_file_open(struct amber_mount *m, fuse_req_t req, const char *key,
                            const struct amber_tree_entry *foreign, uint64_t ino,
                            struct fuse_file_info *fi)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct meta_call *c = calloc(1, sizeof(*c));
    struct meta_file *f = calloc(1, sizeof(*f));
    if (!c || !f || amber_strdup(key, &f->key, &err)) {
        free(c);
        free(f);
        fuse_reply_err(req, ENOMEM);
        return;
    }
    c->call = (struct store_call){.work = meta_open_work, .answer = meta_open_answer};
    c->m = m;
    c->f = f;
    c->fi = *fi;
    c->fi.keep_cache = !foreign;
    c->foreign = foreign;
    c->ino = ino;
    if (foreign)
        amber_store_call_slow(m, &c->call, req);
    else
        amber_store_call(m, &c->call, req);
}

void amber_meta_open(struct amber_mount *m, fuse_req_t req, const struct node *n,
                     struct fuse_file_info *fi)
{
    amber_object_file_open(m, req, n->v->name, NULL, n->ino, fi);
}
