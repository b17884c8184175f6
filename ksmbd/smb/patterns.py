# SPDX-License-Identifier: GPL-2.0-or-later
"""Matches names with the search pattern of QUERY_DIRECTORY (MS-FSA 2.1.4.3 and 2.1.4.4), by default ignoring case.

    *   zero or more characters                ?   one character
    "   DOS_DOT: a period, or nothing at the end of the name
    >   DOS_QM: one character; nothing at a period or at the end of the name
    <   DOS_STAR: zero or more characters up to and including the last period of the name; without a further
        period, any characters

A client chooses the pattern, so no matcher takes more than len(pattern) * len(name) steps. The matcher of DOS wildcards
takes len(name) steps, each on an integer of len(pattern) bits.
"""
from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

WILDCARDS: Final = frozenset('*?"<>')
_DOS_WILDCARDS: Final = frozenset('"<>')

Matcher = Callable[[str], bool]


def fold(name: str) -> str:
    """Convert to upper case as NTFS does, character by character. A character whose upper case is longer stays as it
    is."""
    if name.isascii():
        return name.upper()
    return "".join(upper if len(upper := character.upper()) == 1 else character for character in name)


def has_wildcards(pattern: str) -> bool:
    """Whether the pattern can select more than one name."""
    return not WILDCARDS.isdisjoint(pattern)


def everything(name: str) -> bool:
    """The matcher of `*`, which matches every name."""
    return True


def compile_pattern(pattern: str, case_sensitive: bool = False) -> Matcher:
    """A function that tells whether a name matches `pattern`; the cheapest kind that can decide it."""
    if pattern in ("*", "*.*"):
        return everything
    change: Callable[[str], str] = str if case_sensitive else fold
    wanted = change(pattern)
    if not _DOS_WILDCARDS.isdisjoint(wanted):
        dos = DosPattern(wanted)
        return lambda name: bool(name) and dos.matches(change(name))
    if not has_wildcards(wanted):
        return lambda name: change(name) == wanted
    if "?" not in wanted and wanted.count("*") == 1:
        head, tail = wanted.split("*")
        if not head:
            return lambda name: change(name).endswith(tail)
        shortest = len(head) + len(tail)
        return lambda name: (
            len(name) >= shortest and (folded := change(name)).startswith(head) and folded.endswith(tail)
        )
    fullmatch = re.compile(_expression(wanted), re.DOTALL).fullmatch
    return lambda name: fullmatch(change(name)) is not None


def _expression(pattern: str) -> str:
    """A regular expression for a pattern of `*` and `?`. Each piece between two `*` is matched at its first possible
    place in an atomic group, which suffices for a match and prevents exponential backtracking."""
    first, *middle = ("".join("." if c == "?" else re.escape(c) for c in piece) for piece in pattern.split("*"))
    if not middle:
        return first
    *middle, last = middle
    return first + "".join(f"(?>.*?{piece})" for piece in middle if piece) + f".*{last}"


class DosPattern:
    """A pattern with DOS wildcards, matched by simulating its automaton: bit i of an integer says that the name so far
    can match pattern[:i]. Each character of the name moves all bits at once."""

    __slots__ = ("_always", "_at_dot", "_at_end", "_dot", "_dot_star", "_end", "_one", "_one_no_dot", "_same", "_star")

    def __init__(self, pattern: str) -> None:
        def places(signs: str) -> int:
            return sum(1 << index for index, sign in enumerate(pattern) if sign in signs)

        self._end = 1 << len(pattern)
        self._star = places("*")
        self._dot_star = places("<")
        self._dot = places('"')
        self._one = places("?")
        self._one_no_dot = places(">")
        self._always = places("*<")
        """Wildcards that may match nothing anywhere; the next two sets: at a period, and at the end of the name."""
        self._at_dot = places("*<>")
        self._at_end = places('*<>"')
        self._same: dict[str, int] = {}
        for index, sign in enumerate(pattern):
            if sign not in WILDCARDS:
                self._same[sign] = self._same.get(sign, 0) | 1 << index

    def matches(self, name: str) -> bool:
        """Whether the whole name matches. Pattern and name must have the same case."""
        last_dot = name.rfind(".")
        star, dot_star = self._star, self._dot_star
        reached = _skip(1, self._at(name, 0))
        for index, character in enumerate(name):
            moving = self._same.get(character, 0) | self._one
            moving |= self._dot if character == "." else self._one_no_dot
            staying = star
            # Up to the last period DOS_STAR may go on; that period is the last it takes.
            if index == last_dot:
                moving |= dot_star
            else:
                staying |= dot_star
            reached = (reached & moving) << 1 | reached & staying
            if not reached:
                return False
            reached = _skip(reached, self._at(name, index + 1))
        return bool(reached & self._end)

    def _at(self, name: str, index: int) -> int:
        """The wildcards that may match nothing at this position of the name."""
        if index == len(name):
            return self._at_end
        return self._at_dot if name[index] == "." else self._always


def _skip(reached: int, empty: int) -> int:
    """Add the states behind wildcards in `empty`, which may match nothing. The carry of the addition passes over any
    number of adjacent ones."""
    return reached | (empty + (reached & empty)) ^ empty
