# SPDX-License-Identifier: GPL-2.0-or-later
"""Draws: from one number a tree, a user, a share and some steps. Pure; the same number is the same draw."""
from __future__ import annotations

from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from ground import GROUP, GROUP_OBJ, MASK, NOBODY_ID, OTHER, USER, USER_OBJ, Entry

from ksmbd.smb import constants as c
from ksmbd.smb.acl import ACCESS_ALLOWED, ACCESS_DENIED, Ace, Acl
from ksmbd.smb.security_descriptor import SE_DACL_PRESENT, SE_SELF_RELATIVE, SecurityDescriptor
from ksmbd.smb.sid import EVERYONE, NFS_MODE, UNIX_GROUPS, UNIX_USERS, Sid
from ksmbd.vfs.reparse import encode_symlink

UIDS = (7001, 7002, 7003)
GIDS = (8001, 8002, 8003, 8004)
MODES = (7, 7, 7, 7, 7, 6, 6, 5, 4, 3, 2, 1, 0)


@dataclass
class User:
    """Whose process and whose session."""

    uid: int
    gid: int
    groups: list[int]


@dataclass
class Step:
    """One open, one operation on it, one close. Names have `/`."""

    op: str
    path: str
    access: int = 0
    disposition: int = c.FILE_OPEN
    directory: bool | None = None
    reparse: bool = False
    posix: int | None = None
    attributes: int = 0
    stream: str = ""
    allocation: int = 0
    descriptor: str | None = None
    """Hexadecimal; of the create context, or of op `permissions`."""
    information: int = 0
    eas: list[tuple[str, str]] = field(default_factory=list)
    offset: int = 0
    text: str = ""
    target: str = ""
    replace: bool = False
    seconds: int = 0

    def line(self) -> str:
        """The call, without what is as always."""
        plain = Step("", "")
        more = {key: value for key, value in asdict(self).items() if value != getattr(plain, key) and key != "op"}
        for key in ("access", "information", "attributes"):
            if key in more:
                more[key] = hex(more[key])
        if "posix" in more:
            more["posix"] = oct(more["posix"])
        return f"{self.op}({', '.join(f'{key}={value}' for key, value in more.items())})"


@dataclass
class Draw:
    """One of them."""

    number: int
    user: User
    share: dict[str, Any]
    tree: list[Entry]
    steps: list[Step]

    def script(self) -> str:
        """Readable, and complete."""
        lines = [f"draw {self.number}: as {self.user}, share {self.share}"]
        lines += [f"  {entry.text()}" for entry in self.tree]
        lines += [f"  {index}. {step.line()}" for index, step in enumerate(self.steps, 1)]
        return "\n".join(lines)


def from_plain(data: dict[str, Any]) -> Draw:
    """What `dataclasses.asdict` made of a draw."""
    tree = [Entry(**entry) for entry in data["tree"]]
    steps = [Step(**{**step, "eas": [tuple(ea) for ea in step["eas"]]}) for step in data["steps"]]
    return Draw(data["number"], User(**data["user"]), data["share"], tree, steps)


# ---------------------------------------------------------------------------------------------------------- trees


def _mode(r: Random) -> int:
    return r.choice(MODES) << 6 | r.choice(MODES) << 3 | r.choice(MODES)


def _acl(r: Random) -> list[tuple[int, int, int]]:
    entries = [(tag, r.choice(MODES), NOBODY_ID) for tag in (USER_OBJ, GROUP_OBJ, MASK, OTHER)]
    entries += [(USER, r.choice(MODES), uid) for uid in UIDS if r.random() < 0.4]
    entries += [(GROUP, r.choice(MODES), gid) for gid in GIDS if r.random() < 0.3]
    return entries


def _entry(r: Random, path: str, kind: str) -> Entry:
    entry = Entry(path, kind, _mode(r), r.choice((*UIDS, *UIDS, 0)), r.choice((*GIDS, *GIDS, 0)))
    if r.random() < 0.4:
        entry.uid = UIDS[0]
        entry.mode |= r.choice((0, 0o600, 0o700))
    if kind == "dir":
        entry.mode |= r.choice((0, 0, 0, 0o1000, 0o2000))
        if r.random() < 0.6:
            entry.mode |= 0o777
        if r.random() < 0.15:
            entry.default = _acl(r)
    elif kind == "file":
        entry.mode |= r.choice((0, 0, 0o4000, 0o2000, 0o6000, 0o1000))
        entry.content = r.choice(("", "", "text", "longer text"))
        if r.random() < 0.1:
            entry.dos = c.FILE_ATTRIBUTE_READONLY
    if kind in ("dir", "file"):
        if r.random() < 0.15:
            entry.acl = _acl(r)
        if r.random() < 0.2:
            entry.attributes["user.old"] = "value"
        if r.random() < 0.2:
            entry.attributes["user.DosStream.s:$DATA"] = "stream\0"
    return entry


def _tree(r: Random) -> list[Entry]:
    entries = _entries(r)
    if r.random() < 0.5:
        # One that lets the user do most of it.
        for entry in entries:
            if entry.kind == "dir" and r.random() < 0.9:
                entry.mode |= 0o777
                entry.acl = []
            elif entry.kind == "file" and r.random() < 0.7:
                entry.uid = UIDS[0]
                entry.mode |= 0o600
    return entries


def _entries(r: Random) -> list[Entry]:
    root = _entry(r, "", "dir")
    if r.random() < 0.8:
        root.mode |= 0o777
    root.acl = []
    entries = [root]
    folders = [""]
    for index in range(r.randint(1, 4)):
        above = r.choice(folders)
        path = f"{above}/d{index}" if above else f"d{index}"
        folders.append(path)
        entries.append(_entry(r, path, "dir"))
    names = []
    for index in range(r.randint(2, 6)):
        path = _below(r.choice(folders), f"f{index}")
        names.append(path)
        entries.append(_entry(r, path, "file"))
    if r.random() < 0.3:
        entries.append(_entry(r, _below(r.choice(folders), "p"), "fifo"))
    for index in range(r.choice((0, 0, 1, 2))):
        entry = Entry(_below(r.choice(folders), f"h{index}"), "hard", content=r.choice(names))
        entries.append(entry)
    for index in range(r.choice((0, 1, 2, 3))):
        folder = r.choice(folders)
        inside = r.choice([*names, *folders[1:], "missing"])
        up = "../" * (folder.count("/") + 1 if folder else 0)
        target = r.choice((up + inside, up + inside, up + inside, "{root}/" + inside, "../" * 9 + "etc/hostname"))
        entries.append(Entry(_below(folder, f"l{index}"), "link", 0o777, r.choice(UIDS), r.choice(GIDS), target))
    return entries


def _below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


# ---------------------------------------------------------------------------------------------------------- steps

OPERATIONS = (
    ("nothing", 10), ("read", 5), ("write", 12), ("truncate", 5), ("allocate", 3), ("zero", 3), ("copy", 5),
    ("times", 6), ("attributes", 4), ("permissions", 14), ("rename", 12), ("link", 7), ("delete", 10), ("list", 5),
    ("get_eas", 4), ("set_eas", 6), ("stream_read", 3), ("stream_write", 6), ("stream_delete", 3), ("symlink", 5),
    ("maximal", 3), ("stream_rename", 4), ("pipe", 4), ("sparse", 2), ("look_up", 3), ("object_id", 2),
    ("delete_on_close", 5), ("take_back", 2), ("unlink_symlink", 2),
)  # fmt: skip
NEEDS = {
    "read": c.FILE_READ_DATA, "write": c.FILE_WRITE_DATA, "truncate": c.FILE_WRITE_DATA,
    "allocate": c.FILE_WRITE_DATA, "zero": c.FILE_WRITE_DATA, "copy": c.FILE_WRITE_DATA,
    "times": c.FILE_WRITE_ATTRIBUTES, "attributes": c.FILE_WRITE_ATTRIBUTES, "rename": c.DELETE,
    "link": c.FILE_WRITE_ATTRIBUTES, "delete": c.DELETE, "list": c.FILE_LIST_DIRECTORY, "get_eas": c.FILE_READ_EA,
    "set_eas": c.FILE_WRITE_EA, "stream_read": c.FILE_READ_DATA, "stream_write": c.FILE_WRITE_DATA,
    "stream_delete": c.DELETE, "symlink": c.FILE_WRITE_ATTRIBUTES, "nothing": c.FILE_READ_ATTRIBUTES,
    "maximal": c.FILE_READ_ATTRIBUTES, "stream_rename": c.DELETE, "pipe": c.FILE_WRITE_DATA,
    "sparse": c.FILE_WRITE_ATTRIBUTES, "look_up": c.FILE_LIST_DIRECTORY, "object_id": c.FILE_READ_ATTRIBUTES,
    "delete_on_close": c.DELETE, "take_back": c.FILE_READ_ATTRIBUTES, "unlink_symlink": c.FILE_WRITE_ATTRIBUTES,
}  # fmt: skip
"""The access that the protocol demands of the handle (MS-SMB2 3.3.5, MS-FSA 2.1.5)."""
EXTRA = (
    c.READ_CONTROL, c.SYNCHRONIZE, c.FILE_READ_DATA, c.FILE_WRITE_DATA, c.FILE_APPEND_DATA, c.FILE_EXECUTE, c.DELETE,
    c.WRITE_DAC, c.WRITE_OWNER, c.FILE_READ_EA, c.FILE_WRITE_EA, c.FILE_WRITE_ATTRIBUTES, c.MAXIMUM_ALLOWED,
    c.FILE_GENERIC_READ, c.FILE_GENERIC_WRITE, c.FILE_DELETE_CHILD,
)  # fmt: skip


def _sid(r: Random, user: User) -> Sid:
    mine = r.random() < 0.5
    if r.random() < 0.5:
        return UNIX_USERS.child(user.uid if mine else r.choice((0, *UIDS)))
    return UNIX_GROUPS.child(r.choice([user.gid, *user.groups]) if mine else r.choice((0, *GIDS)))


def _descriptor(r: Random, user: User, information: int) -> str:
    owner = group = dacl = None
    control = SE_SELF_RELATIVE
    if information & c.OWNER_SECURITY_INFORMATION:
        owner = UNIX_USERS.child(user.uid if r.random() < 0.5 else r.choice((0, *UIDS)))
    if information & c.GROUP_SECURITY_INFORMATION:
        mine = r.random() < 0.6
        group = UNIX_GROUPS.child(r.choice([user.gid, *user.groups]) if mine else r.choice((0, *GIDS)))
    if information & c.DACL_SECURITY_INFORMATION:
        control |= SE_DACL_PRESENT
        aces = []
        for _ in range(r.randint(0, 4)):
            sid = EVERYONE if r.random() < 0.3 else _sid(r, user)
            mask = r.choice((c.FILE_ALL_ACCESS, c.FILE_GENERIC_READ, c.FILE_GENERIC_WRITE, c.FILE_GENERIC_EXECUTE))
            aces.append(Ace(r.choice((ACCESS_ALLOWED, ACCESS_ALLOWED, ACCESS_DENIED)), 0, mask, sid))
        if r.random() < 0.15:  # as cifs.ko says a mode (`modefromsid`)
            aces.insert(0, Ace(ACCESS_ALLOWED, 0, 0, NFS_MODE.child(_mode(r) | r.choice((0, 0o4000, 0o2000, 0o6000)))))
        dacl = Acl(tuple(aces))
    return SecurityDescriptor(control, owner, group, dacl).encode().hex()


ALL = ("dir", "file", "link", "hard", "fifo")
KINDS = {
    "read": ("file", "hard"), "write": ("file", "hard"), "truncate": ("file", "hard"), "allocate": ("file", "hard"),
    "zero": ("file", "hard"), "copy": ("file", "hard"), "list": ("dir",), "link": ("file", "hard", "fifo"),
    "rename": ("file", "hard", "link", "dir"), "delete": ("file", "hard", "link"), "times": ("file", "dir"),
    "permissions": ("file", "dir"), "stream_read": ("file", "dir"), "stream_write": ("file", "dir"),
    "stream_delete": ("file", "dir"), "stream_rename": ("file", "dir"), "pipe": ("file", "hard"), "look_up": ("dir",),
    "delete_on_close": ("file", "hard", "link"),
}  # fmt: skip


def _path(r: Random, tree: list[Entry], fresh: float, kinds: tuple[str, ...] = ALL) -> str:
    entries = [entry.path for entry in tree]
    folders = [entry.path for entry in tree if entry.kind == "dir"]
    chance = r.random()
    if chance < fresh:
        return _below(r.choice(folders), r.choice(("n0", "n1", "n2")))
    if chance < fresh + 0.03:
        return _below(r.choice(entries), "x/y")
    links = [entry.path for entry in tree if entry.kind == "link"]
    if links and chance > 0.95:
        return _below(r.choice(links), r.choice(("f0", "f1", "d1", "n0")))
    wanted = [entry.path for entry in tree if entry.kind in kinds] if r.random() < 0.8 else entries
    return r.choice(wanted or entries)


def _step(r: Random, tree: list[Entry], user: User, share: dict[str, Any]) -> Step:
    op = r.choices([name for name, _ in OPERATIONS], [weight for _, weight in OPERATIONS])[0]
    makes = op in ("nothing", "write", "permissions", "stream_write", "symlink", "take_back", "delete_on_close")
    step = Step(op, _path(r, tree, 0.25 if makes else 0.04, KINDS.get(op, ALL)))
    step.access = NEEDS.get(op, 0)
    for extra in EXTRA:
        if r.random() < 0.04:
            step.access |= extra
    step.disposition = r.choice((c.FILE_OPEN, c.FILE_OPEN, c.FILE_OPEN_IF, c.FILE_OPEN_IF, c.FILE_CREATE,
                                 c.FILE_OVERWRITE, c.FILE_OVERWRITE_IF, c.FILE_SUPERSEDE))  # fmt: skip
    if op not in ("nothing", "write", "stream_write", "stream_read", "set_eas"):
        step.disposition = r.choice((c.FILE_OPEN, c.FILE_OPEN, c.FILE_OPEN_IF))
    kind = next((entry.kind for entry in tree if entry.path == step.path), "")
    if op in ("list", "look_up") or r.random() < (0.1 if kind != "dir" else 0.5):
        step.directory = True
    elif r.random() < 0.1:
        step.directory = False
    if op in KINDS and op not in ("list", "look_up") and step.directory:
        step.directory = None
    if step.directory and step.disposition in (c.FILE_OVERWRITE, c.FILE_OVERWRITE_IF, c.FILE_SUPERSEDE):
        step.disposition = c.FILE_OPEN_IF
    step.reparse = r.random() < (0.6 if kind == "link" else 0.1)
    if r.random() < 0.25:
        step.posix = _mode(r) | r.choice((0, 0, 0o4000, 0o2000, 0o6000, 0o1000))
    if r.random() < 0.15:
        step.attributes = r.choice((c.FILE_ATTRIBUTE_HIDDEN, c.FILE_ATTRIBUTE_READONLY, c.FILE_ATTRIBUTE_ARCHIVE))
    step.offset = r.choice((0, 0, 2, 4, 20))
    step.text = r.choice(("x", "some", "words of U"))
    if op.startswith("stream"):
        step.stream = r.choice(("s", "s", "t"))
        step.directory = None
    if op == "set_eas" or r.random() < 0.08:
        step.eas = [(r.choice(("old", "new")), r.choice(("", "1", "22")))]
    if step.disposition != c.FILE_OPEN and r.random() < 0.05:
        step.allocation = 8192
    if op == "permissions":
        step.information = r.choice((1, 2, 4, 4, 4, 3, 7))
        if step.information & 3:
            step.access |= c.WRITE_OWNER
        if step.information & 4:
            step.access |= c.WRITE_DAC
        step.descriptor = _descriptor(r, user, step.information)
    elif step.disposition != c.FILE_OPEN and r.random() < 0.2:
        step.descriptor = _descriptor(r, user, r.choice((4, 4, 5, 6, 7)))
    step.replace = r.random() < 0.5
    if op in ("rename", "link"):
        step.target = _path(r, tree, 0.5, ("file", "hard", "link"))
    elif op == "copy":
        step.target = r.choice([entry.path for entry in tree if entry.kind == "file"])
    elif op == "symlink":
        step.target = "f0"
        data = encode_symlink("f0", True)
        step.text = (0xA000000C.to_bytes(4, "little") + len(data).to_bytes(4, "little") + data).hex()
        step.reparse = True
        step.stream = ""
    elif op == "look_up":
        step.target = r.choice(("f0", "f1", "d1", "l0", "n0"))
    elif op == "take_back":
        step.disposition = c.FILE_CREATE
    elif op == "unlink_symlink":
        step.reparse = True
    elif op == "times":
        step.seconds = r.randint(1_100_000_000, 1_200_000_000)
    return step


def draw(number: int) -> Draw:
    """The draw of this number."""
    r = Random(number)
    gid, *groups = r.sample(GIDS, r.randint(1, 3))
    user = User(UIDS[0] if r.random() < 0.7 else UIDS[1], gid, groups)
    share = {
        "acl": r.random() < 0.12, "kernel": r.random() < 0.15, "follow": r.random() < 0.7, "dos": r.random() < 0.8,
        "file mode": r.choice((0o744, 0o744, 0o666, 0o640, 0o770)),
        "folder mode": 0, "directory mode": r.choice((0o755, 0o755, 0o777, 0o750)),
    }  # fmt: skip
    del share["folder mode"]
    tree = _tree(r)
    return Draw(number, user, share, tree, [_step(r, tree, user, share) for _ in range(r.randint(2, 7))])
