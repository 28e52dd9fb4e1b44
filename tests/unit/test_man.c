/*
 * test_man.c - the manual page has the program's own lists, word for word. To mend a difference,
 * paste what the test prints into docs/amberfs.1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "amber/config.h"
#include "options.h"
#include "small_file.h"

static struct amber_buf page = AMBER_BUF_INIT(1U << 20);

static int page_read(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    (void)state;
    return amber_small_file_read(AMBER_SOURCE_ROOT "/docs/amberfs.1", &page, &err) ? -1 : 0;
}

static int page_drop(void **state)
{
    (void)state;
    amber_buf_clear(&page);
    return 0;
}

static void assert_in_page(const struct amber_buf *list)
{
    assert_true(list->len > 100);
    if (!strstr(page.data, list->data))
        fail_msg("docs/amberfs.1 doesn't have this list as it is:\n%s", list->data);
}

static void page_has_commands_and_options_word_for_word(void **state)
{
    static const enum amber_options_list lists[] = {
        AMBER_LIST_COMMANDS,
        AMBER_LIST_COMMON_OPTIONS,
        AMBER_LIST_COMMAND_OPTIONS,
        AMBER_LIST_MOUNT_OPTIONS,
    };
    (void)state;
    for (size_t i = 0; i < amber_countof(lists); i++) {
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_buf list AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
        assert_int_equal(amber_options_roff(lists[i], &list, &err), AMBER_OK);
        assert_in_page(&list);
    }
}

static void page_has_variables_word_for_word(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf list AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    (void)state;
    assert_int_equal(amber_config_describe(true, &list, &err), AMBER_OK);
    assert_in_page(&list);
}

static void page_has_the_usual_sections_in_order(void **state)
{
    static const char *const sections[] = {"NAME",     "SYNOPSIS",    "DESCRIPTION", "COMMANDS",
                                           "OPTIONS",  "ENVIRONMENT", "FILES",       "EXIT STATUS",
                                           "EXAMPLES", "SEE ALSO"};
    const char *at = page.data;
    (void)state;
    for (size_t i = 0; i < amber_countof(sections); i++) {
        char want[40];
        snprintf(want, sizeof(want), "\n.SH %s\n", sections[i]);
        at = strstr(at, want);
        if (!at)
            fail_msg("no section %s, or not in its place", sections[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(page_has_commands_and_options_word_for_word),
        cmocka_unit_test(page_has_variables_word_for_word),
        cmocka_unit_test(page_has_the_usual_sections_in_order),
    };
    return cmocka_run_group_tests(tests, page_read, page_drop);
}
