/*
 * row_encode.c - COPY line -> JSON line, and the overlay for what JSON can't give back.
 *
 * The line is walked once: each field's converter reads up to the next tab and writes straight
 * into the JSON buffer. What keeps decode(encode(line)) == line:
 *
 *   text, number, bool, date   by construction
 *   timestamp                  the way back is run over these few bytes and compared
 *   json                       by construction unless `null`, white space around it, line breaks
 *   array of plain numbers     by construction
 *   other nested types         the way back is run and compared
 *   server                     never: always in the overlay
 */
#include "row_priv.h"

struct amber_row_encoder {
    struct row_type *plan;  /* owned */
    struct row_parse check; /* the way back */
    struct amber_buf work;  /* raw text of a nested field, taken apart in place */
    struct amber_buf back;  /* the COPY field that the way back gives */
    bool has_server;
};

/* One line under way. */
struct encoding {
    struct amber_row_encoder *e;
    const char *p, *end; /* not yet read */
    struct row_out json;
    struct amber_buf *overlay;
    bool has_overlay;
    struct amber_err *err;
};

enum amber_rc amber_row_encoder_new(const struct amber_schema *schema,
                                    struct amber_row_encoder **out, struct amber_err *err)
{
    struct amber_row_encoder *e;
    enum amber_rc rc = amber_calloc(1, sizeof(*e), &e, err);

    if (rc != AMBER_OK)
        return rc;
    amber_buf_init(&e->work, AMBER_FIELD_MAX);
    amber_buf_init(&e->back, 2 * (size_t)AMBER_FIELD_MAX);
    if ((rc = amber_row_parse_init(&e->check, err)) != AMBER_OK ||
        (rc = amber_row_plan_new(schema, &e->plan, err)) != AMBER_OK) {
        amber_row_encoder_free(e);
        return rc;
    }
    for (size_t i = 0; i < e->plan->n_fields; i++)
        e->has_server |= e->plan->fields[i].type.kind == AMBER_KIND_SERVER;
    *out = e;
    return AMBER_OK;
}

void amber_row_encoder_free(struct amber_row_encoder *e)
{
    if (!e)
        return;
    amber_row_plan_free(e->plan);
    amber_row_parse_clear(&e->check);
    amber_buf_clear(&e->work);
    amber_buf_clear(&e->back);
    free(e);
}

static inline bool at_field_end(const char *p, const char *end)
{
    return p == end || *p == '\t';
}

static const char *field_end(const char *p, const char *end)
{
    const char *tab = memchr(p, '\t', (size_t)(end - p));

    return tab ? tab : end;
}

/* Put the field [p, end) into the overlay under f's name. */
static enum amber_rc add_overlay(struct encoding *x, const struct row_field *f, const char *p,
                                 const char *end)
{
    struct row_out o;
    enum amber_rc rc;

    row_out_begin(&o, x->overlay);
    if ((rc = row_out_char(&o, x->has_overlay ? ',' : '{', x->err)) == AMBER_OK &&
        (rc = row_out_put(&o, f->key + 1, f->key_len - 1, x->err)) == AMBER_OK)
        rc = amber_copy_to_string(&p, end, &o, x->err);
    row_out_end(&o);
    x->has_overlay = true;
    return rc;
}

/* {1,-2.5} -> [1,-2.5] in one go; false: not such an array. */
static bool encode_flat_numbers(struct encoding *x, const struct row_type *t, enum amber_rc *rc)
{
    const char *s = x->p;

    if (t->elem->kind != AMBER_KIND_NUMBER || t->delim != ',' || s == x->end || *s++ != '{')
        return false;
    if (s < x->end && *s != '}')
        for (;; s++) {
            if (!(s = amber_json_number_end(s, x->end)) || s == x->end)
                return false;
            if (*s != ',')
                break;
        }
    if (s == x->end || *s != '}' || !at_field_end(s + 1, x->end))
        return false;
    size_t len = (size_t)(s + 1 - x->p);
    if ((*rc = row_out_put(&x->json, x->p, len, x->err)) == AMBER_OK) {
        x->json.p[-(ptrdiff_t)len] = '[';
        x->json.p[-1] = ']';
        x->p = s + 1;
    }
    return true;
}

/* Whether the JSON value at byte start of the output becomes the COPY field [field, end) again. */
static enum amber_rc comes_back(struct encoding *x, const struct row_field *f, size_t start,
                                const char *field, const char *end, bool *same)
{
    struct row_parse *c = &x->e->check;
    const char *s = x->json.buf->data + start;
    struct row_out o;

    c->base = s;
    c->key = f->name;
    c->key_len = f->name_len;
    c->n_spans = 0;
    x->e->back.len = 0;
    row_out_begin(&o, &x->e->back);
    enum amber_rc rc = amber_json_to_copy(c, &f->type, &s, x->json.p, &o, x->err);
    row_out_end(&o);
    size_t len = (size_t)(end - field);
    *same = rc == AMBER_OK && s == x->json.p && x->e->back.len == len &&
            (len == 0 || !memcmp(x->e->back.data, field, len));
    return rc == AMBER_E_INVALID ? AMBER_OK : rc; /* can't be read back: the overlay will hold it */
}

/* Any kind, the long way: raw text, JSON, and the way back. */
static enum amber_rc encode_checked(struct encoding *x, const struct row_field *f)
{
    const char *field = x->p;
    size_t start = row_out_len(&x->json);
    struct row_out o;
    enum amber_rc rc;
    bool same;

    x->e->work.len = 0;
    row_out_begin(&o, &x->e->work);
    rc = amber_copy_to_raw(&x->p, x->end, NULL, &o, x->err);
    row_out_end(&o);
    if (rc != AMBER_OK ||
        (rc = amber_text_to_json(x->e->check.stack, &f->type, x->e->work.data, x->e->work.len,
                                 &x->json, x->err)) != AMBER_OK ||
        (rc = comes_back(x, f, start, field, x->p, &same)) != AMBER_OK)
        return rc;
    return same ? AMBER_OK : add_overlay(x, f, field, x->p);
}

static enum amber_rc encode_number(struct encoding *x)
{
    const char *e = amber_json_number_end(x->p, x->end);

    if (!e || !at_field_end(e, x->end)) /* NaN, Infinity */
        return amber_copy_to_string(&x->p, x->end, &x->json, x->err);
    enum amber_rc rc = row_out_put(&x->json, x->p, (size_t)(e - x->p), x->err);
    x->p = e;
    return rc;
}

static enum amber_rc encode_bool(struct encoding *x, const struct row_field *f)
{
    if (x->p == x->end || !at_field_end(x->p + 1, x->end))
        return encode_checked(x, f); /* says what is wrong */
    switch (*x->p) {
    case 't':
        x->p++;
        return row_out_put(&x->json, "true", 4, x->err);
    case 'f':
        x->p++;
        return row_out_put(&x->json, "false", 5, x->err);
    default:
        return encode_checked(x, f);
    }
}

/* Verbatim on one line. *exact: nothing was changed, and the way back gives the same. */
static enum amber_rc encode_json_text(struct encoding *x, bool *exact)
{
    struct amber_json_fault f;
    size_t start = row_out_len(&x->json);
    bool breaks;
    enum amber_rc rc = amber_copy_to_raw(&x->p, x->end, &breaks, &x->json, x->err);

    if (rc != AMBER_OK)
        return rc;
    const char *s = x->json.buf->data + start, *end = x->json.p;
    const char *value = amber_json_space(s, end);
    const char *e = amber_json_value_end(x->e->check.stack, value, end, &f);
    if (!e && f.too_deep)
        return amber_fail(x->err, AMBER_E_LIMIT, "json is nested more than %u levels deep",
                          AMBER_JSON_DEPTH_MAX);
    if (!e || amber_json_space(e, end) != end)
        return amber_fail(x->err, AMBER_E_CORRUPT,
                          "the value isn't json; is the column's type right?");
    *exact = !breaks && value == s && e == end && *s != 'n';
    return AMBER_OK;
}

static enum amber_rc encode_json(struct encoding *x, const struct row_field *f)
{
    const char *field = x->p;
    bool exact;
    enum amber_rc rc = encode_json_text(x, &exact);

    return rc != AMBER_OK || exact ? rc : add_overlay(x, f, field, x->p);
}

/* Text that was not a timestamp of the usual shape goes the long way. */
static enum amber_rc encode_timestamp(struct encoding *x, const struct row_field *f)
{
    const bool zone = f->type.kind == AMBER_KIND_TIMESTAMPTZ;
    const char *e = x->p, *stop = x->end - x->p > 64 ? x->p + 64 : x->end;
    char back[64];
    enum amber_rc rc;

    while (e < stop && (unsigned char)*e >= 0x20 && *e != '"' && *e != '\\')
        e++;
    if (!at_field_end(e, x->end))
        return encode_checked(x, f);
    size_t len = (size_t)(e - x->p);
    if ((rc = row_out_room(&x->json, len + 5, x->err)) != AMBER_OK)
        return rc;
    char *d = x->json.p + 1;
    size_t n = amber_timestamp_to_json(d, x->p, len, zone);
    if (n > sizeof(back) || amber_timestamp_from_json(back, d, n, zone) != len ||
        memcmp(back, x->p, len))
        return encode_checked(x, f);
    d[-1] = '"';
    d[n] = '"';
    x->json.p = d + n + 1;
    x->p = e;
    return AMBER_OK;
}

/* Two fields: the text for the overlay, and the JSON that the server made of it. */
static enum amber_rc encode_server(struct encoding *x, const struct row_field *f)
{
    const char *text = x->p, *text_end = field_end(text, x->end);
    bool exact;
    enum amber_rc rc;

    if (text_end == x->end)
        return amber_fail(x->err, AMBER_E_CORRUPT, "its JSON is missing behind its text");
    x->p = text_end + 1;
    if (x->end - x->p >= 2 && !memcmp(x->p, "\\N", 2) && at_field_end(x->p + 2, x->end)) {
        x->p += 2;
        rc = row_out_put(&x->json, "null", 4, x->err);
    } else {
        rc = encode_json_text(x, &exact);
    }
    return rc == AMBER_OK ? add_overlay(x, f, text, text_end) : rc;
}

static enum amber_rc encode_null(struct encoding *x, const struct row_field *f)
{
    x->p += 2;
    if (f->type.kind == AMBER_KIND_SERVER) {
        if (x->p == x->end)
            return amber_fail(x->err, AMBER_E_CORRUPT, "its JSON is missing behind its text");
        x->p = field_end(x->p + 1, x->end);
    }
    return row_out_put(&x->json, "null", 4, x->err);
}

static enum amber_rc encode_field(struct encoding *x, const struct row_field *f)
{
    enum amber_rc rc;

    if (x->end - x->p >= 2 && x->p[0] == '\\' && x->p[1] == 'N' && at_field_end(x->p + 2, x->end))
        return encode_null(x, f);
    switch (f->type.kind) {
    case AMBER_KIND_TEXT:
    case AMBER_KIND_DATE:
        return amber_copy_to_string(&x->p, x->end, &x->json, x->err);
    case AMBER_KIND_NUMBER:
        return encode_number(x);
    case AMBER_KIND_BOOL:
        return encode_bool(x, f);
    case AMBER_KIND_JSON:
        return encode_json(x, f);
    case AMBER_KIND_TIMESTAMP:
    case AMBER_KIND_TIMESTAMPTZ:
        return encode_timestamp(x, f);
    case AMBER_KIND_ARRAY:
        if (encode_flat_numbers(x, &f->type, &rc))
            return rc;
        return encode_checked(x, f);
    case AMBER_KIND_SERVER:
        return encode_server(x, f);
    case AMBER_KIND_VECTOR:
    case AMBER_KIND_COMPOSITE:
    case AMBER_KIND_HSTORE:
        break;
    }
    return encode_checked(x, f);
}

static enum amber_rc field_count(const struct encoding *x, const char *word)
{
    return amber_fail(x->err, AMBER_E_CORRUPT,
                      "the COPY line has %s fields than the %zu columns need; did the table change "
                      "during the export?",
                      word, x->e->plan->n_fields);
}

static enum amber_rc encode_row(struct encoding *x)
{
    const struct row_type *plan = x->e->plan;
    enum amber_rc rc = row_out_char(&x->json, '{', x->err);

    for (size_t i = 0; rc == AMBER_OK && i < plan->n_fields; i++) {
        const struct row_field *f = &plan->fields[i];
        if (i > 0 && (x->p == x->end || *x->p++ != '\t'))
            return field_count(x, "fewer");
        rc = row_out_put(&x->json, f->key + (i == 0), f->key_len - (i == 0), x->err);
        if (rc == AMBER_OK && (rc = encode_field(x, f)) != AMBER_OK)
            return amber_wrap(x->err, "column \"%s\"", f->name);
    }
    if (rc == AMBER_OK && x->p != x->end)
        return field_count(x, "more");
    if (rc == AMBER_OK)
        rc = row_out_put(&x->json, "}\n", 2, x->err);
    if (rc == AMBER_OK && x->has_overlay)
        rc = amber_buf_append(x->overlay, "}", 1, x->err);
    return rc;
}

static void truncate_to(struct amber_buf *b, size_t len)
{
    b->len = len;
    if (b->data)
        b->data[len] = '\0';
}

enum amber_rc amber_row_encode(struct amber_row_encoder *e, const char *line, size_t len,
                               struct amber_buf *json, struct amber_buf *overlay,
                               struct amber_err *err)
{
    const size_t json_len = json->len, overlay_len = overlay->len;
    const size_t bad = amber_utf8_check(line, len);
    struct encoding x = {.e = e, .p = line, .end = line + len, .overlay = overlay, .err = err};

    if (bad != len)
        return amber_fail(err, AMBER_E_CORRUPT,
                          "byte %zu of the COPY line isn't UTF-8: the row stays in the table; "
                          "correct the value there",
                          bad + 1);
    row_out_begin(&x.json, json);
    enum amber_rc rc = encode_row(&x);
    row_out_end(&x.json);
    row_work_shrink(&e->work);
    row_work_shrink(&e->back);
    row_work_shrink(&e->check.work);
    if (rc != AMBER_OK) {
        truncate_to(json, json_len);
        truncate_to(overlay, overlay_len);
    }
    return rc;
}

void amber_row_digest(struct amber_row_encoder *e, const char *line, size_t len,
                      struct amber_fast_hasher *h)
{
    const char *p = line, *end = line + len;

    /* Without second fields the line is hashed whole; else what stands between them. */
    for (size_t i = 0; e->has_server && i < e->plan->n_fields && p < end; i++) {
        p = field_end(p, end);
        if (e->plan->fields[i].type.kind == AMBER_KIND_SERVER && p < end) {
            amber_fast_hasher_update(h, line, (size_t)(p - line));
            line = p = field_end(p + 1, end);
        }
        if (p < end)
            p++;
    }
    amber_fast_hasher_update(h, line, (size_t)(end - line));
    amber_fast_hasher_update(h, "\n", 1);
}
