# SPDX-License-Identifier: GPL-2.0-or-later
"""Prints tables and texts for people: aligned, cut to the terminal's width, without control characters."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Sequence
from typing import Final

GAP: Final = 2
LEAST: Final = 8
"""Columns that a cell keeps at least when a table is cut to the terminal's width."""


def printable(text: str) -> str:
    """The text without characters that a terminal would obey: names of files and accounts come from clients."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def width(text: str) -> int:
    """The columns that a terminal shows the text in."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1 for c in text
    )


def cut(text: str, columns: int) -> str:
    """The text in at most so many columns; where something is left out of the middle, there is an ellipsis."""
    if width(text) <= columns:
        return text
    head, tail = text, text
    while width(head) > (columns - 1) // 2:
        head = head[:-1]
    while width(tail) > columns - 1 - width(head):
        tail = tail[1:]
    return f"{head}…{tail}"


def terminal_columns() -> int:
    """The width of the terminal on standard output; 0 where that is a file or a pipe, to which nothing is cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def table(header: Sequence[str], rows: Sequence[Sequence[str]], columns: int = 0) -> list[str]:
    """The lines of a table. `columns`: its width at most, 0: any. Wide columns are cut first."""
    cells = [[printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(width(row[i]) for row in cells) for i in range(len(header))]
    if columns:
        room = columns - GAP * (len(widths) - 1)
        while sum(widths) > room and max(widths) > LEAST:
            widest = widths.index(max(widths))
            second = max([w for w in widths if w < widths[widest]], default=LEAST)
            excess = sum(widths) - room
            widths[widest] = max(widths[widest] - excess, second - 1, LEAST)
    return [_line(row, widths) for row in cells]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    parts = [cut(cell, columns) for cell, columns in zip(row, widths, strict=True)]
    padded = [part + " " * (columns - width(part)) for part, columns in zip(parts, widths, strict=True)]
    return (" " * GAP).join(padded).rstrip()
