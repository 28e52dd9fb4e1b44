/*
 * tree.c - the archives' names as a tree of permanent nodes.
 *
 *   root -> children (sorted by name) -> ... -> archive node -> content (the entry's strings)
 *
 * Invariants: nodes and contents live until amber_tree_free, so that a name or an entry handed out
 * never dangles and an inode never means something else. What disappears is only unlinked from its
 * folder's children; when it comes back with the same key, it is the same node again. Memory grows
 * with the number of distinct (path, key) pairs and of real changes, not with calls of replace.
 */
#include "tree_priv.h"

#include "amber/calendar.h"

#define LIST_BATCH 64U

static struct tree_node *node_by_ino(const struct amber_tree *t, uint64_t ino)
{
    if (ino == AMBER_TREE_ROOT)
        return (struct tree_node *)&t->root;
    if (ino < AMBER_TREE_INO_FIRST || ino - AMBER_TREE_INO_FIRST >= t->n_nodes)
        return NULL;
    uint64_t i = ino - AMBER_TREE_INO_FIRST;
    return &t->chunks[i / TREE_CHUNK][i % TREE_CHUNK];
}

/* ---- making and freeing ---- */

enum amber_rc amber_tree_new(struct amber_tree **out, struct amber_err *err)
{
    struct amber_tree *t;
    enum amber_rc rc = amber_calloc(1, sizeof(*t), &t, err);
    if (rc)
        return rc;
    pthread_mutex_init(&t->update, NULL);
    pthread_rwlock_init(&t->lock, NULL);
    t->root = (struct tree_node){.ino = AMBER_TREE_ROOT, .name = "", .is_folder = true};
    t->root.mtime_us = amber_now_us();
    *out = t;
    return AMBER_OK;
}

void amber_tree_free(struct amber_tree *t)
{
    if (!t)
        return;
    for (uint64_t i = 0; i < t->n_nodes; i++) {
        struct tree_node *n = &t->chunks[i / TREE_CHUNK][i % TREE_CHUNK];
        if (n->is_folder) {
            free(n->children);
            free((char *)n->name);
        }
    }
    for (uint64_t i = 0; i < t->n_nodes; i += TREE_CHUNK)
        free(t->chunks[i / TREE_CHUNK]);
    for (struct tree_content *c = t->contents, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(t->root.children);
    free(t->chunks);
    free(t->buckets);
    pthread_rwlock_destroy(&t->lock);
    pthread_mutex_destroy(&t->update);
    free(t);
}

/* ---- looking things up ---- */

static void fill(const struct tree_node *n, struct amber_node *out)
{
    const struct tree_content *c = n->content;
    *out = (struct amber_node){.ino = n->ino, .is_folder = n->is_folder, .mtime_us = n->mtime_us};
    if (!c)
        return;
    bool found = c->found.version != 0;
    out->entry = &c->e;
    out->size = found ? c->found.size : c->e.size;
    out->stored_size = found ? c->found.stored_size : c->e.stored_size;
    out->sized = found || c->e.form != AMBER_TREE_FOREIGN;
}

bool amber_tree_found(struct amber_tree *t, uint64_t ino, const struct amber_tree_entry *entry,
                      const struct amber_tree_found *found)
{
    struct tree_content *c =
        (struct tree_content *)((char *)(uintptr_t)entry - offsetof(struct tree_content, e));
    pthread_rwlock_wrlock(&t->lock);
    struct tree_node *n = node_by_ino(t, ino);
    bool other = (n && n->opened && n->opened != found->version) ||
                 (!c->found.version && c->e.stored_size != found->stored_size);
    if (n)
        n->opened = found->version;
    c->found = *found;
    pthread_rwlock_unlock(&t->lock);
    return other;
}

/* Index of the first child whose name is not below name (or not up to it, if behind). */
static size_t child_index(const struct tree_node *folder, const char *name, size_t len, bool behind)
{
    size_t lo = 0, hi = folder->n_children;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const char *have = folder->children[mid]->name;
        int c = strncmp(have, name, len);
        if (c == 0 && have[len] != '\0')
            c = 1;
        if (c < 0 || (behind && c == 0))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct tree_node *child_find(const struct tree_node *folder, const char *name, size_t len)
{
    size_t i = child_index(folder, name, len, false);
    if (i == folder->n_children)
        return NULL;
    struct tree_node *c = folder->children[i];
    return strncmp(c->name, name, len) == 0 && c->name[len] == '\0' ? c : NULL;
}

bool amber_tree_lookup(struct amber_tree *t, uint64_t parent, const char *name,
                       struct amber_node *out)
{
    pthread_rwlock_rdlock(&t->lock);
    const struct tree_node *folder = node_by_ino(t, parent);
    const struct tree_node *n =
        folder && folder->is_folder ? child_find(folder, name, strlen(name)) : NULL;
    if (n)
        fill(n, out);
    pthread_rwlock_unlock(&t->lock);
    return n != NULL;
}

bool amber_tree_get(struct amber_tree *t, uint64_t ino, struct amber_node *out)
{
    pthread_rwlock_rdlock(&t->lock);
    const struct tree_node *n = node_by_ino(t, ino);
    if (n && !n->is_folder && !n->content)
        n = NULL; /* being built */
    if (n)
        fill(n, out);
    pthread_rwlock_unlock(&t->lock);
    return n != NULL;
}

bool amber_tree_find(struct amber_tree *t, const char *path, struct amber_node *out)
{
    pthread_rwlock_rdlock(&t->lock);
    const struct tree_node *n = &t->root;
    while (n && *path) {
        size_t len = strcspn(path, "/");
        n = n->is_folder ? child_find(n, path, len) : NULL;
        path += len;
        if (*path == '/' && *++path == '\0')
            n = NULL; /* no name ends in a slash */
    }
    bool found = n && !n->is_folder;
    if (found)
        fill(n, out);
    pthread_rwlock_unlock(&t->lock);
    return found;
}

void amber_tree_find_name(struct amber_tree *t, const char *name,
                          bool (*each)(void *arg, const struct amber_node *node), void *arg)
{
    uint64_t i = 0;
    for (;;) {
        struct amber_node found[LIST_BATCH];
        size_t n = 0;
        pthread_rwlock_rdlock(&t->lock);
        for (; i < t->n_nodes && n < LIST_BATCH; i++) {
            const struct tree_node *node = &t->chunks[i / TREE_CHUNK][i % TREE_CHUNK];
            if (node->content && node->generation == t->generation && strcmp(node->name, name) == 0)
                fill(node, &found[n++]);
        }
        bool more = i < t->n_nodes;
        pthread_rwlock_unlock(&t->lock);
        for (size_t j = 0; j < n; j++)
            if (!each(arg, &found[j]))
                return;
        if (!more)
            return;
    }
}

struct listed {
    const char *name;
    struct amber_node node;
};

/* Up to LIST_BATCH children behind pos. Returns false if ino is no folder. */
static bool list_batch(struct amber_tree *t, uint64_t ino, uint64_t pos, struct listed *out,
                       size_t *out_n)
{
    pthread_rwlock_rdlock(&t->lock);
    const struct tree_node *folder = node_by_ino(t, ino);
    bool ok = folder && folder->is_folder;
    if (ok) {
        const struct tree_node *before = pos ? node_by_ino(t, pos) : NULL;
        size_t i = before ? child_index(folder, before->name, strlen(before->name), true) : 0;
        size_t n = 0;
        for (; i < folder->n_children && n < LIST_BATCH; i++, n++) {
            out[n].name = folder->children[i]->name;
            fill(folder->children[i], &out[n].node);
        }
        *out_n = n;
    }
    pthread_rwlock_unlock(&t->lock);
    return ok;
}

enum amber_rc amber_tree_list(struct amber_tree *t, uint64_t ino, uint64_t pos,
                              bool (*each)(void *arg, const char *name,
                                           const struct amber_node *node, uint64_t next_pos),
                              void *arg, struct amber_err *err)
{
    struct listed batch[LIST_BATCH];
    size_t n;
    do {
        if (!list_batch(t, ino, pos, batch, &n))
            return amber_fail(err, AMBER_E_NOT_FOUND, "inode %llu is no folder of the tree",
                              (unsigned long long)ino);
        for (size_t i = 0; i < n; i++)
            if (!each(arg, batch[i].name, &batch[i].node, batch[i].node.ino))
                return AMBER_OK;
        if (n)
            pos = batch[n - 1].node.ino;
    } while (n == LIST_BATCH);
    return AMBER_OK;
}

void amber_tree_totals(struct amber_tree *t, struct amber_tree_totals *out)
{
    pthread_rwlock_rdlock(&t->lock);
    *out = t->totals;
    pthread_rwlock_unlock(&t->lock);
}
