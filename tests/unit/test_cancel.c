/*
 * test_cancel.c - a request to stop is seen by flag and by descriptor, and stays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <cmocka.h>

#include "amber/cancel.h"

static int readable(const struct amber_cancel *c, int timeout_ms)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};

    return poll(&p, 1, timeout_ms) == 1;
}

static struct amber_cancel new_cancel(void)
{
    struct amber_cancel c;
    struct amber_err err = AMBER_ERR_INIT;

    assert_int_equal(amber_cancel_init(&c, &err), AMBER_OK);
    return c;
}

static void check_before_set_is_ok(void **state)
{
    struct amber_cancel c = new_cancel();
    struct amber_err err = AMBER_ERR_INIT;

    (void)state;
    assert_int_equal(amber_cancel_check(&c, &err), AMBER_OK);
    assert_int_equal(amber_cancel_check(NULL, &err), AMBER_OK);
    assert_false(readable(&c, 0));
    amber_cancel_clear(&c);
}

static void check_after_set_is_canceled_for_good(void **state)
{
    struct amber_cancel c = new_cancel();
    struct amber_err err = AMBER_ERR_INIT;

    (void)state;
    errno = EXDEV;
    amber_cancel_set(&c);
    amber_cancel_set(&c);
    assert_int_equal(errno, EXDEV);
    assert_true(readable(&c, 0));
    assert_true(readable(&c, 0));
    assert_true(amber_cancel_is_set(&c));
    assert_int_equal(amber_cancel_check(&c, &err), AMBER_E_CANCELED);
    amber_cancel_clear(&c);
    assert_int_equal(c.fd, -1);
}

static void reset_is_clear_again(void **state)
{
    struct amber_cancel c = new_cancel();

    (void)state;
    amber_cancel_reset(&c);
    amber_cancel_set(&c);
    amber_cancel_set(&c);
    amber_cancel_reset(&c);
    assert_false(amber_cancel_is_set(&c));
    assert_false(readable(&c, 0));
    amber_cancel_set(&c);
    assert_true(amber_cancel_is_set(&c));
    assert_true(readable(&c, 0));
    amber_cancel_clear(&c);
}

static void *set_it(void *arg)
{
    amber_cancel_set(arg);
    return NULL;
}

static void set_by_another_thread_ends_a_poll(void **state)
{
    struct amber_cancel c = new_cancel();
    pthread_t t;

    (void)state;
    assert_int_equal(pthread_create(&t, NULL, set_it, &c), 0);
    assert_true(readable(&c, -1));
    assert_true(amber_cancel_is_set(&c));
    pthread_join(t, NULL);
    amber_cancel_clear(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_before_set_is_ok),
        cmocka_unit_test(check_after_set_is_canceled_for_good),
        cmocka_unit_test(reset_is_clear_again),
        cmocka_unit_test(set_by_another_thread_ends_a_poll),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
