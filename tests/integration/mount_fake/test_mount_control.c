/*
 * test_mount_control.c - status, commands whose failure is the write's own, the log, following it,
 * waiting for jobs, signals.
 */
#include "mount_fixture.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>

extern char **environ;

static void texts_are_whole_with_size_zero(void **state)
{
    struct mf *f = *state;
    AMBER_AUTO_FREE char *status = mf_out(f, "cat $M/.status; stat -c %%s $M/.status");
    assert_string_equal(status, "{\"version\": \"fake\"}\n0\n");
    AMBER_AUTO_FREE char *tail = mf_out(f, "tail -c 6 $M/.status; head -c 3 $M/.metrics");
    assert_string_equal(tail, "ake\"}\namb");
    amber_info("a line that is in the log");
    assert_int_equal(mf_sh(f, "grep -q 'a line that is in the log' $M/.control/log"), 0);
    assert_int_equal(mf_sh(f, "grep -q \"job's name\" $M/.control/trigger"), 0);
}

/* errno of one write of text to a control file, 0 if it took all of it. */
static int write_errno(const struct mf *f, const char *file, const char *text, size_t len)
{
    int fd = open(mf_path(f, file), O_WRONLY | O_TRUNC);
    assert_true(fd >= 0);
    ssize_t n = write(fd, text, len);
    int e = n < 0 ? errno : 0;
    if (n >= 0)
        assert_int_equal(n, len);
    assert_int_equal(close(fd), 0);
    return e;
}

static void commands_fail_in_the_write_itself(void **state)
{
    struct mf *f = *state;
    static char big[70000];
    assert_int_equal(write_errno(f, ".control/trigger", "alpha\n", 6), 0);
    assert_int_equal(write_errno(f, ".control/cancel", "alpha", 5), 0);
    assert_int_equal(write_errno(f, ".control/trigger", "nobody\n", 7), ENOENT);
    assert_int_equal(write_errno(f, ".control/verify", "invalid\n", 8), EINVAL);
    assert_int_equal(write_errno(f, ".control/trigger", "slow\r\n", 6), 0);
    assert_int_equal(write_errno(f, ".control/trigger", "slow\n", 5), EBUSY);
    assert_int_equal(write_errno(f, ".control/trigger", "\n", 1), EINVAL);
    assert_int_equal(write_errno(f, ".control/trigger", "al\0pha\n", 7), EINVAL);
    memset(big, 'x', sizeof(big));
    assert_int_equal(write_errno(f, ".control/restore", big, 5000), EINVAL);
    assert_int_equal(write_errno(f, ".control/restore", big, sizeof(big)), EINVAL);
    assert_true(fake_saw(&f->fake, "control 1 alpha;"));
    assert_true(fake_saw(&f->fake, "control 0 slow;"));
    assert_true(fake_saw(&f->fake, "audit control .control/verify;"));
    assert_int_equal(mf_sh(f, "grep -q 'no job \"nobody\"' $M/.control/log"), 0);
    /* What a shell tells of it. */
    assert_int_equal(mf_sh(f, "echo alpha > $M/.control/trigger"), 0);
    assert_int_equal(mf_sh(f, "echo nobody 2>/dev/null > $M/.control/trigger"), 1);
    assert_int_equal(mf_sh(f, "bash -c \"echo nobody > $M/.control/trigger\" 2>/dev/null"), 1);
    assert_int_equal(mf_sh(f, "echo nobody | tee $M/.control/trigger > /dev/null 2>&1"), 1);
    struct amber_mount_stats s;
    amber_mount_stats(f->mount, &s);
    assert_true(s.control_writes >= 8);
}

static void several_lines_stop_at_the_first_refused(void **state)
{
    struct mf *f = *state;
    int fd = open(mf_path(f, ".control/trigger"), O_WRONLY);
    assert_int_equal(write(fd, "alpha\nnobody\nslow\n", 18), 6);
    assert_int_equal(write(fd, "nobody\nslow\n", 12), -1);
    assert_int_equal(errno, ENOENT);
    assert_false(fake_saw(&f->fake, "control 0 slow;"));
    close(fd);
    assert_int_equal(mf_sh(f, "printf 'alpha\\n\\nslow\\n' > $M/.control/trigger"), 0);
    assert_true(fake_saw(&f->fake, "control 0 slow;"));
}

static pid_t start(const char *program, const char *path, int out_fd)
{
    posix_spawn_file_actions_t actions;
    char *argv[] = {(char *)(uintptr_t)program, (char *)(uintptr_t)path, NULL};
    pid_t pid;
    posix_spawn_file_actions_init(&actions);
    if (out_fd >= 0)
        posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO);
    assert_int_equal(posix_spawnp(&pid, program, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static void expect_line(FILE *out, const char *text)
{
    char line[4096];
    while (fgets(line, sizeof(line), out))
        if (strstr(line, text))
            return;
    fail_msg("the end came before \"%s\"", text);
}

static void follow_gives_old_lines_then_new_ones(void **state)
{
    struct mf *f = *state;
    int fds[2], status;
    amber_info("an old line");
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = start("cat", mf_path(f, ".control/follow"), fds[1]);
    close(fds[1]);
    FILE *out = fdopen(fds[0], "r");
    expect_line(out, "an old line");
    for (int i = 0; i < 50; i++) {
        char text[32];
        snprintf(text, sizeof(text), "new line %d;", i);
        amber_info("%s", text);
        expect_line(out, text);
    }
    kill(pid, SIGINT);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    fclose(out);
}

static void follow_read_bytewise_misses_nothing(void **state)
{
    struct mf *f = *state;
    int fd = open(mf_path(f, ".control/follow"), O_RDONLY | O_NONBLOCK);
    char c, last[4096] = "";
    size_t n = 0;
    ssize_t got;
    amber_info("bytewise 0123456789");
    while ((got = read(fd, &c, 1)) == 1) {
        last[n++ % sizeof(last)] = c;
        if (c == '\n' && !memmem(last, n, "bytewise 0123456789\n", 20))
            n = 0;
    }
    assert_int_equal(got, -1);
    assert_int_equal(errno, EAGAIN);
    assert_non_null(memmem(last, n, "bytewise 0123456789\n", 20));
    assert_int_equal(lseek(fd, 0, SEEK_SET), -1);
    close(fd);
}

struct reader {
    char path[256];
    ssize_t n;
    int e;
    atomic_bool ended;
    char text[256];
};

static void on_signal(int sig)
{
    (void)sig;
}

static void *read_once(void *arg)
{
    struct reader *r = arg;
    int fd = open(r->path, O_RDONLY);
    r->n = fd < 0 ? -2 : read(fd, r->text, sizeof(r->text) - 1);
    r->e = errno;
    close(fd);
    atomic_store(&r->ended, true);
    return NULL;
}

/* The signal is sent until the read ended: it may come before the read began. */
static void interrupt_reader(struct reader *r, pthread_t thread)
{
    struct sigaction action = {.sa_handler = on_signal}, old;
    sigaction(SIGUSR1, &action, &old);
    while (!atomic_load(&r->ended)) {
        pthread_kill(thread, SIGUSR1);
        sched_yield();
    }
    pthread_join(thread, NULL);
    sigaction(SIGUSR1, &old, NULL);
}

struct follower {
    struct reader r;
    int fd;
};

static void *read_on(void *arg)
{
    struct follower *w = arg;
    w->r.n = read(w->fd, w->r.text, sizeof(w->r.text));
    w->r.e = errno;
    atomic_store(&w->r.ended, true);
    return NULL;
}

static void blocked_follow_is_interrupted_and_goes_on(void **state)
{
    struct mf *f = *state;
    struct follower w = {.fd = open(mf_path(f, ".control/follow"), O_RDONLY | O_NONBLOCK)};
    char text[4096];
    pthread_t thread;
    while (read(w.fd, text, sizeof(text)) > 0)
        ;
    assert_int_equal(fcntl(w.fd, F_SETFL, 0), 0); /* behind the last line, reads block */
    assert_int_equal(pthread_create(&thread, NULL, read_on, &w), 0);
    interrupt_reader(&w.r, thread);
    assert_int_equal(w.r.n, -1);
    assert_int_equal(w.r.e, EINTR);
    amber_info("the next line");
    assert_true(read(w.fd, text, sizeof(text)) > 0);
    close(w.fd);
}

static void blocked_wait_is_interrupted(void **state)
{
    struct mf *f = *state;
    struct reader r = {.n = 0};
    pthread_t thread;
    snprintf(r.path, sizeof(r.path), "%s", mf_path(f, ".control/wait/slow"));
    assert_int_equal(mf_sh(f, "echo slow > $M/.control/trigger"), 0);
    assert_int_equal(pthread_create(&thread, NULL, read_once, &r), 0);
    fake_expect_waiting(&f->fake, 1);
    interrupt_reader(&r, thread);
    assert_int_equal(r.n, -1);
    assert_int_equal(r.e, EINTR);
    fake_expect_waiting(&f->fake, 0);
}

static void wait_returns_when_the_job_ends(void **state)
{
    struct mf *f = *state;
    enum { N = 20 };
    struct reader r[N];
    pthread_t threads[N];
    AMBER_AUTO_FREE char *idle = mf_out(f, "cat $M/.control/wait/slow");
    assert_string_equal(idle, "job: slow\nstate: ok\n");
    assert_int_equal(mf_sh(f, "echo slow > $M/.control/trigger"), 0);
    for (size_t i = 0; i < N; i++) {
        r[i] = (struct reader){.n = 0};
        snprintf(r[i].path, sizeof(r[i].path), "%s", mf_path(f, ".control/wait/slow"));
        assert_int_equal(pthread_create(&threads[i], NULL, read_once, &r[i]), 0);
    }
    fake_expect_waiting(&f->fake, N);
    assert_int_equal(mf_sh(f, "cat $M/.control/wait/alpha > /dev/null"), 0);
    fake_end_job(&f->fake);
    for (size_t i = 0; i < N; i++) {
        pthread_join(threads[i], NULL);
        assert_true(r[i].n > 0);
        assert_string_equal(r[i].text, "job: slow\nstate: ok\n");
    }
}

static void waiting_cat_ends_by_ctrl_c(void **state)
{
    struct mf *f = *state;
    int status;
    assert_int_equal(mf_sh(f, "echo slow > $M/.control/trigger"), 0);
    pid_t pid = start("cat", mf_path(f, ".control/wait/slow"), -1);
    fake_expect_waiting(&f->fake, 1);
    kill(pid, SIGINT);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    fake_expect_waiting(&f->fake, 0);
    pid = start("cat", mf_path(f, ".control/wait/slow"), -1);
    fake_expect_waiting(&f->fake, 1);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    fake_expect_waiting(&f->fake, 0);
}

static void *write_stuck(void *arg)
{
    struct reader *r = arg;
    int fd = open(r->path, O_WRONLY);
    r->n = write(fd, "stuck\n", 6);
    r->e = errno;
    close(fd);
    atomic_store(&r->ended, true);
    return NULL;
}

static void blocked_command_lets_its_writer_go(void **state)
{
    struct mf *f = *state;
    struct reader r = {.n = 0};
    pthread_t thread;
    snprintf(r.path, sizeof(r.path), "%s", mf_path(f, ".control/verify"));
    assert_int_equal(pthread_create(&thread, NULL, write_stuck, &r), 0);
    fake_expect_stuck(&f->fake, 1);
    interrupt_reader(&r, thread);
    assert_int_equal(r.n, -1);
    assert_int_equal(r.e, EINTR);
    fake_open_gate(&f->fake, true);
    fake_expect_stuck(&f->fake, 0);
}

/* More threads than the mount lets wait: refused, not queued; then all is as before. */
static void too_many_waits_are_refused(void **state)
{
    struct mf *f = *state;
    enum { N = 230 };
    static struct reader r[N];
    static pthread_t threads[N];
    size_t refused = 0;
    assert_int_equal(mf_sh(f, "echo slow > $M/.control/trigger"), 0);
    for (size_t i = 0; i < N; i++) {
        r[i] = (struct reader){.n = 0};
        snprintf(r[i].path, sizeof(r[i].path), "%s", mf_path(f, ".control/wait/slow"));
        assert_int_equal(pthread_create(&threads[i], NULL, read_once, &r[i]), 0);
    }
    fake_expect_waiting(&f->fake, 160);
    for (size_t ended = 0; ended < N - 160; sched_yield()) {
        ended = 0;
        for (size_t i = 0; i < N; i++)
            ended += atomic_load(&r[i].ended);
    }
    /* Commands and .status still have threads. */
    assert_int_equal(mf_sh(f, "cat $M/.status > /dev/null && echo alpha > $M/.control/cancel"), 0);
    fake_end_job(&f->fake);
    for (size_t i = 0; i < N; i++) {
        pthread_join(threads[i], NULL);
        if (r[i].n < 0) {
            assert_int_equal(r[i].e, EAGAIN);
            refused++;
        }
    }
    assert_int_equal(refused, N - 160);
}

static void read_only_mount_has_no_commands(void **state)
{
    struct mf *f = *state;
    mf_unmount(f);
    mf_mount(f, NULL, true);
    assert_int_equal(mf_sh(f, "cat $M/.status $M/.control/log $M/.control/wait/alpha > /dev/null"),
                     0);
    AMBER_AUTO_FREE char *names = mf_out(f, "ls $M/.control | tr '\\n' ' '");
    assert_string_equal(names, "follow log wait ");
    assert_int_equal(access(mf_path(f, ".control/trigger"), F_OK), -1);
    assert_int_equal(access(mf_path(f, ".restore"), F_OK), -1);
    assert_int_equal(open(mf_path(f, "new"), O_WRONLY | O_CREAT, 0600), -1);
    assert_int_equal(errno, EROFS);
    assert_int_equal(mf_sh(f, "cat $M/flow_logs/gz.json > /dev/null"), 0);
}

int main(void)
{
    mf_guard();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(texts_are_whole_with_size_zero, mf_setup, mf_teardown),
        cmocka_unit_test_setup_teardown(commands_fail_in_the_write_itself, mf_setup, mf_teardown),
        cmocka_unit_test_setup_teardown(several_lines_stop_at_the_first_refused, mf_setup,
                                        mf_teardown),
        cmocka_unit_test_setup_teardown(follow_gives_old_lines_then_new_ones, mf_setup,
                                        mf_teardown),
        cmocka_unit_test_setup_teardown(follow_read_bytewise_misses_nothing, mf_setup, mf_teardown),
        cmocka_unit_test_setup_teardown(blocked_follow_is_interrupted_and_goes_on, mf_setup,
                                        mf_teardown),
        cmocka_unit_test_setup_teardown(blocked_wait_is_interrupted, mf_setup, mf_teardown),
        cmocka_unit_test_setup_teardown(wait_returns_when_the_job_ends, mf_setup, mf_teardown),
        cmocka_unit_test_setup_teardown(waiting_cat_ends_by_ctrl_c, mf_setup, mf_teardown),
        cmocka_unit_test_setup_teardown(blocked_command_lets_its_writer_go, mf_setup, mf_teardown),
        cmocka_unit_test_setup_teardown(too_many_waits_are_refused, mf_setup, mf_teardown),
        cmocka_unit_test_setup_teardown(read_only_mount_has_no_commands, mf_setup, mf_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
