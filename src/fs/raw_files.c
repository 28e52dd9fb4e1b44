/*
 * raw_files.c - .raw: archives as they are stored, and below .raw/.amberfs the store's own objects.
 *
 * The folders of .raw are the tree's own, with RAW_BIT in their numbers. An archive's stored bytes
 * come through its reader: each block they touch is verified first. The store's own objects
 * (manifests, commit markers, attachments) carry their own digests and are read as they are; a
 * folder of them is what the store lists below its key, so listing one may take a while and runs on
 * a call thread.
 */
#include "mount_priv.h"

#include <errno.h>
#include <stdio.h>

#include "amber/log.h"
#include "amber/name.h"

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
    if (len >= sizeof(logical) || name[len] == '\0')
        return false;
    memcpy(logical, name, len);
    logical[len] = '\0';
    return amber_tree_lookup(m->cfg.tree, tree_folder, logical, out) && !out->is_folder &&
           strcmp(amber_raw_name(out->entry), name) == 0;
}

/* ---- stored archives ---- */

struct raw_file {
    struct handle h;
    struct archive *a;
};

static void raw_read(struct handle *h, fuse_req_t req, size_t size, uint64_t off, bool nonblock)
{
    struct raw_file *f = (struct raw_file *)h;
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_FREE char *buf = malloc(size ? size : 1);
    size_t len = 0;
    (void)nonblock;
    atomic_fetch_add(&h->m->reads, 1);
    enum amber_rc rc =
        buf ? amber_reader_read_stored(amber_archive_reader(f->a), off, buf, size, &len, &err)
            : amber_fail_nomem(&err, "a read", size);
    if (rc) {
        amber_archive_read_failed(h->m, req, &err);
        return;
    }
    atomic_fetch_add(&h->m->read_bytes, len);
    fuse_reply_buf(req, buf, len);
}

static void raw_close(struct handle *h)
{
    struct raw_file *f = (struct raw_file *)h;
    amber_handle_remove(h);
    amber_archive_release(h->m, f->a);
    free(f);
}

static const struct handle_ops raw_ops = {.read = raw_read, .release = raw_close};

void amber_raw_open(struct amber_mount *m, fuse_req_t req, const struct node *n,
                    struct fuse_file_info *fi)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_caller caller = amber_caller_of(req);
    AMBER_AUTO_FREE char *path = NULL;
    struct archive *a;
    if (amber_archive_acquire(m, n->tree.entry, &a, &err)) {
        fuse_reply_err(req, amber_read_errno(&err));
        return;
    }
    struct raw_file *f = calloc(1, sizeof(*f));
    if (!f || amber_asprintf(&path, &err, ".raw/%s", n->tree.entry->key)) {
        free(f);
        amber_archive_release(m, a);
        fuse_reply_err(req, ENOMEM);
        return;
    }
    f->a = a;
    amber_handle_add(m, &f->h, &raw_ops);
    atomic_fetch_add(&m->opens, 1);
    amber_audit(m, "open", path, &caller);
    fi->keep_cache = 1;
    amber_reply_open(req, fi, &f->h);
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

int amber_meta_lookup(struct amber_mount *m, const struct node *parent, const char *name,
                      struct node *out)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object_info info;
    const char *folder = parent->kind == NODE_META ? AMBER_META_DIR : parent->v->name;
    AMBER_AUTO_FREE char *key = NULL;
    if (amber_asprintf(&key, &err, "%s/%s", folder, name))
        return ENOMEM;
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
    struct amber_mount *m;
    fuse_req_t req;
    struct fuse_file_info fi;
    char *key; /* owned */
    struct meta_dir *d;
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

static void list_run(void *arg)
{
    struct list_call *c = arg;
    struct amber_err err = AMBER_ERR_INIT;
    enum amber_rc rc = amber_store_list(c->m->cfg.store, c->key, add_name, c, &err);
    sort_names(c->d);
    if (rc && rc != AMBER_E_NOT_FOUND) {
        fuse_reply_err(c->req, log_store_error(c->key, &err));
        meta_dir_close(&c->d->h);
    } else {
        amber_reply_open(c->req, &c->fi, &c->d->h);
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
    c->m = m;
    c->req = req;
    c->fi = *fi;
    c->d = d;
    amber_handle_add(m, &d->h, &meta_dir_ops);
    if (amber_call_start(m, list_run, c))
        return;
    meta_dir_close(&d->h);
    free(c->key);
    free(c);
    fuse_reply_err(req, EAGAIN);
}

/* ---- reading ---- */

struct meta_file {
    struct handle h;
    struct amber_object *object;
    uint64_t size;
    char *key; /* owned */
};

static void meta_read(struct handle *h, fuse_req_t req, size_t size, uint64_t off, bool nonblock)
{
    struct meta_file *f = (struct meta_file *)h;
    struct amber_err err = AMBER_ERR_INIT;
    (void)nonblock;
    if (off >= f->size)
        size = 0;
    else if (size > f->size - off)
        size = (size_t)(f->size - off);
    AMBER_AUTO_FREE char *buf = malloc(size ? size : 1);
    if (!buf) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    if (size && amber_object_read(f->object, off, buf, size, &err))
        fuse_reply_err(req, log_store_error(f->key, &err));
    else
        fuse_reply_buf(req, buf, size);
}

static void meta_close(struct handle *h)
{
    struct meta_file *f = (struct meta_file *)h;
    amber_handle_remove(h);
    amber_object_close(f->object);
    free(f->key);
    free(f);
}

static const struct handle_ops meta_ops = {.read = meta_read, .release = meta_close};

void amber_meta_open(struct amber_mount *m, fuse_req_t req, const struct node *n,
                     struct fuse_file_info *fi)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object_info info;
    struct meta_file *f = calloc(1, sizeof(*f));
    if (!f || amber_strdup(n->v->name, &f->key, &err)) {
        free(f);
        fuse_reply_err(req, ENOMEM);
        return;
    }
    if (amber_object_open(m->cfg.store, f->key, AMBER_OPEN_CACHED, &f->object, &info, &err)) {
        fuse_reply_err(req, err.code == AMBER_E_NOT_FOUND ? ENOENT : log_store_error(f->key, &err));
        free(f->key);
        free(f);
        return;
    }
    f->size = info.size;
    amber_handle_add(m, &f->h, &meta_ops);
    fi->keep_cache = 1;
    amber_reply_open(req, fi, &f->h);
}
