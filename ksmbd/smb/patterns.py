# SPDX-License-Identifier: GPL-2.0-or-later
"""Which names a search pattern selects (MS-FSA 2.1.4.3 and 2.1.4.4), without regard to case unless asked.

    *   zero or more characters                ?   one character
    "   DOS_DOT: a period, or nothing at the name's end
    >   DOS_QM: one character; nothing at a period or at the name's end
    <   DOS_STAR: zero or more characters up to and with the name's last period; without one to come, any characters

A pattern comes from the client, so no matcher here takes more than len(pattern) * len(name) steps.
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
        return lambda name: bool(name) and _match_dos(wanted, change(name))
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


def _match_dos(pattern: str, name: str) -> bool:
    """All pattern positions that the name read so far can have reached, one character of the name after the other."""
    end = len(pattern)
    last_dot = name.rfind(".")
    reached = _skip(pattern, {0}, name, 0)
    for index, character in enumerate(name):
        following: set[int] = set()
        for position in reached:
            if position == end:
                continue
            sign = pattern[position]
            if sign == "*":
                following.add(position)
            elif sign == "<":
                # Up to the last period it may go on; that period is the last it takes.
                if index < last_dot or last_dot < index:
                    following.add(position)
                else:
                    following.add(position + 1)
            elif sign == '"':
                if character == ".":
                    following.add(position + 1)
            elif sign == "?":
                following.add(position + 1)
            elif sign == ">":
                if character != ".":
                    following.add(position + 1)
            elif sign == character:
                following.add(position + 1)
        if not following:
            return False
        reached = _skip(pattern, following, name, index + 1)
    return end in reached


def _skip(pattern: str, reached: set[int], name: str, index: int) -> set[int]:
    """Add the positions behind tokens that match nothing at `index` of the name."""
    at_end = index == len(name)
    at_dot = not at_end and name[index] == "."
    waiting = list(reached)
    while waiting:
        position = waiting.pop()
        if position == len(pattern):
            continue
        sign = pattern[position]
        if sign in "*<" or (sign == '"' and at_end) or (sign == ">" and (at_end or at_dot)):
            position += 1
            if position not in reached:
                reached.add(position)
                waiting.append(position)
    return reached
