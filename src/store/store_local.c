/*
 * store_local.c - objects as files below one folder.
 *
 * Every access starts at the folder's descriptor, taken once, and follows no symbolic link on the
 * way (openat2 with RESOLVE_BENEATH): nothing outside of the folder is ever reached, and a mount
 * that later covers the folder doesn't come between. What openat2 refuses is walked part by part,
 * just as strictly: that says which part is wrong, and serves kernels and containers without
 * openat2.
 *
 * No locks: a store is read-only after open, and files are positioned by offset.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "amber/log.h"

#include "store_local_priv.h"

#define FOLDER_MODE 0750
#define DIRECT_ALIGN 4096U      /* offset, length and address of unbuffered reads */
#define DIRECT_CHUNK (1U << 20) /* bytes of one unbuffered read */

struct local_object {
    struct amber_object base;
    int fd;
    bool from_medium; /* pages are dropped before each read */
    bool direct;      /* and reads bypass the page cache; atomic: cleared where refused */
    char key[];       /* for messages */
};

/* ---- walking a key ---- */

/* Copy the part of a path at *s into part and move behind it and its slash. False at the end. */
static bool next_part(const char **s, char part[NAME_MAX + 1])
{
    size_t n = strcspn(*s, "/");

    if (n == 0)
        return false;
    memcpy(part, *s, n);
    part[n] = '\0';
    *s += n + ((*s)[n] == '/');
    return true;
}

enum amber_rc amber_local_sync_folder(int fd, const char *what, struct amber_err *err)
{
    /* EINVAL: some network file systems have no fsync of folders; their servers are synchronous. */
    if (fsync(fd) < 0 && errno != EINVAL)
        return amber_fail_errno(err, errno, "%s: the folder can't be made durable", what);
    return AMBER_OK;
}

/* O_NOFOLLOW reports a symbolic link as ELOOP, or as ENOTDIR if a folder was asked for. */
static enum amber_rc fail_walk(struct local_store *st, int dir, const char *part, int errnum,
                               const char *key, struct amber_err *err)
{
    struct stat sb;

    if ((errnum == ENOTDIR || errnum == ELOOP) &&
        fstatat(dir, part, &sb, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(sb.st_mode))
        return amber_fail(err, AMBER_E_DENIED,
                          "%s/%s: \"%s\" is a symbolic link; a store holds files and folders only, "
                          "so put the files themselves there or mount the other place",
                          st->name, key, part);
    return amber_fail_errno(err, errnum, "%s/%s", st->name, key);
}

/* Open one folder below dir, made first if wished. */
static enum amber_rc enter_folder(struct local_store *st, int dir, const char *part, enum walk how,
                                  const char *key, int *out, struct amber_err *err)
{
    if (how != WALK_FIND && mkdirat(dir, part, FOLDER_MODE) < 0 && errno != EEXIST)
        return amber_fail_errno(err, errno, "%s/%s: the folder \"%s\" can't be made", st->name, key,
                                part);
    if (how == WALK_MAKE_DURABLE) {
        enum amber_rc rc = amber_local_sync_folder(dir, key, err);
        if (rc)
            return rc;
    }
    *out = openat(dir, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return *out < 0 ? fail_walk(st, dir, part, errno, key, err) : AMBER_OK;
}

/* A descriptor, or -1: then walk. source openat2(2) */
static int open_beneath(const struct local_store *st, const char *path, int flags)
{
    struct open_how how = {
        .flags = (unsigned)flags | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };

    return (int)syscall(SYS_openat2, st->dir, path, &how, sizeof(how));
}

/* Open the folder at a path of parts below the store; "" is the store itself. */
enum amber_rc amber_local_open_folder(struct local_store *st, const char *path, size_t path_len,
                                      enum walk how, int *out, struct amber_err *err)
{
    char part[NAME_MAX + 1], walked[AMBER_KEY_MAX + 1];
    const char *s = walked;

    memcpy(walked, path, path_len);
    walked[path_len] = '\0';
    AUTO_FD int dir = -1;
    if (how == WALK_FIND)
        dir = open_beneath(st, path_len ? walked : ".", O_RDONLY | O_DIRECTORY);
    if (dir >= 0) {
        *out = steal_fd(&dir);
        return AMBER_OK;
    }
    dir = openat(st->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return amber_fail_errno(err, errno, "%s", st->name);
    while (next_part(&s, part)) {
        int next = -1;
        enum amber_rc rc = enter_folder(st, dir, part, how, walked, &next, err);
        if (rc)
            return rc;
        close(dir);
        dir = next;
    }
    *out = steal_fd(&dir);
    return AMBER_OK;
}

/* Open the folder that holds key; *out_leaf is the last part of key. */
enum amber_rc amber_local_open_parent(struct local_store *st, const char *key, enum walk how,
                                      int *out, const char **out_leaf, struct amber_err *err)
{
    const char *slash = strrchr(key, '/');

    *out_leaf = slash ? slash + 1 : key;
    return amber_local_open_folder(st, key, slash ? (size_t)(slash - key) : 0, how, out, err);
}

static char *put_hex(char *p, uint64_t v, char behind)
{
    unsigned digits = v ? (67U - (unsigned)__builtin_clzll(v)) / 4U : 1U;

    for (unsigned i = digits; i-- > 0; v >>= 4)
        p[i] = "0123456789abcdef"[v & 15];
    p[digits] = behind;
    return p + digits + 1;
}

/* By hand, since a start does this for each archive, and printf takes ten times as long. */
void amber_local_fill_info(const struct stat *sb, struct amber_object_info *out)
{
    char *p = out->version;
    _Static_assert(sizeof(out->version) >= 3 * 17 + 9, "16 digits each, nanoseconds 8");

    out->size = (uint64_t)sb->st_size;
    out->mtime_us = (int64_t)sb->st_mtim.tv_sec * 1000000 + sb->st_mtim.tv_nsec / 1000;
    p = put_hex(p, sb->st_ino, '.');
    p = put_hex(p, (uint64_t)sb->st_mtim.tv_sec, '.');
    p = put_hex(p, (uint64_t)sb->st_mtim.tv_nsec, '.');
    put_hex(p, out->size, '\0');
}

/* errors  NOT_FOUND for a folder, DENIED for a link, INVALID for anything else that's no file */
static enum amber_rc check_file(struct local_store *st, const struct stat *sb, const char *key,
                                struct amber_err *err)
{
    if (S_ISREG(sb->st_mode))
        return AMBER_OK;
    if (S_ISDIR(sb->st_mode))
        return amber_fail(err, AMBER_E_NOT_FOUND, "%s/%s is a folder, no object", st->name, key);
    if (S_ISLNK(sb->st_mode))
        return amber_fail(err, AMBER_E_DENIED,
                          "%s/%s is a symbolic link; a store holds files and folders only",
                          st->name, key);
    return amber_fail(err, AMBER_E_INVALID, "%s/%s is no plain file", st->name, key);
}

/* ---- reading ---- */

/* Write back and drop the file's pages, so that what is read next comes from the medium. */
static enum amber_rc drop_pages(struct local_object *o, struct amber_err *err)
{
    if (fdatasync(o->fd) < 0 && errno != EINVAL && errno != EROFS)
        return amber_fail_errno(err, errno, "%s can't be written back", o->key);
    posix_fadvise(o->fd, 0, 0, POSIX_FADV_DONTNEED); /* advice: a refusal changes nothing */
    return AMBER_OK;
}

static bool set_direct(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

/* O_NONBLOCK: a named pipe must not block the open; it has no meaning for files. */
#define OPEN_FILE (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)

static enum amber_rc open_file(struct local_store *st, const char *key, int *out,
                               struct amber_err *err)
{
    AUTO_FD int dir = -1;
    const char *leaf;

    *out = open_beneath(st, key, OPEN_FILE);
    if (*out >= 0)
        return AMBER_OK;
    enum amber_rc rc = amber_local_open_parent(st, key, WALK_FIND, &dir, &leaf, err);
    if (rc)
        return rc;
    *out = openat(dir, leaf, OPEN_FILE | O_CLOEXEC);
    return *out < 0 ? fail_walk(st, dir, leaf, errno, key, err) : AMBER_OK;
}

static enum amber_rc local_open(struct amber_store *base, const char *key, int flags,
                                struct amber_object **out, struct amber_object_info *out_info,
                                struct amber_err *err)
{
    struct local_store *st = local(base);
    AUTO_FD int fd = -1;
    AMBER_AUTO_FREE struct local_object *o = NULL;
    struct stat sb;

    enum amber_rc rc = open_file(st, key, &fd, err);
    if (rc)
        return rc;
    if (fstat(fd, &sb) < 0)
        return amber_fail_errno(err, errno, "%s/%s", st->name, key);
    rc = check_file(st, &sb, key, err);
    if (!rc)
        rc = amber_calloc(1, sizeof(*o) + strlen(key) + 1, &o, err);
    if (rc)
        return rc;
    memcpy(o->key, key, strlen(key) + 1);
    o->base.store = base;
    o->fd = fd;
    o->from_medium = (flags & AMBER_OPEN_MEDIUM) != 0;
    if (o->from_medium) {
        rc = drop_pages(o, err);
        o->direct = set_direct(fd, true);
    }
    if (rc)
        return rc;
    fd = -1; /* o's now */
    amber_local_fill_info(&sb, out_info);
    *out = &amber_steal(&o)->base;
    return AMBER_OK;
}

static enum amber_rc fail_read(const struct local_object *o, uint64_t off, size_t len, ssize_t n,
                               struct amber_err *err)
{
    if (n < 0)
        return amber_fail_errno(err, errno, "%s: reading %zu bytes at offset %llu", o->key, len,
                                (unsigned long long)off);
    return amber_fail(err, AMBER_E_CORRUPT,
                      "%s ends before offset %llu, %zu bytes were expected there: the file was cut",
                      o->key, (unsigned long long)off, len);
}

static enum amber_rc read_buffered(struct local_object *o, uint64_t off, char *buf, size_t len,
                                   struct amber_err *err)
{
    while (len > 0) {
        ssize_t n = pread(o->fd, buf, len, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail_read(o, off, len, n, err);
        buf += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
    return AMBER_OK;
}

/* Read around [off, off + len) on aligned bounds into bounce and copy the middle out. *out_refused
 * if the file system takes no unbuffered reads of this alignment. */
static enum amber_rc read_direct(struct local_object *o, uint64_t off, char *buf, size_t len,
                                 char *bounce, bool *out_refused, struct amber_err *err)
{
    while (len > 0) {
        size_t skip = (size_t)(off % DIRECT_ALIGN);
        size_t want = len < DIRECT_CHUNK - skip ? len : DIRECT_CHUNK - skip;
        size_t span = (skip + want + DIRECT_ALIGN - 1) / DIRECT_ALIGN * DIRECT_ALIGN;
        ssize_t n = pread(o->fd, bounce, span, (off_t)(off - skip));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EINVAL) {
            *out_refused = true;
            return AMBER_OK;
        }
        if (n < 0 || (size_t)n <= skip)
            return fail_read(o, off, len, n < 0 ? n : 0, err);
        size_t got = (size_t)n - skip < want ? (size_t)n - skip : want;
        memcpy(buf, bounce + skip, got);
        buf += got;
        off += got;
        len -= got;
    }
    return AMBER_OK;
}

static enum amber_rc read_medium(struct local_object *o, uint64_t off, char *buf, size_t len,
                                 struct amber_err *err)
{
    AMBER_AUTO_FREE char *bounce = NULL;
    bool refused = false;

    /* Another reader may have brought pages back since the open. */
    posix_fadvise(o->fd, (off_t)off, (off_t)len, POSIX_FADV_DONTNEED);
    if (!__atomic_load_n(&o->direct, __ATOMIC_RELAXED))
        return read_buffered(o, off, buf, len, err);
    size_t room = len < DIRECT_CHUNK - 2 * DIRECT_ALIGN
                      ? (len + 3 * DIRECT_ALIGN - 1) / DIRECT_ALIGN * DIRECT_ALIGN
                      : DIRECT_CHUNK;
    void *mem = NULL;
    if (posix_memalign(&mem, DIRECT_ALIGN, room) != 0)
        return amber_fail_nomem(err, "an unbuffered read", room);
    bounce = mem;
    enum amber_rc rc = read_direct(o, off, buf, len, bounce, &refused, err);
    if (!refused)
        return rc;
    __atomic_store_n(&o->direct, false, __ATOMIC_RELAXED);
    if (!set_direct(o->fd, false))
        return amber_fail_errno(err, errno, "%s: unbuffered reading can't be turned off", o->key);
    return read_buffered(o, off, buf, len, err);
}

static enum amber_rc local_read_at(struct amber_object *base, uint64_t off, void *buf, size_t len,
                                   struct amber_err *err)
{
    struct local_object *o = (struct local_object *)base;

    return o->from_medium ? read_medium(o, off, buf, len, err)
                          : read_buffered(o, off, buf, len, err);
}

static void local_close(struct amber_object *base)
{
    struct local_object *o = (struct local_object *)base;

    close(o->fd);
    free(o);
}

static enum amber_rc local_stat(struct amber_store *base, const char *key,
                                struct amber_object_info *out, struct amber_err *err)
{
    struct local_store *st = local(base);
    AUTO_FD int dir = -1;
    const char *leaf;
    struct stat sb;

    enum amber_rc rc = amber_local_open_parent(st, key, WALK_FIND, &dir, &leaf, err);
    if (rc)
        return rc;
    if (fstatat(dir, leaf, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        return amber_fail_errno(err, errno, "%s/%s", st->name, key);
    rc = check_file(st, &sb, key, err);
    if (!rc)
        amber_local_fill_info(&sb, out);
    return rc;
}

/* ---- removing ---- */

enum amber_rc amber_local_check_writable(struct local_store *st, const char *key,
                                         struct amber_err *err)
{
    if (!st->read_only)
        return AMBER_OK;
    amber_fail(err, AMBER_E_DENIED, "%s/%s: the store was opened read-only", st->name, key);
    err->sys_errno = EROFS;
    return err->code;
}

static enum amber_rc local_remove(struct amber_store *base, const char *key, struct amber_err *err)
{
    struct local_store *st = local(base);
    AUTO_FD int dir = -1;
    const char *leaf;
    struct stat sb;

    enum amber_rc rc = amber_local_check_writable(st, key, err);
    if (!rc)
        rc = amber_local_open_parent(st, key, WALK_FIND, &dir, &leaf, err);
    if (rc)
        return rc;
    if (fstatat(dir, leaf, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        return amber_fail_errno(err, errno, "%s/%s", st->name, key);
    rc = check_file(st, &sb, key, err);
    if (rc)
        return rc;
    if (unlinkat(dir, leaf, 0) < 0)
        return amber_fail_errno(err, errno, "%s/%s can't be removed", st->name, key);
    return amber_local_sync_folder(dir, key, err);
}

/* ---- opening the store ---- */

static enum amber_rc sync_parent_of(const char *path, struct amber_err *err)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');

    if (!slash)
        snprintf(parent, sizeof(parent), ".");
    else
        snprintf(parent, sizeof(parent), "%.*s", slash == path ? 1 : (int)(slash - path), path);
    AUTO_FD int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return amber_fail_errno(err, errno, "%s", parent);
    return amber_local_sync_folder(fd, parent, err);
}

/* Make the folder and those above it that are missing. */
static enum amber_rc make_root(const char *path, struct amber_err *err)
{
    char made[PATH_MAX];
    size_t len = strlen(path);

    if (len == 0 || len >= sizeof(made))
        return amber_fail(err, AMBER_E_INVALID, "\"%.60s\" can't be a folder's path", path);
    for (size_t i = 1; i <= len; i++) {
        if ((path[i] != '/' && path[i] != '\0') || path[i - 1] == '/')
            continue;
        memcpy(made, path, i);
        made[i] = '\0';
        if (mkdir(made, FOLDER_MODE) == 0) {
            enum amber_rc rc = sync_parent_of(made, err);
            if (rc)
                return rc;
        } else if (errno != EEXIST) {
            return amber_fail_errno(err, errno, "the storage folder %s can't be made", made);
        }
    }
    return AMBER_OK;
}

static enum amber_rc open_root(const struct amber_store_config *cfg, int *out,
                               struct amber_err *err)
{
    if (cfg->dir_fd >= 0) {
        /* "." of the descriptor: a folder mounted over it later isn't entered. */
        *out = openat(cfg->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (*out < 0)
            return amber_fail_errno(err, errno, "the storage folder's descriptor %d", cfg->dir_fd);
        return AMBER_OK;
    }
    if (!cfg->path || !*cfg->path)
        return amber_fail(err, AMBER_E_INVALID, "a local store needs a path: set ARCHIVAL_PATH");
    if (cfg->create && !cfg->read_only) {
        enum amber_rc rc = make_root(cfg->path, err);
        if (rc)
            return rc;
    }
    *out = open(cfg->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*out < 0)
        return amber_fail_errno(err, errno,
                                "the storage folder %s can't be opened (mount its disk, or correct the "
                                "path)",
                                cfg->path);
    return AMBER_OK;
}

static void local_free(struct amber_store *base)
{
    struct local_store *st = local(base);

    close(st->dir);
    free(st->name);
    free(st);
}

static const struct amber_store_ops local_ops = {
    .traits = {.scheme = "local",
               .best_read_bytes = 1U << 20,
               .prefetch_depth = 2,
               .can_remove = true},
    .open = local_open,
    .read_at = local_read_at,
    .close = local_close,
    .stat = local_stat,
    .list = amber_local_list,
    .folders = amber_local_folders,
    .folder_mark = amber_local_folder_mark,
    .put_open = amber_local_put_open,
    .put_write = amber_local_put_write,
    .put_commit = amber_local_put_commit,
    .put_abort = amber_local_put_abort,
    .remove = local_remove,
    .free = local_free,
};

enum amber_rc amber_store_local_open(const struct amber_store_config *cfg, struct amber_store **out,
                                     struct amber_err *err)
{
    AMBER_AUTO_FREE struct local_store *st = NULL;
    AMBER_AUTO_FREE char *name = NULL;

    enum amber_rc rc = amber_calloc(1, sizeof(*st), &st, err);
    if (!rc)
        rc = amber_strdup(cfg->path && *cfg->path ? cfg->path : "(storage folder)", &name, err);
    if (!rc)
        rc = open_root(cfg, &st->dir, err);
    if (rc)
        return rc;
    st->base.ops = &local_ops;
    st->read_only = cfg->read_only;
    st->name = amber_steal(&name);
    if (!st->read_only)
        amber_local_clean_tmp(st);
    *out = &amber_steal(&st)->base;
    return AMBER_OK;
}
