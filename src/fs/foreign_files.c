/*
 * foreign_files.c - files of other programs: indexed when somebody wants to know their size, opened
 * by their index, or as they are.
 *
 * All of this may take as long as decoding the file does, so it runs on call threads, and FUSE
 * threads go on. Several that want the same file wait for one index (fuse_read.c).
 */
#include "mount_priv.h"

#include <errno.h>

struct foreign_call {
    struct store_call call; /* first */
    struct amber_mount *m;
    struct node n; /* of the tree: nothing of it can go away */
    struct fuse_file_info fi;
    struct amber_caller caller;
    struct archive *a; /* NULL: fault says why, an errno */
    int fault;
};

/* Index it, unless that was done, and tell tree and kernel what it is. */
static void work(struct store_call *call)
{
    struct foreign_call *c = (struct foreign_call *)call;
    struct amber_err err = AMBER_ERR_INIT;
    if (amber_archive_acquire(c->m, c->n.tree.entry, &c->a, &err)) {
        c->a = NULL;
        c->fault = err.code == AMBER_E_NOT_FOUND ? ENOENT : amber_read_errno(&err);
        return;
    }
    c->fi.keep_cache = amber_archive_note(c->m, &c->n, c->a);
    if (!amber_node_get(c->m, c->n.ino, &c->n))
        c->fault = ESTALE;
}

static void start(struct amber_mount *m, fuse_req_t req, const struct node *n,
                  const struct fuse_file_info *fi,
                  void (*answer)(struct store_call *c, fuse_req_t req))
{
    struct foreign_call *c = calloc(1, sizeof(*c));
    if (!c) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    c->call = (struct store_call){.work = work, .answer = answer};
    c->m = m;
    c->n = *n;
    c->caller = amber_caller_of(req);
    if (fi)
        c->fi = *fi;
    amber_store_call_slow(m, &c->call, req);
}

/* True if there is an answer to give other than the fault. */
static bool begin_answer(struct foreign_call *c, fuse_req_t req)
{
    if (req && c->fault)
        fuse_reply_err(req, c->fault);
    return req && !c->fault;
}

static void end_answer(struct foreign_call *c)
{
    if (c->a)
        amber_archive_release(c->m, c->a);
    free(c);
}

/* ---- what it is ---- */

static uint64_t version_number(const char *version)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (; *version; version++)
        h = (h ^ (unsigned char)*version) * UINT64_C(0x100000001b3);
    return h | 1;
}

bool amber_foreign_note(struct amber_mount *m, const struct amber_tree_entry *e, uint64_t ino,
                        const char *version, uint64_t size, uint64_t stored_size)
{
    const struct amber_tree_found found = {
        .size = size, .stored_size = stored_size, .version = version_number(version)};
    bool other = amber_tree_found(m->cfg.tree, ino & ~RAW_BIT, e, &found);
    if (other)
        amber_notify_altered(m, ino);
    return !other;
}

bool amber_foreign_unsized(const struct node *n)
{
    return n->kind == NODE_ARCHIVE && !n->tree.sized;
}

static void answer_lookup(struct store_call *call, fuse_req_t req)
{
    struct foreign_call *c = (struct foreign_call *)call;
    if (begin_answer(c, req))
        amber_reply_node(c->m, req, &c->n);
    end_answer(c);
}

void amber_foreign_lookup(struct amber_mount *m, fuse_req_t req, const struct node *n)
{
    start(m, req, n, NULL, answer_lookup);
}

static void answer_getattr(struct store_call *call, fuse_req_t req)
{
    struct foreign_call *c = (struct foreign_call *)call;
    struct stat st;
    if (begin_answer(c, req)) {
        amber_node_stat(c->m, &c->n, &st);
        fuse_reply_attr(req, &st, amber_node_timeout(&c->n));
    }
    end_answer(c);
}

void amber_foreign_getattr(struct amber_mount *m, fuse_req_t req, const struct node *n)
{
    start(m, req, n, NULL, answer_getattr);
}

/* ---- opening ---- */

static void answer_open(struct store_call *call, fuse_req_t req)
{
    struct foreign_call *c = (struct foreign_call *)call;
    if (begin_answer(c, req)) {
        amber_archive_opened(c->m, req, c->a, c->n.tree.entry, &c->fi, &c->caller);
        c->a = NULL; /* the file's now */
    }
    end_answer(c);
}

static void open_stored(struct amber_mount *m, fuse_req_t req, const struct node *n,
                        struct fuse_file_info *fi)
{
    const struct amber_tree_entry *e = n->tree.entry;
    struct amber_caller caller = amber_caller_of(req);
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_FREE char *path = NULL;
    if (amber_asprintf(&path, &err, "%s%s", n->kind == NODE_ARCHIVE ? "" : ".raw/", e->key)) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    amber_audit(m, "open", path, &caller);
    atomic_fetch_add(&m->opens, 1);
    amber_object_file_open(m, req, e->key, e, n->ino, fi);
}

void amber_foreign_file_open(struct amber_mount *m, fuse_req_t req, const struct node *n,
                             struct fuse_file_info *fi)
{
    if (n->kind == NODE_ARCHIVE && n->tree.entry->form == AMBER_TREE_FOREIGN)
        start(m, req, n, fi, answer_open);
    else
        open_stored(m, req, n, fi);
}
