/*
 * markers.c - the tree's entries as the store's commit markers have them.
 *
 * A run's marker never changes, so a view reads each one once; a look then costs one listing, and
 * where the store has folders, only if that of the markers has changed.
 *
 *   commits, sorted by run --+-- known: its marker moves from the old runs to the new ones
 *                            `-- new:   1. the marker, several at a time: rows, raw size, digest;
 *                                          meanwhile the caller lists the store, if it wants to
 *                                       2. stored sizes, and what is missing: by the caller's
 * listing of the store if it has one; of the others by a stat for each of a few, else by listing
 * their top folders, which tells a thousand sizes in the time of one stat
 */
#include <pthread.h>
#include <stdio.h>

#include "amber/log.h"
#include "amber/name.h"

#include "commits_priv.h"
#include "context_priv.h"

#define READERS 16U /* of a remote store */
#define STATS_MAX 32U
#define SIZE_UNKNOWN UINT64_MAX

struct marker_run {
    char run_id[AMBER_UUID_LEN];
    bool read; /* its marker is there, or it can't be understood, which was logged */
    struct amber_marker marker;
    uint64_t *sizes; /* owned; stored bytes of each of the marker's archives */
};

struct amber_marker_view {
    struct marker_run *runs; /* owned; sorted by run */
    size_t n;
    uint64_t mark; /* of the commits' folder before it was listed */
};

/* A look under way: readers take the next run each, and one lists the store. */
struct look {
    const struct amber_context *ctx;
    amber_listing_fn list; /* NULL: none */
    void *list_arg;
    const struct amber_elsewhere *listed; /* what it gave */
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
    for (size_t i = 0; runs && i < n; i++) {
        amber_marker_clear(&runs[i].marker);
        free(runs[i].sizes);
    }
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
    if (!rc)
        rc = amber_calloc(m.n_entries + 1, sizeof(*run->sizes), &run->sizes, err);
    for (size_t k = 0; !rc && k < m.n_entries; k++) {
        struct amber_manifest_name name;
        run->sizes[k] = SIZE_UNKNOWN;
        rc = amber_manifest_key_parse(m.entries[k].manifest_key, &name, err);
    }
    run->read = !rc;
    if (rc)
        amber_marker_clear(&m);
    else
        run->marker = m;
    return rc;
}

static void fail_look(struct look *l, const struct amber_err *err)
{
    pthread_mutex_lock(&l->mutex);
    if (!l->fault.code)
        l->fault = *err;
    pthread_mutex_unlock(&l->mutex);
    __atomic_store_n(&l->next, l->n, __ATOMIC_RELAXED); /* the others stop too */
}

static void look_run(struct amber_task *task)
{
    struct look *l = ((struct look_task *)task)->look;
    size_t i;
    while ((i = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED)) < l->n) {
        struct amber_err err = AMBER_ERR_INIT;
        if (!l->runs[i].read && read_run(l->ctx, &l->runs[i], &err))
            fail_look(l, &err);
    }
}

static void look_list(struct amber_task *task)
{
    struct look *l = ((struct look_task *)task)->look;
    struct amber_err err = AMBER_ERR_INIT;
    if (l->list(l->list_arg, &l->listed, &err))
        fail_look(l, &err);
}

static enum amber_rc read_new(struct look *l, size_t n_new, struct amber_err *err)
{
    unsigned n = amber_store_traits(l->ctx->store)->remote ? READERS : amber_cpu_count();
    if (n > READERS)
        n = READERS;
    if (n > n_new)
        n = (unsigned)n_new;
    struct look_task tasks[READERS + 1];
    for (unsigned i = 0; i < n; i++)
        tasks[i] = (struct look_task){.task = {.run = look_run}, .look = l};
    if (l->list)
        tasks[n++] = (struct look_task){.task = {.run = look_list}, .look = l};
    if (n == 1) {
        tasks[0].task.run(&tasks[0].task);
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

/* ---- sizes of what is new ---- */

/* An archive without size. */
struct unsized {
    char *key;                /* owned */
    uint64_t *size;           /* the run's */
    const char *manifest_key; /* the marker's */
};
struct unsized_list {
    struct unsized *items; /* owned; sorted by key */
    size_t n;
};

static void unsized_clear(struct unsized_list *u)
{
    for (size_t i = 0; i < u->n; i++)
        free(u->items[i].key);
    free(u->items);
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const struct unsized *)a)->key, ((const struct unsized *)b)->key);
}

/* The archive's key, that stands in its manifest's; owned by the caller. */
static enum amber_rc archive_key(const char *manifest_key, char **out, struct amber_err *err)
{
    struct amber_manifest_name name;
    enum amber_rc rc = amber_manifest_key_parse(manifest_key, &name, err);
    if (rc)
        return rc;
    *out = strndup(name.archive_key, name.archive_key_len);
    return *out ? AMBER_OK : amber_fail_nomem(err, "an archive's name", name.archive_key_len);
}

static enum amber_rc find_unsized(const struct look *l, struct unsized_list *out,
                                  struct amber_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        n += l->runs[i].marker.n_entries;
    enum amber_rc rc = amber_calloc(n + 1, sizeof(*out->items), &out->items, err);
    for (size_t i = 0; !rc && i < l->n; i++) {
        const struct marker_run *run = &l->runs[i];
        for (size_t k = 0; !rc && k < run->marker.n_entries; k++) {
            struct unsized *u = &out->items[out->n];
            if (run->sizes[k] != SIZE_UNKNOWN)
                continue;
            u->size = &run->sizes[k];
            u->manifest_key = run->marker.entries[k].manifest_key;
            rc = archive_key(u->manifest_key, &u->key, err);
            out->n += !rc;
        }
    }
    if (!rc)
        qsort(out->items, out->n, sizeof(*out->items), compare_keys);
    return rc;
}

static enum amber_rc take_size(void *arg, const char *key, const struct amber_object_info *info,
                               struct amber_err *err)
{
    const struct unsized_list *u = arg;
    const struct unsized wanted = {.key = (char *)(uintptr_t)key};
    struct unsized *found = bsearch(&wanted, u->items, u->n, sizeof(wanted), compare_keys);
    (void)err;
    if (found)
        *found->size = info->size;
    return AMBER_OK;
}

static enum amber_rc stat_size(const struct look *l, const struct unsized *u, struct amber_err *err)
{
    struct amber_object_info info;
    enum amber_rc rc = amber_store_stat(l->ctx->store, u->key, &info, err);
    if (!rc)
        *u->size = info.size;
    return rc == AMBER_E_NOT_FOUND ? AMBER_OK : rc;
}

/* The sizes of all archives below the top folder of *first, or of *first alone if it is in none or
 * all are few; *first is then the one behind them. */
static enum amber_rc size_some(const struct look *l, struct unsized_list *u, size_t *first,
                               struct amber_err *err)
{
    char folder[AMBER_KEY_MAX + 1];
    const char *key = u->items[*first].key;
    const char *slash = strchr(key, '/');
    if (!slash || u->n <= STATS_MAX)
        return stat_size(l, &u->items[(*first)++], err);
    size_t len = (size_t)(slash - key);
    memcpy(folder, key, len);
    folder[len] = '\0';
    while (*first < u->n && strncmp(u->items[*first].key, key, len + 1) == 0)
        (*first)++;
    return amber_store_list(l->ctx->store, folder, take_size, u, err);
}

/* Take the sizes that a listing has, which is sorted as u is; the others stay in u. */
static void size_listed(const struct amber_elsewhere *listed, struct unsized_list *u)
{
    size_t left = 0, k = 0;
    for (size_t i = 0; i < u->n; i++) {
        struct unsized *one = &u->items[i];
        while (k < listed->n && strcmp(listed->items[k].key, one->key) < 0)
            k++;
        if (k < listed->n && strcmp(listed->items[k].key, one->key) == 0) {
            *one->size = listed->items[k].size;
            free(one->key);
        } else {
            u->items[left++] = *one;
        }
    }
    u->n = left;
}

static enum amber_rc size_new(const struct look *l, struct amber_err *err)
{
    struct unsized_list u = {0};
    enum amber_rc rc = find_unsized(l, &u, err);
    if (!rc && l->listed)
        size_listed(l->listed, &u);
    for (size_t i = 0; !rc && i < u.n;)
        rc = size_some(l, &u, &i, err);
    for (size_t i = 0; !rc && i < u.n; i++) {
        if (*u.items[i].size != SIZE_UNKNOWN)
            continue;
        *u.items[i].size = 0;
        amber_error("%s: the archive is missing from the store, though its run was committed (%s); "
                    "bring it back from a backup",
                    u.items[i].key, u.items[i].manifest_key);
    }
    unsized_clear(&u);
    return rc;
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
        from->marker = (struct amber_marker){0};
        from->sizes = NULL;
        from->read = false;
    }
}

enum amber_rc amber_marker_view_look(struct amber_marker_view *v, const struct amber_context *ctx,
                                     amber_listing_fn list, void *list_arg, bool *out_changed,
                                     struct amber_err *err)
{
    struct amber_commits commits;
    struct look l = {
        .ctx = ctx, .list = list, .list_arg = list_arg, .mutex = PTHREAD_MUTEX_INITIALIZER};
    size_t n_new = 0;
    uint64_t mark = amber_store_folder_mark(ctx->store, AMBER_COMMITS_DIR);
    *out_changed = false;
    if (mark && mark == v->mark)
        return list ? list(list_arg, &l.listed, err) : AMBER_OK;
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
    if (!rc)
        rc = size_new(&l, err);
    if (rc) {
        move_known(v, l.runs, l.n, true);
        runs_free(l.runs, l.n);
        return rc;
    }
    *out_changed = n_new > 0 || l.n != v->n;
    runs_free(v->runs, v->n);
    v->runs = l.runs;
    v->n = l.n;
    v->mark = mark;
    return AMBER_OK;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct amber_tree_entry *)a)->key,
                  ((const struct amber_tree_entry *)b)->key);
}

static enum amber_rc add_entry(const struct marker_run *run, size_t k, struct amber_entry_list *out,
                               struct amber_err *err)
{
    const struct amber_marker_entry *m = &run->marker.entries[k];
    struct amber_manifest_name name;
    AMBER_AUTO_FREE char *key = NULL, *path = NULL;
    enum amber_rc rc = amber_manifest_key_parse(m->manifest_key, &name, err);
    if (!rc)
        rc = archive_key(m->manifest_key, &key, err);
    if (rc)
        return rc;
    path = strndup(key, amber_name_logical_len(key));
    if (!path)
        return amber_fail_nomem(err, "an archive's name", name.archive_key_len);
    struct amber_tree_entry e = {
        .path = path,
        .key = key,
        .manifest_key = m->manifest_key,
        .size = name.raw_bytes,
        .stored_size = run->sizes[k],
        .rows = name.rows,
        .mtime_us = run->marker.committed_us,
        .has_digest = true,
    };
    memcpy(e.manifest_sha256, m->digest.b, sizeof(e.manifest_sha256));
    return amber_entry_list_add(out, &e, err);
}

enum amber_rc amber_marker_view_entries(const struct amber_marker_view *v,
                                        struct amber_entry_list *out, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    amber_entry_list_clear(out);
    for (size_t i = 0; !rc && i < v->n; i++)
        for (size_t k = 0; !rc && k < v->runs[i].marker.n_entries; k++)
            rc = add_entry(&v->runs[i], k, out, err);
    if (rc)
        amber_entry_list_clear(out);
    else if (out->n)
        qsort(out->items, out->n, sizeof(*out->items), by_key);
    return rc;
}

enum amber_rc amber_entries_from_markers(const struct amber_context *ctx,
                                         struct amber_entry_list *out, struct amber_err *err)
{
    struct amber_marker_view v = {0};
    bool changed;
    enum amber_rc rc = amber_marker_view_look(&v, ctx, NULL, NULL, &changed, err);
    if (!rc)
        rc = amber_marker_view_entries(&v, out, err);
    runs_free(v.runs, v.n);
    return rc;
}
