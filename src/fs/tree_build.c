/*
 * tree_build.c - a new set of entries takes the place of the old one.
 *
 * replace builds the new listings beside the old ones (fields marked "builder" are its own), then
 * swaps them in at once. Lock order: update (one replace at a time), then lock (published fields).
 */
#include "tree_priv.h"

#include "amber/calendar.h"
#include "amber/store.h"

/* The new listing of one folder. */
struct listing {
    struct tree_node *folder;
    struct tree_node **items; /* owned until the swap */
    size_t n, cap;
    int64_t newest_us;
    bool changed;
};

struct change_list {
    struct amber_tree_change *items; /* owned */
    size_t n, cap;
};

/* What one replace works with. */
struct build {
    struct amber_tree *t;
    const struct amber_tree_entry **sorted; /* owned; in tree order */
    struct listing *listings;               /* owned; root first */
    size_t n, cap;
    uint32_t generation;
    struct amber_tree_totals totals;
    struct change_list changes;
    int64_t now_us;
};

/* ---- nodes ---- */

static uint64_t hash_text(uint64_t h, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)s[i]) * UINT64_C(0x100000001b3);
    return h;
}

static size_t bucket_of(const struct amber_tree *t, const struct tree_node *parent,
                        const char *name, size_t len, const char *key)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ (parent->ino * UINT64_C(0x9e3779b97f4a7c15));
    h = hash_text(h, name, len);
    h = hash_text(h, key ? key : "/", key ? strlen(key) : 1);
    return (size_t)((h ^ (h >> 32)) & (t->n_buckets - 1));
}

static const char *node_key(const struct tree_node *n)
{
    const struct tree_content *c = n->built ? n->built : n->content;
    return c ? c->e.key : NULL;
}

static enum amber_rc grow_buckets(struct amber_tree *t, struct amber_err *err)
{
    if (t->n_buckets > t->n_nodes)
        return AMBER_OK;
    size_t old_n = t->n_buckets;
    struct tree_node **old = t->buckets;
    struct tree_node **fresh;
    size_t n = old_n ? old_n * 2 : 1024;
    enum amber_rc rc = amber_calloc(n, sizeof(*fresh), &fresh, err);
    if (rc)
        return rc;
    t->buckets = fresh;
    t->n_buckets = n;
    for (size_t i = 0; i < old_n; i++) {
        for (struct tree_node *node = old[i], *next; node; node = next) {
            next = node->hash_next;
            size_t b = bucket_of(t, node->parent, node->name, strlen(node->name), node_key(node));
            node->hash_next = t->buckets[b];
            t->buckets[b] = node;
        }
    }
    free(old);
    return AMBER_OK;
}

static struct tree_node *node_find(struct amber_tree *t, const struct tree_node *parent,
                                   const char *name, size_t len, const char *key)
{
    if (!t->n_buckets)
        return NULL;
    for (struct tree_node *n = t->buckets[bucket_of(t, parent, name, len, key)]; n;
         n = n->hash_next) {
        const char *k = node_key(n);
        if (n->parent == parent && n->is_folder == !key && strncmp(n->name, name, len) == 0 &&
            n->name[len] == '\0' && (!key || strcmp(k, key) == 0))
            return n;
    }
    return NULL;
}

/* A new, unlisted node. name must live as long as the tree. */
static enum amber_rc node_add(struct amber_tree *t, struct tree_node *parent, const char *name,
                              struct tree_content *content, struct tree_node **out,
                              struct amber_err *err)
{
    enum amber_rc rc = grow_buckets(t, err);
    if (rc)
        return rc;
    if (t->n_nodes % TREE_CHUNK == 0) {
        struct tree_node *chunk;
        if ((rc = amber_calloc(TREE_CHUNK, sizeof(*chunk), &chunk, err)))
            return rc;
        pthread_rwlock_wrlock(&t->lock);
        size_t i = (size_t)(t->n_nodes / TREE_CHUNK);
        rc = amber_grow(&t->chunks, &t->chunks_cap, i + 1, sizeof(struct tree_node *), err);
        if (!rc)
            t->chunks[i] = chunk;
        pthread_rwlock_unlock(&t->lock);
        if (rc) {
            free(chunk);
            return rc;
        }
    }
    struct tree_node *n = &t->chunks[t->n_nodes / TREE_CHUNK][t->n_nodes % TREE_CHUNK];
    n->ino = AMBER_TREE_INO_FIRST + t->n_nodes;
    n->parent = parent;
    n->name = name;
    n->is_folder = !content;
    n->built = content;
    pthread_rwlock_wrlock(&t->lock);
    t->n_nodes++;
    pthread_rwlock_unlock(&t->lock);
    size_t b = bucket_of(t, parent, name, strlen(name), content ? content->e.key : NULL);
    n->hash_next = t->buckets[b];
    t->buckets[b] = n;
    *out = n;
    return AMBER_OK;
}

/* ---- contents ---- */

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_entry(const struct amber_tree_entry *a, const struct amber_tree_entry *b)
{
    return strcmp(a->path, b->path) == 0 && strcmp(a->key, b->key) == 0 &&
           same_text(a->manifest_key, b->manifest_key) && a->form == b->form &&
           a->size == b->size && a->stored_size == b->stored_size && a->rows == b->rows &&
           a->mtime_us == b->mtime_us && a->has_digest == b->has_digest &&
           (!a->has_digest ||
            memcmp(a->manifest_sha256, b->manifest_sha256, sizeof(a->manifest_sha256)) == 0);
}

static enum amber_rc content_new(struct amber_tree *t, const struct amber_tree_entry *e,
                                 struct tree_content **out, struct amber_err *err)
{
    size_t path = strlen(e->path) + 1;
    size_t key = strlen(e->key) + 1;
    size_t manifest = e->manifest_key ? strlen(e->manifest_key) + 1 : 0;
    size_t bytes = sizeof(struct tree_content) + path + key + manifest;
    struct tree_content *c = malloc(bytes);
    if (!c)
        return amber_fail_nomem(err, "an entry of the tree", bytes);
    char *text = (char *)(c + 1);
    c->e = *e;
    c->found = (struct amber_tree_found){0};
    c->e.path = memcpy(text, e->path, path);
    c->e.key = memcpy(text + path, e->key, key);
    if (manifest)
        c->e.manifest_key = memcpy(text + path + key, e->manifest_key, manifest);
    c->next = t->contents;
    t->contents = c;
    *out = c;
    return AMBER_OK;
}

/* ---- building the new listings ---- */

/* Order in which a folder's own name comes right before all that is below it. */
static int path_rank(char c)
{
    return c == '\0' ? 0 : c == '/' ? 1 : (unsigned char)c + 2;
}

static int compare_paths(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return path_rank(*a) - path_rank(*b);
}

static int compare_entries(const void *a, const void *b)
{
    const struct amber_tree_entry *const *ea = a;
    const struct amber_tree_entry *const *eb = b;
    return compare_paths((*ea)->path, (*eb)->path);
}

static enum amber_rc check_paths(const struct build *b, size_t n, struct amber_err *err)
{
    for (size_t i = 0; i < n; i++) {
        const char *path = b->sorted[i]->path;
        enum amber_rc rc = amber_key_check(path, err);
        if (rc)
            return amber_wrap(err, "archive path \"%s\" can't be shown", path);
        if (i == 0)
            continue;
        const char *before = b->sorted[i - 1]->path;
        size_t len = strlen(before);
        if (strncmp(before, path, len) != 0)
            continue;
        if (path[len] == '\0')
            return amber_fail(err, AMBER_E_INVALID,
                              "two archives have the path %s (keys %s and %s)", path,
                              b->sorted[i - 1]->key, b->sorted[i]->key);
        if (path[len] == '/')
            return amber_fail(err, AMBER_E_INVALID, "archive path %s is also a folder, that of %s",
                              before, path);
    }
    return AMBER_OK;
}

static enum amber_rc archive_node(struct build *b, struct tree_node *folder, const char *name,
                                  const struct amber_tree_entry *e, struct tree_node **out,
                                  struct amber_err *err)
{
    struct tree_node *n = node_find(b->t, folder, name, strlen(name), e->key);
    enum amber_rc rc = AMBER_OK;
    struct tree_content *c = NULL;
    if (n && n->content && same_entry(&n->content->e, e)) {
        c = n->content;
    } else if (n && n->built && same_entry(&n->built->e, e)) {
        c = n->built; /* of a replace that failed */
    } else if ((rc = content_new(b->t, e, &c, err))) {
        return rc;
    }
    if (!n && (rc = node_add(b->t, folder, c->e.path + (name - e->path), c, &n, err)))
        return rc;
    n->built = c;
    b->totals.archives++;
    b->totals.rows += e->rows;
    b->totals.raw_bytes += e->size;
    b->totals.stored_bytes += e->stored_size;
    *out = n;
    return AMBER_OK;
}

static enum amber_rc folder_node(struct build *b, struct tree_node *folder, const char *name,
                                 size_t len, struct tree_node **out, struct amber_err *err)
{
    b->totals.folders++;
    if ((*out = node_find(b->t, folder, name, len, NULL)))
        return AMBER_OK;
    char *copy = strndup(name, len);
    if (!copy)
        return amber_fail_nomem(err, "a folder's name", len + 1);
    enum amber_rc rc = node_add(b->t, folder, copy, NULL, out, err);
    if (rc)
        free(copy);
    return rc;
}

/* End of the entries from lo on whose path begins with the same prefix_len bytes. */
static size_t end_of_folder(const struct build *b, size_t lo, size_t hi, size_t prefix_len)
{
    size_t i = lo + 1;
    while (i < hi && strncmp(b->sorted[i]->path, b->sorted[lo]->path, prefix_len) == 0)
        i++;
    return i;
}

/* The listing of folder, whose entries are sorted[lo..hi) with skip bytes of path before them.
 * Recursion is as deep as the path, which amber_key_check bounds. */
static enum amber_rc build_folder(struct build *b, struct tree_node *folder, size_t lo, size_t hi,
                                  size_t skip, int64_t *newest_us, struct amber_err *err)
{
    enum amber_rc rc = amber_grow(&b->listings, &b->cap, b->n + 1, sizeof(*b->listings), err);
    if (rc)
        return rc;
    size_t self = b->n++;
    b->listings[self] = (struct listing){.folder = folder, .newest_us = INT64_MIN};
    while (lo < hi) {
        const struct amber_tree_entry *e = b->sorted[lo];
        const char *name = e->path + skip;
        size_t len = strcspn(name, "/");
        struct tree_node *child = NULL;
        int64_t child_us = e->mtime_us;
        size_t next = lo + 1;
        if (name[len] == '\0') {
            rc = archive_node(b, folder, name, e, &child, err);
        } else {
            next = end_of_folder(b, lo, hi, skip + len + 1);
            rc = folder_node(b, folder, name, len, &child, err);
            if (!rc)
                rc = build_folder(b, child, lo, next, skip + len + 1, &child_us, err);
        }
        struct listing *l = &b->listings[self];
        if (!rc)
            rc = amber_grow(&l->items, &l->cap, l->n + 1, sizeof(struct tree_node *), err);
        if (rc)
            return rc;
        l->items[l->n++] = child;
        if (child_us > l->newest_us)
            l->newest_us = child_us;
        lo = next;
    }
    *newest_us = b->listings[self].newest_us;
    return AMBER_OK;
}

/* ---- what changed ---- */

static enum amber_rc add_change(struct build *b, struct listing *l, enum amber_tree_what what,
                                const struct tree_node *child, struct amber_err *err)
{
    struct change_list *c = &b->changes;
    enum amber_rc rc = amber_grow(&c->items, &c->cap, c->n + 1, sizeof(*c->items), err);
    if (rc)
        return rc;
    c->items[c->n++] = (struct amber_tree_change){
        .what = what,
        .folder = l->folder->ino,
        .ino = child->ino,
        .name = child->name,
        .entry = what == AMBER_TREE_REMOVED && child->content ? &child->content->e : NULL,
    };
    if (what != AMBER_TREE_ALTERED)
        l->changed = true;
    return AMBER_OK;
}

/* Merge old and new children by name. */
static enum amber_rc compare_listing(struct build *b, struct listing *l, struct amber_err *err)
{
    struct tree_node **old = l->folder->children;
    size_t n_old = l->folder->n_children;
    size_t i = 0, j = 0;
    while (i < n_old || j < l->n) {
        int c = i == n_old ? 1 : j == l->n ? -1 : strcmp(old[i]->name, l->items[j]->name);
        enum amber_rc rc = AMBER_OK;
        if (c == 0 && old[i] == l->items[j]) {
            if (!old[i]->is_folder && old[i]->built != old[i]->content)
                rc = add_change(b, l, AMBER_TREE_ALTERED, old[i], err);
            i++;
            j++;
        } else if (c <= 0) {
            rc = add_change(b, l, AMBER_TREE_REMOVED, old[i++], err);
        } else {
            rc = add_change(b, l, AMBER_TREE_ADDED, l->items[j++], err);
        }
        if (rc)
            return rc;
    }
    return AMBER_OK;
}

/* Unlink the children of folders that the new generation doesn't have. */
static void empty_gone_folders(struct amber_tree *t)
{
    for (uint64_t i = 0; i < t->n_nodes; i++) {
        struct tree_node *n = &t->chunks[i / TREE_CHUNK][i % TREE_CHUNK];
        if (n->is_folder && n->generation != t->generation && n->children) {
            free(n->children);
            n->children = NULL;
            n->n_children = 0;
        }
    }
}

/* Publish the build. Can't fail. */
static void swap_in(struct build *b)
{
    struct amber_tree *t = b->t;
    pthread_rwlock_wrlock(&t->lock);
    for (size_t i = 0; i < b->n; i++) {
        struct listing *l = &b->listings[i];
        struct tree_node *f = l->folder;
        free(f->children);
        f->n_children = l->n;
        f->children = amber_steal(&l->items);
        /* The kernel's cached listing is tied to this time: it must move with every change. */
        if (!f->was_listed)
            f->mtime_us = l->n ? l->newest_us : b->now_us;
        else if (l->changed)
            f->mtime_us = b->now_us > f->mtime_us ? b->now_us : f->mtime_us + 1;
        f->was_listed = true;
        for (size_t j = 0; j < f->n_children; j++) {
            struct tree_node *c = f->children[j];
            c->generation = b->generation;
            if (!c->is_folder) {
                c->content = c->built;
                c->mtime_us = c->content->e.mtime_us;
            }
        }
    }
    t->generation = b->generation;
    t->totals = b->totals;
    empty_gone_folders(t);
    pthread_rwlock_unlock(&t->lock);
}

static void build_clear(struct build *b)
{
    for (size_t i = 0; i < b->n; i++)
        free(b->listings[i].items);
    free(b->listings);
    free(b->sorted);
    free(b->changes.items);
}

static enum amber_rc build_all(struct build *b, const struct amber_tree_entry *entries, size_t n,
                               struct amber_err *err)
{
    enum amber_rc rc = amber_calloc(n + 1, sizeof(*b->sorted), &b->sorted, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < n; i++)
        b->sorted[i] = &entries[i];
    qsort(b->sorted, n, sizeof(*b->sorted), compare_entries);
    if ((rc = check_paths(b, n, err)))
        return rc;
    int64_t newest;
    if ((rc = build_folder(b, &b->t->root, 0, n, 0, &newest, err)))
        return rc;
    for (size_t i = 0; i < b->n && !rc; i++)
        rc = compare_listing(b, &b->listings[i], err);
    return rc;
}

enum amber_rc
amber_tree_replace(struct amber_tree *t, const struct amber_tree_entry *entries, size_t n,
                   void (*on_change)(void *arg, const struct amber_tree_change *change), void *arg,
                   struct amber_err *err)
{
    pthread_mutex_lock(&t->update);
    struct build b = {.t = t, .generation = t->generation + 1, .now_us = amber_now_us()};
    enum amber_rc rc = build_all(&b, entries, n, err);
    if (!rc)
        swap_in(&b);
    pthread_mutex_unlock(&t->update);
    for (size_t i = 0; !rc && on_change && i < b.changes.n; i++)
        on_change(arg, &b.changes.items[i]);
    build_clear(&b);
    return rc;
}
