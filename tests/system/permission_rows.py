# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows of a table of share parameters: what lies in a folder, what clients do there, what disk and clients then show.

A row is played in two folders of one share, by our server in one and by smbd in the other. What is there, what clients
do and what is shown are lines of text, so that a row can be read as a whole, and a difference is one of texts."""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from beside_samba import NAMES, OURS, SAMBA, Beside
from unixusers import People


@dataclass(frozen=True)
class Row:
    """One of them."""

    name: str
    lines: dict[str, str]
    """Of the share's section, for both servers."""
    there: tuple[str, ...]
    """`file NAME MODE [OWNER [GROUP]]`, `dir ...`, `fifo ...`, `acl NAME ENTRIES`; NAME `.` is the folder itself."""
    steps: tuple[str, ...]
    """`USER: commands of smbclient`, `USER acl NAME` shows a descriptor, `USER set NAME SDDL` replaces its list."""
    views: tuple[str, ...] = field(default=("alice", "bob"))
    """Users who list the folder in the end."""
    disk: bool = True
    """Whether what lies on the disk is compared."""

    @property
    def stored(self) -> bool:
        """Whether descriptors may be stored."""
        return "acl_xattr" in self.lines.get("vfs objects", "acl_xattr")


class Place:
    """The folder that one server plays a row in."""

    def __init__(self, both: Beside, row: Row, server: str) -> None:
        self.both, self.row, self.server = both, row, server
        self.mark = NAMES[server]
        self.path = both.folder / row.name / self.mark
        self.path.mkdir()
        people = both.people
        os.chown(self.path, people.uid(people.alice), people.gid(people.alice))
        self.path.chmod(0o777)
        for line in row.there:
            self._make(*line.split())

    def _make(self, kind: str, name: str, *rest: str) -> None:
        path = self.path / name
        if kind == "acl":
            entries = _named(rest[0], self.both.people)
            subprocess.run(["setfacl", "-m", entries, str(path)], check=True, capture_output=True)
            return
        mode, owner, group = (*rest, *("0777", "alice", "alice")[len(rest) :])
        if kind == "dir" and name != ".":
            path.mkdir()
        elif kind == "file":
            path.write_text("data")
        elif kind == "fifo":
            os.mkfifo(path)
        os.chown(path, _uid(owner, self.both.people), _gid(group, self.both.people))
        path.chmod(int(mode, 8))

    def play(self) -> list[str]:
        """Do the steps; what the clients were told."""
        told = []
        for step in self.row.steps:
            told.append(f"> {step}")
            told += self._step(self.server, step)
        return told

    def _step(self, server: str, step: str) -> Iterator[str]:
        people = self.both.people
        acted = re.match(r"(\w+)(:| acl | set )\s*(.*)", step)
        assert acted, step
        user = getattr(people, acted[1])
        share = self.row.name
        if acted[2] == ":":
            command = f"lcd {self.both.folder}; cd {self.mark}; {acted[3]}"
            yield from shown(self.both.client(server, command, user, share))
        elif acted[2] == " acl ":
            yield descriptor(self.both, server, self._below(acted[3]), user, share)
        else:
            name, sddl = acted[3].split()
            text = self.both.smbcacls(
                server, self._below(name), "--sddl", "-S", _named(sddl, people), user=user, share=share
            )
            yield from sorted(set(re.findall(r"NT_STATUS_(?!RPC_PROCNUM)\w+", text)))

    def _below(self, name: str) -> str:
        return self.mark if name == "." else f"{self.mark}/{name}"

    def disk(self) -> list[str]:
        """What lies there now."""
        found = []
        for path in sorted([self.path, *self.path.rglob("*")]):
            found.append(on_disk(path, str(path.relative_to(self.path)), self.both.people, self.row.stored))
        return found

    def view(self, server: str, user: str) -> list[str]:
        """What a user sees of it by either server."""
        return sorted(self._step(server, f"{user}: ls"))


def _uid(name: str, people: People) -> int:
    return people.uid(getattr(people, name, name))


def _gid(name: str, people: People) -> int:
    return grp.getgrnam(getattr(people, name, name)).gr_gid


def _named(text: str, people: People) -> str:
    """With the users' real names, and SIDs."""
    for name in ("alice", "bob", "team"):
        text = re.sub(rf"(?<=:){name}(?=:)", getattr(people, name), text)
    for name in ("alice", "bob"):
        sid = f"S-1-5-21-1001-1002-1003-{2 * people.uid(getattr(people, name)) + 1000}"
        text = text.replace(f"{{{name}}}", sid)
    return text.replace("{team}", f"S-1-22-2-{people.team_gid}")


def shown(output: str) -> Iterator[str]:
    """What counts of smbclient's output: statuses, and lines of listings without sizes and times."""
    for line in output.splitlines():
        if status := re.search(r"NT_STATUS_\w+", line):
            yield status[0]
        elif listed := re.match(r"  (\S+)\s+([A-Za-z]*)\s+\d+  \w{3} \w{3} ", line):
            if listed[1] not in (".", ".."):
                yield f"{listed[1]} [{'' if listed[1] == 'pipe' else listed[2]}]"


def descriptor(both: Beside, server: str, name: str, user: str, share: str) -> str:
    """A file's descriptor, or the status."""
    text = both.smbcacls(server, name, "--sddl", user=user, share=share)
    found = re.search(r"^(O:.*)$", text, re.MULTILINE)
    if not found:
        return " ".join(re.findall(r"NT_STATUS_(?!RPC_PROCNUM)\w+", text)) or text
    people = both.people
    result = re.sub(
        r"S-1-22-1-(\d+)", lambda match: f"S-1-5-21-1001-1002-1003-{2 * int(match[1]) + 1000}", found[1]
    ).replace("S-1-5-21-1001-1002-1003-513", f"S-1-22-2-{people.gid(people.alice)}")
    for name in ("alice", "bob"):
        result = result.replace(both.sid(getattr(people, name)), f"{{{name}}}")
        result = result.replace(f"S-1-22-2-{people.gid(getattr(people, name))}", f"{{{name}'s group}}")
    return _normal(result.replace(f"S-1-22-2-{people.team_gid}", "{team}"))


_OWNERS: Final = 0x1D0100
"""WRITE_DAC, WRITE_OWNER, DELETE, FILE_WRITE_ATTRIBUTES and SYNCHRONIZE, which Unix' owner always has. We show them;
Samba does not, and grants the first of them."""


_LETTERS: Final = {
    "CC": 0x1, "DC": 0x2, "LC": 0x4, "SW": 0x8, "RP": 0x10, "WP": 0x20, "DT": 0x40, "LO": 0x80, "CR": 0x100,
    "SD": 0x10000, "RC": 0x20000, "WD": 0x40000, "WO": 0x80000, "FA": 0x1F01FF,
}  # fmt: skip


def _number(mask: str) -> int:
    if mask.startswith("0x"):
        return int(mask, 16)
    return sum({_LETTERS[letters] for letters in re.findall("..", mask)})


def _normal(sddl: str) -> str:
    """A descriptor made of Unix permissions is protected to Samba, and names who has no rights, too."""
    head, _, entries = sddl.partition("D:")
    owner = head.partition("G:")[0][2:]
    shown = []
    for entry in re.findall(r"\(([^)]*)\)", entries):
        kind, flags, mask, _, _, sid = entry.split(";")
        if mask:
            number = _number(mask) | (_OWNERS if sid == owner else 0)
            if number == 0x1E01FF:
                number = 0x1F01FF  # rwx of a file, `acl map full control`; without DELETE by Samba
            shown.append(f"({kind};{flags};{number:#x};{sid})")
    control = re.match(r"P?([A-Z]*)", entries)
    return f"{head}D:{control[1] if control else ''}{''.join(sorted(set(shown)))}"


def on_disk(path: Path, name: str, people: People, stored: bool) -> str:
    """Mode, owner, group and POSIX ACL of a file; owner and group alone where a descriptor is stored, since each server
    has its own way to a POSIX ACL from that."""
    status = path.lstat()
    owner, group = pwd.getpwuid(status.st_uid).pw_name, grp.getgrgid(status.st_gid).gr_name
    line = f"{name} {owner} {group}"
    if stored:
        return _unreal(line, people)
    line += f" {stat.filemode(status.st_mode)}"
    acl = subprocess.run(["getfacl", "-cpsE", str(path)], capture_output=True, text=True, check=True).stdout.split()
    if acl:
        line += " " + ",".join(acl)
    return _unreal(line, people)


def _unreal(line: str, people: People) -> str:
    for real in ("alice", "bob", "team"):
        line = line.replace(getattr(people, real), real)
    return line


def compare(both: Beside, row: Row) -> str:
    """Play the row with both; '' or how they differ."""
    both_places = {server: Place(both, row, server) for server in (OURS, SAMBA)}
    told = {server: place.play() for server, place in both_places.items()}
    for server, place in both_places.items():
        if row.disk:
            told[server] += ["on the disk:", *place.disk()]
    for user in row.views:
        for server, place in both_places.items():
            told[server] += [f"{user} is shown by ours:", *place.view(OURS, user)]
            told[server] += [f"{user} is shown by Samba:", *place.view(SAMBA, user)]
    for user in row.views:  # one folder, by both
        for of in both_places:
            told[of] += [f"{user} is shown of {NAMES[OURS]}:", *both_places[OURS].view(of, user)]
    if told[OURS] == told[SAMBA]:
        return ""
    return "\n".join(_difference(told[OURS], told[SAMBA]))


def _difference(ours: list[str], theirs: list[str]) -> Iterator[str]:
    import difflib

    for line in difflib.ndiff(theirs, ours):
        if not line.startswith("?"):
            yield line.replace("- ", "Samba: ", 1) if line.startswith("- ") else line.replace("+ ", "ours:  ", 1)
