/*
 * node.c - what an inode number or a name stands for, and its attributes.
 *
 * The fixed nodes' numbers are their enum node_kind; the tree's and .raw's come from the tree, the
 * others from the vnode table. Switches over the kind have no default, so that a new kind is asked
 * about everywhere.
 */
#include "mount_priv.h"

#include <errno.h>
#include <limits.h>

/* The fixed nodes: names, and where they are. */
const struct fixed_node amber_fixed_nodes[NODE_FIXED_END] = {
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

bool amber_node_get(struct amber_mount *m, uint64_t ino, struct node *out)
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
        size = n->tree.size;
        break;
    case NODE_RAW_ARCHIVE:
        out->st_mode = S_IFREG | 0440;
        size = n->tree.stored_size;
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
        out->st_mode = amber_fixed_nodes[n->kind].mode;
        break;
    }
    /* Not the stored size: cp, grep and tar take fewer blocks than bytes for holes. */
    out->st_size = (off_t)size;
    out->st_blocks = (blkcnt_t)((size + 511) / 512);
    set_time(out, mtime_us);
}

/* How long the kernel may believe names and attributes. */
double amber_node_timeout(const struct node *n)
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

void amber_node_entry(struct amber_mount *m, const struct node *n, struct fuse_entry_param *e)
{
    *e = (struct fuse_entry_param){.ino = n->ino};
    amber_node_stat(m, n, &e->attr);
    e->attr_timeout = e->entry_timeout = amber_node_timeout(n);
}

/* Why a change here is refused: archives can't be changed at all, the rest isn't for files. */
int amber_node_refusal(enum node_kind k)
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

/* The fixed node of this name in a folder of this kind; 0 if there is none. */
static enum node_kind fixed_find(const struct amber_mount *m, const struct node *parent,
                                 const char *name)
{
    enum node_kind where = parent->kind == NODE_FOLDER ? 0 : parent->kind;
    for (unsigned k = NODE_STATUS; k < NODE_FIXED_END; k++)
        if (amber_fixed_nodes[k].parent == where && strcmp(amber_fixed_nodes[k].name, name) == 0 &&
            !(amber_fixed_nodes[k].writable_only && m->cfg.read_only))
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
        return amber_node_get(m, RAW_BIT | AMBER_TREE_ROOT, out) ? 0 : ENOENT;
    struct amber_node t;
    bool found = raw ? amber_raw_lookup(m, folder, name, &t)
                     : amber_tree_lookup(m->cfg.tree, folder, name, &t);
    return found && amber_node_get(m, t.ino | (raw ? RAW_BIT : 0), out) ? 0 : ENOENT;
}

/* Returns errno. A vnode found has one kernel reference more. */
int amber_node_lookup(struct amber_mount *m, const struct node *parent, const char *name,
                      struct node *out)
{
    if (strlen(name) > NAME_MAX)
        return ENAMETOOLONG;
    /* .amberfs is in .raw's root only, the other fixed names in the root and .control. */
    if (parent->ino == AMBER_TREE_ROOT || parent->ino == (RAW_BIT | AMBER_TREE_ROOT) ||
        parent->kind == NODE_CONTROL) {
        enum node_kind k = fixed_find(m, parent, name);
        if (k)
            return amber_node_get(m, k, out) ? 0 : ENOENT;
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
    case NODE_META: /* amber_meta_lookup, which asks the store */
    case NODE_META_FOLDER:
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
