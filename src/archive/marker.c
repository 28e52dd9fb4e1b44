/*
 * marker.c - the commit marker: a run's manifests with their digests, written after COMMIT.
 *
 * Entries stand in the order of their keys. Two hosts may write the same marker at the same time,
 * or one again after a crash: the run and its entries decide whether it is the same.
 */
#include <inttypes.h>

#include "document_priv.h"
#include "marker_priv.h"
#include "source_priv.h"

#define MARKER_BYTES_MAX (16U * 1024U * 1024U)

void amber_marker_clear(struct amber_marker *m)
{
    for (size_t i = 0; i < m->n_entries; i++)
        free(m->entries[i].manifest_key);
    free(m->entries);
    free(m->job);
    *m = (struct amber_marker){0};
}

static int compare_keys(const void *a, const void *b)
{
    const struct amber_marker_entry *x = a, *y = b;

    return strcmp(x->manifest_key, y->manifest_key);
}

static enum amber_rc put_entry(const struct amber_marker_entry *e, struct amber_buf *out,
                               struct amber_err *err)
{
    enum amber_rc rc = amber_buf_puts(out, "\n{\"manifest\":", err);

    if (!rc)
        rc = amber_buf_json(out, e->manifest_key, strlen(e->manifest_key), err);
    if (!rc)
        rc = amber_doc_put_digest(out, "manifest_digest", &e->digest, err);
    if (!rc)
        rc = amber_doc_put_digest(out, "stored_digest", &e->stored, err);
    return rc ? rc : amber_buf_puts(out, "}", err);
}

static enum amber_rc encode(const struct amber_marker *m, struct amber_buf *out,
                            struct amber_err *err)
{
    AMBER_AUTO_FREE struct amber_marker_entry *sorted = NULL;
    enum amber_rc rc = amber_calloc(m->n_entries, sizeof(*sorted), &sorted, err);

    if (rc)
        return rc;
    if (m->n_entries > 0) {
        memcpy(sorted, m->entries, m->n_entries * sizeof(*sorted));
        qsort(sorted, m->n_entries, sizeof(*sorted), compare_keys);
    }
    rc = amber_doc_head(out, MARKER_FORMAT, err);
    if (!rc)
        rc = amber_doc_put(out, "run_id", m->run_id, err);
    if (!rc)
        rc = amber_doc_put(out, "job", m->job ? m->job : "", err);
    if (!rc)
        rc = amber_doc_put_time(out, "committed", m->committed_us, err);
    if (!rc)
        rc = amber_buf_puts(out, ",\n\"archives\":[", err);
    for (size_t i = 0; !rc && i < m->n_entries; i++) {
        rc = amber_buf_puts(out, i > 0 ? "," : "", err);
        if (!rc)
            rc = put_entry(&sorted[i], out, err);
    }
    return rc ? rc : amber_buf_puts(out, "]\n}\n", err);
}

enum amber_rc amber_marker_entry_check(const struct amber_marker *m, size_t i,
                                       struct amber_err *err)
{
    const struct amber_marker_entry *e = &m->entries[i];
    struct amber_manifest_name name;
    enum amber_rc rc = amber_key_check(e->manifest_key, err);

    if (!rc)
        rc = amber_manifest_key_parse(e->manifest_key, &name, err);
    if (rc)
        return err->code = AMBER_E_CORRUPT;
    if (strcmp(name.run_id, m->run_id) != 0)
        return amber_fail(err, AMBER_E_CORRUPT, "is of run %s, not of %s", name.run_id, m->run_id);
    if (i > 0 && compare_keys(&e[-1], e) >= 0)
        return amber_fail(err, AMBER_E_CORRUPT, "is not behind the one before it");
    return AMBER_OK;
}

static enum amber_rc parse_entry(const struct doc_node *n, const struct amber_marker *m, size_t i,
                                 struct amber_err *err)
{
    struct amber_marker_entry *out = &m->entries[i];
    struct amber_err why = AMBER_ERR_INIT;
    struct doc_node key;
    enum amber_rc rc = amber_doc_string(n, "manifest", &out->manifest_key, err);

    if (!rc)
        rc = amber_doc_digest(n, "manifest_digest", &out->digest, err);
    if (!rc)
        rc = amber_doc_digest(n, "stored_digest", &out->stored, err);
    if (!rc)
        rc = amber_doc_get(n, "manifest", JSON_STRING, &key, err);
    if (!rc && amber_marker_entry_check(m, i, &why))
        rc = amber_doc_fail(&key, err, AMBER_E_CORRUPT, "%s", why.text);
    return rc;
}

enum amber_rc amber_marker_parse(const char *text, size_t len, struct amber_marker *out,
                                 struct amber_err *err)
{
    AMBER_CLEANUP(amber_marker_clear) struct amber_marker m = {0};
    AMBER_CLEANUP(amber_doc_free) json_t *doc = NULL;
    struct doc_node root, list, n;
    bool write_unknown; /* a marker is never changed, so this bars nothing */
    enum amber_rc rc = amber_doc_open(text, len, MARKER_FORMAT, &doc, &root, &write_unknown, err);

    if (!rc)
        rc = amber_doc_uuid(&root, "run_id", m.run_id, err);
    if (!rc)
        rc = amber_doc_string(&root, "job", &m.job, err);
    if (!rc)
        rc = amber_doc_time(&root, "committed", &m.committed_us, err);
    if (!rc)
        rc = amber_doc_get(&root, "archives", JSON_ARRAY, &list, err);
    if (!rc)
        rc = amber_calloc(json_array_size(list.value), sizeof(*m.entries), &m.entries, err);
    for (size_t i = 0; !rc && i < json_array_size(list.value); i++) {
        m.n_entries = i + 1;
        rc = amber_doc_item(&list, i, JSON_OBJECT, &n, err);
        if (!rc)
            rc = parse_entry(&n, &m, i, err);
    }
    if (rc)
        return rc;
    *out = m;
    m = (struct amber_marker){0};
    return AMBER_OK;
}

static enum amber_rc read_marker(const char *text, size_t len, struct amber_marker *out,
                                 struct amber_err *err)
{
    return amber_marker_scan(text, len, out) ? AMBER_OK : amber_marker_parse(text, len, out, err);
}

static enum amber_rc marker_key(const char *run_id, char **out, struct amber_err *err)
{
    if (!amber_uuid_valid(run_id))
        return amber_fail(err, AMBER_E_INVALID, "\"%.64s\" is not a run's UUID", run_id);
    return amber_asprintf(out, err, AMBER_META_DIR "/commits/%s.json", run_id);
}

struct marker_wanted {
    struct amber_store *st; /* all copies */
    const char *key, *run_id;
    struct amber_marker *out;
};

static enum amber_rc get_from_copy(void *arg, unsigned copy, struct amber_store *store,
                                   struct amber_err *err)
{
    const struct marker_wanted *w = arg;
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(MARKER_BYTES_MAX);
    AMBER_CLEANUP(amber_marker_clear) struct amber_marker m = {0};
    enum amber_rc rc = amber_store_get(store, w->key, &text, err);

    if (rc)
        return rc;
    rc = read_marker(text.data ? text.data : "", text.len, &m, err);
    if (!rc && strcmp(m.run_id, w->run_id) != 0)
        rc = amber_fail(err, AMBER_E_CORRUPT, "run_id: is %s, not what the name says", m.run_id);
    if (rc) {
        amber_wrap(err, "commit marker %s", w->key);
        amber_copy_warn(w->st, copy, err);
        return rc;
    }
    *w->out = m;
    m = (struct amber_marker){0};
    return AMBER_OK;
}

enum amber_rc amber_marker_get(struct amber_store *st, const char *run_id, struct amber_marker *out,
                               struct amber_err *err)
{
    AMBER_AUTO_FREE char *key = NULL;
    enum amber_rc rc = marker_key(run_id, &key, err);
    struct marker_wanted w = {.st = st, .key = key, .run_id = run_id, .out = out};

    return rc ? rc : amber_copies_try(st, get_from_copy, &w, err);
}

/* Whether b, whose entries are sorted, says the same as a. */
static enum amber_rc same_content(const struct amber_marker *a, const struct amber_marker *b,
                                  bool *out, struct amber_err *err)
{
    AMBER_AUTO_FREE struct amber_marker_entry *sorted = NULL;

    *out = a->n_entries == b->n_entries;
    if (!*out || a->n_entries == 0)
        return AMBER_OK;
    enum amber_rc rc = amber_calloc(a->n_entries, sizeof(*sorted), &sorted, err);
    if (rc)
        return rc;
    memcpy(sorted, a->entries, a->n_entries * sizeof(*sorted));
    qsort(sorted, a->n_entries, sizeof(*sorted), compare_keys);
    for (size_t i = 0; *out && i < a->n_entries; i++)
        *out = compare_keys(&sorted[i], &b->entries[i]) == 0 &&
               amber_sha256_equal(&sorted[i].digest, &b->entries[i].digest) &&
               amber_sha256_equal(&sorted[i].stored, &b->entries[i].stored);
    return AMBER_OK;
}

enum amber_rc amber_marker_put(struct amber_store *st, const struct amber_marker *m,
                               struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(MARKER_BYTES_MAX);
    AMBER_CLEANUP(amber_marker_clear) struct amber_marker found = {0};
    AMBER_AUTO_FREE char *key = NULL;
    bool same = false;
    enum amber_rc rc = marker_key(m->run_id, &key, err);

    if (!rc)
        rc = encode(m, &text, err);
    if (!rc)
        rc = amber_marker_parse(text.data, text.len, &found, err);
    if (rc) {
        amber_wrap(err, "commit marker of run %s", m->run_id);
        return rc;
    }
    amber_marker_clear(&found);
    rc = amber_store_put(st, key, text.data, text.len, err);
    if (rc != AMBER_E_EXISTS)
        return rc;
    rc = amber_marker_get(st, m->run_id, &found, err);
    if (!rc)
        rc = same_content(m, &found, &same, err);
    if (!rc && !same)
        rc = amber_fail(err, AMBER_E_EXISTS,
                        "%s is there and lists other archives (%zu, now %zu): run `amberfs "
                        "reconcile`",
                        key, found.n_entries, m->n_entries);
    return rc;
}
