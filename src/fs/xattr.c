/*
 * xattr.c - user.amber.*: what the manifest says about an archive, as text; of another program's file
 * its codec and stored path.
 *
 * The names are fixed; only asking for a value loads the manifest. user.amber.digest is that of the
 * file it stands on: of the rows, or below .raw of the stored bytes, as sha256sum prints it.
 *
 * Labels and ACLs (security., system.) are not supported, which is more than that there are none:
 * ls -l then asks for them once instead of twice for each file.
 */
#include "mount_priv.h"

#include <errno.h>
#include <stdio.h>

#include "amber/calendar.h"

#define PREFIX "user.amber."

static const char *const names[] = {"table",  "rows",  "start",      "end",
                                    "digest", "codec", "stored_path"};
#define FIRST_FOREIGN 5U /* of these: other programs' files have the last two */

static size_t first_name(const struct node *n)
{
    return n->tree.entry->form == AMBER_TREE_OURS ? 0 : FIRST_FOREIGN;
}

static bool is_archive(const struct node *n)
{
    return n->kind == NODE_ARCHIVE || n->kind == NODE_RAW_ARCHIVE;
}

static enum amber_rc format_value(const struct node *n, const struct archive *a, const char *name,
                                  struct amber_buf *out, struct amber_err *err)
{
    const struct amber_part *part = amber_reader_part(amber_archive_reader(a));
    char text[AMBER_SHA256_HEX > AMBER_DATE_MAX ? AMBER_SHA256_HEX : AMBER_DATE_MAX];
    int64_t start, end;
    amber_archive_days(a, &start, &end);
    if (strcmp(name, "table") == 0)
        return amber_buf_puts(out, amber_archive_table(a), err);
    if (strcmp(name, "rows") == 0)
        return amber_buf_printf(out, err, "%llu", (unsigned long long)part->rows);
    if (strcmp(name, "codec") == 0)
        return amber_buf_puts(out, amber_codec_info(part->codec)->name, err);
    if (strcmp(name, "stored_path") == 0)
        return amber_buf_puts(out, part->key, err);
    if (strcmp(name, "digest") == 0) {
        amber_sha256_hex(n->kind == NODE_ARCHIVE ? &part->raw_sha256 : &part->stored_sha256, text);
        return amber_buf_printf(out, err, "sha256:%s", text);
    }
    amber_date_format(strcmp(name, "start") == 0 ? start : end, text);
    return amber_buf_puts(out, text, err);
}

/* As getxattr: size 0 asks how long the value is. */
static void reply_value(fuse_req_t req, const struct amber_buf *value, size_t size)
{
    if (size == 0)
        fuse_reply_xattr(req, value->len);
    else if (value->len > size)
        fuse_reply_err(req, ERANGE);
    else
        fuse_reply_buf(req, value->data, value->len);
}

struct xattr_call {
    struct store_call call; /* first */
    struct amber_mount *m;
    struct node n; /* its entry lives as long as the tree */
    const char *name;
    size_t size;
    struct archive *a; /* NULL: err says why */
    struct amber_err err;
};

static void xattr_work(struct store_call *call)
{
    struct xattr_call *c = (struct xattr_call *)call;
    if (amber_archive_acquire(c->m, c->n.tree.entry, &c->a, &c->err))
        c->a = NULL;
}

static void xattr_answer(struct store_call *call, fuse_req_t req)
{
    struct xattr_call *c = (struct xattr_call *)call;
    AMBER_AUTO_BUF struct amber_buf value = AMBER_BUF_INIT(4096);
    if (req && !c->a)
        fuse_reply_err(req, amber_read_errno(&c->err));
    else if (req && format_value(&c->n, c->a, c->name, &value, &c->err))
        fuse_reply_err(req, amber_err_errno(&c->err));
    else if (req)
        reply_value(req, &value, c->size);
    if (c->a)
        amber_archive_release(c->m, c->a);
    free(c);
}

static void reply_foreign(fuse_req_t req, const struct amber_tree_entry *e, const char *name,
                          size_t size)
{
    const char *text = strcmp(name, "codec") == 0 ? amber_codec_by_suffix(e->key)->name : e->key;
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_BUF struct amber_buf value = AMBER_BUF_INIT(4096);
    if (amber_buf_puts(&value, text, &err))
        fuse_reply_err(req, amber_err_errno(&err));
    else
        reply_value(req, &value, size);
}

void amber_xattr_get(struct amber_mount *m, fuse_req_t req, const struct node *n, const char *name,
                     size_t size)
{
    const char *known = NULL;
    if (is_archive(n) && strncmp(name, PREFIX, strlen(PREFIX)) == 0)
        for (size_t i = first_name(n); i < amber_countof(names); i++)
            if (strcmp(name + strlen(PREFIX), names[i]) == 0)
                known = names[i];
    if (!known) {
        fuse_reply_err(req, strncmp(name, "user.", 5) == 0 ? ENODATA : EOPNOTSUPP);
        return;
    }
    if (n->tree.entry->form != AMBER_TREE_OURS) {
        reply_foreign(req, n->tree.entry, known, size);
        return;
    }
    struct xattr_call *c = calloc(1, sizeof(*c));
    if (!c) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    c->call = (struct store_call){.work = xattr_work, .answer = xattr_answer};
    c->m = m;
    c->n = *n;
    c->name = known;
    c->size = size;
    amber_store_call(m, &c->call, req);
}

void amber_xattr_list(fuse_req_t req, const struct node *n, size_t size)
{
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_BUF struct amber_buf list = AMBER_BUF_INIT(4096);
    enum amber_rc rc = AMBER_OK;
    for (size_t i = is_archive(n) ? first_name(n) : amber_countof(names);
         !rc && i < amber_countof(names); i++) {
        rc = amber_buf_printf(&list, &err, PREFIX "%s", names[i]);
        if (!rc)
            rc = amber_buf_append(&list, "", 1, &err);
    }
    if (rc)
        fuse_reply_err(req, amber_err_errno(&err));
    else
        reply_value(req, &list, size);
}
