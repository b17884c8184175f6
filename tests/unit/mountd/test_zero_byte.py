# SPDX-License-Identifier: GPL-2.0-or-later
"""A zero byte in a configuration is a line that is wrong, not a traceback."""
from __future__ import annotations

import pytest

from mountd import config
from mountd.sections import Diagnostic


@pytest.mark.parametrize("samba", [False, True])
@pytest.mark.parametrize("line", ["include = /etc/a\0b", "path = /srv\0", "[a\0]", "pa\0th = /srv"])
def test_a_zero_byte_is_told_of_by_its_line(line: str, samba: bool) -> None:
    found: list[Diagnostic] = []
    config.parse(f"[share]\npath = /srv\n{line}\n", "ksmbd.conf", samba=samba, diagnostics=found)
    assert [(one.line, "zero byte" in one.message) for one in found if "zero" in one.message] == [(3, True)]
