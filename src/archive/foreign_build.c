/*
 * foreign_build.c - what making an index takes, whatever the file's format.
 *
 *     in:   [ ... block_pos .......... pos .... in_len )     stored bytes of the present block, and
 * next out:  [ window ][ 0 ........ n_out )                   its text so far
 *
 * The stored bytes of the present block stay in memory until it is cut, for its digest. Records go
 * to the cache folder as they come, the document last: an index without it is none.
 */
#include "foreign_priv.h"

#include <inttypes.h>

#include "amber/log.h"

#define READ_BYTES (1024U * 1024U)
#define RECORD_LEVEL 1
#define ZEROS_BYTES (64U * 1024U) /* read at a time from a file's end */

/* ---- input ---- */

bool amber_foreign_at_end(const struct foreign_build *b)
{
    return b->in_off + b->in_len == b->end;
}

enum amber_rc amber_foreign_fill(struct foreign_build *b, bool *out_any, struct amber_err *err)
{
    uint64_t left = b->end - b->in_off - b->in_len;

    memmove(b->in, b->in + b->block_pos, b->in_len - b->block_pos);
    b->in_off += b->block_pos;
    b->in_len -= b->block_pos;
    b->pos -= b->block_pos;
    b->block_pos = 0;
    size_t n = FOREIGN_IN_MAX - b->in_len;
    n = n < READ_BYTES ? n : READ_BYTES;
    n = n < left ? n : (size_t)left;
    *out_any = n > 0;
    if (atomic_load(&b->f->stop))
        return amber_fail(err, AMBER_E_CANCELED, "indexing was stopped");
    enum amber_rc rc =
        amber_object_read(b->object, b->in_off + b->in_len, b->in + b->in_len, n, err);
    b->in_len += rc ? 0 : n;
    return rc;
}

void amber_foreign_restart(struct foreign_build *b, uint64_t end)
{
    amber_foreign_drop(b, 0);
    b->windows.len = b->windows_file = 0;
    b->in_off = b->in_len = b->block_pos = b->pos = b->n_out = 0;
    b->end = end;
}

enum amber_rc amber_foreign_zeros(const struct foreign_build *b, uint64_t *out_at,
                                  struct amber_err *err)
{
    AMBER_AUTO_FREE uint8_t *piece = malloc(ZEROS_BYTES);
    uint64_t at = b->part.stored_bytes;
    enum amber_rc rc = piece ? AMBER_OK : amber_fail_nomem(err, "a file's end", ZEROS_BYTES);

    for (bool zeros = true; !rc && zeros && at > 0;) {
        size_t n = at < ZEROS_BYTES ? (size_t)at : ZEROS_BYTES, left = n;
        rc = amber_object_read(b->object, at - n, piece, n, err);
        while (!rc && left > 0 && piece[left - 1] == 0)
            left--;
        at -= n - left;
        zeros = left == 0;
    }
    *out_at = at;
    return rc;
}

/* ---- records ---- */

static enum amber_rc put_record(struct foreign_build *b, const char *name,
                                const struct amber_buf *r, struct amber_err *err)
{
    b->written += amber_cache_dir_room(r->len);
    if (b->written > b->f->disk_bytes)
        return amber_fail(err, AMBER_E_LIMIT,
                          "its index takes more than the %" PRIu64
                          " bytes of ARCHIVAL_CACHE_DISK_BYTES: raise that",
                          b->f->disk_bytes);
    return amber_cache_dir_put(b->dir, name, r->data, r->len, err);
}

static enum amber_rc flush_windows(struct foreign_build *b, struct amber_err *err)
{
    char name[AMBER_CACHE_NAME_MAX];

    if (b->windows.len == 0)
        return AMBER_OK;
    amber_foreign_record_name(b->part.foreign, FOREIGN_WINDOW, b->windows_file * WINDOWS_A_FILE,
                              name);
    enum amber_rc rc = put_record(b, name, &b->windows, err);
    b->windows.len = 0;
    return rc;
}

/* Point and window of the present block, behind the others of their file. */
static enum amber_rc window_record(struct foreign_build *b, const struct amber_gunzip_point *p,
                                   size_t window_len, struct foreign_block *f,
                                   struct amber_err *err)
{
    size_t file = b->part.n_blocks / WINDOWS_A_FILE;
    enum amber_rc rc = file != b->windows_file ? flush_windows(b, err) : AMBER_OK;

    memset(b->record, 0, RECORD_BYTES);
    b->record[0] = (uint8_t)(p->where | p->bit << 3 | (unsigned)p->last << 6);
    b->record[2] = (uint8_t)(p->left & 0xff);
    b->record[3] = (uint8_t)(p->left >> 8);
    b->record[4] = (uint8_t)(window_len & 0xff);
    b->record[5] = (uint8_t)(window_len >> 8);
    memcpy(b->record + 6, p->lens, sizeof(p->lens));
    memcpy(b->record + RECORD_BYTES - window_len, b->out - window_len, window_len);
    b->windows_file = file;
    f->record_off = (uint32_t)b->windows.len;
    if (!rc)
        rc = amber_codec_compress(b->zstd, b->record, RECORD_BYTES, &b->windows, err);
    f->record_len = (uint32_t)(b->windows.len - f->record_off);
    return rc;
}

static enum amber_rc copy_record(struct foreign_build *b, size_t raw_len, struct amber_block *k,
                                 struct foreign_block *f, struct amber_err *err)
{
    b->copy.len = 0;
    enum amber_rc rc = amber_codec_compress(b->zstd, b->out, raw_len, &b->copy, err);

    f->record_len = (uint32_t)b->copy.len;
    return rc ? rc : amber_sha256(b->copy.data, b->copy.len, &k->sha256, err);
}

/* ---- blocks ---- */

static enum amber_rc add_block(struct foreign_build *b, const struct amber_block *k,
                               const struct foreign_block *f, struct amber_err *err)
{
    struct amber_part *p = &b->part;
    enum amber_rc rc =
        amber_grow(&p->blocks, &b->blocks_cap, p->n_blocks + 1, sizeof(*p->blocks), err);

    if (!rc)
        rc = amber_grow(&p->foreign->blocks, &b->foreign_cap, p->n_blocks + 1,
                        sizeof(*p->foreign->blocks), err);
    if (rc)
        return rc;
    p->foreign->blocks[p->n_blocks] = *f;
    p->blocks[p->n_blocks++] = *k;
    p->raw_bytes += k->raw_len;
    return AMBER_OK;
}

enum amber_rc amber_foreign_push(struct foreign_build *b, enum foreign_how how, size_t raw_len,
                                 size_t end, const struct amber_gunzip_point *record,
                                 size_t window_len, struct amber_err *err)
{
    char name[AMBER_CACHE_NAME_MAX];
    struct amber_fast_digest check;
    struct foreign_block f = {.how = how};
    struct amber_block k = {.kind = AMBER_BLOCK_DATA,
                            .stored_off = b->in_off + b->block_pos,
                            .raw_off = b->part.raw_bytes,
                            .raw_len = (uint32_t)raw_len};
    enum amber_rc rc;

    amber_fast_digest(b->out, raw_len, &check);
    f.raw_check = check.lo;
    if (!b->dir) {
        rc = AMBER_OK; /* nothing is kept */
    } else if (how == FOREIGN_COPY) {
        rc = copy_record(b, raw_len, &k, &f, err);
    } else {
        k.stored_len = (uint32_t)(end - b->block_pos);
        rc = amber_sha256(b->in + b->block_pos, k.stored_len, &k.sha256, err);
    }
    if (!rc && how == FOREIGN_WINDOW && b->dir)
        rc = window_record(b, record, window_len, &f, err);
    if (!rc)
        rc = add_block(b, &k, &f, err);
    if (rc || how != FOREIGN_COPY || !b->dir)
        return rc;
    amber_foreign_record_name(b->part.foreign, how, b->part.n_blocks - 1, name);
    return put_record(b, name, &b->copy, err);
}

void amber_foreign_drop(struct foreign_build *b, size_t n)
{
    for (; b->part.n_blocks > n; b->part.n_blocks--)
        b->part.raw_bytes -= b->part.blocks[b->part.n_blocks - 1].raw_len;
}

enum amber_rc amber_foreign_damaged(struct foreign_build *b, size_t at, const char *what,
                                    struct amber_err *err)
{
    struct foreign_block f = {.how = FOREIGN_BAD};
    struct amber_block k = {.kind = AMBER_BLOCK_DATA, .raw_off = b->part.raw_bytes, .raw_len = 1};
    enum amber_rc rc = amber_asprintf(&b->part.foreign->fault, err,
                                      "%s, seen at stored offset %" PRIu64 "; its first %" PRIu64
                                      " bytes of text can be read",
                                      what, b->in_off + at, b->part.raw_bytes);

    return rc ? rc : add_block(b, &k, &f, err);
}

/* ---- all of it ---- */

static void build_clear(struct foreign_build *b)
{
    amber_part_clear(&b->part);
    amber_codec_free(b->zstd);
    amber_buf_clear(&b->copy);
    amber_buf_clear(&b->windows);
    free(b->in);
    free(b->out_mem);
}

static enum amber_rc begin(struct foreign_build *b, const char *key, const char *name,
                           const struct amber_object_info *info, struct amber_err *err)
{
    amber_buf_init(&b->copy, AMBER_BLOCK_STORED_MAX);
    amber_buf_init(&b->windows, WINDOWS_FILE_MAX);
    b->part.codec = amber_codec_by_suffix(key)->kind;
    b->part.stored_bytes = b->end = info->size;
    enum amber_rc rc = amber_calloc(1, sizeof(*b->part.foreign), &b->part.foreign, err);
    if (!rc)
        rc = amber_strdup(key, &b->part.key, err);
    if (!rc)
        rc = amber_codec_new(AMBER_CODEC_ZSTD, RECORD_LEVEL, &b->zstd, err);
    if (rc)
        return rc;
    memcpy(b->part.foreign->name, name, strlen(name) + 1);
    memcpy(b->part.foreign->version, info->version, sizeof(info->version));
    size_t out_bytes = AMBER_GUNZIP_WINDOW + FOREIGN_FRAME_MAX + AMBER_GUNZIP_SLACK;
    b->in = malloc(FOREIGN_IN_MAX);
    b->out_mem = malloc(out_bytes);
    if (!b->in || !b->out_mem)
        return amber_fail_nomem(err, "indexing", FOREIGN_IN_MAX + out_bytes);
    b->out = b->out_mem + AMBER_GUNZIP_WINDOW;
    return AMBER_OK;
}

/* The file must be now what it was when it was opened. */
static enum amber_rc check_unchanged(const struct foreign_build *b, struct amber_err *err)
{
    struct amber_object_info now;
    enum amber_rc rc = amber_store_stat(b->f->store, b->part.key, &now, err);

    if (!rc && strcmp(now.version, b->part.foreign->version) != 0)
        rc = amber_fail(err, AMBER_E_BUSY, "it was changed while it was read: try again later");
    return rc;
}

static enum amber_rc put_document(struct foreign_build *b, struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf doc = AMBER_BUF_INIT(FOREIGN_INDEX_MAX);
    char name[AMBER_CACHE_NAME_MAX];
    enum amber_rc rc = flush_windows(b, err);

    if (!rc)
        rc = amber_foreign_encode(&b->part, &doc, err);
    if (rc)
        return rc;
    memcpy(name, b->part.foreign->name, strlen(b->part.foreign->name) + 1);
    memcpy(name + strlen(name), ".index", sizeof(".index"));
    return put_record(b, name, &doc, err);
}

enum amber_rc amber_foreign_build(struct amber_foreign *f, struct amber_cache_dir *dir,
                                  const char *name, struct amber_object *object,
                                  const struct amber_object_info *info, struct amber_part *out,
                                  uint64_t *out_written, struct amber_err *err)
{
    struct foreign_build b AMBER_CLEANUP(build_clear) = {.f = f, .dir = dir, .object = object};
    enum amber_rc rc = begin(&b, out->key, name, info, err);

    if (!rc)
        rc = b.part.codec == AMBER_CODEC_GZIP ? amber_foreign_gzip(&b, err)
                                              : amber_foreign_zstd(&b, err);
    if (!rc)
        rc = check_unchanged(&b, err);
    if (!rc && dir)
        rc = put_document(&b, err);
    *out_written = b.written;
    if (rc)
        return rc;
    amber_part_clear(out);
    *out = b.part;
    b.part = (struct amber_part){0};
    return AMBER_OK;
}
