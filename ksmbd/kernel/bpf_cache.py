# SPDX-License-Identifier: GPL-2.0-or-later
"""Provides the bytecode of the BPF programs from a cache, keyed by source hash, kernel release and bcc version. A
missing program is compiled once, in a child process."""
from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import struct
import subprocess
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from ksmbd.kernel import bpf
from ksmbd.kernel.bpf_compile import DEBIAN_BCC

COMPILE_SECONDS: Final = 60
FORMAT: Final = 1
"""Part of the cache key; to be raised when the JSON format changes."""
SYSTEM_CACHE: Final = Path("/var/cache/ksmbd")


class BpfUnavailable(Exception):
    """A program is not available; the message gives the reason in one line."""


@dataclass(frozen=True, slots=True)
class Program:
    """The bytecode of one program and the maps that it uses."""

    name: str
    kind: int
    attach_type: int
    code: bytes
    maps: dict[str, bpf.MapSpec]
    relocations: tuple[tuple[int, str], ...]

    def load(self, maps: dict[str, bpf.Map]) -> int:
        """Load the program with these maps. Missing maps are created and added to `maps`. Raises OSError."""
        for name, spec in self.maps.items():
            if name not in maps:
                maps[name] = bpf.Map(spec, name)
        code = bytearray(self.code)
        for offset, name in self.relocations:
            struct.pack_into("=i", code, offset + 4, maps[name].fd)
        return bpf.load_program(self.kind, bytes(code), self.name, self.attach_type)


def source_directory() -> Path:
    """The folder with the C files: the package ksmbd.bpf, or `bpf/` beside the package in a checkout."""
    with contextlib.suppress(ModuleNotFoundError, TypeError):
        return Path(str(resources.files("ksmbd.bpf")))
    return Path(__file__).resolve().parents[2] / "bpf"


def _bcc_version() -> str:
    version = DEBIAN_BCC.parent / "version.py"
    return version.read_text(encoding="utf-8") if version.exists() else "none"


def _key(source: Path, kind: int) -> str:
    digest = hashlib.sha256(f"{FORMAT} {kind} {os.uname().release} {os.uname().machine} {_bcc_version()}\n".encode())
    for file in [source, *sorted((source.parent / "headers").rglob("*.h"))]:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:32]


def get(name: str, kind: int, attach_type: int = 0, cache: Path = SYSTEM_CACHE) -> Program:
    """The program of `bpf/NAME.c`, function NAME, from `cache` or compiled now. Raises BpfUnavailable."""
    source = source_directory() / f"{name}.c"
    if not source.exists():
        raise BpfUnavailable(f"{source} is missing")
    stored = cache / f"{name}-{_key(source, kind)}.json"
    with contextlib.suppress(OSError, ValueError, KeyError):
        # Bytecode goes into the kernel, so only files that no other user could have written are used
        status = stored.stat()
        if status.st_uid == os.geteuid() and not status.st_mode & 0o022:
            return _program(name, json.loads(stored.read_text(encoding="utf-8")))
    blob = _compile(source, name, kind, attach_type)
    with contextlib.suppress(OSError):
        cache.mkdir(mode=0o755, parents=True, exist_ok=True)
        temporary = stored.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(blob), encoding="utf-8")
        temporary.chmod(0o644)
        temporary.replace(stored)
        for old in cache.glob(f"{name}-*.json"):
            if old != stored and old.stat().st_mtime < stored.stat().st_mtime - 30 * 86400:
                old.unlink()
    return _program(name, blob)


def _compile(source: Path, name: str, kind: int, attach_type: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "ksmbd.kernel.bpf_compile", str(source), name, str(kind), str(attach_type)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=COMPILE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BpfUnavailable(f"{source.name}: {error}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise BpfUnavailable(said[-1] if said else f"{source.name}: the compiler ended with {done.returncode}")
    blob: dict[str, Any] = json.loads(done.stdout)
    return blob


def _program(name: str, blob: dict[str, Any]) -> Program:
    return Program(
        name,
        int(blob["kind"]),
        int(blob["attach_type"]),
        base64.b64decode(blob["code"]),
        {key: bpf.MapSpec(*(int(value) for value in spec)) for key, spec in blob["maps"].items()},
        tuple((int(offset), str(key)) for offset, key in blob["relocations"]),
    )
