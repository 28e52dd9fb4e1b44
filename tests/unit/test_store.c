/*
 * test_store.c - what the wrappers check for every driver: keys, types, ranges, whole objects.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "amber/store.h"
#include "temp_folder.h"

struct fixture {
    char dir[TEMP_FOLDER_MAX];
    struct amber_store *st;
};

static int setup(void **state)
{
    static struct fixture f;
    struct amber_err err = AMBER_ERR_INIT;

    temp_folder_make(f.dir);
    struct amber_store_config cfg = {.type = "local", .path = f.dir, .dir_fd = -1};
    *state = &f;
    return amber_store_open(&cfg, &f.st, &err) == AMBER_OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    amber_store_free(f->st);
    temp_folder_remove(f->dir);
    return 0;
}

static enum amber_rc check(const char *key)
{
    struct amber_err err = AMBER_ERR_INIT;

    return amber_key_check(key, &err);
}

static void key_check_of_good_keys_is_ok(void **state)
{
    char longest[AMBER_KEY_MAX + 1];

    (void)state;
    assert_int_equal(check("a"), AMBER_OK);
    assert_int_equal(check("flow_logs/flow_logs_2024-01-01_to_2024-03-31.json.gz"), AMBER_OK);
    assert_int_equal(check(".amberfs/store.json"), AMBER_OK);
    assert_int_equal(check(".amberfs/tmpfile"), AMBER_OK);
    assert_int_equal(check("a/...b/c."), AMBER_OK);
    assert_int_equal(check("\xC3\xA4 b%2F\\"), AMBER_OK);
    for (size_t i = 0; i < AMBER_KEY_MAX; i++)
        longest[i] = i % 200 == 199 && i < AMBER_KEY_MAX - 1 ? '/' : 'k';
    longest[AMBER_KEY_MAX] = '\0';
    assert_int_equal(check(longest), AMBER_OK);
}

static void key_check_of_bad_keys_is_invalid(void **state)
{
    static const char *const wrong[] = {
        "",      "/",           "/a",  "a/",           "a//b",           ".", "..", "../a", "a/..",
        "a/./b", "a/../../etc", "./a", ".amberfs/tmp", ".amberfs/tmp/x",
    };
    char component[257 + 1], key[AMBER_KEY_MAX + 2];

    (void)state;
    for (size_t i = 0; i < amber_countof(wrong); i++)
        if (check(wrong[i]) != AMBER_E_INVALID)
            fail_msg("\"%s\" was taken for a key", wrong[i]);
    memset(component, 'c', sizeof(component));
    component[256] = '\0';
    assert_int_equal(check(component), AMBER_E_INVALID);
    component[255] = '\0';
    assert_int_equal(check(component), AMBER_OK);
    for (size_t i = 0; i <= AMBER_KEY_MAX; i++)
        key[i] = i % 2 ? '/' : 'k';
    key[AMBER_KEY_MAX + 1] = '\0';
    assert_int_equal(check(key), AMBER_E_INVALID);
}

static void every_call_with_bad_key_is_invalid(void **state)
{
    struct fixture *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object *o = NULL;
    struct amber_object_info info;
    struct amber_put *p = NULL;
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(100);
    const char *key = "../../etc/passwd";

    assert_int_equal(amber_object_open(f->st, key, 0, &o, NULL, &err), AMBER_E_INVALID);
    assert_int_equal(amber_store_stat(f->st, key, &info, &err), AMBER_E_INVALID);
    assert_int_equal(amber_store_list(f->st, key, NULL, NULL, &err), AMBER_E_INVALID);
    assert_int_equal(amber_put_open(f->st, key, &p, &err), AMBER_E_INVALID);
    assert_int_equal(amber_store_get(f->st, key, &b, &err), AMBER_E_INVALID);
    assert_int_equal(amber_store_put(f->st, key, "x", 1, &err), AMBER_E_INVALID);
    assert_int_equal(amber_store_remove(f->st, key, &err), AMBER_E_INVALID);
    assert_null(o);
    assert_null(p);
}

static void open_with_unknown_type_is_invalid(void **state)
{
    struct amber_store_config cfg = {.type = "ftp", .path = "/", .dir_fd = -1};
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_store *st = NULL;

    (void)state;
    assert_int_equal(amber_store_open(&cfg, &st, &err), AMBER_E_INVALID);
    assert_null(st);
}

static void get_appends_and_respects_the_ceiling(void **state)
{
    struct fixture *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(12);

    assert_int_equal(amber_store_put(f->st, "d/x", "12345", 5, &err), AMBER_OK);
    assert_int_equal(amber_store_put(f->st, "d/empty", "", 0, &err), AMBER_OK);
    assert_int_equal(amber_buf_puts(&b, "a:", &err), AMBER_OK);
    assert_int_equal(amber_store_get(f->st, "d/x", &b, &err), AMBER_OK);
    assert_int_equal(amber_store_get(f->st, "d/empty", &b, &err), AMBER_OK);
    assert_int_equal(amber_store_get(f->st, "d/x", &b, &err), AMBER_OK);
    assert_string_equal(b.data, "a:1234512345");
    assert_int_equal(amber_store_get(f->st, "d/x", &b, &err), AMBER_E_LIMIT);
    assert_string_equal(b.data, "a:1234512345");
    assert_int_equal(amber_store_get(f->st, "d/empty", &b, &err), AMBER_OK);
    assert_int_equal(amber_store_get(f->st, "d/none", &b, &err), AMBER_E_NOT_FOUND);
}

static void read_past_the_end_is_corrupt(void **state)
{
    struct fixture *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object *o = NULL;
    struct amber_object_info info;
    char buf[16];

    assert_int_equal(amber_store_put(f->st, "x", "12345", 5, &err), AMBER_OK);
    assert_int_equal(amber_object_open(f->st, "x", 0, &o, &info, &err), AMBER_OK);
    assert_int_equal(info.size, 5);
    assert_int_equal(amber_object_read(o, 2, buf, 3, &err), AMBER_OK);
    assert_memory_equal(buf, "345", 3);
    assert_int_equal(amber_object_read(o, 5, buf, 0, &err), AMBER_OK);
    assert_int_equal(amber_object_read(o, 2, buf, 4, &err), AMBER_E_CORRUPT);
    assert_int_equal(amber_object_read(o, 6, buf, 0, &err), AMBER_E_CORRUPT);
    assert_int_equal(amber_object_read(o, UINT64_MAX, buf, 2, &err), AMBER_E_CORRUPT);
    amber_object_close(o);
}

static void free_and_close_of_null_do_nothing(void **state)
{
    (void)state;
    amber_store_free(NULL);
    amber_object_close(NULL);
    amber_put_abort(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_check_of_good_keys_is_ok),
        cmocka_unit_test(key_check_of_bad_keys_is_invalid),
        cmocka_unit_test_setup_teardown(every_call_with_bad_key_is_invalid, setup, teardown),
        cmocka_unit_test(open_with_unknown_type_is_invalid),
        cmocka_unit_test_setup_teardown(get_appends_and_respects_the_ceiling, setup, teardown),
        cmocka_unit_test_setup_teardown(read_past_the_end_is_corrupt, setup, teardown),
        cmocka_unit_test(free_and_close_of_null_do_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
