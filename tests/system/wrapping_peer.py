# SPDX-License-Identifier: GPL-2.0-or-later
"""MIT's library as the client of DCE/RPC with the ticket in $KRB5CCNAME, and our side with the keys of a keytab:
messages of several lengths, signed and sealed in both directions. It prints the encryption type of the messages' key.

    python wrapping_peer.py HOST KEYTAB HEADER_SIGNING
"""

from __future__ import annotations

import sys
from typing import Any

from ksmbd.auth.krb5_sealing import KerberosProtection, MessageKeys
from mountd.kerberos.mechanism import Context, GssMechanism, HalfOpen, load

raw: Any = load()
HEAD, TRAILER = b"h" * 24, b"trailer!"
LENGTHS = (0, 1, 15, 16, 17, 32, 100, 4096)


def established(host: str, keytab: str) -> tuple[Any, Context]:
    """Log on in DCE style: the client's context and the server's."""
    server = GssMechanism(raw, keytab)
    name = raw.import_name(f"cifs@{host}".encode(), raw.NameType.hostbased_service)
    kerberos = raw.OID.from_int_seq("1.2.840.113554.1.2.2")
    wanted = [raw.RequirementFlag.mutual_authentication, raw.RequirementFlag.dce_style, raw.RequirementFlag.integrity,
              raw.RequirementFlag.confidentiality, raw.RequirementFlag.out_of_sequence_detection]  # fmt: skip
    first = raw.init_sec_context(name, mech=kerberos, flags=wanted)
    half = server.step(first.token)
    assert isinstance(half, HalfOpen), half
    second = raw.init_sec_context(name, context=first.context, mech=kerberos, flags=wanted, input_token=half.token)
    found = server.step(second.token, half.context)
    assert isinstance(found, Context), found
    return second.context, found


def iov(kind: str, body: bytes, header: bool, signature: bytes | None = None) -> Any:
    """The parts of a PDU, as a client of the GSS-API has them."""
    of = raw.IOVBufferType
    sides = (of.sign_only, False, HEAD), (of.sign_only, False, TRAILER)
    parts = [sides[0], (of.data, False, body), sides[1]] if header else [(of.data, False, body)]
    token = of.header if kind == "seal" else of.mic_token
    return raw.IOV((token, signature is None, signature), *parts, std_layout=False)


def main(host: str, keytab: str, header: bool) -> None:
    """Exchange messages."""
    client, server = established(host, keytab)
    keys = server.messages
    ours = KerberosProtection(
        MessageKeys(keys.enctype, keys.key, keys.by_acceptor, keys.sent, keys.received), True, header
    )
    for size in LENGTHS:
        body = bytes(range(256)) * 16
        body = body[:size]
        for sealing in (False, True):
            kind = "seal" if sealing else "sign"
            message = iov(kind, body, header)
            if sealing:
                raw.wrap_iov(client, message, confidential=True)
            else:
                raw.get_mic_iov(client, message)
            buffers = [part.value for part in message]
            sent = buffers[2 if header else 1]
            assert (sent != body) == (sealing and size > 0)
            assert ours.unprotect(HEAD, sent, TRAILER, buffers[0], sealing) == body
            answer, signature = ours.protect(HEAD, body, TRAILER, sealing)
            assert len(signature) == ours.signature_size(sealing)
            reply = iov(kind, answer, header, signature)
            if sealing:
                assert raw.unwrap_iov(client, reply).encrypted
            else:
                raw.verify_mic_iov(client, reply)
            assert [part.value for part in reply][2 if header else 1] == body
    print(keys.enctype)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3] == "yes")
