# SPDX-License-Identifier: GPL-2.0-or-later
"""All fields of a message, by scapy's layers (SMB2, SPNEGO, NTLMSSP, DCE/RPC): --verbose. scapy is imported at the
first use, because that takes a second; it is GPL-2.0-only and stays in this tool."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cache
from types import ModuleType

from mountd.console.tables import printable

DETAIL_MAX = 4096
"""Bytes of a message that are shown."""


@cache
def _layers() -> ModuleType | None:
    logging.getLogger("scapy").setLevel(logging.CRITICAL)
    try:
        import scapy.layers.smb2 as layers
    except ImportError:
        return None
    return layers


def available() -> bool:
    """Whether scapy is installed."""
    return _layers() is not None


def detail(title: str, message: bytes) -> Iterator[str]:
    """The fields of a message, a line each, below a title."""
    layers = _layers()
    if layers is None or not message:
        return
    yield f"    {title}"
    try:
        shown: str = layers.SMB2_Header(message[:DETAIL_MAX]).show(dump=True)
    except Exception as error:  # noqa: BLE001  scapy raises what it likes on a message that is cut off or malformed
        yield f"      scapy cannot read it: {type(error).__name__}"
        return
    for line in shown.splitlines():
        yield printable(f"      {line}")
