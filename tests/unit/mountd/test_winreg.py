# SPDX-License-Identifier: GPL-2.0-or-later
"""winreg: the few keys that clients ask for, through impacket's codecs."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from impacket.dcerpc.v5 import rpcrt, rrp
from rpc_doubles import client, told

from ksmbd.smb.status import WireError
from mountd.rpc.facts import Level
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.service import Caller
from mountd.rpc.services import SERVICES
from mountd.rpc.winreg import INTERFACE

CURRENT = "SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion"
OPTIONS = "system\\currentcontrolset\\Control\\ProductOptions"


def opened(path: str = "", account: str = "bob") -> tuple[Any, Any]:
    dce = client(SERVICES["winreg"], rrp.MSRPC_UUID_RRP, account)
    key = rrp.hOpenLocalMachine(dce)["phKey"]
    return dce, rrp.hBaseRegOpenKey(dce, key, path)["phkResult"] if path else key


def code(call: Callable[[], object]) -> int:
    with pytest.raises(rpcrt.DCERPCException) as caught:
        call()
    return int(caught.value.get_error_code())


def test_values() -> None:
    dce, key = opened(OPTIONS)
    assert rrp.hBaseRegQueryValue(dce, key, "producttype") == (1, "ServerNT\0")
    dce, key = opened(CURRENT)
    assert rrp.hBaseRegQueryValue(dce, key, "CurrentMajorVersionNumber") == (4, 10)
    found = []
    for index in range(5):
        answer = rrp.hBaseRegEnumValue(dce, key, index)
        found.append((answer["lpValueNameOut"], answer["lpType"]))
    assert found[0] == ("CurrentVersion\0", 1)
    assert found[1] == ("CurrentMajorVersionNumber\0", 4)
    assert code(lambda: rrp.hBaseRegEnumValue(dce, key, 5)) == 259
    assert code(lambda: rrp.hBaseRegQueryValue(dce, key, "none")) == 2
    assert rrp.hBaseRegQueryValue(dce, key, "SystemRoot", dataLen=4) == (1, "C:\\Windows\0"), "asked for again"


def test_keys() -> None:
    dce, key = opened()
    names = [rrp.hBaseRegEnumKey(dce, key, index)["lpNameOut"] for index in range(2)]
    assert names == ["SOFTWARE\0", "SYSTEM\0"]
    assert code(lambda: rrp.hBaseRegEnumKey(dce, key, 2)) == 259
    info = rrp.hBaseRegQueryInfoKey(dce, key)
    assert (info["lpcSubKeys"], info["lpcbMaxSubKeyLen"], info["lpcValues"]) == (2, 18, 0)
    below = rrp.hBaseRegOpenKey(dce, key, CURRENT)["phkResult"]
    info = rrp.hBaseRegQueryInfoKey(dce, below)
    assert (info["lpcSubKeys"], info["lpcValues"], info["lpcbMaxValueLen"]) == (0, 5, 22)
    assert rrp.hBaseRegGetVersion(dce, key)["lpdwVersion"] == 5
    assert code(lambda: rrp.hBaseRegOpenKey(dce, key, "SOFTWARE\\none")) == 2
    rrp.hBaseRegCloseKey(dce, below)
    assert code(lambda: rrp.hBaseRegQueryInfoKey(dce, below)) == 6
    assert code(lambda: rrp.hBaseRegCloseKey(dce, below)) == 6


def test_guests_read_nothing() -> None:
    dce = client(SERVICES["winreg"], rrp.MSRPC_UUID_RRP, "", restricted=True)
    assert code(lambda: rrp.hOpenLocalMachine(dce)) == 5


def test_nothing_is_written() -> None:
    dce, key = opened(OPTIONS)
    assert code(lambda: rrp.hBaseRegSetValue(dce, key, "ProductType", rrp.REG_SZ, "other\0")) == 5


@given(st.sampled_from(sorted(INTERFACE.operations)), st.binary(max_size=80))
def test_any_stub_is_read_or_refused(opnum: int, stub: bytes) -> None:
    caller = Caller(lambda: told("bob", False), Level.SHARES, "bob")
    handle = caller.handles.open(object())
    for data in (stub, handle + stub):
        try:
            INTERFACE.operations[opnum](caller, NdrReader(data), NdrWriter())
        except WireError:
            continue
