/*
 * codec.c - the list of codecs, and the checks that are the same for all of them.
 *
 * Every call goes through here: ranges are checked before a library sees a length, a failed call
 * leaves the output buffer as it was (a failed scan leaves it empty), and a header's meta carries
 * its SHA-256, since neither gzip's extra field nor zstd's skippable frame has a checksum:
 *
 *     payload of a header unit = SHA-256 of meta (32 bytes) | meta
 */
#include "amber/codec.h"

#include "amber/digest.h"

#include "codec_priv.h"

#define META_MAX (AMBER_BLOCK_MAX - sizeof(struct amber_sha256))

static const struct codec_ops *const codecs[AMBER_CODEC_COUNT] = {
    [AMBER_CODEC_NONE] = &amber_codec_none_ops,
    [AMBER_CODEC_GZIP] = &amber_codec_gzip_ops,
    [AMBER_CODEC_ZSTD] = &amber_codec_zstd_ops,
};

const struct amber_codec_info *amber_codec_info(enum amber_codec_kind kind)
{
    return &codecs[kind]->info;
}

const struct amber_codec_info *amber_codec_by_name(const char *name)
{
    for (size_t i = 0; i < amber_countof(codecs); i++)
        if (strcmp(codecs[i]->info.name, name) == 0)
            return &codecs[i]->info;
    return NULL;
}

const struct amber_codec_info *amber_codec_by_suffix(const char *file_name)
{
    size_t len = strlen(file_name);

    for (size_t i = 0; i < amber_countof(codecs); i++) {
        const char *suffix = codecs[i]->info.suffix;
        size_t n = strlen(suffix);
        if (n > 0 && len > n && file_name[len - n - 1] != '/' &&
            strcmp(file_name + len - n, suffix) == 0)
            return &codecs[i]->info;
    }
    return &amber_codec_none_ops.info;
}

enum amber_rc amber_codec_new(enum amber_codec_kind kind, int level, struct amber_codec **out,
                              struct amber_err *err)
{
    const struct codec_ops *ops = codecs[kind];
    struct amber_codec *c;

    if (level < ops->info.level_min || level > ops->info.level_max)
        return amber_fail(err, AMBER_E_INVALID, "compression level %d: %s has levels %d to %d",
                          level, ops->info.name, ops->info.level_min, ops->info.level_max);
    enum amber_rc rc = amber_calloc(1, ops->state_bytes, &c, err);
    if (rc)
        return rc;
    c->ops = ops;
    c->level = level;
    *out = c;
    return AMBER_OK;
}

void amber_codec_free(struct amber_codec *c)
{
    if (!c)
        return;
    if (c->ops->clear)
        c->ops->clear(c);
    free(c);
}

void amber_codec_trust(struct amber_codec *c)
{
    c->trusted = true;
}

/* Take back what a failed call has appended. */
static enum amber_rc finish(enum amber_rc rc, struct amber_buf *out, size_t len_before)
{
    if (rc && out->data) {
        out->len = len_before;
        out->data[len_before] = '\0';
    }
    return rc;
}

enum amber_rc amber_codec_header(struct amber_codec *c, const void *meta, size_t len,
                                 struct amber_buf *out, struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf payload = AMBER_BUF_INIT(AMBER_BLOCK_MAX);
    struct amber_sha256 digest;
    size_t before = out->len;

    if (len == 0 || !c->ops->header)
        return AMBER_OK;
    if (len > META_MAX)
        return amber_fail(err, AMBER_E_LIMIT,
                          "the archive's own description has %zu bytes, the limit is %zu", len,
                          META_MAX);
    enum amber_rc rc = amber_sha256(meta, len, &digest, err);
    if (!rc)
        rc = amber_buf_append(&payload, digest.b, sizeof(digest.b), err);
    if (!rc)
        rc = amber_buf_append(&payload, meta, len, err);
    if (!rc)
        rc = c->ops->header(c, (const uint8_t *)payload.data, payload.len, out, err);
    return finish(rc, out, before);
}

enum amber_rc amber_codec_compress(struct amber_codec *c, const void *raw, size_t len,
                                   struct amber_buf *out, struct amber_err *err)
{
    size_t before = out->len;

    if (len == 0)
        return amber_fail(err, AMBER_E_INVALID, "a block of 0 bytes can't be stored");
    if (len > AMBER_BLOCK_MAX)
        return amber_fail(err, AMBER_E_LIMIT, "a block of %zu bytes: the limit is %u", len,
                          AMBER_BLOCK_MAX);
    return finish(c->ops->compress(c, raw, len, out, err), out, before);
}

enum amber_rc amber_codec_trailer(struct amber_codec *c, const struct amber_unit_lens *units,
                                  size_t n_units, struct amber_buf *out, struct amber_err *err)
{
    size_t before = out->len;

    if (!c->ops->trailer)
        return AMBER_OK;
    return finish(c->ops->trailer(c, units, n_units, out, err), out, before);
}

enum amber_rc amber_codec_decompress(struct amber_codec *c, const void *stored, size_t stored_len,
                                     void *raw, size_t raw_len, struct amber_err *err)
{
    if (raw_len == 0 || raw_len > AMBER_BLOCK_MAX || stored_len > AMBER_BLOCK_STORED_MAX)
        return amber_fail(err, AMBER_E_CORRUPT,
                          "a block of %zu stored and %zu raw bytes: a block has 1 to %u raw bytes "
                          "and at most %u stored ones",
                          stored_len, raw_len, AMBER_BLOCK_MAX, AMBER_BLOCK_STORED_MAX);
    return c->ops->decompress(c, stored, stored_len, raw, raw_len, err);
}

/* Replace a header's payload by the meta in it. */
static enum amber_rc unwrap_meta(struct amber_buf *out, struct amber_err *err)
{
    struct amber_sha256 want, is;

    if (out->len < sizeof(want.b))
        return amber_fail(err, AMBER_E_CORRUPT, "the header unit has %zu bytes, it needs %zu",
                          out->len, sizeof(want.b));
    memcpy(want.b, out->data, sizeof(want.b));
    size_t len = out->len - sizeof(want.b);
    enum amber_rc rc = amber_sha256(out->data + sizeof(want.b), len, &is, err);
    if (rc)
        return rc;
    if (!amber_sha256_equal(&want, &is))
        return amber_fail(err, AMBER_E_CORRUPT,
                          "the header unit's %zu bytes don't match their digest", len);
    memmove(out->data, out->data + sizeof(want.b), len);
    out->len = len;
    return AMBER_OK;
}

enum amber_rc amber_codec_scan(struct amber_codec *c, const void *stored, size_t len,
                               struct amber_scanned *out_unit, struct amber_buf *out,
                               struct amber_err *err)
{
    size_t room = out->max < AMBER_BLOCK_MAX ? out->max : AMBER_BLOCK_MAX;
    struct amber_scanned unit = {0};

    if (len == 0)
        return amber_fail(err, AMBER_E_INVALID, "there is no unit in 0 bytes");
    out->len = 0;
    enum amber_rc rc = amber_buf_reserve(out, room, err);
    if (!rc)
        rc = c->ops->scan(c, stored, len, room, &unit, out, err);
    if (!rc && unit.type == AMBER_UNIT_HEADER)
        rc = unwrap_meta(out, err);
    if (rc)
        return finish(rc, out, 0);
    out->data[out->len] = '\0';
    *out_unit = unit;
    return AMBER_OK;
}
