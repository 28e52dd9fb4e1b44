/*
 * app.c - from configuration to an open store.
 */
#include "app.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "amber/cancel.h"
#include "amber/catalog.h"
#include "amber/copies.h"
#include "amber/disk_cache.h"
#include "amber/foreign.h"
#include "amber/log.h"
#include "amber/mount.h"
#include "amber/reader.h"
#include "small_file.h"

int amber_app_fail(const struct amber_err *err)
{
    fprintf(stderr, "amberfs: %s\n", err->text);
    return 1;
}

enum amber_rc amber_app_configure(struct app *app, struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf warnings = AMBER_BUF_INIT(1U << 20);
    enum amber_rc rc =
        amber_config_load(app->opt->env_file, environ, &app->cfg, &warnings, err);
    if (warnings.len)
        fprintf(stderr, "%s", warnings.data);
    if (!rc && app->opt->store_path) /* fstab's first field */
        rc = amber_config_set_path(&app->cfg, app->opt->store_path, err);
    if (rc)
        return rc;
    enum amber_log_level level = app->cfg.log_level;
    if (app->opt->verbose)
        level = AMBER_LOG_DEBUG;
    else if (app->opt->command != AMBER_COMMAND_MOUNT && level > AMBER_LOG_WARN)
        level = AMBER_LOG_WARN; /* a command prints its own result */
    if (app->opt->quiet)
        level = AMBER_LOG_ERROR;
    amber_log_set_level(level);
    return AMBER_OK;
}

/* Blocks of a remote store are kept on disk too. That this can't be is no reason not to read. */
static void open_disk_cache(struct app *app)
{
    struct amber_err err = AMBER_ERR_INIT;

    if (!amber_store_traits(app->store)->remote || !app->cfg.cache_disk_bytes)
        return;
    if (amber_disk_cache_new(app->cfg.cache_path, app->cfg.cache_disk_bytes, &app->disk_cache,
                             &err))
        amber_warn("blocks aren't kept on disk: %s", err.text);
    amber_cache_use_disk(app->cache, app->disk_cache);
}

static enum amber_rc open_foreign(struct app *app, struct amber_err *err)
{
    struct amber_foreign_config cfg = {
        .store = app->store,
        .store_name = app->cfg.path,
        .cache_path = app->cfg.cache_path,
        .disk_bytes = app->cfg.cache_disk_bytes,
        .memory_bytes = app->cfg.cache_bytes,
    };
    return amber_foreign_new(&cfg, &app->foreign, err);
}

enum amber_rc amber_app_entries(struct app *app, struct amber_entry_list *out,
                                struct amber_err *err)
{
    struct amber_elsewhere elsewhere = {0};
    enum amber_rc rc = amber_elsewhere_list(&app->ctx, &elsewhere, err);
    if (!rc)
        rc = amber_entries_from_markers(&app->ctx, out, err);
    if (!rc)
        rc = amber_elsewhere_add(&app->ctx, NULL, NULL, &elsewhere, out, err);
    if (rc)
        amber_entry_list_clear(out);
    amber_elsewhere_clear(&elsewhere);
    return rc;
}

/* A replica that holds another store is refused at once; one that can't be asked, when it is filled. */
static enum amber_rc check_replica(struct amber_store *primary, struct amber_store *replica,
                                   struct amber_err *err)
{
    struct amber_err unknown = AMBER_ERR_INIT;
    struct amber_store_identity a, b;
    if (amber_store_identity_get(primary, &a, &unknown) ||
        amber_store_identity_get(replica, &b, &unknown) || strcmp(a.store_id, b.store_id) == 0)
        return AMBER_OK;
    return amber_fail(err, AMBER_E_DENIED,
                      "it holds the store %s, not a copy of this one (%s): give the replica an "
                      "empty folder or prefix of its own",
                      b.store_id, a.store_id);
}

/* Make app->store the set of all copies. */
static enum amber_rc open_replicas(struct app *app, bool read_only, struct amber_err *err)
{
    struct amber_copy_config copies[AMBER_COPIES_MAX] = {{.name = "primary", .store = app->store}};
    size_t n = 1;
    enum amber_rc rc = AMBER_OK;
    for (size_t i = 0; !rc && i < app->cfg.n_replicas; i++) {
        struct amber_store_config sc;
        struct amber_s3_config s3;
        const struct amber_config_replica *r = &app->cfg.replicas[i];
        copies[n] = (struct amber_copy_config){.name = r->name, .sync = r->sync};
        amber_config_replica_store(&app->cfg, i, &sc, &s3);
        sc.read_only = read_only;
        rc = amber_store_open(&sc, &copies[n].store, err);
        if (!rc)
            rc = check_replica(app->store, copies[n++].store, err);
        if (rc)
            amber_wrap(err, "ARCHIVAL_S3_REPLICAS: %s", r->name);
    }
    if (!rc)
        rc = amber_copies_new(copies, n, &app->store, err);
    for (size_t i = 1; rc && i < n; i++)
        amber_store_free(copies[i].store);
    return rc;
}

enum amber_rc amber_app_check_folder(struct app *app, struct amber_err *err)
{
    struct amber_pg *pg = NULL;
    struct stat sb;
    if (!amber_app_local(app) || stat(app->cfg.path, &sb) == 0 || errno != ENOENT)
        return AMBER_OK;
    app->ctx.conninfo = app->cfg.database_url;
    app->ctx.new_store = app->opt->new_store;
    bool made;
    enum amber_rc rc =
        amber_context_connect(&app->ctx, "first run", amber_app_cancel(), &pg, err);
    if (rc)
        amber_wrap(err,
                   "the storage folder %s doesn't exist, and whether it is a new one can't be asked "
                   "of the database (make it by hand if it is)",
                   app->cfg.path);
    if (!rc && !(rc = amber_catalog_install(pg, &made, err)) &&
        (rc = amber_context_may_begin(&app->ctx, pg, err)))
        amber_wrap(err, "the storage folder %s doesn't exist", app->cfg.path);
    amber_pg_close(pg);
    return rc;
}

enum amber_rc amber_app_open(struct app *app, bool read_only, bool create, int dir_fd,
                             struct amber_err *err)
{
    struct amber_store_config sc;
    struct amber_s3_config s3;
    amber_config_store(&app->cfg, &sc, &s3);
    sc.dir_fd = dir_fd;
    sc.create = create;
    sc.read_only = read_only;
    enum amber_rc rc = amber_store_open(&sc, &app->store, err);
    if (!rc && app->cfg.n_replicas)
        rc = open_replicas(app, read_only, err);
    if (!rc)
        rc = amber_pool_new(amber_cpu_count(), &app->pool, err);
    if (!rc)
        rc = amber_cache_new(app->cfg.cache_bytes, app->pool, &app->cache, err);
    if (!rc)
        rc = open_foreign(app, err);
    if (rc)
        return rc;
    open_disk_cache(app);
    app->ctx = (struct amber_context){
        .new_store = app->opt->new_store,
        .store = app->store,
        .pool = app->pool,
        .cache = app->cache,
        .foreign = app->foreign,
        .conninfo = app->cfg.database_url,
        .codec = app->cfg.compression,
        .level = app->cfg.compression_level,
        .block_bytes = app->cfg.block_bytes,
        .orphan_days = app->cfg.orphan_days,
        .restore_pin_days = app->cfg.restore_pin_days,
        .export_connections = (unsigned)app->cfg.export_connections,
        .max_rows_per_second = (uint64_t)app->cfg.max_rows_per_second,
    };
    if (gethostname(app->ctx.host, sizeof(app->ctx.host) - 1))
        snprintf(app->ctx.host, sizeof(app->ctx.host), "unknown");
    return AMBER_OK;
}

enum amber_rc amber_app_jobs(const struct app *app, struct amber_jobs **out, struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(AMBER_JOBS_FILE_MAX);
    AMBER_AUTO_BUF struct amber_buf findings = AMBER_BUF_INIT(1U << 20);
    const char *file = app->opt->jobs_file ? app->opt->jobs_file : app->cfg.jobs_file;
    size_t len;
    const char *data = amber_jobs_builtin(&len);
    enum amber_rc rc = AMBER_OK;
    if (file) {
        if ((rc = amber_small_file_read(file, &text, err)))
            return amber_wrap(err, "jobs file");
        data = text.data ? text.data : "";
        len = text.len;
    }
    struct amber_job_defaults d = {
        .retention_days = app->cfg.retention_days,
        .period = app->cfg.period,
        .cron = app->cfg.schedule_cron,
        .memory_cleanup_enabled = app->cfg.memory_cleanup_enabled,
        .memory_cleanup_cron = app->cfg.memory_cleanup_cron,
    };
    struct amber_jobs *jobs;
    if ((rc = amber_calloc(1, sizeof(*jobs), &jobs, err)))
        return rc;
    rc = amber_jobs_parse(data, len, &d, jobs, &findings, err);
    if (rc) {
        free(jobs);
        if (findings.len)
            fprintf(stderr, "%s:\n%s", file ? file : "built-in jobs", findings.data);
        return amber_wrap(err, "%s", file ? file : "built-in jobs");
    }
    *out = jobs;
    return AMBER_OK;
}

void amber_app_close(struct app *app)
{
    amber_foreign_free(app->foreign);
    amber_cache_free(app->cache);
    amber_disk_cache_free(app->disk_cache);
    amber_pool_free(app->pool);
    amber_store_free(app->store);
    amber_config_clear(&app->cfg);
}

/* ---- a store that is covered by a mount ---- */

bool amber_app_local(const struct app *app)
{
    return strcmp(app->cfg.storage_type, "local") == 0;
}

char *amber_app_mounted(const struct app *app)
{
    char *root = NULL;
    bool alive = false;
    if (!amber_app_local(app) || !amber_mount_find(app->cfg.path, &root, &alive) || !alive) {
        free(root);
        return NULL;
    }
    return root;
}

enum amber_rc amber_app_refuse_mounted(const struct app *app, const char *command,
                                       struct amber_err *err)
{
    AMBER_AUTO_FREE char *root = amber_app_mounted(app);
    if (!root)
        return AMBER_OK;
    return amber_fail(err, AMBER_E_BUSY,
                      "the store %s is covered by the amberfs mount at %s, and `%s` needs the store "
                      "itself: unmount it first (fusermount3 -u %s)",
                      app->cfg.path, root, command, root);
}

/* ---- stopping a command ---- */

static struct amber_cancel cancel = {.fd = -1};

static void on_signal(int sig)
{
    (void)sig;
    amber_cancel_set(&cancel);
}

struct amber_cancel *amber_app_cancel(void)
{
    struct amber_err err = AMBER_ERR_INIT;
    if (cancel.fd >= 0)
        return &cancel;
    if (amber_cancel_init(&cancel, &err))
        return NULL; /* then a signal just ends the process */
    struct sigaction sa = {.sa_handler = on_signal};
    sigemptyset(&sa.sa_mask);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    return &cancel;
}

/* ---- text for people ---- */

void amber_human_bytes(uint64_t n, char *out)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double v = (double)n;
    size_t u = 0;
    while (v >= 1000 && u + 1 < amber_countof(units)) {
        v /= 1000;
        u++;
    }
    snprintf(out, 32, u ? "%.1f %s" : "%.0f %s", v, units[u]);
}
