/*
 * test_json_nomem.c - a JSON text is parsed while the nth allocation fails, for every n: NOMEM, and
 * never a value other than the text's. (jansson's lexer goes on without the bytes it had no room
 * for.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include "amber/json_memory.h"
#include "amber/mem.h"
#include "nth.h"

#define LONGEST 200

/* For each length a string, a key and digits of so many bytes, so that the lexer's buffer grows at
 * each byte of a token, its closing quote included. */
static size_t make_text(size_t len, char *out, size_t room)
{
    char fill[LONGEST + 1];

    memset(fill, '7', len);
    fill[len] = '\0';
    int n = snprintf(out, room, "[\"%s\",{\"%s\":[1,%s.5,true,null,\"\\u00e9%s\"]}]", fill, fill,
                     fill, fill);
    assert_true(n > 0 && (size_t)n < room);
    return (size_t)n;
}

static unsigned long check_each_allocation(const char *text, size_t len)
{
    json_t *good, *doc;
    struct amber_err err = AMBER_ERR_INIT;
    enum amber_rc rc;
    unsigned long n = 0;

    assert_int_equal(amber_json_load(text, len, true, &good, NULL, &err), AMBER_OK);
    do {
        nth_arm(NTH_ALLOC, ++n, false);
        rc = amber_json_load(text, len, true, &doc, NULL, &err);
        nth_arm(NTH_ALLOC, 0, false);
        if (rc) {
            assert_int_equal(rc, AMBER_E_NOMEM);
            assert_null(doc);
        } else {
            assert_true(json_equal(doc, good));
            json_decref(doc);
        }
    } while (rc);
    json_decref(good);
    return n;
}

static void every_failed_allocation_is_nomem_and_no_byte_goes_missing(void **state)
{
    (void)state;
    char text[4 * LONGEST + 64];

    for (size_t len = 1; len <= LONGEST; len++)
        assert_true(check_each_allocation(text, make_text(len, text, sizeof(text))) > 10);
}

static void a_document_made_without_memory_is_known(void **state)
{
    (void)state;
    bool starved;
    unsigned long n = 0;

    do {
        amber_json_begin();
        nth_arm(NTH_ALLOC, ++n, false);
        json_t *doc = json_object();
        json_object_set_new(doc, "name", json_string("amber"));
        json_object_set_new(doc, "list", json_array());
        nth_arm(NTH_ALLOC, 0, false);
        starved = amber_json_starved();
        assert_true(starved || json_object_size(doc) == 2);
        json_decref(doc);
    } while (starved);
    assert_true(n > 5);
}

static void a_text_that_is_not_json_tells_where(void **state)
{
    (void)state;
    struct amber_json_where where;
    struct amber_err err = AMBER_ERR_INIT;
    json_t *doc;

    assert_int_equal(amber_json_load("{\n]", 3, true, &doc, &where, &err), AMBER_E_CORRUPT);
    assert_null(doc);
    assert_int_equal(where.line, 2);
    assert_true(where.text[0] != '\0');
    assert_int_equal(amber_json_load("{\"a\":1,\"a\":2}", 13, true, &doc, NULL, &err),
                     AMBER_E_CORRUPT);
    assert_int_equal(amber_json_load("{\"a\":1,\"a\":2}", 13, false, &doc, NULL, &err), AMBER_OK);
    json_decref(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failed_allocation_is_nomem_and_no_byte_goes_missing),
        cmocka_unit_test(a_document_made_without_memory_is_known),
        cmocka_unit_test(a_text_that_is_not_json_tells_where),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
