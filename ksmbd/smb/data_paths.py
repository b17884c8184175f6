# SPDX-License-Identifier: GPL-2.0-or-later
"""How the data of plain READs and WRITEs goes between a file and the socket: one table, by direction, file system and
size, and the administrator's rules before it (`data paths` in ksmbd.conf).

What the table says was measured on loopback with requests of 1 MiB, in CPU of the server, s/GiB (tests/bench; tmpfs and
ext4 agree where one figure stands):

    read   sendfile 0.17-0.18, splice 0.18-0.20, a copy into the reply 0.3-0.4
    write  splice 0.48, copied through a small buffer 0.78, where the data has come whole (eight requests under way);
           0.5 either way, but up to three times the throughput copied, where it trickles in: the copy leaves the
           sender's memory at once, the pipe holds it
"""
from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple


class Way(Enum):
    """How data goes."""

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
WAYS: Final = {READ: (Way.COPY, Way.SENDFILE, Way.SPLICE), WRITE: (Way.COPY, Way.SPLICE, Way.EITHER)}


class Rule(NamedTuple):
    """Requests of `start` bytes and more of a file system go this way."""

    direction: str
    file_system: str
    start: int
    way: Way


TABLE: Final = (
    Rule(READ, ANY, 64 << 10, Way.SENDFILE),
    Rule(WRITE, ANY, 192 << 10, Way.EITHER),
)
"""What no rule of the administrator's speaks of; shorter requests are copied."""


class DataPaths:
    """The table with the administrator's rules before it."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules = tuple(rules)
        self._steps: dict[tuple[str, str], tuple[tuple[int, Way], ...]] = {}
        starts = [rule.start for rule in (*self._rules, *TABLE) if rule.direction == WRITE and rule.way is not Way.COPY]
        self.write_from = min(starts)
        """Bytes below which every WRITE comes whole."""

    def way(self, direction: str, file_system: str, size: int) -> Way:
        """How `size` bytes go to or from a file on `file_system` (its name, '' where it is not known)."""
        key = (direction, file_system)
        steps = self._steps.get(key)
        if steps is None:
            steps = self._steps[key] = self._made(direction, file_system)
        for start, way in steps:
            if size >= start:
                return way
        return Way.COPY

    def _made(self, direction: str, file_system: str) -> tuple[tuple[int, Way], ...]:
        """(from, way), the largest first: the administrator's from their first byte on, below it the table's. Of two
        rules with one start the one for a file system goes before the one for all, then the later one."""
        own: dict[int, Way] = {}
        for pattern in (ANY, file_system):
            for rule in self._rules:
                if rule.direction == direction and rule.file_system == pattern:
                    own[rule.start] = rule.way
        steps = sorted(own.items(), key=lambda step: step[0], reverse=True)
        first = steps[-1][0] if steps else 1 << 63
        below = [(rule.start, rule.way) for rule in TABLE if rule.direction == direction and rule.start < first]
        return (*steps, *sorted(below, key=lambda step: step[0], reverse=True))


def parse(words: str) -> DataPaths:
    """`data paths`: DIRECTION[/FILE SYSTEM[/FROM]]=WAY, separated by commas or spaces. Raises ValueError."""
    rules = []
    for word in words.replace(",", " ").split():
        where, _, way = word.lower().partition("=")
        direction, _, rest = where.partition("/")
        file_system, _, start = rest.partition("/")
        ways = {one.value: one for one in WAYS.get(direction, ())}
        if way not in ways:
            raise ValueError(f"{word}: not DIRECTION[/FILE SYSTEM[/FROM]]=WAY")
        rules.append(Rule(direction, file_system or ANY, _size(start), ways[way]))
    return DataPaths(rules)


def _size(text: str) -> int:
    """Bytes, with K or M."""
    unit = {"k": 1 << 10, "m": 1 << 20}.get(text[-1:], 1)
    digits = text if unit == 1 else text[:-1]
    if not digits:
        return 0
    if not digits.isascii() or not digits.isdigit():
        raise ValueError(f"{text}: no size")
    return int(digits) * unit
