/*
 * fuzz_row.c - libFuzzer target for every parser of the row format.
 *
 * The first byte chooses what the rest is, the second one the options:
 *   0 a JSON line    what decodes is a COPY line; that line encodes, and comes back from its JSON
 *   1 a COPY line    what encodes must come back byte for byte, also with its keys in any order
 *   2 an overlay line, then its object over a fixed row
 *   3 a schema       what parses is encoded as a text that parses to the same text
 *
 * In the ordinary run replay.c feeds it the inputs of corpus/row.
 */
#include <stdio.h>

#include "amber/row.h"
#include "fuzz.h"

#define MAX (16U * 1024U * 1024U)

#define T(kind) "\"type\":\"t\",\"kind\":\"" kind "\""
#define OF(elem) ",\"element\":{" elem "}"
#define PAIR                                                                                       \
    T("composite") ",\"fields\":[{\"name\":\"a\"," T("number") "},{\"name\":\"b\"," T("text") "}]"
static const char
    columns
        [] =
            "[{\"name\":\"n\"," T("number") "},{\"name\":\"t\"," T("text") "},{\"name\":\"b\"," T("bool") "},{\"name\":\"j\"," T("json") "},{\"name\":\"d\"," T(
                "date") "},{\"name\":\"s\"," T("timestamp") "},{\"name\":\"z\"," T("timestamptz") "},{\"name\":\"an\"," T("array")
                OF(T("number")) "},{\"name\":\"at\"," T("array") OF(
                    T("text")) "},{\"name\":\"aj\"," T("array")
                    OF(T("json")) "},{\"name\":\"as\"," T("array") OF(
                        T("timestamptz")) "},{\"name\":\"ab\"," T("array")
                        OF(T("text")) ",\"delim\":\";\"},{\"name\":\"v\"," T("vector") OF(
                            T("number")) "},{\"name\":\"c\"," PAIR "},{\"name\":\"ac\"," T("array")
                            OF(PAIR) "},{\"name\":\"h\"," T("hstore") "},{\"name\":\"ah\"," T(
                                "array") OF(T("hstore")) "},{\"name\":\"aa\"," T("array")
                                OF(T("array") OF(T("bool"))) "},{\"name\":\"q\\\"k\"," T(
                                    "composite") ",\"fields\":[{\"name\":\"p\"," PAIR
                                                 "},{\"name\":\"l\"," T("array")
                                                     OF(T("text")) "},{\"name\":\"x\\\\y\"," T(
                                                         "json") "}]},{\"name\":\"g\"," T("server") "}]";
enum { N_COLUMNS = 20 };

static struct amber_schema schema;
static struct amber_row_encoder *enc;
static struct amber_row_decoder *dec, *any;
static struct amber_buf json, overlay, copy, again;

static void set_up(void)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf *bufs[] = {&json, &overlay, &copy, &again};
    struct amber_row_decoder_config cfg = {.schema = &schema};

    for (size_t i = 0; i < amber_countof(bufs); i++)
        amber_buf_init(bufs[i], MAX);
    check(amber_schema_parse(columns, sizeof(columns) - 1, &schema, &err) == AMBER_OK);
    check(schema.n_columns == N_COLUMNS);
    check(amber_row_encoder_new(&schema, &enc, &err) == AMBER_OK);
    check(amber_row_decoder_new(&cfg, &dec, &err) == AMBER_OK);
    cfg.any_keys = true;
    check(amber_row_decoder_new(&cfg, &any, &err) == AMBER_OK);
}

/* What encodes must come back. The line has the server column's second field. */
static void copy_line(const char *line, size_t len)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_fast_hasher *h;
    struct amber_fast_digest sent, back;

    json.len = overlay.len = copy.len = 0;
    if (amber_row_encode(enc, line, len, &json, &overlay, &err) != AMBER_OK) {
        check(json.len == 0 && overlay.len == 0 && err.text[0]);
        return;
    }
    check(!memchr(json.data, '\n', json.len - 1));
    check(!overlay.len || !memchr(overlay.data, '\n', overlay.len));
    check(amber_row_decode(dec, json.data, json.len - 1, overlay.data, overlay.len, &copy, NULL,
                           &err) == AMBER_OK);
    /* the digest of what was sent is that of what came back */
    check(amber_fast_hasher_new(&h, &err) == AMBER_OK);
    amber_row_digest(enc, line, len, h);
    amber_fast_hasher_final(h, &sent);
    amber_fast_hasher_free(h);
    amber_fast_digest(copy.data, copy.len, &back);
    check(!memcmp(&sent, &back, sizeof(sent)));
    /* a person's file may leave the quick way: a space does it */
    again.len = 0;
    check(amber_buf_puts(&again, " ", &err) == AMBER_OK);
    check(amber_buf_append(&again, json.data, json.len - 1, &err) == AMBER_OK);
    json.len = 0;
    check(amber_row_decode(any, again.data, again.len, overlay.data, overlay.len, &json, NULL,
                           &err) == AMBER_OK);
    check(json.len == copy.len && !memcmp(json.data, copy.data, copy.len));
}

static void json_line(const char *text, size_t len, bool any_keys)
{
    struct amber_err err = AMBER_ERR_INIT;
    bool present[N_COLUMNS];

    copy.len = 0;
    if (amber_row_decode(any_keys ? any : dec, text, len, NULL, 0, &copy, present, &err) !=
        AMBER_OK) {
        check(copy.len == 0 && err.text[0]);
        return;
    }
    check(copy.len && memchr(copy.data, '\n', copy.len) == copy.data + copy.len - 1);
    check(memchr(copy.data, '\0', copy.len) == NULL);
    for (size_t i = 0; i < N_COLUMNS; i++)
        if (!present[i])
            return;
    /* a full row: give the server column its second field, and it is a line to encode */
    check(amber_buf_reserve(&copy, 3, &err) == AMBER_OK);
    memcpy(copy.data + copy.len - 1, "\t{}", 3);
    size_t n = copy.len + 2;
    char *line = malloc(n);
    check(line);
    memcpy(line, copy.data, n);
    copy_line(line, n);
    free(line);
}

static void overlay_line(const char *line, size_t len)
{
    struct amber_err err = AMBER_ERR_INIT;
    static const char row[] =
        "{\"n\":1,\"t\":null,\"b\":null,\"j\":null,\"d\":null,\"s\":null,\"z\":null,\"an\":null,"
        "\"at\":null,\"aj\":null,\"as\":null,\"ab\":null,\"v\":null,\"c\":null,\"ac\":null,"
        "\"h\":null,\"ah\":null,\"aa\":null,\"q\\\"k\":null,\"g\":null}";
    const char *obj;
    size_t obj_len;
    uint64_t n;

    if (amber_overlay_parse(line, len, &n, &obj, &obj_len, &err) != AMBER_OK)
        return;
    again.len = 0;
    check(amber_overlay_format(n, obj, obj_len, &again, &err) == AMBER_OK);
    check(again.len - 1 == len || again.len == len);
    check(!memcmp(again.data, line, again.len - 1));
    copy.len = 0;
    if (amber_row_decode(dec, row, sizeof(row) - 1, obj, obj_len, &copy, NULL, &err) == AMBER_OK)
        check(memchr(copy.data, '\n', copy.len) == copy.data + copy.len - 1);
    else
        check(copy.len == 0);
}

static void schema_text(const char *text, size_t len)
{
    struct amber_schema a, b, c;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_row_encoder *e;

    json.len = copy.len = 0;
    if (amber_schema_parse(text, len, &a, &err) != AMBER_OK) {
        check(!a.columns);
        return;
    }
    check(amber_schema_encode(&a, &json, &err) == AMBER_OK);
    check(amber_schema_parse(json.data, json.len, &b, &err) == AMBER_OK);
    check(amber_schema_copy(&b, &c, &err) == AMBER_OK);
    check(amber_schema_encode(&c, &copy, &err) == AMBER_OK);
    check(json.len == copy.len && !memcmp(json.data, copy.data, copy.len));
    if (amber_row_encoder_new(&a, &e, &err) == AMBER_OK)
        amber_row_encoder_free(e);
    amber_schema_clear(&a);
    amber_schema_clear(&b);
    amber_schema_clear(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    if (!enc)
        set_up();
    const char *text = (const char *)data + 2;
    switch (data[0] & 3) {
    case 0:
        json_line(text, size - 2, data[1] & 1);
        break;
    case 1:
        copy_line(text, size - 2);
        break;
    case 2:
        overlay_line(text, size - 2);
        break;
    default:
        schema_text(text, size - 2);
    }
    return 0;
}
