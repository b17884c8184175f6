# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.trace of a real server and smbclient: encrypted and clear, live, written, and read back; tshark as a judge that
knows nothing of it."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import Process
from server import COMMANDS, KsmbdServer, StartKsmbd

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="capturing needs root")

SIZE = 100_000
"""More than ksmbd.trace keeps of a message, and what tshark reads in one on another port than 445 (RFC 1002 4.3.1)."""
NAMES = (
    "NEGOTIATE", "SESSION_SETUP", "LOGOFF", "TREE_CONNECT", "TREE_DISCONNECT", "CREATE", "CLOSE", "FLUSH", "READ",
    "WRITE", "LOCK", "IOCTL", "CANCEL", "ECHO", "QUERY_DIRECTORY", "CHANGE_NOTIFY", "QUERY_INFO", "SET_INFO",
)  # fmt: skip


@pytest.fixture(scope="module")
def server(start_shared: StartKsmbd) -> Iterator[KsmbdServer]:
    server = start_shared(workers=2, shares={"docs": {}, "closed": {"valid users": "nobody"}})
    (server.folder / "sent").write_bytes(os.urandom(SIZE))
    yield server


class Trace(Process):
    """A running ksmbd.trace, whose output is kept in a file."""

    def __init__(self, server: KsmbdServer, *options: str) -> None:
        self.output = server.folder / f"trace-{time.monotonic_ns()}"
        line = [str(COMMANDS / "ksmbd.trace"), "-R", str(server.rundir), *options]
        super().__init__(["sh", "-c", 'out=$1; shift; exec "$@" >"$out"', "sh", str(self.output), *line])
        self.wait_for(r"\^C ends it")

    def end(self) -> str:
        """End it as ^C does; what it printed."""
        assert self.stop(signal.SIGINT) == 0
        self.drain()
        return self.output.read_text()

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.end().splitlines()]


def copy(server: KsmbdServer, name: str, *options: str) -> None:
    done = server.smbclient(f"put sent {name}; get {name} received; del {name}", "-m", "SMB3_11", *options)
    assert done.returncode == 0, done.stdout
    assert (server.folder / "received").read_bytes() == (server.folder / "sent").read_bytes()


@pytest.mark.parametrize("protection", ["encrypt", "sign"])
def test_a_copy_is_told_command_by_command(server: KsmbdServer, protection: str) -> None:
    trace = Trace(server, "--json")
    copy(server, "traced.bin", f"--client-protection={protection}")
    told = trace.objects()
    for command in ("CREATE", "WRITE", "READ", "CLOSE"):
        rows = [row for row in told if row["command"] == command and row["name"] == "traced.bin"]
        assert rows, command
        assert all(row["status"] == "STATUS_SUCCESS" and row["latency_us"] > 0 for row in rows)
        assert all((row["user"], row["share"]) == ("user", "docs") for row in rows)
        assert all(row["sealed"] == (protection == "encrypt") for row in rows)
    for command in ("WRITE", "READ"):
        assert sum(row["size"] for row in told if row["command"] == command) == SIZE
    assert not [row for row in told if row["problem"] or row["command"] in ("SEALED", "UNKNOWN")]
    assert "nothing is missing" in trace.stderr


def test_refusals_and_filters(server: KsmbdServer) -> None:
    trace = Trace(server, "--json", "--status=error", "-u", "user")
    assert server.smbclient("ls", share="closed").returncode
    assert server.smbclient("get missing").returncode
    copy(server, "other.bin")
    told = trace.objects()
    assert {row["status"] for row in told} >= {"STATUS_ACCESS_DENIED", "STATUS_OBJECT_NAME_NOT_FOUND"}
    assert "STATUS_SUCCESS" not in {row["status"] for row in told}
    assert "missing" in {row["name"] for row in told}


def test_what_was_open_before_is_named(server: KsmbdServer) -> None:
    client = subprocess.Popen(
        ["smbclient", "//127.0.0.1/docs", "-p", str(server.port), "-U", f"{server.user}%{server.password}", "-s",
         "/dev/null", "-m", "SMB3_11", "--client-protection=encrypt"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=server.folder, bufsize=0,
    )  # fmt: skip
    assert client.stdin is not None and client.stdout is not None
    client.stdin.write(b"mkdir early\n")
    while not (server.shares["docs"] / "early").exists():
        select.select([], [], [], 0.01)
    trace = Trace(server, "--json")
    client.stdin.write(b"rmdir early\n")
    client.stdin.close()
    client.stdout.read()
    assert client.wait() == 0
    told = [row for row in trace.objects() if row["name"] == "early"]
    assert told and {(row["user"], row["share"], row["sealed"]) for row in told} == {("user", "docs", True)}


def test_the_table_counts_what_was_done(server: KsmbdServer) -> None:
    trace = Trace(server, "--summary", "--json", "--share=docs")
    copy(server, "table.bin")
    rows = {row["command"]: row for row in json.loads(trace.end())["commands"]}
    assert (rows["WRITE"]["bytes"], rows["READ"]["bytes"], rows["WRITE"]["errors"]) == (SIZE, SIZE, 0)
    assert 0 < rows["READ"]["p50_us"] <= rows["READ"]["max_us"]


def test_all_fields_and_bytes(server: KsmbdServer) -> None:
    pytest.importorskip("scapy")
    trace = Trace(server, "-v", "--hex", "--command=create,session_setup")
    copy(server, "fields.bin", "--client-protection=encrypt")
    text = trace.end()
    assert "###[ SMB2 CREATE Request ]###" in text.replace("Protocol ", "")
    digits = "".join(re.findall(r"(?m)^    [0-9a-f]{6}  ((?:[0-9a-f]{2} )+)", text)).replace(" ", "")
    assert "fields.bin".encode("utf-16-le").hex() in digits, "decrypted"
    assert "NTLM" in text


def test_what_was_written_is_read_back_and_by_tshark_too(server: KsmbdServer) -> None:
    path = server.folder / "t.pcapng"
    trace = Trace(server, "-w", str(path), "--json")
    copy(server, "written.bin", "--client-protection=encrypt")
    live = [(row["command"], row["name"], row["status"]) for row in trace.objects()]
    keys = Path(f"{path}.keys")
    assert {file.stat().st_mode & 0o777 for file in (path, keys)} == {0o600}
    read = server.command_output("ksmbd.trace", "-r", str(path), "-p", str(server.port), "--json")
    again = [json.loads(line) for line in read.splitlines()]
    assert [(row["command"], row["name"], row["status"]) for row in again] == live
    sealed = server.command_output("ksmbd.trace", "-r", str(path), "-k", "/dev/null", "-p", str(server.port), "--json")
    assert {json.loads(line)["command"] for line in sealed.splitlines()} >= {"SEALED", "SESSION_SETUP"}
    if shutil.which("tshark") is None:
        pytest.skip("no tshark, the second opinion")
    secrets = [line for line in keys.read_text().splitlines() if not line.startswith("#")]
    options = [word for line in secrets for word in ("-o", f"uat:smb2_seskey_list:{line}")]
    shown = subprocess.run(
        ["tshark", "-r", path, "-d", f"tcp.port=={server.port},nbss", "-o", "tcp.reassemble_out_of_order:TRUE",
         *options, "-Y", "smb2.flags.response == 0", "-T", "fields", "-e", "smb2.cmd"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    judged = Counter(NAMES[int(number)] for line in shown.splitlines() for number in line.split(","))
    assert judged == Counter(command for command, _, _ in live)


def test_the_server_may_keep_its_keys(server: KsmbdServer) -> None:
    text = server.config.read_text()
    server.config.write_text(text.replace("[global]\n", "[global]\ntrace keys = no\n"))
    server.command_output("ksmbd.control", "-R", str(server.rundir), "-r")
    trace = Trace(server, "--json")
    copy(server, "kept.bin", "--client-protection=encrypt")
    told = trace.objects()
    server.config.write_text(text)
    server.command_output("ksmbd.control", "-R", str(server.rundir), "-r")
    assert {row["command"] for row in told} == {"NEGOTIATE", "SESSION_SETUP", "SEALED"}
    assert "trace keys = no" in trace.stderr


def test_without_a_server_one_line_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [COMMANDS / "ksmbd.trace", "-R", tmp_path], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "ksmbd.mountd does not run" in done.stderr
