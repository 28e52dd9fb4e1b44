/*
 * log.h - one log for the process: lines to stderr, and a ring of the newest ones for the mount's
 * `.control/log` and `.control/follow`.
 *
 * Errors are logged once, at the edge that handles them. A line is
 * `2024-01-31T02:00:00.123Z level message` without a row's values or secrets. Line breaks in the
 * message are replaced by spaces, so that one event is one line.
 * thread  all functions from any thread.
 */
#ifndef AMBER_LOG_H
#define AMBER_LOG_H

#include "amber/err.h"
#include "amber/mem.h"

enum amber_log_level { AMBER_LOG_ERROR, AMBER_LOG_WARN, AMBER_LOG_INFO, AMBER_LOG_DEBUG };

/* Lines above the level are dropped. Default INFO, to stderr and to the ring. */
void amber_log_set_level(enum amber_log_level level);
/* Whether lines go to stderr too (a command line tool on a terminal turns INFO off by level). */
void amber_log_set_stderr(bool on);
/* "error", "warn", "info", "debug" -> level. Returns false for anything else. */
bool amber_log_level_parse(const char *word, enum amber_log_level *out);

void amber_log(enum amber_log_level level, const char *fmt, ...) AMBER_PRINTF(2, 3);
#define amber_error(...) amber_log(AMBER_LOG_ERROR, __VA_ARGS__)
#define amber_warn(...) amber_log(AMBER_LOG_WARN, __VA_ARGS__)
#define amber_info(...) amber_log(AMBER_LOG_INFO, __VA_ARGS__)
#define amber_debug(...) amber_log(AMBER_LOG_DEBUG, __VA_ARGS__)

/* The ring holds the newest 256 KiB of lines. A position is a byte count since start. */
#define AMBER_LOG_RING_BYTES (256U * 1024U)
/* A longer line is cut; so is the least max_bytes with which a reader surely gets on. */
#define AMBER_LOG_LINE_MAX 4096U

/*
 * Append to out the lines from position *pos on (from the oldest one kept if *pos is older), at
 * most max_bytes, whole lines only, and move *pos behind them.
 * errors  NOMEM, LIMIT of out.
 */
enum amber_rc amber_log_read(uint64_t *pos, size_t max_bytes, struct amber_buf *out,
                             struct amber_err *err) AMBER_MUST_CHECK;
/* Position behind the newest line. */
uint64_t amber_log_end(void);
/* Called after each new line, from the logging thread; must not log or block. NULL removes it. */
void amber_log_set_listener(void (*fn)(void *arg), void *arg);

#endif
