# SPDX-License-Identifier: GPL-2.0-or-later
"""A network namespace of a test's own, so that it can have any address, interface and port."""
from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pyroute2 import IPRoute

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def own_network() -> Iterator[IPRoute]:
    """Put this thread, and what it starts, into a new network namespace with `lo` up; afterwards put the thread back.
    Gives an rtnetlink socket of the namespace. Skips the test where the kernel makes no namespace."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    if _libc.unshare(_CLONE_NEWNET):
        os.close(home)
        pytest.skip(f"no network namespace: {os.strerror(ctypes.get_errno())}")
    try:
        with IPRoute() as route:
            (lo,) = route.link_lookup(ifname="lo")
            route.link("set", index=lo, state="up")
            yield route
    finally:
        assert _libc.setns(home, _CLONE_NEWNET) == 0
        os.close(home)
