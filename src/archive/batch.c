/*
 * batch.c - some COPY lines become blocks.
 *
 *   1 lines to JSON and overlay   2 the JSON is cut into blocks at rows   3 digest of each group:
 *   its lines, then its JSON   4 compress   5 SHA-256 of each unit
 *
 * A batch whose JSON is a little longer or shorter than a block is one block; a longer one is cut
 * into blocks of about equal size. The lock guards the list of encoders and nothing else.
 */
#include "batch_priv.h"

#include <inttypes.h>

#include "cut_priv.h"

#define BATCH_BYTES_MAX AMBER_ROW_JSON_MAX /* of each of a batch's buffers */

/* What one thread needs to work on a batch. */
struct encoder {
    struct encoder *next;
    struct amber_row_encoder *rows;
    struct amber_codec *codec;
    struct amber_fast_hasher *hasher;
    struct amber_buf overlay; /* of one row */
};

static void encoder_free(struct encoder *e)
{
    if (!e)
        return;
    amber_row_encoder_free(e->rows);
    amber_codec_free(e->codec);
    amber_fast_hasher_free(e->hasher);
    amber_buf_clear(&e->overlay);
    free(e);
}

static enum amber_rc encoder_new(const struct batch_maker *m, struct encoder **out,
                                 struct amber_err *err)
{
    struct encoder *e;
    enum amber_rc rc = amber_calloc(1, sizeof(*e), &e, err);

    if (rc)
        return rc;
    amber_buf_init(&e->overlay, AMBER_ROW_JSON_MAX);
    rc = amber_row_encoder_new(m->schema, &e->rows, err);
    if (!rc)
        rc = amber_codec_new(m->codec, m->level, &e->codec, err);
    if (!rc)
        rc = amber_fast_hasher_new(&e->hasher, err);
    if (rc)
        encoder_free(e);
    else
        *out = e;
    return rc;
}

static enum amber_rc encoder_take(struct batch_maker *m, struct encoder **out,
                                  struct amber_err *err)
{
    pthread_mutex_lock(&m->lock);
    struct encoder *e = m->encoders;
    if (e)
        m->encoders = e->next;
    pthread_mutex_unlock(&m->lock);
    if (!e)
        return encoder_new(m, out, err);
    *out = e;
    return AMBER_OK;
}

static void encoder_give(struct batch_maker *m, struct encoder *e)
{
    pthread_mutex_lock(&m->lock);
    e->next = m->encoders;
    m->encoders = e;
    pthread_mutex_unlock(&m->lock);
}

void amber_batch_maker_init(struct batch_maker *m, const struct amber_writer_config *cfg,
                            const char *key)
{
    *m = (struct batch_maker){
        .key = key,
        .schema = cfg->schema,
        .codec = cfg->codec,
        .level = cfg->level,
        .block_bytes = cfg->block_bytes,
    };
    pthread_mutex_init(&m->lock, NULL);
}

void amber_batch_maker_clear(struct batch_maker *m)
{
    while (m->encoders) {
        struct encoder *next = m->encoders->next;
        encoder_free(m->encoders);
        m->encoders = next;
    }
    pthread_mutex_destroy(&m->lock);
}

void amber_batch_init(struct batch *b, struct amber_writer *w)
{
    b->writer = w;
    amber_buf_init(&b->copy, BATCH_BYTES_MAX);
    amber_buf_init(&b->json, BATCH_BYTES_MAX);
    amber_buf_init(&b->overlay, BATCH_BYTES_MAX);
    amber_buf_init(&b->stored, BATCH_BYTES_MAX);
}

void amber_batch_clear(struct batch *b)
{
    amber_buf_clear(&b->copy);
    amber_buf_clear(&b->json);
    amber_buf_clear(&b->overlay);
    amber_buf_clear(&b->stored);
    free(b->pieces);
    free(b->big);
}

static void reset_buf(struct amber_buf *b)
{
    b->len = 0;
    if (b->cap > 2 * (size_t)AMBER_BLOCK_MAX)
        amber_buf_clear(b);
}

void amber_batch_reset(struct batch *b, uint64_t first_row)
{
    reset_buf(&b->copy);
    reset_buf(&b->json);
    reset_buf(&b->overlay);
    reset_buf(&b->stored);
    free(b->big);
    b->big = NULL;
    b->rows = 0;
    b->estimate = 0;
    b->n_pieces = 0;
    b->first_row = first_row;
}

static enum amber_rc encode_line(const struct batch_maker *m, struct batch *b, struct encoder *e,
                                 uint64_t row, const char *line, size_t len, struct amber_err *err)
{
    e->overlay.len = 0;
    enum amber_rc rc = amber_row_encode(e->rows, line, len, &b->json, &e->overlay, err);
    if (!rc && e->overlay.len > 0)
        rc = amber_overlay_format(row, e->overlay.data, e->overlay.len, &b->overlay, err);
    return rc ? amber_wrap(err, "%s: row %" PRIu64, m->key, row + 1) : AMBER_OK;
}

/* Step 1. */
static enum amber_rc encode_lines(const struct batch_maker *m, struct batch *b, struct encoder *e,
                                  struct amber_err *err)
{
    const char *p = b->copy.data;
    enum amber_rc rc = AMBER_OK;

    if (b->big)
        rc = encode_line(m, b, e, b->first_row, b->big + b->big_skip, b->big_len, err);
    for (size_t i = 0; !rc && !b->big && i < b->rows; i++) {
        const char *end = memchr(p, '\n', b->copy.len - (size_t)(p - b->copy.data));
        rc = encode_line(m, b, e, b->first_row + i, p, (size_t)(end - p), err);
        p = end + 1;
    }
    if (!rc && amber_lines_count(b->json.data, b->json.len) != b->rows)
        rc = amber_fail(err, AMBER_E_CORRUPT,
                        "%s: %zu rows from row %" PRIu64 " on don't make as many lines: this is a "
                        "bug in amberfs, nothing was moved",
                        m->key, b->rows, b->first_row + 1);
    return rc;
}

/* Step 2: blocks of about equal size rather than full ones and a rest. */
static enum amber_rc cut_blocks(const struct batch_maker *m, struct batch *b, struct amber_err *err)
{
    size_t block_bytes = m->block_bytes;
    bool within = false;

    b->n_pieces = 0;
    for (size_t off = 0; off < b->json.len;) {
        const char *text = b->json.data + off;
        size_t left = b->json.len - off;
        size_t n = (left + block_bytes / 2) / block_bytes;
        size_t want = (left + (n > 1 ? n - 1 : 0)) / (n > 1 ? n : 1);
        if (want > AMBER_BLOCK_MAX)
            want = block_bytes;
        size_t len = amber_rows_cut(text, left, within, want);
        enum amber_rc rc =
            amber_grow(&b->pieces, &b->cap_pieces, b->n_pieces + 1, sizeof(*b->pieces), err);
        if (rc)
            return rc;
        b->pieces[b->n_pieces++] = (struct piece){
            .block = {.kind = AMBER_BLOCK_DATA,
                      .raw_len = (uint32_t)len,
                      .rows = amber_rows_count(text, len, within)},
        };
        within = text[len - 1] != '\n';
        off += len;
    }
    return AMBER_OK;
}

/* The text of the group that piece i starts: its own, and that of those that only continue it. */
static size_t group_len(const struct batch *b, size_t i)
{
    size_t len = 0;

    do
        len += b->pieces[i++].block.raw_len;
    while (i < b->n_pieces && b->pieces[i].block.rows == 0);
    return len;
}

/* Step 3. */
static void digest_groups(struct batch *b, struct encoder *e)
{
    const char *p = b->copy.data, *text = b->json.data;

    for (size_t i = 0; i < b->n_pieces; i++) {
        struct piece *piece = &b->pieces[i];
        if (piece->block.rows == 0)
            continue;
        amber_fast_hasher_reset(e->hasher);
        if (b->big)
            amber_row_digest(e->rows, b->big + b->big_skip, b->big_len, e->hasher);
        for (size_t k = 0; !b->big && k < piece->block.rows; k++) {
            const char *end = memchr(p, '\n', b->copy.len - (size_t)(p - b->copy.data));
            amber_row_digest(e->rows, p, (size_t)(end - p), e->hasher);
            p = end + 1;
        }
        size_t len = group_len(b, i);
        amber_fast_hasher_update(e->hasher, text, len);
        text += len;
        amber_fast_hasher_final(e->hasher, &piece->digest);
    }
}

/* Steps 4 and 5. */
static enum amber_rc compress_blocks(struct batch *b, struct encoder *e, struct amber_err *err)
{
    size_t off = 0;
    enum amber_rc rc = AMBER_OK;

    for (size_t i = 0; !rc && i < b->n_pieces; i++) {
        struct amber_block *block = &b->pieces[i].block;
        size_t before = b->stored.len;
        rc = amber_codec_compress(e->codec, b->json.data + off, block->raw_len, &b->stored, err);
        if (rc)
            break;
        block->stored_len = (uint32_t)(b->stored.len - before);
        rc = amber_sha256(b->stored.data + before, block->stored_len, &block->sha256, err);
        off += block->raw_len;
    }
    return rc;
}

enum amber_rc amber_batch_make(struct batch_maker *m, struct batch *b, struct amber_err *err)
{
    struct encoder *e;
    enum amber_rc rc = encoder_take(m, &e, err);

    if (rc)
        return rc;
    rc = encode_lines(m, b, e, err);
    if (!rc)
        rc = cut_blocks(m, b, err);
    if (!rc)
        digest_groups(b, e);
    bool big = b->big != NULL;
    free(b->big);
    b->big = NULL;
    if (!rc)
        rc = compress_blocks(b, e, err);
    /* After a huge row the encoder's own buffers are huge too. */
    if (big)
        encoder_free(e);
    else
        encoder_give(m, e);
    return rc;
}
