/*
 * identity.c - .amberfs/store.json: who this store is and which catalog owns it.
 *
 * Written once, by whoever is first. An unknown write flag makes the whole store read-only.
 */
#include "amber/manifest.h"

#include "amber/copies.h"
#include "document_priv.h"

#define IDENTITY_KEY AMBER_META_DIR "/store.json"
#define IDENTITY_FORMAT "amberfs-store"
#define IDENTITY_BYTES_MAX (1024U * 1024U)

static enum amber_rc get_from_copy(void *arg, unsigned copy, struct amber_store *store,
                                   struct amber_err *err)
{
    struct amber_store_identity *out = arg;
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(IDENTITY_BYTES_MAX);
    AMBER_CLEANUP(amber_doc_free) json_t *doc = NULL;
    struct amber_store_identity id = {0};
    struct doc_node root;
    enum amber_rc rc = amber_store_get(store, IDENTITY_KEY, &text, err);

    (void)copy;
    if (rc)
        return rc;
    rc = amber_doc_open(text.data ? text.data : "", text.len, IDENTITY_FORMAT, &doc, &root,
                        &id.read_only, err);
    if (!rc)
        rc = amber_doc_uuid(&root, "store_id", id.store_id, err);
    if (!rc && !json_is_null(json_object_get(root.value, "catalog_id")))
        rc = amber_doc_uuid(&root, "catalog_id", id.catalog_id, err);
    if (rc)
        return amber_wrap(err, IDENTITY_KEY);
    *out = id;
    return AMBER_OK;
}

enum amber_rc amber_store_identity_get(struct amber_store *st, struct amber_store_identity *out,
                                       struct amber_err *err)
{
    return amber_copies_try(st, get_from_copy, out, err);
}

enum amber_rc amber_store_identity_put(struct amber_store *st,
                                       const struct amber_store_identity *id, struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(IDENTITY_BYTES_MAX);

    if (!amber_uuid_valid(id->store_id) || (id->catalog_id[0] && !amber_uuid_valid(id->catalog_id)))
        return amber_fail(err, AMBER_E_INVALID, "the store's identity must be UUIDs");
    enum amber_rc rc = amber_doc_head(&text, IDENTITY_FORMAT, err);
    if (!rc)
        rc = amber_doc_put(&text, "store_id", id->store_id, err);
    if (!rc)
        rc = amber_doc_put(&text, "catalog_id", id->catalog_id[0] ? id->catalog_id : NULL, err);
    if (!rc)
        rc = amber_buf_puts(&text, "\n}\n", err);
    return rc ? rc : amber_store_put(st, IDENTITY_KEY, text.data, text.len, err);
}

enum amber_rc amber_store_primary_check(struct amber_store *st, struct amber_err *err)
{
    struct amber_store_identity id;
    struct amber_err why = AMBER_ERR_INIT;

    if (amber_copies_count(st) == 1 ||
        amber_store_identity_get(amber_copies_store(st, 0), &id, &why) != AMBER_E_NOT_FOUND)
        return AMBER_OK;
    return amber_fail(err, AMBER_E_DENIED,
                      "the primary holds no store (" IDENTITY_KEY "): mount its disk or correct the "
                      "path; if it is lost, begin it anew with `amberfs init --new-store`");
}
