/*
 * test_options.c - command lines as people, scripts and mount.fuse(8) write them; wrong usage with
 * what it says; help.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "options.h"

#define WORDS_MAX 24

/* Cut a line at its spaces into argv; "''" is an empty word. The words live until the next call. */
static int split(const char *line, char *argv[WORDS_MAX])
{
    static char text[1024];
    int n = 0;
    snprintf(text, sizeof(text), "%s", line);
    for (char *p = strtok(text, " "); p; p = strtok(NULL, " "))
        argv[n++] = strcmp(p, "''") == 0 ? p + 2 : p;
    argv[n] = NULL;
    return n;
}

static struct amber_options good(const char *line)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_options o = {0};
    char *argv[WORDS_MAX];
    if (amber_options_read(split(line, argv), argv, &o, &err))
        fail_msg("%s: %s", line, err.text);
    return o;
}

static void assert_refused(const char *line, const char *want)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_options o, before;
    char *argv[WORDS_MAX];
    memset(&o, 0x5a, sizeof(o));
    memcpy(&before, &o, sizeof(o));
    if (amber_options_read(split(line, argv), argv, &o, &err) != AMBER_E_INVALID)
        fail_msg("not refused: %s", line);
    if (strcmp(err.text, want) != 0)
        fail_msg("%s\ngives:    %s\nexpected: %s", line, err.text, want);
    assert_memory_equal(&o, &before, sizeof(o));
}

static void assert_text(const char *got, const char *want)
{
    assert_non_null(got);
    assert_string_equal(got, want);
}

static void mount_with_all_options_is_read(void **state)
{
    struct amber_options o AMBER_CLEANUP(amber_options_clear) = good(
        "amberfs mount -f --env-file .env --jobs=j.json -v -o ro,allow_other -ogroup=staff /m");
    (void)state;
    assert_int_equal(o.command, AMBER_COMMAND_MOUNT);
    assert_true(o.has_command);
    assert_true(o.foreground);
    assert_true(o.verbose);
    assert_false(o.quiet);
    assert_true(o.read_only);
    assert_text(o.env_file, ".env");
    assert_text(o.jobs_file, "j.json");
    assert_text(o.group, "staff");
    assert_text(o.fuse_options, "allow_other");
    assert_null(o.source);
    assert_null(o.store_path);
    assert_int_equal(o.n_args, 1);
    assert_string_equal(o.args[0], "/m");
}

static void options_may_stand_anywhere(void **state)
{
    struct amber_options o AMBER_CLEANUP(amber_options_clear) =
        good("amberfs --env-file b -q archive log-archival --dry-run");
    (void)state;
    assert_int_equal(o.command, AMBER_COMMAND_ARCHIVE);
    assert_text(o.env_file, "b");
    assert_true(o.quiet);
    assert_true(o.dry_run);
    assert_int_equal(o.n_args, 1);
    assert_string_equal(o.args[0], "log-archival");
}

static void short_flags_join_and_double_dash_ends_options(void **state)
{
    struct amber_options o AMBER_CLEANUP(amber_options_clear) =
        good("amberfs mount -vfo ro -- --all");
    (void)state;
    assert_true(o.verbose);
    assert_true(o.foreground);
    assert_true(o.read_only);
    assert_string_equal(o.args[0], "--all");
}

static void each_command_takes_its_options(void **state)
{
    (void)state;
    struct amber_options r AMBER_CLEANUP(amber_options_clear) =
        good("amberfs restore a.json --into s.t --on-conflict skip --force --allow-triggers");
    assert_int_equal(r.command, AMBER_COMMAND_RESTORE);
    assert_text(r.into, "s.t");
    assert_text(r.on_conflict, "skip");
    assert_true(r.force);
    assert_true(r.allow_triggers);
    struct amber_options v AMBER_CLEANUP(amber_options_clear) = good("amberfs verify --all");
    assert_int_equal(v.command, AMBER_COMMAND_VERIFY);
    assert_true(v.all);
    assert_int_equal(v.n_args, 0);
    struct amber_options w AMBER_CLEANUP(amber_options_clear) = good("amberfs verify a b c");
    assert_int_equal(w.n_args, 3);
    assert_string_equal(w.args[2], "c");
    struct amber_options s AMBER_CLEANUP(amber_options_clear) =
        good("amberfs status --watch --json /m");
    assert_int_equal(s.command, AMBER_COMMAND_STATUS);
    assert_true(s.watch);
    assert_true(s.json);
    struct amber_options c AMBER_CLEANUP(amber_options_clear) = good("amberfs cat a b");
    assert_int_equal(c.command, AMBER_COMMAND_CAT);
    struct amber_options l AMBER_CLEANUP(amber_options_clear) = good("amberfs list --json");
    assert_int_equal(l.command, AMBER_COMMAND_LIST);
    assert_true(l.json);
    struct amber_options i AMBER_CLEANUP(amber_options_clear) = good("amberfs init");
    assert_int_equal(i.command, AMBER_COMMAND_INIT);
    struct amber_options m AMBER_CLEANUP(amber_options_clear) = good("amberfs rebuild-manifest a");
    assert_int_equal(m.command, AMBER_COMMAND_REBUILD_MANIFEST);
    struct amber_options q AMBER_CLEANUP(amber_options_clear) =
        good("amberfs reconcile --adopt all");
    assert_int_equal(q.command, AMBER_COMMAND_RECONCILE);
    assert_text(q.adopt, "all");
}

/* ---- fstab ---- */

static void fstab_form_is_a_mount(void **state)
{
    struct amber_options o AMBER_CLEANUP(amber_options_clear) =
        good("amberfs amberfs /mnt/a -o "
             "rw,env_file=/etc/a.env,jobs=/etc/j.json,allow_other,noauto,user=bob,users,_netdev,"
             "nofail,defaults,dev,suid,x-systemd.automount,x-systemd.requires=pg.service,"
             "comment=abc,noatime,group");
    (void)state;
    assert_int_equal(o.command, AMBER_COMMAND_MOUNT);
    assert_string_equal(o.args[0], "/mnt/a");
    assert_int_equal(o.n_args, 1);
    assert_text(o.source, "amberfs");
    assert_null(o.store_path);
    assert_text(o.env_file, "/etc/a.env");
    assert_text(o.jobs_file, "/etc/j.json");
    assert_text(o.fuse_options, "allow_other");
    assert_null(o.group);
    assert_false(o.read_only);
    assert_false(o.foreground);
}

static void fstab_source_with_full_path_is_the_store(void **state)
{
    (void)state;
    struct amber_options o AMBER_CLEANUP(amber_options_clear) =
        good("amberfs /srv/archives /mnt/a -o ro");
    assert_text(o.store_path, "/srv/archives");
    assert_text(o.source, "/srv/archives");
    struct amber_options bare AMBER_CLEANUP(amber_options_clear) = good("amberfs none /mnt/a");
    assert_int_equal(bare.command, AMBER_COMMAND_MOUNT);
    assert_null(bare.store_path);
    struct amber_options named AMBER_CLEANUP(amber_options_clear) =
        good("amberfs none /mnt/a -o fsname=archives");
    assert_text(named.source, "archives");
}

static void mount_options_keep_escaped_commas_and_the_last_word(void **state)
{
    struct amber_options o AMBER_CLEANUP(amber_options_clear) =
        good("amberfs mount /m -o env_file=/a\\,b\\\\c,ro,,rw, -o nosuid,context=x\\,y -o gid=7");
    (void)state;
    assert_text(o.env_file, "/a,b\\c");
    assert_false(o.read_only);
    assert_text(o.fuse_options, "nosuid,context=x\\,y");
    assert_text(o.group, "7");
}

static void wrong_mount_options_are_refused(void **state)
{
    (void)state;
    assert_refused("amberfs mount /m -o ro,alow_other",
                   "-o: unknown option \"alow_other\": did you mean \"allow_other\"? (see `amberfs "
                   "mount --help`)");
    assert_refused("amberfs mount /m -o zzzzzzzzz=7",
                   "-o: unknown option \"zzzzzzzzz\" (see `amberfs mount --help`)");
    assert_refused("amberfs mount /m -o env_file",
                   "-o env_file needs a value: env_file=FILE (see `amberfs mount --help`)");
    assert_refused("amberfs mount /m -o env_file=",
                   "-o env_file needs a value: env_file=FILE (see `amberfs mount --help`)");
    assert_refused("amberfs mount /m -o ro=1", "-o ro takes no value (see `amberfs mount --help`)");
    assert_refused("amberfs mount /m -o remount,ro",
                   "-o remount: an amberfs mount can't be changed: unmount it and mount anew (see "
                   "`amberfs mount --help`)");
}

/* ---- wrong usage ---- */

static void unknown_command_suggests_nearest(void **state)
{
    (void)state;
    assert_refused("amberfs", "a command is missing (see `amberfs --help`)");
    assert_refused("amberfs archiv log-archival",
                   "unknown command \"archiv\": did you mean \"archive\"? (see `amberfs --help`)");
    assert_refused("amberfs stauts",
                   "unknown command \"stauts\": did you mean \"status\"? (see `amberfs --help`)");
    assert_refused("amberfs mont /data/archives",
                   "unknown command \"mont\": did you mean \"mount\"? (see `amberfs --help`)");
    assert_refused("amberfs xyzzyx a b", "unknown command \"xyzzyx\" (see `amberfs --help`)");
    assert_refused("amberfs /mnt", "unknown command \"/mnt\" (see `amberfs --help`)");
}

static void unknown_or_misplaced_option_is_refused(void **state)
{
    (void)state;
    assert_refused(
        "amberfs archive j --dryrun",
        "unknown option --dryrun: did you mean --dry-run? (see `amberfs archive --help`)");
    assert_refused("amberfs archive j --zzzzzzzz",
                   "unknown option --zzzzzzzz (see `amberfs archive --help`)");
    assert_refused("amberfs -x", "unknown option -x (see `amberfs --help`)");
    assert_refused("amberfs restore a --dry-run",
                   "--dry-run isn't an option of \"restore\" (see `amberfs restore --help`)");
    assert_refused("amberfs archive j -o ro",
                   "-o isn't an option of \"archive\" (see `amberfs archive --help`)");
    assert_refused("amberfs init --json",
                   "--json isn't an option of \"init\" (see `amberfs init --help`)");
}

static void option_values_are_checked(void **state)
{
    (void)state;
    assert_refused("amberfs list --env-file a --env-file b",
                   "--env-file was given already: it takes one value (see `amberfs list --help`)");
    assert_refused("amberfs mount /m --jobs",
                   "--jobs needs a value: FILE (see `amberfs mount --help`)");
    assert_refused("amberfs mount /m --jobs=",
                   "--jobs has an empty value: FILE is expected (see `amberfs mount --help`)");
    assert_refused("amberfs mount /m --jobs ''",
                   "--jobs has an empty value: FILE is expected (see `amberfs mount --help`)");
    assert_refused("amberfs mount /m -o", "-o needs a value: OPTIONS (see `amberfs mount --help`)");
    assert_refused("amberfs verify --all=yes",
                   "--all takes no value (see `amberfs verify --help`)");
    assert_refused("amberfs restore a --on-conflict maybe",
                   "--on-conflict can't be \"maybe\": it must be error|skip|replace (see `amberfs "
                   "restore --help`)");
    assert_refused("amberfs restore a --on-conflict ski",
                   "--on-conflict can't be \"ski\": it must be error|skip|replace (see `amberfs "
                   "restore --help`)");
}

static void number_of_arguments_is_checked(void **state)
{
    (void)state;
    assert_refused("amberfs mount", "\"mount\" needs MOUNTPOINT (see `amberfs mount --help`)");
    assert_refused(
        "amberfs mount /a /b",
        "\"mount\" has no use for \"/b\": it takes MOUNTPOINT (see `amberfs mount --help`)");
    assert_refused("amberfs archive", "\"archive\" needs JOB (see `amberfs archive --help`)");
    assert_refused("amberfs cat", "\"cat\" needs ARCHIVE... (see `amberfs cat --help`)");
    assert_refused("amberfs init x", "\"init\" has no use for \"x\" (see `amberfs init --help`)");
    assert_refused("amberfs init -", "\"init\" has no use for \"-\" (see `amberfs init --help`)");
    assert_refused(
        "amberfs status a b",
        "\"status\" has no use for \"b\": it takes [MOUNTPOINT] (see `amberfs status --help`)");
}

static void options_that_exclude_each_other_are_refused(void **state)
{
    (void)state;
    assert_refused("amberfs list -v -q",
                   "--verbose and --quiet exclude each other (see `amberfs list --help`)");
    assert_refused("amberfs reconcile --adopt a --supersede b",
                   "--adopt and --supersede exclude each other (see `amberfs reconcile --help`)");
    assert_refused("amberfs verify a --all",
                   "--all and an archive's name exclude each other (see `amberfs verify --help`)");
}

/* ---- help ---- */

static const char *const command_names[AMBER_COMMAND_COUNT] = {
    "mount", "archive", "restore", "verify",           "status",
    "cat",   "list",    "init",    "rebuild-manifest", "reconcile", "replicate"};

static void help_and_version_need_no_arguments(void **state)
{
    (void)state;
    struct amber_options h AMBER_CLEANUP(amber_options_clear) = good("amberfs --help");
    assert_true(h.help);
    assert_false(h.has_command);
    struct amber_options c AMBER_CLEANUP(amber_options_clear) = good("amberfs archive -h");
    assert_true(c.help);
    assert_true(c.has_command);
    assert_int_equal(c.command, AMBER_COMMAND_ARCHIVE);
    struct amber_options v AMBER_CLEANUP(amber_options_clear) = good("amberfs --version");
    assert_true(v.version);
}

static void assert_fits_terminal(const char *text)
{
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        if (len > 79)
            fail_msg("%zu columns: %.*s", len, (int)len, line);
        line += len + (line[len] == '\n');
    }
}

static void help_lists_every_command_and_fits_terminal(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf text AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    (void)state;
    assert_int_equal(amber_options_help(NULL, &text, &err), AMBER_OK);
    for (size_t i = 0; i < AMBER_COMMAND_COUNT; i++) {
        char want[40];
        snprintf(want, sizeof(want), "\n  %s", command_names[i]);
        if (!strstr(text.data, want))
            fail_msg("%s isn't in --help", command_names[i]);
    }
    assert_non_null(strstr(text.data, "ARCHIVAL_PATH"));
    assert_non_null(strstr(text.data, "--env-file FILE"));
    assert_non_null(strstr(text.data, "Exit status: 0 done, 1 failed, 2 wrong usage."));
    assert_fits_terminal(text.data);
}

static void help_of_each_command_shows_usage_and_its_options(void **state)
{
    (void)state;
    for (size_t i = 0; i < AMBER_COMMAND_COUNT; i++) {
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_buf text AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
        enum amber_command c = (enum amber_command)i;
        char want[60];
        assert_int_equal(amber_options_help(&c, &text, &err), AMBER_OK);
        snprintf(want, sizeof(want), "Usage: amberfs %s", command_names[i]);
        assert_ptr_equal(strstr(text.data, want), text.data);
        assert_fits_terminal(text.data);
        assert_true(!strstr(text.data, "--dry-run") == (c != AMBER_COMMAND_ARCHIVE));
        assert_true(!strstr(text.data, "Mount options:") == (c != AMBER_COMMAND_MOUNT));
    }
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf text AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    enum amber_command c = AMBER_COMMAND_ARCHIVE;
    assert_int_equal(amber_options_help(&c, &text, &err), AMBER_OK);
    assert_non_null(strstr(text.data, "Usage: amberfs archive [--dry-run] JOB\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mount_with_all_options_is_read),
        cmocka_unit_test(options_may_stand_anywhere),
        cmocka_unit_test(short_flags_join_and_double_dash_ends_options),
        cmocka_unit_test(each_command_takes_its_options),
        cmocka_unit_test(fstab_form_is_a_mount),
        cmocka_unit_test(fstab_source_with_full_path_is_the_store),
        cmocka_unit_test(mount_options_keep_escaped_commas_and_the_last_word),
        cmocka_unit_test(wrong_mount_options_are_refused),
        cmocka_unit_test(unknown_command_suggests_nearest),
        cmocka_unit_test(unknown_or_misplaced_option_is_refused),
        cmocka_unit_test(option_values_are_checked),
        cmocka_unit_test(number_of_arguments_is_checked),
        cmocka_unit_test(options_that_exclude_each_other_are_refused),
        cmocka_unit_test(help_and_version_need_no_arguments),
        cmocka_unit_test(help_lists_every_command_and_fits_terminal),
        cmocka_unit_test(help_of_each_command_shows_usage_and_its_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
