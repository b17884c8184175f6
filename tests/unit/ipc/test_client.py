# SPDX-License-Identifier: GPL-2.0-or-later
"""NetlinkDaemon over a scripted channel and a clock that the test turns."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ksmbd import limits
from ksmbd.ipc.answering import Answering
from ksmbd.ipc.channel import Congested, PeerGone
from ksmbd.ipc.client import NetlinkDaemon
from ksmbd.ipc.codec import Message, decode, encode
from ksmbd.ipc.constants import (
    Attribute,
    Event,
    RpcFlag,
    RpcStatus,
    ShareFlag,
    TreeFlag,
    TreeRequestFlag,
    TreeStatus,
    UserFlag,
)
from ksmbd.ipc.messages import RPC_CHUNK
from ksmbd.smb import status
from ksmbd.smb.ports import TreeConnectResult
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.waiting import Future


class FakeChannel:
    """Keeps what is sent, hands out what the test puts in; everything passes the real codec."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.incoming: list[Message] = []
        self.error: Exception | None = None
        self.backlog = 0
        self.flushed = 0

    def fileno(self) -> int:
        return 99

    def close(self) -> None:
        pass

    def send(self, message: Message) -> None:
        data = encode(message)
        if self.error is not None:
            raise self.error
        self.sent.append(decode(data))

    def flush(self) -> bool:
        self.flushed += 1
        if self.error is not None:
            raise self.error
        return self.backlog == 0

    def receive(self, limit: int = 64) -> Iterator[Message]:
        taken, self.incoming = self.incoming, []
        yield from (decode(encode(message)) for message in taken)


class FakeTimer:
    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when, self.call, self.cancelled = when, call, False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[FakeTimer] = []

    def monotonic(self) -> float:
        return self.now

    def filetime(self) -> int:
        return 0

    def call_later(self, seconds: float, call: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(self.now + seconds, call)
        self.timers.append(timer)
        return timer

    def turn(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            due = sorted((t for t in self.timers if t.when <= end and not t.cancelled), key=lambda t: t.when)
            if not due:
                break
            self.now = max(self.now, due[0].when)
            self.timers.remove(due[0])
            due[0].call()
        self.now = end


class Bench:
    def __init__(self, timeout: float = 0) -> None:
        self.channel, self.clock = FakeChannel(), FakeClock()
        self.daemon = NetlinkDaemon(self.channel, self.clock, timeout)  # type: ignore[arg-type]
        self.lost: list[str] = []
        self.daemon.on_lost = self.lost.append
        self.daemon.start()
        self.daemon.watch()
        assert self.channel.sent.pop().event is Event.HELLO

    def last(self, event: Event) -> Message:
        assert self.channel.sent[-1].event is event
        return self.channel.sent[-1]

    def reply(
        self, event: Event, request: Message | None = None, extra: dict[str, Any] | None = None, **fields: Any
    ) -> None:
        handle = (request or self.channel.sent[-1]).handle
        self.channel.incoming.append(Message(event, fields={"handle": handle, **fields}, **(extra or {})))
        self.daemon.on_readable()


def failure(future: Future[Any]) -> int:
    with pytest.raises(NtStatusError) as caught:
        future.result()
    return caught.value.status


def test_login_with_groups() -> None:
    bench = Bench()
    future = bench.daemon.login("jürgen")
    assert bench.last(Event.LOGIN_REQUEST).text("account") == "jürgen"
    flags = int(UserFlag.OK | UserFlag.EXTENSION)
    bench.reply(Event.LOGIN_RESPONSE, account="Jürgen", status=flags, uid=100000, gid=7, hash=b"h" * 16, hash_sz=16)
    assert not future.done
    assert bench.last(Event.LOGIN_REQUEST_EXT).text("account") == "jürgen"
    bench.reply(Event.LOGIN_RESPONSE_EXT, ngroups=2, payload=(7).to_bytes(4, "little") + (100001).to_bytes(4, "little"))
    got = future.result()
    assert (got.account, got.uid, got.gid, got.groups, got.nt_hash) == ("Jürgen", 100000, 7, (7, 100001), b"h" * 16)


def test_login_that_cannot_be_a_user_asks_nobody() -> None:
    bench = Bench()
    for account in ("x" * 48, "a\0b", "\ud800"):
        assert bench.daemon.login(account).result().admitted is False
    assert bench.channel.sent == []


def test_a_ticket_is_asked_about_with_the_groups_of_its_user() -> None:
    bench = Bench()
    future = bench.daemon.spnego_authen(b"AP-REQ", b"list")
    request = bench.last(Event.SPNEGO_AUTHEN_REQUEST)
    assert (request.fields["blob_len"], request.fields["payload"]) == (6, b"AP-REQ")
    assert request.texts == {Attribute.BODY: b"list".hex()}
    extra = {
        "numbers": {Attribute.LIFETIME: 600, Attribute.HANDLE: 5},
        "texts": {Attribute.BODY: b"mic".hex(), Attribute.ACCOUNT: "ann@X"},
    }
    flags = int(UserFlag.OK | UserFlag.EXTENSION)
    bench.reply(
        Event.SPNEGO_AUTHEN_RESPONSE, extra=extra, account="ann", status=flags, uid=7, gid=8, session_key_len=3,
        spnego_blob_len=6, payload=b"keyAP-REP",
    )  # fmt: skip
    assert not future.done and bench.last(Event.LOGIN_REQUEST_EXT).text("account") == "ann"
    bench.reply(Event.LOGIN_RESPONSE_EXT, ngroups=1, payload=(9).to_bytes(4, "little"))
    got = future.result()
    assert (got.account.account, got.account.groups, got.account.admitted) == ("ann", (9,), True)
    assert (got.session_key, got.token, got.lifetime) == (b"key", b"AP-REP", 600)
    assert (got.mic, got.number, got.principal) == (b"mic", 5, "ann@X")
    verified = bench.daemon.spnego_verify(5, b"theirs")
    request = bench.last(Event.SPNEGO_AUTHEN_REQUEST)
    assert (request.fields["payload"], request.numbers) == (b"theirs", {Attribute.HANDLE: 5})
    bench.reply(Event.SPNEGO_AUTHEN_RESPONSE, status=int(UserFlag.OK))
    assert verified.result().account.admitted


def test_a_refused_ticket_comes_with_its_reason() -> None:
    bench = Bench()
    future = bench.daemon.spnego_authen(b"AP-REQ")
    extra = {"numbers": {Attribute.NT_STATUS: 0xC0000133}, "texts": {Attribute.REASON: "skew"}}
    bench.reply(Event.SPNEGO_AUTHEN_RESPONSE, extra=extra, status=int(UserFlag.BAD_USER))
    got = future.result()
    assert (got.account.admitted, got.status, got.reason) == (False, 0xC0000133, "skew")
    assert not bench.daemon.spnego_authen(bytes(0x10000)).result().account.admitted


@pytest.mark.parametrize("broken", [{"session_key_len": 4}, {"spnego_blob_len": 7}, {"hash_sz": 500}])
def test_a_contradicting_answer_about_a_ticket_fails_its_request(broken: dict[str, int]) -> None:
    bench = Bench()
    future = bench.daemon.spnego_authen(b"AP-REQ")
    fields: dict[str, Any] = {"session_key_len": 3, "spnego_blob_len": 0, **broken}
    bench.reply(Event.SPNEGO_AUTHEN_RESPONSE, status=int(UserFlag.OK), payload=b"key", **fields)
    assert failure(future) == status.STATUS_INSUFF_SERVER_RESOURCES
    future = bench.daemon.spnego_authen(b"AP-REQ")
    bench.reply(Event.SPNEGO_AUTHEN_RESPONSE, extra={"texts": {Attribute.BODY: "xx"}}, status=int(UserFlag.OK))
    assert failure(future) == status.STATUS_INSUFF_SERVER_RESOURCES


def test_contradicting_answer_fails_its_own_request_only() -> None:
    bench = Bench()
    first, second = bench.daemon.login("a"), bench.daemon.login("b")
    requests = list(bench.channel.sent)
    bench.reply(Event.LOGIN_RESPONSE, requests[0], status=1, hash_sz=500)
    bench.reply(Event.LOGIN_RESPONSE, requests[1], status=1, account="b")
    assert failure(first) == status.STATUS_INSUFF_SERVER_RESOURCES
    assert second.result().account == "b"


SHARE_OPTIONS = {
    "acl flag inherited canonicalization": "yes", "acl map full control": "yes",
    "acl_xattr:security_acl_name": "security.NTACL", "change notify": "no", "delete readonly": "no",
    "delete veto files": "no", "dos filemode": "no", "ea support": "yes", "hide files": "/x/*.bak/",
    "hide special files": "no", "hide unwriteable files": "yes", "inherit acls": "no", "inherit owner": "unix only",
    "inherit permissions": "no", "kernel oplocks": "no",
    "case sensitive": "auto", "catia:mappings": "",
    "default case": "lower", "preserve case": "yes", "short preserve case": "yes",
    "mangled names": "no", "map archive": "auto", "map hidden": "no",
    "map readonly": "permissions", "map system": "no", "msdfs proxy": "", "msdfs root": "yes", "nt acl support": "yes",
    "posix locking": "yes",
    "shadow:basedir": "", "shadow:crossmountpoints": "no", "shadow:delimiter": "_GMT",
    "shadow:localtime": "yes", "shadow:mountpoint": "", "shadow:snapdirseverywhere": "no", "shadow:snapprefix": "",
    "shadow:snapsharepath": "", "shadow:sort": "asc", "shadow:sscanf": "no", "snapshot path": "/snaps/%Y",
    "streams_xattr:max xattrs per stream": "7",
}  # fmt: skip


def share_reply(bench: Bench, **fields: Any) -> None:
    payload = b"*.tmp\0b*\0" + b"\0" + b"/srv/x"
    extra = {"numbers": {Attribute.FORCE_UID: 70000, Attribute.ENCRYPT: 1}, "options": SHARE_OPTIONS}
    values: dict[str, Any] = {
        "flags": int(ShareFlag.AVAILABLE | ShareFlag.WRITEABLE), "share_name": "Docs", "payload": payload,
        "payload_sz": len(payload), "veto_list_sz": 9, "create_mask": 0o644, **fields,
    }  # fmt: skip
    bench.reply(Event.SHARE_CONFIG_RESPONSE, extra=extra, **values)


def test_share_config_is_kept_until_reload() -> None:
    bench = Bench()
    future = bench.daemon.share_config("docs")
    share_reply(bench)
    share = future.result()
    assert share is not None
    assert (share.name, share.path, share.veto_files) == ("Docs", "/srv/x", ("*.tmp", "b*"))
    assert (share.force_uid, share.force_gid, share.encrypt) == (70000, None, True)
    assert (share.change_notify, share.posix_locking, share.hide_files) == (False, "yes", ("x", "*.bak"))
    assert (share.msdfs_root, share.msdfs_proxy) == (True, "")
    assert (share.inherit_owner, share.map_readonly, share.hide_unwriteable_files) == ("unix only", "permissions", True)
    assert (share.snapshot_path, share.shadow_sort, share.shadow_localtime) == ("/snaps/%Y", "asc", True)
    sent = len(bench.channel.sent)
    assert bench.daemon.share_config("DOCS").result() is share
    assert len(bench.channel.sent) == sent
    reloads: list[int] = []
    bench.daemon.on_reload = lambda: reloads.append(1)
    bench.channel.incoming.append(Message(Event.RELOAD))
    bench.daemon.on_readable()
    assert reloads == [1]
    assert not bench.daemon.share_config("docs").done


def test_answer_from_before_a_reload_is_not_kept() -> None:
    bench = Bench()
    future = bench.daemon.share_config("docs")
    request = bench.channel.sent[-1]
    bench.channel.incoming.append(Message(Event.RELOAD))
    bench.daemon.on_readable()
    bench.channel.sent.append(request)
    share_reply(bench)
    assert future.done
    assert not bench.daemon.share_config("docs").done


def test_no_such_share() -> None:
    bench = Bench()
    future = bench.daemon.share_config("none")
    share_reply(bench, flags=0)
    assert future.result() is None
    assert bench.daemon.share_config("x" * 64).result() is None


def test_a_tree_connect_is_checked_again_without_one() -> None:
    bench = Bench()
    future = bench.daemon.check_tree_connect("u", False, "docs", "192.0.2.1")
    fields = bench.last(Event.TREE_CONNECT_REQUEST).fields
    assert (fields["session_id"], fields["connect_id"]) == (0, 0)
    assert fields["flags"] == TreeRequestFlag.SMB2 | TreeRequestFlag.CHECK
    bench.reply(Event.TREE_CONNECT_RESPONSE, status=0, connection_flags=int(TreeFlag.READ_ONLY))
    assert (future.result().status, future.result().writable) == (0, False)


def test_tree_connect() -> None:
    bench = Bench()
    future = bench.daemon.tree_connect(1 << 63, 5, "u", True, "docs", "fe80::1")
    request = bench.last(Event.TREE_CONNECT_REQUEST)
    assert (request.fields["session_id"], request.fields["connect_id"], request.fields["flags"]) == (1 << 63, 5, 3)
    assert (request.text("peer_addr"), request.fields["account_flags"]) == ("fe80::1", UserFlag.GUEST_ACCOUNT)
    bench.reply(Event.TREE_CONNECT_RESPONSE, status=int(TreeStatus.OK), connection_flags=4)
    assert future.result() == TreeConnectResult(status.STATUS_SUCCESS, writable=True)


@pytest.mark.parametrize(("answer", "refusal"), [
    (TreeStatus.NOMEM, status.STATUS_INSUFFICIENT_RESOURCES), (TreeStatus.NO_SHARE, status.STATUS_BAD_NETWORK_NAME),
    (TreeStatus.NO_USER, status.STATUS_ACCESS_DENIED), (TreeStatus.INVALID_USER, status.STATUS_ACCESS_DENIED),
    (TreeStatus.HOST_DENIED, status.STATUS_ACCESS_DENIED), (TreeStatus.CONN_EXIST, status.STATUS_REQUEST_NOT_ACCEPTED),
    (TreeStatus.TOO_MANY_CONNS, status.STATUS_REQUEST_NOT_ACCEPTED),
    (TreeStatus.TOO_MANY_SESSIONS, status.STATUS_REQUEST_NOT_ACCEPTED), (TreeStatus.ERROR, status.STATUS_ACCESS_DENIED),
    (99, status.STATUS_ACCESS_DENIED),
])  # fmt: skip
def test_tree_connect_refused(answer: int, refusal: int) -> None:
    bench = Bench()
    future = bench.daemon.tree_connect(1, 5, "u", False, "docs", "::1")
    assert bench.last(Event.TREE_CONNECT_REQUEST).fields["account_flags"] == 0
    bench.reply(Event.TREE_CONNECT_RESPONSE, status=int(answer), connection_flags=4)
    assert future.result() == TreeConnectResult(refusal)


@pytest.mark.parametrize(("flag", "names"), [
    (TreeFlag.GUEST_ACCOUNT, ("is_guest",)), (TreeFlag.READ_ONLY, ()), (TreeFlag.WRITABLE, ("writable",)),
    (TreeFlag.ADMIN_ACCOUNT, ("is_admin",)), (TreeFlag.KEEP_GROUP, ("keeps_group",)),
])  # fmt: skip
def test_what_the_flags_of_a_tree_connect_become(flag: TreeFlag, names: tuple[str, ...]) -> None:
    bench = Bench()
    future = bench.daemon.tree_connect(1, 5, "u", False, "docs", "::1")
    bench.reply(Event.TREE_CONNECT_RESPONSE, status=0, connection_flags=int(flag))
    assert future.result() == TreeConnectResult(**dict.fromkeys(names, True))


@pytest.mark.parametrize(("flags", "admitted", "is_guest", "throttled"), [
    (UserFlag.INVALID, False, False, False), (UserFlag.OK, True, False, False),
    (UserFlag.BAD_USER, False, False, False),
    (UserFlag.OK | UserFlag.BAD_PASSWORD, False, False, False), (UserFlag.OK | UserFlag.BAD_UID, False, False, False),
    (UserFlag.OK | UserFlag.BAD_USER, False, False, False), (UserFlag.OK | UserFlag.GUEST_ACCOUNT, True, True, False),
    (UserFlag.OK | UserFlag.DELAY_SESSION, True, False, True),
    (UserFlag.BAD_USER | UserFlag.DELAY_SESSION, False, False, True),
])  # fmt: skip
def test_what_the_status_of_a_log_on_becomes(
    flags: UserFlag, admitted: bool, is_guest: bool, throttled: bool
) -> None:
    bench = Bench()
    future = bench.daemon.login("u")
    bench.reply(Event.LOGIN_RESPONSE, account="u", status=int(flags))
    got = future.result()
    assert (got.admitted, got.is_guest, got.throttled) == (admitted, is_guest, throttled)


@pytest.mark.parametrize("failed", [False, True])
def test_logout(failed: bool) -> None:
    bench = Bench()
    bench.daemon.logout("u", failed)
    request = bench.last(Event.LOGOUT_REQUEST)
    assert (request.text("account"), request.fields["account_flags"]) == ("u", 2 if failed else 0)


@pytest.mark.parametrize(("name", "text"), [
    ("change notify", "maybe"), ("change notify", None), ("guest gid", "x"), ("guest uid", "-1"), ("hide files", None),
])  # fmt: skip
def test_a_share_with_an_option_that_is_missing_or_malformed(name: str, text: str | None) -> None:
    bench = Bench()
    future = bench.daemon.share_config("docs")
    options = {**SHARE_OPTIONS, "guest uid": "1", "guest gid": "2"}
    if text is None:
        del options[name]
    else:
        options[name] = text
    fields: dict[str, Any] = {"flags": int(ShareFlag.AVAILABLE), "share_name": "Docs"}
    bench.reply(Event.SHARE_CONFIG_RESPONSE, extra={"options": options}, **fields)
    assert failure(future) == status.STATUS_INSUFF_SERVER_RESOURCES


def test_time_out_is_one_requests() -> None:
    bench = Bench(timeout=4)
    future = bench.daemon.login("u")
    request = bench.channel.sent[-1]
    bench.clock.turn(3.9)
    assert not future.done
    bench.channel.incoming.append(Message(Event.HEARTBEAT_REQUEST, fields={"handle": 1}))
    bench.daemon.on_readable()
    bench.clock.turn(0.2)
    assert failure(future) == status.STATUS_IO_TIMEOUT
    bench.reply(Event.LOGIN_RESPONSE, request, status=1)  # late: nobody waits
    assert bench.lost == []


def test_without_time_out_a_request_waits() -> None:
    bench = Bench()
    future = bench.daemon.login("u")
    bench.clock.turn(10000)
    assert not future.done
    assert bench.channel.sent[1:] == [], "nothing is asked, and no timer ticks"
    assert bench.clock.timers == []


def test_silent_mountd_is_lost_after_ipc_timeout() -> None:
    bench = Bench(timeout=10)
    bench.clock.turn(9)
    assert bench.lost == []
    bench.clock.turn(7)
    assert len(bench.lost) == 1
    assert failure(bench.daemon.login("u")) == status.STATUS_INSUFF_SERVER_RESOURCES


def test_dead_mountd_fails_all_waiters() -> None:
    bench = Bench()
    futures: list[Future[Any]] = [bench.daemon.login("u"), bench.daemon.share_config("s")]
    bench.channel.error = PeerGone()
    futures.append(bench.daemon.share_config("t"))
    assert [failure(future) for future in futures] == [status.STATUS_INSUFF_SERVER_RESOURCES] * 3
    assert len(bench.lost) == 1


def test_only_who_watches_sends_heartbeats() -> None:
    channel, clock = FakeChannel(), FakeClock()
    NetlinkDaemon(channel, clock, 10).start()  # type: ignore[arg-type]
    clock.turn(100)
    assert [message.event for message in channel.sent] == [Event.HELLO]


def test_congestion_is_refused_and_not_lost() -> None:
    bench = Bench()
    bench.channel.error = Congested()
    assert failure(bench.daemon.login("u")) == status.STATUS_INSUFFICIENT_RESOURCES
    bench.channel.error = None
    bench.channel.backlog = 1
    future = bench.daemon.login("u")
    bench.clock.turn(0.02)
    assert bench.channel.flushed >= 2
    bench.channel.backlog = 0
    bench.reply(Event.LOGIN_RESPONSE, status=1, account="u")
    assert future.done


def test_handles_do_not_meet_a_predecessors() -> None:
    assert len({Bench().daemon._exchange.next_handle for _ in range(5)}) == 5


def test_what_came_before_the_start_counts() -> None:
    """A stop in the middle of the engine's start is not lost, a predecessor's answer is nobody's."""
    channel = FakeChannel()
    channel.incoming = [Message(Event.LOGIN_RESPONSE, fields={"handle": 5}), Message(Event.SHUTTING_DOWN)]
    daemon = NetlinkDaemon(channel, FakeClock())  # type: ignore[arg-type]
    stops: list[int] = []
    daemon.on_shutdown = lambda: stops.append(1)
    daemon.start()
    daemon.on_readable()
    assert stops == [1]


def test_wrong_kind_of_answer_is_ignored() -> None:
    bench = Bench()
    future = bench.daemon.login("u")
    bench.reply(Event.TREE_CONNECT_RESPONSE)
    assert not future.done
    bench.reply(Event.LOGIN_RESPONSE, status=1)
    assert future.done


def test_failed_answer() -> None:
    bench = Bench()
    future = bench.daemon.login("u")
    handle = {Attribute.HANDLE: bench.channel.sent[-1].handle}
    bench.channel.incoming.append(Message(Event.FAILED, numbers=handle))
    bench.daemon.on_readable()
    assert failure(future) == status.STATUS_INSUFF_SERVER_RESOURCES


def test_cancelled_request_is_forgotten() -> None:
    bench = Bench()
    future = bench.daemon.login("u")
    future.cancel()
    assert bench.daemon._exchange.waiting == {}
    bench.reply(Event.LOGIN_RESPONSE, status=1)


# ------------------------------------------------------------------------------------------------------------- pipes


def rpc_reply(bench: Bench, request: Message, payload: bytes = b"", state: int = 0) -> None:
    bench.reply(Event.RPC_RESPONSE, request, flags=state, payload_sz=len(payload), payload=payload)


def open_pipe(bench: Bench) -> int:
    future = bench.daemon.rpc_open("SRVSVC", "u", False, "192.0.2.7")
    request = bench.last(Event.RPC_REQUEST)
    assert request.addresses == ["192.0.2.7"]
    assert request.fields["flags"] == RpcFlag.OPEN | RpcFlag.SRVSVC
    assert request.texts[Attribute.ACCOUNT] == "u"
    rpc_reply(bench, request)
    return future.result()


def test_pipe_requests_go_one_after_the_other() -> None:
    bench = Bench()
    handle = open_pipe(bench)
    sent = len(bench.channel.sent)
    write, read = bench.daemon.rpc_write(handle, b"abc"), bench.daemon.rpc_read(handle, 1024)
    assert len(bench.channel.sent) == sent + 1
    rpc_reply(bench, bench.channel.sent[-1])
    assert write.done and not read.done
    request = bench.channel.sent[-1]
    assert request.fields["flags"] == RpcFlag.READ | RpcFlag.SRVSVC
    assert request.numbers[Attribute.SIZE] == 1024
    rpc_reply(bench, request, b"answer", RpcStatus.MORE_DATA)
    assert read.result() == (b"answer", True)


def test_long_write_is_split() -> None:
    bench = Bench()
    handle = open_pipe(bench)
    data = bytes(range(256)) * (RPC_CHUNK // 256 * 2) + b"end"
    future = bench.daemon.rpc_transceive(handle, data, 100)
    parts = []
    while not future.done:
        request = bench.last(Event.RPC_REQUEST)
        parts.append(request.fields["payload"])
        rpc_reply(bench, request, b"r" if request.fields["flags"] & RpcFlag.IOCTL == RpcFlag.IOCTL else b"")
    assert b"".join(parts) == data and len(parts) == 3
    assert future.result() == (b"r", False)


def test_a_peek_leaves_the_message() -> None:
    """MS-SMB2 3.3.5.15.4: what was peeked at comes first to reads, in their order and their sizes."""
    bench = Bench()
    handle = open_pipe(bench)
    peeks = [bench.daemon.rpc_peek(handle) for _ in range(2)]
    read = bench.daemon.rpc_read(handle, 4)
    sent = len(bench.channel.sent)
    request = bench.last(Event.RPC_REQUEST)
    assert request.fields["flags"] == RpcFlag.READ | RpcFlag.SRVSVC
    rpc_reply(bench, request, b"message", RpcStatus.MORE_DATA)
    assert [peek.result() for peek in peeks] == [(b"message", True)] * 2
    assert read.result() == (b"mess", True)
    assert bench.daemon.rpc_peek(handle).result() == (b"age", True)
    # An answer that waits comes before the one to what is asked now, which stays with mountd.
    transceive = bench.daemon.rpc_transceive(handle, b"call", 100)
    request = bench.last(Event.RPC_REQUEST)
    assert request.fields["flags"] == RpcFlag.WRITE | RpcFlag.SRVSVC and request.fields["payload"] == b"call"
    rpc_reply(bench, request)
    assert transceive.result() == (b"age", True)
    assert len(bench.channel.sent) == sent + 1
    # Now the rest of the first message, from there.
    after = bench.daemon.rpc_read(handle, 100)
    rpc_reply(bench, bench.last(Event.RPC_REQUEST), b" end")
    assert after.result() == (b" end", False)


def test_a_peek_at_nothing_and_at_a_broken_pipe() -> None:
    bench = Bench()
    handle = open_pipe(bench)
    peek = bench.daemon.rpc_peek(handle)
    rpc_reply(bench, bench.last(Event.RPC_REQUEST))
    assert peek.result() == (b"", False)
    peek = bench.daemon.rpc_peek(handle)  # asked again, since there may be something by now
    rpc_reply(bench, bench.last(Event.RPC_REQUEST), state=RpcStatus.BAD_DATA)
    assert failure(peek) == status.STATUS_PIPE_BROKEN
    assert failure(bench.daemon.rpc_peek(12345)) == status.STATUS_INVALID_HANDLE


def test_unknown_pipes() -> None:
    bench = Bench()
    assert failure(bench.daemon.rpc_open("nothing", "u", False)) == status.STATUS_OBJECT_NAME_NOT_FOUND
    future = bench.daemon.rpc_open("samr", "u", True)
    request = bench.last(Event.RPC_REQUEST)
    assert request.fields["flags"] & RpcFlag.RESTRICTED_CONTEXT
    rpc_reply(bench, request, state=RpcStatus.NOT_IMPLEMENTED)
    assert failure(future) == status.STATUS_OBJECT_NAME_NOT_FOUND
    assert failure(bench.daemon.rpc_read(12345, 10)) == status.STATUS_INVALID_HANDLE


def test_pipe_is_broken_after_a_time_out() -> None:
    bench = Bench(timeout=5)
    handle = open_pipe(bench)
    future = bench.daemon.rpc_read(handle, 10)
    bench.clock.turn(3)
    bench.channel.incoming.append(Message(Event.HEARTBEAT_REQUEST, fields={"handle": 1}))
    bench.daemon.on_readable()
    bench.clock.turn(2.5)
    assert failure(future) == status.STATUS_IO_TIMEOUT
    assert failure(bench.daemon.rpc_read(handle, 10)) == status.STATUS_PIPE_DISCONNECTED


def test_close_forgets_the_pipe() -> None:
    bench = Bench()
    handle = open_pipe(bench)
    bench.daemon.rpc_close(handle)
    assert bench.last(Event.RPC_REQUEST).fields["flags"] == RpcFlag.CLOSE | RpcFlag.SRVSVC
    rpc_reply(bench, bench.channel.sent[-1])
    assert bench.daemon._pipes.pipes == {}


def test_a_pipe_that_timed_out_is_closed_there_all_the_same() -> None:
    bench = Bench(timeout=5)
    handle = open_pipe(bench)
    read = bench.daemon.rpc_read(handle, 10)
    opened = bench.daemon.rpc_open("srvsvc", "u", False)
    bench.clock.turn(3)
    bench.channel.incoming.append(Message(Event.HEARTBEAT_REQUEST, fields={"handle": 1}))
    bench.daemon.on_readable()
    bench.clock.turn(2.5)
    assert failure(read) == failure(opened) == status.STATUS_IO_TIMEOUT
    bench.daemon.rpc_close(handle)
    closed = [message for message in bench.channel.sent if message.fields.get("flags", 0) & RpcFlag.CLOSE]
    assert len(closed) == 2
    for message in closed:
        rpc_reply(bench, message)
    assert bench.daemon._pipes.pipes == {}


def test_a_pipe_that_nobody_waits_for_is_closed() -> None:
    bench = Bench()
    future = bench.daemon.rpc_open("srvsvc", "u", False)
    request = bench.last(Event.RPC_REQUEST)
    future.cancel()
    rpc_reply(bench, request)
    assert bench.last(Event.RPC_REQUEST).fields["flags"] == RpcFlag.CLOSE | RpcFlag.SRVSVC
    rpc_reply(bench, bench.channel.sent[-1])
    assert bench.daemon._pipes.pipes == {}


def test_what_waits_for_mountd_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PIPE_QUEUE", dataclasses.replace(limits.PIPE_QUEUE, value=100))
    monkeypatch.setattr(limits, "PIPE_QUEUES", dataclasses.replace(limits.PIPE_QUEUES, value=150))
    bench = Bench()
    pipes = [open_pipe(bench) for _ in range(2)]
    first = bench.daemon.rpc_write(pipes[0], bytes(60))
    assert failure(bench.daemon.rpc_write(pipes[0], bytes(60))) == status.STATUS_INSUFFICIENT_RESOURCES
    assert failure(bench.daemon.rpc_transceive(pipes[0], bytes(60), 10)) == status.STATUS_INSUFFICIENT_RESOURCES
    request = bench.last(Event.RPC_REQUEST)
    assert failure(bench.daemon.rpc_write(pipes[1], bytes(95))) == status.STATUS_INSUFFICIENT_RESOURCES, "in all"
    assert not bench.daemon.rpc_write(pipes[1], bytes(40)).done
    rpc_reply(bench, bench.last(Event.RPC_REQUEST))
    rpc_reply(bench, request)
    assert first.done and bench.daemon._pipes.queued == 0
    assert not bench.daemon.rpc_write(pipes[0], bytes(100)).done


@pytest.mark.parametrize(
    "state, answer",
    [
        (RpcStatus.NOMEM, status.STATUS_INSUFFICIENT_RESOURCES),
        (RpcStatus.PIPE_BUSY, status.STATUS_PIPE_NOT_AVAILABLE),
    ],
)
def test_a_pipe_that_is_not_to_be_had(state: RpcStatus, answer: int) -> None:
    bench = Bench()
    future = bench.daemon.rpc_open("srvsvc", "u", False)
    rpc_reply(bench, bench.last(Event.RPC_REQUEST), state=state)
    assert failure(future) == answer


def test_a_question_is_answered_in_parts() -> None:
    bench = Bench()

    def answer(question: str, answering: Answering) -> None:
        for part in range(2):
            answering.part(f"{question} {part}")
        answering.end()

    bench.daemon.on_question = answer
    question = Message(Event.QUESTION, numbers={Attribute.HANDLE: 8}, texts={Attribute.BODY: "files?"})
    bench.channel.incoming.append(question)
    bench.daemon.on_readable()
    answers = bench.channel.sent
    assert [message.texts.get(Attribute.BODY) for message in answers] == ["files? 0", "files? 1", None]
    assert answers[-1].numbers == {Attribute.HANDLE: 8, Attribute.SIZE: 2}


def test_an_answer_knows_whether_mountd_reads() -> None:
    bench = Bench()
    kept: list[Answering] = []
    bench.daemon.on_question = lambda question, answering: kept.append(answering)
    bench.channel.incoming.append(Message(Event.QUESTION, numbers={Attribute.HANDLE: 8}))
    bench.daemon.on_readable()
    assert not kept[0].congested
    bench.channel.backlog = 3
    assert kept[0].congested


def test_a_process_that_has_nothing_to_tell_ends_the_answer() -> None:
    bench = Bench()
    bench.channel.incoming.append(Message(Event.QUESTION, numbers={Attribute.HANDLE: 8}))
    bench.daemon.on_readable()
    assert bench.last(Event.ANSWER).numbers == {Attribute.HANDLE: 8, Attribute.SIZE: 0}
