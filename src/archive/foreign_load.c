/*
 * foreign_load.c - one block of another program's file: stored bytes, digest, decoding from where
 * the index says, and the digest of the text, since record and decoder had a part in it.
 *
 * The cache folder may lose a record at any time. Then the index is made anew, once, which gives
 * the same blocks, since the object is still the one that was indexed.
 */
#include "foreign_priv.h"

#include <inttypes.h>

#include "amber/unzstd.h"

struct foreign_scratch {
    struct amber_gunzip *gunzip; /* owned; each made when first needed */
    struct amber_unzstd *unzstd;
    struct amber_codec *zstd;
    uint8_t *out_mem;        /* window, text, slack */
    struct amber_buf record; /* as it lies in its file, which may hold others */
    uint8_t window[RECORD_BYTES];
};

void amber_foreign_scratch_free(struct foreign_scratch *s)
{
    if (!s)
        return;
    amber_gunzip_free(s->gunzip);
    amber_unzstd_free(s->unzstd);
    amber_codec_free(s->zstd);
    amber_buf_clear(&s->record);
    free(s->out_mem);
    free(s);
}

static enum amber_rc need_scratch(struct block_scratch *s, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    if (s->foreign)
        return AMBER_OK;
    rc = amber_calloc(1, sizeof(*s->foreign), &s->foreign, err);
    if (!rc)
        amber_buf_init(&s->foreign->record, AMBER_BLOCK_STORED_MAX);
    if (!rc)
        rc = amber_codec_new(AMBER_CODEC_ZSTD, 1, &s->foreign->zstd, err);
    return rc;
}

/* ---- records ---- */

static enum amber_rc get_record(struct foreign_scratch *s, const struct amber_part *p, size_t i,
                                const char **out, struct amber_err *err)
{
    const struct foreign_block *f = &p->foreign->blocks[i];
    char name[AMBER_CACHE_NAME_MAX];
    struct amber_cache_dir *dir;
    enum amber_rc rc = amber_foreign_dir(p->foreign->engine, &dir, err);

    s->record.len = 0;
    amber_foreign_record_name(p->foreign, f->how, i, name);
    if (!rc)
        rc = amber_cache_dir_get(dir, name, &s->record, err);
    if (!rc && s->record.len < (size_t)f->record_off + f->record_len)
        rc = amber_fail(err, AMBER_E_NOT_FOUND, "%s was cut", name);
    if (!rc)
        *out = s->record.data + f->record_off;
    return rc;
}

/* ---- gzip ---- */

static enum amber_rc resume(struct foreign_scratch *s, const struct amber_part *p, size_t i,
                            uint8_t *out, struct amber_err *err)
{
    const struct foreign_block *f = &p->foreign->blocks[i];
    const uint8_t *w = s->window;
    const char *record;

    if (f->how == FOREIGN_START) {
        amber_gunzip_start(s->gunzip);
        return AMBER_OK;
    }
    enum amber_rc rc = get_record(s, p, i, &record, err);
    if (!rc)
        rc = amber_codec_decompress(s->zstd, record, f->record_len, s->window, RECORD_BYTES, err);
    size_t len = w[4] | (size_t)w[5] << 8;
    if (!rc && len > AMBER_GUNZIP_WINDOW)
        rc = amber_fail(err, AMBER_E_CORRUPT, "a record's window has %zu bytes", len);
    if (rc)
        return rc;
    struct amber_gunzip_point point = {.where = (enum amber_gunzip_where)(w[0] & 7),
                                       .bit = w[0] >> 3 & 7U,
                                       .last = w[0] >> 6 & 1,
                                       .left = w[2] | (unsigned)w[3] << 8};
    memcpy(point.lens, w + 6, sizeof(point.lens));
    memcpy(out - len, w + RECORD_BYTES - len, len);
    return amber_gunzip_resume(s->gunzip, &point, len, err);
}

static enum amber_rc decode_gzip(struct foreign_scratch *s, const struct amber_part *p, size_t i,
                                 const uint8_t *stored, void *raw, struct amber_err *err)
{
    const struct amber_block *b = &p->blocks[i];
    enum amber_gunzip_stop stop = AMBER_GUNZIP_MEMBER_END;
    enum amber_rc rc = AMBER_OK;

    if (!s->gunzip)
        rc = amber_gunzip_new(&s->gunzip, err);
    if (!rc && !s->out_mem) {
        size_t room = AMBER_GUNZIP_WINDOW + AMBER_BLOCK_MAX + AMBER_GUNZIP_SLACK;
        s->out_mem = malloc(room);
        rc = s->out_mem ? AMBER_OK : amber_fail_nomem(err, "a block", room);
    }
    if (rc)
        return rc;
    uint8_t *out = s->out_mem + AMBER_GUNZIP_WINDOW;
    struct amber_gunzip_io io = {
        .in = stored, .in_end = stored + b->stored_len, .out = out, .limit = out + b->raw_len};
    rc = resume(s, p, i, out, err);
    while (!rc && stop == AMBER_GUNZIP_MEMBER_END)
        rc = amber_gunzip_run(s->gunzip, &io, &stop, err);
    if (!rc && stop != AMBER_GUNZIP_FULL)
        rc = amber_fail(err, AMBER_E_CORRUPT, "it ends after %zu of %" PRIu32 " bytes",
                        (size_t)(io.out - out), b->raw_len);
    if (!rc)
        memcpy(raw, out, b->raw_len);
    return rc;
}

/* ---- zstd ---- */

static enum amber_rc decode_zstd(struct foreign_scratch *s, const struct amber_part *p, size_t i,
                                 const uint8_t *stored, uint8_t *raw, struct amber_err *err)
{
    const struct amber_block *b = &p->blocks[i];
    struct amber_unzstd_io io = {
        .in = stored, .in_end = stored + b->stored_len, .out = raw, .limit = raw + b->raw_len};
    enum amber_unzstd_stop stop = AMBER_UNZSTD_FRAME_END;
    enum amber_rc rc = AMBER_OK;

    if (!s->unzstd)
        rc = amber_unzstd_new(p->foreign->engine->memory_bytes, &s->unzstd, err);
    if (!rc)
        amber_unzstd_start(s->unzstd);
    while (!rc && io.out < io.limit && stop == AMBER_UNZSTD_FRAME_END && io.in < io.in_end)
        rc = amber_unzstd_run(s->unzstd, &io, &stop, err);
    if (!rc && io.out < io.limit)
        rc = amber_fail(err, AMBER_E_CORRUPT, "it ends after %zu of %" PRIu32 " bytes",
                        (size_t)(io.out - raw), b->raw_len);
    return rc;
}

static enum amber_rc load_copy(struct foreign_scratch *s, const struct amber_part *p, size_t i,
                               void *raw, struct amber_err *err)
{
    struct amber_sha256 found;
    const char *record;
    size_t len = p->foreign->blocks[i].record_len;
    enum amber_rc rc = get_record(s, p, i, &record, err);

    if (!rc)
        rc = amber_sha256(record, len, &found, err);
    if (!rc && !amber_sha256_equal(&found, &p->blocks[i].sha256))
        rc = amber_fail(err, AMBER_E_CORRUPT, "its copy is damaged");
    return rc ? rc : amber_codec_decompress(s->zstd, record, len, raw, p->blocks[i].raw_len, err);
}

/* ---- a block ---- */

static enum amber_rc decode(struct block_scratch *s, const struct amber_part *p, size_t i,
                            void *raw, struct amber_err *err)
{
    const uint8_t *stored = (const uint8_t *)s->stored;
    struct amber_fast_digest check;
    enum amber_rc rc;

    if (p->foreign->blocks[i].how == FOREIGN_COPY)
        rc = load_copy(s->foreign, p, i, raw, err);
    else if (p->codec == AMBER_CODEC_GZIP)
        rc = decode_gzip(s->foreign, p, i, stored, raw, err);
    else
        rc = decode_zstd(s->foreign, p, i, stored, raw, err);
    if (rc)
        return rc;
    amber_fast_digest(raw, p->blocks[i].raw_len, &check);
    if (check.lo != p->foreign->blocks[i].raw_check)
        return amber_fail(err, AMBER_E_CORRUPT, "its text is not what was indexed");
    return AMBER_OK;
}

enum amber_rc amber_foreign_load(struct block_scratch *s, struct block_source *source,
                                 const struct amber_part *p, size_t i, void *raw,
                                 struct amber_err *err)
{
    const struct amber_block *b = &p->blocks[i];
    struct amber_err why = AMBER_ERR_INIT;
    enum amber_rc rc = need_scratch(s, err);

    if (!rc && p->foreign->blocks[i].how == FOREIGN_BAD)
        rc = amber_fail(err, AMBER_E_CORRUPT, "%s: %s", p->key, p->foreign->fault);
    if (!rc && b->stored_len > 0)
        rc = amber_block_scratch_room(s, b->stored_len, err);
    if (!rc && b->stored_len > 0)
        rc = amber_source_fetch(source, i, s->stored, err);
    if (rc || decode(s, p, i, raw, &why) == AMBER_OK)
        return rc;
    /* The stored bytes are right, so what the cache folder has isn't. */
    rc = amber_foreign_again(p, err);
    if (!rc)
        rc = decode(s, p, i, raw, err);
    return rc ? amber_wrap(err, "%s: block %zu (%s)", p->key, i, why.text) : AMBER_OK;
}
