/*
 * test_env_file.c - quotes, escapes, comments, line ends, and what is refused with its line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "env_file.h"

static struct amber_env parse_n(const char *text, size_t len, const char *want_warnings)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf warnings AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    struct amber_env env = {0};
    if (amber_env_parse(text, len, "f.env", &env, &warnings, &err))
        fail_msg("%s", err.text);
    assert_string_equal(warnings.data ? warnings.data : "", want_warnings);
    return env;
}

/* The value that A gets from this text. */
static void assert_value(const char *text, const char *want)
{
    struct amber_env env AMBER_CLEANUP(amber_env_clear) = parse_n(text, strlen(text), "");
    const struct amber_env_entry *e = amber_env_find(&env, "A");
    if (!e)
        fail_msg("no A in: %s", text);
    else if (strcmp(e->value, want) != 0)
        fail_msg("%s\ngives \"%s\", expected \"%s\"", text, e->value, want);
}

static void assert_refused(const char *text, const char *want)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf warnings AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    struct amber_env env = {(struct amber_env_entry *)0x5a, 7, 7};
    if (amber_env_parse(text, strlen(text), "f.env", &env, &warnings, &err) != AMBER_E_INVALID)
        fail_msg("not refused: %s", text);
    if (!strstr(err.text, want))
        fail_msg("%s\ngives \"%s\", expected \"%s\"", text, err.text, want);
    assert_ptr_equal(env.items, (struct amber_env_entry *)0x5a);
    assert_null(strstr(err.text, "hunter2"));
}

static void plain_values_end_at_line_or_comment(void **state)
{
    (void)state;
    assert_value("A=b", "b");
    assert_value("A=b\n", "b");
    assert_value("A=0 2 1 * *   # Monthly\n", "0 2 1 * *");
    assert_value("A=a#b\n", "a#b");
    assert_value("A=#b\n", "#b");
    assert_value("A= #b\n", "");
    assert_value("A=\t# b\n", "");
    assert_value("A=a #\n", "a");
    assert_value("A=  two words \t \n", "two words");
    assert_value("A=\n", "");
    assert_value("A=", "");
    assert_value("A = b\n", "b");
    assert_value("  A=b", "b");
    assert_value("A=b=c", "b=c");
    assert_value("A=it's \"here\"", "it's \"here\"");
    assert_value("A=$HOME\\n", "$HOME\\n");
    assert_value("A=h\xc3\xa4", "h\xc3\xa4");
}

static void export_before_name_is_skipped(void **state)
{
    (void)state;
    assert_value("export A=b", "b");
    assert_value(" export \t A=b", "b");
    struct amber_env env AMBER_CLEANUP(amber_env_clear) = parse_n("export=1\nexports=2", 18, "");
    assert_string_equal(amber_env_find(&env, "export")->value, "1");
    assert_string_equal(amber_env_find(&env, "exports")->value, "2");
    struct amber_env spaced AMBER_CLEANUP(amber_env_clear) = parse_n("export =1", 9, "");
    assert_string_equal(amber_env_find(&spaced, "export")->value, "1");
}

static void quoted_values_keep_what_is_in_them(void **state)
{
    (void)state;
    assert_value("A='b # c'", "b # c");
    assert_value("A='b # c' # d", "b # c");
    assert_value("A='b'# d", "b");
    assert_value("A='b\\n$x\"'", "b\\n$x\"");
    assert_value("A=\"b'c\"", "b'c");
    assert_value("A=\"\"", "");
    assert_value("A=''", "");
    assert_value("A=\"  b  \"  ", "  b  ");
    assert_value("A = \"b\"", "b");
}

static void double_quotes_have_escapes(void **state)
{
    (void)state;
    assert_value("A=\"a\\nb\\tc\\rd\"", "a\nb\tc\rd");
    assert_value("A=\"\\\"\\\\\\$\\`\"", "\"\\$`");
    assert_value("A=\"\\d\\0\"", "\\d\\0");
    assert_value("A=\"a\\\nb\"", "ab");
    assert_value("A=\"a\\\r\nb\"", "ab");
}

static void quoted_values_run_over_lines(void **state)
{
    const char *text = "A=\"one\ntwo\r\nthree\"\nB='x\ny'\nC=1";
    struct amber_env env AMBER_CLEANUP(amber_env_clear) = parse_n(text, strlen(text), "");
    (void)state;
    assert_string_equal(amber_env_find(&env, "A")->value, "one\ntwo\nthree");
    assert_string_equal(amber_env_find(&env, "B")->value, "x\ny");
    assert_int_equal(amber_env_find(&env, "B")->line, 4);
    assert_int_equal(amber_env_find(&env, "C")->line, 6);
}

static void crlf_bom_and_blank_lines_are_taken(void **state)
{
    const char *text =
        "\xef\xbb\xbf# head\r\n\r\n   \t\r\nA=b\r\nB=\"c\"\r\nC=d # e\r\n#end\r\nD=\r";
    struct amber_env env AMBER_CLEANUP(amber_env_clear) = parse_n(text, strlen(text), "");
    (void)state;
    assert_int_equal(env.n, 4);
    assert_string_equal(amber_env_find(&env, "A")->value, "b");
    assert_int_equal(amber_env_find(&env, "A")->line, 4);
    assert_string_equal(amber_env_find(&env, "B")->value, "c");
    assert_string_equal(amber_env_find(&env, "C")->value, "d");
    assert_string_equal(amber_env_find(&env, "D")->value, "");
    assert_null(amber_env_find(&env, "E"));
}

static void empty_text_has_no_entries(void **state)
{
    struct amber_env env AMBER_CLEANUP(amber_env_clear) = parse_n(NULL, 0, "");
    (void)state;
    assert_int_equal(env.n, 0);
}

static void name_set_twice_keeps_last_and_warns(void **state)
{
    const char *text = "A=1\nB=2\nA=3\n";
    struct amber_env env AMBER_CLEANUP(amber_env_clear) =
        parse_n(text, strlen(text), "f.env:3: A is set in line 1 too: the last one counts\n");
    (void)state;
    assert_int_equal(env.n, 2);
    assert_string_equal(amber_env_find(&env, "A")->value, "3");
    assert_int_equal(amber_env_find(&env, "A")->line, 3);
}

static void broken_lines_are_refused_with_their_line(void **state)
{
    (void)state;
    assert_refused("A=1\nhunter2\n", "f.env:2: no '=' behind the name");
    assert_refused("A=1\n\n=hunter2\n", "f.env:3: expected NAME=VALUE");
    assert_refused("1A=hunter2", "f.env:1: expected NAME=VALUE");
    assert_refused("A B=hunter2", "f.env:1: no '=' behind the name");
    assert_refused("export A", "f.env:1: no '=' behind the name");
    assert_refused("export", "f.env:1: no '=' behind the name");
    assert_refused("\"A\"=hunter2", "f.env:1: expected NAME=VALUE");
    assert_refused("A=1\nB='hunter2\nC=3\n", "f.env:2: the quote that opens here is never closed");
    assert_refused("A=\"hunter2\\\"", "f.env:1: the quote that opens here is never closed");
    assert_refused("A=\"x\"hunter2", "f.env:1: text behind the closing quote");
    assert_refused("A='x\ny' hunter2", "f.env:2: text behind the closing quote of the value that "
                                       "starts in line 1");
    assert_refused("; comment", "f.env:1: expected NAME=VALUE");
}

static void nul_byte_is_refused_with_its_line(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf warnings AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    struct amber_env env = {0};
    (void)state;
    assert_int_equal(amber_env_parse("A=1\nB=\0x\n", 9, "f.env", &env, &warnings, &err),
                     AMBER_E_INVALID);
    assert_non_null(strstr(err.text, "f.env:2: a NUL byte"));
}

static void text_or_names_beyond_limits_are_refused(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf warnings AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    struct amber_env env = {0};
    char *text = calloc(1, AMBER_ENV_FILE_MAX + 1);
    size_t len = 0;
    (void)state;
    assert_non_null(text);
    memset(text, '\n', AMBER_ENV_FILE_MAX + 1);
    assert_int_equal(amber_env_parse(text, AMBER_ENV_FILE_MAX + 1, "f.env", &env, &warnings, &err),
                     AMBER_E_LIMIT);
    for (unsigned i = 0; i <= AMBER_ENV_NAMES_MAX; i++)
        len += (size_t)sprintf(text + len, "A%u=\n", i);
    assert_int_equal(amber_env_parse(text, len, "f.env", &env, &warnings, &err), AMBER_E_LIMIT);
    assert_non_null(strstr(err.text, "f.env:10001: more than 10000 names"));
    free(text);
}

static void warnings_without_room_do_not_fail(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf warnings AMBER_AUTO_BUF = AMBER_BUF_INIT(5);
    struct amber_env env AMBER_CLEANUP(amber_env_clear) = {0};
    (void)state;
    assert_int_equal(amber_env_parse("A=1\nA=2", 7, "f.env", &env, &warnings, &err), AMBER_OK);
    assert_int_equal(err.code, AMBER_OK);
    assert_string_equal(amber_env_find(&env, "A")->value, "2");
}

/* ---- files ---- */

static char folder[64];

static int folder_make(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/amber_env_XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int folder_drop(void **state)
{
    char path[96];
    (void)state;
    snprintf(path, sizeof(path), "%s/a.env", folder);
    unlink(path);
    return rmdir(folder);
}

static enum amber_rc load(const char *path, struct amber_env *env, struct amber_err *err)
{
    struct amber_buf warnings AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    return amber_env_load(path, env, &warnings, err);
}

static void file_is_read(void **state)
{
    char path[96];
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_env env AMBER_CLEANUP(amber_env_clear) = {0};
    (void)state;
    snprintf(path, sizeof(path), "%s/a.env", folder);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    for (int i = 0; i < 30000; i++)
        fputs("# a comment\n", f);
    fputs("A=b\n", f);
    assert_int_equal(fclose(f), 0);
    if (load(path, &env, &err))
        fail_msg("%s", err.text);
    assert_string_equal(amber_env_find(&env, "A")->value, "b");
    assert_int_equal(amber_env_find(&env, "A")->line, 30001);
}

static void file_missing_a_folder_or_too_large_is_refused(void **state)
{
    char path[96];
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_env env = {0};
    (void)state;
    snprintf(path, sizeof(path), "%s/none.env", folder);
    assert_int_equal(load(path, &env, &err), AMBER_E_NOT_FOUND);
    assert_non_null(strstr(err.text, path));
    assert_int_not_equal(load(folder, &env, &err), AMBER_OK);
    assert_non_null(strstr(err.text, folder));
    snprintf(path, sizeof(path), "%s/a.env", folder);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(ftruncate(fileno(f), AMBER_ENV_FILE_MAX + 1), 0);
    fclose(f);
    assert_int_equal(load(path, &env, &err), AMBER_E_LIMIT);
    assert_non_null(strstr(err.text, "is larger than 1048576 bytes"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_values_end_at_line_or_comment),
        cmocka_unit_test(export_before_name_is_skipped),
        cmocka_unit_test(quoted_values_keep_what_is_in_them),
        cmocka_unit_test(double_quotes_have_escapes),
        cmocka_unit_test(quoted_values_run_over_lines),
        cmocka_unit_test(crlf_bom_and_blank_lines_are_taken),
        cmocka_unit_test(empty_text_has_no_entries),
        cmocka_unit_test(name_set_twice_keeps_last_and_warns),
        cmocka_unit_test(broken_lines_are_refused_with_their_line),
        cmocka_unit_test(nul_byte_is_refused_with_its_line),
        cmocka_unit_test(text_or_names_beyond_limits_are_refused),
        cmocka_unit_test(warnings_without_room_do_not_fail),
        cmocka_unit_test_setup_teardown(file_is_read, folder_make, folder_drop),
        cmocka_unit_test_setup_teardown(file_missing_a_folder_or_too_large_is_refused, folder_make,
                                        folder_drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
