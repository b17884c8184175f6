#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs mypy --strict over the project and over each folder of tests: .venv/bin/python scripts/typecheck.py [FOLDER ...]

Modules in a folder of tests import one another by bare names, as pytest allows, and several folders have a `conftest`
or a `run`. One run of mypy would meet two modules of the same name, so each folder has its own run. All runs share the
cache of imported modules.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent

# Whose modules a folder imports beside its own: what its conftest, or pytest's pythonpath, puts into sys.path.
NEIGHBOURS = {
    "tests/bench": ["tests/unit/smb"],
    "tests/bpf": ["tests/system", "tests/bench"],
    "tests/conformance": ["tests/system", "tests/bench"],
    "tests/system": ["tests/bench", "tests/unit/mountd"],
    "tests/unit/process": ["tests/unit/smb"],
    "tests/vm": ["tests/system", "tests/bench"],
}


def folders() -> list[str]:
    """Every folder of tests that has a Python file."""
    return sorted({str(path.parent.relative_to(TOP)) for path in TOP.glob("tests/**/*.py")})


def check(folder: str | None) -> bool:
    """Whether mypy is content with a folder of tests, or, with None, with what pyproject.toml lists."""
    files: list[str] = []
    environment = dict(os.environ)
    if folder is not None:
        files = sorted(str(path.relative_to(TOP)) for path in (TOP / folder).glob("*.py"))
        environment["MYPYPATH"] = os.pathsep.join([folder, *NEIGHBOURS.get(folder, [])])
    print(f"mypy {folder or ''}".rstrip(), flush=True)
    command = [sys.executable, "-m", "mypy", "--no-error-summary", *files]
    return subprocess.run(command, cwd=TOP, env=environment, check=False).returncode == 0


def main(chosen: list[str]) -> int:
    """0 where mypy has nothing to say about the folders, or without any, about the project and all of them."""
    contents = [check(folder) for folder in chosen] if chosen else [check(None), *map(check, folders())]
    return 0 if all(contents) else 1


if __name__ == "__main__":
    sys.exit(main([folder.rstrip("/") for folder in sys.argv[1:]]))
