# SPDX-License-Identifier: GPL-2.0-or-later
"""What is left to the processes that read strangers' bytes: a child gives up its rights, the kernel says the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ksmbd.process.privileges import WORKER_CAPABILITIES

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root to have rights to give up")]

NAMES = ("CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb")
WORKER = sum(1 << capability for capability in WORKER_CAPABILITIES)

START = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
header, data = struct.pack("=Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
assert libc.capget(header, data) == 0
words = struct.unpack("=6I", data.raw)
# All that is permitted can be inherited and is in the ambient set too, so that all five sets have what is to go.
assert libc.capset(header, struct.pack("=6I", *words[:2], words[1], *words[3:5], words[4])) == 0
for capability in range(64):
    if (words[1] | words[4] << 32) >> capability & 1:
        assert libc.prctl(47, 2, capability, 0, 0) == 0
"""
DROPS = {
    "worker": """
from ksmbd.process.privileges import drop_worker_privileges as give_up
""",
    "rpc": """
from ksmbd.kernel.confinement import Bounds, confine
def give_up():
    assert confine(Bounds(65534, 65534, 32 << 20, 60), os.getppid()) == []
""",
}
SAY = """
for step in (lambda: None, give_up):
    step()
    os.write(1, b"x")
    os.read(0, 1)
os._exit(0)
"""


def sets(pid: int) -> tuple[dict[str, int], str]:
    """The sets of capabilities of a process, and whether it can gain others."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return {name: int(fields[name], 16) for name in NAMES}, fields["NoNewPrivs"]


@pytest.mark.parametrize(("who", "kept"), [("worker", WORKER), ("rpc", 0)])
def test_no_set_of_capabilities_has_more_than_is_needed(who: str, kept: int) -> None:
    command = [sys.executable, "-P", "-c", START + DROPS[who] + SAY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as child:
        assert child.stdin is not None and child.stdout is not None
        try:
            assert child.stdout.read(1) == b"x"
            before, _ = sets(child.pid)
            child.stdin.write(b"x")
            assert child.stdout.read(1) == b"x"
            after = sets(child.pid)
            child.stdin.write(b"x")
            assert child.wait(60) == 0
        finally:
            child.kill()
    assert all(before[name] & ~kept for name in NAMES), "or there was nothing to give up"
    left = {"CapBnd": before["CapBnd"] & kept, "CapPrm": before["CapPrm"] & kept, "CapEff": before["CapEff"] & kept}
    assert after == ({**left, "CapInh": 0, "CapAmb": 0}, "1")


def test_without_the_right_to_limit_what_may_come_back_the_rest_is_given_up() -> None:
    """A container that has taken CAP_SETPCAP away: the bounding set stays, the others shrink."""
    without = """
import ctypes, struct
libc = ctypes.CDLL(None)
header, data = struct.pack("=Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
assert libc.capget(header, data) == 0
words = struct.unpack("=6I", data.raw)
low = words[1] & ~(1 << 8)
assert libc.capset(header, struct.pack("=6I", low, low, 0, words[4], words[4], 0)) == 0
from ksmbd.process.privileges import drop_worker_privileges
drop_worker_privileges()
print(open("/proc/self/status").read())
"""
    command = [sys.executable, "-P", "-c", without]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    fields = dict(line.split(":\t") for line in result.stdout.splitlines() if line.startswith(("Cap", "NoNew")))
    own = sets(os.getpid())[0]
    assert int(fields["CapBnd"], 16) == own["CapBnd"]
    assert int(fields["CapPrm"], 16) == int(fields["CapEff"], 16) == own["CapPrm"] & WORKER
    assert fields["NoNewPrivs"] == "1" and result.stderr == ""
