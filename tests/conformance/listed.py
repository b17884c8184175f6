# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the list `smbtorture.tsv`: what each of smbtorture's tests needs, and what comes out.

A line a test: its name; its configuration (`configurations.py`); the outcomes that are right (`pass`, `fail`, `skip`,
or several, where the moment decides); what it needs; and, for all that is not to pass, the reason with the
specification's section. An outcome that is not in the list is an error, better ones too: the list says what is true.

Needs, separated by spaces: `opt:NAME=VALUE` hands smbtorture an option (`SHARE_DIR` in it is the share's directory);
`file:NAME` makes a file of 64 KiB there before; `iptables` blocks connections, for which it has a network namespace:
root alone; `long:SECONDS` may take so long, and is stopped then; `fs:KIND,...=OUTCOME` is what comes out on these file
systems instead of what the third column says.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from configurations import CONFIGURATIONS, Configuration

LIST = Path(__file__).resolve().parent / "smbtorture.tsv"
OUTCOMES = frozenset(("pass", "fail", "skip"))
NEEDS = frozenset(("opt", "file", "iptables", "long", "fs"))


@dataclass(frozen=True)
class Expected:
    """One line of the list."""

    test: str
    configuration: str
    outcomes: frozenset[str]
    needs: tuple[str, ...]
    reason: str

    @property
    def wants(self) -> Configuration:
        """Its configuration."""
        return CONFIGURATIONS[self.configuration]

    def need(self, kind: str) -> list[str]:
        """The values of the needs `kind:value`."""
        return [need.partition(":")[2] for need in self.needs if need.partition(":")[0] == kind]

    def right_on(self, file_system: str) -> frozenset[str]:
        """The outcomes that are right where the shares are on a file system of this kind."""
        for value in self.need("fs"):
            kinds, _, outcome = value.partition("=")
            if file_system in kinds.split(","):
                return frozenset((outcome,))
        return self.outcomes

    def belongs_to(self, suites: Iterable[str]) -> bool:
        """Whether one of the suites (or test names) holds it."""
        return any(self.test == suite or self.test.startswith(suite + ".") for suite in suites)


def read_list(path: Path = LIST) -> list[Expected]:
    """The whole list. ValueError for what is wrong with it."""
    found: dict[str, Expected] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) != 5:
            raise ValueError(f"{path.name}:{number}: {len(fields)} fields instead of 5")
        test, configuration, outcomes, needs, reason = fields
        one = Expected(test, configuration, frozenset(outcomes.split(",")), tuple(needs.split()), reason)
        if problem := _problem(one):
            raise ValueError(f"{path.name}:{number}: {problem}")
        if test in found:
            raise ValueError(f"{path.name}:{number}: {test} for the second time")
        found[test] = one
    return list(found.values())


def _problem(one: Expected) -> str:
    if one.configuration not in CONFIGURATIONS:
        return f"no configuration {one.configuration!r}"
    if one.outcomes - OUTCOMES:
        return f"outcome {','.join(one.outcomes)!r}"
    if strange := [need for need in one.needs if need.partition(":")[0] not in NEEDS]:
        return f"no need {strange[0]!r}"
    if any(value.partition("=")[2] not in OUTCOMES for value in one.need("fs")):
        return f"{one.needs!r}"
    if one.outcomes != {"pass"} and not one.reason:
        return f"{one.test} is not to pass, and no reason is given"
    return ""
