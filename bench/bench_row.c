/*
 * bench_row.c - speed of the row format: encode and decode in MB/s of JSON, on one core.
 *
 *   bench_row [SECONDS [FILE]]     per number; default 1. FILE: COPY text of flow_execution_deltas
 *
 * Rows are made here, shaped as the tables of the demo. Time is this process' CPU time, so that a
 * busy machine doesn't count. Numbers are printed, never asserted.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "amber/row.h"

#define MAX (1024U * 1024U * 1024U)
#define N_ROWS 20000U

/* Columns as "name kind", for a schema. */
static const char *const deltas[] = {"id number",
                                     "session_id text",
                                     "sequence number",
                                     "op text",
                                     "path text",
                                     "value json",
                                     "latency_ms number",
                                     "cost number",
                                     "created_at timestamptz",
                                     NULL};
static const char *const logs[] = {
    "id text",   "session_id text",        "level text", "message text",
    "data json", "created_at timestamptz", NULL};
static const char *const chunks[] = {"id text", "content text", "embedding array", "tags texts",
                                     NULL};

static uint64_t seed = 88172645463325252U;
static unsigned dice(unsigned sides)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 33) % sides;
}

static int64_t cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void must(enum amber_rc rc, const struct amber_err *err)
{
    if (rc == AMBER_OK)
        return;
    fprintf(stderr, "bench_row: %s\n", err->text);
    exit(1);
}

static void put_uuid(struct amber_buf *b, struct amber_err *err)
{
    must(amber_buf_printf(b, err, "%08x-%04x-4%03x-a%03x-%08x%04x", dice(UINT32_MAX), dice(65536),
                          dice(4096), dice(4096), dice(UINT32_MAX), dice(65536)),
         err);
}

static void put_delta(struct amber_buf *b, unsigned i, struct amber_err *err)
{
    static const char *const ops[] = {"add", "replace", "remove", "test"};

    must(amber_buf_printf(b, err, "%u\t", 1000000 + i), err);
    put_uuid(b, err);
    must(amber_buf_printf(b, err,
                          "\t%u\t%s\t/memory/slots/%u/value\t{\"role\": \"assistant\", \"score\": "
                          "0.%u, \"tokens\": [%u, %u], \"content\": \"The customer said "
                          "\\\\\"%u\\\\\" and hung up\", \"final\": %s}\t%u.%u\t%u.%06u\t"
                          "2024-%02u-%02u 12:%02u:%02u.%06u+00\n",
                          i % 100, ops[dice(4)], dice(1000), dice(100000), dice(9000), dice(9000),
                          dice(100), dice(2) ? "true" : "false", dice(900), dice(100000), dice(9),
                          dice(1000000), 1 + dice(12), 1 + dice(28), dice(60), dice(60),
                          dice(1000000)),
         err);
}

static void put_log(struct amber_buf *b, unsigned i, struct amber_err *err)
{
    put_uuid(b, err);
    must(amber_buf_puts(b, "\t", err), err);
    put_uuid(b, err);
    must(amber_buf_printf(b, err,
                          "\tinfo\tnode %u finished: \"ok\"\\n  at step %u in caf\xc3\xa9 %u, "
                          "nothing left to be done for this session at this time\t%s\t"
                          "2024-%02u-%02u 12:%02u:%02u.%06u+00\n",
                          i, dice(100), dice(1000), dice(3) ? "\\N" : "{\"retry\": false}",
                          1 + dice(12), 1 + dice(28), dice(60), dice(60), dice(1000000)),
         err);
}

static void put_chunk(struct amber_buf *b, unsigned i, struct amber_err *err)
{
    put_uuid(b, err);
    must(amber_buf_printf(b, err, "\tchunk %u of a longer text\t{", i), err);
    for (int k = 0; k < 128; k++)
        must(amber_buf_printf(b, err, "%s%s0.%07u", k ? "," : "", dice(2) ? "-" : "",
                              dice(10000000)),
             err);
    must(amber_buf_puts(b, "}\t{plain,\"two words\",\"a \\\\\"quote\\\\\"\",NULL}\n", err), err);
}

/* Rows come from here instead of put_delta. */
static FILE *given;

static void put_given(struct amber_buf *b, unsigned i, struct amber_err *err)
{
    char line[65536];

    (void)i;
    if (!fgets(line, sizeof(line), given))
        must(amber_fail(err, AMBER_E_INVALID, "the file has less than %u rows", N_ROWS), err);
    must(amber_buf_puts(b, line, err), err);
}

static void make_schema(const char *const *columns, struct amber_schema *out)
{
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(65536);
    struct amber_err err = AMBER_ERR_INIT;

    for (size_t i = 0; columns[i]; i++) {
        const char *space = strchr(columns[i], ' '), *kind = space + 1, *elem = NULL;
        if (!strcmp(kind, "array"))
            elem = "number";
        else if (!strcmp(kind, "texts"))
            elem = "text";
        must(amber_buf_printf(&text, &err, "%s{\"name\":\"%.*s\",\"type\":\"t\",\"kind\":\"%s\"",
                              i ? "," : "[", (int)(space - columns[i]), columns[i],
                              elem ? "array" : kind),
             &err);
        if (elem)
            must(amber_buf_printf(&text, &err, ",\"element\":{\"type\":\"t\",\"kind\":\"%s\"}",
                                  elem),
                 &err);
        must(amber_buf_puts(&text, "}", &err), &err);
    }
    must(amber_buf_puts(&text, "]", &err), &err);
    must(amber_schema_parse(text.data, text.len, out, &err), &err);
}

static void print_speed(const char *what, uint64_t bytes, uint64_t rows, int64_t us)
{
    printf("  %-22s %8.0f MB/s %8.2f million rows/s\n", what, (double)bytes / (double)us,
           (double)rows / (double)us);
}

/* Encode all lines once: JSON and overlay are replaced. */
static void encode_all(struct amber_row_encoder *e, const struct amber_buf *lines,
                       struct amber_buf *json, struct amber_buf *overlay)
{
    struct amber_err err = AMBER_ERR_INIT;

    json->len = overlay->len = 0;
    for (const char *p = lines->data, *end = p + lines->len; p < end;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        must(amber_row_encode(e, p, (size_t)(nl - p), json, overlay, &err), &err);
        p = nl + 1;
    }
}

static void decode_all(struct amber_row_decoder *d, const struct amber_buf *json,
                       struct amber_buf *copy)
{
    struct amber_err err = AMBER_ERR_INIT;

    copy->len = 0;
    for (const char *p = json->data, *end = p + json->len; p < end;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        must(amber_row_decode(d, p, (size_t)(nl - p), NULL, 0, copy, NULL, &err), &err);
        p = nl + 1;
    }
}

static void bench(const char *name, const char *const *columns,
                  void (*put)(struct amber_buf *, unsigned, struct amber_err *), int64_t us)
{
    struct amber_buf lines = AMBER_BUF_INIT(MAX), json = AMBER_BUF_INIT(MAX),
                     overlay = AMBER_BUF_INIT(MAX), copy = AMBER_BUF_INIT(MAX);
    struct amber_schema schema;
    struct amber_row_encoder *e;
    struct amber_row_decoder *d;
    struct amber_err err = AMBER_ERR_INIT;
    uint64_t bytes = 0, rows = 0;
    int64_t from, now;

    make_schema(columns, &schema);
    for (unsigned i = 0; i < N_ROWS; i++)
        put(&lines, i, &err);
    must(amber_row_encoder_new(&schema, &e, &err), &err);
    struct amber_row_decoder_config cfg = {.schema = &schema};
    must(amber_row_decoder_new(&cfg, &d, &err), &err);

    encode_all(e, &lines, &json, &overlay);
    printf("%s, %zu bytes of JSON a row\n", name, json.len / N_ROWS);
    for (from = now = cpu_us(); now - from < us; now = cpu_us()) {
        encode_all(e, &lines, &json, &overlay);
        bytes += json.len;
        rows += N_ROWS;
    }
    print_speed("encode", bytes, rows, now - from);
    bytes = rows = 0;
    for (from = now = cpu_us(); now - from < us; now = cpu_us()) {
        decode_all(d, &json, &copy);
        bytes += json.len;
        rows += N_ROWS;
    }
    print_speed("decode", bytes, rows, now - from);
    if (copy.len != lines.len || memcmp(copy.data, lines.data, lines.len))
        must(amber_fail(&err, AMBER_E_CORRUPT, "the lines didn't come back"), &err);

    amber_row_encoder_free(e);
    amber_row_decoder_free(d);
    amber_schema_clear(&schema);
    amber_buf_clear(&lines);
    amber_buf_clear(&json);
    amber_buf_clear(&overlay);
    amber_buf_clear(&copy);
}

int main(int argc, char **argv)
{
    const int64_t us = (int64_t)((argc > 1 ? strtod(argv[1], NULL) : 1.0) * 1e6);

    if (argc > 2) {
        given = fopen(argv[2], "r");
        if (!given) {
            perror(argv[2]);
            return 1;
        }
        bench("flow_execution_deltas, as given", deltas, put_given, us);
        fclose(given);
        return 0;
    }
    bench("flow_execution_deltas", deltas, put_delta, us);
    bench("flow_execution_logs", logs, put_log, us);
    bench("memory_chunks", chunks, put_chunk, us);
    return 0;
}
