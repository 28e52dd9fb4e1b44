/*
 * test_log.c - the ring of lines: positions, limits, what a line may hold, many threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <cmocka.h>

#include "amber/log.h"

/* The lines from *pos on, in a buffer that the caller clears. */
static struct amber_buf read_from(uint64_t *pos, size_t max)
{
    struct amber_buf b = AMBER_BUF_INIT(2 * AMBER_LOG_RING_BYTES);
    struct amber_err err = AMBER_ERR_INIT;

    assert_int_equal(amber_log_read(pos, max, &b, &err), AMBER_OK);
    return b;
}

static int quiet(void **state)
{
    (void)state;
    amber_log_set_stderr(false);
    amber_log_set_level(AMBER_LOG_INFO);
    return 0;
}

static void line_has_time_level_and_message(void **state)
{
    uint64_t pos = amber_log_end();

    (void)state;
    amber_warn("disk %s is %d%% full", "sda", 97);
    AMBER_AUTO_BUF struct amber_buf b = read_from(&pos, 4096);
    assert_int_equal(b.len, strlen("2024-01-31T02:00:00.123Z warn disk sda is 97% full\n"));
    assert_string_equal(b.data + 24, " warn disk sda is 97% full\n");
    assert_int_equal(b.data[10], 'T');
    assert_int_equal(b.data[23], 'Z');
    assert_int_equal(pos, amber_log_end());
}

static void line_above_the_level_is_dropped(void **state)
{
    uint64_t before = amber_log_end();

    (void)state;
    amber_debug("not wanted");
    assert_int_equal(amber_log_end(), before);
    amber_log_set_level(AMBER_LOG_DEBUG);
    amber_debug("wanted");
    assert_true(amber_log_end() > before);
}

static void line_breaks_and_escapes_become_spaces(void **state)
{
    uint64_t pos = amber_log_end();

    (void)state;
    amber_info("a\nb\r\nc\x1b[31md\te");
    AMBER_AUTO_BUF struct amber_buf b = read_from(&pos, 4096);
    assert_string_equal(b.data + 24, " info a b  c [31md e\n");
}

static void long_line_is_cut_between_characters(void **state)
{
    char text[3 * AMBER_LOG_LINE_MAX + 1];
    uint64_t pos = amber_log_end();

    (void)state;
    for (size_t i = 0; i + 3 < sizeof(text); i += 3)
        memcpy(text + i, "\xE2\x82\xAC", 4);
    amber_info("%s", text);
    AMBER_AUTO_BUF struct amber_buf b = read_from(&pos, 2 * AMBER_LOG_LINE_MAX);
    assert_true(b.len <= AMBER_LOG_LINE_MAX && b.len > AMBER_LOG_LINE_MAX - 4);
    assert_string_equal(b.data + b.len - 4, "\xE2\x82\xAC\n");
}

static void logging_keeps_errno(void **state)
{
    (void)state;
    errno = EXDEV;
    amber_info("x");
    assert_int_equal(errno, EXDEV);
}

static void read_gives_whole_lines_within_the_limit(void **state)
{
    uint64_t pos = amber_log_end();

    (void)state;
    amber_info("one");
    size_t line = (size_t)(amber_log_end() - pos);
    amber_info("two");
    AMBER_AUTO_BUF struct amber_buf nothing = read_from(&pos, line - 1);
    assert_int_equal(nothing.len, 0);
    AMBER_AUTO_BUF struct amber_buf first = read_from(&pos, 2 * line - 1);
    assert_int_equal(first.len, line);
    AMBER_AUTO_BUF struct amber_buf second = read_from(&pos, 4096);
    assert_string_equal(second.data + 24, " info two\n");
}

static void read_of_old_position_starts_at_the_oldest_line(void **state)
{
    uint64_t pos = 0;

    (void)state;
    for (unsigned i = 0; i < 20000; i++)
        amber_info("line %u", i);
    AMBER_AUTO_BUF struct amber_buf b = read_from(&pos, 2 * AMBER_LOG_RING_BYTES);
    assert_int_equal(pos, amber_log_end());
    assert_true(b.len <= AMBER_LOG_RING_BYTES && b.len > AMBER_LOG_RING_BYTES - 64);
    assert_int_equal(b.data[b.len - 1], '\n');

    /* Every line is whole, and the numbers go up to the newest without a gap. */
    unsigned want = 0, n = 0;
    for (char *line = b.data; *line; n++) {
        char *end = strchr(line, '\n');
        unsigned number =
            (unsigned)strtoul(line + strlen("2024-01-31T02:00:00.123Z info line "), NULL, 10);
        assert_non_null(end);
        assert_memory_equal(line + 24, " info line ", 11);
        if (n > 0)
            assert_int_equal(number, want);
        want = number + 1;
        line = end + 1;
    }
    assert_int_equal(want, 20000);
}

static void read_into_small_buffer_is_limit_and_keeps_position(void **state)
{
    AMBER_AUTO_BUF struct amber_buf small = AMBER_BUF_INIT(10);
    struct amber_err err = AMBER_ERR_INIT;
    uint64_t pos = amber_log_end(), before = pos;

    (void)state;
    amber_info("a line of more than ten bytes");
    assert_int_equal(amber_log_read(&pos, 4096, &small, &err), AMBER_E_LIMIT);
    assert_int_equal(pos, before);
    assert_int_equal(small.len, 0);
}

static void count_call(void *arg)
{
    ++*(unsigned *)arg;
}

static void listener_hears_each_line_until_removed(void **state)
{
    unsigned calls = 0;

    (void)state;
    amber_log_set_listener(count_call, &calls);
    amber_info("a");
    amber_debug("dropped");
    amber_info("b");
    amber_log_set_listener(NULL, NULL);
    amber_info("c");
    assert_int_equal(calls, 2);
}

static void *log_lines(void *arg)
{
    for (unsigned i = 0; i < 1000; i++)
        amber_info("thread %u line %u", *(unsigned *)arg, i);
    return NULL;
}

static void lines_of_many_threads_stay_whole(void **state)
{
    uint64_t pos = amber_log_end();
    unsigned ids[3] = {0, 1, 2}, next[3] = {0};
    pthread_t threads[3];

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_lines, &ids[i]), 0);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    AMBER_AUTO_BUF struct amber_buf b = read_from(&pos, AMBER_LOG_RING_BYTES);
    for (char *line = b.data; *line; line = strchr(line, '\n') + 1) {
        unsigned id, n;
        assert_int_equal(sscanf(line + 24, " info thread %u line %u\n", &id, &n), 2);
        assert_true(id < 3 && n == next[id]);
        next[id]++;
    }
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(next[i], 1000);
}

static void level_words_parse(void **state)
{
    enum amber_log_level level;

    (void)state;
    assert_true(amber_log_level_parse("warn", &level));
    assert_int_equal(level, AMBER_LOG_WARN);
    assert_true(amber_log_level_parse("debug", &level));
    assert_int_equal(level, AMBER_LOG_DEBUG);
    assert_false(amber_log_level_parse("WARN", &level));
    assert_false(amber_log_level_parse("", &level));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(line_has_time_level_and_message, quiet),
        cmocka_unit_test_setup(line_above_the_level_is_dropped, quiet),
        cmocka_unit_test_setup(line_breaks_and_escapes_become_spaces, quiet),
        cmocka_unit_test_setup(long_line_is_cut_between_characters, quiet),
        cmocka_unit_test_setup(logging_keeps_errno, quiet),
        cmocka_unit_test_setup(read_gives_whole_lines_within_the_limit, quiet),
        cmocka_unit_test_setup(read_of_old_position_starts_at_the_oldest_line, quiet),
        cmocka_unit_test_setup(read_into_small_buffer_is_limit_and_keeps_position, quiet),
        cmocka_unit_test_setup(listener_hears_each_line_until_removed, quiet),
        cmocka_unit_test_setup(lines_of_many_threads_stay_whole, quiet),
        cmocka_unit_test(level_words_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
