# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the shell commands of a page of docs/ as its reader would, on a machine of the test's own.

The machine is this one in namespaces of its own: another network, other processes, and copies or empty folders in the
place of all that the commands change (/etc, /run, /srv, /var/lib/samba, ...). A script stands in the place of
systemctl, because systemd does not run in there. Everything ends with the first process.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
COMMANDS = Path(sys.executable).parent
PASSWORD = "secret"
PROGRAMS = ("unshare", "mount", "ip", "smbd", "smbclient", "pdbedit", "smbpasswd", "net", "useradd", "ss")

_MACHINE = r"""
set -eu
mount --make-rprivate /
room=$1
mkdir $room/etc $room/bin $room/empty
cp -a /etc/. $room/etc 2>&1 | { grep -v "No such file" || true; }  # others may be adding users
rm -f $room/etc/*.lock
mount --bind $room/etc /etc
for folder in /run /srv /var/lib/samba /var/log /var/cache/samba; do
    [ -d $folder ] && mount -t tmpfs -o size=32m tmpfs $folder
done
mkdir -p /run/samba /var/log/samba /var/lib/samba/private /etc/samba /etc/systemd/system
rm -rf /etc/ksmbd
ip link set lo up
hostname server
printf '127.0.0.1 localhost server\n' > /etc/hosts
for user in otto anna; do useradd -M -s /usr/sbin/nologin $user; done
cat > $room/bin/systemctl <<'SYSTEMCTL'
#!/bin/bash
# In the place of systemd: starts and stops the two servers.
set -e
ended() { tail --pid=$1 -f /dev/null; }
case "$*" in
    "disable --now smbd nmbd") pid=$(cat /run/samba/smbd.pid); kill $pid; ended $pid ;;
    "enable --now smbd nmbd") rm -f /run/samba/smbd.pid; smbd -D; until [ -s /run/samba/smbd.pid ]; do :; done ;;
    "disable --now ksmbd") ksmbd.control --shutdown ;;
    "enable --now ksmbd")
        line=ksmbd.mountd
        for file in /etc/systemd/system/ksmbd.service.d/*.conf; do
            [ -e $file ] && line=$(sed -n 's/^ExecStart=\(..*\)/\1/p' $file)
        done
        $line ;;
    *) echo "systemctl $*: not on this machine" >&2; exit 1 ;;
esac
SYSTEMCTL
chmod +x $room/bin/systemctl
export PATH=$room/bin:$2:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
cd /
"""


def missing() -> str:
    """What is not here of all that is needed, '' where nothing is."""
    if os.geteuid():
        return "root: namespaces and users"
    if TOP.is_relative_to("/srv") or TOP.is_relative_to("/run"):
        return "a checkout outside of /srv and /run"
    return ", ".join(program for program in PROGRAMS if not shutil.which(program))


def blocks(page: str) -> list[str]:
    """The blocks of a page that are shell commands, as they stand there."""
    found = re.findall(r"^```sh\n(.*?)^```$", (TOP / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no commands"
    return found


def section(page: str, title: str) -> list[str]:
    """The blocks of one section (##) of a page."""
    text = (TOP / "docs" / page).read_text()
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no section {title}"
    return re.findall(r"^```sh\n(.*?)^```$", found[1], re.MULTILINE | re.DOTALL)


def run(room: Path, script: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a script on a new machine, with `set -e`; all that it printed. `room` is an empty folder for the machine's
    files. The test fails where the script does, or takes a minute."""
    path = room / "script"
    path.write_text(_MACHINE + script)
    command = ["unshare", "--mount", "--net", "--uts", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc"]
    done = subprocess.run(
        [*command, "bash", str(path), str(room), str(COMMANDS)], capture_output=True, text=True, timeout=120,
        check=False, env={**os.environ, **(environment or {}), "LC_ALL": "C.UTF-8"}, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        if "unshare failed" in done.stderr:
            pytest.skip(f"no namespaces: {done.stderr.strip()}")
        pytest.fail(f"the machine ends with {done.returncode}\n{done.stdout}\n{done.stderr}", pytrace=False)
    return done.stdout + done.stderr
