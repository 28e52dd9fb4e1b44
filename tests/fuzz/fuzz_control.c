/*
 * fuzz_control.c - libFuzzer target for what is written to .control/restore: each input is one
 * line.
 *
 * What is taken names an archive, and its words lie within the line.
 *
 * In the ordinary run replay.c feeds it the inputs of corpus/control.
 */
#include "fuzz.h"
#include "service_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AMBER_AUTO_FREE char *line = strndup((const char *)data, size);
    struct amber_restore_options opt = {0};
    struct amber_err err = AMBER_ERR_INIT;
    char *archive = NULL;

    check(line != NULL);
    const char *end = line + strlen(line);
    enum amber_rc rc = amber_restore_words(line, &archive, &opt, &err);
    if (rc) {
        check(rc == AMBER_E_INVALID && err.text[0]);
        return 0;
    }
    check(archive >= line && archive < end && archive[0] && strncmp(archive, "--", 2) != 0);
    check(!opt.into || (opt.into > archive && opt.into < end && opt.into[0]));
    check(opt.on_conflict <= AMBER_CONFLICT_REPLACE);
    return 0;
}
