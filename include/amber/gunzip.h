/*
 * gunzip.h - gzip files of any program, as a stream that can be left and resumed between any two
 * symbols.
 *
 * What the other libraries don't give: libdeflate decodes whole members only, zlib stops between
 * deflate blocks only, and one deflate block may hold gigabytes. A *point* is where decoding can go
 * on: a bit of the stored file, the code in force there, and (kept by the caller) the window, the
 * 32 KiB before it. Several members in a row are one text; each one's CRC-32 and length are
 * compared at its end, unless decoding began at a point inside it.
 *
 * source  RFC 1951, RFC 1952
 */
#ifndef AMBER_GUNZIP_H
#define AMBER_GUNZIP_H

#include "amber/err.h"

#define AMBER_GUNZIP_WINDOW 32768U /* bytes that a match may reach back */
#define AMBER_GUNZIP_SLACK 320U    /* bytes that one step may write past the limit */
#define AMBER_GUNZIP_LENS 320U     /* code lengths: 288 literals and lengths, 32 distances */

enum amber_gunzip_where {
    AMBER_GUNZIP_HEADER,  /* before a member */
    AMBER_GUNZIP_BLOCK,   /* before a deflate block's header */
    AMBER_GUNZIP_STORED,  /* in a stored block */
    AMBER_GUNZIP_CODED,   /* in a block of codes */
    AMBER_GUNZIP_TRAILER, /* behind a member's last block */
};
/* Where a stream goes on. The caller keeps which byte of the file it is. */
struct amber_gunzip_point {
    enum amber_gunzip_where where;
    unsigned bit;                    /* of that byte: 0 to 7 */
    bool last;                       /* STORED, CODED: the member's last block */
    unsigned left;                   /* STORED: bytes left, 0 to 65535 */
    uint8_t lens[AMBER_GUNZIP_LENS]; /* CODED: 0 to 15 each */
};

/* A decoder; one thread at a time. */
struct amber_gunzip;
enum amber_rc amber_gunzip_new(struct amber_gunzip **out, struct amber_err *err) AMBER_MUST_CHECK;
void amber_gunzip_free(struct amber_gunzip *g); /* NULL allowed */
/* At a member's first byte; new decoders are there. */
void amber_gunzip_start(struct amber_gunzip *g);
/* At a point, with window_len bytes known before it. errors CORRUPT no decoder was ever there. */
enum amber_rc amber_gunzip_resume(struct amber_gunzip *g, const struct amber_gunzip_point *p,
                                  size_t window_len, struct amber_err *err) AMBER_MUST_CHECK;
void amber_gunzip_point(const struct amber_gunzip *g, struct amber_gunzip_point *out);
/* Bytes before the present place that what follows may refer to, at most AMBER_GUNZIP_WINDOW. */
size_t amber_gunzip_window(const struct amber_gunzip *g);

struct amber_gunzip_io {
    const uint8_t *in,
        *in_end;    /* in is moved; what is left must be given again, with more behind */
    uint8_t *out;   /* moved; before it lies the decoder's window, still */
    uint8_t *limit; /* stop as soon as out is here or, by less than SLACK, behind */
};
enum amber_gunzip_stop {
    AMBER_GUNZIP_NEEDS_INPUT, /* nothing more can be decoded from what was given */
    AMBER_GUNZIP_FULL,        /* out reached limit */
    AMBER_GUNZIP_MEMBER_END,  /* a member ended, and its checksum agreed */
};
/*
 * Decode until one of the above.
 * errors  CORRUPT what is wrong; io says where it was seen (the damage may lie before), and out up
 *         to there isn't proven
 */
enum amber_rc amber_gunzip_run(struct amber_gunzip *g, struct amber_gunzip_io *io,
                               enum amber_gunzip_stop *out_stop,
                               struct amber_err *err) AMBER_MUST_CHECK;

#endif
