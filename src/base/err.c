/*
 * err.c - filling the caller's error record.
 *
 * A record is formatted into a local buffer first, so that a caller may pass err->text itself as
 * an argument ("while closing: %s"). Texts are cut at a UTF-8 boundary, since they end up in JSON
 * documents. The two mappings (errno to code, code to errno) stand here and nowhere else.
 */
#include "amber/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Shorten text, which fills its room of len bytes, so that it doesn't end inside a character. */
static void cut_at_char(char *text, size_t len)
{
    size_t start = len;

    while (start > 0 && ((unsigned char)text[start - 1] & 0xC0U) == 0x80U)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t want = lead >= 0xF0U ? 4 : lead >= 0xE0U ? 3 : lead >= 0xC0U ? 2 : 1;
    if (len - (start - 1) < want)
        text[start - 1] = '\0';
}

static void format_text(char *out, size_t room, const char *fmt, va_list args)
    __attribute__((format(printf, 3, 0)));
static void format_text(char *out, size_t room, const char *fmt, va_list args)
{
    int n = vsnprintf(out, room, fmt, args);

    if (n < 0)
        snprintf(out, room, "(the message can't be formatted)");
    else if ((size_t)n >= room)
        cut_at_char(out, room - 1);
}

static void set_record(struct amber_err *err, enum amber_rc code, int sys_errno, const char *text)
{
    err->code = code;
    err->sys_errno = sys_errno;
    err->sqlstate[0] = '\0';
    memcpy(err->text, text, strlen(text) + 1);
}

enum amber_rc amber_fail(struct amber_err *err, enum amber_rc code, const char *fmt, ...)
{
    char text[sizeof(err->text)];
    va_list args;

    va_start(args, fmt);
    format_text(text, sizeof(text), fmt, args);
    va_end(args);
    set_record(err, code, 0, text);
    return code;
}

/* Not a switch over an enum: errno has no closed set, so the default is "the medium failed". */
static enum amber_rc rc_from_errno(int errnum)
{
    switch (errnum) {
    case ENOMEM:
        return AMBER_E_NOMEM;
    case EINVAL:
    case ENAMETOOLONG:
    case EISDIR:
        return AMBER_E_INVALID;
    case ENOENT:
    case ENOTDIR:
        return AMBER_E_NOT_FOUND;
    case EEXIST:
    case ENOTEMPTY:
        return AMBER_E_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
    case ELOOP: /* O_NOFOLLOW met a symbolic link where none may be */
        return AMBER_E_DENIED;
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EPIPE:
    case ENOTCONN:
        return AMBER_E_NET;
    case ETIMEDOUT:
        return AMBER_E_TIMEOUT;
    case EBUSY:
    case EAGAIN:
    case ETXTBSY:
        return AMBER_E_BUSY;
    case EINTR:
    case ECANCELED:
        return AMBER_E_CANCELED;
    case EOPNOTSUPP:
    case ENOSYS:
        return AMBER_E_UNSUPPORTED;
    case EFBIG:
        return AMBER_E_LIMIT;
    default:
        return AMBER_E_IO;
    }
}

enum amber_rc amber_fail_errno(struct amber_err *err, int errnum, const char *fmt, ...)
{
    enum { REASON_ROOM = 128 };
    char text[sizeof(err->text)], reason[REASON_ROOM], all[sizeof(text) + REASON_ROOM + 2];
    va_list args;

    va_start(args, fmt);
    /* A long path may be cut; the reason behind it must not be. */
    format_text(text, sizeof(text) - REASON_ROOM - 2, fmt, args);
    va_end(args);
    snprintf(all, sizeof(all), "%s: %s", text, strerror_r(errnum, reason, sizeof(reason)));
    all[sizeof(text) - 1] = '\0';
    enum amber_rc code = rc_from_errno(errnum);
    set_record(err, code, errnum, all);
    return code;
}

enum amber_rc amber_fail_nomem(struct amber_err *err, const char *what, size_t bytes)
{
    amber_fail(err, AMBER_E_NOMEM, "out of memory: %zu bytes for %s", bytes, what);
    err->sys_errno = ENOMEM;
    return AMBER_E_NOMEM;
}

enum amber_rc amber_wrap(struct amber_err *err, const char *fmt, ...)
{
    char prefix[sizeof(err->text)], all[2 * sizeof(err->text)];
    va_list args;

    va_start(args, fmt);
    format_text(prefix, sizeof(prefix), fmt, args);
    va_end(args);
    int n = snprintf(all, sizeof(all), "%s: %s", prefix, err->text);
    if (n >= (int)sizeof(err->text)) {
        all[sizeof(err->text) - 1] = '\0';
        cut_at_char(all, sizeof(err->text) - 1);
    }
    memcpy(err->text, all, strlen(all) + 1);
    return err->code;
}

const char *amber_rc_name(enum amber_rc rc)
{
    switch (rc) {
    case AMBER_OK:
        return "OK";
    case AMBER_E_NOMEM:
        return "NOMEM";
    case AMBER_E_INVALID:
        return "INVALID";
    case AMBER_E_NOT_FOUND:
        return "NOT_FOUND";
    case AMBER_E_EXISTS:
        return "EXISTS";
    case AMBER_E_DENIED:
        return "DENIED";
    case AMBER_E_IO:
        return "IO";
    case AMBER_E_NET:
        return "NET";
    case AMBER_E_TIMEOUT:
        return "TIMEOUT";
    case AMBER_E_CORRUPT:
        return "CORRUPT";
    case AMBER_E_UNSUPPORTED:
        return "UNSUPPORTED";
    case AMBER_E_LIMIT:
        return "LIMIT";
    case AMBER_E_DB:
        return "DB";
    case AMBER_E_BUSY:
        return "BUSY";
    case AMBER_E_CANCELED:
        return "CANCELED";
    }
    return "UNKNOWN";
}

static int errno_from_rc(enum amber_rc rc)
{
    switch (rc) {
    case AMBER_OK:
        return 0;
    case AMBER_E_NOMEM:
        return ENOMEM;
    case AMBER_E_INVALID:
        return EINVAL;
    case AMBER_E_NOT_FOUND:
        return ENOENT;
    case AMBER_E_EXISTS:
        return EEXIST;
    case AMBER_E_DENIED:
        return EACCES;
    case AMBER_E_IO:
    case AMBER_E_NET:
    case AMBER_E_CORRUPT:
    case AMBER_E_DB:
        return EIO;
    case AMBER_E_TIMEOUT:
        return ETIMEDOUT;
    case AMBER_E_UNSUPPORTED:
        return EOPNOTSUPP;
    case AMBER_E_LIMIT:
        return EFBIG;
    case AMBER_E_BUSY:
        return EBUSY;
    case AMBER_E_CANCELED:
        return EINTR;
    }
    return EIO;
}

/* What PostgreSQL's SQLSTATE means to the program that wrote a file into .restore.
 * source  PostgreSQL manual, Appendix A */
static int errno_from_sqlstate(const char *state)
{
    if (strcmp(state, "23505") == 0) /* unique_violation */
        return EEXIST;
    if (strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0) /* data, constraints */
        return EINVAL;
    if (strcmp(state, "42501") == 0) /* insufficient_privilege */
        return EACCES;
    if (strcmp(state, "53100") == 0) /* disk_full, of the server */
        return ENOSPC;
    return EIO;
}

int amber_err_errno(const struct amber_err *err)
{
    if (err->code == AMBER_E_DB)
        return errno_from_sqlstate(err->sqlstate);
    switch (err->sys_errno) {
    case ENOSPC:
    case EDQUOT:
    case EROFS:
    case EPERM:
    case EMFILE:
    case ENFILE:
    case ENAMETOOLONG:
        return err->code == AMBER_OK ? 0 : err->sys_errno;
    default:
        return errno_from_rc(err->code);
    }
}

bool amber_rc_damage(enum amber_rc rc)
{
    switch (rc) {
    case AMBER_E_CORRUPT:
    case AMBER_E_NOT_FOUND:
    case AMBER_E_LIMIT:
    case AMBER_E_INVALID:
        return true;
    case AMBER_OK:
    case AMBER_E_NOMEM:
    case AMBER_E_EXISTS:
    case AMBER_E_DENIED:
    case AMBER_E_IO:
    case AMBER_E_NET:
    case AMBER_E_TIMEOUT:
    case AMBER_E_UNSUPPORTED:
    case AMBER_E_DB:
    case AMBER_E_BUSY:
    case AMBER_E_CANCELED:
        return false;
    }
    return false;
}

bool amber_rc_retryable(enum amber_rc rc)
{
    switch (rc) {
    case AMBER_E_NET:
    case AMBER_E_TIMEOUT:
    case AMBER_E_BUSY:
        return true;
    case AMBER_OK:
    case AMBER_E_NOMEM:
    case AMBER_E_INVALID:
    case AMBER_E_NOT_FOUND:
    case AMBER_E_EXISTS:
    case AMBER_E_DENIED:
    case AMBER_E_IO:
    case AMBER_E_CORRUPT:
    case AMBER_E_UNSUPPORTED:
    case AMBER_E_LIMIT:
    case AMBER_E_DB:
    case AMBER_E_CANCELED:
        return false;
    }
    return false;
}
