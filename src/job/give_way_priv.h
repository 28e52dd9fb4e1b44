/*
 * give_way_priv.h - what a unit does after it gave way to somebody who waited.
 */
#ifndef AMBER_GIVE_WAY_PRIV_H
#define AMBER_GIVE_WAY_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#define AMBER_GIVE_WAYS_MAX 8U

struct amber_give_way {
    uint64_t max_rows; /* cap of the next try */
    int pause_ms;      /* before it */
};

/*
 * A unit of so many rows gave way for the n-th time (from 1): the next try has half of them, but not
 * fewer than 1000, after a pause that doubles from 1 s up to 30 s. False behind
 * AMBER_GIVE_WAYS_MAX times: there is no next try, *out is untouched.
 */
bool amber_give_way(unsigned n, uint64_t rows, struct amber_give_way *out);

#endif
