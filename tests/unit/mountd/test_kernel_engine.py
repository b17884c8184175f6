# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's server driven by mountd: a scripted kernel asks in KSMBD's structures, and the bytes of the replies
count."""
from __future__ import annotations

import struct
import threading

import kernel_doubles as kernel
import pytest
from kernel_office import TEXT, Office, content
from mountd_doubles import accounts, configuration

from ksmbd import log
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, Event, RpcFlag, ShareFlag, TreeFlag, TreeStatus, UserFlag
from ksmbd.ipc.genetlink import NoFamily
from ksmbd.ipc.settings import EngineSettings
from mountd import config
from mountd.accounts import nt_hash
from mountd.kernelserver import engine, startup
from mountd.kernelserver.engine import KERNEL_WAITS

pytestmark = pytest.mark.usefixtures("no_ports")


def test_the_start(office: Office) -> None:
    start = content(office.socket.sent[0])
    assert len(start) == 744
    assert struct.unpack_from("=Ii", start) == (0, 2)
    assert start[8:24] == kernel.text("SMB2_10", 16) and start[24:40] == kernel.text("SMB3_11", 16)
    assert start[40:56] == kernel.text("KSMBD SERVER", 16)
    assert struct.unpack_from("=H", start, 184) == (4450,) and struct.unpack_from("=3I", start, 212) == (1, 2, 3)
    assert struct.unpack_from("=I", start, 740) == (0,)
    assert office.listening == ["[::]:4450"]


def test_listening_is_told_when_the_kernel_serves() -> None:
    office = Office("startup", "startup", "startup", "running")
    office.engine.start()
    assert not office.listening and office.loop.waits == [0.1]
    office.loop.turn()
    assert not office.listening
    office.loop.turn()
    assert office.listening == ["[::]:4450"] and office.loop.waits == [2.0]
    office.loop.turn()
    assert office.listening == ["[::]:4450"] and office.engine.running


def test_without_the_module() -> None:
    office = Office()

    def connect() -> object:
        raise NoFamily(2, "the kernel has no netlink family SMBD_GENL")

    office.engine._connect = connect  # type: ignore[assignment]
    with pytest.raises(OSError, match=r"^the kernel has no SMBD_GENL family: load its server \(modprobe ksmbd\)"):
        office.engine.start()
    assert not office.engine.running


@pytest.mark.parametrize(("states", "code", "problem"), [
    (("running",), 22, "another daemon drives the kernel's server"),
    (("startup",), 1, "from root alone"),
    (("startup", "reset"), 22, "still ends its connections"),
    (("startup",), 22, "refuses its settings: Invalid argument"),
])  # fmt: skip
def test_a_refused_start(states: tuple[str, ...], code: int, problem: str) -> None:
    office = Office(*states)
    office.socket.on_start = [kernel.error(-code)]
    with pytest.raises(OSError, match=problem):
        office.engine.start()
    assert not office.engine.running and not office.loop.readers


def test_a_port_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "taken", lambda port, names: "eth0")
    office = Office()
    with pytest.raises(OSError, match="another server listens on TCP port 4450 of eth0"):
        office.engine.start()
    assert not office.socket.sent


def test_the_kernel_does_not_come_up() -> None:
    office = Office("startup")
    office.engine.start()
    office.now = 11.0
    office.loop.turn()
    assert office.ended == [1] and not office.engine.running and not office.loop.readers


@pytest.mark.parametrize("state", ["startup", "reset", ""])
def test_somebody_else_stops_it(office: Office, state: str) -> None:
    office.control.states = [state]
    office.loop.turn()
    assert office.ended == [0] and not office.engine.running


def test_the_stop(office: Office) -> None:
    office.engine.stop()
    office.engine.stop()
    assert office.engine._killer is not None
    office.engine._killer.join(10)
    office.loop.turn()
    assert office.control.killed == 1 and office.ended == [0]


def test_a_stop_that_does_not_end(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hangs:
        def __init__(self, **options: object) -> None: ...
        def start(self) -> None: ...
        def is_alive(self) -> bool:
            return True

    monkeypatch.setattr(threading, "Thread", Hangs)
    office.engine.stop()
    office.loop.turn()
    assert not office.ended and office.engine.running, "the requests of those who leave are still served"
    office.now += 16.0
    office.loop.turn()
    assert office.ended == [0]


def test_a_log_on(office: Office) -> None:
    replies = office.ask(kernel.login(5, "ann"), kernel.login(6, "ann", Event.LOGIN_REQUEST_EXT))
    status = UserFlag.OK | UserFlag.EXTENSION
    assert replies[0] == (
        struct.pack("=III", 5, 1001, 1001) + kernel.text("ann", 48) + struct.pack("=HH", status, 16)
        + nt_hash("ann") + bytes(2 + 2 + 64)
    )  # fmt: skip
    assert replies[1] == struct.pack("=Ii", 6, 2) + bytes(128) + struct.pack("=II", 1001, 2000)


def test_a_guest_and_wrong_passwords(office: Office) -> None:
    (guest,) = office.ask(kernel.login(5, "stranger"))
    assert struct.unpack_from("=HH", guest, 60) == (UserFlag.OK | UserFlag.GUEST_ACCOUNT | UserFlag.EXTENSION, 0)
    assert not office.ask(*(kernel.logout("ann", UserFlag.OK | UserFlag.BAD_PASSWORD) for _ in range(20)))
    (slowed,) = office.ask(kernel.login(6, "ann"))
    assert struct.unpack_from("=H", slowed, 60)[0] & UserFlag.DELAY_SESSION


def test_the_configuration_of_a_share(office: Office) -> None:
    (reply,) = office.ask(kernel.share_config(2, "S"))
    flags, create, directory = struct.unpack_from("=IHH", reply, 4)
    assert flags & ShareFlag.AVAILABLE and flags & ShareFlag.WRITEABLE and (create, directory) == (0o744, 0o755)
    assert struct.unpack_from("=HH", reply, 16) == (0xFFFF, 0xFFFF)
    assert reply[20:84] == kernel.text("s", 64)
    payload = b"a\0b*\0\0/srv/s\0"
    assert struct.unpack_from("=II", reply, 528) == (len(payload), 5) and reply[536:] == payload


def test_ids_of_a_share(office: Office) -> None:
    (reply,) = office.ask(kernel.share_config(2, "forced"))
    assert struct.unpack_from("=HH", reply, 16) == (1001, 1001)
    (reply,) = office.ask(kernel.share_config(2, "members"))
    assert struct.unpack_from("=HH", reply, 16) == (0xFFFF, 0xFFFF), "no group for those that are no members"
    assert struct.unpack_from("=I", reply, 4)[0] & ShareFlag.INHERIT_OWNER


@pytest.mark.parametrize("name", ["large", "sealed", "missing"])
def test_what_must_not_be_served(office: Office, name: str) -> None:
    (reply,) = office.ask(kernel.share_config(2, name))
    assert len(reply) == 536 and reply[:20] == struct.pack("=II", 2, 0) + bytes(12) and not any(reply[84:])


def test_shares_that_differ_by_session(office: Office) -> None:
    text = "[global]\n[varies]\npath = /srv/%U\n[fixed]\npath = /srv/f\n[homes]\nread only = no\n"
    office.requests.configuration = config.parse(text, "smb.conf", samba=True)
    assert [name for name in ("varies", "ann", "homes", "fixed") if office.share_flags(name)] == ["fixed"]


def test_a_sealed_share_where_all_is_encrypted() -> None:
    office = Office(settings=EngineSettings(smb3_encryption="mandatory"))
    office.engine.start()
    assert office.share_flags("sealed") & ShareFlag.AVAILABLE


def test_tree_connects_are_counted(office: Office) -> None:
    assert office.tree("s") == (TreeStatus.OK, TreeFlag.WRITABLE)
    assert office.tree("staff", tree=2) == (TreeStatus.OK, TreeFlag.READ_ONLY)
    assert office.tree("staff", "bob", tree=3)[0] == TreeStatus.INVALID_USER
    assert office.tree("missing", tree=4)[0] == TreeStatus.NO_SHARE
    guest = UserFlag.OK | UserFlag.GUEST_ACCOUNT
    given = TreeFlag.GUEST_ACCOUNT | TreeFlag.READ_ONLY
    assert office.tree("guests", "x", tree=5, flags=guest) == (TreeStatus.OK, given)
    (session,) = office.requests.sessions.all()
    assert session.peer == "192.0.2.7" and set(session.trees.values()) == {"s", "staff", "guests"}
    assert not office.ask(*(kernel.tree_disconnect(tree=tree) for tree in (1, 2, 5)))
    assert not office.requests.sessions.all()


def test_a_tree_connect_answered_too_late(office: Office) -> None:
    request = kernel.tree_connect(3, "ann", "s")
    answer = office.requests.answer

    def slow(slot: int, message: object) -> object:
        office.now += KERNEL_WAITS + 0.1
        return answer(slot, message)  # type: ignore[arg-type]

    office.engine._answer = slow  # type: ignore[assignment]
    assert not office.ask(request)
    assert not office.requests.sessions.all(), "the kernel will not tell when it ends"


@pytest.mark.parametrize(("withheld", "flags"), [
    (0, TreeFlag.WRITABLE), (0x000C0000, TreeFlag.READ_ONLY), (0x1, None), (0x001F01FF, None),
])  # fmt: skip
def test_rights_that_a_shares_descriptor_withholds(office: Office, withheld: int, flags: TreeFlag | None) -> None:
    answer = office.requests.answer

    def withholds(slot: int, message: Message) -> Message | None:
        reply = answer(slot, message)
        if reply is not None and reply.event is Event.TREE_CONNECT_RESPONSE and withheld:
            reply.numbers[Attribute.WITHHELD] = withheld
        return reply

    office.engine._answer = withholds
    status, given = office.tree("s")
    assert (status, given) == ((TreeStatus.OK, flags) if flags is not None else (TreeStatus.INVALID_USER, 0))
    assert len(office.requests.sessions.all()) == (flags is not None), "what the kernel does not make is not counted"


def test_refused_log_ons_are_told(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, str]] = []
    monkeypatch.setattr(engine, "refused", lambda what, address, why, account: told.append((why, account)))
    office.requests.configuration = configuration("[global]\n[s]\npath = /s\n")
    office.ask(
        kernel.login(5, "ann"), kernel.login(5, "stranger"), kernel.logout("ann", UserFlag.OK),
        kernel.logout("ann", UserFlag.OK | UserFlag.BAD_PASSWORD), kernel.login(6, ""),
    )  # fmt: skip
    assert told == [("unknown user", "stranger"), ("wrong password", "ann")]


def test_a_reply_that_cannot_be_made_ends_nothing(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(log, "exception", lambda text, error: told.append(text))
    office.engine._answer = lambda slot, message: Message(Event.TREE_CONNECT_RESPONSE, {"handle": 3})
    assert not office.ask(kernel.tree_connect(3, "ann", "s")) and len(told) == 1
    office.engine._answer = office.requests.answer
    assert office.tree("s")[0] == TreeStatus.OK


def test_a_changed_share_is_told_with_the_next_tree_connect(office: Office) -> None:
    office.share_flags("s")
    office.share_flags("staff")
    assert not office.tree("s", tree=1)[1] & TreeFlag.UPDATE
    office.requests.reload(configuration(TEXT.replace("read only = no", "read only = yes")), accounts("ann", "bob"))
    office.engine.broadcast(Event.RELOAD)
    assert not office.tree("staff", tree=2)[1] & TreeFlag.UPDATE, "nothing has changed there"
    assert office.tree("s", tree=3)[1] & TreeFlag.UPDATE
    assert office.tree("s", tree=4)[1] & TreeFlag.UPDATE, "the kernel has not asked yet"
    office.share_flags("s")
    assert office.tree("s", tree=5) == (TreeStatus.OK, TreeFlag.READ_ONLY)


def test_what_a_predecessor_has_told_may_be_old() -> None:
    office = Office("running")
    office.engine.start()
    assert office.listening == ["[::]:4450"]
    assert office.tree("s", tree=1)[1] & TreeFlag.UPDATE
    office.share_flags("s")
    assert not office.tree("s", tree=2)[1] & TreeFlag.UPDATE


def test_heartbeats_and_what_is_not_for_mountd(office: Office) -> None:
    assert not office.ask(
        kernel.from_kernel(Event.HEARTBEAT_REQUEST, bytes(4)), kernel.from_kernel(Event.STARTING_UP, bytes(744)),
        kernel.from_kernel(Event.LOGIN_RESPONSE, bytes(148)),
    )  # fmt: skip


@pytest.mark.parametrize(("request_", "reply"), [
    (kernel.login(5, "ann"), struct.pack("=I", 5) + bytes(56) + struct.pack("=H", UserFlag.BAD_USER) + bytes(86)),
    (kernel.login(5, "ann", Event.LOGIN_REQUEST_EXT), struct.pack("=Ii", 5, 0) + bytes(128)),
    (kernel.share_config(5, "s"), struct.pack("=I", 5) + bytes(532)),
    (kernel.tree_connect(5, "ann", "s"), struct.pack("=IHH", 5, TreeStatus.ERROR, 0) + bytes(64)),
    (kernel.rpc(5, RpcFlag.SRVSVC | RpcFlag.WRITE, b"x"), struct.pack("=III", 5, 8, 0)),
])  # fmt: skip
def test_a_defect_refuses_one_request(
    office: Office, monkeypatch: pytest.MonkeyPatch, request_: bytes, reply: bytes
) -> None:
    told: list[str] = []
    monkeypatch.setattr(log, "exception", lambda text, error: told.append(text))

    def fails(slot: int, message: object) -> None:
        raise RuntimeError

    office.engine._answer = office.engine._pipes._answer = fails
    assert office.ask(request_) == [reply]
    assert len(told) == 1
