/*
 * folders.c - the marks of a store's folders.
 */
#include "folders_priv.h"

struct noting {
    struct amber_folders *f;
    struct amber_store *st;
};

void amber_folders_clear(struct amber_folders *f)
{
    for (size_t i = 0; i < f->n; i++)
        free(f->items[i].folder);
    free(f->items);
    *f = (struct amber_folders){0};
}

static enum amber_rc note(void *arg, const char *folder, struct amber_err *err)
{
    const struct noting *n = arg;
    struct amber_folders *f = n->f;
    enum amber_rc rc = amber_grow(&f->items, &f->cap, f->n + 1, sizeof(*f->items), err);

    if (!rc)
        rc = amber_strdup(folder, &f->items[f->n].folder, err);
    if (!rc)
        f->items[f->n++].mark = amber_store_folder_mark(n->st, folder);
    return rc;
}

enum amber_rc amber_folders_note(struct amber_folders *f, struct amber_store *st,
                                 struct amber_err *err)
{
    struct noting n = {.f = f, .st = st};

    amber_folders_clear(f);
    enum amber_rc rc = amber_store_folders(st, note, &n, err);
    if (rc)
        amber_folders_clear(f);
    return rc == AMBER_E_UNSUPPORTED ? AMBER_OK : rc;
}

bool amber_folders_changed(const struct amber_folders *f, struct amber_store *st)
{
    for (size_t i = 0; i < f->n; i++)
        if (!f->items[i].mark ||
            f->items[i].mark != amber_store_folder_mark(st, f->items[i].folder))
            return true;
    return f->n == 0;
}
