/*
 * block.c - one block of a part: finding it, reading it, checking it, decoding it.
 *
 * The digest of the stored bytes is compared before the decoder sees them: integrity at a tenth
 * of the bytes, and a decoder that never meets unverified input. Errors name key, block and
 * stored offset here, once for the reader, the proof and verify.
 */
#include "block_priv.h"

#include <inttypes.h>

#include "foreign_priv.h"

enum amber_rc amber_block_scratch_new(struct block_scratch **out, struct amber_err *err)
{
    return amber_calloc(1, sizeof(**out), out, err);
}

void amber_block_scratch_free(struct block_scratch *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < amber_countof(s->codecs); i++)
        amber_codec_free(s->codecs[i]);
    amber_foreign_scratch_free(s->foreign);
    free(s->stored);
    free(s);
}

enum amber_rc amber_block_scratch_room(struct block_scratch *s, size_t len, struct amber_err *err)
{
    if (len <= s->stored_cap)
        return AMBER_OK;
    /* Contents aren't kept, so no realloc. A little more, since blocks differ by a little. */
    size_t cap = len + len / 8;
    char *mem = malloc(cap);
    if (!mem)
        return amber_fail_nomem(err, "a stored block", cap);
    free(s->stored);
    s->stored = mem;
    s->stored_cap = cap;
    return AMBER_OK;
}

size_t amber_block_at_raw(const struct amber_part *p, uint64_t off)
{
    size_t lo = 0, hi = p->n_blocks;

    /* The first block that ends behind off; empty ones (header, trailer) never do so first. */
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (p->blocks[mid].raw_off + p->blocks[mid].raw_len > off)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

size_t amber_block_at_stored(const struct amber_part *p, uint64_t off)
{
    size_t lo = 0, hi = p->n_blocks;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (p->blocks[mid].stored_off + p->blocks[mid].stored_len > off)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

static enum amber_rc wrap_block(const struct amber_part *p, size_t i, struct amber_err *err)
{
    return amber_wrap(err, "%s: block %zu at stored offset %" PRIu64, p->key, i,
                      p->blocks[i].stored_off);
}

enum amber_rc amber_block_fetch(struct amber_object *o, const struct amber_part *p, size_t i,
                                void *buf, struct amber_err *err)
{
    const struct amber_block *b = &p->blocks[i];
    struct amber_sha256 found;
    enum amber_rc rc = amber_object_read(o, b->stored_off, buf, b->stored_len, err);

    if (!rc)
        rc = amber_sha256(buf, b->stored_len, &found, err);
    if (!rc && !amber_sha256_equal(&found, &b->sha256)) {
        char want[AMBER_SHA256_HEX], is[AMBER_SHA256_HEX];
        amber_sha256_hex(&b->sha256, want);
        amber_sha256_hex(&found, is);
        rc = amber_fail(err, AMBER_E_CORRUPT,
                        "its %" PRIu32 " bytes have SHA-256 %.16s..., the %s says %.16s...: "
                        "the archive is damaged%s, restore it from a copy",
                        b->stored_len, is, p->foreign ? "index" : "manifest", want,
                        p->foreign ? " or was changed since it was opened" : "");
    }
    return rc ? wrap_block(p, i, err) : AMBER_OK;
}

enum amber_rc amber_block_decode(struct block_scratch *s, const struct amber_part *p, size_t i,
                                 const void *stored, void *raw, struct amber_err *err)
{
    const struct amber_block *b = &p->blocks[i];
    struct amber_codec **codec = &s->codecs[p->codec];
    enum amber_rc rc = AMBER_OK;

    if (!*codec) {
        rc = amber_codec_new(p->codec, amber_codec_info(p->codec)->level_default, codec, err);
        if (!rc)
            amber_codec_trust(*codec); /* the block's SHA-256 is compared before it is decoded */
    }
    if (!rc)
        rc = amber_codec_decompress(*codec, stored, b->stored_len, raw, b->raw_len, err);
    return rc ? wrap_block(p, i, err) : AMBER_OK;
}
