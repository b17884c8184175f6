# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts, bytes and latencies by command: the table of --summary."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from ksmbd.smb.status import STATUS_SUCCESS
from mountd.console.tables import table, terminal_columns
from mountd.trace.exchange import Command
from mountd.trace.lines import latency_text, size_text

_PARTS: Final = 16
"""Classes of latency within a doubling: percentiles are right to 5 %."""
PERCENTILES: Final = (50, 95, 99)


@dataclass
class Row:
    """What is known of one command."""

    count: int = 0
    errors: int = 0
    bytes: int = 0
    latencies: Counter[int] = field(default_factory=Counter)
    """Class of latency -> how many; the 16 classes of each doubling are equally wide."""
    longest: float = 0.0

    def add(self, command: Command) -> None:
        """Count a Command."""
        self.count += 1
        self.errors += command.failed
        if command.command in ("READ", "WRITE") and command.status == STATUS_SUCCESS:
            self.bytes += command.size or 0
        latency = command.latency_us
        if latency is not None:
            self.latencies[_class(latency)] += 1
            self.longest = max(self.longest, latency)

    def percentile(self, percent: float) -> float | None:
        """The latency in µs that so many percent do not exceed; None where there is none."""
        total = self.latencies.total()
        passed = 0
        for number in sorted(self.latencies):
            passed += self.latencies[number]
            if passed * 100 >= percent * total:
                return min((1 << number // _PARTS) * (1 + (number % _PARTS + 0.5) / _PARTS), self.longest)
        return None


def _class(us: float) -> int:
    exponent = max(int(us), 1).bit_length() - 1
    return exponent * _PARTS + int((us / (1 << exponent) - 1) * _PARTS) if us >= 1 else 0


class Summary:
    """The rows, by command."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    def add(self, command: Command) -> None:
        """Count a Command."""
        self.rows.setdefault(command.command, Row()).add(command)

    def objects(self) -> list[dict[str, Any]]:
        """The rows as objects for JSON; latencies in µs."""
        return [
            {
                "command": name, "count": row.count, "errors": row.errors, "bytes": row.bytes,
                **{f"p{percent}_us": _rounded(row.percentile(percent)) for percent in PERCENTILES},
                "max_us": _rounded(row.longest) if row.latencies else None,
            }
            for name, row in self._sorted()
        ]  # fmt: skip

    def lines(self) -> list[str]:
        """The rows as a table."""
        head = ["command", "count", "errors", "bytes", *(f"p{percent}" for percent in PERCENTILES), "max"]
        rows = [
            [
                name, str(row.count), str(row.errors), size_text(row.bytes) if row.bytes else "",
                *(latency_text(row.percentile(percent)) for percent in PERCENTILES),
                latency_text(row.longest if row.latencies else None),
            ]
            for name, row in self._sorted()
        ]  # fmt: skip
        return table(head, rows, terminal_columns())

    def _sorted(self) -> list[tuple[str, Row]]:
        return sorted(self.rows.items(), key=lambda item: (-item[1].count, item[0]))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
