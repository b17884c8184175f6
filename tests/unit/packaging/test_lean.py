# SPDX-License-Identifier: GPL-2.0-or-later
"""What a process loads at its start and never needs costs its memory as long as it runs."""
from __future__ import annotations

import subprocess
import sys

import pytest

NEVER = ["pyroute2", "asyncio", "unittest", "matplotlib", "scapy", "hypothesis"]
AT_FIRST_NEED = {
    "mountd.main": [
        "cryptography", "pyasn1", "importlib.metadata", "mountd.rpc.services", "mountd.kernelserver.engine",
    ],
    "ksmbd.process.worker": ["mountd", "email", "importlib.metadata", "argparse"],
    "mountd.rpc.process": ["ksmbd.vfs", "lmdb", "mountd.config"],
}


@pytest.mark.parametrize("module", AT_FIRST_NEED)
def test_not_loaded_at_the_start(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-Pc", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(done.stdout.split())
    assert not loaded & {*NEVER, *AT_FIRST_NEED[module]}
