/*
 * writer.c - rows in, one durable archive with its overlay out.
 *
 *   caller: COPY lines are copied into a batch until its JSON is estimated to fill a block
 *   pool:   batch.c makes blocks of it
 *   in order, one thread at a time: write the units, digests of the whole, block table, overlay
 *
 * The estimate is (COPY bytes x ratio + rows x what the keys take), with the ratio of the batches
 * before. Batches are recycled with their buffers; a row larger than a block is a batch of its
 * own, and counts by its bytes, so that such rows go through nearly one at a time.
 */
#include "amber/writer.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

#include "batch_priv.h"
#include "cut_priv.h"
#include "part_writer_priv.h"
#include "proof_priv.h"

#define UNDER_WAY_BYTES (48U * 1024U * 1024U) /* of all batches: COPY text, JSON, stored units */
#define BATCHES_MIN 3U
#define RATIO_ONE 256U /* ratio 1, of JSON to COPY bytes without keys */
#define OVERLAY_LEVEL 3

struct amber_writer {
    struct amber_writer_config cfg; /* its strings are owned here */
    char *key, *overlay_key;
    size_t row_overhead; /* bytes of JSON that a row's keys take */
    struct ordered order;
    struct batch *batches; /* owned */
    size_t n_batches;
    struct batch *current;                     /* being filled; NULL: none */
    uint64_t rows;                             /* added, by the caller's thread */
    atomic_uint_least64_t rows_seen, raw_seen; /* for progress */
    atomic_uint ratio;
    struct batch_maker maker;
    struct amber_codec *codec; /* header and trailer */
    /* Used in order only: */
    struct part_writer archive, overlay;
    struct amber_buf overlay_text; /* not yet in a block */
    struct amber_codec *overlay_codec;
    struct amber_proof *proof;
};

static enum amber_rc work(struct ordered_item *item, struct amber_err *err)
{
    struct batch *b = (struct batch *)item;

    return amber_batch_make(&b->writer->maker, b, err);
}

/* --- in order ---------------------------------------------------------------------------- */

static enum amber_rc proof_add(struct amber_proof *p, const struct amber_fast_digest *d,
                               struct amber_err *err)
{
    enum amber_rc rc = amber_grow(&p->digests, &p->cap, p->n + 1, sizeof(*p->digests), err);

    if (!rc)
        p->digests[p->n++] = *d;
    return rc;
}

/* Put len bytes of the overlay's text into a block. */
static enum amber_rc write_overlay_block(struct amber_writer *w, const char *text, size_t len,
                                         bool *within, struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf unit = AMBER_BUF_INIT(AMBER_BLOCK_STORED_MAX);
    struct amber_block b = {.kind = AMBER_BLOCK_DATA,
                            .raw_len = (uint32_t)len,
                            .rows = amber_rows_count(text, len, *within)};
    enum amber_rc rc = amber_codec_compress(w->overlay_codec, text, len, &unit, err);

    if (!rc)
        rc = amber_sha256(unit.data, unit.len, &b.sha256, err);
    b.stored_len = (uint32_t)unit.len;
    if (!rc)
        rc = amber_part_writer_raw(&w->overlay, text, len, err);
    if (!rc)
        rc = amber_part_writer_unit(&w->overlay, &b, unit.data, err);
    *within = text[len - 1] != '\n';
    return rc;
}

/* Write the overlay's text that fills blocks, or all of it. */
static enum amber_rc flush_overlay(struct amber_writer *w, bool all, struct amber_err *err)
{
    struct amber_buf *text = &w->overlay_text;
    size_t off = 0;
    bool within = false;
    enum amber_rc rc = AMBER_OK;

    while (!rc && off < text->len && (all || within || text->len - off >= w->cfg.block_bytes)) {
        size_t len = amber_rows_cut(text->data + off, text->len - off, within, w->cfg.block_bytes);
        rc = write_overlay_block(w, text->data + off, len, &within, err);
        off += len;
    }
    if (off > 0)
        memmove(text->data, text->data + off, text->len - off);
    text->len -= off;
    if (text->cap > 4 * (size_t)AMBER_BLOCK_MAX && text->len == 0)
        amber_buf_clear(text);
    return rc;
}

static enum amber_rc add_overlay(struct amber_writer *w, const struct amber_buf *text,
                                 struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    if (text->len == 0)
        return AMBER_OK;
    if (!w->overlay_codec)
        rc = amber_codec_new(AMBER_CODEC_ZSTD, OVERLAY_LEVEL, &w->overlay_codec, err);
    if (!rc && !w->overlay.put)
        rc = amber_part_writer_open(&w->overlay, w->cfg.store, w->overlay_key, AMBER_CODEC_ZSTD,
                                    err);
    if (!rc)
        rc = amber_buf_append(&w->overlay_text, text->data, text->len, err);
    return rc ? rc : flush_overlay(w, false, err);
}

/* What the keys don't explain of the JSON, over the COPY bytes: for the next estimates. */
static void learn_ratio(struct amber_writer *w, const struct batch *b, size_t copy_bytes)
{
    size_t keys = b->rows * w->row_overhead;

    if (copy_bytes == 0 || b->json.len <= keys)
        return;
    uint64_t ratio = (uint64_t)(b->json.len - keys) * RATIO_ONE / copy_bytes;
    atomic_store(&w->ratio, ratio < 64 ? 64 : ratio > 16384 ? 16384 : (unsigned)ratio);
}

static enum amber_rc commit(struct ordered_item *item, struct amber_err *err)
{
    struct batch *b = (struct batch *)item;
    struct amber_writer *w = b->writer;
    size_t off = 0;
    enum amber_rc rc = amber_part_writer_raw(&w->archive, b->json.data, b->json.len, err);

    for (size_t i = 0; !rc && i < b->n_pieces; i++) {
        const struct piece *p = &b->pieces[i];
        rc = amber_part_writer_unit(&w->archive, &p->block, b->stored.data + off, err);
        if (!rc && p->block.rows > 0)
            rc = proof_add(w->proof, &p->digest, err);
        off += p->block.stored_len;
    }
    if (!rc)
        rc = add_overlay(w, &b->overlay, err);
    atomic_store(&w->raw_seen, w->archive.part.raw_bytes);
    learn_ratio(w, b, b->copy.len);
    return rc;
}

/* --- the caller's side ------------------------------------------------------------------- */

static enum amber_rc check_config(const struct amber_writer_config *cfg, struct amber_err *err)
{
    if (cfg->block_bytes < AMBER_BLOCK_MIN || cfg->block_bytes > AMBER_BLOCK_MAX)
        return amber_fail(err, AMBER_E_INVALID, "block size %zu: it must be %u..%u bytes",
                          cfg->block_bytes, AMBER_BLOCK_MIN, AMBER_BLOCK_MAX);
    if (cfg->meta_len > AMBER_META_MAX)
        return amber_fail(err, AMBER_E_LIMIT, "%s: the header's text has %zu bytes, at most %u fit",
                          cfg->key, cfg->meta_len, AMBER_META_MAX);
    return amber_key_check(cfg->key, err);
}

static size_t keys_bytes(const struct amber_schema *s)
{
    size_t n = 2;

    for (size_t i = 0; i < s->n_columns; i++)
        n += strlen(s->columns[i].name) + 4;
    return n;
}

static size_t count_batches(const struct amber_writer_config *cfg)
{
    size_t most = UNDER_WAY_BYTES / (3 * cfg->block_bytes);
    size_t n = 2 * (size_t)amber_pool_threads(cfg->pool) + 1;

    if (n > most)
        n = most;
    return n < BATCHES_MIN ? BATCHES_MIN : n;
}

static void writer_free(struct amber_writer *w)
{
    for (size_t i = 0; i < w->n_batches; i++)
        amber_batch_clear(&w->batches[i]);
    free(w->batches);
    amber_batch_maker_clear(&w->maker);
    amber_codec_free(w->codec);
    amber_part_writer_abort(&w->archive);
    amber_part_writer_abort(&w->overlay);
    amber_buf_clear(&w->overlay_text);
    amber_codec_free(w->overlay_codec);
    amber_proof_free(w->proof);
    amber_ordered_clear(&w->order);
    free(w->key);
    free(w->overlay_key);
    free(w);
}

static enum amber_rc make_batches(struct amber_writer *w, struct amber_err *err)
{
    enum amber_rc rc = amber_calloc(count_batches(&w->cfg), sizeof(*w->batches), &w->batches, err);

    if (rc)
        return rc;
    w->n_batches = count_batches(&w->cfg);
    for (size_t i = 0; i < w->n_batches; i++) {
        amber_batch_init(&w->batches[i], w);
        amber_ordered_give(&w->order, &w->batches[i].item);
    }
    return AMBER_OK;
}

/* The object, with its header unit. */
static enum amber_rc open_archive(struct amber_writer *w, struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf unit = AMBER_BUF_INIT(AMBER_UNIT_STORED_MAX);
    enum amber_rc rc = amber_codec_new(w->cfg.codec, w->cfg.level, &w->codec, err);

    if (!rc && w->cfg.meta_len > 0)
        rc = amber_codec_header(w->codec, w->cfg.meta, w->cfg.meta_len, &unit, err);
    if (!rc)
        rc = amber_part_writer_open(&w->archive, w->cfg.store, w->key, w->cfg.codec, err);
    if (!rc)
        rc = amber_part_writer_frame(&w->archive, AMBER_BLOCK_HEADER, &unit, err);
    return rc;
}

enum amber_rc amber_writer_open(const struct amber_writer_config *cfg, struct amber_writer **out,
                                struct amber_err *err)
{
    struct amber_writer *w;
    enum amber_rc rc = check_config(cfg, err);

    if (!rc)
        rc = amber_calloc(1, sizeof(*w), &w, err);
    if (rc)
        return rc;
    w->cfg = *cfg;
    atomic_init(&w->ratio, RATIO_ONE + RATIO_ONE / 8);
    w->row_overhead = keys_bytes(cfg->schema);
    amber_buf_init(&w->overlay_text, AMBER_ROW_JSON_MAX);
    amber_ordered_init(&w->order, cfg->pool, UNDER_WAY_BYTES / 3, work, commit);
    rc = amber_strdup(cfg->key, &w->key, err);
    amber_batch_maker_init(&w->maker, cfg, w->key);
    if (!rc)
        rc = amber_attachment_key(cfg->key, cfg->run_id, "overlay", AMBER_CODEC_ZSTD,
                                  &w->overlay_key, err);
    if (!rc)
        rc = amber_calloc(1, sizeof(*w->proof), &w->proof, err);
    if (!rc)
        rc = make_batches(w, err);
    if (!rc)
        rc = open_archive(w, err);
    if (rc) {
        writer_free(w);
        return rc;
    }
    /* What was borrowed for this call only. */
    w->cfg.key = w->cfg.run_id = w->cfg.meta = NULL;
    *out = w;
    return AMBER_OK;
}

static void submit_current(struct amber_writer *w)
{
    struct batch *b = amber_steal(&w->current);

    if (b)
        amber_ordered_submit(&w->order, &b->item);
}

/* Have an empty batch as the current one. */
static enum amber_rc start_batch(struct amber_writer *w, size_t bytes, struct amber_err *err)
{
    struct ordered_item *item;
    enum amber_rc rc = amber_ordered_take(&w->order, bytes, &item, err);

    if (rc)
        return rc;
    w->current = (struct batch *)item;
    amber_batch_reset(w->current, w->rows);
    return AMBER_OK;
}

static enum amber_rc check_line(const struct amber_writer *w, const char *line, size_t len,
                                struct amber_err *err)
{
    if (memchr(line, '\n', len))
        return amber_fail(err, AMBER_E_INVALID,
                          "%s: row %" PRIu64 " has a line break: it isn't a COPY text line", w->key,
                          w->rows + 1);
    return AMBER_OK;
}

static enum amber_rc add_line(struct amber_writer *w, const char *line, size_t len,
                              struct amber_err *err)
{
    enum amber_rc rc = check_line(w, line, len, err);

    if (!rc && !w->current)
        rc = start_batch(w, w->cfg.block_bytes, err);
    if (!rc)
        rc = amber_buf_reserve(&w->current->copy, len + 1, err);
    if (rc)
        return rc;
    struct batch *b = w->current;
    memcpy(b->copy.data + b->copy.len, line, len);
    b->copy.data[b->copy.len + len] = '\n';
    b->copy.len += len + 1;
    b->copy.data[b->copy.len] = '\0';
    b->rows++;
    b->estimate +=
        len * atomic_load_explicit(&w->ratio, memory_order_relaxed) / RATIO_ONE + w->row_overhead;
    if (b->estimate >= w->cfg.block_bytes)
        submit_current(w);
    return AMBER_OK;
}

/* A row that makes a batch of its own; line is freed by it in every case. */
static enum amber_rc add_big(struct amber_writer *w, char *line, size_t skip, size_t len,
                             struct amber_err *err)
{
    enum amber_rc rc = check_line(w, line + skip, len, err);

    submit_current(w);
    if (!rc)
        rc = start_batch(w, len, err);
    if (rc) {
        free(line);
        return rc;
    }
    w->current->big = line;
    w->current->big_skip = skip;
    w->current->big_len = len;
    w->current->rows = 1;
    submit_current(w);
    return AMBER_OK;
}

/* Make a failure stick, or count the row. */
static enum amber_rc end_row(struct amber_writer *w, enum amber_rc rc, const struct amber_err *err)
{
    if (rc)
        amber_ordered_fail(&w->order, err);
    else
        atomic_store_explicit(&w->rows_seen, ++w->rows, memory_order_relaxed);
    return rc;
}

enum amber_rc amber_writer_row(struct amber_writer *w, const char *line, size_t len,
                               struct amber_err *err)
{
    if (len < w->cfg.block_bytes)
        return end_row(w, add_line(w, line, len, err), err);
    char *copy = malloc(len);
    if (!copy)
        return end_row(w, amber_fail_nomem(err, "a row", len), err);
    memcpy(copy, line, len);
    return end_row(w, add_big(w, copy, 0, len, err), err);
}

enum amber_rc amber_writer_row_take(struct amber_writer *w, char *line, size_t skip, size_t len,
                                    struct amber_err *err)
{
    if (len >= w->cfg.block_bytes)
        return end_row(w, add_big(w, line, skip, len, err), err);
    enum amber_rc rc = end_row(w, add_line(w, line + skip, len, err), err);
    free(line);
    return rc;
}

void amber_writer_progress(struct amber_writer *w, uint64_t *out_rows, uint64_t *out_raw_bytes)
{
    *out_rows = atomic_load_explicit(&w->rows_seen, memory_order_relaxed);
    *out_raw_bytes = atomic_load_explicit(&w->raw_seen, memory_order_relaxed);
}

/* Commit the archive, then its overlay if it has one. */
static enum amber_rc commit_parts(struct amber_writer *w, struct amber_manifest *m,
                                  struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    if (w->overlay.put) {
        rc = amber_calloc(1, sizeof(*m->attachments), &m->attachments, err);
        if (!rc)
            rc = amber_strdup("overlay", &m->attachments[0].kind, err);
        m->n_attachments = rc ? 0 : 1;
    }
    if (!rc)
        rc = flush_overlay(w, true, err);
    if (!rc)
        rc = amber_part_writer_finish(&w->archive, w->codec, &m->archive, err);
    if (!rc && w->overlay.put)
        rc = amber_part_writer_finish(&w->overlay, w->overlay_codec, &m->attachments[0].part, err);
    return rc;
}

enum amber_rc amber_writer_finish(struct amber_writer *w, struct amber_manifest *out,
                                  struct amber_proof **out_proof, struct amber_err *err)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest made = {0};

    submit_current(w);
    enum amber_rc rc = amber_ordered_wait(&w->order, err);
    if (!rc)
        rc = commit_parts(w, &made, err);
    if (!rc) {
        out->archive = made.archive;
        out->attachments = made.attachments;
        out->n_attachments = made.n_attachments;
        out->typed = true;
        made = (struct amber_manifest){0};
        *out_proof = amber_steal(&w->proof);
    }
    writer_free(w);
    return rc;
}

void amber_writer_abort(struct amber_writer *w)
{
    struct amber_err err = {.code = AMBER_E_CANCELED};

    if (!w)
        return;
    /* Whatever is under way ends without being written; its error is of no interest. */
    amber_ordered_fail(&w->order, &err);
    amber_ordered_drain(&w->order);
    writer_free(w);
}
