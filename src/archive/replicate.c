/*
 * replicate.c - an archive with all its objects from one store to another copy of it.
 *
 * Order: archive, attachments, manifest; the run's marker comes last, by the caller. So what is
 * half copied has no marker and isn't shown, as after a crash of a run.
 */
#include "amber/replicate.h"

#include <inttypes.h>
#include <stdio.h>

#include "block_priv.h"
#include "scan_priv.h"
#include "source_priv.h"

#define DOCUMENT_MAX AMBER_MANIFEST_MAX

/* What `to` has under a name. */
enum found { FOUND_GOOD, FOUND_NOTHING, FOUND_DAMAGED };

/* The state that rc tells of. errors  what says nothing of the bytes: NET, DENIED, CANCELED, ..., or
 * that they are a newer amberfs's: UNSUPPORTED */
static enum amber_rc judge(enum amber_rc rc, enum found *out)
{
    *out = rc == AMBER_OK ? FOUND_GOOD : rc == AMBER_E_NOT_FOUND ? FOUND_NOTHING : FOUND_DAMAGED;
    return rc == AMBER_E_NOT_FOUND || rc == AMBER_E_CORRUPT || rc == AMBER_E_IO ? AMBER_OK : rc;
}

static enum amber_rc open_put(const struct amber_replicate_config *cfg, const char *key,
                              enum found found, struct amber_put **out, struct amber_err *err)
{
    if (found == FOUND_NOTHING)
        return amber_put_open(cfg->to, key, out, err);
    if (cfg->repair)
        return amber_put_replace(cfg->to, key, out, err);
    return amber_fail(err, AMBER_E_EXISTS,
                      "%s is there with other bytes: look what it is, and run `amberfs verify "
                      "--repair` to replace it",
                      key);
}

static void tell(const struct amber_replicate_config *cfg, const char *key, enum found before)
{
    if (cfg->wrote)
        cfg->wrote(cfg->arg, key, before == FOUND_DAMAGED);
}

/* --- objects made of blocks --------------------------------------------------------------- */

/* Every byte from the medium, against block digests and those of the whole. */
static enum amber_rc read_back(const struct amber_replicate_config *cfg,
                               const struct amber_part *part, struct amber_err *err)
{
    const struct scan_config scan = {
        .store = cfg->to, .part = part, .pool = cfg->pool, .cancel = cfg->cancel};

    return amber_scan_part(&scan, err);
}

static enum amber_rc copy_blocks(const struct amber_replicate_config *cfg,
                                 const struct amber_part *part, struct block_source *source,
                                 struct amber_put *put, struct amber_err *err)
{
    AMBER_CLEANUP(amber_hasher_free_p) struct amber_hasher *hasher = NULL;
    AMBER_AUTO_BUF struct amber_buf block = AMBER_BUF_INIT(AMBER_UNIT_STORED_MAX);
    struct amber_sha256 whole;
    enum amber_rc rc = amber_hasher_new(&hasher, err);

    for (size_t i = 0; !rc && i < part->n_blocks; i++) {
        size_t len = part->blocks[i].stored_len;
        block.len = 0;
        rc = amber_cancel_check(cfg->cancel, err);
        if (!rc)
            rc = amber_buf_reserve(&block, len, err);
        if (!rc)
            rc = amber_source_fetch(source, i, block.data, err);
        if (!rc)
            rc = amber_hasher_update(hasher, block.data, len, err);
        if (!rc)
            rc = amber_put_write(put, block.data, len, err);
    }
    if (!rc)
        rc = amber_hasher_final(hasher, &whole, err);
    if (!rc && !amber_sha256_equal(&whole, &part->stored_sha256))
        rc = amber_fail(err, AMBER_E_CORRUPT,
                        "%s: each block is sound, but the SHA-256 of all stored bytes isn't the "
                        "manifest's: the manifest is wrong, rebuild it",
                        part->key);
    return rc;
}

static enum amber_rc write_part(const struct amber_replicate_config *cfg,
                                const struct amber_part *part, enum found before,
                                struct amber_err *err)
{
    struct block_source *source;
    struct amber_put *put = NULL;
    enum amber_rc rc =
        amber_source_open(cfg->from, part, AMBER_OPEN_CACHED, NULL, &source, err);

    if (rc)
        return rc;
    rc = open_put(cfg, part->key, before, &put, err);
    if (!rc) {
        rc = copy_blocks(cfg, part, source, put, err);
        if (rc)
            amber_put_abort(put);
        else
            rc = amber_put_commit(put, NULL, err);
    }
    amber_source_close(source);
    return rc;
}

static enum amber_rc replicate_part(const struct amber_replicate_config *cfg,
                                    const struct amber_part *part, struct amber_err *err)
{
    struct amber_err why = AMBER_ERR_INIT;
    enum found before;
    enum amber_rc rc = judge(read_back(cfg, part, &why), &before);

    if (rc) {
        *err = why;
        return rc;
    }
    if (before == FOUND_GOOD)
        return AMBER_OK;
    rc = write_part(cfg, part, before, err);
    if (!rc)
        rc = read_back(cfg, part, err);
    if (!rc)
        tell(cfg, part->key, before);
    return rc;
}

/* --- documents ---------------------------------------------------------------------------- */

/* A document, and who says whether one store has it right: the text that it has is put to out. */
struct document {
    const char *key;
    enum amber_rc (*check)(const struct document *d, struct amber_store *store,
                           struct amber_err *err);
    const struct amber_sha256 *digest; /* of a manifest; may be NULL */
    const char *id;                    /* of a marker: the run's; of store.json: the store's */
    struct amber_buf *text;            /* the right bytes, once found */
    struct amber_store *from;
};

static enum amber_rc check_manifest(const struct document *d, struct amber_store *store,
                                    struct amber_err *err)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};

    return amber_manifest_get(store, d->key, d->digest, &m, err);
}

static enum amber_rc check_marker(const struct document *d, struct amber_store *store,
                                  struct amber_err *err)
{
    AMBER_CLEANUP(amber_marker_clear) struct amber_marker m = {0};

    return amber_marker_get(store, d->id, &m, err);
}

static enum amber_rc check_identity(const struct document *d, struct amber_store *store,
                                    struct amber_err *err)
{
    struct amber_store_identity found = {0};
    enum amber_rc rc = amber_store_identity_get(store, &found, err);

    if (!rc && strcmp(found.store_id, d->id) != 0)
        rc = amber_fail(err, AMBER_E_DENIED,
                        "it holds the store %s, not a copy of this one (%s): give the replica an "
                        "empty folder or prefix of its own",
                        found.store_id, d->id);
    return rc;
}

static enum amber_rc get_medium(struct amber_store *store, const char *key, struct amber_buf *out,
                                struct amber_err *err)
{
    struct amber_object_info info;
    struct amber_object *o;
    enum amber_rc rc = amber_object_open(store, key, AMBER_OPEN_MEDIUM, &o, &info, err);

    if (rc)
        return rc;
    rc = amber_buf_reserve(out, (size_t)info.size, err);
    if (!rc)
        rc = amber_object_read(o, 0, out->data + out->len, (size_t)info.size, err);
    if (!rc)
        out->len += (size_t)info.size;
    amber_object_close(o);
    return rc;
}

static enum amber_rc get_right(void *arg, unsigned copy, struct amber_store *store,
                               struct amber_err *err)
{
    const struct document *d = arg;
    enum amber_rc rc = d->check(d, store, err);

    d->text->len = 0;
    if (!rc)
        rc = amber_store_get(store, d->key, d->text, err);
    if (rc)
        amber_copy_warn(d->from, copy, err);
    return rc;
}

static enum amber_rc write_document(const struct amber_replicate_config *cfg,
                                    const struct document *d, enum found before,
                                    struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf again = AMBER_BUF_INIT(DOCUMENT_MAX);
    struct amber_put *put = NULL;
    enum amber_rc rc = open_put(cfg, d->key, before, &put, err);

    if (rc)
        return rc;
    rc = amber_put_write(put, d->text->data, d->text->len, err);
    if (rc) {
        amber_put_abort(put);
        return rc;
    }
    rc = amber_put_commit(put, NULL, err);
    if (!rc)
        rc = get_medium(cfg->to, d->key, &again, err);
    if (!rc && (again.len != d->text->len || memcmp(again.data, d->text->data, again.len) != 0))
        rc = amber_fail(err, AMBER_E_CORRUPT, "%s: read back, it has other bytes", d->key);
    return rc;
}

static enum amber_rc replicate_document(const struct amber_replicate_config *cfg,
                                        struct document *d, struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(DOCUMENT_MAX);
    struct amber_err why = AMBER_ERR_INIT;
    enum found before;
    enum amber_rc rc = judge(d->check(d, cfg->to, &why), &before);

    if (rc) {
        *err = why;
        return rc;
    }
    if (before == FOUND_GOOD)
        return AMBER_OK;
    d->text = &text;
    d->from = cfg->from;
    rc = amber_copies_try(cfg->from, get_right, d, err);
    if (!rc)
        rc = write_document(cfg, d, before, err);
    if (!rc)
        tell(cfg, d->key, before);
    return rc;
}

/* --- what a store is made of -------------------------------------------------------------- */

enum amber_rc amber_replicate_archive(const struct amber_replicate_config *cfg,
                                      const char *manifest_key, const struct amber_sha256 *digest,
                                      struct amber_err *err)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct document d = {.key = manifest_key, .check = check_manifest, .digest = digest};
    enum amber_rc rc = amber_manifest_get(cfg->from, manifest_key, digest, &m, err);

    if (!rc)
        rc = replicate_part(cfg, &m.archive, err);
    for (size_t i = 0; !rc && i < m.n_attachments; i++)
        rc = replicate_part(cfg, &m.attachments[i].part, err);
    return rc ? rc : replicate_document(cfg, &d, err);
}

enum amber_rc amber_replicate_marker(const struct amber_replicate_config *cfg, const char *run_id,
                                     struct amber_err *err)
{
    AMBER_CLEANUP(amber_marker_clear) struct amber_marker m = {0};
    AMBER_AUTO_FREE char *key = NULL;
    enum amber_rc rc = amber_asprintf(&key, err, AMBER_META_DIR "/commits/%s.json", run_id);
    struct document d = {.key = key, .check = check_marker, .id = run_id};

    if (!rc)
        rc = replicate_document(cfg, &d, err);
    /* Two that are sound may still differ: then neither takes the other's place. */
    if (!rc)
        rc = amber_marker_get(cfg->from, run_id, &m, err);
    return rc ? rc : amber_marker_put(cfg->to, &m, err);
}

enum amber_rc amber_replicate_identity(const struct amber_replicate_config *cfg,
                                       const char *store_id, struct amber_err *err)
{
    struct document d = {
        .key = AMBER_META_DIR "/store.json", .check = check_identity, .id = store_id};
    enum amber_rc rc = replicate_document(cfg, &d, err);

    /* Somebody else may have been faster: then his must be the same. */
    return rc == AMBER_E_EXISTS ? check_identity(&d, cfg->to, err) : rc;
}
