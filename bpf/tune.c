// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tune: socket options by client network, and what TCP knows of each connection.
 *
 * Attaches   as SOCK_OPS to the cgroup in which the listening sockets were made; sees only our ports and namespace.
 * Reads      ports, scope (network namespace cookie), networks (longest prefix -> options).
 * Writes     connections (RTT, retransmits, bytes), totals.
 * Without it sockets have the kernel's default buffers and the server sets NODELAY itself; no per-connection figures.
 */
#define SOL_SOCKET_ 1
#define SO_SNDBUF_ 7
#define SO_RCVBUF_ 8
#define SOL_TCP_ 6
#define TCP_NODELAY_ 1
#define TCP_CLOSE_ 7

struct network {                 /* key of the trie; IPv4 as ::ffff:a.b.c.d, so its prefixes count from 96 */
    u32 prefix;
    u32 word[4];
};

struct options {                 /* 12 bytes; 0 = leave as it is */
    u32 send_buffer;
    u32 receive_buffer;
    u32 no_delay;
};

struct endpoint {                /* 24 bytes */
    u32 word[4];
    u32 remote_port;             /* host order */
    u32 local_port;              /* host order */
};

struct connection {              /* 48 bytes, also laid out in ksmbd/kernel/steering.py */
    u64 opened;                  /* ns of the monotonic clock */
    u64 bytes_received;
    u64 bytes_acked;
    u32 srtt;                    /* us */
    u32 min_rtt;                 /* us */
    u32 retransmits;
    u32 samples;
    u32 errors;                  /* options that could not be set */
    u32 reserved;
};

BPF_HASH(ports, u32, u32, 16);
BPF_ARRAY(scope, u64, 1);
BPF_LPM_TRIE(networks, struct network, struct options, 256);
BPF_TABLE("lru_hash", struct endpoint, struct connection, connections, 65536);
BPF_ARRAY(totals, u64, 4);       /* opened, closed, retransmits, bytes acknowledged */

static inline void total(u32 which, u64 value)
{
    u64 *counter = totals.lookup(&which);

    if (counter)
        lock_xadd(counter, value);
}

static inline void measure(struct bpf_sock_ops *ctx, struct connection *connection)
{
    connection->srtt = ctx->srtt_us >> 3;
    connection->min_rtt = ctx->rtt_min;
    connection->retransmits = ctx->total_retrans;
    connection->bytes_received = ctx->bytes_received;
    connection->bytes_acked = ctx->bytes_acked;
    connection->samples++;
}

int tune(struct bpf_sock_ops *ctx)
{
    u32 port = ctx->local_port, zero = 0;
    struct endpoint key = {};
    struct connection *known;
    u64 *cookie;

    if (!ports.lookup(&port))
        return 1;
    cookie = scope.lookup(&zero);
    if (cookie && *cookie && *cookie != bpf_get_netns_cookie(ctx))
        return 1;
    if (ctx->family == 2) {
        u32 address = ctx->remote_ip4;

        asm volatile("" : "+r"(address));        /* or clang merges this load with the one below: the verifier objects */
        key.word[2] = 0xffff0000;
        key.word[3] = address;
    } else {
        key.word[0] = ctx->remote_ip6[0];
        key.word[1] = ctx->remote_ip6[1];
        key.word[2] = ctx->remote_ip6[2];
        key.word[3] = ctx->remote_ip6[3];
    }
    key.remote_port = __builtin_bswap32(ctx->remote_port);
    key.local_port = port;

    switch (ctx->op) {
    case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB: {
        struct connection fresh = {};
        struct network network = {};
        struct options *options;

        network.prefix = 128;
        network.word[0] = key.word[0];
        network.word[1] = key.word[1];
        network.word[2] = key.word[2];
        network.word[3] = key.word[3];
        options = networks.lookup(&network);
        if (options) {
            u32 one = 1, value;

            value = options->send_buffer;
            if (value && bpf_setsockopt(ctx, SOL_SOCKET_, SO_SNDBUF_, &value, 4))
                fresh.errors++;
            value = options->receive_buffer;
            if (value && bpf_setsockopt(ctx, SOL_SOCKET_, SO_RCVBUF_, &value, 4))
                fresh.errors++;
            if (options->no_delay && bpf_setsockopt(ctx, SOL_TCP_, TCP_NODELAY_, &one, 4))
                fresh.errors++;
        }
        fresh.opened = bpf_ktime_get_ns();
        connections.update(&key, &fresh);
        bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_RTT_CB_FLAG | BPF_SOCK_OPS_STATE_CB_FLAG);
        total(0, 1);
        break;
    }
    case BPF_SOCK_OPS_RTT_CB:
        known = connections.lookup(&key);
        if (known)
            measure(ctx, known);
        break;
    case BPF_SOCK_OPS_STATE_CB:
        if (ctx->args[1] == TCP_CLOSE_) {
            total(1, 1);
            total(2, ctx->total_retrans);
            total(3, ctx->bytes_acked);
            connections.delete(&key);
        }
        break;
    }
    return 1;
}
