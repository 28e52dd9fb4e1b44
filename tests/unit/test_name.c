/*
 * test_name.c - names of archives.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "amber/name.h"

static void check_escape(const char *text, const char *want)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(1024);
    struct amber_err err = AMBER_ERR_INIT;

    assert_int_equal(amber_name_escape(text, &b, &err), AMBER_OK);
    assert_string_equal(b.data ? b.data : "", want);
}

static void escape_keeps_plain_names(void **state)
{
    (void)state;
    check_escape("flow_execution_logs", "flow_execution_logs");
    check_escape("Mixed-Case.v2", "Mixed-Case.v2");
    check_escape("_private", "_private");
    check_escape("gr\xC3\xB6\xC3\x9F"
                 "e",
                 "gr\xC3\xB6\xC3\x9F"
                 "e");
    check_escape("\xE8\xA1\xA8", "\xE8\xA1\xA8");
    check_escape("\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80");
}

static void escape_replaces_what_names_can_not_have(void **state)
{
    (void)state;
    check_escape("a b", "a%20b");
    check_escape("a/b\\c", "a%2Fb%5Cc");
    check_escape("100%", "100%25");
    check_escape(".hidden", "%2Ehidden");
    check_escape("..", "%2E.");
    check_escape("-rf", "%2Drf");
    check_escape("q\"'*?\n", "q%22%27%2A%3F%0A");
    check_escape("bad\xFF\xC3", "bad%FF%C3");
    check_escape("over\xC0\xAF", "over%C0%AF");
    check_escape("\xED\xA0\x80", "%ED%A0%80");
    check_escape("rtl\xE2\x80\xAEx", "rtl%E2%80%AEx");
    check_escape("nbsp\xC2\xA0", "nbsp%C2%A0");
}

/* Two texts that differ only behind the cut get different names of at most 200 bytes. */
static void escape_of_long_text_ends_in_digest(void **state)
{
    AMBER_AUTO_BUF struct amber_buf a = AMBER_BUF_INIT(1024), b = AMBER_BUF_INIT(1024);
    struct amber_err err = AMBER_ERR_INIT;
    char text[301];

    (void)state;
    memset(text, ' ', 300);
    text[300] = '\0';
    assert_int_equal(amber_name_escape(text, &a, &err), AMBER_OK);
    text[299] = 'x';
    assert_int_equal(amber_name_escape(text, &b, &err), AMBER_OK);
    assert_true(a.len <= 200 && a.len > 180);
    assert_int_equal(a.data[a.len - 17], '~');
    assert_string_not_equal(a.data, b.data);
    assert_memory_equal(a.data, "%20%20", 6);
    assert_int_equal((a.len - 17) % 3, 0); /* no escape is cut in two */
}

static void escape_of_63_blanks_is_not_cut(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(1024);
    struct amber_err err = AMBER_ERR_INIT;
    char text[64];

    (void)state;
    memset(text, ' ', 63);
    text[63] = '\0';
    assert_int_equal(amber_name_escape(text, &b, &err), AMBER_OK);
    assert_int_equal(b.len, 189);
    assert_null(strchr(b.data, '~'));
}

static const struct amber_name_fields fields = {
    .table = "my table",
    .start_day = 19723, /* 2024-01-01 */
    .end_day = 19813,   /* 2024-03-31 */
    .run_day = 20058,   /* 2024-12-01 */
    .run_ms = INT64_C(1733011200000),
};

static void check_format(const char *folder, const char *pattern, unsigned n, const char *want)
{
    AMBER_AUTO_FREE char *name = NULL;
    struct amber_err err = AMBER_ERR_INIT;

    if (amber_name_format(folder, pattern, &fields, n, &name, &err) != AMBER_OK)
        fail_msg("%s", err.text);
    assert_string_equal(name, want);
}

static void format_fills_in_placeholders(void **state)
{
    (void)state;
    check_format("flow_logs", "flow_logs_{start}_to_{end}", 1,
                 "flow_logs/flow_logs_2024-01-01_to_2024-03-31.json");
    check_format("memory_chunks", "expired_chunks_{day}_{epoch_ms}", 0,
                 "memory_chunks/expired_chunks_2024-12-01_1733011200000.json");
    check_format("a/b", "{table}", 2, "a/b/my%20table_2.json");
    check_format("a", "x", 13, "a/x_13.json");
}

static void check_invalid(const char *folder, const char *pattern, enum amber_rc want)
{
    struct amber_err err = AMBER_ERR_INIT;
    char *name;
    enum amber_rc rc = amber_name_format(folder, pattern, &fields, 1, &name, &err);

    if (rc != want)
        fail_msg("%s + %s: %s", folder, pattern, amber_rc_name(rc));
}

static void format_of_wrong_pattern_or_folder_is_invalid(void **state)
{
    (void)state;
    check_invalid("a", "", AMBER_E_INVALID);
    check_invalid("a", "{tabel}", AMBER_E_INVALID);
    check_invalid("a", "x{start", AMBER_E_INVALID);
    check_invalid("a", "x}", AMBER_E_INVALID);
    check_invalid("a", "x/y", AMBER_E_INVALID);
    check_invalid("a", "x y", AMBER_E_INVALID);
    check_invalid("a", "x\n", AMBER_E_INVALID);
    check_invalid("a", "x\xFF", AMBER_E_INVALID);
    check_invalid("a", ".x", AMBER_E_INVALID);
    check_invalid("a", "-x", AMBER_E_INVALID);
    check_invalid("a", "x.json", AMBER_E_INVALID);
    check_invalid("", "x", AMBER_E_INVALID);
    check_invalid("/a", "x", AMBER_E_INVALID);
    check_invalid("a/../b", "x", AMBER_E_INVALID);
    check_invalid(".amberfs", "x", AMBER_E_INVALID);
    check_invalid("a/.b", "x", AMBER_E_INVALID);
}

static void format_of_long_name_is_limit(void **state)
{
    char pattern[250];

    (void)state;
    memset(pattern, 'x', sizeof(pattern) - 1);
    pattern[sizeof(pattern) - 1] = '\0';
    check_invalid("a", pattern, AMBER_E_LIMIT);
}

static void pattern_error_names_the_byte(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;

    (void)state;
    assert_int_equal(amber_name_pattern_check("ab{start}_{nope}", &err), AMBER_E_INVALID);
    assert_non_null(strstr(err.text, "at byte 11"));
    assert_non_null(strstr(err.text, "{epoch_ms}"));
}

static void logical_len_drops_known_suffixes(void **state)
{
    (void)state;
    assert_int_equal(amber_name_logical_len("a/x.json.gz"), 8);
    assert_int_equal(amber_name_logical_len("a/x.json.zst"), 8);
    assert_int_equal(amber_name_logical_len("a/x.json"), 8);
    assert_int_equal(amber_name_logical_len("a/.gz"), 5);
    assert_int_equal(amber_name_logical_len("a/x.json.bz2"), 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escape_keeps_plain_names),
        cmocka_unit_test(escape_replaces_what_names_can_not_have),
        cmocka_unit_test(escape_of_long_text_ends_in_digest),
        cmocka_unit_test(escape_of_63_blanks_is_not_cut),
        cmocka_unit_test(format_fills_in_placeholders),
        cmocka_unit_test(format_of_wrong_pattern_or_folder_is_invalid),
        cmocka_unit_test(format_of_long_name_is_limit),
        cmocka_unit_test(pattern_error_names_the_byte),
        cmocka_unit_test(logical_len_drops_known_suffixes),
    };
    return cmocka_run_group_tests_name("name", tests, NULL, NULL);
}
