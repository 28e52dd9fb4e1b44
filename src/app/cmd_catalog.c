/*
 * cmd_catalog.c - `amberfs init` and `amberfs reconcile`: the catalog and the store it owns.
 */
#include <stdio.h>

#include "amber/calendar.h"
#include "amber/catalog.h"
#include "amber/recover.h"
#include "app.h"

int amber_cmd_init(struct app *app)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_store_identity id;
    struct amber_pg *pg = NULL;
    bool made;
    AMBER_AUTO_FREE char *mounted = amber_app_mounted(app);
    app->ctx.conninfo = app->cfg.database_url;
    enum amber_rc rc = AMBER_OK;
    if (app->opt->new_store)
        rc = amber_app_refuse_mounted(app, "amberfs init --new-store", &err);
    if (!rc)
        rc = amber_context_connect(&app->ctx, "init", amber_app_cancel(), &pg, &err);
    if (!rc)
        rc = amber_catalog_install(pg, &made, &err);
    if (!rc)
        printf("the catalog (schema amberfs in database %s) %s\n", amber_pg_database(pg),
               made ? "was made" : "is there and up to date");
    if (!rc && !mounted) { /* below a mount the daemon has claimed the store already */
        rc = amber_app_check_folder(app, &err);
        if (!rc)
            rc = amber_app_open(app, false, true, -1, &err);
        if (!rc)
            rc = amber_context_claim(&app->ctx, pg, &id, &err);
        if (!rc)
            printf("the store %s belongs to it\n", app->cfg.path);
    }
    amber_pg_close(pg);
    return rc ? amber_app_fail(&err) : 0;
}

/* ---- reconcile ---- */

struct reconcile {
    struct app *app;
    struct amber_pg *pg;
    const struct amber_store_identity *id;
    size_t seen, settled;
};

/* Rows of the archive's table within its dates: a hint for the person who decides. */
static void print_run(const struct amber_unknown_run *run)
{
    char when[AMBER_TIMESTAMP_MAX];
    amber_timestamp_format(run->marker->committed_us, when);
    printf("run %s, job %s, committed %s\n", run->marker->run_id, run->marker->job, when);
    for (size_t i = 0; i < run->marker->n_entries; i++) {
        const struct amber_manifest *m = &run->manifests[i];
        char first[AMBER_DATE_MAX], last[AMBER_DATE_MAX];
        amber_date_format(m->start_day, first);
        amber_date_format(m->end_day, last);
        printf("  %s: %s of %s.%s, %s to %s\n", m->archive.key,
               AMBER_COUNT(m->archive.rows, "row"), m->table_schema, m->table_name, first, last);
    }
}

static enum amber_rc settle(void *arg, const struct amber_unknown_run *run, struct amber_err *err)
{
    struct reconcile *r = arg;
    const struct amber_options *o = r->app->opt;
    r->seen++;
    print_run(run);
    const char *wanted = o->adopt ? o->adopt : o->supersede;
    if (!wanted || (strcmp(wanted, "all") != 0 && strcmp(wanted, run->marker->run_id) != 0))
        return AMBER_OK;
    enum amber_rc rc =
        amber_reconcile_run(&r->app->ctx, r->pg, r->id->store_id, run,
                            o->adopt ? AMBER_RECONCILE_ADOPT : AMBER_RECONCILE_SUPERSEDE, err);
    if (!rc) {
        r->settled++;
        printf("  %s\n", o->adopt ? "adopted: the catalog has these archives now"
                                  : "superseded: the archives are hidden, nothing was removed");
    }
    return rc;
}

int amber_cmd_reconcile(struct app *app)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_store_identity id;
    struct reconcile r = {.app = app, .id = &id};
    if (app->opt->adopt && app->opt->supersede) {
        fprintf(stderr, "amberfs reconcile: --adopt and --supersede exclude each other\n");
        return 2;
    }
    enum amber_rc rc = amber_app_refuse_mounted(app, "amberfs reconcile", &err);
    if (!rc)
        rc = amber_app_open(app, false, false, -1, &err);
    if (!rc)
        rc = amber_context_connect(&app->ctx, "reconcile", amber_app_cancel(), &r.pg, &err);
    if (!rc)
        rc = amber_context_claim(&app->ctx, r.pg, &id, &err);
    if (!rc)
        rc = amber_unknown_runs(&app->ctx, r.pg, id.store_id, settle, &r, &err);
    amber_pg_close(r.pg);
    if (rc)
        return amber_app_fail(&err);
    if (!r.seen)
        printf("the catalog knows every run in the store: there is nothing to reconcile\n");
    else if (r.seen > r.settled)
        printf("\n%s in the store but not in the catalog: the database was set back or "
               "failed over. For each of them look whether its rows are in the table now:\n"
               "  they are not:  amberfs reconcile --adopt RUN        the catalog takes the archives in\n"
               "  they are back: amberfs reconcile --supersede RUN    the archives are hidden; the rows "
               "are archived again\n",
               AMBER_COUNT(r.seen - r.settled, "run"));
    return r.seen > r.settled;
}
