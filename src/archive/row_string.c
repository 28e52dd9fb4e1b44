/*
 * row_string.c - the three spellings of a text and the ways between them.
 *
 *   COPY field    a\tb\\c      escapes \b \f \n \r \t \v \\, other bytes as they are
 *   JSON string   "a\tb\\c"    escapes \b \f \n \r \t \" \\, other control characters \u00XX
 *   raw text      a<tab>b\c
 *
 * COPY and JSON share most escapes, so COPY -> JSON mostly copies. All loops have the same shape:
 * ask for the room that ROW_CHUNK source bytes can need at most, copy AMBER_STEP bytes a step
 * until a special one comes up, treat that one alone, go on. COPY text is taken only in the one
 * spelling that PostgreSQL writes: another one couldn't be told from it after the way back.
 */
#include "row_priv.h"

enum amber_rc amber_row_out_grow(struct row_out *o, size_t room, struct amber_err *err)
{
    row_out_end(o);
    enum amber_rc rc = amber_buf_reserve(o->buf, room, err);
    if (rc == AMBER_OK)
        row_out_begin(o, o->buf);
    return rc;
}

static inline bool is_plain(char c, bool quote)
{
    return (unsigned char)c >= 0x20 && c != '\\' && !(quote && c == '"');
}

/*
 * Copy plain bytes from *s to *d until a special one (true) or stop (false). Never reads at or
 * behind end; may pass stop by less than a step, for which ROW_ROOM allows.
 */
static inline bool copy_plain(char **d, const char **s, const char *stop, const char *end,
                              bool quote)
{
    while (*s < stop) {
        if (end - *s >= AMBER_STEP) {
            unsigned n = amber_copy_step(*d, *s, quote);
            *s += n;
            *d += n;
            if (n < AMBER_STEP)
                return true;
        } else if (is_plain(**s, quote)) {
            *(*d)++ = *(*s)++;
        } else {
            return true;
        }
    }
    return false;
}

static inline const char *chunk_stop(const char *s, const char *end)
{
    return end - s > ROW_CHUNK ? s + ROW_CHUNK : end;
}

/* A control character or quotation mark or backslash, raw -> inside a JSON string. */
static inline char *put_json(char *d, char c)
{
    static const char hex[] = "0123456789abcdef";
    char letter;

    switch (c) {
    case '\b':
        letter = 'b';
        break;
    case '\f':
        letter = 'f';
        break;
    case '\n':
        letter = 'n';
        break;
    case '\r':
        letter = 'r';
        break;
    case '\t':
        letter = 't';
        break;
    case '"':
    case '\\':
        letter = c;
        break;
    default:
        memcpy(d, "\\u00", 4);
        d[4] = hex[(unsigned char)c >> 4];
        d[5] = hex[c & 15];
        return d + 6;
    }
    d[0] = '\\';
    d[1] = letter;
    return d + 2;
}

/* The letter behind COPY's backslash for a raw character; 0: COPY writes it as it is. */
static inline char copy_letter(char c)
{
    switch (c) {
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    case '\v':
        return 'v';
    case '\\':
        return '\\';
    default:
        return 0;
    }
}

static inline char *put_copy(char *d, char c)
{
    char letter = copy_letter(c);

    if (letter) {
        *d++ = '\\';
        c = letter;
    }
    *d++ = c;
    return d;
}

/* The raw character that COPY's or JSON's backslash letter stands for; 0: none. */
static inline char letter_value(char letter)
{
    switch (letter) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'v':
        return '\v';
    case '\\':
        return '\\';
    default:
        return 0;
    }
}

static enum amber_rc copy_fault(struct amber_err *err, const char *what)
{
    return amber_fail(err, AMBER_E_CORRUPT,
                      "%s: the line isn't COPY text as PostgreSQL sends it; export the table again",
                      what);
}

/* The raw character at *s, which is special in COPY text and not a tab; 0: err is set. */
static char copy_special(const char **s, const char *end, struct amber_err *err)
{
    char c = **s;

    if (c == '\\') {
        c = end - *s >= 2 ? letter_value((*s)[1]) : 0;
        if (c)
            *s += 2;
        else
            copy_fault(err, "an unknown backslash sequence");
        return c;
    }
    if (c == '\0' || copy_letter(c)) {
        copy_fault(err, "an unescaped control character");
        return 0;
    }
    (*s)++;
    return c;
}

enum amber_rc amber_copy_to_string(const char **p, const char *end, struct row_out *o,
                                   struct amber_err *err)
{
    const char *s = *p;
    enum amber_rc rc = row_out_char(o, '"', err);

    while (rc == AMBER_OK) {
        if ((rc = row_out_room(o, ROW_ROOM, err)) != AMBER_OK)
            break;
        const char *stop = chunk_stop(s, end);
        char *d = o->p;
        while (copy_plain(&d, &s, stop, end, true)) {
            if (*s == '\t')
                break;
            char c = *s == '"' ? *s++ : copy_special(&s, end, err);
            if (!c)
                return AMBER_E_CORRUPT;
            d = put_json(d, c);
        }
        o->p = d;
        if (s == end || *s == '\t')
            break;
    }
    if (rc == AMBER_OK)
        rc = row_out_char(o, '"', err);
    *p = s;
    return rc;
}

enum amber_rc amber_copy_to_raw(const char **p, const char *end, bool *breaks, struct row_out *o,
                                struct amber_err *err)
{
    const char *s = *p;
    enum amber_rc rc;

    if (breaks)
        *breaks = false;
    do {
        if ((rc = row_out_room(o, ROW_ROOM, err)) != AMBER_OK)
            break;
        const char *stop = chunk_stop(s, end);
        char *d = o->p;
        while (copy_plain(&d, &s, stop, end, false) && *s != '\t') {
            char c = copy_special(&s, end, err);
            if (!c)
                return AMBER_E_CORRUPT;
            if (breaks && (c == '\n' || c == '\r')) {
                *breaks = true;
                c = ' ';
            }
            *d++ = c;
        }
        o->p = d;
    } while (s < end && *s != '\t');
    *p = s;
    return rc;
}

enum amber_rc amber_raw_to_string(const char *s, size_t len, struct row_out *o,
                                  struct amber_err *err)
{
    const char *end = s + len;
    enum amber_rc rc = row_out_char(o, '"', err);

    while (rc == AMBER_OK && s < end) {
        if ((rc = row_out_room(o, ROW_ROOM, err)) != AMBER_OK)
            break;
        const char *stop = chunk_stop(s, end);
        char *d = o->p;
        while (copy_plain(&d, &s, stop, end, true))
            d = put_json(d, *s++);
        o->p = d;
    }
    return rc == AMBER_OK ? row_out_char(o, '"', err) : rc;
}

enum amber_rc amber_raw_to_copy(const char *s, size_t len, struct row_out *o, struct amber_err *err)
{
    const char *end = s + len;

    while (s < end) {
        enum amber_rc rc = row_out_room(o, ROW_ROOM, err);
        if (rc != AMBER_OK)
            return rc;
        const char *stop = chunk_stop(s, end);
        char *d = o->p;
        while (copy_plain(&d, &s, stop, end, false))
            d = put_copy(d, *s++);
        o->p = d;
    }
    return AMBER_OK;
}

static char *put_utf8(char *d, unsigned cp)
{
    if (cp < 0x800) {
        *d++ = (char)(0xC0 | cp >> 6);
    } else {
        if (cp < 0x10000) {
            *d++ = (char)(0xE0 | cp >> 12);
        } else {
            *d++ = (char)(0xF0 | cp >> 18);
            *d++ = (char)(0x80 | (cp >> 12 & 0x3F));
        }
        *d++ = (char)(0x80 | (cp >> 6 & 0x3F));
    }
    *d++ = (char)(0x80 | (cp & 0x3F));
    return d;
}

/* The code point of the \uXXXX, or pair of them, at *s. 0: err is set. */
static unsigned unicode_escape(struct row_parse *c, const char **s, const char *end,
                               struct amber_err *err)
{
    const char *at = *s;
    int hi = end - at >= 6 ? amber_hex4(at + 2) : -1, lo = -1;

    if (hi <= 0) {
        amber_row_fault(c, at, err,
                        hi ? "\\u isn't followed by four hex digits"
                           : "\\u0000 can't be stored in PostgreSQL; remove it");
        return 0;
    }
    *s += 6;
    if (hi < 0xD800 || hi > 0xDFFF)
        return (unsigned)hi;
    if (hi < 0xDC00 && end - at >= 12 && at[6] == '\\' && at[7] == 'u')
        lo = amber_hex4(at + 8);
    if (lo < 0xDC00 || lo > 0xDFFF) {
        amber_row_fault(c, at, err, "half of a surrogate pair");
        return 0;
    }
    *s += 6;
    return 0x10000U + ((unsigned)(hi - 0xD800) << 10) + (unsigned)(lo - 0xDC00);
}

/* One escape of a JSON string at *s. NULL: err is set. */
static inline char *string_escape(struct row_parse *c, const char **s, const char *end, char *d,
                                  bool copy, struct amber_err *err)
{
    char letter = end - *s >= 2 ? (*s)[1] : 0;
    unsigned cp;

    if (letter == 'u') {
        if ((cp = unicode_escape(c, s, end, err)) == 0)
            return NULL;
        if (cp >= 0x80)
            return put_utf8(d, cp);
    } else {
        cp = letter == '"' || letter == '/' ? (unsigned char)letter
             : letter == 'v'                ? 0
                                            : (unsigned char)letter_value(letter);
        if (cp == 0) {
            amber_row_fault(c, *s, err, "an unknown escape in a string");
            return NULL;
        }
        *s += 2;
    }
    if (copy)
        return put_copy(d, (char)cp);
    *d++ = (char)cp;
    return d;
}

static inline __attribute__((always_inline)) enum amber_rc
string_out(struct row_parse *c, const char **p, const char *end, struct row_out *o, bool copy,
           struct amber_err *err)
{
    const char *s = *p;

    do {
        enum amber_rc rc = row_out_room(o, ROW_ROOM, err);
        if (rc != AMBER_OK)
            return rc;
        const char *stop = chunk_stop(s, end);
        char *d = o->p;
        while (copy_plain(&d, &s, stop, end, true)) {
            if (*s == '"') {
                o->p = d;
                *p = s + 1;
                return AMBER_OK;
            }
            if (*s != '\\')
                return amber_row_fault(c, s, err, "a control character inside a string");
            if (!(d = string_escape(c, &s, end, d, copy, err)))
                return err->code;
        }
        o->p = d;
    } while (s < end);
    return amber_row_fault(c, s, err, "the text ends inside a string");
}

enum amber_rc amber_string_to_copy(struct row_parse *c, const char **p, const char *end,
                                   struct row_out *o, struct amber_err *err)
{
    return string_out(c, p, end, o, true, err);
}

enum amber_rc amber_string_to_raw(struct row_parse *c, const char **p, const char *end,
                                  struct row_out *o, struct amber_err *err)
{
    return string_out(c, p, end, o, false, err);
}

/* Offset of the first separator that stands between two digits, or len. */
static size_t find_separator(const char *s, size_t len, char separator)
{
    /* years of four digits have it here */
    if (len > 11 && s[10] == separator && amber_is_digit(s[9]) && amber_is_digit(s[11]) &&
        !memchr(s, separator, 10))
        return 10;
    for (size_t i = 1; i + 1 < len; i++)
        if (s[i] == separator && amber_is_digit(s[i - 1]) && amber_is_digit(s[i + 1]))
            return i;
    return len;
}

/* Length of what stands before the " BC" of a timestamp, or all of it. */
static size_t before_era(const char *s, size_t len)
{
    return len >= 3 && !memcmp(s + len - 3, " BC", 3) ? len - 3 : len;
}

size_t amber_timestamp_to_json(char *dst, const char *s, size_t len, bool zone)
{
    size_t sep = find_separator(s, len, ' '), era = before_era(s, len), n = era;

    memcpy(dst, s, era);
    if (sep < len)
        dst[sep] = 'T';
    if (zone && era >= 3 && !memcmp(s + era - 3, "+00", 3)) {
        memcpy(dst + n, ":00", 3);
        n += 3;
    }
    memcpy(dst + n, s + era, len - era);
    return n + len - era;
}

size_t amber_timestamp_from_json(char *dst, const char *s, size_t len, bool zone)
{
    size_t sep = find_separator(s, len, 'T'), era = before_era(s, len), n = era;

    if (zone && era >= 6 && !memcmp(s + era - 6, "+00:00", 6))
        n -= 3;
    memmove(dst, s, n);
    memmove(dst + n, s + era, len - era);
    if (sep < n)
        dst[sep] = ' ';
    return n + len - era;
}
