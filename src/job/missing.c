/*
 * missing.c - archives that the catalog has and the store doesn't hold any more.
 *
 * A store can lose files behind our back: a lifecycle rule of a bucket, somebody's clean-up, a disk
 * that was set back. Readers of them get an error; here it is learnt before somebody reads.
 */
#include "amber/context.h"

#include <stdio.h>

#define ASKED_MAX 100 /* of what isn't listed */

static int by_key(const void *key, const void *stored)
{
    return strcmp(key, ((const struct amber_stored *)stored)->key);
}

/* *next: the one behind the last found. Both lists have nearly the same order. */
static bool is_listed(const struct amber_elsewhere *listed, const char *key, size_t *next)
{
    const struct amber_stored *at = NULL;
    if (*next < listed->n && strcmp(listed->items[*next].key, key) == 0)
        at = &listed->items[*next];
    else if (listed->n)
        at = bsearch(key, listed->items, listed->n, sizeof(*at), by_key);
    if (at)
        *next = (size_t)(at - listed->items) + 1;
    return at != NULL;
}

enum amber_rc amber_missing_find(const struct amber_context *ctx,
                                 const struct amber_elsewhere *listed,
                                 const struct amber_entry_list *l, struct amber_missing *out,
                                 struct amber_err *err)
{
    size_t next = 0, asked = 0;
    bool some_are_there = false;
    *out = (struct amber_missing){0};
    for (size_t i = 0; i < l->n; i++) {
        const struct amber_tree_entry *e = &l->items[i];
        if (is_listed(listed, e->key, &next))
            continue;
        enum amber_rc rc = AMBER_E_NOT_FOUND;
        if (asked++ < ASKED_MAX) {
            struct amber_object_info info;
            struct amber_err why = AMBER_ERR_INIT;
            rc = amber_store_stat(ctx->store, e->key, &info, &why);
            if (rc && rc != AMBER_E_NOT_FOUND) {
                *err = why;
                return rc;
            }
            some_are_there = some_are_there || !rc;
        } else if (some_are_there) {
            break;
        }
        if (rc && out->archives++ == 0)
            snprintf(out->first, sizeof(out->first), "%s", e->path);
    }
    return AMBER_OK;
}
