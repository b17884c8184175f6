# SPDX-License-Identifier: GPL-2.0-or-later
"""The names of snapshots, as the parameters of Samba's shadow_copy2 describe them: `shadow:format`, `shadow:localtime`,
`shadow:sscanf`, `shadow:snapprefix` and `shadow:delimiter`. A name must match to its end."""
from __future__ import annotations

import calendar
import re
import time
from typing import Final

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONG_MONTHS: Final = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_TWO: Final = "[0-9]{1,2}"
_WHOLE: Final = {"F": "%Y-%m-%d", "T": "%H:%M:%S", "R": "%H:%M", "D": "%m/%d/%y", "h": "%b"}
"""Conversions of strptime(3) that stand for several others."""
_PARTS: Final = {
    "Y": "[0-9]{4}", "y": "[0-9]{2}", "m": _TWO, "d": _TWO, "e": f" ?{_TWO}", "H": _TWO, "M": _TWO, "S": _TWO,
    "j": "[0-9]{1,3}", "s": "[0-9]{1,11}", "b": "|".join((*_LONG_MONTHS, *_MONTHS)),
    "B": "|".join((*_LONG_MONTHS, *_MONTHS)),
}  # fmt: skip
_LITERAL: Final = {"%": "%", "n": r"\s*", "t": r"\s*"}
_NUMBER: Final = re.compile(r"%l{0,2}[ud]")
_CLASSES: Final = {
    "[:digit:]": "0-9", "[:alpha:]": "A-Za-z", "[:alnum:]": "A-Za-z0-9", "[:upper:]": "A-Z", "[:lower:]": "a-z",
    "[:xdigit:]": "0-9A-Fa-f", "[:space:]": r"\s",
}  # fmt: skip


class Naming:
    """Converts names of snapshots to times and back. Times are seconds since 1970."""

    __slots__ = ("_delimiter", "_expression", "_fields", "_format", "_localtime", "_prefix", "_sscanf")

    def __init__(self, format_: str, localtime: bool, sscanf: bool, prefix: str, delimiter: str) -> None:
        """`prefix` is a basic regular expression, '' where names have none. Raises ValueError for a format or a prefix
        that cannot be used."""
        for short, long in _WHOLE.items():
            format_ = format_.replace("%" + short, long)
        if "/" in format_:
            raise ValueError(f"a snapshot's format with a slash: {format_}")
        self._format = format_
        self._localtime = localtime
        self._sscanf = sscanf
        self._delimiter = delimiter
        try:
            self._prefix = re.compile(basic_expression(prefix)) if prefix else None
        except re.error as error:
            raise ValueError(f"no regular expression: {prefix}: {error}") from error
        self._fields: list[str] = []
        self._expression = re.compile(
            self._number(format_) if sscanf else self._translated(format_), re.IGNORECASE | re.ASCII
        )

    def _number(self, format_: str) -> str:
        parts = _NUMBER.split(format_)
        if len(parts) != 2:
            raise ValueError(f"no single number in the snapshots' format {format_}")
        self._fields.append("s")
        return re.escape(parts[0]) + f"({_PARTS['s']})" + re.escape(parts[1])

    def _translated(self, format_: str) -> str:
        parts = []
        at = 0
        while at < len(format_):
            character = format_[at]
            at += 1
            if character != "%":
                parts.append(r"\s*" if character.isspace() else re.escape(character))
                continue
            conversion = format_[at : at + 1]
            at += 1
            if conversion in _LITERAL:
                parts.append(_LITERAL[conversion])
            elif conversion in _PARTS:
                parts.append(f"({_PARTS[conversion]})")
                self._fields.append(conversion)
            else:
                raise ValueError(f"%{conversion} in the snapshots' format")
        if not self._fields:
            raise ValueError(f"no time in the snapshots' format {format_}")
        return "".join(parts)

    def time_of(self, name: str) -> int | None:
        """The time of the snapshot with this name; None where it is not the name of a snapshot."""
        if self._prefix is not None:
            at = name.find(self._delimiter)
            if at < 0 or self._prefix.search(name[:at]) is None:
                return None
            name = name[at:]
        found = self._expression.fullmatch(name)
        if found is None:
            return None
        values = {field: _value(field, text) for field, text in zip(self._fields, found.groups(), strict=True)}
        if "s" in values:
            return values["s"]
        year = values.get("Y", 1900)
        if "y" in values:
            year = values["y"] + (1900 if values["y"] >= 69 else 2000)  # as strptime(3)
        month = next((values[field] for field in "mbB" if field in values), 1)
        day = next((values[field] for field in "de" if field in values), 1)
        hour, minute, second = (values.get(field, 0) for field in "HMS")
        if not (1 <= month <= 12 and 1 <= day <= 31 and hour <= 23 and minute <= 59 and second <= 60):
            return None
        if "j" in values:
            month, day = 1, values["j"]  # the 32nd of January and so on, which both functions below take
        try:
            if self._localtime:
                return int(time.mktime((year, month, day, hour, minute, second, 0, 0, -1)))
            return calendar.timegm((year, month, 1, hour, minute, second)) + (day - 1) * 86400
        except (OverflowError, ValueError):
            return None

    def name_of(self, seconds: int) -> str | None:
        """The name of a snapshot of this time; None where names have a prefix, so that it does not follow from the
        time."""
        if self._prefix is not None:
            return None
        if self._sscanf:
            return _NUMBER.sub(str(seconds), self._format)
        try:
            return time.strftime(self._format, time.localtime(seconds) if self._localtime else time.gmtime(seconds))
        except (OverflowError, ValueError, OSError):
            return None


def _value(field: str, text: str) -> int:
    if field in ("b", "B"):
        return _MONTHS.index(text[:3].lower()) + 1
    return int(text)


def basic_expression(expression: str) -> str:
    """A basic regular expression (regex(7)) in Python's spelling."""
    parts = []
    at = 0
    while at < len(expression):
        character = expression[at]
        at += 1
        if character == "\\" and at < len(expression):
            following = expression[at]
            at += 1
            parts.append(following if following in "(){}|+?" else "\\" + following)
        elif character == "[":
            end = _bracket_end(expression, at)
            inside = expression[at:end]
            for name, members in _CLASSES.items():
                inside = inside.replace(name, members)
            parts.append("[" + inside.replace("[", r"\[") + "]")
            at = end + 1
        elif character in "(){}|+?" or (character == "*" and (not parts or parts == ["^"])):
            parts.append("\\" + character)
        else:
            parts.append(character)
    return "".join(parts)


def _bracket_end(expression: str, start: int) -> int:
    at = start
    if expression[at : at + 1] == "^":
        at += 1
    if expression[at : at + 1] == "]":
        at += 1
    while at < len(expression) and expression[at] != "]":
        if expression[at : at + 2] == "[:":
            at = expression.find(":]", at) + 1 or len(expression)
        at += 1
    return min(at, len(expression))
