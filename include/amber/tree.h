/*
 * tree.h - the names and inodes of the mounted archives: a sorted, append-mostly set of entries.
 *
 * Knows nothing of FUSE. An entry's path is its logical name ("flow_logs/x.json"); folders are
 * implied by the paths. Inode numbers are stable while the process lives. Built for 100,000
 * entries at under 1 KiB each: manifests aren't loaded here.
 *
 * thread  all functions from any thread; a lookup's strings stay valid until amber_tree_free
 */
#ifndef AMBER_TREE_H
#define AMBER_TREE_H

#include "amber/err.h"
#include "amber/mem.h"

/* Who wrote a file, and so how it is read. */
enum amber_tree_form {
    AMBER_TREE_OURS,    /* amberfs: by its manifest */
    AMBER_TREE_FOREIGN, /* another program, decoded: by an index (foreign.h), which gives its size */
    AMBER_TREE_PLAIN,   /* another program, shown as it is */
};

/* What the tree must know to answer lookup, getattr and readdir. All strings are copied. */
struct amber_tree_entry {
    const char *path;         /* logical name */
    const char *key;          /* store key of the archive */
    const char *manifest_key; /* NULL: the manifest is missing, reads give EIO until rebuilt */
    enum amber_tree_form form;
    uint64_t size;            /* raw bytes; FOREIGN: 0 until amber_tree_found */
    uint64_t stored_size;
    uint64_t rows;
    int64_t mtime_us;
    uint8_t manifest_sha256[32];
    bool has_digest; /* manifest_sha256 is known (from the catalog or a marker) */
};

struct amber_manifest;
struct amber_store;
/* An archive of ours: its manifest, compared with the recorded digest.
 * errors  NOT_FOUND, CORRUPT: the text says whether it can be made anew or only brought back; as the
 *         store's */
enum amber_rc amber_entry_manifest(struct amber_store *st, const struct amber_tree_entry *e,
                                   struct amber_manifest *out, struct amber_err *err)
    AMBER_MUST_CHECK;

struct amber_tree;
enum amber_rc amber_tree_new(struct amber_tree **out, struct amber_err *err) AMBER_MUST_CHECK;
void amber_tree_free(struct amber_tree *t); /* NULL allowed */

/* One name of one folder's listing that came, went, or has other attributes. A name that now
 * stands for another archive is reported as gone, then as added. */
enum amber_tree_what { AMBER_TREE_ADDED, AMBER_TREE_REMOVED, AMBER_TREE_ALTERED };
struct amber_tree_change {
    enum amber_tree_what what;
    uint64_t folder;                      /* inode of the folder that holds the name */
    uint64_t ino;                         /* of the child itself */
    const char *name;                     /* valid until amber_tree_free */
    const struct amber_tree_entry *entry; /* REMOVED: what it was; NULL for a folder */
};
/*
 * Make the tree hold exactly these entries. What was there with the same path and key keeps its
 * inode, also if it was gone in between. on_change is called for each change, after the swap,
 * without a lock held; may be NULL. Below a folder that is gone nothing is reported.
 * errors  INVALID a path that can't be one, two entries with one path, or a path that is a folder
 *         of another; NOMEM: the tree is as before
 */
enum amber_rc amber_tree_replace(struct amber_tree *t, const struct amber_tree_entry *entries,
                                 size_t n,
                                 void (*on_change)(void *arg,
                                                   const struct amber_tree_change *change),
                                 void *arg, struct amber_err *err) AMBER_MUST_CHECK;

/* Inode of the root; every other node's is at least AMBER_TREE_INO_FIRST, so that the numbers
 * between are free for what isn't in the tree. */
#define AMBER_TREE_ROOT 1U
#define AMBER_TREE_INO_FIRST 64U

/* A node as found: folder or archive. */
struct amber_node {
    uint64_t ino;
    bool is_folder;
    const struct amber_tree_entry *entry; /* archives; valid until amber_tree_free */
    uint64_t size, stored_size;           /* archives: the entry's, or as found since */
    bool sized;                           /* archives: size is known */
    int64_t mtime_us;                     /* folders: at first their newest entry's, later the
                                             time of the last change of their listing */
};
bool amber_tree_lookup(struct amber_tree *t, uint64_t parent, const char *name,
                       struct amber_node *out);
/* Also finds what is gone from the listings: an open file outlives its name. */
bool amber_tree_get(struct amber_tree *t, uint64_t ino, struct amber_node *out);
/* What opening another program's file found it to be. */
struct amber_tree_found {
    uint64_t size, stored_size;
    uint64_t version; /* not 0; another one: other content */
};
/* Note it for inode ino, whose entry was handed out. Returns whether it is other content than was
 * opened under that inode before, or than was listed: whoever believes what was must be told. */
bool amber_tree_found(struct amber_tree *t, uint64_t ino, const struct amber_tree_entry *entry,
                      const struct amber_tree_found *found);
/* The entry with this logical name. */
bool amber_tree_find(struct amber_tree *t, const char *path, struct amber_node *out);
/* The entries whose last path component is name; calls each, without a lock held, until it
 * returns false. */
void amber_tree_find_name(struct amber_tree *t, const char *name,
                          bool (*each)(void *arg, const struct amber_node *node), void *arg);
/*
 * Children of a folder behind position pos (0: from the first), in name order: each(name, node,
 * next_pos) until it returns false. A position is the inode of the child before it, so that a
 * listing that changes between two calls neither repeats nor skips the names that stay. Called
 * without a lock held.
 * errors  NOT_FOUND not a folder
 */
enum amber_rc amber_tree_list(struct amber_tree *t, uint64_t ino, uint64_t pos,
                              bool (*each)(void *arg, const char *name,
                                           const struct amber_node *node, uint64_t next_pos),
                              void *arg, struct amber_err *err) AMBER_MUST_CHECK;
/* Totals for .status and statfs. */
struct amber_tree_totals {
    uint64_t archives, folders, rows, raw_bytes, stored_bytes;
};
void amber_tree_totals(struct amber_tree *t, struct amber_tree_totals *out);

#endif
