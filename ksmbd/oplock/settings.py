# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be chosen about the open table."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OplockSettings:
    """Configuration of an open table; from `[global]`, the same in all workers."""

    oplocks: bool = True
    """`oplocks`: any caching by clients at all."""
    leases: bool = True
    """`smb2 leases`: leases beside oplocks."""
    directory_leases: bool = True
    durable: bool = True
    """`durable handles`: keep opens over a lost connection."""
    break_timeout: float = 35.0
    """Seconds an acknowledgment may take (MS-SMB2 3.3.2.1, 3.3.2.5: 35 in Windows)."""
    durable_v1_timeout: int = 960_000
    """Milliseconds a version 1 durable open is kept (Windows: 16 minutes)."""
    durable_v2_default: int = 60_000
    """Milliseconds for a version 2 request that names no time."""
    durable_v2_maximum: int = 300_000
    """Milliseconds a version 2 request is granted at most."""
    lease_break_time: float = 45.0
    """Seconds after which the kernel takes a lease from us (`kernel oplocks`), so that our clients have less."""
