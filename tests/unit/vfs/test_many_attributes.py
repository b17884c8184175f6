# SPDX-License-Identifier: GPL-2.0-or-later
"""Many extended attributes, streams and entries of an access control list: bounded, and counted right."""
from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from vfs_share import FLAGS, Share

from ksmbd import limits
from ksmbd.limit import Limit
from ksmbd.smb.acl import Ace, Acl
from ksmbd.smb.security_descriptor import SE_DACL_PRESENT, SE_SELF_RELATIVE, SecurityDescriptor
from ksmbd.smb.sid import EVERYONE, Sid
from ksmbd.smb.status import STATUS_EA_TOO_LARGE, NtStatusError
from ksmbd.vfs import access as access_module

MOST = limits.EXTENDED_ATTRIBUTES.value


@pytest.fixture(autouse=True)
def few(set_limit: Callable[[Limit, int], None]) -> None:
    """Fewer, which any file system has room for."""
    set_limit(limits.EXTENDED_ATTRIBUTES, 20)


def test_a_file_has_at_most_so_many_extended_attributes_of_clients(share: Share) -> None:
    file = share.open("f")
    file.set_extended_attributes([(f"n{number}", 0, b"v") for number in range(15)])
    with pytest.raises(NtStatusError) as caught:
        file.set_extended_attributes([(f"m{number}", 0, b"v") for number in range(6)])
    assert caught.value.status == STATUS_EA_TOO_LARGE
    assert len(file.extended_attributes()) == 15
    # What replaces or removes needs no room; up to the limit there is some.
    file.set_extended_attributes([("n1", 0, b"other"), ("N2", 0, b""), ("none", 0, b"")])
    file.set_extended_attributes([(f"m{number}", 0, b"v") for number in range(6)])
    assert len(file.extended_attributes()) == 20


def test_sizes_of_streams_are_told_without_reading_them(share: Share) -> None:
    file = share.open("f")
    for name, size in (("empty", 0), ("small", 1), ("large", 3000)):
        share.open("f", stream=name).write(0, bytes(size))
    assert {each.name: each.size for each in file.streams()} == {"": 0, "empty": 0, "small": 1, "large": 3000}


@pytest.mark.skipif(os.geteuid() != 0, reason="security.NTACL needs root")
def test_known_descriptors_take_a_bounded_room(
    make_share: Callable[..., Share], monkeypatch: pytest.MonkeyPatch
) -> None:
    share = make_share(flags=FLAGS | {"acl_xattr"})
    monkeypatch.setattr(access_module, "_CACHED_BYTES", 1000)
    everyone = Ace(0, 0, 0x1F01FF, EVERYONE)
    known = share.volume.place.access._rights
    for number in range(20):
        file = share.open(f"f{number}")
        entries = (everyone, *(Ace(0, 0, 0x120089, Sid(22, (1, 7000 + number + step))) for step in range(5)))
        descriptor = SecurityDescriptor(SE_SELF_RELATIVE | SE_DACL_PRESENT, None, None, Acl(entries))
        file.set_security_descriptor(4, descriptor.encode(4))
        assert len(file.security_descriptor(4)) > 100
        assert share.volume.place.access._cached_bytes == sum(len(key[0]) for key in known)
    assert 1 <= len(known) < 10
