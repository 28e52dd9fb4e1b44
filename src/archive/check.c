/*
 * check.c - a whole archive against its manifest.
 *
 *   1 the overlay, in order: its lines are sound, ascending, and where the lines of each group of
 *     the archive's rows start in it is noted (8 bytes a group)
 *   2 other attachments: digests only
 *   3 the archive: each group holds the rows the manifest says; with their overlay, read again
 *     through a small cache, the restore parser turns them into COPY lines; these and the text have
 *     the digest that the proof has
 *
 * Memory: the groups under way (scan.c), and for each thread the COPY text of some rows and the
 * overlay of one group.
 */
#include "check_priv.h"

#include <inttypes.h>
#include <pthread.h>

#include "amber/row.h"
#include "amber/writer.h"
#include "cut_priv.h"
#include "manifest_priv.h"
#include "proof_priv.h"
#include "reader_priv.h"
#include "scan_priv.h"

#define OVERLAY_CACHE_BYTES (8U * 1024U * 1024U)
#define COPY_FLUSH (64U * 1024U) /* COPY text gathered before it is hashed */

/* What one thread needs to parse rows. */
struct parser {
    struct parser *next;
    struct amber_row_decoder *decoder;
    struct amber_fast_hasher *hasher;
    struct amber_buf copy, overlay;
};

struct check {
    const struct check_config *cfg;
    const struct amber_part *archive, *overlay; /* overlay NULL: none, or not usable */
    uint64_t *overlay_offs; /* owned; where the lines of group i start, n_groups + 1 of them */
    size_t n_groups;
    size_t noted;       /* entries of overlay_offs that are set */
    size_t noted_block; /* the block that starts group `noted` */
    uint64_t next_row;  /* least row that the overlay's next line may be of */
    struct amber_cache *cache;
    struct amber_reader *reader; /* of the overlay */
    pthread_mutex_t lock;        /* guards parsers */
    struct parser *parsers;
    uint64_t stored_before; /* of the parts that are done */
};

/* --- step 1: the overlay ----------------------------------------------------------------- */

static size_t next_group(const struct amber_part *p, size_t i)
{
    while (i < p->n_blocks && !(p->blocks[i].kind == AMBER_BLOCK_DATA && p->blocks[i].rows > 0))
        i++;
    return i;
}

/* Groups up to the one that holds row start their overlay lines at off. */
static void note_groups(struct check *c, uint64_t row, uint64_t off)
{
    while (c->noted < c->n_groups && c->archive->blocks[c->noted_block].first_row <= row) {
        c->overlay_offs[c->noted++] = off;
        c->noted_block = next_group(c->archive, c->noted_block + 1);
    }
}

static enum amber_rc overlay_line(struct check *c, const char *line, size_t len, uint64_t off,
                                  struct amber_err *err)
{
    const char *obj;
    size_t obj_len;
    uint64_t row;
    enum amber_rc rc = amber_overlay_parse(line, len, &row, &obj, &obj_len, err);

    if (rc)
        return amber_wrap(err, "%s: line at raw offset %" PRIu64, c->overlay->key, off);
    if (row < c->next_row || row >= c->archive->rows)
        return amber_fail(err, AMBER_E_CORRUPT,
                          "%s: line at raw offset %" PRIu64 " is of row %" PRIu64
                          ", expected were rows %" PRIu64 " to %" PRIu64,
                          c->overlay->key, off, row, c->next_row, c->archive->rows - 1);
    note_groups(c, row, off);
    c->next_row = row + 1;
    return AMBER_OK;
}

static enum amber_rc overlay_group(void *arg, const struct scan_group *g, struct amber_err *err)
{
    struct check *c = arg;
    const char *end = g->raw + g->raw_len;
    enum amber_rc rc = AMBER_OK;

    for (const char *p = g->raw; !rc && p < end;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        if (!nl)
            return amber_fail(err, AMBER_E_CORRUPT, "%s: block %zu: its last line isn't ended",
                              c->overlay->key, g->first + g->n - 1);
        rc = overlay_line(c, p, (size_t)(nl - p), g->raw_off + (uint64_t)(p - g->raw), err);
        p = nl + 1;
    }
    return rc;
}

static void progress(void *arg, uint64_t stored_bytes_done)
{
    struct check *c = arg;

    if (c->cfg->progress)
        c->cfg->progress(c->cfg->arg, c->stored_before + stored_bytes_done);
}

static enum amber_rc
scan(struct check *c, const struct amber_part *part,
     enum amber_rc (*work)(void *, const struct scan_group *, struct amber_err *),
     enum amber_rc (*commit)(void *, const struct scan_group *, struct amber_err *),
     struct amber_err *err)
{
    const struct scan_config cfg = {
        .store = c->cfg->store,
        .part = part,
        .pool = c->cfg->pool,
        .cancel = c->cfg->cancel,
        .work = work,
        .commit = commit,
        .arg = c,
        .raw_is_known = c->cfg->proof && part == c->archive,
        .progress = progress,
        .progress_arg = c,
        .report = c->cfg->report,
    };
    enum amber_rc rc = amber_scan_part(&cfg, err);
    c->stored_before += part->stored_bytes;
    return rc;
}

static enum amber_rc open_overlay(struct check *c, struct amber_err *err)
{
    AMBER_CLEANUP(amber_part_clear) struct amber_part part = {0};
    enum amber_rc rc = amber_part_copy(c->overlay, &part, err);

    if (!rc)
        rc = amber_cache_new(OVERLAY_CACHE_BYTES, c->cfg->pool, &c->cache, err);
    if (!rc)
        rc = amber_reader_open_flags(c->cfg->store, &part, AMBER_OPEN_MEDIUM, c->cache, &c->reader,
                                     err);
    return rc;
}

static uint64_t faults(const struct check *c)
{
    return c->cfg->report ? c->cfg->report->bad_blocks + (c->cfg->report->first_fault[0] != 0) : 0;
}

static enum amber_rc check_overlay(struct check *c, struct amber_err *err)
{
    uint64_t before = faults(c);
    enum amber_rc rc =
        amber_calloc(c->n_groups + 1, sizeof(*c->overlay_offs), &c->overlay_offs, err);

    if (!rc)
        rc = scan(c, c->overlay, NULL, overlay_group, err);
    if (rc)
        return rc;
    /* Without a sound overlay the rows' text isn't known: their number still is. */
    if (faults(c) != before) {
        c->overlay = NULL;
        return AMBER_OK;
    }
    note_groups(c, UINT64_MAX, c->overlay->raw_bytes);
    c->overlay_offs[c->n_groups] = c->overlay->raw_bytes;
    return open_overlay(c, err);
}

/* --- step 3: the rows -------------------------------------------------------------------- */

static void parser_free(struct parser *p)
{
    if (!p)
        return;
    amber_row_decoder_free(p->decoder);
    amber_fast_hasher_free(p->hasher);
    amber_buf_clear(&p->copy);
    amber_buf_clear(&p->overlay);
    free(p);
}

static enum amber_rc parser_new(const struct check *c, struct parser **out, struct amber_err *err)
{
    const struct amber_row_decoder_config cfg = {.schema = &c->cfg->manifest->schema};
    struct parser *p;
    enum amber_rc rc = amber_calloc(1, sizeof(*p), &p, err);

    if (rc)
        return rc;
    amber_buf_init(&p->copy, AMBER_ROW_JSON_MAX);
    amber_buf_init(&p->overlay, AMBER_ROW_JSON_MAX);
    rc = amber_row_decoder_new(&cfg, &p->decoder, err);
    if (!rc)
        rc = amber_fast_hasher_new(&p->hasher, err);
    if (rc)
        parser_free(p);
    else
        *out = p;
    return rc;
}

static enum amber_rc parser_take(struct check *c, struct parser **out, struct amber_err *err)
{
    pthread_mutex_lock(&c->lock);
    struct parser *p = c->parsers;
    if (p)
        c->parsers = p->next;
    pthread_mutex_unlock(&c->lock);
    if (!p)
        return parser_new(c, out, err);
    *out = p;
    return AMBER_OK;
}

/* After a huge row the parser's own buffers are huge too: it isn't kept. */
static void parser_give(struct check *c, struct parser *p)
{
    if (p->copy.cap > AMBER_BLOCK_MAX || p->overlay.cap > 2 * (size_t)AMBER_BLOCK_MAX) {
        parser_free(p);
        return;
    }
    pthread_mutex_lock(&c->lock);
    p->next = c->parsers;
    c->parsers = p;
    pthread_mutex_unlock(&c->lock);
}

/* The overlay lines of group i. */
static enum amber_rc read_overlay(struct check *c, struct parser *p, size_t i,
                                  struct amber_err *err)
{
    uint64_t off = c->overlay_offs[i], end = c->overlay_offs[i + 1];
    size_t got = 0;

    p->overlay.len = 0;
    if (off == end)
        return AMBER_OK;
    enum amber_rc rc =
        end - off > AMBER_ROW_JSON_MAX
            ? amber_fail(err, AMBER_E_LIMIT, "%s: too much for one block of rows", c->overlay->key)
            : amber_buf_reserve(&p->overlay, (size_t)(end - off), err);
    if (!rc)
        rc = amber_reader_read(c->reader, off, p->overlay.data, (size_t)(end - off), &got, err);
    if (!rc)
        p->overlay.len = got;
    return rc;
}

/* The lines of one group's overlay, row by row. */
struct overlay_cursor {
    const char *next, *end;
    uint64_t row;     /* of the line below */
    const char *text; /* NULL: no more */
    size_t len;
};

static enum amber_rc cursor_step(struct overlay_cursor *o, struct amber_err *err)
{
    o->text = NULL;
    if (o->next == o->end)
        return AMBER_OK;
    /* Step 1 has seen that every line is ended and sound. */
    const char *nl = memchr(o->next, '\n', (size_t)(o->end - o->next));
    const char *line = o->next;
    if (!nl)
        return amber_fail(err, AMBER_E_CORRUPT, "a line of the overlay isn't ended");
    o->next = nl + 1;
    return amber_overlay_parse(line, (size_t)(nl - line), &o->row, &o->text, &o->len, err);
}

static void hash_copy(struct parser *p)
{
    amber_fast_hasher_update(p->hasher, p->copy.data, p->copy.len);
    p->copy.len = 0;
}

/* Parse the group's rows; the COPY lines go into the parser's digest. */
static enum amber_rc parse_rows(struct parser *p, const struct scan_group *g, const char *key,
                                struct amber_err *err)
{
    struct overlay_cursor o = {0};
    const char *end = g->raw + g->raw_len, *line = g->raw;
    enum amber_rc rc = AMBER_OK;

    if (p->overlay.len > 0) {
        o.next = p->overlay.data;
        o.end = p->overlay.data + p->overlay.len;
        rc = cursor_step(&o, err);
    }

    for (uint64_t row = g->first_row; !rc && line < end; row++) {
        const char *nl = memchr(line, '\n', (size_t)(end - line));
        if (!nl)
            break;
        bool has = o.text && o.row == row;
        rc = amber_row_decode(p->decoder, line, (size_t)(nl - line), has ? o.text : NULL,
                              has ? o.len : 0, &p->copy, NULL, err);
        if (rc) {
            amber_wrap(err, "%s: row %" PRIu64 " (block %zu, raw offset %" PRIu64 ")", key, row + 1,
                       g->first, g->raw_off + (uint64_t)(line - g->raw));
            /* The parser speaks of a person's file; this is an archive. */
            if (rc == AMBER_E_INVALID)
                rc = err->code = AMBER_E_CORRUPT;
            return rc;
        }
        if (p->copy.len >= COPY_FLUSH)
            hash_copy(p);
        if (has)
            rc = cursor_step(&o, err);
        line = nl + 1;
    }
    return rc;
}

static enum amber_rc compare_proof(const struct check *c, struct parser *p,
                                   const struct scan_group *g, struct amber_err *err)
{
    struct amber_fast_digest found;
    const struct amber_proof *proof = c->cfg->proof;

    if (!proof)
        return AMBER_OK;
    amber_fast_hasher_final(p->hasher, &found);
    if (found.lo == proof->digests[g->index].lo && found.hi == proof->digests[g->index].hi)
        return AMBER_OK;
    return amber_fail(err, AMBER_E_CORRUPT,
                      "%s: rows %" PRIu64 " to %" PRIu64 " (block %zu, stored offset %" PRIu64
                      ") don't turn back into what PostgreSQL sent: this is a bug in amberfs, "
                      "nothing was moved",
                      c->archive->key, g->first_row + 1, g->first_row + g->rows, g->first,
                      c->archive->blocks[g->first].stored_off);
}

static enum amber_rc check_rows(struct check *c, const struct scan_group *g, struct amber_err *err)
{
    struct parser *p;
    enum amber_rc rc = parser_take(c, &p, err);

    if (rc)
        return rc;
    p->copy.len = p->overlay.len = 0;
    amber_fast_hasher_reset(p->hasher);
    if (c->overlay)
        rc = read_overlay(c, p, g->index, err);
    if (!rc)
        rc = parse_rows(p, g, c->archive->key, err);
    if (!rc)
        hash_copy(p);
    if (!rc && c->cfg->proof)
        amber_fast_hasher_update(p->hasher, g->raw, g->raw_len);
    if (!rc)
        rc = compare_proof(c, p, g, err);
    parser_give(c, p);
    return rc;
}

static enum amber_rc rows_group(void *arg, const struct scan_group *g, struct amber_err *err)
{
    struct check *c = arg;
    uint64_t lines = amber_lines_count(g->raw, g->raw_len);

    if (lines != g->rows || g->raw[g->raw_len - 1] != '\n')
        return amber_fail(err, AMBER_E_CORRUPT,
                          "%s: block %zu at stored offset %" PRIu64 " and its followers hold "
                          "%" PRIu64 " lines%s, the manifest says %" PRIu64 " rows",
                          c->archive->key, g->first, c->archive->blocks[g->first].stored_off, lines,
                          g->raw[g->raw_len - 1] != '\n' ? " and a piece of one" : "", g->rows);
    /* Names alone don't say what the values may be; nor does a spoiled overlay. */
    bool parse = c->cfg->manifest->typed &&
                 (c->overlay || !amber_manifest_attachment(c->cfg->manifest, "overlay"));
    return parse ? check_rows(c, g, err) : AMBER_OK;
}

static enum amber_rc check_parts(struct check *c, struct amber_err *err)
{
    const struct amber_manifest *m = c->cfg->manifest;
    enum amber_rc rc = AMBER_OK;

    if (c->overlay)
        rc = check_overlay(c, err);
    for (size_t i = 0; !rc && i < m->n_attachments; i++)
        if (strcmp(m->attachments[i].kind, "overlay") != 0)
            rc = scan(c, &m->attachments[i].part, NULL, NULL, err);
    if (!rc)
        rc = scan(c, c->archive, rows_group, NULL, err);
    if (!rc && c->cfg->report)
        c->cfg->report->rows += c->archive->rows;
    return rc;
}

enum amber_rc amber_check(const struct check_config *cfg, struct amber_err *err)
{
    struct check c = {
        .cfg = cfg,
        .archive = &cfg->manifest->archive,
        .overlay = amber_manifest_attachment(cfg->manifest, "overlay"),
        .n_groups = amber_scan_groups(&cfg->manifest->archive),
    };

    if (cfg->proof && (!cfg->manifest->typed || cfg->proof->n != c.n_groups))
        return amber_fail(err, AMBER_E_CORRUPT,
                          "%s: %zu groups of rows were written, the manifest has %zu: it isn't "
                          "this archive's",
                          c.archive->key, cfg->proof->n, c.n_groups);
    pthread_mutex_init(&c.lock, NULL);
    c.noted_block = next_group(c.archive, 0);
    enum amber_rc rc = check_parts(&c, err);
    while (c.parsers) {
        struct parser *next = c.parsers->next;
        parser_free(c.parsers);
        c.parsers = next;
    }
    amber_reader_close(c.reader);
    amber_cache_free(c.cache);
    free(c.overlay_offs);
    pthread_mutex_destroy(&c.lock);
    return rc;
}
