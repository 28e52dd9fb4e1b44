/*
 * store_local_put.c - writing an object of the local folder.
 *
 * A put is durable before it has a name, and has a name only if nothing had it:
 *   1. write .amberfs/tmp/<uuid>, under flock; the lock tells a cleaner that the writer lives
 *   2. fsync the file
 *   3. make the missing folders and fsync each parent, also of folders that were there: another
 *      put may have made one a moment ago and not have synced it yet
 *   4. rename without overwriting (link + unlink where the file system can't); a repair's put
 *      renames over the damaged object
 *   5. fsync the folder; if that fails, the name is taken back
 * After a failed fsync the kernel may have dropped the pages and will report success next time,
 * so nothing is ever synced twice: the bytes must come again through a new put.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>

#include "amber/digest.h"
#include "amber/failpoint.h"

#include "store_local_priv.h"

#define FILE_MODE 0440            /* objects are immutable */
#define PUT_WRITE_MAX (64U << 20) /* bytes handed to one write(2) */

struct local_put {
    struct amber_put base;
    int fd;      /* the temporary file, locked */
    int tmp_dir; /* .amberfs/tmp */
    bool failed; /* a write failed: the bytes have a hole */
    char tmp_name[AMBER_UUID_LEN];
    char key[];
};

/*
 * Make a new file under a name of its own and lock it. Between the two steps a cleaner may take it
 * for a dead writer's and remove it; then the lock is worth nothing and another name is tried.
 */
static enum amber_rc make_tmp(struct local_store *st, struct local_put *p, struct amber_err *err)
{
    for (;;) {
        struct stat sb;
        enum amber_rc rc = amber_uuid_new(p->tmp_name, err);
        if (rc)
            return rc;
        AUTO_FD int fd = openat(p->tmp_dir, p->tmp_name,
                                O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
        if (fd < 0)
            return amber_fail_errno(err, errno, "%s/" STORE_TMP_DIR ": a file can't be made",
                                    st->name);
        if (flock(fd, LOCK_EX) < 0 || fstat(fd, &sb) < 0) {
            amber_fail_errno(err, errno, "%s/" STORE_TMP_DIR "/%s can't be locked", st->name,
                             p->tmp_name);
            unlinkat(p->tmp_dir, p->tmp_name, 0);
            return err->code;
        }
        if (sb.st_nlink > 0) {
            p->fd = steal_fd(&fd);
            return AMBER_OK;
        }
    }
}

enum amber_rc amber_local_put_open(struct amber_store *base, const char *key,
                                   struct amber_put **out, struct amber_err *err)
{
    struct local_store *st = local(base);
    AMBER_AUTO_FREE struct local_put *p = NULL;

    enum amber_rc rc = amber_local_check_writable(st, key, err);
    if (!rc)
        rc = amber_calloc(1, sizeof(*p) + strlen(key) + 1, &p, err);
    if (!rc)
        rc = amber_local_open_folder(st, STORE_TMP_DIR, strlen(STORE_TMP_DIR), WALK_MAKE,
                                     &p->tmp_dir, err);
    if (rc)
        return rc;
    rc = make_tmp(st, p, err);
    if (rc) {
        close(p->tmp_dir);
        return rc;
    }
    p->base.store = base;
    memcpy(p->key, key, strlen(key) + 1);
    *out = &amber_steal(&p)->base;
    return AMBER_OK;
}

enum amber_rc amber_local_put_write(struct amber_put *base, const void *data, size_t len,
                                    struct amber_err *err)
{
    struct local_put *p = (struct local_put *)base;
    const char *s = data;

    while (len > 0) {
        ssize_t n = write(p->fd, s, len < PUT_WRITE_MAX ? len : PUT_WRITE_MAX);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            p->failed = true;
            return amber_fail_errno(err, n < 0 ? errno : EIO, "%s/%s: %zu bytes can't be written",
                                    local(base->store)->name, p->key, len);
        }
        s += n;
        len -= (size_t)n;
    }
    return AMBER_OK;
}

/* Release the put; the temporary file goes too, unless it has become the object. */
static void end_put(struct local_put *p, bool remove_tmp)
{
    if (remove_tmp)
        unlinkat(p->tmp_dir, p->tmp_name, 0);
    close(p->fd);
    close(p->tmp_dir);
    free(p);
}

void amber_local_put_abort(struct amber_put *base)
{
    end_put((struct local_put *)base, true);
}

/* Give the temporary file its name: if that is free, or in place of what has it (a repair). */
static enum amber_rc name_object(struct local_put *p, int dir, const char *leaf,
                                 struct amber_err *err)
{
    const char *store_name = local(p->base.store)->name;

    unsigned how = p->base.replace ? 0 : RENAME_NOREPLACE;
    if (renameat2(p->tmp_dir, p->tmp_name, dir, leaf, how) == 0)
        return AMBER_OK;
    /* NFS and some others can't rename that way; a link never replaces anything either. */
    if (!p->base.replace && (errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP)) {
        if (linkat(p->tmp_dir, p->tmp_name, dir, leaf, 0) == 0) {
            unlinkat(p->tmp_dir, p->tmp_name, 0);
            return AMBER_OK;
        }
    }
    if (errno == EEXIST)
        return amber_fail(err, AMBER_E_EXISTS, "%s/%s exists; nothing was overwritten", store_name,
                          p->key);
    return amber_fail_errno(err, errno, "%s/%s: the finished file can't get its name", store_name,
                            p->key);
}

static enum amber_rc sync_file(struct local_put *p, struct amber_err *err)
{
    enum amber_rc rc = amber_failpoint("put-fsync", err);

    if (!rc && p->failed)
        rc = amber_fail(err, AMBER_E_IO, "%s: an earlier write failed", p->key);
    if (!rc && fsync(p->fd) < 0)
        rc = amber_fail_errno(err, errno, "%s/%s can't be made durable", local(p->base.store)->name,
                              p->key);
    return rc;
}

/* Make the new name durable, or take it back; the object that a repair replaced is gone either
 * way, and what is there now is sound. */
static enum amber_rc sync_name(struct local_put *p, int dir, const char *leaf,
                               struct amber_err *err)
{
    enum amber_rc rc = amber_failpoint("put-linked", err);

    if (!rc)
        rc = amber_local_sync_folder(dir, p->key, err);
    if (rc && !p->base.replace)
        unlinkat(dir, leaf, 0);
    return rc;
}

enum amber_rc amber_local_put_commit(struct amber_put *base, struct amber_object_info *out,
                                     struct amber_err *err)
{
    struct local_put *p = (struct local_put *)base;
    AUTO_FD int dir = -1;
    bool named = false;
    const char *leaf = NULL;
    struct stat sb;

    enum amber_rc rc = sync_file(p, err);
    if (!rc && fstat(p->fd, &sb) < 0)
        rc = amber_fail_errno(err, errno, "%s", p->key);
    if (!rc)
        rc = amber_local_open_parent(local(base->store), p->key, WALK_MAKE_DURABLE, &dir, &leaf,
                                     err);
    if (!rc)
        rc = amber_failpoint("put-link", err);
    if (!rc)
        rc = name_object(p, dir, leaf, err);
    if (!rc) {
        named = true;
        rc = sync_name(p, dir, leaf, err);
    }
    if (!rc)
        amber_local_fill_info(&sb, out);
    end_put(p, !named);
    return rc;
}

/* Remove one unfinished file if its writer is dead, which is when its lock is free. */
static void clean_tmp_file(int tmp_dir, const char *name)
{
    AUTO_FD int fd = openat(tmp_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        unlinkat(tmp_dir, name, 0);
}

/* What a killed process left behind. Only files that a put names so are touched, and failing is no
 * reason to refuse the store: the leftovers take room and do nothing else. */
void amber_local_clean_tmp(struct local_store *st)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct dirent *e;
    int fd = -1;

    if (amber_local_open_folder(st, STORE_TMP_DIR, strlen(STORE_TMP_DIR), WALK_FIND, &fd, &err))
        return;
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return;
    }
    while ((e = readdir(d)))
        if (amber_uuid_valid(e->d_name))
            clean_tmp_file(dirfd(d), e->d_name);
    closedir(d);
}
