# SPDX-License-Identifier: GPL-2.0-or-later
"""The parameters of a share that decide on permissions and attributes, value by value, beside a real smbd.

What differs on purpose is not among the rows: `map archive = auto`, the order of `read list` and `write list`, and an
owner's rights on a file that its permissions forbid him to write are KSMBD's; a folder without a stored descriptor
gives its children none; with `inherit owner = unix only` Samba gives a file away after it has stored the descriptor,
which no longer counts then; `force group = +GROUP` has no effect on a forced user who is no member, where Samba
refuses everybody.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from beside_samba import NAMES, OURS, SAMBA, Beside, beside, missing
from permission_rows import Row, compare
from unixusers import People, people

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=f"needs {missing()}")]

PLAIN = {"vfs objects": "", "map archive": "no"}
"""No stored descriptors, and what new files get by Samba's rules."""
STORED = {"map archive": "no"}
UNIX = {**PLAIN, "store dos attributes": "no"}
"""No stored attributes either."""
MAKE = ("alice: put f new; mkdir dir; put f dir/below",)
WORLD = ("dir . 0777 root root",)


def rows() -> Iterator[Row]:
    """All of them."""
    yield from masks()
    yield from inheritance()
    yield from forced()
    yield from hiding()
    yield from attributes()
    yield from lists()
    yield from descriptors()


def masks() -> Iterator[Row]:
    for number, (mask, force) in enumerate((("0744", "0000"), ("0666", "0000"), ("0777", "0011"), ("0600", "4022"))):
        lines = {"create mask": mask, "force create mode": force}
        yield Row(f"create-mask-{number}", {**PLAIN, **lines}, (), MAKE)
        yield Row(f"create-mask-archive-{number}", {**PLAIN, **lines, "map archive": "yes"}, (), MAKE)
        lines = {"directory mask": mask, "force directory mode": force}
        yield Row(f"directory-mask-{number}", {**PLAIN, **lines}, (), MAKE)
    yield Row("directory-set-group-id", {**PLAIN, "force directory mode": "2070"}, (), MAKE)
    yield Row("directory-set-group-id-above", {**PLAIN, "directory mask": "0777"}, ("dir . 2770 root team",), MAKE)
    yield Row("directory-mask-team", {**PLAIN, "directory mask": "2775"}, ("dir . 0770 root team",), MAKE)


def inheritance() -> Iterator[Row]:
    # Samba cannot keep the attributes of a file that it has just given away.
    for value in ("no", "unix only", "windows and unix", "yes"):
        lines, word = {"inherit owner": value}, value.replace(" ", "-")
        steps = (*MAKE, "alice acl new", "alice acl dir")
        yield Row(f"inherit-owner-{word}", {**PLAIN, **lines}, ("dir . 2777 bob team",), steps, views=())
        grant = "bob set . D:(A;OICI;0x1f01ff;;;CO)(A;OICI;0x1f01ff;;;{alice})(A;OICI;0x1f01ff;;;{bob})"
        there = ("dir . 0777 bob alice",)
        if value != "unix only":
            yield Row(f"inherit-owner-list-{word}", {**STORED, **lines}, there, (grant, *steps), views=())
    for mode in ("0777", "2775", "1773", "4750"):
        for kind, more in {"plain": PLAIN, "archive": {**PLAIN, "map archive": "yes"}}.items():
            lines = {**more, "inherit permissions": "yes", "force create mode": "0001", "force directory mode": "0001"}
            yield Row(f"inherit-permissions-{mode}-{kind}", lines, (f"dir . {mode} alice team",), MAKE)
    acl = (*WORLD, "acl . d:u:bob:rwx,d:g:team:r-x,d:m:rwx,u:bob:rwx")
    for value in ("no", "yes"):
        for mask in ("0744", "0777"):
            lines = {**PLAIN, "inherit acls": value, "create mask": mask}
            yield Row(f"inherit-acls-{value}-{mask}", lines, acl, MAKE)
        yield Row(f"inherit-acls-none-{value}", {**PLAIN, "inherit acls": value}, (), MAKE)


def forced() -> Iterator[Row]:
    there = (
        *WORLD, "file hers 0600 alice alice", "file his 0600 bob bob", "file ours 0660 root team",
        "file roots 0600 root root",
    )  # fmt: skip
    ask = "{}: get hers /dev/null; get his /dev/null; get ours /dev/null; get roots /dev/null"
    steps = (*MAKE, "bob: put f of-bob", ask.format("alice"), ask.format("bob"), "alice acl new")
    for name, lines in {
        "none": {},
        "user": {"force user": "{bob}"},
        "user-group": {"force user": "{bob}", "force group": "{team}"},
        "user-plus-group-member": {"force user": "{alice}", "force group": "+{team}"},
        "group": {"force group": "{team}"},
        "plus-group": {"force group": "+{team}"},
        "admin-alice": {"admin users": "{alice}"},
        "admin-team": {"admin users": "@{team}"},
        "user-admin-alice": {"force user": "{bob}", "admin users": "{alice}"},
        "user-admin-bob": {"force user": "{bob}", "admin users": "{bob}"},
        "group-admin": {"force group": "{team}", "admin users": "{alice}"},
        "root": {"force user": "root"},
    }.items():
        yield Row(f"force-{name}", {**PLAIN, **lines}, there, steps)
    yield Row("set-user-id", PLAIN, (*WORLD, "file s 6777 bob team"), ("alice: put f s", "alice acl s"))
    lines = {**PLAIN, "force user": "{bob}"}
    yield Row("set-user-id-forced", lines, (*WORLD, "file s 6777 alice team"), ("alice: put f s",))


def hiding() -> Iterator[Row]:
    there = (
        *WORLD, "file open 0666 root root", "file readable 0644 root root", "file closed 0600 root root",
        "file writable 0622 root root", "file .dot 0666 root root", "dir d-open 0777 root root",
        "dir d-closed 0700 root root", "dir d-read 0755 root root", "dir d-write 0733 root root",
        "fifo pipe 0666 root root", "file a.tmp 0666 root root", "file his 0600 bob bob", "dir d-tmp 0777 root root",
    )  # fmt: skip
    tries = (
        "alice: ls d-closed; ls d-read; ls closed; ls readable; ls pipe; ls a.tmp", "alice: get closed /dev/null",
        "alice: get readable /dev/null", "alice: cd d-read; ls", "alice: mkdir d-closed/x", "alice: rm readable",
        "alice: put f readable; put f closed",
    )  # fmt: skip
    for name, lines in {
        "none": {}, "files": {"hide files": "/*.TMP/d-t*/"}, "dot-no": {"hide dot files": "no"},
        "unreadable": {"hide unreadable": "yes"}, "unwriteable": {"hide unwriteable files": "yes"},
        "special": {"hide special files": "yes"}, "both": {"hide unwriteable files": "yes", "hide unreadable": "yes"},
    }.items():  # fmt: skip
        yield Row(f"hide-{name}", {**PLAIN, **lines}, there, tries)
        yield Row(f"hide-stored-{name}", {**STORED, **lines}, there, tries)
        yield Row(f"hide-admin-{name}", {**PLAIN, **lines, "admin users": "{alice}"}, there, tries)


def attributes() -> Iterator[Row]:
    there = (
        *WORLD, "file plain 0666 alice alice", "file x 0777 alice alice", "file r 0444 alice alice",
        "file gx 0676 alice alice", "file ox 0667 alice alice", "file roots 0644 root root",
        "file bobs 0664 bob team", "file all 0666 bob bob", "dir d 0755 alice alice", "dir dr 0555 alice alice",
    )  # fmt: skip
    sets = {name: f"alice: setmode {name}" for name in ("x", "r", "gx", "ox", "d", "dr", "roots", "bobs", "all")}
    stored = (
        "alice: put f new; setmode new +r", "alice: put f h; setmode h +h", "alice: put f s; setmode s +s",
        "alice: put f n; setmode n -a", "alice: put f new", "alice: put f n", f"{sets['x']} -a", f"{sets['gx']} -s",
        f"{sets['ox']} -h", f"{sets['d']} +h", f"{sets['all']} +h",
    )  # fmt: skip
    read_only = ("alice: setmode plain +r", "alice: rm plain", "alice: setmode plain -r", "alice: rm plain")
    maps = {
        "none": {}, "archive": {"map archive": "yes"}, "hidden": {"map hidden": "yes"},
        "hidden-masked": {"map hidden": "yes", "create mask": "0775"}, "system": {"map system": "yes"},
        "hidden-open": {"map hidden": "yes", "create mask": "0777"},
        "system-open": {"map system": "yes", "create mask": "0777"}, "read-only": {"map readonly": "yes"},
        "permissions": {"map readonly": "permissions"}, "read-only-no": {"map readonly": "no"},
        "all": {"map archive": "yes", "map hidden": "yes", "map system": "yes", "map readonly": "yes",
                "create mask": "0777"},
    }  # fmt: skip
    for name, lines in maps.items():
        yield Row(f"map-stored-{name}", {**PLAIN, **lines}, there, (*stored, *read_only))
        if name not in ("none", "read-only-no"):
            yield Row(f"map-unix-{name}", {**UNIX, **lines}, there, tuple(s for s in stored if "+r" not in s))
    yield Row("map-unix-shown", UNIX, there, ())
    for name in ("read-only", "permissions"):
        yield Row(f"map-unix-set-{name}", {**UNIX, **maps[name]}, there, read_only[:1])
    for value in ("yes", "no"):
        yield Row(f"delete-readonly-{value}", {**PLAIN, "delete readonly": value}, there, read_only)


def lists() -> Iterator[Row]:
    there = (
        *WORLD, "file roots 0600 root root", "file alice-f 0666 root root", "dir alice-e 0777 root root",
        "file bob-f 0666 root root", "dir bob-e 0777 root root",
    )  # fmt: skip
    steps = tuple(
        f"{user}: put f {user}; mkdir {user}-d; setmode {user}-f +h; get roots /dev/null; rm {user}-f; rmdir {user}-e"
        for user in ("alice", "bob")
    )
    for name, lines in {
        "read": {"read list": "{alice}"}, "read-group": {"read list": "@{team}"}, "read-plus": {"read list": "+{team}"},
        "write": {"read only": "yes", "write list": "{alice}"},
        "write-group": {"read only": "yes", "write list": "@{team}"},
        "admin": {"admin users": "{alice}"}, "admin-read-only": {"read only": "yes", "admin users": "{alice}"},
        "admin-read-list": {"admin users": "{alice}", "read list": "{alice}"},
        "admin-write-list": {"read only": "yes", "admin users": "{alice}", "write list": "{alice}"},
        "admin-invalid": {"admin users": "{alice}", "invalid users": "@{team}"},
        "admin-not-valid": {"admin users": "{alice}", "valid users": "{bob}"},
        "force-read": {"force user": "{bob}", "read list": "{alice}"},
        "force-read-bob": {"force user": "{bob}", "read list": "{bob}"},
        "force-write": {"read only": "yes", "force user": "{bob}", "write list": "{bob}"},
        "force-valid": {"force user": "{bob}", "valid users": "{alice}"},
    }.items():
        yield Row(f"list-{name}", {**PLAIN, **lines}, there, steps)


def descriptors() -> Iterator[Row]:
    there = (
        *WORLD, "file mine 0640 alice team", "file full 0777 alice team", "file his 0664 bob team",
        "file acl 0640 bob bob", "acl acl u:alice:rw-,g:team:r-x", "dir d 0775 bob team", "file roots 0666 root root",
        "dir full-d 0777 alice team", "file grouped 0640 bob team",
    )  # fmt: skip
    shown = tuple(f"alice acl {name}" for name in ("mine", "full", "his", "acl", "d", "roots", "full-d", "grouped"))
    sets = (
        "alice set his D:(A;;0x1f01ff;;;{alice})(A;;0x120089;;;{bob})", "alice set roots D:(A;;0x120089;;;WD)",
        "alice set grouped D:(A;;0x1f01ff;;;WD)", "alice set acl D:(A;;0x1f01ff;;;{alice})",
    )  # fmt: skip
    for name, lines in {
        "none": {}, "filemode": {"dos filemode": "yes"}, "full-control-no": {"acl map full control": "no"},
    }.items():  # fmt: skip
        yield Row(f"descriptor-{name}", {**PLAIN, **lines}, there, shown)
        # How a list becomes a POSIX ACL is each server's own; who may set it is not.
        yield Row(f"descriptor-set-{name}", {**PLAIN, **lines}, there, sets, disk=False)
    for kind, base in {"plain": PLAIN, "stored": STORED}.items():
        yield Row(f"nt-acl-no-{kind}", {**base, "nt acl support": "no"}, there, (*shown, sets[2], *shown))
    for value in ("yes", "no"):
        eas = ("alice: setea mine user.x 1", "alice: listea mine", "alice: setea nothing a b")
        yield Row(f"ea-{value}", {**PLAIN, "ea support": value}, there, eas)
        lines = {"store dos attributes": value, "ea support": "no"}
        yield Row(f"ea-attributes-{value}", {**PLAIN, **lines}, there, ("alice: setmode mine +h",))


ROWS = {row.name: row for row in rows()}
LISTED = {
    "listed-none": {}, "listed-valid": {"valid users": "{alice}"}, "listed-invalid": {"invalid users": "{bob}"},
    "listed-hidden": {"valid users": "{alice}", "access based share enum": "yes"},
    "listed-invalid-hidden": {"invalid users": "{bob}", "access based share enum": "yes"},
    "listed-all": {"access based share enum": "yes"}, "listed-group": {"access based share enum": "yes",
                                                                        "valid users": "@{team}"},
}  # fmt: skip
"""Shares that are only listed."""


@pytest.fixture(scope="module")
def both() -> Iterator[Beside]:
    with people() as them:
        wanted = {**{row.name: row.lines for row in ROWS.values()}, **LISTED}
        more = {name: {key: named(value, them) for key, value in lines.items()} for name, lines in wanted.items()}
        with beside(them, more=more) as result:
            (result.folder / "f").write_text("x")
            yield result


def named(value: str, them: People) -> str:
    return value.format(alice=them.alice, bob=them.bob, team=them.team)


@pytest.mark.parametrize("name", ROWS)
def test_a_parameter_means_what_it_means_to_samba(both: Beside, name: str) -> None:
    difference = compare(both, ROWS[name])
    assert not difference, f"ROW {name} {ROWS[name].lines}\n{difference}"


@pytest.mark.parametrize("user", ["alice", "bob"])
def test_shares_that_a_user_is_shown(both: Beside, user: str) -> None:
    found = {}
    for server in (SAMBA, OURS):
        text = both.shares(server, getattr(both.people, user))
        found[NAMES[server]] = [name for name in LISTED if f"|{name}|" in text]
    assert found["ours"] == found["Samba"] and found["ours"]
