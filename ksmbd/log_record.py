# SPDX-License-Identifier: GPL-2.0-or-later
"""One line of the log, and its forms: text, JSON, and the journal's datagram.

The names of the fields are the same in JSON and in the journal (there in capitals, behind `KSMBD_`): time, level, id,
then the line's own (address, reason, rule, status, path, account, domain, workstation, share, count, component), then
process, pid and message. The server's own words come before what a client chose."""
from __future__ import annotations

import json
import syslog
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

PREFIX: Final = "ksmbd: "
MAX_LINE: Final = 4096
"""Characters of a text, at most."""
LEVELS: Final = {
    syslog.LOG_ERR: "error", syslog.LOG_WARNING: "warning", syslog.LOG_NOTICE: "notice", syslog.LOG_INFO: "info",
    syslog.LOG_DEBUG: "debug",
}  # fmt: skip
"""Priority -> name."""
_MARKS: Final = {syslog.LOG_ERR: "error: ", syslog.LOG_WARNING: "warning: "}
_IDS: Final = uuid.UUID("6e1cdd0a-7c86-4fb6-8f9a-6a5b8f7c33d1")
"""The name space of MESSAGE_ID, the journal's number of a kind of message."""
TRACEBACK: Final = "traceback"
"""The id of the lines of a traceback."""
OTHER: Final = "other"
"""The id of messages that have none of their own."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line. `priority` is syslog's, `when` seconds since 1970."""

    priority: int
    text: str
    event: str = OTHER
    """Which message it is."""
    fields: Mapping[str, str | int] = field(default_factory=dict)
    process: str = "ksmbd"
    pid: int = 0
    when: float = 0.0


def printable(text: str) -> str:
    """The text on one line, whatever a peer put into it."""
    if text.isprintable():
        return text[:MAX_LINE]
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[:MAX_LINE])


def as_text(record: Record) -> str:
    """`warning: text`, or of a debug line `smb: ksmbd/1[4711]: text`."""
    if record.priority == syslog.LOG_DEBUG:
        return f"{record.fields.get('component', '')}: {record.process}[{record.pid}]: {printable(record.text)}"
    mark = "" if record.event == TRACEBACK else _MARKS.get(record.priority, "")
    return mark + printable(record.text)


def as_line(record: Record, times: bool) -> str:
    """The line for a terminal or a file, without its end: `ksmbd: text`, behind the local time where `times` is set."""
    line = PREFIX + as_text(record)
    if not times:
        return line
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.when))
    return f"{stamp}.{int(record.when % 1 * 1000):03d} {line}"


def as_json(record: Record) -> str:
    """An object on one line, of ASCII alone."""
    return json.dumps({
        "time": datetime.fromtimestamp(record.when, UTC).isoformat(timespec="microseconds"),
        "level": LEVELS.get(record.priority, "info"),
        "id": record.event,
        **record.fields,
        "process": record.process,
        "pid": record.pid,
        "message": record.text[:MAX_LINE],
    })  # fmt: skip


def shortened(record: Record, size: int) -> str:
    """The record as JSON of less than `size` bytes, with its text and what clients chose cut as far as that needs."""
    line = as_json(record)
    most = 1024
    while len(line) >= size and most > 8:
        most //= 2
        kept = {"address", "component", "level", "reason", "status"}
        fields = {
            name: value if name in kept or isinstance(value, int) else value[:most]
            for name, value in record.fields.items()
        }
        line = as_json(replace(record, text=record.text[:most], fields=fields))
    return line


def from_json(line: str) -> Record | None:
    """What `as_json` made; None where it is something else."""
    try:
        values = json.loads(line)
        when = datetime.fromisoformat(values.pop("time")).timestamp()
        priority = {name: number for number, name in LEVELS.items()}[values.pop("level")]
        text, event = values.pop("message"), values.pop("id")
        process, pid = values.pop("process"), values.pop("pid")
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
    return Record(priority, str(text), str(event), values, str(process), int(pid), when)


def as_datagram(record: Record, identity: str) -> bytes:
    """The journal's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): a field a line; one with a line feed has its
    length before it."""
    fields = {
        "MESSAGE": as_text(record), "PRIORITY": record.priority, "SYSLOG_IDENTIFIER": identity,
        "SYSLOG_FACILITY": syslog.LOG_DAEMON >> 3, "SYSLOG_PID": record.pid, "KSMBD_ID": record.event,
        "KSMBD_PROCESS": record.process,
        **{f"KSMBD_{name.upper()}": value for name, value in record.fields.items()},
    }  # fmt: skip
    if record.event != OTHER:
        fields["MESSAGE_ID"] = uuid.uuid5(_IDS, record.event).hex
    parts = []
    for name, value in fields.items():
        data = str(value)[:MAX_LINE].encode("utf-8", "backslashreplace")
        if b"\n" in data:
            parts.append(name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n")
        else:
            parts.append(name.encode() + b"=" + data + b"\n")
    return b"".join(parts)
