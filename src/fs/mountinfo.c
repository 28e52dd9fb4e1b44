/*
 * mountinfo.c - which amberfs mounts there are, which one a path lies on, and taking dead ones
 * away.
 *
 * A path's mount is asked from the kernel by an O_PATH descriptor (its mnt_id), not guessed from
 * path prefixes: mounts may be stacked on each other and hide one another. Opening a mount's root
 * with O_PATH sends no request to its daemon, so it works on dead mounts too; what lies below a
 * dead root can't be opened, so its path is shortened until something can.
 *
 * source  proc_pid_mountinfo(5)
 */
#include "amber/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mountinfo_priv.h"

extern char **environ;

#define FS_TYPE "fuse.amberfs"
#define DEAD_STACK_MAX 64 /* dead mounts on one mount point that are taken away at once */

/* One line of mountinfo, taken apart in place. */
struct mount_line {
    int id;
    unsigned major, minor;
    char *mountpoint; /* unescaped, in the line */
    char *type;
};

/* "\040" and the like -> the byte itself. */
static void unescape(char *s)
{
    char *to = s;
    for (; *s; s++) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
            s[3] >= '0' && s[3] <= '7') {
            *to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
            s += 3;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
}

/* 36 35 0:31 / /mnt rw,noatime shared:1 - fuse.amberfs amberfs rw */
static bool parse_line(char *line, struct mount_line *out)
{
    int at = 0;
    if (sscanf(line, "%d %*d %u:%u %*s %n", &out->id, &out->major, &out->minor, &at) != 3 || !at)
        return false;
    out->mountpoint = line + at;
    char *end = strchr(out->mountpoint, ' ');
    if (!end)
        return false;
    *end++ = '\0';
    unescape(out->mountpoint);
    char *dash = strstr(end, " - ");
    if (!dash)
        return false;
    out->type = dash + 3;
    out->type[strcspn(out->type, " \n")] = '\0';
    return true;
}

/* Calls each for all mounts of this process's namespace until it returns false. */
static void each_mount(bool (*each)(void *arg, const struct mount_line *m), void *arg)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t cap = 0;
    if (!f)
        return;
    while (getline(&line, &cap, f) > 0) {
        struct mount_line m;
        if (parse_line(line, &m) && !each(arg, &m))
            break;
    }
    free(line);
    fclose(f);
}

/* The mount id of an open descriptor, -1 if /proc doesn't say. */
static int mount_id(int fd)
{
    char path[64], line[128];
    int id = -1;
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    FILE *f = fopen(path, "re");
    if (!f)
        return -1;
    while (fgets(line, sizeof(line), f))
        if (sscanf(line, "mnt_id: %d", &id) == 1)
            break;
    fclose(f);
    return id;
}

/* Mount id of path, or of the nearest folder above it that can be opened. */
static int mount_id_of_path(const char *path)
{
    AMBER_AUTO_FREE char *p = strdup(*path ? path : ".");
    if (!p)
        return -1;
    for (;;) {
        int fd = open(p, O_PATH | O_CLOEXEC);
        if (fd >= 0) {
            int id = mount_id(fd);
            close(fd);
            return id;
        }
        char *slash = strrchr(p, '/');
        if (slash && slash != p)
            *slash = '\0';
        else if (slash && slash[1])
            slash[1] = '\0'; /* the root folder */
        else if (!slash && strcmp(p, ".") != 0)
            memcpy(p, ".", 2); /* one name in the working folder */
        else
            return -1;
    }
}

struct find_id {
    int id;
    struct amber_mountinfo *out;
    bool found;
};

static bool match_id(void *arg, const struct mount_line *m)
{
    struct find_id *f = arg;
    if (m->id != f->id)
        return true;
    f->out->mountpoint = strdup(m->mountpoint);
    f->out->is_amberfs = strcmp(m->type, FS_TYPE) == 0;
    f->out->major = m->major;
    f->out->minor = m->minor;
    f->found = f->out->mountpoint != NULL;
    return false;
}

bool amber_mountinfo_of_path(const char *path, struct amber_mountinfo *out)
{
    struct find_id f = {.id = mount_id_of_path(path), .out = out};
    if (f.id >= 0)
        each_mount(match_id, &f);
    return f.found;
}

/* Whether a daemon answers. statfs is always sent to it; attributes may come from a cache. */
static bool is_alive(const char *root)
{
    struct statfs s;
    return statfs(root, &s) == 0 || (errno != ENOTCONN && errno != ECONNABORTED);
}

bool amber_mount_find(const char *path, char **out_root, bool *out_alive)
{
    struct amber_mountinfo info;
    if (!amber_mountinfo_of_path(path, &info))
        return false;
    if (!info.is_amberfs) {
        free(info.mountpoint);
        return false;
    }
    if (out_alive)
        *out_alive = is_alive(info.mountpoint);
    if (out_root)
        *out_root = info.mountpoint;
    else
        free(info.mountpoint);
    return true;
}

struct find_only {
    char **roots; /* owned; mount points seen so far */
    size_t n, cap;
};

static bool collect_root(void *arg, const struct mount_line *m)
{
    struct find_only *f = arg;
    struct amber_err err = AMBER_ERR_INIT;
    if (strcmp(m->type, FS_TYPE) != 0)
        return true;
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->roots[i], m->mountpoint) == 0)
            return true; /* stacked: one place, looked at by its path below */
    if (amber_grow(&f->roots, &f->cap, f->n + 1, sizeof(*f->roots), &err))
        return false;
    f->roots[f->n] = strdup(m->mountpoint);
    if (!f->roots[f->n])
        return false;
    f->n++;
    return true;
}

char *amber_mount_only(void)
{
    struct find_only f = {0};
    char *only = NULL;
    size_t n_alive = 0;
    each_mount(collect_root, &f);
    for (size_t i = 0; i < f.n; i++) {
        bool alive;
        if (amber_mount_find(f.roots[i], NULL, &alive) && alive && n_alive++ == 0)
            only = amber_steal(&f.roots[i]);
        free(f.roots[i]);
    }
    free(f.roots);
    if (n_alive > 1) {
        free(only);
        only = NULL;
    }
    return only;
}

/* Let the set-uid helper do what only root may. Returns false if it couldn't. */
static bool run_fusermount(const char *root)
{
    char *argv[] = {(char *)"fusermount3", (char *)"-u", (char *)"-z", (char *)"-q",
                    (char *)"--",          (char *)root, NULL};
    pid_t pid;
    int status;
    if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ))
        return false;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

enum amber_rc amber_mount_detach(const char *root, struct amber_err *err)
{
    /* One crash leaves one dead mount; daemons that mounted over dead ones leave a stack. */
    for (int i = 0; i < DEAD_STACK_MAX; i++) {
        struct amber_mountinfo info;
        if (!amber_mountinfo_of_path(root, &info))
            return AMBER_OK;
        bool dead = info.is_amberfs && strcmp(info.mountpoint, root) == 0 && !is_alive(root);
        free(info.mountpoint);
        if (!dead)
            return AMBER_OK;
        if (umount2(root, MNT_DETACH | UMOUNT_NOFOLLOW) && !run_fusermount(root))
            return amber_fail_errno(err, errno,
                                    "a dead amberfs mount covers %s and can't be taken away; "
                                    "run: fusermount3 -u -z %s",
                                    root, root);
    }
    return amber_fail(err, AMBER_E_IO, "more than %d dead mounts cover %s", DEAD_STACK_MAX, root);
}
