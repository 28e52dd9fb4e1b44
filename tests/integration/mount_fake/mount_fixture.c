/*
 * mount_fixture.c - see mount_fixture.h.
 */
#include "mount_fixture.h"

#include <errno.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define GUARD_S 240 /* a test that hangs */

static char root[32];

const char *mf_root(void)
{
    return root;
}

/* ---- the guard ---- */

static void detach_below_root(void)
{
    for (int again = 0; again < 8; again++) {
        FILE *f = fopen("/proc/self/mountinfo", "re");
        char line[4096], at[1024];
        bool any = false;
        while (f && fgets(line, sizeof(line), f)) {
            if (sscanf(line, "%*s %*s %*s %*s %1023s", at) != 1 ||
                strncmp(at, root, strlen(root)) != 0)
                continue;
            any = true;
            /* FORCE aborts the connection: a daemon that was killed while it used its own mount
             * waits for itself. */
            umount2(at, MNT_FORCE);
            if (umount2(at, MNT_DETACH)) {
                char *argv[] = {(char *)"fusermount3", (char *)"-uz", at, NULL};
                pid_t pid = fork();
                if (pid == 0) {
                    execvp(argv[0], argv);
                    _exit(127);
                }
                waitpid(pid, NULL, 0);
            }
        }
        if (f)
            fclose(f);
        if (!any)
            return;
    }
}

static void on_signal(int sig)
{
    (void)sig; /* ends the wait for the child */
}

void mf_guard(void)
{
    if (access("/dev/fuse", R_OK | W_OK)) {
        printf("1..0 # SKIP /dev/fuse can't be used: %s\n", strerror(errno));
        exit(0);
    }
    snprintf(root, sizeof(root), "/tmp/amber-mount-XXXXXX");
    if (!mkdtemp(root)) {
        perror("mkdtemp");
        exit(1);
    }
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_IGN);
        return;
    }
    struct sigaction end = {.sa_handler = on_signal};
    sigaction(SIGINT, &end, NULL);
    sigaction(SIGTERM, &end, NULL);
    sigaction(SIGALRM, &end, NULL);
    alarm(GUARD_S);
    int status = 1 << 8;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        kill(pid, SIGKILL);
        detach_below_root();
    }
    detach_below_root();
    nftw(root, fx_remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    if (WIFSIGNALED(status))
        printf("Bail out! signal %d\n", WTERMSIG(status));
    exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

/* ---- store and mount ---- */

static void add_archive(struct mf *f, const char *path, enum amber_codec_kind codec)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_manifest *m = &f->manifests[f->n];
    struct amber_tree_entry *e = &f->entries[f->n];
    struct amber_sha256 digest;
    char key[128];
    char *manifest_key, *copy;

    snprintf(key, sizeof(key), "%s%s", path, amber_codec_info(codec)->suffix);
    amber_buf_init(&f->texts[f->n], 64U << 20);
    fx_write(&f->fx, key, codec, MF_ROWS, m, NULL, &f->texts[f->n]);
    FX_OK(amber_manifest_put(f->fx.st, m, &manifest_key, &digest, &err));
    *e = (struct amber_tree_entry){
        .manifest_key = manifest_key,
        .size = m->archive.raw_bytes,
        .stored_size = m->archive.stored_bytes,
        .rows = m->archive.rows,
        .mtime_us = INT64_C(1700000000123456) + (int64_t)f->n * 1000000,
        .has_digest = true,
    };
    memcpy(e->manifest_sha256, digest.b, sizeof(digest.b));
    FX_OK(amber_strdup(path, &copy, &err));
    e->path = copy;
    FX_OK(amber_strdup(key, &copy, &err));
    e->key = copy;
    f->n++;
}

void mf_open(struct mf *f)
{
    static const char schema[] = "[{\"name\":\"id\",\"type\":\"bigint\",\"kind\":\"number\"},"
                                 "{\"name\":\"name\",\"type\":\"text\",\"kind\":\"text\"},"
                                 "{\"name\":\"data\",\"type\":\"jsonb\",\"kind\":\"json\"}]";
    static unsigned count;
    struct amber_err err = AMBER_ERR_INIT;

    *f = (struct mf){.n = 0};
    amber_log_set_stderr(getenv("AMBER_TEST_LOG") != NULL);
    snprintf(f->fx.dir, sizeof(f->fx.dir), "%s/store%u", root, ++count);
    snprintf(f->mnt, sizeof(f->mnt), "%s/mnt%u", root, count);
    assert_int_equal(mkdir(f->fx.dir, 0700), 0);
    assert_int_equal(mkdir(f->mnt, 0700), 0);
    f->fx.st = fx_store(&f->fx);
    FX_OK(amber_pool_new(2, &f->fx.pool, &err));
    FX_OK(amber_schema_parse(schema, strlen(schema), &f->fx.schema, &err));
    FX_OK(amber_cache_new(8U << 20, f->fx.pool, &f->cache, &err));
    FX_OK(amber_tree_new(&f->tree, &err));
    add_archive(f, "flow_logs/gz.json", AMBER_CODEC_GZIP);
    add_archive(f, "flow_logs/plain.json", AMBER_CODEC_NONE);
    add_archive(f, "deep/er/zst.json", AMBER_CODEC_ZSTD);
    FX_OK(amber_tree_replace(f->tree, f->entries, f->n, NULL, NULL, &err));
    fake_init(&f->fake);
    f->fake.tree = f->tree;
}

struct amber_mount_config mf_config(struct mf *f)
{
    return (struct amber_mount_config){
        .mountpoint = f->mnt,
        .source = "fake, with \\ and comma",
        .uid = getuid(),
        .gid = getgid(),
        .store = f->fx.st,
        .tree = f->tree,
        .cache = f->cache,
        .ops = &fake_ops,
        .arg = &f->fake,
    };
}

static void *serve_main(void *arg)
{
    struct mf *f = arg;
    struct amber_err err = AMBER_ERR_INIT;
    f->serve_rc = amber_mount_serve(f->mount, NULL, NULL, &err);
    if (f->serve_rc)
        fprintf(stderr, "serve: %s\n", err.text);
    return NULL;
}

void mf_mount(struct mf *f, const char *options, bool read_only)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_mount_config cfg = mf_config(f);
    cfg.options = options;
    cfg.read_only = read_only;
    FX_OK(amber_mount_new(&cfg, &f->mount, &err));
    assert_int_equal(pthread_create(&f->thread, NULL, serve_main, f), 0);
    f->serving = true;
}

void mf_unmount(struct mf *f)
{
    if (!f->serving)
        return;
    f->serving = false;
    fake_open_gate(&f->fake, true);
    amber_mount_stop(f->mount);
    pthread_join(f->thread, NULL);
    assert_int_equal(f->serve_rc, AMBER_OK);
    assert_false(amber_mount_find(f->mnt, NULL, NULL));
    amber_mount_free(f->mount);
}

void mf_close(struct mf *f)
{
    mf_unmount(f);
    for (size_t i = 0; i < f->n; i++) {
        free((char *)(uintptr_t)f->entries[i].path);
        free((char *)(uintptr_t)f->entries[i].key);
        free((char *)(uintptr_t)f->entries[i].manifest_key);
        amber_manifest_clear(&f->manifests[i]);
        amber_buf_clear(&f->texts[i]);
    }
    amber_tree_free(f->tree);
    amber_cache_free(f->cache);
    fake_clear(&f->fake);
    fx_close(&f->fx);
    rmdir(f->mnt);
}

int mf_setup(void **state)
{
    static struct mf f;
    mf_open(&f);
    mf_mount(&f, NULL, false);
    *state = &f;
    return 0;
}

int mf_teardown(void **state)
{
    mf_close(*state);
    return 0;
}

/* ---- shells and files ---- */

static void format_command(const struct mf *f, char *out, size_t room, const char *fmt,
                           va_list args) __attribute__((format(printf, 4, 0)));
static void format_command(const struct mf *f, char *out, size_t room, const char *fmt,
                           va_list args)
{
    int n = snprintf(out, room, "M=%s; S=%s; T=%s; ", f->mnt, f->fx.dir, root);
    vsnprintf(out + n, room - (size_t)n, fmt, args);
}

int mf_sh(const struct mf *f, const char *fmt, ...)
{
    char command[4096];
    va_list args;
    va_start(args, fmt);
    format_command(f, command, sizeof(command), fmt, args);
    va_end(args);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

char *mf_out(const struct mf *f, const char *fmt, ...)
{
    char command[4096];
    va_list args;
    AMBER_AUTO_BUF struct amber_buf out = AMBER_BUF_INIT(64U << 20);
    struct amber_err err = AMBER_ERR_INIT;
    char part[4096];
    size_t n;
    va_start(args, fmt);
    format_command(f, command, sizeof(command), fmt, args);
    va_end(args);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    FX_OK(amber_buf_append(&out, "", 0, &err));
    while ((n = fread(part, 1, sizeof(part), p)) > 0)
        FX_OK(amber_buf_append(&out, part, n, &err));
    pclose(p);
    FX_OK(amber_buf_reserve(&out, 1, &err));
    return amber_steal(&out.data);
}

const char *mf_path(const struct mf *f, const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *p = paths[next++ % 8];
    snprintf(p, sizeof(paths[0]), "%s/%s", f->mnt, name);
    return p;
}

void mf_read_all(const char *path, struct amber_buf *out)
{
    struct amber_err err = AMBER_ERR_INIT;
    char part[65536];
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail_msg("%s: %s", path, strerror(errno));
    while ((n = read(fd, part, sizeof(part))) > 0)
        FX_OK(amber_buf_append(out, part, (size_t)n, &err));
    if (n < 0)
        fail_msg("%s: %s", path, strerror(errno));
    close(fd);
}

const char *mf_file(const char *name, const void *data, size_t len)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    return path;
}
