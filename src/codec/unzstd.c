/*
 * unzstd.c - frames of any size, streamed by libzstd.
 */
#include "amber/unzstd.h"

#include <inttypes.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "amber/mem.h"

struct amber_unzstd {
    ZSTD_DStream *stream;
    uint64_t window_max;
};

enum amber_rc amber_unzstd_new(uint64_t window_max, struct amber_unzstd **out,
                               struct amber_err *err)
{
    struct amber_unzstd *u;
    ZSTD_bounds bounds = ZSTD_dParam_getBounds(ZSTD_d_windowLogMax);
    int log = bounds.lowerBound;
    enum amber_rc rc = amber_calloc(1, sizeof(*u), &u, err);

    if (rc)
        return rc;
    while (log < bounds.upperBound && UINT64_C(2) << log <= window_max)
        log++;
    u->window_max = UINT64_C(1) << log;
    u->stream = ZSTD_createDStream();
    if (!u->stream || ZSTD_isError(ZSTD_DCtx_setParameter(u->stream, ZSTD_d_windowLogMax, log))) {
        amber_unzstd_free(u);
        return amber_fail(err, AMBER_E_NOMEM, "out of memory for a zstd decompressor");
    }
    *out = u;
    return AMBER_OK;
}

void amber_unzstd_free(struct amber_unzstd *u)
{
    if (!u)
        return;
    ZSTD_freeDStream(u->stream);
    free(u);
}

void amber_unzstd_start(struct amber_unzstd *u)
{
    ZSTD_DCtx_reset(u->stream, ZSTD_reset_session_only); /* of a session only: can't fail */
}

static enum amber_rc fail_zstd(const struct amber_unzstd *u, size_t result, struct amber_err *err)
{
    ZSTD_ErrorCode code = ZSTD_getErrorCode(result);

    if (code == ZSTD_error_memory_allocation)
        return amber_fail(err, AMBER_E_NOMEM, "out of memory for a zstd frame");
    if (code == ZSTD_error_frameParameter_windowTooLarge)
        return amber_fail(err, AMBER_E_LIMIT,
                          "a zstd frame needs a window of more than %" PRIu64
                          " bytes of memory: raise ARCHIVAL_CACHE_BYTES",
                          u->window_max);
    if (code == ZSTD_error_dictionary_wrong)
        return amber_fail(err, AMBER_E_UNSUPPORTED,
                          "a zstd frame was made with a dictionary, "
                          "which isn't known here");
    return amber_fail(err, AMBER_E_CORRUPT, "the zstd frame isn't sound: %s",
                      ZSTD_getErrorName(result));
}

enum amber_rc amber_unzstd_run(struct amber_unzstd *u, struct amber_unzstd_io *io,
                               enum amber_unzstd_stop *out_stop, struct amber_err *err)
{
    for (;;) {
        ZSTD_inBuffer in = {.src = io->in, .size = (size_t)(io->in_end - io->in)};
        ZSTD_outBuffer out = {.dst = io->out, .size = (size_t)(io->limit - io->out)};
        size_t left = ZSTD_decompressStream(u->stream, &out, &in);
        if (ZSTD_isError(left))
            return fail_zstd(u, left, err);
        io->in += in.pos;
        io->out += out.pos;
        if (left == 0)
            *out_stop = AMBER_UNZSTD_FRAME_END;
        else if (io->out == io->limit)
            *out_stop = AMBER_UNZSTD_FULL;
        else if (io->in == io->in_end)
            *out_stop = AMBER_UNZSTD_NEEDS_INPUT;
        else
            continue;
        return AMBER_OK;
    }
}
