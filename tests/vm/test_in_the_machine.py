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
def test_nfs_and_smb_on_one_export() -> None:
    result = run_there("test_nfs.py")
    print(result.stdout, result.stderr)
    assert result.returncode == 0
    assert " passed" in result.stdout, "all were skipped"
