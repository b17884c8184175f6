# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads or creates ksmbd.subauth: three random sub-authorities, which make the server's SID unique (MS-DTYP 2.4.2)."""

from __future__ import annotations

import os
import re
import secrets

from mountd.files import FileProblem, locked_directory, replace

SubAuthorities = tuple[int, int, int]

_LINE = re.compile(rb"([0-9]{1,10}):([0-9]{1,10}):([0-9]{1,10})\s*")


def path_for(config: str) -> str:
    """The path of the file: in the directory of the configuration, so that each configuration has its own SID."""
    return os.path.join(os.path.dirname(os.path.abspath(config)), "ksmbd.subauth")


def load_or_create(path: str) -> SubAuthorities:
    """Read the file, or create it with random numbers. Raises FileProblem where it is malformed or cannot be read or
    created."""
    try:
        found = _read(path)
        if found is not None:
            return found
        with locked_directory(path):
            found = _read(path)  # another process may have created it meanwhile
            if found is not None:
                return found
            drawn = (secrets.randbits(32), secrets.randbits(32), secrets.randbits(32))
            replace(path, f"{drawn[0]}:{drawn[1]}:{drawn[2]}\n".encode(), mode=0o600)
            return drawn
    except OSError as error:
        raise FileProblem(f"{path}: cannot be read or made: {error.strerror}") from None


def _read(path: str) -> SubAuthorities | None:
    try:
        with open(path, "rb") as stream:
            line = stream.readline()
    except FileNotFoundError:
        return None
    match = _LINE.fullmatch(line)
    numbers = tuple(int(group) for group in match.groups()) if match else ()
    if len(numbers) != 3 or any(number > 0xFFFFFFFF for number in numbers):
        raise FileProblem(f"{path}: allowed is NUMBER:NUMBER:NUMBER, below 2^32; without the file a new one is made")
    return numbers[0], numbers[1], numbers[2]
