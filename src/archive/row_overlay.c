/*
 * row_overlay.c - a row's overlay object, and the lines of the overlay attachment:
 *
 *   [17,{"x":"exact text","y":"[0:1]={1,2}"}]
 *
 * Keys are columns, values the exact text of the column as a JSON string.
 */
#include <inttypes.h>
#include <stdio.h>

#include "row_priv.h"

enum amber_rc amber_overlay_spans(struct row_parse *c, const struct row_type *plan,
                                  const char *overlay, size_t len, struct row_span *out,
                                  struct amber_err *err)
{
    const char *p = overlay, *end = overlay + len;
    size_t base;
    enum amber_rc rc = amber_row_members(c, plan, &p, end, &base, err);

    if (rc != AMBER_OK)
        return rc;
    p = amber_json_space(p, end);
    if (p != end)
        return amber_row_fault(c, p, err, "more text behind the object");
    for (size_t i = 0; i < plan->n_fields; i++) {
        struct row_span span = c->spans[base + i];
        if (span.start && *span.start++ != '"')
            return amber_row_mismatch(c, span.start - 1, span.end, AMBER_KIND_TEXT, err);
        out[i] = span;
    }
    c->n_spans = base;
    return AMBER_OK;
}

enum amber_rc amber_overlay_format(uint64_t row, const char *overlay, size_t len,
                                   struct amber_buf *out, struct amber_err *err)
{
    char number[32];
    int n = snprintf(number, sizeof(number), "[%" PRIu64 ",", row);
    enum amber_rc rc = amber_buf_reserve(out, (size_t)n + len + 2, err);

    if (rc != AMBER_OK)
        return rc;
    memcpy(out->data + out->len, number, (size_t)n);
    memcpy(out->data + out->len + n, overlay, len);
    memcpy(out->data + out->len + (size_t)n + len, "]\n", 3);
    out->len += (size_t)n + len + 2;
    return AMBER_OK;
}

enum amber_rc amber_overlay_parse(const char *line, size_t len, uint64_t *out_row,
                                  const char **out_obj, size_t *out_obj_len, struct amber_err *err)
{
    const char *p = line, *end = line + len;
    uint64_t row = 0;

    if (p < end && end[-1] == '\n')
        end--;
    if (p == end || *p++ != '[' || p == end || !amber_is_digit(*p))
        goto bad;
    for (const char *digits = p; p < end && amber_is_digit(*p); p++)
        if ((p > digits && *digits == '0') || __builtin_mul_overflow(row, 10, &row) ||
            __builtin_add_overflow(row, (uint64_t)(*p - '0'), &row))
            goto bad;
    if (end - p < 4 || p[0] != ',' || p[1] != '{' || end[-2] != '}' || end[-1] != ']')
        goto bad;
    *out_row = row;
    *out_obj = p + 1;
    *out_obj_len = (size_t)(end - p) - 2;
    return AMBER_OK;
bad:
    return amber_fail(err, AMBER_E_CORRUPT,
                      "byte %zu of an overlay line isn't of the form [row,{...}]; verify the "
                      "archive against its manifest",
                      (size_t)(p - line) + 1);
}
