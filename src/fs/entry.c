/*
 * entry.c - from an entry of the tree to its manifest, or to what is to be done without.
 */
#include "amber/manifest.h"
#include "amber/tree.h"

#include <string.h>

enum amber_rc amber_entry_manifest(struct amber_store *st, const struct amber_tree_entry *e,
                                   struct amber_manifest *out, struct amber_err *err)
{
    struct amber_sha256 digest;
    struct amber_object_info info;
    struct amber_err unused = AMBER_ERR_INIT;
    enum amber_rc rc = AMBER_E_NOT_FOUND;
    memcpy(digest.b, e->manifest_sha256, sizeof(digest.b));
    if (e->manifest_key)
        rc = amber_manifest_get(st, e->manifest_key, e->has_digest ? &digest : NULL, out, err);
    if (rc != AMBER_E_NOT_FOUND && rc != AMBER_E_CORRUPT)
        return rc;
    if (amber_store_stat(st, e->key, &info, &unused) == AMBER_E_NOT_FOUND)
        return amber_fail(err, rc,
                          "neither the archive nor a good manifest of it is in the store any more: "
                          "bring both back from a backup");
    if (!e->manifest_key)
        return amber_fail(err, rc,
                          "it has no manifest; `amberfs rebuild-manifest %s` makes one from "
                          "the archive",
                          e->path);
    return amber_wrap(err,
                      "the manifest is missing or damaged; `amberfs rebuild-manifest %s` makes it "
                      "anew from the archive",
                      e->path);
}
