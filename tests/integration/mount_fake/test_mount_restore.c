/*
 * test_mount_restore.c - files copied into .restore: what commits, what rolls back, and who is
 * told.
 */
#include "mount_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void expect_rows(struct mf *f, const struct amber_buf *want)
{
    pthread_mutex_lock(&f->fake.mutex);
    assert_int_equal(f->fake.rows.len, want->len);
    assert_memory_equal(f->fake.rows.data, want->data, want->len);
    pthread_mutex_unlock(&f->fake.mutex);
}

static void every_copying_program_commits_the_bytes(void **state)
{
    struct mf *f = *state;
    static const char *const commands[] = {
        "cp $M/flow_logs/gz.json $M/.restore/",
        "cp $M/flow_logs/gz.json $M/.restore/", /* the same name again, at once */
        "cp -p $T/rows.json $M/.restore/app.Orders/gz.json", "cp -a $T/rows.json $M/.restore/t/",
        "cat $T/rows.json > $M/.restore/t/a.json", "cat $T/rows.json >> $M/.restore/t/a.json",
        "dd if=$T/rows.json of=$M/.restore/t/a.json bs=1000 status=none",
        "dd if=$T/rows.json of=$M/.restore/t/a.json bs=4M conv=fsync status=none",
        "tee $M/.restore/t/a.json < $T/rows.json > /dev/null",
        "mv $T/moved.json $M/.restore/t/a.json",
        "tar -C $T -cf - rows.json | tar -C $M/.restore/t -xf -",
        "zstd -q -c $T/rows.json | zstd -q -d -o $M/.restore/t/a.json",
        "bash -c \"cat $T/rows.json > $M/.restore/t/a.json\"",
        "(head -n 10 $T/rows.json; sed 1,10d $T/rows.json) | cat > $M/.restore/t/a.json",
        /* leaves closing to exit */
        "python3 -c 'import os, sys; "
        "[os.write(1, l) for l in open(sys.argv[1], \"rb\")]; os._exit(0)' "
        "$T/rows.json > $M/.restore/t/a.json"};
    mf_file("rows.json", f->texts[0].data, f->texts[0].len);
    for (size_t i = 0; i < amber_countof(commands); i++) {
        mf_file("moved.json", f->texts[0].data, f->texts[0].len);
        pthread_mutex_lock(&f->fake.mutex);
        f->fake.events[0] = '\0';
        amber_buf_clear(&f->fake.rows);
        pthread_mutex_unlock(&f->fake.mutex);
        if (mf_sh(f, "%s", commands[i]) != 0)
            fail_msg("failed: %s", commands[i]);
        /* What close said is already true, but a process that exits can't be waited for by it. */
        fake_expect(&f->fake, "commit ");
        expect_rows(f, &f->texts[0]);
        assert_false(fake_saw(&f->fake, "rollback"));
    }
    assert_true(fake_saw(&f->fake, "commit t/a.json"));
    struct amber_mount_stats s;
    amber_mount_stats(f->mount, &s);
    assert_int_equal(s.restores, amber_countof(commands));
}

static void restore_folders_list_empty_and_can_not_be_read(void **state)
{
    struct mf *f = *state;
    struct stat st;
    AMBER_AUTO_FREE char *names = mf_out(f, "ls -A $M/.restore $M/.restore/t/");
    assert_null(strstr(names, "json"));
    assert_int_equal(stat(mf_path(f, ".restore/t"), &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0700);
    assert_int_equal(stat(mf_path(f, ".restore/x.json"), &st), -1);
    assert_int_equal(errno, ENOENT);
    int fd = open(mf_path(f, ".restore/t/x.json"), O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "abc\n", 4), 4);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 4);
    assert_int_equal(stat(mf_path(f, ".restore/t/x.json"), &st), 0);
    assert_int_equal(st.st_size, 4);
    assert_int_equal(open(mf_path(f, ".restore/t/x.json"), O_RDONLY), -1);
    assert_int_equal(errno, EACCES);
    assert_int_equal(open(mf_path(f, ".restore/t/x.json"), O_WRONLY | O_TRUNC), -1);
    assert_int_equal(errno, EBUSY);
    assert_int_equal(open(mf_path(f, ".restore/t/y.json"), O_RDWR | O_CREAT, 0600), -1);
    assert_int_equal(errno, EACCES);
    assert_int_equal(unlink(mf_path(f, ".restore/t/x.json")), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(mkdir(mf_path(f, ".restore/new"), 0700), -1);
    assert_int_equal(errno, EEXIST);
    assert_int_equal(close(fd), 0);
    assert_int_equal(stat(mf_path(f, ".restore/t/x.json"), &st), -1);
    fake_expect(&f->fake, "commit t/x.json 4;");
}

static void open_errors_reach_the_program(void **state)
{
    struct mf *f = *state;
    mf_file("x.json", "a\n", 2);
    mf_file("stranger.json", "a\n", 2);
    assert_int_equal(mf_sh(f, "cp $T/x.json $M/.restore/missing/ 2>/dev/null"), 1);
    assert_int_equal(open(mf_path(f, ".restore/missing/x.json"), O_WRONLY | O_CREAT, 0600), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(mf_sh(f, "cp $T/stranger.json $M/.restore/ 2>/dev/null"), 1);
    assert_int_equal(open(mf_path(f, ".restore/stranger.json"), O_WRONLY | O_CREAT, 0600), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(mf_sh(f, "grep -q 'restore .restore/missing/x.json refused: there is no "
                              "table' $M/.control/log"),
                     0);
}

static void failures_reach_cp_cat_and_dd(void **state)
{
    struct mf *f = *state;
    mf_file("badrow.json", "good\nBAD\nmore\n", 14);
    mf_file("full.json", "good\n", 5);
    mf_file("cut.json", "good\nhal", 8);
    static const char *const names[] = {"badrow", "full", "cut"};
    for (size_t i = 0; i < amber_countof(names); i++) {
        const char *n = names[i];
        char rolled[64];
        assert_int_equal(mf_sh(f, "cp $T/%s.json $M/.restore/t/ 2>/dev/null", n), 1);
        assert_int_equal(mf_sh(f, "cat $T/%s.json 2>/dev/null > $M/.restore/t/%s.json", n, n), 1);
        assert_int_equal(
            mf_sh(f, "dd if=$T/%s.json of=$M/.restore/t/%s.json status=none 2>/dev/null", n, n), 1);
        assert_int_equal(mf_sh(f, "tee $M/.restore/t/%s.json < $T/%s.json > /dev/null 2>&1", n, n),
                         1);
        snprintf(rolled, sizeof(rolled), "rollback t/%s.json;", n);
        fake_expect(&f->fake, rolled);
    }
    assert_false(fake_saw(&f->fake, "commit"));
    int fd = open(mf_path(f, ".restore/t/full.json"), O_WRONLY | O_CREAT, 0600);
    int second = dup(fd);
    assert_int_equal(write(fd, "row\n", 4), 4);
    assert_int_equal(close(fd), -1);
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(write(second, "row\n", 4), -1);
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(close(second), -1); /* sticky */
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(mf_sh(f, "grep -q 'rolled back: the last line has no line break' "
                              "$M/.control/log && "
                              "grep -q 'rolled back: line 2, column 3' $M/.control/log"),
                     0);
}

static void holes_and_rewriting_are_refused(void **state)
{
    struct mf *f = *state;
    int fd = open(mf_path(f, ".restore/t/x.json"), O_WRONLY | O_CREAT, 0600);
    assert_int_equal(pwrite(fd, "row\n", 4, 0), 4);
    assert_int_equal(pwrite(fd, "row\n", 4, 4096), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(pwrite(fd, "row\n", 4, 4), -1); /* sticky */
    assert_int_equal(close(fd), -1);
    fake_expect(&f->fake, "rollback t/x.json;");
    fd = open(mf_path(f, ".restore/t/y.json"), O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "row\n", 4), 4);
    assert_int_equal(pwrite(fd, "raw\n", 4, 0), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(close(fd), -1);
    fake_expect(&f->fake, "rollback t/y.json;");
    char zeros[65536] = {0};
    mf_file("holes.json", zeros, sizeof(zeros));
    assert_int_equal(mf_sh(f, "echo row >> $T/holes.json; cp --sparse=always $T/holes.json "
                              "$M/.restore/t/ 2>/dev/null"),
                     1);
    assert_false(fake_saw(&f->fake, "commit"));
}

static void what_copying_programs_set_is_accepted_without_effect(void **state)
{
    struct mf *f = *state;
    const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 2}};
    int fd = open(mf_path(f, ".restore/t/x.json"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(fchmod(fd, 0644), 0);
    assert_int_equal(fchown(fd, getuid(), getgid()), 0);
    assert_int_equal(futimens(fd, times), 0);
    assert_int_equal(write(fd, "row\n", 4), 4);
    assert_int_equal(ftruncate(fd, 4), 0);
    assert_int_equal(ftruncate(fd, 100), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(close(fd), 0);
    fake_expect(&f->fake, "commit t/x.json 4;");
}

static void dup_before_the_first_byte_commits_nothing(void **state)
{
    struct mf *f = *state;
    int fd = open(mf_path(f, ".restore/t/x.json"), O_WRONLY | O_CREAT, 0600);
    assert_int_equal(close(dup(fd)), 0); /* as a shell does for `cmd > file` */
    assert_int_equal(write(fd, "row\n", 4), 4);
    assert_false(fake_saw(&f->fake, "finish"));
    assert_int_equal(close(fd), 0);
    fake_expect(&f->fake, "commit t/x.json 4;");
}

static void child_that_closes_what_it_inherited_commits_nothing(void **state)
{
    struct mf *f = *state;
    mf_file("rows.json", f->texts[0].data, f->texts[0].len);
    /* The writer starts programs while it writes; each closes the file at its end or at exec. */
    assert_int_equal(mf_sh(f, "python3 -c '\n"
                              "import os, subprocess, sys\n"
                              "fd = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)\n"
                              "os.set_inheritable(fd, True)\n"
                              "for i, line in enumerate(open(sys.argv[1], \"rb\")):\n"
                              "    os.write(fd, line)\n"
                              "    if i in (5, 50):\n"
                              "        subprocess.run([\"true\"], close_fds=False)\n"
                              "        subprocess.run([\"true\"])\n"
                              "        if os.fork() == 0: os._exit(0)\n"
                              "os.close(fd)' $T/rows.json $M/.restore/t/x.json"),
                     0);
    fake_expect(&f->fake, "commit t/x.json");
    expect_rows(f, &f->texts[0]);
}

static void killed_writer_rolls_back(void **state)
{
    struct mf *f = *state;
    static const int signals[] = {SIGKILL, SIGTERM, SIGINT};
    for (size_t i = 0; i < amber_countof(signals); i++) {
        char name[64], event[96];
        int fds[2], status;
        snprintf(name, sizeof(name), ".restore/t/k%zu.json", i);
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        char path[256];
        snprintf(path, sizeof(path), "%s", mf_path(f, name));
        pid_t pid = fork();
        if (pid == 0) {
            signal(signals[i], SIG_DFL);
            int fd = open(path, O_WRONLY | O_CREAT, 0600);
            ssize_t n = write(fd, "row\n", 4); /* ends in a line break: could be committed */
            n = write(fds[1], "x", 1);
            (void)n;
            for (;;)
                pause();
        }
        char c;
        assert_int_equal(read(fds[0], &c, 1), 1);
        kill(pid, signals[i]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        snprintf(event, sizeof(event), "rollback t/k%zu.json;", i);
        fake_expect(&f->fake, event);
        close(fds[0]);
        close(fds[1]);
    }
    assert_false(fake_saw(&f->fake, "commit"));
    assert_int_equal(mf_sh(f, "grep -q 'its writer was killed' $M/.control/log"), 0);
}

static void failed_writer_rolls_back(void **state)
{
    struct mf *f = *state;
    assert_int_equal(mf_sh(f, "python3 -c 'import os; os.write(1, b\"row\\n\"); os._exit(3)' "
                              "> $M/.restore/t/x.json"),
                     3);
    fake_expect(&f->fake, "rollback t/x.json;");
    assert_int_equal(mf_sh(f, "python3 -c 'import os; os.write(1, b\"row\\n\"); os.abort()' "
                              "> $M/.restore/t/y.json 2>/dev/null"),
                     128 + SIGABRT);
    fake_expect(&f->fake, "rollback t/y.json;");
    assert_false(fake_saw(&f->fake, "commit"));
}

static void shell_with_several_writers(void **state)
{
    struct mf *f = *state;
    mf_file("a", "a\n", 2);
    /* Builtins of one shell are one writer. */
    assert_int_equal(mf_sh(f, "(echo a; echo b) > $M/.restore/t/one.json"), 0);
    fake_expect(&f->fake, "commit t/one.json 4;");
    /* Two programs each close it: the first close commits, the second program is told. */
    assert_int_equal(mf_sh(f, "(cat $T/a; cat $T/a) > $M/.restore/t/two.json 2>/dev/null"), 1);
    fake_expect(&f->fake, "commit t/two.json 2;");
    assert_int_equal(mf_sh(f, "grep -q 'two.json: bytes came after a close' $M/.control/log"), 0);
}

static void empty_file_restores_nothing(void **state)
{
    struct mf *f = *state;
    mf_file("empty.json", "", 0);
    assert_int_equal(mf_sh(f, "cp $T/empty.json $M/.restore/t/"), 0);
    fake_expect(&f->fake, "rollback t/empty.json;");
    assert_int_equal(mf_sh(f, "grep -q 'empty.json: rolled back: nothing was written' "
                              "$M/.control/log"),
                     0);
}

struct job {
    char path[256];
    size_t bytes;
    int close_rc, e;
    ssize_t written;
    atomic_int tid;
    atomic_bool ended;
};

static void *write_and_close(void *arg)
{
    struct job *j = arg;
    char *buf = malloc(j->bytes);
    atomic_store(&j->tid, gettid());
    memset(buf, '\n', j->bytes);
    int fd = open(j->path, O_WRONLY | O_CREAT, 0600);
    j->written = fd < 0 ? -1 : write(fd, buf, j->bytes);
    j->e = errno;
    j->close_rc = close(fd);
    if (j->written == (ssize_t)j->bytes)
        j->e = errno;
    free(buf);
    atomic_store(&j->ended, true);
    return NULL;
}

static void on_signal(int sig)
{
    (void)sig;
}

static void interrupt(struct job *j, pthread_t thread)
{
    struct sigaction action = {.sa_handler = on_signal}, old;
    sigaction(SIGINT, &action, &old);
    while (!atomic_load(&j->ended)) {
        pthread_kill(thread, SIGINT);
        sched_yield();
    }
    pthread_join(thread, NULL);
    sigaction(SIGINT, &old, NULL);
}

static void interrupted_commit_is_canceled(void **state)
{
    struct mf *f = *state;
    struct job j = {.bytes = 10};
    pthread_t thread;
    snprintf(j.path, sizeof(j.path), "%s", mf_path(f, ".restore/t/slow.json"));
    assert_int_equal(pthread_create(&thread, NULL, write_and_close, &j), 0);
    fake_expect(&f->fake, "finish t/slow.json;");
    interrupt(&j, thread);
    assert_int_equal(j.written, 10);
    assert_int_equal(j.close_rc, -1);
    assert_int_equal(j.e, EINTR);
    fake_expect(&f->fake, "rollback t/slow.json;");
}

static void blocked_sink_bounds_what_is_taken(void **state)
{
    struct mf *f = *state;
    struct job j = {.bytes = 20U << 20};
    pthread_t thread;
    snprintf(j.path, sizeof(j.path), "%s", mf_path(f, ".restore/t/block.json"));
    assert_int_equal(pthread_create(&thread, NULL, write_and_close, &j), 0);
    fake_expect(&f->fake, "write t/block.json;");
    interrupt(&j, thread);
    /* What was taken before the signal: the queue's 4 MiB, not 20. */
    assert_true(j.written < (ssize_t)(6U << 20));
    fake_open_gate(&f->fake, true);
    fake_expect(&f->fake, "t/block.json");
}

static char thread_state(int tid)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof(text), f));
    fclose(f);
    return strrchr(text, ')')[2];
}

/* A timer of the program, say: it goes on waiting, which is sleep of another kind (D) once the kernel
 * has told of the signal. */
static void signal_that_asks_for_no_end_is_waited_out(void **state)
{
    struct mf *f = *state;
    struct job j = {.bytes = 20U << 20};
    struct sigaction action = {.sa_handler = on_signal}, old;
    pthread_t thread;
    sigaction(SIGALRM, &action, &old);
    snprintf(j.path, sizeof(j.path), "%s", mf_path(f, ".restore/t/block.json"));
    assert_int_equal(pthread_create(&thread, NULL, write_and_close, &j), 0);
    fake_expect(&f->fake, "write t/block.json;");
    while (thread_state(atomic_load(&j.tid)) != 'D') {
        pthread_kill(thread, SIGALRM);
        sched_yield();
    }
    fake_open_gate(&f->fake, true);
    pthread_join(thread, NULL);
    sigaction(SIGALRM, &old, NULL);
    assert_int_equal(j.written, j.bytes);
    assert_int_equal(j.close_rc, 0);
    fake_expect(&f->fake, "commit t/block.json 20971520;");
}

static void large_file_goes_through_a_small_queue(void **state)
{
    struct mf *f = *state;
    struct job j = {.bytes = 50U << 20};
    pthread_t thread;
    fake_open_gate(&f->fake, true);
    snprintf(j.path, sizeof(j.path), "%s", mf_path(f, ".restore/t/block.json"));
    assert_int_equal(pthread_create(&thread, NULL, write_and_close, &j), 0);
    pthread_join(thread, NULL);
    assert_int_equal(j.written, j.bytes);
    assert_int_equal(j.close_rc, 0);
    fake_expect(&f->fake, "commit t/block.json 52428800;");
}

static void interrupted_open_leaves_nothing(void **state)
{
    struct mf *f = *state;
    struct job j = {.bytes = 10};
    pthread_t thread;
    snprintf(j.path, sizeof(j.path), "%s", mf_path(f, ".restore/t/openslow.json"));
    assert_int_equal(pthread_create(&thread, NULL, write_and_close, &j), 0);
    fake_expect(&f->fake, "open t/openslow.json;");
    interrupt(&j, thread);
    assert_int_equal(j.written, -1);
    assert_int_equal(j.e, EINTR);
    fake_open_gate(&f->fake, true);
    fake_expect(&f->fake, "rollback t/openslow.json;");
    assert_int_equal(mf_sh(f, "cp $M/flow_logs/gz.json $M/.restore/t/openslow.json"), 0);
}

static void too_many_restores_are_refused(void **state)
{
    struct mf *f = *state;
    int fds[16];
    char name[64];
    for (int i = 0; i < 16; i++) {
        snprintf(name, sizeof(name), ".restore/t/%d.json", i);
        fds[i] = open(mf_path(f, name), O_WRONLY | O_CREAT, 0600);
        assert_true(fds[i] >= 0);
    }
    assert_int_equal(open(mf_path(f, ".restore/t/16.json"), O_WRONLY | O_CREAT, 0600), -1);
    assert_int_equal(errno, EBUSY);
    for (int i = 0; i < 16; i++) {
        assert_int_equal(write(fds[i], "x\n", 2), 2);
        assert_int_equal(close(fds[i]), 0);
    }
    fake_expect(&f->fake, "commit t/15.json 2;");
}

int main(void)
{
    mf_guard();
#define T(name) cmocka_unit_test_setup_teardown(name, mf_setup, mf_teardown)
    const struct CMUnitTest tests[] = {
        T(every_copying_program_commits_the_bytes),
        T(restore_folders_list_empty_and_can_not_be_read),
        T(open_errors_reach_the_program),
        T(failures_reach_cp_cat_and_dd),
        T(holes_and_rewriting_are_refused),
        T(what_copying_programs_set_is_accepted_without_effect),
        T(dup_before_the_first_byte_commits_nothing),
        T(child_that_closes_what_it_inherited_commits_nothing),
        T(killed_writer_rolls_back),
        T(failed_writer_rolls_back),
        T(shell_with_several_writers),
        T(empty_file_restores_nothing),
        T(interrupted_commit_is_canceled),
        T(blocked_sink_bounds_what_is_taken),
        T(signal_that_asks_for_no_end_is_waited_out),
        T(large_file_goes_through_a_small_queue),
        T(interrupted_open_leaves_nothing),
        T(too_many_restores_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
