# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest

from ksmbd.process.affinity import NO_GUID, client_guid

GUID = bytes(range(1, 17))


def negotiate(command: int = 0, size: int = 36) -> bytes:
    """SMB2 NEGOTIATE request, MS-SMB2 2.2.3: ClientGuid at 12."""
    header = b"\xfeSMB" + bytes(8) + command.to_bytes(2, "little") + bytes(50)
    body = (b"\x24\0\1\0\1\0\0\0" + bytes(4) + GUID + bytes(8))[:size]
    return header + body


def test_the_guid_of_a_negotiate() -> None:
    assert client_guid(negotiate()) == GUID
    assert client_guid(negotiate(size=28)) == GUID


@pytest.mark.parametrize(
    "frame", [b"", b"\xfe", b"\xffSMB" + bytes(100), negotiate(command=1), negotiate(size=27), negotiate()[:13]]
)
def test_any_other_frame_has_none(frame: bytes) -> None:
    assert client_guid(frame) == NO_GUID
