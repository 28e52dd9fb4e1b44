/*
 * pace_priv.h - not more than so many rows a second, and not all of the time.
 */
#ifndef AMBER_PACE_PRIV_H
#define AMBER_PACE_PRIV_H

#include <stdint.h>

/* All zero but for the rate to start with. */
struct amber_pace {
    uint64_t rows_per_second; /* 0: no limit */
    uint64_t pending;         /* rows not asked for yet */
    int64_t due_us;           /* when the rows so far were allowed to have passed */
};

/*
 * A row is about to pass at now_us (any steady clock): for how many microseconds to wait first.
 * Rows are looked at in steps of about 10 ms. Of time in which no row came, a tenth of a second at most
 * is made up for.
 */
int64_t amber_pace_row(struct amber_pace *p, int64_t now_us);

/* The second limit; all zero to start with, and again where it doesn't hold for a while. */
struct amber_share {
    int64_t since_us; /* when work began */
};

/*
 * At now_us, amid work: for how many microseconds to rest first, which is four times what the work
 * took, a second at most. Short pieces, so that nobody beside waits long for his turn.
 */
int64_t amber_share_rest(struct amber_share *s, int64_t now_us);

#endif
