# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses as text."""
from __future__ import annotations

from ipaddress import ip_address

import pytest

from ksmbd.address import normal_address, parse_address


@pytest.mark.parametrize(
    ("text", "normal", "plain"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("0000:0000:0000:0000:0000:ffff:c000:0207", "192.0.2.7", "192.0.2.7"),
        ("::FFFF:192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0:0::1", "2001:db8::1", "2001:db8::1"),
        ("fe80::0:1%eth0", "fe80::1%eth0", "fe80::1"),
        ("::ffff:0:1", "0.0.0.1", "0.0.0.1"),
        ("::1", "::1", "::1"),
    ],
)
def test_one_address_has_one_text(text: str, normal: str, plain: str) -> None:
    assert normal_address(text) == normal
    assert parse_address(text) == ip_address(plain)


@pytest.mark.parametrize("text", ["", "host", "%eth0", "192.0.2", "::ffff:192.0.2.7.1"])
def test_what_is_no_address(text: str) -> None:
    for read in (normal_address, parse_address):
        with pytest.raises(ValueError, match="address"):
            read(text)
