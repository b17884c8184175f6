# SPDX-License-Identifier: GPL-2.0-or-later
"""Has the tests of this folder run in the virtual machine, and shows what they say."""
from __future__ import annotations

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from guest import COMMAND, IN_GUEST, NOWHERE, run_there


@pytest.mark.skipif(IN_GUEST, reason="this is the machine")
@pytest.mark.skipif(not COMMAND, reason=NOWHERE)
@pytest.mark.timeout(1900)
@pytest.mark.parametrize("module", [
    "test_nfs.py", "test_cifs.py", "test_admin.py", "test_engines.py", "test_engine_life.py",
    "test_tickets.py",
])  # fmt: skip
def test_with_the_kernels_clients(module: str) -> None:
    result = run_there(module)
    print(result.stdout, result.stderr)
    assert result.returncode == 0
    assert " passed" in result.stdout, "all were skipped"
