/*
 * fuzz_mount_options.c - libFuzzer target for the words behind -o, as a person or fstab gives them.
 *
 * What is taken for FUSE are words that FUSE knows, so that taking them once more gives the same.
 *
 * In the ordinary run replay.c feeds it the inputs of corpus/mount_options.
 */
#include "fuzz.h"
#include "options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AMBER_AUTO_FREE char *text = strndup((const char *)data, size);
    struct amber_options o = {0}, again = {0};
    struct amber_err err = AMBER_ERR_INIT;

    check(text != NULL);
    enum amber_rc rc = amber_mount_options_read(text, &o, &err);
    check(!rc || (rc == AMBER_E_INVALID && err.text[0]));
    if (!rc && o.fuse_options) {
        check(!amber_mount_options_read(o.fuse_options, &again, &err));
        check(again.fuse_options && strcmp(again.fuse_options, o.fuse_options) == 0);
        check(!again.env_file && !again.jobs_file && !again.group);
    }
    amber_options_clear(&o);
    amber_options_clear(&again);
    return 0;
}
