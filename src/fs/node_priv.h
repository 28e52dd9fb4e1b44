/*
 * node_priv.h - inodes of the mount and what they stand for (node.c, vnode.c).
 *
 * Inode numbers: below AMBER_TREE_INO_FIRST the fixed nodes (enum node_kind is the number), then
 * the tree's; with RAW_BIT the same nodes below .raw; with VNODE_BIT the dynamic ones (vnode.c).
 */
#ifndef AMBER_NODE_PRIV_H
#define AMBER_NODE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "amber/tree.h"

#define RAW_BIT (UINT64_C(1) << 61)
#define VNODE_BIT (UINT64_C(1) << 62)
/* Practically for ever: what the tree says changes only with a notification. */
#define TIMEOUT_ARCHIVE (365.0 * 86400.0)
/* Store's own objects: never change, but may appear and be removed. */
#define TIMEOUT_META 1.0

enum node_kind {
    NODE_FOLDER = AMBER_TREE_ROOT, /* tree; 1 is the root's number too */
    NODE_STATUS,
    NODE_METRICS,
    NODE_CONTROL, /* .control */
    NODE_TRIGGER,
    NODE_CANCEL,
    NODE_VERIFY,
    NODE_RESTORE_LINE, /* .control/restore */
    NODE_LOG,
    NODE_FOLLOW,
    NODE_WAITS,   /* .control/wait */
    NODE_RESTORE, /* .restore */
    NODE_META,    /* .raw/.amberfs */
    NODE_FIXED_END,
    NODE_ARCHIVE, /* tree */
    NODE_RAW_FOLDER,
    NODE_RAW_ARCHIVE,
    NODE_WAIT,          /* vnode: .control/wait/JOB */
    NODE_RESTORE_TABLE, /* vnode: .restore/TABLE */
    NODE_RESTORE_FILE,  /* vnode */
    NODE_META_FOLDER,   /* vnode: name is the store key */
    NODE_META_FILE,     /* vnode: name is the store key */
};

/* A node outside the tree and the fixed ones. Lives while the kernel knows its inode. */
struct vnode {
    uint64_t ino;
    enum node_kind kind;
    uint64_t nlookup; /* references the kernel holds */
    bool named;       /* found by name; false for a restore file that was committed or failed */
    char *name;       /* owned */
    _Atomic uint64_t size;
    _Atomic int64_t mtime_us;
    struct vnode *next_ino, *next_name;
};

struct vnode_table {
    pthread_mutex_t mutex;            /* guards all below and the vnodes' nlookup, named, links */
    struct vnode **by_ino, **by_name; /* owned; n_buckets each */
    size_t n_buckets, n;
    uint64_t next_ino;
};

/* What an inode number stands for. */
struct node {
    enum node_kind kind;
    uint64_t ino;
    struct amber_node tree; /* folders and archives, .raw's too */
    struct vnode *v;
};

struct amber_mount;
struct fuse_entry_param;

/* Names of the fixed nodes, and where they are; by kind. */
struct fixed_node {
    const char *name;
    enum node_kind parent; /* 0: the root, not listed */
    mode_t mode;
    bool writable_only; /* not there on a read-only mount */
};
extern const struct fixed_node amber_fixed_nodes[NODE_FIXED_END];

/* Returns false for a number that was never given out. */
bool amber_node_get(struct amber_mount *m, uint64_t ino, struct node *out);
/* The node of a name in a folder. Returns errno. A vnode found has one kernel reference more. */
int amber_node_lookup(struct amber_mount *m, const struct node *parent, const char *name,
                      struct node *out);
void amber_node_stat(struct amber_mount *m, const struct node *n, struct stat *out);
/* How long the kernel may believe a node's name and attributes, in seconds. */
double amber_node_timeout(const struct node *n);
void amber_node_entry(struct amber_mount *m, const struct node *n, struct fuse_entry_param *e);
/* errno with which a change of the node is refused. */
int amber_node_refusal(enum node_kind k);

/* ---- vnode.c ---- */
enum amber_rc amber_vnodes_init(struct vnode_table *t, struct amber_err *err) AMBER_MUST_CHECK;
void amber_vnodes_clear(struct vnode_table *t);
/* The named vnode, made if missing (make) or NULL; with one kernel reference more. NULL too if
 * there is no memory. */
struct vnode *amber_vnode_ref(struct vnode_table *t, enum node_kind kind, const char *name,
                              bool make);
/* The vnode of this inode, valid while the kernel waits for an answer about it. */
struct vnode *amber_vnode_get(struct vnode_table *t, uint64_t ino);
void amber_vnode_forget(struct vnode_table *t, uint64_t ino, uint64_t n);
/* Free the name for another one; the inode stays. */
void amber_vnode_unname(struct vnode_table *t, struct vnode *v);

#endif
