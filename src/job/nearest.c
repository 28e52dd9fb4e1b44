/*
 * nearest.c - edit distance (optimal string alignment) over two short words.
 *
 *   d[i][j] = cost of turning the first i bytes of a into the first j bytes of b; only the last
 *   three rows are kept: the one in work, the one before, and the one a swap looks back to
 */
#include "amber/nearest.h"

#include <string.h>

static int fold(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t amber_edit_distance(const char *a, const char *b)
{
    size_t rows[3][AMBER_NEAREST_WORD_MAX + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    size_t n_a = strnlen(a, AMBER_NEAREST_WORD_MAX), n_b = strnlen(b, AMBER_NEAREST_WORD_MAX);

    for (size_t j = 0; j <= n_b; j++)
        before[j] = last[j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        now[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            int ca = fold(a[i - 1]), cb = fold(b[j - 1]);
            size_t best = smaller(last[j], now[j - 1]) + 1;
            best = smaller(best, last[j - 1] + (ca != cb));
            if (i > 1 && j > 1 && ca == fold(b[j - 2]) && cb == fold(a[i - 2]))
                best = smaller(best, before[j - 2] + 1);
            now[j] = best;
        }
        size_t *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[n_b];
}

const char *amber_nearest(const char *word, const char *const *first_name, size_t n,
                          size_t stride_bytes, size_t max_distance)
{
    const char *best = NULL;
    size_t best_distance = max_distance;

    for (size_t i = 0; i < n; i++) {
        const char *name;
        memcpy(&name, (const char *)first_name + i * stride_bytes, sizeof(name));
        if (!name)
            continue;
        size_t distance = amber_edit_distance(word, name);
        if (distance < best_distance || (!best && distance == best_distance)) {
            best = name;
            best_distance = distance;
        }
    }
    return best;
}

size_t amber_nearest_limit(const char *word)
{
    size_t len = strlen(word);
    return len < 4 ? 1 : 1 + len / 4;
}
