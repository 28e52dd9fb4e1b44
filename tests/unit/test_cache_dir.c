/*
 * test_cache_dir.c - a folder that may go at any time, is ours alone, and stays within its bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "amber/cache_dir.h"
#include "temp_folder.h"

struct fx {
    char top[TEMP_FOLDER_MAX];
    char path[TEMP_FOLDER_MAX + 32]; /* the cache folder, not made yet */
    struct amber_cache_dir *dir;
};

static int setup(void **state)
{
    static struct fx f;

    f = (struct fx){0};
    temp_folder_make(f.top);
    snprintf(f.path, sizeof(f.path), "%s/a/cache", f.top);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fx *f = *state;

    amber_cache_dir_free(f->dir);
    temp_folder_remove(f->top);
    return 0;
}

static void open_dir(struct fx *f)
{
    struct amber_err err = AMBER_ERR_INIT;

    if (amber_cache_dir_open(f->path, &f->dir, &err))
        fail_msg("%s", err.text);
}

static void put(struct fx *f, const char *name, const char *text)
{
    struct amber_err err = AMBER_ERR_INIT;

    if (amber_cache_dir_put(f->dir, name, text, strlen(text), &err))
        fail_msg("%s", err.text);
}

static enum amber_rc get(struct fx *f, const char *name, char *out, size_t size)
{
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(64);
    enum amber_rc rc = amber_cache_dir_get(f->dir, name, &text, &err);

    snprintf(out, size, "%s", rc ? "" : text.data);
    return rc;
}

static void assert_text(struct fx *f, const char *name, const char *expected)
{
    char is[65];

    assert_int_equal(get(f, name, is, sizeof(is)), AMBER_OK);
    assert_string_equal(is, expected);
}

static mode_t mode_of(const char *path)
{
    struct stat sb;

    assert_int_equal(stat(path, &sb), 0);
    return sb.st_mode & 0777;
}

static void open_missing_folder_makes_it_ours_alone(void **state)
{
    struct fx *f = *state;
    char file[256];

    open_dir(f);
    assert_int_equal(mode_of(f->path), 0700);
    put(f, "blocks/ab/abc", "x");
    snprintf(file, sizeof(file), "%s/blocks/ab/abc", f->path);
    assert_int_equal(mode_of(file), 0600);
    assert_string_equal(amber_cache_dir_path(f->dir), f->path);
}

static void open_writable_by_others_denied(void **state)
{
    struct fx *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    static const mode_t modes[] = {0770, 0702};

    open_dir(f);
    for (size_t i = 0; i < amber_countof(modes); i++) {
        struct amber_cache_dir *second = NULL;
        assert_int_equal(chmod(f->path, modes[i]), 0);
        assert_int_equal(amber_cache_dir_open(f->path, &second, &err), AMBER_E_DENIED);
        assert_non_null(strstr(err.text, "ARCHIVAL_CACHE_PATH"));
        /* One that was opened before isn't trusted any longer either. */
        assert_int_equal(amber_cache_dir_put(f->dir, "x", "x", 1, &err), AMBER_E_DENIED);
    }
    assert_int_equal(chmod(f->path, 0755), 0);
    put(f, "x", "x");
}

static void open_somebody_elses_denied(void **state)
{
    struct fx *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_cache_dir *d = NULL;
    const char *foreign = geteuid() == 0 ? f->top : "/usr";

    if (geteuid() == 0)
        assert_int_equal(chown(f->top, 1, 1), 0);
    assert_int_equal(amber_cache_dir_open(foreign, &d, &err), AMBER_E_DENIED);
    assert_null(d);
}

static void open_relative_or_file_invalid(void **state)
{
    struct fx *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_cache_dir *d = NULL;

    assert_int_equal(amber_cache_dir_open("cache", &d, &err), AMBER_E_INVALID);
    open_dir(f);
    put(f, "file", "x");
    strcat(f->path, "/file");
    assert_int_equal(amber_cache_dir_open(f->path, &d, &err), AMBER_E_INVALID);
}

static void put_replaces_and_remove_removes(void **state)
{
    struct fx *f = *state;
    char is[65];

    open_dir(f);
    assert_int_equal(get(f, "blocks/k", is, sizeof(is)), AMBER_E_NOT_FOUND);
    put(f, "blocks/k", "one");
    put(f, "blocks/k", "second");
    assert_text(f, "blocks/k", "second");
    amber_cache_dir_remove(f->dir, "blocks/k");
    amber_cache_dir_remove(f->dir, "blocks/k");
    assert_int_equal(get(f, "blocks/k", is, sizeof(is)), AMBER_E_NOT_FOUND);
}

static void get_larger_than_ceiling_limit(void **state)
{
    struct fx *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(4);

    open_dir(f);
    put(f, "k", "12345");
    assert_int_equal(amber_cache_dir_get(f->dir, "k", &text, &err), AMBER_E_LIMIT);
    assert_int_equal(text.len, 0);
}

static void read_other_size_corrupt(void **state)
{
    struct fx *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    char buf[8];

    open_dir(f);
    put(f, "k", "12345");
    assert_int_equal(amber_cache_dir_read(f->dir, "k", buf, 5, &err), AMBER_OK);
    assert_memory_equal(buf, "12345", 5);
    assert_int_equal(amber_cache_dir_read(f->dir, "k", buf, 6, &err), AMBER_E_CORRUPT);
    assert_int_equal(amber_cache_dir_read(f->dir, "k", buf, 4, &err), AMBER_E_CORRUPT);
}

static void folder_deleted_meanwhile_is_made_anew(void **state)
{
    struct fx *f = *state;
    char is[65];
    uint64_t left;
    struct amber_err err = AMBER_ERR_INIT;

    open_dir(f);
    put(f, "blocks/k", "one");
    temp_folder_remove(f->path);
    assert_int_equal(get(f, "blocks/k", is, sizeof(is)), AMBER_E_NOT_FOUND);
    put(f, "blocks/k", "two");
    assert_text(f, "blocks/k", "two");
    temp_folder_remove(f->path);
    assert_int_equal(amber_cache_dir_trim(f->dir, "blocks", 0, 0, &left, &err), AMBER_OK);
    assert_int_equal(left, 0);
}

/* A write that fails half-way leaves the old content and no other file. */
static void put_no_room_leaves_nothing(void **state)
{
    struct fx *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    static char big[100000];
    struct rlimit old, small;
    uint64_t left;

    open_dir(f);
    put(f, "blocks/k", "one");
    getrlimit(RLIMIT_FSIZE, &old);
    small = (struct rlimit){50000, old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum amber_rc rc = amber_cache_dir_put(f->dir, "blocks/k", big, sizeof(big), &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(rc, AMBER_E_LIMIT);
    assert_int_equal(err.sys_errno, EFBIG);
    assert_text(f, "blocks/k", "one");
    assert_int_equal(amber_cache_dir_trim(f->dir, "blocks", 8192, 8192, &left, &err), AMBER_OK);
    assert_int_equal(left, 4096); /* a small file takes a block */
}

static void set_used(struct fx *f, const char *name, time_t when)
{
    struct timespec t[2] = {{.tv_sec = when}, {.tv_nsec = UTIME_OMIT}};
    char file[256];

    snprintf(file, sizeof(file), "%s/%s", f->path, name);
    assert_int_equal(utimensat(AT_FDCWD, file, t, 0), 0);
}

static void trim_removes_least_recently_used(void **state)
{
    struct fx *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    char is[65];
    uint64_t left;

    open_dir(f);
    put(f, "blocks/a/1", "1234567890");
    put(f, "blocks/b/2", "1234567890");
    put(f, "blocks/a/3", "1234567890");
    put(f, "other", "1234567890");
    set_used(f, "blocks/a/1", 1000);
    set_used(f, "blocks/b/2", 2000);
    set_used(f, "blocks/a/3", 3000);
    assert_text(f, "blocks/a/1", "1234567890"); /* used now */
    assert_int_equal(amber_cache_dir_trim(f->dir, "blocks", 12287, 8192, &left, &err), AMBER_OK);
    assert_int_equal(left, 8192);
    assert_int_equal(get(f, "blocks/b/2", is, sizeof(is)), AMBER_E_NOT_FOUND);
    assert_int_equal(amber_cache_dir_trim(f->dir, "blocks", 8192, 0, &left, &err), AMBER_OK);
    assert_int_equal(left, 8192);
    assert_int_equal(amber_cache_dir_trim(f->dir, "blocks", 8191, 8191, &left, &err), AMBER_OK);
    assert_int_equal(left, 4096);
    assert_text(f, "blocks/a/1", "1234567890");
    assert_int_equal(get(f, "blocks/a/3", is, sizeof(is)), AMBER_E_NOT_FOUND);
    assert_text(f, "other", "1234567890");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(open_missing_folder_makes_it_ours_alone),
        T(open_writable_by_others_denied),
        T(open_somebody_elses_denied),
        T(open_relative_or_file_invalid),
        T(put_replaces_and_remove_removes),
        T(get_larger_than_ceiling_limit),
        T(read_other_size_corrupt),
        T(folder_deleted_meanwhile_is_made_anew),
        T(put_no_room_leaves_nothing),
        T(trim_removes_least_recently_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
