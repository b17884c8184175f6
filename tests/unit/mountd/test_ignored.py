# SPDX-License-Identifier: GPL-2.0-or-later
"""Parameters without effect, in two groups."""

from __future__ import annotations

import pytest

from mountd import ignored
from mountd.config import parse
from mountd.ignored import Ignored, changes_access_or_data

DEBIAN = """
[global]
   workgroup = WORKGROUP
   log file = /var/log/samba/log.%m
   max log size = 1000
   logging = file
   panic action = /usr/share/samba/panic-action %d
   server role = standalone server
   obey pam restrictions = yes
   unix password sync = yes
   passwd program = /usr/bin/passwd %u
   passwd chat = *Enter* %n\\n .
   pam password change = yes
   map to guest = bad user
   usershare allow guests = yes
[data]
   path = /srv
   create mask = 0700
   recycle:keeptree = yes
   vfs objects = full_audit recycle streams_xattr
"""


def named(items: list[Ignored]) -> list[str]:
    return [item.name for item in items]


def test_what_has_no_effect_is_in_one_of_two_groups() -> None:
    both = ignored.groups(parse(DEBIAN, "smb.conf", samba=True).ignored)
    assert named(both.changes) == [
        "obey pam restrictions", "usershare allow guests", "recycle:keeptree",
        "vfs objects = recycle",
    ]  # fmt: skip
    assert {"panic action", "server role", "passwd program", "passwd chat",
            "vfs objects = full_audit"} <= set(named(both.harmless))
    assert "workgroup" not in named(both.harmless)


def test_an_item_tells_section_value_line_and_why() -> None:
    found = parse("[global]\nkerberos support = yes\n[a]\npath = /a\nread onyl = yes\ntcp port = 5\n", "c").ignored
    assert Ignored("a", "read onyl", "yes", 5, "not known", True) in found
    assert Ignored("a", "tcp port", "5", 6, "belongs in [global]", True) in found


def test_modules_are_left_out_in_a_ksmbd_conf_too() -> None:
    [item] = parse("[a]\npath = /a\nvfs objects = recycle acl_xattr\n", "ksmbd.conf").ignored
    assert (item.name, item.why, item.changes) == ("vfs objects = recycle", "module recycle is left out", True)


@pytest.mark.parametrize(
    ("name", "value", "changes"),
    [
        ("security", "auto", False),
        ("Security", "ADS", True),
        ("serverrole", "Member Server", True),
        ("enable privileges", "on", False),
        ("printable", "yes", True),
        ("printable", "no", False),
        ("printing", "bsd", False),
        ("winbind use default domain", "yes", False),
        ("idmap config * : range", "1-2", False),
        ("client min protocol", "SMB3", False),
        ("root preexec", "/bin/mount", True),
        ("root preexec", "", False),
        ("sync always", "yes", True),
        ("strict sync", "no", False),
        ("no such parameter", "x", True),
    ],
)
def test_harmless_is_only_what_is_known_as_such(name: str, value: str, changes: bool) -> None:
    assert changes_access_or_data(name, value) is changes


def test_a_line_for_each_group_that_is_not_empty() -> None:
    found = parse("[global]\nmagic = 1\nos level = 3\n", "smb.conf", samba=True).ignored
    assert ignored.lines(found) == [
        "without effect, though access or data may differ by it: magic (line 2)",
        "without effect and harmless: os level (line 3)",
    ]
    assert ignored.lines([]) == []


def test_a_line_names_at_most_so_many() -> None:
    many = [Ignored("global", f"p{number}", "1", number, "not known", True) for number in range(60)]
    [line] = ignored.lines(many)
    assert line.endswith("p39 (line 39) and 20 more")
