/*
 * attempt.c - the protocol for one unit, once (docs/architecture.md, "Moving rows"):
 *
 *   1 ctl: the run's row, running                                  amber_attempt_unit
 *   2 pg:  BEGIN, locks, snapshot, span                            run_steps
 *   3 each table's rows into a writer; ctl reserves the name       export_tables, open_piece
 *     before the first byte
 *   4 writer finished: durable; manifest put                       finish_piece
 *   5 read back from the medium; then the sync replicas, likewise  prove_pieces, replicate_pieces
 *   6 pg: delete, check                                            delete_rows
 *   7 pg: fence + catalog rows, COMMIT; then the marker            commit_unit
 *
 * A failure before COMMIT was sent: roll back, fence to aborted, remove our own objects. A COMMIT
 * in doubt: the fence decides; objects are left alone.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "amber/calendar.h"
#include "amber/catalog.h"
#include "amber/copies.h"
#include "amber/count.h"
#include "amber/failpoint.h"
#include "amber/log.h"
#include "amber/recover.h"
#include "amber/replicator.h"
#include "attempt_priv.h"

#define SETTLE_TRIES 5

/* ---- 3: a table's rows into its archive ---- */

/* Progress takes a lock, so it is told of rows now and then. */
#define PROGRESS_ROWS 1024

static void tell_rows(struct attempt *t, uint64_t rows)
{
    uint64_t written, raw_bytes = 0;
    if (t->pieces[t->table].writer)
        amber_writer_progress(t->pieces[t->table].writer, &written, &raw_bytes);
    amber_archiver_tell_rows(t->a, rows, t->finished_bytes + raw_bytes, t->table == 0);
}

/* At a table's first row: its name, then its writer. A table without rows gets neither. */
static enum amber_rc open_piece(struct attempt *t, struct amber_err *err)
{
    struct archiver *a = t->a;
    struct piece *p = &t->pieces[t->table];
    enum amber_rc rc = amber_piece_describe(t, p, err);
    if (!rc)
        rc = amber_piece_reserve(t, p, err);
    if (!rc)
        rc = amber_failpoint("name-reserved", err);
    if (rc)
        return rc;
    AMBER_AUTO_FREE char *key = NULL;
    rc = amber_asprintf(&key, err, "%s%s", p->logical, amber_codec_info(a->ctx->codec)->suffix);
    if (rc)
        return rc;
    AMBER_AUTO_BUF struct amber_buf meta = AMBER_BUF_INIT(16U << 20);
    rc = amber_manifest_meta_encode(&p->manifest, &meta, err);
    if (rc)
        return rc;
    struct amber_writer_config cfg = {
        .store = a->ctx->store,
        .pool = a->pool,
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
    enum amber_rc rc = amber_archiver_keep_pace(t->a, err);
    if (!rc && !p->writer)
        rc = open_piece(t, err);
    if (rc) {
        amber_pg_copy_free(line);
        return rc;
    }
    if (++p->exported.rows % PROGRESS_ROWS == 0)
        tell_rows(t, PROGRESS_ROWS);
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
        rc = amber_fail(err, AMBER_E_CORRUPT, "%s: %s came out of the export but %llu were written",
                        p->logical, AMBER_COUNT(p->exported.rows, "row"),
                        (unsigned long long)p->manifest.archive.rows);
    t->finished_bytes += p->manifest.archive.raw_bytes;
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
        amber_archiver_tell_table(a, &a->family.tables[t->table]);
        struct amber_unit_table exported = {0};
        enum amber_rc rc =
            amber_unit_export(t->unit, t->table, export_row, t, &exported, err);
        if (rc)
            return rc;
        tell_rows(t, p->exported.rows % PROGRESS_ROWS);
        if (exported.rows != p->exported.rows)
            return amber_fail(err, AMBER_E_CORRUPT, "table %s: %s came for %llu identities",
                              a->family.tables[t->table].name,
                              AMBER_COUNT(p->exported.rows, "row"),
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
    struct amber_store *primary = amber_copies_store(a->ctx->store, 0);
    for (size_t i = 0; i < a->family.n_tables; i++) {
        struct piece *p = &t->pieces[i];
        if (!p->proof)
            continue;
        /* The manifest too is what the store gives back, under the digest that we will record. */
        struct amber_manifest m = {0};
        enum amber_rc rc =
            amber_manifest_get(primary, p->manifest_key, &p->manifest_digest, &m, err);
        if (!rc)
            rc = amber_proof_check(p->proof, primary, &m, a->pool, a->cancel, err);
        amber_manifest_clear(&m);
        if (rc)
            return amber_wrap(err, "reading the new archive back");
    }
    return amber_failpoint("proof-done", err);
}

/* The sync replicas have the same bytes, read back, before a deletion is committed. */
static enum amber_rc replicate_pieces(struct attempt *t, struct amber_err *err)
{
    struct archiver *a = t->a;
    enum amber_rc rc = AMBER_OK;
    for (size_t i = 0; !rc && i < a->family.n_tables; i++) {
        const struct piece *p = &t->pieces[i];
        if (p->proof)
            rc = amber_replicate_sync(a->ctx, a->id.store_id, p->manifest_key, &p->manifest_digest,
                                      a->cancel, err);
    }
    return rc ? rc : amber_failpoint("replicas-durable", err);
}

static enum amber_rc prove_and_replicate(struct attempt *t, struct amber_err *err)
{
    enum amber_rc rc = prove_pieces(t, err);
    return rc ? rc : replicate_pieces(t, err);
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
    free(exported);
    return rc;
}

/* The proof on a thread of its own. */
struct proving {
    struct attempt *t;
    enum amber_rc rc;
    struct amber_err err;
};

static void *prove_main(void *arg)
{
    struct proving *p = arg;
    p->rc = prove_and_replicate(p->t, &p->err);
    return NULL;
}

/* 5 and 6 at once: what is deleted is gone at COMMIT only, and that comes if the proof agreed. */
static enum amber_rc prove_while_deleting(struct attempt *t, struct amber_err *err)
{
    struct proving proving = {.t = t, .err = AMBER_ERR_INIT};
    sigset_t every, before;
    pthread_t thread;
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    int errnum = pthread_create(&thread, NULL, prove_main, &proving);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (errnum) {
        amber_fail_errno(err, errnum, "can't start a thread to read the archive back");
        return err->code = AMBER_E_IO;
    }
    amber_archiver_phase(t->a, AMBER_PHASE_DELETE);
    enum amber_rc rc = delete_rows(t, err);
    pthread_join(thread, NULL);
    if (!proving.rc)
        return rc;
    *err = proving.err;
    return proving.rc;
}

static enum amber_rc prove_then_delete(struct attempt *t, struct amber_err *err)
{
    amber_archiver_phase(t->a, AMBER_PHASE_VERIFY);
    enum amber_rc rc = prove_and_replicate(t, err);
    if (rc)
        return rc;
    amber_archiver_phase(t->a, AMBER_PHASE_DELETE);
    return delete_rows(t, err);
}

static enum amber_rc prove_and_delete(struct attempt *t, struct amber_err *err)
{
    /* Polite: others' rows are locked only once nothing but a COMMIT is missing. */
    bool polite = t->a->ctx->export_connections <= 1;
    enum amber_rc rc = polite ? prove_then_delete(t, err) : prove_while_deleting(t, err);
    if (!rc)
        rc = amber_unit_drop(t->unit, err);
    return rc ? rc : amber_unit_check(t->unit, err);
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
        amber_archive_row_of(&p->manifest, p->logical, p->manifest_key, &p->manifest_digest,
                             &rows[n++]);
    }
    if (!rc)
        rc = amber_catalog_run_commit(a->pg, &t->run, rows, n, err);
    if (!rc)
        rc = amber_replicas_queue(a->ctx, a->pg, &t->run, err);
    free(rows);
    return rc;
}

/* The answer to COMMIT was lost: our fence decides. It waits for the transaction if that is still
 * being worked on, and then either hits (it never commits) or finds the run committed. */
static enum amber_rc settle_commit(struct attempt *t, struct amber_err *err)
{
    struct archiver *a = t->a;
    struct amber_err why = AMBER_ERR_INIT;
    /* If COMMIT didn't even leave this process, our own open transaction holds the run's row, and
     * the fence would wait for us. A connection that is lost isn't touched. */
    amber_pg_rollback(a->pg);
    for (int try = 0; try < SETTLE_TRIES; try++) {
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
    a->in_doubt = true;
    return amber_wrap(err, "whether run %s was committed is settled at the next start (%s)",
                      t->run.run_id, why.text);
}

/* Deleting may have taken long, and a disk may have been unplugged or a folder removed since the
 * archives were read back: what is about to be the only copy must still be in its place. */
static enum amber_rc still_in(struct amber_store *store, const char *key, const uint64_t *bytes,
                              struct amber_err *err)
{
    struct amber_object_info info;
    enum amber_rc rc = amber_store_stat(store, key, &info, err);
    if (!rc && bytes && info.size != *bytes)
        rc = amber_fail(err, AMBER_E_CORRUPT, "%s has %llu bytes, %llu were written", key,
                        (unsigned long long)info.size, (unsigned long long)*bytes);
    return rc ? amber_wrap(err, "the new archive is gone or changed before its rows are, so they "
                                "stay in the database; is the store mounted, and who writes "
                                "into it?")
              : AMBER_OK;
}

/* In the primary, and in each replica that the unit waits for. */
static enum amber_rc still_there(const struct attempt *t, const char *key, const uint64_t *bytes,
                                 struct amber_err *err)
{
    struct amber_store *st = t->a->ctx->store;
    enum amber_rc rc = AMBER_OK;
    for (unsigned i = 0; !rc && i < amber_copies_count(st); i++)
        if (i == 0 || amber_copies_sync(st, i))
            rc = still_in(amber_copies_store(st, i), key, bytes, err);
    return rc;
}

static enum amber_rc pieces_still_there(const struct attempt *t, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    for (size_t i = 0; !rc && i < t->a->family.n_tables; i++) {
        const struct piece *p = &t->pieces[i];
        if (!p->proof)
            continue;
        rc = still_there(t, p->manifest.archive.key, &p->manifest.archive.stored_bytes, err);
        if (!rc)
            rc = still_there(t, p->manifest_key, NULL, err);
        for (size_t k = 0; !rc && k < p->manifest.n_attachments; k++)
            rc = still_there(t, p->manifest.attachments[k].part.key,
                             &p->manifest.attachments[k].part.stored_bytes, err);
    }
    return rc;
}

static enum amber_rc commit_unit(struct attempt *t, struct amber_err *err)
{
    struct archiver *a = t->a;
    enum amber_rc rc = record(t, err);
    if (!rc)
        rc = amber_failpoint("recorded", err);
    if (!rc)
        rc = pieces_still_there(t, err);
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
    else
        amber_replicas_settle(a->ctx, a->ctl, a->id.store_id, t->run.run_id);
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
    size_t n_dropped;
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
        amber_info("job %s: %s: %s archived, %llu bytes stored for %llu", a->job->name,
                   p->logical, AMBER_COUNT(p->manifest.archive.rows, "row"),
                   (unsigned long long)p->manifest.archive.stored_bytes,
                   (unsigned long long)p->manifest.archive.raw_bytes);
    }
}

void amber_archiver_count_stayed(struct archiver *a, const struct amber_unit *unit)
{
    struct amber_archive_result *r = a->result;
    struct amber_unit_stayed stayed;
    amber_unit_stayed(unit, &stayed);
    r->stayed_referenced += stayed.referenced;
    r->stayed_too_large += stayed.too_large;
    if (stayed.why[0] && !strstr(r->stayed_why, stayed.why)) {
        size_t len = strlen(r->stayed_why);
        snprintf(r->stayed_why + len, sizeof(r->stayed_why) - len, "%s%s", len ? ", " : "",
                 stayed.why);
    }
}

static enum amber_rc watch_unit(struct attempt *t, struct amber_err *err)
{
    int pid;
    enum amber_rc rc = amber_unit_pid(t->unit, &pid, err);
    if (!rc)
        amber_guard_watch(t->a->guard, pid);
    return rc;
}

/* Steps 2 to 7. *out_to_us: where the next unit starts. */
static enum amber_rc run_steps(struct attempt *t, const struct amber_unit_config *cfg,
                               int64_t *out_to_us, struct amber_err *err)
{
    struct archiver *a = t->a;
    enum amber_rc rc = amber_unit_begin(cfg, &t->unit, err);
    if (!rc)
        rc = watch_unit(t, err);
    if (rc)
        return rc;
    int64_t from_us, min_us, max_us;
    amber_unit_range(t->unit, &from_us, out_to_us);
    rc = amber_unit_span(t->unit, &t->span_rows, &min_us, &max_us, err);
    if (rc)
        return rc;
    amber_archiver_count_stayed(a, t->unit);
    if (!t->span_rows) /* all of them stay */
        return AMBER_OK;
    a->unit_rows = t->span_rows;
    t->first_day = amber_day_from_us(min_us);
    t->last_day = amber_day_from_us(max_us);
    amber_archiver_tell_unit(a, t->first_day, t->last_day, t->span_rows);
    amber_archiver_phase(a, AMBER_PHASE_EXPORT);
    rc = export_tables(t, err);
    if (rc)
        return rc;
    if ((rc = prove_and_delete(t, err)))
        return rc;
    amber_guard_rest(a->guard); /* a COMMIT isn't taken back */
    amber_archiver_phase(a, AMBER_PHASE_COMMIT);
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
    amber_guard_rest(a->guard);
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
    bool deaf = amber_archiver_deaf(a);
    if (deaf)
        snprintf(err.text, sizeof(err.text), "it doesn't answer");
    /* Undoing isn't canceled: a connection without the cancel flag. Whatever a failover makes of
     * the fence, the unit isn't committed there either. */
    if (!deaf && !amber_context_connect(a->ctx, "undo", NULL, &fresh, &err) &&
        !amber_pg_exec(fresh, &err, AMBER_LOCAL_COMMIT))
        pg = fresh;
    bool hit = false;
    if (deaf || amber_catalog_run_abort(pg, t->run.run_id, why, &hit, &err))
        amber_warn("run %s is rolled back, but the catalog couldn't be told (%s); the next start "
                   "settles it",
                   t->run.run_id, err.text);
    else if (hit)
        amber_discard_run(a->ctx, pg, t->run.run_id);
    amber_pg_close(fresh);
}

enum amber_rc amber_attempt_unit(struct archiver *a, const struct amber_unit_config *cfg,
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
    amber_mem_trim();
    return rc;
}
