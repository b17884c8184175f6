# SPDX-License-Identifier: GPL-2.0-or-later
"""Tells whether names in another case are other names."""
from __future__ import annotations

from ksmbd.smb.model import Open


def case_sensitive(open_: Open) -> bool:
    """Whether they are for the requests of an open: it has POSIX semantics, or the share has `case sensitive = yes`."""
    return open_.is_posix or (open_.tree is not None and open_.tree.share.case_sensitive == "yes")
