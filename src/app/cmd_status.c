/*
 * cmd_status.c - `amberfs status`: the daemon's .status as a table for people.
 *
 * The mount is the one named, else the one over the store, else the only amberfs mount there is.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include <jansson.h>

#include "amber/json_memory.h"
#include "amber/mount.h"
#include "app.h"

#define REFRESH_MS 1000
#define BAR_WIDTH 20

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "-";
}

static uint64_t number_of(const json_t *o, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(o, key));
}

static void print_bar(const json_t *progress)
{
    int percent = (int)number_of(progress, "percentOfUnit");
    percent = percent > 100 ? 100 : percent;
    char bar[BAR_WIDTH + 1];
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < percent * BAR_WIDTH / 100 ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    char rate[32];
    amber_human_count(number_of(progress, "rowsPerSecond"), rate);
    printf("  %-18s [%s] %3d %%  %s  %s  %s  %s, %s rows/s%s\n", "", bar, percent,
           text_of(progress, "phase"), text_of(progress, "period"), text_of(progress, "table"),
           AMBER_COUNT(number_of(progress, "rows"), "row"), rate,
           json_is_true(json_object_get(progress, "leavesTime"))
               ? ", slower while others work in the database "
                 "(ARCHIVAL_EXPORT_CONNECTIONS=2 or more wouldn't be)"
               : "");
}

static void print_job(const json_t *job)
{
    const json_t *last = json_object_get(job, "lastResult");
    const json_t *progress = json_object_get(job, "progress");
    char rows[32] = "-";
    if (json_is_object(last))
        amber_human_count(number_of(last, "rows"), rows);
    printf("  %-18s %-9s %-21s %-21s %-9s %s\n", text_of(job, "name"), text_of(job, "state"),
           text_of(job, "nextRun"), text_of(job, "lastRun"),
           json_is_object(last) ? text_of(last, "state") : "-", rows);
    if (json_is_object(last) && json_is_string(json_object_get(last, "error")))
        printf("  %-18s %s\n", "", text_of(last, "error"));
    if (json_is_object(progress))
        print_bar(progress);
}

static void print_replica(const json_t *r)
{
    char bytes[32];
    amber_human_bytes(number_of(r, "bytesBehind"), bytes);
    printf("replica   %s (%s): %s", text_of(r, "name"), text_of(r, "mode"), text_of(r, "state"));
    if (number_of(r, "archivesBehind"))
        printf(", %s (%s) behind since %s", AMBER_COUNT(number_of(r, "archivesBehind"), "archive"),
               bytes, text_of(r, "behindSince"));
    if (number_of(r, "reads"))
        printf(", %s answered for others", AMBER_COUNT(number_of(r, "reads"), "read"));
    printf("\n");
    if (json_is_string(json_object_get(r, "error")))
        printf("          %s\n", text_of(r, "error"));
}

static void print_table(const json_t *doc)
{
    const json_t *store = json_object_get(doc, "store");
    const json_t *db = json_object_get(doc, "database");
    const json_t *mount = json_object_get(doc, "mount");
    char raw[32], stored[32];
    amber_human_bytes(number_of(store, "rawBytes"), raw);
    amber_human_bytes(number_of(store, "storedBytes"), stored);
    printf("amberfs %s at %s, pid %llu, up %llu s\n", text_of(doc, "version"),
           text_of(mount, "path"), (unsigned long long)number_of(doc, "pid"),
           (unsigned long long)number_of(doc, "uptimeSeconds"));
    printf("store     %s: %s, %s, %s stored as %s\n", text_of(store, "path"),
           AMBER_COUNT(number_of(store, "archives"), "archive"),
           AMBER_COUNT(number_of(store, "rows"), "row"), raw, stored);
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(doc, "replicas"), i, item) print_replica(item);
    if (json_is_true(json_object_get(db, "reachable")))
        printf("database  %s: reachable\n", text_of(db, "name"));
    else
        printf("database  NOT reachable: %s\n", text_of(db, "error"));
    if (number_of(store, "missingArchives"))
        printf("MISSING   %s not in the store any more, the first: %s; to be brought back from a "
               "backup (`amberfs verify --all` names each)\n",
               AMBER_COUNT(number_of(store, "missingArchives"), "archive"),
               text_of(store, "firstMissing"));
    if (json_is_string(json_object_get(store, "needsReconcile")))
        printf("RECONCILE the store has archives of %s that this database doesn't know: run `amberfs "
               "reconcile`\n",
               text_of(store, "needsReconcile"));
    printf("\n  %-18s %-9s %-21s %-21s %-9s %s\n", "job", "state", "next run", "last run", "result",
           "rows");
    json_array_foreach(json_object_get(doc, "jobs"), i, item) print_job(item);
    json_array_foreach(json_object_get(doc, "pins"), i, item)
        printf("pinned    %s, %s to %s, until %s (restored rows stay)\n", text_of(item, "table"),
               text_of(item, "from"), text_of(item, "to"), text_of(item, "until"));
}

static enum amber_rc show(struct app *app, const char *mountpoint, struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(16U << 20);
    enum amber_rc rc = amber_daemon_read(mountpoint, ".status", &text, err);
    if (rc)
        return rc;
    if (app->opt->json) {
        fwrite(text.data, 1, text.len, stdout);
        return AMBER_OK;
    }
    json_t *doc;
    if ((rc = amber_json_load(text.data ? text.data : "", text.len, true, &doc, NULL, err)))
        return amber_wrap(err, "%s/.status", mountpoint);
    print_table(doc);
    json_decref(doc);
    return AMBER_OK;
}

/* The mount to ask; owned by the caller. */
static enum amber_rc pick_mount(struct app *app, char **out, struct amber_err *err)
{
    bool alive = false;
    if (app->opt->n_args) {
        if (amber_mount_find(app->opt->args[0], out, &alive) && alive)
            return AMBER_OK;
        free(*out);
        *out = NULL;
        return amber_fail(err, AMBER_E_NOT_FOUND, alive ? "%s isn't an amberfs mount"
                                                        : "%s isn't a live amberfs mount: start "
                                                          "its daemon with `amberfs mount`",
                          app->opt->args[0]);
    }
    *out = amber_app_mounted(app);
    if (!*out)
        *out = amber_mount_only();
    if (!*out)
        return amber_fail(err, AMBER_E_NOT_FOUND,
                          "no amberfs daemon is running here (or several are: name the mount point, "
                          "as in `amberfs status /data/archives`)");
    return AMBER_OK;
}

int amber_cmd_status(struct app *app)
{
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_FREE char *mountpoint = NULL;
    if (pick_mount(app, &mountpoint, &err))
        return amber_app_fail(&err);
    const struct amber_cancel *cancel = amber_app_cancel();
    enum amber_rc rc;
    do {
        if (app->opt->watch && isatty(STDOUT_FILENO))
            printf("\033[H\033[J");
        rc = show(app, mountpoint, &err);
        fflush(stdout);
        struct pollfd p = {.fd = cancel ? cancel->fd : -1, .events = POLLIN};
        if (app->opt->watch && !rc && poll(&p, 1, REFRESH_MS) > 0)
            break;
    } while (app->opt->watch && !rc && !amber_cancel_is_set(cancel));
    return rc ? amber_app_fail(&err) : 0;
}
