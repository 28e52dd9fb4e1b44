/*
 * test_failpoint.c - named steps fail, kill, stop or wait at the wished pass and no other.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "amber/failpoint.h"

static enum amber_rc step(const char *name)
{
    struct amber_err err = AMBER_ERR_INIT;

    return amber_failpoint(name, &err);
}

static void step_without_wish_passes(void **state)
{
    (void)state;
    amber_failpoint_set(NULL);
    assert_int_equal(step("a"), AMBER_OK);
    amber_failpoint_set("");
    assert_int_equal(step("a"), AMBER_OK);
}

static void wish_for_error_fails_that_step_once(void **state)
{
    (void)state;
    amber_failpoint_set("a=error");
    assert_int_equal(step("ab"), AMBER_OK);
    assert_int_equal(step("a"), AMBER_E_IO);
    assert_int_equal(step("a"), AMBER_OK);
    amber_failpoint_set(NULL);
}

static void wish_for_nth_pass_counts(void **state)
{
    (void)state;
    amber_failpoint_set("a:3=error");
    assert_int_equal(step("a"), AMBER_OK);
    assert_int_equal(step("b"), AMBER_OK);
    assert_int_equal(step("a"), AMBER_OK);
    assert_int_equal(step("a"), AMBER_E_IO);
    assert_int_equal(step("a"), AMBER_OK);
    amber_failpoint_set(NULL);
}

static void wish_with_typing_error_fails_every_step(void **state)
{
    static const char *const wrong[] = {":1", "a:0", "a:x", "a:1x", "a=fail", "a:2=", "=error"};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        amber_failpoint_set(wrong[i]);
        assert_int_equal(step("zzz"), AMBER_E_INVALID);
    }
    amber_failpoint_set(NULL);
}

/* Pass the step in a child process; gives what waitpid saw. */
static int status_of_child(const char *spec)
{
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        amber_failpoint_set(spec);
        _exit(step("a") == AMBER_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    if (WIFSTOPPED(status)) {
        int rest;
        kill(pid, SIGKILL);
        waitpid(pid, &rest, 0);
    }
    return status;
}

static void wish_without_action_kills(void **state)
{
    int status = status_of_child("a");

    (void)state;
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void wish_for_stop_stops(void **state)
{
    int status = status_of_child("a=stop");

    (void)state;
    assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
}

static void wish_for_pause_tells_the_step_and_waits(void **state)
{
    char dir[] = "/tmp/amberfs-step.XXXXXX", fifo[64], go[64], said[8] = "";
    int status = 0;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(fifo, sizeof(fifo), "%s/f", dir);
    snprintf(go, sizeof(go), "%s/f.go", dir);
    assert_int_equal(setenv("AMBER_FAILPOINT_FIFO", fifo, 1), 0);
    amber_failpoint_set("a=pause");
    assert_int_equal(step("a"), AMBER_E_INVALID); /* no FIFOs */
    assert_int_equal(mkfifo(fifo, 0600) | mkfifo(go, 0600), 0);
    int in = open(fifo, O_RDWR), out = open(go, O_RDWR);
    assert_true(in >= 0 && out >= 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        amber_failpoint_set("a=pause");
        _exit(step("a") == AMBER_OK ? 7 : 1);
    }
    assert_int_equal(read(in, said, 2), 2);
    assert_string_equal(said, "a\n");
    assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
    assert_int_equal(write(out, "x", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    close(in);
    close(out);
    unlink(fifo);
    unlink(go);
    rmdir(dir);
    unsetenv("AMBER_FAILPOINT_FIFO");
    amber_failpoint_set(NULL);
}

static void environment_is_read_at_the_first_step(void **state)
{
    (void)state;
    /* Runs first, see main: the variable was set before any step was passed. */
    assert_int_equal(step("from-env"), AMBER_E_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(environment_is_read_at_the_first_step),
        cmocka_unit_test(step_without_wish_passes),
        cmocka_unit_test(wish_for_error_fails_that_step_once),
        cmocka_unit_test(wish_for_nth_pass_counts),
        cmocka_unit_test(wish_with_typing_error_fails_every_step),
        cmocka_unit_test(wish_without_action_kills),
        cmocka_unit_test(wish_for_stop_stops),
        cmocka_unit_test(wish_for_pause_tells_the_step_and_waits),
    };
    setenv("AMBER_FAILPOINT", "from-env=error", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
