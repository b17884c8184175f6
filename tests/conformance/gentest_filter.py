# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands between gentest and a server, and takes known differences between servers out of what gentest asks.

gentest's own list (`gentest-accepted.txt`) forgives one error for another, and a field. It cannot forgive success
where the other server refuses. What makes the servers differ so is changed in the request, or the request is answered
here with an error, on the way to both of them alike; each rule says why. Sessions are neither signed nor encrypted.
"""
from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

CREATE, WRITE, LOCK, QUERY_INFO, SET_INFO = 5, 9, 10, 16, 17
HEADER = 64
_SIGNED = 0x08
_DEVICE_OR_VOLUME = 0x40 | 0x08
_READONLY, _TEMPORARY, _OFFLINE, _NOT_CONTENT_INDEXED = 0x01, 0x100, 0x1000, 0x2000
_DIRECTORY, _ARCHIVE = 0x10, 0x20
_HIDDEN_AND_SYSTEM = 0x02 | 0x04
_SUPERSEDE, _OPEN_IF, _OVERWRITE, _OVERWRITE_IF = 0, 3, 4, 5
_SHARE_READ_WRITE, _SHARE_DELETE = 0x03, 0x04
_DIRECTORY_FILE, _DELETE_ON_CLOSE = 0x01, 0x1000
_MAY_DELETE = 0x12010000
"""DELETE, MAXIMUM_ALLOWED, GENERIC_ALL."""
_MAY_WRITE_EA = 0x52000010
"""FILE_WRITE_EA, MAXIMUM_ALLOWED, GENERIC_WRITE, GENERIC_ALL."""
_ALL_BUT_DELETE = 0x001E01FF
_WITH_STREAMS = frozenset(("foo4", "foo5.exe"))
_FOLDERS = frozenset(("blah", ".", ".."))
_FILE, _SECURITY = 1, 3
_BASIC, _STANDARD, _RENAME, _DISPOSITION, _FULL_EA, _ALL, _ALLOCATION, _END_OF_FILE = 4, 5, 10, 13, 15, 18, 19, 20
_STREAM = 22


@dataclass
class Opened:
    """One open that has passed."""

    name: str
    is_directory: bool
    desired_access: int
    names: set[str] = field(default_factory=set)
    """All that it was to be renamed to."""

    @property
    def is_stream(self) -> bool:
        """Whether it is of a named stream."""
        return ":" in self.name


@dataclass
class Seen:
    """What has passed on one connection."""

    asked: dict[bytes, tuple[str, int]] = field(default_factory=dict)
    """MessageId of a CREATE -> the name, DesiredAccess."""
    opens: dict[bytes, Opened] = field(default_factory=dict)
    """By FileId."""
    overwritten: set[str] = field(default_factory=set)
    """Names of files that were or may have been overwritten, by all connections."""
    deleted: set[str] = field(default_factory=set)
    """Names of files that are to be deleted, by all connections."""


Rule = Callable[[bytearray, Seen], bool]
"""Changes a request; True: it is not passed on, and STATUS_NOT_SUPPORTED is the answer."""


def _name(message: bytearray) -> str:
    offset, length = struct.unpack_from("<HH", message, HEADER + 44)
    return bytes(message[offset : offset + length]).decode("utf-16-le")


def _has_streams(name: str) -> bool:
    return name.partition(":")[0].rpartition("\\")[2] in _WITH_STREAMS


def _opened(message: bytearray, at: int, seen: Seen) -> Opened:
    return seen.opens.get(bytes(message[HEADER + at : HEADER + at + 16]), Opened("", False, 0))


# ------------------------------------------------------------------------------------------------------------- CREATE


def attributes(message: bytearray, seen: Seen) -> bool:
    """DEVICE and VOLUME are no attributes of a file: MS-FSCC 2.6 does not have them, and Windows refuses them with
    STATUS_INVALID_PARAMETER (smb2.create.gentest asks for that); Samba takes them. TEMPORARY, OFFLINE and
    NOT_CONTENT_INDEXED stay as they are set (MS-FSA 2.1.5.1.1); Samba forgets them. READONLY takes the rights to write
    from what MAXIMUM_ALLOWED gives (MS-FSA 2.1.5.1.2.1, smb2.maximum_allowed.read_only); Samba 4.17 refuses such an
    open. What a CREATE of a stream says is about a file that it makes, and not about one that is there (2.1.5.1.2);
    Samba gives it to that, so files with streams have none to lose."""
    (given,) = struct.unpack_from("<I", message, HEADER + 28)
    given &= ~(_DEVICE_OR_VOLUME | _TEMPORARY | _OFFLINE | _NOT_CONTENT_INDEXED | _READONLY)
    if _has_streams(_name(message)):
        given &= ~_HIDDEN_AND_SYSTEM
    struct.pack_into("<I", message, HEADER + 28, given)
    return False


def dispositions(message: bytearray, seen: Seen) -> bool:
    """A file that is hidden or of the system is superseded by one that is so, too (MS-FSA 2.1.5.1.2.1); Samba asks for
    that when it is to be overwritten alone. FILE_OVERWRITE makes no file for a stream that is not there (2.1.5.1.1);
    Samba makes it, and then finds no stream; it tells the old size of a stream that it has emptied, and panics when a
    stream is closed whose file was emptied meanwhile. So what has streams is opened. Who overwrites a file takes its
    extended attributes away (2.1.5.1.2.1), but not in Samba, so they are not asked for later."""
    name = _name(message)
    (given,) = struct.unpack_from("<I", message, HEADER + 28)
    (disposition,) = struct.unpack_from("<I", message, HEADER + 36)
    if disposition not in (_SUPERSEDE, _OVERWRITE, _OVERWRITE_IF):
        return False
    seen.overwritten.add(name)
    if _has_streams(name):
        struct.pack_into("<I", message, HEADER + 36, _OPEN_IF)
    elif disposition == _SUPERSEDE:
        struct.pack_into("<I", message, HEADER + 28, given | _HIDDEN_AND_SYSTEM)
    return False


def sharing(message: bytearray, seen: Seen) -> bool:
    """A file is opened with the right DELETE beside opens of its streams that share it (MS-FSA 2.1.5.1.2.2); for what
    MAXIMUM_ALLOWED gives Samba does not ask that. Who renames a file opens its folder (2.1.5.15.12), beside opens that
    share what that needs and may not delete the folder; Samba asks less. So streams and folders are opened so here."""
    name = _name(message)
    if ":" in name:
        message[HEADER + 32] |= _SHARE_DELETE
    if name.rpartition("\\")[2] in _FOLDERS:
        message[HEADER + 32] |= _SHARE_READ_WRITE
        (access,) = struct.unpack_from("<I", message, HEADER + 24)
        if access & _MAY_DELETE:
            struct.pack_into("<I", message, HEADER + 24, access & ~_MAY_DELETE | _ALL_BUT_DELETE)
    return False


def streams(message: bytearray, seen: Seen) -> bool:
    """Files with streams are no directories: a stream takes its attributes from the file, and Samba sets ARCHIVE on a
    directory that gets one. Samba 4.17 panics when a stream is closed that is to be deleted, so none is."""
    name = _name(message)
    (options,) = struct.unpack_from("<I", message, HEADER + 40)
    if _has_streams(name):
        options &= ~_DIRECTORY_FILE
    if ":" in name:
        options &= ~_DELETE_ON_CLOSE
    struct.pack_into("<I", message, HEADER + 40, options)
    return False


def contexts(message: bytearray, seen: Seen) -> bool:
    """Extended attributes are of the file (MS-FSA 2.1.1.3), so a CREATE of a stream that makes its file sets them.
    Samba refuses them, when it has made both; and refuses them, when it has made the file, where DesiredAccess has not
    FILE_WRITE_EA, which is about what the open may do later. It sets those of a list one after the other up to one that
    it cannot set, as without a name; here it is all or none. On most file systems they share the room of an inode with
    streams, so that it matters how much else a server keeps there. A version that is not there is
    STATUS_OBJECT_NAME_NOT_FOUND (MS-SMB2 3.3.5.9.4); a Samba without snapshots opens the present one. A context that
    nobody knows is ignored (3.3.5.9)."""
    offset, length = struct.unpack_from("<II", message, HEADER + 48)
    if not length:
        return False
    at = message.find(b"TWrp", offset, offset + length)
    if at >= 0:
        message[at : at + 4] = b"none"
    (access,) = struct.unpack_from("<I", message, HEADER + 24)
    at = message.find(b"ExtA", offset, offset + length)
    if at >= 0 and (not access & _MAY_WRITE_EA or _has_streams(_name(message)) or _has_no_name(message[at + 8 :])):
        message[at : at + 4] = b"None"
    return False


def _has_no_name(eas: bytes | bytearray) -> bool:
    """Whether an entry of a FILE_FULL_EA_INFORMATION list (MS-FSCC 2.4.16) has an empty name."""
    at = 0
    while len(eas) >= at + 8:
        following, _, length = struct.unpack_from("<IBB", eas, at)
        if not length:
            return True
        if not following:
            break
        at += following
    return False


# ------------------------------------------------------------------------------------------------ all other commands


def write(message: bytearray, seen: Seen) -> bool:
    """gentest writes no data from DataOffset 0, which Samba refuses; MS-SMB2 3.3.5.13 does not. Of streams see CREATE:
    short ones fit with both servers, where they fit at all."""
    (length,) = struct.unpack_from("<I", message, HEADER + 4)
    opened = _opened(message, 16, seen)
    if not length:
        struct.pack_into("<H", message, HEADER + 2, HEADER + 48)
    elif opened.is_stream:
        struct.pack_into("<I", message, HEADER + 4, min(length, 100))
    return False


def query_info(message: bytearray, seen: Seen) -> bool:
    """gentest leaves AdditionalInformation and Flags of QUERY_INFO undefined. It is to ask for owner, group and DACL;
    and for all extended attributes, where MS-SMB2 3.3.5.20.1 goes on behind those of the query before, and Samba never
    does. Of a stream, Samba tells a name without the file's, counts no links where its deletion is pending, and does
    not list streams; MS-FSA 2.1.5.12.3, 2.1.5.12.29 and 2.1.5.12.30 make no difference there."""
    kind, info_class = message[HEADER + 2], message[HEADER + 3]
    if kind == _SECURITY:
        struct.pack_into("<I", message, HEADER + 16, 7)
    elif kind == _FILE and info_class == _FULL_EA:
        struct.pack_into("<I", message, HEADER + 20, 1)  # SL_RESTART_SCAN
    opened = _opened(message, 24, seen)
    if kind == _FILE and info_class == _FULL_EA:
        return opened.name in seen.overwritten
    return kind == _FILE and info_class in (_ALL, _STANDARD, _STREAM) and opened.is_stream


def set_basic(message: bytearray, opened: Opened, seen: Seen) -> bool:
    """Attributes and files with streams: see CREATE. Times and attributes of a stream are its file's (MS-FSA
    2.1.5.15.2), Samba keeps them apart. FILE_ATTRIBUTE_DIRECTORY for a file is STATUS_INVALID_PARAMETER there, and
    ignored by Samba. Who changes data sets ARCHIVE each time (2.1.4.17), in Samba the first time that an open does. A
    directory's LastWriteTime moves with its entries (2.1.5.1.1), in Samba not once it was set; and what was set for a
    file that somebody writes is undone there by an update that is late. So LastWriteTime and ChangeTime are not set."""
    (offset,) = struct.unpack_from("<H", message, HEADER + 8)
    (given,) = struct.unpack_from("<I", message, offset + 32)
    given &= ~(_TEMPORARY | _OFFLINE | _NOT_CONTENT_INDEXED | _READONLY)
    message[offset + 16 : offset + 32] = bytes(16)
    if not opened.is_directory:
        given = given & ~_DIRECTORY | (_ARCHIVE if given else 0)
    struct.pack_into("<I", message, offset + 32, given)
    return _has_streams(opened.name)


def rename(message: bytearray, opened: Opened, seen: Seen) -> bool:
    """RootDirectory, which gentest draws, is 0 (MS-SMB2 3.3.5.21.1). Samba gives a file the name that it has, or
    another one to an open with FILE_WRITE_ATTRIBUTES, where MS-FSA 2.1.5.15.11 asks for the right DELETE; and a stream
    the name of its file, with which that renames no stream. Nothing is replaced: what is open and shares deletion is
    here, for the Linux client's sake, and in Samba if another process has it open. What is to be deleted keeps its name
    (2.1.5.15.11), but not in Samba."""
    (offset,) = struct.unpack_from("<H", message, HEADER + 8)
    message[offset] = 0
    message[offset + 8 : offset + 16] = bytes(8)
    (length,) = struct.unpack_from("<I", message, offset + 16)
    target = bytes(message[offset + 20 : offset + 20 + length]).decode("utf-16-le")
    known = target == opened.name or target in opened.names
    opened.names.add(target)
    if opened.name in seen.overwritten:
        seen.overwritten.add(target)
    if known or not opened.desired_access & _MAY_DELETE or opened.name in seen.deleted:
        return True
    return _has_streams(target) or _has_streams(opened.name)


def disposition(message: bytearray, opened: Opened, seen: Seen) -> bool:
    """Samba does not ask for the right DELETE to keep a file that nobody deletes; MS-FSA 2.1.5.15.3 does. Of streams
    see CREATE."""
    refused = not opened.desired_access & _MAY_DELETE or opened.is_stream
    if not refused:
        (offset,) = struct.unpack_from("<H", message, HEADER + 8)
        (seen.deleted.add if message[offset] else seen.deleted.discard)(opened.name)
    return refused


def full_ea(message: bytearray, opened: Opened, seen: Seen) -> bool:
    """See CREATE."""
    (offset,) = struct.unpack_from("<H", message, HEADER + 8)
    return _has_streams(opened.name) or _has_no_name(message[offset:])


def size(message: bytearray, opened: Opened, seen: Seen) -> bool:
    """A directory has no size (MS-FSA 2.1.5.15.1, 2.1.5.15.4); Samba lets it be set."""
    return opened.is_directory


_SETTING = {
    _BASIC: set_basic,
    _RENAME: rename,
    _DISPOSITION: disposition,
    _FULL_EA: full_ea,
    _ALLOCATION: size,
    _END_OF_FILE: size,
}


def set_info(message: bytearray, seen: Seen) -> bool:
    """By class."""
    rule = _SETTING.get(message[HEADER + 3]) if message[HEADER + 2] == _FILE else None
    return rule is not None and rule(message, _opened(message, 16, seen), seen)


def locks(message: bytearray, seen: Seen) -> bool:
    """Locks of a stream stand against READ and WRITE of the stream (MS-FSA 2.1.4.10), but not in Samba 4.17."""
    return _opened(message, 8, seen).is_stream


RULES: dict[int, tuple[Rule, ...]] = {
    CREATE: (attributes, dispositions, sharing, streams, contexts),
    WRITE: (write,),
    QUERY_INFO: (query_info,),
    SET_INFO: (set_info,),
    LOCK: (locks,),
}


def _command(message: bytes | bytearray) -> int:
    """-1 for what is no request or answer of SMB 2 or 3, or is signed."""
    if len(message) < HEADER or bytes(message[:4]) != b"\xfeSMB":
        return -1
    (flags,) = struct.unpack_from("<I", message, 16)
    return -1 if flags & _SIGNED else struct.unpack_from("<H", message, 12)[0]


def request(message: bytearray, seen: Seen) -> bool:
    """Apply the rules to one request; True: it is answered here."""
    command = _command(message)
    answered = [rule(message, seen) for rule in RULES.get(command, ())]
    if command == CREATE:
        (access,) = struct.unpack_from("<I", message, HEADER + 24)
        seen.asked[bytes(message[24:32])] = _name(message), access
    return True in answered


def answer(message: bytes, seen: Seen) -> None:
    """Learn which FileId has which name."""
    if _command(message) == CREATE:
        name, access = seen.asked.pop(message[24:32], ("", 0))
        if message[8:12] == bytes(4):
            seen.deleted.discard(name)  # else it would be STATUS_DELETE_PENDING
            (attributes,) = struct.unpack_from("<I", message, HEADER + 56)
            seen.opens[message[HEADER + 64 : HEADER + 80]] = Opened(name, bool(attributes & _DIRECTORY), access)


def refusal(message: bytes | bytearray) -> bytes:
    """STATUS_NOT_SUPPORTED (MS-SMB2 2.2.2), and the credit that the request took."""
    out = bytearray(message[:HEADER])
    struct.pack_into("<I", out, 8, 0xC00000BB)
    struct.pack_into("<H", out, 14, max(1, struct.unpack_from("<H", message, 6)[0]))
    out[16] |= 1  # SMB2_FLAGS_SERVER_TO_REDIR
    return bytes(out) + struct.pack("<HBBIB", 9, 0, 0, 0, 0)


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


class _Connection:
    """Frames (MS-SMB2 2.1) of one client to the server and back, each direction in a thread of its own."""

    def __init__(
        self, client: socket.socket, server: socket.socket, seen: Seen, trace: Callable[[bytes], None] | None
    ) -> None:
        self._client = client
        self._server = server
        self._seen = seen
        self._trace = trace
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for one in (self._requests, self._answers):
            threading.Thread(target=self._run, args=(one,), daemon=True).start()

    def _run(self, one: Callable[[], None]) -> None:
        try:
            while True:
                one()
        except (OSError, EOFError):
            pass  # one of the two is gone
        for sock in (self._client, self._server):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other direction was first

    def _requests(self) -> None:
        head = _exactly(self._client, 4)
        message = bytearray(_exactly(self._client, int.from_bytes(head[1:], "big")))
        refused = request(message, self._seen)
        if self._trace is not None:
            self._trace(bytes(message))
        if refused:
            reply = refusal(message)
            if self._trace is not None:
                self._trace(reply)
            self._client.sendall(len(reply).to_bytes(4, "big") + reply)
        else:
            self._server.sendall(head + message)

    def _answers(self) -> None:
        head = _exactly(self._server, 4)
        message = _exactly(self._server, int.from_bytes(head[1:], "big"))
        answer(message, self._seen)
        if self._trace is not None:
            self._trace(message)
        self._client.sendall(head + message)


class Filter:
    """Listens on `place`, (address, port), and goes on to that of `server`; until `close`, in threads."""

    def __init__(
        self, place: tuple[str, int], server: tuple[str, int], trace: Callable[[bytes], None] | None = None
    ) -> None:
        """`trace` is shown each message as it leaves."""
        self._server = server
        self._trace = trace
        self._overwritten: set[str] = set()
        self._deleted: set[str] = set()
        self._listener = socket.create_server(place)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._server, timeout=10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            _Connection(client, server, Seen(overwritten=self._overwritten, deleted=self._deleted), self._trace)

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()
