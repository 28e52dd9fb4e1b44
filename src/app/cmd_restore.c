/*
 * cmd_restore.c - `amberfs restore ARCHIVE`: an archive with its family back into PostgreSQL.
 */
#include <stdio.h>

#include "amber/restorer.h"
#include "app.h"
#include "archives.h"

static void show_progress(void *arg, const char *table, uint64_t done, uint64_t total)
{
    amber_meter_show(arg, table, done, total, "rows");
}

/* The same words that .control/restore takes. */
static enum amber_rc control_line(const struct amber_options *o, const char *archive, char **out,
                                  struct amber_err *err)
{
    return amber_asprintf(out, err, "%s%s%s%s%s%s%s", archive, o->into ? " --into " : "",
                          o->into ? o->into : "", o->on_conflict ? " --on-conflict " : "",
                          o->on_conflict ? o->on_conflict : "", o->force ? " --force" : "",
                          o->allow_triggers ? " --allow-triggers" : "");
}

static int restore(struct app *app, enum amber_conflict conflict)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_entry_list list = {0};
    const struct amber_tree_entry *e;
    struct amber_restore_result r = {0};
    struct amber_meter meter;
    amber_meter_start(&meter, app);
    struct amber_restore_options opt = {
        .into = app->opt->into,
        .on_conflict = conflict,
        .force = app->opt->force,
        .allow_triggers = app->opt->allow_triggers,
        .cancel = amber_app_cancel(),
        .progress = show_progress,
        .arg = &meter,
    };
    enum amber_rc rc = amber_app_open(app, false, false, -1, &err);
    if (!rc)
        rc = amber_entries_from_markers(&app->ctx, &list, &err);
    if (!rc)
        rc = amber_archive_find(&list, app->cfg.path, app->opt->args[0], &e, &err);
    if (!rc)
        rc = amber_restore_archive(&app->ctx, e, &opt, &r, &err);
    amber_meter_end(&meter);
    amber_entry_list_clear(&list);
    if (rc)
        return amber_app_fail(&err);
    char skipped[32], replaced[32];
    amber_human_count(r.rows_skipped, skipped);
    amber_human_count(r.rows_replaced, replaced);
    printf("%s restored: %s inserted, %s skipped, %s replaced\n%s",
           AMBER_COUNT(r.archives, "archive"), AMBER_COUNT(r.rows_inserted, "row"), skipped, replaced,
           r.notes);
    if (app->cfg.restore_pin_days > 0 && !app->opt->into)
        printf("jobs leave these rows alone for %s\n",
               AMBER_COUNT((uint64_t)app->cfg.restore_pin_days, "day"));
    return 0;
}

int amber_cmd_restore(struct app *app)
{
    struct amber_err err = AMBER_ERR_INIT;
    enum amber_conflict conflict = AMBER_CONFLICT_DEFAULT;
    if (app->opt->on_conflict && !amber_conflict_parse(app->opt->on_conflict, &conflict)) {
        fprintf(stderr, "amberfs restore: --on-conflict %s: it must be error, skip or replace\n",
                app->opt->on_conflict);
        return 2;
    }
    AMBER_AUTO_FREE char *mounted = amber_app_mounted(app);
    if (!mounted)
        return restore(app, conflict);
    AMBER_AUTO_FREE char *line = NULL;
    if (control_line(app->opt, amber_archive_relative(app->opt->args[0], mounted), &line, &err))
        return amber_app_fail(&err);
    return amber_daemon_run(mounted, "restore", line, "restore");
}
