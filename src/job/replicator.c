/*
 * replicator.c - copying committed runs to a store's replicas.
 *
 * Copying is idempotent: what a replica has already is read and compared. So it doesn't matter where
 * a process dies: the run's row in the queue says that it isn't done.
 */
#include "amber/replicator.h"

#include <stdio.h>

#include "amber/failpoint.h"
#include "amber/log.h"
#include "amber/recover.h"
#include "amber/replicate.h"

static struct amber_replicate_config config_of(const struct amber_context *ctx, unsigned copy,
                                               const struct amber_cancel *cancel)
{
    return (struct amber_replicate_config){
        .from = ctx->store,
        .to = amber_copies_store(ctx->store, copy),
        .pool = ctx->pool,
        .cancel = cancel,
    };
}

static enum amber_rc wrap(const struct amber_context *ctx, unsigned copy, struct amber_err *err)
{
    return amber_wrap(err, "replica %s", amber_copies_name(ctx->store, copy));
}

/* ---- a unit ---- */

enum amber_rc amber_replicate_sync(const struct amber_context *ctx, const char *store_id,
                                   const char *manifest_key, const struct amber_sha256 *digest,
                                   const struct amber_cancel *cancel, struct amber_err *err)
{
    for (unsigned i = 1; i < amber_copies_count(ctx->store); i++) {
        if (!amber_copies_sync(ctx->store, i))
            continue;
        struct amber_replicate_config cfg = config_of(ctx, i, cancel);
        cfg.from = amber_copies_store(ctx->store, 0);
        enum amber_rc rc = amber_replicate_identity(&cfg, store_id, err);
        if (!rc)
            rc = amber_replicate_archive(&cfg, manifest_key, digest, err);
        if (rc)
            return wrap(ctx, i, err);
    }
    return AMBER_OK;
}

enum amber_rc amber_replicas_queue(const struct amber_context *ctx, struct amber_pg *pg,
                                   const struct amber_run *run, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    for (unsigned i = 1; !rc && i < amber_copies_count(ctx->store); i++)
        rc = amber_catalog_replica_queue(
            pg, run, amber_copies_name(ctx->store, i),
            amber_copies_sync(ctx->store, i) ? AMBER_REPLICA_SYNC_GRACE_S : 0, err);
    return rc;
}

void amber_replicas_settle(const struct amber_context *ctx, struct amber_pg *pg,
                           const char *store_id, const char *run_id)
{
    for (unsigned i = 1; i < amber_copies_count(ctx->store); i++) {
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_replicate_config cfg = config_of(ctx, i, NULL);
        if (!amber_copies_sync(ctx->store, i))
            continue;
        cfg.from = amber_copies_store(ctx->store, 0);
        const char *name = amber_copies_name(ctx->store, i);
        if (amber_replicate_marker(&cfg, run_id, &err) ||
            amber_catalog_replica_settle(pg, store_id, name, run_id, &err))
            amber_warn("run %s is committed and in replica %s, but its marker isn't there yet (%s); "
                       "the queue makes up for it",
                       run_id, name, err.text);
    }
}

/* ---- the queue ---- */

struct archive_item {
    char *manifest_key;
    struct amber_sha256 digest;
};

struct run_archives {
    struct archive_item *items;
    size_t n, cap;
    char *job;
};

static void run_archives_clear(struct run_archives *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->items[i].manifest_key);
    free(l->items);
    free(l->job);
}

static enum amber_rc add_archive(void *arg, const struct amber_archive_row *row,
                                 struct amber_err *err)
{
    struct run_archives *l = arg;
    enum amber_rc rc = amber_grow(&l->items, &l->cap, l->n + 1, sizeof(*l->items), err);
    if (!rc && !l->job)
        rc = amber_strdup(row->job, &l->job, err);
    if (!rc)
        rc = amber_strdup(row->manifest_key, &l->items[l->n].manifest_key, err);
    if (!rc)
        l->items[l->n++].digest = row->manifest_sha256;
    return rc;
}

/* The archives, then the marker; one that a crash left out is made from the catalog. */
static enum amber_rc copy_run(const struct amber_context *ctx, struct amber_pg *pg,
                              const char *store_id, const char *run_id, unsigned copy,
                              const struct amber_cancel *cancel, struct amber_err *err)
{
    struct run_archives l AMBER_CLEANUP(run_archives_clear) = {0};
    struct amber_replicate_config cfg = config_of(ctx, copy, cancel);
    enum amber_rc rc = amber_catalog_archives(pg, store_id, run_id, add_archive, &l, err);
    if (!rc)
        rc = amber_replicate_identity(&cfg, store_id, err);
    for (size_t i = 0; !rc && i < l.n; i++)
        rc = amber_replicate_archive(&cfg, l.items[i].manifest_key, &l.items[i].digest, err);
    if (rc)
        return rc;
    rc = amber_replicate_marker(&cfg, run_id, err);
    if (rc != AMBER_E_NOT_FOUND || !l.job)
        return rc;
    rc = amber_store_primary_check(ctx->store, err);
    if (!rc)
        rc = amber_marker_write(ctx, pg, store_id, run_id, l.job, err);
    return rc ? rc : amber_replicate_marker(&cfg, run_id, err);
}

enum amber_rc amber_replicate_next(const struct amber_context *ctx, struct amber_pg *pg,
                                   const char *store_id, unsigned copy, bool now,
                                   const struct amber_cancel *cancel,
                                   struct amber_replica_step *out, struct amber_err *err)
{
    char run_id[AMBER_UUID_LEN];
    struct amber_err why = AMBER_ERR_INIT;
    const char *name = amber_copies_name(ctx->store, copy);
    *out = (struct amber_replica_step){0};
    enum amber_rc rc =
        amber_catalog_replica_take(pg, store_id, name, now, run_id, &out->found, err);
    if (rc || !out->found)
        return rc;
    out->rc = copy_run(ctx, pg, store_id, run_id, copy, cancel, &why);
    if (!out->rc)
        out->rc = amber_failpoint("replica-copied", &why);
    if (out->rc == AMBER_E_CANCELED || out->rc == AMBER_E_DB || !amber_pg_alive(pg)) {
        amber_pg_rollback(pg);
        *err = why;
        return out->rc ? out->rc : amber_fail(err, AMBER_E_NET, "the database is gone");
    }
    if (!out->rc)
        return amber_catalog_replica_done(pg, store_id, name, run_id, err);
    snprintf(out->error, sizeof(out->error), "%s", why.text);
    return amber_catalog_replica_failed(pg, store_id, name, run_id, why.text, err);
}
