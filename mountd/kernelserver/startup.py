# SPDX-License-Identifier: GPL-2.0-or-later
"""STARTING_UP for the kernel's server: what our engine is told in other ways, or takes otherwise, in KSMBD's terms."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Sequence
from typing import Final

from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import GlobalFlag
from ksmbd.ipc.settings import EngineSettings
from ksmbd.kernel import interface_patterns
from ksmbd.kernel.interfaces import InterfaceAddress, Interfaces
from mountd.parameters import GLOBAL_PARAMETERS

DIALECTS: Final = ("SMB2_10", "SMB3_00", "SMB3_02", "SMB3_11")
"""What the kernel's server speaks, from the lowest."""
ENCRYPTING: Final = "SMB3_00"
"""The lowest dialect that can encrypt."""


def starting_up(settings: EngineSettings, devices: Sequence[str]) -> Message:
    """The message. `devices`: the network devices to listen on; none: all. Encoding it raises ValueError for a text
    that does not fit."""
    message, _ = settings.messages()
    fields = message.fields
    lowest = settings.min_prot if settings.min_prot in DIALECTS else DIALECTS[0]
    if settings.smb3_encryption == "mandatory":
        fields["flags"] |= GlobalFlag.SMB2_ENCRYPTION
        # The kernel encrypts where the client can, and lets the others in: those of older dialects are refused so.
        lowest = max(lowest, ENCRYPTING, key=DIALECTS.index)
    elif settings.smb3_encryption == "disabled":
        fields["flags"] |= GlobalFlag.SMB2_ENCRYPTION_OFF
    fields["min_prot"] = lowest
    # The kernel refuses to start with an empty name.
    for field, parameter in (
        ("netbios_name", "netbios name"), ("server_string", "server string"), ("work_group", "workgroup"),
    ):  # fmt: skip
        fields[field] = fields[field] or GLOBAL_PARAMETERS[parameter].default
    payload = b"".join(name.encode() + b"\0" for name in devices)
    fields.update(bind_interfaces_only=int(bool(devices)), ifc_list_sz=len(payload), payload=payload)
    return message


def devices(settings: EngineSettings) -> list[str]:
    """The network devices to listen on, where `bind interfaces only` restricts them; none: all. The kernel's server
    listens on all addresses of a device. Raises ValueError where `interfaces` names none that is there, OSError."""
    if not settings.bind_interfaces_only or not settings.interfaces:
        return []
    interfaces = Interfaces()
    try:
        addresses = interfaces.addresses()
    finally:
        interfaces.close()
    found = select(settings.interfaces, [name for _, name in socket.if_nameindex()], addresses)
    if not found:
        raise ValueError("`bind interfaces only`, and no network device of this machine is in `interfaces`")
    return found


def select(items: Iterable[str], names: Sequence[str], addresses: Sequence[InterfaceAddress]) -> list[str]:
    """Those of the devices `names` that the items of `interfaces` mean by name or by address. Raises ValueError for a
    malformed item."""
    patterns = [interface_patterns.parse(item) for item in items]
    local = {each.address for each in addresses}
    meant = {each.name for each in addresses if any(pattern.covers(each.address, local) for pattern in patterns)}
    return [name for name in names if name in meant or any(pattern.names(name) for pattern in patterns)]


def taken(port: int, names: Sequence[str]) -> str:
    """The network device on which another server listens on this TCP port, or ''. `names`: those that matter; none:
    all. The kernel's server does not tell that it could not listen."""
    for name in names or [name for _, name in socket.if_nameindex()]:
        for family, address in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):
            try:
                with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, os.fsencode(name) + b"\0")
                    probe.bind((address, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return name
    return ""
