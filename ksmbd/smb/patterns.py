# SPDX-License-Identifier: GPL-2.0-or-later
"""Which names a search pattern selects (MS-FSA 2.1.4.3 and 2.1.4.4), without regard to case unless asked.

    *   zero or more characters                ?   one character
    "   DOS_DOT: a period, or nothing at the name's end
    >   DOS_QM: one character; nothing at a period or at the name's end
    <   DOS_STAR: zero or more characters up to and with the name's last period; without one to come, any characters

A pattern comes from the client, so no matcher here takes more than len(pattern) * len(name) steps; that of DOS
wildcards takes len(name) steps, each on a number of len(pattern) bits.
"""
from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

WILDCARDS: Final = frozenset('*?"<>')
_DOS_WILDCARDS: Final = frozenset('"<>')

Matcher = Callable[[str], bool]


def fold(name: str) -> str:
    """Upper case character by character, as NTFS compares: a character whose upper case is longer stays as it is."""
    if name.isascii():
        return name.upper()
    return "".join(upper if len(upper := character.upper()) == 1 else character for character in name)


def has_wildcards(pattern: str) -> bool:
    """Whether the pattern can select more than one name."""
    return not WILDCARDS.isdisjoint(pattern)


def everything(name: str) -> bool:
    """The matcher of `*`."""
    return True


def compile_pattern(pattern: str, case_sensitive: bool = False) -> Matcher:
    """The matcher of `pattern`: the cheapest that decides it."""
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
    """`*` and `?` as a regular expression. Each piece between two `*` is taken where it first fits and, as an atomic
    group, never elsewhere, which is enough for a match and keeps the search from exploding."""
    first, *middle = ("".join("." if c == "?" else re.escape(c) for c in piece) for piece in pattern.split("*"))
    if not middle:
        return first
    *middle, last = middle
    return first + "".join(f"(?>.*?{piece})" for piece in middle if piece) + f".*{last}"


class DosPattern:
    """A pattern with DOS wildcards. All places in it that the name read so far can have reached are the bits of one
    number: bit i stands before pattern[i], and one character of the name moves them all."""

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
        """What may match nothing anywhere; the next two: at a period, and at the name's end."""
        self._at_dot = places("*<>")
        self._at_end = places('*<>"')
        self._same: dict[str, int] = {}
        for index, sign in enumerate(pattern):
            if sign not in WILDCARDS:
                self._same[sign] = self._same.get(sign, 0) | 1 << index

    def matches(self, name: str) -> bool:
        """Whether the whole name matches; both in the same case."""
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
        """The wildcards that match nothing here."""
        if index == len(name):
            return self._at_end
        return self._at_dot if name[index] == "." else self._always


def _skip(reached: int, empty: int) -> int:
    """Add the places behind wildcards of `empty`, those that match nothing: the carry of an addition runs from a place
    that was reached through all of them that stand side by side."""
    return reached | (empty + (reached & empty)) ^ empty
