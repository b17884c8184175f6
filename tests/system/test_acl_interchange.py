# SPDX-License-Identifier: GPL-2.0-or-later
"""Access control lists of one folder, by us and by a private smbd: what one writes the other shows and passes on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from beside_samba import NAMES, OURS, SAMBA, Beside, beside, missing
from unixusers import people

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=f"needs {missing()}")]
DIRECTIONS = pytest.mark.parametrize(
    ("writer", "reader"), [(SAMBA, OURS), (OURS, SAMBA)], ids=["Samba to ours", "ours to Samba"]
)


@pytest.fixture(scope="module")
def both() -> Iterator[Beside]:
    with people() as them, beside(them) as result:
        yield result


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name of the test's own in the share."""
    return "".join(character if character.isalnum() else "-" for character in request.node.name)


def local(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def agreed(both: Both, name: str) -> str:
    """What both show of it."""
    shown = {server: both.acl(server, name) for server in (SAMBA, OURS)}
    assert shown[SAMBA] == shown[OURS], f"{name}: {shown}\n{local('getfacl', '-p', both.share / name)}"
    return shown[SAMBA]


Both = Beside


def test_what_samba_makes_we_show(both: Beside, name: str) -> None:
    """Made without a word on access: a folder, a file and a folder in it. Samba gives them default POSIX ACLs."""
    (both.folder / "f").write_text("x")
    both.client(SAMBA, f"mkdir {name}; put {both.folder}/f {name}\\file; mkdir {name}\\sub")
    for below in (name, f"{name}/file", f"{name}/sub"):
        agreed(both, below)


@pytest.mark.parametrize("marked", [False, True], ids=["", "auto-inherited"])
@DIRECTIONS
def test_a_folders_list_and_what_is_inherited_of_it(
    both: Beside, name: str, writer: str, reader: str, marked: bool
) -> None:
    alice, bob = both.sid(both.people.alice), both.sid(both.people.bob)
    both.client(writer, f"mkdir {name}")
    sddl = f"D:P{'ARAI' if marked else ''}(A;OICI;0x1f01ff;;;{alice})(A;OICI;0x1200a9;;;{bob})(A;OICIIO;GA;;;CO)"
    both.set_acl(writer, name, sddl)
    first = agreed(both, name)
    assert "(A;OICI;" in first and bob in first
    stored = both.stored(name)
    assert (stored.version, stored.hash_type, stored.description) == (4, 1, "posix_acl")
    (both.folder / "f").write_text("x")
    for maker in (reader, writer):
        place = f"{name}/{NAMES[maker]}"
        both.client(maker, f"mkdir {name}\\{NAMES[maker]}; put {both.folder}/f {name}\\{NAMES[maker]}-file")
        for below in (place, f"{place}-file"):
            shown = agreed(both, below)
            assert shown.count(bob) == 1 and shown.count("ID") == (shown.count("(A;") if marked else 0), below


@pytest.mark.parametrize("default", [False, True], ids=["no default ACL", "default ACL"])
@DIRECTIONS
def test_default_lists_of_posix(both: Beside, name: str, writer: str, reader: str, default: bool) -> None:
    both.client(writer, f"mkdir {name}")
    path = both.share / name
    if default:
        local("setfacl", "-d", "-m", f"u:{both.people.bob}:rwx,u::rwx,g::r-x,o::---", path)
    else:
        local("setfacl", "-k", path)
    bob = both.sid(both.people.bob)
    both.set_acl(writer, name, f"D:P(A;;0x1f01ff;;;{both.sid(both.people.alice)})(A;;0x1200a9;;;{bob})")
    assert agreed(both, name).count(bob) == 1


@DIRECTIONS
def test_local_changes_end_a_list(both: Beside, name: str, writer: str, reader: str) -> None:
    (both.folder / "f").write_text("x")
    for what, command in (
        ("chmod", ["chmod", "0750"]), ("setfacl", ["setfacl", "-m", f"u:{both.people.bob}:rw"]),
        ("chgrp", ["chgrp", str(both.people.team_gid)]), ("chown", ["chown", both.people.bob]),
    ):  # fmt: skip
        for folder in (False, True):
            place = f"{name}-{what}-{folder}"
            both.client(writer, f"mkdir {place}" if folder else f"put {both.folder}/f {place}")
            given = f"D:P(A;;0x1301bf;;;{both.sid(both.people.alice)})(A;;0x1200a9;;;WD)"
            both.set_acl(writer, place, given)
            before = agreed(both, place)
            local(*command, both.share / place)
            for server in (SAMBA, OURS):
                assert both.acl(server, place).partition("D:")[2] != before.partition("D:")[2], (
                    f"{place}: {NAMES[server]} keeps it after {what}"
                )


@pytest.mark.parametrize("version", [1, 2, 3])
def test_older_versions(both: Beside, name: str, version: int) -> None:
    (both.folder / "f").write_text("x")
    bob = both.sid(both.people.bob)
    for folder in (False, True):
        place = f"{name}-{folder}"
        both.client(SAMBA, f"mkdir {place}" if folder else f"put {both.folder}/f {place}")
        both.set_acl(SAMBA, place, f"D:P(A;;0x1f01ff;;;{both.sid(both.people.alice)})(D;;DC;;;{bob})")
        before = agreed(both, place)
        assert both.stored(place, version).version == version
        assert agreed(both, place) == before and bob in before
        if version < 3:  # which say nothing of the permissions
            local("chmod", "0750", both.share / place)
            assert agreed(both, place) == before


def test_without_a_hash_the_newer_versions_say_nothing(both: Beside, name: str) -> None:
    for version in (3, 4):
        both.client(OURS, f"mkdir {name}{version}")
        both.set_acl(OURS, f"{name}{version}", f"D:P(A;;0x1f01ff;;;{both.sid(both.people.alice)})")
        path = both.share / f"{name}{version}"
        before = agreed(both, f"{name}{version}")
        if version == 3:
            both.stored(f"{name}{version}", 3)
        data = bytearray(os.getxattr(path, "security.NTACL"))
        assert data[12:14] == b"\1\0"
        data[12:14] = b"\0\0"
        os.setxattr(path, "security.NTACL", data)
        for server in (SAMBA, OURS):
            assert both.acl(server, f"{name}{version}") != before, NAMES[server]
