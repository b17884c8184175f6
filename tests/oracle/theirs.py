# SPDX-License-Identifier: GPL-2.0-or-later
"""A process of user U: each step as the system calls that U would make himself, and nothing else.

It runs with U's real, effective and saved ids, so that the kernel alone decides. Where SMB differs on purpose the
difference is `refuse(RULE)`, or something that `Outcome.as_root` gives to the caller, and its name is in rules.py.
"""
from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from typing import Any, NoReturn

from draws import Step, User
from rules import RULES

from ksmbd.kernel.files import RENAME_NOREPLACE, _renameat2, fallocate
from ksmbd.kernel.openat import RESOLVE_NO_SYMLINKS, openat2
from ksmbd.smb import constants as c
from ksmbd.smb.security_descriptor import parse_security_descriptor
from ksmbd.vfs import posix_acl
from ksmbd.vfs.idmap import IdMap

READS = c.FILE_READ_DATA | c.FILE_EXECUTE
WRITES = c.FILE_WRITE_DATA | c.FILE_APPEND_DATA
OVERWRITES = (c.FILE_SUPERSEDE, c.FILE_OVERWRITE, c.FILE_OVERWRITE_IF)
STREAM = "user.DosStream.{}:$DATA"
REPARSE = "user.SmbReparse"


class Refused(Exception):
    """By a rule."""


def refuse(rule: str) -> NoReturn:
    assert rule in RULES, rule
    raise Refused(rule)


@dataclass
class Outcome:
    """What became of a step."""

    ok: bool
    why: str = ""
    """The rule or the errno that refused it."""
    result: Any = None
    unopened: bool = False
    """The open itself was refused."""
    as_root: list[tuple[Any, ...]] = field(default_factory=list)
    """What a rule lets the server do beyond the user's rights: ('utime', path, times)."""


@dataclass
class Handle:
    parent: int
    name: str
    fd: int
    """The data, or O_PATH."""
    path: int
    """O_PATH of the same."""
    info: os.stat_result
    link: bool
    """It was opened through a symbolic link, which is what is renamed and deleted."""
    made: bool
    rights: int


class Process:
    """U's side. `root`: the tree's folder; `dos`: inode -> FILE_ATTRIBUTE_* that the server keeps."""

    def __init__(self, root: str, user: User, share: dict[str, Any]) -> None:
        self.root_path = root
        self.root = os.open(root, os.O_PATH | os.O_DIRECTORY)
        self.user = user
        self.share = share
        self.dos: dict[int, int] = {}
        self.full: set[int] = set()
        """Inodes of folders that are not empty, which the server knows by its own rights."""
        self.idmap = IdMap((1, 2, 3))
        self.fds: list[int] = []
        self.as_root: list[tuple[Any, ...]] = []
        os.umask(0)
        os.setgroups(user.groups)
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)

    def run(self, step: Step, dos: dict[int, int], full: set[int]) -> Outcome:
        self.dos = dos if self.share["dos"] else {}
        self.full = full
        self.as_root = []
        try:
            handle = self.open(step)
            result = getattr(self, "do_" + step.op)(step, handle)
            return Outcome(True, "", result, False, self.as_root)
        except Refused as rule:
            return Outcome(False, str(rule))
        except OSError as error:
            return Outcome(False, errno.errorcode.get(error.errno or 0, "?"))
        finally:
            for fd in self.fds:
                os.close(fd)
            self.fds = []

    def keep(self, fd: int) -> int:
        self.fds.append(fd)
        return fd

    # ------------------------------------------------------------------------------------------------- paths

    def folder(self, components: list[str]) -> int:
        if not components:
            return self.root
        path = "/".join(components)
        if not self.share["follow"]:
            return self.keep(openat2(self.root, path.encode(), os.O_PATH | os.O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS))
        fd = self.keep(os.open(path, os.O_PATH | os.O_DIRECTORY, dir_fd=self.root))
        self.inside(fd)
        return fd

    def inside(self, fd: int) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}")
        if path != self.root_path and not path.startswith(self.root_path + "/"):
            refuse("links stay inside")

    def entry(self, path: str) -> tuple[int, str, os.stat_result | None]:
        *above, name = path.split("/")
        parent = self.folder(above)
        try:
            return parent, name, os.lstat(name, dir_fd=parent)
        except FileNotFoundError:
            return parent, name, None

    # -------------------------------------------------------------------------------------------------- open

    def open(self, step: Step) -> Handle:
        if not step.path:
            return self.existing(step, self.root, ".", os.stat(self.root), False)
        parent, name, info = self.entry(step.path)
        if info is None:
            return self.new(step, parent, name)
        if not stat.S_ISLNK(info.st_mode) or step.reparse:
            return self.existing(step, parent, name, info, False)
        if step.disposition == c.FILE_CREATE:
            refuse("it is there")
        if step.posix is not None:
            refuse("a link that the client follows")
        if not self.share["follow"]:
            refuse("links are not followed")
        try:
            target = self.keep(os.open(name, os.O_PATH, dir_fd=parent))
        except FileNotFoundError:
            refuse("a link to nothing")
        self.inside(target)
        return self.existing(step, parent, name, os.stat(target), True)

    def existing(self, step: Step, parent: int, name: str, info: os.stat_result, link: bool) -> Handle:
        kind, disposition = stat.S_IFMT(info.st_mode), step.disposition
        folder = kind == stat.S_IFDIR
        if not step.stream:
            if disposition == c.FILE_CREATE:
                refuse("it is there")
            if (folder and step.directory is False) or (not folder and step.directory):
                refuse("the kind that was asked for")
            if folder and disposition in OVERWRITES:
                refuse("directories are not overwritten")
        overwrites = disposition in OVERWRITES and not step.stream
        access = step.access | (c.FILE_WRITE_DATA if overwrites else 0)
        path = self.keep(os.open(name, os.O_PATH | (0 if link else os.O_NOFOLLOW), dir_fd=parent))
        there = not step.stream
        if step.stream and kind in (stat.S_IFREG, stat.S_IFDIR):
            there = STREAM.format(step.stream) in os.listxattr(f"/proc/self/fd/{path}")
            if disposition in OVERWRITES or (not there and disposition in (c.FILE_CREATE, c.FILE_OPEN_IF)):
                access |= c.FILE_WRITE_DATA
        if disposition == c.FILE_SUPERSEDE and there and kind in (stat.S_IFREG, stat.S_IFDIR):
            access |= c.DELETE  # rule: replacing is deleting
        maximum = self.rights(path, info, parent, link)
        asked = access & ~c.MAXIMUM_ALLOWED
        if not step.stream:
            if kind not in (stat.S_IFREG, stat.S_IFDIR):
                if asked & (READS | WRITES):
                    refuse("special files have no data")
                maximum &= ~(READS | WRITES)
        if asked & ~maximum:
            refuse("rights beyond the mode")
        rights = maximum if access & c.MAXIMUM_ALLOWED else asked
        dos = self.dos.get(info.st_ino, 0)
        if dos & c.FILE_ATTRIBUTE_REPARSE_POINT and not step.reparse and self.may(path, os.R_OK):
            refuse("a link that the client follows")
        if kind == stat.S_IFREG and not step.stream:
            if dos & c.FILE_ATTRIBUTE_READONLY and step.posix is None and asked & WRITES:
                refuse("read-only attribute")
            if overwrites and dos & (c.FILE_ATTRIBUTE_HIDDEN | c.FILE_ATTRIBUTE_SYSTEM) & ~step.attributes:
                refuse("hidden and system stay")
        fd = path
        if not step.stream:
            if kind == stat.S_IFREG and asked & (READS | WRITES):
                how = os.O_WRONLY if not asked & READS else os.O_RDWR if asked & WRITES else os.O_RDONLY
                fd = self.keep(os.open(f"/proc/self/fd/{path}", how | os.O_NONBLOCK))
            elif folder and asked & c.FILE_LIST_DIRECTORY:
                fd = self.keep(os.open(f"/proc/self/fd/{path}", os.O_RDONLY | os.O_DIRECTORY))
            elif kind == stat.S_IFREG and rights & (READS | WRITES):
                fd = self.best(path)
        handle = Handle(parent, name, fd, path, info, link, False, rights)
        if step.stream:
            self.stream_open(step, handle)
        if overwrites:
            self.overwrite(step, handle)
        return handle

    def best(self, path: int) -> int:
        """MAXIMUM_ALLOWED: what can be opened."""
        for how in (os.O_RDWR, os.O_WRONLY, os.O_RDONLY):
            try:
                return self.keep(os.open(f"/proc/self/fd/{path}", how | os.O_NONBLOCK))
            except PermissionError:
                continue
        return path

    def may(self, path: int, mode: int) -> bool:
        return os.access(f"/proc/self/fd/{path}", mode, effective_ids=True)

    def rights(self, path: int, info: os.stat_result, parent: int, link: bool) -> int:
        """The rule `rights beyond the mode`."""
        if stat.S_ISLNK(info.st_mode):
            # Its own mode is rwx for everybody; what may be done to it is its folder's matter.
            return c.FILE_ALL_ACCESS
        bits = sum(bit for bit in (4, 2, 1) if self.may(path, bit))
        if bits == 7:
            return c.FILE_ALL_ACCESS
        granted = c.READ_CONTROL | c.SYNCHRONIZE | c.FILE_READ_ATTRIBUTES
        if bits & 4:
            granted |= c.FILE_GENERIC_READ | c.FILE_EXECUTE
        if bits & 2:
            granted |= c.FILE_GENERIC_WRITE | c.FILE_DELETE_CHILD
        if bits & 1 and stat.S_ISDIR(info.st_mode):
            granted |= c.FILE_EXECUTE
        if info.st_uid == self.user.uid:
            granted |= c.WRITE_DAC | c.WRITE_OWNER | c.DELETE | c.FILE_WRITE_ATTRIBUTES
        if info.st_ino != os.stat(self.root).st_ino:
            above = parent
            if link:  # the folder of what it leads to
                real = os.readlink(f"/proc/self/fd/{path}")
                above = self.keep(os.open(os.path.dirname(real), os.O_PATH))
            if self.may(above, os.W_OK | os.X_OK):
                folder = os.stat(above)
                if not folder.st_mode & stat.S_ISVTX or self.user.uid in (info.st_uid, folder.st_uid):
                    granted |= c.DELETE
        return granted

    def new(self, step: Step, parent: int, name: str) -> Handle:
        if step.disposition in (c.FILE_OPEN, c.FILE_OVERWRITE):
            refuse("it is not there")
        if step.attributes & c.FILE_ATTRIBUTE_READONLY and step.op == "delete_on_close":
            refuse("read-only attribute")
        share = self.share
        folder = bool(step.directory) and not step.stream
        mode = share["directory mode"] if folder else share["file mode"]
        if step.attributes & c.FILE_ATTRIBUTE_READONLY and not folder and not share["dos"]:
            mode &= ~0o222  # rule: read-only without attributes
        if step.posix is not None:
            mode = step.posix & ~(stat.S_ISUID | stat.S_ISGID)  # rule: no set-id bit of a client
        if folder:
            os.mkdir(name, mode, dir_fd=parent)
        else:
            self.keep(os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode, dir_fd=parent))
        try:
            path = self.keep(os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=parent))
            fd = path if folder else self.fds[-2]
            handle = Handle(parent, name, fd, path, os.stat(path), False, True, c.FILE_ALL_ACCESS)
            if step.descriptor is not None:
                self.permissions(handle, bytes.fromhex(step.descriptor), None)
            self.set_eas(handle, step.eas)
            if step.allocation and not folder and not step.stream:
                fallocate(fd, 1, 0, step.allocation)
            if step.stream:
                self.stream_open(step, handle)
            if share["dos"] and step.posix is None:
                self.dos[handle.info.st_ino] = step.attributes  # who makes it may write to it first
            return handle
        except (OSError, Refused):
            (os.rmdir if folder else os.unlink)(name, dir_fd=parent)
            raise

    def overwrite(self, step: Step, handle: Handle) -> None:
        os.ftruncate(handle.fd, 0)
        target = self.target(handle)
        for name in os.listxattr(target):
            if name.startswith("user.") and not name.lower().startswith(("user.dosattrib", "user.smb")):
                os.removexattr(target, name)
        self.set_eas(handle, step.eas)

    def target(self, handle: Handle) -> str:
        return f"/proc/self/fd/{handle.path}"

    # ---------------------------------------------------------------------------------------------- operations

    def do_nothing(self, step: Step, handle: Handle) -> None:
        pass

    def do_read(self, step: Step, handle: Handle) -> str:
        return os.pread(handle.fd, 100, step.offset).hex()

    def do_write(self, step: Step, handle: Handle) -> None:
        os.pwrite(handle.fd, step.text.encode(), step.offset)

    def do_truncate(self, step: Step, handle: Handle) -> None:
        os.ftruncate(handle.fd, step.offset)

    def do_allocate(self, step: Step, handle: Handle) -> None:
        size = os.fstat(handle.fd).st_size
        if step.offset < size:
            os.ftruncate(handle.fd, step.offset)
        elif step.offset > size:
            fallocate(handle.fd, 1, size, step.offset - size)

    def do_zero(self, step: Step, handle: Handle) -> None:
        end = min(step.offset + 5, os.fstat(handle.fd).st_size)
        if end > step.offset:
            os.pwrite(handle.fd, bytes(end - step.offset), step.offset)

    def do_copy(self, step: Step, handle: Handle) -> None:
        _, name, info = self.entry(step.target)
        if info is None:
            refuse("it is not there")
        if not stat.S_ISREG(info.st_mode):
            refuse("the kind that was asked for")
        parent = self.folder(step.target.split("/")[:-1])
        source = self.keep(os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=parent))
        data = os.pread(source, 4, 0)
        if data:
            os.pwrite(handle.fd, data, step.offset)

    def do_times(self, step: Step, handle: Handle) -> None:
        try:
            os.utime(self.target(handle), (step.seconds, step.seconds))
        except PermissionError:
            # rule: attributes by the handle
            self.as_root.append(("utime", os.readlink(self.target(handle)), step.seconds))

    def do_attributes(self, step: Step, handle: Handle) -> None:
        pass  # rule: attributes by the handle; they are the server's to keep

    def do_permissions(self, step: Step, handle: Handle) -> None:
        assert step.descriptor is not None
        if handle.info.st_uid != self.user.uid:
            refuse("owner is for owners")
        self.permissions(handle, bytes.fromhex(step.descriptor), step.information)

    def permissions(self, handle: Handle, data: bytes, information: int | None) -> None:
        """chown, then the ACL as posix_acl.from_dacl says it, by U himself."""
        new = parse_security_descriptor(data)
        if information is None:
            information = c.OWNER_SECURITY_INFORMATION | c.GROUP_SECURITY_INFORMATION | c.DACL_SECURITY_INFORMATION
        info = os.stat(handle.path)
        uid, gid = info.st_uid, info.st_gid
        if new.owner is not None and information & c.OWNER_SECURITY_INFORMATION:
            named = self.idmap.uid(new.owner)
            if named is not None:
                uid = named
        if new.group is not None and information & c.GROUP_SECURITY_INFORMATION:
            named = self.idmap.gid(new.group)
            if named is not None:
                gid = named
        if stat.S_ISLNK(info.st_mode) and information & c.DACL_SECURITY_INFORMATION:
            raise OSError(errno.EOPNOTSUPP, "a link has no permissions")
        if (uid, gid) != (info.st_uid, info.st_gid):
            os.chown(self.target(handle), uid, gid)
            self.no_set_id(handle)
        if information & c.DACL_SECURITY_INFORMATION:
            entries = posix_acl.from_dacl(new.dacl, uid, gid, self.idmap)
            self.no_set_id(handle)
            posix_acl.write(handle.path, True, entries, os.stat(handle.path).st_mode)
            if stat.S_ISDIR(info.st_mode) and (info.st_mode ^ os.stat(handle.path).st_mode) & stat.S_ISGID:
                # rule: a folder keeps its group
                self.as_root.append(("setgid", os.readlink(self.target(handle)), 0))

    def no_set_id(self, handle: Handle) -> None:
        """The rule `set-id bits go with the permissions`."""
        info = os.stat(handle.path)
        if info.st_mode & 0o6000 and stat.S_ISREG(info.st_mode):
            os.chmod(self.target(handle), info.st_mode & 0o1777)

    def do_rename(self, step: Step, handle: Handle) -> None:
        if not step.path:
            refuse("the share's root stays")
        parent, name, info = self.entry(step.target)
        if info is not None and not self.same_entry(handle, parent, name):
            self.replaceable(step, info, parent, step.posix is not None)
            if step.posix is None and stat.S_ISDIR(handle.info.st_mode):  # a link to one has been followed
                refuse("a directory is not replaced")
        if info is not None and info.st_ino == os.lstat(handle.name, dir_fd=handle.parent).st_ino:
            if not self.same_entry(handle, parent, name) and step.posix is None:
                os.unlink(handle.name, dir_fd=handle.parent)  # rule: renamed to its other name
            return
        if info is None or self.same_entry(handle, parent, name):
            os.rename(handle.name, name, src_dir_fd=handle.parent, dst_dir_fd=parent)
        elif step.replace:
            os.rename(handle.name, name, src_dir_fd=handle.parent, dst_dir_fd=parent)
        else:
            if _renameat2(handle.parent, handle.name.encode(), parent, name.encode(), RENAME_NOREPLACE):
                raise FileExistsError(errno.EEXIST, "")

    def same_entry(self, handle: Handle, parent: int, name: str) -> bool:
        one, other = os.stat(handle.parent), os.stat(parent)
        return (one.st_ino, handle.name) == (other.st_ino, name)

    def replaceable(self, step: Step, info: os.stat_result, parent: int, posix: bool) -> None:
        """Also where the system call would do nothing, because the names are of one file."""
        if not step.replace:
            refuse("it is there")
        if not self.may(parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "")
        folder = os.stat(parent)
        if folder.st_mode & stat.S_ISVTX and self.user.uid not in (folder.st_uid, info.st_uid):
            raise PermissionError(errno.EPERM, "sticky")
        if posix:
            return
        if stat.S_ISDIR(info.st_mode):
            refuse("a directory is not replaced")
        if self.dos.get(info.st_ino, 0) & c.FILE_ATTRIBUTE_READONLY:
            refuse("read-only attribute")

    def do_link(self, step: Step, handle: Handle) -> None:
        if stat.S_ISDIR(handle.info.st_mode):
            refuse("no link to a directory")
        parent, name, info = self.entry(step.target)
        if info is not None:
            self.replaceable(step, info, parent, False)
            if info.st_ino == handle.info.st_ino:
                return
            # One call cannot do it, so: a new name, then a rename over the old one, which a sticky folder lets the
            # owner of the file do alone.
            folder = os.stat(parent)
            if folder.st_mode & stat.S_ISVTX and self.user.uid not in (folder.st_uid, handle.info.st_uid):
                raise PermissionError(errno.EPERM, "sticky")
            temporary = f".theirs-{os.getpid()}"
            os.link(self.target(handle), temporary, dst_dir_fd=parent, follow_symlinks=True)
            try:
                os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
            except OSError:
                os.unlink(temporary, dir_fd=parent)
                raise
        else:
            os.link(self.target(handle), name, dst_dir_fd=parent, follow_symlinks=True)

    def do_delete(self, step: Step, handle: Handle) -> None:
        if not step.path:
            refuse("the share's root stays")
        self.deletable(step, handle)
        if stat.S_ISDIR(handle.info.st_mode) and not handle.link:
            os.rmdir(handle.name, dir_fd=handle.parent)
        else:
            os.unlink(handle.name, dir_fd=handle.parent)

    def do_delete_on_close(self, step: Step, handle: Handle) -> None:
        self.do_delete(step, handle)

    def deletable(self, step: Step, handle: Handle) -> None:
        if self.dos.get(handle.info.st_ino, 0) & c.FILE_ATTRIBUTE_READONLY and step.posix is None:
            refuse("read-only attribute")

    def do_look_up(self, step: Step, handle: Handle) -> bool:
        try:
            os.lstat(f"/proc/self/fd/{handle.path}/{step.target}")
        except FileNotFoundError:
            return False
        return True

    def do_object_id(self, step: Step, handle: Handle) -> int:
        return 16  # rule: the server's own

    def do_take_back(self, step: Step, handle: Handle) -> None:
        (os.rmdir if stat.S_ISDIR(handle.info.st_mode) else os.unlink)(handle.name, dir_fd=handle.parent)

    def do_sparse(self, step: Step, handle: Handle) -> None:
        if stat.S_ISDIR(handle.info.st_mode):
            refuse("the kind that was asked for")

    def do_pipe(self, step: Step, handle: Handle) -> None:
        self.do_write(step, handle)

    def do_list(self, step: Step, handle: Handle) -> list[str]:
        return sorted(os.listdir(f"/proc/self/fd/{handle.path}/"))

    def do_get_eas(self, step: Step, handle: Handle) -> list[list[str]]:
        target = self.target(handle)
        return sorted(
            [name[5:], os.getxattr(target, name).hex()]
            for name in os.listxattr(target)
            if name.startswith("user.") and not name.lower().startswith(("user.dos", "user.smb"))
        )

    def do_set_eas(self, step: Step, handle: Handle) -> None:
        self.set_eas(handle, step.eas)

    def set_eas(self, handle: Handle, eas: list[tuple[str, str]]) -> None:
        target = self.target(handle)
        for name, value in eas:
            if value:
                os.setxattr(target, "user." + name, value.encode())
            elif "user." + name in os.listxattr(target):
                os.removexattr(target, "user." + name)

    # ------------------------------------------------------------------------------------------------ streams

    def stream_open(self, step: Step, handle: Handle) -> None:
        if not stat.S_ISREG(handle.info.st_mode) and not stat.S_ISDIR(handle.info.st_mode):
            refuse("streams of files and folders")
        name, target = STREAM.format(step.stream), self.target(handle)
        there = name in os.listxattr(target)
        if there and step.disposition == c.FILE_CREATE:
            refuse("it is there")
        if not there and step.disposition in (c.FILE_OPEN, c.FILE_OVERWRITE):
            refuse("it is not there")
        readonly = stat.S_ISREG(handle.info.st_mode) and (
            self.dos.get(handle.info.st_ino, 0) & c.FILE_ATTRIBUTE_READONLY
        )
        if readonly and step.posix is None and (step.access & WRITES or not there or step.disposition in OVERWRITES):
            refuse("read-only attribute")
        if not there or step.disposition in OVERWRITES:
            os.setxattr(target, name, b"\0")

    def do_stream_read(self, step: Step, handle: Handle) -> str:
        data = os.getxattr(self.target(handle), STREAM.format(step.stream))
        return data[:-1][step.offset :].hex()

    def do_stream_write(self, step: Step, handle: Handle) -> None:
        name, target = STREAM.format(step.stream), self.target(handle)
        data = os.getxattr(target, name)[:-1]
        text = step.text.encode()
        data = data[: step.offset].ljust(step.offset, b"\0") + text + data[step.offset + len(text) :]
        os.setxattr(target, name, data + b"\0")

    def do_stream_delete(self, step: Step, handle: Handle) -> None:
        self.deletable(step, handle)
        os.removexattr(self.target(handle), STREAM.format(step.stream))

    def do_stream_rename(self, step: Step, handle: Handle) -> None:
        old, new = STREAM.format(step.stream), STREAM.format("t" if step.offset else "u")
        target = self.target(handle)
        if old == new:
            return
        if new in os.listxattr(target) and not step.replace:
            refuse("it is there")
        os.setxattr(target, new, os.getxattr(target, old))
        os.removexattr(target, old)

    # ---------------------------------------------------------------------------------------------- reparse points

    def do_unlink_symlink(self, step: Step, handle: Handle) -> None:
        if stat.S_ISLNK(handle.info.st_mode):
            refuse("a link is deleted as a file")
        target = self.target(handle)
        os.getxattr(target, REPARSE)
        os.removexattr(target, REPARSE)

    def do_symlink(self, step: Step, handle: Handle) -> None:
        if stat.S_ISLNK(handle.info.st_mode):
            refuse("it is there")
        if self.share["follow"] and stat.S_ISREG(handle.info.st_mode) and os.stat(handle.path).st_size:
            refuse("a link needs an empty file")
        folder = os.stat(handle.parent)
        sticky = folder.st_mode & stat.S_ISVTX and self.user.uid not in (folder.st_uid, handle.info.st_uid)
        if not self.share["follow"] or not step.path or sticky or not self.may(handle.parent, os.W_OK | os.X_OK):
            # rule: a link that has no place
            if stat.S_ISDIR(handle.info.st_mode) and not self.empty(handle):
                refuse("a link needs an empty file")
            os.setxattr(self.target(handle), REPARSE, bytes.fromhex(step.text))
            return
        temporary = f".theirs-{os.getpid()}"
        os.symlink(step.target, temporary, dir_fd=handle.parent)
        try:
            if stat.S_ISDIR(handle.info.st_mode):
                os.rmdir(handle.name, dir_fd=handle.parent)
            os.rename(temporary, handle.name, src_dir_fd=handle.parent, dst_dir_fd=handle.parent)
        except OSError:
            os.unlink(temporary, dir_fd=handle.parent)
            raise

    def empty(self, handle: Handle) -> bool:
        try:
            return not os.listdir(f"/proc/self/fd/{handle.path}/")
        except PermissionError:
            return handle.info.st_ino not in self.full

    def do_maximal(self, step: Step, handle: Handle) -> list[bool]:
        return [self.may(handle.path, os.R_OK), self.may(handle.path, os.W_OK)]
