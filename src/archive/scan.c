/*
 * scan.c - every block of a part from the medium, in parallel, then in order.
 *
 *   pool:     read, SHA-256, decode the blocks of a group; the caller's work on its text
 *   in order: SHA-256 of all stored and of all raw bytes; the caller's commit
 *
 * Groups under way are bounded by their bytes; a group of one huge row is under way nearly alone.
 * A bad block spoils its group and the digests of the whole, which are then not compared: the bad
 * block is the news.
 */
#include "scan_priv.h"

#include <inttypes.h>
#include <stdio.h>

#include "block_priv.h"
#include "ordered_priv.h"

#define UNDER_WAY_BYTES (32U * 1024U * 1024U) /* stored and raw */
#define GROUP_KEEP (8U * 1024U * 1024U)       /* a buffer kept for the next group */

struct scan;

struct group {
    struct ordered_item item; /* first */
    struct scan *scan;
    struct scan_group g;
    struct block_scratch *scratch; /* its stored buffer is unused: all blocks' are needed */
    char *raw, *stored;            /* owned; stored is unused with codec none */
    size_t raw_cap, stored_cap, stored_len;
    unsigned n_bad;
    struct amber_err fault; /* the first; code OK: sound */
};

struct scan {
    const struct scan_config *cfg;
    struct amber_object *object;
    struct ordered order;
    struct group *groups; /* owned */
    size_t n_groups;
    /* In order only: */
    struct amber_hasher *raw, *stored;
    uint64_t stored_done;
    bool spoiled; /* some block is bad: the digests of the whole can't match */
};

/* Whether block i starts a group: all but those that only continue a row. */
static bool starts_group(const struct amber_part *p, size_t i)
{
    return p->blocks[i].kind != AMBER_BLOCK_DATA || p->blocks[i].rows > 0;
}

size_t amber_scan_groups(const struct amber_part *p)
{
    size_t n = 0;

    for (size_t i = 0; i < p->n_blocks; i++)
        n += p->blocks[i].kind == AMBER_BLOCK_DATA && p->blocks[i].rows > 0;
    return n;
}

/* --- on the pool ------------------------------------------------------------------------- */

static enum amber_rc room(char **mem, size_t *cap, size_t need, struct amber_err *err)
{
    if (need <= *cap && *cap <= GROUP_KEEP)
        return AMBER_OK;
    free(*mem);
    *cap = 0;
    *mem = malloc(need + need / 8 + 1);
    if (!*mem)
        return amber_fail_nomem(err, "blocks", need + need / 8 + 1);
    *cap = need + need / 8 + 1;
    return AMBER_OK;
}

static enum amber_rc load_block(struct group *g, size_t i, size_t raw_at, size_t stored_at,
                                struct amber_err *err)
{
    const struct amber_part *p = g->scan->cfg->part;

    if (p->codec == AMBER_CODEC_NONE && p->blocks[i].kind == AMBER_BLOCK_DATA)
        return amber_block_fetch(g->scan->object, p, i, g->raw + raw_at, err);
    enum amber_rc rc = amber_block_fetch(g->scan->object, p, i, g->stored + stored_at, err);
    if (!rc && p->blocks[i].kind == AMBER_BLOCK_DATA)
        rc = amber_block_decode(g->scratch, p, i, g->stored + stored_at, g->raw + raw_at, err);
    return rc;
}

/* A fault ends the scan, or is kept with the group where faults are counted. */
static enum amber_rc fault(struct group *g, enum amber_rc rc, const struct amber_err *err)
{
    if (rc != AMBER_E_CORRUPT || !g->scan->cfg->report)
        return rc;
    if (!g->fault.code)
        g->fault = *err;
    return AMBER_OK;
}

static enum amber_rc load_group(struct group *g, struct amber_err *err)
{
    const struct amber_part *p = g->scan->cfg->part;
    size_t raw = 0, stored = 0;

    enum amber_rc rc = room(&g->raw, &g->raw_cap, g->g.raw_len, err);
    if (!rc && g->stored_len > 0)
        rc = room(&g->stored, &g->stored_cap, g->stored_len, err);
    for (size_t i = g->g.first; !rc && i < g->g.first + g->g.n; i++) {
        rc = load_block(g, i, raw, stored, err);
        g->n_bad += rc == AMBER_E_CORRUPT;
        rc = fault(g, rc, err);
        raw += p->blocks[i].raw_len;
        stored += p->blocks[i].stored_len;
    }
    g->g.raw = g->raw;
    return rc;
}

static bool is_data(const struct group *g)
{
    return g->g.rows > 0;
}

static enum amber_rc work(struct ordered_item *item, struct amber_err *err)
{
    struct group *g = (struct group *)item;
    const struct scan_config *cfg = g->scan->cfg;
    enum amber_rc rc = amber_cancel_check(cfg->cancel, err);

    if (!rc)
        rc = load_group(g, err);
    if (!rc && !g->fault.code && is_data(g) && cfg->work)
        rc = fault(g, cfg->work(cfg->arg, &g->g, err), err);
    return rc;
}

/* --- in order ---------------------------------------------------------------------------- */

static void note_fault(struct amber_verify_report *r, const char *text)
{
    if (!r->first_fault[0])
        snprintf(r->first_fault, sizeof(r->first_fault), "%.*s", (int)sizeof(r->first_fault) - 1,
                 text);
}

static enum amber_rc hash_group(struct group *g, struct amber_err *err)
{
    struct scan *s = g->scan;
    const struct amber_part *p = s->cfg->part;
    bool plain = p->codec == AMBER_CODEC_NONE && is_data(g);
    enum amber_rc rc = amber_hasher_update(s->stored, plain ? g->raw : g->stored,
                                           plain ? g->g.raw_len : g->stored_len, err);

    if (!rc && g->g.raw_len > 0 && !s->cfg->raw_is_known)
        rc = amber_hasher_update(s->raw, g->raw, g->g.raw_len, err);
    return rc;
}

static enum amber_rc commit(struct ordered_item *item, struct amber_err *err)
{
    struct group *g = (struct group *)item;
    struct scan *s = g->scan;
    const struct scan_config *cfg = s->cfg;
    enum amber_rc rc = AMBER_OK;

    if (g->n_bad > 0)
        s->spoiled = true;
    else
        rc = hash_group(g, err);
    if (!rc && !g->fault.code && is_data(g) && cfg->commit)
        rc = fault(g, cfg->commit(cfg->arg, &g->g, err), err);
    if (rc)
        return rc;
    for (size_t i = g->g.first; i < g->g.first + g->g.n; i++)
        s->stored_done += cfg->part->blocks[i].stored_len;
    if (cfg->report) {
        cfg->report->blocks += g->g.n;
        cfg->report->bad_blocks += g->n_bad > 0 ? g->n_bad : g->fault.code ? 1 : 0;
        if (g->fault.code)
            note_fault(cfg->report, g->fault.text);
    }
    if (cfg->progress)
        cfg->progress(cfg->progress_arg, s->stored_done);
    return AMBER_OK;
}

/* --- the caller's side ------------------------------------------------------------------- */

/* A fault of the part as a whole. */
static enum amber_rc part_fault(struct scan *s, enum amber_rc rc, const struct amber_err *err)
{
    if (rc != AMBER_E_CORRUPT || !s->cfg->report)
        return rc;
    note_fault(s->cfg->report, err->text);
    s->spoiled = true;
    return AMBER_OK;
}

static enum amber_rc open_object(struct scan *s, struct amber_err *err)
{
    const struct amber_part *p = s->cfg->part;
    struct amber_object_info info;
    enum amber_rc rc =
        amber_object_open(s->cfg->store, p->key, AMBER_OPEN_MEDIUM, &s->object, &info, err);

    if (!rc && info.size != p->stored_bytes) {
        rc = amber_fail(err, AMBER_E_CORRUPT,
                        "%s: %" PRIu64 " bytes are stored, its manifest says %" PRIu64
                        ": it was cut off or replaced",
                        p->key, info.size, p->stored_bytes);
        rc = part_fault(s, rc, err);
    }
    return rc;
}

static enum amber_rc make_groups(struct scan *s, struct amber_err *err)
{
    size_t n = 2 * (size_t)amber_pool_threads(s->cfg->pool) + 1;
    enum amber_rc rc = amber_calloc(n, sizeof(*s->groups), &s->groups, err);

    for (size_t i = 0; !rc && i < n; i++) {
        struct group *g = &s->groups[i];
        s->n_groups = i + 1;
        g->scan = s;
        rc = amber_block_scratch_new(&g->scratch, err);
        if (!rc)
            amber_ordered_give(&s->order, &g->item);
    }
    return rc;
}

/* The group that starts at block i. */
static void describe(const struct amber_part *p, size_t i, struct scan_group *g, size_t *stored_len,
                     size_t *bytes)
{
    const struct amber_block *b = &p->blocks[i];

    *g = (struct scan_group){
        .index = g->index, .first = i, .raw_off = b->raw_off, .first_row = b->first_row};
    *stored_len = 0;
    do {
        g->raw_len += p->blocks[i].raw_len;
        g->rows += p->blocks[i].rows;
        *stored_len += p->blocks[i].stored_len;
        g->n++;
        i++;
    } while (i < p->n_blocks && !starts_group(p, i));
    *bytes = g->raw_len + *stored_len;
    if (p->codec == AMBER_CODEC_NONE && b->kind == AMBER_BLOCK_DATA)
        *stored_len = 0; /* the raw buffer holds the stored bytes */
}

static enum amber_rc submit_all(struct scan *s, struct amber_err *err)
{
    const struct amber_part *p = s->cfg->part;
    struct scan_group next = {0};
    enum amber_rc rc = AMBER_OK;

    for (size_t i = 0; !rc && i < p->n_blocks; i = next.first + next.n) {
        struct ordered_item *item;
        size_t stored_len, bytes;
        describe(p, i, &next, &stored_len, &bytes);
        rc = amber_ordered_take(&s->order, bytes, &item, err);
        if (rc)
            break;
        struct group *g = (struct group *)item;
        g->g = next;
        g->stored_len = stored_len;
        g->n_bad = 0;
        g->fault.code = AMBER_OK;
        amber_ordered_submit(&s->order, item);
        next.index += next.rows > 0;
    }
    /* What was submitted must end before anything goes away; its error is the first one. */
    enum amber_rc waited = amber_ordered_wait(&s->order, err);
    return rc ? rc : waited;
}

static enum amber_rc check_whole(struct scan *s, struct amber_err *err)
{
    const struct amber_part *p = s->cfg->part;
    struct amber_sha256 raw = {{0}}, stored = {{0}};

    if (s->spoiled)
        return AMBER_OK;
    enum amber_rc rc = amber_hasher_final(s->stored, &stored, err);
    if (!rc)
        rc = amber_hasher_final(s->raw, &raw, err);
    if (!rc && !amber_sha256_equal(&stored, &p->stored_sha256))
        rc = amber_fail(err, AMBER_E_CORRUPT,
                        "%s: each block is sound, but the SHA-256 of all stored bytes isn't the "
                        "manifest's: the manifest is wrong, rebuild it",
                        p->key);
    if (!rc && !s->cfg->raw_is_known && !amber_sha256_equal(&raw, &p->raw_sha256))
        rc = amber_fail(err, AMBER_E_CORRUPT,
                        "%s: each block is sound, but the SHA-256 of all raw bytes isn't the "
                        "manifest's: the manifest is wrong, rebuild it",
                        p->key);
    return part_fault(s, rc, err);
}

enum amber_rc amber_scan_part(const struct scan_config *cfg, struct amber_err *err)
{
    struct scan s = {.cfg = cfg};

    amber_ordered_init(&s.order, cfg->pool, UNDER_WAY_BYTES, work, commit);
    enum amber_rc rc = amber_hasher_new(&s.raw, err);
    if (!rc)
        rc = amber_hasher_new(&s.stored, err);
    if (!rc)
        rc = make_groups(&s, err);
    if (!rc)
        rc = open_object(&s, err);
    if (!rc)
        rc = submit_all(&s, err);
    if (!rc)
        rc = check_whole(&s, err);
    if (!rc && cfg->report) {
        cfg->report->stored_bytes += cfg->part->stored_bytes;
        cfg->report->raw_bytes += cfg->part->raw_bytes;
    }
    for (size_t i = 0; i < s.n_groups; i++) {
        amber_block_scratch_free(s.groups[i].scratch);
        free(s.groups[i].raw);
        free(s.groups[i].stored);
    }
    free(s.groups);
    amber_object_close(s.object);
    amber_hasher_free(s.raw);
    amber_hasher_free(s.stored);
    amber_ordered_clear(&s.order);
    return rc;
}
