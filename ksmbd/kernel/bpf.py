# SPDX-License-Identifier: GPL-2.0-or-later
"""Creates BPF maps, loads programs and attaches them with bpf(2) through ctypes, without bcc (linux/bpf.h).

The bytecode comes from ksmbd.kernel.bpf_cache. Functions raise OSError where the kernel refuses.
"""
from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_SYSCALL_NUMBERS: Final = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _MAP_NEXT, _PROG_LOAD = range(6)
_LINK_CREATE: Final = 28

MAP_HASH: Final = 1
MAP_ARRAY: Final = 2
MAP_LRU_HASH: Final = 9
MAP_LPM_TRIE: Final = 11
MAP_SOCKMAP: Final = 15
MAP_REUSEPORT_SOCKARRAY: Final = 20
MAP_RINGBUF: Final = 27

PROG_SOCKET_FILTER: Final = 1
PROG_SCHED_CLS: Final = 3
PROG_SOCK_OPS: Final = 13
PROG_SK_REUSEPORT: Final = 21
PROG_SK_LOOKUP: Final = 30

ATTACH_CGROUP_SOCK_OPS: Final = 3
ATTACH_SK_LOOKUP: Final = 36
ATTACH_TCX_INGRESS: Final = 46
ATTACH_TCX_EGRESS: Final = 47

F_NO_PREALLOC: Final = 1
F_MMAPABLE: Final = 0x400

_LOG_SIZE: Final = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint]


def _number() -> int:
    try:
        return _SYSCALL_NUMBERS[platform.machine()]
    except KeyError:
        raise OSError(errno.ENOSYS, f"bpf(2) on {platform.machine()} is not known here") from None


def _bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result = int(_syscall(_number(), command, ctypes.addressof(buffer), len(attributes)))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


@dataclass(frozen=True, slots=True)
class MapSpec:
    """The description of a map: type, sizes of key and value in bytes, number of entries, flags."""

    kind: int
    key_size: int
    value_size: int
    entries: int
    flags: int = 0


class Map:
    """One BPF map. A look-up or update is one system call with reused buffers (about 1 µs)."""

    def __init__(self, spec: MapSpec, name: str = "") -> None:
        """Create the map. `close` closes its descriptor."""
        self.spec = spec
        self.fd = _bpf(
            _MAP_CREATE,
            struct.pack(
                "=IIIIIII16sIIII", spec.kind, spec.key_size, spec.value_size, spec.entries, spec.flags, 0, 0,
                name.encode()[:15], 0, 0, 0, 0,
            ),
        )
        self._key = ctypes.create_string_buffer(spec.key_size)
        self._value = ctypes.create_string_buffer(spec.value_size)
        self._attributes = ctypes.create_string_buffer(
            struct.pack("=IIQQQ", self.fd, 0, ctypes.addressof(self._key), ctypes.addressof(self._value), 0), 32
        )
        self._call = (_number(), ctypes.addressof(self._attributes))

    def get(self, key: bytes) -> bytes | None:
        """The value, or None where there is no such key."""
        self._key.raw = key
        if _syscall(self._call[0], _MAP_LOOKUP, self._call[1], 32) < 0:
            return None
        return self._value.raw

    def set(self, key: bytes, value: bytes) -> None:
        """Create or replace an entry."""
        self._key.raw = key
        self._value.raw = value
        if _syscall(self._call[0], _MAP_UPDATE, self._call[1], 32) < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))

    def delete(self, key: bytes) -> bool:
        """Remove an entry; False where there was none."""
        self._key.raw = key
        # 16 bytes: descriptor and key alone. A value there, even unused, is refused with EINVAL.
        return int(_syscall(self._call[0], _MAP_DELETE, self._call[1], 16)) == 0

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All entries; entries that change during the iteration may be missed."""
        following = ctypes.create_string_buffer(self.spec.key_size)
        current = ctypes.create_string_buffer(self.spec.key_size)
        pointer = 0
        while True:
            attributes = ctypes.create_string_buffer(
                struct.pack("=IIQQQ", self.fd, 0, pointer, ctypes.addressof(following), 0), 32
            )
            if _syscall(self._call[0], _MAP_NEXT, ctypes.addressof(attributes), 32) < 0:
                return
            current.raw = following.raw
            pointer = ctypes.addressof(current)
            value = self.get(current.raw)
            if value is not None:
                yield current.raw, value

    def map_memory(self) -> mmap.mmap:
        """Map the values of an array made with F_MMAPABLE: value i is at i * value_size, rounded up to 8 bytes."""
        size = (self.spec.value_size + 7 & ~7) * self.spec.entries
        return mmap.mmap(self.fd, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)

    def close(self) -> None:
        """Close the descriptor; the map exists as long as a program uses it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def load_program(kind: int, code: bytes, name: str, attach_type: int = 0) -> int:
    """Load bytecode and return its descriptor. If the verifier refuses it, the OSError carries its last line."""
    instructions = ctypes.create_string_buffer(code, len(code))
    license_ = ctypes.create_string_buffer(b"GPL")

    def attributes(log: ctypes.Array[ctypes.c_char] | None) -> bytes:
        return struct.pack(
            "=IIQQIIQII16sII", kind, len(code) // 8, ctypes.addressof(instructions), ctypes.addressof(license_),
            1 if log is not None else 0, _LOG_SIZE if log is not None else 0,
            ctypes.addressof(log) if log is not None else 0, 0, 0, name.encode()[:15], 0, attach_type,
        )  # fmt: skip

    try:
        return _bpf(_PROG_LOAD, attributes(None))
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EINVAL):
            raise
        log = ctypes.create_string_buffer(_LOG_SIZE)
        try:
            return _bpf(_PROG_LOAD, attributes(log))
        except OSError as again:
            said = [line for line in log.value.decode(errors="replace").splitlines() if line.strip()]
            detail = next((line for line in reversed(said) if not line.startswith(("processed", "verification"))), "")
            raise OSError(again.errno, f"{os.strerror(again.errno or 0)}: {detail}") from None


def link(program: int, target: int, attach_type: int) -> int:
    """Attach a program to a cgroup or a network namespace (their descriptors), or to an interface (its index). Returns
    the descriptor of the link; closing it detaches the program."""
    return _bpf(_LINK_CREATE, struct.pack("=IIIIQQ", program, target, attach_type, 0, 0, 0))


def probe() -> str:
    """The reason why BPF cannot be used here, '' if it can: tries to create a map and a program."""
    try:
        Map(MapSpec(MAP_ARRAY, 4, 8, 1), "ksmbd_probe").close()
        # r0 = 1; exit
        code = struct.pack("=BBhi", 0xB7, 0, 0, 1) + struct.pack("=BBhi", 0x95, 0, 0, 0)
        os.close(load_program(PROG_SK_REUSEPORT, code, "ksmbd_probe"))
    except OSError as error:
        if error.errno == errno.EPERM:
            return "not permitted (needs CAP_BPF and CAP_NET_ADMIN)"
        return f"bpf(2): {error.strerror}"
    return ""
