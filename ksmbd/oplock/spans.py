# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts how many of a large set of ranges overlap a given range, by counting their ends.

A range that is not empty overlaps [first, last] if it starts at or before `last` and does not end before `first`. So
two sorted lists, of first and of last bytes, give the count by binary search, however the ranges nest. The counts of
disjoint sets can be added and subtracted, which LockOverlay does for pending changes.

`last` is inclusive: an empty range at p has last = p - 1. It overlaps ranges that cover the bytes on both its sides,
and no empty range (MS-FSA 2.1.4.10).
"""
from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from typing import Final

FEW: Final = 32
"""Up to this number of values is inserted into a list one by one; more are merged with it."""


class Spans:
    """A multiset of ranges (first, last)."""

    __slots__ = ("_empty", "_firsts", "_lasts")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._empty: list[int] = []
        """The positions of the empty ranges."""

    def count(self, first: int, last: int) -> int:
        """How many ranges overlap [first, last]. O(log n)."""
        found = 0
        if self._firsts:
            found = bisect_right(self._firsts, last) - bisect_left(self._lasts, first)
        if self._empty and first <= last:
            found += bisect_right(self._empty, last) - bisect_right(self._empty, first)
        return found

    def add(self, first: int, last: int) -> None:
        """Add a range."""
        if first > last:
            insort(self._empty, first)
        else:
            insort(self._firsts, first)
            insort(self._lasts, last)

    def remove(self, first: int, last: int) -> None:
        """Remove a range, which must be in the set."""
        if first > last:
            del self._empty[bisect_left(self._empty, first)]
        else:
            del self._firsts[bisect_left(self._firsts, first)]
            del self._lasts[bisect_left(self._lasts, last)]

    def add_all(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Add k ranges. O(k log k + k log n), and n list items are moved once."""
        firsts = [first for first, last in ranges if first <= last]
        lasts = [last for first, last in ranges if first <= last]
        _merge(self._firsts, firsts)
        _merge(self._lasts, lasts)
        _merge(self._empty, [first for first, last in ranges if first > last])

    def remove_all(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Remove k ranges, which must be in the set. The cost is that of add_all."""
        firsts = [first for first, last in ranges if first <= last]
        lasts = [last for first, last in ranges if first <= last]
        self._firsts = _without(self._firsts, firsts)
        self._lasts = _without(self._lasts, lasts)
        self._empty = _without(self._empty, [first for first, last in ranges if first > last])

    def edges(self, first: int, last: int) -> tuple[list[int], list[int]]:
        """(first bytes, last bytes) of the ranges that lie in [first, last], sorted; without empty ranges."""
        firsts, lasts = self._firsts, self._lasts
        return (
            firsts[bisect_left(firsts, first) : bisect_right(firsts, last)],
            lasts[bisect_left(lasts, first) : bisect_right(lasts, last)],
        )  # fmt: skip

    def __bool__(self) -> bool:
        return bool(self._firsts or self._empty)


def _merge(into: list[int], more: list[int]) -> None:
    if len(more) <= FEW:
        for value in more:
            insort(into, value)
    else:
        more.sort()
        into += more
        into.sort()  # Timsort merges the two sorted runs


def _without(values: list[int], gone: list[int]) -> list[int]:
    if len(gone) <= FEW:
        for value in gone:
            del values[bisect_left(values, value)]
        return values
    if len(gone) == len(values):
        return []
    gone.sort()
    left: list[int] = []
    start = 0
    for value in gone:
        index = bisect_left(values, value, start)
        left += values[start:index]
        start = index + 1
    left += values[start:]
    return left
