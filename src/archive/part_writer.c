/*
 * part_writer.c - units in order into one stored object, with its block table and digests.
 *
 * The archive and its attachments are written by this code alone, so their tables hold the same
 * promises. The object is visible only after finish has committed it.
 */
#include "part_writer_priv.h"

static void clear(struct part_writer *w)
{
    amber_hasher_free(w->raw);
    amber_hasher_free(w->stored);
    amber_part_clear(&w->part);
    *w = (struct part_writer){0};
}

enum amber_rc amber_part_writer_open(struct part_writer *w, struct amber_store *store,
                                     const char *key, enum amber_codec_kind codec,
                                     struct amber_err *err)
{
    *w = (struct part_writer){.part.codec = codec};
    enum amber_rc rc = amber_strdup(key, &w->part.key, err);
    if (!rc)
        rc = amber_hasher_new(&w->raw, err);
    if (!rc)
        rc = amber_hasher_new(&w->stored, err);
    if (!rc)
        rc = amber_put_open(store, key, &w->put, err);
    if (rc)
        clear(w);
    return rc;
}

enum amber_rc amber_part_writer_unit(struct part_writer *w, const struct amber_block *b,
                                     const void *stored, struct amber_err *err)
{
    struct amber_part *p = &w->part;

    if (p->n_blocks == PART_BLOCKS_MAX)
        return amber_fail(err, AMBER_E_LIMIT,
                          "%s: more than %u blocks: archive shorter periods, or larger blocks",
                          p->key, PART_BLOCKS_MAX);
    enum amber_rc rc = amber_grow(&p->blocks, &w->cap, p->n_blocks + 1, sizeof(*p->blocks), err);
    if (!rc)
        rc = amber_put_write(w->put, stored, b->stored_len, err);
    if (!rc)
        rc = amber_hasher_update(w->stored, stored, b->stored_len, err);
    if (rc)
        return rc;
    struct amber_block *entry = &p->blocks[p->n_blocks++];
    *entry = *b;
    entry->stored_off = p->stored_bytes;
    entry->raw_off = p->raw_bytes;
    entry->first_row = p->rows;
    p->stored_bytes += b->stored_len;
    p->raw_bytes += b->raw_len;
    p->rows += b->rows;
    return AMBER_OK;
}

enum amber_rc amber_part_writer_raw(struct part_writer *w, const void *raw, size_t len,
                                    struct amber_err *err)
{
    return amber_hasher_update(w->raw, raw, len, err);
}

enum amber_rc amber_part_writer_frame(struct part_writer *w, enum amber_block_kind kind,
                                      const struct amber_buf *unit, struct amber_err *err)
{
    struct amber_block b = {.kind = kind, .stored_len = (uint32_t)unit->len};

    if (unit->len == 0)
        return AMBER_OK;
    enum amber_rc rc = amber_sha256(unit->data, unit->len, &b.sha256, err);
    return rc ? rc : amber_part_writer_unit(w, &b, unit->data, err);
}

static enum amber_rc write_trailer(struct part_writer *w, struct amber_codec *codec,
                                   struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf unit = AMBER_BUF_INIT(AMBER_UNIT_STORED_MAX);
    AMBER_AUTO_FREE struct amber_unit_lens *units = NULL;
    enum amber_rc rc = amber_calloc(w->part.n_blocks, sizeof(*units), &units, err);

    if (rc)
        return rc;
    for (size_t i = 0; i < w->part.n_blocks; i++) {
        units[i].stored_len = w->part.blocks[i].stored_len;
        units[i].raw_len = w->part.blocks[i].raw_len;
    }
    rc = amber_codec_trailer(codec, units, w->part.n_blocks, &unit, err);
    return rc ? rc : amber_part_writer_frame(w, AMBER_BLOCK_TRAILER, &unit, err);
}

enum amber_rc amber_part_writer_finish(struct part_writer *w, struct amber_codec *codec,
                                       struct amber_part *out, struct amber_err *err)
{
    struct amber_object_info info;
    enum amber_rc rc = write_trailer(w, codec, err);

    if (!rc)
        rc = amber_hasher_final(w->stored, &w->part.stored_sha256, err);
    if (!rc)
        rc = amber_hasher_final(w->raw, &w->part.raw_sha256, err);
    if (!rc)
        rc = amber_part_check(&w->part, "archive", err);
    if (!rc) {
        struct amber_put *put = amber_steal(&w->put);
        rc = amber_put_commit(put, &info, err);
    }
    if (!rc) {
        *out = w->part;
        w->part = (struct amber_part){0};
    }
    amber_part_writer_abort(w);
    return rc;
}

void amber_part_writer_abort(struct part_writer *w)
{
    amber_put_abort(w->put);
    clear(w);
}
