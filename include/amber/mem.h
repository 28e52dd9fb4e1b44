/*
 * mem.h - ownership helpers and the growable buffer.
 *
 * Locals that own something are declared with AMBER_CLEANUP; handing over is explicit
 * (amber_steal). A buffer is created with its ceiling: any growth beyond is AMBER_E_LIMIT, so a
 * length read from a file or a peer can never make us allocate without bound.
 */
#ifndef AMBER_MEM_H
#define AMBER_MEM_H

#include <stdlib.h>
#include <string.h>

#include "amber/err.h"

#define AMBER_CLEANUP(fn) __attribute__((cleanup(fn)))
#define AMBER_AUTO_FREE AMBER_CLEANUP(amber_free_p)
#define AMBER_AUTO_BUF AMBER_CLEANUP(amber_buf_clear)
#define amber_countof(a) (sizeof(a) / sizeof((a)[0]))

/* Free *p where p points to any object pointer (for the cleanup attribute). */
static inline void amber_free_p(void *p)
{
    void *mem;
    memcpy(&mem, p, sizeof(mem));
    free(mem);
}

/* Take the pointer out of a variable, leaving NULL: `*out = amber_steal(&local);` */
#define amber_steal(pp)                                                                            \
    ({                                                                                             \
        __typeof__(*(pp)) amber_stolen = *(pp);                                                    \
        *(pp) = NULL;                                                                              \
        amber_stolen;                                                                              \
    })

/* Give freed memory back to the system, after something large whose threads have ended: their arenas
 * would keep it, and other threads take others. thread any */
void amber_mem_trim(void);

/* Growable bytes. data is always NUL-terminated behind len once anything was reserved. */
struct amber_buf {
    char *data; /* owned; NULL while empty */
    size_t len; /* bytes used */
    size_t cap; /* bytes allocated */
    size_t max; /* ceiling of len, bytes */
};
#define AMBER_BUF_INIT(max_bytes)                                                                  \
    {                                                                                              \
        .max = (max_bytes)                                                                         \
    }

void amber_buf_init(struct amber_buf *b, size_t max_bytes);
/* Free the memory; b stays usable, empty, with its ceiling. */
void amber_buf_clear(struct amber_buf *b);
/* Exchange contents, ceilings included. */
void amber_buf_swap(struct amber_buf *a, struct amber_buf *b);

/*
 * Make room for extra further bytes behind len (len itself is not changed).
 * errors  LIMIT past the ceiling; NOMEM. b is unchanged on failure.
 */
enum amber_rc amber_buf_reserve(struct amber_buf *b, size_t extra, struct amber_err *err)
    AMBER_MUST_CHECK;
/* Append len bytes. errors LIMIT, NOMEM. */
enum amber_rc amber_buf_append(struct amber_buf *b, const void *data, size_t len,
                               struct amber_err *err) AMBER_MUST_CHECK;
/* Append a C string. errors LIMIT, NOMEM. */
enum amber_rc amber_buf_puts(struct amber_buf *b, const char *s, struct amber_err *err)
    AMBER_MUST_CHECK;
/* Append formatted text. errors LIMIT, NOMEM. */
enum amber_rc amber_buf_printf(struct amber_buf *b, struct amber_err *err, const char *fmt, ...)
    AMBER_PRINTF(3, 4) AMBER_MUST_CHECK;
/* Append s as a JSON string with its quotes: UTF-8 passes, control characters are escaped, a byte
 * that isn't UTF-8 becomes U+FFFD. b is unchanged on failure. errors LIMIT, NOMEM. */
enum amber_rc amber_buf_json(struct amber_buf *b, const char *s, size_t len, struct amber_err *err)
    AMBER_MUST_CHECK;

/* calloc(n, size) with overflow check; *out NULL on failure. errors NOMEM. */
enum amber_rc amber_calloc(size_t n, size_t size, void *out, struct amber_err *err)
    AMBER_MUST_CHECK;
/* strdup. errors NOMEM. */
enum amber_rc amber_strdup(const char *s, char **out, struct amber_err *err) AMBER_MUST_CHECK;
/* asprintf. errors NOMEM. */
enum amber_rc amber_asprintf(char **out, struct amber_err *err, const char *fmt, ...)
    AMBER_PRINTF(3, 4) AMBER_MUST_CHECK;

/* Grow a plain array so that it holds at least need items: *items is realloc'ed, *cap updated.
 * errors NOMEM, LIMIT on overflow; unchanged on failure. */
enum amber_rc amber_grow(void *items_pp, size_t *cap, size_t need, size_t item_bytes,
                         struct amber_err *err) AMBER_MUST_CHECK;

#endif
