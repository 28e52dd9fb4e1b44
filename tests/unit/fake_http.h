/*
 * fake_http.h - an HTTP server for tests, on the loopback interface: answers by a table, keeps what
 * it was asked. One connection after the other, one request each.
 */
#ifndef AMBER_FAKE_HTTP_H
#define AMBER_FAKE_HTTP_H

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FAKE_REQUEST_BYTES 8192
#define FAKE_REQUESTS_MAX 16
#define FAKE_ROUTES_MAX 16

/* Whose request has text in it gets this answer; the last that fits. */
struct fake_route {
    const char *text;
    int status;
    const char *headers; /* lines with "\r\n", or "" */
    const char *body;
    unsigned times;   /* that it is given, then it is passed over; 0: always */
    unsigned missing; /* bytes that Content-Length promises behind the body */
};

struct fake_http {
    int fd;
    unsigned port;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards the rest */
    const struct fake_route *routes;
    size_t n_routes;
    unsigned given[FAKE_ROUTES_MAX];
    unsigned n_requests;
    char requests[FAKE_REQUESTS_MAX][FAKE_REQUEST_BYTES];
};

/* A request with its body; false at the end of the connection. Of a large one the begin is kept. */
static bool fake_receive(int fd, char *buf)
{
    static char rest[65536]; /* the one thread's */
    size_t len = 0, got = 0, want = SIZE_MAX;

    while (got < want) {
        bool full = len == FAKE_REQUEST_BYTES - 1;
        ssize_t n = full ? recv(fd, rest, sizeof(rest), 0)
                         : recv(fd, buf + len, FAKE_REQUEST_BYTES - 1 - len, 0);
        if (n <= 0)
            return false;
        got += (size_t)n;
        if (full)
            continue;
        len += (size_t)n;
        buf[len] = '\0';
        const char *end = strstr(buf, "\r\n\r\n");
        if (!end)
            continue;
        const char *said = strcasestr(buf, "content-length:");
        size_t body = said && said < end ? (size_t)strtoul(said + 15, NULL, 10) : 0;
        want = (size_t)(end + 4 - buf) + body;
    }
    return true;
}

static void fake_answer(struct fake_http *f, int fd, const char *request)
{
    static const struct fake_route nothing = {.status = 404, .text = "", .headers = "", .body = ""};
    const struct fake_route *r = &nothing;
    char *text = NULL;

    pthread_mutex_lock(&f->mutex);
    if (f->n_requests < FAKE_REQUESTS_MAX)
        memcpy(f->requests[f->n_requests++], request, FAKE_REQUEST_BYTES);
    for (size_t i = f->n_routes; i-- > 0;) {
        if (!strstr(request, f->routes[i].text) ||
            (f->routes[i].times && f->given[i] == f->routes[i].times))
            continue;
        f->given[i]++;
        r = &f->routes[i];
        break;
    }
    int len = asprintf(
        &text, "HTTP/1.1 %d X\r\n%sContent-Length: %zu\r\nConnection: close\r\n\r\n%s", r->status,
        r->headers, strlen(r->body) + r->missing, strncmp(request, "HEAD", 4) == 0 ? "" : r->body);
    pthread_mutex_unlock(&f->mutex);
    if (len > 0)
        (void)!send(fd, text, (size_t)len, MSG_NOSIGNAL);
    free(text);
}

static void *fake_main(void *arg)
{
    struct fake_http *f = arg;
    int fd;

    while ((fd = accept(f->fd, NULL, NULL)) >= 0) {
        char request[FAKE_REQUEST_BYTES] = "";
        if (fake_receive(fd, request))
            fake_answer(f, fd, request);
        close(fd);
    }
    return NULL;
}

static void fake_routes(struct fake_http *f, const struct fake_route *routes, size_t n)
{
    pthread_mutex_lock(&f->mutex);
    f->routes = routes;
    f->n_routes = n;
    f->n_requests = 0;
    memset(f->given, 0, sizeof(f->given));
    pthread_mutex_unlock(&f->mutex);
}

static bool fake_start(struct fake_http *f)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(a);

    pthread_mutex_init(&f->mutex, NULL);
    f->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (f->fd < 0 || bind(f->fd, (struct sockaddr *)&a, sizeof(a)) || listen(f->fd, 16) ||
        getsockname(f->fd, (struct sockaddr *)&a, &len))
        return false;
    f->port = ntohs(a.sin_port);
    return pthread_create(&f->thread, NULL, fake_main, f) == 0;
}

static void fake_stop(struct fake_http *f)
{
    shutdown(f->fd, SHUT_RDWR); /* ends accept */
    pthread_join(f->thread, NULL);
    close(f->fd);
    pthread_mutex_destroy(&f->mutex);
}

#endif
