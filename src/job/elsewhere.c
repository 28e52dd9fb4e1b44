/*
 * elsewhere.c - files of other programs in the store: which they are, and under which names they
 * are shown.
 *
 *   1 what the store lists, without dotted names      2 minus the archives that are shown
 *   3 minus what a run may have written               4 names: without suffix where that is free
 *
 * A folder, an archive of ours, and then a file with that very name keep their name. A file whose
 * name without suffix is taken so, or wanted by another one too, has a '~' for the suffix's dot;
 * where even that is taken, another '~' behind. So names depend on what there is, not on when it
 * came.
 */
#include <search.h>
#include <stdio.h>

#include "amber/catalog.h"
#include "amber/context.h"
#include "amber/digest.h"
#include "amber/foreign.h"
#include "amber/log.h"
#include "amber/name.h"

#define MANIFESTS_DIR AMBER_META_DIR "/manifests"

void amber_elsewhere_clear(struct amber_elsewhere *e)
{
    for (size_t i = 0; i < e->n; i++)
        free(e->items[i].key);
    free(e->items);
    *e = (struct amber_elsewhere){0};
}

static enum amber_rc add(struct amber_elsewhere *e, const char *key, uint64_t size,
                         int64_t mtime_us, struct amber_err *err)
{
    enum amber_rc rc = amber_grow(&e->items, &e->cap, e->n + 1, sizeof(*e->items), err);
    if (rc)
        return rc;
    struct amber_stored *s = &e->items[e->n];
    *s = (struct amber_stored){.size = size, .mtime_us = mtime_us};
    rc = amber_strdup(key, &s->key, err);
    e->n += rc ? 0 : 1;
    return rc;
}

static enum amber_rc collect(void *arg, const char *key, const struct amber_object_info *info,
                             struct amber_err *err)
{
    if (key[0] == '.' || strstr(key, "/."))
        return AMBER_OK;
    return add(arg, key, info->size, info->mtime_us, err);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct amber_stored *)a)->key, ((const struct amber_stored *)b)->key);
}

enum amber_rc amber_elsewhere_list(const struct amber_context *ctx, struct amber_elsewhere *out,
                                   struct amber_err *err)
{
    amber_elsewhere_clear(out);
    enum amber_rc rc = amber_store_list(ctx->store, "", collect, out, err);
    if (rc)
        amber_elsewhere_clear(out);
    else if (out->n)
        qsort(out->items, out->n, sizeof(*out->items), by_key);
    return rc;
}

enum amber_rc amber_elsewhere_copy(const struct amber_elsewhere *e, struct amber_elsewhere *out,
                                   struct amber_err *err)
{
    struct amber_elsewhere copy = {0};
    enum amber_rc rc = AMBER_OK;

    for (size_t i = 0; !rc && i < e->n; i++)
        rc = add(&copy, e->items[i].key, e->items[i].size, e->items[i].mtime_us, err);
    if (rc)
        amber_elsewhere_clear(&copy);
    else
        *out = copy;
    return rc;
}

uint64_t amber_elsewhere_digest(const struct amber_elsewhere *e)
{
    struct amber_fast_digest d, sum = {0};

    for (size_t i = 0; i < e->n; i++) {
        const struct amber_stored *s = &e->items[i];
        amber_fast_digest(s->key, strlen(s->key), &d);
        const uint64_t line[] = {sum.lo, d.lo, s->size, (uint64_t)s->mtime_us};
        amber_fast_digest(line, sizeof(line), &sum);
    }
    return sum.lo;
}

/* ---- sets of names ---- */

struct names {
    const char **items; /* owned, the strings only where owned says so */
    size_t n, cap;
    bool owned;
};

static void names_clear(struct names *s)
{
    for (size_t i = 0; s->owned && i < s->n; i++)
        free((char *)(uintptr_t)s->items[i]);
    free(s->items);
    *s = (struct names){0};
}

static enum amber_rc names_add(struct names *s, const char *name, struct amber_err *err)
{
    char *copy = NULL;
    enum amber_rc rc = amber_grow(&s->items, &s->cap, s->n + 1, sizeof(*s->items), err);

    if (!rc && s->owned)
        rc = amber_strdup(name, &copy, err);
    if (!rc)
        s->items[s->n++] = s->owned ? copy : name;
    return rc;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void names_sort(struct names *s)
{
    if (s->n)
        qsort(s->items, s->n, sizeof(*s->items), by_text);
}

static bool names_have(const struct names *s, const char *name)
{
    return s->n && bsearch(&name, s->items, s->n, sizeof(*s->items), by_text);
}

/* ---- whose a file is ---- */

struct sieve {
    const struct amber_context *ctx;
    struct names paths;     /* names in the tree of what is shown of ours; borrowed */
    struct names reserved;  /* by runs; owned */
    struct names described; /* keys that have a manifest; owned */
    bool by_catalog;        /* reserved is known */
    bool is_ours;           /* without a catalog: amberfs writes to this store */
};

static void sieve_clear(struct sieve *s)
{
    names_clear(&s->paths);
    names_clear(&s->reserved);
    names_clear(&s->described);
}

static enum amber_rc add_reserved(void *arg, const char *logical, struct amber_err *err)
{
    return names_add(arg, logical, err);
}

static enum amber_rc add_described(void *arg, const char *key, const struct amber_object_info *info,
                                   struct amber_err *err)
{
    struct amber_err ignored = AMBER_ERR_INIT;
    struct amber_manifest_name name;
    char archive[AMBER_KEY_MAX + 1];
    (void)info;
    if (amber_manifest_key_parse(key, &name, &ignored) || name.archive_key_len > AMBER_KEY_MAX)
        return AMBER_OK;
    memcpy(archive, name.archive_key, name.archive_key_len);
    archive[name.archive_key_len] = '\0';
    return names_add(arg, archive, err);
}

static enum amber_rc sieve_init(struct sieve *s, struct amber_pg *pg, const char *store_id,
                                const struct amber_entry_list *l, struct amber_err *err)
{
    struct amber_store_identity id;
    struct amber_err ignored = AMBER_ERR_INIT;
    enum amber_rc rc = AMBER_OK;

    for (size_t i = 0; !rc && i < l->n; i++)
        rc = names_add(&s->paths, l->items[i].path, err);
    if (!rc && pg)
        rc = amber_catalog_names_of_store(pg, store_id, add_reserved, &s->reserved, err);
    if (!pg) /* what can't be read may be ours */
        s->is_ours = amber_store_identity_get(s->ctx->store, &id, &ignored) != AMBER_E_NOT_FOUND;
    names_sort(&s->paths);
    names_sort(&s->reserved);
    return rc;
}

/* A name belongs to one run: where its archive is shown, this is another file. */
static bool is_reserved(const struct sieve *s, const char *key)
{
    char logical[AMBER_KEY_MAX + 1] = "";

    memcpy(logical, key, amber_name_logical_len(key));
    return names_have(&s->reserved, logical) && !names_have(&s->paths, logical);
}

static bool ends_in(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);

    return n >= k && strcmp(text + n - k, end) == 0;
}

/* Whether a run may have written this file, that isn't shown as ours and whose name the catalog, if
 * there is one, hasn't reserved. That of a database that was set back doesn't know all runs, but
 * what they committed has a manifest. */
static bool of_a_run(const struct sieve *s, const char *key)
{
    struct amber_err err = AMBER_ERR_INIT;
    bool ours = true;

    if (names_have(&s->described, key))
        return true;
    if (s->by_catalog || !s->is_ours)
        return false;
    if (amber_codec_by_suffix(key)->kind == AMBER_CODEC_NONE)
        return ends_in(key, ".json");
    if (amber_foreign_is_ours(s->ctx->store, key, &ours, &err)) {
        if (err.code != AMBER_E_NOT_FOUND)
            amber_warn("%s isn't shown: %s", key, err.text);
        return true;
    }
    return ours;
}

/* Which of these files have a manifest: asked one by one where that costs no request, else by a
 * listing of all manifests. */
static enum amber_rc find_described(struct amber_store *st, struct amber_stored *const *files,
                                    size_t n, struct names *out, struct amber_err *err)
{
    char folder[sizeof(MANIFESTS_DIR) + AMBER_KEY_MAX + 1];
    enum amber_rc rc = AMBER_OK;

    if (amber_store_traits(st)->remote && n > 0)
        rc = amber_store_list(st, MANIFESTS_DIR, add_described, out, err);
    else
        for (size_t i = 0; !rc && i < n; i++) {
            int len = snprintf(folder, sizeof(folder), MANIFESTS_DIR "/%s", files[i]->key);
            if (len <= AMBER_KEY_MAX) /* longer, it can't have one */
                rc = amber_store_list(st, folder, add_described, out, err);
        }
    names_sort(out);
    return rc;
}

/* Leave out what a run may have written. Manifests are listed only if something is left to ask. */
static enum amber_rc sift(const struct amber_context *ctx, struct amber_pg *pg,
                          const char *store_id, const struct amber_entry_list *l,
                          struct amber_stored **files, size_t *n, struct amber_err *err)
{
    struct sieve s AMBER_CLEANUP(sieve_clear) = {.ctx = ctx,
                                                 .reserved = {.owned = true},
                                                 .described = {.owned = true},
                                                 .by_catalog = pg != NULL};
    size_t left = 0, kept = 0;
    enum amber_rc rc = sieve_init(&s, pg, store_id, l, err);

    for (size_t i = 0; !rc && i < *n; i++)
        if (!is_reserved(&s, files[i]->key))
            files[left++] = files[i];
    if (!rc)
        rc = find_described(ctx->store, files, left, &s.described, err);
    for (size_t i = 0; !rc && i < left; i++)
        if (!of_a_run(&s, files[i]->key))
            files[kept++] = files[i];
    *n = kept;
    return rc;
}

/* ---- names ---- */

/* Who would have a name. Of those that would have the same, the first kind has it; two FILEs don't.
 */
enum claimant { CLAIM_FOLDER, CLAIM_OURS, CLAIM_WHOLE /* a file's whole key */, CLAIM_FILE };
struct claim {
    const char *name; /* len bytes; borrowed */
    size_t len;
    enum claimant who;
    size_t file; /* WHOLE, FILE: its number */
};
struct claims {
    struct claim *items; /* owned */
    size_t n, cap;
};

static int compare_names(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int c = memcmp(a, b, a_len < b_len ? a_len : b_len);

    return c ? c : (a_len > b_len) - (a_len < b_len);
}

static int by_claim(const void *a, const void *b)
{
    const struct claim *x = a, *y = b;
    int c = compare_names(x->name, x->len, y->name, y->len);

    return c ? c : (int)x->who - (int)y->who;
}

static enum amber_rc claim(struct claims *c, const char *name, size_t len, enum claimant who,
                           size_t file, struct amber_err *err)
{
    enum amber_rc rc = amber_grow(&c->items, &c->cap, c->n + 1, sizeof(*c->items), err);

    if (!rc)
        c->items[c->n++] = (struct claim){.name = name, .len = len, .who = who, .file = file};
    return rc;
}

/* The folders of a path, unless they are those of the path before. */
static enum amber_rc claim_folders(struct claims *c, const char *path, const char *before,
                                   struct amber_err *err)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) + 1 : 0;
    enum amber_rc rc = AMBER_OK;

    if (strncmp(path, before, len) == 0 && !strchr(before + len, '/'))
        return AMBER_OK;
    for (size_t i = 1; !rc && i < len; i++)
        if (path[i] == '/')
            rc = claim(c, path, i, CLAIM_FOLDER, 0, err);
    return rc;
}

static enum amber_rc gather_claims(struct claims *c, const struct amber_entry_list *ours,
                                   struct amber_stored *const *files, size_t n,
                                   struct amber_err *err)
{
    const char *before = "";
    enum amber_rc rc = AMBER_OK;

    for (size_t i = 0; !rc && i < ours->n; i++) {
        const char *path = ours->items[i].path;
        rc = claim_folders(c, path, before, err);
        if (!rc)
            rc = claim(c, path, strlen(path), CLAIM_OURS, 0, err);
        before = path;
    }
    for (size_t i = 0; !rc && i < n; i++) {
        const char *key = files[i]->key;
        size_t len = amber_name_logical_len(key);
        rc = claim_folders(c, key, before, err);
        if (!rc)
            rc = claim(c, key, len, key[len] ? CLAIM_FILE : CLAIM_WHOLE, i, err);
        before = key;
    }
    if (!rc && c->n)
        qsort(c->items, c->n, sizeof(*c->items), by_claim);
    return rc;
}

static int compare_to_claim(const void *name, const void *c)
{
    const struct claim *y = c;

    return compare_names(name, strlen(name), y->name, y->len);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void keep_text(void *text)
{
    (void)text; /* the caller's */
}

/* A free name for a file whose own is taken. given: those found so. */
static enum amber_rc other_name(const struct claims *c, void **given, const char *key, char **out,
                                struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf name = AMBER_BUF_INIT(2 * AMBER_KEY_MAX);
    size_t len = amber_name_logical_len(key);
    enum amber_rc rc = amber_buf_puts(&name, key, err);

    if (!rc && key[len])
        name.data[len] = '~';
    else if (!rc)
        rc = amber_buf_puts(&name, "~", err);
    while (!rc && (bsearch(name.data, c->items, c->n, sizeof(*c->items), compare_to_claim) ||
                   tfind(name.data, given, compare_texts)))
        rc = amber_buf_puts(&name, "~", err);
    if (!rc)
        rc = amber_strdup(name.data, out, err);
    if (!rc && !tsearch(*out, given, compare_texts)) {
        free(*out);
        rc = amber_fail_nomem(err, "a name", name.len);
    }
    return rc;
}

/* out[i]: the name of file i, owned by the caller. */
static enum amber_rc give_names(const struct claims *c, struct amber_stored *const *files, size_t n,
                                char **out, struct amber_err *err)
{
    void *given = NULL;
    enum amber_rc rc = AMBER_OK;

    for (size_t i = 0; !rc && i < c->n; i++) {
        const struct claim *k = &c->items[i];
        bool first = i == 0 || compare_names(k[-1].name, k[-1].len, k->name, k->len) != 0;
        bool alone = i + 1 == c->n || compare_names(k[1].name, k[1].len, k->name, k->len) != 0;
        if (k->who >= CLAIM_WHOLE && first && (alone || k->who == CLAIM_WHOLE)) {
            out[k->file] = strndup(k->name, k->len);
            if (!out[k->file])
                rc = amber_fail_nomem(err, "a name", k->len);
        }
    }
    for (size_t i = 0; !rc && i < n; i++)
        if (!out[i])
            rc = other_name(c, &given, files[i]->key, &out[i], err);
    tdestroy(given, keep_text);
    return rc;
}

/* ---- all together ---- */

static enum amber_tree_form form_of(const char *key)
{
    return amber_codec_by_suffix(key)->kind == AMBER_CODEC_NONE ? AMBER_TREE_PLAIN
                                                                : AMBER_TREE_FOREIGN;
}

static enum amber_rc add_files(struct amber_stored *const *files, char *const *names, size_t n,
                               struct amber_entry_list *l, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    for (size_t i = 0; !rc && i < n; i++) {
        enum amber_tree_form form = form_of(files[i]->key);
        const struct amber_tree_entry e = {
            .path = names[i],
            .key = files[i]->key,
            .form = form,
            .size = form == AMBER_TREE_PLAIN ? files[i]->size : 0,
            .stored_size = files[i]->size,
            .mtime_us = files[i]->mtime_us,
        };
        if (amber_key_check(names[i], err))
            amber_warn("%s isn't shown: %s", files[i]->key, err->text);
        else
            rc = amber_entry_list_add(l, &e, err);
    }
    return rc;
}

static enum amber_rc name_and_add(struct amber_stored *const *files, size_t n,
                                  struct amber_entry_list *l, struct amber_err *err)
{
    struct claims c = {0};
    AMBER_AUTO_FREE char **names = NULL;
    enum amber_rc rc = amber_calloc(n, sizeof(*names), &names, err);

    if (!rc)
        rc = gather_claims(&c, l, files, n, err);
    if (!rc)
        rc = give_names(&c, files, n, names, err);
    if (!rc)
        rc = add_files(files, names, n, l, err);
    for (size_t i = 0; names && i < n; i++)
        free(names[i]);
    free(c.items);
    return rc;
}

enum amber_rc amber_elsewhere_add(const struct amber_context *ctx, struct amber_pg *pg,
                                  const char *store_id, const struct amber_elsewhere *e,
                                  struct amber_entry_list *l, struct amber_err *err)
{
    struct names shown AMBER_CLEANUP(names_clear) = {0};
    AMBER_AUTO_FREE struct amber_stored **files = NULL;
    size_t n = 0;
    enum amber_rc rc = amber_calloc(e->n ? e->n : 1, sizeof(struct amber_stored *), &files, err);

    for (size_t i = 0; !rc && i < l->n; i++)
        rc = names_add(&shown, l->items[i].key, err);
    names_sort(&shown);
    for (size_t i = 0; !rc && i < e->n; i++)
        if (!names_have(&shown, e->items[i].key))
            files[n++] = &e->items[i];
    if (!rc && n > 0)
        rc = sift(ctx, pg, store_id, l, files, &n, err);
    return rc || n == 0 ? rc : name_and_add(files, n, l, err);
}
