# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest

from ksmbd.ipc.settings import EngineSettings
from ksmbd.process.forker import descriptors_needed
from ksmbd.process.opens import oplock_settings
from ksmbd.process.worker import auth_settings, id_space, limits, server_guid, server_settings


def test_settings_reach_the_rooms() -> None:
    settings = EngineSettings(
        smb2_leases=True,
        server_multi_channel_support=True,
        signing="mandatory",
        min_prot="SMB2_02",
        max_prot="SMB3_02",
        netbios_name="BOX",
        deadtime=15,
        max_connections=7,
        max_ip_connections=3,
        smb2_max_read=1 << 20,
        ntlm_auth="disabled",
        smb3_encryption="mandatory",
        kerberos_support=True,
    )
    server = server_settings(settings, 3)
    assert (server.min_dialect, server.max_dialect) == (0x0202, 0x0302)
    assert server.signing_required and server.leases and server.multichannel and not server.durable_handles
    assert (server.encryption, server.max_read, server.worker, server.netbios_name) == ("mandatory", 1 << 20, 3, "BOX")
    bounds = limits(settings)
    assert (bounds.deadtime, bounds.max_connections, bounds.max_ip_connections) == (900, 7, 3)
    auth = auth_settings(settings)
    assert (auth.ntlm_auth, auth.kerberos) == ("disabled", True)
    assert oplock_settings(settings).leases and not oplock_settings(settings).durable
    assert descriptors_needed(settings) > settings.file_max + settings.max_connections


@pytest.mark.parametrize("word", ["disabled", "auto", "enabled", "mandatory"])
def test_encryption_is_one_word(word: str) -> None:
    assert server_settings(EngineSettings(smb3_encryption=word), 1).encryption == word


def test_server_guid_is_the_machines() -> None:
    assert server_guid((1, 2, 3)) == server_guid((1, 2, 3)) != server_guid((1, 2, 4))
    assert len(server_guid((0, 0, 0))) == 16


def test_no_two_workers_nor_a_successor_share_ids() -> None:
    spaces = {id_space(index, epoch) for index in range(1, 257) for epoch in range(1, 5)}
    assert len(spaces) == 256 * 4
    assert id_space(3, 1) & 0xFF == 3
