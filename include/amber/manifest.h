/*
 * manifest.h - what is known about one archive: the document beside it that makes it verifiable.
 *
 * A manifest describes *parts*: stored objects made of blocks. The archive is one part, each
 * attachment (the overlay) another, and all are written and read by the same code. Every stored
 * byte of a part belongs to exactly one entry of its block table (header and trailer units too),
 * and each entry has the SHA-256 of its stored bytes.
 *
 *   flow_logs/x.json.gz                                        the archive part
 *   .amberfs/manifests/flow_logs/x.json.gz/<run>.<rows>.<raw bytes>.json      its manifest
 *   .amberfs/attachments/flow_logs/x.json.gz/<run>.overlay.zst                an attachment part
 *   .amberfs/commits/<run>.json                                the commit marker
 *
 * source  docs/format.md (version 1)
 */
#ifndef AMBER_MANIFEST_H
#define AMBER_MANIFEST_H

#include "amber/codec.h"
#include "amber/digest.h"
#include "amber/schema.h"
#include "amber/store.h"

#define AMBER_META_DIR ".amberfs"
#define AMBER_MANIFEST_MAX (64U * 1024U * 1024U) /* bytes of one manifest: 600,000 blocks */
#define AMBER_META_MAX (1024U * 1024U)           /* bytes of a header unit's text */
#define AMBER_UNIT_STORED_MAX (64U * 1024U * 1024U) /* stored bytes of a header or trailer */
#define AMBER_COUNT_MAX ((UINT64_C(1) << 53) - 1)   /* any size or count: exact in JSON */

enum amber_block_kind { AMBER_BLOCK_HEADER, AMBER_BLOCK_DATA, AMBER_BLOCK_TRAILER };

/*
 * One entry of a block table. Entries lie gapless in stored order, the header (if any) first, the
 * trailer (if any) last; data entries cover the raw text without a gap. A data entry starts with a
 * row's first byte (rows >= 1), or holds nothing but a further piece of one huge row (rows 0): so a
 * block with its followers of rows 0 can be parsed on its own.
 */
struct amber_block {
    uint64_t stored_off;
    uint64_t raw_off;
    uint64_t first_row; /* rows are counted in the block in which they start */
    uint32_t stored_len;
    uint32_t raw_len; /* 0 for header and trailer */
    uint32_t rows;
    enum amber_block_kind kind;
    struct amber_sha256 sha256; /* of the stored bytes */
};

struct amber_foreign_part;
/* A stored object made of blocks. */
struct amber_part {
    char *key; /* owned; store key */
    enum amber_codec_kind codec;
    uint64_t stored_bytes, raw_bytes, rows;
    struct amber_sha256 stored_sha256, raw_sha256;
    struct amber_block *blocks; /* owned; in stored order */
    size_t n_blocks;
    struct amber_foreign_part *foreign; /* owned; another program's file (foreign.h), whose blocks
                                           share bytes and leave some out; NULL: ours */
};
void amber_part_clear(struct amber_part *p);
/*
 * Check all that a part promises but its digests. path: what names the part in errors ("archive").
 * errors  CORRUPT "archive.blocks[3].raw_off: ..."
 */
enum amber_rc amber_part_check(const struct amber_part *p, const char *path,
                               struct amber_err *err) AMBER_MUST_CHECK;

struct amber_attachment {
    char *kind; /* owned; "overlay" */
    struct amber_part part;
};

/* A partition that was dropped after its rows were archived: restore makes it anew. */
struct amber_partition {
    char *schema, *name; /* owned */
    char *bound;         /* owned; "FOR VALUES FROM ('2024-01-01') TO ('2024-04-01')" */
};

struct amber_setting {
    char *name, *value; /* owned */
};

struct amber_manifest {
    char archive_id[AMBER_UUID_LEN]; /* random per attempt */
    char run_id[AMBER_UUID_LEN];
    char store_id[AMBER_UUID_LEN];
    char catalog_id[AMBER_UUID_LEN]; /* zero UUID when rebuilt without a catalog */
    char *job;                       /* owned */
    char *database;                  /* owned */
    char *table_schema, *table_name; /* owned */
    char *parent_table;              /* owned; "schema.name" of the family's parent, NULL for a root */
    char *server_version;            /* owned */
    char *amberfs_version;           /* owned */
    bool rebuilt;                    /* made by rebuild-manifest from the archive alone */
    bool typed;                      /* the schema's types are known (false: rebuilt from plain rows) */
    int64_t start_day, end_day;      /* UTC days of the oldest and newest row (a child's: its parent's) */
    int64_t created_us;
    struct amber_schema schema;
    struct amber_partition *partitions; /* owned */
    size_t n_partitions;
    struct amber_setting *settings; /* owned; session settings used for the export */
    size_t n_settings;
    struct amber_part archive;
    struct amber_attachment *attachments; /* owned */
    size_t n_attachments;
    bool write_incompat_unknown; /* parse found an unknown write flag: reading is allowed only */
};
void amber_manifest_clear(struct amber_manifest *m);
const struct amber_part *amber_manifest_attachment(const struct amber_manifest *m,
                                                   const char *kind); /* NULL if none */

/* errors  NOMEM, LIMIT */
enum amber_rc amber_manifest_encode(const struct amber_manifest *m, struct amber_buf *out,
                                    struct amber_err *err) AMBER_MUST_CHECK;
/*
 * Parse and check: sorted, gapless, in range, sums agree. out is cleared first.
 * errors  CORRUPT with the JSON path; UNSUPPORTED unknown read flag; LIMIT, NOMEM
 */
enum amber_rc amber_manifest_parse(const char *text, size_t len, struct amber_manifest *out,
                                   struct amber_err *err) AMBER_MUST_CHECK;

/*
 * The text of an archive's header unit, and back: all that m says but its parts, as known when the
 * archive is opened for writing, so that amber_rebuild can make a lost manifest anew, with types.
 * errors  LIMIT longer than AMBER_META_MAX; NOMEM; of parse as amber_manifest_parse
 */
enum amber_rc amber_manifest_meta_encode(const struct amber_manifest *m, struct amber_buf *out,
                                         struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_manifest_meta_parse(const char *text, size_t len, struct amber_manifest *out,
                                        struct amber_err *err) AMBER_MUST_CHECK;

/* Store key of this manifest (owned by the caller). errors NOMEM, INVALID too long. */
enum amber_rc amber_manifest_key(const char *archive_key, const char *run_id, uint64_t rows,
                                 uint64_t raw_bytes, char **out, struct amber_err *err)
    AMBER_MUST_CHECK;
/* Take such a key apart; pointers into key. errors INVALID not a manifest key. */
struct amber_manifest_name {
    const char *archive_key;
    size_t archive_key_len;
    char run_id[AMBER_UUID_LEN];
    uint64_t rows, raw_bytes;
};
enum amber_rc amber_manifest_key_parse(const char *key, struct amber_manifest_name *out,
                                       struct amber_err *err) AMBER_MUST_CHECK;

/* Store key of an attachment (owned by the caller). errors NOMEM, INVALID too long. */
enum amber_rc amber_attachment_key(const char *archive_key, const char *run_id, const char *kind,
                                   enum amber_codec_kind codec, char **out, struct amber_err *err)
    AMBER_MUST_CHECK;

/* Write under its key / read and parse. digest: of the document's bytes; on get it is compared if
 * expected isn't NULL. put writes nothing that amber_manifest_parse would refuse.
 * errors  as the store's; CORRUPT digest differs, or key and content don't belong together. */
enum amber_rc amber_manifest_put(struct amber_store *st, const struct amber_manifest *m,
                                 char **out_key, struct amber_sha256 *out_digest,
                                 struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_manifest_get(struct amber_store *st, const char *key,
                                 const struct amber_sha256 *expected, struct amber_manifest *out,
                                 struct amber_err *err) AMBER_MUST_CHECK;

/* The commit marker: the run's manifests with their digests. */
struct amber_marker_entry {
    char *manifest_key;          /* owned */
    struct amber_sha256 digest;  /* of the manifest document */
    struct amber_sha256 stored;  /* of the archive's stored bytes */
};
struct amber_marker {
    char run_id[AMBER_UUID_LEN];
    char *job; /* owned */
    int64_t committed_us;
    struct amber_marker_entry *entries; /* owned */
    size_t n_entries;
};
void amber_marker_clear(struct amber_marker *m);
/* Writing a marker that is already there with the same run and entries (any order, any job and
 * time) is OK. errors EXISTS other content. */
enum amber_rc amber_marker_put(struct amber_store *st, const struct amber_marker *m,
                               struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_marker_get(struct amber_store *st, const char *run_id,
                               struct amber_marker *out, struct amber_err *err) AMBER_MUST_CHECK;

/* .amberfs/store.json: who this store is and which catalog owns it. */
struct amber_store_identity {
    char store_id[AMBER_UUID_LEN];
    char catalog_id[AMBER_UUID_LEN]; /* "" while no catalog owns it */
    bool read_only;                  /* an unknown write flag was found */
    bool replicas_only;              /* the primary has none (amber_context_claim) */
};
/* errors  NOT_FOUND no store here yet; CORRUPT; UNSUPPORTED */
enum amber_rc amber_store_identity_get(struct amber_store *st, struct amber_store_identity *out,
                                       struct amber_err *err) AMBER_MUST_CHECK;
/* errors  EXISTS somebody else made it first */
enum amber_rc amber_store_identity_put(struct amber_store *st,
                                       const struct amber_store_identity *id,
                                       struct amber_err *err) AMBER_MUST_CHECK;
/*
 * For who is about to write into the primary what only its replicas know: a primary without a store
 * may be the folder below a disk that isn't mounted. What is put there would be hidden, and with an
 * identity it would get new archives. A store without replicas is what it is.
 * errors  DENIED the primary holds no store
 */
enum amber_rc amber_store_primary_check(struct amber_store *st, struct amber_err *err)
    AMBER_MUST_CHECK;

#endif
