/*
 * test_err.c - the error record: texts, cuts and the two mappings.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "amber/err.h"

static void fail_with_format_fills_the_record(void **state)
{
    struct amber_err err = {.sys_errno = 5, .sqlstate = "23505"};

    (void)state;
    assert_int_equal(amber_fail(&err, AMBER_E_CORRUPT, "%s: block %d", "a.gz", 7), AMBER_E_CORRUPT);
    assert_int_equal(err.code, AMBER_E_CORRUPT);
    assert_string_equal(err.text, "a.gz: block 7");
    assert_int_equal(err.sys_errno, 0);
    assert_string_equal(err.sqlstate, "");
}

static void fail_with_own_text_as_argument_works(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;

    (void)state;
    amber_fail(&err, AMBER_E_IO, "first");
    amber_fail(&err, AMBER_E_IO, "while closing: %s", err.text);
    assert_string_equal(err.text, "while closing: first");
}

/* Fill the record with prefix ASCII bytes and then three-byte characters past its end. */
static size_t cut_len(size_t prefix)
{
    struct amber_err err = AMBER_ERR_INIT;
    char text[3000];
    size_t len = prefix;

    memset(text, 'x', prefix);
    while (len < sizeof(text) - 4) {
        memcpy(text + len, "\xE2\x82\xAC", 3);
        len += 3;
    }
    text[len] = '\0';
    amber_fail(&err, AMBER_E_INVALID, "%s", text);
    return strlen(err.text);
}

static void fail_with_long_text_cuts_between_characters(void **state)
{
    (void)state;
    assert_int_equal(cut_len(0), 1023); /* 341 characters of 3 bytes end at the limit */
    assert_int_equal(cut_len(1), 1021);
    assert_int_equal(cut_len(2), 1022);
    assert_int_equal(cut_len(3), 1023);
}

static void wrap_puts_prefix_before_text(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;

    (void)state;
    amber_fail_errno(&err, ENOSPC, "block %d", 3);
    assert_int_equal(amber_wrap(&err, "archive %s", "x"), AMBER_E_IO);
    assert_string_equal(err.text, "archive x: block 3: No space left on device");
    assert_int_equal(err.sys_errno, ENOSPC);
}

static void wrap_of_long_text_stays_in_bounds(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    char text[3000];

    (void)state;
    memset(text, 'y', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    amber_fail(&err, AMBER_E_IO, "%s", text);
    amber_wrap(&err, "%s", text);
    assert_int_equal(strlen(err.text), 1023);
}

static void fail_errno_with_long_path_keeps_the_reason(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    char path[2000];

    (void)state;
    memset(path, 'p', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    amber_fail_errno(&err, EACCES, "%s", path);
    assert_non_null(strstr(err.text, ": Permission denied"));
}

static void fail_errno_maps_to_the_fitting_code(void **state)
{
    static const struct {
        int errnum;
        enum amber_rc rc;
    } cases[] = {
        {ENOENT, AMBER_E_NOT_FOUND},
        {EEXIST, AMBER_E_EXISTS},
        {EACCES, AMBER_E_DENIED},
        {EPERM, AMBER_E_DENIED},
        {EROFS, AMBER_E_DENIED},
        {ENOSPC, AMBER_E_IO},
        {EDQUOT, AMBER_E_IO},
        {EIO, AMBER_E_IO},
        {ENOMEM, AMBER_E_NOMEM},
        {ETIMEDOUT, AMBER_E_TIMEOUT},
        {ECONNREFUSED, AMBER_E_NET},
        {EBUSY, AMBER_E_BUSY},
        {EINVAL, AMBER_E_INVALID},
        {ENOTDIR, AMBER_E_NOT_FOUND},
        {EOPNOTSUPP, AMBER_E_UNSUPPORTED},
    };
    struct amber_err err = AMBER_ERR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(amber_fail_errno(&err, cases[i].errnum, "x"), cases[i].rc);
        assert_int_equal(err.sys_errno, cases[i].errnum);
    }
}

static void err_errno_prefers_what_says_more(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;

    (void)state;
    amber_fail_errno(&err, ENOSPC, "x");
    assert_int_equal(amber_err_errno(&err), ENOSPC);
    amber_fail_errno(&err, EROFS, "x");
    assert_int_equal(amber_err_errno(&err), EROFS);
    amber_fail(&err, AMBER_E_CORRUPT, "x");
    assert_int_equal(amber_err_errno(&err), EIO);
    amber_fail(&err, AMBER_E_CANCELED, "x");
    assert_int_equal(amber_err_errno(&err), EINTR);
}

static void err_errno_of_every_failure_is_not_zero(void **state)
{
    (void)state;
    for (int rc = AMBER_E_NOMEM; rc <= AMBER_E_CANCELED; rc++) {
        struct amber_err err = AMBER_ERR_INIT;
        amber_fail(&err, (enum amber_rc)rc, "x");
        assert_int_not_equal(amber_err_errno(&err), 0);
        assert_string_not_equal(amber_rc_name((enum amber_rc)rc), "UNKNOWN");
    }
}

static void retryable_is_what_passes_by_itself(void **state)
{
    (void)state;
    assert_true(amber_rc_retryable(AMBER_E_NET));
    assert_true(amber_rc_retryable(AMBER_E_TIMEOUT));
    assert_true(amber_rc_retryable(AMBER_E_BUSY));
    assert_false(amber_rc_retryable(AMBER_OK));
    assert_false(amber_rc_retryable(AMBER_E_CORRUPT));
    assert_false(amber_rc_retryable(AMBER_E_DB));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fail_with_format_fills_the_record),
        cmocka_unit_test(fail_with_own_text_as_argument_works),
        cmocka_unit_test(fail_with_long_text_cuts_between_characters),
        cmocka_unit_test(wrap_puts_prefix_before_text),
        cmocka_unit_test(wrap_of_long_text_stays_in_bounds),
        cmocka_unit_test(fail_errno_with_long_path_keeps_the_reason),
        cmocka_unit_test(fail_errno_maps_to_the_fitting_code),
        cmocka_unit_test(err_errno_prefers_what_says_more),
        cmocka_unit_test(err_errno_of_every_failure_is_not_zero),
        cmocka_unit_test(retryable_is_what_passes_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
