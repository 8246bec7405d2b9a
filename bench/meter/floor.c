/* floor: what the kernel takes, and nothing else.
 *
 * A server that answers any WebSocket upgrade without looking at it, and writes the body of every
 * POST as one prebuilt frame to all who came, by send() in a loop. No server in any language that
 * sends a frame for a publication by itself can be cheaper than this one on the same machine.
 *
 *     floor            prints its port and serves on 127.0.0.1 until it is killed
 *
 * Linux only (epoll, accept4). One thread, no check of anything: for measurements alone.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static const char UPGRADED[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static const char DONE[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

static int epoll, listening;
static int *audience, *place; /* who is here; where in it a descriptor is, plus one */
static int here;

static void all_of(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
        if (sent > 0) {
            at += sent;
            size -= sent;
        } else if (sent < 0 && errno == EAGAIN) {
            struct pollfd one = {.fd = fd, .events = POLLOUT};
            poll(&one, 1, 1000);
        } else {
            return; /* its own event tells that it is gone */
        }
    }
}

static void publish(const char *body, size_t size)
{
    static unsigned char frame[65540];
    size_t head = 2;
    frame[0] = 0x81;
    if (size < 126) {
        frame[1] = size;
    } else {
        frame[1] = 126;
        frame[2] = size >> 8;
        frame[3] = size;
        head = 4;
    }
    memcpy(frame + head, body, size);
    for (int i = 0; i < here; i++)
        all_of(audience[i], frame, head + size);
}

static void gone(int fd)
{
    if (place[fd]) { /* the last one takes its place */
        int at = place[fd] - 1, last = audience[--here];
        audience[at] = last;
        place[last] = at + 1;
        place[fd] = 0;
    }
    close(fd);
}

static void come(void)
{
    int fd, yes = 1;
    while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

static void request(int fd)
{
    static char text[65536];
    ssize_t have = recv(fd, text, sizeof text - 1, 0);
    if (have <= 0) {
        if (have == 0 || errno != EAGAIN)
            gone(fd);
        return;
    }
    text[have] = 0;
    if (!strncmp(text, "GET ", 4)) {
        all_of(fd, UPGRADED, sizeof UPGRADED - 1);
        audience[here++] = fd;
        place[fd] = here;
    } else if (!strncmp(text, "POST ", 5)) {
        char *length = strcasestr(text, "content-length:");
        char *body = strstr(text, "\r\n\r\n");
        size_t size = length ? strtoul(length + 15, NULL, 10) : 0;
        if (!body || body + 4 + size > text + have)
            gone(fd); /* the publishers of these measurements write a request at once */
        else {
            publish(body + 4, size);
            all_of(fd, DONE, sizeof DONE - 1);
        }
    }
}

int main(void)
{
    struct rlimit files;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* it goes with who measures */
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    audience = calloc(files.rlim_max, sizeof *audience);
    place = calloc(files.rlim_max, sizeof *place);

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(listening, (void *)&address, size) || listen(listening, 4096)) {
        perror("floor");
        return 1;
    }
    getsockname(listening, (void *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);

    struct epoll_event events[256], event = {.events = EPOLLIN, .data.fd = listening};
    epoll = epoll_create1(0);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < ready; i++)
            events[i].data.fd == listening ? come() : request(events[i].data.fd);
    }
}
