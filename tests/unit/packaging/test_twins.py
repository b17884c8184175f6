# SPDX-License-Identifier: GPL-2.0-or-later
"""Which twin each target of the Makefile runs: the server as Python, or with its busiest modules compiled."""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[3]
PLAIN = {name: value for name, value in os.environ.items() if "COMPILED" not in name and not name.startswith("MAKE")}

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def _make(*arguments: str) -> str:
    """What it would run."""
    return subprocess.run(
        ["make", "-n", *arguments], cwd=TOP, env=PLAIN, capture_output=True, text=True, timeout=60, check=True,
    ).stdout


@pytest.mark.parametrize("target", ["bench", "bench-core", "bench-fairness", "bench-growth"])
def test_measurements_have_the_compiled_one(target: str) -> None:
    assert ".venv-compiled/bin/python" in _make(target)
    assert ".venv/bin/python" in _make(target, "BENCH_COMPILED=0")


def test_tests_have_the_one_they_are_told() -> None:
    assert ".venv/bin/python" in _make("test") and ".venv-compiled" not in _make("test")
    assert ".venv-compiled/bin/python" in _make("test", "COMPILED=1")
    assert "venv=.venv-compiled;" in _make("serve", "COMPILED=1") and "venv=.venv;" in _make("serve", "COMPILED=0")


def test_continuous_integration_has_both() -> None:
    script = (TOP / ".ci/run").read_text()
    assert "tested test " in script and "tested test-compiled-core " in script
    line = next(line for line in _make("test-compiled-core").splitlines() if "pytest" in line)
    assert ".venv-compiled/bin/python" in line and "tests/unit tests/conformance" in line
    named = [word for word in line.split() if word.startswith("tests/system/")]
    assert len(named) > 5 and all((TOP / name.strip("'")).exists() for name in named)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder whose set-up has been done, as Python and compiled."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/setup.sh", "pyproject.toml", "setup.py", "Makefile"):
        shutil.copy(TOP / name, tmp_path / name)
    (tmp_path / "scripts/compiled.txt").write_text("ksmbd/one.py\n")
    for room in ("ksmbd", "mountd", "tools", "bpf"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "one.py").write_text("x = 1\n")
    for venv in (".venv", ".venv-compiled"):
        (tmp_path / venv / "bin").mkdir(parents=True)
        for command, does in (("ksmbd.mountd", ""), ("python", f"echo {venv} serves")):
            (tmp_path / venv / "bin" / command).write_text(f"#!/bin/sh\n{does}\n")
            (tmp_path / venv / "bin" / command).chmod(0o755)
    script = (TOP / "scripts/setup.sh").read_text()
    functions = [line for line in script.splitlines() if line.startswith(("sources()", "compiled_key()"))]
    assert len(functions) == 2
    key = subprocess.run(
        ["sh", "-c", "\n".join([*functions, "compiled_key"])], cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout
    (tmp_path / ".venv-compiled/.compiled").write_text(key)
    return tmp_path


def _serve(checkout: Path, **environment: str) -> tuple[str, str]:
    done = subprocess.run(
        ["make", "--no-print-directory", "-o", "build", "serve"], cwd=checkout, env={**PLAIN, **environment},
        capture_output=True, text=True, timeout=60, check=True,
    )
    return done.stdout.strip(), done.stderr.strip()


def test_serve_takes_what_was_compiled_of_these_sources(checkout: Path) -> None:
    assert _serve(checkout) == (".venv-compiled serves", "")
    assert _serve(checkout, COMPILED="0") == (".venv serves", "")
    (checkout / "mountd/one.py").write_text("x = 2\n")
    said = "make serve: all modules run as Python; make build COMPILED=1 compiles the busiest, in a minute"
    assert _serve(checkout) == (".venv serves", said)
    shutil.rmtree(checkout / ".venv-compiled")
    assert _serve(checkout) == (".venv serves", said)
    assert _serve(checkout, COMPILED="0") == (".venv serves", "")
