// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * capture: copies the packets of the server's ports into a ring buffer, for ksmbd.trace.
 *
 * Attaches   by tcx to the ingress of each interface, and to the egress of those that are no loopback; where tcx is
 *            missing, as a socket filter to a packet socket. Changes and delays no packet.
 * Reads      ports (of TCP, host order), clients (longest prefix, where wanted[0] says that there are any), wanted.
 * Writes     packets (struct head, then the packet from its IP header on), lost.
 * Without it ksmbd.trace reads a packet socket, and user space chooses the packets.
 */
#define TCX_NEXT_ (-1)
#define PROG_SOCKET_FILTER_ 1
#define HEAD_START_NET_ 1        /* BPF_HDR_START_NET */
#define PACKET_OUTGOING_ 4
#define TCP_ 6

struct head {                    /* 24 bytes, also laid out in ksmbd/kernel/capture.py */
    u64 ns;                      /* of the monotonic clock */
    u32 size;                    /* of the packet on the wire */
    u32 stored;                  /* how much of it follows */
    u32 interface;
    u32 outgoing;
};

struct network {                 /* key of the trie; IPv4 as ::ffff:a.b.c.d, so its prefixes count from 96 */
    u32 prefix;
    u32 word[4];
};

BPF_RINGBUF_OUTPUT(packets, 16384);     /* pages; the server says how many */
BPF_HASH(ports, u32, u32, 16);
BPF_LPM_TRIE(clients, struct network, u32, 64);
BPF_ARRAY(wanted, u32, 3);       /* whether clients count; most bytes of a packet; 1: from clients alone, 2: to them */
BPF_ARRAY(lost, u64, 1);

static inline u32 want(u32 which)
{
    u32 *value = wanted.lookup(&which);

    return value ? *value : 0;
}

/* A record of each size: the verifier wants to know it when it is compiled. bcc wants map functions outside macros. */
#define RECORD(LIMIT) struct record_##LIMIT { struct head head; u8 data[LIMIT]; }
RECORD(256);
RECORD(2048);
RECORD(16384);
RECORD(65536);

#define COPY(LIMIT)                                                                                                 \
    if (!record)                                                                                                    \
        return 0;                                                                                                   \
    record->head = *head;                                                                                           \
    if (head->stored >= LIMIT) {                                                                                    \
        record->head.stored = LIMIT;                                                                                \
        bpf_skb_load_bytes(skb, base, record->data, LIMIT);                                                         \
    } else {                                                                                                        \
        u32 part = head->stored;                                                                                    \
                                                                                                                    \
        asm volatile("" : "+r"(part));                                                                              \
        part &= LIMIT - 1;                                                                                          \
        if (part)                                                                                                   \
            bpf_skb_load_bytes(skb, base, record->data, part);                                                      \
    }

static inline int store_256(struct __sk_buff *skb, struct head *head, u32 base)
{
    struct record_256 *record = packets.ringbuf_reserve(sizeof(struct record_256));

    COPY(256)
    packets.ringbuf_submit(record, 0);
    return 1;
}

static inline int store_2048(struct __sk_buff *skb, struct head *head, u32 base)
{
    struct record_2048 *record = packets.ringbuf_reserve(sizeof(struct record_2048));

    COPY(2048)
    packets.ringbuf_submit(record, 0);
    return 1;
}

static inline int store_16384(struct __sk_buff *skb, struct head *head, u32 base)
{
    struct record_16384 *record = packets.ringbuf_reserve(sizeof(struct record_16384));

    COPY(16384)
    packets.ringbuf_submit(record, 0);
    return 1;
}

static inline int store_65536(struct __sk_buff *skb, struct head *head, u32 base)
{
    struct record_65536 *record = packets.ringbuf_reserve(sizeof(struct record_65536));

    COPY(65536)
    packets.ringbuf_submit(record, 0);
    return 1;
}

/* Where the IP header is in what bpf_skb_load_bytes sees: the call that counts from it reads the linear part alone. */
static inline u32 base_of(struct __sk_buff *skb)
{
    u64 wanted = 0, found = 0;

    bpf_skb_load_bytes_relative(skb, 0, &wanted, 8, HEAD_START_NET_);
    bpf_skb_load_bytes(skb, 0, &found, 8);
    if (found == wanted)
        return 0;                    /* an interface without a link layer, or a packet socket */
    bpf_skb_load_bytes(skb, 14, &found, 8);
    return found == wanted ? 14 : 18;        /* Ethernet, or with a VLAN tag */
}

static inline void take(struct __sk_buff *skb, u32 outgoing)
{
    struct { u8 version, service; u16 length; u32 id; u8 ttl, protocol; u16 sum; u32 from, to; } four;
    struct { u32 flow; u16 length; u8 next, hops; u32 from[4], to[4]; } six;
    struct network from = {}, to = {};
    u16 source = 0, target = 0;
    u32 size, most, way, port, transport, base;
    struct head head = {};
    int zero = 0, kept;
    u64 *counter;

    if (bpf_skb_load_bytes_relative(skb, 0, &four, sizeof(four), HEAD_START_NET_) < 0)
        return;
    from.prefix = to.prefix = 128;
    if (four.version >> 4 == 4) {
        if (four.protocol != TCP_)
            return;
        from.word[2] = to.word[2] = 0xffff0000;
        from.word[3] = four.from;
        to.word[3] = four.to;
        transport = (four.version & 15) * 4;
        size = __builtin_bswap16(four.length);
    } else {
        if (bpf_skb_load_bytes_relative(skb, 0, &six, sizeof(six), HEAD_START_NET_) < 0)
            return;
        if (six.next != TCP_)            /* with extension headers: no TCP that we know of */
            return;
        __builtin_memcpy(from.word, six.from, 16);
        __builtin_memcpy(to.word, six.to, 16);
        transport = sizeof(six);
        size = sizeof(six) + __builtin_bswap16(six.length);
    }
    bpf_skb_load_bytes_relative(skb, transport, &source, 2, HEAD_START_NET_);
    bpf_skb_load_bytes_relative(skb, transport + 2, &target, 2, HEAD_START_NET_);

    way = want(2);
    port = __builtin_bswap16(target);
    if (ports.lookup(&port)) {
        if (way == 2 || (want(0) && !clients.lookup(&from)))
            return;
    } else {
        port = __builtin_bswap16(source);
        if (!ports.lookup(&port) || way == 1 || (want(0) && !clients.lookup(&to)))
            return;
    }
    most = want(1);
    base = base_of(skb);
    head.ns = bpf_ktime_get_ns();
    head.size = size;
    head.stored = most && size > most ? most : size;
    head.interface = skb->ifindex;
    head.outgoing = outgoing;
    if (head.stored <= 256)
        kept = store_256(skb, &head, base);
    else if (head.stored <= 2048)
        kept = store_2048(skb, &head, base);
    else if (head.stored <= 16384)
        kept = store_16384(skb, &head, base);
    else
        kept = store_65536(skb, &head, base);
    if (!kept) {
        counter = lost.lookup(&zero);
        if (counter)
            lock_xadd(counter, 1);
    }
}

int capture(struct __sk_buff *skb)
{
#if PROGRAM_KIND == PROG_SOCKET_FILTER_
    if (skb->pkt_type != PACKET_OUTGOING_ || skb->ifindex != 1)        /* loopback shows each packet twice */
        take(skb, skb->pkt_type == PACKET_OUTGOING_);
    return 0;                                                           /* nothing is queued to the socket */
#else
    take(skb, skb->ingress_ifindex == 0);
    return TCX_NEXT_;
#endif
}
