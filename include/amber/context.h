/*
 * context.h - what one process works with: the store and who owns it, the pool, the database's
 * address and the archiving settings. Made once by the app, borrowed by everything in job.
 */
#ifndef AMBER_CONTEXT_H
#define AMBER_CONTEXT_H

#include "amber/manifest.h"
#include "amber/pg.h"
#include "amber/pool.h"
#include "amber/tree.h"

struct amber_context {
    struct amber_store *store; /* borrowed */
    struct amber_pool *pool;   /* borrowed */
    struct amber_cache *cache; /* borrowed */
    struct amber_foreign *foreign; /* borrowed; files of other programs */
    const char *conninfo;      /* "" or NULL: libpq's PG* */
    enum amber_codec_kind codec;
    int level;
    size_t block_bytes;
    int orphan_days;
    int restore_pin_days;
    bool new_store;               /* a folder without a store may become a further one */
    unsigned export_connections;  /* 1: polite; more read at once, and nothing else is spared */
    uint64_t max_rows_per_second; /* exported by a run; 0: as fast as it goes */
    char host[256];
};

/* Connect for a purpose ("archive log-archival"). errors as amber_pg_open. */
enum amber_rc amber_context_connect(const struct amber_context *ctx, const char *purpose,
                                    const struct amber_cancel *cancel, struct amber_pg **out,
                                    struct amber_err *err) AMBER_MUST_CHECK;

/*
 * Whether a store may begin where there is none: not if the catalog, which must be there, has
 * archives in another, unless ctx->new_store. Of ctx only that is looked at.
 * errors  DENIED with the remedy; as the database's
 */
enum amber_rc amber_context_may_begin(const struct amber_context *ctx, struct amber_pg *pg,
                                      struct amber_err *err) AMBER_MUST_CHECK;

/*
 * Make sure that the catalog exists and that it and the store belong together: the first one to
 * come claims an unowned store (store.json is written once). Where there is no store yet though the
 * catalog has archives in another, most likely a disk isn't mounted or a path is mistaken: that is
 * refused unless ctx->new_store. Where replicas have the store and the primary is empty, it may have
 * been lost as well: out->replicas_only tells that nothing is to be archived there, and with
 * ctx->new_store it becomes the primary again.
 * errors  DENIED the store belongs to another catalog (both are named), or there is none where the
 *         catalog's archives should be; UNSUPPORTED the store asks for a newer amberfs; as the
 *         store's and the database's
 */
enum amber_rc amber_context_claim(const struct amber_context *ctx, struct amber_pg *pg,
                                  struct amber_store_identity *out, struct amber_err *err)
    AMBER_MUST_CHECK;

/* The archives that may be shown, as tree entries with owned strings. */
struct amber_entry_list {
    struct amber_tree_entry *items; /* owned, and so are the items' strings */
    size_t n, cap;
};
void amber_entry_list_clear(struct amber_entry_list *l);
/* The entry's strings are copied. errors NOMEM */
enum amber_rc amber_entry_list_add(struct amber_entry_list *l, const struct amber_tree_entry *e,
                                   struct amber_err *err) AMBER_MUST_CHECK;
/* From the catalog: what it has committed. */
enum amber_rc amber_entries_from_catalog(const struct amber_context *ctx, struct amber_pg *pg,
                                         const char *store_id, struct amber_entry_list *out,
                                         struct amber_err *err) AMBER_MUST_CHECK;
/*
 * Without a database: archives whose run has a commit marker and was not superseded. A view keeps what
 * it read: each look costs one listing, and reads of the new markers.
 */
struct amber_marker_view;
enum amber_rc amber_marker_view_new(struct amber_marker_view **out, struct amber_err *err)
    AMBER_MUST_CHECK;
void amber_marker_view_free(struct amber_marker_view *v); /* NULL allowed */
struct amber_elsewhere;
/* Gives what the store lists, its own; called once, on a thread of its own where that saves time. */
typedef enum amber_rc (*amber_listing_fn)(void *arg, const struct amber_elsewhere **out,
                                          struct amber_err *err);
/* list: is made while the markers are read, for the sizes that it tells; NULL: none. Archives that it
 * hasn't are looked up. errors  as the store's list, get, stat, and list's; the view is as before */
enum amber_rc amber_marker_view_look(struct amber_marker_view *v, const struct amber_context *ctx,
                                     amber_listing_fn list, void *list_arg, bool *out_changed,
                                     struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_marker_view_entries(const struct amber_marker_view *v,
                                        struct amber_entry_list *out, struct amber_err *err)
    AMBER_MUST_CHECK;
/* A look and its entries, once, in the order of their keys. */
enum amber_rc amber_entries_from_markers(const struct amber_context *ctx,
                                         struct amber_entry_list *out, struct amber_err *err)
    AMBER_MUST_CHECK;
/*
 * Check what belongs to no single archive: store.json and every commit marker. Each that is damaged
 * is told to fault, with its key in the text.
 * errors  as the store's: they couldn't all be read
 */
enum amber_rc amber_documents_check(const struct amber_context *ctx,
                                    void (*fault)(void *arg, const struct amber_err *why),
                                    void *arg, struct amber_err *err) AMBER_MUST_CHECK;
/*
 * Files of other programs: what the store lists minus what amberfs wrote.
 *
 * List the store first and read the catalog afterwards, so that whatever amberfs had written by then
 * is known as its own. The markers may be read meanwhile: what they don't tell yet has a manifest, which
 * is looked for last. Names that begin with a dot, in any folder, are left out.
 */
struct amber_stored {
    char *key; /* owned */
    uint64_t size;
    int64_t mtime_us;
};
struct amber_elsewhere {
    struct amber_stored *items; /* owned */
    size_t n, cap;
};
void amber_elsewhere_clear(struct amber_elsewhere *e);
enum amber_rc amber_elsewhere_copy(const struct amber_elsewhere *e, struct amber_elsewhere *out,
                                   struct amber_err *err) AMBER_MUST_CHECK;
/* The same number for the same files with the same sizes and times. */
uint64_t amber_elsewhere_digest(const struct amber_elsewhere *e);
/* out is cleared first. errors as amber_store_list */
enum amber_rc amber_elsewhere_list(const struct amber_context *ctx, struct amber_elsewhere *out,
                                   struct amber_err *err) AMBER_MUST_CHECK;
/*
 * Add those of e to l, which has all that may be shown of ours, under names that are free
 * (docs/foreign.md). What a run wrote that didn't commit stays hidden: with a database by the names
 * that runs reserved; always by its manifest; without one (pg NULL) in a store that amberfs writes to by
 * the header that its archives begin with; plain .json files, which have none, are hidden all there.
 * errors  as the database's and the store's
 */
enum amber_rc amber_elsewhere_add(const struct amber_context *ctx, struct amber_pg *pg,
                                  const char *store_id, const struct amber_elsewhere *e,
                                  struct amber_entry_list *l, struct amber_err *err)
    AMBER_MUST_CHECK;
/*
 * Archives that the store doesn't hold any more. listed: what it listed before l, which has ours only,
 * was read. What isn't in it is looked up one by one, unless it is much.
 * errors  as the store's stat
 */
struct amber_missing {
    uint64_t archives;
    char first[256]; /* the name of one, "" if there is none; a longer one is cut */
};
enum amber_rc amber_missing_find(const struct amber_context *ctx,
                                 const struct amber_elsewhere *listed,
                                 const struct amber_entry_list *l, struct amber_missing *out,
                                 struct amber_err *err) AMBER_MUST_CHECK;
/* The entry with this logical name or store key (a leading mount path or "./" is not looked at);
 * NULL if there is none. */
const struct amber_tree_entry *amber_entries_find(const struct amber_entry_list *l,
                                                  const char *name);

#endif
