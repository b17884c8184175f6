# SPDX-License-Identifier: GPL-2.0-or-later
"""The settings with which the kernel's server is started."""
from __future__ import annotations

import pytest

from ksmbd.ipc.settings import EngineSettings
from ksmbd.kernel.interfaces import InterfaceAddress
from mountd.kernelserver import startup


@pytest.mark.parametrize(("encryption", "lowest", "flags", "told"), [
    ("auto", "SMB2_02", 0, "SMB2_10"), ("enabled", "SMB3_02", 0, "SMB3_02"), ("disabled", "SMB2_10", 8, "SMB2_10"),
    ("mandatory", "SMB2_02", 2, "SMB3_00"), ("mandatory", "SMB3_11", 2, "SMB3_11"),
])  # fmt: skip
def test_encryption_and_dialects(encryption: str, lowest: str, flags: int, told: str) -> None:
    settings = EngineSettings(smb3_encryption=encryption, min_prot=lowest, smb2_leases=True)
    message = startup.starting_up(settings, [])
    assert (message.fields["flags"], message.fields["min_prot"]) == (flags | 1, told)


def test_empty_names_have_their_defaults() -> None:
    message = startup.starting_up(EngineSettings(server_string="", netbios_name="", work_group=""), [])
    fields = message.fields
    assert (fields["netbios_name"], fields["server_string"], fields["work_group"]) == (
        "KSMBD SERVER", "SMB SERVER", "WORKGROUP",
    )  # fmt: skip


def test_devices() -> None:
    settings = EngineSettings(bind_interfaces_only=True, interfaces=("eth*",))
    fields = startup.starting_up(settings, ["eth0", "lo"]).fields
    assert (fields["bind_interfaces_only"], fields["ifc_list_sz"], fields["payload"]) == (1, 8, b"eth0\0lo\0")


def test_which_devices_are_meant() -> None:
    addresses = [
        InterfaceAddress(1, "lo", "127.0.0.1", 0, 1, True),
        InterfaceAddress(2, "eth0", "192.0.2.7", 0, 1, False),
        InterfaceAddress(3, "eth1", "198.51.100.1", 0, 1, False),
    ]
    names = ["lo", "eth0", "eth1", "dummy0"]
    for items, meant in (
        (["eth*"], ["eth0", "eth1"]), (["192.0.2.0/24"], ["eth0"]), (["127.0.0.1", "eth1"], ["lo", "eth1"]),
        (["dummy0"], ["dummy0"]), (["203.0.113.1"], []),
    ):  # fmt: skip
        assert startup.select(items, names, addresses) == meant
