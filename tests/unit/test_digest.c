/*
 * test_digest.c - SHA-256 against published vectors, identifiers, the set digest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "amber/digest.h"
#include "amber/mem.h"

/* FIPS 180-4 examples and the empty message. */
static const struct {
    const char *message;
    const char *hex;
} vectors[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};
static const char million_a[] = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

static void sha256_of_vectors_is_right(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;

    (void)state;
    for (size_t i = 0; i < amber_countof(vectors); i++) {
        struct amber_sha256 d;
        char hex[AMBER_SHA256_HEX];
        assert_int_equal(amber_sha256(vectors[i].message, strlen(vectors[i].message), &d, &err),
                         AMBER_OK);
        amber_sha256_hex(&d, hex);
        assert_string_equal(hex, vectors[i].hex);
    }
}

static void hasher_in_pieces_equals_one_shot_and_starts_anew(void **state)
{
    AMBER_CLEANUP(amber_hasher_free_p) struct amber_hasher *h = NULL;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_sha256 d;
    char hex[AMBER_SHA256_HEX], piece[1000];

    (void)state;
    memset(piece, 'a', sizeof(piece));
    assert_int_equal(amber_hasher_new(&h, &err), AMBER_OK);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 1000; i++)
            assert_int_equal(amber_hasher_update(h, piece, sizeof(piece), &err), AMBER_OK);
        assert_int_equal(amber_hasher_final(h, &d, &err), AMBER_OK);
        amber_sha256_hex(&d, hex);
        assert_string_equal(hex, million_a);
    }
}

static void sha256_parse_reads_what_hex_writes(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_sha256 a, b;

    (void)state;
    assert_int_equal(amber_sha256("x", 1, &a, &err), AMBER_OK);
    char hex[AMBER_SHA256_HEX];
    amber_sha256_hex(&a, hex);
    assert_int_equal(amber_sha256_parse(hex, &b, &err), AMBER_OK);
    assert_true(amber_sha256_equal(&a, &b));
    b.b[31] ^= 1;
    assert_false(amber_sha256_equal(&a, &b));
}

static void sha256_parse_of_anything_else_is_invalid(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_sha256 d;
    char hex[80];

    (void)state;
    strcpy(hex, vectors[0].hex);
    hex[63] = '\0';
    assert_int_equal(amber_sha256_parse(hex, &d, &err), AMBER_E_INVALID);
    strcpy(hex, vectors[0].hex);
    strcat(hex, "0");
    assert_int_equal(amber_sha256_parse(hex, &d, &err), AMBER_E_INVALID);
    strcpy(hex, vectors[0].hex);
    hex[5] = 'A';
    assert_int_equal(amber_sha256_parse(hex, &d, &err), AMBER_E_INVALID);
    hex[5] = 'g';
    assert_int_equal(amber_sha256_parse(hex, &d, &err), AMBER_E_INVALID);
}

static void uuid_new_is_valid_and_new(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    char a[AMBER_UUID_LEN], b[AMBER_UUID_LEN];

    (void)state;
    assert_int_equal(amber_uuid_new(a, &err), AMBER_OK);
    assert_int_equal(amber_uuid_new(b, &err), AMBER_OK);
    assert_true(amber_uuid_valid(a));
    assert_int_equal(a[14], '4');
    assert_non_null(strchr("89ab", a[19]));
    assert_string_not_equal(a, b);
}

static void uuid_valid_of_anything_else_is_false(void **state)
{
    (void)state;
    assert_true(amber_uuid_valid("00000000-0000-0000-0000-000000000000"));
    assert_false(amber_uuid_valid(""));
    assert_false(amber_uuid_valid("00000000-0000-0000-0000-00000000000"));
    assert_false(amber_uuid_valid("00000000-0000-0000-0000-0000000000000"));
    assert_false(amber_uuid_valid("00000000000000000000000000000000-----"));
    assert_false(amber_uuid_valid("0000000g-0000-0000-0000-000000000000"));
    assert_false(amber_uuid_valid("0000000A-0000-0000-0000-000000000000"));
}

static void set_digest_in_any_order_is_equal(void **state)
{
    struct amber_set_digest up = {0}, down = {0}, half[2] = {{0}, {0}};

    (void)state;
    for (uint32_t i = 0; i < 10000; i++) {
        amber_set_digest_add(&up, 16384 + i % 3, i / 100, (uint16_t)(i % 100 + 1));
        amber_set_digest_add(&half[i % 2], 16384 + i % 3, i / 100, (uint16_t)(i % 100 + 1));
    }
    for (uint32_t i = 10000; i-- > 0;)
        amber_set_digest_add(&down, 16384 + i % 3, i / 100, (uint16_t)(i % 100 + 1));
    assert_true(amber_set_digest_equal(&up, &down));
    amber_set_digest_merge(&half[1], &half[0]);
    assert_true(amber_set_digest_equal(&up, &half[1]));
}

static struct amber_set_digest pair(uint32_t o1, uint32_t b1, uint16_t f1, uint32_t o2, uint32_t b2,
                                    uint16_t f2)
{
    struct amber_set_digest d = {0};

    amber_set_digest_add(&d, o1, b1, f1);
    amber_set_digest_add(&d, o2, b2, f2);
    return d;
}

static void set_digest_of_other_rows_differs(void **state)
{
    struct amber_set_digest a = pair(1, 2, 3, 4, 5, 6);
    struct amber_set_digest others[] = {
        pair(1, 2, 3, 4, 5, 7), pair(1, 2, 6, 4, 5, 3), pair(4, 2, 3, 1, 5, 6),
        pair(1, 5, 3, 4, 2, 6), pair(1, 3, 2, 4, 5, 6), pair(1, 2, 3, 1, 2, 3),
    };
    struct amber_set_digest twice = a;

    (void)state;
    for (size_t i = 0; i < amber_countof(others); i++)
        assert_false(amber_set_digest_equal(&a, &others[i]));
    amber_set_digest_add(&twice, 1, 2, 3);
    assert_false(amber_set_digest_equal(&a, &twice));
}

static void fast_hasher_in_pieces_equals_one_shot(void **state)
{
    struct amber_fast_hasher *h = NULL;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_fast_digest whole, pieces;
    char data[5000];

    (void)state;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (char)(i * 7 + i / 256);
    amber_fast_digest(data, sizeof(data), &whole);
    assert_int_equal(amber_fast_hasher_new(&h, &err), AMBER_OK);
    amber_fast_hasher_update(h, "discarded", 9);
    amber_fast_hasher_reset(h);
    for (size_t off = 0; off < sizeof(data); off += 500)
        amber_fast_hasher_update(h, data + off, 500);
    amber_fast_hasher_final(h, &pieces);
    assert_true(whole.lo == pieces.lo && whole.hi == pieces.hi);
    amber_fast_hasher_free(h);
    data[4999] ^= 1;
    amber_fast_digest(data, sizeof(data), &pieces);
    assert_false(whole.lo == pieces.lo && whole.hi == pieces.hi);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_of_vectors_is_right),
        cmocka_unit_test(hasher_in_pieces_equals_one_shot_and_starts_anew),
        cmocka_unit_test(sha256_parse_reads_what_hex_writes),
        cmocka_unit_test(sha256_parse_of_anything_else_is_invalid),
        cmocka_unit_test(uuid_new_is_valid_and_new),
        cmocka_unit_test(uuid_valid_of_anything_else_is_false),
        cmocka_unit_test(set_digest_in_any_order_is_equal),
        cmocka_unit_test(set_digest_of_other_rows_differs),
        cmocka_unit_test(fast_hasher_in_pieces_equals_one_shot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
