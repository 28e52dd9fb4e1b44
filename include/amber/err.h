/*
 * err.h - result codes and the caller's error record.
 *
 * Every fallible function returns enum amber_rc and takes a struct amber_err as its last
 * parameter: on the caller's stack, never NULL, written only on failure. There are no global
 * errors. A text says what happened, where (path, offset, expected, found) and what to do; it
 * never holds a row's value or a secret.
 */
#ifndef AMBER_ERR_H
#define AMBER_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AMBER_MUST_CHECK __attribute__((warn_unused_result))
#define AMBER_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

enum amber_rc {
    AMBER_OK = 0,
    AMBER_E_NOMEM,       /* an allocation failed */
    AMBER_E_INVALID,     /* the caller's, the user's or the configuration's value is wrong */
    AMBER_E_NOT_FOUND,   /* no such object, job, table */
    AMBER_E_EXISTS,      /* the name is taken; nothing was overwritten */
    AMBER_E_DENIED,      /* permission, wrong owner */
    AMBER_E_IO,          /* the medium failed: disk full, EIO */
    AMBER_E_NET,         /* connection refused, reset */
    AMBER_E_TIMEOUT,     /* a deadline passed */
    AMBER_E_CORRUPT,     /* bytes are there and are wrong */
    AMBER_E_UNSUPPORTED, /* a format flag or a feature that this version doesn't know */
    AMBER_E_LIMIT,       /* larger than a named limit */
    AMBER_E_DB,          /* PostgreSQL refused; sqlstate is set */
    AMBER_E_BUSY,        /* somebody else holds it; try again later */
    AMBER_E_CANCELED,    /* stopped on request */
};

/* The caller's error record. Initialise with AMBER_ERR_INIT. */
struct amber_err {
    enum amber_rc code;
    int sys_errno;    /* errno behind the code, 0 if none (ENOSPC and EIO must reach FUSE as they are) */
    char sqlstate[6]; /* "" unless code is AMBER_E_DB */
    char text[1024];
};
#define AMBER_ERR_INIT                                                                             \
    {                                                                                              \
        .code = AMBER_OK                                                                           \
    }

/*
 * Record a failure and return its code: `return amber_fail(err, AMBER_E_CORRUPT, "...", ...);`
 *
 * owner   the text is copied, cut at 1023 bytes on a UTF-8 boundary
 * thread  err belongs to one thread
 */
enum amber_rc amber_fail(struct amber_err *err, enum amber_rc code, const char *fmt, ...)
    AMBER_PRINTF(3, 4);

/* As amber_fail, with the code that fits errnum, which is kept, and ": <strerror>" behind the text. */
enum amber_rc amber_fail_errno(struct amber_err *err, int errnum, const char *fmt, ...)
    AMBER_PRINTF(3, 4);

/* As amber_fail(NOMEM): allocation of bytes for what failed. */
enum amber_rc amber_fail_nomem(struct amber_err *err, const char *what, size_t bytes);

/* Put "<formatted>: " before the text of an error that is on its way up. Returns err->code. */
enum amber_rc amber_wrap(struct amber_err *err, const char *fmt, ...) AMBER_PRINTF(2, 3);

/* Stable upper-case word for logs and documents: "CORRUPT". */
const char *amber_rc_name(enum amber_rc rc);

/* errno for a FUSE reply: err->sys_errno where it says more (ENOSPC, EDQUOT, EROFS), else the
 * code's: CORRUPT -> EIO, INVALID -> EINVAL, BUSY -> EBUSY, CANCELED -> EINTR, ...; a DB error by its
 * SQLSTATE: 23505 -> EEXIST, classes 22 and 23 -> EINVAL, else EIO. Never 0 for a failure. */
int amber_err_errno(const struct amber_err *err);

/* Whether the same call may succeed a little later (NET, TIMEOUT, BUSY). */
bool amber_rc_retryable(enum amber_rc rc);

/* Whether what is stored is wrong or missing (CORRUPT, NOT_FOUND, LIMIT, INVALID), rather than out
 * of reach for now or for this program. */
bool amber_rc_damage(enum amber_rc rc);

#endif
