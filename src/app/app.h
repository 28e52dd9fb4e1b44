/*
 * app.h - what every command starts from: configuration, store, pool, jobs; and the commands.
 *
 * A command returns the process's exit status: 0 done, 1 failed, 2 wrong usage (main's). It prints
 * its own error, once, to stderr.
 */
#ifndef AMBER_APP_H
#define AMBER_APP_H

#include "amber/config.h"
#include "amber/context.h"
#include "amber/count.h"
#include "amber/jobdef.h"
#include "options.h"

struct app {
    const struct amber_options *opt;
    struct amber_config cfg;
    struct amber_store *store;
    struct amber_pool *pool;
    struct amber_cache *cache;
    struct amber_foreign *foreign;
    struct amber_disk_cache *disk_cache; /* NULL: the store isn't remote, or there is no room */
    struct amber_context ctx; /* its members are the app's */
};

/* Read the configuration; warnings are printed. */
enum amber_rc amber_app_configure(struct app *app, struct amber_err *err) AMBER_MUST_CHECK;
/*
 * Before a local store's folder is made: if it is missing, ask the database whether its archives
 * should be there; with --new-store they needn't.
 * errors  DENIED they should: the path is mistaken, or its disk isn't mounted; as the database's
 */
enum amber_rc amber_app_check_folder(struct app *app, struct amber_err *err) AMBER_MUST_CHECK;
/* Open the store, the pool and the cache. create: make the folder if missing, after
 * amber_app_check_folder. dir_fd: the store's folder when a mount covers it, or -1. */
enum amber_rc amber_app_open(struct app *app, bool read_only, bool create, int dir_fd,
                             struct amber_err *err) AMBER_MUST_CHECK;
/* All archives without a database: ours by their markers, then other programs' files. out is empty
 * before. errors as the store's */
enum amber_rc amber_app_entries(struct app *app, struct amber_entry_list *out,
                                struct amber_err *err) AMBER_MUST_CHECK;
/* The jobs file or the built-in jobs. Every finding is printed to stderr. *out is malloc'ed. */
enum amber_rc amber_app_jobs(const struct app *app, struct amber_jobs **out, struct amber_err *err)
    AMBER_MUST_CHECK;
void amber_app_close(struct app *app);
/* Print "amberfs: text" and return 1. */
int amber_app_fail(const struct amber_err *err);

/* Whether the store is a folder, which a mount may cover. */
bool amber_app_local(const struct app *app);
/*
 * The mount point of a live amberfs mount that covers the store's path (owned by the caller), or
 * NULL. A command never reads a store through such a mount: it asks that daemon, or refuses.
 */
char *amber_app_mounted(const struct app *app);
/* errors  BUSY the store is covered by a mount, and this command needs the store itself */
enum amber_rc amber_app_refuse_mounted(const struct app *app, const char *command,
                                       struct amber_err *err) AMBER_MUST_CHECK;

/* Talk to a live daemon through its mount. write: one line into .control/FILE. */
enum amber_rc amber_daemon_write(const char *mountpoint, const char *file, const char *line,
                                 struct amber_err *err) AMBER_MUST_CHECK;
/* The whole content of a file of the mount. */
enum amber_rc amber_daemon_read(const char *mountpoint, const char *file, struct amber_buf *out,
                                struct amber_err *err) AMBER_MUST_CHECK;
/* Write the line, wait for the task, print its result; the exit status. */
int amber_daemon_run(const char *mountpoint, const char *control, const char *line,
                     const char *task);

/* Set by SIGINT and SIGTERM in the commands that can be stopped. */
struct amber_cancel *amber_app_cancel(void);

/* A line of progress on a terminal: "LABEL  45 %  1,234 of 2,345 rows  120.5 MB/s  12 s left", at most
 * five times a second, on stderr. */
struct amber_meter {
    bool on; /* a terminal is there, and nobody asked for quiet */
    int64_t started_us, last_us;
};
void amber_meter_start(struct amber_meter *m, const struct app *app);
/* done of total, both bytes or both rows (unit "rows"; NULL: bytes). */
void amber_meter_show(struct amber_meter *m, const char *label, uint64_t done, uint64_t total,
                      const char *unit);
/* Wipe the line. */
void amber_meter_end(struct amber_meter *m);

/* "12.3 MB" into out (32 bytes). */
void amber_human_bytes(uint64_t n, char *out);

int amber_cmd_mount(struct app *app);
int amber_cmd_archive(struct app *app);
int amber_cmd_restore(struct app *app);
int amber_cmd_verify(struct app *app);
int amber_cmd_status(struct app *app);
int amber_cmd_cat(struct app *app);
int amber_cmd_list(struct app *app);
int amber_cmd_init(struct app *app);
int amber_cmd_rebuild(struct app *app);
int amber_cmd_reconcile(struct app *app);
int amber_cmd_replicate(struct app *app);

#endif
