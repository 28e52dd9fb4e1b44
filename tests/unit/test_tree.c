/* test_tree.c - names, inodes and listings of the archives' tree, through changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "amber/tree.h"

static struct amber_tree_entry entry(const char *path, const char *key)
{
    return (struct amber_tree_entry){
        .path = path, .key = key, .size = 100, .stored_size = 10, .rows = 5, .mtime_us = 1000};
}

static struct amber_tree *tree_with(const struct amber_tree_entry *e, size_t n)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_tree *t;
    assert_int_equal(amber_tree_new(&t, &err), AMBER_OK);
    assert_int_equal(amber_tree_replace(t, e, n, NULL, NULL, &err), AMBER_OK);
    return t;
}

static void replace(struct amber_tree *t, const struct amber_tree_entry *e, size_t n)
{
    struct amber_err err = AMBER_ERR_INIT;
    assert_int_equal(amber_tree_replace(t, e, n, NULL, NULL, &err), AMBER_OK);
}

struct names {
    char text[4096];
    uint64_t last_pos;
    size_t stop_after, n;
};

static bool add_name(void *arg, const char *name, const struct amber_node *node, uint64_t next_pos)
{
    struct names *l = arg;
    (void)node;
    snprintf(l->text + strlen(l->text), sizeof(l->text) - strlen(l->text), "%s ", name);
    l->last_pos = next_pos;
    return ++l->n != l->stop_after;
}

static void list(struct amber_tree *t, uint64_t ino, uint64_t pos, struct names *l)
{
    struct amber_err err = AMBER_ERR_INIT;
    assert_int_equal(amber_tree_list(t, ino, pos, add_name, l, &err), AMBER_OK);
}

static uint64_t ino_of(struct amber_tree *t, const char *path)
{
    struct amber_node n;
    return amber_tree_find(t, path, &n) ? n.ino : 0;
}

static void lookup_known_paths_found(void **state)
{
    (void)state;
    struct amber_tree_entry e[] = {entry("b/x.json", "b/x.json.gz"), entry("a-b/y", "a-b/y"),
                                   entry("a/b/c/z.json", "a/b/c/z.json.zst"),
                                   entry("top.json", "top.json")};
    struct amber_tree *t = tree_with(e, 4);
    struct amber_node n;

    assert_true(amber_tree_lookup(t, AMBER_TREE_ROOT, "b", &n));
    assert_true(n.is_folder);
    assert_true(n.ino >= AMBER_TREE_INO_FIRST);
    assert_null(n.entry);
    assert_true(amber_tree_lookup(t, n.ino, "x.json", &n));
    assert_false(n.is_folder);
    assert_string_equal(n.entry->key, "b/x.json.gz");
    assert_int_equal(n.mtime_us, 1000);
    assert_true(amber_tree_get(t, n.ino, &n));
    assert_true(amber_tree_find(t, "a/b/c/z.json", &n));
    assert_string_equal(n.entry->path, "a/b/c/z.json");
    assert_false(amber_tree_find(t, "a/b/c", &n));
    assert_false(amber_tree_find(t, "a/b/c/z.json/", &n));
    assert_false(amber_tree_find(t, "", &n));
    assert_false(amber_tree_lookup(t, AMBER_TREE_ROOT, "x.json", &n));
    assert_false(amber_tree_lookup(t, AMBER_TREE_ROOT, "to", &n));
    assert_false(amber_tree_get(t, 999999, &n));
    amber_tree_free(t);
}

static void list_folder_in_name_order(void **state)
{
    (void)state;
    struct amber_tree_entry e[] = {entry("a/x", "k1"), entry("a-b/y", "k2"), entry("a.json", "k3"),
                                   entry("B", "k4")};
    struct amber_tree *t = tree_with(e, 4);
    struct names l = {.text = ""};
    list(t, AMBER_TREE_ROOT, 0, &l);
    assert_string_equal(l.text, "B a a-b a.json ");
    struct amber_err err = AMBER_ERR_INIT;
    assert_int_equal(amber_tree_list(t, ino_of(t, "B"), 0, add_name, &l, &err), AMBER_E_NOT_FOUND);
    amber_tree_free(t);
}

static void list_resumed_after_removal_skips_nothing(void **state)
{
    (void)state;
    struct amber_tree_entry e[] = {entry("a", "1"), entry("b", "2"), entry("c", "3"),
                                   entry("d", "4")};
    struct amber_tree *t = tree_with(e, 4);
    struct names l = {.text = "", .stop_after = 2};
    list(t, AMBER_TREE_ROOT, 0, &l);
    assert_string_equal(l.text, "a b ");
    struct amber_tree_entry fewer[] = {e[2], e[3]};
    replace(t, fewer, 2);
    struct names rest = {.text = ""};
    list(t, AMBER_TREE_ROOT, l.last_pos, &rest);
    assert_string_equal(rest.text, "c d ");
    amber_tree_free(t);
}

static void list_many_names_complete(void **state)
{
    (void)state;
    enum { N = 1000 };
    static char paths[N][32];
    static struct amber_tree_entry e[N];
    for (size_t i = 0; i < N; i++) {
        snprintf(paths[i], sizeof(paths[i]), "f/%04zu", (i * 7) % N);
        e[i] = entry(paths[i], paths[i]);
    }
    struct amber_tree *t = tree_with(e, N);
    struct amber_node f;
    assert_true(amber_tree_lookup(t, AMBER_TREE_ROOT, "f", &f));
    uint64_t pos = 0;
    for (size_t i = 0; i < N; i++) {
        char want[8];
        struct names l = {.text = "", .stop_after = 1};
        list(t, f.ino, pos, &l);
        snprintf(want, sizeof(want), "%04zu ", i);
        assert_string_equal(l.text, want);
        pos = l.last_pos;
    }
    amber_tree_free(t);
}

static void replace_same_key_keeps_inode(void **state)
{
    (void)state;
    struct amber_tree_entry e[] = {entry("f/a", "f/a.gz"), entry("f/b", "f/b.gz")};
    struct amber_tree *t = tree_with(e, 2);
    uint64_t a = ino_of(t, "f/a"), b = ino_of(t, "f/b");
    replace(t, NULL, 0);
    assert_int_equal(ino_of(t, "f/a"), 0);
    e[0].size = 200;
    e[1].key = "f/b.zst";
    replace(t, e, 2);
    assert_int_equal(ino_of(t, "f/a"), a);
    assert_true(ino_of(t, "f/b") != b);
    struct amber_node n;
    assert_true(amber_tree_find(t, "f/a", &n));
    assert_int_equal(n.entry->size, 200);
    assert_true(amber_tree_get(t, b, &n)); /* an open file still knows what it is */
    assert_string_equal(n.entry->key, "f/b.gz");
    amber_tree_free(t);
}

struct changes {
    char text[1024];
};

static void add_change(void *arg, const struct amber_tree_change *c)
{
    struct changes *l = arg;
    snprintf(l->text + strlen(l->text), sizeof(l->text) - strlen(l->text), "%c%s%s ",
             c->what == AMBER_TREE_ADDED     ? '+'
             : c->what == AMBER_TREE_REMOVED ? '-'
                                             : '~',
             c->name, c->entry ? "!" : "");
}

static void replace_reports_each_change_once(void **state)
{
    (void)state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_tree_entry e[] = {entry("f/a", "1"), entry("f/b", "2"), entry("f/c", "3"),
                                   entry("g/d", "4")};
    struct amber_tree *t = tree_with(e, 4);
    struct changes l = {.text = ""};
    assert_int_equal(amber_tree_replace(t, e, 4, add_change, &l, &err), AMBER_OK);
    assert_string_equal(l.text, "");
    struct amber_tree_entry next[] = {entry("f/a", "1"), entry("f/b", "22"), entry("f/c", "3"),
                                      entry("f/new", "5")};
    next[2].rows++;
    assert_int_equal(amber_tree_replace(t, next, 4, add_change, &l, &err), AMBER_OK);
    assert_string_equal(l.text, "-g -b! +b ~c +new ");
    amber_tree_free(t);
}

static void replace_entry_that_differs_in_anything_is_altered(void **state)
{
    struct amber_tree_entry was = entry("f/a", "1");
    (void)state;
    was.manifest_key = "m";
    was.has_digest = true;
    struct amber_tree_entry e[] = {was, was, was, was, was, was, was, was, was};
    e[0].manifest_key = "n";
    e[1].manifest_key = NULL;
    e[2].form = AMBER_TREE_FOREIGN;
    e[3].size++;
    e[4].stored_size++;
    e[5].rows++;
    e[6].mtime_us++;
    e[7].has_digest = false;
    e[8].manifest_sha256[31] ^= 1;
    for (size_t i = 0; i < sizeof(e) / sizeof(*e); i++) {
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_tree *t = tree_with(&was, 1);
        struct changes l = {.text = ""};
        assert_int_equal(amber_tree_replace(t, &e[i], 1, add_change, &l, &err), AMBER_OK);
        assert_string_equal(l.text, "~a ");
        amber_tree_free(t);
    }
}

static void replace_changed_listing_moves_folder_time(void **state)
{
    (void)state;
    struct amber_tree_entry e[] = {entry("f/a", "1"), entry("f/b", "2"), entry("g/c", "3")};
    e[1].mtime_us = 5000;
    struct amber_tree *t = tree_with(e, 3);
    struct amber_node f, g;
    assert_true(amber_tree_lookup(t, AMBER_TREE_ROOT, "f", &f));
    assert_int_equal(f.mtime_us, 5000);
    struct amber_tree_entry next[] = {e[0], e[2]};
    replace(t, next, 2);
    assert_true(amber_tree_lookup(t, AMBER_TREE_ROOT, "f", &f));
    assert_true(amber_tree_lookup(t, AMBER_TREE_ROOT, "g", &g));
    assert_true(f.mtime_us > 5000);
    assert_int_equal(g.mtime_us, 1000);
    amber_tree_free(t);
}

/* The kernel may still know its inode. */
static void replace_that_drops_a_folder_empties_it(void **state)
{
    (void)state;
    struct amber_tree_entry e[] = {entry("f/a", "1"), entry("g/d", "2")};
    struct amber_tree *t = tree_with(e, 2);
    struct amber_node g, d;
    assert_true(amber_tree_lookup(t, AMBER_TREE_ROOT, "g", &g));
    replace(t, e, 1);
    struct names l = {.text = ""};
    list(t, g.ino, 0, &l);
    assert_string_equal(l.text, "");
    assert_false(amber_tree_lookup(t, g.ino, "d", &d));
    replace(t, e, 2);
    list(t, g.ino, 0, &l);
    assert_string_equal(l.text, "d ");
    amber_tree_free(t);
}

/* A host whose clock is ahead has written: each further change still moves the time. */
static void replace_moves_folder_time_that_lies_ahead(void **state)
{
    (void)state;
    struct amber_tree_entry e[] = {entry("f/a", "1"), entry("f/b", "2")};
    int64_t ahead_us = INT64_C(4102444800000000); /* 2100 */
    e[0].mtime_us = ahead_us;
    struct amber_tree *t = tree_with(e, 2);
    struct amber_node f;
    replace(t, e, 1);
    assert_true(amber_tree_lookup(t, AMBER_TREE_ROOT, "f", &f));
    assert_true(f.mtime_us == ahead_us + 1);
    replace(t, e, 2);
    assert_true(amber_tree_lookup(t, AMBER_TREE_ROOT, "f", &f));
    assert_true(f.mtime_us == ahead_us + 2);
    amber_tree_free(t);
}

static void expect_invalid(const struct amber_tree_entry *bad, size_t n)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_tree_entry good = entry("f/keep", "k");
    struct amber_tree *t = tree_with(&good, 1);
    uint64_t before = ino_of(t, "f/keep");
    assert_int_equal(amber_tree_replace(t, bad, n, NULL, NULL, &err), AMBER_E_INVALID);
    assert_true(err.text[0] != '\0');
    assert_int_equal(ino_of(t, "f/keep"), before);
    amber_tree_free(t);
}

static void replace_two_with_one_path_is_invalid(void **state)
{
    (void)state;
    struct amber_tree_entry e[] = {entry("f/x", "f/x.gz"), entry("a", "a"),
                                   entry("f/x", "f/x.zst")};
    expect_invalid(e, 3);
}

static void replace_path_that_is_a_folder_is_invalid(void **state)
{
    (void)state;
    struct amber_tree_entry e[] = {entry("f", "f.gz"), entry("f-g", "g"), entry("f/x", "f/x.gz")};
    expect_invalid(e, 3);
}

static void replace_path_that_climbs_is_invalid(void **state)
{
    (void)state;
    struct amber_tree_entry e[] = {entry("f/../x", "k")};
    expect_invalid(e, 1);
}

static bool count_name(void *arg, const struct amber_node *node)
{
    size_t *n = arg;
    assert_non_null(node->entry);
    return ++*n < 3;
}

static void find_name_finds_all_folders(void **state)
{
    (void)state;
    struct amber_tree_entry e[] = {entry("f/x", "1"), entry("g/x", "2"), entry("x", "3"),
                                   entry("h/xx", "4"), entry("i/x", "5")};
    struct amber_tree *t = tree_with(e, 5);
    size_t n = 0;
    amber_tree_find_name(t, "xx", count_name, &n);
    assert_int_equal(n, 1);
    n = 0;
    amber_tree_find_name(t, "x", count_name, &n);
    assert_int_equal(n, 3); /* stopped by the callback */
    replace(t, e, 2);
    n = 0;
    amber_tree_find_name(t, "x", count_name, &n);
    assert_int_equal(n, 2);
    amber_tree_free(t);
}

static void totals_follow_replace(void **state)
{
    (void)state;
    struct amber_tree_entry e[] = {entry("f/x", "1"), entry("f/g/y", "2")};
    struct amber_tree *t = tree_with(e, 2);
    struct amber_tree_totals s;
    amber_tree_totals(t, &s);
    assert_int_equal(s.archives, 2);
    assert_int_equal(s.folders, 2);
    assert_int_equal(s.rows, 10);
    assert_int_equal(s.raw_bytes, 200);
    assert_int_equal(s.stored_bytes, 20);
    replace(t, e, 0);
    amber_tree_totals(t, &s);
    assert_int_equal(s.archives, 0);
    amber_tree_free(t);
}

struct race {
    struct amber_tree *t;
    atomic_bool stop;
    uint64_t ino;
};

static void *reader_thread(void *arg)
{
    struct race *r = arg;
    while (!atomic_load(&r->stop)) {
        struct amber_node n;
        struct names l = {.text = ""};
        struct amber_err err = AMBER_ERR_INIT;
        size_t found = 0;
        if (!amber_tree_find(r->t, "f/a", &n) || n.ino != r->ino || n.entry->rows < 5)
            return r;
        if (amber_tree_list(r->t, AMBER_TREE_ROOT, 0, add_name, &l, &err) || l.n < 1)
            return r;
        amber_tree_find_name(r->t, "a", count_name, &found);
        if (found != 1 || !amber_tree_get(r->t, n.ino, &n))
            return r;
    }
    return NULL;
}

static void replace_while_reading_stays_consistent(void **state)
{
    (void)state;
    struct amber_tree_entry e[] = {entry("f/a", "1"), entry("g/b", "2"), entry("c", "3")};
    struct race r = {.t = tree_with(e, 3)};
    pthread_t threads[2];
    r.ino = ino_of(r.t, "f/a");
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, reader_thread, &r), 0);
    for (uint64_t i = 0; i < 300; i++) {
        e[0].rows = 5 + i % 3;
        replace(r.t, e, 1 + i % 3);
    }
    atomic_store(&r.stop, true);
    for (int i = 0; i < 2; i++) {
        void *fault;
        pthread_join(threads[i], &fault);
        assert_null(fault);
    }
    amber_tree_free(r.t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lookup_known_paths_found),
        cmocka_unit_test(list_folder_in_name_order),
        cmocka_unit_test(list_resumed_after_removal_skips_nothing),
        cmocka_unit_test(list_many_names_complete),
        cmocka_unit_test(replace_same_key_keeps_inode),
        cmocka_unit_test(replace_reports_each_change_once),
        cmocka_unit_test(replace_entry_that_differs_in_anything_is_altered),
        cmocka_unit_test(replace_changed_listing_moves_folder_time),
        cmocka_unit_test(replace_that_drops_a_folder_empties_it),
        cmocka_unit_test(replace_moves_folder_time_that_lies_ahead),
        cmocka_unit_test(replace_two_with_one_path_is_invalid),
        cmocka_unit_test(replace_path_that_is_a_folder_is_invalid),
        cmocka_unit_test(replace_path_that_climbs_is_invalid),
        cmocka_unit_test(find_name_finds_all_folders),
        cmocka_unit_test(totals_follow_replace),
        cmocka_unit_test(replace_while_reading_stays_consistent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
