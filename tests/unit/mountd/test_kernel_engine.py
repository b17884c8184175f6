# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's server driven by mountd: a scripted kernel asks in KSMBD's structures, and the bytes of the replies
count."""
from __future__ import annotations

import struct
import threading
from collections.abc import Iterator

import kernel_doubles as kernel
import pytest
from mountd_doubles import FakeUsers, LocalServices, accounts, configuration

from ksmbd import log
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, Event, RpcFlag, ShareFlag, TreeFlag, TreeStatus, UserFlag
from ksmbd.ipc.genetlink import NoFamily
from ksmbd.ipc.settings import EngineSettings
from ksmbd.kernel.interfaces import InterfaceAddress
from mountd import config
from mountd.accounts import nt_hash
from mountd.kernelserver import engine, startup
from mountd.kernelserver.engine import KERNEL_WAITS, KernelEngine
from mountd.requests import Requests
from mountd.rpc.services import Services

TEXT = """
    [global]
    map to guest = bad user
    [s]
    path = /srv/s
    read only = no
    veto files = /a/b*/
    [guests]
    path = /srv/g
    guest ok = yes
    [forced]
    path = /srv/f
    force user = ann
    [large]
    path = /srv/l
    force user = media
    [sealed]
    path = /srv/e
    smb3 encryption = mandatory
    [members]
    path = /srv/m
    force group = +staff
    inherit owner = yes
    [staff]
    path = /srv/t
    valid users = @staff
"""


class Office:
    """mountd's requests, the engine, and the kernel."""

    def __init__(self, *states: str, settings: EngineSettings = kernel.SETTINGS, text: str = TEXT) -> None:
        self.services = LocalServices()
        self.services.services = Services(fragment_max=1024)
        self.listening: list[str] = []
        self.requests = Requests(
            configuration(text), accounts("ann", "bob"), self.services, FakeUsers(), self.listening.extend
        )
        self.loop = kernel.FakeLoop()
        self.control = kernel.FakeControl(*(states or ("startup", "running")))
        self.socket = kernel.KernelSocket()
        self.now = 0.0
        self.ended: list[int] = []
        self.engine = KernelEngine(
            kernel.loop(self.loop), settings, self.requests.answer, self.control,
            lambda: kernel.channel(self.socket), lambda: self.now,
        )  # fmt: skip
        self.engine.on_exit = self.ended.append
        self.requests.reply = self.engine.reply

    def ask(self, *messages: bytes) -> list[bytes]:
        """What the kernel gets for what it sends: the attributes' content."""
        self.socket.incoming.extend(messages)
        before = len(self.socket.sent)
        self.loop.readers[self.socket.fileno()]()
        return [content(data) for data in self.socket.sent[before:]]

    def tree(self, share: str, account: str = "ann", handle: int = 3, tree: int = 1, flags: int = 1) -> tuple[int, int]:
        """Status and flags of a tree connect."""
        (reply,) = self.ask(kernel.tree_connect(handle, account, share, flags, tree=tree))
        status, given = struct.unpack_from("=HH", reply, 4)
        return status, given

    def share_flags(self, name: str) -> int:
        (reply,) = self.ask(kernel.share_config(2, name))
        return int(struct.unpack_from("=I", reply, 4)[0])


def content(data: bytes) -> bytes:
    """The payload of the one attribute of a message; the attribute has the message's own type."""
    size, family, flags, _, port, command, version, _ = struct.unpack_from("=IHHIIBBH", data)
    length, kind = struct.unpack_from("=HH", data, 20)
    assert (size, family, flags & 1, port, version) == (len(data), kernel.FAMILY_ID, 1, kernel.PORT, 1)
    assert kind == command and 20 + length + -length % 4 == len(data), "one attribute, of the message's type"
    return data[24 : 20 + length]


@pytest.fixture(autouse=True)
def no_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "taken", lambda port, names: "")


@pytest.fixture
def office() -> Iterator[Office]:
    made = Office()
    made.engine.start()
    yield made
    made.socket.close()


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


# ------------------------------------------------------------------------------------------------------------- pipes

BIND = bytes.fromhex(
    "05000b0310000000480000000100000000101000"  # bind, fragments of 4096 bytes
    "00000000 01000000 0000 0100"
    "c84f324b7016d30112785a47bf6ee188 03000000"  # srvsvc 3.0
    "045d888aeb1cc9119fe808002b104860 02000000"  # NDR
)
WRITE, READ, IOCTL = (RpcFlag.SRVSVC | way for way in (RpcFlag.WRITE, RpcFlag.READ, RpcFlag.IOCTL))
OPEN, CLOSE = RpcFlag.SRVSVC | RpcFlag.OPEN, RpcFlag.SRVSVC | RpcFlag.CLOSE


def _shares(referent: int = 1) -> bytes:
    """NetrShareEnum of level 1 (MS-SRVS 3.1.4.8)."""
    stub = struct.pack("<IIIIIIII", 0, 1, 1, referent, 0, 0, 0xFFFFFFFF, 0)
    return struct.pack("<BBBBIHHIIHH", 5, 0, 0, 3, 0x10, 24 + len(stub), 0, 2, len(stub), 0, 15) + stub


def test_a_list_of_shares_by_pipe(office: Office) -> None:
    assert office.ask(kernel.rpc(8, OPEN)) == [struct.pack("=III", 8, 0, 0)]
    (bound,) = office.ask(kernel.rpc(8, IOCTL, BIND))
    assert struct.unpack_from("=II", bound, 4) == (0, len(bound) - 12) and bound[12 + 2] == 12, "bind_ack"
    transmit, receive = struct.unpack_from("<HH", bound, 12 + 16)
    assert (transmit, receive) == (1432, 1432)
    (listed,) = office.ask(kernel.rpc(8, IOCTL, _shares()))
    assert "staff".encode("utf-16-le") in listed
    assert office.ask(kernel.rpc(8, CLOSE)) == [struct.pack("=III", 8, 0, 0)]
    assert not len(office.requests.pipes)


def test_long_replies_come_in_fragments_that_the_kernel_passes_whole() -> None:
    many = TEXT + "".join(f"    [share number {number}]\n    path = /srv/{number}\n" for number in range(60))
    office = Office(text=many)
    office.engine.start()
    office.ask(kernel.rpc(8, OPEN), kernel.rpc(8, WRITE, BIND), kernel.rpc(8, READ))
    (first,) = office.ask(kernel.rpc(8, IOCTL, _shares()))
    parts = [first]
    while not parts[-1][12 + 3] & 2:
        parts += office.ask(kernel.rpc(8, READ))
    assert len(parts) > 4
    for part in parts:
        status, size = struct.unpack_from("=II", part, 4)
        assert status == 0 and size == len(part) - 12 == struct.unpack_from("<H", part, 12 + 8)[0] <= 1024


def test_a_pipe_is_a_guests_by_its_first_write(office: Office) -> None:
    for handle, restricted in ((8, RpcFlag(0)), (9, RpcFlag.RESTRICTED_CONTEXT)):
        office.ask(kernel.rpc(handle, OPEN), kernel.rpc(handle, WRITE | restricted, BIND))
    levels = [pipe.level for pipe in office.requests.pipes._numbered.values()]
    assert [int(level) for level in levels] == [1, 0]


@pytest.mark.parametrize("flags", [RpcFlag.RAP | RpcFlag.OPEN, RpcFlag.OPEN])
def test_a_pipe_without_a_service(office: Office, flags: RpcFlag) -> None:
    (reply,) = office.ask(kernel.rpc(8, flags))
    assert struct.unpack_from("=I", reply, 4)[0] != 0
    (reply,) = office.ask(kernel.rpc(8, RpcFlag.WRITE, b"x"))
    assert struct.unpack_from("=I", reply, 4)[0] != 0


def test_an_open_pipe_is_not_opened_again(office: Office) -> None:
    office.ask(kernel.rpc(8, OPEN), kernel.rpc(8, WRITE, BIND))
    assert office.ask(kernel.rpc(8, OPEN)) == [struct.pack("=III", 8, 6, 0)]
    assert len(office.requests.pipes) == 1


# ---------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(("encryption", "lowest", "flags", "told"), [
    ("auto", "SMB2_02", 0, "SMB2_10"), ("enabled", "SMB3_02", 0, "SMB3_02"), ("disabled", "SMB2_10", 8, "SMB2_10"),
    ("mandatory", "SMB2_02", 2, "SMB3_00"), ("mandatory", "SMB3_11", 2, "SMB3_11"),
])  # fmt: skip
def test_encryption_and_dialects(encryption: str, lowest: str, flags: int, told: str) -> None:
    settings = EngineSettings(smb3_encryption=encryption, min_prot=lowest, smb2_leases=True)
    message = startup.starting_up(settings, [])
    assert (message.fields["flags"], message.fields["min_prot"]) == (flags | 1, told)


def test_empty_names_have_their_defaults() -> None:
    message = startup.starting_up(EngineSettings(server_string="", netbios_name="", work_group=""), [])
    fields = message.fields
    assert (fields["netbios_name"], fields["server_string"], fields["work_group"]) == (
        "KSMBD SERVER", "SMB SERVER", "WORKGROUP",
    )  # fmt: skip


def test_devices() -> None:
    settings = EngineSettings(bind_interfaces_only=True, interfaces=("eth*",))
    fields = startup.starting_up(settings, ["eth0", "lo"]).fields
    assert (fields["bind_interfaces_only"], fields["ifc_list_sz"], fields["payload"]) == (1, 8, b"eth0\0lo\0")


def test_which_devices_are_meant() -> None:
    addresses = [
        InterfaceAddress(1, "lo", "127.0.0.1", 0, 1, True),
        InterfaceAddress(2, "eth0", "192.0.2.7", 0, 1, False),
        InterfaceAddress(3, "eth1", "198.51.100.1", 0, 1, False),
    ]
    names = ["lo", "eth0", "eth1", "dummy0"]
    for items, meant in (
        (["eth*"], ["eth0", "eth1"]), (["192.0.2.0/24"], ["eth0"]), (["127.0.0.1", "eth1"], ["lo", "eth1"]),
        (["dummy0"], ["dummy0"]), (["203.0.113.1"], []),
    ):  # fmt: skip
        assert startup.select(items, names, addresses) == meant
