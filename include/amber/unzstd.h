/*
 * unzstd.h - zstd files of any program, as a stream: frames of any size, one after the other, with
 * skippable frames between. zstd can't be resumed inside a frame, so a stream is left and taken up
 * again between frames only.
 *
 * source  RFC 8878
 */
#ifndef AMBER_UNZSTD_H
#define AMBER_UNZSTD_H

#include "amber/err.h"

/* A decoder; one thread at a time. */
struct amber_unzstd;
/* window_max: bytes that a frame may ask us to keep in memory. errors NOMEM. */
enum amber_rc amber_unzstd_new(uint64_t window_max, struct amber_unzstd **out,
                               struct amber_err *err) AMBER_MUST_CHECK;
void amber_unzstd_free(struct amber_unzstd *u); /* NULL allowed */
/* Whatever was decoded before: the next byte begins a frame. */
void amber_unzstd_start(struct amber_unzstd *u);

struct amber_unzstd_io {
    const uint8_t *in, *in_end; /* in is moved */
    uint8_t *out, *limit;       /* out is moved */
};
enum amber_unzstd_stop {
    AMBER_UNZSTD_NEEDS_INPUT, /* all input is taken */
    AMBER_UNZSTD_FULL,        /* out reached limit; the frame may go on or not */
    AMBER_UNZSTD_FRAME_END,   /* a frame ended, and its checksum, if it has one, agreed */
};
/*
 * Decode until one of the above; an end is told at once, however much room is left.
 * errors  CORRUPT not sound; LIMIT the frame's window is larger than window_max; UNSUPPORTED it
 *         needs a dictionary; NOMEM
 */
enum amber_rc amber_unzstd_run(struct amber_unzstd *u, struct amber_unzstd_io *io,
                               enum amber_unzstd_stop *out_stop,
                               struct amber_err *err) AMBER_MUST_CHECK;

#endif
