/*
 * test_schema.c - a schema as JSON text and back, copies, and broken texts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "amber/schema.h"

static const char whole[] =
    "[{\"name\":\"id\",\"type\":\"bigint\",\"kind\":\"number\",\"not_null\":true,"
    "\"identity\":\"always\"},"
    "{\"name\":\"ser\",\"type\":\"integer\",\"kind\":\"number\",\"identity\":\"by default\"},"
    "{\"name\":\"gen\",\"type\":\"text\",\"kind\":\"text\",\"generated\":true},"
    "{\"name\":\"q\\\"u\\\\o\xc3\xa9\",\"type\":\"box[]\",\"kind\":\"array\",\"delim\":\";\","
    "\"element\":{\"type\":\"box\",\"kind\":\"text\"}},"
    "{\"name\":\"c\",\"type\":\"app.pair[]\",\"kind\":\"array\",\"element\":{\"type\":\"app.pair\","
    "\"kind\":\"composite\",\"fields\":[{\"name\":\"a\",\"type\":\"jsonb\",\"kind\":\"json\"},"
    "{\"name\":\"b\",\"type\":\"int2vector\",\"kind\":\"vector\",\"element\":{\"type\":"
    "\"smallint\","
    "\"kind\":\"number\"}}]}},"
    "{\"name\":\"e\",\"type\":\"app.none\",\"kind\":\"composite\",\"fields\":[]}]";

static void check_encodes(const struct amber_schema *s, const char *text)
{
    AMBER_AUTO_BUF struct amber_buf out = AMBER_BUF_INIT(65536);
    struct amber_err err = AMBER_ERR_INIT;

    assert_int_equal(amber_schema_encode(s, &out, &err), AMBER_OK);
    assert_string_equal(out.data, text);
}

static void parse_then_encode_gives_same_text(void **state)
{
    (void)state;
    struct amber_schema s;
    struct amber_err err = AMBER_ERR_INIT;

    if (amber_schema_parse(whole, strlen(whole), &s, &err) != AMBER_OK)
        fail_msg("%s", err.text);
    assert_int_equal(s.n_columns, 6);
    assert_true(s.columns[0].not_null && !s.columns[1].not_null);
    assert_int_equal(s.columns[0].identity, 'a');
    assert_int_equal(s.columns[1].identity, 'd');
    assert_int_equal(s.columns[2].identity, 0);
    assert_true(s.columns[2].generated);
    assert_int_equal(s.columns[3].type.delim, ';');
    assert_int_equal(s.columns[4].type.delim, ',');
    assert_int_equal(s.columns[4].type.elem->n_fields, 2);
    assert_int_equal(s.columns[4].type.elem->fields[1].type.kind, AMBER_KIND_VECTOR);
    check_encodes(&s, whole);
    amber_schema_clear(&s);
    assert_int_equal(s.n_columns, 0);
}

static void copy_is_deep_and_equal(void **state)
{
    (void)state;
    struct amber_schema s, copy;
    struct amber_err err = AMBER_ERR_INIT;

    assert_int_equal(amber_schema_parse(whole, strlen(whole), &s, &err), AMBER_OK);
    assert_int_equal(amber_schema_copy(&s, &copy, &err), AMBER_OK);
    amber_schema_clear(&s);
    check_encodes(&copy, whole);
    amber_schema_clear(&copy);
}

static void find_known_and_unknown_name(void **state)
{
    (void)state;
    struct amber_schema s;
    struct amber_err err = AMBER_ERR_INIT;

    assert_int_equal(amber_schema_parse(whole, strlen(whole), &s, &err), AMBER_OK);
    assert_int_equal(amber_schema_find(&s, "gen", 3), 2);
    assert_int_equal(amber_schema_find(&s, "generous", 3), 2);
    assert_int_equal(amber_schema_find(&s, "ge", 2), -1);
    assert_int_equal(amber_schema_find(&s, "", 0), -1);
    amber_schema_clear(&s);
}

static void kind_names_round_trip(void **state)
{
    (void)state;
    for (int k = AMBER_KIND_TEXT; k <= AMBER_KIND_SERVER; k++) {
        enum amber_kind back;
        assert_true(amber_kind_parse(amber_kind_name((enum amber_kind)k), &back));
        assert_int_equal(back, k);
    }
    enum amber_kind none;
    assert_false(amber_kind_parse("Text", &none));
}

static void encode_no_columns_gives_empty_array(void **state)
{
    (void)state;
    struct amber_schema s = {0}, back;
    struct amber_err err = AMBER_ERR_INIT;

    check_encodes(&s, "[]");
    assert_int_equal(amber_schema_parse("[]", 2, &back, &err), AMBER_OK);
    assert_int_equal(back.n_columns, 0);
    amber_schema_clear(&back);
}

static void encode_past_ceiling_leaves_buffer(void **state)
{
    (void)state;
    AMBER_AUTO_BUF struct amber_buf out = AMBER_BUF_INIT(100);
    struct amber_schema s;
    struct amber_err err = AMBER_ERR_INIT;

    assert_int_equal(amber_schema_parse(whole, strlen(whole), &s, &err), AMBER_OK);
    assert_int_equal(amber_buf_puts(&out, "kept", &err), AMBER_OK);
    assert_int_equal(amber_schema_encode(&s, &out, &err), AMBER_E_LIMIT);
    assert_string_equal(out.data, "kept");
    amber_schema_clear(&s);
}

static void check_refuses(const char *text, enum amber_rc code, const char *says)
{
    struct amber_schema s;
    struct amber_err err = AMBER_ERR_INIT;

    if (amber_schema_parse(text, strlen(text), &s, &err) != code)
        fail_msg("%s: %s", text, err.text);
    if (!strstr(err.text, says))
        fail_msg("\"%s\" isn't in \"%s\"", says, err.text);
    assert_int_equal(s.n_columns, 0);
    assert_null(s.columns);
}

static void parse_broken_text_names_the_path(void **state)
{
    (void)state;
    check_refuses("", AMBER_E_CORRUPT, "byte");
    check_refuses("{}", AMBER_E_CORRUPT, "not an array");
    check_refuses("[1]", AMBER_E_CORRUPT, "columns[0]: \"name\"");
    check_refuses("[{\"name\":\"a\",\"name\":\"b\"}]", AMBER_E_CORRUPT, "byte");
    check_refuses("[{\"name\":\"\",\"type\":\"t\",\"kind\":\"text\"}]", AMBER_E_CORRUPT, "empty");
    check_refuses("[{\"name\":\"a\",\"kind\":\"text\"}]", AMBER_E_CORRUPT, "\"type\" is missing");
    check_refuses("[{\"name\":\"a\",\"type\":\"t\"}]", AMBER_E_CORRUPT, "\"kind\" is missing");
    check_refuses("[{\"name\":\"a\",\"type\":\"t\",\"kind\":\"blob\"}]", AMBER_E_UNSUPPORTED,
                  "columns[0]: kind \"blob\"");
    check_refuses("[{\"name\":\"a\",\"type\":\"t\",\"kind\":\"array\"}]", AMBER_E_CORRUPT,
                  "columns[0]: element");
    check_refuses("[{\"name\":\"a\",\"type\":\"t\",\"kind\":\"array\",\"delim\":\"::\","
                  "\"element\":{\"type\":\"t\",\"kind\":\"text\"}}]",
                  AMBER_E_CORRUPT, "delim");
    check_refuses("[{\"name\":\"a\",\"type\":\"t\",\"kind\":\"composite\",\"fields\":[{}]}]",
                  AMBER_E_CORRUPT, "columns[0]: fields[0]: \"name\"");
    check_refuses("[{\"name\":\"a\",\"type\":\"t\",\"kind\":\"text\",\"identity\":\"x\"}]",
                  AMBER_E_CORRUPT, "identity");
    check_refuses("[{\"name\":\"a\",\"type\":\"t\",\"kind\":\"text\",\"not_null\":1}]",
                  AMBER_E_CORRUPT, "not_null");
}

static void parse_types_nested_too_deeply_is_corrupt(void **state)
{
    (void)state;
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(65536);
    struct amber_err err = AMBER_ERR_INIT;

    assert_int_equal(amber_buf_puts(&text, "[{\"name\":\"a\",", &err), AMBER_OK);
    for (int i = 0; i < 100; i++)
        assert_int_equal(
            amber_buf_puts(&text, "\"type\":\"t\",\"kind\":\"array\",\"element\":{", &err),
            AMBER_OK);
    assert_int_equal(amber_buf_puts(&text, "\"type\":\"t\",\"kind\":\"text\"", &err), AMBER_OK);
    for (int i = 0; i < 101; i++)
        assert_int_equal(amber_buf_puts(&text, "}", &err), AMBER_OK);
    assert_int_equal(amber_buf_puts(&text, "]", &err), AMBER_OK);
    check_refuses(text.data, AMBER_E_CORRUPT, "nested more than 64 levels");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse_then_encode_gives_same_text),
        cmocka_unit_test(copy_is_deep_and_equal),
        cmocka_unit_test(find_known_and_unknown_name),
        cmocka_unit_test(kind_names_round_trip),
        cmocka_unit_test(encode_no_columns_gives_empty_array),
        cmocka_unit_test(encode_past_ceiling_leaves_buffer),
        cmocka_unit_test(parse_broken_text_names_the_path),
        cmocka_unit_test(parse_types_nested_too_deeply_is_corrupt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
