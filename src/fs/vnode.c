/*
 * vnode.c - inodes of what isn't in the tree: jobs to wait for, restore files, the store's own
 * objects. Two hash tables over the same nodes, by number and by (kind, name).
 *
 * A vnode lives while the kernel holds references (lookups minus forgets), so that memory follows
 * the kernel's own cache. Numbers are never used twice. Whoever handles a request about an inode
 * may use its vnode without a lock: the kernel doesn't forget an inode that it waits for.
 */
#include "mount_priv.h"

#include "amber/calendar.h"

#define BUCKETS_FIRST 256U

static size_t ino_bucket(const struct vnode_table *t, uint64_t ino)
{
    return (size_t)(ino & (t->n_buckets - 1));
}

static size_t name_bucket(const struct vnode_table *t, enum node_kind kind, const char *name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ (uint64_t)kind;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return (size_t)((h ^ (h >> 32)) & (t->n_buckets - 1));
}

static void link_ino(struct vnode_table *t, struct vnode *v)
{
    struct vnode **b = &t->by_ino[ino_bucket(t, v->ino)];
    v->next_ino = *b;
    *b = v;
}

static void link_name(struct vnode_table *t, struct vnode *v)
{
    struct vnode **b = &t->by_name[name_bucket(t, v->kind, v->name)];
    v->next_name = *b;
    *b = v;
}

static void unlink_name(struct vnode_table *t, struct vnode *v)
{
    struct vnode **p = &t->by_name[name_bucket(t, v->kind, v->name)];
    while (*p != v)
        p = &(*p)->next_name;
    *p = v->next_name;
    v->named = false;
}

/* Twice the buckets; without memory for them the chains just get longer. */
static void grow(struct vnode_table *t)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct vnode_table bigger = {.n_buckets = t->n_buckets * 2};
    if (amber_calloc(bigger.n_buckets, sizeof(struct vnode *), &bigger.by_ino, &err))
        return;
    if (amber_calloc(bigger.n_buckets, sizeof(struct vnode *), &bigger.by_name, &err)) {
        free(bigger.by_ino);
        return;
    }
    for (size_t i = 0; i < t->n_buckets; i++) {
        for (struct vnode *v = t->by_ino[i], *next; v; v = next) {
            next = v->next_ino;
            link_ino(&bigger, v);
            if (v->named)
                link_name(&bigger, v);
        }
    }
    free(t->by_ino);
    free(t->by_name);
    t->by_ino = bigger.by_ino;
    t->by_name = bigger.by_name;
    t->n_buckets = bigger.n_buckets;
}

enum amber_rc amber_vnodes_init(struct vnode_table *t, struct amber_err *err)
{
    enum amber_rc rc = amber_calloc(BUCKETS_FIRST, sizeof(struct vnode *), &t->by_ino, err);
    if (!rc)
        rc = amber_calloc(BUCKETS_FIRST, sizeof(struct vnode *), &t->by_name, err);
    if (rc) {
        free(t->by_ino);
        t->by_ino = NULL;
        return rc;
    }
    t->n_buckets = BUCKETS_FIRST;
    pthread_mutex_init(&t->mutex, NULL);
    return AMBER_OK;
}

void amber_vnodes_clear(struct vnode_table *t)
{
    if (!t->by_ino)
        return;
    for (size_t i = 0; i < t->n_buckets; i++) {
        for (struct vnode *v = t->by_ino[i], *next; v; v = next) {
            next = v->next_ino;
            free(v->name);
            free(v);
        }
    }
    free(t->by_ino);
    free(t->by_name);
    pthread_mutex_destroy(&t->mutex);
}

static struct vnode *add(struct vnode_table *t, enum node_kind kind, const char *name)
{
    struct vnode *v = calloc(1, sizeof(*v));
    if (!v || !(v->name = strdup(name))) {
        free(v);
        return NULL;
    }
    if (t->n >= t->n_buckets)
        grow(t);
    v->ino = VNODE_BIT | ++t->next_ino;
    v->kind = kind;
    v->named = true;
    v->mtime_us = amber_now_us();
    link_ino(t, v);
    link_name(t, v);
    t->n++;
    return v;
}

struct vnode *amber_vnode_ref(struct vnode_table *t, enum node_kind kind, const char *name,
                              bool make)
{
    pthread_mutex_lock(&t->mutex);
    struct vnode *v = t->by_name[name_bucket(t, kind, name)];
    while (v && (v->kind != kind || strcmp(v->name, name) != 0))
        v = v->next_name;
    if (!v && make)
        v = add(t, kind, name);
    if (v)
        v->nlookup++;
    pthread_mutex_unlock(&t->mutex);
    return v;
}

struct vnode *amber_vnode_get(struct vnode_table *t, uint64_t ino)
{
    pthread_mutex_lock(&t->mutex);
    struct vnode *v = t->by_ino[ino_bucket(t, ino)];
    while (v && v->ino != ino)
        v = v->next_ino;
    pthread_mutex_unlock(&t->mutex);
    return v;
}

void amber_vnode_forget(struct vnode_table *t, uint64_t ino, uint64_t n)
{
    pthread_mutex_lock(&t->mutex);
    struct vnode **p = &t->by_ino[ino_bucket(t, ino)];
    while (*p && (*p)->ino != ino)
        p = &(*p)->next_ino;
    struct vnode *v = *p;
    if (v && v->nlookup > n) {
        v->nlookup -= n;
        v = NULL;
    }
    if (v) {
        *p = v->next_ino;
        if (v->named)
            unlink_name(t, v);
        t->n--;
    }
    pthread_mutex_unlock(&t->mutex);
    if (v) {
        free(v->name);
        free(v);
    }
}

void amber_vnode_unname(struct vnode_table *t, struct vnode *v)
{
    pthread_mutex_lock(&t->mutex);
    if (v->named)
        unlink_name(t, v);
    pthread_mutex_unlock(&t->mutex);
}
