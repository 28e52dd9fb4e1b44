/*
 * fuse_ops.c - FUSE requests: inode -> node, then to whoever serves that kind of node.
 *
 * Nothing here blocks but on a local store (reading an archive, its manifest); what waits for a
 * remote one runs elsewhere. The kernel checks permissions (default_permissions); what is refused
 * here is what root may not do either.
 */
#include "mount_priv.h"

#include <errno.h>
#include <limits.h>
#include <sys/statvfs.h>

#define STATFS_BLOCK 4096U

/* The request's node, or its answer: ESTALE for a number that was never given out. */
static bool get_node(fuse_req_t req, uint64_t ino, struct node *out)
{
    struct amber_mount *m = fuse_req_userdata(req);
    if (!atomic_load(&m->asked) && !atomic_exchange(&m->asked, true))
        amber_notify_serving(m);
    if (amber_node_get(m, ino, out))
        return true;
    fuse_reply_err(req, ESTALE);
    return false;
}

static bool is_command(enum node_kind k)
{
    return k == NODE_TRIGGER || k == NODE_CANCEL || k == NODE_VERIFY || k == NODE_RESTORE_LINE;
}

static bool is_restore(enum node_kind k)
{
    return k == NODE_RESTORE || k == NODE_RESTORE_TABLE || k == NODE_RESTORE_FILE;
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
    atomic_store(&h->refs, 1);
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

void amber_handle_hold(struct handle *h)
{
    atomic_fetch_add(&h->refs, 1);
}

void amber_handle_put(struct handle *h)
{
    if (atomic_fetch_sub(&h->refs, 1) == 1)
        h->ops->release(h);
}

void amber_reply_open(fuse_req_t req, struct fuse_file_info *fi, struct handle *h)
{
    fi->fh = (uintptr_t)h;
    fi->noflush = !h->ops->flush; /* one request less, and close can't fail while the mount ends */
    /* An error means that the caller went away: no release will come. */
    if (fuse_reply_open(req, fi))
        amber_handle_put(h);
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

void amber_reply_node(struct amber_mount *m, fuse_req_t req, const struct node *n)
{
    struct fuse_entry_param e;
    amber_node_entry(m, n, &e);
    if (fuse_reply_entry(req, &e) && n->v)
        amber_vnode_forget(&m->vnodes, n->ino, 1);
}

/* A name that isn't there is not remembered by the kernel (an error, not an entry without inode),
 * so that a new archive is seen at once. */
static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct amber_mount *m = fuse_req_userdata(req);
    struct node p, n;
    if (!get_node(req, parent, &p))
        return;
    if (strlen(name) <= NAME_MAX && (p.kind == NODE_META || p.kind == NODE_META_FOLDER)) {
        amber_meta_lookup(m, req, &p, name);
        return;
    }
    int fault = amber_node_lookup(m, &p, name, &n);
    if (fault)
        fuse_reply_err(req, fault);
    else if (amber_foreign_unsized(&n))
        amber_foreign_lookup(m, req, &n);
    else
        amber_reply_node(m, req, &n);
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
    if (amber_foreign_unsized(&n)) {
        amber_foreign_getattr(m, req, &n);
        return;
    }
    amber_node_stat(m, &n, &st);
    fuse_reply_attr(req, &st, amber_node_timeout(&n));
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
    int e = amber_node_refusal(n.kind);
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

/* ---- opening and closing ---- */

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

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, uint64_t off,
                 struct fuse_file_info *fi, bool plus)
{
    struct handle *h = handle_of(fi);
    struct node n;
    if (h) {
        amber_handle_hold(h);
        h->ops->readdir(h, req, size, off, plus);
        amber_handle_put(h);
    } else if (get_node(req, ino, &n)) {
        amber_list(req, &n, size, off, plus);
    }
}

static void do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                       struct fuse_file_info *fi)
{
    list(req, ino, size, (uint64_t)off, fi, false);
}

static void do_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                           struct fuse_file_info *fi)
{
    list(req, ino, size, (uint64_t)off, fi, true);
}

static void do_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    if (fi->fh)
        amber_handle_put(handle_of(fi));
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
    else if (writing && amber_node_refusal(n.kind) == EROFS)
        fuse_reply_err(req, EROFS);
    else if ((n.kind == NODE_ARCHIVE || n.kind == NODE_RAW_ARCHIVE) &&
             n.tree.entry->form != AMBER_TREE_OURS)
        amber_foreign_file_open(m, req, &n, fi);
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
    amber_handle_hold(h);
    if (h->ops->read)
        h->ops->read(h, req, size, (uint64_t)off, fi->flags & O_NONBLOCK);
    else
        fuse_reply_err(req, EBADF);
    amber_handle_put(h);
}

static void do_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
                     struct fuse_file_info *fi)
{
    struct handle *h = handle_of(fi);
    (void)ino;
    amber_handle_hold(h);
    if (h->ops->write)
        h->ops->write(h, req, buf, size, (uint64_t)off);
    else
        fuse_reply_err(req, EBADF);
    amber_handle_put(h);
}

static void do_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct handle *h = handle_of(fi);
    (void)ino;
    amber_handle_hold(h);
    if (h->ops->flush)
        h->ops->flush(h, req);
    else
        fuse_reply_err(req, 0);
    amber_handle_put(h);
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
        fuse_reply_err(req, amber_node_refusal(p.kind));
}

static void refuse(fuse_req_t req, fuse_ino_t ino)
{
    struct node n;
    if (get_node(req, ino, &n))
        fuse_reply_err(req, amber_node_refusal(n.kind));
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
    fuse_reply_err(req, is_restore(n.kind) ? EOPNOTSUPP : amber_node_refusal(n.kind));
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
