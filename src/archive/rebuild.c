/*
 * rebuild.c - a manifest from the stored archive alone.
 *
 *   1 scan the object from its start: units, their digests, rows of each block, the header's text
 *   2 what the header says: table, columns with types, run, dates; without a header (codec none)
 *     the names of the first row's keys, and the run from the names of what lies beside it
 *   3 the overlay, if the run left one, is scanned the same way
 *
 * The window holds two of the largest units, so that a whole one is always in sight; a trailer may
 * be larger, for which it grows. Reads are sequential and nothing is kept but the block table.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "amber/json_memory.h"
#include "amber/verify.h"
#include "cut_priv.h"

#define WINDOW_BYTES (2U * AMBER_BLOCK_STORED_MAX)
#define PLAIN_BLOCK (1024U * 1024U)         /* raw bytes of a block, where the file has none */
#define FIRST_ROW_MAX (16U * 1024U * 1024U) /* a longer first row isn't looked at for names */

struct rebuild {
    struct amber_object *object;
    struct amber_object_info info;
    struct amber_codec *codec;
    char *window; /* owned; what is in sight: len bytes from pos on */
    size_t cap, pos, len;
    uint64_t off; /* of what is in sight in the file */
    struct amber_hasher *raw_hash, *stored_hash;
    struct amber_part part;
    size_t cap_blocks;
    bool within;            /* the last block ended inside a row */
    struct amber_buf raw;   /* of one unit */
    struct amber_buf meta;  /* the header's */
    struct amber_buf first; /* first row, as far as it has come */
    bool first_done;
};

static void rebuild_clear(struct rebuild *r)
{
    amber_object_close(r->object);
    amber_codec_free(r->codec);
    free(r->window);
    amber_hasher_free(r->raw_hash);
    amber_hasher_free(r->stored_hash);
    amber_part_clear(&r->part);
    amber_buf_clear(&r->raw);
    amber_buf_clear(&r->meta);
    amber_buf_clear(&r->first);
}

static enum amber_rc rebuild_open(struct rebuild *r, struct amber_store *st, const char *key,
                                  struct amber_err *err)
{
    const struct amber_codec_info *info = amber_codec_by_suffix(key);

    amber_buf_init(&r->raw, AMBER_BLOCK_MAX);
    amber_buf_init(&r->meta, AMBER_BLOCK_MAX);
    amber_buf_init(&r->first, FIRST_ROW_MAX);
    r->part.codec = info->kind;
    enum amber_rc rc = amber_strdup(key, &r->part.key, err);
    if (!rc)
        rc = amber_codec_new(info->kind, info->level_default, &r->codec, err);
    if (!rc)
        rc = amber_hasher_new(&r->raw_hash, err);
    if (!rc)
        rc = amber_hasher_new(&r->stored_hash, err);
    if (!rc)
        rc = amber_calloc(WINDOW_BYTES, 1, &r->window, err);
    r->cap = WINDOW_BYTES;
    if (!rc)
        rc = amber_object_open(st, key, AMBER_OPEN_CACHED, &r->object, &r->info, err);
    return rc;
}

/* --- step 1: the scan -------------------------------------------------------------------- */

static uint64_t left_in_file(const struct rebuild *r)
{
    return r->info.size - r->off - r->len;
}

/* Fill the window behind what is in sight. */
static enum amber_rc fill(struct rebuild *r, struct amber_err *err)
{
    memmove(r->window, r->window + r->pos, r->len);
    r->pos = 0;
    size_t n = r->cap - r->len;
    if (n > left_in_file(r))
        n = (size_t)left_in_file(r);
    if (n == 0)
        return AMBER_OK;
    enum amber_rc rc = amber_object_read(r->object, r->off + r->len, r->window + r->len, n, err);
    if (!rc)
        r->len += n;
    return rc;
}

/* Have a whole unit in sight, or all that is left. */
static enum amber_rc look(struct rebuild *r, struct amber_err *err)
{
    return r->len < AMBER_BLOCK_STORED_MAX && left_in_file(r) > 0 ? fill(r, err) : AMBER_OK;
}

static const char *sight(const struct rebuild *r)
{
    return r->window + r->pos;
}

static void consume(struct rebuild *r, size_t n)
{
    r->pos += n;
    r->len -= n;
    r->off += n;
}

static enum amber_rc grow_window(struct rebuild *r, struct amber_err *err)
{
    char *mem = realloc(r->window, r->cap * 2);

    if (!mem)
        return amber_fail_nomem(err, "a large trailer", r->cap * 2);
    r->window = mem;
    r->cap *= 2;
    return fill(r, err);
}

static enum amber_rc not_ours(const struct rebuild *r, const char *what, struct amber_err *err)
{
    return amber_fail(err, AMBER_E_UNSUPPORTED,
                      "%s: at stored offset %" PRIu64
                      ": %s: amberfs did not write this file, so it needs no manifest",
                      r->part.key, r->off, what);
}

/* Add an entry for the unit at the window's start. */
static enum amber_rc add_block(struct rebuild *r, enum amber_block_kind kind, size_t stored_len,
                               size_t raw_len, uint32_t rows, struct amber_err *err)
{
    struct amber_part *p = &r->part;
    struct amber_block b = {
        .kind = kind,
        .stored_off = p->stored_bytes,
        .raw_off = p->raw_bytes,
        .first_row = p->rows,
        .stored_len = (uint32_t)stored_len,
        .raw_len = (uint32_t)raw_len,
        .rows = rows,
    };
    enum amber_rc rc = amber_sha256(sight(r), stored_len, &b.sha256, err);

    if (!rc)
        rc = amber_hasher_update(r->stored_hash, sight(r), stored_len, err);
    if (!rc)
        rc = amber_grow(&p->blocks, &r->cap_blocks, p->n_blocks + 1, sizeof(*p->blocks), err);
    if (rc)
        return rc;
    p->blocks[p->n_blocks++] = b;
    p->stored_bytes += stored_len;
    p->raw_bytes += raw_len;
    p->rows += rows;
    return AMBER_OK;
}

/* Gather the first row for its keys; given up silently when it is too long. */
static void gather_first(struct rebuild *r, const char *raw, size_t len)
{
    struct amber_err err = AMBER_ERR_INIT;
    const char *nl = memchr(raw, '\n', len);

    if (r->first_done)
        return;
    r->first_done = nl != NULL;
    if (amber_buf_append(&r->first, raw, nl ? (size_t)(nl - raw) : len, &err)) {
        amber_buf_clear(&r->first);
        r->first_done = true;
    }
}

static enum amber_rc add_data(struct rebuild *r, size_t stored_len, const char *raw, size_t len,
                              struct amber_err *err)
{
    uint32_t rows = amber_rows_count(raw, len, r->within);

    if (r->part.n_blocks > 0 && r->part.blocks[r->part.n_blocks - 1].kind == AMBER_BLOCK_TRAILER)
        return not_ours(r, "rows behind a trailer", err);
    if (r->within && rows > 0)
        return not_ours(r, "a block starts inside a row", err);
    enum amber_rc rc = amber_hasher_update(r->raw_hash, raw, len, err);
    if (!rc)
        rc = add_block(r, AMBER_BLOCK_DATA, stored_len, len, rows, err);
    gather_first(r, raw, len);
    r->within = raw[len - 1] != '\n';
    return rc;
}

static enum amber_rc add_header(struct rebuild *r, size_t stored_len, struct amber_err *err)
{
    if (r->part.n_blocks > 0)
        return not_ours(r, "a header that doesn't stand first", err);
    amber_buf_swap(&r->meta, &r->raw);
    return add_block(r, AMBER_BLOCK_HEADER, stored_len, 0, 0, err);
}

static enum amber_rc add_trailer(struct rebuild *r, size_t stored_len, struct amber_err *err)
{
    if (r->part.n_blocks > 0 && r->part.blocks[r->part.n_blocks - 1].kind == AMBER_BLOCK_TRAILER)
        return not_ours(r, "a second trailer", err);
    return add_block(r, AMBER_BLOCK_TRAILER, stored_len, 0, 0, err);
}

/* The unit at the window's start. */
static enum amber_rc scan_unit(struct rebuild *r, struct amber_err *err)
{
    struct amber_scanned u = {0};
    enum amber_rc rc = amber_codec_scan(r->codec, sight(r), r->len, &u, &r->raw, err);

    /* Only a trailer is larger than the window: see whether there is more of it. */
    while (rc && rc != AMBER_E_NOMEM && left_in_file(r) > 0 && r->cap < AMBER_UNIT_STORED_MAX) {
        if ((rc = grow_window(r, err)))
            return rc;
        rc = amber_codec_scan(r->codec, sight(r), r->len, &u, &r->raw, err);
    }
    if (rc)
        return amber_wrap(err, "%s: at stored offset %" PRIu64, r->part.key, r->off);
    switch (u.type) {
    case AMBER_UNIT_BLOCK:
        rc = add_data(r, u.stored_len, r->raw.data, r->raw.len, err);
        break;
    case AMBER_UNIT_HEADER:
        rc = add_header(r, u.stored_len, err);
        break;
    case AMBER_UNIT_OTHER:
        rc = add_trailer(r, u.stored_len, err);
        break;
    }
    if (!rc)
        consume(r, u.stored_len);
    return rc;
}

/* A plain file has no units: it is cut anew, as the writer would. */
static enum amber_rc cut_plain(struct rebuild *r, struct amber_err *err)
{
    size_t len = amber_rows_cut(sight(r), r->len, r->within, PLAIN_BLOCK);
    enum amber_rc rc = add_data(r, len, sight(r), len, err);

    if (!rc)
        consume(r, len);
    return rc;
}

static enum amber_rc scan_file(struct rebuild *r, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    while (!rc && r->off < r->info.size) {
        rc = look(r, err);
        if (!rc)
            rc = r->part.codec == AMBER_CODEC_NONE ? cut_plain(r, err) : scan_unit(r, err);
    }
    if (!rc && r->within)
        rc = amber_fail(err, AMBER_E_CORRUPT,
                        "%s: the last row isn't ended: the archive was cut off", r->part.key);
    if (!rc)
        rc = amber_hasher_final(r->raw_hash, &r->part.raw_sha256, err);
    if (!rc)
        rc = amber_hasher_final(r->stored_hash, &r->part.stored_sha256, err);
    return rc ? rc : amber_part_check(&r->part, r->part.key, err);
}

/* --- step 2: what the archive says of itself --------------------------------------------- */

/* The run that left manifests or attachments beside the archive, "" if none or several did. */
struct found_run {
    char run_id[AMBER_UUID_LEN];
    bool several;
};

static enum amber_rc note_run(void *arg, const char *key, const struct amber_object_info *info,
                              struct amber_err *err)
{
    struct found_run *f = arg;
    const char *name = strrchr(key, '/');
    char id[AMBER_UUID_LEN] = "";

    (void)info;
    (void)err;
    snprintf(id, sizeof(id), "%s", name ? name + 1 : key);
    if (!amber_uuid_valid(id))
        return AMBER_OK;
    if (f->run_id[0] && strcmp(f->run_id, id) != 0)
        f->several = true;
    memcpy(f->run_id, id, sizeof(id));
    return AMBER_OK;
}

static enum amber_rc find_run(struct amber_store *st, const char *key, char out[AMBER_UUID_LEN],
                              struct amber_err *err)
{
    static const char *const folders[] = {"manifests", "attachments"};
    struct found_run f = {0};
    enum amber_rc rc = AMBER_OK;

    for (size_t i = 0; !rc && i < amber_countof(folders); i++) {
        AMBER_AUTO_FREE char *prefix = NULL;
        rc = amber_asprintf(&prefix, err, AMBER_META_DIR "/%s/%s", folders[i], key);
        if (!rc)
            rc = amber_store_list(st, prefix, note_run, &f, err);
        if (rc == AMBER_E_NOT_FOUND)
            rc = AMBER_OK;
    }
    if (!rc && f.run_id[0] && !f.several)
        memcpy(out, f.run_id, AMBER_UUID_LEN);
    return rc;
}

/* Columns by the first row's keys; their types aren't known. */
static enum amber_rc columns_from_row(const struct amber_buf *row, struct amber_schema *out,
                                      struct amber_err *err)
{
    const char *key;
    json_t *doc, *value;
    /* A json value may have a key twice. */
    enum amber_rc rc = amber_json_load(row->data ? row->data : "", row->len, false, &doc, NULL, err);

    if (rc)
        return rc == AMBER_E_CORRUPT ? AMBER_OK : rc;
    if (!json_is_object(doc)) {
        json_decref(doc);
        return AMBER_OK;
    }
    rc = amber_calloc(json_object_size(doc), sizeof(*out->columns), &out->columns, err);
    json_object_foreach(doc, key, value)
    {
        if (rc)
            break;
        struct amber_column *c = &out->columns[out->n_columns];
        out->n_columns++;
        c->type.kind = AMBER_KIND_TEXT;
        rc = amber_strdup(key, &c->name, err);
        if (!rc)
            rc = amber_strdup("text", &c->type.name, err);
    }
    json_decref(doc);
    return rc;
}

static void copy_id(char out[AMBER_UUID_LEN], const char *id)
{
    static const char zero[] = "00000000-0000-0000-0000-000000000000";

    memcpy(out, id[0] ? id : zero, AMBER_UUID_LEN);
}

/* Without a header: what can be known from around the archive. */
static enum amber_rc fill_plain(struct amber_store *st, const struct rebuild *r,
                                struct amber_manifest *m, struct amber_err *err)
{
    struct amber_store_identity id = {0};
    char run_id[AMBER_UUID_LEN] = "";
    enum amber_rc rc = find_run(st, r->part.key, run_id, err);

    if (!rc)
        rc = amber_store_identity_get(st, &id, err);
    if (rc == AMBER_E_NOT_FOUND)
        rc = AMBER_OK;
    if (!rc)
        rc = amber_uuid_new(m->archive_id, err);
    copy_id(m->run_id, run_id);
    copy_id(m->store_id, id.store_id);
    copy_id(m->catalog_id, id.catalog_id);
    char **texts[] = {&m->job, &m->database, &m->table_schema, &m->table_name, &m->server_version};
    for (size_t i = 0; !rc && i < amber_countof(texts); i++)
        rc = amber_strdup("", texts[i], err);
    if (!rc)
        rc = amber_strdup(AMBER_VERSION, &m->amberfs_version, err);
    m->created_us = r->info.mtime_us;
    return rc ? rc : columns_from_row(&r->first, &m->schema, err);
}

static enum amber_rc describe(struct amber_store *st, struct rebuild *r, struct amber_manifest *m,
                              struct amber_err *err)
{
    if (r->meta.len == 0)
        return fill_plain(st, r, m, err);
    enum amber_rc rc = amber_manifest_meta_parse(r->meta.data, r->meta.len, m, err);
    if (rc)
        return amber_wrap(err, "%s: its header unit", r->part.key);
    m->typed = true;
    return AMBER_OK;
}

/* --- step 3 ------------------------------------------------------------------------------ */

static enum amber_rc rebuild_part(struct amber_store *st, const char *key, struct rebuild *r,
                                  struct amber_err *err)
{
    enum amber_rc rc = rebuild_open(r, st, key, err);

    return rc ? rc : scan_file(r, err);
}

static enum amber_rc add_overlay(struct amber_store *st, struct amber_manifest *m,
                                 struct amber_err *err)
{
    AMBER_CLEANUP(rebuild_clear) struct rebuild r = {0};
    AMBER_AUTO_FREE char *key = NULL;
    struct amber_object_info info;
    enum amber_rc rc =
        amber_attachment_key(m->archive.key, m->run_id, "overlay", AMBER_CODEC_ZSTD, &key, err);

    if (!rc)
        rc = amber_store_stat(st, key, &info, err);
    if (rc)
        return rc == AMBER_E_NOT_FOUND ? AMBER_OK : rc;
    rc = rebuild_part(st, key, &r, err);
    if (!rc)
        rc = amber_calloc(1, sizeof(*m->attachments), &m->attachments, err);
    if (rc)
        return rc;
    m->n_attachments = 1;
    m->attachments[0].part = r.part;
    r.part = (struct amber_part){0};
    return amber_strdup("overlay", &m->attachments[0].kind, err);
}

enum amber_rc amber_rebuild(struct amber_store *st, const char *archive_key,
                            struct amber_manifest *out, struct amber_err *err)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    AMBER_CLEANUP(rebuild_clear) struct rebuild r = {0};
    enum amber_rc rc = rebuild_part(st, archive_key, &r, err);

    if (!rc)
        rc = describe(st, &r, &m, err);
    if (rc)
        return rc;
    m.rebuilt = true;
    m.archive = r.part;
    r.part = (struct amber_part){0};
    rc = add_overlay(st, &m, err);
    if (rc)
        return rc;
    *out = m;
    m = (struct amber_manifest){0};
    return AMBER_OK;
}
