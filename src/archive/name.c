/*
 * name.c - names of archives: percent-encoding, patterns, suffixes.
 *
 * Escaping is one-to-one: '%' itself is escaped, so two tables never share a name; only a text
 * that had to be cut ends in a digest of the whole instead. Names must be harmless in a shell, a
 * URL and a file manager: no control character, no blank, none that can't be seen.
 */
#include "amber/name.h"

#include <stdio.h>

#include "amber/calendar.h"
#include "amber/codec.h"
#include "amber/digest.h"
#include "amber/store.h"

/* Escaped bytes of one text. PostgreSQL's names have 63 bytes, so at most 189: never cut. */
#define PART_MAX 200
#define DIGEST_HEX 16 /* digits behind a cut text, with '~' before them */
#define SUFFIX_ROOM 8 /* of a component, for ".zst" and what may come */
/* Of a key: the suffix, ".amberfs/manifests/" before it, "/<run id>.<rows>.<bytes>.json" behind. */
#define MANIFEST_ROOM 120

static bool plain_byte(unsigned char c, bool leading)
{
    if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_')
        return true;
    /* A leading '.' hides the file, a leading '-' makes it an option. */
    return (c == '-' || c == '.') && !leading;
}

/* Code point of the well-formed UTF-8 character at s, its length in *n; *n 0 if there is none. */
static uint32_t utf8_char(const unsigned char *s, size_t len, size_t *n)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t want = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : s[0] >= 0xC0 ? 2 : 0;
    uint32_t cp = want ? s[0] & (0xFFU >> (want + 1)) : 0;

    *n = 0;
    if (want == 0 || want > len)
        return 0;
    for (size_t i = 1; i < want; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
        cp = cp << 6 | (s[i] & 0x3FU);
    }
    if (cp < least[want] || cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF))
        return 0;
    *n = want;
    return cp;
}

/* Blanks, controls, marks of direction, private use and non-characters. */
static bool unseen(uint32_t cp)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x80, 0xA0},     {0xAD, 0xAD},     {0x61C, 0x61C},   {0x1680, 0x1680}, {0x180E, 0x180E},
        {0x2000, 0x200F}, {0x2028, 0x202F}, {0x205F, 0x206F}, {0x3000, 0x3000}, {0xE000, 0xF8FF},
        {0xFDD0, 0xFDEF}, {0xFE00, 0xFE0F}, {0xFEFF, 0xFEFF}, {0xFFF0, 0xFFFF}, {0xE0000, 0x10FFFF},
    };
    for (size_t i = 0; i < amber_countof(ranges); i++)
        if (cp >= ranges[i].first && cp <= ranges[i].last)
            return true;
    return false;
}

/* Write the escaped form of the character at s to out (12 bytes); returns the bytes read. */
static size_t escape_char(const unsigned char *s, size_t len, bool leading, char *out)
{
    size_t n;
    uint32_t cp = utf8_char(s, len, &n);

    if (n > 0 && !unseen(cp)) {
        memcpy(out, s, n);
        out[n] = '\0';
        return n;
    }
    if (plain_byte(s[0], leading))
        snprintf(out, 2, "%c", s[0]);
    else
        snprintf(out, 4, "%%%02X", s[0]);
    return 1;
}

enum amber_rc amber_name_escape(const char *text, struct amber_buf *out, struct amber_err *err)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t len = strlen(text), used = 0, keep = 0;
    char escaped[PART_MAX + 16], one[12], hex[AMBER_SHA256_HEX];
    struct amber_sha256 digest;

    for (size_t i = 0; i < len && used <= PART_MAX;) {
        i += escape_char(s + i, len - i, i == 0, one);
        size_t n = strlen(one);
        memcpy(escaped + used, one, n);
        used += n;
        if (used + DIGEST_HEX + 1 <= PART_MAX)
            keep = used;
    }
    if (used <= PART_MAX)
        return amber_buf_append(out, escaped, used, err);
    enum amber_rc rc = amber_sha256(text, len, &digest, err);
    if (rc)
        return rc;
    amber_sha256_hex(&digest, hex);
    return amber_buf_printf(out, err, "%.*s~%.*s", (int)keep, escaped, DIGEST_HEX, hex);
}

enum placeholder { PH_TABLE, PH_START, PH_END, PH_DAY, PH_EPOCH_MS };
static const char *const placeholders[] = {
    [PH_TABLE] = "{table}", [PH_START] = "{start}",       [PH_END] = "{end}",
    [PH_DAY] = "{day}",     [PH_EPOCH_MS] = "{epoch_ms}",
};

/* The placeholder at p, or -1. */
static int find_placeholder(const char *p)
{
    for (size_t i = 0; i < amber_countof(placeholders); i++)
        if (strncmp(p, placeholders[i], strlen(placeholders[i])) == 0)
            return (int)i;
    return -1;
}

enum amber_rc amber_name_pattern_check(const char *pattern, struct amber_err *err)
{
    size_t len = strlen(pattern);

    if (len == 0)
        return amber_fail(err, AMBER_E_INVALID, "a name pattern can't be empty");
    if (len > AMBER_NAME_MAX)
        return amber_fail(err, AMBER_E_INVALID, "a name pattern of %zu bytes: the limit is %d", len,
                          AMBER_NAME_MAX);
    if (pattern[0] == '.' || pattern[0] == '-')
        return amber_fail(err, AMBER_E_INVALID, "name pattern \"%s\": it can't start with '%c'",
                          pattern, pattern[0]);
    if (len >= 5 && strcmp(pattern + len - 5, ".json") == 0)
        return amber_fail(err, AMBER_E_INVALID,
                          "name pattern \"%s\": leave out \".json\", it is added", pattern);
    for (const char *p = pattern; *p;) {
        unsigned char c = (unsigned char)*p;
        int ph = c == '{' ? find_placeholder(p) : -1;
        if (ph >= 0) {
            p += strlen(placeholders[ph]);
            continue;
        }
        if (c == '{' || c == '}')
            return amber_fail(err, AMBER_E_INVALID,
                              "name pattern \"%s\": unknown placeholder at byte %td; known are "
                              "{table}, {start}, {end}, {day}, {epoch_ms}",
                              pattern, p - pattern + 1);
        size_t n = 1;
        bool fits = c > 0x20 && c != 0x7F && c != '/' && c != '\\';
        if (c >= 0x80)
            fits = !unseen(utf8_char((const unsigned char *)p, strlen(p), &n)) && n > 0;
        if (!fits)
            return amber_fail(err, AMBER_E_INVALID,
                              "name pattern with byte 0x%02X at byte %td: a file name can't have "
                              "it",
                              c, p - pattern + 1);
        p += n;
    }
    return AMBER_OK;
}

static enum amber_rc put_placeholder(enum placeholder ph, const struct amber_name_fields *f,
                                     struct amber_buf *out, struct amber_err *err)
{
    char date[AMBER_DATE_MAX];

    switch (ph) {
    case PH_TABLE:
        return amber_name_escape(f->table, out, err);
    case PH_START:
        amber_date_format(f->start_day, date);
        return amber_buf_puts(out, date, err);
    case PH_END:
        amber_date_format(f->end_day, date);
        return amber_buf_puts(out, date, err);
    case PH_DAY:
        amber_date_format(f->run_day, date);
        return amber_buf_puts(out, date, err);
    case PH_EPOCH_MS:
        return amber_buf_printf(out, err, "%lld", (long long)f->run_ms);
    }
    return AMBER_OK;
}

/* The file name behind the folder. */
static enum amber_rc put_file_name(const char *pattern, const struct amber_name_fields *f,
                                   unsigned n, struct amber_buf *out, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    for (const char *p = pattern; !rc && *p;) {
        int ph = *p == '{' ? find_placeholder(p) : -1;
        if (ph >= 0)
            rc = put_placeholder((enum placeholder)ph, f, out, err);
        else
            rc = amber_buf_append(out, p, 1, err);
        p += ph >= 0 ? strlen(placeholders[ph]) : 1;
    }
    if (!rc && n > 1)
        rc = amber_buf_printf(out, err, "_%u", n);
    return rc ? rc : amber_buf_puts(out, ".json", err);
}

/* Dotted folders are the mount's own, and amberfs's. */
static enum amber_rc check_folder(const char *folder, struct amber_err *err)
{
    enum amber_rc rc = amber_key_check(folder, err);

    if (!rc && (folder[0] == '.' || strstr(folder, "/.")))
        rc = amber_fail(err, AMBER_E_INVALID,
                        "archive folder \"%s\": no part of it can start with '.'", folder);
    return rc;
}

enum amber_rc amber_name_format(const char *folder, const char *pattern,
                                const struct amber_name_fields *f, unsigned n, char **out,
                                struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf name = AMBER_BUF_INIT(AMBER_KEY_MAX * 4);
    enum amber_rc rc = amber_name_pattern_check(pattern, err);

    if (!rc)
        rc = check_folder(folder, err);
    if (!rc)
        rc = amber_buf_printf(&name, err, "%s/", folder);
    size_t start = name.len;
    if (!rc)
        rc = put_file_name(pattern, f, n, &name, err);
    if (rc)
        return rc;
    if (name.data[start] == '.') /* hidden: nothing stood before ".json" */
        return amber_fail(err, AMBER_E_INVALID, "archive name \"%s\": it can't start with '.'",
                          name.data);
    if (name.len - start > AMBER_NAME_MAX - SUFFIX_ROOM)
        return amber_fail(err, AMBER_E_LIMIT,
                          "archive name \"%s\": %zu bytes, the limit is %d: shorten the pattern",
                          name.data + start, name.len - start, AMBER_NAME_MAX - SUFFIX_ROOM);
    if (name.len > AMBER_KEY_MAX - MANIFEST_ROOM)
        return amber_fail(err, AMBER_E_LIMIT,
                          "archive name \"%.60s...\": %zu bytes with its folder, the limit is %d: "
                          "shorten the folder",
                          name.data, name.len, AMBER_KEY_MAX - MANIFEST_ROOM);
    rc = amber_key_check(name.data, err);
    if (!rc)
        *out = amber_steal(&name.data);
    return rc;
}

enum amber_rc amber_name_fits(const char *folder, const char *pattern, const char *table,
                              struct amber_err *err)
{
    AMBER_AUTO_FREE char *name = NULL;
    const struct amber_name_fields f = {.table = table, .run_ms = 9999999999999};

    return amber_name_format(folder, pattern, &f, AMBER_NAME_TRIES, &name, err);
}

size_t amber_name_logical_len(const char *key)
{
    return strlen(key) - strlen(amber_codec_by_suffix(key)->suffix);
}
