/*
 * foreign_doc.c - the index of another program's archive as a document of the cache folder.
 *
 *     "AMBRFIX1" | SHA-256 of what follows (32)
 *     key, version, fault: length (2) and text each
 *     codec (1) | stored size (8) | raw size (8) | number of blocks (4)
 *     blocks: stored_off (8) stored_len (4) raw_len (4) record_off (4) record_len (4) how (1)
 *             raw_check (8) sha256 (32)
 *
 * All numbers are little-endian. The document is ours alone, and is made anew where anything of it
 * is unexpected; so it has no versions but its first bytes.
 */
#include <stdio.h>

#include "foreign_priv.h"

#define MAGIC "AMBRFIX1"
#define HEAD_BYTES (8 + sizeof(struct amber_sha256))
#define BLOCK_BYTES (8U + 4U + 4U + 4U + 4U + 1U + 8U + 32U)
#define TEXT_MAX 0xffffU

void amber_foreign_part_free(struct amber_foreign_part *p)
{
    if (!p)
        return;
    free(p->blocks);
    free(p->fault);
    free(p);
}

void amber_foreign_record_name(const struct amber_foreign_part *p, enum foreign_how how,
                               size_t block, char out[AMBER_CACHE_NAME_MAX])
{
    bool copy = how == FOREIGN_COPY;

    snprintf(out, AMBER_CACHE_NAME_MAX, "%s.%c%zu", p->name, copy ? 'c' : 'w',
             copy ? block : block / WINDOWS_A_FILE);
}

/* ---- writing ---- */

static enum amber_rc put_number(struct amber_buf *b, uint64_t v, size_t len, struct amber_err *err)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(v >> 8 * i & 0xff);
    return amber_buf_append(b, bytes, len, err);
}

static enum amber_rc put_text(struct amber_buf *b, const char *text, struct amber_err *err)
{
    enum amber_rc rc = put_number(b, strlen(text), 2, err);

    return rc ? rc : amber_buf_puts(b, text, err);
}

static enum amber_rc put_block(struct amber_buf *b, const struct amber_block *k,
                               const struct foreign_block *f, struct amber_err *err)
{
    enum amber_rc rc = put_number(b, k->stored_off, 8, err);

    if (!rc)
        rc = put_number(b, k->stored_len, 4, err);
    if (!rc)
        rc = put_number(b, k->raw_len, 4, err);
    if (!rc)
        rc = put_number(b, f->record_off, 4, err);
    if (!rc)
        rc = put_number(b, f->record_len, 4, err);
    if (!rc)
        rc = put_number(b, f->how, 1, err);
    if (!rc)
        rc = put_number(b, f->raw_check, 8, err);
    if (!rc)
        rc = amber_buf_append(b, k->sha256.b, sizeof(k->sha256.b), err);
    return rc;
}

enum amber_rc amber_foreign_encode(const struct amber_part *p, struct amber_buf *out,
                                   struct amber_err *err)
{
    static const uint8_t no_digest[sizeof(struct amber_sha256)];
    struct amber_sha256 digest;
    enum amber_rc rc = amber_buf_puts(out, MAGIC, err);

    if (!rc)
        rc = amber_buf_append(out, no_digest, sizeof(no_digest), err);
    if (!rc)
        rc = put_text(out, p->key, err);
    if (!rc)
        rc = put_text(out, p->foreign->version, err);
    if (!rc)
        rc = put_text(out, p->foreign->fault ? p->foreign->fault : "", err);
    if (!rc)
        rc = put_number(out, p->codec, 1, err);
    if (!rc)
        rc = put_number(out, p->stored_bytes, 8, err);
    if (!rc)
        rc = put_number(out, p->raw_bytes, 8, err);
    if (!rc)
        rc = put_number(out, p->n_blocks, 4, err);
    for (size_t i = 0; !rc && i < p->n_blocks; i++)
        rc = put_block(out, &p->blocks[i], &p->foreign->blocks[i], err);
    if (!rc)
        rc = amber_sha256(out->data + HEAD_BYTES, out->len - HEAD_BYTES, &digest, err);
    if (!rc)
        memcpy(out->data + strlen(MAGIC), digest.b, sizeof(digest.b));
    return rc;
}

/* ---- reading ---- */

/* What is left of a document; short once something wasn't there. */
struct doc {
    const uint8_t *p, *end;
    bool is_short;
};

static const uint8_t *get_bytes(struct doc *d, size_t len)
{
    if (d->is_short || (size_t)(d->end - d->p) < len) {
        d->is_short = true;
        return NULL;
    }
    d->p += len;
    return d->p - len;
}

static uint64_t get_number(struct doc *d, size_t len)
{
    const uint8_t *p = get_bytes(d, len);
    uint64_t v = 0;

    for (size_t i = 0; p && i < len; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

static enum amber_rc get_text(struct doc *d, char **out, struct amber_err *err)
{
    size_t len = (size_t)get_number(d, 2);
    const uint8_t *p = get_bytes(d, len);

    if (p && memchr(p, 0, len))
        d->is_short = true; /* not a text that we wrote */
    *out = p ? strndup((const char *)p, len) : strdup("");
    return *out ? AMBER_OK : amber_fail_nomem(err, "an index", len);
}

static enum amber_rc fail_doc(const char *what, struct amber_err *err)
{
    return amber_fail(err, AMBER_E_CORRUPT, "the index is damaged: %s", what);
}

/* Whether block i of the part can be what the document says. */
static bool sound_block(const struct amber_part *p, size_t i)
{
    const struct amber_block *k = &p->blocks[i];
    const struct foreign_block *f = &p->foreign->blocks[i];

    if (k->raw_len == 0 || k->raw_len > AMBER_BLOCK_MAX || f->how >= FOREIGN_HOWS ||
        k->stored_off > p->stored_bytes || k->stored_len > p->stored_bytes - k->stored_off)
        return false;
    switch (f->how) {
    case FOREIGN_START:
        return k->stored_len > 0 && k->stored_len <= FOREIGN_IN_MAX && f->record_len == 0;
    case FOREIGN_WINDOW:
        return k->stored_len > 0 && k->stored_len <= FOREIGN_IN_MAX && f->record_len > 0 &&
               p->codec == AMBER_CODEC_GZIP && f->record_off <= WINDOWS_FILE_MAX &&
               f->record_len <= WINDOWS_FILE_MAX - f->record_off;
    case FOREIGN_COPY:
        return k->stored_len == 0 && f->record_len > 0 && f->record_off == 0 &&
               f->record_len <= AMBER_BLOCK_STORED_MAX && p->codec == AMBER_CODEC_ZSTD;
    case FOREIGN_BAD:
        return i + 1 == p->n_blocks && k->raw_len == 1 && f->record_len == 0 && p->foreign->fault;
    }
    return false;
}

static enum amber_rc get_blocks(struct doc *d, struct amber_part *p, size_t n,
                                struct amber_err *err)
{
    uint64_t raw = 0;
    enum amber_rc rc = AMBER_OK;

    if (n > (size_t)(d->end - d->p) / BLOCK_BYTES)
        return fail_doc("it ends within its blocks", err);
    rc = amber_calloc(n ? n : 1, sizeof(*p->blocks), &p->blocks, err);
    if (!rc)
        rc = amber_calloc(n ? n : 1, sizeof(*p->foreign->blocks), &p->foreign->blocks, err);
    if (rc)
        return rc;
    p->n_blocks = n;
    for (size_t i = 0; i < n; i++) {
        struct amber_block *k = &p->blocks[i];
        struct foreign_block *f = &p->foreign->blocks[i];
        k->kind = AMBER_BLOCK_DATA;
        k->stored_off = get_number(d, 8);
        k->stored_len = (uint32_t)get_number(d, 4);
        k->raw_off = raw;
        k->raw_len = (uint32_t)get_number(d, 4);
        f->record_off = (uint32_t)get_number(d, 4);
        f->record_len = (uint32_t)get_number(d, 4);
        f->how = (enum foreign_how)get_number(d, 1);
        f->raw_check = get_number(d, 8);
        memcpy(k->sha256.b, get_bytes(d, sizeof(k->sha256.b)), sizeof(k->sha256.b));
        raw += k->raw_len;
        if (!sound_block(p, i))
            return fail_doc("a block is out of range", err);
    }
    return raw == p->raw_bytes ? AMBER_OK : fail_doc("its blocks don't add up", err);
}

static enum amber_rc parse(struct doc *d, struct amber_part *p, struct amber_err *err)
{
    AMBER_AUTO_FREE char *version = NULL;
    enum amber_rc rc = amber_calloc(1, sizeof(*p->foreign), &p->foreign, err);

    if (!rc)
        rc = get_text(d, &p->key, err);
    if (!rc)
        rc = get_text(d, &version, err);
    if (!rc)
        rc = get_text(d, &p->foreign->fault, err);
    if (rc)
        return rc;
    snprintf(p->foreign->version, sizeof(p->foreign->version), "%s", version);
    if (!p->foreign->fault[0]) {
        free(p->foreign->fault);
        p->foreign->fault = NULL;
    }
    uint64_t codec = get_number(d, 1);
    p->stored_bytes = get_number(d, 8);
    p->raw_bytes = get_number(d, 8);
    size_t n = (size_t)get_number(d, 4);
    if (d->is_short || strlen(version) >= sizeof(p->foreign->version) ||
        (codec != AMBER_CODEC_GZIP && codec != AMBER_CODEC_ZSTD))
        return fail_doc("its head is wrong", err);
    p->codec = (enum amber_codec_kind)codec;
    rc = get_blocks(d, p, n, err);
    if (!rc && d->p != d->end)
        rc = fail_doc("something is behind its end", err);
    return rc;
}

enum amber_rc amber_foreign_parse(const void *doc, size_t len, struct amber_part *out,
                                  struct amber_err *err)
{
    struct amber_sha256 found;
    struct amber_part p = {0};
    struct doc d = {.p = doc, .end = (const uint8_t *)doc + len};

    if (len < HEAD_BYTES || memcmp(doc, MAGIC, strlen(MAGIC)) != 0)
        return fail_doc("it isn't one, or of another version", err);
    enum amber_rc rc = amber_sha256(d.p + HEAD_BYTES, len - HEAD_BYTES, &found, err);
    if (!rc && memcmp(found.b, d.p + strlen(MAGIC), sizeof(found.b)) != 0)
        rc = fail_doc("its digest differs", err);
    d.p += HEAD_BYTES;
    if (!rc)
        rc = parse(&d, &p, err);
    if (rc) {
        amber_part_clear(&p);
        return rc;
    }
    amber_part_clear(out);
    *out = p;
    return AMBER_OK;
}
