/*
 * store_s3.c - objects in an S3 bucket: opening the store; stat, list, remove.
 *
 * Nothing depends on removing, so DeleteObject may be forbidden; stat, open and list need GetObject
 * and ListBucket. A store is read-only after open but for the one flag that says what its server
 * can't do, so there are no locks here.
 */
#include <errno.h>
#include <stdio.h>

#include "amber/log.h"

#include "store_s3_priv.h"

#define TIMEOUT_S 120U
#define CONNECT_S 10U
#define SLOW_S 15U
#define THREADS 8U /* parts and ranges under way at once */
#define TOKEN_MAX 2048

/* ---- one object ---- */

enum amber_rc amber_s3_check_writable(struct s3_store *st, const char *key, struct amber_err *err)
{
    if (!st->read_only)
        return AMBER_OK;
    amber_fail(err, AMBER_E_DENIED, "%s/%s: the store was opened read-only", st->name, key);
    err->sys_errno = EROFS;
    return err->code;
}

enum amber_rc amber_s3_head(struct s3_store *st, const char *key, struct s3_answer *a,
                            struct amber_err *err)
{
    struct s3_call c = {.method = "HEAD", .key = key};

    return amber_s3_call(st, &c, a, err);
}

static enum amber_rc s3_stat(struct amber_store *base, const char *key,
                             struct amber_object_info *out, struct amber_err *err)
{
    struct s3_answer a;
    enum amber_rc rc = amber_s3_head(amber_s3(base), key, &a, err);

    if (!rc)
        *out = a.info;
    return rc;
}

static enum amber_rc s3_remove(struct amber_store *base, const char *key, struct amber_err *err)
{
    struct s3_store *st = amber_s3(base);
    struct s3_call c = {.method = "DELETE", .key = key};
    struct s3_answer a;

    enum amber_rc rc = amber_s3_check_writable(st, key, err);
    if (!rc)
        rc = amber_s3_head(st, key, &a, err); /* DELETE says yes to what isn't there */
    return rc ? rc : amber_s3_call(st, &c, &a, err);
}

/* ---- listing ---- */

struct listing {
    struct s3_store *st;
    enum amber_rc (*each)(void *arg, const char *key, const struct amber_object_info *info,
                          struct amber_err *err);
    void *arg;
    /* The entry that is being read, and the page's end. */
    char key[3 * S3_KEY_MAX + 1];
    struct amber_object_info info;
    bool truncated;
    char token[TOKEN_MAX];
};

/* One object: to the caller, unless its key is none that a store of ours could have. */
static enum amber_rc end_entry(struct listing *l, struct amber_err *err)
{
    struct amber_err why = AMBER_ERR_INIT;
    size_t prefix = strlen(l->st->target.prefix);
    struct amber_object_info info = l->info;

    l->info = (struct amber_object_info){0};
    if (!amber_s3_decode(l->key) || strncmp(l->key, l->st->target.prefix, prefix) != 0)
        return amber_fail(err, AMBER_E_CORRUPT,
                          "the server lists \"%.200s\", which wasn't asked for", l->key);
    if (amber_key_check(l->key + prefix, &why)) /* a console's "folder/" among them */
        return AMBER_OK;
    return l->each(l->arg, l->key + prefix, &info, err);
}

static enum amber_rc each_text(void *arg, const char *path, char *text, struct amber_err *err)
{
    struct listing *l = arg;
    static const char root[] = "ListBucketResult/";

    if (strncmp(path, root, sizeof(root) - 1) != 0)
        return strcmp(path, "ListBucketResult") == 0
                   ? AMBER_OK
                   : amber_fail(err, AMBER_E_CORRUPT, "%.60s where a listing was expected", path);
    path += sizeof(root) - 1;
    if (strcmp(path, "Contents") == 0)
        return end_entry(l, err);
    if (strcmp(path, "IsTruncated") == 0)
        l->truncated = strcmp(text, "true") == 0;
    else if (strcmp(path, "NextContinuationToken") == 0)
        snprintf(l->token, sizeof(l->token), "%s", text);
    else if (strcmp(path, "Contents/Key") == 0)
        snprintf(l->key, sizeof(l->key), "%s", text);
    else if (strcmp(path, "Contents/Size") == 0)
        l->info.size = strtoull(text, NULL, 10);
    else if (strcmp(path, "Contents/LastModified") == 0)
        l->info.mtime_us = amber_s3_time(text);
    else if (strcmp(path, "Contents/ETag") == 0) {
        char etag[S3_ETAG_MAX];
        amber_s3_etag(text, etag);
        snprintf(l->info.version, sizeof(l->info.version), "%.63s", etag);
    }
    return AMBER_OK;
}

/* Get one page from where l->token says; max_keys 0: as many as the server gives. */
static enum amber_rc get_page(struct listing *l, const char *prefix, unsigned max_keys,
                              struct amber_buf *doc, struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf q = AMBER_BUF_INIT(32U * 1024U), full = AMBER_BUF_INIT(4096);
    struct s3_answer a;
    char number[16];
    enum amber_rc rc = AMBER_OK;

    snprintf(number, sizeof(number), "%u", max_keys);
    if (l->token[0])
        rc = amber_s3_query(&q, "continuation-token", l->token, err);
    if (!rc)
        rc = amber_s3_query(&q, "encoding-type", "url", err);
    if (!rc)
        rc = amber_s3_query(&q, "list-type", "2", err);
    if (!rc && max_keys > 0)
        rc = amber_s3_query(&q, "max-keys", number, err);
    if (!rc)
        rc = amber_buf_printf(&full, err, "%s%s%s", l->st->target.prefix, prefix,
                              *prefix ? "/" : "");
    if (!rc)
        rc = amber_s3_query(&q, "prefix", full.data, err);
    struct s3_call c = {.method = "GET", .query = q.data, .out = doc};
    return rc ? rc : amber_s3_call(l->st, &c, &a, err);
}

static enum amber_rc s3_list(struct amber_store *base, const char *prefix,
                             enum amber_rc (*each)(void *arg, const char *key,
                                                   const struct amber_object_info *info,
                                                   struct amber_err *err),
                             void *arg, struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf doc = AMBER_BUF_INIT(S3_DOCUMENT_BYTES);
    AMBER_AUTO_FREE struct listing *l = NULL;
    enum amber_rc rc = amber_calloc(1, sizeof(*l), &l, err);

    if (rc)
        return rc;
    l->st = amber_s3(base);
    l->each = each;
    l->arg = arg;
    do {
        char last[TOKEN_MAX];
        doc.len = 0;
        rc = get_page(l, prefix, 0, &doc, err);
        memcpy(last, l->token, sizeof(last));
        l->token[0] = '\0';
        l->truncated = false;
        if (!rc)
            rc = amber_s3_xml_read(doc.data ? doc.data : "", doc.len, each_text, l, err);
        if (!rc && l->truncated && (!l->token[0] || strcmp(last, l->token) == 0))
            rc =
                amber_fail(err, AMBER_E_CORRUPT,
                           "%s: the server's listing doesn't go on though it says so", l->st->name);
    } while (!rc && l->truncated);
    return rc;
}

/* ---- the store ---- */

/* Ask for one key: whether bucket, region, keys and clock are right shows now. */
static enum amber_rc probe(struct s3_store *st, bool may_be_away, struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf doc = AMBER_BUF_INIT(S3_DOCUMENT_BYTES);
    AMBER_AUTO_FREE struct listing *l = NULL;
    enum amber_rc rc = amber_calloc(1, sizeof(*l), &l, err);

    if (rc)
        return rc;
    l->st = st;
    rc = get_page(l, "", 1, &doc, err);
    if (rc == AMBER_E_NOT_FOUND)
        rc = err->code = AMBER_E_INVALID; /* a bucket that isn't there, said without a code */
    if (rc && may_be_away && (rc == AMBER_E_NET || rc == AMBER_E_TIMEOUT)) {
        amber_warn("%s can't be reached now: %s", st->name, err->text);
        *err = (struct amber_err)AMBER_ERR_INIT;
        rc = AMBER_OK;
    }
    return rc;
}

static void s3_interrupt(struct amber_store *base)
{
    amber_http_interrupt(amber_s3(base)->http);
}

static void s3_free(struct amber_store *base)
{
    struct s3_store *st = amber_s3(base);

    amber_pool_free(st->pool);
    amber_http_free(st->http);
    amber_s3_keyring_free(st->keyring);
    amber_s3_target_clear(&st->target);
    free(st->sse_kms_key_id);
    free(st->storage_class);
    free(st->name);
    free(st);
}

static const struct amber_store_ops s3_ops = {
    .traits = {.scheme = "s3",
               .best_read_bytes = 8U << 20,
               .prefetch_depth = 4,
               .can_remove = true,
               .remote = true},
    .open = amber_s3_open,
    .read_at = amber_s3_read_at,
    .close = amber_s3_close,
    .stat = s3_stat,
    .list = s3_list,
    .put_open = amber_s3_put_open,
    .put_write = amber_s3_put_write,
    .put_commit = amber_s3_put_commit,
    .put_abort = amber_s3_put_abort,
    .remove = s3_remove,
    .interrupt = s3_interrupt,
    .clean_puts = amber_s3_clean_puts,
    .free = s3_free,
};

static enum amber_rc copy_settings(struct s3_store *st, const struct amber_store_config *cfg,
                                   const struct amber_s3_config *s3, struct amber_err *err)
{
    size_t len = strlen(cfg->path);

    while (len > 0 && cfg->path[len - 1] == '/')
        len--;
    st->sse = s3->sse;
    st->read_only = cfg->read_only;
    enum amber_rc rc = amber_asprintf(&st->name, err, "%.*s", (int)len, cfg->path);
    if (!rc && s3->sse_kms_key_id)
        rc = amber_strdup(s3->sse_kms_key_id, &st->sse_kms_key_id, err);
    if (!rc && s3->storage_class)
        rc = amber_strdup(s3->storage_class, &st->storage_class, err);
    return rc;
}

static enum amber_rc open_parts(struct s3_store *st, const struct amber_store_config *cfg,
                                const struct amber_s3_config *s3, struct amber_err *err)
{
    unsigned timeout_s = s3->timeout_s ? s3->timeout_s : TIMEOUT_S, slow = timeout_s / 4;
    struct http_config http = {
        .ca_file = s3->ca_file,
        .connect_s = CONNECT_S < timeout_s ? CONNECT_S : timeout_s,
        .slow_s = slow < 1 ? 1 : (slow < SLOW_S ? slow : SLOW_S),
    };

    st->timeout_s = timeout_s;
    enum amber_rc rc = amber_s3_target_init(&st->target, cfg->path, s3, err);
    if (!rc)
        rc = copy_settings(st, cfg, s3, err);
    if (!rc)
        rc = amber_http_new(&http, &st->http, err);
    if (!rc)
        rc = amber_s3_keyring_new(s3, st->target.region, &st->keyring, err);
    if (!rc)
        rc = amber_pool_new(THREADS, &st->pool, err);
    if (!rc)
        rc = probe(st, s3->may_be_away, err);
    return rc;
}

enum amber_rc amber_store_s3_open(const struct amber_store_config *cfg, struct amber_store **out,
                                  struct amber_err *err)
{
    static const struct amber_s3_config defaults;
    const struct amber_s3_config *s3 = cfg->s3 ? cfg->s3 : &defaults;
    struct s3_store *st;

    if (!cfg->path)
        return amber_fail(err, AMBER_E_INVALID,
                          "S3 storage needs ARCHIVAL_PATH=s3://BUCKET/PREFIX");
    enum amber_rc rc = amber_calloc(1, sizeof(*st), &st, err);
    if (rc)
        return rc;
    st->base.ops = &s3_ops;
    rc = open_parts(st, cfg, s3, err);
    if (rc) {
        s3_free(&st->base);
        return rc;
    }
    *out = &st->base;
    return AMBER_OK;
}
