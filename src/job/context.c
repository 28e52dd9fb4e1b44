/*
 * context.c - connecting, claiming the store, and what the tree may show.
 *
 * A store is claimed once: store.json is written with the catalog's UUID by whoever comes first,
 * and never changed. Everybody else compares.
 */
#include "amber/context.h"

#include <stdio.h>

#include "amber/catalog.h"
#include "amber/copies.h"
#include "amber/count.h"
#include "amber/log.h"
#include "amber/name.h"
#include "amber/replicate.h"
#include "commits_priv.h"
#include "context_priv.h"

enum amber_rc amber_context_connect(const struct amber_context *ctx, const char *purpose,
                                    const struct amber_cancel *cancel, struct amber_pg **out,
                                    struct amber_err *err)
{
    struct amber_pg_config cfg = {
        .conninfo = ctx->conninfo,
        .purpose = purpose,
        .cancel = cancel,
    };
    return amber_pg_open(&cfg, out, err);
}

enum amber_rc amber_context_may_begin(const struct amber_context *ctx, struct amber_pg *pg,
                                      struct amber_err *err)
{
    char elsewhere[AMBER_UUID_LEN];
    uint64_t archives;
    enum amber_rc rc = amber_catalog_any_store(pg, elsewhere, &archives, err);
    if (rc || !archives || ctx->new_store)
        return rc;
    return amber_fail(err, AMBER_E_DENIED,
                      "ARCHIVAL_PATH holds no store (.amberfs/store.json), but the catalog in "
                      "database %s has %s, in store %s: if they belong here, mount "
                      "the disk, correct the path or put that file back; to begin a further "
                      "store here: amberfs init --new-store",
                      amber_pg_database(pg), AMBER_COUNT(archives, "archive"), elsewhere);
}

/* Nothing is known of this store. It is a new one only if the catalog's archives aren't to be here,
 * as they are below the mount point of a disk that isn't mounted, and no replica knows it either:
 * one that can't be asked might. */
static enum amber_rc check_really_new(const struct amber_context *ctx, struct amber_pg *pg,
                                      struct amber_err *err)
{
    enum amber_rc rc = amber_context_may_begin(ctx, pg, err);
    if (rc)
        return rc;
    for (unsigned i = 1; i < amber_copies_count(ctx->store); i++) {
        struct amber_store_identity id;
        rc = amber_store_identity_get(amber_copies_store(ctx->store, i), &id, err);
        if (rc && rc != AMBER_E_NOT_FOUND)
            return amber_wrap(err,
                              "ARCHIVAL_PATH holds no store yet, and whether replica %s does can't "
                              "be seen",
                              amber_copies_name(ctx->store, i));
    }
    return AMBER_OK;
}

/* A primary that is empty though replicas have the store was lost, or its disk isn't mounted: it gets
 * its identity back when somebody says so, or while there is no archive. */
static enum amber_rc identify_primary(const struct amber_context *ctx, struct amber_pg *pg,
                                      struct amber_store_identity *id, struct amber_err *err)
{
    struct amber_replicate_config cfg = {
        .from = ctx->store, .to = amber_copies_store(ctx->store, 0), .pool = ctx->pool};
    struct amber_store_identity own;
    struct amber_err why = AMBER_ERR_INIT;
    char store_id[AMBER_UUID_LEN];
    uint64_t archives = 0;
    enum amber_rc rc = AMBER_OK;
    if (amber_copies_count(ctx->store) == 1)
        return AMBER_OK;
    if (amber_store_identity_get(cfg.to, &own, &why) == AMBER_E_NOT_FOUND && !ctx->new_store)
        rc = amber_catalog_any_store(pg, store_id, &archives, err);
    id->replicas_only = archives > 0;
    return rc || archives ? rc : amber_replicate_identity(&cfg, id->store_id, err);
}

enum amber_rc amber_context_claim(const struct amber_context *ctx, struct amber_pg *pg,
                                  struct amber_store_identity *out, struct amber_err *err)
{
    bool made;
    enum amber_rc rc = amber_catalog_install(pg, &made, err);
    if (rc)
        return rc;
    if (made)
        amber_info("made the catalog: schema amberfs in database %s", amber_pg_database(pg));
    char catalog_id[AMBER_UUID_LEN];
    rc = amber_catalog_id(pg, catalog_id, err);
    if (rc)
        return rc;

    struct amber_store_identity id = {0};
    rc = amber_store_identity_get(ctx->store, &id, err);
    if (rc == AMBER_E_NOT_FOUND) {
        rc = check_really_new(ctx, pg, err);
        if (!rc)
            rc = amber_uuid_new(id.store_id, err);
        if (rc)
            return rc;
        memcpy(id.catalog_id, catalog_id, sizeof(catalog_id));
        rc = amber_store_identity_put(ctx->store, &id, err);
        if (rc == AMBER_E_EXISTS) /* another host was faster: compare with what it wrote */
            rc = amber_store_identity_get(ctx->store, &id, err);
        if (rc)
            return rc;
    } else if (rc) {
        return rc;
    }
    if (strcmp(id.catalog_id, catalog_id) != 0)
        return amber_fail(err, AMBER_E_DENIED,
                          "this store (%s) belongs to the catalog %s, but database %s has the "
                          "catalog %s: connect to the store's own database, or give this database "
                          "a store folder of its own in ARCHIVAL_PATH",
                          id.store_id, id.catalog_id, amber_pg_database(pg), catalog_id);
    rc = identify_primary(ctx, pg, &id, err);
    if (!rc)
        *out = id;
    return rc;
}

void amber_entry_list_clear(struct amber_entry_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free((char *)l->items[i].path);
        free((char *)l->items[i].key);
        free((char *)l->items[i].manifest_key);
    }
    free(l->items);
    *l = (struct amber_entry_list){0};
}

enum amber_rc amber_entry_list_add(struct amber_entry_list *l, const struct amber_tree_entry *e,
                                   struct amber_err *err)
{
    enum amber_rc rc = amber_grow(&l->items, &l->cap, l->n + 1, sizeof(*l->items), err);
    if (rc)
        return rc;
    AMBER_AUTO_FREE char *path = NULL;
    AMBER_AUTO_FREE char *key = NULL;
    AMBER_AUTO_FREE char *manifest_key = NULL;
    if ((rc = amber_strdup(e->path, &path, err)) || (rc = amber_strdup(e->key, &key, err)) ||
        (e->manifest_key && (rc = amber_strdup(e->manifest_key, &manifest_key, err))))
        return rc;
    struct amber_tree_entry *slot = &l->items[l->n++];
    *slot = *e;
    slot->path = amber_steal(&path);
    slot->key = amber_steal(&key);
    slot->manifest_key = amber_steal(&manifest_key);
    return AMBER_OK;
}

static enum amber_rc entry_from_row(void *arg, const struct amber_archive_row *row,
                                    struct amber_err *err)
{
    struct amber_tree_entry e = {
        .path = row->logical,
        .key = row->key,
        .manifest_key = row->manifest_key,
        .size = row->raw_bytes,
        .stored_size = row->stored_bytes,
        .rows = row->rows,
        .mtime_us = row->archived_us,
        .has_digest = true,
    };
    memcpy(e.manifest_sha256, row->manifest_sha256.b, sizeof(e.manifest_sha256));
    return amber_entry_list_add(arg, &e, err);
}

enum amber_rc amber_entries_from_catalog(const struct amber_context *ctx, struct amber_pg *pg,
                                         const char *store_id, struct amber_entry_list *out,
                                         struct amber_err *err)
{
    (void)ctx;
    amber_entry_list_clear(out);
    enum amber_rc rc = amber_catalog_archives(pg, store_id, NULL, entry_from_row, out, err);
    if (rc)
        amber_entry_list_clear(out);
    return rc;
}

/* The digest by which a manifest that was made anew would count must be the archive's. */
static enum amber_rc marker_compare(const struct amber_context *ctx, const struct amber_marker *m,
                                    struct amber_err *err)
{
    for (size_t i = 0; i < m->n_entries; i++) {
        const struct amber_marker_entry *e = &m->entries[i];
        AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest manifest = {0};
        struct amber_err why = AMBER_ERR_INIT;
        /* What is wrong with a manifest is said of its archive. */
        if (!amber_manifest_get(ctx->store, e->manifest_key, &e->digest, &manifest, &why) &&
            !amber_sha256_equal(&manifest.archive.stored_sha256, &e->stored))
            return amber_fail(err, AMBER_E_CORRUPT,
                              "commit marker " AMBER_META_DIR
                              "/commits/%s.json: archives[%zu].stored_digest isn't that of the "
                              "manifest",
                              m->run_id, i);
    }
    return AMBER_OK;
}

enum amber_rc amber_documents_check(const struct amber_context *ctx,
                                    void (*fault)(void *arg, const struct amber_err *why),
                                    void *arg, struct amber_err *err)
{
    struct amber_store_identity id;
    struct amber_commits commits;
    struct amber_err why = AMBER_ERR_INIT;
    enum amber_rc rc = amber_commits_load(ctx->store, &commits, err);
    if (rc)
        return rc;
    rc = amber_store_identity_get(ctx->store, &id, &why);
    /* A store that nobody has claimed yet has no commits either. */
    if (amber_rc_damage(rc) && (rc != AMBER_E_NOT_FOUND || commits.n))
        fault(arg, &why);
    for (size_t i = 0; i < commits.n && (!rc || amber_rc_damage(rc)); i++) {
        struct amber_marker m = {0};
        if (commits.items[i].superseded)
            continue;
        rc = amber_marker_get(ctx->store, commits.items[i].run_id, &m, &why);
        if (!rc)
            rc = marker_compare(ctx, &m, &why);
        amber_marker_clear(&m);
        if (amber_rc_damage(rc))
            fault(arg, &why);
    }
    amber_commits_clear(&commits);
    if (!rc || amber_rc_damage(rc))
        return AMBER_OK;
    *err = why;
    return rc;
}

const struct amber_tree_entry *amber_entries_find(const struct amber_entry_list *l,
                                                  const char *name)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->items[i].path, name) == 0 || strcmp(l->items[i].key, name) == 0)
            return &l->items[i];
    return NULL;
}
