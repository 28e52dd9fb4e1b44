/*
 * row_decode.c - JSON line -> COPY line.
 *
 * Our own archives have every key, in column order, spelled as the plan has it: then keys are
 * compared, values converted as they come, and nothing is looked up. Whatever doesn't fit starts
 * over the general way: find every member first, then write the columns in the order asked for.
 * The text may come from anybody; nothing in it is believed.
 */
#include "row_priv.h"

struct amber_row_decoder {
    struct row_type *plan; /* owned */
    struct row_parse parse;
    size_t *emit; /* owned */
    size_t n_emit;
    bool *emitted;            /* owned; one a column */
    struct row_span *overlay; /* owned; one a column: content of its overlay string */
    bool in_order;            /* emit is ascending: columns can be written as they come */
};

static enum amber_rc set_emit(struct amber_row_decoder *d,
                              const struct amber_row_decoder_config *cfg, struct amber_err *err)
{
    const size_t n = d->plan->n_fields;
    enum amber_rc rc;

    d->n_emit = cfg->emit ? cfg->n_emit : n;
    if ((rc = amber_calloc(d->n_emit, sizeof(*d->emit), &d->emit, err)) != AMBER_OK ||
        (rc = amber_calloc(n, sizeof(*d->emitted), &d->emitted, err)) != AMBER_OK ||
        (rc = amber_calloc(n, sizeof(*d->overlay), &d->overlay, err)) != AMBER_OK)
        return rc;
    d->in_order = true;
    for (size_t i = 0; i < d->n_emit; i++) {
        size_t column = cfg->emit ? cfg->emit[i] : i;
        if (column >= n || d->emitted[column])
            return amber_fail(err, AMBER_E_INVALID, "column %zu of %zu %s", column, n,
                              column >= n ? "doesn't exist" : "can't be written twice");
        d->emit[i] = column;
        d->emitted[column] = true;
        d->in_order &= i == 0 || d->emit[i - 1] < column;
    }
    return AMBER_OK;
}

enum amber_rc amber_row_decoder_new(const struct amber_row_decoder_config *cfg,
                                    struct amber_row_decoder **out, struct amber_err *err)
{
    struct amber_row_decoder *d;
    enum amber_rc rc = amber_calloc(1, sizeof(*d), &d, err);

    if (rc != AMBER_OK)
        return rc;
    if ((rc = amber_row_parse_init(&d->parse, err)) != AMBER_OK ||
        (rc = amber_row_plan_new(cfg->schema, &d->plan, err)) != AMBER_OK ||
        (rc = set_emit(d, cfg, err)) != AMBER_OK) {
        amber_row_decoder_free(d);
        return rc;
    }
    d->parse.any_keys = cfg->any_keys;
    *out = d;
    return AMBER_OK;
}

void amber_row_decoder_free(struct amber_row_decoder *d)
{
    if (!d)
        return;
    amber_row_plan_free(d->plan);
    amber_row_parse_clear(&d->parse);
    free(d->emit);
    free(d->emitted);
    free(d->overlay);
    free(d);
}

/* A text that faults are counted in. */
struct source {
    const char *json, *end;
    const char *overlay; /* NULL: none */
};

static void read_from(struct row_parse *c, const char *text, const char *what)
{
    c->base = text;
    c->what = what;
    c->key = NULL;
    c->n_spans = 0;
    c->work.len = 0;
}

static enum amber_rc overlay_rc(enum amber_rc rc, struct amber_err *err)
{
    return rc == AMBER_E_INVALID ? err->code = AMBER_E_CORRUPT : rc;
}

/* Write the column's field from the overlay. */
static enum amber_rc from_overlay(struct amber_row_decoder *d, const struct source *src, size_t i,
                                  struct row_out *o, struct amber_err *err)
{
    const char *p = d->overlay[i].start;

    d->parse.base = src->overlay;
    d->parse.what = "overlay ";
    enum amber_rc rc = amber_string_to_copy(&d->parse, &p, d->overlay[i].end, o, err);
    d->parse.base = src->json;
    d->parse.what = "";
    return overlay_rc(rc, err);
}

static void set_key(struct row_parse *c, const struct row_field *f)
{
    c->key = f->key + 2; /* between `,"` and `":` */
    c->key_len = f->key_len - 4;
}

/* Convert the value at *p of column i, or pass over it if it isn't written or stands in the
 * overlay. */
static enum amber_rc column_value(struct amber_row_decoder *d, const struct source *src, size_t i,
                                  const char **p, const char *end, struct row_out *o,
                                  struct amber_err *err)
{
    struct amber_json_fault f;
    const bool exact = src->overlay && d->overlay[i].start;

    if (d->emitted[i] && !exact)
        return amber_json_to_copy(&d->parse, &d->plan->fields[i].type, p, end, o, err);
    const char *e = amber_json_value_end(d->parse.stack, *p, end, &f);
    if (!e)
        return amber_row_json_fault(&d->parse, &f, err);
    *p = e;
    return d->emitted[i] ? from_overlay(d, src, i, o, err) : AMBER_OK;
}

/* The quick way. *fits false: the keys aren't those of the plan in its order (or this isn't even
 * JSON): nothing is said, o is to be reset. */
static enum amber_rc decode_in_order(struct amber_row_decoder *d, const struct source *src,
                                     struct row_out *o, bool *fits, struct amber_err *err)
{
    const char *p = src->json, *end = src->end;
    bool first = true;
    enum amber_rc rc;

    *fits = false;
    if (p == end || *p++ != '{')
        return AMBER_OK;
    for (size_t i = 0; i < d->plan->n_fields; i++) {
        const struct row_field *f = &d->plan->fields[i];
        const size_t key_len = f->key_len - (i == 0);
        if ((size_t)(end - p) < key_len || memcmp(p, f->key + (i == 0), key_len))
            return AMBER_OK;
        p = amber_json_space(p + key_len, end);
        set_key(&d->parse, f);
        if (d->emitted[i]) {
            if (!first && (rc = row_out_char(o, '\t', err)) != AMBER_OK)
                return rc;
            first = false;
        }
        if ((rc = column_value(d, src, i, &p, end, o, err)) != AMBER_OK)
            return rc;
        p = amber_json_space(p, end);
    }
    d->parse.key = NULL;
    *fits = p < end && *p == '}' && amber_json_space(p + 1, end) == end;
    return AMBER_OK;
}

/* Every column must be there, unless any_keys. */
static enum amber_rc check_missing(const struct amber_row_decoder *d, const struct source *src,
                                   const struct row_span *spans, struct amber_err *err)
{
    for (size_t i = 0; !d->parse.any_keys && i < d->plan->n_fields; i++)
        if (!spans[i].start)
            return amber_row_fault(&d->parse, src->json, err, "the key \"%s\" is missing",
                                   d->plan->fields[i].name);
    return AMBER_OK;
}

/* The general way. Leaves the row's spans at the bottom of the stack. */
static enum amber_rc decode_members(struct amber_row_decoder *d, const struct source *src,
                                    struct row_out *o, struct amber_err *err)
{
    const char *p = src->json;
    size_t base;
    enum amber_rc rc = amber_row_members(&d->parse, d->plan, &p, src->end, &base, err);

    if (rc != AMBER_OK)
        return rc;
    p = amber_json_space(p, src->end);
    if (p != src->end)
        return amber_row_fault(&d->parse, p, err, "more text behind the object");
    if ((rc = check_missing(d, src, d->parse.spans + base, err)) != AMBER_OK)
        return rc;
    bool first = true;
    for (size_t k = 0; k < d->n_emit; k++) {
        struct row_span span = d->parse.spans[base + d->emit[k]]; /* the array may move below */
        if (!span.start)
            continue;
        if (!first && (rc = row_out_char(o, '\t', err)) != AMBER_OK)
            return rc;
        first = false;
        set_key(&d->parse, &d->plan->fields[d->emit[k]]);
        if ((rc = column_value(d, src, d->emit[k], &span.start, span.end, o, err)) != AMBER_OK)
            return rc;
    }
    return AMBER_OK;
}

static enum amber_rc decode_row(struct amber_row_decoder *d, const struct source *src,
                                struct row_out *o, bool *present, struct amber_err *err)
{
    const size_t start = row_out_len(o);
    bool fits = false;
    enum amber_rc rc = AMBER_OK;

    if (d->in_order) {
        read_from(&d->parse, src->json, "");
        rc = decode_in_order(d, src, o, &fits, err);
    }
    if (rc == AMBER_OK && !fits) {
        if (o->p)
            o->p = o->buf->data + start;
        read_from(&d->parse, src->json, "");
        rc = decode_members(d, src, o, err);
    }
    if (rc == AMBER_OK)
        rc = row_out_char(o, '\n', err);
    for (size_t i = 0; rc == AMBER_OK && present && i < d->plan->n_fields; i++)
        present[i] = fits || d->parse.spans[i].start;
    return rc;
}

static enum amber_rc check_utf8(const char *text, size_t len, const char *what, enum amber_rc code,
                                struct amber_err *err)
{
    size_t bad = amber_utf8_check(text, len);

    return bad == len ? AMBER_OK
                      : amber_fail(err, code, "%sbyte %zu: not valid UTF-8", what, bad + 1);
}

enum amber_rc amber_row_decode(struct amber_row_decoder *d, const char *json, size_t len,
                               const char *overlay, size_t overlay_len, struct amber_buf *copy,
                               bool *present, struct amber_err *err)
{
    struct source src = {.json = json, .end = json + len};
    const size_t copy_len = copy->len;
    struct row_out o;
    enum amber_rc rc = check_utf8(json, len, "", AMBER_E_INVALID, err);

    if (rc != AMBER_OK)
        return rc;
    if (overlay && overlay_len) {
        src.overlay = overlay;
        if ((rc = check_utf8(overlay, overlay_len, "overlay ", AMBER_E_CORRUPT, err)) != AMBER_OK)
            return rc;
        read_from(&d->parse, overlay, "overlay ");
        rc = amber_overlay_spans(&d->parse, d->plan, overlay, overlay_len, d->overlay, err);
        if (rc != AMBER_OK)
            return overlay_rc(rc, err);
    }
    row_out_begin(&o, copy);
    rc = decode_row(d, &src, &o, present, err);
    row_out_end(&o);
    row_work_shrink(&d->parse.work);
    if (rc != AMBER_OK && copy->data) {
        copy->len = copy_len;
        copy->data[copy_len] = '\0';
    }
    return rc;
}
