/*
 * replay.c - run a fuzz target once over each file of a folder: the main of the ordinary test run.
 * Prints TAP, one test a file; a target that finds a fault aborts.
 */
#include <dirent.h>
#include <stdio.h>

#include "amber/mem.h"

#define INPUT_MAX (16U * 1024U * 1024U)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static bool replay(const char *folder, const char *name)
{
    AMBER_AUTO_BUF struct amber_buf file = AMBER_BUF_INIT(INPUT_MAX);
    AMBER_AUTO_FREE char *path = NULL;
    AMBER_AUTO_FREE uint8_t *exact = NULL; /* so that a sanitizer sees any overrun */
    struct amber_err err = AMBER_ERR_INIT;
    FILE *f;

    if (amber_asprintf(&path, &err, "%s/%s", folder, name) != AMBER_OK ||
        amber_buf_reserve(&file, INPUT_MAX, &err) != AMBER_OK || !(f = fopen(path, "rb")))
        return false;
    file.len = fread(file.data, 1, INPUT_MAX, f);
    fclose(f);
    if (amber_calloc(file.len, 1, &exact, &err) != AMBER_OK)
        return false;
    memcpy(exact, file.data, file.len);
    LLVMFuzzerTestOneInput(exact, file.len);
    return true;
}

int main(int argc, char **argv)
{
    struct dirent **entries;
    int n = argc == 2 ? scandir(argv[1], &entries, is_input, alphasort) : -1, n_bad = 0;

    if (n <= 0) {
        printf("Bail out! no inputs to replay; usage: %s FOLDER\n", argv[0]);
        return 1;
    }
    printf("1..%d\n", n);
    for (int i = 0; i < n; i++) {
        bool ok = replay(argv[1], entries[i]->d_name);
        printf("%s %d - %s\n", ok ? "ok" : "not ok", i + 1, entries[i]->d_name);
        fflush(stdout);
        n_bad += !ok;
        free(entries[i]);
    }
    free(entries);
    return n_bad > 0;
}
