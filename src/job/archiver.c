/*
 * archiver.c - the protocol that moves rows (docs/architecture.md, "Moving rows").
 *
 * Two connections: `pg` holds the unit's transaction; `ctl` commits what must be durable before or
 * beside it (the run's row, reserved names, the fence to aborted). For each unit:
 *
 *   1 ctl: the run's row, running                                  archive_unit
 *   2 pg:  BEGIN, locks, snapshot, span                            amber_unit_begin
 *   3 each table's rows into a writer; ctl reserves the name       export_table
 *     before the first byte
 *   4 writer finished: durable; manifest put                       finish_table
 *   5 read back from the medium                                    amber_proof_check
 *   6 pg: delete, check                                            amber_unit_delete, _check
 *   7 pg: fence + catalog rows, COMMIT; then the marker            commit_unit
 *
 * A failure before COMMIT was sent: roll back, fence to aborted, remove our own objects. A COMMIT
 * in doubt: the fence decides; objects are left alone.
 */
#include "amber/archiver.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "amber/catalog.h"
#include "amber/failpoint.h"
#include "amber/family.h"
#include "amber/log.h"
#include "amber/name.h"
#include "amber/recover.h"
#include "amber/unit.h"
#include "amber/writer.h"

#define UNIT_TRIES 5
#define LOCK_WAIT_MS 2000
#define NAME_TRIES 10000

/* One run of a job. */
struct archiver {
    const struct amber_context *ctx;
    const struct amber_job *job;
    const struct amber_archive_options *opt;
    struct amber_archive_result *result;
    struct amber_pg *pg, *ctl;
    struct amber_store_identity id;
    struct amber_family family;
    struct amber_day_range *pins;
    size_t n_pins, pins_cap;
    int64_t cutoff_day;
    int64_t started_us;
    uint64_t max_rows; /* cap of root rows for the next unit */
};

/* One table's archive within a unit. */
struct piece {
    struct amber_unit_table exported;
    struct amber_writer *writer; /* NULL until the first row */
    struct amber_manifest manifest;
    struct amber_proof *proof;
    char *logical, *manifest_key;
    struct amber_sha256 manifest_digest;
};

/* One attempt at one unit. */
struct attempt {
    struct archiver *a;
    struct amber_unit *unit;
    struct amber_run run;
    struct piece *pieces; /* one a table of the family */
    size_t table;         /* being exported */
    int64_t first_day, last_day;
    uint64_t span_rows;
    bool commit_sent;
};

/* ---- progress ---- */

static void set_phase(struct archiver *a, enum amber_phase phase)
{
    struct amber_progress *p = a->opt->progress;
    if (!p)
        return;
    pthread_mutex_lock(&p->mutex);
    p->phase = phase;
    pthread_mutex_unlock(&p->mutex);
}

static void set_unit(struct attempt *t)
{
    struct amber_progress *p = t->a->opt->progress;
    if (!p)
        return;
    char first[AMBER_DATE_MAX], last[AMBER_DATE_MAX];
    amber_date_format(t->first_day, first);
    amber_date_format(t->last_day, last);
    pthread_mutex_lock(&p->mutex);
    snprintf(p->period, sizeof(p->period), "%s to %s", first, last);
    p->unit_rows_total = t->span_rows;
    p->unit_rows_done = 0;
    pthread_mutex_unlock(&p->mutex);
}

static void set_table(struct attempt *t)
{
    struct amber_progress *p = t->a->opt->progress;
    const struct amber_table *table = &t->a->family.tables[t->table];
    if (!p)
        return;
    pthread_mutex_lock(&p->mutex);
    snprintf(p->table, sizeof(p->table), "%s.%s", table->schema, table->name);
    pthread_mutex_unlock(&p->mutex);
}

/* Progress takes a lock, so it is told of rows now and then. */
#define PROGRESS_ROWS 1024

static void add_rows(struct attempt *t, uint64_t rows)
{
    struct amber_progress *p = t->a->opt->progress;
    if (!p)
        return;
    pthread_mutex_lock(&p->mutex);
    p->rows += rows;
    if (t->table == 0)
        p->unit_rows_done += rows;
    pthread_mutex_unlock(&p->mutex);
}

/* ---- 3: a table's rows into its archive ---- */

/* Whether the store has an object under this logical name already, with whatever suffix: a file
 * that was put there by somebody else, or one of a catalog set back in time. */
static enum amber_rc name_in_store(struct amber_store *st, const char *logical, bool *out,
                                   struct amber_err *err)
{
    *out = false;
    for (int c = 0; c < AMBER_CODEC_COUNT && !*out; c++) {
        AMBER_AUTO_FREE char *key = NULL;
        enum amber_rc rc = amber_asprintf(&key, err, "%s%s", logical,
                                          amber_codec_info((enum amber_codec_kind)c)->suffix);
        if (rc)
            return rc;
        struct amber_object_info info;
        rc = amber_store_stat(st, key, &info, err);
        if (rc && rc != AMBER_E_NOT_FOUND)
            return rc;
        *out = rc == AMBER_OK;
    }
    return AMBER_OK;
}

/* Reserve the first free name: NAME, NAME_2, NAME_3, ... */
static enum amber_rc reserve_name(struct attempt *t, struct piece *p, struct amber_err *err)
{
    struct archiver *a = t->a;
    const struct amber_job_table *jt = &a->job->tables[t->table];
    struct amber_name_fields f = {
        .table = jt->name,
        .start_day = t->first_day,
        .end_day = t->last_day,
        .run_day = amber_day_from_us(a->started_us),
        .run_ms = a->started_us / 1000,
    };
    for (unsigned n = 1; n <= NAME_TRIES; n++) {
        AMBER_AUTO_FREE char *logical = NULL;
        enum amber_rc rc = amber_name_format(jt->folder, jt->pattern, &f, n, &logical, err);
        if (rc)
            return rc;
        bool taken;
        rc = name_in_store(a->ctx->store, logical, &taken, err);
        if (rc)
            return rc;
        if (taken)
            continue;
        rc = amber_catalog_name_reserve(a->ctl, &t->run, logical, err);
        if (rc == AMBER_E_EXISTS)
            continue;
        if (!rc)
            p->logical = amber_steal(&logical);
        return rc;
    }
    return amber_fail(err, AMBER_E_LIMIT, "folder %s: %d archives have the same dates; use a name "
                      "pattern with {epoch_ms}", jt->folder, NAME_TRIES);
}

/* What the archive says of itself, for rebuilding a lost manifest from it alone. */
static enum amber_rc header_meta(struct attempt *t, struct piece *p, struct amber_buf *out,
                                 struct amber_err *err)
{
    const struct amber_table *table = &t->a->family.tables[t->table];
    const struct amber_manifest *m = &p->manifest;
    char first[AMBER_DATE_MAX], last[AMBER_DATE_MAX];
    amber_date_format(t->first_day, first);
    amber_date_format(t->last_day, last);
    const struct {
        const char *name, *value;
    } members[] = {
        {"archive_id", m->archive_id}, {"run_id", m->run_id},
        {"store_id", m->store_id},     {"catalog_id", m->catalog_id},
        {"job", m->job},               {"database", m->database},
        {"table_schema", table->schema}, {"table_name", table->name},
        {"parent_table", m->parent_table}, {"start_date", first}, {"end_date", last},
        {"server_version", m->server_version}, {"amberfs_version", m->amberfs_version},
    };
    enum amber_rc rc = amber_buf_puts(out, "{\"amberfs\":1", err);
    for (size_t i = 0; !rc && i < amber_countof(members); i++) {
        if (!members[i].value)
            continue;
        rc = amber_buf_printf(out, err, ",\"%s\":", members[i].name);
        if (!rc)
            rc = amber_buf_json(out, members[i].value, strlen(members[i].value), err);
    }
    if (!rc)
        rc = amber_buf_puts(out, ",\"columns\":", err);
    if (!rc)
        rc = amber_schema_encode(&table->columns, out, err);
    if (!rc)
        rc = amber_buf_puts(out, "}", err);
    return rc;
}

/* Everything of the manifest that doesn't depend on the bytes. */
static enum amber_rc fill_manifest(struct attempt *t, struct piece *p, struct amber_err *err)
{
    struct archiver *a = t->a;
    const struct amber_table *table = &a->family.tables[t->table];
    const struct amber_table *root = &a->family.tables[0];
    struct amber_manifest *m = &p->manifest;
    enum amber_rc rc = amber_uuid_new(m->archive_id, err);
    if (rc)
        return rc;
    memcpy(m->run_id, t->run.run_id, sizeof(m->run_id));
    memcpy(m->store_id, a->id.store_id, sizeof(m->store_id));
    memcpy(m->catalog_id, a->id.catalog_id, sizeof(m->catalog_id));
    m->start_day = t->first_day;
    m->end_day = t->last_day;
    m->created_us = amber_now_us();
    int v = amber_pg_version(a->pg);
    if ((rc = amber_strdup(a->job->name, &m->job, err)) ||
        (rc = amber_strdup(amber_pg_database(a->pg), &m->database, err)) ||
        (rc = amber_strdup(table->schema, &m->table_schema, err)) ||
        (rc = amber_strdup(table->name, &m->table_name, err)) ||
        (rc = amber_asprintf(&m->server_version, err, "%d.%d", v / 10000, v % 10000)) ||
        (rc = amber_strdup(AMBER_VERSION, &m->amberfs_version, err)) ||
        (rc = amber_schema_copy(&table->columns, &m->schema, err)))
        return rc;
    if (t->table > 0)
        rc = amber_asprintf(&m->parent_table, err, "%s.%s", root->schema, root->name);
    size_t n;
    const struct amber_setting *settings = amber_pg_settings(a->pg, &n);
    if (!rc)
        rc = amber_calloc(n + 1, sizeof(*m->settings), &m->settings, err);
    for (size_t i = 0; !rc && i < n; i++, m->n_settings++) {
        if ((rc = amber_strdup(settings[i].name, &m->settings[i].name, err)))
            break;
        if ((rc = amber_strdup(settings[i].value, &m->settings[i].value, err))) {
            free(m->settings[i].name);
            break;
        }
    }
    if (rc || t->table > 0)
        return rc;
    const struct amber_partition *parts = amber_unit_partitions(t->unit, &n);
    rc = amber_calloc(n + 1, sizeof(*m->partitions), &m->partitions, err);
    for (size_t i = 0; !rc && i < n; i++) {
        struct amber_partition *q = &m->partitions[m->n_partitions++]; /* clear frees NULLs too */
        if ((rc = amber_strdup(parts[i].schema, &q->schema, err)) ||
            (rc = amber_strdup(parts[i].name, &q->name, err)) ||
            (rc = amber_strdup(parts[i].bound, &q->bound, err)))
            break;
    }
    return rc;
}

/* At a table's first row: its name, then its writer. A table without rows gets neither. */
static enum amber_rc open_piece(struct attempt *t, struct amber_err *err)
{
    struct archiver *a = t->a;
    struct piece *p = &t->pieces[t->table];
    enum amber_rc rc = fill_manifest(t, p, err);
    if (!rc)
        rc = reserve_name(t, p, err);
    if (!rc)
        rc = amber_failpoint("name-reserved", err);
    if (rc)
        return rc;
    AMBER_AUTO_FREE char *key = NULL;
    rc = amber_asprintf(&key, err, "%s%s", p->logical, amber_codec_info(a->ctx->codec)->suffix);
    if (rc)
        return rc;
    AMBER_AUTO_BUF struct amber_buf meta = AMBER_BUF_INIT(16U << 20);
    rc = header_meta(t, p, &meta, err);
    if (rc)
        return rc;
    struct amber_writer_config cfg = {
        .store = a->ctx->store,
        .pool = a->ctx->pool,
        .schema = &a->family.tables[t->table].columns,
        .key = key,
        .run_id = t->run.run_id,
        .codec = a->ctx->codec,
        .level = a->ctx->level,
        .block_bytes = a->ctx->block_bytes,
        .meta = meta.data,
        .meta_len = meta.len,
    };
    return amber_writer_open(&cfg, &p->writer, err);
}

static enum amber_rc export_row(void *arg, char *line, size_t skip, size_t len,
                                struct amber_err *err)
{
    struct attempt *t = arg;
    struct piece *p = &t->pieces[t->table];
    if (!p->writer) {
        enum amber_rc rc = open_piece(t, err);
        if (rc) {
            amber_pg_copy_free(line);
            return rc;
        }
    }
    if (++p->exported.rows % PROGRESS_ROWS == 0)
        add_rows(t, PROGRESS_ROWS);
    return amber_writer_row_take(p->writer, line, skip, len, err);
}

/* ---- 4: durable ---- */

static enum amber_rc finish_piece(struct attempt *t, struct piece *p, struct amber_err *err)
{
    struct archiver *a = t->a;
    enum amber_rc rc = amber_failpoint("export-done", err);
    if (rc)
        return rc;
    struct amber_writer *w = amber_steal(&p->writer);
    rc = amber_writer_finish(w, &p->manifest, &p->proof, err);
    if (!rc && p->manifest.archive.rows != p->exported.rows)
        rc = amber_fail(err, AMBER_E_CORRUPT, "%s: %llu rows were exported but %llu written",
                        p->logical, (unsigned long long)p->exported.rows,
                        (unsigned long long)p->manifest.archive.rows);
    if (!rc)
        rc = amber_failpoint("archive-durable", err);
    if (!rc)
        rc = amber_manifest_put(a->ctx->store, &p->manifest, &p->manifest_key, &p->manifest_digest,
                                err);
    if (!rc)
        rc = amber_failpoint("manifest-durable", err);
    return rc;
}

static enum amber_rc export_tables(struct attempt *t, struct amber_err *err)
{
    struct archiver *a = t->a;
    for (t->table = 0; t->table < a->family.n_tables; t->table++) {
        struct piece *p = &t->pieces[t->table];
        set_table(t);
        struct amber_unit_table exported = {0};
        enum amber_rc rc =
            amber_unit_export(t->unit, t->table, export_row, t, &exported, err);
        if (rc)
            return rc;
        add_rows(t, p->exported.rows % PROGRESS_ROWS);
        if (exported.rows != p->exported.rows)
            return amber_fail(err, AMBER_E_CORRUPT, "table %s: %llu rows came for %llu identities",
                              a->family.tables[t->table].name,
                              (unsigned long long)p->exported.rows,
                              (unsigned long long)exported.rows);
        p->exported = exported;
        if (p->writer)
            rc = finish_piece(t, p, err);
        if (rc)
            return rc;
    }
    return AMBER_OK;
}

/* ---- 5: read back ---- */

static enum amber_rc prove_pieces(struct attempt *t, struct amber_err *err)
{
    struct archiver *a = t->a;
    for (size_t i = 0; i < a->family.n_tables; i++) {
        struct piece *p = &t->pieces[i];
        if (!p->proof)
            continue;
        /* The manifest too is what the store gives back, under the digest that we will record. */
        struct amber_manifest m = {0};
        enum amber_rc rc =
            amber_manifest_get(a->ctx->store, p->manifest_key, &p->manifest_digest, &m, err);
        if (!rc)
            rc = amber_proof_check(p->proof, a->ctx->store, &m, a->ctx->pool, a->opt->cancel, err);
        amber_manifest_clear(&m);
        if (rc)
            return amber_wrap(err, "reading the new archive back");
    }
    return amber_failpoint("proof-done", err);
}

/* ---- 6: delete ---- */

static enum amber_rc delete_rows(struct attempt *t, struct amber_err *err)
{
    struct archiver *a = t->a;
    struct amber_unit_table *exported = NULL;
    enum amber_rc rc = amber_calloc(a->family.n_tables, sizeof(*exported), &exported, err);
    for (size_t i = 0; !rc && i < a->family.n_tables; i++)
        exported[i] = t->pieces[i].exported;
    if (!rc)
        rc = amber_unit_delete(t->unit, exported, err);
    if (!rc)
        rc = amber_unit_check(t->unit, err);
    free(exported);
    return rc;
}

/* ---- 7: commit ---- */

static enum amber_rc record(struct attempt *t, struct amber_err *err)
{
    struct archiver *a = t->a;
    struct amber_archive_row *rows = NULL;
    size_t n = 0;
    enum amber_rc rc = amber_calloc(a->family.n_tables, sizeof(*rows), &rows, err);
    for (size_t i = 0; !rc && i < a->family.n_tables; i++) {
        const struct piece *p = &t->pieces[i];
        if (!p->proof)
            continue;
        const struct amber_manifest *m = &p->manifest;
        rows[n++] = (struct amber_archive_row){
            .archive_id = m->archive_id,
            .run_id = m->run_id,
            .job = m->job,
            .logical = p->logical,
            .key = m->archive.key,
            .manifest_key = p->manifest_key,
            .manifest_sha256 = p->manifest_digest,
            .table_schema = m->table_schema,
            .table_name = m->table_name,
            .parent_table = m->parent_table,
            .start_day = m->start_day,
            .end_day = m->end_day,
            .rows = m->archive.rows,
            .raw_bytes = m->archive.raw_bytes,
            .stored_bytes = m->archive.stored_bytes,
        };
    }
    if (!rc)
        rc = amber_catalog_run_commit(a->pg, &t->run, rows, n, err);
    free(rows);
    return rc;
}

/* The answer to COMMIT was lost: our fence decides. It waits for the transaction if that is still
 * being worked on, and then either hits (it never commits) or finds the run committed. */
static enum amber_rc settle_commit(struct attempt *t, struct amber_err *err)
{
    struct archiver *a = t->a;
    struct amber_err why = AMBER_ERR_INIT;
    for (int try = 0; try < UNIT_TRIES; try++) {
        struct amber_pg *pg = NULL;
        char state[16];
        bool hit;
        enum amber_rc rc = amber_context_connect(a->ctx, "settle a commit", a->opt->cancel, &pg,
                                                 &why);
        if (!rc)
            rc = amber_catalog_run_abort(pg, t->run.run_id, "the answer to COMMIT was lost", &hit,
                                         &why);
        if (!rc && !hit)
            rc = amber_catalog_run_state(pg, t->run.run_id, state, &why);
        amber_pg_close(pg);
        if (!rc && hit)
            return amber_wrap(err, "the unit was rolled back");
        if (!rc && strcmp(state, "committed") == 0)
            return AMBER_OK;
        if (!rc)
            return amber_wrap(err, "the unit was rolled back");
        struct pollfd p = {.fd = a->opt->cancel ? a->opt->cancel->fd : -1, .events = POLLIN};
        if (poll(&p, 1, 500 << try) > 0)
            break;
    }
    return amber_wrap(err, "whether run %s was committed is settled at the next start (%s)",
                      t->run.run_id, why.text);
}

static enum amber_rc commit_unit(struct attempt *t, struct amber_err *err)
{
    struct archiver *a = t->a;
    enum amber_rc rc = record(t, err);
    if (!rc)
        rc = amber_failpoint("recorded", err);
    if (!rc)
        rc = amber_cancel_check(a->opt->cancel, err);
    if (rc)
        return rc;
    t->commit_sent = true;
    rc = amber_pg_commit(a->pg, err);
    if (rc == AMBER_E_DB)
        t->commit_sent = false; /* the server said that it rolled back */
    else if (rc)
        rc = settle_commit(t, err);
    if (rc)
        return rc;

    struct amber_err late = AMBER_ERR_INIT;
    if (amber_failpoint("committed", &late) ||
        amber_marker_write(a->ctx, a->ctl, a->id.store_id, t->run.run_id, a->job->name, &late))
        amber_warn("run %s is committed, but its marker isn't written yet (%s); the next start "
                   "makes up for it",
                   t->run.run_id, late.text);
    if (amber_failpoint("marker-durable", &late))
        amber_warn("%s", late.text);
    return AMBER_OK;
}

/* ---- one attempt ---- */

static void attempt_clear(struct attempt *t)
{
    amber_unit_free(t->unit);
    for (size_t i = 0; t->pieces && i < t->a->family.n_tables; i++) {
        struct piece *p = &t->pieces[i];
        amber_writer_abort(p->writer);
        amber_manifest_clear(&p->manifest);
        amber_proof_free(p->proof);
        free(p->logical);
        free(p->manifest_key);
    }
    free(t->pieces);
}

static void count_result(struct attempt *t)
{
    struct archiver *a = t->a;
    struct amber_archive_result *r = a->result;
    struct amber_unit_stayed stayed;
    size_t n_dropped;
    amber_unit_stayed(t->unit, &stayed);
    amber_unit_partitions(t->unit, &n_dropped);
    r->dropped_partitions += n_dropped;
    r->units++;
    for (size_t i = 0; i < a->family.n_tables; i++) {
        const struct piece *p = &t->pieces[i];
        if (!p->proof)
            continue;
        r->archives++;
        r->rows += p->manifest.archive.rows;
        r->raw_bytes += p->manifest.archive.raw_bytes;
        r->stored_bytes += p->manifest.archive.stored_bytes;
        amber_info("job %s: %s: %llu rows archived, %llu bytes stored for %llu", a->job->name,
                   p->logical, (unsigned long long)p->manifest.archive.rows,
                   (unsigned long long)p->manifest.archive.stored_bytes,
                   (unsigned long long)p->manifest.archive.raw_bytes);
    }
}

static void count_stayed(struct attempt *t)
{
    struct amber_archive_result *r = t->a->result;
    struct amber_unit_stayed stayed;
    amber_unit_stayed(t->unit, &stayed);
    r->stayed_referenced += stayed.referenced;
    r->stayed_too_large += stayed.too_large;
    if (stayed.why[0] && !strstr(r->stayed_why, stayed.why)) {
        size_t len = strlen(r->stayed_why);
        snprintf(r->stayed_why + len, sizeof(r->stayed_why) - len, "%s%s", len ? ", " : "",
                 stayed.why);
    }
}

/* Steps 2 to 7. *out_to_us: where the next unit starts. */
static enum amber_rc run_steps(struct attempt *t, struct amber_unit_config *cfg,
                               int64_t *out_to_us, struct amber_err *err)
{
    struct archiver *a = t->a;
    enum amber_rc rc = amber_unit_begin(cfg, &t->unit, err);
    if (rc)
        return rc;
    int64_t from_us, min_us, max_us;
    amber_unit_range(t->unit, &from_us, out_to_us);
    rc = amber_unit_span(t->unit, &t->span_rows, &min_us, &max_us, err);
    if (rc)
        return rc;
    count_stayed(t);
    if (!t->span_rows) /* all of them stay */
        return AMBER_OK;
    t->first_day = amber_day_from_us(min_us);
    t->last_day = amber_day_from_us(max_us);
    set_unit(t);
    set_phase(a, AMBER_PHASE_EXPORT);
    rc = export_tables(t, err);
    if (rc)
        return rc;
    set_phase(a, AMBER_PHASE_VERIFY);
    if ((rc = prove_pieces(t, err)))
        return rc;
    set_phase(a, AMBER_PHASE_DELETE);
    if ((rc = delete_rows(t, err)))
        return rc;
    set_phase(a, AMBER_PHASE_COMMIT);
    rc = commit_unit(t, err);
    if (!rc)
        count_result(t);
    return rc;
}

/* After a failure before COMMIT: the database is rolled back, the run fenced off, our objects
 * removed. If even that fails the run is found at the next start. */
static void undo(struct attempt *t, const char *why)
{
    struct archiver *a = t->a;
    for (size_t i = 0; i < a->family.n_tables; i++) {
        amber_writer_abort(t->pieces[i].writer);
        t->pieces[i].writer = NULL;
    }
    amber_pg_rollback(a->pg);
    if (t->commit_sent)
        return;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pg *fresh = NULL;
    struct amber_pg *pg = a->ctl;
    /* Undoing isn't canceled: a connection without the cancel flag. */
    if (!amber_context_connect(a->ctx, "undo", NULL, &fresh, &err))
        pg = fresh;
    bool hit = false;
    if (amber_catalog_run_abort(pg, t->run.run_id, why, &hit, &err))
        amber_warn("run %s is rolled back, but the catalog couldn't be told (%s); the next start "
                   "settles it",
                   t->run.run_id, err.text);
    else if (hit)
        amber_discard_run(a->ctx, pg, t->run.run_id);
    amber_pg_close(fresh);
}

static enum amber_rc try_unit(struct archiver *a, struct amber_unit_config *cfg,
                              int64_t *out_to_us, struct amber_err *err)
{
    struct attempt t = {.a = a};
    t.run.job = a->job->name;
    t.run.host = a->ctx->host;
    t.run.pid = (int)getpid();
    memcpy(t.run.store_id, a->id.store_id, sizeof(t.run.store_id));
    enum amber_rc rc = amber_uuid_new(t.run.run_id, err);
    if (!rc)
        rc = amber_calloc(a->family.n_tables, sizeof(*t.pieces), &t.pieces, err);
    if (rc)
        return rc;
    rc = amber_catalog_run_begin(a->ctl, &t.run, err); /* 1 */
    if (!rc) {
        rc = amber_failpoint("run-recorded", err);
        if (!rc)
            rc = run_steps(&t, cfg, out_to_us, err);
        if (rc || !t.span_rows)
            undo(&t, rc ? err->text : "no row could move");
        else if (a->opt->committed)
            a->opt->committed(a->opt->arg, t.run.run_id);
    }
    attempt_clear(&t);
    return rc;
}

/* ---- one unit, several attempts ---- */

static enum amber_rc pause_before_retry(struct archiver *a, int try, struct amber_err *err)
{
    const struct amber_cancel *c = a->opt->cancel;
    struct pollfd p = {.fd = c ? c->fd : -1, .events = POLLIN};
    (void)poll(&p, 1, 200 << try);
    return amber_cancel_check(c, err);
}

static enum amber_rc reconnect(struct archiver *a, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    if (!amber_pg_alive(a->pg)) {
        amber_pg_close(amber_steal(&a->pg));
        rc = amber_context_connect(a->ctx, a->job->name, a->opt->cancel, &a->pg, err);
    }
    if (!rc && !amber_pg_alive(a->ctl)) {
        amber_pg_close(amber_steal(&a->ctl));
        rc = amber_context_connect(a->ctx, "catalog", a->opt->cancel, &a->ctl, err);
    }
    return rc;
}

static enum amber_rc archive_unit(struct archiver *a, int64_t from_us, int64_t to_us,
                                  int64_t *out_to_us, struct amber_err *err)
{
    struct amber_unit_config cfg = {
        .family = &a->family,
        .from_us = from_us,
        .to_us = to_us,
        .pins = a->pins,
        .n_pins = a->n_pins,
        .max_rows = a->max_rows,
        .lock_wait_ms = LOCK_WAIT_MS,
        .drop_partitions = a->job->drop_partitions,
    };
    int64_t begun = amber_mono_us();
    uint64_t rows_before = a->result->rows;
    for (int try = 0;; try++) {
        cfg.pg = a->pg;
        /* An attempt that is undone must leave no trace in the totals. */
        struct amber_archive_result before = *a->result;
        enum amber_rc rc = try_unit(a, &cfg, out_to_us, err);
        if (!rc)
            break;
        *a->result = before;
        bool size = rc == AMBER_E_LIMIT && !cfg.check_sizes;
        if (size)
            cfg.check_sizes = true;
        if ((!size && !amber_pg_unit_retryable(err)) || try + 1 >= UNIT_TRIES)
            return rc;
        if ((rc = amber_cancel_check(a->opt->cancel, err)))
            return rc;
        amber_warn("job %s: unit rolled back, nothing lost, trying again: %s", a->job->name,
                   err->text);
        rc = pause_before_retry(a, try, err);
        if (!rc)
            rc = reconnect(a, err);
        if (rc)
            return rc;
    }
    /* A unit that took too long makes the next ones smaller. */
    double seconds = (double)(amber_mono_us() - begun) / 1e6;
    uint64_t moved = a->result->rows - rows_before;
    if (a->job->max_unit_s && seconds > a->job->max_unit_s && moved) {
        uint64_t fit = (uint64_t)((double)moved * a->job->max_unit_s / seconds);
        a->max_rows = fit > 1000 ? fit : 1000;
    }
    return AMBER_OK;
}

/* ---- the dry run's unit ---- */

static enum amber_rc plan_unit(struct archiver *a, int64_t from_us, int64_t to_us,
                               int64_t *out_to_us, struct amber_err *err)
{
    struct amber_unit_config cfg = {
        .pg = a->pg,
        .family = &a->family,
        .from_us = from_us,
        .to_us = to_us,
        .pins = a->pins,
        .n_pins = a->n_pins,
        .max_rows = a->max_rows,
        .lock_wait_ms = LOCK_WAIT_MS,
        .drop_partitions = a->job->drop_partitions,
    };
    struct attempt t = {.a = a};
    enum amber_rc rc = amber_unit_begin(&cfg, &t.unit, err);
    if (rc)
        return rc;
    int64_t from, min_us, max_us;
    amber_unit_range(t.unit, &from, out_to_us);
    rc = amber_unit_span(t.unit, &t.span_rows, &min_us, &max_us, err);
    count_stayed(&t);
    for (size_t i = 0; !rc && t.span_rows && i < a->family.n_tables; i++) {
        AMBER_AUTO_FREE char *name = NULL;
        rc = amber_asprintf(&name, err, "%s.%s", a->family.tables[i].schema,
                            a->family.tables[i].name);
        struct amber_plan_line line = {
            .table = name,
            .folder = a->job->tables[i].folder,
            .first_day = amber_day_from_us(min_us),
            .last_day = amber_day_from_us(max_us),
        };
        if (!rc)
            rc = amber_unit_count(t.unit, i, &line.rows, &line.bytes, err);
        if (!rc) {
            a->result->rows += line.rows;
            a->result->raw_bytes += line.bytes;
            a->result->archives += line.rows > 0;
            rc = a->opt->plan(a->opt->arg, &line, err);
        }
    }
    a->result->units += !rc && t.span_rows;
    amber_unit_free(t.unit);
    return rc;
}

/* ---- the run ---- */

static enum amber_rc add_pin(void *arg, const struct amber_pin_row *pin, struct amber_err *err)
{
    struct archiver *a = arg;
    enum amber_rc rc = amber_grow(&a->pins, &a->pins_cap, a->n_pins + 1, sizeof(*a->pins), err);
    if (!rc)
        a->pins[a->n_pins++] =
            (struct amber_day_range){.from_day = pin->from_day, .to_day = pin->to_day};
    return rc;
}

static enum amber_rc load_family(struct archiver *a, struct amber_err *err)
{
    const struct amber_job *job = a->job;
    struct amber_table_spec *tables = NULL;
    enum amber_rc rc = amber_calloc(job->n_tables, sizeof(*tables), &tables, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < job->n_tables; i++)
        tables[i] = (struct amber_table_spec){
            .schema = job->tables[i].schema,
            .name = job->tables[i].name,
            .parent = job->tables[i].parent,
            .fk_columns = (const char *const *)job->tables[i].fk_columns,
            .n_fk_columns = job->tables[i].n_fk_columns,
        };
    struct amber_family_spec spec = {
        .job = job->name,
        .tables = tables,
        .n_tables = job->n_tables,
        .time_column = job->time_column,
        .zone = job->zone,
        .where = job->where,
    };
    rc = amber_family_load(a->pg, &spec, &a->family, err);
    free(tables);
    return rc;
}

/* Tables of this job whose archives the catalog doesn't know wait for `amberfs reconcile`. */
static enum amber_rc check_reconciled(struct archiver *a, const struct amber_recovery *rec,
                                      struct amber_err *err)
{
    for (size_t i = 0; rec->unknown_runs && i < a->job->n_tables; i++) {
        char name[256];
        snprintf(name, sizeof(name), "%s.%s", a->job->tables[i].schema, a->job->tables[i].name);
        if (strstr(rec->unknown_tables, name))
            return amber_fail(err, AMBER_E_DENIED,
                              "the store has committed archives of %s that this database doesn't "
                              "know: it was set back to an earlier point or failed over; run "
                              "`amberfs reconcile` before anything is archived",
                              name);
    }
    return AMBER_OK;
}

static enum amber_rc prepare(struct archiver *a, struct amber_err *err)
{
    AMBER_AUTO_FREE char *purpose = NULL;
    enum amber_rc rc = amber_asprintf(&purpose, err, "archive %s", a->job->name);
    if (!rc)
        rc = amber_context_connect(a->ctx, purpose, a->opt->cancel, &a->pg, err);
    if (!rc)
        rc = amber_context_connect(a->ctx, "catalog", a->opt->cancel, &a->ctl, err);
    if (rc)
        return rc;
    if (a->opt->plan) {
        /* A dry run changes nothing: neither catalog nor store is made, nothing is recovered. */
        rc = load_family(a, err);
    } else {
        struct amber_recovery rec;
        rc = amber_context_claim(a->ctx, a->ctl, &a->id, err);
        if (!rc && a->id.read_only)
            rc = amber_fail(err, AMBER_E_UNSUPPORTED, "the store was written by a newer amberfs "
                            "and is read-only for this one; upgrade amberfs");
        if (!rc)
            rc = amber_recover(a->ctx, a->ctl, &a->id, a->job->name, &rec, err);
        if (!rc)
            rc = check_reconciled(a, &rec, err);
        if (!rc)
            rc = load_family(a, err);
    }
    if (!rc)
        rc = amber_family_cutoff(a->pg, a->job->retention_days, a->job->retention_months,
                                 &a->cutoff_day, err);
    uint64_t null_times, infinite;
    if (!rc)
        rc = amber_family_timeless(a->pg, &a->family, &null_times, &infinite, err);
    if (!rc)
        a->result->timeless = null_times + infinite;
    return rc;
}

static enum amber_rc load_pins(struct archiver *a, struct amber_err *err)
{
    enum amber_rc rc = amber_catalog_pins(a->ctl, a->job->tables[0].schema,
                                          a->job->tables[0].name, add_pin, a, err);
    if (rc == AMBER_E_NOT_FOUND && a->opt->plan) /* a dry run before the catalog is made */
        return AMBER_OK;
    return rc;
}

static enum amber_rc run_units(struct archiver *a, struct amber_err *err)
{
    int64_t from_us = INT64_MIN;
    int64_t cutoff_us = a->cutoff_day * AMBER_DAY_US;
    for (;;) {
        int64_t oldest_us, first, next, to_us;
        bool found;
        enum amber_rc rc = amber_cancel_check(a->opt->cancel, err);
        if (!rc)
            rc = amber_family_oldest(a->pg, &a->family, from_us, a->cutoff_day, a->pins, a->n_pins,
                                     &oldest_us, &found, err);
        if (rc || !found)
            return rc;
        int64_t day = amber_day_from_us(oldest_us);
        amber_period_bounds(a->job->period, day, &first, &next);
        /* From the oldest row's day on: what lies before it in the period was looked at already. */
        int64_t unit_from = from_us > day * AMBER_DAY_US ? from_us : day * AMBER_DAY_US;
        int64_t unit_to = next < a->cutoff_day ? next * AMBER_DAY_US : cutoff_us;
        if (a->job->drop_partitions && a->job->period != AMBER_PERIOD_RUN && from_us < first * AMBER_DAY_US)
            unit_from = first * AMBER_DAY_US; /* whole partitions lie in whole periods */
        rc = a->opt->plan ? plan_unit(a, unit_from, unit_to, &to_us, err)
                          : archive_unit(a, unit_from, unit_to, &to_us, err);
        if (rc)
            return rc;
        from_us = to_us;
    }
}

enum amber_rc amber_archive_job(const struct amber_context *ctx, const struct amber_job *job,
                                const struct amber_archive_options *opt,
                                struct amber_archive_result *out, struct amber_err *err)
{
    *out = (struct amber_archive_result){0};
    struct archiver a = {
        .ctx = ctx,
        .job = job,
        .opt = opt,
        .result = out,
        .started_us = amber_now_us(),
        .max_rows = job->max_unit_rows,
    };
    set_phase(&a, AMBER_PHASE_PREFLIGHT);
    enum amber_rc rc = prepare(&a, err);
    if (!rc)
        rc = load_pins(&a, err);
    if (!rc)
        rc = run_units(&a, err);
    if (out->rows && !opt->plan) {
        struct amber_err late = AMBER_ERR_INIT;
        set_phase(&a, AMBER_PHASE_VACUUM);
        if (!amber_cancel_is_set(opt->cancel) && amber_unit_vacuum(a.pg, &a.family, &late))
            amber_warn("job %s: VACUUM (ANALYZE) after the run failed: %s", job->name, late.text);
    }
    set_phase(&a, AMBER_PHASE_IDLE);
    amber_pg_close(a.pg);
    amber_pg_close(a.ctl);
    amber_family_clear(&a.family);
    free(a.pins);
    return rc;
}
