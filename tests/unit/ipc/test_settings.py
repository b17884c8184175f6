# SPDX-License-Identifier: GPL-2.0-or-later
"""EngineSettings through STARTING_UP and SETTINGS."""
from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ksmbd.ipc.codec import Message, decode, encode
from ksmbd.ipc.constants import Event, GlobalFlag
from ksmbd.ipc.settings import EngineSettings
from ksmbd.smb.status import WireError

SETTINGS = EngineSettings(
    signing="mandatory",
    min_prot="SMB2_10",
    max_prot="SMB3_02",
    netbios_name="BÄR",
    work_group="GROUP",
    server_string="a server",
    tcp_port=4450,
    ipc_timeout=7,
    deadtime=3,
    file_max=5,
    smb2_max_write=65536,
    smb2_max_read=131072,
    smb2_max_trans=262144,
    share_fake_fscaps=1,
    sub_auth=(1, 2, 0xFFFFFFFF),
    smb2_max_credits=9,
    smbd_max_io_size=10,
    max_connections=11,
    bind_interfaces_only=True,
    max_ip_connections=12,
    interfaces=("lo", "eth0"),
    workers=4,
    audit_file="/var/log/audit.json",
    bpf=False,
    continuous_availability=True,
    data_paths="read/ext4=copy",
    debug=3,
    former_users="1000 S-1-5-21-1-2-3-1001 513",
    durable_handles=True,
    guest_account="guest",
    host_msdfs=True,
    kerberos_missing="no keytab",
    kerberos_support=True,
    lookup_port=139,
    mangle_prefix=3,
    map_to_guest="bad user",
    max_active_sessions=13,
    ntlm_auth="disabled",
    server_multi_channel_support=True,
    smb2_leases=True,
    smb3_encryption="mandatory",
    tune_networks="10.0.0.0/8=4M",
)


def _through(settings: EngineSettings) -> EngineSettings:
    start, more = (decode(encode(message)) for message in settings.messages())
    return EngineSettings.from_messages(start, more)


def test_every_field_survives() -> None:
    defaults = EngineSettings()
    same = [f.name for f in dataclasses.fields(SETTINGS) if getattr(SETTINGS, f.name) == getattr(defaults, f.name)]
    assert same == [], "a field left at its default proves nothing"
    assert _through(SETTINGS) == SETTINGS


def test_name_that_does_not_fit() -> None:
    with pytest.raises(ValueError):
        encode(dataclasses.replace(SETTINGS, netbios_name="N" * 16).messages()[0])


@pytest.mark.parametrize("field, value", [("signing", 4), ("signing", -1), ("ifc_list_sz", 3)])
def test_contradictions(field: str, value: int) -> None:
    start, more = SETTINGS.messages()
    start.fields[field] = value
    with pytest.raises(WireError):
        EngineSettings.from_messages(decode(encode(start)), decode(encode(more)))


@pytest.mark.parametrize(("name", "text"), [
    ("ntlm auth", None), ("lookup port", None), ("lookup port", "-1"), ("kerberos support", None),
    ("kerberos support", "on"),
])  # fmt: skip
def test_an_option_that_is_missing_or_malformed(name: str, text: str | None) -> None:
    start, more = SETTINGS.messages()
    if text is None:
        del more.options[name]
    else:
        more.options[name] = text
    with pytest.raises(WireError):
        EngineSettings.from_messages(decode(encode(start)), decode(encode(more)))


@pytest.mark.parametrize(("name", "flag"), [
    ("smb2_leases", GlobalFlag.SMB2_LEASES), ("durable_handles", GlobalFlag.DURABLE_HANDLE),
    ("server_multi_channel_support", GlobalFlag.SMB3_MULTICHANNEL),
])  # fmt: skip
def test_what_is_a_flag_is_no_option(name: str, flag: GlobalFlag) -> None:
    switched: dict[str, Any] = {name: True}
    start, more = dataclasses.replace(EngineSettings(), **switched).messages()
    assert start.fields["flags"] == flag
    assert more.options == EngineSettings().messages()[1].options


def test_event_order() -> None:
    assert [message.event for message in SETTINGS.messages()] == [Event.STARTING_UP, Event.SETTINGS]
    assert isinstance(SETTINGS.messages()[0], Message)
