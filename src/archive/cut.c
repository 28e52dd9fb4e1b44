/*
 * cut.c - where the text of rows is cut into blocks.
 *
 * A block starts with a row, or is a further piece of one row and holds nothing else. A row that
 * fits into a block is never parted.
 */
#include "cut_priv.h"

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The rest of a huge row, or a piece of it; a rest of up to half a piece more isn't parted. */
static size_t cut_within(const char *text, size_t len, size_t want)
{
    size_t room = least(want + want / 2, AMBER_BLOCK_MAX);
    const char *end = memchr(text, '\n', least(len, room));

    return end ? (size_t)(end - text) + 1 : least(len, want);
}

size_t amber_rows_cut(const char *text, size_t len, bool within, size_t want)
{
    if (within)
        return cut_within(text, len, want);
    const char *end = memrchr(text, '\n', least(len, want));
    if (!end)
        end = memchr(text, '\n', least(len, AMBER_BLOCK_MAX));
    return end ? (size_t)(end - text) + 1 : least(len, want);
}

size_t amber_lines_count(const char *text, size_t len)
{
    size_t n = 0;

    /* Runs whose count fits into a byte: the compiler turns them into byte-wide additions. */
    while (len > 0) {
        size_t run = least(len, 255);
        uint8_t found = 0;
        for (size_t i = 0; i < run; i++)
            found = (uint8_t)(found + (text[i] == '\n'));
        n += found;
        text += run;
        len -= run;
    }
    return n;
}

uint32_t amber_rows_count(const char *text, size_t len, bool within)
{
    size_t n = amber_lines_count(text, len) + (len > 0 && text[len - 1] != '\n');

    /* The first line of all belongs to the row that started before. */
    return (uint32_t)(n - (within && n > 0));
}
