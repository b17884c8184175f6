// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lookup: a listener on another port serves `lookup port` (445) too, without the right to bind it.
 *
 * Attaches   as SK_LOOKUP to the network namespace, only where `lookup port` asks for it.
 * Reads      targets (which address and port go to which of our listening sockets).
 * Writes     hits.
 * Without it the server listens on `tcp port` alone.
 */
#define TARGETS_MAX 8
#define AF_INET_ 2

struct target {                  /* 32 bytes, also laid out in ksmbd/kernel/steering.py */
    u32 family;                  /* 0: no target; AF_INET, AF_INET6 */
    u32 port;                    /* host order */
    u32 any;                     /* the listener is bound to the wildcard address: any local address fits */
    u32 slot;                    /* in the socket map */
    u32 address[4];              /* network order; IPv4 in address[0] */
};

BPF_ARRAY(targets, struct target, TARGETS_MAX);
BPF_ARRAY(hits, u64, 1);

#define SOCKS ((void *)bpf_pseudo_fd(1, SOCKS_FD))
#define LOOKUP_SOCKET(key) ((void *(*)(void *, void *))1)(SOCKS, key)   /* helper 1 on a map type that bcc does not know */

int lookup(struct bpf_sk_lookup *ctx)
{
    u32 i;

    if (ctx->protocol != 6)      /* TCP */
        return SK_PASS;

    #pragma unroll
    for (i = 0; i < TARGETS_MAX; i++) {
        u32 key = i, slot, zero = 0;
        struct target *target = targets.lookup(&key);
        struct bpf_sock *socket;
        u64 *hit;
        long error;

        if (!target || target->port != ctx->local_port)
            continue;
        if (target->family != ctx->family && !(target->any && target->family == 10))
            continue;
        if (!target->any) {
            if (ctx->family == AF_INET_) {
                if (target->address[0] != ctx->local_ip4)
                    continue;
            } else if (target->address[0] != ctx->local_ip6[0] || target->address[1] != ctx->local_ip6[1] ||
                       target->address[2] != ctx->local_ip6[2] || target->address[3] != ctx->local_ip6[3]) {
                continue;
            }
        }
        slot = target->slot;
        socket = (struct bpf_sock *)LOOKUP_SOCKET(&slot);
        if (!socket)
            continue;
        error = bpf_sk_assign(ctx, socket, 0);   /* 0: the reuseport group's program (steer) still chooses the worker */
        bpf_sk_release(socket);
        if (error)
            continue;
        hit = hits.lookup(&zero);
        if (hit)
            lock_xadd(hit, 1);
        return SK_PASS;
    }
    return SK_PASS;
}
