/*
 * cmd_replicate.c - `amberfs replicate`: give the replicas what they don't have yet, now.
 *
 * A daemon does this by itself; this is for those who run jobs by `amberfs archive`.
 */
#include <stdio.h>

#include "amber/copies.h"
#include "amber/replicator.h"
#include "app.h"

/* Every run that one replica lacks; it ends at the first that can't be copied. */
static enum amber_rc fill(struct app *app, struct amber_pg *pg, const char *store_id, unsigned copy,
                          struct amber_err *err)
{
    const char *name = amber_copies_name(app->store, copy);
    struct amber_replica_step step = {.found = true};
    struct amber_replica_lag lag = {0};
    uint64_t queued, copied = 0;
    enum amber_rc rc = amber_catalog_replica_catch_up(pg, store_id, name, &queued, err);
    while (!rc && step.found && !step.rc) {
        rc = amber_replicate_next(&app->ctx, pg, store_id, copy, true, amber_app_cancel(), &step,
                                  err);
        copied += !rc && step.found && !step.rc;
    }
    if (!rc)
        rc = amber_catalog_replica_lag(pg, store_id, name, &lag, err);
    if (rc)
        return rc;
    char behind[32];
    amber_human_bytes(lag.bytes, behind);
    printf("%s: %s copied, %s (%s) behind\n", name, AMBER_COUNT(copied, "run"),
           AMBER_COUNT(lag.archives, "archive"), behind);
    return step.rc ? amber_fail(err, step.rc, "replica %s: %s", name, step.error) : AMBER_OK;
}

int amber_cmd_replicate(struct app *app)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_store_identity id;
    struct amber_pg *pg = NULL;
    int status = 0;
    if (!app->cfg.n_replicas) {
        fprintf(stderr, "amberfs replicate: ARCHIVAL_S3_REPLICAS names no replica\n");
        return 1;
    }
    enum amber_rc rc = amber_app_refuse_mounted(app, "amberfs replicate", &err);
    if (!rc)
        rc = amber_app_open(app, false, false, -1, &err);
    if (!rc)
        rc = amber_context_connect(&app->ctx, "replicate", amber_app_cancel(), &pg, &err);
    if (!rc)
        rc = amber_context_claim(&app->ctx, pg, &id, &err);
    for (unsigned i = 1; !rc && i < amber_copies_count(app->store); i++) {
        rc = fill(app, pg, id.store_id, i, &err);
        if (rc == AMBER_E_DB || rc == AMBER_E_CANCELED || !amber_pg_alive(pg))
            break;
        if (rc) /* the others get theirs all the same */
            status = amber_app_fail(&err);
        rc = AMBER_OK;
    }
    amber_pg_close(pg);
    return rc ? amber_app_fail(&err) : status;
}
