/*
 * test_store_local.c - the local folder: nothing overwritten, nothing half done, nothing outside.
 *
 * What needs a failing kernel runs in a child process: full and unusual file systems are mounted in
 * a namespace of the child's own, failing system calls are made by a seccomp filter, and a kill at
 * each step of a put is a failpoint. A child ends with 0 (good), 77 (can't be tried here) or 1
 * behind the text of the check that failed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "amber/failpoint.h"
#include "amber/store.h"
#include "temp_folder.h"

#define CANT_TRY 77
#define CHILD_CHECK(cond)                                                                          \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "line %d: %s\n", __LINE__, #cond);                                     \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

struct fixture {
    char dir[TEMP_FOLDER_MAX];
    struct amber_store *st;
};

static struct amber_store *open_store(const char *path, bool read_only)
{
    struct amber_store_config cfg = {
        .type = "local", .path = path, .dir_fd = -1, .read_only = read_only};
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_store *st = NULL;

    if (amber_store_open(&cfg, &st, &err) != AMBER_OK) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    return st;
}

static int setup(void **state)
{
    static struct fixture f;

    temp_folder_make(f.dir);
    f.st = open_store(f.dir, false);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    amber_failpoint_set(NULL);
    amber_store_free(f->st);
    temp_folder_remove(f->dir);
    return 0;
}

static enum amber_rc put(struct amber_store *st, const char *key, const char *text)
{
    struct amber_err err = AMBER_ERR_INIT;

    return amber_store_put(st, key, text, strlen(text), &err);
}

/* Whether the object is exactly this text. */
static bool holds(struct amber_store *st, const char *key, const char *text)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(1U << 20);
    struct amber_err err = AMBER_ERR_INIT;

    return amber_store_get(st, key, &b, &err) == AMBER_OK && strcmp(b.data, text) == 0;
}

static enum amber_rc stat_rc(struct amber_store *st, const char *key)
{
    struct amber_object_info info;
    struct amber_err err = AMBER_ERR_INIT;

    return amber_store_stat(st, key, &info, &err);
}

static const char *path_in(const char *dir, const char *key)
{
    static char path[4][2 * TEMP_FOLDER_MAX + AMBER_KEY_MAX];
    static unsigned next;
    char *out = path[next++ % 4];

    snprintf(out, sizeof(path[0]), "%s/%s", dir, key);
    return out;
}

/* Files in a folder of the store, 0 if the folder isn't there. */
static int count_files(const char *dir, const char *key)
{
    DIR *d = opendir(path_in(dir, key));
    struct dirent *e;
    int n = 0;

    while (d && (e = readdir(d)))
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* ---- puts ---- */

static void put_of_new_key_is_readable_and_leaves_no_temporary_file(void **state)
{
    struct fixture *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_put *p = NULL;
    struct amber_object_info committed, seen;

    assert_int_equal(amber_put_open(f->st, "a/b/c.json", &p, &err), AMBER_OK);
    assert_int_equal(amber_put_write(p, "one ", 4, &err), AMBER_OK);
    assert_int_equal(amber_put_write(p, "", 0, &err), AMBER_OK);
    assert_int_equal(amber_put_write(p, "two", 3, &err), AMBER_OK);
    assert_int_equal(stat_rc(f->st, "a/b/c.json"), AMBER_E_NOT_FOUND);
    assert_int_equal(count_files(f->dir, ".amberfs/tmp"), 1);
    assert_int_equal(amber_put_commit(p, &committed, &err), AMBER_OK);
    assert_true(holds(f->st, "a/b/c.json", "one two"));
    assert_int_equal(count_files(f->dir, ".amberfs/tmp"), 0);
    assert_int_equal(amber_store_stat(f->st, "a/b/c.json", &seen, &err), AMBER_OK);
    assert_int_equal(committed.size, 7);
    assert_int_equal(seen.size, 7);
    assert_true(committed.mtime_us == seen.mtime_us);
    assert_string_equal(committed.version, seen.version);
}

static void put_of_taken_key_is_exists_and_overwrites_nothing(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(put(f->st, "a/x", "first"), AMBER_OK);
    assert_int_equal(put(f->st, "a/x", "second"), AMBER_E_EXISTS);
    assert_true(holds(f->st, "a/x", "first"));
    assert_int_equal(mkdir(path_in(f->dir, "a/folder"), 0755), 0);
    assert_int_equal(put(f->st, "a/folder", "second"), AMBER_E_EXISTS);
    assert_int_equal(count_files(f->dir, ".amberfs/tmp"), 0);
}

static enum amber_rc replace(struct amber_store *st, const char *key, const char *text)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_put *p = NULL;

    assert_int_equal(amber_put_replace(st, key, &p, &err), AMBER_OK);
    assert_int_equal(amber_put_write(p, text, strlen(text), &err), AMBER_OK);
    return amber_put_commit(p, NULL, &err);
}

static void replace_takes_the_place_in_one_step(void **state)
{
    struct fixture *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object *o = NULL;
    char buf[5];

    assert_int_equal(put(f->st, "a/x", "first"), AMBER_OK);
    assert_int_equal(amber_object_open(f->st, "a/x", AMBER_OPEN_CACHED, &o, NULL, &err), AMBER_OK);
    assert_int_equal(replace(f->st, "a/x", "second"), AMBER_OK);
    assert_true(holds(f->st, "a/x", "second"));
    /* Who reads the old object goes on with it. */
    assert_int_equal(amber_object_read(o, 0, buf, 5, &err), AMBER_OK);
    assert_memory_equal(buf, "first", 5);
    amber_object_close(o);
    assert_int_equal(replace(f->st, "new/y", "text"), AMBER_OK);
    assert_true(holds(f->st, "new/y", "text"));
    assert_int_equal(count_files(f->dir, ".amberfs/tmp"), 0);
}

static void replace_that_fails_leaves_one_of_both_whole(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *point, *left;
    } cases[] = {
        {"put-fsync=error", "first"}, {"put-link=error", "first"}, {"put-linked=error", "second"}};

    for (size_t i = 0; i < amber_countof(cases); i++) {
        char key[] = {'k', (char)('0' + i), '\0'};
        assert_int_equal(put(f->st, key, "first"), AMBER_OK);
        amber_failpoint_set(cases[i].point);
        assert_int_equal(replace(f->st, key, "second"), AMBER_E_IO);
        amber_failpoint_set(NULL);
        assert_true(holds(f->st, key, cases[i].left));
    }
    assert_int_equal(count_files(f->dir, ".amberfs/tmp"), 0);
}

static void put_below_a_file_fails(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(put(f->st, "a", "file"), AMBER_OK);
    assert_int_not_equal(put(f->st, "a/b", "x"), AMBER_OK);
    assert_true(holds(f->st, "a", "file"));
    assert_int_equal(count_files(f->dir, ".amberfs/tmp"), 0);
}

static void abort_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_put *p = NULL;

    assert_int_equal(amber_put_open(f->st, "x", &p, &err), AMBER_OK);
    assert_int_equal(amber_put_write(p, "abc", 3, &err), AMBER_OK);
    amber_put_abort(p);
    assert_int_equal(count_files(f->dir, ".amberfs/tmp"), 0);
    assert_int_equal(stat_rc(f->st, "x"), AMBER_E_NOT_FOUND);
}

static void failed_step_of_commit_leaves_nothing_and_second_put_works(void **state)
{
    static const char *const steps[] = {"put-fsync=error", "put-link=error", "put-linked=error"};
    struct fixture *f = *state;

    for (size_t i = 0; i < amber_countof(steps); i++) {
        char key[32];
        snprintf(key, sizeof(key), "d%zu/x", i);
        amber_failpoint_set(steps[i]);
        assert_int_equal(put(f->st, key, "text"), AMBER_E_IO);
        amber_failpoint_set(NULL);
        assert_int_equal(stat_rc(f->st, key), AMBER_E_NOT_FOUND);
        assert_int_equal(count_files(f->dir, ".amberfs/tmp"), 0);
        assert_int_equal(put(f->st, key, "again"), AMBER_OK);
        assert_true(holds(f->st, key, "again"));
    }
}

/* Put in a child that dies at the step. */
static void put_and_die(const char *dir, const char *step)
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        struct amber_store *st = open_store(dir, false);
        amber_failpoint_set(step);
        put(st, "d/x", "text");
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void killed_writer_leaves_no_object_and_its_file_is_cleaned_at_open(void **state)
{
    static const char *const steps[] = {"put-fsync", "put-link"};
    struct fixture *f = *state;

    for (size_t i = 0; i < amber_countof(steps); i++) {
        put_and_die(f->dir, steps[i]);
        assert_int_equal(stat_rc(f->st, "d/x"), AMBER_E_NOT_FOUND);
        assert_int_equal(count_files(f->dir, ".amberfs/tmp"), 1);
        amber_store_free(open_store(f->dir, true)); /* read-only: touches nothing */
        assert_int_equal(count_files(f->dir, ".amberfs/tmp"), 1);
        amber_store_free(open_store(f->dir, false));
        assert_int_equal(count_files(f->dir, ".amberfs/tmp"), 0);
    }
    put_and_die(f->dir, "put-linked");
    assert_true(holds(f->st, "d/x", "text"));
    assert_int_equal(count_files(f->dir, ".amberfs/tmp"), 0);
}

static void open_keeps_the_file_of_a_living_writer_and_foreign_files(void **state)
{
    struct fixture *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_put *p = NULL;

    assert_int_equal(amber_put_open(f->st, "x", &p, &err), AMBER_OK);
    assert_int_equal(amber_put_write(p, "alive", 5, &err), AMBER_OK);
    write_file(path_in(f->dir, ".amberfs/tmp/notes.txt"), "not ours");
    amber_store_free(open_store(f->dir, false));
    assert_int_equal(count_files(f->dir, ".amberfs/tmp"), 2);
    assert_int_equal(amber_put_commit(p, NULL, &err), AMBER_OK);
    assert_true(holds(f->st, "x", "alive"));
}

struct racer {
    struct amber_store *st;
    const char *own_key;
    atomic_int *n_won, *n_exists;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    enum amber_rc rc = put(r->st, "new/folder/same", r->own_key);

    if (rc == AMBER_OK)
        atomic_fetch_add(r->n_won, 1);
    else if (rc == AMBER_E_EXISTS)
        atomic_fetch_add(r->n_exists, 1);
    return (void *)(uintptr_t)put(r->st, r->own_key, r->own_key);
}

static void one_of_many_writers_of_a_key_wins(void **state)
{
    static const char *const keys[] = {"new/a", "new/b", "new/folder/c", "new/folder/d"};
    struct fixture *f = *state;
    atomic_int n_won = 0, n_exists = 0;
    struct racer racers[4];
    pthread_t threads[4];

    for (int i = 0; i < 4; i++) {
        racers[i] = (struct racer){f->st, keys[i], &n_won, &n_exists};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *rc;
        pthread_join(threads[i], &rc);
        assert_int_equal((uintptr_t)rc, AMBER_OK);
        assert_true(holds(f->st, keys[i], keys[i]));
    }
    assert_int_equal(atomic_load(&n_won), 1);
    assert_int_equal(atomic_load(&n_exists), 3);
    assert_int_equal(count_files(f->dir, ".amberfs/tmp"), 0);
}

/* ---- children with a failing kernel ---- */

static void check_child(pid_t pid)
{
    int status;

    assert_true(pid >= 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CANT_TRY) {
        print_message("this needs a mount namespace or seccomp, which isn't allowed here\n");
        skip();
    }
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* In a child: mount a file system over the folder, in a namespace that ends with the child. */
static void mount_here(const char *dir, const char *type, const char *options)
{
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount(type, dir, type, 0, options) < 0)
        _exit(CANT_TRY);
}

/* In a child: let one system call fail from here on. */
static void refuse_syscall(unsigned number, unsigned errnum)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | errnum),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = (unsigned short)amber_countof(code), .filter = code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        _exit(CANT_TRY);
}

static void full_disk_is_enospc_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    pid_t pid = fork();

    if (pid == 0) {
        mount_here(f->dir, "tmpfs", "size=1m");
        struct amber_store *st = open_store(f->dir, false);
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_put *p = NULL;
        static char half[600 * 1024];
        CHILD_CHECK(amber_put_open(st, "d/x", &p, &err) == AMBER_OK);
        CHILD_CHECK(amber_put_write(p, half, sizeof(half), &err) == AMBER_OK);
        CHILD_CHECK(amber_put_write(p, half, sizeof(half), &err) == AMBER_E_IO);
        CHILD_CHECK(err.sys_errno == ENOSPC && amber_err_errno(&err) == ENOSPC);
        /* A caller that commits all the same must not get a file with a hole. */
        CHILD_CHECK(amber_put_commit(p, NULL, &err) == AMBER_E_IO);
        CHILD_CHECK(stat_rc(st, "d/x") == AMBER_E_NOT_FOUND);
        CHILD_CHECK(count_files(f->dir, ".amberfs/tmp") == 0);
        CHILD_CHECK(put(st, "d/x", "fits") == AMBER_OK);
        _exit(0);
    }
    check_child(pid);
}

static void failed_fsync_is_io_with_errno_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    pid_t pid = fork();

    if (pid == 0) {
        struct amber_store *st = open_store(f->dir, false);
        struct amber_err err = AMBER_ERR_INIT;
        refuse_syscall(__NR_fsync, EIO);
        CHILD_CHECK(amber_store_put(st, "d/x", "text", 4, &err) == AMBER_E_IO);
        CHILD_CHECK(err.sys_errno == EIO);
        CHILD_CHECK(access(path_in(f->dir, "d"), F_OK) < 0); /* the file's fsync comes first */
        CHILD_CHECK(count_files(f->dir, ".amberfs/tmp") == 0);
        _exit(0);
    }
    check_child(pid);
}

static void put_without_renameat2_links_and_never_overwrites(void **state)
{
    struct fixture *f = *state;
    pid_t pid = fork();

    if (pid == 0) {
        struct amber_store *st = open_store(f->dir, false);
        refuse_syscall(__NR_renameat2, EINVAL);
        CHILD_CHECK(put(st, "d/x", "first") == AMBER_OK);
        CHILD_CHECK(put(st, "d/x", "second") == AMBER_E_EXISTS);
        CHILD_CHECK(holds(st, "d/x", "first"));
        CHILD_CHECK(count_files(f->dir, ".amberfs/tmp") == 0);
        _exit(0);
    }
    check_child(pid);
}

/* ---- reading ---- */

#define BIG (3U * 1024U * 1024U + 123U)

static unsigned char byte_at(uint64_t off)
{
    return (unsigned char)(off * 2654435761U >> 13);
}

static bool reads_right(struct amber_object *o, uint64_t off, size_t len)
{
    AMBER_AUTO_FREE unsigned char *buf = malloc(len);
    struct amber_err err = AMBER_ERR_INIT;

    if (!buf || amber_object_read(o, off, buf, len, &err) != AMBER_OK)
        return false;
    for (size_t i = 0; i < len; i++)
        if (buf[i] != byte_at(off + i))
            return false;
    return true;
}

static bool put_big(struct amber_store *st)
{
    AMBER_AUTO_FREE unsigned char *data = malloc(BIG);
    struct amber_err err = AMBER_ERR_INIT;

    for (size_t i = 0; data && i < BIG; i++)
        data[i] = byte_at(i);
    return data && amber_store_put(st, "big", data, BIG, &err) == AMBER_OK;
}

/* Read every kind of range; 0 or the number of the first wrong one. */
static int wrong_range(struct amber_store *st, int flags)
{
    static const struct {
        uint64_t off;
        size_t len;
    } ranges[] = {
        {0, 1},
        {0, 4096},
        {1, 4096},
        {4095, 2},
        {4096, 4096},
        {0, 1U << 20},
        {5, 1U << 20},
        {4095, (1U << 20) + 2},
        {0, BIG},
        {12345, BIG - 12345},
        {BIG - 1, 1},
        {BIG - 123, 123},
        {BIG - 124, 124},
        {BIG - 5000, 4999},
        {1U << 20, 1U << 20},
    };
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object *o = NULL;
    int wrong = 0;

    if (amber_object_open(st, "big", flags, &o, NULL, &err) != AMBER_OK)
        return -1;
    for (size_t i = 0; i < amber_countof(ranges) && !wrong; i++)
        if (!reads_right(o, ranges[i].off, ranges[i].len))
            wrong = (int)i + 1;
    amber_object_close(o);
    return wrong;
}

static void read_of_any_range_gives_its_bytes(void **state)
{
    struct fixture *f = *state;

    assert_true(put_big(f->st));
    assert_int_equal(wrong_range(f->st, AMBER_OPEN_CACHED), 0);
    assert_int_equal(wrong_range(f->st, AMBER_OPEN_MEDIUM), 0);
}

/* ramfs refuses unbuffered reads at open, so the other way to the medium is taken. */
static void read_from_medium_without_direct_io_gives_its_bytes(void **state)
{
    struct fixture *f = *state;
    pid_t pid = fork();

    if (pid == 0) {
        mount_here(f->dir, "ramfs", NULL);
        struct amber_store *st = open_store(f->dir, false);
        CHILD_CHECK(put_big(st));
        int fd = open(path_in(f->dir, "big"), O_RDONLY);
        CHILD_CHECK(fcntl(fd, F_SETFL, O_DIRECT) < 0);
        CHILD_CHECK(wrong_range(st, AMBER_OPEN_MEDIUM) == 0);
        _exit(0);
    }
    check_child(pid);
}

static void *read_all(void *arg)
{
    return (void *)(uintptr_t)!reads_right(arg, 0, BIG);
}

static void one_object_serves_many_threads(void **state)
{
    struct fixture *f = *state;
    static const int flags[] = {AMBER_OPEN_CACHED, AMBER_OPEN_MEDIUM};

    assert_true(put_big(f->st));
    for (size_t k = 0; k < 2; k++) {
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_object *o = NULL;
        pthread_t threads[3];
        assert_int_equal(amber_object_open(f->st, "big", flags[k], &o, NULL, &err), AMBER_OK);
        for (int i = 0; i < 3; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, read_all, o), 0);
        for (int i = 0; i < 3; i++) {
            void *wrong;
            pthread_join(threads[i], &wrong);
            assert_null(wrong);
        }
        amber_object_close(o);
    }
}

static void read_of_file_cut_after_open_is_corrupt(void **state)
{
    struct fixture *f = *state;
    static const int flags[] = {AMBER_OPEN_CACHED, AMBER_OPEN_MEDIUM};

    for (size_t k = 0; k < 2; k++) {
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_object *o = NULL;
        char key[16], buf[200] = {0};
        snprintf(key, sizeof(key), "cut%zu", k);
        assert_int_equal(amber_store_put(f->st, key, buf, 200, &err), AMBER_OK);
        assert_int_equal(amber_object_open(f->st, key, flags[k], &o, NULL, &err), AMBER_OK);
        assert_int_equal(truncate(path_in(f->dir, key), 100), 0);
        assert_int_equal(amber_object_read(o, 0, buf, 100, &err), AMBER_OK);
        assert_int_equal(amber_object_read(o, 0, buf, 101, &err), AMBER_E_CORRUPT);
        assert_int_equal(amber_object_read(o, 150, buf, 10, &err), AMBER_E_CORRUPT);
        amber_object_close(o);
    }
}

static void open_of_what_is_no_object_fails(void **state)
{
    struct fixture *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object *o = NULL;

    assert_int_equal(put(f->st, "d/x", "text"), AMBER_OK);
    assert_int_equal(mkfifo(path_in(f->dir, "pipe"), 0600), 0);
    assert_int_equal(amber_object_open(f->st, "d", 0, &o, NULL, &err), AMBER_E_NOT_FOUND);
    assert_int_equal(amber_object_open(f->st, "none", 0, &o, NULL, &err), AMBER_E_NOT_FOUND);
    assert_int_equal(amber_object_open(f->st, "none/x", 0, &o, NULL, &err), AMBER_E_NOT_FOUND);
    assert_int_equal(amber_object_open(f->st, "d/x/y", 0, &o, NULL, &err), AMBER_E_NOT_FOUND);
    assert_int_equal(amber_object_open(f->st, "pipe", 0, &o, NULL, &err), AMBER_E_INVALID);
    assert_int_equal(stat_rc(f->st, "d"), AMBER_E_NOT_FOUND);
    assert_int_equal(stat_rc(f->st, "pipe"), AMBER_E_INVALID);
    assert_null(o);
}

static void version_changes_with_the_object(void **state)
{
    struct fixture *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object_info before, after;

    assert_int_equal(put(f->st, "x", "text"), AMBER_OK);
    assert_int_equal(amber_store_stat(f->st, "x", &before, &err), AMBER_OK);
    assert_int_equal(truncate(path_in(f->dir, "x"), 3), 0);
    assert_int_equal(amber_store_stat(f->st, "x", &after, &err), AMBER_OK);
    assert_string_not_equal(before.version, after.version);
}

/* ---- staying inside ---- */

static void symbolic_links_are_never_followed(void **state)
{
    struct fixture *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object *o = NULL;
    char outside[TEMP_FOLDER_MAX];

    temp_folder_make(outside);
    write_file(path_in(outside, "secret"), "secret");
    assert_int_equal(symlink(outside, path_in(f->dir, "folder")), 0);
    assert_int_equal(symlink(path_in(outside, "secret"), path_in(f->dir, "file")), 0);
    assert_int_equal(symlink(path_in(outside, "made"), path_in(f->dir, "dangling")), 0);

    assert_int_equal(put(f->st, "d/x", "text"), AMBER_OK);
    assert_int_equal(symlink("d", path_in(f->dir, "inside")), 0);

    assert_int_equal(amber_object_open(f->st, "inside/x", 0, &o, NULL, &err), AMBER_E_DENIED);
    assert_int_equal(amber_object_open(f->st, "folder/secret", 0, &o, NULL, &err), AMBER_E_DENIED);
    assert_int_equal(amber_object_open(f->st, "file", 0, &o, NULL, &err), AMBER_E_DENIED);
    assert_non_null(strstr(err.text, "symbolic link"));
    assert_int_equal(stat_rc(f->st, "file"), AMBER_E_DENIED);
    assert_int_equal(stat_rc(f->st, "folder/secret"), AMBER_E_DENIED);
    assert_int_equal(put(f->st, "folder/new", "x"), AMBER_E_DENIED);
    assert_int_equal(put(f->st, "folder/sub/new", "x"), AMBER_E_DENIED);
    assert_int_equal(put(f->st, "dangling", "x"), AMBER_E_EXISTS);
    assert_int_equal(amber_store_remove(f->st, "folder/secret", &err), AMBER_E_DENIED);
    assert_int_equal(amber_store_remove(f->st, "file", &err), AMBER_E_DENIED);
    assert_int_equal(count_files(outside, ""), 1);
    temp_folder_remove(outside);
}

/* Old kernels and some containers: the walk part by part is just as strict. */
static void without_openat2_the_same_is_read_and_refused(void **state)
{
    struct fixture *f = *state;
    char outside[TEMP_FOLDER_MAX];

    temp_folder_make(outside);
    write_file(path_in(outside, "secret"), "secret");
    assert_int_equal(symlink(outside, path_in(f->dir, "folder")), 0);
    assert_int_equal(symlink(path_in(outside, "secret"), path_in(f->dir, "file")), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct amber_store *st = open_store(f->dir, false);
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_object *o = NULL;
        refuse_syscall(__NR_openat2, ENOSYS);
        CHILD_CHECK(put(st, "d/e/x", "text") == AMBER_OK);
        CHILD_CHECK(holds(st, "d/e/x", "text"));
        CHILD_CHECK(stat_rc(st, "d/e/nothing") == AMBER_E_NOT_FOUND);
        CHILD_CHECK(amber_object_open(st, "folder/secret", 0, &o, NULL, &err) == AMBER_E_DENIED);
        CHILD_CHECK(amber_object_open(st, "file", 0, &o, NULL, &err) == AMBER_E_DENIED);
        _exit(0);
    }
    check_child(pid);
    temp_folder_remove(outside);
}

static void symbolic_link_as_temporary_folder_is_refused(void **state)
{
    struct fixture *f = *state;
    char outside[TEMP_FOLDER_MAX];

    temp_folder_make(outside);
    assert_int_equal(mkdir(path_in(f->dir, ".amberfs"), 0755), 0);
    assert_int_equal(symlink(outside, path_in(f->dir, ".amberfs/tmp")), 0);
    assert_int_equal(put(f->st, "x", "text"), AMBER_E_DENIED);
    write_file(path_in(outside, "00000000-0000-4000-8000-000000000000"), "not ours");
    amber_store_free(open_store(f->dir, false));
    assert_int_equal(count_files(outside, ""), 1);
    temp_folder_remove(outside);
}

static void store_stays_with_its_folder_when_another_takes_the_path(void **state)
{
    struct fixture *f = *state;
    char moved[TEMP_FOLDER_MAX + 8];
    int fd = open(f->dir, O_PATH | O_DIRECTORY);
    struct amber_store_config cfg = {.type = "local", .dir_fd = fd};
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_store *by_fd = NULL;

    snprintf(moved, sizeof(moved), "%s.moved", f->dir);
    assert_int_equal(rename(f->dir, moved), 0);
    assert_int_equal(mkdir(f->dir, 0755), 0);
    assert_int_equal(amber_store_open(&cfg, &by_fd, &err), AMBER_OK);
    close(fd); /* the store has its own */
    assert_int_equal(put(f->st, "x", "by path"), AMBER_OK);
    assert_true(holds(by_fd, "x", "by path"));
    assert_int_equal(put(by_fd, "y", "by descriptor"), AMBER_OK);
    assert_int_equal(count_files(f->dir, ""), 0);
    assert_int_equal(count_files(moved, ""), 2);
    amber_store_free(by_fd);
    temp_folder_remove(moved);
}

/* ---- listing ---- */

struct listed {
    char keys[1000];
    int n;
    uint64_t bytes;
    int fail_at;
};

static enum amber_rc add_listed(void *arg, const char *key, const struct amber_object_info *info,
                                struct amber_err *err)
{
    struct listed *l = arg;

    if (++l->n == l->fail_at)
        return amber_fail(err, AMBER_E_CANCELED, "enough");
    l->bytes += info->size;
    strcat(strcat(l->keys, key), " ");
    return AMBER_OK;
}

static struct listed list(struct amber_store *st, const char *prefix)
{
    struct listed l = {0};
    struct amber_err err = AMBER_ERR_INIT;

    if (amber_store_list(st, prefix, add_listed, &l, &err) != AMBER_OK)
        fail_msg("%s", err.text);
    return l;
}

static void list_gives_objects_only(void **state)
{
    struct fixture *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_put *p = NULL;

    assert_int_equal(put(f->st, "top", "1"), AMBER_OK);
    assert_int_equal(put(f->st, "d/a", "22"), AMBER_OK);
    assert_int_equal(put(f->st, "d/e/b", "333"), AMBER_OK);
    assert_int_equal(put(f->st, ".amberfs/commits/r.json", "4444"), AMBER_OK);
    assert_int_equal(mkdir(path_in(f->dir, "empty"), 0755), 0);
    assert_int_equal(mkdir(path_in(f->dir, "lost+found"), 0), 0);
    assert_int_equal(symlink("top", path_in(f->dir, "link")), 0);
    assert_int_equal(mkfifo(path_in(f->dir, "pipe"), 0600), 0);
    assert_int_equal(amber_put_open(f->st, "unfinished", &p, &err), AMBER_OK);

    struct listed all = list(f->st, "");
    assert_int_equal(all.n, 3);
    assert_int_equal(all.bytes, 6);
    assert_non_null(strstr(all.keys, "top "));
    assert_non_null(strstr(all.keys, "d/a "));
    assert_non_null(strstr(all.keys, "d/e/b "));
    assert_null(strstr(all.keys, ".amberfs")); /* by its own name only, below */
    assert_int_equal(list(f->st, "d").n, 2);
    assert_string_equal(list(f->st, "d/e").keys, "d/e/b ");
    assert_string_equal(list(f->st, ".amberfs").keys, ".amberfs/commits/r.json ");
    assert_int_equal(list(f->st, "empty").n, 0);
    assert_int_equal(list(f->st, "none/at/all").n, 0);
    assert_int_equal(list(f->st, "top").n, 0); /* an object is no prefix of itself */
    amber_put_abort(p);
}

static void list_ends_with_the_callers_failure(void **state)
{
    struct fixture *f = *state;
    struct listed l = {.fail_at = 2};
    struct amber_err err = AMBER_ERR_INIT;

    assert_int_equal(put(f->st, "d/a", "1"), AMBER_OK);
    assert_int_equal(put(f->st, "d/b", "1"), AMBER_OK);
    assert_int_equal(put(f->st, "c", "1"), AMBER_OK);
    assert_int_equal(amber_store_list(f->st, "", add_listed, &l, &err), AMBER_E_CANCELED);
    assert_string_equal(err.text, "enough");
    assert_int_equal(l.n, 2);
}

/* ---- the rest ---- */

static void remove_takes_the_object_only(void **state)
{
    struct fixture *f = *state;
    struct amber_err err = AMBER_ERR_INIT;

    assert_int_equal(put(f->st, "d/x", "1"), AMBER_OK);
    assert_int_equal(amber_store_remove(f->st, "d", &err), AMBER_E_NOT_FOUND);
    assert_int_equal(amber_store_remove(f->st, "d/x", &err), AMBER_OK);
    assert_int_equal(amber_store_remove(f->st, "d/x", &err), AMBER_E_NOT_FOUND);
    assert_int_equal(put(f->st, "d/x", "2"), AMBER_OK);
    assert_true(holds(f->st, "d/x", "2"));
}

static void read_only_store_reads_and_refuses_changes(void **state)
{
    struct fixture *f = *state;
    struct amber_err err = AMBER_ERR_INIT;

    assert_int_equal(put(f->st, "x", "text"), AMBER_OK);
    struct amber_store *ro = open_store(f->dir, true);
    assert_true(holds(ro, "x", "text"));
    assert_int_equal(put(ro, "y", "1"), AMBER_E_DENIED);
    assert_int_equal(amber_store_put(ro, "y", "1", 1, &err), AMBER_E_DENIED);
    assert_int_equal(amber_err_errno(&err), EROFS);
    assert_int_equal(amber_store_remove(ro, "x", &err), AMBER_E_DENIED);
    assert_true(holds(ro, "x", "text"));
    amber_store_free(ro);
}

static enum amber_rc open_rc(const char *path, bool create)
{
    struct amber_store_config cfg = {.type = "local", .path = path, .dir_fd = -1, .create = create};
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_store *st = NULL;
    enum amber_rc rc = amber_store_open(&cfg, &st, &err);

    assert_true((rc == AMBER_OK) == (st != NULL));
    amber_store_free(st);
    return rc;
}

static void open_makes_the_folder_only_if_wished(void **state)
{
    struct fixture *f = *state;
    const char *path = path_in(f->dir, "data//archives/");

    assert_int_equal(open_rc(path, false), AMBER_E_NOT_FOUND);
    assert_int_equal(open_rc(path, true), AMBER_OK);
    assert_int_equal(open_rc(path, true), AMBER_OK);
    assert_int_equal(open_rc(path, false), AMBER_OK);
    write_file(path_in(f->dir, "file"), "x");
    assert_int_not_equal(open_rc(path_in(f->dir, "file"), true), AMBER_OK);
    assert_int_not_equal(open_rc(path_in(f->dir, "file/below"), true), AMBER_OK);
    assert_int_equal(open_rc("", true), AMBER_E_INVALID);
    assert_int_equal(open_rc(NULL, true), AMBER_E_INVALID);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(put_of_new_key_is_readable_and_leaves_no_temporary_file),
        TEST(put_of_taken_key_is_exists_and_overwrites_nothing),
        TEST(replace_takes_the_place_in_one_step),
        TEST(replace_that_fails_leaves_one_of_both_whole),
        TEST(put_below_a_file_fails),
        TEST(abort_leaves_nothing),
        TEST(failed_step_of_commit_leaves_nothing_and_second_put_works),
        TEST(killed_writer_leaves_no_object_and_its_file_is_cleaned_at_open),
        TEST(open_keeps_the_file_of_a_living_writer_and_foreign_files),
        TEST(one_of_many_writers_of_a_key_wins),
        TEST(full_disk_is_enospc_and_leaves_nothing),
        TEST(failed_fsync_is_io_with_errno_and_leaves_nothing),
        TEST(put_without_renameat2_links_and_never_overwrites),
        TEST(read_of_any_range_gives_its_bytes),
        TEST(read_from_medium_without_direct_io_gives_its_bytes),
        TEST(one_object_serves_many_threads),
        TEST(read_of_file_cut_after_open_is_corrupt),
        TEST(open_of_what_is_no_object_fails),
        TEST(version_changes_with_the_object),
        TEST(symbolic_links_are_never_followed),
        TEST(without_openat2_the_same_is_read_and_refused),
        TEST(symbolic_link_as_temporary_folder_is_refused),
        TEST(store_stays_with_its_folder_when_another_takes_the_path),
        TEST(list_gives_objects_only),
        TEST(list_ends_with_the_callers_failure),
        TEST(remove_takes_the_object_only),
        TEST(read_only_store_reads_and_refuses_changes),
        TEST(open_makes_the_folder_only_if_wished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
