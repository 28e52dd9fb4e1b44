/*
 * test_row.c - the row format without a database: what each kind looks like, the law
 * decode(encode(line)) == line, and what a hostile or careless text is told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "amber/row.h"

#define MAX (64U * 1024U * 1024U)

static struct amber_schema schema_of(const char *json)
{
    struct amber_schema s;
    struct amber_err err = AMBER_ERR_INIT;

    if (amber_schema_parse(json, strlen(json), &s, &err) != AMBER_OK)
        fail_msg("%s", err.text);
    return s;
}

/* A schema of one column "x" whose type is given without braces. */
static struct amber_schema column_of(const char *type)
{
    char json[2048];

    snprintf(json, sizeof(json), "[{\"name\":\"x\",\"type\":\"t\",%s}]", type);
    return schema_of(json);
}

/* Encode the line, compare JSON and overlay, decode both, compare with the line. */
static void check_row(const struct amber_schema *s, const char *line, size_t len, const char *json,
                      const char *overlay)
{
    AMBER_AUTO_BUF struct amber_buf j = AMBER_BUF_INIT(MAX), o = AMBER_BUF_INIT(MAX),
                                    c = AMBER_BUF_INIT(MAX);
    struct amber_row_encoder *e;
    struct amber_row_decoder *d;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_row_decoder_config cfg = {.schema = s};

    assert_int_equal(amber_row_encoder_new(s, &e, &err), AMBER_OK);
    assert_int_equal(amber_row_decoder_new(&cfg, &d, &err), AMBER_OK);
    if (amber_row_encode(e, line, len, &j, &o, &err) != AMBER_OK)
        fail_msg("%s", err.text);
    assert_true(j.len > 0 && j.data[j.len - 1] == '\n');
    if (json) {
        j.data[j.len - 1] = '\0';
        assert_string_equal(j.data, json);
        assert_string_equal(o.data ? o.data : "", overlay);
    }
    if (amber_row_decode(d, j.data, j.len - 1, o.data, o.len, &c, NULL, &err) != AMBER_OK)
        fail_msg("%s", err.text);
    assert_int_equal(c.len, len + 1);
    assert_memory_equal(c.data, line, len);
    assert_int_equal(c.data[len], '\n');
    amber_row_encoder_free(e);
    amber_row_decoder_free(d);
}

struct example {
    const char *copy, *json, *exact; /* exact: overlay's JSON string, NULL: none */
};

static void check_examples(const char *type, const struct example *x, size_t n)
{
    struct amber_schema s = column_of(type);

    for (size_t i = 0; i < n; i++) {
        char json[1024], overlay[1024] = "";
        snprintf(json, sizeof(json), "{\"x\":%s}", x[i].json);
        if (x[i].exact)
            snprintf(overlay, sizeof(overlay), "{\"x\":%s}", x[i].exact);
        check_row(&s, x[i].copy, strlen(x[i].copy), json, overlay);
    }
    amber_schema_clear(&s);
}
#define EXAMPLES(type, ...)                                                                        \
    do {                                                                                           \
        static const struct example list[] = {__VA_ARGS__};                                        \
        check_examples(type, list, amber_countof(list));                                           \
    } while (0)

#define TEXT "\"kind\":\"text\""
#define NUMBER "\"kind\":\"number\""
#define JSON "\"kind\":\"json\""
#define ARRAY(elem) "\"kind\":\"array\",\"element\":{\"type\":\"e\"," elem "}"
#define PAIR                                                                                       \
    "\"kind\":\"composite\",\"fields\":[{\"name\":\"a\",\"type\":\"integer\"," NUMBER              \
    "},{\"name\":\"b\\\"c\",\"type\":\"text\"," TEXT "}]"

static void encode_text_gives_json_string(void **state)
{
    (void)state;
    EXAMPLES(TEXT, {"", "\"\"", NULL}, {"\\N", "null", NULL}, {"\\\\N", "\"\\\\N\"", NULL},
             {"a\\tb\\nc\\rd\\be\\ff\\vg", "\"a\\tb\\nc\\rd\\be\\ff\\u000bg\"", NULL},
             {"say \"hi\" \\\\ /", "\"say \\\"hi\\\" \\\\ /\"", NULL},
             {"\x01\x1b\x7f", "\"\\u0001\\u001b\x7f\"", NULL},
             {"\xc3\xa9 \xf0\x9f\x98\x80", "\"\xc3\xa9 \xf0\x9f\x98\x80\"", NULL});
}

static void encode_number_quotes_what_json_has_not(void **state)
{
    (void)state;
    EXAMPLES(NUMBER, {"1", "1", NULL}, {"-0", "-0", NULL}, {"1e+20", "1e+20", NULL},
             {"-9223372036854775808", "-9223372036854775808", NULL}, {"NaN", "\"NaN\"", NULL},
             {"-Infinity", "\"-Infinity\"", NULL}, {"007", "\"007\"", NULL}, {"", "\"\"", NULL},
             {"1.", "\"1.\"", NULL}, {"\\N", "null", NULL});
}

static void encode_bool_gives_true_and_false(void **state)
{
    (void)state;
    EXAMPLES("\"kind\":\"bool\"", {"t", "true", NULL}, {"f", "false", NULL}, {"\\N", "null", NULL});
}

static void encode_json_passes_verbatim_with_exceptions_in_overlay(void **state)
{
    (void)state;
    EXAMPLES(JSON, {"{\"a\": [1, 2.50, null]}", "{\"a\": [1, 2.50, null]}", NULL},
             {"\"\\\\u0000 \\\\ud800 \\\\\\\\\"", "\"\\u0000 \\ud800 \\\\\"", NULL},
             {"{\"a\":1,\"a\":2}", "{\"a\":1,\"a\":2}", NULL}, {"\\N", "null", NULL},
             {"null", "null", "\"null\""}, {" 1", " 1", "\" 1\""}, {"1\\t", "1\t", "\"1\\t\""},
             {"[\\n1,\\r2]", "[ 1, 2]", "\"[\\n1,\\r2]\""}, {"[\\t1]", "[\t1]", NULL});
}

static void encode_timestamp_follows_xsd(void **state)
{
    (void)state;
    EXAMPLES("\"kind\":\"timestamp\"",
             {"2024-01-31 02:03:04.000001", "\"2024-01-31T02:03:04.000001\"", NULL},
             {"0044-03-15 00:00:00 BC", "\"0044-03-15T00:00:00 BC\"", NULL},
             {"infinity", "\"infinity\"", NULL},
             {"294276-12-31 23:59:59.999999", "\"294276-12-31T23:59:59.999999\"", NULL},
             {"2024-01-31T02:03:04", "\"2024-01-31T02:03:04\"", "\"2024-01-31T02:03:04\""});
    EXAMPLES("\"kind\":\"timestamptz\"",
             {"2024-01-31 02:03:04+00", "\"2024-01-31T02:03:04+00:00\"", NULL},
             {"12345-01-31 02:03:04+00", "\"12345-01-31T02:03:04+00:00\"", NULL},
             {"0044-03-15 00:00:00+00 BC", "\"0044-03-15T00:00:00+00:00 BC\"", NULL},
             {"-infinity", "\"-infinity\"", NULL},
             {"2024-01-31 02:03:04+05:30", "\"2024-01-31T02:03:04+05:30\"", NULL},
             {"2024-01-31 02:03:04+00:00", "\"2024-01-31T02:03:04+00:00\"",
              "\"2024-01-31 02:03:04+00:00\""});
}

static void encode_array_nests_and_keeps_bounds_in_overlay(void **state)
{
    (void)state;
    EXAMPLES(ARRAY(NUMBER), {"{}", "[]", NULL}, {"{1,-2.5,3e+10}", "[1,-2.5,3e+10]", NULL},
             {"{1,NULL,NaN}", "[1,null,\"NaN\"]", NULL}, {"{{1,2},{3,4}}", "[[1,2],[3,4]]", NULL},
             {"[0:1]={1,2}", "[1,2]", "\"[0:1]={1,2}\""}, {"{{{{{{1}}}}}}", "[[[[[[1]]]]]]", NULL},
             {"\\N", "null", NULL});
    EXAMPLES(ARRAY(TEXT), {"{\"\",\"NULL\",NULL,null1}", "[\"\",\"NULL\",null,\"null1\"]", NULL},
             {"{\"a,b\",\"{}\",\"a \\\\\"b\\\\\" \\\\\\\\c\",\"\\n\"}",
              "[\"a,b\",\"{}\",\"a \\\"b\\\" \\\\c\",\"\\n\"]", NULL},
             {"{\"plain\"}", "[\"plain\"]", "\"{\\\"plain\\\"}\""});
    EXAMPLES(ARRAY(TEXT) ",\"delim\":\";\"",
             {"{(1,1),(0,0);(2,2),(1,1)}", "[\"(1,1),(0,0)\",\"(2,2),(1,1)\"]", NULL});
    EXAMPLES(ARRAY("\"kind\":\"bool\""), {"{t,f,NULL}", "[true,false,null]", NULL});
    EXAMPLES(ARRAY("\"kind\":\"timestamptz\""),
             {"{\"2024-01-01 00:00:00+00\",infinity}",
              "[\"2024-01-01T00:00:00+00:00\",\"infinity\"]", NULL});
}

static void encode_json_array_of_arrays_uses_overlay_when_ambiguous(void **state)
{
    (void)state;
    EXAMPLES(ARRAY(JSON), {"{\"[1, 2]\",\"{\\\\\"a\\\\\": 1}\",3}", "[[1, 2],{\"a\": 1},3]", NULL},
             {"{{1,2}}", "[[1,2]]", "\"{{1,2}}\""}, {"{\"null\"}", "[null]", "\"{\\\"null\\\"}\""},
             {"{\"[\\n1]\"}", "[[ 1]]", "\"{\\\"[\\n1]\\\"}\""});
    EXAMPLES(ARRAY(ARRAY(NUMBER)), {"{\"{1,2}\",\"{}\",NULL}", "[[1,2],[],null]", NULL});
}

static void encode_vector_gives_array(void **state)
{
    (void)state;
    EXAMPLES("\"kind\":\"vector\",\"element\":{\"type\":\"smallint\"," NUMBER "}", {"", "[]", NULL},
             {"1 -2 3", "[1,-2,3]", NULL});
    EXAMPLES("\"kind\":\"vector\",\"element\":{\"type\":\"oid\"," TEXT "}",
             {"23 25", "[\"23\",\"25\"]", NULL});
}

static void encode_composite_gives_object(void **state)
{
    (void)state;
    EXAMPLES(
        PAIR, {"(,)", "{\"a\":null,\"b\\\"c\":null}", NULL},
        {"(1,\"\")", "{\"a\":1,\"b\\\"c\":\"\"}", NULL},
        {"(1,\"a \"\"b\"\" \\\\\\\\ (,)\")", "{\"a\":1,\"b\\\"c\":\"a \\\"b\\\" \\\\ (,)\"}", NULL},
        {"(1,NULL)", "{\"a\":1,\"b\\\"c\":\"NULL\"}", NULL},
        {"(NaN,{x})", "{\"a\":\"NaN\",\"b\\\"c\":\"{x}\"}", NULL});
    EXAMPLES(ARRAY(PAIR),
             {"{\"(1,\\\\\"x y\\\\\")\",NULL}", "[{\"a\":1,\"b\\\"c\":\"x y\"},null]", NULL});
    EXAMPLES("\"kind\":\"composite\",\"fields\":[]", {"()", "{}", NULL});
    EXAMPLES("\"kind\":\"composite\",\"fields\":[{\"name\":\"l\",\"type\":\"t\"," ARRAY(
                 TEXT) "},{\"name\":\"p\",\"type\":\"t\"," PAIR "}]",
             {"(\"{a,\"\"b c\"\"}\",\"(1,\"\"\"\")\")",
              "{\"l\":[\"a\",\"b c\"],\"p\":{\"a\":1,\"b\\\"c\":\"\"}}", NULL});
}

static void encode_hstore_gives_object(void **state)
{
    (void)state;
    EXAMPLES("\"kind\":\"hstore\"", {"", "{}", NULL},
             {"\"k\"=>\"v\", \"n\"=>NULL", "{\"k\": \"v\", \"n\": null}", NULL},
             {"\"a\\\\\"b\"=>\"NULL\"", "{\"a\\\"b\": \"NULL\"}", NULL},
             {"\"k\"=>\"\"", "{\"k\": \"\"}", NULL});
}

static void encode_server_column_keeps_text_in_overlay(void **state)
{
    (void)state;
    AMBER_AUTO_BUF struct amber_buf j = AMBER_BUF_INIT(MAX), o = AMBER_BUF_INIT(MAX),
                                    c = AMBER_BUF_INIT(MAX);
    struct amber_schema s = schema_of("[{\"name\":\"g\",\"type\":\"geometry\",\"kind\":\"server\"},"
                                      "{\"name\":\"x\",\"type\":\"t\"," NUMBER "}]");
    struct amber_row_decoder_config cfg = {.schema = &s};
    struct amber_row_encoder *e;
    struct amber_row_decoder *d;
    struct amber_fast_hasher *h;
    struct amber_fast_digest sent, back;
    struct amber_err err = AMBER_ERR_INIT;
    static const char line[] = "0101\t{\"type\":\"Point\"}\t7", text[] = "0101\t7\n";

    assert_int_equal(amber_row_encoder_new(&s, &e, &err), AMBER_OK);
    assert_int_equal(amber_row_decoder_new(&cfg, &d, &err), AMBER_OK);
    assert_int_equal(amber_row_encode(e, line, strlen(line), &j, &o, &err), AMBER_OK);
    assert_string_equal(j.data, "{\"g\":{\"type\":\"Point\"},\"x\":7}\n");
    assert_string_equal(o.data, "{\"g\":\"0101\"}");
    assert_int_equal(amber_row_decode(d, j.data, j.len - 1, o.data, o.len, &c, NULL, &err), 0);
    assert_string_equal(c.data, text);

    assert_int_equal(amber_fast_hasher_new(&h, &err), AMBER_OK);
    amber_row_digest(e, line, strlen(line), h);
    amber_fast_hasher_final(h, &sent);
    amber_fast_digest(text, strlen(text), &back);
    assert_memory_equal(&sent, &back, sizeof(sent));
    amber_fast_hasher_free(h);

    /* NULL needs no overlay; an archive's value without one can't be restored */
    j.len = o.len = c.len = 0;
    assert_int_equal(amber_row_encode(e, "\\N\t\\N\t7", 7, &j, &o, &err), AMBER_OK);
    assert_string_equal(j.data, "{\"g\":null,\"x\":7}\n");
    assert_int_equal(o.len, 0);
    assert_int_equal(amber_row_encode(e, "0101\t7", 6, &j, &o, &err), AMBER_E_CORRUPT);
    assert_int_equal(amber_row_decode(d, "{\"g\":{},\"x\":7}", 14, NULL, 0, &c, NULL, &err),
                     AMBER_E_INVALID);
    assert_string_equal(err.text,
                        "byte 6, key \"g\": an object where an overlay entry is expected");
    amber_row_encoder_free(e);
    amber_row_decoder_free(d);
    amber_schema_clear(&s);
}

static void digest_without_server_columns_is_of_whole_line(void **state)
{
    (void)state;
    struct amber_schema s = column_of(TEXT);
    struct amber_row_encoder *e;
    struct amber_fast_hasher *h;
    struct amber_fast_digest a, b;
    struct amber_err err = AMBER_ERR_INIT;

    assert_int_equal(amber_row_encoder_new(&s, &e, &err), AMBER_OK);
    assert_int_equal(amber_fast_hasher_new(&h, &err), AMBER_OK);
    amber_row_digest(e, "abc", 3, h);
    amber_fast_hasher_final(h, &a);
    amber_fast_digest("abc\n", 4, &b);
    assert_memory_equal(&a, &b, sizeof(a));
    amber_fast_hasher_free(h);
    amber_row_encoder_free(e);
    amber_schema_clear(&s);
}

static void encode_every_length_and_alignment_round_trips(void **state)
{
    (void)state;
    static const char *const piece[] = {"a", "\\\\", "\\t", "\"", "\x02", "\xc3\xa9", "\\v", "\\n"};
    struct amber_schema s = schema_of("[{\"name\":\"x\",\"type\":\"t\"," TEXT
                                      "},{\"name\":\"y\",\"type\":\"t\"," TEXT "}]");
    char line[8192];

    for (size_t at = 0; at < 40; at++) /* each special piece at each offset of a step */
        for (size_t k = 0; k < amber_countof(piece); k++)
            for (size_t tail = 0; tail < 36; tail += 7) {
                int n = snprintf(line, sizeof(line), "%.*s%s%.*s\t%s", (int)at,
                                 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz", piece[k],
                                 (int)tail, "abcdefghijklmnopqrstuvwxyzabcdefghijklmnop", piece[k]);
                check_row(&s, line, (size_t)n, NULL, NULL);
            }
    for (size_t n = 1000; n < 1100; n++) { /* around ROW_CHUNK, where every byte grows sixfold */
        memset(line, 1, n);
        line[n] = '\t';
        memset(line + n + 1, '"', n);
        check_row(&s, line, 2 * n + 1, NULL, NULL);
    }
    amber_schema_clear(&s);
}

static void encode_no_columns_gives_empty_object(void **state)
{
    (void)state;
    struct amber_schema s = schema_of("[]");

    check_row(&s, "", 0, "{}", "");
    amber_schema_clear(&s);
}

static void encode_one_empty_text_column_round_trips(void **state)
{
    (void)state;
    struct amber_schema s = schema_of("[{\"name\":\"x\",\"type\":\"t\"," TEXT
                                      "},{\"name\":\"y\",\"type\":\"t\"," TEXT "}]");

    check_row(&s, "\t", 1, "{\"x\":\"\",\"y\":\"\"}", "");
    amber_schema_clear(&s);
}

static void check_encode_fails(const char *type, const char *line, size_t len, const char *text)
{
    AMBER_AUTO_BUF struct amber_buf j = AMBER_BUF_INIT(MAX), o = AMBER_BUF_INIT(MAX);
    struct amber_schema s = column_of(type);
    struct amber_row_encoder *e;
    struct amber_err err = AMBER_ERR_INIT;

    assert_int_equal(amber_buf_puts(&j, "kept", &err), AMBER_OK);
    assert_int_equal(amber_row_encoder_new(&s, &e, &err), AMBER_OK);
    assert_int_equal(amber_row_encode(e, line, len, &j, &o, &err), AMBER_E_CORRUPT);
    if (!strstr(err.text, text))
        fail_msg("\"%s\" isn't in \"%s\"", text, err.text);
    assert_string_equal(j.data, "kept");
    assert_int_equal(o.len, 0);
    amber_row_encoder_free(e);
    amber_schema_clear(&s);
}

static void encode_wrong_line_is_corrupt(void **state)
{
    (void)state;
    check_encode_fails(TEXT, "a\tb", 3, "more fields");
    check_encode_fails(TEXT, "a\\q", 3, "column \"x\": an unknown backslash sequence");
    check_encode_fails(TEXT, "a\\", 2, "backslash");
    check_encode_fails(TEXT, "a\\Nb", 4, "backslash");
    check_encode_fails(TEXT, "a\nb", 3, "control character");
    check_encode_fails(TEXT, "a\0b", 3, "control character");
    check_encode_fails(TEXT, "ab\xff", 3, "byte 3 of the COPY line isn't UTF-8");
    check_encode_fails(TEXT, "\xed\xa0\x80", 3, "byte 1");
    check_encode_fails("\"kind\":\"bool\"", "true", 4, "a boolean");
    check_encode_fails(JSON, "{", 1, "isn't json");
    check_encode_fails(JSON, "1 2", 3, "isn't json");
    check_encode_fails(ARRAY(NUMBER), "{1", 2, "an array");
    check_encode_fails(ARRAY(NUMBER), "1,2", 3, "an array");
    check_encode_fails(ARRAY(NUMBER), "{1,,2}", 6, "an array");
    check_encode_fails(ARRAY(NUMBER), "{{{{{{{1}}}}}}}", 15, "an array");
    check_encode_fails(PAIR, "(1)", 3, "a composite of this type");
    check_encode_fails(PAIR, "(1,2,3)", 7, "a composite of this type");
    check_encode_fails("\"kind\":\"hstore\"", "k=>v", 4, "an hstore");
}

static void encode_too_few_fields_is_corrupt(void **state)
{
    (void)state;
    AMBER_AUTO_BUF struct amber_buf j = AMBER_BUF_INIT(MAX), o = AMBER_BUF_INIT(MAX);
    struct amber_schema s = schema_of("[{\"name\":\"x\",\"type\":\"t\"," TEXT
                                      "},{\"name\":\"y\",\"type\":\"t\"," TEXT "}]");
    struct amber_row_encoder *e;
    struct amber_err err = AMBER_ERR_INIT;

    assert_int_equal(amber_row_encoder_new(&s, &e, &err), AMBER_OK);
    assert_int_equal(amber_row_encode(e, "a", 1, &j, &o, &err), AMBER_E_CORRUPT);
    assert_non_null(strstr(err.text, "fewer fields than the 2 columns"));
    assert_int_equal(j.len, 0);
    amber_row_encoder_free(e);
    amber_schema_clear(&s);
}

static void encode_past_ceiling_is_limit_and_leaves_buffers(void **state)
{
    (void)state;
    AMBER_AUTO_BUF struct amber_buf j = AMBER_BUF_INIT(20000), o = AMBER_BUF_INIT(20000);
    struct amber_schema s = column_of(TEXT);
    struct amber_row_encoder *e;
    struct amber_err err = AMBER_ERR_INIT;
    static char line[30000];

    memset(line, 'a', sizeof(line));
    assert_int_equal(amber_row_encoder_new(&s, &e, &err), AMBER_OK);
    assert_int_equal(amber_row_encode(e, line, sizeof(line), &j, &o, &err), AMBER_E_LIMIT);
    assert_int_equal(j.len, 0);
    assert_int_equal(amber_row_encode(e, line, 10000, &j, &o, &err), AMBER_OK);
    amber_row_encoder_free(e);
    amber_schema_clear(&s);
}

static void encode_json_of_many_levels_round_trips_and_too_many_is_limit(void **state)
{
    (void)state;
    enum { DEEP = 65536 };
    AMBER_AUTO_BUF struct amber_buf j = AMBER_BUF_INIT(MAX), o = AMBER_BUF_INIT(MAX);
    struct amber_schema s = column_of(JSON);
    struct amber_row_encoder *e;
    struct amber_err err = AMBER_ERR_INIT;
    char *line = malloc(2 * DEEP + 2);

    assert_non_null(line);
    memset(line, '[', DEEP + 1);
    memset(line + DEEP, ']', DEEP);
    check_row(&s, line, 2 * DEEP, NULL, NULL);
    memset(line, '[', DEEP + 1);
    memset(line + DEEP + 1, ']', DEEP + 1);
    assert_int_equal(amber_row_encoder_new(&s, &e, &err), AMBER_OK);
    assert_int_equal(amber_row_encode(e, line, 2 * DEEP + 2, &j, &o, &err), AMBER_E_LIMIT);
    amber_row_encoder_free(e);
    amber_schema_clear(&s);
    free(line);
}

static void encode_long_array_of_text_round_trips(void **state)
{
    (void)state;
    AMBER_AUTO_BUF struct amber_buf line = AMBER_BUF_INIT(MAX);
    struct amber_schema s = column_of(ARRAY(TEXT));
    struct amber_err err = AMBER_ERR_INIT;

    assert_int_equal(amber_buf_puts(&line, "{first", &err), AMBER_OK);
    for (int i = 0; i < 200000; i++) /* past what working memory is kept */
        assert_int_equal(amber_buf_printf(&line, &err, ",\"%d \\\\\\\\ \\\\\"\"", i), AMBER_OK);
    assert_int_equal(amber_buf_puts(&line, "}", &err), AMBER_OK);
    check_row(&s, line.data, line.len, NULL, NULL);
    amber_schema_clear(&s);
}

/* ---- decode ----------------------------------------------------------------------------- */

#define THREE                                                                                      \
    "[{\"name\":\"id\",\"type\":\"bigint\"," NUMBER                                                \
    "},{\"name\":\"na me\",\"type\":\"text\"," TEXT                                                \
    "},{\"name\":\"tags\",\"type\":\"text[]\"," ARRAY(TEXT) "}]"

struct decoding {
    const char *schema;
    const size_t *emit;
    size_t n_emit;
    bool any_keys;
    bool present[8];
};

/* The COPY line (static) or NULL with err. */
static const char *decode_len(struct decoding *x, const char *json, size_t len, const char *overlay,
                              struct amber_err *err)
{
    static char out[65536];
    AMBER_AUTO_BUF struct amber_buf c = AMBER_BUF_INIT(MAX);
    struct amber_schema s = schema_of(x->schema);
    struct amber_row_decoder_config cfg = {
        .schema = &s, .emit = x->emit, .n_emit = x->n_emit, .any_keys = x->any_keys};
    struct amber_row_decoder *d;
    char *exact = malloc(len ? len : 1); /* so that a sanitizer sees any overrun */

    assert_non_null(exact);
    memcpy(exact, json, len);
    assert_int_equal(amber_buf_puts(&c, "kept", err), AMBER_OK);
    assert_int_equal(amber_row_decoder_new(&cfg, &d, err), AMBER_OK);
    enum amber_rc rc = amber_row_decode(d, exact, len, overlay, overlay ? strlen(overlay) : 0, &c,
                                        x->present, err);
    assert_memory_equal(c.data, "kept", 4);
    if (rc != AMBER_OK)
        assert_int_equal(c.len, 4);
    assert_int_equal(rc, err->code);
    memcpy(out, c.data + 4, c.len - 3);
    amber_row_decoder_free(d);
    amber_schema_clear(&s);
    free(exact);
    return rc == AMBER_OK ? out : NULL;
}

static const char *decode(struct decoding *x, const char *json, struct amber_err *err)
{
    return decode_len(x, json, strlen(json), NULL, err);
}

static void check_decodes(struct decoding *x, const char *json, const char *copy)
{
    struct amber_err err = AMBER_ERR_INIT;
    const char *got = decode(x, json, &err);

    if (!got)
        fail_msg("%s: %s", json, err.text);
    assert_string_equal(got, copy);
}

static void check_refuses(struct decoding *x, const char *json, const char *text)
{
    struct amber_err err = AMBER_ERR_INIT;

    if (decode(x, json, &err))
        fail_msg("accepted: %s", json);
    assert_int_equal(err.code, AMBER_E_INVALID);
    assert_string_equal(err.text, text);
}

static void decode_reordered_keys_gives_column_order(void **state)
{
    (void)state;
    struct decoding x = {.schema = THREE};

    check_decodes(&x, " { \"tags\" : [ \"a\" , null ] , \"id\":7,\"na me\" : \"x\\ty\" } ",
                  "7\tx\\ty\t{a,NULL}\n");
    check_decodes(&x, "{\"id\":7,\"na\\u0020me\":null,\"tags\":null}", "7\t\\N\t\\N\n");
    assert_true(x.present[0] && x.present[1] && x.present[2]);
}

static void decode_emit_chooses_and_orders_columns(void **state)
{
    (void)state;
    static const size_t backwards[] = {2, 0}, forwards[] = {0, 2};
    struct decoding x = {.schema = THREE, .emit = backwards, .n_emit = 2};

    check_decodes(&x, "{\"id\":7,\"na me\":\"x\",\"tags\":[]}", "{}\t7\n");
    x.emit = forwards;
    check_decodes(&x, "{\"id\":7,\"na me\":\"x\",\"tags\":[]}", "7\t{}\n");
    check_decodes(&x, "{\"na me\":\"x\",\"id\":7,\"tags\":[]}", "7\t{}\n");
    x.n_emit = 0;
    check_decodes(&x, "{\"id\":7,\"na me\":\"x\",\"tags\":[]}", "\n");
}

static void decode_missing_key_depends_on_any_keys(void **state)
{
    (void)state;
    struct decoding x = {.schema = THREE};

    check_refuses(&x, "{\"id\":7,\"tags\":[]}", "byte 1: the key \"na me\" is missing");
    x.any_keys = true;
    check_decodes(&x, "{\"tags\":[\"b\"],\"id\":7}", "7\t{b}\n");
    assert_true(x.present[0] && !x.present[1] && x.present[2]);
    check_decodes(&x, "{}", "\n");
    assert_true(!x.present[0] && !x.present[1] && !x.present[2]);
}

static void decode_any_keys_takes_bare_scalars_for_text(void **state)
{
    (void)state;
    struct decoding x = {.schema = THREE, .any_keys = true};

    check_decodes(&x, "{\"id\":\"7\",\"na me\":12.50,\"tags\":[true,1]}", "7\t12.50\t{true,1}\n");
    check_decodes(&x, "{\"tags\":\"{a,b}\"}", "{a,b}\n");
    x.any_keys = false;
    check_refuses(&x, "{\"id\":7,\"na me\":12.50,\"tags\":[]}",
                  "byte 17, key \"na me\": a number where a string is expected");
}

static void decode_string_for_bool_depends_on_any_keys(void **state)
{
    (void)state;
    struct decoding x = {.schema = "[{\"name\":\"x\",\"type\":\"t\",\"kind\":\"bool\"}]"};

    check_refuses(&x, "{\"x\":\"yes\"}",
                  "byte 6, key \"x\": a string where true or false is expected");
    x.any_keys = true;
    check_decodes(&x, "{\"x\":\"yes\"}", "yes\n");
    check_decodes(&x, "{\"x\":true}", "t\n");
}

static void decode_wrong_type_says_where(void **state)
{
    (void)state;
    struct decoding x = {.schema = THREE};

    check_refuses(&x, "{\"id\":{},\"na me\":\"\",\"tags\":[]}",
                  "byte 7, key \"id\": an object where a number is expected");
    check_refuses(&x, "{\"id\":true,\"na me\":\"\",\"tags\":[]}",
                  "byte 7, key \"id\": true or false where a number is expected");
    check_refuses(&x, "{\"id\":1,\"na me\":\"\",\"tags\":[{}]}",
                  "byte 28, key \"tags\": an object where a string is expected");
    check_refuses(&x, "{\"id\":1,\"na me\":\"\",\"tags\":\"{}\"}",
                  "byte 27, key \"tags\": a string where an array is expected");
    check_refuses(&x, "{\"id\":1,\"na me\":\"\",\"tags\":[[[[[[[\"a\"]]]]]]]}",
                  "byte 33, key \"tags\": an array of more than 6 dimensions");
}

static void decode_unknown_or_repeated_key_says_where(void **state)
{
    (void)state;
    struct decoding x = {.schema = THREE};

    check_refuses(&x, "{\"id\":1,\"other\":\"secret\"}",
                  "byte 9, key \"other\": the table has no such column");
    check_refuses(&x, "{\"id\":1,\"na me\":\"\",\"tags\":[],\"id\":2}",
                  "byte 30, key \"id\": the key comes twice");
}

static void decode_bad_json_says_where(void **state)
{
    (void)state;
    struct decoding x = {.schema = THREE};

    check_refuses(&x, "", "byte 1: the end of the text where an object is expected");
    check_refuses(&x, "[]", "byte 1: an array where an object is expected");
    check_refuses(&x, "{\"id\":1", "byte 8: expected ',' or '}'");
    check_refuses(&x, "{\"id\":01}", "byte 8: expected ',' or '}'");
    check_refuses(&x, "{\"id\" 1}", "byte 7, key \"id\": expected ':' behind a key");
    check_refuses(&x, "{id:1}", "byte 2: expected a key in quotation marks");
    check_refuses(&x, "{\"id\":1,}", "byte 9: expected a key in quotation marks");
    check_refuses(&x, "{\"id\":-}", "byte 7, key \"id\": no JSON value where a number is expected");
    check_refuses(&x, "{\"id\":1,\"na me\":\"\",\"tags\":[]}x",
                  "byte 30: more text behind the object");
    check_refuses(&x, "{\"id\":1,\"na me\":\"a\nb\",\"tags\":[]}",
                  "byte 19, key \"na me\": a control character inside a string");
    check_refuses(&x, "{\"id\":1,\"na me\":\"\\x\",\"tags\":[]}",
                  "byte 18, key \"na me\": an unknown escape in a string");
    check_refuses(&x, "{\"id\":1,\"na me\":\"\\v\",\"tags\":[]}",
                  "byte 18, key \"na me\": an unknown escape in a string");
    check_refuses(&x, "{\"id\":1,\"na me\":\"\\u12g4\",\"tags\":[]}",
                  "byte 18, key \"na me\": \\u isn't followed by four hex digits");
    check_refuses(&x, "{\"id\":1,\"na me\":\"abc",
                  "byte 21, key \"na me\": the text ends inside a string");
    check_refuses(&x, "{\"id\":1,\"na me\":\"\xc3(\",\"tags\":[]}", "byte 18: not valid UTF-8");
}

static void decode_unicode_escapes(void **state)
{
    (void)state;
    struct decoding x = {.schema = "[{\"name\":\"x\",\"type\":\"t\"," TEXT "}]"};

    check_decodes(&x, "{\"x\":\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\\/\"}",
                  "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80/\n");
    check_decodes(&x, "{\"x\":\"\\u0009\\u005c\\u000b\\u0001\\u0022\"}", "\\t\\\\\\v\x01\"\n");
    check_refuses(&x, "{\"x\":\"a\\u0000\"}",
                  "byte 8, key \"x\": \\u0000 can't be stored in PostgreSQL; remove it");
    check_refuses(&x, "{\"x\":\"\\ud83d\"}", "byte 7, key \"x\": half of a surrogate pair");
    check_refuses(&x, "{\"x\":\"\\ude00\\ud83d\"}", "byte 7, key \"x\": half of a surrogate pair");
    check_refuses(&x, "{\"x\":\"\\ud83d\\u0041\"}", "byte 7, key \"x\": half of a surrogate pair");
}

static void decode_every_cut_is_refused(void **state)
{
    (void)state;
    static const char json[] =
        "{\"id\":12,\"na me\":\"a\\ud83d\\ude00\xc3\xa9\",\"tags\":[\"b\",null]}";
    struct decoding x = {.schema = THREE};
    struct amber_err err = AMBER_ERR_INIT;

    assert_non_null(decode(&x, json, &err));
    for (size_t len = 0; len < sizeof(json) - 1; len++) {
        struct amber_err e = AMBER_ERR_INIT;
        assert_null(decode_len(&x, json, len, NULL, &e));
        assert_int_equal(e.code, AMBER_E_INVALID);
    }
}

static void decode_nested_object_checks_members(void **state)
{
    (void)state;
    struct decoding x = {.schema = "[{\"name\":\"x\",\"type\":\"t\"," PAIR "}]"};

    check_decodes(&x, "{\"x\":{\"b\\u0022c\":\"\",\"a\":1}}", "(1,\"\")\n");
    check_refuses(&x, "{\"x\":{\"a\":1}}", "byte 6, key \"x\": the object has no member \"b\"c\"");
    check_refuses(&x, "{\"x\":{\"a\":1,\"z\":1}}", "byte 13, key \"x\": an unknown member");
    check_refuses(&x, "{\"x\":{\"a\":1,\"a\":1}}", "byte 13, key \"x\": a member comes twice");
    x.any_keys = true;
    check_decodes(&x, "{\"x\":{\"a\":1}}", "(1,)\n");
}

static void decode_long_foreign_key_is_cut_in_the_message(void **state)
{
    (void)state;
    struct decoding x = {.schema = THREE, .any_keys = true};
    struct amber_err err = AMBER_ERR_INIT;
    char json[1200] = "{\"";

    for (int i = 0; i < 500; i++)
        strcat(json, "\xc3\xa9");
    strcat(json, "\":1}");
    assert_null(decode(&x, json, &err));
    assert_int_equal(err.code, AMBER_E_INVALID);
    assert_true(strlen(err.text) < 300);
}

static void decode_too_deep_is_limit(void **state)
{
    (void)state;
    struct decoding x = {.schema = "[{\"name\":\"x\",\"type\":\"t\"," JSON "}]"};
    struct amber_err err = AMBER_ERR_INIT;
    size_t len = 70000;
    char *json = malloc(len);

    assert_non_null(json);
    memset(json, '[', len);
    memcpy(json, "{\"x\":", 5);
    assert_null(decode_len(&x, json, len, NULL, &err));
    assert_int_equal(err.code, AMBER_E_LIMIT);
    free(json);
}

static void decode_bad_overlay_is_corrupt(void **state)
{
    (void)state;
    static const char *const bad[] = {"{",
                                      "[]",
                                      "{\"y\":\"\"}",
                                      "{\"x\":1}",
                                      "{\"x\":\"\"}x",
                                      "{\"x\":\"\\ud800\"}",
                                      "{\"x\":\"\xff\"}",
                                      "{\"x\":\"\",\"x\":\"\"}"};
    struct decoding x = {.schema = "[{\"name\":\"x\",\"type\":\"t\"," TEXT "}]"};

    for (size_t i = 0; i < amber_countof(bad); i++) {
        struct amber_err err = AMBER_ERR_INIT;
        assert_null(decode_len(&x, "{\"x\":null}", 10, bad[i], &err));
        assert_int_equal(err.code, AMBER_E_CORRUPT);
        assert_memory_equal(err.text, "overlay ", 8);
    }
    struct amber_err err = AMBER_ERR_INIT;
    assert_string_equal(decode_len(&x, "{\"x\":null}", 10, "{\"x\":\"\\\\N\"}", &err), "\\\\N\n");
}

static void decoder_new_refuses_wrong_emit(void **state)
{
    (void)state;
    struct amber_schema s = schema_of(THREE);
    static const size_t twice[] = {1, 1}, beyond[] = {3};
    struct amber_row_decoder_config cfg = {.schema = &s, .emit = twice, .n_emit = 2};
    struct amber_row_decoder *d = NULL;
    struct amber_err err = AMBER_ERR_INIT;

    assert_int_equal(amber_row_decoder_new(&cfg, &d, &err), AMBER_E_INVALID);
    cfg.emit = beyond;
    cfg.n_emit = 1;
    assert_int_equal(amber_row_decoder_new(&cfg, &d, &err), AMBER_E_INVALID);
    assert_null(d);
    amber_schema_clear(&s);
}

static void encoder_new_refuses_impossible_schema(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "[{\"name\":\"x\",\"type\":\"t\"," TEXT "},{\"name\":\"x\",\"type\":\"t\"," TEXT "}]",
        "[{\"name\":\"x\",\"type\":\"t\"," ARRAY("\"kind\":\"server\"") "}]",
        "[{\"name\":\"x\",\"type\":\"t\"," ARRAY(TEXT) ",\"delim\":\"{\"}]",
    };

    for (size_t i = 0; i < amber_countof(bad); i++) {
        struct amber_schema s = schema_of(bad[i]);
        struct amber_row_encoder *e = NULL;
        struct amber_err err = AMBER_ERR_INIT;
        assert_int_equal(amber_row_encoder_new(&s, &e, &err), AMBER_E_INVALID);
        assert_null(e);
        amber_schema_clear(&s);
    }
}

/* ---- overlay lines ---------------------------------------------------------------------- */

static void overlay_line_round_trips(void **state)
{
    (void)state;
    AMBER_AUTO_BUF struct amber_buf out = AMBER_BUF_INIT(1024);
    struct amber_err err = AMBER_ERR_INIT;
    uint64_t row;
    const char *obj;
    size_t len;

    assert_int_equal(amber_overlay_format(UINT64_MAX, "{\"x\":\"]\"}", 9, &out, &err), AMBER_OK);
    assert_string_equal(out.data, "[18446744073709551615,{\"x\":\"]\"}]\n");
    assert_int_equal(amber_overlay_parse(out.data, out.len, &row, &obj, &len, &err), AMBER_OK);
    assert_true(row == UINT64_MAX);
    assert_int_equal(len, 9);
    assert_memory_equal(obj, "{\"x\":\"]\"}", 9);
    assert_int_equal(amber_overlay_parse(out.data, out.len - 1, &row, &obj, &len, &err), AMBER_OK);
    assert_int_equal(amber_overlay_parse("[0,{}]", 6, &row, &obj, &len, &err), AMBER_OK);
    assert_true(row == 0 && len == 2);
}

static void overlay_parse_refuses_other_lines(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "\n",
                                      "[",
                                      "[1",
                                      "[1,",
                                      "[1,{",
                                      "[1,{}",
                                      "[,{}]",
                                      "[-1,{}]",
                                      "[01,{}]",
                                      "[1,[]]",
                                      "[1,{}]x",
                                      "[18446744073709551616,{}]",
                                      "[1 ,{}]",
                                      "[1,}]"};

    for (size_t i = 0; i < amber_countof(bad); i++) {
        struct amber_err err = AMBER_ERR_INIT;
        uint64_t row;
        const char *obj;
        size_t len;
        if (amber_overlay_parse(bad[i], strlen(bad[i]), &row, &obj, &len, &err) != AMBER_E_CORRUPT)
            fail_msg("accepted: %s", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encode_text_gives_json_string),
        cmocka_unit_test(encode_number_quotes_what_json_has_not),
        cmocka_unit_test(encode_bool_gives_true_and_false),
        cmocka_unit_test(encode_json_passes_verbatim_with_exceptions_in_overlay),
        cmocka_unit_test(encode_timestamp_follows_xsd),
        cmocka_unit_test(encode_array_nests_and_keeps_bounds_in_overlay),
        cmocka_unit_test(encode_json_array_of_arrays_uses_overlay_when_ambiguous),
        cmocka_unit_test(encode_vector_gives_array),
        cmocka_unit_test(encode_composite_gives_object),
        cmocka_unit_test(encode_hstore_gives_object),
        cmocka_unit_test(encode_server_column_keeps_text_in_overlay),
        cmocka_unit_test(digest_without_server_columns_is_of_whole_line),
        cmocka_unit_test(encode_every_length_and_alignment_round_trips),
        cmocka_unit_test(encode_no_columns_gives_empty_object),
        cmocka_unit_test(encode_one_empty_text_column_round_trips),
        cmocka_unit_test(encode_wrong_line_is_corrupt),
        cmocka_unit_test(encode_too_few_fields_is_corrupt),
        cmocka_unit_test(encode_past_ceiling_is_limit_and_leaves_buffers),
        cmocka_unit_test(encode_json_of_many_levels_round_trips_and_too_many_is_limit),
        cmocka_unit_test(encode_long_array_of_text_round_trips),
        cmocka_unit_test(decode_reordered_keys_gives_column_order),
        cmocka_unit_test(decode_emit_chooses_and_orders_columns),
        cmocka_unit_test(decode_missing_key_depends_on_any_keys),
        cmocka_unit_test(decode_any_keys_takes_bare_scalars_for_text),
        cmocka_unit_test(decode_string_for_bool_depends_on_any_keys),
        cmocka_unit_test(decode_wrong_type_says_where),
        cmocka_unit_test(decode_unknown_or_repeated_key_says_where),
        cmocka_unit_test(decode_bad_json_says_where),
        cmocka_unit_test(decode_unicode_escapes),
        cmocka_unit_test(decode_every_cut_is_refused),
        cmocka_unit_test(decode_nested_object_checks_members),
        cmocka_unit_test(decode_long_foreign_key_is_cut_in_the_message),
        cmocka_unit_test(decode_too_deep_is_limit),
        cmocka_unit_test(decode_bad_overlay_is_corrupt),
        cmocka_unit_test(decoder_new_refuses_wrong_emit),
        cmocka_unit_test(encoder_new_refuses_impossible_schema),
        cmocka_unit_test(overlay_line_round_trips),
        cmocka_unit_test(overlay_parse_refuses_other_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
