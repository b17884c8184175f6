# SPDX-License-Identifier: GPL-2.0-or-later
"""Which file-system calls a process makes, on what, and with whose rights: seen by the kernel, not by the program.

A seccomp filter stops each file-system call of the observed process until a second process has looked at it
(SECCOMP_RET_USER_NOTIF): at the paths behind its arguments and at the calling thread's fsuid, fsgid and groups. What
calls there are in the program, in Python, ctypes or compiled, makes no difference. x86_64, Linux 5.5.
"""
from __future__ import annotations

import ast
import ctypes
import fcntl
import mmap
import os
import platform
import select
import socket
import struct
from dataclasses import dataclass
from typing import Any, Final

NUMBERS: Final = {
    "write": 1, "open": 2, "stat": 4, "lstat": 6, "ioctl": 16, "pread64": 17, "pwrite64": 18, "readv": 19,
    "writev": 20, "access": 21, "sendfile": 40, "fsync": 74, "fdatasync": 75, "truncate": 76, "ftruncate": 77,
    "rename": 82, "mkdir": 83, "rmdir": 84, "creat": 85, "link": 86, "unlink": 87, "symlink": 88, "readlink": 89,
    "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94, "statfs": 137, "fstatfs": 138,
    "readahead": 187, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "getxattr": 191, "lgetxattr": 192,
    "fgetxattr": 193, "listxattr": 194, "llistxattr": 195, "flistxattr": 196, "removexattr": 197, "lremovexattr": 198,
    "fremovexattr": 199, "getdents64": 217, "inotify_add_watch": 254, "openat": 257, "mkdirat": 258, "mknodat": 259,
    "fchownat": 260, "newfstatat": 262, "unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266,
    "readlinkat": 267, "fchmodat": 268, "faccessat": 269, "splice": 275, "utimensat": 280, "fallocate": 285,
    "preadv": 295, "pwritev": 296, "fanotify_mark": 301, "name_to_handle_at": 303, "open_by_handle_at": 304,
    "renameat2": 316, "copy_file_range": 326, "preadv2": 327, "pwritev2": 328, "statx": 332, "openat2": 437,
    "faccessat2": 439, "fchmodat2": 452, "setxattrat": 463, "getxattrat": 464, "listxattrat": 465,
    "removexattrat": 466,
}  # fmt: skip
NAMES: Final = {number: name for name, number in NUMBERS.items()}

_PATHS: Final = frozenset((
    "open", "stat", "lstat", "access", "truncate", "mkdir", "rmdir", "creat", "unlink", "readlink", "chmod", "chown",
    "lchown", "statfs", "setxattr", "lsetxattr", "getxattr", "lgetxattr", "listxattr", "llistxattr", "removexattr",
    "lremovexattr",
))  # fmt: skip
"""The first argument is a path."""
_TWO_PATHS: Final = frozenset(("rename", "link"))
_AT: Final = frozenset((
    "openat", "mkdirat", "mknodat", "fchownat", "newfstatat", "unlinkat", "readlinkat", "fchmodat", "faccessat",
    "utimensat", "name_to_handle_at", "statx", "openat2", "faccessat2", "fchmodat2", "setxattrat", "getxattrat",
    "listxattrat", "removexattrat",
))  # fmt: skip
"""A directory's descriptor and a path."""
_TWO_AT: Final = frozenset(("renameat", "linkat", "renameat2"))

PLAIN: Final = frozenset((
    "pread64", "preadv", "preadv2", "readv", "readahead", "fsync", "fdatasync", "fstatfs", "sendfile", "getdents64",
))  # fmt: skip
"""What an open descriptor is enough for: the kernel asks for nobody's rights."""

_SECCOMP: Final = 317
_SET_MODE_FILTER, _NEW_LISTENER = 1, 1 << 3
_RET_ALLOW, _RET_USER_NOTIF = 0x7FFF0000, 0x7FC00000
_AUDIT_X86_64: Final = 0xC000003E
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_FLAG_CONTINUE: Final = 1
_NOTIFICATION: Final = struct.Struct("=QIIiIQ6Q")
_RESPONSE: Final = struct.Struct("=QqiI")
_NOTE: Final = 64


@dataclass
class Event:
    """One call on a watched folder."""

    call: str
    paths: list[str]
    uid: int
    gid: int
    groups: tuple[int, ...]
    thread: int
    lent: str
    """The function of the gate that lent its rights to this thread, '' for none."""

    def line(self) -> str:
        lent = f", lent by {self.lent}" if self.lent else ""
        return f"{self.call}({', '.join(self.paths)}) as {self.uid}:{self.gid}{list(self.groups)}{lent}"


def possible() -> str:
    """Why nothing can be observed here, '' where it can."""
    if platform.machine() != "x86_64":
        return f"system calls of {platform.machine()} are not listed"
    return "" if os.geteuid() == 0 else "needs root"


class Marks:
    """Shared memory: what the observed process wants said of its threads and of itself."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, 4096)

    def record(self, on: bool) -> None:
        self._page[0] = on

    @property
    def recording(self) -> bool:
        return bool(self._page[0])

    def lend(self, thread: int, name: str) -> None:
        """This thread has the rights that the gate's function `name` lends; '' takes them back."""
        free = -1
        for slot in range(_NOTE, len(self._page), _NOTE):
            owner = int.from_bytes(self._page[slot : slot + 4], "little")
            if owner == thread or (not owner and free < 0):
                free = slot
                if owner == thread:
                    break
        self._page[free : free + _NOTE] = thread.to_bytes(4, "little") + name.encode()[:59].ljust(60, b"\0")

    def lent(self, thread: int) -> str:
        for slot in range(_NOTE, len(self._page), _NOTE):
            if int.from_bytes(self._page[slot : slot + 4], "little") == thread:
                return self._page[slot + 4 : slot + _NOTE].rstrip(b"\0").decode()
        return ""


def _filter() -> bytes:
    """The BPF program: a notification for the calls above."""
    numbers = sorted(NUMBERS.values())
    code = [(0x20, 0, 0, 4), (0x15, 1, 0, _AUDIT_X86_64), (0x06, 0, 0, _RET_ALLOW), (0x20, 0, 0, 0)]
    for index, number in enumerate(numbers):
        code.append((0x15, len(numbers) - index, 0, number))
    code += [(0x06, 0, 0, _RET_ALLOW), (0x06, 0, 0, _RET_USER_NOTIF)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def install() -> int:
    """Have this thread's calls observed, and those of all threads made from now on; the observer's descriptor."""
    program = _filter()
    buffer = ctypes.create_string_buffer(program)
    fprog = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    if libc.prctl(38, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no new privileges")
    fd: int = libc.syscall(
        ctypes.c_long(_SECCOMP), ctypes.c_long(_SET_MODE_FILTER), ctypes.c_long(_NEW_LISTENER), fprog
    )
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "seccomp")
    return fd


class Observer:
    """The second process. `folder`: only calls on what is below it are kept."""

    def __init__(self, folder: str, marks: Marks, control: socket.socket) -> None:
        self._folder = folder
        self._marks = marks
        self._control = control
        self._events: list[Event] = []

    def run(self) -> None:
        """Until the other side of `control` closes. Its first message carries the descriptor; each later one is
        answered by the calls since the one before."""
        _, fds, _, _ = socket.recv_fds(self._control, 1, 1)
        notify = fds[0]
        self._control.send(b"!")
        poll = select.poll()
        poll.register(notify, select.POLLIN)
        poll.register(self._control, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == notify:
                    self._notification(notify)
                elif not self._control.recv(1):
                    return
                else:
                    answer = repr([vars(event) for event in self._events]).encode()
                    self._events = []
                    self._control.sendall(len(answer).to_bytes(4, "little") + answer)

    def _notification(self, notify: int) -> None:
        buffer = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(notify, _RECEIVE, buffer)
        except FileNotFoundError:
            return  # killed meanwhile
        identity, thread, _, number, _, _, *arguments = _NOTIFICATION.unpack(buffer)
        try:
            if self._marks.recording:
                self._look(thread, NAMES[number], arguments)
        finally:
            fcntl.ioctl(notify, _SEND, _RESPONSE.pack(identity, 0, 0, _FLAG_CONTINUE))

    def _look(self, thread: int, call: str, arguments: list[int]) -> None:
        paths = self._paths(thread, call, arguments)
        prefix = self._folder + "/"
        mine = [path for path in paths if path == self._folder or path.startswith(prefix)]
        if not mine:
            return
        ids: dict[str, list[int]] = {}
        with open(f"/proc/{thread}/status") as status:
            for line in status:
                key, _, rest = line.partition(":")
                if key in ("Uid", "Gid", "Groups"):
                    ids[key] = [int(part) for part in rest.split()]
        shown = [path[len(self._folder) :].lstrip("/") or "." for path in mine]
        self._events.append(
            Event(call, shown, ids["Uid"][3], ids["Gid"][3], tuple(ids["Groups"]), thread, self._marks.lent(thread))
        )

    def _paths(self, thread: int, call: str, arguments: list[int]) -> list[str]:
        if call in _PATHS:
            return [self._path(thread, -100, arguments[0])]
        if call in _TWO_PATHS:
            return [self._path(thread, -100, arguments[0]), self._path(thread, -100, arguments[1])]
        if call in _AT:
            return [self._path(thread, arguments[0], arguments[1])]
        if call in _TWO_AT:
            return [self._path(thread, arguments[0], arguments[1]), self._path(thread, arguments[2], arguments[3])]
        if call == "symlink":
            return [self._path(thread, -100, arguments[1])]
        if call == "symlinkat":
            return [self._path(thread, arguments[1], arguments[2])]
        if call == "inotify_add_watch":
            return [self._path(thread, -100, arguments[1])]
        if call == "fanotify_mark":
            return [self._path(thread, arguments[3], arguments[4])]
        if call in ("copy_file_range", "splice"):
            return [self._descriptor(thread, arguments[2])]
        return [self._descriptor(thread, arguments[0])]

    def _descriptor(self, thread: int, fd: int) -> str:
        fd = ctypes.c_int(fd & 0xFFFFFFFF).value
        try:
            return os.readlink(f"/proc/{thread}/cwd" if fd == -100 else f"/proc/{thread}/fd/{fd}")
        except OSError:
            return ""

    def _path(self, thread: int, directory: int, address: int) -> str:
        text = b""
        if address:
            with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
                while b"\0" not in text:
                    memory.seek(address + len(text))
                    text += memory.read(4096 - (address + len(text)) % 4096)
            text = text.partition(b"\0")[0]
        name = os.fsdecode(text)
        if name.startswith("/"):
            path = name
        else:
            above = self._descriptor(thread, directory)
            path = f"{above}/{name}" if name and name != "." else above
        for prefix in (f"/proc/{thread}/fd/", "/proc/self/fd/", "/proc/thread-self/fd/"):
            if path.startswith(prefix):
                number, slash, rest = path[len(prefix) :].partition("/")
                path = self._descriptor(thread, int(number)) + slash + rest
        head, _, rest = path.partition("/fd/")
        if head.startswith("/proc/") and head[6:].isdigit() and rest:
            number, slash, rest = rest.partition("/")
            path = self._descriptor(thread, int(number)) + slash + rest
        return path


class Observed:
    """The observed process's side: what `Observer` saw of it since the last question."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        fd = install()
        socket.send_fds(control, [b"!"], [fd])
        control.recv(1)
        os.close(fd)

    def events(self) -> list[Event]:
        self._control.send(b"?")
        size = int.from_bytes(self._read(4), "little")
        found: list[dict[str, Any]] = ast.literal_eval(self._read(size).decode())
        return [Event(**event) for event in found]

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += self._control.recv(size - len(data))
        return data
