/*
 * recover.c - settling what earlier runs left behind.
 *
 * The three sources of truth, strongest first: a commit marker in the store (written only after
 * COMMIT), the run's row in the catalog, the objects. A marker without a committed row means that
 * the database went back in time: then nothing is decided here but the tables wait for
 * `amberfs reconcile`.
 */
#include "amber/recover.h"

#include <stdio.h>

#include "amber/calendar.h"
#include "amber/catalog.h"
#include "amber/count.h"
#include "amber/log.h"
#include "amber/name.h"
#include "commits_priv.h"

#define HEAD_BYTES (256U * 1024U) /* of an archive, looked at for the run in its header */

/* ---- collected rows of a catalog listing, so that no query runs inside another's callback ---- */

struct run_item {
    char run_id[AMBER_UUID_LEN];
    char *job;
    int64_t age_days;
};
struct run_items {
    struct run_item *items;
    size_t n, cap;
};

static void run_items_clear(struct run_items *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->items[i].job);
    free(l->items);
    *l = (struct run_items){0};
}

static enum amber_rc run_items_add(void *arg, const struct amber_run_row *run,
                                   struct amber_err *err)
{
    struct run_items *l = arg;
    enum amber_rc rc = amber_grow(&l->items, &l->cap, l->n + 1, sizeof(*l->items), err);
    if (rc)
        return rc;
    struct run_item it = {.age_days = run->age_days};
    snprintf(it.run_id, sizeof(it.run_id), "%s", run->run_id);
    if ((rc = amber_strdup(run->job, &it.job, err)))
        return rc;
    l->items[l->n++] = it;
    return AMBER_OK;
}

struct names {
    char **items;
    size_t n, cap;
    size_t strangers; /* archives that aren't the run's, under its names */
};

static void names_clear(struct names *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->items[i]);
    free(l->items);
    *l = (struct names){0};
}

static enum amber_rc names_add(void *arg, const char *name, struct amber_err *err)
{
    struct names *l = arg;
    enum amber_rc rc = amber_grow(&l->items, &l->cap, l->n + 1, sizeof(*l->items), err);
    if (rc)
        return rc;
    if ((rc = amber_strdup(name, &l->items[l->n], err)))
        return rc;
    l->n++;
    return AMBER_OK;
}

/* ---- objects of a run ---- */

struct object_filter {
    const char *run_id;
    struct names *out;
};

static enum amber_rc keep_if_of_run(void *arg, const char *key,
                                    const struct amber_object_info *info, struct amber_err *err)
{
    (void)info;
    struct object_filter *f = arg;
    const char *base = strrchr(key, '/');
    base = base ? base + 1 : key;
    if (strncmp(base, f->run_id, AMBER_UUID_LEN - 1) != 0)
        return AMBER_OK;
    return names_add(f->out, key, err);
}

/* Whether the archive's own header names this run. Headers stand at the start, uncompressed; an id
 * that is found there by chance can't be: it is random. */
static enum amber_rc header_names_run(const struct amber_context *ctx, const char *key,
                                      const char *run_id, bool *out, struct amber_err *err)
{
    AMBER_AUTO_FREE char *head = NULL;
    struct amber_object *o;
    struct amber_object_info info;
    *out = false;
    enum amber_rc rc = amber_object_open(ctx->store, key, AMBER_OPEN_CACHED, &o, &info, err);
    if (rc)
        return rc;
    size_t len = info.size < HEAD_BYTES ? (size_t)info.size : HEAD_BYTES;
    rc = amber_calloc(len + 1, 1, &head, err);
    if (!rc && len)
        rc = amber_object_read(o, 0, head, len, err);
    amber_object_close(o);
    if (!rc)
        *out = memmem(head, len, run_id, strlen(run_id)) != NULL;
    return rc;
}

/* The objects that a run has put under one of its reserved names: the archive with any suffix, its
 * manifests and attachments of this run. The order is the one to remove them in: the archive last,
 * so that a half-done removal never leaves an archive that looks like a stranger's.
 * A reserved name in the catalog doesn't keep others from putting a file under it: an archive is
 * the run's only if a manifest or attachment of the run stands beside it, or its header says so.
 * What isn't, is left alone and counted in out->strangers. */
static enum amber_rc objects_of_name(const struct amber_context *ctx, const char *run_id,
                                     const char *logical, struct names *out, struct amber_err *err)
{
    for (int c = 0; c < AMBER_CODEC_COUNT; c++) {
        const struct amber_codec_info *codec = amber_codec_info((enum amber_codec_kind)c);
        AMBER_AUTO_FREE char *key = NULL;
        enum amber_rc rc = amber_asprintf(&key, err, "%s%s", logical, codec->suffix);
        if (rc)
            return rc;
        size_t before = out->n;
        static const char *const folders[] = {"manifests", "attachments"};
        for (size_t i = 0; i < amber_countof(folders); i++) {
            AMBER_AUTO_FREE char *prefix = NULL;
            rc = amber_asprintf(&prefix, err, AMBER_META_DIR "/%s/%s", folders[i], key);
            if (rc)
                return rc;
            struct object_filter f = {.run_id = run_id, .out = out};
            rc = amber_store_list(ctx->store, prefix, keep_if_of_run, &f, err);
            if (rc && rc != AMBER_E_NOT_FOUND)
                return rc;
        }
        struct amber_object_info info;
        rc = amber_store_stat(ctx->store, key, &info, err);
        if (rc == AMBER_E_NOT_FOUND)
            continue;
        bool ours = out->n > before;
        if (!rc && !ours)
            rc = header_names_run(ctx, key, run_id, &ours, err);
        if (!rc && ours)
            rc = names_add(out, key, err);
        else if (!rc)
            out->strangers++;
        if (rc)
            return rc;
    }
    return AMBER_OK;
}

static enum amber_rc objects_of_names(const struct amber_context *ctx, const char *run_id,
                                      const struct names *logical, struct names *out,
                                      struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    for (size_t i = 0; !rc && i < logical->n; i++)
        rc = objects_of_name(ctx, run_id, logical->items[i], out, err);
    return rc;
}

static enum amber_rc remove_objects(const struct amber_context *ctx, const struct names *keys,
                                    struct amber_err *err)
{
    for (size_t i = 0; i < keys->n; i++) {
        enum amber_rc rc = amber_store_remove(ctx->store, keys->items[i], err);
        if (rc && rc != AMBER_E_NOT_FOUND)
            return rc;
    }
    return AMBER_OK;
}

/* Whether a key is that of an archive with one of these names, or of a manifest or attachment of it. */
static bool is_name_of(void *arg, const char *key)
{
    static const char *const folders[] = {AMBER_META_DIR "/manifests/",
                                          AMBER_META_DIR "/attachments/"};
    const struct names *logical = arg;
    size_t len = strlen(key);
    for (size_t i = 0; i < amber_countof(folders); i++) {
        if (strncmp(key, folders[i], strlen(folders[i])) != 0)
            continue;
        key += strlen(folders[i]);
        const char *end = strrchr(key, '/');
        len = end ? (size_t)(end - key) : 0;
        break;
    }
    for (size_t i = 0; i < logical->n; i++) {
        size_t n = strlen(logical->items[i]);
        if (len < n || memcmp(logical->items[i], key, n) != 0)
            continue;
        for (int c = 0; c < AMBER_CODEC_COUNT; c++) {
            const char *suffix = amber_codec_info((enum amber_codec_kind)c)->suffix;
            if (strlen(suffix) == len - n && memcmp(suffix, key + n, len - n) == 0)
                return true;
        }
    }
    return false;
}

/* Give up unfinished puts under names of runs that were fenced off: they can't become anything any
 * more. False if some may be left and can be found by these names later; who may not look for them
 * leaves them to a lifecycle rule. */
static bool clean_puts(const struct amber_context *ctx, struct names *logical)
{
    struct amber_err err = AMBER_ERR_INIT;
    unsigned n = 0;
    enum amber_rc rc = AMBER_OK;
    if (logical->n)
        rc = amber_store_clean_puts(ctx->store, is_name_of, logical, &n, &err);
    if (rc)
        amber_warn("unfinished uploads of rolled-back runs can't be aborted and take room until the "
                   "next start can, or a lifecycle rule removes them: %s",
                   err.text);
    if (n)
        amber_info("aborted %s of rolled-back runs", AMBER_COUNT(n, "unfinished upload"));
    return !rc || rc == AMBER_E_DENIED || rc == AMBER_E_UNSUPPORTED;
}

void amber_discard_run(const struct amber_context *ctx, struct amber_pg *pg, const char *run_id)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct names keys = {0}, logical = {0};
    enum amber_rc rc = amber_catalog_names(pg, run_id, names_add, &logical, &err);
    if (!rc)
        rc = objects_of_names(ctx, run_id, &logical, &keys, &err);
    if (!rc)
        rc = remove_objects(ctx, &keys, &err);
    bool puts_clean = !rc && clean_puts(ctx, &logical);
    if (!rc && keys.strangers)
        amber_warn("run %s: left alone %s under its archives' names, not known to be its own", run_id,
                   AMBER_COUNT(keys.strangers, "file"));
    else if (puts_clean)
        rc = amber_catalog_names_release(pg, run_id, &err);
    if (rc)
        amber_warn("objects of the rolled-back run %s stay hidden in the store: %s", run_id,
                   err.text);
    names_clear(&keys);
    names_clear(&logical);
}

/* ---- markers ---- */

struct marker_build {
    struct amber_marker m;
    size_t cap;
};

static enum amber_rc marker_add(void *arg, const struct amber_archive_row *row,
                                struct amber_err *err)
{
    struct marker_build *b = arg;
    enum amber_rc rc =
        amber_grow(&b->m.entries, &b->cap, b->m.n_entries + 1, sizeof(*b->m.entries), err);
    if (rc)
        return rc;
    struct amber_marker_entry e = {.digest = row->manifest_sha256};
    if ((rc = amber_strdup(row->manifest_key, &e.manifest_key, err)))
        return rc;
    b->m.entries[b->m.n_entries++] = e;
    if (row->archived_us > b->m.committed_us)
        b->m.committed_us = row->archived_us;
    return AMBER_OK;
}

enum amber_rc amber_marker_write(const struct amber_context *ctx, struct amber_pg *pg,
                                 const char *store_id, const char *run_id, const char *job,
                                 struct amber_err *err)
{
    struct marker_build b = {0};
    snprintf(b.m.run_id, sizeof(b.m.run_id), "%s", run_id);
    enum amber_rc rc = amber_strdup(job, &b.m.job, err);
    if (!rc)
        rc = amber_catalog_archives(pg, store_id, run_id, marker_add, &b, err);
    /* The stored digest comes from the manifest, compared with the digest that the catalog has. */
    for (size_t i = 0; !rc && i < b.m.n_entries; i++) {
        struct amber_manifest m = {0};
        rc = amber_manifest_get(ctx->store, b.m.entries[i].manifest_key, &b.m.entries[i].digest, &m,
                                err);
        if (!rc)
            b.m.entries[i].stored = m.archive.stored_sha256;
        amber_manifest_clear(&m);
    }
    if (!rc)
        rc = amber_marker_put(ctx->store, &b.m, err);
    amber_marker_clear(&b.m);
    return rc;
}

/* ---- runs that the catalog doesn't know ---- */

static int compare_items(const void *a, const void *b)
{
    const struct run_item *x = a, *y = b;
    return strcmp(x->run_id, y->run_id);
}

/* The runs that the catalog has settled as committed or superseded, sorted. */
static enum amber_rc settled_runs(struct amber_pg *pg, const char *store_id, struct run_items *out,
                                  struct amber_err *err)
{
    enum amber_rc rc =
        amber_catalog_runs(pg, store_id, "committed", NULL, false, run_items_add, out, err);
    if (!rc)
        rc = amber_catalog_runs(pg, store_id, "superseded", NULL, false, run_items_add, out, err);
    if (!rc && out->n)
        qsort(out->items, out->n, sizeof(*out->items), compare_items);
    return rc;
}

static bool is_settled(const struct run_items *l, const char *run_id)
{
    struct run_item key = {0};
    snprintf(key.run_id, sizeof(key.run_id), "%s", run_id);
    return l->n && bsearch(&key, l->items, l->n, sizeof(key), compare_items);
}

static enum amber_rc report_unknown(const struct amber_context *ctx, const char *run_id,
                                    enum amber_rc (*each)(void *arg,
                                                          const struct amber_unknown_run *run,
                                                          struct amber_err *err),
                                    void *arg, struct amber_err *err)
{
    struct amber_marker m = {0};
    struct amber_manifest *manifests = NULL;
    enum amber_rc rc = amber_marker_get(ctx->store, run_id, &m, err);
    if (!rc)
        rc = amber_calloc(m.n_entries + 1, sizeof(*manifests), &manifests, err);
    for (size_t k = 0; !rc && k < m.n_entries; k++)
        rc = amber_manifest_get(ctx->store, m.entries[k].manifest_key, &m.entries[k].digest,
                                &manifests[k], err);
    if (!rc) {
        struct amber_unknown_run run = {.marker = &m, .manifests = manifests};
        rc = each(arg, &run, err);
    }
    for (size_t k = 0; manifests && k < m.n_entries; k++)
        amber_manifest_clear(&manifests[k]);
    free(manifests);
    amber_marker_clear(&m);
    return rc;
}

enum amber_rc amber_unknown_runs(const struct amber_context *ctx, struct amber_pg *pg,
                                 const char *store_id,
                                 enum amber_rc (*each)(void *arg,
                                                       const struct amber_unknown_run *run,
                                                       struct amber_err *err),
                                 void *arg, struct amber_err *err)
{
    struct run_items settled = {0};
    struct amber_commits commits = {0};
    /* The store is listed first: a run that commits in between is then in the catalog already. */
    enum amber_rc rc = amber_commits_load(ctx->store, &commits, err);
    if (!rc)
        rc = settled_runs(pg, store_id, &settled, err);
    for (size_t i = 0; !rc && i < commits.n; i++)
        if (!commits.items[i].superseded && !is_settled(&settled, commits.items[i].run_id))
            rc = report_unknown(ctx, commits.items[i].run_id, each, arg, err);
    run_items_clear(&settled);
    amber_commits_clear(&commits);
    return rc;
}

static enum amber_rc adopt(const struct amber_context *ctx, struct amber_pg *pg,
                           const char *store_id, const struct amber_unknown_run *run,
                           struct amber_err *err)
{
    size_t n = run->marker->n_entries;
    struct amber_archive_row *rows = NULL;
    char **logical = NULL;
    enum amber_rc rc = amber_calloc(n + 1, sizeof(*rows), &rows, err);
    if (!rc)
        rc = amber_calloc(n + 1, sizeof(*logical), &logical, err);
    for (size_t i = 0; !rc && i < n; i++) {
        const char *key = run->manifests[i].archive.key;
        logical[i] = strndup(key, amber_name_logical_len(key));
        if (!logical[i])
            rc = amber_fail_nomem(err, "an archive's name", strlen(key));
        else
            amber_archive_row_of(&run->manifests[i], logical[i], run->marker->entries[i].manifest_key,
                                 &run->marker->entries[i].digest, &rows[i]);
    }
    if (!rc) {
        struct amber_run r = {.job = run->marker->job, .host = ctx->host};
        snprintf(r.run_id, sizeof(r.run_id), "%s", run->marker->run_id);
        snprintf(r.store_id, sizeof(r.store_id), "%s", store_id);
        rc = amber_catalog_run_adopt(pg, &r, rows, n, err);
    }
    for (size_t i = 0; logical && i < n; i++)
        free(logical[i]);
    free(logical);
    free(rows);
    return rc;
}

enum amber_rc amber_reconcile_run(const struct amber_context *ctx, struct amber_pg *pg,
                                  const char *store_id, const struct amber_unknown_run *run,
                                  enum amber_reconcile how, struct amber_err *err)
{
    /* The store is marked first: if we die in between, the mark alone hides the archives, and the
     * rows are in their table. */
    enum amber_rc rc = AMBER_OK;
    if (how == AMBER_RECONCILE_SUPERSEDE)
        rc = amber_commit_supersede(ctx->store, run->marker->run_id, err);
    if (!rc)
        rc = amber_pg_begin(pg, "", err);
    if (rc)
        return rc;
    rc = adopt(ctx, pg, store_id, run, err);
    if (!rc && how == AMBER_RECONCILE_SUPERSEDE) {
        const char *params[] = {run->marker->run_id};
        struct amber_res *res = NULL;
        rc = amber_pg_query(pg, &res, err,
                            "WITH gone AS (DELETE FROM amberfs.archived_partitions"
                            " WHERE run_id = $1::uuid)"
                            " UPDATE amberfs.runs SET state = 'superseded' WHERE run_id = $1::uuid",
                            1, params);
        amber_res_free(res);
    }
    if (!rc)
        return amber_pg_commit(pg, err);
    amber_pg_rollback(pg);
    return rc;
}

/* ---- recovery ---- */

static enum amber_rc note_unknown(void *arg, const struct amber_unknown_run *run,
                                  struct amber_err *err)
{
    (void)err;
    struct amber_recovery *r = arg;
    r->unknown_runs++;
    for (size_t i = 0; i < run->marker->n_entries; i++) {
        const struct amber_manifest *m = &run->manifests[i];
        char name[256];
        snprintf(name, sizeof(name), "%s.%s", m->table_schema, m->table_name);
        size_t len = strlen(r->unknown_tables);
        if (!strstr(r->unknown_tables, name))
            snprintf(r->unknown_tables + len, sizeof(r->unknown_tables) - len, "%s%s",
                     len ? ", " : "", name);
    }
    return AMBER_OK;
}

/* Fence off the runs of one job that nobody works on any more. A marker beside a run that the
 * catalog calls running means a database set back in time: that run isn't touched, unless somebody
 * who began to reconcile it has said that its rows are back. */
static enum amber_rc abort_dead_runs(const struct amber_context *ctx, struct amber_pg *pg,
                                     const struct run_items *running,
                                     const struct amber_commits *commits,
                                     struct amber_recovery *out, struct amber_err *err)
{
    (void)ctx;
    for (size_t i = 0; i < running->n; i++) {
        const struct run_item *run = &running->items[i];
        const struct amber_commit *commit = amber_commits_find(commits, run->run_id);
        if (commit && !commit->superseded)
            continue;
        const char *params[] = {run->job};
        struct amber_res *res = NULL;
        enum amber_rc rc = amber_pg_begin(pg, "", err);
        if (!rc)
            rc = amber_pg_query(pg, &res, err,
                                "SELECT pg_try_advisory_xact_lock("
                                "hashtextextended('amberfs:' || $1, 0))",
                                1, params);
        bool free_job = !rc && amber_res_bool(res, 0, 0);
        amber_res_free(res);
        amber_pg_rollback(pg);
        if (rc)
            return rc;
        if (!free_job)
            continue;
        /* The lock is given back before the fence: a run that starts now has a row of its own, and
         * one that was between its row and its lock finds itself fenced off, and starts anew. */
        bool hit;
        rc = amber_catalog_run_abort(pg, run->run_id,
                                     "the process that ran it is gone (crash or kill)", &hit, err);
        if (rc)
            return rc;
        if (hit) {
            out->aborted++;
            amber_warn("job %s: run %s was left unfinished and is rolled back; its rows are in "
                       "their tables",
                       run->job, run->run_id);
        }
    }
    return AMBER_OK;
}

static enum amber_rc names_of_runs(struct amber_pg *pg, const struct run_items *runs,
                                   struct names *out, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    for (size_t i = 0; !rc && i < runs->n; i++)
        rc = amber_catalog_names(pg, runs->items[i].run_id, names_add, out, err);
    return rc;
}

static enum amber_rc settle_orphans(const struct amber_context *ctx, struct amber_pg *pg,
                                    const struct run_items *aborted,
                                    const struct amber_commits *commits, bool primary,
                                    struct amber_recovery *out, struct amber_err *err)
{
    struct names all = {0};
    enum amber_rc rc = names_of_runs(pg, aborted, &all, err);
    bool puts_clean = !rc && clean_puts(ctx, &all);
    names_clear(&all);
    for (size_t i = 0; !rc && i < aborted->n; i++) {
        const struct run_item *run = &aborted->items[i];
        struct names keys = {0}, logical = {0};
        rc = amber_catalog_names(pg, run->run_id, names_add, &logical, err);
        if (!rc)
            rc = objects_of_names(ctx, run->run_id, &logical, &keys, err);
        bool may_go = primary && run->age_days >= ctx->orphan_days &&
                      !amber_commits_find(commits, run->run_id);
        if (!rc && keys.n && !may_go) {
            out->orphans_hidden += keys.n + keys.strangers;
        } else if (!rc && (may_go || !keys.n)) {
            struct amber_err why = AMBER_ERR_INIT;
            if (remove_objects(ctx, &keys, &why)) {
                out->orphans_hidden += keys.n;
                amber_warn("run %s: its leftover objects can't be removed (%s); they stay hidden",
                           run->run_id, why.text);
            } else {
                out->orphans_removed += keys.n;
                out->orphans_hidden += keys.strangers;
                if (!keys.strangers && puts_clean)
                    rc = amber_catalog_names_release(pg, run->run_id, err);
            }
        }
        names_clear(&keys);
        names_clear(&logical);
    }
    return rc;
}

static enum amber_rc make_missing_markers(const struct amber_context *ctx, struct amber_pg *pg,
                                          const char *store_id, const struct run_items *committed,
                                          const struct amber_commits *commits,
                                          struct amber_recovery *out)
{
    for (size_t i = 0; i < committed->n; i++) {
        const struct run_item *run = &committed->items[i];
        if (amber_commits_find(commits, run->run_id))
            continue;
        struct amber_err err = AMBER_ERR_INIT;
        if (amber_marker_write(ctx, pg, store_id, run->run_id, run->job, &err))
            amber_error("run %s: its commit marker can't be written: %s; if the store was damaged or "
                        "set back, put this run's files back from a backup",
                        run->run_id, err.text);
        else
            out->markers_made++;
    }
    return AMBER_OK;
}

enum amber_rc amber_recover(const struct amber_context *ctx, struct amber_pg *pg,
                            const struct amber_store_identity *id, const char *job,
                            struct amber_recovery *out, struct amber_err *err)
{
    *out = (struct amber_recovery){0};
    struct run_items running = {0}, aborted = {0}, committed = {0};
    struct amber_commits commits = {0};
    bool primary;
    enum amber_rc rc = amber_catalog_is_primary(pg, &primary, err);
    if (!rc)
        rc = amber_commits_load(ctx->store, &commits, err);
    if (!rc && primary) {
        rc = amber_catalog_runs(pg, id->store_id, "running", job, false, run_items_add, &running,
                                err);
        if (!rc)
            rc = abort_dead_runs(ctx, pg, &running, &commits, out, err);
        if (!rc)
            rc = amber_catalog_runs(pg, id->store_id, "aborted", job, true, run_items_add,
                                    &aborted, err);
        if (!rc)
            rc = settle_orphans(ctx, pg, &aborted, &commits, primary, out, err);
    }
    if (!rc && !id->read_only && !id->replicas_only) {
        rc = amber_catalog_runs(pg, id->store_id, "committed", job, false, run_items_add,
                                &committed, err);
        if (!rc)
            rc = make_missing_markers(ctx, pg, id->store_id, &committed, &commits, out);
    }
    if (!rc)
        rc = amber_unknown_runs(ctx, pg, id->store_id, note_unknown, out, err);
    run_items_clear(&running);
    run_items_clear(&aborted);
    run_items_clear(&committed);
    amber_commits_clear(&commits);
    return rc;
}
