/*
 * commits.c - .amberfs/commits/<run>.json and <run>.superseded.json, as one sorted list.
 */
#include "commits_priv.h"

#include "amber/copies.h"

#include <stdio.h>

struct collect {
    struct amber_commits *out;
    size_t cap;
};

static enum amber_rc collect(void *arg, const char *key, const struct amber_object_info *info,
                             struct amber_err *err)
{
    (void)info;
    struct collect *c = arg;
    const char *name = key + strlen(AMBER_COMMITS_DIR "/");
    size_t len = strlen(key) > strlen(AMBER_COMMITS_DIR "/") ? strlen(name) : 0;
    if (len < AMBER_UUID_LEN)
        return AMBER_OK;
    struct amber_commit commit = {0};
    memcpy(commit.run_id, name, AMBER_UUID_LEN - 1);
    const char *rest = name + AMBER_UUID_LEN - 1;
    commit.superseded = strcmp(rest, ".superseded.json") == 0;
    if (!amber_uuid_valid(commit.run_id) || (!commit.superseded && strcmp(rest, ".json") != 0))
        return AMBER_OK;
    enum amber_rc rc =
        amber_grow(&c->out->items, &c->cap, c->out->n + 1, sizeof(*c->out->items), err);
    if (rc)
        return rc;
    c->out->items[c->out->n++] = commit;
    return AMBER_OK;
}

static int compare(const void *a, const void *b)
{
    const struct amber_commit *x = a, *y = b;
    return strcmp(x->run_id, y->run_id);
}

enum amber_rc amber_commits_load(struct amber_store *st, struct amber_commits *out,
                                 struct amber_err *err)
{
    struct amber_commits c = {0};
    struct collect ctx = {.out = &c};
    enum amber_rc rc = amber_store_list(st, AMBER_COMMITS_DIR, collect, &ctx, err);
    if (rc && rc != AMBER_E_NOT_FOUND) {
        free(c.items);
        return rc;
    }
    if (c.n)
        qsort(c.items, c.n, sizeof(*c.items), compare);
    size_t n = 0;
    for (size_t i = 0; i < c.n; i++) {
        if (n && strcmp(c.items[n - 1].run_id, c.items[i].run_id) == 0)
            c.items[n - 1].superseded |= c.items[i].superseded;
        else
            c.items[n++] = c.items[i];
    }
    c.n = n;
    *out = c;
    return AMBER_OK;
}

void amber_commits_clear(struct amber_commits *c)
{
    free(c->items);
    *c = (struct amber_commits){0};
}

const struct amber_commit *amber_commits_find(const struct amber_commits *c, const char *run_id)
{
    struct amber_commit key = {0};
    snprintf(key.run_id, sizeof(key.run_id), "%s", run_id);
    return c->n ? bsearch(&key, c->items, c->n, sizeof(key), compare) : NULL;
}

enum amber_rc amber_commit_supersede(struct amber_store *st, const char *run_id,
                                     struct amber_err *err)
{
    char key[128];
    snprintf(key, sizeof(key), AMBER_COMMITS_DIR "/%s.superseded.json", run_id);
    enum amber_rc rc = amber_store_primary_check(st, err);
    /* Into every copy: each alone must tell which archives count. */
    for (unsigned i = 0; !rc && i < amber_copies_count(st); i++) {
        rc = amber_store_put(amber_copies_store(st, i), key, "{}\n", 3, err);
        rc = rc == AMBER_E_EXISTS ? AMBER_OK : rc;
    }
    return rc;
}
