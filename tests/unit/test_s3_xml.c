/*
 * test_s3_xml.c - the documents that S3 answers with.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "amber/mem.h"
#include "s3_xml_priv.h"

static enum amber_rc read_one(const char *doc, const char *path, char *out, size_t cap,
                              struct amber_err *err)
{
    const struct s3_xml_field field = {path, out, cap};

    return amber_s3_xml_fields(doc, strlen(doc), &field, 1, err);
}

static void fields_are_found_by_path(void **state)
{
    static const char doc[] =
        "<?xml version=\"1.0\"?>\n<Error><Code>NoSuchKey</Code><Message>a &amp; &quot;b&quot; "
        "&#x41;</Message><Resource><Code>inner</Code></Resource></Error>";
    struct amber_err err = AMBER_ERR_INIT;
    char code[32], message[64], none[8] = "x";
    const struct s3_xml_field fields[] = {{"Error/Code", code, sizeof(code)},
                                          {"Error/Message", message, sizeof(message)},
                                          {"Error/Nothing", none, sizeof(none)}};

    (void)state;
    assert_int_equal(amber_s3_xml_fields(doc, strlen(doc), fields, 3, &err), AMBER_OK);
    assert_string_equal(code, "NoSuchKey");
    assert_string_equal(message, "a & \"b\" A");
    assert_string_equal(none, "");
}

static void namespaces_are_left_out(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    char id[32];

    (void)state;
    assert_int_equal(
        read_one("<s3:R xmlns:s3='http://s3.amazonaws.com/doc/2006-03-01/'><s3:Id>7</s3:Id></s3:R>",
                 "R/Id", id, sizeof(id), &err),
        AMBER_OK);
    assert_string_equal(id, "7");
}

static void longer_text_is_cut_to_its_field(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    char id[4];

    (void)state;
    assert_int_equal(read_one("<R><Id>12345</Id></R>", "R/Id", id, sizeof(id), &err), AMBER_OK);
    assert_string_equal(id, "123");
}

static void what_is_no_xml_of_s3_is_corrupt(void **state)
{
    static const char *const cases[] = {
        "",
        "no xml",
        "<R>",
        "<R><Id></R>",
        "<R/><R/>",
        "<R>\xff\xfe</R>",
        "<R>&nope;</R>",
        "<!DOCTYPE R [<!ENTITY a \"aaaaaaaaaa\">]><R>&a;</R>",
        "<!DOCTYPE html><html><body>proxy</body></html>",
        "<a><b><c><d><e><f><g><h><i>9</i></h></g></f></e></d></c></b></a>"};

    (void)state;
    for (size_t i = 0; i < amber_countof(cases); i++) {
        struct amber_err err = AMBER_ERR_INIT;
        char out[8];
        if (read_one(cases[i], "R/Id", out, sizeof(out), &err) != AMBER_E_CORRUPT)
            fail_msg("\"%s\" is taken", cases[i]);
        assert_non_null(strstr(err.text, "no XML of S3"));
    }
}

static void text_past_the_limit_is_corrupt(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf doc AMBER_AUTO_BUF = AMBER_BUF_INIT(1U << 20);
    char out[8];

    (void)state;
    assert_int_equal(amber_buf_puts(&doc, "<R><Id>", &err), AMBER_OK);
    for (int i = 0; i <= S3_XML_TEXT_MAX; i++)
        assert_int_equal(amber_buf_puts(&doc, "x", &err), AMBER_OK);
    assert_int_equal(amber_buf_puts(&doc, "</Id></R>", &err), AMBER_OK);
    assert_int_equal(read_one(doc.data, "R/Id", out, sizeof(out), &err), AMBER_E_CORRUPT);
}

static enum amber_rc stop_at_two(void *arg, const char *path, char *text, struct amber_err *err)
{
    int *n = arg;

    (void)text;
    if (strcmp(path, "R/A") == 0 && ++*n == 2)
        return amber_fail(err, AMBER_E_CANCELED, "enough");
    return AMBER_OK;
}

static void failure_of_the_callers_ends_the_reading(void **state)
{
    static const char doc[] = "<R><A/><A/><A/></R>";
    struct amber_err err = AMBER_ERR_INIT;
    int n = 0;

    (void)state;
    assert_int_equal(amber_s3_xml_read(doc, strlen(doc), stop_at_two, &n, &err), AMBER_E_CANCELED);
    assert_int_equal(n, 2);
    assert_string_equal(err.text, "enough");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_found_by_path),
        cmocka_unit_test(namespaces_are_left_out),
        cmocka_unit_test(longer_text_is_cut_to_its_field),
        cmocka_unit_test(what_is_no_xml_of_s3_is_corrupt),
        cmocka_unit_test(text_past_the_limit_is_corrupt),
        cmocka_unit_test(failure_of_the_callers_ends_the_reading),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
