#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes docs/limits.md from the table of limits: .venv/bin/python scripts/limits.py

A test compares the file with what this would write.
"""

from __future__ import annotations

from pathlib import Path

from ksmbd.limit import Limit, Per
from ksmbd.limits import TABLE

TARGET = Path(__file__).resolve().parent.parent / "docs" / "limits.md"

HEAD = """
# Limits

This page lists what a client can hold or make the server do, and how much of it. Where a parameter is named, it sets
the limit, and the number is its default (ksmbd.conf(5)); the other limits are fixed. The column "Beyond it" says what
happens when a client wants more. What this client and others hold already stays as it is.

This page is written by scripts/limits.py from ksmbd/limits.py: change that.
""".lstrip()


def amount(limit: Limit) -> str:
    """The number with its unit, for readers."""
    if limit.unit == "bytes":
        for size, suffix in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
            if limit.value >= size and limit.value % size == 0:
                return f"{limit.value // size} {suffix}"
    return f"{limit.value:,} {limit.unit}"


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for per in Per:
        rows = [limit for limit in TABLE.values() if limit.per is per]
        if rows:
            lines += [f"## Per {per.value}\n"]
            lines += ["| What | Limit | Parameter | Beyond it | From |", "| --- | --- | --- | --- | --- |"]
            for limit in sorted(rows, key=lambda row: row.name.lower()):
                parameter = f"`{limit.parameter}`" if limit.parameter else ""
                lines.append(f"| {limit.name} | {amount(limit)} | {parameter} | {limit.beyond} | {limit.source} |")
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
