/*
 * archives.c - finding the archive that a person named.
 */
#include "archives.h"

#include "amber/name.h"

const char *amber_archive_relative(const char *name, const char *root)
{
    size_t n = strlen(root);
    while (n > 1 && root[n - 1] == '/')
        n--;
    if (strncmp(name, root, n) == 0 && name[n] == '/')
        name += n + 1;
    while (strncmp(name, "./", 2) == 0)
        name += 2;
    return name;
}

enum amber_rc amber_archive_find(const struct amber_entry_list *list, const char *store_path,
                                 const char *name, const struct amber_tree_entry **out,
                                 struct amber_err *err)
{
    const char *rel = amber_archive_relative(name, store_path);
    const struct amber_tree_entry *e = amber_entries_find(list, rel);
    /* A path below some mount point: what stands before the archive's own folder isn't known. */
    for (const char *p = strchr(rel, '/'); !e && p; p = strchr(p + 1, '/'))
        e = amber_entries_find(list, p + 1);
    size_t n_base = 0;
    for (size_t i = 0; !e && i < list->n; i++) {
        const char *base = strrchr(list->items[i].path, '/');
        if (strcmp(base ? base + 1 : list->items[i].path, rel) == 0 && n_base++ == 0)
            *out = &list->items[i];
    }
    if (n_base > 1)
        return amber_fail(err, AMBER_E_INVALID,
                          "%zu archives are named %s: give the folder too, as `amberfs list` shows",
                          n_base, rel);
    if (!e && !n_base)
        return amber_fail(err, AMBER_E_NOT_FOUND,
                          "there is no archive \"%s\" in %s; `amberfs list` shows all", rel,
                          store_path);
    if (e)
        *out = e;
    return AMBER_OK;
}

enum amber_rc amber_archive_manifest(struct amber_store *st, const struct amber_tree_entry *e,
                                     struct amber_manifest *out, struct amber_err *err)
{
    struct amber_sha256 digest;
    memcpy(digest.b, e->manifest_sha256, sizeof(digest.b));
    enum amber_rc rc = AMBER_E_NOT_FOUND;
    if (e->manifest_key)
        rc = amber_manifest_get(st, e->manifest_key, e->has_digest ? &digest : NULL, out, err);
    if (rc == AMBER_E_NOT_FOUND || rc == AMBER_E_CORRUPT)
        amber_wrap(err,
                   "the manifest is missing or damaged; `amberfs rebuild-manifest %s` makes it anew "
                   "from the archive",
                   e->path);
    return rc;
}
