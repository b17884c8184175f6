# SPDX-License-Identifier: GPL-2.0-or-later
"""The settings of the open table, from [global] of ksmbd.conf(5)."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OplockSettings:
    """The settings of an open table; the same in all workers."""

    oplocks: bool = True
    """`oplocks`: grant oplocks and leases."""
    leases: bool = True
    """`smb2 leases`: grant leases."""
    directory_leases: bool = True
    """Grant leases on directories."""
    durable: bool = True
    """`durable handles`: grant durable opens, which survive a lost connection."""
    break_timeout: float = 35.0
    """Seconds within which a break must be acknowledged (MS-SMB2 3.3.2.1, 3.3.2.5: 35 on Windows)."""
    durable_v1_timeout: int = 960_000
    """Milliseconds for which a version 1 durable open is kept (Windows: 16 minutes)."""
    durable_v2_default: int = 60_000
    """Milliseconds for a version 2 request that names no timeout."""
    durable_v2_maximum: int = 300_000
    """The longest timeout that a version 2 request is granted, in milliseconds."""
    lease_break_time: float = 45.0
    """Seconds after which the kernel breaks a lease by force (/proc/sys/fs/lease-break-time). On shares with `kernel
    oplocks` clients have no longer than this to acknowledge."""
