/*
 * codec_gzip.c - blocks as independent gzip members (RFC 1952), by libdeflate.
 *
 * A block is one member. A header is one or more members that decode to nothing, each with an
 * extra field of one 'AM' subfield, since an extra field holds 64 KiB at most:
 *
 *     1f 8b 08 04  mtime 0 (4)  00 ff | XLEN (2) | 'A' 'M' LEN (2) | part (2) of (2) payload...
 *     03 00 (empty deflate stream)  CRC-32 0 (4)  ISIZE 0 (4)
 *
 * part counts from 0; all numbers are little-endian. libdeflate only works on whole members, which
 * is all that a block ever is, and is twice as fast as zlib for that.
 */
#include <libdeflate.h>

#include "codec_priv.h"

#define MEMBER_HEAD 10    /* fixed bytes at the start of a member */
#define MEMBER_TAIL 8     /* CRC-32, ISIZE */
#define PART_HEAD 8       /* subfield's id and length, part, number of parts */
#define EMPTY_TAIL 10     /* empty deflate stream, CRC-32, ISIZE */
#define PART_BYTES 60000U /* payload of one header member */
#define FLAG_EXTRA 4

struct gzip_codec {
    struct amber_codec base;
    struct libdeflate_compressor *compressor;
    struct libdeflate_decompressor *decompressor;
};

static void gzip_clear(struct amber_codec *c)
{
    struct gzip_codec *g = (struct gzip_codec *)c;

    libdeflate_free_compressor(g->compressor);
    libdeflate_free_decompressor(g->decompressor);
}

static enum amber_rc need_compressor(struct gzip_codec *g, struct amber_err *err)
{
    if (!g->compressor)
        g->compressor = libdeflate_alloc_compressor(g->base.level);
    if (!g->compressor)
        return amber_fail(err, AMBER_E_NOMEM, "out of memory for a gzip compressor");
    return AMBER_OK;
}

static enum amber_rc need_decompressor(struct gzip_codec *g, struct amber_err *err)
{
    if (!g->decompressor)
        g->decompressor = libdeflate_alloc_decompressor();
    if (!g->decompressor)
        return amber_fail(err, AMBER_E_NOMEM, "out of memory for a gzip decompressor");
    return AMBER_OK;
}

static enum amber_rc append_part(const uint8_t *data, size_t len, unsigned part, unsigned n_parts,
                                 struct amber_buf *out, struct amber_err *err)
{
    static const uint8_t empty_tail[EMPTY_TAIL] = {0x03, 0x00};
    uint8_t head[MEMBER_HEAD + 2 + PART_HEAD] = {0x1f, 0x8b, 8, FLAG_EXTRA, 0, 0, 0, 0, 0, 0xff};
    uint8_t *p = head + MEMBER_HEAD;

    put_le16(p, (unsigned)len + PART_HEAD);
    p[2] = 'A';
    p[3] = 'M';
    put_le16(p + 4, (unsigned)len + 4);
    put_le16(p + 6, part);
    put_le16(p + 8, n_parts);
    enum amber_rc rc = amber_buf_append(out, head, sizeof(head), err);
    if (!rc)
        rc = amber_buf_append(out, data, len, err);
    if (!rc)
        rc = amber_buf_append(out, empty_tail, sizeof(empty_tail), err);
    return rc;
}

static enum amber_rc gzip_header(struct amber_codec *c, const uint8_t *payload, size_t len,
                                 struct amber_buf *out, struct amber_err *err)
{
    unsigned n_parts = (unsigned)((len + PART_BYTES - 1) / PART_BYTES);
    enum amber_rc rc = AMBER_OK;

    (void)c;
    for (unsigned i = 0; i < n_parts && !rc; i++) {
        size_t off = (size_t)i * PART_BYTES;
        size_t n = len - off < PART_BYTES ? len - off : PART_BYTES;
        rc = append_part(payload + off, n, i, n_parts, out, err);
    }
    return rc;
}

static enum amber_rc gzip_compress(struct amber_codec *c, const void *raw, size_t len,
                                   struct amber_buf *out, struct amber_err *err)
{
    struct gzip_codec *g = (struct gzip_codec *)c;
    enum amber_rc rc = need_compressor(g, err);

    if (rc)
        return rc;
    size_t room = libdeflate_gzip_compress_bound(g->compressor, len);
    rc = amber_buf_reserve(out, room, err);
    if (rc)
        return rc;
    size_t n = libdeflate_gzip_compress(g->compressor, raw, len, out->data + out->len, room);
    if (n == 0)
        return amber_fail(err, AMBER_E_LIMIT, "%zu bytes don't fit into %zu bytes of gzip", len,
                          room);
    out->len += n;
    out->data[out->len] = '\0';
    return AMBER_OK;
}

/* As libdeflate_gzip_decompress_ex, which computes the CRC-32 of the text, without it where the
 * stored bytes are trusted and the member has the plain head that ours have. */
static enum libdeflate_result inflate_member(const struct gzip_codec *g, const uint8_t *p,
                                             size_t len, void *raw, size_t raw_len, size_t *out_in,
                                             size_t *out_out)
{
    static const uint8_t plain_head[] = {0x1f, 0x8b, 8, 0};

    if (!g->base.trusted || len < MEMBER_HEAD + MEMBER_TAIL ||
        memcmp(p, plain_head, sizeof(plain_head)) != 0)
        return libdeflate_gzip_decompress_ex(g->decompressor, p, len, raw, raw_len, out_in,
                                             out_out);
    enum libdeflate_result r = libdeflate_deflate_decompress_ex(g->decompressor, p + MEMBER_HEAD,
                                                                len - MEMBER_HEAD - MEMBER_TAIL,
                                                                raw, raw_len, out_in, out_out);
    *out_in += MEMBER_HEAD + MEMBER_TAIL;
    return r;
}

static enum amber_rc gzip_decompress(struct amber_codec *c, const void *stored, size_t stored_len,
                                     void *raw, size_t raw_len, struct amber_err *err)
{
    struct gzip_codec *g = (struct gzip_codec *)c;
    enum amber_rc rc = need_decompressor(g, err);
    size_t n_in = 0, n_out = 0;

    if (rc)
        return rc;
    switch (inflate_member(g, stored, stored_len, raw, raw_len, &n_in, &n_out)) {
    case LIBDEFLATE_SUCCESS:
        break;
    case LIBDEFLATE_BAD_DATA:
    case LIBDEFLATE_SHORT_OUTPUT:
        return amber_fail(err, AMBER_E_CORRUPT,
                          "%zu stored bytes are not a sound gzip member: damaged or cut off",
                          stored_len);
    case LIBDEFLATE_INSUFFICIENT_SPACE:
        return amber_fail(err, AMBER_E_CORRUPT, "a gzip member decodes to more than %zu bytes",
                          raw_len);
    }
    if (n_in != stored_len || n_out != raw_len)
        return amber_fail(err, AMBER_E_CORRUPT,
                          "a gzip member has %zu stored and %zu raw bytes, %zu and %zu were "
                          "expected",
                          n_in, n_out, stored_len, raw_len);
    return AMBER_OK;
}

/* Whether a member of ours starts here: its extra field is one 'AM' subfield. */
static bool is_part(const uint8_t *p, size_t len)
{
    return len >= MEMBER_HEAD + 2 + PART_HEAD && p[0] == 0x1f && p[1] == 0x8b && p[2] == 8 &&
           p[3] == FLAG_EXTRA && p[12] == 'A' && p[13] == 'M' &&
           get_le16(p + 10) == get_le16(p + 14) + 4U && get_le16(p + 14) >= 4;
}

static enum amber_rc fail_header(struct amber_err *err, unsigned part)
{
    return amber_fail(err, AMBER_E_CORRUPT, "part %u of the gzip header is damaged or cut off",
                      part);
}

/* Gather the payload from the header's members. */
static enum amber_rc scan_header(const uint8_t *stored, size_t len, struct amber_scanned *unit,
                                 struct amber_buf *out, struct amber_err *err)
{
    static const uint8_t empty_tail[EMPTY_TAIL] = {0x03, 0x00};
    const uint8_t *p = stored;
    unsigned n_parts = get_le16(stored + 18);

    for (unsigned i = 0; i < n_parts; i++) {
        size_t left = len - (size_t)(p - stored);
        if (!is_part(p, left) || get_le16(p + 16) != i || get_le16(p + 18) != n_parts)
            return fail_header(err, i);
        size_t n = get_le16(p + 14) - 4U, head = MEMBER_HEAD + 2 + PART_HEAD;
        if (left < head + n + EMPTY_TAIL || memcmp(p + head + n, empty_tail, EMPTY_TAIL) != 0)
            return fail_header(err, i);
        enum amber_rc rc = amber_buf_append(out, p + head, n, err);
        if (rc)
            return rc;
        p += head + n + EMPTY_TAIL;
    }
    if (n_parts == 0)
        return fail_header(err, 0);
    unit->type = AMBER_UNIT_HEADER;
    unit->stored_len = (size_t)(p - stored);
    return AMBER_OK;
}

static enum amber_rc gzip_scan(struct amber_codec *c, const uint8_t *stored, size_t len,
                               size_t room, struct amber_scanned *unit, struct amber_buf *out,
                               struct amber_err *err)
{
    struct gzip_codec *g = (struct gzip_codec *)c;
    size_t n_in = 0, n_out = 0;

    if (is_part(stored, len))
        return scan_header(stored, len, unit, out, err);
    if (stored[0] == 0) {
        /* Tapes and block devices pad with zeros, which gunzip accepts too. */
        unit->type = AMBER_UNIT_OTHER;
        while (unit->stored_len < len && stored[unit->stored_len] == 0)
            unit->stored_len++;
        return AMBER_OK;
    }
    enum amber_rc rc = need_decompressor(g, err);
    if (rc)
        return rc;
    switch (libdeflate_gzip_decompress_ex(g->decompressor, stored, len, out->data, room, &n_in,
                                          &n_out)) {
    case LIBDEFLATE_SUCCESS:
        break;
    case LIBDEFLATE_BAD_DATA:
    case LIBDEFLATE_SHORT_OUTPUT:
        return amber_fail(err, AMBER_E_CORRUPT, "no sound gzip member here: damaged or cut off");
    case LIBDEFLATE_INSUFFICIENT_SPACE:
        return amber_fail(err, AMBER_E_LIMIT,
                          "a gzip member decodes to more than the %zu bytes of a block", room);
    }
    unit->type = n_out > 0 ? AMBER_UNIT_BLOCK : AMBER_UNIT_OTHER;
    unit->stored_len = n_in;
    out->len = n_out;
    return AMBER_OK;
}

const struct codec_ops amber_codec_gzip_ops = {
    .info = {.kind = AMBER_CODEC_GZIP,
             .name = "gzip",
             .suffix = ".gz",
             .level_min = 1,
             .level_max = 12,
             .level_default = 6},
    .state_bytes = sizeof(struct gzip_codec),
    .clear = gzip_clear,
    .header = gzip_header,
    .compress = gzip_compress,
    .decompress = gzip_decompress,
    .scan = gzip_scan,
};
