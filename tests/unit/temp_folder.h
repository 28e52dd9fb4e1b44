/*
 * temp_folder.h - a folder of a test's own, removed with everything in it.
 */
#ifndef AMBER_TEMP_FOLDER_H
#define AMBER_TEMP_FOLDER_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEMP_FOLDER_MAX 64

static inline void temp_folder_make(char out[TEMP_FOLDER_MAX])
{
    snprintf(out, TEMP_FOLDER_MAX, "/tmp/amber-test-XXXXXX");
    if (!mkdtemp(out)) {
        perror("mkdtemp");
        abort();
    }
}

static inline int temp_folder_remove_one(const char *path, const struct stat *sb, int type,
                                         struct FTW *ftw)
{
    (void)sb;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void temp_folder_remove(const char *path)
{
    nftw(path, temp_folder_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
