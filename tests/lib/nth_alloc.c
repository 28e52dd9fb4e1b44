/*
 * nth_alloc.c - the C library's allocating functions, of which the n-th call fails.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "nth.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *mem, size_t size);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
int __real_vasprintf(char **out, const char *fmt, va_list args);
int __real_posix_memalign(void **out, size_t align, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *mem, size_t size);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
int __wrap_vasprintf(char **out, const char *fmt, va_list args)
    __attribute__((format(printf, 2, 0)));
int __wrap_posix_memalign(void **out, size_t align, size_t size);

static bool no_memory(void)
{
    if (!nth_fails(NTH_ALLOC))
        return false;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return no_memory() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return no_memory() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *mem, size_t size)
{
    return no_memory() ? NULL : __real_realloc(mem, size);
}

char *__wrap_strdup(const char *s)
{
    return no_memory() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
    return no_memory() ? NULL : __real_strndup(s, n);
}

int __wrap_vasprintf(char **out, const char *fmt, va_list args)
{
    return no_memory() ? -1 : __real_vasprintf(out, fmt, args);
}

int __wrap_posix_memalign(void **out, size_t align, size_t size)
{
    return no_memory() ? ENOMEM : __real_posix_memalign(out, align, size);
}
