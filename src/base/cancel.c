/*
 * cancel.c - a flag that is set once, and an eventfd that stays readable from then on.
 *
 * Setting uses an atomic store and write(2) only, so that a signal handler may do it. Only a reset
 * reads the eventfd: until then it stays readable, however many threads poll it.
 */
#include "amber/cancel.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum amber_rc amber_cancel_init(struct amber_cancel *c, struct amber_err *err)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0)
        return amber_fail_errno(err, errno, "can't make an event descriptor");
    c->flag = 0;
    c->fd = fd;
    return AMBER_OK;
}

void amber_cancel_clear(struct amber_cancel *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->flag = 0;
}

void amber_cancel_set(struct amber_cancel *c)
{
    int saved_errno = errno;
    uint64_t one = 1;

    __atomic_store_n(&c->flag, 1, __ATOMIC_RELEASE);
    /* Can fail only when the counter is full, and then the descriptor is readable already. */
    ssize_t n = write(c->fd, &one, sizeof(one));
    (void)n;
    errno = saved_errno;
}

void amber_cancel_reset(struct amber_cancel *c)
{
    uint64_t n;

    ssize_t got = read(c->fd, &n, sizeof(n)); /* nothing to read: it wasn't set */
    (void)got;
    __atomic_store_n(&c->flag, 0, __ATOMIC_RELEASE);
}

bool amber_cancel_is_set(const struct amber_cancel *c)
{
    return c && __atomic_load_n(&c->flag, __ATOMIC_ACQUIRE) != 0;
}

enum amber_rc amber_cancel_check(const struct amber_cancel *c, struct amber_err *err)
{
    if (amber_cancel_is_set(c))
        return amber_fail(err, AMBER_E_CANCELED, "stopped on request");
    return AMBER_OK;
}
