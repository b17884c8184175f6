# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.control --acl-inherit: what it asks for, what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import pwd
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from ksmbd.tools import acl_inherit
from toolbench import Outcome, Place

from ksmbd.smb.former_sids import FormerUser
from ksmbd.smb.sid import sid_from_text
from ksmbd.vfs import acl_tree
from ksmbd.vfs.acl_tree import CHANGED, FAILED, PROTECTED, SKIPPED, UNCHANGED, NoList, NotKept

DONE = (
    acl_tree.Outcome(b"d", CHANGED, True),
    acl_tree.Outcome(b"d/a\x1b\xff", CHANGED, False),
    acl_tree.Outcome(b"d/b", UNCHANGED, False),
    acl_tree.Outcome(b"p", PROTECTED, True),
    acl_tree.Outcome(b"link", SKIPPED, False, "a symbolic link"),
)


class Runs:
    """Stands for the walk."""

    def __init__(self) -> None:
        self.outcomes: tuple[acl_tree.Outcome, ...] = DONE
        self.raises: Exception | None = None
        self.signal = 0
        self.former: list[FormerUser] = []
        self.made: list[tuple[object, ...]] = []

    def __call__(
        self, domain: tuple[int, int, int], attribute: str, full_control: bool, dry_run: bool,
        *, former: list[FormerUser],
    ) -> Runs:  # fmt: skip
        self.former = former
        self.made.append((attribute, full_control, dry_run))
        return self

    def run(self, share: bytes, below: bytes) -> Iterator[acl_tree.Outcome]:
        self.made.append((share, below))
        if self.raises:
            raise self.raises
        for outcome in self.outcomes:
            if self.signal:
                os.kill(os.getpid(), self.signal)
            yield outcome


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    made = Runs()
    monkeypatch.setattr(acl_inherit, "Propagation", made)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return made


@pytest.fixture
def share(place: Place) -> Path:
    """A share with a share in it, one without lists, and the configuration."""
    share = place.folder / "share"
    (share / "inner").mkdir(parents=True)
    (place.folder / "plain").mkdir()
    place.config.write_text(
        f"[a]\npath = {share}\nvfs objects = acl_xattr\n"
        f"[b]\npath = {share}/inner\nvfs objects = acl_xattr\nacl_xattr:security_acl_name = user.x\n"
        f"acl map full control = no\n[c]\npath = {place.folder}/plain\nvfs objects = streams_xattr\n"
    )
    return share


def call(place: Place, path: Path | str, *more: str) -> Outcome:
    return place.call("control", "--acl-inherit", str(path), "-C", str(place.config), *more)


def test_the_innermost_share_counts(place: Place, runs: Runs, share: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(place, share / "x").status == 0
    assert call(place, f"{share}/x/../inner/y//z", "--dry-run").status == 0
    monkeypatch.chdir(share)
    assert call(place, ".").status == 0
    (place.folder / "way").symlink_to(share)  # the administrator's
    place.config.write_text(place.config.read_text().replace(f"{share}\n", f"{place.folder}/way\n"))
    for path in (share / "x", place.folder / "way" / "x"):
        assert call(place, path).status == 0
    root, inner = bytes(share), bytes(share / "inner")
    way = bytes(place.folder / "way")
    normal, other = ("security.NTACL", True, False), ("user.x", False, True)
    assert runs.made == [
        normal, (root, b"x"), other, (inner, b"y/z"), normal, (root, b"."), normal, (root, b"x"), normal, (way, b"x"),
    ]  # fmt: skip


def test_shares_of_an_smb_conf_may_differ_by_session(
    place: Place, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = pwd.struct_passwd(("u", "x", 1, 1, "", "/home/u", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwall", lambda: [user, pwd.struct_passwd(("n", "x", 2, 2, "", "/", ""))])
    conf = place.folder / "smb.conf"
    conf.write_text(
        "[global]\nvfs objects = acl_xattr\n[homes]\nread only = no\n[a]\npath = /srv/%U.d/data\n[b]\npath = %H/more\n"
    )
    for path in ("/home/u", "/home/u/x", "/srv/bob.d/data/x", "/home/u/more/x"):
        assert place.call("control", "--acl-inherit", path, "-C", str(conf)).status == 0
    assert runs.made[1::2] == [
        (b"/home/u", b"."), (b"/home/u", b"x"), (b"/srv/bob.d/data", b"x"), (b"/home/u/more", b"x"),
    ]  # fmt: skip
    for path in ("/srv/bob.d", "/srv/a/b.d/data", "/srv/bob.d/data2", "/srv/bobxd/data", "/home/v", "/"):
        assert "is in no share of" in place.fails("control", "--acl-inherit", path, "-C", str(conf))


def test_the_users_of_a_former_server_are_passed_on(place: Place, runs: Runs, share: Path) -> None:
    sid = "S-1-5-21-7-8-9-1001"
    (place.config.parent / "ksmbd.sidhistory").write_text(f"root {sid}\nnobody-of-that-name S-1-5-21-7-8-9-1002\n")
    done = call(place, share)
    assert (done.status, done.err) == (0, "")
    assert runs.former == [FormerUser(sid_from_text(sid), None, 0)]
    (place.config.parent / "ksmbd.sidhistory").write_text("root S-1-5-32-544\n")
    assert "ksmbd.sidhistory: allowed is USER SID" in place.fails(
        "control", "--acl-inherit", str(share), "-C", str(place.config)
    )


def test_what_is_printed(place: Place, runs: Runs, share: Path) -> None:
    done = call(place, share)
    assert (done.status, done.err) == (0, "")
    assert done.out == "3 files and 2 folders: 2 changed, 1 protected, 1 skipped\n"
    dry = call(place, share, "--dry-run")
    assert dry.out.splitlines() == [
        "would change d", dry.out.splitlines()[1], "3 files and 2 folders: 2 would change, 1 protected, 1 skipped",
    ]  # fmt: skip
    assert "\x1b" not in dry.out and "d/a" in dry.out
    told = call(place, share, "-v").out
    assert "left p: its list is protected\n" in told and "left link: a symbolic link\n" in told
    found = json.loads(call(place, share, "--json", "-v").out)
    assert found == {
        "path": str(share), "dry_run": False, "complete": True, "folders": 2, "files": 3, "changed": 2, "unchanged": 1,
        "protected": 1, "skipped": 1, "failed": 0,
        "paths": {
            "changed": [{"path": "d"}, {"path": os.fsdecode(b"d/a\x1b\xff")}], "protected": [{"path": "p"}],
            "skipped": [{"path": "link", "why": "a symbolic link"}], "failed": [],
        },
    }  # fmt: skip


def test_failures_are_told_and_counted(place: Place, runs: Runs, share: Path) -> None:
    runs.outcomes = (acl_tree.Outcome(b"a", FAILED, False, "Operation not permitted"), *DONE)
    done = call(place, share)
    assert (done.status, done.err) == (1, "a: Operation not permitted\n")
    assert done.out.endswith(", 1 failed\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_between_two_files(place: Place, runs: Runs, share: Path, number: int) -> None:
    runs.signal = number
    before = signal.getsignal(number)
    done = call(place, share)
    assert (done.status, done.out) == (1, "0 files and 1 folders: 1 changed, and then a signal ended it\n")
    found = json.loads(call(place, share, "--json").out)
    assert not found["complete"] and found["changed"] == 1
    assert signal.getsignal(number) == before


def test_progress_is_told_each_second(
    place: Place, runs: Runs, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(100))
    monkeypatch.setattr(acl_inherit.time, "monotonic", lambda: float(next(now)))
    assert call(place, share).err == ""
    err = call(place, share, "-v").err.splitlines()
    assert len(err) == 5 and err[0] == "0 files and 1 folders: 1 changed"


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (NoList(), "has no stored access control list (security.NTACL)"),
        (NotKept(), "the system does not let this process store security.NTACL"),
        (NotADirectoryError(20, "Not a directory"), "share: Not a directory"),
        (OSError(40, "Too many levels of symbolic links"), "share: there is a symbolic link in the way"),
    ],
)
def test_what_ends_it_is_one_line(place: Place, runs: Runs, share: Path, raised: Exception, message: str) -> None:
    runs.raises = raised
    done = call(place, share)
    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert done.err.startswith("ksmbd.control: ") and message in done.err


def test_refusals(place: Place, runs: Runs, share: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path | str, *more: str) -> str:
        done = call(place, path, *more)
        assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
        return done.err

    assert "is in no share of" in fails(place.folder / "elsewhere")
    assert "is in no share of" in fails(f"{share}-beside")
    assert "the share c keeps no access control lists" in fails(place.folder / "plain" / "x")
    assert "give one folder" in fails(share, "--acl-inherit=x")
    assert "give one action" in fails(share, "-r")
    assert "--dry-run goes with --acl-inherit alone" in place.fails("control", "-c", "--dry-run")
    assert "-C goes with --acl-inherit alone" in place.fails("control", "-r", "-C", "x")
    place.config.write_text("[a]\npath = /srv\nread only = perhaps\n")
    assert "ksmbd.conf:3" in fails(share)
    place.config.unlink()
    assert "ksmbd.conf" in fails(share)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "only root" in fails(share)
    assert runs.made == []
