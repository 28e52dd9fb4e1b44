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
