/*
 * folders_priv.h - whether a store lists the same objects still, without listing them: of all its
 * folders none has changed. What was changed in place isn't seen.
 * thread  one at a time
 */
#ifndef AMBER_FOLDERS_PRIV_H
#define AMBER_FOLDERS_PRIV_H

#include "amber/store.h"

struct folder_mark {
    char *folder; /* owned */
    uint64_t mark;
};
struct amber_folders {
    struct folder_mark *items; /* owned; none: nothing is known */
    size_t n, cap;
};
void amber_folders_clear(struct amber_folders *f);
/* Note the folders as they are now: list the store afterwards. Of a store without folders nothing
 * is known. errors as amber_store_folders; nothing is known then */
enum amber_rc amber_folders_note(struct amber_folders *f, struct amber_store *st,
                                 struct amber_err *err) AMBER_MUST_CHECK;
/* Whether something may have come or gone since. */
bool amber_folders_changed(const struct amber_folders *f, struct amber_store *st);

#endif
