# SPDX-License-Identifier: GPL-2.0-or-later
"""The ground of the oracle: a small file system in a mount namespace of its own, trees on it, and what they hold.

Nothing outlives the process that called `enter`: the mounts are its namespace's, and their memory goes with it.
"""
from __future__ import annotations

import ctypes
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from struct import Struct
from typing import Any

CLONE_NEWNS = 0x00020000
MS_NOSUID, MS_NODEV, MS_NOATIME, MS_REC, MS_PRIVATE = 2, 4, 1024, 16384, 1 << 18
SIZE = "48m"
SERVER_KEEPS = ("user.DOSATTRIB", "user.SmbObjectId")
"""Extended attributes that the server writes for itself, by a handle's access: not the user's."""
OLD = 1_000_000_000
"""The second at which everything in a fresh tree was written."""

USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
NOBODY_ID = 0xFFFFFFFF


def enter(kind: str) -> str:
    """A mount namespace with an empty file system (`tmpfs` or `ext4`) in it: its folder. Needs root; raises OSError.

    OSError too where it keeps no user attributes or no POSIX ACLs."""
    libc = ctypes.CDLL(None, use_errno=True)

    def check(result: int, what: str) -> None:
        if result:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), what)

    check(libc.unshare(CLONE_NEWNS), "unshare")
    check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "private mounts")
    folder = "/mnt"  # there on every system, and everybody may pass it
    flags = MS_NOSUID | MS_NODEV | MS_NOATIME
    check(libc.mount(b"oracle", folder.encode(), b"tmpfs", flags, f"size={SIZE},mode=755".encode()), folder)
    if kind == "ext4":
        image, inner = f"{folder}/image", f"{folder}/inner"
        with open(image, "wb") as file:
            file.truncate(32 << 20)
        os.mkdir(inner)
        subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", image], check=True)
        subprocess.run(["mount", "-o", "loop,nosuid,nodev,noatime,acl,user_xattr", image, inner], check=True)
        folder = inner
    os.chmod(folder, 0o755)
    with tempfile.NamedTemporaryFile(dir=folder) as probe:
        os.setxattr(probe.name, "user.probe", b"x")
        os.setxattr(probe.name, "system.posix_acl_access", encode_acl([(USER_OBJ, 7, NOBODY_ID), (USER, 7, 5),
                    (GROUP_OBJ, 7, NOBODY_ID), (MASK, 7, NOBODY_ID), (OTHER, 0, NOBODY_ID)]))  # fmt: skip
    return folder


# --------------------------------------------------------------------------------------------------------- trees


@dataclass
class Entry:
    """One entry of a fresh tree."""

    path: str
    kind: str
    """`dir`, `file`, `link` (symbolic), `hard`, `fifo`."""
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    content: str = ""
    """Of a file its text; of a link its target, `{root}` being the tree's own folder; of a hard link the other name."""
    acl: list[tuple[int, int, int]] = field(default_factory=list)
    default: list[tuple[int, int, int]] = field(default_factory=list)
    """(tag, rwx, id) of the access and of the default ACL."""
    attributes: dict[str, str] = field(default_factory=dict)
    dos: int = 0
    """FILE_ATTRIBUTE_* kept with it, 0 for none."""

    def text(self) -> str:
        """As a line that shows what differs from nothing."""
        shown = {key: value for key, value in asdict(self).items() if value and key not in ("path", "kind", "mode")}
        more = "".join(f" {key}={value!r}" for key, value in shown.items())
        return f"{self.kind:4} {self.mode:04o} {self.path or '.'}{more}"


def encode_acl(entries: Iterable[tuple[int, int, int]]) -> bytes:
    """The kernel's form of a POSIX ACL."""
    one = Struct("<HHI")
    return Struct("<I").pack(2) + b"".join(one.pack(*entry) for entry in sorted(entries, key=lambda e: (e[0], e[2])))


def dos_attribute(attributes: int) -> bytes:
    """user.DOSATTRIB, version 5, without a creation time."""
    return Struct("<HHHHIIQ").pack(0, 5, 5, 0, 1, attributes, 0)


def dos_of(value: bytes) -> int:
    """The attributes in user.DOSATTRIB as the server writes it."""
    return int.from_bytes(value[12:16], "little") if len(value) == 24 and value[8] & 1 else 0


def build(root: str, entries: Iterable[Entry]) -> None:
    """Make the tree at `root`, which does not exist yet; the entry with the path '' is the folder itself."""
    made = list(entries)
    for entry in made:
        path = f"{root}/{entry.path}" if entry.path else root
        if entry.kind == "dir":
            os.mkdir(path)
        elif entry.kind == "link":
            os.symlink(entry.content.replace("{root}", root), path)
            os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
            continue
        elif entry.kind == "hard":
            os.link(f"{root}/{entry.content}", path)
            continue
        elif entry.kind == "fifo":
            os.mkfifo(path)
        else:
            with open(path, "wb") as file:
                file.write(entry.content.encode())
        os.chown(path, entry.uid, entry.gid)
        os.chmod(path, entry.mode)
        for name, value in entry.attributes.items():
            os.setxattr(path, name, value.encode())
        if entry.dos:
            os.setxattr(path, "user.DOSATTRIB", dos_attribute(entry.dos))
        if entry.acl:
            os.setxattr(path, "system.posix_acl_access", encode_acl(entry.acl))
        if entry.default:
            os.setxattr(path, "system.posix_acl_default", encode_acl(entry.default))
    for entry in reversed(made):
        if entry.kind in ("dir", "file", "fifo"):
            os.utime(f"{root}/{entry.path}" if entry.path else root, (OLD, OLD))


Snapshot = dict[str, dict[str, Any]]


def snapshot(root: str, began: float) -> Snapshot:
    """Everything below and with `root`: path -> what it is. Times since `began` are `now`."""
    found: Snapshot = {}
    first: dict[int, str] = {}
    stack = [""]
    while stack:
        path = stack.pop()
        full = f"{root}/{path}" if path else root
        info = os.lstat(full)
        kind = stat.S_IFMT(info.st_mode)
        what: dict[str, Any] = {
            "kind": oct(kind), "mode": oct(stat.S_IMODE(info.st_mode)), "uid": info.st_uid, "gid": info.st_gid,
            "ino": info.st_ino,
        }  # fmt: skip
        if kind == stat.S_IFLNK:
            what["target"] = os.readlink(full).replace(root, "{root}")
        else:
            what["mtime"] = "now" if info.st_mtime >= began else info.st_mtime
            what["attributes"] = {
                name: os.getxattr(full, name).hex() for name in sorted(os.listxattr(full)) if name not in SERVER_KEEPS
            }
        if kind == stat.S_IFDIR:
            stack += [f"{path}/{name}" if path else name for name in os.listdir(full)]
            del what["mtime"]  # taking back what was made shows in it
        elif kind == stat.S_IFREG:
            with open(full, "rb") as file:
                what["content"] = file.read().hex()
            what["links"] = info.st_nlink
        found[path] = what
    for path in sorted(found):
        what = found[path]
        if what.get("links", 1) > 1:
            what["same as"] = first.setdefault(what["ino"], path)
    return found


def kept(root: str) -> dict[str, dict[str, bytes]]:
    """path -> the attributes of SERVER_KEEPS."""
    found: dict[str, dict[str, bytes]] = {}
    for folder, folders, files in os.walk(root):
        for full in [folder, *(f"{folder}/{name}" for name in (*folders, *files))]:
            if not os.path.islink(full):
                values = {name: os.getxattr(full, name) for name in os.listxattr(full) if name in SERVER_KEEPS}
                found[full[len(root) + 1 :]] = values
    return found


def keep(root: str, values: dict[str, dict[str, bytes]]) -> None:
    """Give a tree what `kept` found in its twin."""
    mine = kept(root)
    for path, want in values.items():
        have = mine.get(path)
        if have is None or have == want:
            continue
        full = f"{root}/{path}" if path else root
        times = os.stat(full)
        for name in have.keys() - want.keys():
            os.removexattr(full, name)
        for name, value in want.items():
            if have.get(name) != value:
                os.setxattr(full, name, value)
        os.utime(full, ns=(times.st_atime_ns, times.st_mtime_ns))


def differences(one: Snapshot, other: Snapshot) -> list[str]:
    """What differs, a line each; inode numbers do not count."""
    lines = []
    for path in sorted(one.keys() | other.keys()):
        mine, theirs = one.get(path), other.get(path)
        if mine is None or theirs is None:
            lines.append(f"{path or '.'}: {'only ours' if theirs is None else 'only theirs'}")
            continue
        for key in sorted((mine.keys() | theirs.keys()) - {"ino"}):
            if mine.get(key) != theirs.get(key):
                lines.append(f"{path or '.'}: {key}: ours {mine.get(key)!r}, theirs {theirs.get(key)!r}")
    return lines
