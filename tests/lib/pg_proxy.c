/*
 * pg_proxy.c - between a client and PostgreSQL, on unix sockets: loses a connection around a
 * COMMIT.
 *
 *   pg_proxy LISTEN SERVER APPLICATION before|during|after N [refuse]
 *
 * The N-th simple query "COMMIT" of sessions whose startup packet has APPLICATION in it loses both
 * ends of its connection: before it reaches the server, right behind sending it, or once the server
 * has answered, of which the client sees nothing. With refuse every connection is lost then, and
 * new ones are ended as they come. Says "ready" when it listens and "lost" when it has struck.
 * One thread, blocking writes: what a test sends fits into the sockets' buffers.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PAIRS_MAX 64

enum moment { BEFORE, DURING, AFTER };

struct pair {
    int client, server; /* -1: free */
    bool known;         /* the startup packet was seen */
    bool watched;       /* it names the application */
    bool condemned;     /* the answer to its COMMIT is awaited */
};

static struct {
    const char *application, *server;
    enum moment moment;
    unsigned nth, seen;
    bool refuse, refusing;
} plan;
static struct pair pairs[PAIRS_MAX];

static int unix_socket(const char *path, struct sockaddr_un *out)
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(out->sun_path))
        return -1;
    memcpy(out->sun_path, path, strlen(path) + 1);
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void end_pair(struct pair *p)
{
    if (p->client >= 0)
        close(p->client);
    if (p->server >= 0)
        close(p->server);
    *p = (struct pair){.client = -1, .server = -1};
}

static void strike(struct pair *p)
{
    end_pair(p);
    plan.refusing = plan.refuse;
    for (size_t i = 0; plan.refusing && i < PAIRS_MAX; i++)
        end_pair(&pairs[i]);
    puts("lost");
    fflush(stdout);
}

static bool send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static void take_client(int listener)
{
    struct sockaddr_un addr;
    int client = accept(listener, NULL, NULL);
    if (client < 0)
        return;
    int server = unix_socket(plan.server, &addr);
    for (size_t i = 0; server >= 0 && !plan.refusing && i < PAIRS_MAX; i++) {
        if (pairs[i].client >= 0)
            continue;
        if (connect(server, (struct sockaddr *)&addr, sizeof(addr)) != 0)
            break;
        pairs[i] = (struct pair){.client = client, .server = server};
        return;
    }
    close(client);
    if (server >= 0)
        close(server);
}

static void from_client(struct pair *p)
{
    static const char commit[] = "Q\0\0\0\013COMMIT"; /* with its final NUL */
    static char data[1 << 16];
    ssize_t n = read(p->client, data, sizeof(data));
    if (n <= 0) {
        end_pair(p);
        return;
    }
    if (!p->known) {
        p->watched = memmem(data, (size_t)n, plan.application, strlen(plan.application)) != NULL;
        p->known = true;
    }
    bool hit =
        p->watched && memmem(data, (size_t)n, commit, sizeof(commit)) && ++plan.seen == plan.nth;
    if (hit && plan.moment == BEFORE) {
        strike(p);
    } else if (!send_all(p->server, data, (size_t)n)) {
        end_pair(p);
    } else if (hit && plan.moment == DURING) {
        strike(p);
    } else if (hit) {
        p->condemned = true;
    }
}

static void from_server(struct pair *p)
{
    static char data[1 << 16];
    ssize_t n = read(p->server, data, sizeof(data));
    if (n > 0 && p->condemned)
        strike(p);
    else if (n <= 0 || !send_all(p->client, data, (size_t)n))
        end_pair(p);
}

static void serve(int listener)
{
    for (;;) {
        struct pollfd fds[1 + 2 * PAIRS_MAX] = {{.fd = listener, .events = POLLIN}};
        for (size_t i = 0; i < PAIRS_MAX; i++) {
            fds[1 + 2 * i] = (struct pollfd){.fd = pairs[i].client, .events = POLLIN};
            fds[2 + 2 * i] = (struct pollfd){.fd = pairs[i].server, .events = POLLIN};
        }
        if (poll(fds, 1 + 2 * PAIRS_MAX, -1) < 0 && errno != EINTR)
            return;
        for (size_t i = 0; i < PAIRS_MAX; i++) { /* a strike may have ended any of them */
            if (fds[1 + 2 * i].revents && pairs[i].client == fds[1 + 2 * i].fd)
                from_client(&pairs[i]);
            if (fds[2 + 2 * i].revents && pairs[i].server == fds[2 + 2 * i].fd)
                from_server(&pairs[i]);
        }
        if (fds[0].revents)
            take_client(listener);
    }
}

int main(int argc, char **argv)
{
    static const char *const moments[] = {"before", "during", "after"};
    struct sockaddr_un addr;
    if (argc < 6)
        return 2;
    plan.server = argv[2];
    plan.application = argv[3];
    while (plan.moment <= AFTER && strcmp(moments[plan.moment], argv[4]) != 0)
        if (++plan.moment > AFTER)
            return 2;
    plan.nth = (unsigned)strtoul(argv[5], NULL, 10);
    plan.refuse = argc > 6;
    for (size_t i = 0; i < PAIRS_MAX; i++)
        pairs[i] = (struct pair){.client = -1, .server = -1};
    int listener = unix_socket(argv[1], &addr);
    if (listener < 0 || bind(listener, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
        listen(listener, 16) != 0) {
        perror(argv[1]);
        return 1;
    }
    puts("ready");
    fflush(stdout);
    serve(listener);
    return 1;
}
