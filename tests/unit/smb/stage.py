# SPDX-License-Identifier: GPL-2.0-or-later
"""A server whose ports are scripted, and its clients: the stage of a Playbook.

A `Line` is one connection of a client. `comes` makes it ready for commands, aside from the script; each of its other
methods is an act (what the client sends) or what it gets. After the script no file may be open, and no open in the open
table, that the protocol does not know any more.
"""
from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial
from struct import pack
from typing import Any, TypeVar, cast

import create_messages as m
import pytest
from fakes import FakeSealer, FakeSecurity
from playbook import Act, Call, Later, Named, Playbook, bind, call, some, unknown, value_of
from script import CLIENT_KEY, Client, split
from scripted_files import ScriptedFile, ScriptedFiles, ScriptedLocalOpen, ScriptedVolume
from scripted_opens import ScriptedTable
from scripted_ports import ScriptedClock, ScriptedDaemon, ScriptedTransport
from stage_messages import UNASKED, Answer, Context, Created, FileId, LeaseBreak, Message, OplockBreak, data_of, decode

from ksmbd.smb import constants as c
from ksmbd.smb import create_contexts as ctx
from ksmbd.smb import status as s
from ksmbd.smb.model import Server
from ksmbd.smb.open_life import purge_open
from ksmbd.smb.oplock_break import send_break
from ksmbd.smb.ports import (
    CreateIntent,
    Identity,
    LeaseGrant,
    OpenGrant,
    OpenRequest,
    ShareConfig,
    TreeConnectResult,
)
from ksmbd.smb.settings import ServerSettings
from ksmbd.smb.waiting import Future

T = TypeVar("T")
ALICE = Identity("alice", "WORKGROUP", 1000, 1000, (), b"K" * 16)
BOB = Identity("bob", "WORKGROUP", 1001, 1001, (), b"B" * 16)
ANY_CALL: Callable[[], None] = unknown(cast(Any, type(None)))
"""What a timer is to call."""


class Asked(Act):
    """A request that a client sends; its MessageId is known once it is sent."""

    def __init__(self, text: str, command: int, do: Callable[[], None]) -> None:
        super().__init__(text, do)
        self.command = command
        self.message_id = unknown(int, "MessageId")


class Line(Named):
    """One connection of a client."""

    def __init__(self, stage: Stage, name: str, identity: Identity = ALICE, guid: bytes = b"G" * 16) -> None:
        super().__init__(name)
        self._stage = stage
        self._play = stage.play
        self._identity = identity
        self._client = Client(stage.server)
        self._client.guid = guid
        self._last: Asked | None = None
        self.guid = guid
        self.seals = False
        """It encrypts its requests."""
        self.transport = ScriptedTransport(stage.play, f"{name}.transport", self._client.transport.peer, self._receive)

    # --------------------------------------------------------------------------------------------------- its life

    @property
    def session_id(self) -> int:
        """Known once it came."""
        return self._client.session_id

    def begin(self, previous: int = 0, share: str = "share") -> Line:
        """Negotiate, log on, connect to the share, aside from the script."""
        client = self._client
        self._stage.security.identity = self._identity
        with self._play.aside():
            assert client.negotiate(self._stage.dialect).status == 0
            assert client.log_on(previous=previous).status == 0
            assert client.tree(share).status == 0
        client.connection.transport = self.transport
        return self

    def bind(self, other: Line) -> Line:
        """Negotiate, and be another channel of that one's session (MS-SMB2 3.3.5.5.2)."""
        client = self._client
        self._stage.security.identity = self._identity
        client.session_id, client.tree_id = other._client.session_id, other._client.tree_id
        with self._play.aside():
            assert client.negotiate(self._stage.dialect, session_id=0, tree_id=0).status == 0
            for token, status in (b"hello", s.STATUS_MORE_PROCESSING_REQUIRED), (b"proof", 0):
                answer = client.setup(token, c.SESSION_FLAG_BINDING, sign=True, key=CLIENT_KEY, tree_id=0)
                assert answer.status == status
        client.connection.transport = self.transport
        return self

    def comes(self, previous: Line | None = None, share: str = "share") -> Act:
        """The act of `begin`; with the SessionId of an earlier connection (MS-SMB2 3.3.5.5.3)."""
        return Act(f"{self} comes", lambda: self._begin_later(previous, share))

    def _begin_later(self, previous: Line | None, share: str) -> None:
        self.begin(previous.session_id if previous is not None else 0, share)

    def binds(self, other: Line) -> Act:
        """The act of `bind`."""
        return Act(f"{self} binds to {other}", lambda: (self.bind(other), None)[1])

    def drops(self) -> Act:
        """The connection is lost (MS-SMB2 3.3.7.1)."""
        return Act(f"{self} drops", lambda: self._client.connection.disconnected("gone"))

    # ------------------------------------------------------------------------------------------------ what it sends

    def asks(self, text: str, command: int, body: Callable[..., bytes], *args: object, **fields: Any) -> Asked:
        """A request; `body` is made of the arguments once what is unknown in them is known."""

        def do() -> None:
            bind(asked.message_id, self._client.message_id)
            known = {name: value_of(value) for name, value in fields.items()}
            frame = self._client.element(command, body(*map(value_of, args)), **known)
            if self.seals:
                sealed = bytearray(52) + frame
                FakeSealer().seal(sealed, 52, self.session_id)
                frame = bytes(sealed)
            self._client.connection.receive(bytearray(frame))

        asked = Asked(f"{self} {text}", command, do)
        self._last = asked
        return asked

    def create(
        self, name: str, disposition: int = c.FILE_OPEN, *, access: int = c.FILE_ALL_ACCESS, options: int = 0,
        oplock: int = 0, contexts: tuple[Context, ...] = (), share: int = 7, attributes: int = 0, **fields: Any,
    ) -> Asked:  # fmt: skip
        """CREATE."""
        kinds = " ".join(kind.decode("latin-1") for kind, _ in contexts)

        def body(known: tuple[Context, ...]) -> bytes:
            chain = m.chain(*((kind, b"".join(map(data_of, parts))) for kind, parts in known))
            return m.create(name, access, disposition, options, chain if known else b"", oplock, share, attributes)

        return self.asks(f"CREATE {name!r} {kinds}".rstrip(), c.CREATE, body, contexts, **fields)

    def close(self, file_id: FileId) -> Asked:
        """CLOSE."""
        return self.asks("CLOSE", c.CLOSE, lambda known: m.close(*known), file_id)

    def acknowledge(self, file_id: FileId, level: int) -> Asked:
        """OPLOCK_BREAK Acknowledgment (MS-SMB2 2.2.24.1)."""
        return self.asks(
            f"acknowledges level {level}", c.OPLOCK_BREAK,
            lambda known: pack("<HBBIQQ", 24, level, 0, 0, *known), file_id,
        )  # fmt: skip

    def acknowledge_lease(self, key: bytes, state: int) -> Asked:
        """Lease Break Acknowledgment (MS-SMB2 2.2.24.2)."""
        return self.asks(
            f"acknowledges lease state {state}", c.OPLOCK_BREAK,
            lambda: pack("<HHI16sIQ", 36, 0, 0, key, state, 0),
        )  # fmt: skip

    def cancel(self, async_id: int) -> Act:
        """CANCEL of a request that was answered with STATUS_PENDING (MS-SMB2 2.2.30)."""
        return Act(f"{self} CANCEL", lambda: self._cancel(value_of(async_id)))

    def _cancel(self, async_id: int) -> None:
        frame = bytearray(self._client.element(c.CANCEL, b"\x04\0\0\0", flags=c.FLAGS_ASYNC_COMMAND, message_id=0))
        frame[32:40] = async_id.to_bytes(8, "little")
        self._client.connection.receive(frame)

    # ------------------------------------------------------------------------------------------------- what it gets

    def _receive(self, frame: bytes) -> None:
        """One frame that the server sends."""
        for response in split(frame):
            header = response.header
            body = decode(header.command, response.body) if header.status == 0 else None
            message = Message(
                header.command, header.status, header.message_id, body, frame[:4] == b"\xfdSMB", header.async_id
            )
            self._play.happens(self, "gets", (message,))

    def _gets(self, message: Message) -> Call[None]:
        return Call(self, "gets", (message,), False, True)

    def answer(self, status: int = 0, body: Answer | None = None, to: Asked | None = None, **fields: Any) -> Call[None]:
        """A final response to the last request of this connection, or to another."""
        asked = to or self._last
        assert asked is not None
        return self._gets(
            some(Message, command=asked.command, status=status, message_id=asked.message_id, body=body,
                 **{"sealed": self.seals, **fields})
        )  # fmt: skip

    def pending(self, async_id: int, to: Asked | None = None) -> Call[None]:
        """The interim response (MS-SMB2 3.3.4.2)."""
        return self.answer(s.STATUS_PENDING, to=to, async_id=async_id)

    def created(
        self, file_id: FileId, action: int = c.FILE_OPENED, *, level: int = 0, lease: LeaseGrant | None = None,
        durable: tuple[int, ...] | None = None, others: tuple[bytes, ...] = (), to: Asked | None = None,
    ) -> Call[None]:  # fmt: skip
        """A CREATE Response."""
        return self.answer(0, Created(level, action, file_id, lease, durable, others), to)

    def oplock_break(self, file_id: FileId, level: int) -> Call[None]:
        """An Oplock Break Notification (MS-SMB2 3.3.4.6)."""
        return self._gets(Message(c.OPLOCK_BREAK, 0, UNASKED, OplockBreak(level, file_id), self.seals))

    def lease_break(
        self, key: bytes, current: int, new: int, epoch: int = 0, acknowledge: bool = True
    ) -> Call[None]:
        """A Lease Break Notification (MS-SMB2 3.3.4.7)."""
        notice = LeaseBreak(key, current, new, epoch, acknowledge)
        return self._gets(Message(c.OPLOCK_BREAK, 0, UNASKED, notice, self.seals))


class _NoTimer:
    """Of a log-on that comes to its end."""

    def cancel(self) -> None:
        """It would not have fired."""


class Stage:
    """A server with scripted ports and a share."""

    def __init__(
        self, dialect: int = c.DIALECT_311, share: ShareConfig | None = None, writable: bool = True,
        settings: ServerSettings | None = None,
    ) -> None:  # fmt: skip
        play = self.play = Playbook()
        self.dialect = dialect
        self.share = share or ShareConfig("share", "/srv")
        self.clock = ScriptedClock(play, "clock")
        self.volume = ScriptedVolume(play, "volume")
        self.files = ScriptedFiles(play, "files")
        self.table = ScriptedTable(play, "table")
        self.daemon = ScriptedDaemon(play, "daemon")
        self.security = FakeSecurity()
        settings = settings or ServerSettings(leases=True, durable_handles=True, multichannel=True)
        self.server = Server(settings, self.security, self.files, self.table, self.daemon, self.clock)
        self.table.on_break = partial(send_break, self.server)
        self.table.on_purge = partial(purge_open, self.server)
        play.standing(self.daemon.share_config, lambda name: Future.of(self.share))
        self.writable = writable
        play.standing(
            self.daemon.tree_connect, lambda *arguments: Future.of(TreeConnectResult(writable=self.writable))
        )
        play.standing(self.files.volume, lambda share, identity, read_only: self.volume)
        play.standing(self.volume.maximal_access, lambda: c.FILE_ALL_ACCESS)
        play.standing(self.clock.call_later, lambda seconds, call: _NoTimer())
        play.left[self] = self._forgotten

    def line(self, name: str = "alice", identity: Identity = ALICE, guid: bytes = b"G" * 16) -> Line:
        """A connection that has not come yet."""
        return Line(self, name, identity, guid)

    def file(self, name: str, **facts: Any) -> ScriptedFile:
        """A file for Volume.create to give."""
        return ScriptedFile(self.play, name, **facts)

    def local(self) -> ScriptedLocalOpen:
        """An open's descriptor beside those of local processes."""
        return ScriptedLocalOpen(self.play, "local")

    def later(self, kind: type[T], name: str = "grant") -> Later[T]:
        """An answer that comes later."""
        return Later(self.play, name)

    def becomes_read_only(self) -> Act:
        """Mountd says so to those who connect from now on."""

        def do() -> None:
            self.writable = False

        return Act("the share becomes read-only", do)

    def opens(
        self, line: Line, file: ScriptedFile, file_id: FileId, grant: OpenGrant, *contexts: Context
    ) -> Playbook:
        """A client opens a file, and is granted this."""
        play = self.play >> line.create(file.path, oplock=grant.oplock_level, contexts=contexts)
        if any(name == ctx.DH2Q for name, _ in contexts):
            play = play << call(self.table.find_replay, line.guid, unknown(bytes)).gives(None)
        play = play << call(self.volume.create, some(CreateIntent, name=file.path)).gives(file.opened())
        if grant.persistent:
            play = play << call(file.handle).gives(b"handle")
        return (
            play
            << call(self.table.open, some(OpenRequest, ref=file_id.ref(file))).gives(grant)
            << line.answer(0, some(Created, file_id=file_id, level=grant.oplock_level))
        )

    def ends(self, play: Playbook, account: str = "alice", trees: int = 1) -> Playbook:
        """A session ends, once its opens have: the tree connects and the account."""
        for tree_id in range(1, trees + 1):
            play = play << call(self.volume.close) << call(self.daemon.tree_disconnect, unknown(int), tree_id)
        return play << call(self.daemon.logout, account, False)

    def _forgotten(self) -> str:
        opens = self.server.opens
        kept = [open_.file for open_ in opens.values()]
        files = [str(file) for file in self.volume.given if not file.is_closed and file not in kept]
        refs = [ref for ref in self.table.held if ref.open_id not in opens]
        return f"files that no Open has: {files}, opens of the table: {refs}" if files or refs else ""


class Scripts:
    """The scripts of a test module: `@script` gives it one, `@script.each(...)` one for each of the arguments."""

    def __init__(self) -> None:
        self._makers: dict[str, Callable[[], Playbook]] = {}

    def __call__(self, make: Callable[[], Playbook]) -> Callable[[], Playbook]:
        self._makers[make.__name__] = make
        return make

    def each(self, *cases: Any) -> Callable[[Callable[[Any], Playbook]], Callable[[Any], Playbook]]:
        """A script of every case, whose first part is its name."""

        def decorate(make: Callable[[Any], Playbook]) -> Callable[[Any], Playbook]:
            for case in cases:
                name = case[0] if isinstance(case, tuple) else case
                self._makers[f"{make.__name__}-{name}"] = functools.partial(make, case)
            return make

        return decorate

    @property
    def names(self) -> list[str]:
        """For pytest's parametrize."""
        return list(self._makers)

    def make(self, name: str) -> Playbook:
        """A new one."""
        return self._makers[name]()

    def check_each_step(self, name: str) -> int:
        """A script that differs from the right one by one step is refused, with the difference; how many there were.

        Steps left out, said twice, and swapped with the next; acts left out, whose consequences then are missing."""
        count = 0
        for change in (_left_out, _twice, _swapped):
            for index in range(len(self.make(name).steps)):
                play = self.make(name)
                if not change(play.steps, index):
                    continue
                count += 1
                with pytest.raises(AssertionError, match=DIFFERS):
                    play.play()
        return count


NOTHING = Act("nothing", lambda: None)
DIFFERS = r"\n[-+] <<|something is left|begins with an act"


def _left_out(steps: list[Act | Call[Any]], index: int) -> bool:
    if isinstance(steps[index], Act) and isinstance(([*steps, NOTHING])[index + 1], Act):
        return False  # it has no consequences of its own
    del steps[index]
    return True


def _twice(steps: list[Act | Call[Any]], index: int) -> bool:
    if isinstance(steps[index], Act):
        return False
    steps.insert(index, steps[index])
    return True


def _swapped(steps: list[Act | Call[Any]], index: int) -> bool:
    if index + 1 == len(steps) or isinstance(steps[index], Act) or isinstance(steps[index + 1], Act):
        return False
    steps[index], steps[index + 1] = steps[index + 1], steps[index]
    return True
