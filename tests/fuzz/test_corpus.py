# SPDX-License-Identifier: GPL-2.0-or-later
"""Every input that fuzzing has kept, and each of its beginnings, still gives an answer or an error that is meant."""
from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import targets  # noqa: E402 - the folder of this file is no package

STEPS = 40
"""Beginnings of an input that are tried."""


@pytest.mark.parametrize("name", targets.TARGETS)
def test_the_corpus(name: str) -> None:
    inputs = sorted((HERE / "corpus" / name).iterdir())
    assert inputs
    for path in inputs:
        data = path.read_bytes()
        for end in {len(data), *range(0, len(data), max(1, len(data) // STEPS))}:
            targets.run(name, data[:end])
            targets.run(name, data[:end] + b"\xff" * 16)
