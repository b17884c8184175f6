# SPDX-License-Identifier: GPL-2.0-or-later
"""Compiles one BPF program with bcc, in a child process, and prints it as JSON: bytecode, maps, and relocations.

    python -m ksmbd.kernel.bpf_compile PROGRAM.c FUNCTION TYPE ATTACH_TYPE

bcc and LLVM stay in this short-lived process, because importing them costs 76 MB that are never released. bcc is
Debian's python3-bpfcc; it is loaded by its path, because `bcc` on PyPI is something else.
"""
from __future__ import annotations

import base64
import ctypes
import importlib.util
import json
import os
import struct
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from ksmbd.kernel import bpf

DEBIAN_BCC: Final = Path("/usr/lib/python3/dist-packages/bcc/__init__.py")
SOCKET_MAPS: Final = {bpf.PROG_SK_REUSEPORT: bpf.MAP_REUSEPORT_SOCKARRAY, bpf.PROG_SK_LOOKUP: bpf.MAP_SOCKMAP}
"""Map types for which bcc has no macro: they are created here and used in C as bpf_pseudo_fd(1, SOCKS_FD)."""
SOCKETS_MAX: Final = 64
_LD_IMM64: Final = 0x18
_PSEUDO_MAP_FD: Final = 1


def import_bcc() -> ModuleType:
    """Import Debian's bcc, even in a virtual environment. The ImportError names the package to install."""
    if not DEBIAN_BCC.exists():
        raise ImportError("bcc is missing: install python3-bpfcc")
    folder = [str(DEBIAN_BCC.parent)]
    spec = importlib.util.spec_from_file_location("bcc", DEBIAN_BCC, submodule_search_locations=folder)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bcc"] = module
    spec.loader.exec_module(module)
    return module


def _map_specs(module: ctypes.c_void_p) -> dict[int, tuple[str, list[int]]]:
    """The maps of a bcc module by descriptor: name and (type, key size, value size, entries, flags)."""
    from bcc.libbcc import lib

    fields = []
    for name in ("type", "key_size", "leaf_size", "max_entries", "flags"):
        function = getattr(lib, f"bpf_table_{name}_id")
        function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_size_t], ctypes.c_size_t
        fields.append(function)
    lib.bpf_num_tables.argtypes, lib.bpf_num_tables.restype = [ctypes.c_void_p], ctypes.c_size_t
    lib.bpf_table_name.argtypes, lib.bpf_table_name.restype = [ctypes.c_void_p, ctypes.c_size_t], ctypes.c_char_p
    maps = {}
    for index in range(lib.bpf_num_tables(module)):
        name = lib.bpf_table_name(module, index).decode()
        fd = lib.bpf_table_fd(module, name.encode())
        maps[fd] = (name, [int(field(module, index)) & 0xFFFFFFFF for field in fields])
    return maps


def compile_program(source: Path, function: str, kind: int, attach_type: int) -> dict[str, Any]:
    """Compile a program. Returns {"code": base64, "maps": {name: spec}, "relocations": [[offset, map name], ...]} with
    kind and attach type. Raises whatever bcc raises."""
    headers = source.resolve().parent / "headers"
    if not Path(f"/lib/modules/{os.uname().release}/build").exists():
        os.environ.setdefault("BCC_KERNEL_SOURCE", str(headers))
    bcc = import_bcc()
    flags = ["-Wno-macro-redefined", "-Wno-duplicate-decl-specifier", f"-DPROGRAM_KIND={kind}"]
    known: dict[int, tuple[str, list[int]]] = {}
    if kind in SOCKET_MAPS:
        spec = bpf.MapSpec(SOCKET_MAPS[kind], 4, 8, SOCKETS_MAX)
        sockets = bpf.Map(spec, "socks")
        flags.append(f"-DSOCKS_FD={sockets.fd}")
        known[sockets.fd] = ("socks", [spec.kind, 4, 8, SOCKETS_MAX, 0])
    program = bcc.BPF(text=source.read_text(encoding="utf-8"), cflags=flags)
    known.update(_map_specs(program.module))
    code = bytes(program.dump_func(function))
    relocations = []
    for offset in range(0, len(code), 8):
        if code[offset] == _LD_IMM64 and code[offset + 1] >> 4 == _PSEUDO_MAP_FD:
            relocations.append([offset, known[struct.unpack_from("=i", code, offset + 4)[0]][0]])
    return {
        "code": base64.b64encode(code).decode(),
        "maps": dict(known.values()),
        "relocations": relocations,
        "kind": kind,
        "attach_type": attach_type,
    }


def main() -> int:
    """Compile the program that the arguments name. Returns 1 and prints one line on stderr where that fails."""
    source, function, kind, attach_type = sys.argv[1:]
    try:
        result = compile_program(Path(source), function, int(kind), int(attach_type))
    except Exception as error:  # noqa: BLE001  (bcc raises bare Exception)
        print(f"{Path(source).name}: {error}", file=sys.stderr)
        return 1
    json.dump(result, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
