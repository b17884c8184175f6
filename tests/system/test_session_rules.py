# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose requests are carried out, and how many wait, with a real server: re-authentication (MS-SMB2 3.3.5.2.4), related
requests (3.3.5.2.7.2), sealed messages (3.3.5.2.1.1), requests that wait (3.3.4.2)."""
from __future__ import annotations

import os
import struct
from typing import Any

import pytest
import spnego
from bodies import create, opened
from rawclient import STATUS_PENDING, ConnectionEnded, RawClient, status_of
from server import KsmbdServer, StartKsmbd

from ksmbd import limits
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.header import HEADROOM

ECHO = b"\x04\0\0\0"
FOLDER = 0x100081
RELATED = 0x4


@pytest.fixture(scope="module")
def server(start_shared: StartKsmbd) -> KsmbdServer:
    return start_shared(options={"server signing": "mandatory"}, users={"user": "secret", "other": "secret too"})


def signing(server: KsmbdServer, **more: Any) -> RawClient:
    return RawClient(server, signing=c.SIGNING_AES_GMAC, **more)


def setup(token: bytes) -> bytes:
    return struct.pack("<HBBIIHHQ", 25, 0, 3, 0x7F, 0, 88, len(token), 0) + token


def compound(client: RawClient, *parts: tuple[int, bytes, dict[str, int]]) -> list[bytes]:
    """Several requests in one frame, each signed; the messages that come back."""
    data = bytearray()
    for number, (command, body, fields) in enumerate(parts):
        last = number == len(parts) - 1
        body = body if last else body + bytes(-len(body) % 8)
        message_id = client.message_id
        signer, client.signing = client.signer, None
        message = client.message(command, body)[HEADROOM:]
        client.signing = c.SIGNING_AES_GMAC
        struct.pack_into("<I", message, 20, 0 if last else len(message))
        struct.pack_into("<I", message, 16, fields.get("flags", 0) | c.FLAGS_SIGNED)
        struct.pack_into("<I", message, 36, fields.get("tree_id", client.tree_id))
        struct.pack_into("<Q", message, 40, fields.get("session_id", client.session_id))
        assert signer is not None
        signer.sign(message, 0, message_id)
        data += message
    client.credits -= len(parts)
    client.post_bytes(len(data).to_bytes(4, "big") + bytes(data))
    replies: list[bytes] = []
    while len(replies) < len(parts):
        frame = client.frame()
        while True:
            following = struct.unpack_from("<I", frame, 20)[0]
            replies.append(frame)
            if not following:
                break
            frame = frame[following:]
    return replies


@pytest.mark.parametrize("user", ["other", "user", None])
def test_an_unsigned_round_of_a_re_authentication_changes_nothing(server: KsmbdServer, user: str | None) -> None:
    name = f"made by {user}"
    with signing(server) as client:
        context = spnego.client(
            user or "user", server.users.get(user or "", "wrong"), hostname="127.0.0.1", service="cifs",
            protocol="ntlm",
        )  # fmt: skip
        first = client.reply(client.post(c.SESSION_SETUP, setup(context.step() or b"")))
        assert status_of(first) == s.STATUS_MORE_PROCESSING_REQUIRED
        where, size = struct.unpack_from("<HH", first, 68)
        token = context.step(first[where : where + size]) or b""
        client.signing, kept = None, client.signing
        unsigned = [token, b"garbage"]
        for one in unsigned:
            assert client.status(c.SESSION_SETUP, setup(one)) == s.STATUS_ACCESS_DENIED
        client.signing = kept
        assert client.status(c.ECHO, ECHO) == 0
        client.close(opened(client.reply(client.post(c.CREATE, create(name)))))
    assert (server.share_path / name).exists()


def test_related_requests_are_of_what_the_one_before_was_of(server: KsmbdServer) -> None:
    with signing(server) as client:
        old = opened(client.reply(client.post(c.CREATE, create("old"))))
        client.close(old)
        elsewhere = {"flags": RELATED, "session_id": 0x1234567, "tree_id": 0x99}
        replies = compound(
            client, (c.CREATE, create("new"), {}),
            (c.QUERY_INFO, client.query_info_body(old), elsewhere), (c.CLOSE, client.close_body(old), elsewhere),
        )  # fmt: skip
        assert [status_of(reply) for reply in replies] == [0, 0, 0]
        replies = compound(
            client, (c.CREATE, create("no\\such\\folder"), {}), (c.CLOSE, client.close_body(old), elsewhere)
        )
        assert [status_of(reply) for reply in replies] == [s.STATUS_OBJECT_PATH_NOT_FOUND] * 2


@pytest.mark.parametrize("command", [c.ECHO, c.SESSION_SETUP])
def test_a_sealed_message_is_of_the_session_that_sealed_it(server: KsmbdServer, command: int) -> None:
    guid = os.urandom(16)
    with RawClient(server, guid=guid, encrypt=True) as victim, RawClient(server, guid=guid, encrypt=True) as client:
        with pytest.raises(ConnectionEnded):
            client.status(command, ECHO if command == c.ECHO else setup(b"NTLMSSP\0"), session_id=victim.session_id)
        assert victim.status(c.ECHO, ECHO) == 0


def test_so_many_requests_of_a_connection_wait(server: KsmbdServer) -> None:
    with signing(server) as client:
        folder = client.open("", FOLDER, c.FILE_OPEN, 0x21)
        notify = struct.pack("<HHI16sII", 32, 0, 4096, folder, 0x17, 0)
        statuses = []
        for _ in range(limits.WAITING_REQUESTS.value + 3):
            client.post(c.CHANGE_NOTIFY, notify)
            statuses.append(status_of(client.frame()))
        most = limits.WAITING_REQUESTS.value
        assert statuses == [STATUS_PENDING] * most + [s.STATUS_INSUFFICIENT_RESOURCES] * 3
        assert client.status(c.ECHO, ECHO) == 0
