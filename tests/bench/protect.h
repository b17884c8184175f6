// SPDX-License-Identifier: GPL-2.0-or-later
/* Signatures and sealing of SMB 3.1.1 messages with libcrypto (MS-SMB2 3.1.4.1, 3.1.4.3), for the C programs here. */
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRANSFORM 52                   /* of a TRANSFORM_HEADER, MS-SMB2 2.2.41 */
#define SMB_HEADER 64
#define SIGNATURE_AT 48
#define SIGNED_BYTE 16                 /* of the header: the flags; 0x08 is SMB2_FLAGS_SIGNED */

enum protection { PLAIN = 0, GMAC = 1, GCM = 2, CMAC = 3 };

struct protector {
    enum protection kind;
    EVP_CIPHER_CTX *out;               /* signs, or seals */
    EVP_CIPHER_CTX *in;                /* verifies, or opens */
    EVP_MAC_CTX *cmac;
    uint8_t key[16];                   /* CMAC's */
    uint64_t session, nonce;
};

static inline void protect_fail(const char *what)
{
    fprintf(stderr, "libcrypto: %s\n", what);
    exit(1);
}

static inline EVP_CIPHER_CTX *gcm(const uint8_t *key, int encrypts)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

    if (!ctx || EVP_CipherInit_ex(ctx, EVP_aes_128_gcm(), NULL, key, NULL, encrypts) != 1)
        protect_fail("AES-128-GCM");
    return ctx;
}

static inline void protect_with(struct protector *p, enum protection kind, const uint8_t *out, const uint8_t *in, uint64_t session)
{
    p->kind = kind;
    p->session = session;
    if (kind == CMAC) {
        OSSL_PARAM params[2] = { OSSL_PARAM_construct_utf8_string("cipher", "AES-128-CBC", 0), OSSL_PARAM_construct_end() };
        EVP_MAC *mac = EVP_MAC_fetch(NULL, "CMAC", NULL);

        memcpy(p->key, out, 16);
        p->cmac = mac ? EVP_MAC_CTX_new(mac) : NULL;
        if (!p->cmac || !EVP_MAC_init(p->cmac, p->key, 16, params))
            protect_fail("AES-128-CMAC");
        EVP_MAC_free(mac);
    } else if (kind != PLAIN) {
        p->out = gcm(out, 1);
        p->in = gcm(in, kind == GMAC); /* GMAC is made anew to be compared */
    }
}

/* One pass of AES-128-GCM: `size` bytes in place; with tag 0 all is only authenticated. 1: the tag is right. */
static inline int pass(EVP_CIPHER_CTX *ctx, int encrypts, const uint8_t *nonce, uint8_t *aad, size_t aad_size, uint8_t *data,
                size_t size, uint8_t *tag)
{
    int n;

    if (EVP_CipherInit_ex(ctx, NULL, NULL, NULL, nonce, encrypts) != 1 ||
        EVP_CipherUpdate(ctx, NULL, &n, aad, (int)aad_size) != 1 ||
        (size && EVP_CipherUpdate(ctx, data, &n, data, (int)size) != 1))
        protect_fail("a message");
    if (!encrypts && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, tag) != 1)
        protect_fail("a tag");
    if (EVP_CipherFinal_ex(ctx, data, &n) != 1)
        return 0;
    return !encrypts || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, tag) == 1;
}

/* The signature of a message whose field is zero; `server`: it is a reply. */
static inline void signature(struct protector *p, EVP_CIPHER_CTX *ctx, uint8_t *message, size_t size, int server, uint8_t *mac)
{
    uint8_t nonce[12] = { 0 };
    size_t length;

    if (p->kind == CMAC) {
        if (!EVP_MAC_init(p->cmac, NULL, 0, NULL) || !EVP_MAC_update(p->cmac, message, size) ||
            !EVP_MAC_final(p->cmac, mac, &length, 16))
            protect_fail("CMAC");
        return;
    }
    memcpy(nonce, message + 24, 8);    /* MessageId */
    nonce[8] = (uint8_t)server;
    if (!pass(ctx, 1, nonce, message, size, mac, 0, mac))
        protect_fail("GMAC");
}

static inline void sign(struct protector *p, uint8_t *message, size_t size, int server)
{
    message[SIGNED_BYTE] |= 8;
    memset(message + SIGNATURE_AT, 0, 16);
    signature(p, p->out, message, size, server, message + SIGNATURE_AT);
}

static inline int verified(struct protector *p, uint8_t *message, size_t size, int server)
{
    uint8_t had[16], made[16];

    memcpy(had, message + SIGNATURE_AT, 16);
    memset(message + SIGNATURE_AT, 0, 16);
    signature(p, p->in, message, size, server, made);
    return !memcmp(had, made, 16);
}

/* Seal `size` bytes behind a TRANSFORM_HEADER at `transform`, which this fills. */
static inline void seal(struct protector *p, uint8_t *transform, size_t size)
{
    uint32_t length = (uint32_t)size;
    uint16_t flags = 1;

    memset(transform, 0, TRANSFORM);
    memcpy(transform, "\xfdSMB", 4);
    p->nonce++;
    memcpy(transform + 20, &p->nonce, 8);
    transform[20 + 11] = 0x80;         /* apart from the nonces of what was sealed before */
    memcpy(transform + 36, &length, 4);
    memcpy(transform + 42, &flags, 2);
    memcpy(transform + 44, &p->session, 8);
    if (!pass(p->out, 1, transform + 20, transform + 20, 32, transform + TRANSFORM, size, transform + 4))
        protect_fail("sealing");
}

static inline int opened(struct protector *p, uint8_t *transform, size_t size)
{
    return pass(p->in, 0, transform + 20, transform + 20, 32, transform + TRANSFORM, size, transform + 4);
}
