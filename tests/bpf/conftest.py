# SPDX-License-Identifier: GPL-2.0-or-later
"""Each BPF test runs in a network namespace of its own: unshare, bring `lo` up, go back afterwards."""
from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from ksmbd.kernel import bpf

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


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
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    if _libc.unshare(CLONE_NEWNET):
        os.close(home)
        pytest.skip(f"no network namespace: {os.strerror(ctypes.get_errno())}")
    try:
        with IPRoute() as route:
            (lo,) = route.link_lookup(ifname="lo")
            route.link("set", index=lo, state="up")
        yield
    finally:
        assert _libc.setns(home, CLONE_NEWNET) == 0
        os.close(home)
