/*
 * json_scan.c - see json_scan.h.
 *
 * amber_json_value_end is a state machine of four states (value, key, after, close) written with
 * labels: a loop over a state variable costs a third of the speed, and this is run over every
 * json value that is archived or restored.
 */
#include "json_scan.h"

/* Length of the valid multi-byte sequence at p, 0 if there is none. */
static size_t utf8_sequence(const unsigned char *p, size_t len)
{
    unsigned char lo = 0x80, hi = 0xBF; /* allowed range of the second byte */
    size_t n;

    if (p[0] >= 0xC2 && p[0] <= 0xDF) {
        n = 2;
    } else if (p[0] >= 0xE0 && p[0] <= 0xEF) {
        n = 3;
        if (p[0] == 0xE0)
            lo = 0xA0; /* overlong below */
        else if (p[0] == 0xED)
            hi = 0x9F; /* surrogates above */
    } else if (p[0] >= 0xF0 && p[0] <= 0xF4) {
        n = 4;
        if (p[0] == 0xF0)
            lo = 0x90;
        else if (p[0] == 0xF4)
            hi = 0x8F;
    } else {
        return 0;
    }
    if (len < n || p[1] < lo || p[1] > hi)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    return n;
}

size_t amber_utf8_check(const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t i = 0;

    while (i < len) {
        if (p[i] < 0x80) {
#ifdef __SSE2__
            while (len - i >= 16 &&
                   !_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + i))))
                i += 16;
#endif
            uint64_t v;
            while (len - i >= 8 && !(memcpy(&v, p + i, 8), v & UINT64_C(0x8080808080808080)))
                i += 8;
            while (i < len && p[i] < 0x80)
                i++;
            continue;
        }
        size_t n = utf8_sequence(p + i, len - i);
        if (n == 0)
            return i;
        i += n;
    }
    return len;
}

int amber_hex4(const char *p)
{
    int v = 0;

    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int d;
        if (c >= '0' && c <= '9')
            d = c - '0';
        else if (c >= 'a' && c <= 'f')
            d = c - 'a' + 10;
        else if (c >= 'A' && c <= 'F')
            d = c - 'A' + 10;
        else
            return -1;
        v = v * 16 + d;
    }
    return v;
}

const char *amber_json_number_end(const char *p, const char *end)
{
    if (p < end && *p == '-')
        p++;
    if (p == end || !amber_is_digit(*p))
        return NULL;
    if (*p++ != '0')
        while (p < end && amber_is_digit(*p))
            p++;
    if (p < end && *p == '.') {
        if (++p == end || !amber_is_digit(*p))
            return NULL;
        while (p < end && amber_is_digit(*p))
            p++;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        if (++p < end && (*p == '+' || *p == '-'))
            p++;
        if (p == end || !amber_is_digit(*p))
            return NULL;
        while (p < end && amber_is_digit(*p))
            p++;
    }
    return p;
}

static const char *fault(struct amber_json_fault *f, const char *at, const char *what)
{
    *f = (struct amber_json_fault){.at = at, .what = what};
    return NULL;
}

/* First quotation mark, backslash or control character from p on, or end. */
static inline const char *string_run(const char *p, const char *end)
{
    while (end - p >= AMBER_STEP) {
        unsigned n = amber_plain_bytes(p, true);
        p += n;
        if (n < AMBER_STEP)
            return p;
    }
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20)
        p++;
    return p;
}

static inline const char *string_end(const char *p, const char *end, struct amber_json_fault *f)
{
    for (;;) {
        p = string_run(p, end);
        if (p == end)
            return fault(f, p, "the text ends inside a string");
        if (*p == '"')
            return p + 1;
        if (*p != '\\')
            return fault(f, p, "a control character inside a string");
        if (end - p < 2)
            return fault(f, p, "the text ends inside a string");
        switch (p[1]) {
        case '"':
        case '\\':
        case '/':
        case 'b':
        case 'f':
        case 'n':
        case 'r':
        case 't':
            p += 2;
            break;
        case 'u':
            if (end - p < 6 || amber_hex4(p + 2) < 0)
                return fault(f, p, "\\u isn't followed by four hex digits");
            p += 6;
            break;
        default:
            return fault(f, p, "an unknown escape in a string");
        }
    }
}

const char *amber_json_string_end(const char *p, const char *end, struct amber_json_fault *f)
{
    return string_end(p, end, f);
}

static const char *literal_end(const char *p, const char *end, const char *word, size_t len)
{
    return (size_t)(end - p) >= len && !memcmp(p, word, len) ? p + len : NULL;
}

/* Behind a number, true, false or null; NULL if p is at none of them. */
static inline const char *scalar_end(const char *p, const char *end)
{
    switch (*p) {
    case 't':
        return literal_end(p, end, "true", 4);
    case 'f':
        return literal_end(p, end, "false", 5);
    case 'n':
        return literal_end(p, end, "null", 4);
    default:
        return amber_json_number_end(p, end);
    }
}

const char *amber_json_value_end(struct amber_json_stack *stack, const char *p, const char *end,
                                 struct amber_json_fault *f)
{
    static const char cut[] = "the text ends inside a value";
    size_t depth = 0;
    bool in_object = false;

value:
    p = amber_json_space(p, end);
    if (p == end)
        return fault(f, p, cut);
    if (*p == '"') {
        if (!(p = string_end(p + 1, end, f)))
            return NULL;
        goto after;
    }
    if (*p == '{' || *p == '[') {
        bool object = *p == '{';
        if (depth == AMBER_JSON_DEPTH_MAX) {
            fault(f, p, "nested too deeply");
            f->too_deep = true;
            return NULL;
        }
        /* the bit of a level is that of the level around it, to come back to on closing */
        uint64_t bit = UINT64_C(1) << (depth % 64);
        if (in_object)
            stack->bits[depth / 64] |= bit;
        else
            stack->bits[depth / 64] &= ~bit;
        depth++;
        in_object = object;
        p = amber_json_space(p + 1, end);
        if (p < end && *p == (object ? '}' : ']'))
            goto close;
        if (object)
            goto key;
        goto value;
    } else {
        const char *next = scalar_end(p, end);
        if (!next)
            return fault(f, p, "not a JSON value");
        p = next;
    }
after:
    if (depth == 0)
        return p;
    p = amber_json_space(p, end);
    if (p == end)
        return fault(f, p, cut);
    if (*p == ',') {
        p++;
        if (!in_object)
            goto value;
        p = amber_json_space(p, end);
        goto key;
    }
    if (*p != (in_object ? '}' : ']'))
        return fault(f, p, in_object ? "expected ',' or '}'" : "expected ',' or ']'");
close:
    p++;
    depth--;
    in_object = stack->bits[depth / 64] >> (depth % 64) & 1;
    goto after;
key:
    if (p == end)
        return fault(f, p, cut);
    if (*p != '"')
        return fault(f, p, "expected a key in quotation marks");
    if (!(p = string_end(p + 1, end, f)))
        return NULL;
    p = amber_json_space(p, end);
    if (p == end || *p != ':')
        return fault(f, p, "expected ':' behind a key");
    p++;
    goto value;
}
