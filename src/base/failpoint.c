/*
 * failpoint.c - the one step at which a test wants this process to die, stop, wait or fail.
 *
 * The environment is read at the first pass of any step. armed points at the wish, or is NULL in
 * every ordinary process. A wish that can't be understood fails each step: a test with a typing
 * error must not pass.
 */
#include "amber/failpoint.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "amber/mem.h"

enum action { ACTION_KILL, ACTION_STOP, ACTION_ERROR, ACTION_PAUSE, ACTION_BAD_SPEC };

static struct wish {
    char name[64];
    unsigned nth;    /* pass at which it happens, from 1 */
    unsigned passed; /* passes so far; atomic */
    enum action action;
} wish;
static struct wish *armed;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool parse_action(const char *word, enum action *out)
{
    static const char *const words[] = {
        [ACTION_KILL] = "kill",
                                        [ACTION_STOP] = "stop",
                                        [ACTION_ERROR] = "error",
                                        [ACTION_PAUSE] = "pause"};

    for (size_t i = 0; i < amber_countof(words); i++) {
        if (strcmp(word, words[i]) == 0) {
            *out = (enum action)i;
            return true;
        }
    }
    return false;
}

/* NAME[:N][=ACTION] */
static bool parse_spec(const char *spec, struct wish *w)
{
    size_t len = strcspn(spec, ":=");

    if (len == 0 || len >= sizeof(w->name))
        return false;
    memcpy(w->name, spec, len);
    spec += len;
    if (*spec == ':') {
        char *end;
        unsigned long n = strtoul(spec + 1, &end, 10);
        if (n == 0 || n > 1000000 || (*end && *end != '='))
            return false;
        w->nth = (unsigned)n;
        spec = end;
    }
    return *spec == '\0' || parse_action(spec + 1, &w->action);
}

static void arm(const char *spec)
{
    armed = NULL;
    if (!spec || !*spec)
        return;
    wish = (struct wish){.nth = 1, .action = ACTION_KILL};
    if (!parse_spec(spec, &wish))
        wish.action = ACTION_BAD_SPEC;
    armed = &wish;
}

static void arm_from_environment(void)
{
    arm(getenv("AMBER_FAILPOINT"));
}

void amber_failpoint_set(const char *spec)
{
    pthread_once(&once, arm_from_environment);
    arm(spec);
}

/* The test has both FIFOs open for reading and writing: neither open nor read meets an end. */
static enum amber_rc pause_here(const char *name, struct amber_err *err)
{
    const char *fifo = getenv("AMBER_FAILPOINT_FIFO");
    char go[4096], byte;
    int out = fifo ? open(fifo, O_WRONLY | O_CLOEXEC) : -1;

    snprintf(go, sizeof(go), "%s.go", fifo ? fifo : "");
    int in = out < 0 ? -1 : open(go, O_RDONLY | O_CLOEXEC);
    bool told = in >= 0 && dprintf(out, "%s\n", name) > 0 && read(in, &byte, 1) == 1;
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    if (!told)
        return amber_fail(err, AMBER_E_INVALID,
                          "AMBER_FAILPOINT_FIFO names no two FIFOs to pause with; unset it and "
                          "AMBER_FAILPOINT outside of tests");
    return AMBER_OK;
}

enum amber_rc amber_failpoint(const char *name, struct amber_err *err)
{
    pthread_once(&once, arm_from_environment);
    if (!armed)
        return AMBER_OK;
    if (armed->action == ACTION_BAD_SPEC)
        return amber_fail(err, AMBER_E_INVALID,
                          "AMBER_FAILPOINT is not NAME[:N][=kill|stop|error|pause]; unset it outside of "
                          "tests");
    if (strcmp(armed->name, name) != 0 ||
        __atomic_add_fetch(&armed->passed, 1, __ATOMIC_RELAXED) != armed->nth)
        return AMBER_OK;
    switch (armed->action) {
    case ACTION_KILL:
        kill(getpid(), SIGKILL);
        break;
    case ACTION_STOP:
        kill(getpid(), SIGSTOP);
        break;
    case ACTION_PAUSE:
        return pause_here(name, err);
    case ACTION_ERROR:
    case ACTION_BAD_SPEC:
        return amber_fail(err, AMBER_E_IO, "failpoint %s", name);
    }
    return AMBER_OK;
}
