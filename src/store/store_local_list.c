/*
 * store_local_list.c - what a local folder holds, and by what to tell that it holds the same still:
 * a folder's time of change, which an object that comes, goes or is renamed moves.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "amber/digest.h"
#include "amber/log.h"
#include "store_local_priv.h"

#define SETTLED_S 2     /* after which a folder's time says that nothing changed since */
#define MARK_MISSING 1U /* a folder that isn't there */

struct listing {
    struct local_store *st;
    enum amber_rc (*each)(void *arg, const char *key, const struct amber_object_info *info,
                          struct amber_err *err);
    enum amber_rc (*folder)(void *arg, const char *key, struct amber_err *err); /* or each */
    void *arg;
    bool whole;                  /* of the whole store: without its own folder */
    char key[AMBER_KEY_MAX + 1]; /* of the folder or entry being looked at */
};

static enum amber_rc list_folder(struct listing *l, int fd, size_t key_len, struct amber_err *err);

/* Folders that hold no objects: unfinished files, and what mkfs puts into a file system's root. */
static bool is_hidden_folder(const char *key)
{
    return strcmp(key, STORE_TMP_DIR) == 0 || strcmp(key, "lost+found") == 0;
}

static enum amber_rc list_entry(struct listing *l, int dir, const struct dirent *e, size_t key_len,
                                struct amber_err *err)
{
    const char *name = e->d_name;
    struct amber_object_info info = {0};
    struct stat sb;

    if (!l->each && e->d_type != DT_DIR && e->d_type != DT_UNKNOWN)
        return AMBER_OK;
    if (fstatat(dir, name, &sb, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno == ENOENT)
            return AMBER_OK; /* removed since the folder was read */
        return amber_fail_errno(err, errno, "%s/%s", l->st->name, l->key);
    }
    if (S_ISREG(sb.st_mode)) {
        amber_local_fill_info(&sb, &info);
        return l->each ? l->each(l->arg, l->key, &info, err) : AMBER_OK;
    }
    if (!S_ISDIR(sb.st_mode) || is_hidden_folder(l->key) ||
        (l->whole && strcmp(l->key, STORE_META_DIR) == 0))
        return AMBER_OK;
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
        return AMBER_OK; /* removed or replaced since */
    if (fd < 0)
        return amber_fail_errno(err, errno, "%s/%s", l->st->name, l->key);
    return list_folder(l, fd, key_len, err);
}

/* List the open folder whose key stands in l->key; takes fd over. */
static enum amber_rc list_folder(struct listing *l, int fd, size_t key_len, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    struct dirent *e;
    DIR *d = fdopendir(fd);

    if (!d) {
        amber_fail_errno(err, errno, "%s/%s", l->st->name, l->key);
        close(fd);
        return err->code;
    }
    if (l->folder)
        rc = l->folder(l->arg, l->key, err);
    while (!rc && (errno = 0, e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        int n = snprintf(l->key + key_len, sizeof(l->key) - key_len, "%s%s", key_len ? "/" : "",
                         e->d_name);
        if ((size_t)n < sizeof(l->key) - key_len)
            rc = list_entry(l, dirfd(d), e, key_len + (size_t)n, err);
        else
            amber_warn("%s: a file deeper than %d bytes of path is left out", l->st->name,
                       AMBER_KEY_MAX);
        l->key[key_len] = '\0';
    }
    if (!rc && errno)
        rc = amber_fail_errno(err, errno, "%s/%s: the folder can't be read", l->st->name, l->key);
    closedir(d);
    return rc;
}

/* List what is below prefix; that isn't there: nothing is, as in an object store. */
static enum amber_rc list_below(struct listing *l, const char *prefix, struct amber_err *err)
{
    struct amber_err walk_err = AMBER_ERR_INIT;
    size_t len = strlen(prefix);
    int fd = -1;

    enum amber_rc rc = amber_local_open_folder(l->st, prefix, len, WALK_FIND, &fd, &walk_err);
    if (rc == AMBER_E_NOT_FOUND)
        return AMBER_OK;
    if (rc) {
        *err = walk_err;
        return rc;
    }
    memcpy(l->key, prefix, len + 1);
    return list_folder(l, fd, len, err);
}

enum amber_rc amber_local_list(struct amber_store *base, const char *prefix,
                               enum amber_rc (*each)(void *arg, const char *key,
                                                     const struct amber_object_info *info,
                                                     struct amber_err *err),
                               void *arg, struct amber_err *err)
{
    struct listing l = {.st = local(base), .each = each, .arg = arg, .whole = !*prefix};

    return list_below(&l, prefix, err);
}

enum amber_rc amber_local_folders(struct amber_store *base,
                                  enum amber_rc (*each)(void *arg, const char *folder,
                                                        struct amber_err *err),
                                  void *arg, struct amber_err *err)
{
    struct listing l = {.st = local(base), .folder = each, .arg = arg, .whole = true};

    return list_below(&l, "", err);
}

/* ---- marks ---- */

/* A change within the clock's step of another one leaves no trace in the folder's time. */
static bool is_settled(const struct stat *sb)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return sb->st_mtim.tv_sec + SETTLED_S < now.tv_sec;
}

uint64_t amber_local_folder_mark(struct amber_store *base, const char *folder)
{
    struct amber_err err = AMBER_ERR_INIT;
    AUTO_FD int fd = -1;
    struct stat sb;
    enum amber_rc rc =
        amber_local_open_folder(local(base), folder, strlen(folder), WALK_FIND, &fd, &err);

    if (rc == AMBER_E_NOT_FOUND)
        return MARK_MISSING;
    if (rc || fstat(fd, &sb) < 0 || !is_settled(&sb))
        return 0;
    struct amber_fast_digest d;
    const uint64_t what[] = {(uint64_t)sb.st_ino, (uint64_t)sb.st_mtim.tv_sec,
                             (uint64_t)sb.st_mtim.tv_nsec, (uint64_t)sb.st_ctim.tv_sec,
                             (uint64_t)sb.st_ctim.tv_nsec};
    amber_fast_digest(what, sizeof(what), &d);
    return d.lo | 2; /* neither 0 nor MARK_MISSING */
}
