/*
 * store_local_priv.h - what the parts of the local driver share: store_local.c walks, reads and
 * removes; store_local_list.c lists; store_local_put.c writes.
 */
#ifndef AMBER_STORE_LOCAL_PRIV_H
#define AMBER_STORE_LOCAL_PRIV_H

#include <sys/stat.h>
#include <unistd.h>

#include "store_priv.h"

struct local_store {
    struct amber_store base;
    int dir; /* the folder, O_RDONLY */
    bool read_only;
    char *name; /* for messages: the configured path */
};

/* A descriptor that is closed at the end of its scope. */
#define AUTO_FD AMBER_CLEANUP(amber_local_close_fd)
static inline void amber_local_close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline int steal_fd(int *fd)
{
    int stolen = *fd;

    *fd = -1;
    return stolen;
}

static inline struct local_store *local(struct amber_store *st)
{
    return (struct local_store *)st;
}

enum walk {
    WALK_FIND,         /* the folders must be there */
    WALK_MAKE,         /* make what is missing */
    WALK_MAKE_DURABLE, /* and fsync every folder walked through, but for the last */
};

/* Open the folder at a path of parts below the store, following no links; "" is the store itself.
 * errors NOT_FOUND, DENIED a symbolic link, IO */
enum amber_rc amber_local_open_folder(struct local_store *st, const char *path, size_t path_len,
                                      enum walk how, int *out,
                                      struct amber_err *err) AMBER_MUST_CHECK;
/* Open the folder that holds key; *out_leaf is the last part of key. errors as above. */
enum amber_rc amber_local_open_parent(struct local_store *st, const char *key, enum walk how,
                                      int *out, const char **out_leaf,
                                      struct amber_err *err) AMBER_MUST_CHECK;
/* errors  IO */
enum amber_rc amber_local_sync_folder(int fd, const char *what,
                                      struct amber_err *err) AMBER_MUST_CHECK;
/* errors  DENIED with sys_errno EROFS */
enum amber_rc amber_local_check_writable(struct local_store *st, const char *key,
                                         struct amber_err *err) AMBER_MUST_CHECK;
void amber_local_fill_info(const struct stat *sb, struct amber_object_info *out);

/* The driver's listings. */
enum amber_rc amber_local_list(struct amber_store *base, const char *prefix,
                               enum amber_rc (*each)(void *arg, const char *key,
                                                     const struct amber_object_info *info,
                                                     struct amber_err *err),
                               void *arg, struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_local_folders(struct amber_store *base,
                                  enum amber_rc (*each)(void *arg, const char *folder,
                                                        struct amber_err *err),
                                  void *arg, struct amber_err *err) AMBER_MUST_CHECK;
uint64_t amber_local_folder_mark(struct amber_store *base, const char *folder);

/* The driver's put operations, and the cleaning of what killed writers left. */
enum amber_rc amber_local_put_open(struct amber_store *base, const char *key,
                                   struct amber_put **out, struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_local_put_write(struct amber_put *base, const void *data, size_t len,
                                    struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_local_put_commit(struct amber_put *base, struct amber_object_info *out,
                                     struct amber_err *err) AMBER_MUST_CHECK;
void amber_local_put_abort(struct amber_put *base);
void amber_local_clean_tmp(struct local_store *st);

#endif
