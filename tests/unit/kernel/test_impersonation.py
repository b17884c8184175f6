# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether this process can act as other users is tried, call by call; one that is root and cannot must not serve."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from ksmbd.conn.contract import StartError
from ksmbd.kernel import credentials
from ksmbd.process import privileges

ASK = """
from ksmbd.conn.contract import StartError
from ksmbd.kernel import credentials
from ksmbd.process import privileges
print(credentials.why_root_cannot(), credentials.POSSIBLE)
try:
    privileges.must_impersonate()
except StartError as error:
    print(error)
"""


def test_here_nothing_keeps_us_from_it() -> None:
    before = credentials.current()
    assert credentials.why_root_cannot() == "" and credentials.current() == before
    assert credentials.POSSIBLE == (os.geteuid() == 0)
    privileges.must_impersonate()
    if os.geteuid() == 0:  # what was tried has been taken back
        fields = dict(line.split(":\t", 1) for line in open("/proc/thread-self/status") if ":\t" in line)
        assert {fields[name].split()[-1] for name in ("Uid", "Gid") if name in fields} <= {"0"}


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")
@pytest.mark.parametrize(
    ("right", "said"), [("setuid", "setfsuid is refused False"), ("setgid", "setfsgid is refused True")],
)
def test_root_without_the_right_is_told_apart(right: str, said: str) -> None:
    command = ["setpriv", f"--bounding-set=-{right}", f"--inh-caps=-{right}", sys.executable, "-Pc", ASK]
    lines = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    assert lines[0] == said
    assert lines[1].startswith("root cannot act as other users here") and len(lines) == 2


def test_who_was_loaded_without_it_does_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    """A twin that decided otherwise when it was loaded than the kernel does now."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    monkeypatch.setattr(credentials, "POSSIBLE", False)
    with pytest.raises(StartError, match="when it was loaded"):
        privileges.must_impersonate()
