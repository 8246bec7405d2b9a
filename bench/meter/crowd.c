/* crowd: many WebSocket clients in one thread, which count and date what they are sent.
 *
 *     crowd -p PORT -f PATHS [-h "Header: value"] [-s MESSAGE] [-g GREETING] [-a SOURCES]
 *           [-w AT_ONCE] [-k PING -K PONG]
 *
 * PATHS is a file of request targets, a line each; client i takes line i modulo their number.
 * A client is here once it was upgraded and, with -g, was sent a frame that contains GREETING.
 * -s is sent after the upgrade (repeatable). `hex:…` in -s and -g is binary. -a spreads the
 * clients over so many addresses of 127/8. A message or a line of one that is PING is answered
 * by PONG: Engine.IO and Centrifugo's protocol have pings of their own.
 *
 * Orders come on stdin, a line each, and are answered by a line of JSON:
 *     come N           dial until N clients are here
 *     zero             forget what was counted
 *     heard N MS NAP   answer once N publications were counted, or none came for MS milliseconds;
 *                      look only every NAP microseconds, so that no frame has to wake anybody
 *
 * A publication is an occurrence of `"t":DIGITS`, where the digits are the CLOCK_MONOTONIC
 * nanoseconds at which it was published; a frame may hold several. Linux only (epoll).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum state { AWAY, CALLING, ASKED, GREETING, HERE };

struct client {
    int fd;
    enum state state;
    uint32_t held, room; /* of a frame that is not whole yet */
    unsigned char *part;
    uint64_t heard;
};

struct text {
    unsigned char *data;
    size_t size;
    int binary;
};

#define LISTED 16
#define BUCKET 20000ull /* ns */
#define BUCKETS 250000  /* up to 5 s */
#define ORDERS UINT32_MAX

static struct client *clients;
static uint32_t *again; /* clients that were told to come later */
static uint32_t dialled, pending, here, wanted, later;
static uint64_t refused, failed, lost, began, not_before;
static char complaint[120];

static char **paths, *headers[LISTED];
static struct text messages[LISTED], greeting, ping, pong;
static int port, path_count, header_count, message_count, sources = 8, at_once = 256;

static uint64_t heard, bytes, reads, first_at, last_at, expected, patience, progress, closes[5000];
static unsigned nap;
static uint32_t histogram[BUCKETS];
static uint64_t longest;
static int epoll, coming, listening;

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void watch(uint32_t number, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u32 = number};
    epoll_ctl(epoll, operation, clients[number].fd, &event);
}

/* Only what is small is written, to sockets whose buffers are empty: never in parts. */
static void write_frame(struct client *c, int first, const void *data, size_t size)
{
    unsigned char frame[4200];
    size_t head = 2;
    if (size > 4096)
        size = 4096;
    frame[0] = first;
    if (size < 126) {
        frame[1] = 0x80 | size;
    } else {
        frame[1] = 0x80 | 126;
        frame[2] = size >> 8;
        frame[3] = size;
        head = 4;
    }
    memset(frame + head, 0, 4); /* a mask of zeros is a legal one */
    memcpy(frame + head + 4, data, size);
    if (send(c->fd, frame, head + 4 + size, MSG_NOSIGNAL) < 0)
        perror("crowd: send");
}

static void hang_up(struct client *c)
{
    pending -= c->state == CALLING || c->state == ASKED || c->state == GREETING;
    if (c->state == HERE) {
        here--;
        lost++;
    }
    close(c->fd);
    free(c->part);
    *c = (struct client){.fd = -1, .heard = c->heard};
}

static void fail(struct client *c, const char *why)
{
    if (!failed++)
        snprintf(complaint, sizeof complaint, "%s", why);
    hang_up(c);
}

static void dial(uint32_t number)
{
    struct client *c = &clients[number];
    struct sockaddr_in from = {.sin_family = AF_INET}, to = from;
    int yes = 1, fd = c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    c->state = CALLING;
    pending++;
    if (fd < 0) {
        fail(c, strerror(errno));
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    from.sin_addr.s_addr = htonl(0x7f000101 + number % sources);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(port);
    bind(fd, (void *)&from, sizeof from);
    if (connect(fd, (void *)&to, sizeof to) && errno != EINPROGRESS)
        fail(c, strerror(errno));
    else
        watch(number, EPOLL_CTL_ADD, EPOLLOUT);
}

static void ask(uint32_t number)
{
    static char request[16384];
    struct client *c = &clients[number];
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                        "Sec-WebSocket-Version: 13\r\n",
                        paths[number % path_count], port);
    for (int i = 0; i < header_count; i++)
        size += snprintf(request + size, sizeof request - size, "%s\r\n", headers[i]);
    size += snprintf(request + size, sizeof request - size, "\r\n");
    c->state = ASKED;
    if (send(c->fd, request, size, MSG_NOSIGNAL) != size)
        fail(c, strerror(errno));
    else
        watch(number, EPOLL_CTL_MOD, EPOLLIN);
}

static void arrive(struct client *c)
{
    c->state = HERE;
    here++;
    pending--;
}

/* The answer to the upgrade: its size, or 0 while it is not whole or was no upgrade. */
static size_t upgrade(struct client *c, unsigned char *data, size_t size)
{
    char status[64];
    unsigned char *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end)
        return 0;
    snprintf(status, sizeof status, "%.60s", (char *)data);
    status[strcspn(status, "\r\n")] = 0;
    if (!strncmp(status + 8, " 429", 4) || !strncmp(status + 8, " 503", 4)) {
        refused++;
        again[later++] = c - clients;
        not_before = now() + 500000000ull;
        hang_up(c);
        return 0;
    }
    if (strncmp(status + 8, " 101", 4)) {
        fail(c, status);
        return 0;
    }
    c->state = GREETING;
    for (int i = 0; i < message_count; i++)
        write_frame(c, messages[i].binary ? 0x82 : 0x81, messages[i].data, messages[i].size);
    if (!greeting.size)
        arrive(c);
    return end + 4 - data;
}

static void count(struct client *c, unsigned char *data, size_t size, uint64_t at)
{
    unsigned char *found, *end = data + size;
    while ((found = memmem(data, end - data, "\"t\":", 4))) {
        uint64_t sent = 0, took;
        for (data = found + 4; data < end && *data >= '0' && *data <= '9'; data++)
            sent = sent * 10 + (*data - '0');
        if (!sent)
            continue;
        c->heard++;
        if (!heard++)
            first_at = at;
        last_at = progress = at;
        took = at > sent ? at - sent : 0;
        histogram[took / BUCKET < BUCKETS ? took / BUCKET : BUCKETS - 1]++;
        if (took > longest)
            longest = took;
    }
    bytes += size;
}

static int is_pinged(unsigned char *data, size_t size)
{
    unsigned char *found, *from = data, *end = data + size;
    while ((found = memmem(from, end - from, ping.data, ping.size))) {
        from = found + ping.size;
        if ((found == data || found[-1] == '\n') && (from == end || *from == '\n'))
            return 1;
    }
    return 0;
}

static void message(struct client *c, unsigned char *data, size_t size, uint64_t at)
{
    if (ping.size && is_pinged(data, size))
        write_frame(c, 0x81, pong.data, pong.size);
    if (c->state == HERE)
        count(c, data, size, at);
    else if (memmem(data, size, greeting.data, greeting.size))
        arrive(c);
}

/* All whole frames; how many bytes they were. */
static size_t frames(struct client *c, unsigned char *data, size_t size)
{
    size_t at = 0;
    uint64_t when = now();
    while (size - at >= 2) {
        unsigned char *frame = data + at;
        uint64_t length = frame[1] & 127;
        size_t head = length == 126 ? 4 : length == 127 ? 10 : 2;
        if (size - at < head)
            break;
        if (head > 2)
            for (length = 0, frame += 2; frame < data + at + head; frame++)
                length = length << 8 | *frame;
        if (size - at - head < length)
            break;
        frame = data + at + head;
        switch (data[at] & 15) {
        case 9:
            write_frame(c, 0x8a, frame, length);
            break;
        case 8:
            closes[length >= 2 ? (frame[0] << 8 | frame[1]) % 5000 : 1005]++;
            break;
        case 10:
            break;
        default:
            message(c, frame, length, when);
        }
        at += head + length;
    }
    return at;
}

static void keep(struct client *c, unsigned char *data, size_t size)
{
    if (size > c->room) {
        c->part = realloc(c->part, size);
        c->room = size;
    } else if (!size && c->part) { /* clients at rest hold nothing: it would cost cache */
        free(c->part);
        c->part = NULL;
        c->room = 0;
    }
    if (size)
        memcpy(c->part, data, size);
    c->held = size;
}

static void readable(struct client *c)
{
    static unsigned char data[1 << 18];
    size_t have = c->held, at = 0;
    if (have)
        memcpy(data, c->part, have);
    ssize_t got = recv(c->fd, data + have, sizeof data - have, 0);
    if (got <= 0) {
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        c->state == HERE ? hang_up(c) : fail(c, "hung up before it was here");
        return;
    }
    reads++;
    have += got;
    if (c->state == ASKED)
        at = upgrade(c, data, have);
    if (c->state >= GREETING)
        at += frames(c, data + at, have - at);
    if (c->state != AWAY)
        keep(c, data + at, have - at);
}

/* As many as may be under way; who was refused comes again when it is time. */
static void dial_more(void)
{
    uint64_t moment = now();
    while (pending < (uint32_t)at_once) {
        if (later && moment >= not_before)
            dial(again[--later]);
        else if (dialled < wanted)
            dial(dialled++);
        else
            break;
    }
}

static double percentile(double share)
{
    uint64_t want = heard * share, seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += histogram[i]) > want)
            return (i + 0.5) * BUCKET / 1e6;
    return 0;
}

static void answer_heard(void)
{
    uint64_t least = UINT64_MAX, most = 0;
    for (uint32_t i = 0; i < dialled; i++) {
        if (clients[i].heard < least)
            least = clients[i].heard;
        if (clients[i].heard > most)
            most = clients[i].heard;
    }
    printf("{\"heard\": %lu, \"least\": %lu, \"most\": %lu, \"bytes\": %lu, \"reads\": %lu, "
           "\"lost\": %lu, \"first\": %lu, \"last\": %lu, \"p50\": %.3f, \"p99\": %.3f, "
           "\"max\": %.3f, \"closes\": {",
           heard, least, most, bytes, reads, lost, first_at, last_at, percentile(.5),
           percentile(.99), longest / 1e6);
    const char *comma = "";
    for (int i = 0; i < 5000; i++)
        if (closes[i]) {
            printf("%s\"%d\": %lu", comma, i, closes[i]);
            comma = ", ";
        }
    printf("}}\n");
    listening = 0;
}

static void answer_due(void)
{
    uint64_t moment = now();
    if (coming && (here >= wanted || here + failed >= wanted)) {
        printf("{\"here\": %u, \"refused\": %lu, \"failed\": %lu, \"seconds\": %.3f, "
               "\"complaint\": \"%s\"}\n",
               here, refused, failed, (moment - began) / 1e9, complaint);
        coming = 0;
    }
    if (listening && (heard >= expected || moment - progress > patience))
        answer_heard();
    fflush(stdout);
}

static void order(char *line)
{
    unsigned long number, wait;
    unsigned pause;
    if (sscanf(line, "come %lu", &number) == 1) {
        clients = realloc(clients, number * sizeof *clients);
        again = realloc(again, number * sizeof *again);
        memset(clients + wanted, 0, (number - wanted) * sizeof *clients);
        wanted = number;
        refused = failed = 0;
        began = now();
        coming = 1;
    } else if (sscanf(line, "heard %lu %lu %u", &number, &wait, &pause) == 3) {
        nap = pause;
        expected = number;
        patience = wait * 1000000ull;
        progress = now();
        listening = 1;
    } else if (!strncmp(line, "zero", 4)) {
        heard = bytes = reads = lost = longest = first_at = last_at = 0;
        memset(histogram, 0, sizeof histogram);
        memset(closes, 0, sizeof closes);
        for (uint32_t i = 0; i < dialled; i++)
            clients[i].heard = 0;
        printf("{}\n");
    }
}

static void orders(void)
{
    static char line[256];
    static size_t have;
    ssize_t got = read(0, line + have, sizeof line - 1 - have);
    if (got <= 0)
        exit(0); /* who gave the orders is gone */
    have += got;
    line[have] = 0;
    for (char *end; (end = strchr(line, '\n'));) {
        *end = 0;
        order(line);
        have -= end + 1 - line;
        memmove(line, end + 1, have + 1);
    }
}

static struct text text(char *given)
{
    struct text made = {.data = (unsigned char *)given, .size = strlen(given)};
    if (!strncmp(given, "hex:", 4)) {
        made.binary = 1;
        made.size = (made.size - 4) / 2;
        for (size_t i = 0; i < made.size; i++)
            sscanf(given + 4 + 2 * i, "%2hhx", made.data + i);
    }
    return made;
}

static void read_paths(const char *name)
{
    FILE *file = fopen(name, "r");
    char *line = NULL;
    size_t room = 0;
    while (file && getline(&line, &room, file) > 0) {
        line[strcspn(line, "\n")] = 0;
        paths = realloc(paths, (path_count + 1) * sizeof *paths);
        paths[path_count++] = strdup(line);
    }
    if (!path_count) {
        fprintf(stderr, "crowd: no paths in %s\n", name);
        exit(2);
    }
    fclose(file);
}

int main(int count, char **given)
{
    int option;
    while ((option = getopt(count, given, "p:f:h:s:g:a:w:k:K:")) != -1)
        switch (option) {
        case 'p': port = atoi(optarg); break;
        case 'f': read_paths(optarg); break;
        case 'h': headers[header_count++ % LISTED] = optarg; break;
        case 's': messages[message_count++ % LISTED] = text(optarg); break;
        case 'g': greeting = text(optarg); break;
        case 'a': sources = atoi(optarg); break;
        case 'w': at_once = atoi(optarg); break;
        case 'k': ping = text(optarg); break;
        case 'K': pong = text(optarg); break;
        default: return 2;
        }
    if (!paths || !port)
        return fprintf(stderr, "crowd: -p and -f are needed\n"), 2;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    struct epoll_event events[512], event = {.events = EPOLLIN, .data.u32 = ORDERS};
    epoll = epoll_create1(0);
    epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event);
    for (;;) {
        if (coming)
            dial_more();
        if (listening && nap)
            usleep(nap);
        int ready = epoll_wait(epoll, events, 512, coming ? 10 : listening ? 50 : -1);
        for (int i = 0; i < ready; i++) {
            uint32_t number = events[i].data.u32;
            if (number == ORDERS)
                orders();
            else if (clients[number].state == CALLING)
                ask(number);
            else if (clients[number].state != AWAY)
                readable(&clients[number]);
        }
        answer_due();
    }
}
