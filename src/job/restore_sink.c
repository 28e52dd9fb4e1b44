/*
 * restore_sink.c - the bytes of one file copied into .restore, as rows of a table.
 *
 * A known archive must come whole and unchanged: each line is compared with the verified archive's
 * own, and their number with the manifest's before the commit, so that neither an edited nor a
 * cut-off copy can commit. If a key is taken, the rows that came so far are
 * given once more from the archive itself, since the copier can't be asked to repeat.
 *
 * Invariant: carry holds the beginning of a line whose end hasn't come yet.
 */
#include <stdio.h>

#include "amber/calendar.h"
#include "amber/catalog.h"
#include "amber/count.h"
#include "amber/log.h"
#include "restorer_priv.h"

/* A row may be as large as COPY allows; JSON's escapes can make it larger. */
#define LINE_MAX_BYTES (UINT64_C(6) << 30)

struct sink {
    struct amber_sink base;
    const struct amber_context *ctx;
    struct amber_cancel cancel;
    struct amber_pg *pg;
    struct amber_opened archive; /* a known archive; else all zero */
    bool known;
    char *path;          /* the archive's logical name or the table, for messages */
    char *schema, *table;
    struct amber_restore *restore;
    struct amber_buf carry;
    uint64_t n_lines, n_bytes;
    bool failed, finished;
    void (*committed)(void *arg, const char *what); /* may be NULL */
    void *arg;
    struct amber_err error; /* sticky */
};

static enum amber_rc fail_sticky(struct sink *s, struct amber_err *err)
{
    if (!s->failed) {
        s->failed = true;
        s->error = *err;
        amber_pg_rollback(s->pg); /* the mount logs the reason */
    }
    return err->code;
}

/* Give the rows up to n once more, now through staging. */
static enum amber_rc replay(struct sink *s, uint64_t n, struct amber_err *err)
{
    enum amber_rc rc = amber_restore_again(s->restore, err);
    if (!rc)
        rc = amber_opened_rewind(&s->archive, err);
    for (uint64_t i = 0; !rc && i < n; i++) {
        const char *line, *overlay;
        size_t len, overlay_len;
        rc = amber_rows_next(s->archive.rows, &line, &len, &overlay, &overlay_len, err);
        if (!rc && !line)
            rc = amber_fail(err, AMBER_E_INVALID,
                            "the file has more rows than the archive %s (%llu)", s->path,
                            (unsigned long long)s->archive.n_rows);
        if (!rc)
            rc = amber_restore_row(s->restore, line, len, overlay, overlay_len, err);
    }
    return rc;
}

static enum amber_rc give_line(struct sink *s, const char *line, size_t len, struct amber_err *err)
{
    s->n_lines++;
    if (!s->known && len && line[len - 1] == '\r')
        len--; /* a person's file may have been through another system */
    const char *overlay = NULL;
    size_t overlay_len = 0;
    if (s->known) {
        const char *own;
        size_t own_len;
        enum amber_rc rc =
            amber_rows_next(s->archive.rows, &own, &own_len, &overlay, &overlay_len, err);
        if (rc)
            return rc;
        if (!own || own_len != len || memcmp(own, line, len) != 0)
            return amber_fail(err, AMBER_E_INVALID,
                              "line %llu isn't that of the archive %s; to restore an edited file "
                              "copy it into .restore/%s.%s/",
                              (unsigned long long)s->n_lines, s->path, s->schema, s->table);
    }
    enum amber_rc rc = amber_restore_row(s->restore, line, len, overlay, overlay_len, err);
    if (rc == AMBER_E_EXISTS && s->known)
        rc = replay(s, s->n_lines, err);
    return rc;
}

static enum amber_rc take(struct sink *s, const char *data, size_t len, struct amber_err *err)
{
    s->n_bytes += len;
    enum amber_rc rc = amber_cancel_check(&s->cancel, err);
    while (!rc && len) {
        const char *end = memchr(data, '\n', len);
        if (!end)
            return amber_buf_append(&s->carry, data, len, err);
        size_t n = (size_t)(end - data);
        if (s->carry.len) {
            rc = amber_buf_append(&s->carry, data, n, err);
            if (!rc)
                rc = give_line(s, s->carry.data, s->carry.len, err);
            if (s->carry.cap > (16U << 20))
                amber_buf_clear(&s->carry);
            s->carry.len = 0;
        } else {
            rc = give_line(s, data, n, err);
        }
        data = end + 1;
        len -= n + 1;
    }
    return rc;
}

static enum amber_rc sink_write(struct amber_sink *base, const void *data, size_t len,
                                struct amber_err *err)
{
    struct sink *s = (struct sink *)base;
    if (s->failed) {
        *err = s->error;
        return err->code;
    }
    if (s->finished)
        return amber_fail(err, AMBER_E_INVALID, "%s: the restore was committed already", s->path);
    if (take(s, data, len, err))
        return fail_sticky(s, err);
    return AMBER_OK;
}

/* Each line was compared as it came; what is left is that all of them came. */
static enum amber_rc check_whole(struct sink *s, struct amber_err *err)
{
    if (s->n_lines == s->archive.n_rows)
        return AMBER_OK;
    return amber_fail(err, AMBER_E_INVALID,
                      "the copy has %llu of the %s of %s: it was cut off; nothing was restored",
                      (unsigned long long)s->n_lines, AMBER_COUNT(s->archive.n_rows, "row"),
                      s->path);
}

static enum amber_rc finish(struct sink *s, struct amber_err *err)
{
    if (s->carry.len && s->known)
        return amber_fail(err, AMBER_E_INVALID,
                          "the last line of the copy of %s has no end: the copy was cut off; "
                          "nothing was restored", s->path);
    enum amber_rc rc = AMBER_OK;
    if (s->carry.len)
        return amber_fail(err, AMBER_E_INVALID,
                          "line %llu has no line break at its end: the file may have been cut "
                          "off; nothing was restored",
                          (unsigned long long)s->n_lines + 1);
    if (s->known)
        rc = check_whole(s, err);
    struct amber_restore_stats stats;
    if (!rc)
        rc = amber_restore_close(s->restore, &stats, err);
    if (rc == AMBER_E_EXISTS && s->known) {
        rc = replay(s, s->n_lines, err);
        if (!rc)
            rc = amber_restore_close(s->restore, &stats, err);
    }
    if (!rc)
        rc = amber_restore_record(s->ctx, s->pg, s->known ? &s->archive.manifest : NULL, true,
                                  s->path, s->schema, s->table, &stats, err);
    if (!rc)
        rc = amber_cancel_check(&s->cancel, err);
    if (!rc)
        rc = amber_pg_commit(s->pg, err);
    if (rc)
        return rc;
    s->finished = true;
    if (s->committed)
        s->committed(s->arg, s->path);
    amber_info("restored %s into %s.%s: %s inserted, %llu skipped as identical", s->path, s->schema, s->table,
               AMBER_COUNT(stats.rows_inserted, "row"),
               (unsigned long long)stats.rows_skipped);
    for (const char *p = stats.notes; *p;) {
        const char *end = strchrnul(p, '\n');
        amber_info("restore of %s: %.*s", s->path, (int)(end - p), p);
        p = *end ? end + 1 : end;
    }
    return AMBER_OK;
}

static enum amber_rc sink_finish(struct amber_sink *base, struct amber_err *err)
{
    struct sink *s = (struct sink *)base;
    if (s->failed) {
        *err = s->error;
        return err->code;
    }
    if (s->finished)
        return AMBER_OK;
    if (finish(s, err))
        return fail_sticky(s, err);
    return AMBER_OK;
}

static void sink_close(struct amber_sink *base)
{
    struct sink *s = (struct sink *)base;
    if (!s)
        return;
    if (!s->finished && !s->failed && s->n_bytes)
        amber_warn("restore of %s rolled back: the copy was broken off after %s", s->path,
                   AMBER_COUNT(s->n_lines, "row"));
    amber_restore_free(s->restore);
    amber_pg_close(s->pg);
    amber_opened_clear(&s->archive);
    amber_buf_clear(&s->carry);
    amber_cancel_clear(&s->cancel);
    free(s->path);
    free(s->schema);
    free(s->table);
    free(s);
}

static void sink_interrupt(struct amber_sink *base)
{
    amber_cancel_set(&((struct sink *)base)->cancel);
}

static const struct amber_sink_ops sink_ops = {
    .write = sink_write,
    .finish = sink_finish,
    .close = sink_close,
    .interrupt = sink_interrupt,
};

static enum amber_rc open_known(struct sink *s, const struct amber_tree_entry *entry,
                                struct amber_err *err)
{
    s->known = true;
    enum amber_rc rc = amber_opened_open(s->ctx, entry, &s->archive, err);
    if (!rc && !s->archive.manifest.typed)
        rc = amber_fail(err, AMBER_E_INVALID,
                        "its manifest was made anew from rows alone and doesn't know their table: "
                        "copy it into .restore/TABLE/");
    if (!rc)
        rc = amber_strdup(entry->path, &s->path, err);
    if (!rc)
        rc = amber_strdup(s->archive.manifest.table_schema, &s->schema, err);
    if (!rc)
        rc = amber_strdup(s->archive.manifest.table_name, &s->table, err);
    return rc;
}

static enum amber_rc start(struct sink *s, struct amber_err *err)
{
    struct amber_store_identity id;
    bool before = false;
    enum amber_rc rc = amber_context_connect(s->ctx, "restore", &s->cancel, &s->pg, err);
    if (!rc)
        rc = amber_context_claim(s->ctx, s->pg, &id, err);
    if (!rc && s->known)
        rc = amber_catalog_restored_before(s->pg, s->archive.manifest.archive_id, s->schema,
                                           s->table, &before, err);
    if (!rc)
        rc = amber_pg_begin(s->pg, "", err);
    if (rc)
        return rc;
    struct amber_restore_config cfg = {
        .table_schema = s->schema,
        .table_name = s->table,
        .schema = s->known ? &s->archive.manifest.schema : NULL,
        .partitions = s->known ? s->archive.manifest.partitions : NULL,
        .n_partitions = s->known ? s->archive.manifest.n_partitions : 0,
        .can_repeat = s->known,
        .restored_before = before,
    };
    return amber_restore_open(s->pg, &cfg, &s->restore, err);
}

enum amber_rc amber_restore_sink(const struct amber_context *ctx,
                                 const struct amber_tree_entry *entry, const char *table,
                                 void (*committed)(void *arg, const char *what), void *arg,
                                 struct amber_sink **out, struct amber_err *err)
{
    struct sink *s;
    enum amber_rc rc = amber_calloc(1, sizeof(*s), &s, err);
    if (rc)
        return rc;
    s->base.ops = &sink_ops;
    s->ctx = ctx;
    s->committed = committed;
    s->arg = arg;
    s->cancel.fd = -1;
    amber_buf_init(&s->carry, LINE_MAX_BYTES);
    rc = amber_cancel_init(&s->cancel, err);
    if (!rc && entry)
        rc = open_known(s, entry, err);
    else if (!rc && !(rc = amber_table_name_split(table, &s->schema, &s->table, err)))
        rc = amber_asprintf(&s->path, err, "a file for %s", table);
    if (!rc)
        rc = start(s, err);
    if (rc) {
        sink_close(&s->base);
        return rc;
    }
    *out = &s->base;
    return AMBER_OK;
}
