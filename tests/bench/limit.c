// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * limit: what the data path costs a server that does nothing else. It answers READ frames from the file and stores the data
 * of WRITE frames with pwrite, a process for each connection, and looks at nothing but length and offset (MS-SMB2 2.2.19,
 * 2.2.21). Plain data is sent by sendfile. What is signed or sealed passes through memory, and libcrypto signs, verifies,
 * seals or opens it there, with keys of zeros.
 *
 *     limit send|receive plain|signed-gmac|signed-cmac|encrypted-gcm FILE PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protect.h"

#define REPLY (SMB_HEADER + 16)
#define READ_MESSAGE (SMB_HEADER + 49)
#define WRITE_MESSAGE (SMB_HEADER + 48)
#define LENGTH_AT (SMB_HEADER + 4)
#define OFFSET_AT (SMB_HEADER + 8)
#define LARGEST (8u << 20)

static struct protector protector;

static int whole(int fd, void *buffer, size_t size)
{
    return recv(fd, buffer, size, MSG_WAITALL) == (ssize_t)size;
}

static int send_all(int fd, const uint8_t *data, size_t size, int flags)
{
    while (size) {
        ssize_t n = send(fd, data, size, flags | MSG_NOSIGNAL);

        if (n <= 0)
            return 0;
        data += n;
        size -= (size_t)n;
    }
    return 1;
}

/* A reply with `data` bytes behind it, which are in place unless sendfile sends them. `frame` has room for all. */
static int answer(int fd, int file, uint8_t *frame, uint64_t message_id, size_t data, off_t at)
{
    size_t before = protector.kind == GCM ? TRANSFORM : 0, size = before + REPLY + data;
    uint32_t length = htonl((uint32_t)size);
    uint8_t *message = frame + 4 + before;

    memset(message, 0, REPLY);
    memcpy(frame, &length, 4);
    memcpy(message, "\xfeSMB", 4);
    memcpy(message + 24, &message_id, 8);
    if (data && protector.kind == PLAIN) {
        if (!send_all(fd, frame, 4 + REPLY, MSG_MORE))
            return 0;
        while (data) {
            ssize_t n = sendfile(fd, file, &at, data);

            if (n <= 0)
                return 0;
            data -= (size_t)n;
        }
        return 1;
    }
    if (data && pread(file, message + REPLY, data, at) != (ssize_t)data)
        return 0;
    if (protector.kind == GCM)
        seal(&protector, frame + 4, REPLY + data);
    else if (protector.kind != PLAIN)
        sign(&protector, message, REPLY + data, 1);
    return send_all(fd, frame, 4 + size, 0);
}

static void serve(int fd, int file, int sends, uint8_t *in, uint8_t *out)
{
    uint8_t length_bytes[4];

    while (whole(fd, length_bytes, 4)) {
        size_t size = ((size_t)length_bytes[1] << 16) | ((size_t)length_bytes[2] << 8) | length_bytes[3];
        uint8_t *message = in;
        uint64_t offset, id;
        uint32_t length;

        if (size > LARGEST + 1024 || !whole(fd, in, size))
            return;
        if (protector.kind == GCM) {
            if (!opened(&protector, in, size - TRANSFORM))
                return;
            message += TRANSFORM;
            size -= TRANSFORM;
        } else if (protector.kind != PLAIN && !verified(&protector, message, size, 0)) {
            return;
        }
        if (size < (sends ? READ_MESSAGE : WRITE_MESSAGE))
            return;
        memcpy(&length, message + LENGTH_AT, 4);
        memcpy(&offset, message + OFFSET_AT, 8);
        memcpy(&id, message + 24, 8);
        if (length > LARGEST)
            return;
        if (!sends && (size < WRITE_MESSAGE + (size_t)length ||
                       pwrite(file, message + WRITE_MESSAGE, length, (off_t)offset) != (ssize_t)length))
            return;
        if (!answer(fd, file, out, id, sends ? length : 0, (off_t)offset))
            return;
    }
}

static enum protection named(const char *name)
{
    return !strcmp(name, "signed-gmac") ? GMAC : !strcmp(name, "signed-cmac") ? CMAC :
           !strcmp(name, "encrypted-gcm") ? GCM : PLAIN;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, sends, file;
    uint8_t *in = malloc(LARGEST + 4096), *out = malloc(LARGEST + 4096), key[16] = { 0 };

    if (argc != 5 || !in || !out) {
        fprintf(stderr, "usage: limit send|receive plain|signed-gmac|signed-cmac|encrypted-gcm FILE PORT\n");
        return 2;
    }
    sends = !strcmp(argv[1], "send");
    protect_with(&protector, named(argv[2]), key, key, 0);
    file = open(argv[3], sends ? O_RDONLY : O_RDWR | O_CREAT, 0600);
    address.sin_port = htons((uint16_t)atoi(argv[4]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (file < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 64)) {
        perror("limit");
        return 1;
    }
    for (;;) {
        int fd = accept(listener, NULL, NULL);

        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (fd < 0)
            continue;
        if (!fork()) {
            prctl(PR_SET_PDEATHSIG, SIGTERM);
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
            serve(fd, file, sends, in, out);
            _exit(0);
        }
        close(fd);
    }
}
