/*
 * main.c - which command, and its exit status: 0 done, 1 failed, 2 wrong usage.
 */
#include <stdio.h>

#include "app.h"
#include "privileges.h"

static int run(struct app *app)
{
    struct amber_err err = AMBER_ERR_INIT;
    if (amber_app_configure(app, &err))
        return amber_app_fail(&err);
    /* The daemon mounts as root first. */
    if (app->opt->command != AMBER_COMMAND_MOUNT &&
        (amber_privileges_assume(app->cfg.user, &err) || amber_privileges_drop(&err)))
        return amber_app_fail(&err);
    switch (app->opt->command) {
    case AMBER_COMMAND_MOUNT:
        return amber_cmd_mount(app);
    case AMBER_COMMAND_ARCHIVE:
        return amber_cmd_archive(app);
    case AMBER_COMMAND_RESTORE:
        return amber_cmd_restore(app);
    case AMBER_COMMAND_VERIFY:
        return amber_cmd_verify(app);
    case AMBER_COMMAND_STATUS:
        return amber_cmd_status(app);
    case AMBER_COMMAND_CAT:
        return amber_cmd_cat(app);
    case AMBER_COMMAND_LIST:
        return amber_cmd_list(app);
    case AMBER_COMMAND_INIT:
        return amber_cmd_init(app);
    case AMBER_COMMAND_REBUILD_MANIFEST:
        return amber_cmd_rebuild(app);
    case AMBER_COMMAND_RECONCILE:
        return amber_cmd_reconcile(app);
    case AMBER_COMMAND_REPLICATE:
        return amber_cmd_replicate(app);
    }
    return 2;
}

int main(int argc, char **argv)
{
    struct amber_options opt = {0};
    int status;
    amber_privileges_seal();
    if (!amber_options_parse(argc, argv, &opt, &status))
        return status; /* help, version or wrong usage: printed already */
    struct app app = {.opt = &opt};
    status = run(&app);
    amber_app_close(&app);
    amber_options_clear(&opt);
    if (fflush(stdout) || ferror(stdout)) {
        perror("amberfs: standard output");
        status = status ? status : 1;
    }
    return status;
}
