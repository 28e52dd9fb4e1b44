/*
 * nullfs.c - what FUSE itself costs: a server that hands out one file's bytes from memory.
 *
 *   nullfs FILE MOUNTPOINT     mounts one file, "file", with FILE's content; ends when unmounted
 *
 * The session is set up as amberfs sets up its own (threads, request sizes, readahead left to the
 * caller), the whole content lies in memory, and a read is one fuse_reply_buf: no store, no digest,
 * no codec, no cache. Nothing that goes through FUSE without passthrough is faster.
 */
#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define INO_FILE 2
#define NAME "file"
#define FOREVER 86400.0

static char *content;
static size_t content_len;

static bool stat_of(fuse_ino_t ino, struct stat *st)
{
    *st = (struct stat){.st_ino = ino, .st_nlink = 1};
    st->st_mode = ino == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0444;
    st->st_size = ino == INO_FILE ? (off_t)content_len : 0;
    return ino == FUSE_ROOT_ID || ino == INO_FILE;
}

static void on_init(void *userdata, struct fuse_conn_info *conn)
{
    (void)userdata;
    conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
    conn->want |= conn->capable & (unsigned)FUSE_CAP_ASYNC_READ;
    conn->max_write = 1024U * 1024U;
    conn->max_background = 64;
    conn->congestion_threshold = 48;
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param e = {
        .ino = INO_FILE, .attr_timeout = FOREVER, .entry_timeout = FOREVER};
    if (parent != FUSE_ROOT_ID || strcmp(name, NAME) != 0) {
        fuse_reply_err(req, ENOENT);
        return;
    }
    stat_of(INO_FILE, &e.attr);
    fuse_reply_entry(req, &e);
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct stat st;
    (void)fi;
    if (stat_of(ino, &st))
        fuse_reply_attr(req, &st, FOREVER);
    else
        fuse_reply_err(req, ENOENT);
}

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    fi->keep_cache = 1;
    fuse_reply_open(req, fi);
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
    (void)ino;
    (void)fi;
    size_t at = (size_t)off < content_len ? (size_t)off : content_len;
    fuse_reply_buf(req, content + at, size < content_len - at ? size : content_len - at);
}

static const struct fuse_lowlevel_ops ops = {
    .init = on_init,
    .lookup = on_lookup,
    .getattr = on_getattr,
    .open = on_open,
    .read = on_read,
};

/* A private copy in memory: pages of the file itself would be the file's page cache. */
static bool load(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) || st.st_size <= 0)
        return false;
    content_len = (size_t)st.st_size;
    content = mmap(NULL, content_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (content == MAP_FAILED)
        return false;
    for (size_t done = 0; done < content_len;) {
        ssize_t n = read(fd, content + done, content_len - done);
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    close(fd);
    return true;
}

static int serve(const char *mountpoint)
{
    char *argv[] = {(char *)"nullfs", NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);
    struct fuse_session *se = fuse_session_new(&args, &ops, sizeof(ops), NULL);
    struct fuse_loop_config *loop = fuse_loop_cfg_create();
    int status = 1;
    if (se && loop && fuse_set_signal_handlers(se) == 0) {
        if (fuse_session_mount(se, mountpoint) == 0) {
            fuse_loop_cfg_set_max_threads(loop, 2);
            fuse_loop_cfg_set_idle_threads(loop, 2);
            status = fuse_session_loop_mt(se, loop) < 0;
            fuse_session_unmount(se);
        }
        fuse_remove_signal_handlers(se);
    }
    fuse_loop_cfg_destroy(loop);
    if (se)
        fuse_session_destroy(se);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: nullfs FILE MOUNTPOINT\n");
        return 2;
    }
    if (!load(argv[1])) {
        perror(argv[1]);
        return 1;
    }
    return serve(argv[2]);
}
