/*
 * archiver.c - one run of a job: preparation, its units one after the other, what is tried anew.
 *
 * Two connections: `pg` holds the unit's transaction; `ctl` commits what must be durable before or
 * beside it. Helpers read for the export of a fast run; the guard has its own. One attempt at one unit
 * is in attempt.c.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "amber/calendar.h"
#include "amber/catalog.h"
#include "amber/count.h"
#include "amber/log.h"
#include "amber/recover.h"
#include "archiver_priv.h"
#include "give_way_priv.h"

#define UNIT_TRIES 5
#define LOCK_WAIT_MS 2000

/* ---- one unit, several attempts ---- */

static enum amber_rc pause_before_retry(struct archiver *a, int ms, struct amber_err *err)
{
    const struct amber_cancel *c = a->opt->cancel;
    struct pollfd p = {.fd = c ? c->fd : -1, .events = POLLIN};
    (void)poll(&p, 1, ms);
    return amber_cancel_check(c, err);
}

/* Have a connection that works. */
static enum amber_rc connect_again(struct archiver *a, const char *purpose, struct amber_pg **pg,
                                   struct amber_err *err)
{
    if (*pg && amber_pg_alive(*pg))
        return AMBER_OK;
    amber_pg_close(amber_steal(pg));
    return amber_context_connect(a->ctx, purpose, a->cancel, pg, err);
}

static enum amber_rc reconnect(struct archiver *a, struct amber_err *err)
{
    enum amber_rc rc = connect_again(a, a->job->name, &a->pg, err);
    if (!rc)
        rc = connect_again(a, "catalog", &a->ctl, err);
    for (size_t i = 0; !rc && i < a->n_helpers; i++)
        rc = connect_again(a, "export", &a->helpers[i], err);
    return rc;
}

static struct amber_unit_config unit_config(const struct archiver *a, int64_t from_us,
                                            int64_t to_us)
{
    return (struct amber_unit_config){
        .pg = a->pg,
        .helpers = a->helpers,
        .n_helpers = a->n_helpers,
        .family = &a->family,
        .from_us = from_us,
        .to_us = to_us,
        .pins = a->pins,
        .n_pins = a->n_pins,
        .max_rows = a->max_rows,
        .lock_wait_ms = LOCK_WAIT_MS,
        .take = !a->pace.rows_per_second,
        .breathe = amber_archiver_breathe,
        .breathe_arg = (void *)(uintptr_t)a,
        .drop_partitions = a->job->drop_partitions,
    };
}

/* Somebody waited for the unit's locks: after a pause that grows, again with fewer rows, and so the
 * rest of the run. */
static enum amber_rc give_way(struct archiver *a, struct amber_unit_config *cfg, const char *what,
                              unsigned n, struct amber_err *err)
{
    struct amber_give_way next;
    if (!amber_give_way(n, a->unit_rows, &next))
        return amber_fail(err, AMBER_E_BUSY,
                          "job %s gave way %u times to sessions that waited longer than 1 s for "
                          "its locks (the last one for %s); nothing of this unit was moved. Run it "
                          "when the tables are quieter, or set max_unit_rows lower",
                          a->job->name, AMBER_GIVE_WAYS_MAX, what);
    a->max_rows = cfg->max_rows = next.max_rows;
    amber_warn("job %s: a session waited longer than 1 s for %s: the unit is rolled back, nothing "
               "lost, and tried again with at most %s",
               a->job->name, what, AMBER_COUNT(cfg->max_rows, "row"));
    return pause_before_retry(a, next.pause_ms, err);
}

static enum amber_rc archive_unit(struct archiver *a, int64_t from_us, int64_t to_us,
                                  int64_t *out_to_us, struct amber_err *err)
{
    struct amber_unit_config cfg = unit_config(a, from_us, to_us);
    int64_t begun = amber_mono_us();
    uint64_t rows_before = a->result->rows;
    unsigned give_ways = 0;
    for (int try = 0;;) {
        char what[160];
        cfg.pg = a->pg;
        /* An attempt that is undone must leave no trace in the totals. */
        struct amber_archive_result before = *a->result;
        enum amber_rc rc = amber_attempt_unit(a, &cfg, out_to_us, err);
        bool gave_way = amber_guard_gave_way(a->guard, what, sizeof(what));
        if (!rc)
            break;
        memcpy(before.phase_us, a->result->phase_us, sizeof(before.phase_us));
        *a->result = before;
        if (gave_way && !a->in_doubt) {
            rc = give_way(a, &cfg, what, ++give_ways, err);
        } else {
            bool size = rc == AMBER_E_LIMIT && !cfg.check_sizes;
            if (size)
                cfg.check_sizes = true;
            if (a->in_doubt || (!size && !amber_pg_unit_retryable(err)) || ++try >= UNIT_TRIES)
                return rc;
            if ((rc = amber_cancel_check(a->opt->cancel, err)))
                return rc;
            amber_warn("job %s: unit rolled back, nothing lost, trying again: %s", a->job->name,
                       err->text);
            rc = pause_before_retry(a, 100 << try, err);
        }
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
    struct amber_unit_config cfg = unit_config(a, from_us, to_us);
    struct amber_unit *unit;
    enum amber_rc rc = amber_unit_begin(&cfg, &unit, err);
    if (rc)
        return rc;
    int64_t from, min_us, max_us;
    uint64_t span_rows;
    amber_unit_range(unit, &from, out_to_us);
    rc = amber_unit_span(unit, &span_rows, &min_us, &max_us, err);
    amber_archiver_count_stayed(a, unit);
    for (size_t i = 0; !rc && span_rows && i < a->family.n_tables; i++) {
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
            rc = amber_unit_count(unit, i, &line.rows, &line.bytes, err);
        if (!rc) {
            a->result->rows += line.rows;
            a->result->raw_bytes += line.bytes;
            a->result->archives += line.rows > 0;
            rc = a->opt->plan(a->opt->arg, &line, err);
        }
    }
    a->result->units += !rc && span_rows;
    amber_unit_free(unit);
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
static enum amber_rc refuse_unknown(void *arg, const struct amber_unknown_run *run,
                                    struct amber_err *err)
{
    const struct amber_job *job = arg;
    for (size_t i = 0; i < run->marker->n_entries; i++) {
        const struct amber_manifest *m = &run->manifests[i];
        for (size_t k = 0; k < job->n_tables; k++)
            if (strcmp(m->table_schema, job->tables[k].schema) == 0 &&
                strcmp(m->table_name, job->tables[k].name) == 0)
                return amber_fail(err, AMBER_E_DENIED,
                                  "the store has committed archives of %s.%s that this database "
                                  "doesn't know: it was set back to an earlier point or failed "
                                  "over; run `amberfs reconcile` before anything is archived",
                                  m->table_schema, m->table_name);
    }
    return AMBER_OK;
}

/* What only a real run has: those who help, and the one who looks out for others. */
static enum amber_rc equip(struct archiver *a, struct amber_err *err)
{
    const struct amber_context *ctx = a->ctx;
    bool polite = ctx->export_connections <= 1;
    enum amber_rc rc = amber_guard_new(ctx, a->opt->cancel, &a->guard, err);

    if (rc)
        return rc;
    a->cancel = amber_guard_cancel(a->guard);
    a->pace.rows_per_second = ctx->max_rows_per_second;
    if (polite) {
        rc = amber_pool_new_polite((amber_pool_threads(ctx->pool) + 1) / 2, &a->own_pool, err);
        a->pool = a->own_pool;
        return rc;
    }
    rc = amber_calloc(ctx->export_connections - 1, sizeof(*a->helpers), &a->helpers, err);
    a->n_helpers = rc ? 0 : ctx->export_connections - 1;
    return rc;
}

static void unequip(struct archiver *a)
{
    amber_pg_close(a->pg);
    amber_pg_close(a->ctl);
    for (size_t i = 0; i < a->n_helpers; i++)
        amber_pg_close(a->helpers[i]);
    free(a->helpers);
    amber_guard_free(a->guard);
    amber_pool_free(a->own_pool);
}

static enum amber_rc prepare(struct archiver *a, struct amber_err *err)
{
    AMBER_AUTO_FREE char *purpose = NULL;
    enum amber_rc rc = amber_asprintf(&purpose, err, "archive %s", a->job->name);
    if (!rc)
        rc = amber_context_connect(a->ctx, purpose, a->cancel, &a->pg, err);
    if (!rc)
        rc = amber_context_connect(a->ctx, "catalog", a->cancel, &a->ctl, err);
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
        if (!rc && a->id.replicas_only)
            rc = amber_fail(err, AMBER_E_DENIED, "ARCHIVAL_PATH holds no store "
                            "(.amberfs/store.json), only its replicas do: mount the disk or correct "
                            "the path; if the primary is lost and begins anew here: amberfs init "
                            "--new-store");
        if (!rc)
            rc = amber_recover(a->ctx, a->ctl, &a->id, a->job->name, &rec, err);
        if (!rc && rec.unknown_runs)
            rc = amber_unknown_runs(a->ctx, a->ctl, a->id.store_id, refuse_unknown,
                                    (void *)a->job, err);
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
    if (a->opt->plan) { /* a dry run doesn't make the catalog, and without one there are no pins */
        char id[AMBER_UUID_LEN];
        enum amber_rc rc = amber_catalog_id(a->ctl, id, err);
        if (rc)
            return rc == AMBER_E_NOT_FOUND ? AMBER_OK : rc;
    }
    return amber_catalog_pins(a->ctl, a->job->tables[0].schema,
                                          a->job->tables[0].name, add_pin, a, err);
}

static enum amber_rc run_units(struct archiver *a, struct amber_err *err)
{
    int64_t from_us = INT64_MIN;
    int64_t cutoff_us = a->cutoff_day * AMBER_DAY_US;
    for (;;) {
        int64_t oldest_us, first, next, to_us;
        bool found;
        enum amber_rc rc = amber_cancel_check(a->opt->cancel, err);
        if (!rc) /* the unit before may have lost its connection after it was committed */
            rc = reconnect(a, err);
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
        bool new_period = a->job->period != AMBER_PERIOD_RUN && from_us < first * AMBER_DAY_US;
        if (a->job->drop_partitions && new_period)
            unit_from = first * AMBER_DAY_US; /* whole partitions lie in whole periods */
        rc = a->opt->plan ? plan_unit(a, unit_from, unit_to, &to_us, err)
                          : archive_unit(a, unit_from, unit_to, &to_us, err);
        if (rc)
            return rc;
        from_us = to_us;
    }
}

bool amber_archiver_deaf(const struct archiver *a)
{
    return amber_cancel_is_set(a->opt->cancel) &&
           ((a->pg && !amber_pg_alive(a->pg)) || (a->ctl && !amber_pg_alive(a->ctl)));
}

/* Keep the result in the catalog, for every daemon and for after a restart. Best effort: a database
 * that is away can't be told, which is what failed the run then. */
static void keep_result(struct archiver *a, enum amber_rc run_rc, const struct amber_err *run_err)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pg *pg = NULL;
    struct amber_job_result r;
    if (!a->id.store_id[0] || amber_archiver_deaf(a))
        return; /* it didn't come as far as the catalog, or there is nobody to tell */
    amber_archive_job_result(a->result, a->started_us, run_rc, run_err, &r);
    if (amber_context_connect(a->ctx, "result", NULL, &pg, &err) ||
        amber_pg_exec(pg, &err, AMBER_LOCAL_COMMIT) ||
        amber_catalog_job_result_put(pg, a->id.store_id, a->job->name, &r, &err))
        amber_debug("job %s: its result isn't kept in the catalog: %s", a->job->name, err.text);
    amber_pg_close(pg);
}

/* Where a run's time went. */
static void log_phases(const struct archiver *a)
{
    char text[256] = "";
    for (size_t i = AMBER_PHASE_PREFLIGHT; i < AMBER_PHASE_COUNT; i++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof(text) - len, "%s%s %.2f s", len ? ", " : "",
                 amber_phase_name((enum amber_phase)i), (double)a->result->phase_us[i] / 1e6);
    }
    if (a->rest_us) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof(text) - len, " (%.2f s of it at rest for others)",
                 (double)a->rest_us / 1e6);
    }
    amber_info("job %s: %s; %s", a->job->name, AMBER_COUNT(a->result->rows, "row"), text);
}

void amber_archive_job_result(const struct amber_archive_result *r, int64_t started_us,
                              enum amber_rc rc, const struct amber_err *err,
                              struct amber_job_result *out)
{
    *out = (struct amber_job_result){
        .started_us = started_us,
        .finished_us = amber_now_us(),
        .rows = r->rows,
        .bytes = r->raw_bytes,
        .archives = r->archives,
        .rows_stayed = r->stayed_referenced + r->stayed_too_large,
    };
    snprintf(out->state, sizeof(out->state), "%s",
             rc == AMBER_OK ? "ok" : rc == AMBER_E_CANCELED ? "canceled" : "failed");
    snprintf(out->error, sizeof(out->error), "%s", rc ? err->text : "");
}

/* What the administrator of a store that takes nothing can do; NULL: it isn't that. */
static const char *store_remedy(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return "make room there";
    case EROFS:
    case EACCES:
    case EPERM:
        return "make that place writable";
    default:
        return NULL;
    }
}

/* A store that takes nothing ends the run: say what became of the rows, and what to do. */
static void explain_store(const struct archiver *a, struct amber_err *err)
{
    const char *remedy = a->in_doubt ? NULL : store_remedy(err->sys_errno);
    struct amber_err was = *err;
    if (!remedy)
        return;
    amber_fail(err, was.code,
               "%s: nothing is lost, rows that weren't archived are still in the database: %s and "
               "run job %s again",
               was.text, remedy, a->job->name);
    err->sys_errno = was.sys_errno;
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
        .cancel = opt->cancel,
        .pool = ctx->pool,
    };
    amber_archiver_phase(&a, AMBER_PHASE_PREFLIGHT);
    enum amber_rc rc = opt->plan ? AMBER_OK : equip(&a, err);
    if (!rc)
        rc = prepare(&a, err);
    if (!rc)
        rc = load_pins(&a, err);
    if (!rc)
        rc = run_units(&a, err);
    if (rc)
        explain_store(&a, err);
    if (out->rows && !opt->plan) {
        struct amber_err late = AMBER_ERR_INIT;
        amber_archiver_phase(&a, AMBER_PHASE_VACUUM);
        /* No connection: it was lost between two units, and VACUUM is the least of it. */
        bool gently = amber_guard_busy(a.guard);
        if (a.pg && !amber_cancel_is_set(opt->cancel) &&
            amber_unit_vacuum(a.pg, &a.family, gently, &late))
            amber_warn("job %s: VACUUM (ANALYZE) after the run failed: %s", job->name, late.text);
    }
    if (!opt->plan)
        keep_result(&a, rc, err);
    amber_archiver_phase(&a, AMBER_PHASE_IDLE);
    if (out->rows && !opt->plan)
        log_phases(&a);
    unequip(&a);
    amber_family_clear(&a.family);
    free(a.pins);
    return rc;
}
