// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * limit: what the data path costs a server that does nothing else. It answers READ frames with sendfile and stores the data
 * of WRITE frames with pwrite, one connection at a time, and looks at nothing but length and offset (MS-SMB2 2.2.19, 2.2.21).
 *
 *     limit send|receive FILE PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#define REPLY (4 + 64 + 16)
#define READ_FRAME (4 + 64 + 49)
#define WRITE_HEAD (4 + 64 + 48)
#define LENGTH_AT (4 + 64 + 4)
#define OFFSET_AT (4 + 64 + 8)
#define LARGEST (8u << 20)

static int whole(int fd, void *buffer, size_t size)
{
    return recv(fd, buffer, size, MSG_WAITALL) == (ssize_t)size;
}

static int answer(int fd, uint32_t data, int flags)
{
    uint8_t reply[REPLY] = { 0 };
    uint32_t size = htonl(REPLY - 4 + data);

    memcpy(reply, &size, 4);
    memcpy(reply + 4, "\xfeSMB", 4);
    return send(fd, reply, sizeof(reply), flags | MSG_NOSIGNAL) == sizeof(reply);
}

static void serve(int fd, int file, int sends, uint8_t *buffer)
{
    uint8_t frame[WRITE_HEAD + 1];
    uint32_t length;
    uint64_t offset;

    while (whole(fd, frame, sends ? READ_FRAME : WRITE_HEAD)) {
        memcpy(&length, frame + LENGTH_AT, 4);
        memcpy(&offset, frame + OFFSET_AT, 8);
        if (length > LARGEST)
            return;
        if (sends) {
            off_t at = (off_t)offset;
            size_t left = length;

            if (!answer(fd, length, MSG_MORE))
                return;
            while (left) {
                ssize_t n = sendfile(fd, file, &at, left);

                if (n <= 0)
                    return;
                left -= (size_t)n;
            }
        } else if (!whole(fd, buffer, length) || pwrite(file, buffer, length, (off_t)offset) != (ssize_t)length ||
                   !answer(fd, 0, 0)) {
            return;
        }
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, sends, file;
    uint8_t *buffer = malloc(LARGEST);

    if (argc != 4 || !buffer) {
        fprintf(stderr, "usage: limit send|receive FILE PORT\n");
        return 2;
    }
    sends = !strcmp(argv[1], "send");
    file = open(argv[2], sends ? O_RDONLY : O_RDWR | O_CREAT | O_TRUNC, 0600);
    address.sin_port = htons((uint16_t)atoi(argv[3]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (file < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 8)) {
        perror("limit");
        return 1;
    }
    for (;;) {
        int fd = accept(listener, NULL, NULL);

        if (fd < 0)
            continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (!sends && ftruncate(file, 0))
            return 1;
        serve(fd, file, sends, buffer);
        close(fd);
    }
}
