/*
 * count.c - counts as people read them.
 */
#include "amber/count.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void amber_human_count(uint64_t n, char *out)
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
    int k = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            out[k++] = ',';
        out[k++] = digits[i];
    }
    out[k] = '\0';
}

const char *amber_count_text(uint64_t n, const char *noun, char *out)
{
    char digits[32];
    size_t len = strlen(noun);
    bool ies = len > 1 && noun[len - 1] == 'y' && !strchr("aeiou", noun[len - 2]);
    amber_human_count(n, digits);
    if (n == 1)
        snprintf(out, AMBER_COUNT_BYTES, "%s %s", digits, noun);
    else
        snprintf(out, AMBER_COUNT_BYTES, "%s %.*s%s", digits, (int)(ies ? len - 1 : len), noun,
                 ies ? "ies" : "s");
    return out;
}
