/*
 * markers.c - the tree's entries as the store's commit markers have them.
 *
 * A run's marker never changes, so a view reads each one once; a look then costs one listing. What
 * is new is read by several threads where the store is remote: each marker and each archive's size
 * are requests of their own.
 *
 *   commits, sorted by run --+-- known: its entries move from the old runs to the new ones
 *                            `-- new:   read, in parallel
 */
#include <pthread.h>
#include <stdio.h>

#include "amber/log.h"
#include "amber/name.h"

#include "commits_priv.h"
#include "context_priv.h"

#define READERS 16U /* of a remote store */

struct marker_run {
    char run_id[AMBER_UUID_LEN];
    bool read; /* its entries are there, or it can't be understood, which was logged */
    struct amber_entry_list entries;
};

struct amber_marker_view {
    struct marker_run *runs; /* owned; sorted by run */
    size_t n;
};

/* A look under way: readers take the next run each. */
struct look {
    const struct amber_context *ctx;
    struct marker_run *runs;
    size_t n, next; /* atomic */
    pthread_mutex_t mutex;
    struct amber_err fault; /* guarded; the first */
};

struct look_task {
    struct amber_task task; /* first: run() gets its address */
    struct look *look;
};

static void runs_free(struct marker_run *runs, size_t n)
{
    for (size_t i = 0; runs && i < n; i++)
        amber_entry_list_clear(&runs[i].entries);
    free(runs);
}

enum amber_rc amber_marker_view_new(struct amber_marker_view **out, struct amber_err *err)
{
    return amber_calloc(1, sizeof(**out), out, err);
}

void amber_marker_view_free(struct amber_marker_view *v)
{
    if (!v)
        return;
    runs_free(v->runs, v->n);
    free(v);
}

/* ---- reading what is new ---- */

static enum amber_rc entry_from_marker(const struct amber_context *ctx,
                                       const struct amber_marker_entry *m, int64_t committed_us,
                                       struct amber_entry_list *out, struct amber_err *err)
{
    struct amber_manifest_name name;
    enum amber_rc rc = amber_manifest_key_parse(m->manifest_key, &name, err);
    if (rc)
        return rc;
    AMBER_AUTO_FREE char *key = strndup(name.archive_key, name.archive_key_len);
    AMBER_AUTO_FREE char *path = key ? strndup(key, amber_name_logical_len(key)) : NULL;
    if (!path)
        return amber_fail_nomem(err, "an archive's name", name.archive_key_len);
    struct amber_object_info info = {0};
    rc = amber_store_stat(ctx->store, key, &info, err);
    if (rc == AMBER_E_NOT_FOUND)
        amber_error("%s: the archive is missing from the store, though run %s committed it; "
                    "bring it back from a backup",
                    key, name.run_id);
    else if (rc)
        return rc;
    struct amber_tree_entry e = {
        .path = path,
        .key = key,
        .manifest_key = m->manifest_key,
        .size = name.raw_bytes,
        .stored_size = info.size,
        .rows = name.rows,
        .mtime_us = committed_us,
        .has_digest = true,
    };
    memcpy(e.manifest_sha256, m->digest.b, sizeof(e.manifest_sha256));
    return amber_entry_list_add(out, &e, err);
}

static enum amber_rc read_run(const struct amber_context *ctx, struct marker_run *run,
                              struct amber_err *err)
{
    struct amber_marker m = {0};
    enum amber_rc rc = amber_marker_get(ctx->store, run->run_id, &m, err);
    if (rc == AMBER_E_CORRUPT || rc == AMBER_E_UNSUPPORTED) {
        amber_error("%s; its archives are not shown until the database is there", err->text);
        *err = (struct amber_err)AMBER_ERR_INIT;
        rc = AMBER_OK;
    }
    for (size_t k = 0; !rc && k < m.n_entries; k++)
        rc = entry_from_marker(ctx, &m.entries[k], m.committed_us, &run->entries, err);
    amber_marker_clear(&m);
    run->read = !rc;
    return rc;
}

static void look_run(struct amber_task *task)
{
    struct look *l = ((struct look_task *)task)->look;
    size_t i;
    while ((i = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED)) < l->n) {
        struct amber_err err = AMBER_ERR_INIT;
        if (l->runs[i].read || !read_run(l->ctx, &l->runs[i], &err))
            continue;
        pthread_mutex_lock(&l->mutex);
        if (!l->fault.code)
            l->fault = err;
        pthread_mutex_unlock(&l->mutex);
        __atomic_store_n(&l->next, l->n, __ATOMIC_RELAXED); /* the others stop too */
    }
}

static enum amber_rc read_new(struct look *l, size_t n_new, struct amber_err *err)
{
    bool remote = amber_store_traits(l->ctx->store)->remote;
    unsigned n = !remote ? 1 : n_new < READERS ? (unsigned)n_new : READERS;
    struct look_task tasks[READERS];
    for (unsigned i = 0; i < n; i++)
        tasks[i] = (struct look_task){.task = {.run = look_run}, .look = l};
    if (n == 1) {
        look_run(&tasks[0].task);
    } else if (n > 1) {
        struct amber_pool *pool;
        enum amber_rc rc = amber_pool_new(n, &pool, err);
        if (rc)
            return rc;
        for (unsigned i = 0; i < n; i++)
            amber_pool_submit(pool, &tasks[i].task);
        amber_pool_free(pool); /* waits for them */
    }
    if (l->fault.code)
        *err = l->fault;
    return l->fault.code;
}

/* ---- looking ---- */

static int compare_runs(const void *a, const void *b)
{
    return strcmp(((const struct marker_run *)a)->run_id, ((const struct marker_run *)b)->run_id);
}

static struct marker_run *find_run(struct amber_marker_view *v, const char *run_id)
{
    struct marker_run key;
    snprintf(key.run_id, sizeof(key.run_id), "%s", run_id);
    return v->n ? bsearch(&key, v->runs, v->n, sizeof(key), compare_runs) : NULL;
}

/* The new runs have what the old ones know, or (back) the other way round. */
static void move_known(struct amber_marker_view *v, struct marker_run *runs, size_t n, bool back)
{
    for (size_t i = 0; i < n; i++) {
        struct marker_run *old = find_run(v, runs[i].run_id);
        if (!old || !(back ? &runs[i] : old)->read)
            continue;
        struct marker_run *from = back ? &runs[i] : old, *to = back ? old : &runs[i];
        *to = *from;
        from->entries = (struct amber_entry_list){0};
        from->read = false;
    }
}

enum amber_rc amber_marker_view_look(struct amber_marker_view *v, const struct amber_context *ctx,
                                     bool *out_changed, struct amber_err *err)
{
    struct amber_commits commits;
    struct look l = {.ctx = ctx, .mutex = PTHREAD_MUTEX_INITIALIZER};
    size_t n_new = 0;
    enum amber_rc rc = amber_commits_load(ctx->store, &commits, err);
    if (rc)
        return rc;
    rc = amber_calloc(commits.n + 1, sizeof(*l.runs), &l.runs, err);
    for (size_t i = 0; !rc && i < commits.n; i++)
        if (!commits.items[i].superseded)
            memcpy(l.runs[l.n++].run_id, commits.items[i].run_id, AMBER_UUID_LEN);
    amber_commits_clear(&commits);
    if (rc)
        return rc;
    move_known(v, l.runs, l.n, false);
    for (size_t i = 0; i < l.n; i++)
        n_new += !l.runs[i].read;
    rc = read_new(&l, n_new, err);
    if (rc) {
        move_known(v, l.runs, l.n, true);
        runs_free(l.runs, l.n);
        return rc;
    }
    *out_changed = n_new > 0 || l.n != v->n;
    runs_free(v->runs, v->n);
    v->runs = l.runs;
    v->n = l.n;
    return AMBER_OK;
}

enum amber_rc amber_marker_view_entries(const struct amber_marker_view *v,
                                        struct amber_entry_list *out, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    amber_entry_list_clear(out);
    for (size_t i = 0; !rc && i < v->n; i++)
        for (size_t k = 0; !rc && k < v->runs[i].entries.n; k++)
            rc = amber_entry_list_add(out, &v->runs[i].entries.items[k], err);
    if (rc)
        amber_entry_list_clear(out);
    return rc;
}

enum amber_rc amber_entries_from_markers(const struct amber_context *ctx,
                                         struct amber_entry_list *out, struct amber_err *err)
{
    struct amber_marker_view v = {0};
    bool changed;
    enum amber_rc rc = amber_marker_view_look(&v, ctx, &changed, err);
    if (!rc)
        rc = amber_marker_view_entries(&v, out, err);
    runs_free(v.runs, v.n);
    return rc;
}
