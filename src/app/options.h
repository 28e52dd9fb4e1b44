/*
 * options.h - the command line: commands, options, and what `-o` of mount may say.
 *
 * One table each (options.c, mount_options.c) yields parsing, messages, --help and the lists of the
 * man page.
 */
#ifndef AMBER_OPTIONS_H
#define AMBER_OPTIONS_H

#include "amber/err.h"
#include "amber/mem.h"

enum amber_command {
    AMBER_COMMAND_MOUNT,
    AMBER_COMMAND_ARCHIVE,
    AMBER_COMMAND_RESTORE,
    AMBER_COMMAND_VERIFY,
    AMBER_COMMAND_STATUS,
    AMBER_COMMAND_CAT,
    AMBER_COMMAND_LIST,
    AMBER_COMMAND_INIT,
    AMBER_COMMAND_REBUILD_MANIFEST,
    AMBER_COMMAND_RECONCILE,
    AMBER_COMMAND_REPLICATE,
};
#define AMBER_COMMAND_COUNT 11

struct amber_options {
    enum amber_command command;
    const char **args; /* owned array of argv's strings: what stands behind the command; of mount
                          the mount point alone */
    size_t n_args;
    bool help, version;         /* print and end; the command was named or not */
    bool has_command;           /* false: command means nothing (help or version only) */
    char *env_file, *jobs_file; /* owned; NULL: not given */
    bool verbose, quiet;
    /* mount */
    bool foreground;
    bool read_only;     /* -o ro */
    char *group;        /* owned; -o group=NAME or number; NULL: not given */
    char *fuse_options; /* owned; what FUSE itself is to get, comma between; NULL: nothing */
    char *source;       /* owned; fstab's first field, or -o fsname; NULL: not given */
    char *store_path;   /* owned; source as the storage folder, if it is an absolute path: stands
                           for ARCHIVAL_PATH. NULL otherwise */
    /* the other commands */
    bool dry_run, force, allow_triggers, all, repair, watch, json, new_store;
    char *into, *on_conflict; /* owned; on_conflict is error, skip or replace */
    char *adopt, *supersede;  /* owned; a run's id or "all" */
};

/*
 * Parse a command line.
 * shape   out is set only on success; with help or version set, nothing else was asked for
 * owner   argv must outlive out
 * errors  INVALID wrong usage: what is wrong, the nearest known name, and which --help to read;
 * NOMEM
 */
enum amber_rc amber_options_read(int argc, char *const *argv, struct amber_options *out,
                                 struct amber_err *err) AMBER_MUST_CHECK;
/*
 * The same for main: true if a command is to be run. Otherwise help or version (to stdout), or what
 * is wrong (to stderr), was printed and *out_status is the exit status: 0, 1 or 2.
 */
bool amber_options_parse(int argc, char *const *argv, struct amber_options *out, int *out_status);
void amber_options_clear(struct amber_options *o);

/* What --help prints: of one command, or, with command NULL, of the program. errors NOMEM, LIMIT */
enum amber_rc amber_options_help(const enum amber_command *command, struct amber_buf *out,
                                 struct amber_err *err) AMBER_MUST_CHECK;
/* The man page's lists in roff. errors NOMEM, LIMIT */
enum amber_options_list {
    AMBER_LIST_COMMANDS,
    AMBER_LIST_COMMON_OPTIONS,
    AMBER_LIST_COMMAND_OPTIONS,
    AMBER_LIST_MOUNT_OPTIONS
};
enum amber_rc amber_options_roff(enum amber_options_list list, struct amber_buf *out,
                                 struct amber_err *err) AMBER_MUST_CHECK;

/*
 * One -o value, "ro,env_file=/etc/amberfs.env": fill in what is ours, keep for FUSE what is its
 * own, drop what mount(8) and fstab(5) mean for themselves. "\," is a comma within a value. shape
 * o is changed as far as the value was read, also on failure errors  INVALID unknown, or a value
 * missing; NOMEM
 */
enum amber_rc amber_mount_options_read(const char *text, struct amber_options *o,
                                       struct amber_err *err) AMBER_MUST_CHECK;
/* The options of -o that a person would write. errors NOMEM, LIMIT */
enum amber_rc amber_mount_options_describe(bool roff, struct amber_buf *out,
                                           struct amber_err *err) AMBER_MUST_CHECK;

#endif
