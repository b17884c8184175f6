# SPDX-License-Identifier: GPL-2.0-or-later
"""Each BPF test runs in a network namespace of its own: unshare, bring `lo` up, go back afterwards."""
from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))

from own_network import own_network

from ksmbd.kernel import bpf


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled programs, shared by the tests of a run."""
    return tmp_path_factory.mktemp("bpf-cache")


@pytest.fixture
def namespace() -> Iterator[None]:
    """A fresh network namespace with `lo` up; needs root and bpf(2)."""
    if os.geteuid() != 0:
        pytest.skip("BPF needs root")
    why = bpf.probe()
    if why:
        pytest.skip(f"no BPF here: {why}")
    with own_network():
        yield
