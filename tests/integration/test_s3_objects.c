/*
 * test_s3_objects.c - the S3 driver's operations against a real server: objects small and large,
 * names that are taken, every printable byte in a key, uploads that were left, more objects than a
 * page has.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "amber/log.h"
#include "amber/store.h"

#define LARGE_BYTES ((20U << 20) + 12345U) /* three parts */
#define WRITE_BYTES 100000U
#define MANY 1100 /* more than the 1,000 of a page */

static struct amber_store *st;
static char *bytes; /* LARGE_BYTES that don't repeat */

static void must(enum amber_rc rc, const struct amber_err *err)
{
    if (rc)
        fail_msg("%s", err->text);
}

static void config(struct amber_store_config *cfg, struct amber_s3_config *s3, char path[256])
{
    snprintf(path, 256, "s3://%s/objects", getenv("S3_BUCKET"));
    *s3 = (struct amber_s3_config){.region = "us-east-1",
                                   .endpoint = getenv("S3_ENDPOINT"),
                                   .access_key_id = getenv("S3_ACCESS_KEY"),
                                   .secret_access_key = getenv("S3_SECRET_KEY")};
    *cfg = (struct amber_store_config){.type = "s3", .path = path, .s3 = s3, .dir_fd = -1};
}

static int start(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_store_config cfg;
    struct amber_s3_config s3;
    char path[256];
    (void)state;
    config(&cfg, &s3, path);
    bytes = malloc(LARGE_BYTES);
    if (!bytes)
        return -1;
    srandom(1);
    for (size_t i = 0; i < LARGE_BYTES; i++)
        bytes[i] = (char)random();
    return amber_store_open(&cfg, &st, &err) ? -1 : 0;
}

static int stop(void **state)
{
    (void)state;
    amber_store_free(st);
    free(bytes);
    return 0;
}

static struct amber_put *put_start(const char *key, size_t len)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_put *p = NULL;
    must(amber_put_open(st, key, &p, &err), &err);
    for (size_t i = 0; i < len; i += WRITE_BYTES)
        must(amber_put_write(p, bytes + i, len - i < WRITE_BYTES ? len - i : WRITE_BYTES, &err),
             &err);
    return p;
}

static void assert_content(const char *key, size_t len)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object_info info;
    struct amber_object *o = NULL;
    AMBER_AUTO_FREE char *got = malloc(len + 1);
    assert_non_null(got);
    must(amber_object_open(st, key, AMBER_OPEN_MEDIUM, &o, &info, &err), &err);
    assert_int_equal(info.size, len);
    for (size_t i = 0; i < len; i += WRITE_BYTES)
        must(amber_object_read(o, i, got + i, len - i < WRITE_BYTES ? len - i : WRITE_BYTES, &err),
             &err);
    assert_memory_equal(got, bytes, len);
    amber_object_close(o);
}

static void objects_of_all_sizes_come_back(void **state)
{
    static const size_t sizes[] = {0,     1,        65535,          65536,
                                   65537, 8U << 20, (8U << 20) + 1, LARGE_BYTES};
    (void)state;
    for (size_t i = 0; i < amber_countof(sizes); i++) {
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_object_info info;
        char key[64];
        snprintf(key, sizeof(key), "sizes/%zu", sizes[i]);
        must(amber_put_commit(put_start(key, sizes[i]), &info, &err), &err);
        assert_int_equal(info.size, sizes[i]);
        assert_content(key, sizes[i]);
    }
}

static void bytes_at_random_are_the_right_ones(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object *o = NULL;
    char key[64], got[70000];
    (void)state;
    snprintf(key, sizeof(key), "sizes/%u", LARGE_BYTES);
    must(amber_object_open(st, key, AMBER_OPEN_CACHED, &o, NULL, &err), &err);
    for (int i = 0; i < 60; i++) {
        size_t len = (size_t)random() % sizeof(got) + 1;
        size_t off = (size_t)random() % (LARGE_BYTES - sizeof(got));
        must(amber_object_read(o, off, got, len, &err), &err);
        assert_memory_equal(got, bytes + off, len);
    }
    amber_object_close(o);
}

static void taken_name_keeps_its_bytes(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    (void)state;
    must(amber_store_put(st, "taken", bytes, 10, &err), &err);
    assert_int_equal(amber_store_put(st, "taken", bytes + 1, 20, &err), AMBER_E_EXISTS);
    struct amber_put *p = NULL;
    must(amber_put_open(st, "taken", &p, &err), &err);
    assert_int_equal(amber_put_write(p, bytes, LARGE_BYTES, &err), AMBER_E_EXISTS);
    assert_int_equal(amber_put_commit(p, NULL, &err), AMBER_E_EXISTS);
    assert_content("taken", 10);
}

static void object_that_is_replaced_is_an_error(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object *o = NULL;
    char got[100];
    (void)state;
    must(amber_put_commit(put_start("replaced", 200000), NULL, &err), &err);
    must(amber_object_open(st, "replaced", AMBER_OPEN_CACHED, &o, NULL, &err), &err);
    must(amber_store_remove(st, "replaced", &err), &err);
    must(amber_put_commit(put_start("replaced", 200001), NULL, &err), &err);
    assert_int_equal(amber_object_read(o, 150000, got, sizeof(got), &err), AMBER_E_CORRUPT);
    assert_non_null(strstr(err.text, "was replaced"));
    amber_object_close(o);
}

static enum amber_rc note_same(void *arg, const char *key, const struct amber_object_info *info,
                               struct amber_err *err)
{
    const char **want = arg;
    (void)info;
    (void)err;
    if (strcmp(key, *want) == 0)
        *want = NULL; /* seen */
    return AMBER_OK;
}

static void key_may_have_every_printable_byte(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object_info info;
    char key[300] = "bytes/";
    size_t n = strlen(key);
    const char *unseen = key;
    (void)state;
    for (int i = 0x20; i < 0x7f; i++)
        if (i != '/')
            key[n++] = (char)i;
    memcpy(key + n, "\xc3\xa9\xe2\x82\xac", 6);
    must(amber_store_put(st, key, "x", 1, &err), &err);
    must(amber_store_stat(st, key, &info, &err), &err);
    must(amber_store_list(st, "bytes", note_same, &unseen, &err), &err);
    assert_null(unseen);
    must(amber_store_remove(st, key, &err), &err);
    assert_int_equal(amber_store_stat(st, key, &info, &err), AMBER_E_NOT_FOUND);
    assert_int_equal(amber_store_remove(st, key, &err), AMBER_E_NOT_FOUND);
}

static bool is_left(void *arg, const char *key)
{
    (void)arg;
    return strcmp(key, "left") == 0;
}

/* A put that ends without a word is what a killed process leaves. */
static void left_uploads_are_aborted_and_no_others(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    unsigned n = 0;
    (void)state;
    struct amber_put *left = put_start("left", LARGE_BYTES), *live = put_start("live", LARGE_BYTES);
    must(amber_store_clean_puts(st, is_left, NULL, &n, &err), &err);
    assert_int_equal(n, 1);
    assert_int_not_equal(amber_put_commit(left, NULL, &err), AMBER_OK);
    must(amber_put_commit(live, NULL, &err), &err);
    assert_content("live", LARGE_BYTES);
    must(amber_store_clean_puts(st, is_left, NULL, &n, &err), &err);
    assert_int_equal(n, 0);
}

static void aborted_put_leaves_nothing(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object_info info;
    unsigned n = 0;
    (void)state;
    amber_put_abort(put_start("left", LARGE_BYTES));
    assert_int_equal(amber_store_stat(st, "left", &info, &err), AMBER_E_NOT_FOUND);
    must(amber_store_clean_puts(st, is_left, NULL, &n, &err), &err);
    assert_int_equal(n, 0);
}

static enum amber_rc count(void *arg, const char *key, const struct amber_object_info *info,
                           struct amber_err *err)
{
    (void)err;
    assert_int_equal(strncmp(key, "many/", 5), 0);
    assert_int_equal(info->size, 1);
    ++*(unsigned *)arg;
    return AMBER_OK;
}

static void listing_has_more_than_a_page(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    unsigned n = 0;
    (void)state;
    for (int i = 0; i < MANY; i++) {
        char key[32];
        snprintf(key, sizeof(key), "many/%d", i);
        must(amber_store_put(st, key, "x", 1, &err), &err);
    }
    must(amber_store_list(st, "many", count, &n, &err), &err);
    assert_int_equal(n, MANY);
    n = 0;
    must(amber_store_list(st, "man", count, &n, &err), &err);
    assert_int_equal(n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_of_all_sizes_come_back),
        cmocka_unit_test(bytes_at_random_are_the_right_ones),
        cmocka_unit_test(taken_name_keeps_its_bytes),
        cmocka_unit_test(object_that_is_replaced_is_an_error),
        cmocka_unit_test(key_may_have_every_printable_byte),
        cmocka_unit_test(left_uploads_are_aborted_and_no_others),
        cmocka_unit_test(aborted_put_leaves_nothing),
        cmocka_unit_test(listing_has_more_than_a_page),
    };
    amber_log_set_stderr(false);
    return cmocka_run_group_tests(tests, start, stop);
}
