// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * steer: which worker gets a new connection.
 *
 * Attaches   as SK_REUSEPORT to each group of listening sockets (one socket a worker, SO_REUSEPORT).
 * Reads      clients (address -> worker, taught by the workers), workers (their loads, written by them), debug_mask.
 * Writes     workers[].pending (a burst of connections must spread before anyone has accepted one), decisions.
 * Without it the kernel's hash of the connection picks the worker: correct, but uneven, and the connections of one client
 *            meet in one worker only by being handed over.
 */
#define WORKERS_MAX 64
#define DEBUG_CONN (1 << 5)

struct address {                 /* IPv4 as ::ffff:a.b.c.d */
    u32 word[4];
};

struct worker {                  /* 32 bytes, also laid out in ksmbd/kernel/steering.py */
    u64 load;                    /* connections it holds; written by the worker */
    u64 pending;                 /* given to it, not accepted yet; set to 0 by the worker when its queue is empty */
    u64 alive;                   /* 0: no such worker, or it is dead */
    u64 reserved;
};

BPF_TABLE("lru_hash", struct address, u32, clients, 16384);
BPF_F_TABLE("array", u32, struct worker, workers, WORKERS_MAX, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, u32, debug_mask, 1, BPF_F_MMAPABLE);
BPF_ARRAY(decisions, u64, 3);    /* by the client map, by load, no worker alive; counted while `conn` is toggled on */

#define SOCKS ((void *)bpf_pseudo_fd(1, SOCKS_FD))

static inline void count(u32 which)
{
    u32 zero = 0;
    u32 *mask = debug_mask.lookup(&zero);
    u64 *counter;

    if (!mask || !(*mask & DEBUG_CONN))
        return;
    counter = decisions.lookup(&which);
    if (counter)
        lock_xadd(counter, 1);
}

int steer(struct sk_reuseport_md *md)
{
    struct address client = {};
    struct worker *chosen;
    u32 best = WORKERS_MAX, i;
    u64 best_load = ~0ULL;
    u32 *pinned;

    if (md->eth_protocol == 0x0008) {            /* IPv4, network order: the source address is at 12 */
        client.word[2] = 0xffff0000;
        bpf_skb_load_bytes_relative((void *)md, 12, &client.word[3], 4, BPF_HDR_START_NET);
    } else {                                     /* IPv6: at 8 */
        bpf_skb_load_bytes_relative((void *)md, 8, client.word, 16, BPF_HDR_START_NET);
    }

    pinned = clients.lookup(&client);
    if (pinned) {
        u32 slot = *pinned;

        chosen = workers.lookup(&slot);
        if (chosen && chosen->alive && bpf_sk_select_reuseport(md, SOCKS, &slot, 0) == 0) {
            lock_xadd(&chosen->pending, 1);
            count(0);
            return SK_PASS;
        }
    }

    #pragma unroll
    for (i = 0; i < WORKERS_MAX; i++) {
        u32 slot = i;
        struct worker *worker = workers.lookup(&slot);

        if (worker && worker->alive && worker->load + worker->pending < best_load) {
            best_load = worker->load + worker->pending;
            best = i;
        }
    }
    chosen = workers.lookup(&best);
    if (chosen && bpf_sk_select_reuseport(md, SOCKS, &best, 0) == 0) {
        lock_xadd(&chosen->pending, 1);
        count(1);
        return SK_PASS;
    }
    /* No worker lives. Wait in the queue of one, whichever: it is started again. Left to the kernel's hash the connection
       could end at a socket of the group that nobody accepts from (the one that `lookup` assigns to). */
    count(2);
    best = 0;
    bpf_sk_select_reuseport(md, SOCKS, &best, 0);
    return SK_PASS;
}
