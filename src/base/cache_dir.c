/*
 * cache_dir.c - the folder of what can be had again.
 *
 * Every operation opens the folder by its path and checks it: it may have been deleted and made
 * anew since. Below it nobody but us can write, so that the names within need no further care.
 */
#include "amber/cache_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "amber/digest.h"

#define DISK_BLOCK 4096U
#define FOLDER_MODE 0700
#define FILE_MODE 0600
#define USED_STEP_S 60 /* a file's time of use is as exact as this: fewer writes of metadata */

struct amber_cache_dir {
    char *path;
};

#define AUTO_FD AMBER_CLEANUP(close_fd)
static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* Make the folders that path names, the last one too. */
static int make_folders(int at, const char *path, size_t len)
{
    char made[PATH_MAX];

    if (len >= sizeof(made)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    for (size_t i = 1; i <= len; i++) {
        if ((i < len && path[i] != '/') || path[i - 1] == '/')
            continue;
        memcpy(made, path, i);
        made[i] = '\0';
        if (mkdirat(at, made, FOLDER_MODE) < 0 && errno != EEXIST)
            return -1;
    }
    return 0;
}

/* Open the folder as it is now. make: it may be missing. errors NOT_FOUND if not make. */
static enum amber_rc open_folder(const char *path, bool make, int *out, struct amber_err *err)
{
    struct stat sb;
    AUTO_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT && make) {
        if (make_folders(AT_FDCWD, path, strlen(path)) < 0)
            return amber_fail_errno(err, errno,
                                    "the cache folder %s can't be made: make it, or set "
                                    "ARCHIVAL_CACHE_PATH to another one",
                                    path);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (fd < 0 || fstat(fd, &sb) < 0) {
        amber_fail_errno(err, errno, "the cache folder %s can't be opened", path);
        return errno == ENOTDIR ? (err->code = AMBER_E_INVALID) : err->code;
    }
    if (sb.st_uid != geteuid() || (sb.st_mode & (S_IWGRP | S_IWOTH)))
        return amber_fail(err, AMBER_E_DENIED,
                          "the cache folder %s belongs to user %u with mode %03o: it must be ours "
                          "(user %u) and only we may write to it; chown and chmod 700 it, or set "
                          "ARCHIVAL_CACHE_PATH to another one",
                          path, (unsigned)sb.st_uid, (unsigned)sb.st_mode & 0777,
                          (unsigned)geteuid());
    *out = fd;
    fd = -1;
    return AMBER_OK;
}

enum amber_rc amber_cache_dir_open(const char *path, struct amber_cache_dir **out,
                                   struct amber_err *err)
{
    AMBER_AUTO_FREE struct amber_cache_dir *d = NULL;
    AUTO_FD int fd = -1;
    enum amber_rc rc;

    if (path[0] != '/')
        return amber_fail(err, AMBER_E_INVALID,
                          "ARCHIVAL_CACHE_PATH is \"%.80s\": allowed: an absolute path", path);
    rc = open_folder(path, true, &fd, err);
    if (!rc)
        rc = amber_calloc(1, sizeof(*d), &d, err);
    if (!rc)
        rc = amber_strdup(path, &d->path, err);
    if (!rc)
        *out = amber_steal(&d);
    return rc;
}

void amber_cache_dir_free(struct amber_cache_dir *d)
{
    if (!d)
        return;
    free(d->path);
    free(d);
}

const char *amber_cache_dir_path(const struct amber_cache_dir *d)
{
    return d->path;
}

/* --- reading ------------------------------------------------------------------------------ */

static enum amber_rc open_file(const struct amber_cache_dir *d, const char *name, int *out,
                               struct stat *sb, struct amber_err *err)
{
    AUTO_FD int dir = -1;
    enum amber_rc rc = open_folder(d->path, false, &dir, err);

    if (rc)
        return rc;
    AUTO_FD int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, sb) < 0)
        return amber_fail_errno(err, errno, "%s/%s", d->path, name);
    if (!S_ISREG(sb->st_mode))
        return amber_fail(err, AMBER_E_CORRUPT, "%s/%s is no file", d->path, name);
    *out = fd;
    fd = -1;
    return AMBER_OK;
}

/* The access time says when a file was used, whatever the mount's atime option. */
static void mark_used(int fd, const struct stat *sb)
{
    struct timespec now, times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};

    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec - sb->st_atim.tv_sec >= USED_STEP_S)
        (void)!futimens(fd, times);
}

static enum amber_rc read_all(int fd, const struct amber_cache_dir *d, const char *name, char *buf,
                              size_t len, struct amber_err *err)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = read(fd, buf + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return amber_fail_errno(err, errno, "%s/%s", d->path, name);
        if (n == 0)
            return amber_fail(err, AMBER_E_CORRUPT, "%s/%s was cut", d->path, name);
        done += (size_t)n;
    }
    return AMBER_OK;
}

enum amber_rc amber_cache_dir_get(const struct amber_cache_dir *d, const char *name,
                                  struct amber_buf *out, struct amber_err *err)
{
    AUTO_FD int fd = -1;
    struct stat sb;
    enum amber_rc rc = open_file(d, name, &fd, &sb, err);

    if (!rc)
        rc = amber_buf_reserve(out, (size_t)sb.st_size, err);
    if (!rc)
        rc = read_all(fd, d, name, out->data + out->len, (size_t)sb.st_size, err);
    if (rc)
        return rc;
    mark_used(fd, &sb);
    out->len += (size_t)sb.st_size;
    out->data[out->len] = '\0';
    return AMBER_OK;
}

enum amber_rc amber_cache_dir_read(const struct amber_cache_dir *d, const char *name, void *buf,
                                   size_t len, struct amber_err *err)
{
    AUTO_FD int fd = -1;
    struct stat sb;
    enum amber_rc rc = open_file(d, name, &fd, &sb, err);

    if (!rc && (uint64_t)sb.st_size != len)
        rc = amber_fail(err, AMBER_E_CORRUPT, "%s/%s has %lld bytes instead of %zu", d->path, name,
                        (long long)sb.st_size, len);
    if (!rc)
        rc = read_all(fd, d, name, buf, len, err);
    if (!rc)
        mark_used(fd, &sb);
    return rc;
}

/* --- writing ------------------------------------------------------------------------------ */

static enum amber_rc write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return AMBER_E_IO;
        data += n;
        len -= (size_t)n;
    }
    return AMBER_OK;
}

/* A new file in name's folder, which is made if it is missing. tmp: room for its name. */
static int make_tmp(int dir, const char *name, char *tmp, size_t tmp_size)
{
    struct amber_err err = AMBER_ERR_INIT;
    const char *slash = strrchr(name, '/');
    size_t folder = slash ? (size_t)(slash - name) : 0;
    char uuid[AMBER_UUID_LEN];

    if (amber_uuid_new(uuid, &err)) {
        errno = EIO;
        return -1;
    }
    snprintf(tmp, tmp_size, "%.*s%s.%s", (int)folder, name, slash ? "/" : "", uuid);
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(dir, tmp, flags, FILE_MODE);
    if (fd < 0 && errno == ENOENT && folder > 0 && make_folders(dir, name, folder) == 0)
        fd = openat(dir, tmp, flags, FILE_MODE);
    return fd;
}

enum amber_rc amber_cache_dir_put(const struct amber_cache_dir *d, const char *name,
                                  const void *data, size_t len, struct amber_err *err)
{
    char tmp[AMBER_CACHE_NAME_MAX + AMBER_UUID_LEN + 2];
    AUTO_FD int dir = -1;
    enum amber_rc rc = open_folder(d->path, true, &dir, err);

    if (rc)
        return rc;
    AUTO_FD int fd = make_tmp(dir, name, tmp, sizeof(tmp));
    if (fd < 0)
        return amber_fail_errno(err, errno, "%s: a file can't be made", d->path);
    if (write_all(fd, data, len) || renameat(dir, tmp, dir, name) < 0) {
        amber_fail_errno(err, errno, "%s/%s can't be written", d->path, name);
        unlinkat(dir, tmp, 0);
        return err->code;
    }
    return AMBER_OK;
}

void amber_cache_dir_remove(const struct amber_cache_dir *d, const char *name)
{
    struct amber_err err = AMBER_ERR_INIT;
    AUTO_FD int dir = -1;

    if (open_folder(d->path, false, &dir, &err) == AMBER_OK)
        unlinkat(dir, name, 0);
}

/* --- trimming ----------------------------------------------------------------------------- */

struct used_file {
    char *name; /* owned; from the folder that is trimmed */
    struct timespec used;
    uint64_t room;
};

struct used_files {
    struct used_file *items; /* owned */
    size_t n, cap;
    uint64_t bytes;
};

static void used_files_clear(struct used_files *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->items[i].name);
    free(l->items);
}

static enum amber_rc collect(int dir, const char *prefix, struct used_files *out,
                             struct amber_err *err);

static enum amber_rc collect_one(int dir, const char *prefix, const char *leaf,
                                 struct used_files *out, struct amber_err *err)
{
    AMBER_AUTO_FREE char *name = NULL;
    struct stat sb;
    enum amber_rc rc;

    if (fstatat(dir, leaf, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        return AMBER_OK; /* another process removed it */
    rc = amber_asprintf(&name, err, "%s%s%s", prefix, *prefix ? "/" : "", leaf);
    if (rc)
        return rc;
    if (S_ISDIR(sb.st_mode)) {
        AUTO_FD int sub = openat(dir, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return sub < 0 ? AMBER_OK : collect(sub, name, out, err);
    }
    rc = amber_grow(&out->items, &out->cap, out->n + 1, sizeof(*out->items), err);
    if (rc)
        return rc;
    uint64_t room = amber_cache_dir_room((uint64_t)sb.st_size);
    out->items[out->n++] =
        (struct used_file){.name = amber_steal(&name), .used = sb.st_atim, .room = room};
    out->bytes += room;
    return AMBER_OK;
}

/* Add every file below dir, which is the caller's. */
static enum amber_rc collect(int dir, const char *prefix, struct used_files *out,
                             struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    struct dirent *e;
    int own = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = own < 0 ? NULL : fdopendir(own);

    if (!d) {
        amber_fail_errno(err, errno, "the cache folder can't be listed");
        if (own >= 0)
            close(own);
        return err->code;
    }
    while (!rc && (e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            rc = collect_one(dir, prefix, e->d_name, out, err);
    closedir(d);
    return rc;
}

static int by_use(const void *a, const void *b)
{
    const struct timespec *x = &((const struct used_file *)a)->used;
    const struct timespec *y = &((const struct used_file *)b)->used;

    if (x->tv_sec != y->tv_sec)
        return x->tv_sec < y->tv_sec ? -1 : 1;
    return (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

uint64_t amber_cache_dir_room(uint64_t bytes)
{
    return (bytes + DISK_BLOCK - 1) / DISK_BLOCK * DISK_BLOCK;
}

enum amber_rc amber_cache_dir_trim(const struct amber_cache_dir *d, const char *folder,
                                   uint64_t max_bytes, uint64_t keep_bytes, uint64_t *out_bytes,
                                   struct amber_err *err)
{
    struct used_files files AMBER_CLEANUP(used_files_clear) = {0};
    AUTO_FD int dir = -1;
    enum amber_rc rc = open_folder(d->path, true, &dir, err);

    if (rc)
        return rc;
    AUTO_FD int sub = openat(dir, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (sub < 0 && errno != ENOENT)
        return amber_fail_errno(err, errno, "%s/%s", d->path, folder);
    if (sub >= 0)
        rc = collect(sub, "", &files, err);
    if (rc)
        return rc;
    if (files.bytes > max_bytes) {
        qsort(files.items, files.n, sizeof(*files.items), by_use);
        for (size_t i = 0; i < files.n && files.bytes > keep_bytes; i++) {
            unlinkat(sub, files.items[i].name, 0);
            files.bytes -= files.items[i].room;
        }
    }
    *out_bytes = files.bytes;
    return AMBER_OK;
}
