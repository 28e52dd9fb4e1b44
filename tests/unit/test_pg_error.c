/*
 * test_pg_error.c - cleaning of messages that may hold a value or a secret; no server is needed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "pg_priv.h"

static void hide_quoted_cuts_from_first_to_last_mark(void **state)
{
    static const char *const cases[][2] = {
        {"no quotes at all", "no quotes at all"},
        {"invalid input syntax for type integer: \"x\"", "invalid input syntax for type integer"},
        {"value \"99\" is out of range for type integer", "value is out of range for type integer"},
        {"bad: \"a\"b\"c\" end", "bad end"},
        {"cut in the middle: \"secret", "cut in the middle"},
        {"\"", ""},
        {"\"\"", ""},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < amber_countof(cases); i++) {
        char text[128];
        snprintf(text, sizeof(text), "%s", cases[i][0]);
        amber_pg_hide_quoted(text);
        assert_string_equal(text, cases[i][1]);
    }
}

static void connect_message_one_line_with_sqlstate(void **state)
{
    char out[256], sqlstate[6];
    (void)state;
    amber_pg_connect_message("connection to server at \"h\" failed: FATAL:  28P01: password\n"
                             "LOCATION:  auth_failed, auth.c:338\n\tsecond line\n",
                             out, sizeof(out), sqlstate);
    assert_string_equal(sqlstate, "28P01");
    assert_string_equal(out, "connection to server at \"h\" failed: FATAL:  28P01: password; "
                             "second line");
}

static void connect_message_without_sqlstate(void **state)
{
    char out[64], sqlstate[6];
    (void)state;
    amber_pg_connect_message("Connection refused\n", out, sizeof(out), sqlstate);
    assert_string_equal(sqlstate, "");
    assert_string_equal(out, "Connection refused");
    amber_pg_connect_message("", out, sizeof(out), sqlstate);
    assert_string_equal(out, "");
}

static void connect_message_longer_than_room_is_cut(void **state)
{
    char out[16], sqlstate[6];
    (void)state;
    amber_pg_connect_message("0123456789abcdefghi\nsecond\nthird FATAL:  57P03: starting\n", out,
                             sizeof(out), sqlstate);
    assert_string_equal(out, "0123456789abcde");
    assert_string_equal(sqlstate, "57P03");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hide_quoted_cuts_from_first_to_last_mark),
        cmocka_unit_test(connect_message_one_line_with_sqlstate),
        cmocka_unit_test(connect_message_without_sqlstate),
        cmocka_unit_test(connect_message_longer_than_room_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
