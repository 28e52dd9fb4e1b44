/*
 * attempt_priv.h - one attempt at one unit: attempt.c (the steps) and piece.c (what each archive is
 * called and says of itself).
 */
#ifndef AMBER_ATTEMPT_PRIV_H
#define AMBER_ATTEMPT_PRIV_H

#include "amber/writer.h"
#include "archiver_priv.h"

/* One table's archive within a unit. */
struct piece {
    struct amber_unit_table exported;
    struct amber_writer *writer; /* NULL until the first row */
    struct amber_manifest manifest;
    struct amber_proof *proof;
    char *logical, *manifest_key;
    struct amber_sha256 manifest_digest;
};

/* One attempt at one unit. */
struct attempt {
    struct archiver *a;
    struct amber_unit *unit;
    struct amber_run run;
    struct piece *pieces; /* one a table of the family */
    size_t table;         /* being exported */
    int64_t first_day, last_day;
    uint64_t span_rows;
    uint64_t finished_bytes; /* raw text of this unit's finished archives */
    bool commit_sent;
};

/* Reserve the first free name for the table that is being exported: NAME, NAME_2, NAME_3, ... into
 * p->logical. errors LIMIT; as the store's and the database's */
enum amber_rc amber_piece_reserve(struct attempt *t, struct piece *p, struct amber_err *err)
    AMBER_MUST_CHECK;
/* Everything of the manifest that doesn't depend on the bytes. */
enum amber_rc amber_piece_describe(struct attempt *t, struct piece *p, struct amber_err *err)
    AMBER_MUST_CHECK;

#endif
