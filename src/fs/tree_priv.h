/*
 * tree_priv.h - the nodes of the tree, shared by its building (tree_build.c) and its reading
 * (tree.c).
 */
#ifndef AMBER_TREE_PRIV_H
#define AMBER_TREE_PRIV_H

#include <pthread.h>

#include "amber/tree.h"

#define TREE_CHUNK 1024U /* nodes made at once */

/* An entry as the tree keeps it: the strings follow the struct. */
struct tree_content {
    struct tree_content *next; /* all contents ever made */
    struct amber_tree_entry e;
    struct amber_tree_found found; /* guarded by lock; version 0: nothing yet */
};

struct tree_node {
    uint64_t ino;
    const char *name; /* last path component; in a content's path, or owned (folders) */
    struct tree_node *parent;
    struct tree_content *content; /* published: archives' newest; NULL for folders */
    struct tree_node **children;  /* published: owned; folders, sorted by name */
    size_t n_children;
    int64_t mtime_us; /* published */
    uint64_t opened;  /* published: version of other programs' content last opened; 0 none */
    struct tree_content *built; /* builder: the content that the next swap publishes */
    struct tree_node *hash_next;
    uint32_t generation; /* published: the last generation that listed it; 0 never */
    bool is_folder;
    bool was_listed; /* builder: published once */
};

struct amber_tree {
    pthread_mutex_t update; /* guards the builder's fields */
    pthread_rwlock_t lock;  /* guards the published fields, chunks and totals */
    struct tree_node root;
    struct tree_node *
        *chunks; /* owned; node of inode i is chunks[(i - first) / N][(i - first) % N] */
    size_t chunks_cap;
    uint64_t n_nodes;           /* in the chunks */
    struct tree_node **buckets; /* builder: owned; nodes by (parent, name, key) */
    size_t n_buckets;
    struct tree_content *contents; /* builder: owned */
    uint32_t generation;           /* of the published listings */
    struct amber_tree_totals totals;
};

#endif
