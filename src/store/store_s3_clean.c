/*
 * store_s3_clean.c - uploads that nobody ends: they are no objects and nobody sees them, but their
 * parts take room. Those that dead processes left, and those whose start was answered to nobody.
 *
 * All uploads below the store's prefix are listed first and then aborted one by one: an abort while
 * listing would move the pages.
 * source  ListMultipartUploads in Amazon's S3 API reference
 */
#include <stdio.h>

#include "store_s3_priv.h"

#define MARKER_MAX 2048

struct upload {
    char *key; /* of the store */
    char *id;
};

struct uploads {
    struct s3_store *st;
    struct upload *items;
    size_t n, cap;
    /* The entry that is being read, and the page's end. */
    char key[3 * S3_KEY_MAX + 1], id[MARKER_MAX];
    bool truncated;
    char key_marker[3 * S3_KEY_MAX + 1], id_marker[MARKER_MAX];
};

static void uploads_free(struct uploads *u)
{
    if (!u)
        return;
    for (size_t i = 0; i < u->n; i++) {
        free(u->items[i].key);
        free(u->items[i].id);
    }
    free(u->items);
    free(u);
}

static void uploads_free_p(struct uploads **u)
{
    uploads_free(*u);
}

static enum amber_rc add_upload(struct uploads *u, struct amber_err *err)
{
    size_t prefix = strlen(u->st->target.prefix);
    struct upload one = {0};

    if (!amber_s3_decode(u->key) || strncmp(u->key, u->st->target.prefix, prefix) != 0)
        return AMBER_OK; /* not ours */
    enum amber_rc rc = amber_grow(&u->items, &u->cap, u->n + 1, sizeof(*u->items), err);
    if (!rc)
        rc = amber_strdup(u->key + prefix, &one.key, err);
    if (!rc)
        rc = amber_strdup(u->id, &one.id, err);
    if (rc)
        free(one.key);
    else
        u->items[u->n++] = one;
    return rc;
}

static enum amber_rc each_text(void *arg, const char *path, char *text, struct amber_err *err)
{
    struct uploads *u = arg;
    static const char root[] = "ListMultipartUploadsResult/";
    const struct {
        const char *path;
        char *out;
        size_t cap;
    } fields[] = {{"Upload/Key", u->key, sizeof(u->key)},
                  {"Upload/UploadId", u->id, sizeof(u->id)},
                  {"NextKeyMarker", u->key_marker, sizeof(u->key_marker)},
                  {"NextUploadIdMarker", u->id_marker, sizeof(u->id_marker)}};

    if (strncmp(path, root, sizeof(root) - 1) != 0)
        return AMBER_OK;
    path += sizeof(root) - 1;
    if (strcmp(path, "Upload") == 0)
        return add_upload(u, err);
    if (strcmp(path, "IsTruncated") == 0)
        u->truncated = strcmp(text, "true") == 0;
    for (size_t i = 0; i < amber_countof(fields); i++)
        if (strcmp(path, fields[i].path) == 0)
            snprintf(fields[i].out, fields[i].cap, "%s", text);
    return AMBER_OK;
}

static enum amber_rc get_page(struct uploads *u, struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf q = AMBER_BUF_INIT(64U * 1024U);
    AMBER_AUTO_BUF struct amber_buf doc = AMBER_BUF_INIT(S3_DOCUMENT_BYTES);
    struct s3_answer a;

    enum amber_rc rc = amber_s3_query(&q, "encoding-type", "url", err);
    if (!rc && u->key_marker[0]) {
        if (!amber_s3_decode(u->key_marker))
            return amber_fail(err, AMBER_E_CORRUPT, "the server's list of uploads doesn't go on");
        rc = amber_s3_query(&q, "key-marker", u->key_marker, err);
    }
    if (!rc)
        rc = amber_s3_query(&q, "prefix", u->st->target.prefix, err);
    if (!rc && u->id_marker[0])
        rc = amber_s3_query(&q, "upload-id-marker", u->id_marker, err);
    if (!rc)
        rc = amber_buf_puts(&q, "&uploads=", err);
    struct s3_call c = {.method = "GET", .query = q.data, .out = &doc};
    if (!rc)
        rc = amber_s3_call(u->st, &c, &a, err);
    u->truncated = false;
    u->key_marker[0] = u->id_marker[0] = '\0';
    return rc ? rc : amber_s3_xml_read(doc.data ? doc.data : "", doc.len, each_text, u, err);
}

enum amber_rc amber_s3_abort_upload(struct s3_store *st, const char *key, const char *upload_id,
                                    struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf q = AMBER_BUF_INIT(4U * MARKER_MAX);
    struct s3_answer a;

    enum amber_rc rc = amber_buf_puts(&q, "uploadId=", err);
    if (!rc)
        rc = amber_s3_encode(&q, upload_id, true, err);
    struct s3_call c = {.method = "DELETE", .key = key, .query = q.data};
    return rc ? rc : amber_s3_call(st, &c, &a, err);
}

enum amber_rc amber_s3_clean_puts(struct amber_store *base,
                                  bool (*is_dead)(void *arg, const char *key), void *arg,
                                  unsigned *out_n, struct amber_err *err)
{
    AMBER_CLEANUP(uploads_free_p) struct uploads *u = NULL;
    enum amber_rc rc = amber_s3_check_writable(amber_s3(base), "", err);

    if (!rc)
        rc = amber_calloc(1, sizeof(*u), &u, err);
    if (rc)
        return rc;
    u->st = amber_s3(base);
    do
        rc = get_page(u, err);
    while (!rc && u->truncated && u->key_marker[0]);
    for (size_t i = 0; !rc && i < u->n; i++) {
        if (!is_dead(arg, u->items[i].key))
            continue;
        rc = amber_s3_abort_upload(u->st, u->items[i].key, u->items[i].id, err);
        if (rc == AMBER_E_NOT_FOUND) /* somebody was faster */
            rc = AMBER_OK;
        else if (!rc)
            ++*out_n;
    }
    return rc;
}
