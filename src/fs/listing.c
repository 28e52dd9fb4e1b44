/*
 * listing.c - what is in a folder, as the kernel wants it.
 *
 * Tree folders give their children with all attributes (readdirplus), which spares a request for
 * each; positions are those of amber_tree_list, with the few other names below
 * AMBER_TREE_INO_FIRST. The other folders give names only, and the kernel asks for the rest.
 */
#include "mount_priv.h"

#include <errno.h>

#define POS_DOT 1U
#define POS_DOTDOT 2U
#define POS_META 3U

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
    amber_node_entry(f->m, &n, &e);
    if (!node->is_folder && !node->sized && !f->raw)
        e.ino = 0; /* listing names must not index: the kernel asks when somebody wants to know */
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
    if (*off < POS_DOT && !add_plain(d, ".", S_IFDIR, POS_DOT))
        return false;
    if (*off < POS_DOTDOT && !add_plain(d, "..", S_IFDIR, POS_DOTDOT))
        return false;
    if (*off < POS_DOTDOT)
        *off = POS_DOTDOT;
    return true;
}

static void list_tree(struct amber_mount *m, struct dir_fill *d, const struct node *n, uint64_t off)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct tree_fill f = {.d = d, .m = m, .raw = n->kind == NODE_RAW_FOLDER};
    uint64_t folder = n->ino & ~RAW_BIT;
    if (f.raw && folder == AMBER_TREE_ROOT && off < POS_META &&
        !add_plain(d, AMBER_META_DIR, S_IFDIR, POS_META))
        return;
    enum amber_rc rc = amber_tree_list(m->cfg.tree, folder, off < AMBER_TREE_INO_FIRST ? 0 : off,
                                       add_child, &f, &err);
    (void)rc; /* it is a folder */
}

static void list_control(struct amber_mount *m, struct dir_fill *d, uint64_t off)
{
    for (unsigned k = NODE_STATUS; k < NODE_FIXED_END; k++)
        if (amber_fixed_nodes[k].parent == NODE_CONTROL && k + NODE_FIXED_END > off &&
            !(amber_fixed_nodes[k].writable_only && m->cfg.read_only) &&
            !add_plain(d, amber_fixed_nodes[k].name, amber_fixed_nodes[k].mode & S_IFMT,
                       k + NODE_FIXED_END))
            return;
}

static void list_jobs(struct amber_mount *m, struct dir_fill *d, uint64_t off)
{
    for (uint64_t i = off - POS_DOTDOT;; i++) {
        const char *name = m->cfg.ops->job_name(m->cfg.arg, (size_t)i);
        if (!name || !add_plain(d, name, S_IFREG, i + 1 + POS_DOTDOT))
            return;
    }
}

void amber_list(fuse_req_t req, const struct node *n, size_t size, uint64_t off, bool plus)
{
    struct amber_mount *m = fuse_req_userdata(req);
    struct dir_fill d;
    if (!amber_dir_begin(&d, req, size, plus))
        return;
    if (add_dots(&d, &off)) {
        if (n->kind == NODE_FOLDER || n->kind == NODE_RAW_FOLDER)
            list_tree(m, &d, n, off);
        else if (n->kind == NODE_CONTROL)
            list_control(m, &d, off);
        else if (n->kind == NODE_WAITS)
            list_jobs(m, &d, off);
    } /* .restore is empty for those who list it */
    amber_dir_end(&d);
}
