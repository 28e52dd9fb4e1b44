/*
 * nth_calls.c - threads, the store and libpq, of which the n-th call fails.
 *
 * The failures are real ones: a lost connection is one whose socket was shut down before the call,
 * a refused statement is one that the server can't run.
 */
#include <errno.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "amber/store.h"
#include "nth.h"

/* --- threads ----------------------------------------------------------------------------- */

int __real_pthread_create(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg);

int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg)
{
    return nth_fails(NTH_THREAD) ? EAGAIN : __real_pthread_create(out, attr, run, arg);
}

/* --- the store --------------------------------------------------------------------------- */

enum amber_rc __real_amber_store_open(const struct amber_store_config *cfg,
                                      struct amber_store **out, struct amber_err *err);
enum amber_rc __wrap_amber_store_open(const struct amber_store_config *cfg,
                                      struct amber_store **out, struct amber_err *err);

static bool store_fails(void)
{
    return nth_fails(NTH_STORE);
}

enum amber_rc __wrap_amber_store_open(const struct amber_store_config *cfg,
                                      struct amber_store **out, struct amber_err *err)
{
    static struct amber_fault_plan plan = {.fails = store_fails, .code = AMBER_E_IO};
    struct amber_store *st;
    enum amber_rc rc = __real_amber_store_open(cfg, &st, err);

    if (!rc && (rc = amber_store_fault_new(st, &plan, out, err)))
        amber_store_free(st);
    return rc;
}

/* --- libpq ------------------------------------------------------------------------------- */

#define DECLARE(result, name, ...)                                                                 \
    result __real_##name(__VA_ARGS__);                                                             \
    result __wrap_##name(__VA_ARGS__)

DECLARE(PostgresPollingStatusType, PQconnectPoll, PGconn *c);
DECLARE(int, PQconsumeInput, PGconn *c);
DECLARE(int, PQflush, PGconn *c);
DECLARE(PGresult *, PQgetResult, PGconn *c);
DECLARE(int, PQgetCopyData, PGconn *c, char **out, int async);
DECLARE(int, PQputCopyData, PGconn *c, const char *data, int len);
DECLARE(int, PQputCopyEnd, PGconn *c, const char *why);
DECLARE(int, PQsendQuery, PGconn *c, const char *sql);
DECLARE(int, PQsendQueryParams, PGconn *c, const char *sql, int n, const Oid *types,
        const char *const *values, const int *lens, const int *formats, int result_format);

/* This call finds the connection broken. */
static PGconn *maybe_lost(PGconn *c)
{
    if (nth_fails(NTH_LOST))
        shutdown(PQsocket(c), SHUT_RDWR);
    return c;
}

static const char *maybe_refused(const char *sql)
{
    return nth_fails(NTH_REFUSED) ? "this is no SQL" : sql;
}

PostgresPollingStatusType __wrap_PQconnectPoll(PGconn *c)
{
    return __real_PQconnectPoll(maybe_lost(c));
}

int __wrap_PQconsumeInput(PGconn *c)
{
    return __real_PQconsumeInput(maybe_lost(c));
}

int __wrap_PQflush(PGconn *c)
{
    return __real_PQflush(maybe_lost(c));
}

PGresult *__wrap_PQgetResult(PGconn *c)
{
    return __real_PQgetResult(maybe_lost(c));
}

int __wrap_PQgetCopyData(PGconn *c, char **out, int async)
{
    return __real_PQgetCopyData(maybe_lost(c), out, async);
}

int __wrap_PQputCopyData(PGconn *c, const char *data, int len)
{
    return __real_PQputCopyData(maybe_lost(c), data, len);
}

int __wrap_PQputCopyEnd(PGconn *c, const char *why)
{
    return __real_PQputCopyEnd(maybe_lost(c), why);
}

int __wrap_PQsendQuery(PGconn *c, const char *sql)
{
    return __real_PQsendQuery(maybe_lost(c), maybe_refused(sql));
}

int __wrap_PQsendQueryParams(PGconn *c, const char *sql, int n, const Oid *types,
                             const char *const *values, const int *lens, const int *formats,
                             int result_format)
{
    return __real_PQsendQueryParams(maybe_lost(c), maybe_refused(sql), n, types, values, lens,
                                    formats, result_format);
}
