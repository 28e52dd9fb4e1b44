/*
 * test_mount_life.c - mounting, changing and ending: new archives seen at once, many entries, stop
 * with everything blocked, outside unmount, dead mounts, and finding mounts.
 */
#include "mount_fixture.h"

#include "amber/calendar.h"

#include <dirent.h>
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void update(struct mf *f, const struct amber_tree_entry *e, size_t n)
{
    struct amber_err err = AMBER_ERR_INIT;
    FX_OK(amber_mount_update(f->mount, e, n, &err));
}

static char *names_in(const struct mf *f, const char *folder)
{
    return mf_out(f, "ls $M/%s 2>/dev/null | tr '\\n' ' '", folder);
}

static void expect_names(const struct mf *f, const char *folder, const char *want)
{
    AMBER_AUTO_FREE char *names = names_in(f, folder);
    assert_string_equal(names, want);
}

static void new_archives_are_seen_at_once(void **state)
{
    struct mf *f = *state;
    struct stat st;
    update(f, f->entries, 1);
    for (int round = 0; round < 20; round++) {
        /* The kernel has the listing, the names that are there and those that aren't. */
        expect_names(f, "flow_logs", "gz.json ");
        expect_names(f, ".raw/flow_logs", "gz.json.gz ");
        expect_names(f, "", "flow_logs ");
        assert_int_equal(stat(mf_path(f, "flow_logs/plain.json"), &st), -1);
        assert_int_equal(stat(mf_path(f, "deep/er/zst.json"), &st), -1);
        assert_int_equal(stat(mf_path(f, ".raw/deep/er/zst.json.zst"), &st), -1);
        update(f, f->entries, 3);
        assert_int_equal(stat(mf_path(f, "flow_logs/plain.json"), &st), 0);
        assert_int_equal(stat(mf_path(f, "deep/er/zst.json"), &st), 0);
        assert_int_equal(stat(mf_path(f, ".raw/deep/er/zst.json.zst"), &st), 0);
        expect_names(f, "flow_logs", "gz.json plain.json ");
        expect_names(f, ".raw/flow_logs", "gz.json.gz plain.json ");
        expect_names(f, "", "deep flow_logs ");
        update(f, f->entries, 1);
        assert_int_equal(stat(mf_path(f, "flow_logs/plain.json"), &st), -1);
        assert_int_equal(stat(mf_path(f, ".raw/flow_logs/plain.json"), &st), -1);
        assert_int_equal(stat(mf_path(f, "deep"), &st), -1);
    }
}

static void changed_attributes_are_seen_at_once(void **state)
{
    struct mf *f = *state;
    struct amber_tree_entry e[MF_ARCHIVES];
    struct stat a, b;
    memcpy(e, f->entries, sizeof(e));
    assert_int_equal(stat(mf_path(f, "flow_logs/gz.json"), &a), 0);
    e[0].size += 1000;
    e[0].mtime_us += 5000000;
    update(f, e, f->n);
    assert_int_equal(stat(mf_path(f, "flow_logs/gz.json"), &b), 0);
    assert_int_equal(a.st_ino, b.st_ino);
    assert_int_equal(b.st_size, a.st_size + 1000);
    assert_int_equal(b.st_mtim.tv_sec, a.st_mtim.tv_sec + 5);
}

static void open_file_reads_on_after_its_name_is_gone(void **state)
{
    struct mf *f = *state;
    static char buf[8u << 20];
    struct stat st;
    int fd = open(mf_path(f, "flow_logs/gz.json"), O_RDONLY);
    update(f, f->entries + 1, 2);
    assert_int_equal(access(mf_path(f, "flow_logs/gz.json"), F_OK), -1);
    assert_int_equal(pread(fd, buf, sizeof(buf), 0), f->texts[0].len);
    assert_memory_equal(buf, f->texts[0].data, f->texts[0].len);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, f->texts[0].len);
    close(fd);
}

static int64_t now_ms(void)
{
    return amber_mono_us() / 1000;
}

static void hundred_thousand_archives_list_and_stay_small(void **state)
{
    struct mf *f = *state;
    enum { N = 100000 };
    struct amber_tree_entry *e = calloc(N, sizeof(*e));
    struct {
        char path[100], key[110], manifest_key[220];
    } *text = calloc(N, sizeof(*text));
    struct mallinfo2 before = mallinfo2();
    for (size_t i = 0; i < N; i++) {
        static const char name[] = "call_events/call_events_2024-01-01_to_2024-03-31";
        snprintf(text[i].path, sizeof(text[i].path), "%s_%06zu.json", name, i);
        snprintf(text[i].key, sizeof(text[i].key), "%s_%06zu.json.gz", name, i);
        snprintf(text[i].manifest_key, sizeof(text[i].manifest_key),
                 ".amberfs/manifests/%s_%06zu.json.gz/01234567-89ab-4cde-8f01-23456789abcd.1234567."
                 "123456789.json",
                 name, i);
        e[i] = f->entries[0];
        e[i].path = text[i].path;
        e[i].key = text[i].key;
        e[i].manifest_key = text[i].manifest_key;
    }
    int64_t t0 = now_ms();
    update(f, e, N);
    int64_t t1 = now_ms();
    struct mallinfo2 after = mallinfo2();
    size_t bytes = (after.uordblks + after.hblkhd - before.uordblks - before.hblkhd) / N;
    AMBER_AUTO_FREE char *sizes = mf_out(f, "ls -lU $M/call_events | "
                                            "awk '{s += $5} END {printf \"%%.0f\\n\", s}'");
    int64_t t2 = now_ms();
    char want[64];
    snprintf(want, sizeof(want), "%llu\n", (unsigned long long)f->entries[0].size * N);
    assert_string_equal(sizes, want);
    AMBER_AUTO_FREE char *count = mf_out(f, "ls -f $M/call_events | wc -l");
    int64_t t3 = now_ms();
    assert_string_equal(count, "100002\n");
    AMBER_AUTO_FREE char *unique = mf_out(f, "ls $M/call_events | sort -u | wc -l");
    assert_string_equal(unique, "100000\n");
    int64_t t4 = now_ms();
    update(f, e, N - 1);
    int64_t t5 = now_ms();
    assert_int_equal(access(mf_path(f, e[N - 1].path), F_OK), -1);
    print_message(
        "# 100,000 archives: %zu bytes each; update %lld ms, ls -l %lld ms, then ls -f %lld ms, "
        "update of one %lld ms\n",
        bytes, (long long)(t1 - t0), (long long)(t2 - t1), (long long)(t3 - t2),
        (long long)(t5 - t4));
    assert_true(bytes < 1024); /* 0 with a sanitizer's allocator, which isn't counted */
    update(f, f->entries, f->n);
    free(e);
    free(text);
}

static void listing_that_changes_meanwhile_loses_nothing(void **state)
{
    struct mf *f = *state;
    enum { N = 3000 };
    static struct amber_tree_entry e[N];
    static char paths[N][40];
    static bool seen[N];
    for (size_t i = 0; i < N; i++) {
        e[i] = f->entries[0];
        snprintf(paths[i], sizeof(paths[i]), "f/%04zu.json", i);
        e[i].path = e[i].key = paths[i];
    }
    update(f, e, N);
    DIR *d = opendir(mf_path(f, "f"));
    struct dirent *x;
    size_t n = 0;
    assert_non_null(d);
    while ((x = readdir(d))) {
        if (x->d_name[0] == '.')
            continue;
        size_t i = (size_t)atoi(x->d_name);
        assert_false(seen[i]);
        seen[i] = true;
        if (++n == 100)
            update(f, e + 50, N - 50); /* the first ones go away */
    }
    closedir(d);
    for (size_t i = 50; i < N; i++)
        assert_true(seen[i]);
}

/* ---- ending ---- */

/* Wait until process pid sleeps in a read of its descriptor 3, which is cat's file. */
static void expect_reading(const struct mf *f, pid_t pid)
{
    char path[64], text[256], want[32];
    snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
    snprintf(want, sizeof(want), "%ld 0x3 ", (long)SYS_read);
    for (;; sched_yield()) {
        FILE *p = fopen(path, "re");
        bool got = p && fgets(text, sizeof(text), p);
        if (p)
            fclose(p);
        if (got && strncmp(text, want, strlen(want)) == 0)
            break;
    }
    /* Its request stands before these in the queue. */
    for (int i = 0; i < 10; i++)
        assert_int_equal(mf_sh(f, "cat $M/.status > /dev/null"), 0);
}

static void stop_ends_all_that_is_blocked(void **state)
{
    struct mf *f = *state;
    int status;
    mf_file("row", "row\n", 4);
    assert_int_equal(mf_sh(f, "echo slow > $M/.control/trigger;"
                              "(cat $M/.control/wait/slow > /dev/null 2>&1; "
                              " echo $? > $T/wait.end) & "
                              "(cp $T/row $M/.restore/t/slow.json 2>/dev/null; "
                              " echo $? > $T/slow.end) &"),
                     0);
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        char path[256];
        dup2(null, STDOUT_FILENO);
        closefrom(3);
        snprintf(path, sizeof(path), "%s/.control/follow", f->mnt);
        execlp("cat", "cat", path, (char *)NULL);
        _exit(127);
    }
    fake_expect_waiting(&f->fake, 1);
    fake_expect(&f->fake, "finish t/slow.json;");
    expect_reading(f, pid);
    f->serving = false;
    amber_mount_stop(f->mount);
    pthread_join(f->thread, NULL);
    assert_int_equal(f->serve_rc, AMBER_OK);
    fake_expect(&f->fake, "rollback t/slow.json;");
    fake_expect_waiting(&f->fake, 0);
    assert_false(amber_mount_find(f->mnt, NULL, NULL));
    amber_mount_free(f->mount);
    /* The follower saw the end of the file, cp and the one who waited an error. */
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(mf_sh(f,
                           "for i in $(seq 1000); do [ -s $T/wait.end ] && [ -s $T/slow.end ] && "
                           "break; sleep 0.01; done; "
                           "[ $(cat $T/wait.end $T/slow.end | tr -d '\\n') = 11 ]"),
                     0);
}

static void stop_before_serve_ends_at_once(void **state)
{
    struct mf *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    mf_unmount(f);
    struct amber_mount_config cfg = mf_config(f);
    for (int i = 0; i < 20; i++) {
        FX_OK(amber_mount_new(&cfg, &f->mount, &err));
        amber_mount_stop(f->mount);
        FX_OK(amber_mount_serve(f->mount, NULL, NULL, &err));
        assert_false(amber_mount_find(f->mnt, NULL, NULL));
        amber_mount_free(f->mount);
    }
    FX_OK(amber_mount_new(&cfg, &f->mount, &err));
    amber_mount_free(f->mount); /* never served */
    assert_false(amber_mount_find(f->mnt, NULL, NULL));
}

static void many_short_lives(void **state)
{
    struct mf *f = *state;
    for (int i = 0; i < 20; i++) {
        mf_unmount(f);
        mf_mount(f, NULL, false);
        assert_int_equal(access(mf_path(f, "flow_logs/gz.json"), F_OK), 0);
    }
}

static void outside_unmount_ends_serve(void **state)
{
    struct mf *f = *state;
    mf_sh(f, "cat $M/flow_logs/gz.json > /dev/null");
    assert_int_equal(mf_sh(f, "umount $M 2>/dev/null || fusermount3 -u $M"), 0);
    pthread_join(f->thread, NULL);
    f->serving = false;
    assert_int_equal(f->serve_rc, AMBER_OK);
    amber_mount_free(f->mount);
}

static void outside_unmount_with_open_files_leaves_nothing(void **state)
{
    struct mf *f = *state;
    int archive = open(mf_path(f, "flow_logs/gz.json"), O_RDONLY);
    int restore = open(mf_path(f, ".restore/t/x.json"), O_WRONLY | O_CREAT, 0600);
    int status = open(mf_path(f, ".status"), O_RDONLY);
    assert_true(archive >= 0 && restore >= 0 && status >= 0);
    assert_int_equal(write(restore, "row\n", 4), 4);
    f->serving = false;
    amber_mount_stop(f->mount);
    pthread_join(f->thread, NULL);
    amber_mount_free(f->mount);
    fake_expect(&f->fake, "rollback t/x.json;");
    char c;
    assert_int_equal(read(status, &c, 1), -1);
    close(archive);
    close(status);
    assert_int_equal(close(restore), -1);
}

/* ---- dead and living mounts ---- */

static const char *self;

/* A daemon in a process of its own (this program run with --daemon); returns when it is mounted. */
static pid_t start_daemon(const struct mf *f)
{
    int fds[2];
    char c;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        execl(self, self, "--daemon", f->mnt, f->fx.dir, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &c, 1), 1);
    close(fds[0]);
    return pid;
}

static int run_daemon(const char *mnt, const char *store)
{
    static struct fake fake;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_store_config sc = {.type = "local", .path = store, .dir_fd = -1};
    struct amber_mount_config cfg = {.mountpoint = mnt, .ops = &fake_ops, .arg = &fake};
    struct amber_tree_entry e = {.path = "flow_logs/gz.json", .key = "flow_logs/gz.json.gz"};
    struct amber_pool *pool;
    struct amber_mount *m;
    amber_log_set_stderr(false);
    fake_init(&fake);
    if (amber_store_open(&sc, &cfg.store, &err) || amber_pool_new(1, &pool, &err) ||
        amber_cache_new(1U << 20, pool, &cfg.cache, &err) || amber_tree_new(&cfg.tree, &err) ||
        amber_tree_replace(cfg.tree, &e, 1, NULL, NULL, &err) || amber_mount_new(&cfg, &m, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    if (write(STDOUT_FILENO, "x", 1) != 1)
        return 1;
    return amber_mount_serve(m, NULL, NULL, &err) != AMBER_OK;
}

static void kill_daemon(pid_t pid)
{
    int status;
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void dead_mount_is_found_and_taken_away(void **state)
{
    struct mf *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    bool alive;
    char *root;
    mf_unmount(f);
    for (int i = 0; i < 3; i++) {
        pid_t pid = start_daemon(f);
        assert_int_equal(mf_sh(f, "ls -l $M/flow_logs > /dev/null"), 0);
        assert_true(amber_mount_find(mf_path(f, "flow_logs/gz.json"), &root, &alive));
        assert_true(alive);
        assert_string_equal(root, f->mnt);
        free(root);
        AMBER_AUTO_FREE char *only = amber_mount_only();
        assert_true(!only || strcmp(only, f->mnt) == 0); /* others may be on this machine */
        struct amber_mount_config cfg = mf_config(f);
        assert_int_equal(amber_mount_new(&cfg, &f->mount, &err), AMBER_E_BUSY);
        kill_daemon(pid);
        assert_true(amber_mount_find(f->mnt, &root, &alive));
        assert_false(alive);
        assert_string_equal(root, f->mnt);
        free(root);
        assert_true(amber_mount_find(mf_path(f, "flow_logs/gz.json"), NULL, &alive));
        assert_false(alive);
        if (i == 1) {
            FX_OK(amber_mount_detach(f->mnt, &err));
            assert_false(amber_mount_find(f->mnt, NULL, NULL));
        }
    }
    mf_mount(f, NULL, false); /* over the dead one */
    assert_int_equal(access(mf_path(f, "flow_logs/gz.json"), F_OK), 0);
    mf_unmount(f);
    assert_false(amber_mount_find(f->mnt, NULL, NULL)); /* nothing is left below it */
}

static void mount_over_its_own_store_serves_it(void **state)
{
    struct mf *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    char mnt[64];
    mf_unmount(f);
    int dir = open(f->fx.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct amber_store_config sc = {.type = "local", .path = f->fx.dir, .dir_fd = dir};
    struct amber_store *by_path = f->fx.st;
    FX_OK(amber_store_open(&sc, &f->fx.st, &err));
    close(dir);
    snprintf(mnt, sizeof(mnt), "%s", f->mnt);
    snprintf(f->mnt, sizeof(f->mnt), "%s", f->fx.dir);
    mf_mount(f, NULL, false);
    assert_int_equal(mf_sh(f, "[ \"$(ls -A $S | tr '\\n' ' ')\" = 'deep flow_logs ' ]"), 0);
    AMBER_AUTO_BUF struct amber_buf got = AMBER_BUF_INIT(64U << 20);
    mf_read_all(mf_path(f, "flow_logs/gz.json"), &got);
    assert_int_equal(got.len, f->texts[0].len);
    assert_int_equal(mf_sh(f, "gunzip -t $S/.raw/flow_logs/gz.json.gz"), 0);
    mf_unmount(f);
    snprintf(f->mnt, sizeof(f->mnt), "%s", mnt);
    amber_store_free(f->fx.st);
    f->fx.st = by_path;
}

static void find_knows_what_is_no_mount(void **state)
{
    struct mf *f = *state;
    bool alive;
    char *root;
    assert_false(amber_mount_find("/", NULL, &alive));
    assert_false(amber_mount_find(f->fx.dir, NULL, &alive));
    assert_false(amber_mount_find("/no/such/path", NULL, &alive));
    assert_false(amber_mount_find("relative", NULL, &alive));
    assert_false(amber_mount_find("", NULL, &alive));
    char here[256];
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(chdir(mf_path(f, "flow_logs")), 0);
    assert_true(amber_mount_find("gz.json", &root, &alive));
    assert_true(alive);
    assert_string_equal(root, f->mnt);
    free(root);
    assert_true(amber_mount_find("not/there", NULL, &alive));
    assert_int_equal(chdir(here), 0);
}

static void wrong_mount_points_and_options_are_refused(void **state)
{
    struct mf *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_mount *m;
    mf_unmount(f);
    struct amber_mount_config cfg = mf_config(f);
    cfg.mountpoint = "/no/such/folder";
    assert_int_equal(amber_mount_new(&cfg, &m, &err), AMBER_E_NOT_FOUND);
    cfg.mountpoint = "relative";
    assert_int_equal(amber_mount_new(&cfg, &m, &err), AMBER_E_INVALID);
    cfg.mountpoint = mf_file("a file", "", 0);
    assert_int_equal(amber_mount_new(&cfg, &m, &err), AMBER_E_INVALID);
    cfg.mountpoint = f->mnt;
    cfg.options = "no_such_option";
    assert_int_equal(amber_mount_new(&cfg, &m, &err), AMBER_E_INVALID);
    assert_non_null(strstr(err.text, "no_such_option"));
    cfg.options = "allow_other";
    FX_OK(amber_mount_new(&cfg, &m, &err));
    amber_mount_free(m);
}

static void readahead_is_raised_for_root(void **state)
{
    struct mf *f = *state;
    if (geteuid() != 0)
        skip();
    /* Set by a thread after the first request: the loop waits for it, at most 10 s. */
    assert_int_equal(mf_sh(f, "ls $M > /dev/null; d=$(grep \" $M \" /proc/self/mountinfo | "
                              "cut -d' ' -f3); [ -e /sys/class/bdi/$d ] || exit 0; "
                              "for i in $(seq 1000); do "
                              "[ $(cat /sys/class/bdi/$d/read_ahead_kb) != 128 ] && exit 0; "
                              "sleep 0.01; done; exit 1"),
                     0);
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc == 4 && strcmp(argv[1], "--daemon") == 0)
        return run_daemon(argv[2], argv[3]);
    mf_guard();
#define T(name) cmocka_unit_test_setup_teardown(name, mf_setup, mf_teardown)
    const struct CMUnitTest tests[] = {
        T(new_archives_are_seen_at_once),
        T(changed_attributes_are_seen_at_once),
        T(open_file_reads_on_after_its_name_is_gone),
        T(hundred_thousand_archives_list_and_stay_small),
        T(listing_that_changes_meanwhile_loses_nothing),
        T(stop_ends_all_that_is_blocked),
        T(stop_before_serve_ends_at_once),
        T(many_short_lives),
        T(outside_unmount_ends_serve),
        T(outside_unmount_with_open_files_leaves_nothing),
        T(dead_mount_is_found_and_taken_away),
        T(mount_over_its_own_store_serves_it),
        T(find_knows_what_is_no_mount),
        T(wrong_mount_points_and_options_are_refused),
        T(readahead_is_raised_for_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
