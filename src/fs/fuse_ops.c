/*
 * fuse_ops.c - FUSE requests: inode -> node, then to whoever serves that kind of node.
 *
 * Nothing here blocks but on the store (reading an archive, its manifest). The kernel checks
 * permissions (default_permissions); what is refused here is what root may not do either.
 */
#include "mount_priv.h"

#include <errno.h>
#include <limits.h>
#include <sys/statvfs.h>

#define DIR_POS_DOT 1U    /* positions of what a listing has besides the tree's children, */
#define DIR_POS_DOTDOT 2U /* all below AMBER_TREE_INO_FIRST */
#define DIR_POS_META 3U
#define STATFS_BLOCK 4096U

/* The fixed nodes: names, and where they are. */
static const struct fixed {
    const char *name;
    enum node_kind parent; /* 0: the root, not listed */
    mode_t mode;
    bool writable_only; /* not there on a read-only mount */
} fixed[NODE_FIXED_END] = {
    [NODE_STATUS] = {".status", 0, S_IFREG | 0440, false},
    [NODE_METRICS] = {".metrics", 0, S_IFREG | 0440, false},
    [NODE_CONTROL] = {".control", 0, S_IFDIR | 0700, false},
    [NODE_TRIGGER] = {"trigger", NODE_CONTROL, S_IFREG | 0600, true},
    [NODE_CANCEL] = {"cancel", NODE_CONTROL, S_IFREG | 0600, true},
    [NODE_VERIFY] = {"verify", NODE_CONTROL, S_IFREG | 0600, true},
    [NODE_RESTORE_LINE] = {"restore", NODE_CONTROL, S_IFREG | 0600, true},
    [NODE_LOG] = {"log", NODE_CONTROL, S_IFREG | 0400, false},
    [NODE_FOLLOW] = {"follow", NODE_CONTROL, S_IFREG | 0400, false},
    [NODE_WAITS] = {"wait", NODE_CONTROL, S_IFDIR | 0700, false},
    [NODE_RESTORE] = {".restore", 0, S_IFDIR | 0700, true},
    [NODE_META] = {AMBER_META_DIR, NODE_RAW_FOLDER, S_IFDIR | 0550, false},
};

/* ---- nodes ---- */

static bool node_get(struct amber_mount *m, uint64_t ino, struct node *out)
{
    *out = (struct node){.ino = ino};
    if (ino & VNODE_BIT) {
        out->v = amber_vnode_get(&m->vnodes, ino);
        out->kind = out->v ? out->v->kind : 0;
        return out->v != NULL;
    }
    if (!(ino & RAW_BIT) && ino > AMBER_TREE_ROOT && ino < NODE_FIXED_END) {
        out->kind = (enum node_kind)ino;
        return true;
    }
    if (!amber_tree_get(m->cfg.tree, ino & ~RAW_BIT, &out->tree))
        return false;
    bool raw = ino & RAW_BIT;
    if (out->tree.is_folder)
        out->kind = raw ? NODE_RAW_FOLDER : NODE_FOLDER;
    else
        out->kind = raw ? NODE_RAW_ARCHIVE : NODE_ARCHIVE;
    return true;
}

/* The request's node, or its answer: ESTALE for a number that was never given out. */
static bool get_node(fuse_req_t req, uint64_t ino, struct node *out)
{
    struct amber_mount *m = fuse_req_userdata(req);
    if (!atomic_load(&m->asked) && !atomic_exchange(&m->asked, true))
        amber_notify_serving(m);
    if (node_get(m, ino, out))
        return true;
    fuse_reply_err(req, ESTALE);
    return false;
}

static void set_time(struct stat *st, int64_t us)
{
    int64_t s = us / 1000000 - (us % 1000000 < 0 ? 1 : 0);
    struct timespec t = {.tv_sec = s, .tv_nsec = (us - s * 1000000) * 1000};
    st->st_atim = st->st_mtim = st->st_ctim = t;
}

void amber_node_stat(struct amber_mount *m, const struct node *n, struct stat *out)
{
    uint64_t size = 0;
    int64_t mtime_us = m->start_us;
    *out = (struct stat){.st_ino = n->ino, .st_nlink = 1, .st_uid = m->cfg.uid};
    out->st_gid = m->cfg.gid;
    if (n->v) {
        size = atomic_load(&n->v->size);
        mtime_us = atomic_load(&n->v->mtime_us);
    } else if (n->kind >= NODE_FIXED_END || n->kind == NODE_FOLDER) {
        mtime_us = n->tree.mtime_us;
    }
    switch (n->kind) {
    case NODE_FOLDER:
    case NODE_RAW_FOLDER:
    case NODE_META_FOLDER:
        out->st_mode = S_IFDIR | 0550;
        break;
    case NODE_ARCHIVE:
        out->st_mode = S_IFREG | 0440;
        size = n->tree.entry->size;
        break;
    case NODE_RAW_ARCHIVE:
        out->st_mode = S_IFREG | 0440;
        size = n->tree.entry->stored_size;
        break;
    case NODE_META_FILE:
        out->st_mode = S_IFREG | 0440;
        break;
    case NODE_WAIT:
        out->st_mode = S_IFREG | 0400;
        break;
    case NODE_RESTORE_TABLE:
        out->st_mode = S_IFDIR | 0700;
        break;
    case NODE_RESTORE_FILE:
        out->st_mode = S_IFREG | 0600;
        break;
    case NODE_STATUS:
    case NODE_METRICS:
    case NODE_CONTROL:
    case NODE_TRIGGER:
    case NODE_CANCEL:
    case NODE_VERIFY:
    case NODE_RESTORE_LINE:
    case NODE_LOG:
    case NODE_FOLLOW:
    case NODE_WAITS:
    case NODE_RESTORE:
    case NODE_META:
    case NODE_FIXED_END:
        out->st_mode = fixed[n->kind].mode;
        break;
    }
    /* Not the stored size: cp, grep and tar take fewer blocks than bytes for holes. */
    out->st_size = (off_t)size;
    out->st_blocks = (blkcnt_t)((size + 511) / 512);
    set_time(out, mtime_us);
}

/* How long the kernel may believe names and attributes. */
static double timeout_of(const struct node *n)
{
    switch (n->kind) {
    case NODE_FOLDER:
    case NODE_ARCHIVE:
    case NODE_RAW_FOLDER:
    case NODE_RAW_ARCHIVE:
        return TIMEOUT_ARCHIVE;
    case NODE_META:
    case NODE_META_FOLDER:
    case NODE_META_FILE:
        return TIMEOUT_META;
    case NODE_STATUS:
    case NODE_METRICS:
    case NODE_CONTROL:
    case NODE_TRIGGER:
    case NODE_CANCEL:
    case NODE_VERIFY:
    case NODE_RESTORE_LINE:
    case NODE_LOG:
    case NODE_FOLLOW:
    case NODE_WAITS:
    case NODE_RESTORE:
    case NODE_FIXED_END:
    case NODE_WAIT:
    case NODE_RESTORE_TABLE:
    case NODE_RESTORE_FILE:
        return 0;
    }
    return 0;
}

static void fill_entry(struct amber_mount *m, const struct node *n, struct fuse_entry_param *e)
{
    *e = (struct fuse_entry_param){.ino = n->ino};
    amber_node_stat(m, n, &e->attr);
    e->attr_timeout = e->entry_timeout = timeout_of(n);
}

static bool is_command(enum node_kind k)
{
    return k == NODE_TRIGGER || k == NODE_CANCEL || k == NODE_VERIFY || k == NODE_RESTORE_LINE;
}

static bool is_restore(enum node_kind k)
{
    return k == NODE_RESTORE || k == NODE_RESTORE_TABLE || k == NODE_RESTORE_FILE;
}

/* Why a change here is refused: archives can't be changed at all, the rest isn't for files. */
static int refusal(enum node_kind k)
{
    switch (k) {
    case NODE_FOLDER:
    case NODE_ARCHIVE:
    case NODE_RAW_FOLDER:
    case NODE_RAW_ARCHIVE:
    case NODE_META:
    case NODE_META_FOLDER:
    case NODE_META_FILE:
        return EROFS;
    case NODE_STATUS:
    case NODE_METRICS:
    case NODE_CONTROL:
    case NODE_TRIGGER:
    case NODE_CANCEL:
    case NODE_VERIFY:
    case NODE_RESTORE_LINE:
    case NODE_LOG:
    case NODE_FOLLOW:
    case NODE_WAITS:
    case NODE_RESTORE:
    case NODE_FIXED_END:
    case NODE_WAIT:
    case NODE_RESTORE_TABLE:
    case NODE_RESTORE_FILE:
        return EPERM;
    }
    return EPERM;
}

/* ---- shared helpers ---- */

struct amber_caller amber_caller_of(fuse_req_t req)
{
    const struct fuse_ctx *c = fuse_req_ctx(req);
    return (struct amber_caller){.uid = c->uid, .gid = c->gid, .pid = c->pid};
}

void amber_audit(struct amber_mount *m, const char *what, const char *path,
                 const struct amber_caller *caller)
{
    m->cfg.ops->audit(m->cfg.arg, what, path, caller);
}

void amber_handle_add(struct amber_mount *m, struct handle *h, const struct handle_ops *ops)
{
    h->ops = ops;
    h->m = m;
    pthread_mutex_lock(&m->mutex);
    h->prev = NULL;
    h->next = m->handles;
    if (h->next)
        h->next->prev = h;
    m->handles = h;
    pthread_mutex_unlock(&m->mutex);
}

void amber_handle_remove(struct handle *h)
{
    struct amber_mount *m = h->m;
    pthread_mutex_lock(&m->mutex);
    if (h->prev)
        h->prev->next = h->next;
    else
        m->handles = h->next;
    if (h->next)
        h->next->prev = h->prev;
    pthread_mutex_unlock(&m->mutex);
}

void amber_reply_open(fuse_req_t req, struct fuse_file_info *fi, struct handle *h)
{
    fi->fh = (uintptr_t)h;
    /* An error means that the caller went away: no release will come. */
    if (fuse_reply_open(req, fi))
        h->ops->release(h);
}

void amber_reply_text(fuse_req_t req, const char *text, size_t len, size_t size, uint64_t off)
{
    if (off >= len)
        fuse_reply_buf(req, NULL, 0);
    else
        fuse_reply_buf(req, text + off, len - off < size ? len - (size_t)off : size);
}

static struct handle *handle_of(const struct fuse_file_info *fi)
{
    return (struct handle *)(uintptr_t)fi->fh;
}

/* ---- names ---- */

/* The fixed node of this name in a folder of this kind; 0 if there is none. */
static enum node_kind fixed_find(const struct amber_mount *m, const struct node *parent,
                                 const char *name)
{
    enum node_kind where = parent->kind == NODE_FOLDER ? 0 : parent->kind;
    for (unsigned k = NODE_STATUS; k < NODE_FIXED_END; k++)
        if (fixed[k].parent == where && strcmp(fixed[k].name, name) == 0 &&
            !(fixed[k].writable_only && m->cfg.read_only))
            return (enum node_kind)k;
    return 0;
}

static int lookup_wait(struct amber_mount *m, const char *name, struct node *out)
{
    if (!m->cfg.ops->job_exists(m->cfg.arg, name))
        return ENOENT;
    struct vnode *v = amber_vnode_ref(&m->vnodes, NODE_WAIT, name, true);
    if (!v)
        return ENOMEM;
    *out = (struct node){.kind = NODE_WAIT, .ino = v->ino, .v = v};
    return 0;
}

static int lookup_tree(struct amber_mount *m, const struct node *parent, const char *name,
                       struct node *out)
{
    bool raw = parent->kind == NODE_RAW_FOLDER;
    uint64_t folder = parent->ino & ~RAW_BIT;
    if (!raw && parent->ino == AMBER_TREE_ROOT && strcmp(name, ".raw") == 0)
        return node_get(m, RAW_BIT | AMBER_TREE_ROOT, out) ? 0 : ENOENT;
    struct amber_node t;
    bool found = raw ? amber_raw_lookup(m, folder, name, &t)
                     : amber_tree_lookup(m->cfg.tree, folder, name, &t);
    return found && node_get(m, t.ino | (raw ? RAW_BIT : 0), out) ? 0 : ENOENT;
}

/* Returns errno. A vnode found has one kernel reference more. */
static int lookup(struct amber_mount *m, const struct node *parent, const char *name,
                  struct node *out)
{
    if (strlen(name) > NAME_MAX)
        return ENAMETOOLONG;
    /* .amberfs is in .raw's root only, the other fixed names in the root and .control. */
    if (parent->ino == AMBER_TREE_ROOT || parent->ino == (RAW_BIT | AMBER_TREE_ROOT) ||
        parent->kind == NODE_CONTROL) {
        enum node_kind k = fixed_find(m, parent, name);
        if (k)
            return node_get(m, k, out) ? 0 : ENOENT;
    }
    switch (parent->kind) {
    case NODE_FOLDER:
    case NODE_RAW_FOLDER:
        return lookup_tree(m, parent, name, out);
    case NODE_WAITS:
        return lookup_wait(m, name, out);
    case NODE_RESTORE:
    case NODE_RESTORE_TABLE:
        return amber_restore_lookup(m, parent, name, out);
    case NODE_META:
    case NODE_META_FOLDER:
        return amber_meta_lookup(m, parent, name, out);
    case NODE_STATUS:
    case NODE_METRICS:
    case NODE_CONTROL:
    case NODE_TRIGGER:
    case NODE_CANCEL:
    case NODE_VERIFY:
    case NODE_RESTORE_LINE:
    case NODE_LOG:
    case NODE_FOLLOW:
    case NODE_FIXED_END:
    case NODE_ARCHIVE:
    case NODE_RAW_ARCHIVE:
    case NODE_WAIT:
    case NODE_RESTORE_FILE:
    case NODE_META_FILE:
        break;
    }
    return ENOENT;
}

/* A name that isn't there is not remembered by the kernel (an error, not an entry without inode),
 * so that a new archive is seen at once. */
static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct amber_mount *m = fuse_req_userdata(req);
    struct fuse_entry_param e;
    struct node p, n;
    if (!get_node(req, parent, &p))
        return;
    int fault = lookup(m, &p, name, &n);
    if (fault) {
        fuse_reply_err(req, fault);
        return;
    }
    fill_entry(m, &n, &e);
    if (fuse_reply_entry(req, &e) && n.v)
        amber_vnode_forget(&m->vnodes, n.ino, 1);
}

static void forget(struct amber_mount *m, fuse_ino_t ino, uint64_t n)
{
    if (ino & VNODE_BIT)
        amber_vnode_forget(&m->vnodes, ino, n);
}

static void do_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
    forget(fuse_req_userdata(req), ino, nlookup);
    fuse_reply_none(req);
}

static void do_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    for (size_t i = 0; i < count; i++)
        forget(fuse_req_userdata(req), forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}

/* ---- attributes ---- */

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct amber_mount *m = fuse_req_userdata(req);
    struct node n;
    struct stat st;
    (void)fi;
    if (!get_node(req, ino, &n))
        return;
    amber_node_stat(m, &n, &st);
    fuse_reply_attr(req, &st, timeout_of(&n));
}

static void do_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                       struct fuse_file_info *fi)
{
    struct amber_mount *m = fuse_req_userdata(req);
    struct node n;
    struct stat st;
    (void)fi;
    if (!get_node(req, ino, &n))
        return;
    int e = refusal(n.kind);
    if (is_restore(n.kind))
        e = amber_restore_setattr(m, &n, attr, to_set);
    else if (is_command(n.kind) &&
             !(to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)))
        e = 0; /* `>` truncates, touch and cp -p set times: no effect */
    if (e) {
        fuse_reply_err(req, e);
        return;
    }
    amber_node_stat(m, &n, &st);
    fuse_reply_attr(req, &st, 0);
}

static void do_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct amber_mount *m = fuse_req_userdata(req);
    struct amber_tree_totals t;
    (void)ino;
    amber_tree_totals(m->cfg.tree, &t);
    struct statvfs s = {
        .f_bsize = STATFS_BLOCK,
        .f_frsize = STATFS_BLOCK,
        .f_blocks = (t.raw_bytes + STATFS_BLOCK - 1) / STATFS_BLOCK,
        .f_files = t.archives + t.folders,
        .f_namemax = NAME_MAX,
    };
    fuse_reply_statfs(req, &s);
}

static void do_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct node n;
    if (get_node(req, ino, &n))
        amber_xattr_get(fuse_req_userdata(req), req, &n, name, size);
}

static void do_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct node n;
    if (get_node(req, ino, &n))
        amber_xattr_list(req, &n, size);
}

/* ---- listings ---- */

bool amber_dir_begin(struct dir_fill *d, fuse_req_t req, size_t size, bool plus)
{
    *d = (struct dir_fill){.req = req, .size = size, .plus = plus, .buf = malloc(size ? size : 1)};
    if (!d->buf)
        fuse_reply_err(req, ENOMEM);
    return d->buf != NULL;
}

bool amber_dir_add(struct dir_fill *d, const char *name, const struct fuse_entry_param *e,
                   uint64_t next_off)
{
    size_t room = d->size - d->used;
    char *at = d->buf + d->used;
    size_t need = d->plus ? fuse_add_direntry_plus(d->req, at, room, name, e, (off_t)next_off)
                          : fuse_add_direntry(d->req, at, room, name, &e->attr, (off_t)next_off);
    d->full = need > room;
    if (!d->full)
        d->used += need;
    return !d->full;
}

void amber_dir_end(struct dir_fill *d)
{
    fuse_reply_buf(d->req, d->buf, d->used);
    free(d->buf);
}

struct tree_fill {
    struct dir_fill *d;
    struct amber_mount *m;
    bool raw;
};

static bool add_child(void *arg, const char *name, const struct amber_node *node, uint64_t next_pos)
{
    struct tree_fill *f = arg;
    struct fuse_entry_param e;
    struct node n = {.ino = node->ino | (f->raw ? RAW_BIT : 0), .tree = *node};
    if (node->is_folder)
        n.kind = f->raw ? NODE_RAW_FOLDER : NODE_FOLDER;
    else
        n.kind = f->raw ? NODE_RAW_ARCHIVE : NODE_ARCHIVE;
    fill_entry(f->m, &n, &e);
    if (f->raw && !node->is_folder)
        name = amber_raw_name(node->entry);
    return amber_dir_add(f->d, name, &e, next_pos);
}

/* A name whose inode the kernel looks up itself when it wants to know more. */
static bool add_plain(struct dir_fill *d, const char *name, mode_t type, uint64_t next_off)
{
    struct fuse_entry_param e = {.attr = {.st_ino = VNODE_BIT, .st_mode = type}};
    return amber_dir_add(d, name, &e, next_off);
}

static bool add_dots(struct dir_fill *d, uint64_t *off)
{
    if (*off < DIR_POS_DOT && !add_plain(d, ".", S_IFDIR, DIR_POS_DOT))
        return false;
    if (*off < DIR_POS_DOTDOT && !add_plain(d, "..", S_IFDIR, DIR_POS_DOTDOT))
        return false;
    if (*off < DIR_POS_DOTDOT)
        *off = DIR_POS_DOTDOT;
    return true;
}

static void list_tree(struct amber_mount *m, struct dir_fill *d, const struct node *n, uint64_t off)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct tree_fill f = {.d = d, .m = m, .raw = n->kind == NODE_RAW_FOLDER};
    uint64_t folder = n->ino & ~RAW_BIT;
    if (f.raw && folder == AMBER_TREE_ROOT && off < DIR_POS_META &&
        !add_plain(d, AMBER_META_DIR, S_IFDIR, DIR_POS_META))
        return;
    enum amber_rc rc = amber_tree_list(m->cfg.tree, folder, off < AMBER_TREE_INO_FIRST ? 0 : off,
                                       add_child, &f, &err);
    (void)rc; /* it is a folder */
}

static void list_control(struct amber_mount *m, struct dir_fill *d, uint64_t off)
{
    for (unsigned k = NODE_STATUS; k < NODE_FIXED_END; k++)
        if (fixed[k].parent == NODE_CONTROL && k + NODE_FIXED_END > off &&
            !(fixed[k].writable_only && m->cfg.read_only) &&
            !add_plain(d, fixed[k].name, fixed[k].mode & S_IFMT, k + NODE_FIXED_END))
            return;
}

static void list_jobs(struct amber_mount *m, struct dir_fill *d, uint64_t off)
{
    for (uint64_t i = off - DIR_POS_DOTDOT;; i++) {
        const char *name = m->cfg.ops->job_name(m->cfg.arg, (size_t)i);
        if (!name || !add_plain(d, name, S_IFREG, i + 1 + DIR_POS_DOTDOT))
            return;
    }
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                 struct fuse_file_info *fi, bool plus)
{
    struct amber_mount *m = fuse_req_userdata(req);
    struct node n;
    struct dir_fill d;
    uint64_t off = (uint64_t)offset;
    if (fi->fh) {
        handle_of(fi)->ops->readdir(handle_of(fi), req, size, off, plus);
        return;
    }
    if (!get_node(req, ino, &n) || !amber_dir_begin(&d, req, size, plus))
        return;
    if (add_dots(&d, &off)) {
        if (n.kind == NODE_FOLDER || n.kind == NODE_RAW_FOLDER)
            list_tree(m, &d, &n, off);
        else if (n.kind == NODE_CONTROL)
            list_control(m, &d, off);
        else if (n.kind == NODE_WAITS)
            list_jobs(m, &d, off);
    } /* .restore is empty for those who list it */
    amber_dir_end(&d);
}

static void do_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct amber_mount *m = fuse_req_userdata(req);
    struct node n;
    if (!get_node(req, ino, &n))
        return;
    if (n.kind == NODE_META || n.kind == NODE_META_FOLDER) {
        amber_meta_opendir(m, req, &n, fi);
        return;
    }
    fi->fh = 0;
    fi->cache_readdir = fi->keep_cache = n.kind == NODE_FOLDER || n.kind == NODE_RAW_FOLDER;
    fuse_reply_open(req, fi);
}

static void do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                       struct fuse_file_info *fi)
{
    list(req, ino, size, off, fi, false);
}

static void do_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                           struct fuse_file_info *fi)
{
    list(req, ino, size, off, fi, true);
}

static void do_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    if (fi->fh)
        handle_of(fi)->ops->release(handle_of(fi));
    fuse_reply_err(req, 0);
}

/* ---- open files ---- */

static void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct amber_mount *m = fuse_req_userdata(req);
    struct node n;
    bool writing = (fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC);
    if (!get_node(req, ino, &n))
        return;
    if (n.kind == NODE_RESTORE_FILE)
        fuse_reply_err(req, writing ? EBUSY : EACCES); /* its one writer is there */
    else if (writing && refusal(n.kind) == EROFS)
        fuse_reply_err(req, EROFS);
    else if (n.kind == NODE_ARCHIVE)
        amber_archive_open(m, req, &n, fi);
    else if (n.kind == NODE_RAW_ARCHIVE)
        amber_raw_open(m, req, &n, fi);
    else if (n.kind == NODE_META_FILE)
        amber_meta_open(m, req, &n, fi);
    else
        amber_control_open(m, req, &n, fi);
}

static void do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
    struct handle *h = handle_of(fi);
    (void)ino;
    if (h->ops->read)
        h->ops->read(h, req, size, (uint64_t)off, fi->flags & O_NONBLOCK);
    else
        fuse_reply_err(req, EBADF);
}

static void do_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
                     struct fuse_file_info *fi)
{
    struct handle *h = handle_of(fi);
    (void)ino;
    if (h->ops->write)
        h->ops->write(h, req, buf, size, (uint64_t)off);
    else
        fuse_reply_err(req, EBADF);
}

static void do_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct handle *h = handle_of(fi);
    (void)ino;
    if (h->ops->flush)
        h->ops->flush(h, req);
    else
        fuse_reply_err(req, 0);
}

/* ---- changes ---- */

static void do_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                      struct fuse_file_info *fi)
{
    struct amber_mount *m = fuse_req_userdata(req);
    struct node p;
    (void)mode;
    if (!get_node(req, parent, &p))
        return;
    if (strlen(name) > NAME_MAX)
        fuse_reply_err(req, ENAMETOOLONG);
    else if (is_restore(p.kind))
        amber_restore_create(m, req, &p, name, fi);
    else
        fuse_reply_err(req, refusal(p.kind));
}

static void refuse(fuse_req_t req, fuse_ino_t ino)
{
    struct node n;
    if (get_node(req, ino, &n))
        fuse_reply_err(req, refusal(n.kind));
}

static void do_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    (void)name;
    (void)mode;
    (void)rdev;
    refuse(req, parent);
}

static void do_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    (void)name;
    (void)mode;
    refuse(req, parent);
}

static void do_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    (void)name;
    refuse(req, parent);
}

static void do_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
    (void)link;
    (void)name;
    refuse(req, parent);
}

static void do_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                      const char *newname, unsigned int flags)
{
    (void)name;
    (void)newparent;
    (void)newname;
    (void)flags;
    refuse(req, parent);
}

static void do_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
    (void)newparent;
    (void)newname;
    refuse(req, ino);
}

static void do_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                        size_t size, int flags)
{
    struct node n;
    (void)name;
    (void)value;
    (void)size;
    (void)flags;
    if (!get_node(req, ino, &n))
        return;
    /* Copying programs take "not supported" for an answer and go on. */
    fuse_reply_err(req, is_restore(n.kind) ? EOPNOTSUPP : refusal(n.kind));
}

static void do_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    (void)name;
    refuse(req, ino);
}

/* Not here on purpose: lseek (the kernel then knows by itself that there are no holes), access
 * (default_permissions), copy_file_range and write_buf (the plain ones do), fsync (rows are durable
 * when close says so), locks (local ones do). */
const struct fuse_lowlevel_ops amber_fuse_ops = {
    .lookup = do_lookup,
    .forget = do_forget,
    .forget_multi = do_forget_multi,
    .getattr = do_getattr,
    .setattr = do_setattr,
    .statfs = do_statfs,
    .getxattr = do_getxattr,
    .listxattr = do_listxattr,
    .setxattr = do_setxattr,
    .removexattr = do_removexattr,
    .opendir = do_opendir,
    .readdir = do_readdir,
    .readdirplus = do_readdirplus,
    .releasedir = do_release,
    .open = do_open,
    .create = do_create,
    .read = do_read,
    .write = do_write,
    .flush = do_flush,
    .release = do_release,
    .mknod = do_mknod,
    .mkdir = do_mkdir,
    .unlink = do_unlink,
    .rmdir = do_unlink,
    .symlink = do_symlink,
    .rename = do_rename,
    .link = do_link,
};
