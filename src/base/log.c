/*
 * log.c - lines to stderr and the ring of the newest ones.
 *
 * Positions count bytes since start: ring_begin is the first byte of the oldest whole line kept,
 * ring_end stands behind the newest, and the byte at position p is ring[p % AMBER_LOG_RING_BYTES].
 * A new line pushes out as many whole old lines as it needs, so a reader never sees a torn one.
 *
 * Locks: ring_lock guards the ring; listener_lock guards the listener and is held while it runs,
 * so that removing a listener waits for a call under way. They are never held together, and
 * neither is held over the write to stderr.
 */
#include "amber/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "amber/calendar.h"

static atomic_int max_level = AMBER_LOG_INFO;
static atomic_bool to_stderr = true;

static pthread_mutex_t ring_lock = PTHREAD_MUTEX_INITIALIZER;
static char ring[AMBER_LOG_RING_BYTES];
static uint64_t ring_begin, ring_end;

static pthread_mutex_t listener_lock = PTHREAD_MUTEX_INITIALIZER;
static void (*listener)(void *arg);
static void *listener_arg;

static const char *const level_words[] = {
    [AMBER_LOG_ERROR] = "error",
    [AMBER_LOG_WARN] = "warn",
    [AMBER_LOG_INFO] = "info",
    [AMBER_LOG_DEBUG] = "debug",
};

void amber_log_set_level(enum amber_log_level level)
{
    atomic_store(&max_level, (int)level);
}

void amber_log_set_stderr(bool on)
{
    atomic_store(&to_stderr, on);
}

bool amber_log_level_parse(const char *word, enum amber_log_level *out)
{
    for (size_t i = 0; i < amber_countof(level_words); i++) {
        if (strcmp(word, level_words[i]) == 0) {
            *out = (enum amber_log_level)i;
            return true;
        }
    }
    return false;
}

/* Copy between the ring at a position and plain memory, around the ring's end. */
static void ring_put(uint64_t pos, const char *data, size_t len)
{
    size_t at = (size_t)(pos % AMBER_LOG_RING_BYTES);
    size_t first = len < sizeof(ring) - at ? len : sizeof(ring) - at;

    memcpy(ring + at, data, first);
    memcpy(ring, data + first, len - first);
}

static void ring_get(uint64_t pos, char *data, size_t len)
{
    size_t at = (size_t)(pos % AMBER_LOG_RING_BYTES);
    size_t first = len < sizeof(ring) - at ? len : sizeof(ring) - at;

    memcpy(data, ring + at, first);
    memcpy(data + first, ring, len - first);
}

static void ring_add(const char *line, size_t len)
{
    pthread_mutex_lock(&ring_lock);
    while (ring_end + len - ring_begin > AMBER_LOG_RING_BYTES) {
        while (ring[ring_begin % AMBER_LOG_RING_BYTES] != '\n')
            ring_begin++;
        ring_begin++;
    }
    ring_put(ring_end, line, len);
    ring_end += len;
    pthread_mutex_unlock(&ring_lock);
}

static void call_listener(void)
{
    pthread_mutex_lock(&listener_lock);
    if (listener)
        listener(listener_arg);
    pthread_mutex_unlock(&listener_lock);
}

/* One write for the whole line, so that lines of several threads don't mix. */
static void write_stderr(const char *line, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, line, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* nowhere left to report it */
        line += n;
        len -= (size_t)n;
    }
}

/* Format "time level message\n" into line; returns its length. */
static size_t format_line(char *line, size_t room, enum amber_log_level level, const char *fmt,
                          va_list args) __attribute__((format(printf, 4, 0)));
static size_t format_line(char *line, size_t room, enum amber_log_level level, const char *fmt,
                          va_list args)
{
    struct amber_civil c;

    amber_civil_from_us(amber_now_us(), &c);
    int head =
        snprintf(line, room, "%04lld-%02d-%02dT%02d:%02d:%02d.%03dZ %s ", (long long)c.year,
                 c.month, c.day, c.hour, c.minute, c.second, c.us / 1000, level_words[level]);
    if (head < 0)
        return 0;
    int body = vsnprintf(line + head, room - (size_t)head - 1, fmt, args);
    size_t len = (size_t)head + (size_t)(body < 0 ? 0 : body);
    if (len > room - 2) {
        len = room - 2;
        while (len > (size_t)head && ((unsigned char)line[len] & 0xC0U) == 0x80U)
            len--; /* not inside a character */
    }
    /* One event is one line, and no message can drive the reader's terminal. */
    for (size_t i = (size_t)head; i < len; i++)
        if ((unsigned char)line[i] < 0x20U || line[i] == 0x7F)
            line[i] = ' ';
    line[len++] = '\n';
    return len;
}

void amber_log(enum amber_log_level level, const char *fmt, ...)
{
    char line[AMBER_LOG_LINE_MAX + 1];
    int saved_errno = errno;
    va_list args;

    if ((int)level > atomic_load(&max_level))
        return;
    va_start(args, fmt);
    size_t len = format_line(line, sizeof(line), level, fmt, args);
    va_end(args);
    ring_add(line, len);
    if (atomic_load(&to_stderr))
        write_stderr(line, len);
    call_listener();
    errno = saved_errno;
}

enum amber_rc amber_log_read(uint64_t *pos, size_t max_bytes, struct amber_buf *out,
                             struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    pthread_mutex_lock(&ring_lock);
    uint64_t from = *pos < ring_begin ? ring_begin : *pos;
    uint64_t left = from < ring_end ? ring_end - from : 0;
    size_t len = left < max_bytes ? (size_t)left : max_bytes;
    while (len > 0 && ring[(from + len - 1) % AMBER_LOG_RING_BYTES] != '\n')
        len--;
    if (len > 0)
        rc = amber_buf_reserve(out, len, err);
    if (!rc && len > 0) {
        ring_get(from, out->data + out->len, len);
        out->len += len;
        out->data[out->len] = '\0';
    }
    if (!rc)
        *pos = from + len;
    pthread_mutex_unlock(&ring_lock);
    return rc;
}

uint64_t amber_log_end(void)
{
    pthread_mutex_lock(&ring_lock);
    uint64_t end = ring_end;
    pthread_mutex_unlock(&ring_lock);
    return end;
}

void amber_log_set_listener(void (*fn)(void *arg), void *arg)
{
    pthread_mutex_lock(&listener_lock);
    listener = fn;
    listener_arg = arg;
    pthread_mutex_unlock(&listener_lock);
}
