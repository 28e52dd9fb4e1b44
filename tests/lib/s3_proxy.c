/*
 * s3_proxy.c - between a client and an S3 server, HTTP/1.1 on the loopback interface: makes the
 * faults that a rules file asks for, and logs each request.
 *
 *   s3_proxy SERVER_PORT RULES LOG
 *
 * Says "ready PORT" when it listens. A line of RULES, which is read anew whenever it was replaced:
 *
 *   METHOD TEXT FIRST COUNT FAULT [ARGUMENT]
 *
 * Requests of METHOD whose head has TEXT in it ("*": any) are counted; the FIRST-th and those behind
 * it, COUNT in all (0: without end), meet the fault. COUNT "/STEP" instead: every STEP-th of them
 * meets it once, for what is sent again passes uncounted. The first rule that strikes wins.
 *
 *   hang             no answer until the client goes away
 *   reset            the connection is reset, the server sees nothing
 *   torn             the same when the server has seen half of its body
 *   lose             the server carries it out, its answer is lost by a reset
 *   answer STATUS CODE [REGION]   an error document; the server sees nothing
 *   body TEXT        the server carries it out; its answer has this body instead
 *   cut N            N bytes of the body, then the end of the connection
 *   shorten N        the body is N bytes long, and so says its Content-Length
 *   flip N           a bit of the body's byte N (behind its end: of its last)
 *   drip             a byte of the body a second
 *   without NAME     the server doesn't see this header (which must not be signed)
 *
 * A line of LOG, written before the answer: METHOD TARGET STATUS FAULT RANGE, where STATUS is what
 * the client is told (0: nothing), RANGE is FIRST-LAST, and "-" stands for no fault and no range.
 * Messages are held in memory whole and Host goes through unchanged, so that signatures hold. A
 * thread a connection.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define RULES_MAX 32
#define OWED_MAX 64
#define HEAD_MAX 65536
#define BODY_MAX ((size_t)256 << 20)
#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

struct rule {
    char method[16], text[256], fault[16], argument[1024];
    unsigned first, count, step, seen; /* step 0: COUNT was a number */
};

struct message {
    char *data; /* head and body, one behind the other; owned */
    size_t head, len, room;
};

static struct {
    in_port_t server;
    const char *rules_path;
    int log;
    pthread_mutex_t lock; /* guards what is below */
    struct timespec loaded;
    ino_t inode;
    struct rule rules[RULES_MAX];
    size_t n;
    char *owed[OWED_MAX]; /* requests that a "/STEP" has struck, until they come again; owned */
} proxy = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const char *const faults[] = {"hang", "reset",   "torn", "lose", "answer", "body",
                                     "cut",  "shorten", "flip", "drip", "without"};

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    exit(1);
}

/* --- messages --------------------------------------------------------------------------------- */

static bool send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* Some more bytes behind what is there; false at the end. There is always a NUL behind them. */
static bool more(int fd, struct message *m)
{
    if (m->room < m->len + HEAD_MAX + 1) {
        m->room = 2 * m->len + HEAD_MAX + 1;
        m->data = realloc(m->data, m->room);
        must(m->data != NULL && m->len < BODY_MAX, "a message");
    }
    ssize_t n = recv(fd, m->data + m->len, HEAD_MAX, 0);
    m->data[m->len + (size_t)(n > 0 ? n : 0)] = '\0';
    if (n <= 0)
        return false;
    m->len += (size_t)n;
    return true;
}

/* Where the line of a header begins in the head; NULL if it has none. */
static char *header(const struct message *m, const char *name)
{
    size_t len = strlen(name);
    for (char *at = m->data; at && at < m->data + m->head; at = strstr(at, "\r\n")) {
        at += at == m->data ? 0 : 2;
        if (strncasecmp(at, name, len) == 0 && at[len] == ':')
            return at;
    }
    return NULL;
}

static void header_remove(struct message *m, const char *name)
{
    char *at = header(m, name);
    if (!at)
        return;
    size_t len = (size_t)(strstr(at, "\r\n") + 2 - at);
    memmove(at, at + len, m->len - (size_t)(at - m->data) - len + 1);
    m->head -= len;
    m->len -= len;
}

/* The body is these bytes from now on, and Content-Length says how many. */
static void body_set(struct message *m, const char *body, size_t len)
{
    char line[64];
    header_remove(m, "Content-Length");
    header_remove(m, "Transfer-Encoding");
    int n = snprintf(line, sizeof(line), "Content-Length: %zu\r\n\r\n", len);
    size_t head = m->head - 2 + (size_t)n;
    char *data = malloc(head + len + 1);
    must(data != NULL, "a body");
    memcpy(data, m->data, m->head - 2);
    memcpy(data + m->head - 2, line, (size_t)n);
    memcpy(data + head, body, len);
    data[head + len] = '\0';
    free(m->data);
    *m = (struct message){data, head, head + len, head + len + 1};
}

/* Chunks in place of which their content comes; false if the last chunk isn't there yet. */
static bool dechunk(struct message *m)
{
    char *from = m->data + m->head;
    char *content = malloc(m->len + 1);
    size_t len = 0;
    must(content != NULL, "chunks");
    for (;;) {
        char *rest;
        size_t n = strtoul(from, &rest, 16);
        size_t left = m->len - (size_t)(rest - m->data);
        if (rest == from || left < n + 4) {
            free(content);
            return false;
        }
        if (n == 0)
            break;
        memcpy(content + len, rest + 2, n);
        len += n;
        from = rest + 2 + n + 2;
    }
    body_set(m, content, len);
    free(content);
    return true;
}

/* A whole message; method is the request's whose answer it is, NULL for a request. */
static bool message_read(int fd, const char *method, struct message *m)
{
    char *end = NULL;
    while (!end && m->len < HEAD_MAX) {
        if (!more(fd, m))
            return false;
        end = strstr(m->data, "\r\n\r\n");
    }
    if (!end)
        return false;
    m->head = (size_t)(end + 4 - m->data);
    if (!method && header(m, "Expect")) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        header_remove(m, "Expect");
        if (!send_all(fd, go_on, sizeof(go_on) - 1))
            return false;
    }
    const char *size = header(m, "Content-Length");
    size_t want = size ? strtoul(size + sizeof("Content-Length:") - 1, NULL, 10) : 0;
    if (method && (strcmp(method, "HEAD") == 0 || strtoul(m->data + 9, NULL, 10) == 204))
        return true;
    bool chunked = header(m, "Transfer-Encoding") != NULL;
    while (chunked ? !dechunk(m) : m->len - m->head < want)
        if (!more(fd, m))
            return false;
    return true;
}

/* The first len bytes of a request to the server; its connection, -1 if it doesn't take them. */
static int tell_server(const struct message *request, size_t len)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(proxy.server),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0, "socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 && send_all(fd, request->data, len))
        return fd;
    close(fd);
    return -1;
}

/* What the server says to a request. */
static bool ask_server(const struct message *request, const char *method, struct message *answer)
{
    int fd = tell_server(request, request->len);
    bool ok = fd >= 0 && message_read(fd, method, answer);
    if (fd >= 0)
        close(fd);
    return ok;
}

/* --- rules ------------------------------------------------------------------------------------ */

/* Called with the lock held. A file that isn't there has no rules. */
static void rules_load(void)
{
    struct stat st;
    if (stat(proxy.rules_path, &st) != 0 ||
        (st.st_ino == proxy.inode && st.st_mtim.tv_sec == proxy.loaded.tv_sec &&
         st.st_mtim.tv_nsec == proxy.loaded.tv_nsec))
        return;
    FILE *f = fopen(proxy.rules_path, "re");
    must(f != NULL, proxy.rules_path);
    proxy.inode = st.st_ino;
    proxy.loaded = st.st_mtim;
    proxy.n = 0;
    for (size_t i = 0; i < OWED_MAX; i++) {
        free(proxy.owed[i]);
        proxy.owed[i] = NULL;
    }
    char line[2048];
    while (fgets(line, sizeof(line), f) && proxy.n < RULES_MAX) {
        struct rule r = {0};
        char count[16] = "";
        int got = sscanf(line, "%15s %255s %u %15s %15s %1023[^\n]", r.method, r.text, &r.first,
                         count, r.fault, r.argument);
        *(count[0] == '/' ? &r.step : &r.count) =
            (unsigned)strtoul(count + (count[0] == '/'), NULL, 10);
        size_t known = 0;
        while (known < COUNT_OF(faults) && strcmp(faults[known], r.fault) != 0)
            known++;
        if (got < 5 || known == COUNT_OF(faults)) {
            fprintf(stderr, "s3_proxy: not a rule: %s", line);
            exit(1);
        }
        proxy.rules[proxy.n++] = r;
    }
    fclose(f);
}

/* What a request has in common with the one that is sent for it again: a range may begin later. */
static char *request_name(const struct message *request)
{
    char *name = NULL;
    const char *range = header(request, "Range"), *last = range ? strchr(range + 13, '-') : NULL;
    const char *version = strstr(request->data, " HTTP/");
    int len = (int)(version ? version - request->data : 0);

    must(asprintf(&name, "%.*s %.*s", len, request->data, last ? (int)strcspn(last, "\r") : 0,
                  last ? last : "") > 0,
         "a name");
    return name;
}

/* Where a request is noted that has been struck, or room for one (the last place may be taken from
 * another). Called with the lock held. */
static char **owed_find(const char *name)
{
    char **room = &proxy.owed[OWED_MAX - 1];

    for (size_t i = OWED_MAX; i-- > 0;) {
        if (!proxy.owed[i])
            room = &proxy.owed[i];
        else if (strcmp(proxy.owed[i], name) == 0)
            return &proxy.owed[i];
    }
    return room;
}

static bool strikes(const struct rule *r)
{
    if (r->seen < r->first)
        return false;
    if (r->step > 0)
        return (r->seen - r->first) % r->step == 0;
    return r->count == 0 || r->seen - r->first < r->count;
}

/* The rule that strikes this request; its fault is "-" if none does. */
static struct rule rule_for(const struct message *request)
{
    struct rule hit = {.fault = "-"};
    char *head = request->data;
    size_t method = strcspn(head, " ");
    char *name = request_name(request);
    pthread_mutex_lock(&proxy.lock);
    rules_load();
    char **owed = owed_find(name);
    bool again = *owed && strcmp(*owed, name) == 0;
    if (again) {
        free(*owed);
        *owed = NULL;
    }
    head[request->head - 1] = '\0'; /* no text of the body */
    for (size_t i = 0; i < proxy.n; i++) {
        struct rule *r = &proxy.rules[i];
        bool any = strcmp(r->method, "*") == 0;
        if (!any && (strlen(r->method) != method || strncmp(head, r->method, method) != 0))
            continue;
        if ((strcmp(r->text, "*") != 0 && !strstr(head, r->text)) || (again && r->step > 0))
            continue;
        r->seen++;
        if (hit.fault[0] == '-' && strikes(r))
            hit = *r;
    }
    head[request->head - 1] = '\n';
    if (hit.step > 0) {
        free(*owed);
        *owed = name;
        name = NULL;
    }
    pthread_mutex_unlock(&proxy.lock);
    free(name);
    return hit;
}

/* --- faults ----------------------------------------------------------------------------------- */

static void log_request(const struct message *request, unsigned status, const char *fault)
{
    char line[4096];
    const char *range = header(request, "Range");
    const char *target = strchr(request->data, ' ') + 1;
    int n = snprintf(line, sizeof(line), "%.*s %.*s %u %s %.*s\n",
                     (int)strcspn(request->data, " "), request->data,
                     (int)(strcspn(target, " ") % 3000), target, status, fault,
                     range ? (int)strcspn(range + 13, "\r") : 1, range ? range + 13 : "-");
    must(write(proxy.log, line, (size_t)n) == n, "the log");
}

static void reset(int client)
{
    struct linger hard = {.l_onoff = 1};
    setsockopt(client, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
}

static void wait_for_end(int client)
{
    char byte;
    while (recv(client, &byte, 1, 0) > 0)
        ;
}

/* An answer of our own: "STATUS CODE [REGION]". */
static void error_document(const char *argument, struct message *out)
{
    char code[64] = "", region[64] = "", body[512], head[512];
    unsigned status = 500;
    sscanf(argument, "%u %63s %63s", &status, code, region);
    int len = snprintf(body, sizeof(body),
                       "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>%s</Code><Message>made by "
                       "the test</Message>%s%s%s<RequestId>test-request</RequestId></Error>",
                       code, region[0] ? "<Region>" : "", region, region[0] ? "</Region>" : "");
    snprintf(head, sizeof(head),
             "HTTP/1.1 %u Fault\r\nContent-Type: application/xml\r\nx-amz-request-id: "
             "test-request\r\n%s%s%s\r\n",
             status, region[0] ? "x-amz-bucket-region: " : "", region, region[0] ? "\r\n" : "");
    out->data = strdup(head);
    must(out->data != NULL, "an answer");
    out->head = out->len = strlen(head);
    body_set(out, body, (size_t)len);
}

static void drip(int client, const struct message *answer)
{
    struct pollfd gone = {.fd = client, .events = POLLIN};
    if (!send_all(client, answer->data, answer->head))
        return;
    for (size_t i = answer->head; i < answer->len; i++)
        if (!send_all(client, answer->data + i, 1) || poll(&gone, 1, 1000) != 0)
            return;
}

/* Change an answer as the rule says; what is left to send is the whole of it. */
static void answer_change(const struct rule *r, struct message *answer)
{
    size_t len = answer->len - answer->head, n = strtoul(r->argument, NULL, 10);
    if (strcmp(r->fault, "body") == 0)
        body_set(answer, r->argument, strlen(r->argument));
    else if (strcmp(r->fault, "shorten") == 0)
        body_set(answer, answer->data + answer->head, n < len ? n : len);
    else if (strcmp(r->fault, "flip") == 0 && len > 0)
        answer->data[answer->head + (n < len ? n : len - 1)] ^= 4;
}

/* One request and its answer; whether the connection goes on. */
static bool exchange(int client, struct message *request, struct message *answer)
{
    if (!message_read(client, NULL, request))
        return false;
    char method[16];
    snprintf(method, sizeof(method), "%.*s", (int)strcspn(request->data, " "), request->data);
    struct rule r = rule_for(request);
    bool hang = strcmp(r.fault, "hang") == 0, torn = strcmp(r.fault, "torn") == 0;
    if (hang || torn || strcmp(r.fault, "reset") == 0) {
        log_request(request, 0, r.fault);
        int server = torn ? tell_server(request, (request->head + request->len) / 2) : -1;
        if (server >= 0)
            close(server);
        if (hang)
            wait_for_end(client);
        else
            reset(client);
        return false;
    }
    if (strcmp(r.fault, "without") == 0)
        header_remove(request, r.argument);
    if (strcmp(r.fault, "answer") == 0)
        error_document(r.argument, answer);
    else if (!ask_server(request, method, answer))
        return false;
    if (strcmp(r.fault, "lose") == 0) {
        log_request(request, 0, r.fault);
        reset(client);
        return false;
    }
    answer_change(&r, answer);
    log_request(request, (unsigned)strtoul(answer->data + 9, NULL, 10), r.fault);
    if (strcmp(r.fault, "drip") == 0) {
        drip(client, answer);
        return false;
    }
    bool cut = strcmp(r.fault, "cut") == 0;
    size_t len = cut ? answer->head + strtoul(r.argument, NULL, 10) : answer->len;
    return send_all(client, answer->data, len < answer->len ? len : answer->len) && !cut;
}

static void *serve(void *arg)
{
    int client = (int)(intptr_t)arg;
    bool go_on = true;
    while (go_on) {
        struct message request = {0}, answer = {0};
        go_on = exchange(client, &request, &answer);
        free(request.data);
        free(answer.data);
    }
    close(client);
    return NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t at_len = sizeof(at);
    if (argc != 4)
        return 2;
    proxy.server = (in_port_t)strtoul(argv[1], NULL, 10);
    proxy.rules_path = argv[2];
    proxy.log = open(argv[3], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    must(proxy.log >= 0, argv[3]);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(listener >= 0 && bind(listener, (struct sockaddr *)&at, sizeof(at)) == 0 &&
             listen(listener, 64) == 0 &&
             getsockname(listener, (struct sockaddr *)&at, &at_len) == 0,
         "listen");
    printf("ready %u\n", ntohs(at.sin_port));
    fflush(stdout);
    for (;;) {
        pthread_t thread;
        int one = 1, client = accept(listener, NULL, NULL);
        if (client < 0)
            continue;
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        must(pthread_create(&thread, NULL, serve, (void *)(intptr_t)client) == 0, "a thread");
        pthread_detach(thread);
    }
}
