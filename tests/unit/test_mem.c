/*
 * test_mem.c - buffers and their ceilings, JSON strings, checked allocation.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "amber/mem.h"

static void append_within_ceiling_keeps_bytes_and_terminator(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(1000);
    struct amber_err err = AMBER_ERR_INIT;

    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(amber_buf_append(&b, &"0123456789"[i % 10], 1, &err), AMBER_OK);
    assert_int_equal(b.len, 1000);
    assert_int_equal(b.data[1000], '\0');
    assert_memory_equal(b.data + 990, "0123456789", 10);
    assert_true(b.cap <= 1001);
}

static void append_past_ceiling_is_limit_and_changes_nothing(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(5);
    struct amber_err err = AMBER_ERR_INIT;

    (void)state;
    assert_int_equal(amber_buf_puts(&b, "abc", &err), AMBER_OK);
    assert_int_equal(amber_buf_puts(&b, "def", &err), AMBER_E_LIMIT);
    assert_string_equal(b.data, "abc");
    assert_int_equal(b.len, 3);
    assert_int_equal(amber_buf_puts(&b, "de", &err), AMBER_OK);
    assert_int_equal(amber_buf_puts(&b, "", &err), AMBER_OK);
    assert_int_equal(amber_buf_puts(&b, "f", &err), AMBER_E_LIMIT);
}

static void reserve_of_overflowing_size_is_limit(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(100);
    struct amber_err err = AMBER_ERR_INIT;

    (void)state;
    assert_int_equal(amber_buf_puts(&b, "abc", &err), AMBER_OK);
    assert_int_equal(amber_buf_reserve(&b, SIZE_MAX, &err), AMBER_E_LIMIT);
    assert_int_equal(amber_buf_reserve(&b, SIZE_MAX - 2, &err), AMBER_E_LIMIT);
    assert_string_equal(b.data, "abc");
}

static void reserve_of_nothing_gives_a_string(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(0);
    struct amber_err err = AMBER_ERR_INIT;

    (void)state;
    assert_int_equal(amber_buf_reserve(&b, 0, &err), AMBER_OK);
    assert_string_equal(b.data, "");
}

static void printf_longer_than_room_grows(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(500);
    struct amber_err err = AMBER_ERR_INIT;

    (void)state;
    assert_int_equal(amber_buf_printf(&b, &err, "%s-", "head"), AMBER_OK);
    assert_int_equal(amber_buf_printf(&b, &err, "%0400d", 7), AMBER_OK);
    assert_int_equal(b.len, 405);
    assert_int_equal(strlen(b.data), 405);
    assert_int_equal(b.data[404], '7');
}

static void printf_past_ceiling_is_limit_and_changes_nothing(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(100);
    struct amber_err err = AMBER_ERR_INIT;

    (void)state;
    assert_int_equal(amber_buf_puts(&b, "abc", &err), AMBER_OK);
    assert_int_equal(amber_buf_printf(&b, &err, "%098d", 7), AMBER_E_LIMIT);
    assert_string_equal(b.data, "abc");
    assert_int_equal(amber_buf_printf(&b, &err, "%097d", 7), AMBER_OK);
}

static void swap_exchanges_contents_and_ceilings(void **state)
{
    AMBER_AUTO_BUF struct amber_buf a = AMBER_BUF_INIT(10);
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(20);
    struct amber_err err = AMBER_ERR_INIT;

    (void)state;
    assert_int_equal(amber_buf_puts(&a, "a", &err), AMBER_OK);
    amber_buf_swap(&a, &b);
    assert_null(a.data);
    assert_int_equal(a.max, 20);
    assert_string_equal(b.data, "a");
    assert_int_equal(b.max, 10);
}

static void check_json(const char *in, size_t len, const char *want)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(1000);
    struct amber_err err = AMBER_ERR_INIT;

    assert_int_equal(amber_buf_json(&b, in, len, &err), AMBER_OK);
    assert_string_equal(b.data, want);
}

static void json_of_any_bytes_is_a_valid_string(void **state)
{
    (void)state;
    check_json("", 0, "\"\"");
    check_json("plain", 5, "\"plain\"");
    check_json("q\" b\\ /", 7, "\"q\\\" b\\\\ /\"");
    check_json("\b\f\n\r\t\0\x1f\x7f", 8, "\"\\b\\f\\n\\r\\t\\u0000\\u001f\x7f\"");
    check_json("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80", 9,
               "\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\"");
    check_json("\xFFx\xC3", 3, "\"\\ufffdx\\ufffd\"");          /* stray byte, cut character */
    check_json("\xC0\x80", 2, "\"\\ufffd\\ufffd\"");            /* overlong NUL */
    check_json("\xED\xA0\x80", 3, "\"\\ufffd\\ufffd\\ufffd\""); /* surrogate */
    check_json("\xF4\x90\x80\x80", 4, "\"\\ufffd\\ufffd\\ufffd\\ufffd\""); /* past U+10FFFF */
}

static void json_past_ceiling_changes_nothing(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(10);
    struct amber_err err = AMBER_ERR_INIT;

    (void)state;
    assert_int_equal(amber_buf_puts(&b, "x:", &err), AMBER_OK);
    assert_int_equal(amber_buf_json(&b, "a\nbcdefg", 8, &err), AMBER_E_LIMIT);
    assert_string_equal(b.data, "x:");
    assert_int_equal(b.len, 2);
}

static void calloc_with_overflow_is_nomem(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    void *p = &err;

    (void)state;
    assert_int_equal(amber_calloc(SIZE_MAX / 2, 3, &p, &err), AMBER_E_NOMEM);
    assert_null(p);
}

static void calloc_of_nothing_is_not_null(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_FREE char *p = NULL;

    (void)state;
    assert_int_equal(amber_calloc(0, 8, &p, &err), AMBER_OK);
    assert_non_null(p);
}

static void grow_keeps_items_and_gives_room(void **state)
{
    AMBER_AUTO_FREE uint64_t *items = NULL;
    struct amber_err err = AMBER_ERR_INIT;
    size_t cap = 0;

    (void)state;
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(amber_grow(&items, &cap, i + 1, sizeof(*items), &err), AMBER_OK);
        assert_true(cap > i);
        items[i] = i * i;
    }
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(items[i], i * i);
}

static void grow_with_overflow_is_limit_and_changes_nothing(void **state)
{
    AMBER_AUTO_FREE uint64_t *items = NULL;
    struct amber_err err = AMBER_ERR_INIT;
    size_t cap = 0;

    (void)state;
    assert_int_equal(amber_grow(&items, &cap, 1, sizeof(*items), &err), AMBER_OK);
    uint64_t *before = items;
    size_t cap_before = cap;
    assert_int_equal(amber_grow(&items, &cap, SIZE_MAX / 2, sizeof(*items), &err), AMBER_E_LIMIT);
    assert_ptr_equal(items, before);
    assert_int_equal(cap, cap_before);
}

static void steal_leaves_null(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_FREE char *a = NULL;
    AMBER_AUTO_FREE char *b = NULL;

    (void)state;
    assert_int_equal(amber_asprintf(&a, &err, "%d", 42), AMBER_OK);
    b = amber_steal(&a);
    assert_null(a);
    assert_string_equal(b, "42");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(append_within_ceiling_keeps_bytes_and_terminator),
        cmocka_unit_test(append_past_ceiling_is_limit_and_changes_nothing),
        cmocka_unit_test(reserve_of_overflowing_size_is_limit),
        cmocka_unit_test(reserve_of_nothing_gives_a_string),
        cmocka_unit_test(printf_longer_than_room_grows),
        cmocka_unit_test(printf_past_ceiling_is_limit_and_changes_nothing),
        cmocka_unit_test(swap_exchanges_contents_and_ceilings),
        cmocka_unit_test(json_of_any_bytes_is_a_valid_string),
        cmocka_unit_test(json_past_ceiling_changes_nothing),
        cmocka_unit_test(calloc_with_overflow_is_nomem),
        cmocka_unit_test(calloc_of_nothing_is_not_null),
        cmocka_unit_test(grow_keeps_items_and_gives_room),
        cmocka_unit_test(grow_with_overflow_is_limit_and_changes_nothing),
        cmocka_unit_test(steal_leaves_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
