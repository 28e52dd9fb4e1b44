/*
 * test_count.c - counts with their nouns, base/count.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "amber/count.h"

static void counts_agree_with_their_nouns(void **state)
{
    (void)state;
    assert_string_equal(AMBER_COUNT(0, "archive"), "0 archives");
    assert_string_equal(AMBER_COUNT(1, "archive"), "1 archive");
    assert_string_equal(AMBER_COUNT(2, "copy"), "2 copies");
    assert_string_equal(AMBER_COUNT(1, "copy"), "1 copy");
    assert_string_equal(AMBER_COUNT(7, "day"), "7 days");
    assert_string_equal(AMBER_COUNT(999, "row"), "999 rows");
    assert_string_equal(AMBER_COUNT(1000, "row"), "1,000 rows");
    assert_string_equal(AMBER_COUNT(UINT64_MAX, "row"), "18,446,744,073,709,551,615 rows");
}

static void several_counts_stand_in_one_text(void **state)
{
    char text[64];
    (void)state;
    snprintf(text, sizeof(text), "%s in %s", AMBER_COUNT(1, "row"), AMBER_COUNT(2, "block"));
    assert_string_equal(text, "1 row in 2 blocks");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_agree_with_their_nouns),
        cmocka_unit_test(several_counts_stand_in_one_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
