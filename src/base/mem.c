/*
 * mem.c - the growable buffer and checked allocation.
 *
 * Invariants of a buffer: len <= max; data is NULL with cap 0, or cap >= len + 1 and data[len] is
 * NUL. The extra byte isn't counted against the ceiling. Growth doubles, so that appending n bytes
 * costs O(n), and never goes past the ceiling: a block buffer doesn't end up at twice its size.
 */
#include "amber/mem.h"

#include <malloc.h>
#include <stdio.h>

void amber_mem_trim(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

void amber_buf_init(struct amber_buf *b, size_t max_bytes)
{
    *b = (struct amber_buf)AMBER_BUF_INIT(max_bytes);
}

void amber_buf_clear(struct amber_buf *b)
{
    free(b->data);
    b->data = NULL;
    b->len = 0;
    b->cap = 0;
}

void amber_buf_swap(struct amber_buf *a, struct amber_buf *b)
{
    struct amber_buf tmp = *a;

    *a = *b;
    *b = tmp;
}

enum amber_rc amber_buf_reserve(struct amber_buf *b, size_t extra, struct amber_err *err)
{
    if (extra > b->max - b->len || b->max == SIZE_MAX)
        return amber_fail(err, AMBER_E_LIMIT, "%zu bytes are more than the limit of %zu bytes here",
                          extra > SIZE_MAX - b->len ? SIZE_MAX : b->len + extra, b->max);

    size_t need = b->len + extra + 1;
    if (need <= b->cap)
        return AMBER_OK;

    size_t room = b->cap < 64 ? 64 : b->cap > SIZE_MAX / 2 ? SIZE_MAX : b->cap * 2;
    if (room > b->max + 1)
        room = b->max + 1;
    if (room < need)
        room = need;
    char *data = realloc(b->data, room);
    if (!data)
        return amber_fail_nomem(err, "a buffer", room);
    data[b->len] = '\0';
    b->data = data;
    b->cap = room;
    return AMBER_OK;
}

enum amber_rc amber_buf_append(struct amber_buf *b, const void *data, size_t len,
                               struct amber_err *err)
{
    enum amber_rc rc = amber_buf_reserve(b, len, err);

    if (rc)
        return rc;
    if (len > 0)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
    return AMBER_OK;
}

enum amber_rc amber_buf_puts(struct amber_buf *b, const char *s, struct amber_err *err)
{
    return amber_buf_append(b, s, strlen(s), err);
}

enum amber_rc amber_buf_printf(struct amber_buf *b, struct amber_err *err, const char *fmt, ...)
{
    va_list args;

    /* 1. Try with the room there is; 2. make the room that was missing and format again. */
    va_start(args, fmt);
    size_t room = b->cap - b->len;
    int n = vsnprintf(b->data ? b->data + b->len : NULL, b->data ? room : 0, fmt, args);
    va_end(args);
    if (n < 0) {
        if (b->data)
            b->data[b->len] = '\0';
        return amber_fail(err, AMBER_E_INVALID, "the text \"%s\" can't be formatted", fmt);
    }
    if ((size_t)n >= room) {
        if (b->data)
            b->data[b->len] = '\0';
        enum amber_rc rc = amber_buf_reserve(b, (size_t)n, err);
        if (rc)
            return rc;
        va_start(args, fmt);
        vsnprintf(b->data + b->len, b->cap - b->len, fmt, args);
        va_end(args);
    }
    b->len += (size_t)n;
    return AMBER_OK;
}

/* Bytes of the well-formed UTF-8 character at s, 0 if there is none (RFC 3629). */
static size_t utf8_len(const unsigned char *s, size_t len)
{
    unsigned char lead = s[0];
    size_t n = lead < 0x80U ? 1 : lead < 0xC2U ? 0 : lead < 0xE0U ? 2 : lead < 0xF0U ? 3 : 4;

    if (n == 0 || n > len || lead > 0xF4U)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0U) != 0x80U)
            return 0;
    bool overlong = (lead == 0xE0U && s[1] < 0xA0U) || (lead == 0xF0U && s[1] < 0x90U);
    bool beyond = (lead == 0xEDU && s[1] > 0x9FU) || (lead == 0xF4U && s[1] > 0x8FU);
    return overlong || beyond ? 0 : n;
}

/* The escape of a byte that can't stand in a JSON string as it is. */
static enum amber_rc append_escape(struct amber_buf *b, unsigned char c, struct amber_err *err)
{
    switch (c) {
    case '"':
        return amber_buf_append(b, "\\\"", 2, err);
    case '\\':
        return amber_buf_append(b, "\\\\", 2, err);
    case '\b':
        return amber_buf_append(b, "\\b", 2, err);
    case '\f':
        return amber_buf_append(b, "\\f", 2, err);
    case '\n':
        return amber_buf_append(b, "\\n", 2, err);
    case '\r':
        return amber_buf_append(b, "\\r", 2, err);
    case '\t':
        return amber_buf_append(b, "\\t", 2, err);
    default:
        return c < 0x20U ? amber_buf_printf(b, err, "\\u%04x", (unsigned)c)
                         : amber_buf_append(b, "\\ufffd", 6, err);
    }
}

static enum amber_rc append_json(struct amber_buf *b, const char *s, size_t len,
                                 struct amber_err *err)
{
    const unsigned char *p = (const unsigned char *)s, *end = p + len, *run = p;
    enum amber_rc rc = amber_buf_append(b, "\"", 1, err);

    while (!rc && p < end) {
        size_t n = utf8_len(p, (size_t)(end - p));
        if (n > 0 && *p >= 0x20U && *p != '"' && *p != '\\') {
            p += n;
            continue;
        }
        rc = amber_buf_append(b, run, (size_t)(p - run), err);
        if (!rc)
            rc = append_escape(b, *p, err);
        run = ++p;
    }
    if (!rc)
        rc = amber_buf_append(b, run, (size_t)(p - run), err);
    if (!rc)
        rc = amber_buf_append(b, "\"", 1, err);
    return rc;
}

enum amber_rc amber_buf_json(struct amber_buf *b, const char *s, size_t len, struct amber_err *err)
{
    size_t before = b->len;
    enum amber_rc rc = append_json(b, s, len, err);

    if (rc && b->data) {
        b->len = before;
        b->data[before] = '\0';
    }
    return rc;
}

enum amber_rc amber_calloc(size_t n, size_t size, void *out, struct amber_err *err)
{
    size_t bytes;
    bool overflow = __builtin_mul_overflow(n, size, &bytes) || bytes > PTRDIFF_MAX;
    /* One byte at least: NULL means failure, never "no items". */
    void *mem = overflow ? NULL : calloc(1, bytes ? bytes : 1);

    memcpy(out, &mem, sizeof(mem));
    return mem ? AMBER_OK : amber_fail_nomem(err, "an array", overflow ? SIZE_MAX : bytes);
}

enum amber_rc amber_strdup(const char *s, char **out, struct amber_err *err)
{
    char *copy = strdup(s);

    if (!copy)
        return amber_fail_nomem(err, "a string", strlen(s) + 1);
    *out = copy;
    return AMBER_OK;
}

enum amber_rc amber_asprintf(char **out, struct amber_err *err, const char *fmt, ...)
{
    char *text;
    va_list args;

    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n < 0)
        return amber_fail_nomem(err, "a formatted string", strlen(fmt) + 1);
    *out = text;
    return AMBER_OK;
}

enum amber_rc amber_grow(void *items_pp, size_t *cap, size_t need, size_t item_bytes,
                         struct amber_err *err)
{
    void *items;

    if (need <= *cap)
        return AMBER_OK;
    if (need > PTRDIFF_MAX / item_bytes)
        return amber_fail(err, AMBER_E_LIMIT, "%zu items of %zu bytes don't fit into memory", need,
                          item_bytes);
    size_t n = *cap < 8 ? 8 : *cap * 2;
    if (n > PTRDIFF_MAX / item_bytes || n < need)
        n = need;
    memcpy(&items, items_pp, sizeof(items));
    items = realloc(items, n * item_bytes);
    if (!items)
        return amber_fail_nomem(err, "an array", n * item_bytes);
    memcpy(items_pp, &items, sizeof(items));
    *cap = n;
    return AMBER_OK;
}
