# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.control --acl-inherit: a tree has then what smbcacls --propagate-inheritance gives it over a real smbd, and
what its files would have if they were made anew."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from random import Random

import pytest
from beside_samba import NAMES, OURS, SAMBA, Beside, beside, missing
from server import COMMANDS
from test_acl_inheritance import drawn as drawn_descriptor
from unixusers import people

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=f"needs {missing()}")]
DRAWS = int(os.environ.get("ACL_DRAWS", "1"))
TREE = ("d", "d/e", "d/e/f", "d/e/g", "g", "p", "p/below", "p/folder", "empty", "empty/in", "in")
FOLDERS = ("d", "d/e", "p", "p/folder", "empty")


@pytest.fixture(scope="module")
def both() -> Iterator[Beside]:
    with people() as them, beside(them) as result:
        (result.folder / "f").write_text("x")
        yield result


def control(both: Beside, *arguments: str) -> subprocess.CompletedProcess[str]:
    conf = both.folder / "ours" / "ksmbd.conf"
    return subprocess.run(
        [str(COMMANDS / "ksmbd.control"), *arguments, "-C", str(conf)], capture_output=True, text=True, check=False
    )


def grow(both: Beside, name: str) -> None:
    """A tree, with lists of their own here and there."""
    alice, bob = both.sid(both.people.alice), both.sid(both.people.bob)
    both.client(OURS, f"mkdir {name}")
    both.set_acl(OURS, name, f"D:PARAI(A;OICI;0x1f01ff;;;{alice})(A;OICI;0x1200a9;;;WD)")
    for path in TREE:
        there = f"{name}/{path}".replace("/", "\\")
        both.client(OURS, f"mkdir {there}" if path in FOLDERS else f"put {both.folder}/f {there}")
    both.set_acl(OURS, f"{name}/d/e", f"D:AI(D;;0x2;;;{bob})(A;OICI;0x1f01ff;;;{alice})(A;OI;0x120089;;;{bob})")
    both.set_acl(OURS, f"{name}/g", f"D:(A;;0x1f01ff;;;{alice})(A;;0x120089;;;{bob})")
    both.set_acl(OURS, f"{name}/p", f"D:P(A;OICI;0x1f01ff;;;{alice})(A;OICIID;0x120089;;;{bob})")


def drawn(seed: int, both: Beside) -> str:
    """Entries as smbcacls takes them, the first of which lets alice do everything.

    None with IO, which smbcacls leaves on what the children get, and none for CREATOR OWNER and CREATOR GROUP, which it
    does not replace: smbd does both, as MS-DTYP 2.5.3.4.3 says."""
    r = Random(seed)
    sids = (both.sid(both.people.bob), "S-1-1-0", "S-1-5-11", f"S-1-22-2-{both.people.team_gid}")
    entries = [f"ACL:{both.sid(both.people.alice)}:ALLOWED/3/0x1f01ff"]
    for sid in r.sample(sids, r.randint(1, 4)):
        flags = sum(bit for bit in (1, 2, 4) if r.random() < 0.45)
        kind = "DENIED" if sid == sids[0] and r.random() < 0.5 else "ALLOWED"
        entries.append(f"ACL:{sid}:{kind}/{flags}/{r.choice(('0x1f01ff', '0x1200a9', '0x1301bf', '0x120089'))}")
    return ",".join(entries)


def shown(both: Beside, server: str, name: str) -> dict[str, str]:
    """smbcacls does not set the flag auto-inherited."""
    return {path: re.sub("AI(?=[(])", "", both.acl(server, f"{name}/{path}")) for path in TREE}


@pytest.mark.parametrize("seed", range(DRAWS))
def test_a_tree_gets_what_smbcacls_gives_it(both: Beside, seed: int) -> None:
    entries = drawn(seed, both)
    ours, theirs = f"ours{seed}", f"theirs{seed}"
    for name in (ours, theirs):
        grow(both, name)
    text = both.smbcacls(SAMBA, ours, "-S", entries)
    assert "NT_STATUS" not in text.replace("NT_STATUS_RPC_PROCNUM_OUT_OF_RANGE", ""), text
    done = control(both, "--acl-inherit", str(both.share / ours))
    assert done.returncode == 0, done.stdout + done.stderr
    text = both.smbcacls(SAMBA, theirs, "-S", entries, "--propagate-inheritance")
    assert "NT_STATUS" not in text.replace("NT_STATUS_RPC_PROCNUM_OUT_OF_RANGE", ""), text
    for server in (OURS, SAMBA):
        assert shown(both, server, ours) == shown(both, server, theirs), f"{NAMES[server]}, {entries}"


@pytest.mark.parametrize("seed", range(DRAWS))
def test_what_has_no_entries_of_its_own_is_as_if_made_anew(both: Beside, seed: int) -> None:
    name, alice = f"anew{seed}", both.sid(both.people.alice)
    grow(both, name)
    rest = drawn_descriptor(seed, both).partition("(")[2].partition(")")[2]
    both.set_acl(OURS, name, f"D:PARAI(A;OICI;0x1f01ff;;;{alice}){rest}")
    done = control(both, "--acl-inherit", str(both.share / name), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    for maker in (OURS, SAMBA):
        new = f"{name}\\{NAMES[maker]}"
        both.client(maker, f"mkdir {new}; put {both.folder}/f {new}\\file; put {both.folder}/f {new}-file")
    for server in (OURS, SAMBA):
        for maker in (OURS, SAMBA):
            made = f"{name}/{NAMES[maker]}"
            for old, new in (("empty", made), ("empty/in", f"{made}/file"), ("in", f"{made}-file")):
                assert both.acl(server, f"{name}/{old}") == both.acl(server, new), f"{NAMES[server]}, {NAMES[maker]}"


def test_a_dry_run_says_what_would_change_and_changes_nothing(both: Beside) -> None:
    grow(both, "dry")
    both.client(OURS, f"mkdir dry\\link-target; put {both.folder}/f dry\\link-target\\kept")
    outside = both.folder / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    os.symlink(outside, both.share / "dry" / "link")
    os.symlink(outside / "file", both.share / "dry" / "file-link")
    os.link(outside / "file", both.share / "dry" / "second-name")
    os.mkfifo(both.share / "dry" / "pipe")
    mode = outside.stat().st_mode, (outside / "file").stat().st_mode
    both.set_acl(OURS, "dry", f"D:PARAI(A;OICI;0x1f01ff;;;{both.sid(both.people.alice)})")
    before = shown(both, OURS, "dry")
    dry = control(both, "--acl-inherit", str(both.share / "dry"), "--dry-run", "--json")
    found = json.loads(dry.stdout)
    assert dry.returncode == 0 and found["dry_run"] and found["failed"] == 0 and found["changed"] >= 6, dry.stdout
    assert shown(both, OURS, "dry") == before
    skipped = {item["path"]: item["why"] for item in found["paths"]["skipped"]}
    assert skipped == {
        "link": "a symbolic link", "file-link": "a symbolic link", "pipe": "a special file",
        "second-name": "the file has 2 names",
    }  # fmt: skip
    assert [item["path"] for item in found["paths"]["protected"]] == ["p"]
    text = control(both, "--acl-inherit", str(both.share / "dry"), "--dry-run").stdout
    assert text.count("would change") == found["changed"] + 1
    done = json.loads(control(both, "--acl-inherit", str(both.share / "dry"), "--json").stdout)
    assert done["changed"] == found["changed"] and done["paths"]["changed"] == found["paths"]["changed"]
    again = json.loads(control(both, "--acl-inherit", str(both.share / "dry"), "--json").stdout)
    assert again["changed"] == 0 and again["unchanged"] == done["changed"] + done["unchanged"]
    assert os.listxattr(outside) == [] and os.listxattr(outside / "file") == []
    assert mode == (outside.stat().st_mode, (outside / "file").stat().st_mode)


def test_a_folder_that_has_no_list_passes_nothing_on(both: Beside) -> None:
    (both.share / "plain").mkdir()
    failed = control(both, "--acl-inherit", str(both.share / "plain"))
    assert (failed.returncode, failed.stdout) == (1, "") and "has no stored access control list" in failed.stderr
    os.symlink("plain", both.share / "way")
    for wrong in ("way", "nowhere"):
        failed = control(both, "--acl-inherit", str(both.share / wrong))
        assert failed.returncode == 1 and failed.stderr.count("\n") == 1, failed.stderr
