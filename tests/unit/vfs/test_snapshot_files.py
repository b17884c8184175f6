# SPDX-License-Identifier: GPL-2.0-or-later
"""Every method of the port File, called on an open of a snapshot: it reads, or it is refused."""
from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from vfs_share import GROUP, USER, Share

from ksmbd.kernel import credentials
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.ports import File, QuotaEntry
from ksmbd.smb.sid import Sid
from ksmbd.smb.snapshot_tokens import take_token
from ksmbd.smb.status import NtStatusError

TOKEN: Final = "@GMT-2015.10.31-19.40.30"
READS: Final = frozenset((
    "allocated_ranges", "close", "compression", "duplicate", "end_of_file", "extended_attributes", "file_system",
    "fileno", "finish_writes", "flush", "info", "list_directory", "lookup_entry", "maximal_access", "normalized_name",
    "short_name", "folded", "handle", "lock_side",
    "object_id", "prefetch", "previous_versions", "quota", "quota_position", "quotas", "read", "read_into", "rejoin",
    "reparse_point", "security_descriptor", "streams", "undo_create", "volume", "volume_info", "watch",
))  # fmt: skip
"""What changes nothing on the disk. `object_id` stores none, and `undo_create` removes only what was created."""
CHANGES: Final[dict[str, Callable[[Any], Any]]] = {
    "write": lambda file: file.write(0, b"x"),
    "write_from_pipe": lambda file: file.write_from_pipe(0, -1, 1),
    "overwrite": lambda file: file.overwrite(0, False, ()),
    "unlink": lambda file: file.unlink(),
    "unlink_file": lambda file: file.unlink_file(),
    "check_delete": lambda file: file.check_delete(),
    "rename": lambda file: file.rename(":other" if file.stream else "other", False),
    "become_unnamed": lambda file: file.become_unnamed(True),
    "link": lambda file: file.link("other", False),
    "set_basic": lambda file: file.set_basic(1, 1, 1, 1, c.FILE_ATTRIBUTE_HIDDEN),
    "set_end_of_file": lambda file: file.set_end_of_file(0),
    "set_allocation": lambda file: file.set_allocation(0),
    "set_security_descriptor": lambda file: file.set_security_descriptor(0, b""),
    "set_extended_attributes": lambda file: file.set_extended_attributes([("A", 0, b"1")]),
    "set_reparse_point": lambda file: file.set_reparse_point(0xA000000C, b""),
    "delete_reparse_point": lambda file: file.delete_reparse_point(0xA000000C),
    "set_sparse": lambda file: file.set_sparse(True),
    "zero_data": lambda file: file.zero_data(0, 1),
    "copy_range": lambda file: file.copy_range(file, 0, 1, 1),
    "clone_range": lambda file: file.clone_range(file, 0, 0, 1),
    "set_compression": lambda file: file.set_compression(1),
    "set_quotas": lambda file: file.set_quotas([QuotaEntry(Sid(5, (18,)), 0, -1, -1)]),
}
OTHERWISE: Final = {
    ("rename", ""): s.STATUS_NOT_SAME_DEVICE,
    ("rename", "s"): s.STATUS_NOT_SAME_DEVICE,
    ("become_unnamed", ""): s.STATUS_INVALID_PARAMETER,
    # A stream has no extents, wherever it is
    ("clone_range", "s"): s.STATUS_INVALID_DEVICE_REQUEST,
    ("set_compression", "s"): s.STATUS_INVALID_DEVICE_REQUEST,
}


def state(path: Path) -> tuple[Any, ...]:
    """What could have been changed about a file."""
    with credentials.privileged():
        names = sorted(os.listxattr(path))
        now = path.stat()
        values = [os.getxattr(path, name) for name in names]
        return path.read_bytes(), names, values, now.st_mode, now.st_uid, now.st_mtime_ns, now.st_ctime_ns


@pytest.fixture
def old(make_share: Callable[..., Share], tmp_path: Path) -> Path:
    """A file with a stream in a snapshot."""
    path = tmp_path / "share" / ".snapshots" / TOKEN / "f"
    with credentials.privileged():
        path.parent.mkdir(parents=True)
        for folder in path.parents[:2]:
            os.chown(folder, USER, GROUP)
    share = make_share()
    live = share.open("f", stream="s")
    live.write(0, b"stream")
    share.open("f").write(0, b"data")
    share.close()
    with credentials.privileged():
        os.rename(tmp_path / "share" / "f", path)
    return path


def test_the_port_has_no_other_methods() -> None:
    methods = {name for name, member in vars(File).items() if callable(member) and not name.startswith("_")}
    assert methods == (READS - {"file_system"}) | set(CHANGES)


@pytest.mark.parametrize("stream", ["", "s"])
@pytest.mark.parametrize("method", CHANGES)
def test_what_would_change_a_snapshot_is_refused(
    make_share: Callable[..., Share], old: Path, method: str, stream: str
) -> None:
    before = state(old)
    share = make_share(snapshot_path=".snapshots/@GMT-%Y.%m.%d-%H.%M.%S", shadow_snapdirseverywhere=True)
    taken = take_token(TOKEN)
    assert taken is not None
    file = share.open("f", c.FILE_ALL_ACCESS, c.FILE_OPEN, stream=stream, snapshot=taken[1])
    with pytest.raises(NtStatusError) as refused:
        CHANGES[method](file)
    assert refused.value.status == OTHERWISE.get((method, stream), s.STATUS_MEDIA_WRITE_PROTECTED)
    assert file.object_id(True) is None
    file.undo_create()
    file.finish_writes()
    file.close()
    assert state(old) == before
