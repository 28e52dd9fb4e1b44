/*
 * nth.c - counting calls of the armed kind; the environment's word for programs.
 */
#include "nth.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum nth_kind armed;
static unsigned long fail_at;
static bool and_on;
static atomic_ulong seen, struck;

void nth_arm(enum nth_kind kind, unsigned long n, bool on)
{
    armed = kind;
    fail_at = n;
    and_on = on;
    atomic_store(&seen, 0);
    atomic_store(&struck, 0);
}

unsigned long nth_calls(void)
{
    return atomic_load(&seen);
}

bool nth_fails(enum nth_kind kind)
{
    if (kind != armed)
        return false;
    unsigned long n = atomic_fetch_add(&seen, 1) + 1;
    if (fail_at == 0 || (and_on ? n < fail_at : n != fail_at))
        return false;
    atomic_fetch_add(&struck, 1);
    return true;
}

__attribute__((constructor)) static void from_environment(void)
{
    static const char *const kinds[NTH_KINDS] = {"alloc", "store", "lost", "refused", "thread"};
    const char *spec = getenv("AMBERFS_NTH");

    for (int k = 0; spec && k < NTH_KINDS; k++) {
        size_t len = strlen(kinds[k]);
        if (strncmp(spec, kinds[k], len) == 0 && spec[len] == ':')
            nth_arm((enum nth_kind)k, strtoul(spec + len + 1, NULL, 10), strchr(spec, '+') != NULL);
    }
}

__attribute__((destructor)) static void report(void)
{
    const char *log = getenv("AMBERFS_NTH_LOG");
    char text[64];

    if (!log)
        return;
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int len = snprintf(text, sizeof(text), "%s%lu\n", atomic_load(&struck) > 0 ? "struck " : "",
                       atomic_load(&seen));
    if (fd < 0 || write(fd, text, (size_t)len) != len)
        abort();
    close(fd);
}
