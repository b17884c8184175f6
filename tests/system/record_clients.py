# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients of several makes that append records to common files and hold leases on them while they do.

A record names its client and its number, and carries a hash, so that a lost one and a torn one are told apart. One that
the server has acknowledged has to be in its file in the end, once and whole.
"""
from __future__ import annotations

import hashlib
import os
import queue
import select
import struct
import subprocess
import tempfile
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from bodies import EXCLUSIVE, LEASE, UNLOCK, create, lease, lock, opened
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from impacket.smbconnection import SMBConnection
from rawclient import BenchError, ConnectionEnded, RawClient, status_of
from server import KsmbdServer
from smbprotocol.exceptions import SMBException, SMBResponseException
from smbprotocol.structure import BytesField, IntField, Structure
from smbprotocol_client import Client as SmbprotocolClient

from ksmbd.overriding import override
from ksmbd.smb import constants as c
from ksmbd.smb import status as s

RECORD = struct.Struct("<HI26s32s")
APPEND_LOCK = 1 << 62
"""Where the lock is that an appender takes, beyond all data."""
BUSY = (s.STATUS_SHARING_VIOLATION, s.STATUS_FILE_NOT_AVAILABLE)
"""What a file answers whose opens a dead worker's clients may still come back for."""
LEASE_STATE = 7
STATUS_PENDING = 0x103
NOTICE = 0xFFFFFFFFFFFFFFFF


def record(client: int, number: int) -> bytes:
    """One record."""
    head = struct.pack("<HI26s", client, number, bytes([client * 37 + number & 0xFF]) * 26)
    return head + hashlib.sha256(head).digest()


def records(data: bytes, unfinished: bool = False) -> list[tuple[int, int]]:
    """(client, number) of each record; AssertionError for one that is torn. `unfinished`: the last may be, for nobody
    has been told that it is there."""
    whole = len(data) // RECORD.size * RECORD.size
    assert unfinished or len(data) == whole
    result = []
    for at in range(0, whole, RECORD.size):
        client, number, _, digest = RECORD.unpack_from(data, at)
        assert hashlib.sha256(data[at : at + RECORD.size - 32]).digest() == digest, f"torn at {at}"
        result.append((client, number))
    return result


def lease_acknowledgement(notice: bytes) -> bytes | None:
    """What a Lease Break Notification's body is to be answered with (MS-SMB2 2.2.23.2, 2.2.24.2), None: nothing."""
    _, _, flags, key, _, new = struct.unpack_from("<HHI16sII", notice)
    return struct.pack("<HHI16sIQ", 36, 0, 0, key, new, 0) if flags & 1 else None


class Channel(Protocol):
    """A log-on of some client: sends a request, and acknowledges lease breaks whatever it waits for."""

    def ask(self, command: int, body: bytes) -> bytes:
        """The final response, header and all. Raises one of GONE."""
        ...

    def close(self) -> None: ...


class _Acknowledging(RawClient):
    """The project's own client; it acknowledges lease breaks."""

    @override
    def frame(self) -> bytes:
        """See RawClient.frame."""
        message = super().frame()
        while message[24:32] == b"\xff" * 8:
            answer = lease_acknowledgement(message[64:])
            if answer is not None:
                self.post(c.OPLOCK_BREAK, answer)
            message = super().frame()
        return message

class RawChannel:
    """See Channel."""

    def __init__(self, server: KsmbdServer) -> None:
        self._client = _Acknowledging(server, guid=os.urandom(16))

    def ask(self, command: int, body: bytes) -> bytes:
        """See Channel."""
        return self._client.reply(self._client.post(command, body))

    def close(self) -> None:
        """See Channel."""
        self._client.close_socket()


class _Body(Structure):
    """A request of smbprotocol with a body that is made already."""

    def __init__(self, command: int, body: bytes) -> None:
        self.COMMAND = command
        self.fields = OrderedDict([("body", BytesField(size=len(body), default=body))])
        super().__init__()

    def __getitem__(self, name: str) -> Any:
        # The sizes that a request is paid for by: all of these are small.
        return super().__getitem__(name) if name == "body" else IntField(size=4, default=1)


class _Unasked:
    """Stands among smbprotocol's requests for what the server says unasked, which it does not know of itself."""

    def __init__(self, channel: SmbprotocolChannel) -> None:
        self.session_id = channel.client.session.session_id
        self.message = {"reserved": self}
        self.response_event_lock = threading.Lock()
        self.response_event = self
        self.response: Any = None
        self._channel = channel

    def get_value(self) -> int:
        return 0

    def set(self) -> None:
        response, self.response = self.response, None
        answer = lease_acknowledgement(response["data"].get_value()) if response is not None else None
        if answer is not None:
            with suppress(SMBException):  # who waits for something else on this connection hears of its end
                self._channel.client.send(_Body(c.OPLOCK_BREAK, answer))


class SmbprotocolChannel:
    """smbprotocol, signed."""

    def __init__(self, server: KsmbdServer) -> None:
        self.client = SmbprotocolClient(server)
        self.client.connection.outstanding_requests[NOTICE] = _Unasked(self)

    def ask(self, command: int, body: bytes) -> bytes:
        """See Channel."""
        try:
            response = self.client.wait(self.client.send(_Body(command, body)))
        except SMBResponseException as error:
            response = error.header
        return bytes(response.pack())

    def close(self) -> None:
        """See Channel."""
        self.client.connection.disconnect(False)


class ImpacketChannel:
    """impacket, encrypted where it can be."""

    def __init__(self, server: KsmbdServer) -> None:
        self.connection = SMBConnection("127.0.0.1", "127.0.0.1", sess_port=server.port, timeout=20)
        try:
            self.connection.login(server.user, server.password)
            self.tree = self.connection.connectTree(next(iter(server.shares)))
        except BaseException:
            self.close()
            raise
        self.smb = self.connection._SMBConnection

    def post(self, command: int, body: bytes) -> int:
        """Send a request; its MessageId."""
        packet = self.smb.SMB_PACKET()
        packet["Command"] = command
        packet["TreeID"] = self.tree
        packet["Data"] = body
        return int(self.smb.sendSMB(packet))

    def ask(self, command: int, body: bytes) -> bytes:
        """See Channel."""
        wanted = self.post(command, body)
        while True:
            message = bytes(self.smb._NetBIOSSession.recv_packet(20).get_trailer())
            if message[:4] == b"\xfdSMB":  # MS-SMB2 2.2.41, with AES-128-CCM
                cipher = AESCCM(self.smb._Session["DecryptionKey"])
                message = cipher.decrypt(message[20:31], message[52:] + message[4:20], message[20:52])
            message_id = struct.unpack_from("<Q", message, 24)[0]
            if message_id == NOTICE:
                answer = lease_acknowledgement(message[64:])
                if answer is not None:
                    self.post(c.OPLOCK_BREAK, answer)
            elif message_id == wanted and status_of(message) != STATUS_PENDING:
                return message

    def close(self) -> None:
        """See Channel."""
        self.connection.getSMBServer().close_session()


GONE = (ConnectionEnded, OSError, BenchError, struct.error, SMBException, EOFError)
"""What a client raises whose connection has ended."""


def is_gone(error: BaseException) -> bool:
    """Whether an error tells of an ended connection; impacket has exceptions of its own for that."""
    return isinstance(error, GONE) or type(error).__module__.startswith("impacket")


class Appender(threading.Thread):
    """Appends records to common files, and notes what the server acknowledged."""

    def __init__(self, server: KsmbdServer, number: int, files: tuple[str, ...], stop: threading.Event) -> None:
        super().__init__(name=f"{type(self).__name__} {number}")
        self.server = server
        self.number = number
        self.files = files
        self.stop_now = stop
        self.acknowledged: list[tuple[str, int]] = []
        self.reconnects = 0
        self.error: BaseException | None = None

    @override
    def run(self) -> None:
        """Until it is to stop."""
        try:
            self.append_all()
        except BaseException as error:  # noqa: BLE001 - the test tells it
            self.error = error

    def append_all(self) -> None:
        """What it does."""
        raise NotImplementedError


class LeaseAppender(Appender):
    """Opens a common file with a lease on reading, writing and the handle, takes the lock, looks where the file ends,
    writes there, releases, closes; every eighth time it reads all that is there."""

    channel: type[Any]

    @override
    def append_all(self) -> None:
        """See Appender."""
        sent = 0
        while not self.stop_now.is_set():
            channel: Channel | None = None
            try:
                channel = self.channel(self.server)
                while not self.stop_now.is_set():
                    sent += 1
                    self.append(channel, self.files[sent % len(self.files)], sent)
            except Exception as error:
                if not is_gone(error):
                    raise
                self.reconnects += 1
                select.select([], [], [], 0.01)
            finally:
                if channel is not None:
                    try:
                        channel.close()
                    except Exception as error:
                        if not is_gone(error):
                            raise

    def append(self, channel: Channel, name: str, number: int) -> None:
        """One record."""
        key = struct.pack("<II8x", self.number + 1, self.files.index(name))
        reply = channel.ask(c.CREATE, create(name, LEASE, contexts=lease(key, LEASE_STATE)))
        if status_of(reply) in BUSY:
            select.select([], [], [], 0.01)
            return
        file = opened(reply)
        assert status_of(channel.ask(c.LOCK, lock(file, APPEND_LOCK, 1, EXCLUSIVE))) == 0
        info = channel.ask(c.QUERY_INFO, RawClient.query_info_body(file, 5))  # FileStandardInformation
        assert status_of(info) == 0
        size = struct.unpack_from("<Q", info, 64 + 8 + 8)[0]
        # A worker that died may have left the beginning of a record that nobody was told of.
        at = size - size % RECORD.size
        if number % 8 == 0 and size:
            read = channel.ask(c.READ, RawClient.read_body(file, 0, min(at, 65536)))
            assert status_of(read) in (0, s.STATUS_END_OF_FILE)
            records(read[80 : 80 + struct.unpack_from("<I", read, 68)[0]])
        body = RawClient.write_body(file, at, RECORD.size)
        body = body[:4] + struct.pack("<I", RECORD.size) + body[8:] + record(self.number, number)
        if status_of(channel.ask(c.WRITE, body)) == 0:
            self.acknowledged.append((name, number))
        assert status_of(channel.ask(c.LOCK, lock(file, APPEND_LOCK, 1, UNLOCK))) == 0
        assert status_of(channel.ask(c.CLOSE, RawClient.close_body(file))) == 0


class RawAppender(LeaseAppender):
    """With the project's own client."""

    channel = RawChannel


class SmbprotocolAppender(LeaseAppender):
    """With smbprotocol."""

    channel = SmbprotocolChannel


class ImpacketAppender(LeaseAppender):
    """With impacket."""

    channel = ImpacketChannel


class SmbclientAppender(Appender):
    """smbclient takes no locks: it replaces a file of its own each time by one that has more records, and reads the
    common ones."""

    @override
    def append_all(self) -> None:
        """See Appender."""
        own = f"smbclient-{self.number}"
        with tempfile.TemporaryDirectory(prefix="ksmbd-records-") as folder:
            local, fetched = Path(folder, "local"), Path(folder, "fetched")
            number = 0
            while not self.stop_now.is_set():
                with local.open("ab") as file:
                    for _ in range(5):
                        number += 1
                        file.write(record(self.number, number))
                common = self.files[number % len(self.files)]
                fetched.unlink(missing_ok=True)
                done = self.command(f"put {local} {own}.new; rename {own}.new {own} -f; get {common} {fetched}")
                if done:
                    acknowledged = len([name for name, _ in self.acknowledged if name == own])
                    self.acknowledged += [(own, earlier) for earlier in range(acknowledged + 1, number + 1)]
                    if fetched.exists():
                        records(fetched.read_bytes(), unfinished=True)
                else:
                    self.reconnects += 1

    def command(self, text: str) -> bool:
        """Whether smbclient has done all of it."""
        done = subprocess.run(
            ["smbclient", f"//127.0.0.1/{next(iter(self.server.shares))}", "-p", str(self.server.port), "-U",
             f"{self.server.user}%{self.server.password}", "-s", "/dev/null", "-m", "SMB3_11", "-c", text],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        return done.returncode == 0 and "NT_STATUS" not in done.stdout + done.stderr


GUEST_SCRIPT = Path(__file__).with_name("record_guest.py")


class GuestAppender(Appender):
    """cifs.ko, mounted in a virtual machine: `guest` is a command that runs a shell script there, given as its last
    argument. The machine sees this one's files, and its servers at `address`."""

    def __init__(
        self, server: KsmbdServer, number: int, files: tuple[str, ...], stop: threading.Event, guest: list[str],
        address: str,
    ) -> None:
        super().__init__(server, number, files, stop)
        self.guest = guest
        self.address = address
        self.mounted = threading.Event()
        self.lines: queue.Queue[str] = queue.Queue()

    @override
    def append_all(self) -> None:
        """See Appender."""
        arguments = [self.address, str(self.server.port), next(iter(self.server.shares)), self.server.user,
                     self.server.password, str(self.number), ",".join(self.files)]  # fmt: skip
        text = f"python3 - {' '.join(arguments)} <<'END'\n{GUEST_SCRIPT.read_text()}\nEND"
        with subprocess.Popen([*self.guest, text], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                word, *rest = line.split()
                if word == "mounted":
                    self.mounted.set()
                elif word == "acknowledged":
                    self.acknowledged.append((rest[0], int(rest[1])))
                elif word == "failed":
                    self.reconnects += 1
                else:
                    raise AssertionError(line)
            assert process.wait() == 0


def wait_until(true: Any, seconds: float = 60) -> None:
    """Until a call returns true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "nothing goes on"
        select.select([], [], [], 0.02)
