/*
 * store_s3_read_priv.h - an open object, shared by store_s3_read.c (ranges) and store_s3_ahead.c
 * (ranges ahead of those who read in order).
 */
#ifndef AMBER_STORE_S3_READ_PRIV_H
#define AMBER_STORE_S3_READ_PRIV_H

#include "store_s3_priv.h"

#define LANES 4U /* readers in order that one object keeps apart */

struct s3_object;

/* A range that is fetched ahead. Guarded by the object's lock, but for the bytes below done, which
 * don't change any more. */
struct span {
    struct amber_task task; /* first: run() gets its address */
    struct s3_object *object;
    struct span *next; /* of the lane, by offset */
    uint64_t off;
    size_t len, done; /* bytes; those that came */
    size_t used;      /* bytes that were handed out */
    size_t wanted;    /* least bytes that somebody waits for; SIZE_MAX: nobody does */
    unsigned refs;    /* the lane's, the task's, those who copy */
    bool ended;       /* nothing more comes; if done < len, fault says why */
    bool stop;        /* atomic: nobody wants it */
    struct amber_err fault;
    char *data; /* owned; len bytes */
};

/* One reader in order, as far as its reads show it. */
struct lane {
    bool used;
    uint64_t next;      /* behind the farthest byte that was read */
    uint64_t end;       /* behind the last span */
    size_t window;      /* bytes wanted ahead of next; 0: not known to read in order */
    uint64_t last_use;  /* object's clock */
    struct span *spans; /* by offset, without gaps between them */
};

struct s3_object {
    struct amber_object base;
    uint64_t size;
    char if_match[S3_ETAG_MAX + 2]; /* with quotes; "": the server gave no ETag that compares */
    struct amber_buf head;          /* the object's first bytes */
    pthread_mutex_t lock;           /* guards all below */
    pthread_cond_t progress;        /* some span's */
    unsigned refs;                  /* the owner's and one for each span */
    uint64_t clock;
    struct lane lanes[LANES];
    char key[];
};

/* A range that comes in one or several tries. */
struct s3_range {
    char *buf;
    size_t len, done;
    struct span *span; /* whose readers are told of progress; NULL: none */
    const bool *stop;
    bool wrong; /* the answer isn't what was asked for */
    uint64_t off;
    struct s3_object *object;
};

/* Fetch all of a range, with tries. errors as of read_at; CANCELED */
enum amber_rc amber_s3_get_range(struct s3_range *r, struct amber_err *err) AMBER_MUST_CHECK;
void amber_s3_object_unref(struct s3_object *o);

/*
 * Bytes that were, or are being, fetched ahead: as many from off on as there are.
 * *out_len  0: none, the caller fetches by itself
 * errors    those of the range; TIMEOUT it doesn't come
 */
enum amber_rc amber_s3_ahead(struct s3_object *o, uint64_t off, char *buf, size_t len,
                             size_t *out_len, struct amber_err *err) AMBER_MUST_CHECK;
/* Some bytes of span came. Called without the lock. */
void amber_s3_span_progress(struct span *s, size_t done);
/* Nobody reads any more: what is under way is ended. */
void amber_s3_ahead_end(struct s3_object *o);

#endif
