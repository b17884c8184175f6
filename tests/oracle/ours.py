# SPDX-License-Identifier: GPL-2.0-or-later
"""The server's side: each step through the ports Volume and File, as a session of user U."""
from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import Any

from draws import Step, User
from theirs import OVERWRITES, Outcome

from ksmbd.kernel import credentials, descriptors
from ksmbd.process import privileges
from ksmbd.smb import constants as c
from ksmbd.smb.ports import CreateIntent, Identity, ShareConfig
from ksmbd.smb.status import STATUS_DIRECTORY_NOT_EMPTY, NtStatusError
from ksmbd.vfs.files import LocalFiles
from ksmbd.vfs.options import VfsSettings
from ksmbd.vfs.reparse import encode_symlink
from ksmbd.vfs.times import to_filetime

IO_REPARSE_TAG_SYMLINK = 0xA000000C


class NowClock:
    """The machine's."""

    def monotonic(self) -> float:
        return time.monotonic()

    def filetime(self) -> int:
        now = time.time_ns()
        return to_filetime(now // 1_000_000_000, now % 1_000_000_000)

    def call_later(self, seconds: float, call: Any) -> Any:
        """Never: each step is over before a timer could run out."""
        return SimpleNamespace(cancel=lambda: None)


def _name(path: str) -> str:
    return path.replace("/", "\\")


class Session:
    """One user's tree connect."""

    def __init__(self, files: LocalFiles, root: str, user: User, share: dict[str, Any]) -> None:
        config = ShareConfig(
            "share", root, share["file mode"], share["directory mode"], acl_xattr=share["acl"],
            follow_symlinks=share["follow"], hide_dot_files=False, kernel_oplocks=share["kernel"],
            posix_locking=share["kernel"], store_dos_attributes=share["dos"], streams_xattr=True,
        )  # fmt: skip
        self.follow = share["follow"]
        identity = Identity("user", "", user.uid, user.gid, tuple(user.groups))
        self.volume = files.volume(config, identity, False)

    def run(self, step: Step) -> Outcome:
        """The step as the protocol makes it: CREATE, the operation, CLOSE."""
        opened: list[Any] = []
        try:
            file = self._open(step)
            opened.append(file)
            result = getattr(self, "do_" + step.op, self._plain)(step, file, opened)
            return Outcome(True, "", result)
        except NtStatusError as error:
            return Outcome(False, str(error), unopened=not opened)
        finally:
            for file in opened:
                file.close()

    def _open(self, step: Step) -> Any:
        options = c.FILE_DIRECTORY_FILE if step.directory else 0
        options |= c.FILE_NON_DIRECTORY_FILE if step.directory is False else 0
        options |= c.FILE_OPEN_REPARSE_POINT if step.reparse else 0
        options |= c.FILE_DELETE_ON_CLOSE if step.op == "delete_on_close" else 0
        eas = [(name, 0, value.encode()) for name, value in step.eas]
        descriptor = bytes.fromhex(step.descriptor) if step.descriptor is not None else None
        intent = CreateIntent(
            _name(step.path), step.stream, step.access, step.disposition, options, step.attributes, False,
            step.allocation, descriptor, eas, step.posix,
        )  # fmt: skip
        opened = self.volume.create(intent)
        file: Any = opened.file
        try:
            while opened.local is not None and not opened.local.open_data():
                time.sleep(0.001)
            if step.op == "delete_on_close" and not opened.deletable:
                try:
                    file.check_delete()
                except NtStatusError as error:
                    if error.status != STATUS_DIRECTORY_NOT_EMPTY:
                        raise
            if opened.action == c.FILE_OPENED and step.disposition in OVERWRITES:
                file.overwrite(step.attributes, step.disposition == c.FILE_SUPERSEDE, eas)
                if step.allocation:
                    file.set_allocation(step.allocation)
        except BaseException:
            if opened.action == c.FILE_CREATED:
                file.undo_create()
            file.close()
            raise
        return file

    def _plain(self, step: Step, file: Any, opened: list[Any]) -> Any:
        raise AssertionError(step.op)

    def do_nothing(self, step: Step, file: Any, opened: list[Any]) -> None:
        file.info()

    def do_read(self, step: Step, file: Any, opened: list[Any]) -> str:
        return str(file.read(step.offset, 100).hex())

    do_stream_read = do_read

    def do_write(self, step: Step, file: Any, opened: list[Any]) -> None:
        file.write(step.offset, step.text.encode())
        file.finish_writes()

    do_stream_write = do_write

    def do_truncate(self, step: Step, file: Any, opened: list[Any]) -> None:
        file.set_end_of_file(step.offset)

    def do_allocate(self, step: Step, file: Any, opened: list[Any]) -> None:
        file.set_allocation(step.offset)

    def do_zero(self, step: Step, file: Any, opened: list[Any]) -> None:
        file.zero_data(step.offset, step.offset + 5)

    def do_copy(self, step: Step, file: Any, opened: list[Any]) -> None:
        options = c.FILE_NON_DIRECTORY_FILE | c.FILE_OPEN_REPARSE_POINT
        intent = CreateIntent(_name(step.target), "", c.FILE_READ_DATA, c.FILE_OPEN, options, 0)
        found = self.volume.create(intent)
        source: Any = found.file
        opened.append(source)
        while found.local is not None and not found.local.open_data():
            time.sleep(0.001)
        length = min(4, source.end_of_file())
        if length:
            file.copy_range(source, 0, step.offset, length)

    def do_times(self, step: Step, file: Any, opened: list[Any]) -> None:
        when = to_filetime(step.seconds, 0)
        file.set_basic(0, when, when, 0, 0)

    def do_attributes(self, step: Step, file: Any, opened: list[Any]) -> None:
        file.set_basic(0, 0, 0, 0, c.FILE_ATTRIBUTE_READONLY if step.replace else c.FILE_ATTRIBUTE_NORMAL)

    def do_permissions(self, step: Step, file: Any, opened: list[Any]) -> None:
        assert step.descriptor is not None
        file.set_security_descriptor(step.information, bytes.fromhex(step.descriptor))

    def do_rename(self, step: Step, file: Any, opened: list[Any]) -> None:
        file.rename(_name(step.target), step.replace, step.posix is not None)

    def do_link(self, step: Step, file: Any, opened: list[Any]) -> None:
        file.link(_name(step.target), step.replace)

    def do_delete(self, step: Step, file: Any, opened: list[Any]) -> None:
        file.check_delete()
        file.unlink()

    do_stream_delete = do_delete

    def do_delete_on_close(self, step: Step, file: Any, opened: list[Any]) -> None:
        file.unlink()

    def do_stream_rename(self, step: Step, file: Any, opened: list[Any]) -> None:
        file.rename(":t" if step.offset else ":u", step.replace)

    def do_pipe(self, step: Step, file: Any, opened: list[Any]) -> None:
        data = step.text.encode()
        reader, writer = os.pipe()
        try:
            os.write(writer, data)
            file.write_from_pipe(step.offset, reader, len(data))
        finally:
            os.close(reader)
            os.close(writer)

    def do_sparse(self, step: Step, file: Any, opened: list[Any]) -> None:
        file.set_sparse(step.replace)

    def do_look_up(self, step: Step, file: Any, opened: list[Any]) -> bool:
        return file.lookup_entry(step.target) is not None

    def do_object_id(self, step: Step, file: Any, opened: list[Any]) -> int:
        return len(file.object_id(True))

    def do_take_back(self, step: Step, file: Any, opened: list[Any]) -> None:
        file.undo_create()

    def do_unlink_symlink(self, step: Step, file: Any, opened: list[Any]) -> None:
        file.delete_reparse_point(IO_REPARSE_TAG_SYMLINK)

    def do_list(self, step: Step, file: Any, opened: list[Any]) -> list[str]:
        return sorted(entry.name for entry in file.list_directory() if entry.name not in (".", ".."))

    def do_get_eas(self, step: Step, file: Any, opened: list[Any]) -> list[list[str]]:
        return sorted([name, value.hex()] for name, _, value in file.extended_attributes())

    def do_set_eas(self, step: Step, file: Any, opened: list[Any]) -> None:
        file.set_extended_attributes([(name, 0, value.encode()) for name, value in step.eas])

    def do_symlink(self, step: Step, file: Any, opened: list[Any]) -> None:
        file.set_reparse_point(IO_REPARSE_TAG_SYMLINK, encode_symlink(step.target, True))

    def do_maximal(self, step: Step, file: Any, opened: list[Any]) -> list[bool]:
        found = file.maximal_access()
        return [bool(found & c.FILE_READ_DATA), bool(found & c.FILE_WRITE_DATA)]

    def close(self) -> None:
        self.volume.close()


class Server:
    """The process that serves all draws."""

    def __init__(self) -> None:
        self.files = LocalFiles(VfsSettings((1, 2, 3)), NowClock())
        privileges.drop_worker_privileges()
        descriptors.enter()
        self.session: Session | None = None

    def begin(self, root: str, user: User, share: dict[str, Any]) -> None:
        """A session on the tree at `root`; the one before ends."""
        if self.session is not None:
            self.session.close()
        self.session = Session(self.files, root, user, share)

    def run(self, step: Step) -> Outcome:
        assert self.session is not None
        try:
            return self.session.run(step)
        finally:
            credentials.become_nobody()  # as a worker's loop does


def held() -> tuple[list[int], list[int], list[int]]:
    """What the kernel says of this thread: real, effective, saved and file-system uid, the same of gid, groups."""
    values = {}
    with open("/proc/thread-self/status") as status:
        for line in status:
            key, _, rest = line.partition(":")
            if key in ("Uid", "Gid", "Groups"):
                values[key] = [int(part) for part in rest.split()]
    return values["Uid"], values["Gid"], values["Groups"]
