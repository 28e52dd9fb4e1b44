/*
 * test_nearest.c - edit distance and the suggestion made from it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "amber/nearest.h"

static void distance_counts_each_kind_of_edit_once(void **state)
{
    (void)state;
    assert_int_equal(amber_edit_distance("", ""), 0);
    assert_int_equal(amber_edit_distance("mount", "mount"), 0);
    assert_int_equal(amber_edit_distance("mount", "moun"), 1);
    assert_int_equal(amber_edit_distance("moun", "mount"), 1);
    assert_int_equal(amber_edit_distance("mount", "mound"), 1);
    assert_int_equal(amber_edit_distance("mount", "muont"), 1); /* a swap */
    assert_int_equal(amber_edit_distance("MOUNT", "mount"), 0);
    assert_int_equal(amber_edit_distance("", "mount"), 5);
    assert_int_equal(amber_edit_distance("kitten", "sitting"), 3);
    assert_int_equal(amber_edit_distance("abcd", "badc"), 2); /* two swaps */
}

static void distance_of_endless_words_compares_their_start(void **state)
{
    char a[500], b[500];
    (void)state;
    memset(a, 'x', sizeof(a));
    memset(b, 'x', sizeof(b));
    a[sizeof(a) - 1] = b[sizeof(b) - 1] = '\0';
    b[AMBER_NEAREST_WORD_MAX] = 'y';
    assert_int_equal(amber_edit_distance(a, b), 0);
    b[0] = 'y';
    assert_int_equal(amber_edit_distance(a, b), 1);
}

struct row {
    int other;
    const char *name;
};
static const struct row rows[] = {{1, "archive"}, {2, NULL}, {3, "status"}, {4, "restore"}};

static const char *nearest(const char *word, size_t max)
{
    return amber_nearest(word, &rows[0].name, 4, sizeof(rows[0]), max);
}

static void nearest_picks_smallest_distance_within_limit(void **state)
{
    (void)state;
    assert_string_equal(nearest("archiv", 2), "archive");
    assert_string_equal(nearest("stauts", 2), "status");
    assert_string_equal(nearest("restor", 2), "restore");
    assert_null(nearest("banana", 2));
    assert_non_null(nearest("banana", SIZE_MAX));
    assert_null(amber_nearest("x", &rows[0].name, 0, sizeof(rows[0]), SIZE_MAX));
}

static void limit_grows_with_the_word(void **state)
{
    (void)state;
    assert_int_equal(amber_nearest_limit("ls"), 1);
    assert_int_equal(amber_nearest_limit("mount"), 2);
    assert_int_equal(amber_nearest_limit("rebuild-manifest"), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distance_counts_each_kind_of_edit_once),
        cmocka_unit_test(distance_of_endless_words_compares_their_start),
        cmocka_unit_test(nearest_picks_smallest_distance_within_limit),
        cmocka_unit_test(limit_grows_with_the_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
