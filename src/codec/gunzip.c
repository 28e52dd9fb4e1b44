/*
 * gunzip.c - gzip members around deflate blocks, left and resumed at any symbol.
 *
 *     HEADER -> BLOCK -> STORED or CODED -> BLOCK ... -> TRAILER -> HEADER ...
 *
 * Each step takes all of its input or nothing: what isn't there whole is asked for again, so that
 * between two calls nothing is held back but the bit at which the next step begins. Checksums are
 * by libdeflate.
 */
#include "amber/gunzip.h"

#include <libdeflate.h>
#include <string.h>

#include "amber/mem.h"
#include "codec_priv.h"
#include "inflate_priv.h"

#define FLAG_CRC 0x02U
#define FLAG_EXTRA 0x04U
#define FLAG_NAME 0x08U
#define FLAG_COMMENT 0x10U
#define FLAGS_UNKNOWN 0xe0U

struct amber_gunzip {
    enum amber_gunzip_where where;
    unsigned bit, left;
    bool last;
    bool checked; /* the member was decoded from its start: its checksum can be compared */
    size_t window;
    uint32_t crc, len; /* of the member so far; len modulo 2^32 as in the trailer */
    uint8_t lens[AMBER_GUNZIP_LENS];
    struct inflate_code code;
};

enum amber_rc amber_gunzip_new(struct amber_gunzip **out, struct amber_err *err)
{
    return amber_calloc(1, sizeof(**out), out, err);
}

void amber_gunzip_free(struct amber_gunzip *g)
{
    free(g);
}

void amber_gunzip_start(struct amber_gunzip *g)
{
    g->where = AMBER_GUNZIP_HEADER;
    g->bit = 0;
    g->window = 0;
}

enum amber_rc amber_gunzip_resume(struct amber_gunzip *g, const struct amber_gunzip_point *p,
                                  size_t window_len, struct amber_err *err)
{
    bool sound = p->bit < 8 && p->where <= AMBER_GUNZIP_TRAILER && p->left <= 0xffffU &&
                 window_len <= AMBER_GUNZIP_WINDOW;

    for (size_t i = 0; sound && p->where == AMBER_GUNZIP_CODED && i < AMBER_GUNZIP_LENS; i++)
        sound = p->lens[i] <= 15;
    if (sound && p->where == AMBER_GUNZIP_CODED)
        sound = amber_inflate_code(&g->code, p->lens);
    if (!sound)
        return amber_fail(err, AMBER_E_CORRUPT, "no place in a gzip file is like this");
    g->where = p->where;
    g->bit = p->bit;
    g->last = p->last;
    g->left = p->left;
    g->window = window_len;
    g->checked = false;
    memcpy(g->lens, p->lens, sizeof(g->lens));
    return AMBER_OK;
}

void amber_gunzip_point(const struct amber_gunzip *g, struct amber_gunzip_point *out)
{
    *out = (struct amber_gunzip_point){
        .where = g->where, .bit = g->bit, .last = g->last, .left = g->left};
    if (g->where == AMBER_GUNZIP_CODED)
        memcpy(out->lens, g->lens, sizeof(out->lens));
    if (g->where != AMBER_GUNZIP_STORED)
        out->left = 0;
}

size_t amber_gunzip_window(const struct amber_gunzip *g)
{
    return g->window;
}

/* ---- members ---- */

/* Where the text that begins at p ends, behind its NUL; NULL if it doesn't. */
static const uint8_t *skip_text(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *nul = p < end ? memchr(p, 0, (size_t)(end - p)) : NULL;
    return nul ? nul + 1 : NULL;
}

static enum inflate_result read_header(struct amber_gunzip *g, struct amber_gunzip_io *io)
{
    const uint8_t *p = io->in, *end = io->in_end;
    static const uint8_t magic[] = {0x1f, 0x8b, 8};
    size_t have = (size_t)(end - p);

    if (memcmp(p, magic, have < sizeof(magic) ? have : sizeof(magic)) != 0 ||
        (have > 3 && (p[3] & FLAGS_UNKNOWN)))
        return INFLATE_BAD;
    if (have < 12)
        return INFLATE_INPUT; /* a member has 18 bytes at least */
    unsigned flags = p[3];
    p += 10;
    if (flags & FLAG_EXTRA) {
        size_t extra = 2 + get_le16(p);
        if ((size_t)(end - p) < extra)
            return INFLATE_INPUT;
        p += extra;
    }
    if ((flags & FLAG_NAME) && !(p = skip_text(p, end)))
        return INFLATE_INPUT;
    if ((flags & FLAG_COMMENT) && !(p = skip_text(p, end)))
        return INFLATE_INPUT;
    if (flags & FLAG_CRC) {
        if (end - p < 2)
            return INFLATE_INPUT;
        uint32_t crc = libdeflate_crc32(0, io->in, (size_t)(p - io->in));
        if (get_le16(p) != (crc & 0xffffU))
            return INFLATE_BAD;
        p += 2;
    }
    io->in = p;
    g->where = AMBER_GUNZIP_BLOCK;
    g->bit = 0;
    g->window = 0;
    g->checked = true;
    g->crc = g->len = 0;
    return INFLATE_OK;
}

static enum inflate_result read_trailer(struct amber_gunzip *g, struct amber_gunzip_io *io)
{
    const uint8_t *p = io->in + (g->bit > 0);

    if (io->in_end < p + 8)
        return INFLATE_INPUT;
    if (g->checked && (get_le32(p) != g->crc || get_le32(p + 4) != g->len))
        return INFLATE_BAD;
    io->in = p + 8;
    amber_gunzip_start(g);
    return INFLATE_END;
}

/* ---- blocks ---- */

static enum inflate_result read_stored_header(struct amber_gunzip *g, struct inflate_bits *b)
{
    take_bits(b, b->n % 8);
    if (!amber_bits_need(b, 32))
        return INFLATE_INPUT;
    unsigned len = take_bits(b, 16), check = take_bits(b, 16);
    if (len != (check ^ 0xffffU))
        return INFLATE_BAD;
    g->left = len;
    g->where = AMBER_GUNZIP_STORED;
    return INFLATE_OK;
}

static enum inflate_result read_block(struct amber_gunzip *g, struct amber_gunzip_io *io)
{
    struct inflate_bits b;
    enum inflate_result r = INFLATE_OK;

    amber_bits_begin(&b, io->in, io->in_end, g->bit);
    if (!amber_bits_need(&b, 3))
        return INFLATE_INPUT;
    bool last = take_bits(&b, 1);
    unsigned type = take_bits(&b, 2);
    if (type == 0)
        r = read_stored_header(g, &b);
    else if (type == 1)
        amber_inflate_fixed_lens(g->lens);
    else if (type == 2)
        r = amber_inflate_lens(&b, g->lens);
    if (r == INFLATE_OK && type > 0)
        r = type < 3 && amber_inflate_code(&g->code, g->lens) ? INFLATE_OK : INFLATE_BAD;
    if (r != INFLATE_OK)
        return r;
    if (type > 0)
        g->where = AMBER_GUNZIP_CODED;
    g->last = last;
    io->in = amber_bits_end(&b, &g->bit);
    return INFLATE_OK;
}

static void end_block(struct amber_gunzip *g)
{
    g->where = g->last ? AMBER_GUNZIP_TRAILER : AMBER_GUNZIP_BLOCK;
}

static enum inflate_result copy_stored(struct amber_gunzip *g, struct amber_gunzip_io *io)
{
    size_t n = g->left, have = (size_t)(io->in_end - io->in), room = (size_t)(io->limit - io->out);

    n = n < have ? n : have;
    n = n < room ? n : room;
    memcpy(io->out, io->in, n);
    io->in += n;
    io->out += n;
    g->left -= (unsigned)n;
    if (g->left > 0)
        return n == room ? INFLATE_FULL : INFLATE_INPUT;
    end_block(g);
    return INFLATE_OK;
}

static enum inflate_result read_symbols(struct amber_gunzip *g, struct amber_gunzip_io *io,
                                        const uint8_t *first)
{
    struct inflate_bits b;

    amber_bits_begin(&b, io->in, io->in_end, g->bit);
    enum inflate_result r = amber_inflate_symbols(&g->code, &b, first, &io->out, io->limit);
    io->in = amber_bits_end(&b, &g->bit);
    if (r != INFLATE_END)
        return r;
    end_block(g);
    return INFLATE_OK;
}

/* ---- all together ---- */

/* Count what was written since from into checksum and window. */
static void account(struct amber_gunzip *g, const uint8_t *from, const uint8_t *to)
{
    size_t n = (size_t)(to - from);

    if (g->checked)
        g->crc = libdeflate_crc32(g->crc, from, n);
    g->len += (uint32_t)n;
    g->window = g->window + n < AMBER_GUNZIP_WINDOW ? g->window + n : AMBER_GUNZIP_WINDOW;
}

static enum inflate_result step(struct amber_gunzip *g, struct amber_gunzip_io *io)
{
    uint8_t *from = io->out;
    enum inflate_result r = INFLATE_BAD;

    switch (g->where) {
    case AMBER_GUNZIP_HEADER:
        return read_header(g, io);
    case AMBER_GUNZIP_BLOCK:
        return read_block(g, io);
    case AMBER_GUNZIP_TRAILER:
        return read_trailer(g, io);
    case AMBER_GUNZIP_STORED:
        r = copy_stored(g, io);
        break;
    case AMBER_GUNZIP_CODED:
        r = read_symbols(g, io, io->out - g->window);
        break;
    }
    account(g, from, io->out);
    return r;
}

static enum amber_rc fail_bad(const struct amber_gunzip *g, struct amber_err *err)
{
    static const char *const what[] = {
        [AMBER_GUNZIP_HEADER] = "this is no gzip member's header",
        [AMBER_GUNZIP_BLOCK] = "this is no deflate block's header",
        [AMBER_GUNZIP_STORED] = "this is no stored block",
        [AMBER_GUNZIP_CODED] = "the deflate block isn't sound",
        [AMBER_GUNZIP_TRAILER] = "the gzip member's checksum or length differs",
    };

    return amber_fail(err, AMBER_E_CORRUPT, "%s", what[g->where]);
}

enum amber_rc amber_gunzip_run(struct amber_gunzip *g, struct amber_gunzip_io *io,
                               enum amber_gunzip_stop *out_stop, struct amber_err *err)
{
    for (;;) {
        if (io->out >= io->limit) {
            *out_stop = AMBER_GUNZIP_FULL;
            return AMBER_OK;
        }
        switch (step(g, io)) {
        case INFLATE_OK:
        case INFLATE_FULL:
            break;
        case INFLATE_INPUT:
            *out_stop = AMBER_GUNZIP_NEEDS_INPUT;
            return AMBER_OK;
        case INFLATE_END:
            *out_stop = AMBER_GUNZIP_MEMBER_END;
            return AMBER_OK;
        case INFLATE_BAD:
            return fail_bad(g, err);
        }
    }
}
