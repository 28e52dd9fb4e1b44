/*
 * manifest_parse.c - the manifest's document back into its structure, trusting nothing in it.
 *
 *   1 head: format, version, flags            4 the archive part, 5 the attachments
 *   2 origin, table, days, columns, lists     each: members, block table, amber_part_check
 *   3 crypto must be null
 *
 * A structure that came out of here can be used without looking at its numbers again: offsets are
 * gapless, sums agree, and no length is above its limit.
 */
#include "manifest_priv.h"

#include <inttypes.h>
#include <stdio.h>

#include "amber/json_memory.h"
#include "document_priv.h"

#define PARTITIONS_MAX 65536U
#define SETTINGS_MAX 1024U
#define ATTACHMENTS_MAX 256U
#define BLOCK_COLUMNS 8

/* Numbers of one entry, in the order of its columns. */
enum { COL_STORED_OFF = 1, COL_STORED_LEN, COL_RAW_OFF, COL_RAW_LEN, COL_FIRST_ROW, COL_ROWS };

static enum amber_rc part_fail(const char *path, size_t i, const char *member, uint64_t found,
                               uint64_t expected, struct amber_err *err)
{
    return amber_fail(err, AMBER_E_CORRUPT,
                      "%s.blocks[%zu].%s: found %" PRIu64 ", expected %" PRIu64, path, i, member,
                      found, expected);
}

static enum amber_rc check_limit(const char *path, size_t i, const char *member, uint64_t v,
                                 uint64_t min, uint64_t max, struct amber_err *err)
{
    if (v >= min && v <= max)
        return AMBER_OK;
    return amber_fail(err, AMBER_E_CORRUPT,
                      "%s.blocks[%zu].%s: %" PRIu64 " is not in %" PRIu64 "..%" PRIu64, path, i,
                      member, v, min, max);
}

/* Header and trailer hold no rows; where they may stand. */
static enum amber_rc check_frame(const struct amber_part *p, const char *path, size_t i,
                                 struct amber_err *err)
{
    const struct amber_block *b = &p->blocks[i];
    size_t place = b->kind == AMBER_BLOCK_HEADER ? 0 : p->n_blocks - 1;

    if (i != place)
        return amber_fail(err, AMBER_E_CORRUPT, "%s.blocks[%zu]: a %s may only stand %s", path, i,
                          amber_block_words[b->kind], place == 0 ? "first" : "last");
    if (b->raw_len != 0)
        return part_fail(path, i, "raw_len", b->raw_len, 0, err);
    if (b->rows != 0)
        return part_fail(path, i, "rows", b->rows, 0, err);
    return check_limit(path, i, "stored_len", b->stored_len, 1, AMBER_UNIT_STORED_MAX, err);
}

static enum amber_rc check_data(const struct amber_part *p, const char *path, size_t i,
                                struct amber_err *err)
{
    const struct amber_block *b = &p->blocks[i];
    enum amber_rc rc = check_limit(path, i, "raw_len", b->raw_len, 1, AMBER_BLOCK_MAX, err);

    if (!rc && p->codec == AMBER_CODEC_NONE && b->stored_len != b->raw_len)
        rc = part_fail(path, i, "stored_len", b->stored_len, b->raw_len, err);
    if (!rc)
        rc = check_limit(path, i, "stored_len", b->stored_len, 1, AMBER_BLOCK_STORED_MAX, err);
    /* Every row ends in a line break, so a block can't hold more rows than bytes; and the text's
     * first byte is a row's first byte. */
    if (!rc)
        rc = check_limit(path, i, "rows", b->rows, b->raw_off == 0 ? 1 : 0, b->raw_len, err);
    return rc;
}

static enum amber_rc check_sum(const char *path, const char *member, uint64_t found, uint64_t sum,
                               struct amber_err *err)
{
    if (found > AMBER_COUNT_MAX)
        return amber_fail(err, AMBER_E_CORRUPT, "%s.%s: %" PRIu64 " is above the limit", path,
                          member, found);
    if (found != sum)
        return amber_fail(err, AMBER_E_CORRUPT, "%s.%s: %" PRIu64 ", but its blocks have %" PRIu64,
                          path, member, found, sum);
    return AMBER_OK;
}

enum amber_rc amber_part_check(const struct amber_part *p, const char *path, struct amber_err *err)
{
    uint64_t stored = 0, raw = 0, rows = 0;
    enum amber_rc rc = amber_key_check(p->key, err);

    if (rc) {
        amber_wrap(err, "%s.key", path);
        err->code = AMBER_E_CORRUPT;
        return err->code;
    }
    for (size_t i = 0; i < p->n_blocks; i++) {
        const struct amber_block *b = &p->blocks[i];
        if (b->stored_off != stored)
            return part_fail(path, i, "stored_off", b->stored_off, stored, err);
        if (b->raw_off != raw)
            return part_fail(path, i, "raw_off", b->raw_off, raw, err);
        if (b->first_row != rows)
            return part_fail(path, i, "first_row", b->first_row, rows, err);
        rc = b->kind == AMBER_BLOCK_DATA ? check_data(p, path, i, err)
                                         : check_frame(p, path, i, err);
        if (rc)
            return rc;
        /* No overflow: n_blocks entries of 32 bits each fit into 64. */
        stored += b->stored_len;
        raw += b->raw_len;
        rows += b->rows;
    }
    rc = check_sum(path, "stored_bytes", p->stored_bytes, stored, err);
    if (!rc)
        rc = check_sum(path, "raw_bytes", p->raw_bytes, raw, err);
    if (!rc)
        rc = check_sum(path, "rows", p->rows, rows, err);
    return rc;
}

static enum amber_rc parse_kind(const struct doc_node *entry, enum amber_block_kind *out,
                                struct amber_err *err)
{
    struct doc_node n;
    enum amber_rc rc = amber_doc_item(entry, 0, JSON_STRING, &n, err);

    for (size_t i = 0; !rc && i < amber_countof(amber_block_words); i++) {
        if (strcmp(json_string_value(n.value), amber_block_words[i]) == 0) {
            *out = (enum amber_block_kind)i;
            return AMBER_OK;
        }
    }
    return rc ? rc : amber_doc_fail(&n, err, AMBER_E_CORRUPT, "is not a kind of block known here");
}

static enum amber_rc parse_block(const struct doc_node *entry, struct amber_block *out,
                                 struct amber_err *err)
{
    uint64_t v[BLOCK_COLUMNS] = {0};
    struct doc_node n;

    if (json_array_size(entry->value) != BLOCK_COLUMNS)
        return amber_doc_fail(entry, err, AMBER_E_CORRUPT, "expected %d columns, found %zu",
                              BLOCK_COLUMNS, json_array_size(entry->value));
    enum amber_rc rc = parse_kind(entry, &out->kind, err);
    for (size_t i = COL_STORED_OFF; !rc && i <= COL_ROWS; i++) {
        bool narrow = i == COL_STORED_LEN || i == COL_RAW_LEN || i == COL_ROWS;
        rc = amber_doc_item(entry, i, JSON_INTEGER, &n, err);
        if (!rc)
            rc = amber_doc_to_uint(&n, narrow ? UINT32_MAX : AMBER_COUNT_MAX, &v[i], err);
    }
    if (!rc)
        rc = amber_doc_item(entry, BLOCK_COLUMNS - 1, JSON_STRING, &n, err);
    if (rc)
        return rc;
    struct amber_err why = AMBER_ERR_INIT;
    if (amber_sha256_parse(json_string_value(n.value), &out->sha256, &why))
        return amber_doc_fail(&n, err, AMBER_E_CORRUPT, "is not a SHA-256 in hex");
    out->stored_off = v[COL_STORED_OFF];
    out->stored_len = (uint32_t)v[COL_STORED_LEN];
    out->raw_off = v[COL_RAW_OFF];
    out->raw_len = (uint32_t)v[COL_RAW_LEN];
    out->first_row = v[COL_FIRST_ROW];
    out->rows = (uint32_t)v[COL_ROWS];
    return AMBER_OK;
}

static enum amber_rc parse_blocks(const struct doc_node *part, struct amber_part *out,
                                  struct amber_err *err)
{
    struct doc_node n, entry;
    enum amber_rc rc = amber_doc_get(part, "block_digest", JSON_STRING, &n, err);

    if (!rc && strcmp(json_string_value(n.value), "sha256") != 0)
        rc = amber_doc_fail(&n, err, AMBER_E_UNSUPPORTED, "is not \"sha256\": use a newer amberfs");
    if (!rc)
        rc = amber_doc_get(part, "blocks", JSON_ARRAY, &n, err);
    if (!rc)
        rc = amber_calloc(json_array_size(n.value), sizeof(*out->blocks), &out->blocks, err);
    if (rc)
        return rc;
    out->n_blocks = json_array_size(n.value);
    for (size_t i = 0; !rc && i < out->n_blocks; i++) {
        rc = amber_doc_item(&n, i, JSON_ARRAY, &entry, err);
        if (!rc)
            rc = parse_block(&entry, &out->blocks[i], err);
    }
    return rc;
}

static enum amber_rc parse_part(const struct doc_node *part, const char *path,
                                struct amber_part *out, struct amber_err *err)
{
    struct doc_node n;
    enum amber_rc rc = amber_doc_string(part, "key", &out->key, err);

    if (!rc)
        rc = amber_doc_get(part, "codec", JSON_STRING, &n, err);
    if (rc)
        return rc;
    const struct amber_codec_info *codec = amber_codec_by_name(json_string_value(n.value));
    if (!codec)
        return amber_doc_fail(&n, err, AMBER_E_UNSUPPORTED,
                              "\"%.32s\" is not known here: use a newer amberfs",
                              json_string_value(n.value));
    out->codec = codec->kind;
    rc = amber_doc_uint(part, "rows", AMBER_COUNT_MAX, &out->rows, err);
    if (!rc)
        rc = amber_doc_uint(part, "raw_bytes", AMBER_COUNT_MAX, &out->raw_bytes, err);
    if (!rc)
        rc = amber_doc_uint(part, "stored_bytes", AMBER_COUNT_MAX, &out->stored_bytes, err);
    if (!rc)
        rc = amber_doc_digest(part, "raw_digest", &out->raw_sha256, err);
    if (!rc)
        rc = amber_doc_digest(part, "stored_digest", &out->stored_sha256, err);
    if (!rc)
        rc = parse_blocks(part, out, err);
    return rc ? rc : amber_part_check(out, path, err);
}

static enum amber_rc parse_attachments(const struct doc_node *root, struct amber_manifest *out,
                                       struct amber_err *err)
{
    struct doc_node list, n;
    enum amber_rc rc = amber_doc_get(root, "attachments", JSON_ARRAY, &list, err);

    if (rc)
        return rc;
    size_t count = json_array_size(list.value);
    if (count > ATTACHMENTS_MAX)
        return amber_doc_fail(&list, err, AMBER_E_CORRUPT, "has more than %u", ATTACHMENTS_MAX);
    rc = amber_calloc(count, sizeof(*out->attachments), &out->attachments, err);
    for (size_t i = 0; !rc && i < count; i++) {
        struct amber_attachment *a = &out->attachments[i];
        char path[32];
        snprintf(path, sizeof(path), "attachments[%zu]", i);
        out->n_attachments = i + 1;
        rc = amber_doc_item(&list, i, JSON_OBJECT, &n, err);
        if (!rc)
            rc = amber_doc_string(&n, "kind", &a->kind, err);
        if (!rc)
            rc = parse_part(&n, path, &a->part, err);
    }
    return rc;
}

static enum amber_rc parse_origin(const struct doc_node *root, struct amber_manifest *out,
                                  struct amber_err *err)
{
    const struct {
        const char *key;
        char *id;
    } ids[] = {
        {"archive_id", out->archive_id},
        {"run_id", out->run_id},
        {"store_id", out->store_id},
        {"catalog_id", out->catalog_id},
    };
    const struct {
        const char *key;
        char **text;
    } texts[] = {
        {"job", &out->job},
        {"database", &out->database},
        {"server_version", &out->server_version},
        {"amberfs_version", &out->amberfs_version},
        {"table_schema", &out->table_schema},
        {"table_name", &out->table_name},
    };
    enum amber_rc rc = AMBER_OK;
    for (size_t i = 0; !rc && i < amber_countof(ids); i++)
        rc = amber_doc_uuid(root, ids[i].key, ids[i].id, err);
    for (size_t i = 0; !rc && i < amber_countof(texts); i++)
        rc = amber_doc_string(root, texts[i].key, texts[i].text, err);
    if (!rc)
        rc = amber_doc_string_or_null(root, "parent_table", &out->parent_table, err);
    if (!rc)
        rc = amber_doc_time(root, "created", &out->created_us, err);
    return rc;
}

/* Days that amber_day_from_us can give: anything else is no day of a row. */
static enum amber_rc parse_days(const struct doc_node *root, struct amber_manifest *out,
                                struct amber_err *err)
{
    const int64_t limit = INT64_MAX / INT64_C(86400000000) + 1;
    struct doc_node n;
    enum amber_rc rc = amber_doc_int(root, "start_day", &out->start_day, err);

    if (!rc)
        rc = amber_doc_int(root, "end_day", &out->end_day, err);
    if (!rc)
        rc = amber_doc_get(root, "end_day", JSON_INTEGER, &n, err);
    if (!rc && (out->start_day < -limit || out->end_day > limit || out->end_day < out->start_day))
        rc = amber_doc_fail(&n, err, AMBER_E_CORRUPT,
                            "%" PRId64 " is not a day behind start_day %" PRId64, out->end_day,
                            out->start_day);
    return rc;
}

static enum amber_rc parse_columns(const struct doc_node *root, struct amber_manifest *out,
                                   struct amber_err *err)
{
    struct doc_node n;
    enum amber_rc rc = amber_doc_get(root, "columns", JSON_ARRAY, &n, err);

    if (rc)
        return rc;
    amber_json_begin();
    AMBER_AUTO_FREE char *text = json_dumps(n.value, JSON_COMPACT);
    if (!text || amber_json_starved())
        return amber_fail_nomem(err, "the columns", 0);
    return amber_schema_parse(text, strlen(text), &out->schema, err);
}

static enum amber_rc parse_partitions(const struct doc_node *root, struct amber_manifest *out,
                                      struct amber_err *err)
{
    struct doc_node list, n;
    enum amber_rc rc = amber_doc_get(root, "partitions", JSON_ARRAY, &list, err);

    if (rc)
        return rc;
    size_t count = json_array_size(list.value);
    if (count > PARTITIONS_MAX)
        return amber_doc_fail(&list, err, AMBER_E_CORRUPT, "has more than %u", PARTITIONS_MAX);
    rc = amber_calloc(count, sizeof(*out->partitions), &out->partitions, err);
    for (size_t i = 0; !rc && i < count; i++) {
        struct amber_partition *p = &out->partitions[i];
        out->n_partitions = i + 1;
        rc = amber_doc_item(&list, i, JSON_OBJECT, &n, err);
        if (!rc)
            rc = amber_doc_string(&n, "schema", &p->schema, err);
        if (!rc)
            rc = amber_doc_string(&n, "name", &p->name, err);
        if (!rc)
            rc = amber_doc_string(&n, "bound", &p->bound, err);
    }
    return rc;
}

static enum amber_rc parse_settings(const struct doc_node *root, struct amber_manifest *out,
                                    struct amber_err *err)
{
    struct doc_node list, n;
    enum amber_rc rc = amber_doc_get(root, "settings", JSON_ARRAY, &list, err);

    if (rc)
        return rc;
    size_t count = json_array_size(list.value);
    if (count > SETTINGS_MAX)
        return amber_doc_fail(&list, err, AMBER_E_CORRUPT, "has more than %u", SETTINGS_MAX);
    rc = amber_calloc(count, sizeof(*out->settings), &out->settings, err);
    for (size_t i = 0; !rc && i < count; i++) {
        struct amber_setting *s = &out->settings[i];
        out->n_settings = i + 1;
        rc = amber_doc_item(&list, i, JSON_OBJECT, &n, err);
        if (!rc)
            rc = amber_doc_string(&n, "name", &s->name, err);
        if (!rc)
            rc = amber_doc_string(&n, "value", &s->value, err);
    }
    return rc;
}

static enum amber_rc parse_common(const struct doc_node *root, struct amber_manifest *out,
                                  struct amber_err *err)
{
    enum amber_rc rc = parse_origin(root, out, err);

    if (!rc)
        rc = parse_days(root, out, err);
    if (!rc)
        rc = parse_columns(root, out, err);
    if (!rc)
        rc = parse_partitions(root, out, err);
    if (!rc)
        rc = parse_settings(root, out, err);
    return rc;
}

static enum amber_rc parse_manifest(const struct doc_node *root, struct amber_manifest *out,
                                    struct amber_err *err)
{
    struct doc_node n;
    enum amber_rc rc = parse_common(root, out, err);

    if (!rc)
        rc = amber_doc_bool(root, "rebuilt", &out->rebuilt, err);
    if (!rc)
        rc = amber_doc_bool(root, "typed", &out->typed, err);
    if (rc)
        return rc;
    if (!json_is_null(json_object_get(root->value, "crypto")))
        return amber_fail(err, AMBER_E_UNSUPPORTED,
                          "crypto: this version reads no encrypted archives: use a newer amberfs");
    rc = amber_doc_get(root, "archive", JSON_OBJECT, &n, err);
    if (!rc)
        rc = parse_part(&n, "archive", &out->archive, err);
    if (!rc)
        rc = parse_attachments(root, out, err);
    return rc;
}

static enum amber_rc parse_document(const char *text, size_t len, const char *format,
                                    enum amber_rc (*parse)(const struct doc_node *root,
                                                           struct amber_manifest *out,
                                                           struct amber_err *err),
                                    struct amber_manifest *out, struct amber_err *err)
{
    AMBER_CLEANUP(amber_doc_free) json_t *doc = NULL;
    struct doc_node root;

    *out = (struct amber_manifest){0};
    enum amber_rc rc =
        amber_doc_open(text, len, format, &doc, &root, &out->write_incompat_unknown, err);
    if (!rc)
        rc = parse(&root, out, err);
    if (rc)
        amber_manifest_clear(out);
    return rc;
}

enum amber_rc amber_manifest_parse(const char *text, size_t len, struct amber_manifest *out,
                                   struct amber_err *err)
{
    if (len > AMBER_MANIFEST_MAX) {
        *out = (struct amber_manifest){0};
        return amber_fail(err, AMBER_E_LIMIT, "a manifest of %zu bytes is above the limit of %u",
                          len, AMBER_MANIFEST_MAX);
    }
    return parse_document(text, len, MANIFEST_FORMAT, parse_manifest, out, err);
}

enum amber_rc amber_manifest_meta_parse(const char *text, size_t len, struct amber_manifest *out,
                                        struct amber_err *err)
{
    return parse_document(text, len, META_FORMAT, parse_common, out, err);
}
