/*
 * test_row_nomem.c - the row format and schemas when the nth allocation fails, for every n until
 * all succeed: NOMEM each time, outputs as they were, and (with a sanitizer) nothing leaked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "amber/row.h"
#include "nth.h"

#define MAX (1024U * 1024U)

#define T(kind) "\"type\":\"t\",\"kind\":\"" kind "\""
static const char columns[] =
    "[{\"name\":\"n\"," T("number") "},{\"name\":\"c\"," T("array") ",\"element\":{" T(
        "composite") ",\"fields\":[{\"name\":\"a\"," T("text") "},{\"name\":\"j\"," T("json") "}]}}"
                                                                                              ",{"
                                                                                              "\"na"
                                                                                              "me\""
                                                                                              ":\"j"
                                                                                              "\""
                                                                                              "," T(
                                                                                                  "json") "}]";
/* Both the array's bounds and the json null need the overlay. */
static const char line[] = "1\t[0:0]={\"(\\\\\"a b\\\\\",1)\"}\tnull";
static const char reordered[] = " {\"j\":null,\"c\":[{\"j\":1,\"a\":\"x\"}],\"n\":1}";

struct objects {
    struct amber_schema parsed, copied;
    struct amber_row_encoder *enc;
    struct amber_row_decoder *dec;
    struct amber_buf text, json, overlay, copy;
};

static enum amber_rc make_schemas(struct objects *x, struct amber_err *err)
{
    enum amber_rc rc;

    if ((rc = amber_schema_parse(columns, sizeof(columns) - 1, &x->parsed, err)) != AMBER_OK) {
        assert_null(x->parsed.columns);
        return rc;
    }
    if ((rc = amber_schema_copy(&x->parsed, &x->copied, err)) != AMBER_OK) {
        assert_null(x->copied.columns);
        return rc;
    }
    if ((rc = amber_schema_encode(&x->copied, &x->text, err)) != AMBER_OK)
        assert_int_equal(x->text.len, 0);
    return rc;
}

static enum amber_rc convert(struct objects *x, struct amber_err *err)
{
    struct amber_row_decoder_config cfg = {.schema = &x->parsed};
    enum amber_rc rc;

    if ((rc = amber_row_encoder_new(&x->parsed, &x->enc, err)) != AMBER_OK) {
        assert_null(x->enc);
        return rc;
    }
    if ((rc = amber_row_decoder_new(&cfg, &x->dec, err)) != AMBER_OK) {
        assert_null(x->dec);
        return rc;
    }
    rc = amber_row_encode(x->enc, line, sizeof(line) - 1, &x->json, &x->overlay, err);
    if (rc != AMBER_OK) {
        assert_true(x->json.len == 0 && x->overlay.len == 0);
        return rc;
    }
    rc = amber_row_decode(x->dec, x->json.data, x->json.len - 1, x->overlay.data, x->overlay.len,
                          &x->copy, NULL, err);
    if (rc != AMBER_OK) {
        assert_int_equal(x->copy.len, 0);
        return rc;
    }
    assert_int_equal(x->copy.len, sizeof(line));
    assert_memory_equal(x->copy.data, line, sizeof(line) - 1);
    x->copy.len = 0;
    return amber_row_decode(x->dec, reordered, sizeof(reordered) - 1, NULL, 0, &x->copy, NULL, err);
}

static void every_failed_allocation_is_nomem_and_leaves_outputs(void **state)
{
    (void)state;
    enum amber_rc rc;
    unsigned long n = 0;

    do {
        struct objects x = {0};
        struct amber_buf *bufs[] = {&x.text, &x.json, &x.overlay, &x.copy};
        struct amber_err err = AMBER_ERR_INIT;
        for (size_t i = 0; i < amber_countof(bufs); i++)
            amber_buf_init(bufs[i], MAX);
        nth_arm(NTH_ALLOC, ++n, true);
        rc = make_schemas(&x, &err);
        if (rc == AMBER_OK)
            rc = convert(&x, &err);
        nth_arm(NTH_ALLOC, 0, false);
        if (rc != AMBER_OK)
            assert_int_equal(rc, AMBER_E_NOMEM);
        amber_row_encoder_free(x.enc);
        amber_row_decoder_free(x.dec);
        amber_schema_clear(&x.parsed);
        amber_schema_clear(&x.copied);
        for (size_t i = 0; i < amber_countof(bufs); i++)
            amber_buf_clear(bufs[i]);
    } while (rc != AMBER_OK);
    assert_true(n > 20); /* the wrapping works */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failed_allocation_is_nomem_and_leaves_outputs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
