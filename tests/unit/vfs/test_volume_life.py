# SPDX-License-Identifier: GPL-2.0-or-later
"""A file may outlive its tree connect (durable opens, re-authentication): the volume root stays until the last one."""
from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ksmbd.kernel import credentials


def test_files_outlive_their_tree(make_share: Callable[..., Any]) -> None:
    share = make_share()
    one, two = share.open("one"), share.open("two")
    root = share.volume.place.resolver.root
    share.volume.close()
    one.rename("renamed", False)
    two.unlink()
    credentials.as_server()
    assert share.on_disk() == ["renamed"]
    one.close()
    os.fstat(root)  # the second one is still there
    two.close()
    assert share.volume.place.resolver.root == -1
    two.close()
    share.volume.close()
    assert share.volume.place.resolver.root == -1
