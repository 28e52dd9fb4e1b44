/*
 * test_store_fault.c - the fault decorator, and a sweep that fails each operation of an object's
 * life in turn: the code comes back, nothing half done stays, and the second try works.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <cmocka.h>

#include "amber/store.h"
#include "temp_folder.h"

struct fixture {
    char dir[TEMP_FOLDER_MAX];
    struct amber_store *st; /* the decorator */
    struct amber_fault_plan plan;
};

static int setup(void **state)
{
    static struct fixture f;
    struct amber_store *inner = NULL;
    struct amber_err err = AMBER_ERR_INIT;

    temp_folder_make(f.dir);
    f.plan = (struct amber_fault_plan){.code = AMBER_E_IO};
    struct amber_store_config cfg = {.type = "local", .path = f.dir, .dir_fd = -1};
    *state = &f;
    return amber_store_open(&cfg, &inner, &err) ||
                   amber_store_fault_new(inner, &f.plan, &f.st, &err)
               ? -1
               : 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    amber_store_free(f->st);
    temp_folder_remove(f->dir);
    return 0;
}

static int count_tmp(const struct fixture *f)
{
    char path[TEMP_FOLDER_MAX + 32];
    struct dirent *e;
    int n = 0;

    snprintf(path, sizeof(path), "%s/.amberfs/tmp", f->dir);
    DIR *d = opendir(path);
    while (d && (e = readdir(d)))
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

static enum amber_rc count_key(void *arg, const char *key, const struct amber_object_info *info,
                               struct amber_err *err)
{
    (void)key;
    (void)info;
    (void)err;
    ++*(int *)arg;
    return AMBER_OK;
}

static enum amber_rc write_object(struct amber_store *st, struct amber_err *err)
{
    struct amber_put *p = NULL;
    enum amber_rc rc = amber_put_open(st, "d/x", &p, err);

    if (rc)
        return rc;
    for (int i = 0; i < 3 && !rc; i++)
        rc = amber_put_write(p, "abc", 3, err);
    if (!rc)
        return amber_put_commit(p, NULL, err);
    amber_put_abort(p);
    return rc;
}

/* All operations once: put_open, three put_writes, put_commit, stat, list, open, read, remove. */
static enum amber_rc live(struct amber_store *st, struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(100);
    struct amber_object_info info;
    int n = 0;

    enum amber_rc rc = write_object(st, err);
    if (!rc)
        rc = amber_store_stat(st, "d/x", &info, err);
    if (!rc)
        rc = amber_store_list(st, "", count_key, &n, err);
    if (!rc)
        rc = amber_store_get(st, "d/x", &b, err);
    if (!rc && (info.size != 9 || n != 1 || strcmp(b.data, "abcabcabc") != 0))
        rc = amber_fail(err, AMBER_E_CORRUPT, "wrong object");
    if (!rc)
        rc = amber_store_remove(st, "d/x", err);
    return rc;
}

static void failing_each_operation_in_turn_leaves_nothing_half_done(void **state)
{
    struct fixture *f = *state;

    for (unsigned nth = 1;; nth++) {
        struct amber_err err = AMBER_ERR_INIT;
        f->plan = (struct amber_fault_plan){.fail_nth = nth, .code = AMBER_E_NET};
        enum amber_rc rc = live(f->st, &err);
        if (rc == AMBER_OK) {
            assert_int_equal(nth, 11);
            assert_int_equal(f->plan.n_ops, 10);
            return;
        }
        assert_int_equal(rc, AMBER_E_NET);
        assert_int_equal(err.code, AMBER_E_NET);
        assert_int_equal(f->plan.n_ops, nth);
        assert_int_equal(count_tmp(f), 0);

        f->plan = (struct amber_fault_plan){0};
        int n = 0;
        assert_int_equal(amber_store_list(f->st, "", count_key, &n, &err), AMBER_OK);
        assert_int_equal(n, nth <= 5 ? 0 : 1); /* whole from the commit on, or not there */
        if (n > 0)
            assert_int_equal(amber_store_remove(f->st, "d/x", &err), AMBER_OK);
        assert_int_equal(live(f->st, &err), AMBER_OK);
    }
}

static void failed_get_changes_nothing(void **state)
{
    struct fixture *f = *state;
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(100);
    struct amber_err err = AMBER_ERR_INIT;

    assert_int_equal(amber_store_put(f->st, "x", "text", 4, &err), AMBER_OK);
    assert_int_equal(amber_buf_puts(&b, "before", &err), AMBER_OK);
    f->plan = (struct amber_fault_plan){.fail_nth = 2, .code = AMBER_E_TIMEOUT};
    assert_int_equal(amber_store_get(f->st, "x", &b, &err), AMBER_E_TIMEOUT);
    assert_string_equal(b.data, "before");
    assert_int_equal(b.len, 6);
}

static void flip_bit_changes_one_bit_of_the_nth_read(void **state)
{
    struct fixture *f = *state;
    struct amber_object *o = NULL;
    struct amber_err err = AMBER_ERR_INIT;
    char zeros[64] = {0}, buf[64];

    assert_int_equal(amber_store_put(f->st, "x", zeros, sizeof(zeros), &err), AMBER_OK);
    assert_int_equal(amber_object_open(f->st, "x", 0, &o, NULL, &err), AMBER_OK);
    f->plan = (struct amber_fault_plan){.fail_nth = 2, .flip_bit = true};
    for (int i = 1; i <= 3; i++) {
        int bits = 0;
        assert_int_equal(amber_object_read(o, 0, buf, sizeof(buf), &err), AMBER_OK);
        for (size_t k = 0; k < sizeof(buf); k++)
            bits += __builtin_popcount((unsigned char)buf[k]);
        assert_int_equal(bits, i == 2 ? 1 : 0);
    }
    amber_object_close(o);
}

static void traits_are_those_of_the_inner_store(void **state)
{
    struct fixture *f = *state;

    assert_string_equal(amber_store_traits(f->st)->scheme, "local");
    assert_true(amber_store_traits(f->st)->can_remove);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(failing_each_operation_in_turn_leaves_nothing_half_done),
        TEST(failed_get_changes_nothing),
        TEST(flip_bit_changes_one_bit_of_the_nth_read),
        TEST(traits_are_those_of_the_inner_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
