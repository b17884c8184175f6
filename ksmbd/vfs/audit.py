# SPDX-License-Identifier: GPL-2.0-or-later
"""Records of what system ACLs audit: one line of JSON each, in `audit file` or in the log.

A record has the time, who (user, SID, address), what (share, path), the rights and the outcome. They are limited in
rate, by user and in all; a record says how many were left out before it."""
from __future__ import annotations

import json
import os
from datetime import UTC, datetime

from ksmbd import limits, log
from ksmbd.line_limit import LineLimit
from ksmbd.smb.audit import audited, names_of
from ksmbd.smb.constants import FILETIME_UNIX_EPOCH
from ksmbd.smb.ports import Clock, Identity
from ksmbd.smb.security_descriptor import SecurityDescriptor, Token
from ksmbd.vfs import gate

_LOOKS = 1.0
"""Seconds between looks whether the file was moved away (logrotate)."""


class AuditLog:
    """Where a process's records go. `path`: '' is the log."""

    def __init__(self, path: str, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._file = -1
        self._looked = float("-inf")
        self._limit = LineLimit(
            limits.AUDIT_RECORDS_OF_USER.value, limits.AUDIT_RECORDS.value, limits.AUDIT_SECONDS
        )

    def write(self, record: dict[str, object], user: str) -> None:
        """Add a record, unless there are too many of them."""
        now = self._clock.monotonic()
        for key, number in self._limit.overdue(now):
            self._write({"event": "left out", "left_out": number, "of": key or "others"}, now)
        left_out = self._limit.admit(user, now)
        if left_out is None:
            return
        if left_out:
            record["left_out"] = left_out
        self._write(record, now)

    def _write(self, record: dict[str, object], now: float) -> None:
        seconds = (self._clock.filetime() - FILETIME_UNIX_EPOCH) / 10_000_000
        when = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": when, **record})
        if not self._path:
            log.record(line)
            return
        try:
            if self._file < 0 or now - self._looked >= _LOOKS:
                self._file = gate.audit_file(self._path, self._file)
                self._looked = now
            os.write(self._file, line.encode() + b"\n")  # one write a record: those of several workers do not mix
        except OSError as error:
            log.error(f"audit file {self._path}: {error.strerror}: records go to the log", "audit file")
            log.record(line)

    def close(self) -> None:
        """The process ends."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Audit:
    """Of one user on one share."""

    __slots__ = ("_log", "_share", "_token", "_who")

    def __init__(self, log_: AuditLog, share: str, identity: Identity, token: Token) -> None:
        self._log = log_
        self._share = share
        self._token = token
        domain = f"{identity.domain}\\" if identity.domain else ""
        self._who = {"user": domain + identity.account, "sid": str(token.user), "address": identity.address}

    def note(self, descriptor: SecurityDescriptor, path: str, access: int, success: bool) -> None:
        """Tell of an access, where the descriptor's system ACL says so. `access`: what was granted, or refused."""
        told = audited(descriptor, self._token, access, success)
        if not told:
            return
        record: dict[str, object] = {
            "event": "access", "outcome": "success" if success else "failure", **self._who, "share": self._share,
            "path": path, "access": names_of(told), "mask": f"0x{access:08x}",
        }  # fmt: skip
        self._log.write(record, f"{self._who['user']} {self._who['address']}")
