# SPDX-License-Identifier: GPL-2.0-or-later
"""What new files and folders inherit (MS-DTYP 2.5.3.4), for drawn descriptors of their folder, by us and by smbd."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from random import Random

import pytest
from beside_samba import NAMES, OURS, SAMBA, Beside, beside, missing
from unixusers import people

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=f"needs {missing()}")]
DRAWS = int(os.environ.get("ACL_DRAWS", "16"))
"""Each takes some twenty clients."""


@pytest.fixture(scope="module")
def both() -> Iterator[Beside]:
    with people() as them, beside(them) as result:
        (result.folder / "f").write_text("x")
        yield result


def drawn(seed: int, both: Beside) -> str:
    """A DACL whose first entries let alice do everything here; some of the others are inherited.

    No generic rights: MS-DTYP 2.5.3.4 maps them for the child, and writes an entry twice for what it passes on; Samba
    leaves them as they are."""
    r = Random(seed)
    alice, bob = both.sid(both.people.alice), both.sid(both.people.bob)
    sids = (alice, bob, "WD", "CO", "CG", "AU", "BU", "BA", "SY", "OW", f"S-1-22-2-{both.people.team_gid}")
    masks = ("0x1f01ff", "0x1200a9", "0x1301bf", "0x10000", "0x20089", "0x1")
    entries = [f"(A;;0x1f01ff;;;{alice})"]
    for sid in r.sample(sids, r.randint(1, 6)):
        flags = "".join(flag for flag in ("OI", "CI", "NP", "IO", "ID") if r.random() < 0.45)
        kind, mask = "A", r.choice(masks)
        if sid in (bob, "BA", "SY") and r.random() < 0.3:
            kind = "D"
        if sid == "OW":  # which takes from alice what she has as the owner
            mask = "0x1f01ff"
        entries.append(f"({kind};{flags};{mask};;;{sid})")
    return f"D:{r.choice(('', 'P', 'ARAI', 'PARAI'))}{''.join(entries)}"


def inheritable(sddl: str, folder: bool) -> bool:
    """Whether a child gets anything of it."""
    flags = [set(re.findall("..", entry.split(";")[1])) for entry in sddl.split("(")[1:]]
    if folder:
        return any("CI" in one or ("OI" in one and "NP" not in one) for one in flags)
    return any("OI" in one for one in flags)


@pytest.mark.parametrize("seed", range(DRAWS))
def test_children_get_what_samba_gives_them(both: Beside, seed: int) -> None:
    name = f"draw{seed}"
    both.client(OURS, f"mkdir {name}")
    sddl = drawn(seed, both)
    both.set_acl(OURS, name, sddl)
    kept = {server: both.acl(server, name) for server in (OURS, SAMBA)}
    assert kept[OURS] == kept[SAMBA], sddl
    shown: dict[tuple[bool, str], str] = {}
    for maker in (OURS, SAMBA):
        mark = NAMES[maker]
        both.client(maker, f"mkdir {name}\\{mark}; put {both.folder}/f {name}\\{mark}-file")
        for folder in (True, False):
            if inheritable(sddl, folder):
                place = f"{name}/{mark}" + ("" if folder else "-file")
                seen = {server: both.acl(server, place) for server in (OURS, SAMBA)}
                assert seen[OURS] == seen[SAMBA], f"{sddl}: {place} is shown otherwise"
                shown[folder, maker] = seen[OURS]
    for folder in (True, False):
        if inheritable(sddl, folder):
            assert shown[folder, OURS] == shown[folder, SAMBA], f"{sddl}: a {'folder' if folder else 'file'}"
