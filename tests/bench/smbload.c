// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * smbload: sends frames that were built before over sockets that are logged on already, keeps `depth` operations under way
 * on each, and counts. It never decrypts or copies what it only counts, so that the server is what is measured.
 *
 *     smbload PLAN BLOB
 *
 * PLAN is an array of 32-bit words in native order:
 *     connections, depth, 1 to spin instead of sleeping, then for each connection: fd, operations, first message id (2
 *     words, low first), sealed, protection (0: frames are sent as they are; 1: signed with AES-128-GMAC, 2: sealed with
 *     AES-128-GCM when they are sent), two keys of 4 words (what is sent, what comes), SessionId (2 words), then for each
 *     operation: frames, then for each frame: offset in BLOB (2 words), length, offset of its data in BLOB (2 words),
 *     length of the data, message id - first, where the FileId goes (0: nowhere; from the frame's start), 1 if its reply
 *     brings the operation's FileId.
 * The frames of an operation follow one another, each after the reply to the one before.
 *
 * Prints one line of JSON: seconds, operations, replies, bytes received and sent, errors, first_error, cpu (seconds).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "protect.h"

#define BUFFER (256 * 1024)
#define FRAME_WORDS 9
#define PEEK (4 + 64 + 88)            /* as much of a frame as is looked at: up to the FileId of a CREATE reply */
#define IOVS 128
#define PATIENCE 60
#define STATUS_PENDING 0x103
#define SEALED_PENDING (4 + 52 + 64 + 9) /* an interim reply, known by its size; an error has it too, and then ends the run */

struct frame {
    uint8_t *head;
    uint32_t head_length;
    uint8_t *data;
    uint32_t data_length;
    uint32_t message;                  /* id, counted from the connection's first */
    uint32_t patch;
    uint32_t saves;
};

struct operation {
    struct frame *frames;
    uint32_t count;
    uint32_t next;
    uint8_t file_id[16];
};

struct connection {
    int fd;
    int sealed;
    uint64_t first_message;
    struct protector protector;
    struct operation *operations;
    uint32_t count, started, finished;
    uint32_t *owner;                   /* message id - first -> operation */
    uint32_t messages;
    struct iovec *queue;               /* what is to be sent */
    size_t queued, sent_iovs, room;
    uint8_t *buffer;
    size_t have;
    uint64_t skip;                     /* bytes of a frame that are not wanted */
    uint8_t head[PEEK];                /* of that frame, which is answered once all of it is there */
};

static uint64_t received, sent, replies, errors;
static uint32_t first_error;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void *map(const char *path, size_t *size)
{
    struct stat st;
    int fd = open(path, O_RDWR);
    void *memory;

    if (fd < 0 || fstat(fd, &st))
        die(path);
    *size = (size_t)st.st_size;
    memory = mmap(NULL, *size ? *size : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (memory == MAP_FAILED)
        die(path);
    close(fd);
    return memory;
}

static void push(struct connection *c, void *base, size_t length)
{
    if (!length)
        return;
    if (c->sent_iovs == c->queued)
        c->sent_iovs = c->queued = 0;
    if (c->queued == c->room) {
        c->room = c->room ? 2 * c->room : 256;
        c->queue = realloc(c->queue, c->room * sizeof(*c->queue));
        if (!c->queue)
            die("realloc");
    }
    c->queue[c->queued++] = (struct iovec){ base, length };
}

static void submit(struct connection *c, struct operation *op)
{
    struct frame *f = &op->frames[op->next++];

    if (f->patch)
        memcpy(f->head + f->patch + (c->protector.kind == GCM ? TRANSFORM : 0), op->file_id, 16);
    if (c->protector.kind == GMAC) {
        sign(&c->protector, f->head + 4, f->head_length - 4, 0);
    } else if (c->protector.kind == GCM) {         /* an operation is sent once, so it may be sealed in place */
        seal(&c->protector, f->head + 4, f->head_length - 4 - TRANSFORM);
    }
    push(c, f->head, f->head_length);
    push(c, f->data, f->data_length);
}

static void begin(struct connection *c)
{
    submit(c, &c->operations[c->started++]);
}

static void flush(struct connection *c)
{
    while (c->sent_iovs < c->queued) {
        size_t count = c->queued - c->sent_iovs;
        struct msghdr message = { .msg_iov = c->queue + c->sent_iovs, .msg_iovlen = count > IOVS ? IOVS : count };
        ssize_t n = sendmsg(c->fd, &message, MSG_NOSIGNAL);

        if (n < 0) {
            if (errno == EAGAIN)
                return;
            die("sendmsg");
        }
        sent += (uint64_t)n;
        while (n > 0) {
            struct iovec *iov = &c->queue[c->sent_iovs];

            if ((size_t)n < iov->iov_len) {
                iov->iov_base = (uint8_t *)iov->iov_base + n;
                iov->iov_len -= (size_t)n;
                break;
            }
            n -= (ssize_t)iov->iov_len;
            c->sent_iovs++;
        }
    }
}

static void reply(struct connection *c, uint8_t *frame, size_t length)
{
    struct operation *op;
    uint32_t status;
    uint64_t message;

    if (c->protector.kind == GCM && length > 4 + TRANSFORM) {
        if (!opened(&c->protector, frame + 4, length - 4 - TRANSFORM)) {
            fprintf(stderr, "smbload: a sealed reply is not right\n");
            exit(1);
        }
        frame += TRANSFORM;
        length -= TRANSFORM;
    }
    if (c->sealed || frame[4] == 0xfd) {           /* which one it answers cannot be seen, nor need be */
        if (length == SEALED_PENDING)
            return;
        replies++;
        c->finished++;
        if (c->started < c->count)
            begin(c);
        return;
    }
    if (length < 4 + 64)
        return;
    memcpy(&status, frame + 4 + 8, 4);
    if (status == STATUS_PENDING)
        return;
    memcpy(&message, frame + 4 + 24, 8);
    message -= c->first_message;
    if (message >= c->messages)
        return;                                    /* a notification */
    replies++;
    if (status) {
        if (!errors++)
            first_error = status;
    }
    op = &c->operations[c->owner[message]];
    if (op->frames[op->next - 1].saves && length >= 4 + 64 + 80)
        memcpy(op->file_id, frame + 4 + 64 + 64, 16);
    if (op->next < op->count && !status) {
        submit(c, op);
        return;
    }
    c->finished++;
    if (c->started < c->count)
        begin(c);
}

static void receive(struct connection *c)
{
    for (;;) {
        ssize_t n;
        size_t at = 0;

        if (c->skip) {                             /* TCP drops it unread */
            n = recv(c->fd, NULL, c->skip, MSG_TRUNC);
            if (n < 0 && errno == EFAULT)
                n = recv(c->fd, c->buffer, c->skip < BUFFER ? c->skip : BUFFER, 0);
            if (n < 0 && errno == EAGAIN)
                return;
            if (n <= 0)
                die("recv");
            c->skip -= (uint64_t)n;
            received += (uint64_t)n;
            if (!c->skip)
                reply(c, c->head, PEEK);
            continue;
        }
        n = recv(c->fd, c->buffer + c->have, BUFFER - c->have, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            fprintf(stderr, "smbload: the server closed a connection\n");
            exit(1);
        }
        received += (uint64_t)n;
        c->have += (size_t)n;
        while (c->have - at >= 4) {
            uint8_t *f = c->buffer + at;
            size_t whole = 4 + (((size_t)f[1] << 16) | ((size_t)f[2] << 8) | f[3]);
            size_t there = c->have - at;

            if (there < whole) {
                if (there < PEEK || c->protector.kind != PLAIN)
                    break;                         /* what is sealed is opened whole */
                memcpy(c->head, f, PEEK);
                c->skip = whole - there;
                at = c->have;
                break;
            }
            reply(c, f, whole);
            at += whole;
        }
        memmove(c->buffer, c->buffer + at, c->have - at);
        c->have -= at;
        if (!c->skip && (size_t)n < BUFFER / 2)
            return;
    }
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    size_t plan_size, blob_size, operations = 0;
    struct connection *all;
    uint32_t *plan, connections, depth, spin, i, active;
    uint8_t *blob;
    struct rusage usage;
    double begun, ended, quiet_since = 0;
    int poll;

    if (argc != 3) {
        fprintf(stderr, "usage: smbload PLAN BLOB\n");
        return 2;
    }
    plan = map(argv[1], &plan_size);
    blob = map(argv[2], &blob_size);
    connections = *plan++;
    depth = *plan++;
    spin = *plan++;
    all = calloc(connections, sizeof(*all));
    poll = epoll_create1(0);
    if (!all || poll < 0)
        die("epoll");
    for (i = 0; i < connections; i++) {
        struct connection *c = &all[i];
        struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c };
        uint32_t o, k;

        c->fd = (int)*plan++;
        c->count = *plan++;
        c->first_message = plan[0] | (uint64_t)plan[1] << 32;
        plan += 2;
        c->sealed = (int)*plan++;
        protect_with(&c->protector, plan[0], (uint8_t *)(plan + 1), (uint8_t *)(plan + 5), plan[9] | (uint64_t)plan[10] << 32);
        plan += 11;
        c->operations = calloc(c->count, sizeof(*c->operations));
        c->buffer = malloc(BUFFER);
        if (!c->operations || !c->buffer)
            die("memory");
        operations += c->count;
        for (o = 0; o < c->count; o++) {
            struct operation *op = &c->operations[o];

            op->count = *plan++;
            op->frames = calloc(op->count, sizeof(*op->frames));
            if (!op->frames)
                die("memory");
            for (k = 0; k < op->count; k++, plan += FRAME_WORDS) {
                struct frame *f = &op->frames[k];

                f->head = blob + (plan[0] | (uint64_t)plan[1] << 32);
                f->head_length = plan[2];
                f->data = blob + (plan[3] | (uint64_t)plan[4] << 32);
                f->data_length = plan[5];
                f->message = plan[6];
                f->patch = plan[7];
                f->saves = plan[8];
                if (f->message >= c->messages)
                    c->messages = f->message + 1;
            }
        }
        c->owner = calloc(c->messages, sizeof(*c->owner));
        if (!c->owner)
            die("memory");
        for (o = 0; o < c->count; o++)
            for (k = 0; k < c->operations[o].count; k++)
                c->owner[c->operations[o].frames[k].message] = o;
        if (fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK) || epoll_ctl(poll, EPOLL_CTL_ADD, c->fd, &event))
            die("socket");
    }
    active = connections;
    begun = now();
    for (i = 0; i < connections; i++) {
        struct connection *c = &all[i];

        while (c->started < c->count && c->started < depth)
            begin(c);
        flush(c);
        if (!c->count)
            active--;
    }
    while (active) {
        struct epoll_event events[64];
        int n = epoll_wait(poll, events, 64, spin ? 0 : PATIENCE * 1000), e;

        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        if (n > 0)
            quiet_since = 0;
        else if (spin && n == 0 && (!quiet_since || now() - quiet_since < PATIENCE)) {
            if (!quiet_since)
                quiet_since = now();
            continue;
        }
        if (n == 0) {
            fprintf(stderr, "smbload: no progress in %d s\n", PATIENCE);
            return 1;
        }
        for (e = 0; e < n; e++) {
            struct connection *c = events[e].data.ptr;
            uint32_t before = c->finished;

            if (events[e].events & EPOLLIN)
                receive(c);
            flush(c);
            if (before < c->count && c->finished >= c->count)
                active--;
        }
    }
    ended = now();
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"seconds\": %.6f, \"operations\": %zu, \"replies\": %llu, \"received\": %llu, \"sent\": %llu, "
           "\"errors\": %llu, \"first_error\": %u, \"cpu\": %.6f}\n",
           ended - begun, operations, (unsigned long long)replies, (unsigned long long)received, (unsigned long long)sent,
           (unsigned long long)errors, first_error,
           (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    return 0;
}
