# SPDX-License-Identifier: GPL-2.0-or-later
"""The fields of the log's lines in a real journal: systemd-journald itself runs, in namespaces of the test's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

JOURNALD = Path("/lib/systemd/systemd-journald")
COMMANDS = Path(sys.executable).parent
PROGRAMS = ("unshare", "mount", "ip", "journalctl", "smbclient")
_MACHINE = r"""
set -eu
mount --make-rprivate /
room=$1
mount -t tmpfs -o size=64m tmpfs /run
mount -t tmpfs -o size=1m tmpfs /var/log
echo 0123456789abcdef0123456789abcdef > $room/machine-id
[ -s /etc/machine-id ] || { [ -e /etc/machine-id ] && mount --bind $room/machine-id /etc/machine-id; }
mkdir -p /run/systemd/journal /run/log/journal
ip link set lo up
JOURNALD &
until [ -S /run/systemd/journal/socket ] && [ -S /run/systemd/journal/io.systemd.journal ]; do kill -0 $!; done
export PATH=$2:$PATH
ksmbd.adduser -a -p secret -C $room/ksmbd.conf -P $room/users -R /run/ksmbd games
START
for who in games%secret 'no"body
KSMBD_ADDRESS=1.2.3.4%x' games%wrong; do
    smbclient -s /dev/null //127.0.0.1/open -U "$who" -c ls > /dev/null || true
done
smbclient -s /dev/null //127.0.0.1/closed -U games%secret -c ls > /dev/null || true
journalctl --sync
journalctl --no-pager -o json -t ksmbd
journalctl --no-pager -o cat KSMBD_ID=log-on-refused KSMBD_ADDRESS=127.0.0.1 > $room/selected
"""
_DETACHED = "ksmbd.mountd -C $room/ksmbd.conf -P $room/users -R /run/ksmbd -p 445"
_SERVICE = r"""
systemd-cat -t ksmbd bash -c 'export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2); exec "$@"' start \
    ksmbd.mountd -n -C $room/ksmbd.conf -P $room/users -R /run/ksmbd -p 445 &
until smbclient -s /dev/null -U % -L 127.0.0.1 > /dev/null 2>&1; do kill -0 $!; done
"""
"""As systemd starts it: standard error leads to the journal, which JOURNAL_STREAM says (systemd.exec(5))."""

Entries = list[dict[str, str]]


def missing() -> str:
    """What is not here, '' where nothing is."""
    if os.geteuid():
        return "root, for namespaces"
    if not JOURNALD.exists():
        return str(JOURNALD)
    return ", ".join(program for program in PROGRAMS if not shutil.which(program))


pytestmark = pytest.mark.skipif(bool(missing()), reason=f"needs {missing()}")


@pytest.fixture
def journal_of(tmp_path: Path) -> Callable[[str], Entries]:
    """Starts a server in a way, has clients refused by it, and returns the journal's entries of ksmbd."""
    (tmp_path / "share").mkdir()
    for folder in (tmp_path, tmp_path / "share"):
        folder.chmod(0o755)
    (tmp_path / "ksmbd.conf").write_text(
        f"[global]\nworkers = 1\nbpf = no\n[open]\npath = {tmp_path}/share\n"
        f"[closed]\npath = {tmp_path}/share\nvalid users = bin\n"
    )

    def run(start: str) -> Entries:
        script = _MACHINE.replace("START", start).replace("JOURNALD", str(JOURNALD))
        done = subprocess.run(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", script,
             "machine", str(tmp_path), str(COMMANDS)],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if "cannot change" in done.stderr or "Operation not permitted" in done.stderr:
            pytest.skip(f"no namespaces: {done.stderr}")
        assert done.returncode == 0, done.stdout + done.stderr
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    return run


def fields(entry: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in entry.items() if name.startswith("KSMBD_")}


@pytest.mark.parametrize("start", [_DETACHED, _SERVICE], ids=["detached", "as a service"])
def test_the_journal_has_the_fields(journal_of: Callable[[str], Entries], tmp_path: Path, start: str) -> None:
    entries = journal_of(start)
    logons = [entry for entry in entries if entry.get("KSMBD_ID") == "log-on-refused"]
    assert [entry["KSMBD_REASON"] for entry in logons] == ["unknown user", "wrong password"]
    strange, wrong = map(fields, logons)
    assert strange["KSMBD_ADDRESS"] == "127.0.0.1"
    assert strange["KSMBD_ACCOUNT"].startswith('no"body')
    assert "1.2.3.4" in strange["KSMBD_ACCOUNT"]
    assert wrong["KSMBD_ADDRESS"] == "127.0.0.1"
    assert wrong["KSMBD_ACCOUNT"] == "games"
    assert wrong["KSMBD_STATUS"] == "STATUS_LOGON_FAILURE"
    (tree,) = (entry for entry in entries if entry.get("KSMBD_ID") == "tree-connect-refused")
    assert tree["KSMBD_SHARE"] == "closed"
    assert tree["KSMBD_RULE"] == "valid users"
    assert (tree["PRIORITY"], tree["_TRANSPORT"], tree["SYSLOG_IDENTIFIER"]) == ("5", "journal", "ksmbd")
    assert tree["MESSAGE"].startswith("refused tree connect from 127.0.0.1: not in `valid users`")
    assert len((tmp_path / "selected").read_text().splitlines()) >= 2
    if start == _SERVICE:
        assert [entry["KSMBD_ADDRESS"] for entry in entries if entry.get("KSMBD_ID") == "listening"]
