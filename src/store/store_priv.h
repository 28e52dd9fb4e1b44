/*
 * store_priv.h - the drivers, as store.c lists them.
 */
#ifndef AMBER_STORE_PRIV_H
#define AMBER_STORE_PRIV_H

#include "amber/store.h"

/* Folder of amberfs' own objects. */
#define STORE_META_DIR ".amberfs"
/* Folder of the local driver's unfinished files; reserved in every store. */
#define STORE_TMP_DIR ".amberfs/tmp"

enum amber_rc amber_store_local_open(const struct amber_store_config *cfg, struct amber_store **out,
                                     struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_store_s3_open(const struct amber_store_config *cfg, struct amber_store **out,
                                  struct amber_err *err) AMBER_MUST_CHECK;

#endif
