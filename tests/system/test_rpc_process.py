# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.rpc, the process that reads what anonymous clients write to pipes: what it may do, its end, and its budget."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from rawclient import RawClient
from server import KsmbdServer, StartKsmbd

from ksmbd import limits, log
from ksmbd.smb import status as s
from mountd import serviceprocess
from mountd.loop import Loop
from mountd.rpc import child, pdu
from mountd.rpc.child import RpcProcess
from mountd.rpc.facts import Level
from mountd.rpc.frames import Answer, Kind, Request, Status
from mountd.rpc.srvsvc import INTERFACE

CREATE, CLOSE, READ, WRITE = 5, 6, 8, 9
BIND = pdu.encode(
    pdu.Ptype.BIND, pdu.WHOLE, 1,
    (4280).to_bytes(2, "little") * 2 + bytes(4) + b"\1\0\0\0" + b"\0\0\1\0" + INTERFACE.syntax.encode()
    + pdu.NDR32.encode(),
)  # fmt: skip
FRAGMENTS = [
    pdu.encode(pdu.Ptype.REQUEST, flags, 2, bytes(4) + b"\0\0\x0f\0" + bytes(60_000))
    for flags in (pdu.Pfc.FIRST_FRAG, *(pdu.Pfc(0),) * 3)
]
"""Of a request whose last one never comes."""


def rpc_pid(mountd: int) -> int:
    """The process of the RPC services below mountd, 0 where there is none."""
    for pid in Path(f"/proc/{mountd}/task/{mountd}/children").read_text().split():
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ksmbd.rpc"):
                return int(pid)
        except OSError:
            continue
    return 0


def await_rpc(server: KsmbdServer, other_than: int = 0) -> int:
    """Its process id, once it is up."""
    deadline = time.monotonic() + 30
    while (pid := rpc_pid(server.pid)) in (0, other_than):
        assert time.monotonic() < deadline, server.drain()
        os.sched_yield()
    return pid


def field(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2] for line in lines if line.startswith(f"{name}:")).strip()


def pipe_status(client: RawClient) -> tuple[int, bytes]:
    """Open srvsvc: its status and FileId."""
    name = "srvsvc".encode("utf-16-le")
    body = b"\x39\0\0\0\2\0\0\0" + bytes(16) + (0x12019F).to_bytes(4, "little") + bytes(4) + (7).to_bytes(4, "little")
    body += (1).to_bytes(4, "little") + bytes(4) + (120).to_bytes(2, "little") + len(name).to_bytes(2, "little")
    answer = client.reply(client.post(CREATE, body + bytes(8) + name))
    return int.from_bytes(answer[8:12], "little"), bytes(answer[64 + 64 : 64 + 80])


def write_status(client: RawClient, file_id: bytes, data: bytes) -> int:
    body = b"\x31\0" + (112).to_bytes(2, "little") + len(data).to_bytes(4, "little") + bytes(8) + file_id + bytes(16)
    return client.status(WRITE, body + data)


def test_it_has_no_rights(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd()
    assert server.list_shares().returncode == 0  # it has given up its rights before it answers
    pid = await_rpc(server)
    assert field(pid, "NoNewPrivs") == "1"
    assert field(pid, "Seccomp") == "2"
    assert [field(pid, f"Cap{name}") for name in ("Eff", "Prm", "Inh", "Amb")] == ["0" * 16] * 4
    assert len(os.listdir(f"/proc/{pid}/fd")) == 4, "the three standard ones and its stream"
    bounds = Path(f"/proc/{pid}/limits").read_text()
    for kind in ("Max open files", "Max processes", "Max file size", "Max core file size"):
        assert next(line for line in bounds.splitlines() if line.startswith(kind)).split()[-3:-1] == ["0", "0"]
    if os.geteuid() == 0:
        assert set(field(pid, "Uid").split()) != {"0"} and "0" not in field(pid, "Uid").split()
        assert "0" not in field(pid, "Gid").split() and field(pid, "Groups") == ""
        assert field(pid, "CapBnd") == "0" * 16
        assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    assert "ksmbd.rpc) run without" not in server.drain() or os.geteuid()


TRIES = """
import os, socket, sys, time
from ksmbd.kernel.confinement import Bounds, confine
secret = sys.argv[1]
held = os.open(secret, os.O_RDONLY)
os.close(held)
reader, writer = os.pipe()
if sys.argv[2] == "user":
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
missing = confine(Bounds(65534, 65534, 32 << 20, 60), os.getppid())
tries = {
    "open": lambda: os.open(secret, os.O_RDONLY), "root": lambda: os.listdir("/"), "make": lambda: os.mkdir("/x"),
    "fork": os.fork, "socket": lambda: socket.socket(), "exec": lambda: os.execv("/bin/true", ["true"]),
    "kill": lambda: os.kill(os.getppid(), 0), "pipe": os.pipe, "user": lambda: os.setuid(0),
    "memory": lambda: bytearray(64 << 20), "stat": lambda: os.stat(secret), "link": lambda: os.readlink("/proc/self"),
}
done = []
for name, attempt in tries.items():
    try:
        attempt()
    except (OSError, MemoryError):
        continue
    done.append(name)
os.write(writer, b"x"); assert os.read(reader, 1) == b"x"
os.write(1, repr((done, missing)).encode())
os._exit(0)
"""


@pytest.mark.parametrize("who", ["root", "user"])
def test_a_confined_process_cannot_open_or_start_anything(tmp_path: Path, who: str) -> None:
    if os.geteuid():
        who = "itself"
    secret = tmp_path / "ksmbdpwd.db"
    secret.write_text("user:hash")
    command = [sys.executable, "-P", "-c", TRIES, str(secret), who]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    done, missing = eval(result.stdout)
    assert done == []
    assert missing == ([] if who == "root" else ["a user of its own (not started as root)"])


def test_the_environment_is_not_handed_on() -> None:
    given = {"SMB_PASSWORD": "secret", "PATH": "/bin", "LC_ALL": "C", "AWS_SECRET": "x", "LANG": "C.UTF-8"}
    assert serviceprocess.environment(given) == {"PATH": "/bin", "LC_ALL": "C", "LANG": "C.UTF-8"}
    assert all(0 not in serviceprocess.ids(name) for name in ("root", "no such account", "nobody"))
    assert serviceprocess.environment({"KRB5_CONFIG": "/k", **given}, ("KRB5_CONFIG",))["KRB5_CONFIG"] == "/k"


def test_it_begins_with_the_first_pipe(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd()
    with RawClient(server):
        assert rpc_pid(server.pid) == 0, "nobody has opened a pipe"
    with RawClient(server, share="IPC$") as client:
        state, pipe = pipe_status(client)
        assert state == 0 and write_status(client, pipe, BIND) == 0
        assert rpc_pid(server.pid) != 0


def test_killed_it_is_followed_and_its_pipes_are_broken(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd()
    with RawClient(server, share="IPC$") as client:
        _, pipe = pipe_status(client)
        assert write_status(client, pipe, BIND) == 0
        first = await_rpc(server)
        os.kill(first, signal.SIGKILL)
        server.wait_for("ksmbd.rpc was ended by signal SIGKILL")
        assert write_status(client, pipe, BIND) == s.STATUS_PIPE_BROKEN
        assert client.status(CLOSE, b"\x18\0" + bytes(6) + pipe) == 0
        second = await_rpc(server, first)
        state, pipe = pipe_status(client)
        assert state == 0 and write_status(client, pipe, BIND) == 0
    assert server.list_shares().returncode == 0
    assert server.stop() == 0
    assert not Path(f"/proc/{second}").exists()


def test_it_ends_with_mountd(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd()
    assert server.list_shares().returncode == 0
    pid = await_rpc(server)
    pidfd = os.pidfd_open(pid)
    server.kill()
    import select

    assert select.select([pidfd], [], [], 20)[0], "it outlives mountd"
    os.close(pidfd)
    server.restart()  # the fixture wants an orderly end
    server.wait_until_listening()


def rss(server: KsmbdServer) -> int:
    """MiB that the daemon, its services and the engine have resident."""
    total, todo = 0, [str(server.pid)]
    while todo:
        pid = todo.pop()
        total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
        todo += Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return total >> 20


def test_what_guests_leave_is_bounded_and_others_get_their_pipe(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd(options={"max ip connections": "100", "map to guest": "bad user"})
    server.users |= {f"stranger{n}": "x" for n in range(6)}
    with ExitStack() as stack:
        first = stack.enter_context(RawClient(server, share="IPC$"))
        assert write_status(first, pipe_status(first)[1], BIND) == 0  # the process is there
        before, refused = rss(server), 0
        opened: list[tuple[RawClient, bytes]] = []
        for number in range(6):
            client = stack.enter_context(RawClient(server, share="IPC$", user=f"stranger{number}"))
            for _ in range(70):
                state, pipe = pipe_status(client)
                assert state in (0, s.STATUS_INSUFFICIENT_RESOURCES)
                refused += bool(state)
                if not state:
                    opened.append((client, pipe))
        assert (len(opened), refused) == (limits.PIPES_PER_USER.value, 6 * 70 - limits.PIPES_PER_USER.value)
        for client, pipe in opened:
            write_status(client, pipe, BIND)
            any(write_status(client, pipe, fragment) for fragment in FRAGMENTS)
        assert rss(server) - before < 40
        other = stack.enter_context(RawClient(server, share="IPC$"))
        state, pipe = pipe_status(other)
        assert state == 0 and write_status(other, pipe, BIND) == 0
    with RawClient(server, share="IPC$", user="stranger0") as client:  # all of it came back with the connections
        state, pipe = pipe_status(client)
        assert state == 0 and write_status(client, pipe, BIND) == 0


def test_a_session_has_so_many_pipes(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd()
    with RawClient(server, share="IPC$") as client:
        pipes = [pipe_status(client) for _ in range(limits.PIPES_PER_SESSION.value)]
        assert {state for state, _ in pipes} == {0}
        assert pipe_status(client)[0] == s.STATUS_INSUFFICIENT_RESOURCES
        assert client.status(CLOSE, b"\x18\0" + bytes(6) + pipes[0][1]) == 0
        assert pipe_status(client)[0] == 0


# ----------------------------------------------------------------------------- the daemon's side, over other children

DEAF = "import socket, sys; sock = socket.socket(fileno=int(sys.argv[1])); "
READY = "sock.sendall(bytes(4) + b'\\3' + bytes(11)); "
MISBEHAVING = {
    "hangs": (DEAF + READY + "import time; time.sleep(600)", "did not answer for 1 s"),
    "says nonsense": (DEAF + READY + "sock.recv(100); sock.sendall(b'\\xff' * 4096); sock.recv(1)", "our language"),
    "answers what nobody asked": (DEAF + READY + "sock.recv(16); sock.sendall(bytes(32)); sock.recv(99); sock.recv(99)",
                                  "our language"),
    "answers before it is ready": (DEAF + "sock.sendall(bytes(16)); sock.recv(1000)", "our language"),
    "goes": (DEAF + READY + "sock.recv(16)", "ended with 0"),
    "dies": (DEAF + READY + "sock.recv(16); import os; os._exit(3)", "ended with 3"),
}


@pytest.fixture
def loop() -> Iterator[Loop]:
    found = Loop()
    yield found
    found.close()


def run_until(loop: Loop, holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds

    def look() -> None:
        if holds() or time.monotonic() > deadline:
            loop.stop()
        else:
            loop.call_later(0.005, look)

    look_at_once = loop.call_later(0, look)
    loop.run()
    look_at_once.cancel()
    assert holds()


@pytest.mark.parametrize("what", sorted(MISBEHAVING))
def test_a_child_that_misbehaves_is_killed_and_followed_with_back_off(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    code, said = MISBEHAVING[what]
    lines: list[str] = []
    monkeypatch.setattr(log, "error", lines.append)
    soon = replace(child.SERVICE, seconds=replace(limits.RPC_SECONDS, value=1))
    monkeypatch.setattr(child, "SERVICE", soon)
    monkeypatch.setattr(serviceprocess, "FIRST_DELAY", 0.01)
    services = RpcProcess(loop, [sys.executable, "-c", code])
    ends: list[int] = []
    pids: set[int] = set()

    def ended() -> None:
        ends.append(len(ends))

    services.on_end = ended
    services.start()

    def poke() -> bool:
        if services.serving and services.pid not in pids:
            pids.add(services.pid)
            services.send(Request(Kind.OPEN, 0, 1, b"srvsvc"), True)
            services.send(Request(Kind.WRITE, 0, 1, b"x"), True)
        return len(ends) >= 4

    run_until(loop, poke)
    services.stop()
    assert len(pids) >= 3, "another one each time"
    assert any(said in line for line in lines), lines
    assert any("it starts again in 0.02 s" in line for line in lines), lines


def test_it_rests_without_pipes_until_the_next(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "REST_SECONDS", 0.0)
    errors: list[str] = []
    monkeypatch.setattr(log, "error", errors.append)
    services = RpcProcess(loop)
    answers: list[Answer] = []
    services.on_answer = answers.append
    services.sleep()
    assert services.serving and services.pid == 0
    pids = []
    for number in (1, 3):
        for pipe in (number, number + 1):
            services.send(Request(Kind.OPEN, Level.NAMES, pipe, b"srvsvc\0"), False)
        pids.append(services.pid)
        services.send(Request(Kind.CLOSE, 0, number, b""), False)
        services.send(Request(Kind.WRITE, 0, number + 1, BIND), False)
        run_until(loop, lambda: len(answers) == len(pids))
        assert services.pid == pids[-1], "one pipe is open"
        services.send(Request(Kind.CLOSE, 0, number + 1, b""), False)
        run_until(loop, lambda: services.pid == 0)
        assert services.serving and not Path(f"/proc/{pids[-1]}").exists()
    assert pids[0] != pids[1] and errors == []
    services.stop()


def test_what_a_child_does_not_take_is_bounded(loop: Loop) -> None:
    services = RpcProcess(loop, [sys.executable, "-c", DEAF + READY + "import time; time.sleep(600)"])
    services.start()
    sent = 0
    while services.send(Request(Kind.WRITE, 0, 1, bytes(32768)), True):
        sent += 32768
        assert sent < 4 << 20
    assert services._queued <= limits.RPC_BACKLOG.value // 2 + 33000
    assert services.send(Request(Kind.WRITE, 0, 2, bytes(32768)), False), "users have the other half"
    assert services.send(Request(Kind.CLOSE, 0, 1, b""), True), "what gives back is always taken"
    services.stop()
    assert services._queued == 0 and services.pid == 0


def test_all_operations_work_without_rights(loop: Loop) -> None:
    """Nothing that an operation needs is looked for in a file when it is called first."""
    from mountd.rpc.facts import Facts
    from mountd.rpc.ndr import NdrWriter

    services = RpcProcess(loop)
    answers: list[Answer] = []
    services.on_answer = answers.append
    services.start()
    facts = Facts(netbios_name="BÄR", workgroup="WALD", server_string="a server")
    services.send(Request(Kind.FACTS, 0, 0, facts.encode()), False)
    calls = 0
    for number, opnum in enumerate(INTERFACE.operations, 1):
        stub = NdrWriter()
        stub.pointer(lambda: stub.string("\\\\BÄR"))  # noqa: B023  written before the next one
        stub.flush()
        stub.u32(102)
        request = pdu.encode(
            pdu.Ptype.REQUEST, pdu.WHOLE, 2, bytes(4) + b"\0\0" + opnum.to_bytes(2, "little") + bytes(stub.data)
        )
        services.send(Request(Kind.OPEN, 2, number, b"srvsvc"), False)
        services.send(Request(Kind.TRANSCEIVE, 32768, number, BIND), False)
        services.send(Request(Kind.TRANSCEIVE, 32768, number, request), False)
        calls += 2
    run_until(loop, lambda: len(answers) == calls)
    services.stop()
    assert {answer.status for answer in answers} == {Status.DONE, Status.QUESTION}, "a broken pipe is a defect there"
    done = [answer for answer in answers[1::2] if answer.status == Status.DONE]
    assert {answer.payload[2] for answer in done} <= {pdu.Ptype.RESPONSE, pdu.Ptype.FAULT}
    assert any("BÄR".encode("utf-16-le") in answer.payload for answer in answers)




def test_a_defect_is_told_of_without_files(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The traceback's source lines cannot be read any more; it is printed all the same, and the process lives."""
    code = (
        "import sys; from mountd.rpc import process, services; "
        "services.Pipe.write = lambda self, data: 1 // 0; "
        "status = process.main(sys.argv[1:]); sys.exit(status)"
    )
    lines: list[str] = []
    monkeypatch.setattr(log, "peer", lambda text, *more: lines.append(text))
    services = RpcProcess(loop, [sys.executable, "-P", "-c", code])
    answers: list[Answer] = []
    services.on_answer = answers.append
    services.start()
    for number in (1, 2):
        services.send(Request(Kind.OPEN, 2, number, b"srvsvc"), False)
        services.send(Request(Kind.WRITE, 0, number, b"x"), False)
    run_until(loop, lambda: len(answers) == 2 and sum("ZeroDivisionError" in line for line in lines) >= 2)
    services.stop()
    assert {answer.status for answer in answers} == {Status.BROKEN}
