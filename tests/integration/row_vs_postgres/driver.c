/*
 * driver.c - the row format against PostgreSQL itself, table by table of tables.sql.
 *
 * For each row that COPY sends:
 *   1. our JSON is row_to_json's text, byte for byte (line breaks inside json as spaces)
 *   2. where there were such line breaks, PostgreSQL finds both equal as jsonb
 *   3. JSON and overlay give the COPY line again, byte for byte
 *   4. a table described as plain needs no overlay
 * and the decoded lines, copied into a second table, are the same rows again.
 *
 * Prints TAP, one test a table. The server is the one that PGHOST and its fellows name.
 */
#include <stdio.h>
#include <libpq-fe.h>

#include "amber/row.h"

#define MAX (1024U * 1024U * 1024U)

struct table {
    PGconn *conn;
    char *name; /* quoted, of schema rt */
    char *twin; /* the same in schema back */
    bool plain;
    struct amber_schema schema;
    struct amber_row_encoder *enc;
    struct amber_row_decoder *dec;
    struct amber_buf lines; /* COPY lines as decoded */
    struct amber_buf json, overlay, expected;
    size_t rows;
};

static PGresult *run(PGconn *conn, const char *sql)
{
    PGresult *r = PQexec(conn, sql);

    if (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK &&
        PQresultStatus(r) != PGRES_COPY_OUT && PQresultStatus(r) != PGRES_COPY_IN) {
        printf("Bail out! %.200s: %s\n", sql, PQerrorMessage(conn));
        exit(1);
    }
    return r;
}

/* The first column of the first row of a formatted query; the caller frees. */
static char *ask(PGconn *conn, const char *format, ...) AMBER_PRINTF(2, 3);
static char *ask(PGconn *conn, const char *format, ...)
{
    va_list args;
    char *sql;

    va_start(args, format);
    if (vasprintf(&sql, format, args) < 0)
        abort();
    va_end(args);
    PGresult *r = run(conn, sql);
    char *answer = strdup(PQntuples(r) ? PQgetvalue(r, 0, 0) : "");
    PQclear(r);
    free(sql);
    return answer;
}

static void diag(const struct table *t, const char *what, const char *detail)
{
    printf("# %s row %zu: %s: %.600s\n", t->name, t->rows, what, detail);
}

/* COPY's escapes undone, and line breaks as spaces; *breaks: whether there were any. */
static void unescape(struct amber_buf *out, const char *p, const char *end, bool *breaks)
{
    struct amber_err err = AMBER_ERR_INIT;

    out->len = 0;
    *breaks = false;
    if (amber_buf_reserve(out, (size_t)(end - p) + 1, &err) != AMBER_OK)
        abort();
    while (p < end) {
        char c = *p++;
        if (c == '\\') {
            static const char letters[] = "bfnrtv\\", values[] = "\b\f\n\r\t\v\\";
            c = values[strchr(letters, *p++) - letters];
        }
        if (c == '\n' || c == '\r') {
            c = ' ';
            *breaks = true;
        }
        out->data[out->len++] = c;
    }
    out->data[out->len++] = '\n';
}

/* The original row_to_json with its line breaks, against our line. */
static bool same_jsonb(struct table *t, const char *field, const char *end)
{
    struct amber_buf original = AMBER_BUF_INIT(MAX);
    struct amber_err err = AMBER_ERR_INIT;
    bool ok = false;

    for (const char *p = field; p < end; p++) { /* only \n, \r, \t and \\ occur in JSON */
        char c = *p;
        if (c == '\\')
            c = *++p == 'n' ? '\n' : *p == 'r' ? '\r' : *p == 't' ? '\t' : '\\';
        if (amber_buf_append(&original, &c, 1, &err) != AMBER_OK)
            abort();
    }
    const char *values[] = {t->json.data, original.data};
    PGresult *r =
        PQexecParams(t->conn, "select $1::jsonb = $2::jsonb", 2, NULL, values, NULL, NULL, 0);
    if (PQresultStatus(r) == PGRES_TUPLES_OK && !strcmp(PQgetvalue(r, 0, 0), "t"))
        ok = true;
    else
        diag(t, "not equal as jsonb", PQerrorMessage(t->conn));
    PQclear(r);
    amber_buf_clear(&original);
    return ok;
}

static bool check_row(struct table *t, const char *line, size_t len)
{
    const char *field = memrchr(line, '\t', len), *end = line + len;
    const size_t before = t->lines.len;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_fast_hasher *h;
    struct amber_fast_digest sent, back;
    bool breaks;

    if (t->schema.n_columns == 0)
        field = line - 1;
    size_t row_len = t->schema.n_columns ? (size_t)(field - line) : 0;
    t->rows++;
    t->json.len = t->overlay.len = 0;
    if (amber_row_encode(t->enc, line, row_len, &t->json, &t->overlay, &err) != AMBER_OK) {
        diag(t, "encode", err.text);
        return false;
    }
    unescape(&t->expected, field + 1, end, &breaks);
    if (t->expected.len != t->json.len || memcmp(t->expected.data, t->json.data, t->json.len)) {
        t->expected.data[t->expected.len - 1] = '\0';
        diag(t, "row_to_json", t->expected.data);
        diag(t, "ours", t->json.data);
        return false;
    }
    if (breaks && !same_jsonb(t, field + 1, end))
        return false;
    if (t->plain && t->overlay.len) {
        diag(t, "an overlay that shouldn't be", t->overlay.data);
        return false;
    }
    if (amber_row_decode(t->dec, t->json.data, t->json.len - 1, t->overlay.data, t->overlay.len,
                         &t->lines, NULL, &err) != AMBER_OK) {
        diag(t, "decode", err.text);
        return false;
    }
    /* the digest leaves the second fields of server columns out, as decode does */
    if (amber_fast_hasher_new(&h, &err) != AMBER_OK)
        abort();
    amber_row_digest(t->enc, line, row_len, h);
    amber_fast_hasher_final(h, &sent);
    amber_fast_hasher_free(h);
    amber_fast_digest(t->lines.data + before, t->lines.len - before, &back);
    if (memcmp(&sent, &back, sizeof(sent))) {
        diag(t, "decoded line differs", t->lines.data + before);
        return false;
    }
    return true;
}

static bool check_rows(struct table *t)
{
    char *sql = ask(t->conn, "select rt.copy_sql('%s')", t->name), *line;
    bool ok = true;
    int len;

    /* all lines first: same_jsonb needs the connection */
    struct amber_buf all = AMBER_BUF_INIT(MAX);
    struct amber_err err = AMBER_ERR_INIT;
    PQclear(run(t->conn, sql));
    while ((len = PQgetCopyData(t->conn, &line, 0)) > 0) {
        if (amber_buf_append(&all, line, (size_t)len, &err) != AMBER_OK)
            abort();
        PQfreemem(line);
    }
    PQclear(PQgetResult(t->conn));
    while (PQgetResult(t->conn))
        ;
    for (size_t at = 0; at < all.len;) {
        char *end = memchr(all.data + at, '\n', all.len - at);
        ok &= check_row(t, all.data + at, (size_t)(end - all.data) - at);
        at = (size_t)(end - all.data) + 1;
    }
    amber_buf_clear(&all);
    free(sql);
    return ok;
}

/* Copy what was decoded into the twin: the same rows as text, however often each comes. */
static bool check_restore(struct table *t)
{
    free(ask(t->conn, "create table back.%s (like rt.%s)", t->twin, t->twin));
    free(ask(t->conn, "copy back.%s from stdin", t->twin));
    if (PQputCopyData(t->conn, t->lines.data ? t->lines.data : "", (int)t->lines.len) != 1 ||
        PQputCopyEnd(t->conn, NULL) != 1)
        return false;
    PGresult *r = PQgetResult(t->conn);
    bool ok = PQresultStatus(r) == PGRES_COMMAND_OK;
    if (!ok)
        diag(t, "restore", PQerrorMessage(t->conn));
    PQclear(r);
    while (PQgetResult(t->conn))
        ;
    char *same = ask(t->conn,
                     "select (select count(*) from rt.%s) = (select count(*) from back.%s) and "
                     "not exists (select w::text from rt.%s w except all "
                     "select w::text from back.%s w)",
                     t->twin, t->twin, t->twin, t->twin);
    if (ok && strcmp(same, "t")) {
        diag(t, "the restored rows differ", "");
        ok = false;
    }
    free(same);
    return ok;
}

static bool check_table(PGconn *conn, char *name, bool plain)
{
    struct table t = {.conn = conn, .twin = name, .plain = plain};
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_row_decoder_config cfg = {.schema = &t.schema};
    struct amber_buf *bufs[] = {&t.lines, &t.json, &t.overlay, &t.expected};

    for (size_t i = 0; i < amber_countof(bufs); i++)
        amber_buf_init(bufs[i], MAX);
    if (asprintf(&t.name, "rt.%s", name) < 0)
        abort();
    char *schema = ask(conn, "select rt.schema_json('%s')", t.name);
    bool ok = amber_schema_parse(schema, strlen(schema), &t.schema, &err) == AMBER_OK &&
              amber_row_encoder_new(&t.schema, &t.enc, &err) == AMBER_OK &&
              amber_row_decoder_new(&cfg, &t.dec, &err) == AMBER_OK;
    if (!ok)
        diag(&t, "schema", err.text);
    ok = ok && check_rows(&t) && check_restore(&t);
    amber_row_encoder_free(t.enc);
    amber_row_decoder_free(t.dec);
    amber_schema_clear(&t.schema);
    for (size_t i = 0; i < amber_countof(bufs); i++)
        amber_buf_clear(bufs[i]);
    free(schema);
    free(t.name);
    return ok;
}

int main(void)
{
    PGconn *conn = PQconnectdb("");
    int n_bad = 0;

    if (PQstatus(conn) != CONNECTION_OK) {
        printf("Bail out! %s\n", PQerrorMessage(conn));
        return 1;
    }
    PQclear(run(conn, "set extra_float_digits = 3; set datestyle = 'ISO,YMD';"
                      "set intervalstyle = postgres; set timezone = 'UTC';"
                      "set bytea_output = hex; set lc_monetary = 'C'; set xmlbinary = base64;"
                      "set xmloption = content; set client_encoding = 'UTF8';"
                      "set search_path = pg_catalog, pg_temp;"
                      "set client_min_messages = warning"));
    PGresult *tables = run(conn, "select quote_ident(relname), "
                                 "coalesce(obj_description(oid, 'pg_class') = 'plain', false) "
                                 "from pg_class where relkind = 'r' "
                                 "and relnamespace = 'rt'::regnamespace order by relname");
    printf("1..%d\n", PQntuples(tables));
    for (int i = 0; i < PQntuples(tables); i++) {
        bool ok = check_table(conn, PQgetvalue(tables, i, 0), *PQgetvalue(tables, i, 1) == 't');
        printf("%s %d - %s\n", ok ? "ok" : "not ok", i + 1, PQgetvalue(tables, i, 0));
        n_bad += !ok;
    }
    PQclear(tables);
    PQfinish(conn);
    return n_bad > 0;
}
