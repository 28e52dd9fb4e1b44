/*
 * row_plan.c - a schema compiled into what the row format needs at full speed: keys as they are
 * written, and a sorted index of names for files whose keys come in another order.
 */
#include "row_priv.h"

static void type_clear(struct row_type *t)
{
    if (t->elem) {
        type_clear(t->elem);
        free(t->elem);
    }
    for (size_t i = 0; i < t->n_fields; i++) {
        type_clear(&t->fields[i].type);
        free(t->fields[i].key);
    }
    free(t->fields);
    free(t->by_name);
}

void amber_row_plan_free(struct row_type *plan)
{
    if (!plan)
        return;
    type_clear(plan);
    free(plan);
}

static int name_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
    if (a_len != b_len)
        return a_len < b_len ? -1 : 1;
    return memcmp(a, b, a_len);
}

static int by_name(const void *a, const void *b, void *fields)
{
    const struct row_field *fa = (const struct row_field *)fields + *(const uint32_t *)a;
    const struct row_field *fb = (const struct row_field *)fields + *(const uint32_t *)b;

    return name_compare(fa->name, fa->name_len, fb->name, fb->name_len);
}

/* Sort by_name and refuse a name that comes twice: its key would be ambiguous. */
static enum amber_rc index_names(struct row_type *t, struct amber_err *err)
{
    enum amber_rc rc;

    if (t->n_fields == 0)
        return AMBER_OK;
    if ((rc = amber_calloc(t->n_fields, sizeof(*t->by_name), &t->by_name, err)) != AMBER_OK)
        return rc;
    for (size_t i = 0; i < t->n_fields; i++)
        t->by_name[i] = (uint32_t)i;
    qsort_r(t->by_name, t->n_fields, sizeof(*t->by_name), by_name, t->fields);
    for (size_t i = 1; i < t->n_fields; i++)
        if (by_name(&t->by_name[i - 1], &t->by_name[i], t->fields) == 0)
            return amber_fail(err, AMBER_E_INVALID, "two columns are named \"%s\"",
                              t->fields[t->by_name[i]].name);
    return AMBER_OK;
}

size_t amber_row_find(const struct row_type *t, const char *name, size_t len, size_t hint)
{
    size_t lo = 0, hi = t->n_fields;

    if (hint < t->n_fields && t->fields[hint].name_len == len &&
        !memcmp(t->fields[hint].name, name, len))
        return hint;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct row_field *f = &t->fields[t->by_name[mid]];
        int order = name_compare(name, len, f->name, f->name_len);
        if (order == 0)
            return t->by_name[mid];
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return t->n_fields;
}

static enum amber_rc compile_key(const char *name, struct row_field *out, struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf key = AMBER_BUF_INIT(AMBER_FIELD_MAX);
    size_t len = name ? strlen(name) : 0;
    struct row_out o;
    enum amber_rc rc;

    if (len == 0 || amber_utf8_check(name, len) != len)
        return amber_fail(err, AMBER_E_INVALID, "a column's name is empty or isn't UTF-8");
    row_out_begin(&o, &key);
    if ((rc = row_out_char(&o, ',', err)) != AMBER_OK ||
        (rc = amber_raw_to_string(name, len, &o, err)) != AMBER_OK ||
        (rc = row_out_char(&o, ':', err)) != AMBER_OK)
        return rc;
    row_out_end(&o);
    out->name = name;
    out->name_len = len;
    out->key_len = key.len;
    out->key = amber_steal(&key.data);
    return AMBER_OK;
}

static enum amber_rc compile_type(const struct amber_type *from, unsigned depth,
                                  struct row_type *out, struct amber_err *err);

static enum amber_rc compile_elem(const struct amber_type *from, unsigned depth,
                                  struct row_type *out, struct amber_err *err)
{
    enum amber_rc rc;

    if (!from->elem)
        return amber_fail(err, AMBER_E_INVALID, "an array without an element type");
    out->delim = from->kind == AMBER_KIND_VECTOR ? ' ' : from->delim;
    if (from->kind == AMBER_KIND_ARRAY &&
        (out->delim == '\0' || strchr("{}\"\\ \t\n\r\v\f", out->delim)))
        return amber_fail(err, AMBER_E_INVALID, "an array with an impossible delimiter");
    if ((rc = amber_calloc(1, sizeof(*out->elem), &out->elem, err)) != AMBER_OK ||
        (rc = compile_type(from->elem, depth + 1, out->elem, err)) != AMBER_OK)
        return rc;
    enum amber_kind k = out->elem->kind;
    out->list_elem = k == AMBER_KIND_JSON || k == AMBER_KIND_VECTOR || k == AMBER_KIND_ARRAY;
    return AMBER_OK;
}

static enum amber_rc compile_fields(const struct amber_type *from, unsigned depth,
                                    struct row_type *out, struct amber_err *err)
{
    enum amber_rc rc = amber_calloc(from->n_fields, sizeof(*out->fields), &out->fields, err);

    if (rc != AMBER_OK)
        return rc;
    for (size_t i = 0; i < from->n_fields; i++) {
        out->n_fields = i + 1;
        if ((rc = compile_key(from->fields[i].name, &out->fields[i], err)) != AMBER_OK ||
            (rc = compile_type(&from->fields[i].type, depth + 1, &out->fields[i].type, err)) !=
                AMBER_OK)
            return rc;
    }
    return index_names(out, err);
}

static enum amber_rc compile_type(const struct amber_type *from, unsigned depth,
                                  struct row_type *out, struct amber_err *err)
{
    if (depth > AMBER_TYPE_DEPTH_MAX)
        return amber_fail(err, AMBER_E_INVALID, "types are nested more than %u levels deep",
                          AMBER_TYPE_DEPTH_MAX);
    out->kind = from->kind;
    switch (from->kind) {
    case AMBER_KIND_ARRAY:
    case AMBER_KIND_VECTOR:
        return compile_elem(from, depth, out, err);
    case AMBER_KIND_COMPOSITE:
        return compile_fields(from, depth, out, err);
    case AMBER_KIND_SERVER:
        if (depth > 0)
            return amber_fail(err, AMBER_E_INVALID,
                              "type %s has its own cast to json and is nested: the whole column "
                              "must be converted by the server",
                              from->name ? from->name : "?");
        return AMBER_OK;
    case AMBER_KIND_TEXT:
    case AMBER_KIND_NUMBER:
    case AMBER_KIND_BOOL:
    case AMBER_KIND_JSON:
    case AMBER_KIND_DATE:
    case AMBER_KIND_TIMESTAMP:
    case AMBER_KIND_TIMESTAMPTZ:
    case AMBER_KIND_HSTORE:
        return AMBER_OK;
    }
    return amber_fail(err, AMBER_E_INVALID, "an unknown kind of type");
}

static enum amber_rc compile_columns(const struct amber_schema *schema, struct row_type *plan,
                                     struct amber_err *err)
{
    enum amber_rc rc = amber_calloc(schema->n_columns, sizeof(*plan->fields), &plan->fields, err);

    if (rc != AMBER_OK)
        return rc;
    for (size_t i = 0; i < schema->n_columns; i++) {
        const struct amber_column *c = &schema->columns[i];
        plan->n_fields = i + 1;
        if ((rc = compile_key(c->name, &plan->fields[i], err)) != AMBER_OK)
            return rc;
        if ((rc = compile_type(&c->type, 0, &plan->fields[i].type, err)) != AMBER_OK)
            return amber_wrap(err, "column \"%s\"", c->name);
    }
    return index_names(plan, err);
}

enum amber_rc amber_row_plan_new(const struct amber_schema *schema, struct row_type **out,
                                 struct amber_err *err)
{
    struct row_type *plan;
    enum amber_rc rc = amber_calloc(1, sizeof(*plan), &plan, err);

    if (rc != AMBER_OK)
        return rc;
    plan->kind = AMBER_KIND_COMPOSITE;
    if ((rc = compile_columns(schema, plan, err)) != AMBER_OK) {
        amber_row_plan_free(plan);
        return rc;
    }
    *out = plan;
    return AMBER_OK;
}
