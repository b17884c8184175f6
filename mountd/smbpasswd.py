# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the users of a Samba server: lines of smbpasswd(5), as `pdbedit -Lw` prints them.

    name:uid:LM hash:NT hash:[flags]:LCT-time of the last change:
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass, field
from typing import Final

from mountd.accounts import FLAGS, HASH_SIZE, Account, name_problem

MACHINES: Final = frozenset("WSI")
"""Flags of the accounts of machines and domains, which are no users."""


@dataclass
class Imported:
    """The users of a file, and the lines that hold none: (number, name or '', reason)."""

    accounts: list[Account] = field(default_factory=list)
    left_out: list[tuple[int, str, str]] = field(default_factory=list)


def parse(content: bytes) -> Imported:
    """Parse a file. A line that is no user that can log on is left out, with the reason; nothing is raised. Of two
    lines with one name the last one counts."""
    found = Imported()
    accounts: dict[str, Account] = {}
    for number, raw in enumerate(content.split(b"\n"), 1):
        line = raw.strip()
        if not line or line.startswith(b"#"):
            continue
        fields = line.decode("utf-8", "replace").split(":")
        reason = _reason(fields, line)
        if reason:
            found.left_out.append((number, fields[0] if len(fields) > 1 else "", reason))
        else:
            kept = "".join(flag for flag in FLAGS if flag in fields[4])
            accounts[fields[0]] = Account(fields[0], bytes.fromhex(fields[3]), kept)
    found.accounts = list(accounts.values())
    return found


def _reason(fields: list[str], line: bytes) -> str:
    """Why a line is left out, or ''."""
    if len(fields) < 5 or not fields[4].startswith("["):
        return "no line of smbpasswd: name:uid:LM hash:NT hash:[flags]:"
    try:
        line.decode()
    except UnicodeDecodeError:
        return "not UTF-8"
    flags = set(fields[4].strip("[]").replace(" ", ""))
    if flags & MACHINES or fields[0].endswith("$"):
        return "the account of a machine or domain"
    if "N" in flags:
        return "without a password"
    try:
        size = len(binascii.unhexlify(fields[3]))
    except (binascii.Error, ValueError):
        size = 0
    return name_problem(fields[0]) or ("" if size == HASH_SIZE else "without an NT hash")
