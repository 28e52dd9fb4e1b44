/*
 * reader.c - verified bytes of one part at any offset.
 *
 * A read finds its block in the part's table, gets it from the cache (which calls back here to
 * load it), and copies. Nothing but verified blocks is ever in a slot, so there is no other way
 * for a byte to leave. Stored bytes (.raw) go the same way through slots of their own; for codec
 * none both are the same bytes in the same slots.
 */
#include "reader_priv.h"

#include <inttypes.h>

#include "foreign_priv.h"

static enum amber_rc load_block(struct amber_reader *r, struct block_scratch *s, size_t i,
                                void *raw, struct amber_err *err)
{
    const struct amber_part *p = &r->part;

    if (p->foreign)
        return amber_foreign_load(s, r->source, p, i, raw, err);
    /* Plain blocks are read to where they are wanted; part_check has compared the lengths. */
    if (p->codec == AMBER_CODEC_NONE)
        return amber_source_fetch(r->source, i, raw, err);

    enum amber_rc rc = amber_block_scratch_room(s, p->blocks[i].stored_len, err);
    if (!rc)
        rc = amber_source_fetch(r->source, i, s->stored, err);
    if (!rc)
        rc = amber_block_decode(s, p, i, s->stored, raw, err);
    return rc;
}

enum amber_rc amber_reader_load(const struct cache_load *l, struct block_scratch *s, char *data,
                                struct amber_err *err)
{
    struct amber_reader *r = l->reader;

    return l->stored ? amber_source_fetch(r->source, l->block, data, err)
                     : load_block(r, s, l->block, data, err);
}

struct cache_load amber_reader_load_of(struct amber_reader *r, size_t i)
{
    return (struct cache_load){.reader = r, .block = i, .len = r->part.blocks[i].raw_len};
}

enum amber_rc amber_reader_open_flags(struct amber_store *store, struct amber_part *part, int flags,
                                      struct amber_cache *cache, struct amber_reader **out,
                                      struct amber_err *err)
{
    struct amber_reader *r;
    enum amber_rc rc = amber_calloc(1, sizeof(*r), &r, err);

    if (rc)
        return rc;
    r->part = *part; /* the source keeps its address */
    rc = amber_calloc(part->n_blocks, sizeof(struct cache_entry *), &r->slots, err);
    if (!rc)
        rc = amber_source_open(store, &r->part, flags, cache->disk, &r->source, err);
    if (rc) {
        free(r->slots);
        free(r);
        return rc;
    }
    r->cache = cache;
    *part = (struct amber_part){0};
    r->end_data = r->part.n_blocks;
    if (r->end_data > 0 && r->part.blocks[0].kind == AMBER_BLOCK_HEADER)
        r->first_data = 1;
    if (r->end_data > r->first_data && r->part.blocks[r->end_data - 1].kind == AMBER_BLOCK_TRAILER)
        r->end_data--;
    *out = r;
    return AMBER_OK;
}

enum amber_rc amber_reader_open(struct amber_store *store, struct amber_part *part,
                                struct amber_cache *cache, struct amber_reader **out,
                                struct amber_err *err)
{
    return amber_reader_open_flags(store, part, AMBER_OPEN_CACHED, cache, out, err);
}

void amber_reader_close(struct amber_reader *r)
{
    if (!r)
        return;
    /* Blocks that a closed stream still loads ahead use the object. */
    pthread_mutex_lock(&r->cache->lock);
    while (r->n_streams > 0)
        pthread_cond_wait(&r->cache->idle, &r->cache->lock);
    pthread_mutex_unlock(&r->cache->lock);

    amber_cache_drop(r->cache, r->slots, r->part.n_blocks);
    if (r->stored_slots)
        amber_cache_drop(r->cache, r->stored_slots, r->part.n_blocks);
    amber_source_close(r->source);
    amber_part_clear(&r->part);
    free(r->stored_slots);
    free(r->slots);
    free(r);
}

uint64_t amber_reader_size(const struct amber_reader *r)
{
    return r->part.raw_bytes;
}

const struct amber_part *amber_reader_part(const struct amber_reader *r)
{
    return &r->part;
}

/* Bytes to read: len, or what is left behind off. */
static size_t clip(uint64_t size, uint64_t off, size_t len)
{
    if (off >= size)
        return 0;
    return size - off < len ? (size_t)(size - off) : len;
}

/* Copy what block l->block has at skip; *out gets the count of bytes, at most len. */
static enum amber_rc copy_block(struct amber_reader *r, struct cache_entry **slots,
                                const struct cache_load *l, uint64_t skip, char *buf, size_t len,
                                size_t *out, struct amber_err *err)
{
    struct cache_entry *e;
    enum amber_rc rc = amber_cache_acquire(r->cache, &slots[l->block], l, &e, err);

    if (rc)
        return rc;
    *out = clip(e->len, skip, len);
    memcpy(buf, e->data + skip, *out);
    amber_cache_release(e);
    return AMBER_OK;
}

enum amber_rc amber_reader_read(struct amber_reader *r, uint64_t off, void *buf, size_t len,
                                size_t *out_len, struct amber_err *err)
{
    size_t done = 0, n = 0, want = clip(r->part.raw_bytes, off, len);
    enum amber_rc rc = AMBER_OK;

    for (size_t i = amber_block_at_raw(&r->part, off); !rc && done < want; i++) {
        struct cache_load l = amber_reader_load_of(r, i);
        rc = copy_block(r, r->slots, &l, off + done - r->part.blocks[i].raw_off, (char *)buf + done,
                        want - done, &n, err);
        done += rc ? 0 : n;
    }
    if (!rc)
        *out_len = done;
    return rc;
}

/* Slots for stored bytes, which few readers need. */
static enum amber_rc stored_slots(struct amber_reader *r, struct cache_entry ***out,
                                  struct amber_err *err)
{
    struct cache_entry **made = NULL;
    enum amber_rc rc = AMBER_OK;

    pthread_mutex_lock(&r->cache->lock);
    *out = r->stored_slots;
    pthread_mutex_unlock(&r->cache->lock);
    if (*out)
        return AMBER_OK;
    rc = amber_calloc(r->part.n_blocks, sizeof(struct cache_entry *), &made, err);
    if (rc)
        return rc;
    pthread_mutex_lock(&r->cache->lock);
    if (!r->stored_slots)
        r->stored_slots = amber_steal(&made);
    *out = r->stored_slots;
    pthread_mutex_unlock(&r->cache->lock);
    free(made);
    return AMBER_OK;
}

enum amber_rc amber_reader_read_stored(struct amber_reader *r, uint64_t off, void *buf, size_t len,
                                       size_t *out_len, struct amber_err *err)
{
    size_t done = 0, n = 0, want = clip(r->part.stored_bytes, off, len);
    struct cache_entry **slots;

    if (r->part.codec == AMBER_CODEC_NONE)
        return amber_reader_read(r, off, buf, len, out_len, err);
    enum amber_rc rc = stored_slots(r, &slots, err);
    for (size_t i = amber_block_at_stored(&r->part, off); !rc && done < want; i++) {
        const struct amber_block *b = &r->part.blocks[i];
        struct cache_load l = {.reader = r, .block = i, .len = b->stored_len, .stored = true};
        rc = copy_block(r, slots, &l, off + done - b->stored_off, (char *)buf + done, want - done,
                        &n, err);
        done += rc ? 0 : n;
    }
    if (!rc)
        *out_len = done;
    return rc;
}

void amber_pin_release(struct amber_pin *pin)
{
    if (pin->entry)
        amber_cache_release(pin->entry);
    *pin = (struct amber_pin){0};
}
