# SPDX-License-Identifier: GPL-2.0-or-later
"""Which Commands are wanted: by client, user, share, path, command, status and latency."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ksmbd.smb.constants import COMMAND_NAMES
from mountd.trace.exchange import Command

OTHER = ("SEALED", "SMB1", "COMPRESSED", "UNKNOWN")
"""What a line may tell of beside the commands of MS-SMB2 2.2.1.2."""


@dataclass(frozen=True)
class Choice:
    """What is wanted; an empty field lets everything through."""

    clients: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    users: frozenset[str] = frozenset()
    """In lower case, without a domain."""
    shares: frozenset[str] = frozenset()
    """In lower case."""
    paths: tuple[str, ...] = ()
    """Patterns as the shell has them, in lower case, with backslashes as separators."""
    commands: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    """STATUS_... ; `error`: all but STATUS_SUCCESS."""
    slower_us: float = 0.0

    def takes(self, command: Command) -> bool:
        """Whether a Command is wanted."""
        if self.commands and command.command not in self.commands:
            return False
        if self.clients and not any(ipaddress.ip_address(command.client.address) in each for each in self.clients):
            return False
        if self.users and command.user.rpartition("\\")[2].lower() not in self.users:
            return False
        if self.shares and command.share.lower() not in self.shares:
            return False
        if self.paths and not any(fnmatchcase(command.name.lower(), pattern) for pattern in self.paths):
            return False
        return self._takes_outcome(command)

    def _takes_outcome(self, command: Command) -> bool:
        if self.statuses:
            if command.status_text not in self.statuses and not (command.failed and "error" in self.statuses):
                return False
        return not self.slower_us or (command.latency_us or 0.0) >= self.slower_us


def path_pattern(text: str) -> str:
    """A pattern as Choice has it: separators are backslashes, and the share's folder has no name."""
    return text.replace("/", "\\").lstrip("\\").lower()


def command_name(text: str) -> str:
    """A command by its name in any case. Raises ValueError."""
    name = text.upper().removeprefix("SMB2_")
    if name not in COMMAND_NAMES and name not in OTHER:
        raise ValueError(f"{text!r} is no command: {', '.join(COMMAND_NAMES).lower()}")
    return name


def status_name(text: str) -> str:
    """A status by its name, with or without STATUS_ or NT_, or `error`."""
    if text.lower() == "error":
        return "error"
    name = text.upper().removeprefix("NT_")
    return name if name.startswith(("STATUS_", "0X")) else f"STATUS_{name}"
