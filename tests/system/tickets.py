# SPDX-License-Identifier: GPL-2.0-or-later
"""Tickets and tokens that no KDC and no client would make: whoever has the service's key can write what he likes.

impacket's Kerberos encodes and encrypts them. `log_on` sends a token in a SESSION_SETUP.
"""

from __future__ import annotations

import secrets
import socket
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from impacket.krb5 import constants as k
from impacket.krb5.asn1 import AP_REQ, TGS_REP, Authenticator, EncTicketPart, Ticket, seq_set
from impacket.krb5.crypto import Key, _enctype_table, encrypt
from impacket.krb5.keytab import Keytab
from impacket.krb5.pac import (
    PAC_CLIENT_INFO_TYPE,
    PAC_LOGON_INFO,
    PAC_PRIVSVR_CHECKSUM,
    PAC_SERVER_CHECKSUM,
    sign_pac,
)
from impacket.krb5.types import KerberosTime, Principal
from impacket.krb5.types import Ticket as TicketValue
from pyasn1.codec.der import encoder
from pyasn1.type.univ import noValue
from server import KsmbdServer

from ksmbd.smb.constants import FILETIME_UNIX_EPOCH

AES256 = 18
KERBEROS = bytes.fromhex("06092a864886f712010202")
MS_KERBEROS = bytes.fromhex("06092a864882f712010202")
SPNEGO = bytes.fromhex("06062b0601050502")
MUTUAL = 0x2
INTEGRITY = 0x20
_CHECKSUM_GSS = 0x8003
_HMAC_SHA1_AES256 = 16


def tlv(tag: int, *content: bytes) -> bytes:
    """One element of DER."""
    data = b"".join(content)
    size = len(data)
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, size)) + data if size < 0x80 else bytes((tag, 0x80 | len(octets))) + octets + data


def service_key(keytab: Path, principal: str) -> Key:
    """The AES-256 key of a principal."""
    block = Keytab.loadFile(str(keytab)).getKey(principal, AES256)
    return Key(AES256, bytes.fromhex(block.hexlifiedValue().decode()))


@dataclass
class Forger:
    """Writes tickets for a service with its key. Times are seconds from now."""

    key: Key
    service: str
    realm: str

    def ticket(
        self, client: str, *, begin: float = -60, end: float = 3600, realm: str = "", pac: bytes = b"",
        authtime: datetime | None = None, service: str = "",
    ) -> tuple[Any, Key]:  # fmt: skip
        """A service ticket of `client` (of `realm`, '' = the service's) and its session key."""
        session = Key(AES256, secrets.token_bytes(32))
        part = EncTicketPart()
        part["flags"] = k.encodeFlags([k.TicketFlags.pre_authent.value])
        part["key"] = noValue
        part["key"]["keytype"], part["key"]["keyvalue"] = AES256, session.contents
        part["crealm"] = realm or self.realm
        part["cname"] = noValue
        seq_set(part, "cname", Principal(client, type=k.PrincipalNameType.NT_PRINCIPAL.value).components_to_asn1)
        part["transited"] = noValue
        part["transited"]["tr-type"], part["transited"]["contents"] = 0, b""
        now = datetime.now(UTC)
        part["authtime"] = KerberosTime.to_asn1(authtime or now + timedelta(seconds=min(begin, 0)))
        part["starttime"] = KerberosTime.to_asn1(now + timedelta(seconds=begin))
        part["endtime"] = KerberosTime.to_asn1(now + timedelta(seconds=end))
        if pac:
            part["authorization-data"] = noValue
            part["authorization-data"][0] = noValue
            part["authorization-data"][0]["ad-type"] = k.AuthorizationDataType.AD_IF_RELEVANT.value
            win2k = tlv(0x30, tlv(0x30, tlv(0xA0, tlv(2, b"\0\x80")), tlv(0xA1, tlv(4, pac))))
            part["authorization-data"][0]["ad-data"] = win2k
        ticket = Ticket()
        ticket["tkt-vno"] = 5
        ticket["realm"] = self.realm
        ticket["sname"] = noValue
        name = Principal(service or self.service, type=k.PrincipalNameType.NT_SRV_INST.value)
        seq_set(ticket, "sname", name.components_to_asn1)
        ticket["enc-part"] = noValue
        ticket["enc-part"]["etype"], ticket["enc-part"]["kvno"] = AES256, 2
        ticket["enc-part"]["cipher"] = encrypt(self.key, 2, encoder.encode(part), secrets.token_bytes(16))
        value = TicketValue()
        value.from_asn1(ticket)
        return value, session

    def pac(self, client: str, info: bytes, authtime: datetime, key: Key | None = None) -> bytes:
        """A PAC with KERB_VALIDATION_INFO, signed with the service's key or `key` (MS-PAC 2.8)."""
        name = client.encode("utf-16-le")
        filetime = int(authtime.timestamp()) * 10_000_000 + FILETIME_UNIX_EPOCH
        who = struct.pack("<QH", filetime, len(name)) + name
        unsigned = struct.pack("<I", _HMAC_SHA1_AES256) + bytes(12)
        order = [PAC_LOGON_INFO, PAC_CLIENT_INFO_TYPE, PAC_SERVER_CHECKSUM, PAC_PRIVSVR_CHECKSUM]
        buffers = dict(zip(order, (info, who, unsigned, unsigned), strict=True))
        secret = (key or self.key).contents.hex()
        return bytes(sign_pac(buffers, aes_key=secret, buffer_order=order).getData())

    def token(
        self, client: str, *, clock: float = 0, flags: int = MUTUAL | INTEGRITY, oid: bytes = KERBEROS, **of_ticket: Any
    ) -> tuple[bytes, Key]:
        """A GSS-API token with KRB_AP_REQ (RFC 4121 4.1) of a client whose clock differs by `clock` seconds, and the
        ticket's session key."""
        ticket, session = self.ticket(client, **of_ticket)
        request = AP_REQ()
        request["pvno"], request["msg-type"] = 5, int(k.ApplicationTagNumbers.AP_REQ.value)
        request["ap-options"] = k.encodeFlags([k.APOptions.mutual_required.value] if flags & MUTUAL else [])
        seq_set(request, "ticket", ticket.to_asn1)
        now = datetime.now(UTC) + timedelta(seconds=clock)
        proof = Authenticator()
        proof["authenticator-vno"], proof["crealm"] = 5, of_ticket.get("realm") or self.realm
        seq_set(proof, "cname", Principal(client, type=k.PrincipalNameType.NT_PRINCIPAL.value).components_to_asn1)
        proof["cksum"] = noValue
        proof["cksum"]["cksumtype"] = _CHECKSUM_GSS
        proof["cksum"]["checksum"] = struct.pack("<I16sI", 16, bytes(16), flags)
        proof["seq-number"] = 1
        proof["cusec"], proof["ctime"] = now.microsecond, KerberosTime.to_asn1(now)
        request["authenticator"] = noValue
        request["authenticator"]["etype"] = AES256
        sealed = _enctype_table[AES256].encrypt(session, 11, encoder.encode(proof), None)
        request["authenticator"]["cipher"] = sealed
        return tlv(0x60, oid, b"\1\0", encoder.encode(request)), session


def as_tgs(ticket: TicketValue, session: Key) -> dict[str, Any]:
    """A ticket as SMBConnection.kerberosLogin takes it; it does not look at what a KDC would have encrypted."""
    reply = TGS_REP()
    reply["pvno"], reply["msg-type"] = 5, int(k.ApplicationTagNumbers.TGS_REP.value)
    reply["crealm"] = "X"
    reply["cname"] = noValue
    seq_set(reply, "cname", Principal("x", type=k.PrincipalNameType.NT_PRINCIPAL.value).components_to_asn1)
    seq_set(reply, "ticket", ticket.to_asn1)
    reply["enc-part"] = noValue
    reply["enc-part"]["etype"], reply["enc-part"]["cipher"] = AES256, b""
    return {"KDC_REP": encoder.encode(reply), "cipher": _enctype_table[AES256], "sessionKey": session}


def spnego(mechanisms: list[bytes], token: bytes = b"") -> bytes:
    """A NegTokenInit of a client (RFC 4178 4.2.1)."""
    optimistic = tlv(0xA2, tlv(4, token)) if token else b""
    return tlv(0x60, SPNEGO, tlv(0xA0, tlv(0x30, tlv(0xA0, tlv(0x30, *mechanisms)), optimistic)))


class LogOn:
    """A connection with SMB 2.1, to log on with tokens; a context manager."""

    def __init__(self, server: KsmbdServer) -> None:
        # refusals are told ten times an address: each connection is from another one
        source = f"127.0.{secrets.randbelow(250)}.{2 + secrets.randbelow(250)}"
        self._socket = socket.create_connection(("127.0.0.1", server.port), 30, (source, 0))
        self._next = 0
        self._session = 0
        self._ask(0, struct.pack("<HHHHI16sQH", 36, 1, 1, 0, 0, secrets.token_bytes(16), 0, 0x0210))

    def __enter__(self) -> LogOn:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _ask(self, command: int, body: bytes) -> bytes:
        fields = (b"\xfeSMB", 64, 1, 0, command, 1, 0, 0, self._next, 0, 0, self._session, b"")
        header = struct.pack("<4sHHIHHIIQIIQ16s", *fields)
        self._next += 1
        self._socket.sendall(struct.pack(">I", len(header) + len(body)) + header + body)
        size = int.from_bytes(self._exactly(4), "big")
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            assert part, "the server closed the connection"
            data += part
        return data

    def step(self, token: bytes) -> tuple[int, bytes]:
        """A round of SESSION_SETUP: (NTSTATUS, the server's token)."""
        body = struct.pack("<HBBIIHHQ", 25, 0, 1, 0, 0, 88, len(token), 0) + token
        reply = self._ask(1, body)
        status, self._session = struct.unpack_from("<I", reply, 8)[0], struct.unpack_from("<Q", reply, 40)[0]
        if len(reply) < 72 or reply[64] != 9 or len(reply) == 73:
            return status, b""
        offset, length = struct.unpack_from("<HH", reply, 68)
        return status, reply[offset : offset + length]


def log_on(server: KsmbdServer, token: bytes) -> int:
    """The NTSTATUS of a log-on with one token."""
    with LogOn(server) as connection:
        return connection.step(token)[0]
