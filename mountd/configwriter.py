# SPDX-License-Identifier: GPL-2.0-or-later
"""Edits the text of ksmbd.conf: lines that are not changed keep their comments, order and indentation."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mountd.config import share_key
from mountd.parameters import READ_ONLY_PRECEDENCE

TAB = "\t"
_SECTION = re.compile(r"[ \t]*\[([^\]]*)\]")
_ENTRY = re.compile(
    r"(?P<indent>[ \t]*)(?P<key>[^=;#\[ \t][^=;#]*?)(?P<equals>[ \t]*=[ \t]*)"
    r"(?P<value>[^;#]*?)(?P<rest>[ \t]*(?:[;#].*)?)"
)


class _Lines:
    """The lines of the file."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        if self.lines and not self.lines[-1]:
            self.lines.pop()

    def text(self) -> str:
        return "\n".join(self.lines) + "\n" if self.lines else ""

    def blocks(self, name: str) -> list[tuple[int, int]]:
        """(first line, end) of every section with this name; there may be several."""
        found: list[tuple[int, int]] = []
        start: int | None = None
        for number, line in enumerate([*self.lines, "[]"]):
            match = _SECTION.match(line)
            if match is None:
                continue
            if start is not None:
                found.append((start, number))
            start = number if share_key(match[1].strip()) == share_key(name) else None
        return found


def has_section(text: str, name: str) -> bool:
    """Whether the file has a section with this name, without regard to case."""
    return bool(_Lines(text).blocks(name))


def add_section(text: str, name: str, options: Mapping[str, str]) -> str:
    """The file with a new section at the end."""
    lines = _Lines(text)
    if lines.lines and lines.lines[-1].strip():
        lines.lines.append("")
    lines.lines.append(f"[{name}]")
    lines.lines += [f"\t{key} = {value}" for key, value in options.items() if value]
    return lines.text()


def update_section(text: str, name: str, options: Mapping[str, str]) -> str:
    """The file with options of a section changed; an empty value removes the option. Raises KeyError where there is no
    such section."""
    lines = _Lines(text)
    if not lines.blocks(name):
        raise KeyError(name)
    for key, value in options.items():
        _set(lines, name, key, value)
    return lines.text()


def delete_section(text: str, name: str) -> str:
    """The file without a section. Comments above the next section stay. Raises KeyError where there is no such
    section."""
    lines = _Lines(text)
    blocks = lines.blocks(name)
    if not blocks:
        raise KeyError(name)
    for start, end in reversed(blocks):
        if end < len(lines.lines):
            while end - 1 > start and lines.lines[end - 1].lstrip()[:1] in ("#", ";"):
                end -= 1
        while start > 0 and end == len(lines.lines) and not lines.lines[start - 1].strip():
            start -= 1
        del lines.lines[start:end]
    return lines.text()


def _set(lines: _Lines, name: str, key: str, value: str) -> None:
    # `read only` and its three opposites are one setting: remove an old one that would override the new one.
    rivals = set(READ_ONLY_PRECEDENCE) - {key} if key in READ_ONLY_PRECEDENCE and value else set()
    done = not value
    indent: str | None = None
    for start, end in reversed(lines.blocks(name)):
        for number in range(end - 1, start, -1):
            match = _ENTRY.fullmatch(lines.lines[number])
            if match is None:
                continue
            indent = match["indent"] if indent is None else indent
            found = " ".join(match["key"].lower().split())
            if found in rivals or (found == key and done):
                del lines.lines[number]
            elif found == key:
                rest = match["rest"]
                lines.lines[number] = f"{match['indent']}{match['key']}{match['equals']}{value}{rest}"
                done = True
    if done:
        return
    start, end = lines.blocks(name)[0]
    while end - 1 > start and _ENTRY.fullmatch(lines.lines[end - 1]) is None:
        end -= 1
    lines.lines.insert(end, f"{TAB if indent is None else indent}{key} = {value}")
