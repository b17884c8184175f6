# SPDX-License-Identifier: GPL-2.0-or-later
"""What came out of smbtorture's tests: printed as it comes, a table of the configurations, and JSON."""
from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from configurations import CONFIGURATIONS
from listed import Expected


@dataclass(frozen=True)
class Result:
    """One test's outcome, smbtorture's own words about it, and what the list has for this file system."""

    test: Expected
    outcome: str
    said: str
    right: frozenset[str]
    seconds: float

    @property
    def is_right(self) -> bool:
        """Whether the outcome is as listed."""
        return self.outcome in self.right


class Report:
    """Collects results; for several threads."""

    def __init__(self, verbose: bool = False) -> None:
        self.results: list[Result] = []
        self._verbose = verbose
        self._lock = threading.Lock()

    def add(self, result: Result) -> None:
        """Take one, and print it where it is not as listed."""
        with self._lock:
            self.results.append(result)
            if not result.is_right:
                print(f"UNEXPECTED {line(result)}", flush=True)
            elif self._verbose:
                print(f"{result.outcome:5}{result.seconds:7.2f} s  {result.test.test}", flush=True)

    @property
    def wrong(self) -> list[str]:
        """A line for each outcome that is not as listed."""
        return [line(result) for result in self.results if not result.is_right]

    def rows(self) -> list[tuple[str, int, int, int, int]]:
        """(configuration, run, passed, known not to pass, not as listed) of those that had tests."""
        rows = []
        for name in CONFIGURATIONS:
            of = [result for result in self.results if result.test.configuration == name]
            if of:
                passed = sum(result.outcome == "pass" for result in of)
                known = sum(result.is_right and result.outcome != "pass" for result in of)
                rows.append((name, len(of), passed, known, sum(not result.is_right for result in of)))
        return rows

    def table(self) -> str:
        """`rows` for people, and how many of all passed."""
        text = f"{'configuration':16}{'run':>6}{'passed':>8}{'known not':>11}{'unexpected':>12}\n"
        for name, count, passed, known, unexpected in self.rows():
            text += f"{name:16}{count:6}{passed:8}{known:11}{unexpected:12}\n"
        passed = sum(result.outcome == "pass" for result in self.results)
        return text + f"{passed} of {len(self.results)} passed, {len(self.wrong)} not as listed"

    def json(self) -> dict[str, Any]:
        """Everything, for programs. Times are in seconds."""
        names = ("configuration", "run", "passed", "known_not", "unexpected")
        return {
            "passed": sum(result.outcome == "pass" for result in self.results),
            "of": len(self.results),
            "configurations": [dict(zip(names, row, strict=True)) for row in self.rows()],
            "tests": {
                result.test.test: {
                    "configuration": result.test.configuration, "outcome": result.outcome,
                    "listed": sorted(result.right), "said": "" if result.outcome == "pass" else result.said,
                    "reason": result.test.reason, "seconds": round(result.seconds, 2),
                }
                for result in self.results
            },
        }  # fmt: skip


def line(result: Result) -> str:
    """What is not as listed."""
    why = f": {result.said}" if result.outcome != "pass" else ""
    return f"{result.test.test}: {result.outcome}, but {' or '.join(sorted(result.right))} is listed{why}"
