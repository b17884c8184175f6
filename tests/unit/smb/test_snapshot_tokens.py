# SPDX-License-Identifier: GPL-2.0-or-later
"""@GMT tokens in names and in lists (MS-SMB2 2.2.32.2)."""
from __future__ import annotations

import pytest

from ksmbd.smb.snapshot_tokens import gmt_token, take_token

T = "@GMT-2015.10.31-19.40.30"
WHEN = 130907940300000000


def test_a_token_tells_its_time() -> None:
    assert gmt_token(WHEN) == T
    assert gmt_token(WHEN + 9_999_999) == T


@pytest.mark.parametrize(
    ("path", "rest"),
    [
        (T, ""), (f"{T}\\a\\b", "a\\b"), (f"a\\{T}\\b", "a\\b"), (f"a\\b\\{T}", "a\\b"),
        (f"{T}\\{T}\\a", f"{T}\\a"), (f"x{T}\\{T}\\a", f"x{T}\\a"),
    ],
)  # fmt: skip
def test_it_is_taken_from_anywhere_in_a_path(path: str, rest: str) -> None:
    assert take_token(path) == (rest, WHEN)


@pytest.mark.parametrize(
    "path",
    ["", "a\\b", f"{T}x\\a", f"x{T}\\a", T.lower(), "@GMT-2015.13.31-19.40.30", "@GMT-2015.1.31-19.40.30",
     "@GMT-2015.10.31-19.40.30.1", "@GMT-\u0662015.10.31-19.40.30"],
)  # fmt: skip
def test_what_is_no_token(path: str) -> None:
    assert take_token(path) is None
