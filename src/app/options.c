/*
 * options.c - the command line.
 *
 *   argv -> options by the table, the rest aside -> which command -> do its options and arguments
 * fit
 *
 * Options may stand before and behind the command and between its arguments; "--" ends them. The
 * form of /etc/fstab, `amberfs SOURCE MOUNTPOINT -o ...`, is a mount whose command isn't named.
 */
#include "options.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "amber/config.h"
#include "amber/nearest.h"
#include "describe.h"

#define HELP_MAX 65536U
#define USAGE_INDENT 15 /* "Usage: amberfs " */

struct command {
    const char *name;
    const char *args; /* placeholders behind the options */
    size_t min_args, max_args;
    const char *meaning;
    const char *more; /* paragraph of its --help, "" if meaning says all */
};
static const struct command commands[AMBER_COMMAND_COUNT] = {
    [AMBER_COMMAND_MOUNT] =
        {"mount", "MOUNTPOINT", 1, 1, "Mount the archives, and run jobs by their schedule.",
         "The daemon goes to the background once the mount serves; SIGTERM, SIGINT or fusermount3 "
         "-u "
         "end it, SIGHUP makes it read the jobs file again. It works without the database too: "
         "archives are read, jobs wait. In /etc/fstab the type is fuse.amberfs; a SOURCE there "
         "that "
         "is an absolute path is the storage folder, in place of ARCHIVAL_PATH."},
    [AMBER_COMMAND_ARCHIVE] =
        {"archive", "JOB", 1, 1, "Run a job now: move its old rows into archives.",
         "If the storage folder is mounted, the daemon is asked to run the job, and this command "
         "waits for it."},
    [AMBER_COMMAND_RESTORE] =
        {"restore", "ARCHIVE", 1, 1,
         "Copy an archive's rows, and those of its family, back into their tables.",
         "All rows or none. A row that is there already and equal is skipped; one with the same "
         "key "
         "and other content is an error unless --on-conflict says otherwise. Jobs leave restored "
         "rows alone for ARCHIVAL_RESTORE_PIN_DAYS."},
    [AMBER_COMMAND_VERIFY] = {"verify", "[ARCHIVE...]", 0, SIZE_MAX,
                              "Check archives, block by block, against their digests.",
                              "Without an archive, all of them."},
    [AMBER_COMMAND_STATUS] =
        {"status", "[MOUNTPOINT]", 0, 1, "Show a running daemon's jobs, store and database.",
         "Without a mount point: the daemon of the configured store, or the only one that runs."},
    [AMBER_COMMAND_CAT] = {"cat", "ARCHIVE...", 1, SIZE_MAX,
                           "Write archives' rows, verified, to standard output.",
                           "Needs no mount and no database."},
    [AMBER_COMMAND_LIST] = {"list", "", 0, 0, "List the archives with rows and sizes.", ""},
    [AMBER_COMMAND_INIT] = {"init", "", 0, 0,
                            "Make the catalog in the database and claim the store.",
                            "The first mount does the same, unless the catalog has archives in "
                            "another store already. Running it again changes nothing."},
    [AMBER_COMMAND_REBUILD_MANIFEST] =
        {"rebuild-manifest", "ARCHIVE", 1, 1,
         "Make an archive's lost manifest anew from the archive itself.", ""},
    [AMBER_COMMAND_RECONCILE] = {"reconcile", "", 0, 0,
                                 "Settle runs that the store has and the catalog doesn't know.",
                                 "After a failover, or when the database was set back to an "
                                 "earlier time. Without an option: "
                                 "list them."},
    [AMBER_COMMAND_REPLICATE] = {"replicate", "", 0, 0,
                                 "Copy what the replicas don't have yet, now.",
                                 "A daemon does this by itself. The replicas are those of "
                                 "ARCHIVAL_S3_REPLICAS."},
};

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_MOUNT };

struct option {
    const char *name; /* long name, "--" aside; NULL: none */
    char letter;      /* 0: none */
    enum option_kind kind;
    const char *arg;     /* placeholder; NULL: a flag */
    size_t offset;       /* of the member in struct amber_options */
    unsigned commands;   /* bit i: command i has it */
    const char *choices; /* "error|skip|replace"; NULL: any text */
    const char *meaning;
};

#define MEMBER(m) offsetof(struct amber_options, m)
#define OF(c) (1U << AMBER_COMMAND_##c)
#define OF_ALL ((1U << AMBER_COMMAND_COUNT) - 1)

static const struct option options[] = {
    {"help", 'h', OPTION_FLAG, NULL, MEMBER(help), OF_ALL, NULL,
     "Show this, of the command that stands before or behind it."},
    {"version", 'V', OPTION_FLAG, NULL, MEMBER(version), OF_ALL, NULL, "Show the version."},
    {"env-file", 0, OPTION_TEXT, "FILE", MEMBER(env_file), OF_ALL, NULL,
     "Read variables from FILE, lines of NAME=VALUE. The environment wins over it."},
    {"jobs", 0, OPTION_TEXT, "FILE", MEMBER(jobs_file), OF_ALL, NULL,
     "Read the jobs from FILE, in place of ARCHIVAL_JOBS_FILE."},
    {"verbose", 'v', OPTION_FLAG, NULL, MEMBER(verbose), OF_ALL, NULL,
     "Log what is done, in detail."},
    {"quiet", 'q', OPTION_FLAG, NULL, MEMBER(quiet), OF_ALL, NULL, "Log errors only; no progress."},
    {"foreground", 'f', OPTION_FLAG, NULL, MEMBER(foreground), OF(MOUNT), NULL,
     "Stay in the foreground and log to standard error."},
    {NULL, 'o', OPTION_MOUNT, "OPTIONS", 0, OF(MOUNT), NULL,
     "Mount options with commas between them; may be given several times."},
    {"dry-run", 0, OPTION_FLAG, NULL, MEMBER(dry_run), OF(ARCHIVE), NULL,
     "Show which tables, periods, rows and bytes would move, and change nothing."},
    {"into", 0, OPTION_TEXT, "TABLE", MEMBER(into), OF(RESTORE), NULL,
     "Restore this archive alone, into TABLE (SCHEMA.TABLE) with columns of the same names."},
    {"on-conflict", 0, OPTION_TEXT, "error|skip|replace", MEMBER(on_conflict), OF(RESTORE),
     "error|skip|replace",
     "What to do with a row whose key is in the table: give up, keep the table's, take the "
     "archive's."},
    {"force", 0, OPTION_FLAG, NULL, MEMBER(force), OF(RESTORE), NULL,
     "Restore again into a table without a unique key, where rows may come twice."},
    {"allow-triggers", 0, OPTION_FLAG, NULL, MEMBER(allow_triggers), OF(RESTORE), NULL,
     "Let the table's INSERT triggers fire instead of refusing."},
    {"all", 0, OPTION_FLAG, NULL, MEMBER(all), OF(VERIFY), NULL, "All archives."},
    {"repair", 0, OPTION_FLAG, NULL, MEMBER(repair), OF(VERIFY), NULL,
     "Replace what is missing or damaged in one copy of the store by what another has right."},
    {"watch", 0, OPTION_FLAG, NULL, MEMBER(watch), OF(STATUS), NULL, "Show it again and again."},
    {"json", 0, OPTION_FLAG, NULL, MEMBER(json), OF(STATUS) | OF(LIST), NULL,
     "As JSON, for programs."},
    {"new-store", 0, OPTION_FLAG, NULL, MEMBER(new_store), OF(INIT), NULL,
     "Begin a further store, or a lost primary anew, in an empty ARCHIVAL_PATH though the catalog has "
     "archives."},
    {"adopt", 0, OPTION_TEXT, "RUN|all", MEMBER(adopt), OF(RECONCILE), NULL,
     "Take the run's archives into the catalog: its rows aren't in the tables now."},
    {"supersede", 0, OPTION_TEXT, "RUN|all", MEMBER(supersede), OF(RECONCILE), NULL,
     "Hide the run's archives: its rows are back in the tables."},
};
#define N_OPTIONS amber_countof(options)

/* A command line half read: what was found, before it is known which command it is for. */
struct parsing {
    struct amber_options opt;
    bool seen[N_OPTIONS];
    const char **words; /* owned; everything that is no option */
    size_t n_words;
};

static bool belongs(const struct option *o, enum amber_command c)
{
    return o->commands >> c & 1;
}

/* "--jobs" or "-o" into out. */
static void option_spell(const struct option *o, char out[32])
{
    if (o->name)
        snprintf(out, 32, "--%s", o->name);
    else
        snprintf(out, 32, "-%c", o->letter);
}

static bool choice_allowed(const char *choices, const char *value)
{
    size_t want = strlen(value);
    for (const char *p = choices; p; p = strchr(p, '|')) {
        p += *p == '|';
        if (strcspn(p, "|") == want && strncmp(p, value, want) == 0)
            return true;
    }
    return false;
}

/* An option was met; value is NULL for a flag. */
static enum amber_rc option_set(struct parsing *p, const struct option *o, const char *value,
                                struct amber_err *err)
{
    void *member = (char *)&p->opt + o->offset;
    char spelt[32];
    char *copy;

    bool repeated = p->seen[o - options];
    p->seen[o - options] = true;
    option_spell(o, spelt);
    switch (o->kind) {
    case OPTION_FLAG:
        *(bool *)member = true;
        return AMBER_OK;
    case OPTION_MOUNT:
        return amber_mount_options_read(value, &p->opt, err);
    case OPTION_TEXT:
        break;
    }
    if (repeated)
        return amber_fail(err, AMBER_E_INVALID, "%s was given already: it takes one value", spelt);
    if (!*value)
        return amber_fail(err, AMBER_E_INVALID, "%s has an empty value: %s is expected", spelt,
                          o->arg);
    if (o->choices && !choice_allowed(o->choices, value))
        return amber_fail(err, AMBER_E_INVALID, "%s can't be \"%s\": it must be %s", spelt, value,
                          o->choices);
    enum amber_rc rc = amber_strdup(value, &copy, err);
    if (rc)
        return rc;
    free(*(char **)member);
    *(char **)member = copy;
    return AMBER_OK;
}

static enum amber_rc long_unknown(const char *name, size_t len, struct amber_err *err)
{
    AMBER_AUTO_FREE char *word = strndup(name, len);
    if (!word)
        return amber_fail_nomem(err, "an option", len);
    const char *nearest = amber_nearest(word, &options[0].name, N_OPTIONS, sizeof(options[0]),
                                        amber_nearest_limit(word));
    if (nearest)
        return amber_fail(err, AMBER_E_INVALID, "unknown option --%s: did you mean --%s?", word,
                          nearest);
    return amber_fail(err, AMBER_E_INVALID, "unknown option --%s", word);
}

/* "--name", "--name=value" or "--name value"; *i goes to the last word used. */
static enum amber_rc long_take(struct parsing *p, int argc, char *const *argv, int *i,
                               struct amber_err *err)
{
    const char *name = argv[*i] + 2;
    size_t len = strcspn(name, "=");
    const char *value = name[len] ? name + len + 1 : NULL;
    const struct option *o = NULL;

    for (size_t k = 0; k < N_OPTIONS && !o; k++)
        if (options[k].name && strlen(options[k].name) == len &&
            strncmp(options[k].name, name, len) == 0)
            o = &options[k];
    if (!o)
        return long_unknown(name, len, err);
    if (o->kind == OPTION_FLAG && value)
        return amber_fail(err, AMBER_E_INVALID, "--%s takes no value", o->name);
    if (o->kind != OPTION_FLAG && !value && ++*i < argc)
        value = argv[*i];
    if (o->kind != OPTION_FLAG && !value)
        return amber_fail(err, AMBER_E_INVALID, "--%s needs a value: %s", o->name, o->arg);
    return option_set(p, o, value, err);
}

/* "-vf", "-oVALUE" or "-o VALUE"; *i goes to the last word used. */
static enum amber_rc short_take(struct parsing *p, int argc, char *const *argv, int *i,
                                struct amber_err *err)
{
    for (const char *c = argv[*i] + 1; *c; c++) {
        const struct option *o = NULL;
        for (size_t k = 0; k < N_OPTIONS && !o; k++)
            if (options[k].letter == *c)
                o = &options[k];
        if (!o)
            return amber_fail(err, AMBER_E_INVALID, "unknown option -%c", *c);
        enum amber_rc rc;
        if (o->kind == OPTION_FLAG) {
            rc = option_set(p, o, NULL, err);
            if (rc)
                return rc;
            continue;
        }
        if (!c[1] && *i + 1 >= argc)
            return amber_fail(err, AMBER_E_INVALID, "-%c needs a value: %s", *c, o->arg);
        return option_set(p, o, c[1] ? c + 1 : argv[++*i], err);
    }
    return AMBER_OK;
}

static enum amber_rc words_take(struct parsing *p, int argc, char *const *argv,
                                struct amber_err *err)
{
    bool only_words = false;
    enum amber_rc rc = amber_calloc(argc > 0 ? (size_t)argc : 1, sizeof(*p->words), &p->words, err);
    for (int i = 1; !rc && i < argc; i++) {
        if (!only_words && strcmp(argv[i], "--") == 0)
            only_words = true;
        else if (only_words || argv[i][0] != '-' || !argv[i][1])
            p->words[p->n_words++] = argv[i];
        else if (argv[i][1] == '-')
            rc = long_take(p, argc, argv, &i, err);
        else
            rc = short_take(p, argc, argv, &i, err);
    }
    return rc;
}

static bool command_find(const char *word, enum amber_command *out)
{
    for (size_t i = 0; i < AMBER_COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, word) == 0) {
            *out = (enum amber_command)i;
            return true;
        }
    }
    return false;
}

static const char *command_nearest(const char *word)
{
    return amber_nearest(word, &commands[0].name, AMBER_COMMAND_COUNT, sizeof(commands[0]),
                         amber_nearest_limit(word));
}

/* Two words and mount options, or a mount point by its full path: fstab's form, unless the first
 * word looks like a mistyped command. */
static bool is_fstab_form(const struct parsing *p)
{
    bool has_options = false;
    for (size_t i = 0; i < N_OPTIONS; i++)
        has_options |= options[i].kind == OPTION_MOUNT && p->seen[i];
    return p->n_words == 2 &&
           (has_options || (p->words[1][0] == '/' && !command_nearest(p->words[0])));
}

static enum amber_rc fstab_apply(struct parsing *p, struct amber_err *err)
{
    const char *source = p->words[0];
    p->opt.command = AMBER_COMMAND_MOUNT;
    enum amber_rc rc = AMBER_OK;
    if (!p->opt.source) /* -o fsname says it better */
        rc = amber_strdup(source, &p->opt.source, err);
    if (!rc && (source[0] == '/' || strncasecmp(source, "s3://", 5) == 0))
        rc = amber_strdup(source, &p->opt.store_path, err);
    return rc;
}

/* Which command it is; its arguments are what is left of the words. */
static enum amber_rc command_pick(struct parsing *p, struct amber_err *err)
{
    struct amber_options *o = &p->opt;
    enum amber_rc rc = AMBER_OK;

    if (p->n_words == 0)
        return o->help || o->version ? AMBER_OK
                                     : amber_fail(err, AMBER_E_INVALID, "a command is missing");
    if (!command_find(p->words[0], &o->command)) {
        const char *nearest = command_nearest(p->words[0]);
        if (!is_fstab_form(p) && nearest)
            return amber_fail(err, AMBER_E_INVALID, "unknown command \"%s\": did you mean \"%s\"?",
                              p->words[0], nearest);
        if (!is_fstab_form(p))
            return amber_fail(err, AMBER_E_INVALID, "unknown command \"%s\"", p->words[0]);
        rc = fstab_apply(p, err);
    }
    o->has_command = true;
    p->n_words--;
    memmove(p->words, p->words + 1, p->n_words * sizeof(*p->words));
    return rc;
}

static enum amber_rc command_check(const struct parsing *p, struct amber_err *err)
{
    const struct amber_options *o = &p->opt;
    const struct command *c = &commands[o->command];
    char spelt[32];

    for (size_t i = 0; i < N_OPTIONS; i++) {
        if (!p->seen[i] || belongs(&options[i], o->command))
            continue;
        option_spell(&options[i], spelt);
        return amber_fail(err, AMBER_E_INVALID, "%s isn't an option of \"%s\"", spelt, c->name);
    }
    if (o->help || o->version)
        return AMBER_OK;
    if (p->n_words < c->min_args)
        return amber_fail(err, AMBER_E_INVALID, "\"%s\" needs %s", c->name, c->args);
    if (p->n_words > c->max_args)
        return amber_fail(err, AMBER_E_INVALID, "\"%s\" has no use for \"%s\"%s%s", c->name,
                          p->words[c->max_args], *c->args ? ": it takes " : "", c->args);
    if (o->verbose && o->quiet)
        return amber_fail(err, AMBER_E_INVALID, "--verbose and --quiet exclude each other");
    if (o->adopt && o->supersede)
        return amber_fail(err, AMBER_E_INVALID, "--adopt and --supersede exclude each other");
    if (o->all && p->n_words)
        return amber_fail(err, AMBER_E_INVALID, "--all and an archive's name exclude each other");
    return AMBER_OK;
}

static void parsing_clear(struct parsing *p)
{
    free(p->words);
    amber_options_clear(&p->opt);
}

/* Say behind an error's text which help to read: that of the command as far as it is known. */
static void help_point(const struct parsing *p, struct amber_err *err)
{
    enum amber_command c = p->opt.command;
    bool known = p->opt.has_command || (p->n_words && command_find(p->words[0], &c));
    size_t used = strlen(err->text);
    snprintf(err->text + used, sizeof(err->text) - used, " (see `amberfs %s%s--help`)",
             known ? commands[c].name : "", known ? " " : "");
}

enum amber_rc amber_options_read(int argc, char *const *argv, struct amber_options *out,
                                 struct amber_err *err)
{
    struct parsing p AMBER_CLEANUP(parsing_clear) = {0};

    enum amber_rc rc = words_take(&p, argc, argv, err);
    if (!rc)
        rc = command_pick(&p, err);
    if (!rc && p.opt.has_command)
        rc = command_check(&p, err);
    if (rc == AMBER_E_INVALID)
        help_point(&p, err);
    if (rc)
        return rc;
    p.opt.args = amber_steal(&p.words);
    p.opt.n_args = p.n_words;
    *out = p.opt;
    p.opt = (struct amber_options){0};
    return AMBER_OK;
}

void amber_options_clear(struct amber_options *o)
{
    free(o->args);
    free(o->env_file);
    free(o->jobs_file);
    free(o->group);
    free(o->fuse_options);
    free(o->source);
    free(o->store_path);
    free(o->into);
    free(o->on_conflict);
    free(o->adopt);
    free(o->supersede);
    *o = (struct amber_options){0};
}

/* ---- help, and the man page's lists ---- */

static enum amber_rc option_describe(bool roff, const struct option *o, struct amber_buf *out,
                                     struct amber_err *err)
{
    char name[48], arg[48] = "";
    if (o->name && o->letter)
        snprintf(name, sizeof(name), "-%c, --%s", o->letter, o->name);
    else
        option_spell(o, name);
    if (o->arg)
        snprintf(arg, sizeof(arg), "%s", o->arg);
    return amber_describe_item(roff, name, arg, o->meaning, out, err);
}

/* The options that one of these commands has for itself; of 0: those that every command has. */
static enum amber_rc options_describe(bool roff, unsigned of, struct amber_buf *out,
                                      struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    for (size_t i = 0; !rc && i < N_OPTIONS; i++) {
        bool common = options[i].commands == OF_ALL;
        if (of ? !common && (options[i].commands & of) : common)
            rc = option_describe(roff, &options[i], out, err);
    }
    return rc;
}

/* "[-f] [-o OPTIONS] MOUNTPOINT": what stands behind a command's name. */
static enum amber_rc synopsis(enum amber_command c, struct amber_buf *out, struct amber_err *err)
{
    enum amber_rc rc = amber_buf_reserve(out, 0, err);
    for (size_t i = 0; !rc && i < N_OPTIONS; i++) {
        const struct option *o = &options[i];
        if (o->commands == OF_ALL || !belongs(o, c))
            continue;
        char spelt[32];
        option_spell(o, spelt);
        if (o->letter)
            snprintf(spelt, sizeof(spelt), "-%c", o->letter);
        rc = amber_buf_printf(out, err, "%s[%s%s%s]", out->len ? " " : "", spelt, o->arg ? " " : "",
                              o->arg ? o->arg : "");
    }
    if (!rc && *commands[c].args)
        rc = amber_buf_printf(out, err, "%s%s", out->len ? " " : "", commands[c].args);
    return rc;
}

static enum amber_rc commands_describe(bool roff, struct amber_buf *out, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    for (size_t i = 0; !rc && i < AMBER_COMMAND_COUNT; i++) {
        struct amber_buf args AMBER_AUTO_BUF = AMBER_BUF_INIT(HELP_MAX);
        struct amber_buf text AMBER_AUTO_BUF = AMBER_BUF_INIT(HELP_MAX);
        const struct command *c = &commands[i];
        if (roff)
            rc = synopsis((enum amber_command)i, &args, err);
        else
            rc = amber_buf_puts(&args, c->args, err);
        if (!rc)
            rc = amber_buf_printf(&text, err, "%s%s%s", c->meaning, roff && *c->more ? " " : "",
                                  roff ? c->more : "");
        if (!rc)
            rc = amber_describe_item(roff, c->name, args.data, text.data, out, err);
    }
    return rc;
}

static enum amber_rc help_command(enum amber_command which, struct amber_buf *out,
                                  struct amber_err *err)
{
    const struct command *c = &commands[which];
    struct amber_buf usage AMBER_AUTO_BUF = AMBER_BUF_INIT(HELP_MAX);
    enum amber_rc rc;
    size_t mark;

    if ((rc = amber_buf_printf(&usage, err, "Usage: amberfs %s ", c->name)) ||
        (rc = synopsis(which, &usage, err)) ||
        (rc = amber_describe_text(usage.data, USAGE_INDENT, out, err)) ||
        (rc = amber_buf_puts(out, "\n", err)) ||
        (rc = amber_describe_text(c->meaning, 0, out, err)))
        return rc;
    if (*c->more &&
        ((rc = amber_buf_puts(out, "\n", err)) || (rc = amber_describe_text(c->more, 0, out, err))))
        return rc;
    if ((rc = amber_buf_puts(out, "\nOptions:\n", err)))
        return rc;
    mark = out->len;
    if ((rc = options_describe(false, 1U << which, out, err)) ||
        (rc = amber_buf_puts(out, out->len > mark ? "\nOptions of every command:\n" : "", err)) ||
        (rc = options_describe(false, 0, out, err)))
        return rc;
    if (which == AMBER_COMMAND_MOUNT && ((rc = amber_buf_puts(out, "\nMount options:\n", err)) ||
                                         (rc = amber_mount_options_describe(false, out, err))))
        return rc;
    return AMBER_OK;
}

static enum amber_rc help_program(struct amber_buf *out, struct amber_err *err)
{
    enum amber_rc rc;
    if ((rc = amber_buf_puts(out,
                             "Usage: amberfs COMMAND [OPTIONS] [ARGUMENTS]\n"
                             "       amberfs SOURCE MOUNTPOINT -o OPTIONS    (from /etc/fstab)\n\n"
                             "Move old rows out of PostgreSQL into compressed, verified archives, "
                             "mount them\nas files, and copy them back.\n\nCommands:\n",
                             err)) ||
        (rc = commands_describe(false, out, err)) ||
        (rc = amber_buf_puts(out, "\nOptions of every command:\n", err)) ||
        (rc = options_describe(false, 0, out, err)) ||
        (rc = amber_buf_puts(out, "\nVariables, from the environment or the env file:\n", err)) ||
        (rc = amber_config_describe(false, out, err)))
        return rc;
    return amber_buf_puts(out,
                          "\nExit status: 0 done, 1 failed, 2 wrong usage.\n"
                          "`amberfs COMMAND --help` shows a command's options; amberfs(1) has the "
                          "rest.\n",
                          err);
}

enum amber_rc amber_options_help(const enum amber_command *command, struct amber_buf *out,
                                 struct amber_err *err)
{
    return command ? help_command(*command, out, err) : help_program(out, err);
}

enum amber_rc amber_options_roff(enum amber_options_list list, struct amber_buf *out,
                                 struct amber_err *err)
{
    switch (list) {
    case AMBER_LIST_COMMANDS:
        return commands_describe(true, out, err);
    case AMBER_LIST_COMMON_OPTIONS:
        return options_describe(true, 0, out, err);
    case AMBER_LIST_COMMAND_OPTIONS:
        return options_describe(true, OF_ALL, out, err);
    case AMBER_LIST_MOUNT_OPTIONS:
        return amber_mount_options_describe(true, out, err);
    }
    return AMBER_OK;
}

bool amber_options_parse(int argc, char *const *argv, struct amber_options *out, int *out_status)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_options o AMBER_CLEANUP(amber_options_clear) = {0};
    struct amber_buf text AMBER_AUTO_BUF = AMBER_BUF_INIT(HELP_MAX);

    enum amber_rc rc = amber_options_read(argc, argv, &o, &err);
    if (!rc && o.help)
        rc = amber_options_help(o.has_command ? &o.command : NULL, &text, &err);
    else if (!rc && o.version)
        rc = amber_buf_puts(&text, "amberfs " AMBER_VERSION "\n", &err);
    if (rc) {
        fprintf(stderr, "amberfs: %s\n", err.text);
        *out_status = rc == AMBER_E_INVALID ? 2 : 1;
        return false;
    }
    if (text.len) {
        *out_status = fputs(text.data, stdout) < 0 || fflush(stdout) ? 1 : 0;
        return false;
    }
    *out = o;
    o = (struct amber_options){0};
    return true;
}
