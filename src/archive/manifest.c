/*
 * manifest.c - the manifest as a structure, as a document, and as an object in the store.
 *
 * The document is written by hand, one member and one block a line: it can be read by people,
 * compared by diff, and takes no more memory than its text. Nothing is put into the store that
 * wouldn't be read back: what was encoded is parsed again first.
 */
#include "foreign_priv.h"
#include "manifest_priv.h"

#include <inttypes.h>
#include <stdio.h>

#include "amber/calendar.h"
#include "document_priv.h"
#include "source_priv.h"

const char *const amber_block_words[3] = {[AMBER_BLOCK_HEADER] = "header",
                                          [AMBER_BLOCK_DATA] = "data",
                                          [AMBER_BLOCK_TRAILER] = "trailer"};

void amber_part_clear(struct amber_part *p)
{
    amber_foreign_part_free(p->foreign);
    free(p->key);
    free(p->blocks);
    *p = (struct amber_part){0};
}

enum amber_rc amber_part_copy(const struct amber_part *from, struct amber_part *out,
                              struct amber_err *err)
{
    struct amber_part p = *from;

    p.key = NULL;
    p.blocks = NULL;
    p.foreign = NULL;
    enum amber_rc rc = amber_strdup(from->key, &p.key, err);
    if (!rc)
        rc = amber_calloc(from->n_blocks, sizeof(*p.blocks), &p.blocks, err);
    if (rc) {
        amber_part_clear(&p);
        *out = p;
        return rc;
    }
    if (from->n_blocks > 0)
        memcpy(p.blocks, from->blocks, from->n_blocks * sizeof(*p.blocks));
    *out = p;
    return AMBER_OK;
}

void amber_manifest_clear(struct amber_manifest *m)
{
    free(m->job);
    free(m->database);
    free(m->table_schema);
    free(m->table_name);
    free(m->parent_table);
    free(m->server_version);
    free(m->amberfs_version);
    amber_schema_clear(&m->schema);
    for (size_t i = 0; i < m->n_partitions; i++) {
        free(m->partitions[i].schema);
        free(m->partitions[i].name);
        free(m->partitions[i].bound);
    }
    free(m->partitions);
    for (size_t i = 0; i < m->n_settings; i++) {
        free(m->settings[i].name);
        free(m->settings[i].value);
    }
    free(m->settings);
    amber_part_clear(&m->archive);
    for (size_t i = 0; i < m->n_attachments; i++) {
        free(m->attachments[i].kind);
        amber_part_clear(&m->attachments[i].part);
    }
    free(m->attachments);
    *m = (struct amber_manifest){0};
}

const struct amber_part *amber_manifest_attachment(const struct amber_manifest *m, const char *kind)
{
    for (size_t i = 0; i < m->n_attachments; i++)
        if (strcmp(m->attachments[i].kind, kind) == 0)
            return &m->attachments[i].part;
    return NULL;
}

static enum amber_rc put_block(const struct amber_block *b, struct amber_buf *out,
                               struct amber_err *err)
{
    char hex[AMBER_SHA256_HEX];

    amber_sha256_hex(&b->sha256, hex);
    return amber_buf_printf(out, err,
                            "[\"%s\",%" PRIu64 ",%" PRIu32 ",%" PRIu64 ",%" PRIu32 ",%" PRIu64
                            ",%" PRIu32 ",\"%s\"]",
                            amber_block_words[b->kind], b->stored_off, b->stored_len, b->raw_off,
                            b->raw_len, b->first_row, b->rows, hex);
}

/* The members of a part, without the braces. */
static enum amber_rc put_part(const struct amber_part *p, struct amber_buf *out,
                              struct amber_err *err)
{
    enum amber_rc rc = amber_buf_puts(out, "\"key\":", err);

    if (!rc)
        rc = amber_buf_json(out, p->key, strlen(p->key), err);
    if (!rc)
        rc = amber_doc_put(out, "codec", amber_codec_info(p->codec)->name, err);
    if (!rc)
        rc = amber_buf_printf(out, err,
                              ",\n\"rows\":%" PRIu64 ",\n\"raw_bytes\":%" PRIu64
                              ",\n\"stored_bytes\":%" PRIu64,
                              p->rows, p->raw_bytes, p->stored_bytes);
    if (!rc)
        rc = amber_doc_put_digest(out, "raw_digest", &p->raw_sha256, err);
    if (!rc)
        rc = amber_doc_put_digest(out, "stored_digest", &p->stored_sha256, err);
    if (!rc)
        rc = amber_buf_puts(out, ",\n\"block_digest\":\"sha256\",\n\"blocks\":[", err);
    for (size_t i = 0; !rc && i < p->n_blocks; i++) {
        rc = amber_buf_puts(out, i > 0 ? ",\n" : "\n", err);
        if (!rc)
            rc = put_block(&p->blocks[i], out, err);
    }
    return rc ? rc : amber_buf_puts(out, "]", err);
}

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

static enum amber_rc put_origin(const struct amber_manifest *m, struct amber_buf *out,
                                struct amber_err *err)
{
    const struct {
        const char *key, *text;
    } members[] = {
        {"archive_id", m->archive_id},
        {"run_id", m->run_id},
        {"store_id", m->store_id},
        {"catalog_id", m->catalog_id},
        {"job", or_empty(m->job)},
        {"database", or_empty(m->database)},
        {"server_version", or_empty(m->server_version)},
        {"amberfs_version", or_empty(m->amberfs_version)},
        {"table_schema", or_empty(m->table_schema)},
        {"table_name", or_empty(m->table_name)},
        {"parent_table", m->parent_table},
    };
    enum amber_rc rc = AMBER_OK;
    for (size_t i = 0; !rc && i < amber_countof(members); i++)
        rc = amber_doc_put(out, members[i].key, members[i].text, err);
    if (!rc)
        rc = amber_doc_put_time(out, "created", m->created_us, err);
    return rc;
}

static enum amber_rc put_days(const struct amber_manifest *m, struct amber_buf *out,
                              struct amber_err *err)
{
    char start[AMBER_DATE_MAX], end[AMBER_DATE_MAX];

    amber_date_format(m->start_day, start);
    amber_date_format(m->end_day, end);
    return amber_buf_printf(out, err,
                            ",\n\"start_day\":%" PRId64 ",\n\"end_day\":%" PRId64
                            ",\n\"start_date\":\"%s\",\n\"end_date\":\"%s\"",
                            m->start_day, m->end_day, start, end);
}

/* One object of strings: {"schema":...,"name":...} */
static enum amber_rc put_strings(struct amber_buf *out, const char *const *keys,
                                 const char *const *texts, size_t n, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    for (size_t i = 0; !rc && i < n; i++) {
        rc = amber_buf_printf(out, err, "%s\"%s\":", i > 0 ? "," : "{", keys[i]);
        if (!rc)
            rc = amber_buf_json(out, texts[i], strlen(texts[i]), err);
    }
    return rc ? rc : amber_buf_puts(out, "}", err);
}

static enum amber_rc put_lists(const struct amber_manifest *m, struct amber_buf *out,
                               struct amber_err *err)
{
    enum amber_rc rc = amber_buf_puts(out, ",\n\"partitions\":[", err);

    for (size_t i = 0; !rc && i < m->n_partitions; i++) {
        const struct amber_partition *p = &m->partitions[i];
        rc = amber_buf_puts(out, i > 0 ? ",\n" : "\n", err);
        if (!rc)
            rc = put_strings(out, (const char *const[]){"schema", "name", "bound"},
                             (const char *const[]){p->schema, p->name, p->bound}, 3, err);
    }
    if (!rc)
        rc = amber_buf_puts(out, "],\n\"settings\":[", err);
    for (size_t i = 0; !rc && i < m->n_settings; i++) {
        const struct amber_setting *s = &m->settings[i];
        rc = amber_buf_puts(out, i > 0 ? ",\n" : "\n", err);
        if (!rc)
            rc = put_strings(out, (const char *const[]){"name", "value"},
                             (const char *const[]){s->name, s->value}, 2, err);
    }
    return rc ? rc : amber_buf_puts(out, "]", err);
}

/* All but the parts: what the archive's header unit says too. */
static enum amber_rc put_common(const struct amber_manifest *m, struct amber_buf *out,
                                struct amber_err *err)
{
    enum amber_rc rc = put_origin(m, out, err);

    if (!rc)
        rc = put_days(m, out, err);
    if (!rc)
        rc = amber_buf_puts(out, ",\n\"columns\":", err);
    if (!rc)
        rc = amber_schema_encode(&m->schema, out, err);
    if (!rc)
        rc = put_lists(m, out, err);
    return rc;
}

enum amber_rc amber_manifest_meta_encode(const struct amber_manifest *m, struct amber_buf *out,
                                         struct amber_err *err)
{
    size_t before = out->len;
    enum amber_rc rc = amber_doc_head(out, META_FORMAT, err);

    if (!rc)
        rc = put_common(m, out, err);
    if (!rc)
        rc = amber_buf_puts(out, "\n}\n", err);
    if (!rc && out->len - before > AMBER_META_MAX)
        rc = amber_fail(err, AMBER_E_LIMIT,
                        "table %s.%s: the description of its columns takes %zu bytes, more than "
                        "an archive's header can hold (%u)",
                        or_empty(m->table_schema), or_empty(m->table_name), out->len - before,
                        AMBER_META_MAX);
    return rc;
}

enum amber_rc amber_manifest_encode(const struct amber_manifest *m, struct amber_buf *out,
                                    struct amber_err *err)
{
    enum amber_rc rc = amber_doc_head(out, MANIFEST_FORMAT, err);

    if (!rc)
        rc = put_common(m, out, err);
    if (!rc)
        rc = amber_buf_printf(out, err,
                              ",\n\"rebuilt\":%s,\n\"typed\":%s,\n\"crypto\":null,\n\"archive\":{",
                              m->rebuilt ? "true" : "false", m->typed ? "true" : "false");
    if (!rc)
        rc = put_part(&m->archive, out, err);
    if (!rc)
        rc = amber_buf_puts(out, "},\n\"attachments\":[", err);
    for (size_t i = 0; !rc && i < m->n_attachments; i++) {
        const struct amber_attachment *a = &m->attachments[i];
        rc = amber_buf_puts(out, i > 0 ? ",\n{\"kind\":" : "\n{\"kind\":", err);
        if (!rc)
            rc = amber_buf_json(out, a->kind, strlen(a->kind), err);
        if (!rc)
            rc = amber_buf_puts(out, ",\n", err);
        if (!rc)
            rc = put_part(&a->part, out, err);
        if (!rc)
            rc = amber_buf_puts(out, "}", err);
    }
    return rc ? rc : amber_buf_puts(out, "]\n}\n", err);
}

enum amber_rc amber_manifest_key(const char *archive_key, const char *run_id, uint64_t rows,
                                 uint64_t raw_bytes, char **out, struct amber_err *err)
{
    AMBER_AUTO_FREE char *key = NULL;
    enum amber_rc rc =
        amber_asprintf(&key, err, AMBER_META_DIR "/manifests/%s/%s.%" PRIu64 ".%" PRIu64 ".json",
                       archive_key, run_id, rows, raw_bytes);
    if (!rc)
        rc = amber_key_check(key, err);
    if (!rc)
        *out = amber_steal(&key);
    return rc;
}

enum amber_rc amber_attachment_key(const char *archive_key, const char *run_id, const char *kind,
                                   enum amber_codec_kind codec, char **out, struct amber_err *err)
{
    AMBER_AUTO_FREE char *key = NULL;
    enum amber_rc rc = amber_asprintf(&key, err, AMBER_META_DIR "/attachments/%s/%s.%s%s",
                                      archive_key, run_id, kind, amber_codec_info(codec)->suffix);
    if (!rc)
        rc = amber_key_check(key, err);
    if (!rc)
        *out = amber_steal(&key);
    return rc;
}

/* ".<digits>" as printf writes it; moves *p behind it. */
static bool parse_count(const char **p, uint64_t *out)
{
    const char *s = *p;
    uint64_t v = 0;

    if (*s++ != '.' || *s < '0' || *s > '9' || (*s == '0' && s[1] >= '0' && s[1] <= '9'))
        return false;
    for (; *s >= '0' && *s <= '9'; s++) {
        v = v * 10 + (uint64_t)(*s - '0');
        if (v > AMBER_COUNT_MAX)
            return false;
    }
    *p = s;
    *out = v;
    return true;
}

enum amber_rc amber_manifest_key_parse(const char *key, struct amber_manifest_name *out,
                                       struct amber_err *err)
{
    static const char prefix[] = AMBER_META_DIR "/manifests/";
    struct amber_manifest_name n = {0};
    const char *name = strrchr(key, '/');

    if (strncmp(key, prefix, sizeof(prefix) - 1) != 0 || name < key + sizeof(prefix))
        goto wrong;
    n.archive_key = key + sizeof(prefix) - 1;
    n.archive_key_len = (size_t)(name - n.archive_key);
    name++;
    if (strlen(name) < AMBER_UUID_LEN)
        goto wrong;
    memcpy(n.run_id, name, AMBER_UUID_LEN - 1);
    name += AMBER_UUID_LEN - 1;
    if (!amber_uuid_valid(n.run_id) || !parse_count(&name, &n.rows) ||
        !parse_count(&name, &n.raw_bytes) || strcmp(name, ".json") != 0)
        goto wrong;
    *out = n;
    return AMBER_OK;
wrong:
    return amber_fail(err, AMBER_E_INVALID,
                      "%s is not a manifest's key: expected %s<archive>/<run>.<rows>.<bytes>.json",
                      key, prefix);
}

enum amber_rc amber_manifest_put(struct amber_store *st, const struct amber_manifest *m,
                                 char **out_key, struct amber_sha256 *out_digest,
                                 struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(AMBER_MANIFEST_MAX);
    AMBER_AUTO_FREE char *key = NULL;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest again = {0};
    struct amber_sha256 digest;
    enum amber_rc rc = amber_manifest_key(m->archive.key, m->run_id, m->archive.rows,
                                          m->archive.raw_bytes, &key, err);
    if (!rc)
        rc = amber_manifest_encode(m, &text, err);
    if (!rc)
        rc = amber_manifest_parse(text.data, text.len, &again, err);
    if (!rc)
        rc = amber_sha256(text.data, text.len, &digest, err);
    if (rc) {
        amber_wrap(err, "manifest of %s", m->archive.key);
        return rc;
    }
    rc = amber_store_put(st, key, text.data, text.len, err);
    if (rc)
        return rc;
    *out_key = amber_steal(&key);
    *out_digest = digest;
    return AMBER_OK;
}

/* The key was made from the content, so a manifest under another's key is somebody's mistake. */
static enum amber_rc check_belongs(const char *key, const struct amber_manifest *m,
                                   struct amber_err *err)
{
    struct amber_manifest_name n;
    enum amber_rc rc = amber_manifest_key_parse(key, &n, err);

    if (rc)
        return rc;
    if (strlen(m->archive.key) == n.archive_key_len &&
        memcmp(m->archive.key, n.archive_key, n.archive_key_len) == 0 &&
        strcmp(m->run_id, n.run_id) == 0 && m->archive.rows == n.rows &&
        m->archive.raw_bytes == n.raw_bytes)
        return AMBER_OK;
    return amber_fail(err, AMBER_E_CORRUPT,
                      "it describes %s, run %s, %" PRIu64 " rows, %" PRIu64
                      " bytes, not what its name says: was it renamed?",
                      m->archive.key, m->run_id, m->archive.rows, m->archive.raw_bytes);
}

/* A manifest that was made anew from its archive can't have the recorded digest. It counts if the
 * run's commit marker vouches for the very bytes of the archive that it describes. */
static enum amber_rc check_digest(struct amber_store *st, const char *key,
                                  const struct amber_manifest *m, const struct amber_buf *text,
                                  const struct amber_sha256 *expected, struct amber_err *err)
{
    AMBER_CLEANUP(amber_marker_clear) struct amber_marker marker = {0};
    struct amber_err unused = AMBER_ERR_INIT;
    struct amber_sha256 digest;
    enum amber_rc rc = amber_sha256(text->data, text->len, &digest, err);

    if (rc || amber_sha256_equal(&digest, expected))
        return rc;
    if (m->rebuilt && amber_marker_get(st, m->run_id, &marker, &unused) == AMBER_OK)
        for (size_t i = 0; i < marker.n_entries; i++)
            if (strcmp(marker.entries[i].manifest_key, key) == 0 &&
                amber_sha256_equal(&marker.entries[i].stored, &m->archive.stored_sha256))
                return AMBER_OK;
    char want[AMBER_SHA256_HEX], found[AMBER_SHA256_HEX];
    amber_sha256_hex(expected, want);
    amber_sha256_hex(&digest, found);
    return amber_fail(err, AMBER_E_CORRUPT,
                      "its SHA-256 is %.16s..., recorded was %.16s...: restore it from a copy, or "
                      "run `amberfs rebuild-manifest`",
                      found, want);
}

struct manifest_wanted {
    struct amber_store *st; /* all copies */
    const char *key;
    const struct amber_sha256 *expected;
    struct amber_manifest *out;
};

static enum amber_rc get_from_copy(void *arg, unsigned copy, struct amber_store *store,
                                   struct amber_err *err)
{
    const struct manifest_wanted *w = arg;
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(AMBER_MANIFEST_MAX);
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    enum amber_rc rc = amber_store_get(store, w->key, &text, err);

    /* Bytes that don't have the recorded digest are parsed all the same: the parser is made for
     * anything, and only a rebuilt manifest is let through. */
    if (!rc)
        rc = amber_manifest_parse(text.data, text.len, &m, err);
    if (!rc)
        rc = check_belongs(w->key, &m, err);
    if (!rc && w->expected)
        rc = check_digest(store, w->key, &m, &text, w->expected, err);
    if (rc) {
        amber_wrap(err, "manifest %s", w->key);
        amber_copy_warn(w->st, copy, err);
        return rc;
    }
    *w->out = m;
    m = (struct amber_manifest){0};
    return AMBER_OK;
}

enum amber_rc amber_manifest_get(struct amber_store *st, const char *key,
                                 const struct amber_sha256 *expected, struct amber_manifest *out,
                                 struct amber_err *err)
{
    struct manifest_wanted w = {.st = st, .key = key, .expected = expected, .out = out};

    return amber_copies_try(st, get_from_copy, &w, err);
}
