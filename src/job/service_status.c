/*
 * service_status.c - the .status document, the Prometheus text, and results as text.
 *
 * All of it comes from memory: nothing here asks the database or the store. Keys are stable; they
 * are listed in docs/operations.md.
 */
#include <stdio.h>
#include <unistd.h>

#include <jansson.h>

#include "amber/calendar.h"
#include "amber/disk_cache.h"
#include "amber/json_memory.h"
#include "service_priv.h"

static json_t *time_or_null(int64_t us)
{
    if (us <= 0 || us == INT64_MAX)
        return json_null();
    char text[AMBER_TIMESTAMP_MAX];
    amber_timestamp_format(us - us % 1000000, text);
    return json_string(text);
}

static json_t *count(uint64_t n)
{
    return json_integer((json_int_t)n);
}

static const char *task_state(const struct task *t)
{
    if (t->running)
        return "running";
    if (t->queued)
        return "queued";
    if (t->job && !t->job->enabled)
        return "disabled";
    return strcmp(t->last.state, "failed") == 0 ? "failed" : "idle";
}

static json_t *progress_object(struct task *t)
{
    struct amber_progress p;
    amber_progress_get(&t->progress, &p);
    double seconds = (double)(amber_now_us() - p.started_us) / 1e6;
    double done = p.unit_rows_total ? (double)p.unit_rows_done / (double)p.unit_rows_total : 0;
    json_t *o = json_object();
    json_object_set_new(o, "phase", json_string(amber_phase_name(p.phase)));
    json_object_set_new(o, "table", json_string(p.table));
    json_object_set_new(o, "period", json_string(p.period));
    json_object_set_new(o, "rows", count(p.rows));
    json_object_set_new(o, "unitRows", count(p.unit_rows_total));
    json_object_set_new(o, "unitRowsDone", count(p.unit_rows_done));
    json_object_set_new(o, "percentOfUnit", json_integer((json_int_t)(done * 100)));
    json_object_set_new(o, "rowsPerSecond",
                        json_integer(seconds > 0 ? (json_int_t)((double)p.rows / seconds) : 0));
    json_object_set_new(o, "leavesTime", json_boolean(p.leaves_time));
    json_object_set_new(o, "startedAt", time_or_null(p.started_us));
    return o;
}

static json_t *result_object(const struct task *t)
{
    const struct amber_job_result *r = &t->last;
    if (!r->started_us)
        return json_null();
    json_t *o = json_object();
    json_object_set_new(o, "state", json_string(r->state));
    json_object_set_new(o, "startedAt", time_or_null(r->started_us));
    json_object_set_new(o, "finishedAt", time_or_null(r->finished_us));
    json_object_set_new(o, "error", r->error[0] ? json_string(r->error) : json_null());
    json_object_set_new(o, "rows", count(r->rows));
    json_object_set_new(o, "bytes", count(r->bytes));
    json_object_set_new(o, "archives", count(r->archives));
    json_object_set_new(o, "rowsStayed", count(r->rows_stayed));
    if (t->detail.stayed_why[0])
        json_object_set_new(o, "stayedBecause", json_string(t->detail.stayed_why));
    if (t->detail.stayed_too_large)
        json_object_set_new(o, "rowsTooLargeForCopy", count(t->detail.stayed_too_large));
    if (t->detail.timeless)
        json_object_set_new(o, "rowsWithoutTime", count(t->detail.timeless));
    return o;
}

static json_t *job_object(struct amber_service *s, struct task *t)
{
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(t->name));
    json_object_set_new(o, "enabled", json_boolean(t->job->enabled && s->enabled));
    json_object_set_new(o, "state", json_string(task_state(t)));
    json_object_set_new(o, "schedule", json_string(t->job->cron_text));
    int64_t next = t->next_run_us;
    if (t->retry_us && t->retry_us < next)
        next = t->retry_us;
    json_object_set_new(o, "nextRun", time_or_null(next));
    json_object_set_new(o, "lastRun", time_or_null(t->last.started_us));
    json_object_set_new(o, "lastResult", result_object(t));
    json_object_set_new(o, "progress", t->running ? progress_object(t) : json_null());
    json_object_set_new(o, "failuresInARow", json_integer((json_int_t)t->failures));
    json_t *tables = json_array();
    for (size_t i = 0; i < t->job->n_tables; i++)
        json_array_append_new(tables, json_sprintf("%s.%s", t->job->tables[i].schema,
                                                   t->job->tables[i].name));
    json_object_set_new(o, "tables", tables);
    return o;
}

static json_t *store_object(struct amber_service *s)
{
    struct amber_tree_totals n;
    amber_tree_totals(s->tree, &n);
    json_t *o = json_object();
    json_object_set_new(o, "type", json_string(s->store_type));
    json_object_set_new(o, "path", json_string(s->store_path));
    json_object_set_new(o, "id",
                        s->id.store_id[0] ? json_string(s->id.store_id) : json_null());
    json_object_set_new(o, "archives", count(n.archives));
    json_object_set_new(o, "rows", count(n.rows));
    json_object_set_new(o, "rawBytes", count(n.raw_bytes));
    json_object_set_new(o, "storedBytes", count(n.stored_bytes));
    json_object_set_new(o, "missingArchives", count(s->missing.archives));
    json_object_set_new(o, "firstMissing",
                        s->missing.first[0] ? json_string(s->missing.first) : json_null());
    json_object_set_new(o, "hiddenOrphans", count(s->recovery.orphans_hidden));
    json_object_set_new(o, "needsReconcile", s->recovery.unknown_runs
                                                 ? json_string(s->recovery.unknown_tables)
                                                 : json_null());
    return o;
}

/* "current", "copying", "behind" or, while copying fails, "failing". "unknown": nothing was heard yet,
 * or this daemon is read-only and fills no replica. */
static const char *replica_state(const struct replica *r)
{
    if (r->error[0])
        return "failing";
    if (r->copying)
        return "copying";
    if (!r->known)
        return "unknown";
    return r->lag.runs ? "behind" : "current";
}

static json_t *replicas_array(struct amber_service *s)
{
    json_t *a = json_array();
    for (size_t i = 0; i < s->n_replicas; i++) {
        const struct replica *r = &s->replicas[i];
        struct amber_copy_stats c;
        amber_copies_stats(s->ctx->store, r->copy, &c);
        json_t *o = json_object();
        bool sync = amber_copies_sync(s->ctx->store, r->copy);
        json_object_set_new(o, "name", json_string(r->name));
        json_object_set_new(o, "mode", json_string(sync ? "sync" : "async"));
        json_object_set_new(o, "state", json_string(replica_state(r)));
        json_object_set_new(o, "archivesBehind", count(r->lag.archives));
        json_object_set_new(o, "bytesBehind", count(r->lag.bytes));
        json_object_set_new(o, "behindSince", time_or_null(r->lag.oldest_us));
        json_object_set_new(o, "lastCopied", time_or_null(r->lag.copied_us));
        json_object_set_new(o, "error", r->error[0] ? json_string(r->error) : json_null());
        json_object_set_new(o, "reachable", json_boolean(!c.away));
        json_object_set_new(o, "reads", count(c.reads));
        json_object_set_new(o, "failures", count(c.failures));
        json_array_append_new(a, o);
    }
    return a;
}

static json_t *database_object(const struct amber_service *s)
{
    json_t *o = json_object();
    json_object_set_new(o, "reachable", json_boolean(s->database_up));
    json_object_set_new(o, "name",
                        s->database_name[0] ? json_string(s->database_name) : json_null());
    json_object_set_new(o, "error",
                        s->database_up ? json_null() : json_string(s->database_error));
    return o;
}

static json_t *mount_object(struct amber_service *s)
{
    struct amber_mount_stats m = {0};
    struct amber_cache_stats c = {0};
    struct amber_disk_cache_stats d = {0};
    if (s->mount)
        amber_mount_stats(s->mount, &m);
    amber_cache_stats(s->ctx->cache, &c);
    amber_disk_cache_stats(amber_cache_disk(s->ctx->cache), &d);
    json_t *o = json_object();
    json_object_set_new(o, "path", json_string(s->mountpoint));
    json_object_set_new(o, "readOnly", json_boolean(s->read_only));
    json_object_set_new(o, "opens", count(m.opens));
    json_object_set_new(o, "reads", count(m.reads));
    json_object_set_new(o, "readBytes", count(m.read_bytes));
    json_object_set_new(o, "readErrors", count(m.read_errors));
    json_object_set_new(o, "controlWrites", count(m.control_writes));
    json_object_set_new(o, "restores", count(m.restores));
    json_object_set_new(o, "blocksDecoded", count(c.blocks_decoded));
    json_object_set_new(o, "cacheHits", count(c.hits));
    json_object_set_new(o, "cacheBytes", count(c.bytes));
    json_object_set_new(o, "diskCacheHits", count(d.hits));
    json_object_set_new(o, "diskCacheMisses", count(d.misses));
    return o;
}

static json_t *pins_array(const struct amber_service *s)
{
    json_t *a = json_array();
    for (size_t i = 0; i < s->n_pins; i++) {
        char from[AMBER_DATE_MAX], to[AMBER_DATE_MAX];
        amber_date_format(s->pins[i].from_day, from);
        amber_date_format(s->pins[i].to_day, to);
        json_t *o = json_object();
        json_object_set_new(o, "table", json_string(s->pins[i].table));
        json_object_set_new(o, "from", json_string(from));
        json_object_set_new(o, "to", json_string(to));
        json_object_set_new(o, "until", time_or_null(s->pins[i].until_us));
        json_array_append_new(a, o);
    }
    return a;
}

enum amber_rc amber_service_status(void *arg, struct amber_buf *out, struct amber_err *err)
{
    struct amber_service *s = arg;
    int64_t now = amber_now_us();
    amber_json_begin();
    json_t *doc = json_object();
    json_t *jobs = json_array();
    pthread_mutex_lock(&s->mutex);
    json_object_set_new(doc, "version", json_string(AMBER_VERSION));
    json_object_set_new(doc, "pid", json_integer(getpid()));
    json_object_set_new(doc, "host", json_string(s->ctx->host));
    json_object_set_new(doc, "startedAt", time_or_null(s->started_us));
    json_object_set_new(doc, "uptimeSeconds", json_integer((now - s->started_us) / 1000000));
    json_object_set_new(doc, "store", store_object(s));
    json_object_set_new(doc, "replicas", replicas_array(s));
    json_object_set_new(doc, "database", database_object(s));
    for (size_t i = 0; i < s->n_tasks; i++)
        if (s->tasks[i]->kind == TASK_ARCHIVE && s->tasks[i]->job)
            json_array_append_new(jobs, job_object(s, s->tasks[i]));
    json_object_set_new(doc, "jobs", jobs);
    json_object_set_new(doc, "pins", pins_array(s));
    json_object_set_new(doc, "mount", mount_object(s));
    pthread_mutex_unlock(&s->mutex);
    char *text = json_dumps(doc, JSON_INDENT(2));
    json_decref(doc);
    if (!text || amber_json_starved()) {
        free(text);
        return amber_fail_nomem(err, "the status document", 4096);
    }
    enum amber_rc rc = amber_buf_puts(out, text, err);
    if (!rc)
        rc = amber_buf_puts(out, "\n", err);
    free(text);
    return rc;
}

/* ---- Prometheus ---- */

/* source  Prometheus text exposition format 0.0.4 */
static enum amber_rc metric(struct amber_buf *out, const char *name, const char *type,
                            const char *help, double value, struct amber_err *err)
{
    return amber_buf_printf(out, err, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", name, help, name,
                            type, name, value);
}

static enum amber_rc job_metrics(struct amber_service *s, struct amber_buf *out,
                                 struct amber_err *err)
{
    static const struct {
        const char *name, *help;
    } heads[] = {
        {"amberfs_job_running", "1 while the job runs"},
        {"amberfs_job_last_success", "1 if the last run ended well, 0 if it failed"},
        {"amberfs_job_last_run_timestamp_seconds", "Start of the last run"},
        {"amberfs_job_last_rows", "Rows moved by the last run"},
        {"amberfs_job_next_run_timestamp_seconds", "Start of the next scheduled run"},
    };
    enum amber_rc rc = AMBER_OK;
    for (size_t h = 0; !rc && h < amber_countof(heads); h++) {
        rc = amber_buf_printf(out, err, "# HELP %s %s\n# TYPE %s gauge\n", heads[h].name,
                              heads[h].help, heads[h].name);
        for (size_t i = 0; !rc && i < s->n_tasks; i++) {
            const struct task *t = s->tasks[i];
            if (t->kind != TASK_ARCHIVE || !t->job)
                continue;
            const double values[] = {
                t->running,
                strcmp(t->last.state, "ok") == 0,
                (double)t->last.started_us / 1e6,
                (double)t->last.rows,
                t->next_run_us == INT64_MAX ? 0 : (double)t->next_run_us / 1e6,
            };
            if ((h == 1 || h == 2) && !t->last.started_us)
                continue;
            if (h == 4 && t->next_run_us == INT64_MAX)
                continue;
            rc = amber_buf_printf(out, err, "%s{job=\"%s\"} %.15g\n", heads[h].name, t->name,
                                  values[h]);
        }
    }
    return rc;
}

static enum amber_rc replica_metrics(struct amber_service *s, struct amber_buf *out,
                                     struct amber_err *err)
{
    static const struct {
        const char *name, *type, *help;
    } heads[] = {
        {"amberfs_replica_archives_behind", "gauge", "Archives that the replica doesn't have yet"},
        {"amberfs_replica_bytes_behind", "gauge", "Their stored bytes"},
        {"amberfs_replica_oldest_behind_seconds", "gauge", "Since when it is behind; 0: it isn't"},
        {"amberfs_replica_failing", "gauge", "1 while copying to it fails"},
        {"amberfs_replica_reads_total", "counter",
         "Reads that it answered because the copies before it couldn't"},
        {"amberfs_replica_failures_total", "counter", "Reads that failed on it"},
    };
    enum amber_rc rc = AMBER_OK;
    for (size_t h = 0; !rc && s->n_replicas && h < amber_countof(heads); h++) {
        rc = amber_buf_printf(out, err, "# HELP %s %s\n# TYPE %s %s\n", heads[h].name, heads[h].help,
                              heads[h].name, heads[h].type);
        for (size_t i = 0; !rc && i < s->n_replicas; i++) {
            const struct replica *r = &s->replicas[i];
            int64_t since = r->lag.oldest_us;
            struct amber_copy_stats c;
            amber_copies_stats(s->ctx->store, r->copy, &c);
            const double values[] = {
                (double)r->lag.archives,
                (double)r->lag.bytes,
                since ? (double)(amber_now_us() - since) / 1e6 : 0,
                r->error[0] != '\0',
                (double)c.reads,
                (double)c.failures,
            };
            rc = amber_buf_printf(out, err, "%s{replica=\"%s\"} %.15g\n", heads[h].name, r->name,
                                  values[h]);
        }
    }
    return rc;
}

enum amber_rc amber_service_metrics(void *arg, struct amber_buf *out, struct amber_err *err)
{
    struct amber_service *s = arg;
    struct amber_mount_stats m = {0};
    struct amber_cache_stats c = {0};
    struct amber_disk_cache_stats d = {0};
    struct amber_tree_totals n;
    if (s->mount)
        amber_mount_stats(s->mount, &m);
    amber_cache_stats(s->ctx->cache, &c);
    amber_disk_cache_stats(amber_cache_disk(s->ctx->cache), &d);
    amber_tree_totals(s->tree, &n);
    pthread_mutex_lock(&s->mutex);
    const struct {
        const char *name, *type, *help;
        double value;
    } metrics[] = {
        {"amberfs_uptime_seconds", "gauge", "Seconds since the daemon started",
         (double)(amber_now_us() - s->started_us) / 1e6},
        {"amberfs_database_up", "gauge", "1 if the database is reachable", s->database_up},
        {"amberfs_archives", "gauge", "Archives in the tree", (double)n.archives},
        {"amberfs_archived_rows", "gauge", "Rows in all archives", (double)n.rows},
        {"amberfs_raw_bytes", "gauge", "Uncompressed bytes of all archives", (double)n.raw_bytes},
        {"amberfs_stored_bytes", "gauge", "Stored bytes of all archives", (double)n.stored_bytes},
        {"amberfs_missing_archives", "gauge", "Archives that the store doesn't hold any more",
         (double)s->missing.archives},
        {"amberfs_needs_reconcile", "gauge", "Committed runs that the catalog doesn't know",
         (double)s->recovery.unknown_runs},
        {"amberfs_hidden_orphans", "gauge", "Objects of rolled-back runs kept hidden",
         (double)s->recovery.orphans_hidden},
        {"amberfs_reads_total", "counter", "Read requests", (double)m.reads},
        {"amberfs_read_bytes_total", "counter", "Bytes served", (double)m.read_bytes},
        {"amberfs_read_errors_total", "counter", "Reads that failed", (double)m.read_errors},
        {"amberfs_blocks_decoded_total", "counter", "Blocks verified and decoded",
         (double)c.blocks_decoded},
        {"amberfs_cache_hits_total", "counter", "Blocks found in the cache", (double)c.hits},
        {"amberfs_cache_bytes", "gauge", "Decoded bytes in the cache", (double)c.bytes},
        {"amberfs_disk_cache_hits_total", "counter", "Blocks found in the disk cache",
         (double)d.hits},
        {"amberfs_disk_cache_misses_total", "counter", "Blocks not found there", (double)d.misses},
        {"amberfs_disk_cache_damaged_total", "counter", "Files removed from it as damaged",
         (double)d.damaged},
        {"amberfs_restores_total", "counter", "Files copied into .restore", (double)m.restores},
    };
    enum amber_rc rc = AMBER_OK;
    for (size_t i = 0; !rc && i < amber_countof(metrics); i++)
        rc = metric(out, metrics[i].name, metrics[i].type, metrics[i].help, metrics[i].value, err);
    if (!rc)
        rc = job_metrics(s, out, err);
    if (!rc)
        rc = replica_metrics(s, out, err);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

/* ---- results as text ---- */

enum amber_rc amber_service_result_text(const struct task *t, struct amber_buf *out,
                                        struct amber_err *err)
{
    const struct amber_job_result *r = &t->last;
    if (!r->started_us)
        return amber_buf_printf(out, err, "job: %s\nstate: never run\n", t->name);
    char started[AMBER_TIMESTAMP_MAX], finished[AMBER_TIMESTAMP_MAX];
    amber_timestamp_format(r->started_us, started);
    amber_timestamp_format(r->finished_us, finished);
    enum amber_rc rc = amber_buf_printf(out, err, "job: %s\nstate: %s\n", t->name, r->state);
    if (!rc && r->error[0])
        rc = amber_buf_printf(out, err, "error: %s\n", r->error);
    if (!rc && t->kind == TASK_ARCHIVE)
        rc = amber_buf_printf(out, err, "rows: %llu\nbytes: %llu\narchives: %llu\nstayed: %llu\n",
                              (unsigned long long)r->rows, (unsigned long long)r->bytes,
                              (unsigned long long)r->archives, (unsigned long long)r->rows_stayed);
    if (!rc && t->detail.stayed_why[0])
        rc = amber_buf_printf(out, err, "stayed because of: %s\n", t->detail.stayed_why);
    if (!rc && t->detail.stayed_too_large)
        rc = amber_buf_printf(out, err, "too large for COPY: %llu\n",
                              (unsigned long long)t->detail.stayed_too_large);
    if (!rc && t->detail.timeless)
        rc = amber_buf_printf(out, err, "without a time: %llu\n",
                              (unsigned long long)t->detail.timeless);
    if (!rc && t->text[0])
        rc = amber_buf_puts(out, t->text, err);
    if (!rc)
        rc = amber_buf_printf(out, err, "started: %s\nfinished: %s\n", started, finished);
    return rc;
}
