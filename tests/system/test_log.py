# SPDX-License-Identifier: GPL-2.0-or-later
"""The log of a real server: times in the foreground, JSON, a file that is opened anew at a reload, levels."""
from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from server import KsmbdServer, StartKsmbd

FIELDS = ("address", "reason", "status", "account", "domain", "workstation")


@pytest.fixture(scope="module")
def server(start_shared: StartKsmbd, tmp_path_factory: pytest.TempPathFactory) -> KsmbdServer:
    folder = tmp_path_factory.mktemp("log")
    return start_shared(options={"log file": str(folder / "log.%m"), "log level": "1 conn:1"}, shares={"share": {}})


def file_of(server: KsmbdServer) -> Path:
    found = re.search(r"log file = (\S+)\.%m", server.config.read_text())
    assert found is not None
    return Path(found[1] + ".ksmbd")


def test_the_terminal_and_the_file_have_the_same_lines_with_times(server: KsmbdServer) -> None:
    server.smbclient("ls", user="user%wrong")
    server.wait_for(r"^ksmbd: refused log-on from 127\.0\.0\.1: wrong password")
    lines = file_of(server).read_text().splitlines()
    assert lines == server.printed.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ksmbd: ", line) for line in lines)
    assert any("listening on" in line for line in lines), "which no level leaves out"
    assert not any("running without" in line for line in lines), "information is beyond the level"


def test_a_reload_opens_the_file_anew(server: KsmbdServer) -> None:
    path = file_of(server)
    path.rename(path.with_name("rotated"))
    server.command_output("ksmbd.control", "-R", str(server.rundir), "-r")
    before = len(server.drain())
    server.smbclient("ls", user="user%wrong again")
    server.wait_for(r"^ksmbd: refused log-on", after=before)
    assert "refused log-on" in path.read_text().splitlines()[-1]


def test_a_level_that_is_reloaded_counts_at_once(server: KsmbdServer) -> None:
    text = server.config.read_text()
    server.config.write_text(text.replace("1 conn:1", "0"))
    server.command_output("ksmbd.control", "-R", str(server.rundir), "-r")
    before = len(server.drain())
    server.smbclient("ls", user="stranger%x")
    server.config.write_text(text.replace("1 conn:1", "0 auth:1"))
    server.command_output("ksmbd.control", "-R", str(server.rundir), "-r")
    server.smbclient("ls", user="wanderer%x")
    server.wait_for(r"^ksmbd: refused log-on from \S+ unknown user \(account=\"wanderer", after=before)
    assert "stranger" not in server.stderr[before:]


def test_json_has_an_object_a_line(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd(shares={"share": {"valid users": "nobody"}})
    assert server.stop() == 0
    server.command.append("--log=json")
    server.restart()
    server.wait_for('"id": "listening"')
    server.smbclient("ls", user='x", "address": "198.51.100.1%x')
    server.smbclient("ls")
    server.wait_for('"id": "tree-connect-refused"')
    server.wait_for('"id": "log-on-refused"')
    assert server.stop(signal.SIGTERM) == 0
    objects: list[dict[str, Any]] = [json.loads(line) for line in server.printed.splitlines()]
    assert all(list(one)[:3] == ["time", "level", "id"] and "message" in one for one in objects)
    log_on = next(one for one in objects if one["id"] == "log-on-refused")
    assert [log_on[name] for name in FIELDS[:4]] == [
        "127.0.0.1", "unknown user", "STATUS_LOGON_FAILURE", 'x", "address": "198.51.100.1',
    ]  # fmt: skip
    assert set(FIELDS) <= set(log_on) and log_on["process"].startswith("ksmbd/") and log_on["level"] == "notice"
    tree = next(one for one in objects if one["id"] == "tree-connect-refused")
    assert (tree["share"], tree["rule"], tree["account"]) == ("share", "valid users", "user")
