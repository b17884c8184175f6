# SPDX-License-Identifier: GPL-2.0-or-later
"""The filter's program, run here as the kernel runs it, for both machines."""
from __future__ import annotations

import os
import struct

import pytest

from ksmbd.kernel.seccomp import (
    ALLOW,
    ARCHITECTURES,
    KILL,
    READING_CALLS,
    REFUSE,
    SERVICE_CALLS,
    Architecture,
    program,
)

OTHER_CALLS = {
    "x86_64": {"open": 2, "openat": 257, "socket": 41, "connect": 42, "fork": 57, "clone": 56, "execve": 59,
               "kill": 62, "ptrace": 101, "openat2": 437, "process_vm_readv": 310, "prctl": 157, "sendmsg": 46},
    "aarch64": {"openat": 56, "socket": 198, "connect": 203, "clone": 220, "execve": 221, "kill": 129, "ptrace": 117,
                "openat2": 437, "process_vm_readv": 270, "prctl": 167, "sendmsg": 211},
}  # fmt: skip


def run(code: bytes, number: int, audit: int, arguments: tuple[int, ...] = ()) -> int:
    """A classic BPF machine, as far as seccomp uses one."""
    data = struct.pack("<IIQ", number, audit, 0) + struct.pack("<6Q", *arguments, *(0,) * (6 - len(arguments)))
    accumulator, position = 0, 0
    while True:
        operation, true, false, constant = struct.unpack_from("=HBBI", code, 8 * position)
        position += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, constant)
        elif operation == 0x06:
            return int(constant)
        else:
            holds = {0x15: accumulator == constant, 0x35: accumulator >= constant, 0x45: bool(accumulator & constant)}
            position += true if holds[operation] else false


@pytest.fixture(params=sorted(ARCHITECTURES))
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def filter_of(machine: str) -> tuple[Architecture, bytes]:
    return ARCHITECTURES[machine], program(ARCHITECTURES[machine], SERVICE_CALLS)


def test_listed_calls_pass(machine: str) -> None:
    architecture, code = filter_of(machine)
    for name, number in architecture.numbers.items():
        arguments = (0, 4096, 3, 0x22) if name == "mmap" else ()
        listed = ALLOW if name in SERVICE_CALLS else REFUSE
        assert run(code, number, architecture.audit, arguments) == listed, name


def test_all_others_are_refused(machine: str) -> None:
    architecture, code = filter_of(machine)
    for name, number in OTHER_CALLS[machine].items():
        assert run(code, number, architecture.audit) == REFUSE, name
    allowed = {number for number in range(600) if run(code, number, architecture.audit, (0, 0, 0, 0x20)) == ALLOW}
    assert allowed == {number for name, number in architecture.numbers.items() if name in SERVICE_CALLS}


def test_no_code_is_made_and_no_file_mapped(machine: str) -> None:
    architecture, code = filter_of(machine)
    numbers = architecture.numbers
    execute, anonymous = 4, 0x20
    assert run(code, numbers["mmap"], architecture.audit, (0, 4096, 3 | execute, 2 | anonymous)) == REFUSE
    assert run(code, numbers["mmap"], architecture.audit, (0, 4096, 1, 2)) == REFUSE, "a file"
    assert run(code, numbers["mprotect"], architecture.audit, (0, 4096, 1)) == ALLOW
    assert run(code, numbers["mprotect"], architecture.audit, (0, 4096, 1 | execute)) == REFUSE


def test_files_are_opened_for_reading_alone(machine: str) -> None:
    architecture = ARCHITECTURES[machine]
    code = program(architecture, SERVICE_CALLS | READING_CALLS)
    assert {name for name in READING_CALLS if name not in architecture.numbers} <= {"stat", "access", "faccessat"}
    number = architecture.numbers["openat"]
    reading = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY
    assert run(code, number, architecture.audit, (0, 4096, reading)) == ALLOW
    for writing in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_APPEND):
        assert run(code, number, architecture.audit, (0, 4096, reading | writing)) == REFUSE
    assert run(code, architecture.numbers["ioctl"], architecture.audit, (0, 0x5401)) == ALLOW
    assert run(code, architecture.numbers["ioctl"], architecture.audit, (0, 0x5412)) == REFUSE, "TIOCSTI"
    for name, other in OTHER_CALLS[machine].items():
        if name != "openat":
            assert run(code, other, architecture.audit) == REFUSE, name


def test_another_call_table_ends_the_process(machine: str) -> None:
    architecture, code = filter_of(machine)
    for audit in {0x40000003, 0x40000028, *(other.audit for other in ARCHITECTURES.values())} - {architecture.audit}:
        assert run(code, architecture.numbers["read"], audit) == KILL
    assert run(code, architecture.numbers["read"] | 0x40000000, architecture.audit) == KILL, "x32"
