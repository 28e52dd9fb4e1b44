/*
 * fuzz.h - what fuzz targets share: the check that ends a target, and a store in memory.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "amber/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise of the code under test; an input that breaks it ends the program. */
static inline void check(bool ok)
{
    if (!ok)
        __builtin_trap();
}

/* One object of a store in memory; its bytes are borrowed. */
struct memory_object {
    const char *key;
    const void *data;
    size_t len;
};
/* A read-only store of these objects (borrowed until the free, by amber_store_free). */
struct amber_store *memory_store(const struct memory_object *objects, size_t n);

#endif
