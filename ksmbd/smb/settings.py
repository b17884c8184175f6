# SPDX-License-Identifier: GPL-2.0-or-later
"""The settings of the protocol from ksmbd.conf, and the network interfaces that clients are told of."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ksmbd import limits
from ksmbd.smb.constants import DIALECT_202, DIALECT_311
from ksmbd.smb.data_paths import DataPaths


@dataclass(slots=True)
class NetworkInterface:
    """One NETWORK_INTERFACE_INFO (MS-SMB2 2.2.32.5)."""

    index: int
    capability: int
    """Bits: RSS_CAPABLE 1, RDMA_CAPABLE 2."""
    link_speed: int
    """Bits per second."""
    address: str


@dataclass(slots=True)
class ServerSettings:
    """The settings of [global] that concern the protocol.

    The defaults are those of the table of parameters (mountd/parameters.py; a test compares them)."""

    min_dialect: int = DIALECT_202
    max_dialect: int = DIALECT_311
    signing_required: bool = False
    encryption: str = "auto"
    """`smb3 encryption`: disabled, auto (offered) or mandatory."""
    max_read: int = 4 << 20
    max_write: int = 4 << 20
    max_transact: int = 8 << 20
    max_credits: int = 8192
    leases: bool = False
    durable_handles: bool = False
    multichannel: bool = False
    dfs: bool = False
    """`host msdfs`: shares may be DFS roots, and referrals are given."""
    posix_extensions: bool = True
    max_sessions: int = limits.SESSIONS.value
    max_open_files: int = limits.OPENS.value
    server_name: str = "KSMBD SERVER"
    netbios_name: str = "KSMBD SERVER"
    workgroup: str = "WORKGROUP"
    worker: int = 1
    """The index of this worker, which is part of ids that must be unique among workers."""
    first_id: int = 0
    """The start of the id counter, above the ids of persistent opens that an earlier server left."""
    server_guid: bytes = bytes(16)
    data_paths: DataPaths = field(default_factory=DataPaths)
    """`data paths`: how the data of unsigned, unencrypted READs and WRITEs is transferred."""
    interfaces: Callable[[str], list[NetworkInterface]] = lambda local: []
    """Returns the interfaces for FSCTL_QUERY_NETWORK_INTERFACE_INFO to a client that connected to this local
    address."""
