# SPDX-License-Identifier: GPL-2.0-or-later
"""Chooses how the data of an unsigned, unencrypted READ or WRITE moves between its file and the socket: copied, by
sendfile or by splice. One table decides by direction, file system and size; rules of the administrator (`data paths` in
ksmbd.conf) come before it.

The table follows measurements on loopback with requests of 1 MiB, in seconds of the server's CPU per GiB (tests/bench;
one figure means that tmpfs and ext4 agree):

    read   sendfile 0.17-0.18, splice 0.18-0.20, a copy into the reply 0.3-0.4
    write  splice 0.48, copied through a small buffer 0.78, where the data has come whole (eight requests under way);
           0.5 with both where the data comes in small pieces, but copying then gives up to three times the
           throughput: the copy leaves the
           sender's memory at once, the pipe holds it
"""
from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple


class Transfer(Enum):
    """How data moves between a file and the socket."""

    COPY = "copy"
    """Through a buffer of the process."""
    SENDFILE = "sendfile"
    SPLICE = "splice"
    """Through a pipe."""
    EITHER = "either"
    """Splice what has come, copy what is still coming."""


READ: Final = "read"
WRITE: Final = "write"
ANY: Final = "*"
METHODS: Final = {
    READ: (Transfer.COPY, Transfer.SENDFILE, Transfer.SPLICE),
    WRITE: (Transfer.COPY, Transfer.SPLICE, Transfer.EITHER),
}


class Rule(NamedTuple):
    """Requests in `direction` of at least `start` bytes, on `file_system` (or ANY), are transferred with `method`."""

    direction: str
    file_system: str
    start: int
    method: Transfer


TABLE: Final = (
    Rule(READ, ANY, 64 << 10, Transfer.SENDFILE),
    Rule(WRITE, ANY, 192 << 10, Transfer.EITHER),
)
"""The rules where the administrator gave none. Shorter requests are copied."""


class DataPaths:
    """The administrator's rules, then TABLE."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules = tuple(rules)
        self._steps: dict[tuple[str, str], tuple[tuple[int, Transfer], ...]] = {}
        rules = (*self._rules, *TABLE)
        starts = [rule.start for rule in rules if rule.direction == WRITE and rule.method is not Transfer.COPY]
        self.write_from = min(starts)
        """Length in bytes below which a WRITE is always received whole before it is handled."""

    def method(self, direction: str, file_system: str, size: int) -> Transfer:
        """The method for `size` bytes to or from a file on `file_system` (such as `ext4`; '' where it is unknown)."""
        key = (direction, file_system)
        steps = self._steps.get(key)
        if steps is None:
            steps = self._steps[key] = self._made(direction, file_system)
        for start, method in steps:
            if size >= start:
                return method
        return Transfer.COPY

    def _made(self, direction: str, file_system: str) -> tuple[tuple[int, Transfer], ...]:
        """(start, method) pairs, the largest start first. The administrator's rules count from the smallest start that
        they name; below it TABLE counts. Of two rules with the same start, the one for this file system wins over the
        one for ANY, then the later one wins."""
        own: dict[int, Transfer] = {}
        for pattern in (ANY, file_system):
            for rule in self._rules:
                if rule.direction == direction and rule.file_system == pattern:
                    own[rule.start] = rule.method
        steps = sorted(own.items(), key=lambda step: step[0], reverse=True)
        first = steps[-1][0] if steps else 1 << 63
        below = [(rule.start, rule.method) for rule in TABLE if rule.direction == direction and rule.start < first]
        return (*steps, *sorted(below, key=lambda step: step[0], reverse=True))


def parse(words: str) -> DataPaths:
    """Parse the parameter `data paths`: DIRECTION[/FILE SYSTEM[/FROM]]=WAY items, separated by commas or spaces.
    Raises ValueError."""
    rules = []
    for word in words.replace(",", " ").split():
        where, _, method = word.lower().partition("=")
        direction, _, rest = where.partition("/")
        file_system, _, start = rest.partition("/")
        methods = {one.value: one for one in METHODS.get(direction, ())}
        if method not in methods:
            raise ValueError(f"{word}: not DIRECTION[/FILE SYSTEM[/FROM]]=WAY")
        rules.append(Rule(direction, file_system or ANY, _size(start), methods[method]))
    return DataPaths(rules)


def _size(text: str) -> int:
    """A size in bytes, with an optional suffix K or M; '' is 0. Raises ValueError."""
    unit = {"k": 1 << 10, "m": 1 << 20}.get(text[-1:], 1)
    digits = text if unit == 1 else text[:-1]
    if not digits:
        return 0
    if not digits.isascii() or not digits.isdigit():
        raise ValueError(f"{text}: no size")
    return int(digits) * unit
