/*
 * foreign_zstd.c - a zstd file of another program, cut into blocks while it is decoded once.
 *
 * Frames that are small enough are blocks, several to a block. A larger one can't be read from its
 * middle by any means that zstd has: its text is kept in the cache folder, in pieces.
 *
 *     whole    text of the present block up to the last frame that ended there
 *     copying  the present frame is a large one; its first piece is block first
 */
#include "foreign_priv.h"

#include "amber/unzstd.h"

struct zstd_build {
    struct foreign_build *b;
    struct amber_unzstd *unzstd; /* owned */
    size_t whole, whole_pos;
    bool copying;
    size_t first;
};

/* The frames up to whole become a block; the text of the one behind stays. */
static enum amber_rc cut(struct zstd_build *z, struct amber_err *err)
{
    struct foreign_build *b = z->b;
    enum amber_rc rc = AMBER_OK;

    if (z->whole > 0)
        rc = amber_foreign_push(b, FOREIGN_START, z->whole, z->whole_pos, NULL, 0, err);
    b->n_out -= z->whole;
    memmove(b->out, b->out + z->whole, b->n_out);
    b->block_pos = z->whole_pos;
    z->whole = 0;
    return rc;
}

/* What there is of a large frame's text, in pieces; the last one too, if the frame ends. */
static enum amber_rc copy(struct zstd_build *z, bool ends, struct amber_err *err)
{
    struct foreign_build *b = z->b;
    enum amber_rc rc = AMBER_OK;

    while (!rc && (b->n_out >= FOREIGN_RAW || (ends && b->n_out > 0))) {
        size_t n = b->n_out < FOREIGN_RAW ? b->n_out : FOREIGN_RAW;
        rc = amber_foreign_push(b, FOREIGN_COPY, n, 0, NULL, 0, err);
        b->n_out -= n;
        memmove(b->out, b->out + n, b->n_out);
    }
    b->block_pos = b->pos;
    return rc;
}

static enum amber_rc begin_copying(struct zstd_build *z, struct amber_err *err)
{
    z->copying = true;
    z->first = z->b->part.n_blocks;
    return copy(z, false, err);
}

static enum amber_rc out_full(struct zstd_build *z, struct amber_err *err)
{
    if (z->copying)
        return copy(z, false, err);
    return z->whole > 0 ? cut(z, err) : begin_copying(z, err);
}

static enum amber_rc damaged(struct zstd_build *z, const char *what, struct amber_err *err)
{
    size_t at = z->b->pos;
    enum amber_rc rc = AMBER_OK;

    if (z->copying)
        amber_foreign_drop(z->b, z->first);
    else if (z->whole > 0)
        rc = amber_foreign_push(z->b, FOREIGN_START, z->whole, z->whole_pos, NULL, 0, err);
    return rc ? rc : amber_foreign_damaged(z->b, at, what, err);
}

/* The input ends within a frame: what came out of it is what was written. */
static enum amber_rc cut_off(struct zstd_build *z, struct amber_err *err)
{
    struct foreign_build *b = z->b;
    enum amber_rc rc = AMBER_OK;

    if (z->copying)
        rc = copy(z, true, err);
    else if (b->n_out > 0)
        rc = amber_foreign_push(b, FOREIGN_START, b->n_out, b->in_len, NULL, 0, err);
    return rc ? rc : amber_foreign_damaged(b, b->in_len, "the file is cut off", err);
}

static enum amber_rc fill(struct zstd_build *z, bool *out_any, struct amber_err *err)
{
    struct foreign_build *b = z->b;

    if (z->copying)
        b->block_pos = b->pos;
    z->whole_pos -= z->copying ? 0 : b->block_pos; /* which moves to the front */
    return amber_foreign_fill(b, out_any, err);
}

static enum amber_rc frame_ended(struct zstd_build *z, bool *out_done, struct amber_err *err)
{
    struct foreign_build *b = z->b;
    bool any = true;
    enum amber_rc rc = AMBER_OK;

    if (z->copying)
        rc = copy(z, true, err);
    else if (z->whole > 0 && b->n_out > FOREIGN_RAW)
        rc = cut(z, err);
    z->copying = false;
    z->whole = b->n_out;
    z->whole_pos = b->pos;
    if (!rc && (b->n_out == 0 || b->n_out >= FOREIGN_RAW / 4 * 3 ||
                b->pos - b->block_pos >= FOREIGN_STORED))
        rc = cut(z, err);
    if (!rc && b->pos == b->in_len)
        rc = fill(z, &any, err);
    if (!rc && !any) {
        *out_done = true;
        rc = cut(z, err);
    }
    return rc;
}

static enum amber_rc more_input(struct zstd_build *z, bool *out_done, struct amber_err *err)
{
    struct foreign_build *b = z->b;
    bool any;
    enum amber_rc rc = AMBER_OK;

    if (amber_foreign_at_end(b)) {
        *out_done = true;
        return cut_off(z, err);
    }
    if (!z->copying && b->pos - b->block_pos >= FOREIGN_STORED) {
        if (z->whole > 0)
            rc = cut(z, err);
        else if (b->pos - b->block_pos >= FOREIGN_FRAME_MAX)
            rc = begin_copying(z, err);
    }
    return rc ? rc : fill(z, &any, err);
}

static enum amber_rc decode(struct zstd_build *z, struct amber_err *err)
{
    struct foreign_build *b = z->b;
    struct amber_err why = AMBER_ERR_INIT;
    enum amber_rc rc = AMBER_OK;

    for (bool done = false; !rc && !done;) {
        enum amber_unzstd_stop stop;
        struct amber_unzstd_io io = {.in = b->in + b->pos,
                                     .in_end = b->in + b->in_len,
                                     .out = b->out + b->n_out,
                                     .limit = b->out + FOREIGN_FRAME_MAX};
        enum amber_rc bad = amber_unzstd_run(z->unzstd, &io, &stop, &why);
        b->pos = (size_t)(io.in - b->in);
        b->n_out = (size_t)(io.out - b->out);
        if (bad == AMBER_E_CORRUPT)
            return damaged(z, why.text, err);
        if (bad) {
            *err = why;
            return bad;
        }
        switch (stop) {
        case AMBER_UNZSTD_NEEDS_INPUT:
            rc = more_input(z, &done, err);
            break;
        case AMBER_UNZSTD_FULL:
            rc = out_full(z, err);
            break;
        case AMBER_UNZSTD_FRAME_END:
            rc = frame_ended(z, &done, err);
            break;
        }
    }
    return rc;
}

enum amber_rc amber_foreign_zstd(struct foreign_build *b, struct amber_err *err)
{
    struct zstd_build z = {.b = b};
    bool any;
    enum amber_rc rc = amber_unzstd_new(b->f->memory_bytes, &z.unzstd, err);

    if (!rc)
        rc = amber_foreign_fill(b, &any, err);
    if (!rc && b->part.stored_bytes > 0)
        rc = decode(&z, err);
    amber_unzstd_free(z.unzstd);
    return rc;
}
