# SPDX-License-Identifier: GPL-2.0-or-later
"""A Command as a line for people, and as a JSON object for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Final

from ksmbd.smb.status import STATUS_SUCCESS
from mountd.console.tables import printable
from mountd.trace.exchange import Command

_UNITS: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_WIDTH: Final = 16
_BYTES: Final = 16


def record(command: Command) -> dict[str, Any]:
    """The object of a Command. `latency_us` and `status` are null without a reply, `size` where there is no data."""
    latency = command.latency_us
    return {
        "time": iso(command.begun),
        "client": str(command.client),
        "server": str(command.server),
        "user": command.user,
        "share": command.share,
        "command": command.command,
        "name": command.name,
        "file_id": command.file_id.hex(),
        "status": command.status_text or None,
        "size": command.size,
        "offset": command.offset,
        "detail": command.what,
        "latency_us": None if latency is None else round(latency, 3),
        "session": f"{command.session:#x}",
        "tree": command.tree,
        "message": command.message,
        "compound": command.compound,
        "pending": command.pending,
        "signed": command.signed,
        "sealed": command.sealed,
        "problem": command.problem,
    }


def as_json(command: Command) -> str:
    """The line of JSON of a Command."""
    return json.dumps(record(command))


def iso(ns: int) -> str:
    """A time since 1970 in UTC with µs, as ISO 8601 has it."""
    seconds, rest = divmod(ns, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest // 1000:06d}Z"


def size_text(size: int) -> str:
    """A number of bytes, short."""
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.4g} {name}"
    return f"{size} B"


def latency_text(us: float | None) -> str:
    """A latency, short; '-' for none."""
    if us is None:
        return "-"
    if us < 1000:
        return f"{us:.0f} us"
    return f"{us / 1000:.3g} ms" if us < 10**6 else f"{us / 10**6:.3g} s"


def as_text(command: Command, tree: bool = False) -> str:
    """The line of a Command. `tree`: show by a branch that it is in a compound with the line above."""
    local = time.localtime(command.begun // 10**9)
    when = time.strftime("%H:%M:%S", local) + f".{command.begun // 1000 % 10**6:06d}"
    branch = "  +- " if tree and command.compound > 1 else ""
    what = branch + command.command.ljust(_WIDTH)
    parts = [when, str(command.client), command.user or "-", command.share or "-", what]
    if command.name or command.file_id:
        parts.append(command.name or f"file {command.file_id.hex()}")
    if command.size is not None:
        parts.append(size_text(command.size))
    if command.offset:
        parts.append(f"at {command.offset}")
    if command.what:
        parts.append(f"({command.what})")
    if command.status != STATUS_SUCCESS:
        parts.append(command.status_text or "no reply")
    parts.append(latency_text(command.latency_us))
    flags = [word for word, on in (("pending", command.pending), ("sealed", command.sealed)) if on]
    parts += flags + ([command.problem] if command.problem else [])
    return printable("  ".join(parts))


def hex_lines(title: str, data: bytes) -> Iterator[str]:
    """Bytes as offsets, digits and characters, below a title."""
    if not data:
        return
    yield f"    {title}, {len(data)} bytes"
    for at in range(0, len(data), _BYTES):
        part = data[at : at + _BYTES]
        characters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        yield f"    {at:06x}  {part.hex(' '):<{3 * _BYTES}} {characters}"
