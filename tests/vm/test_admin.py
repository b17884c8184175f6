# SPDX-License-Identifier: GPL-2.0-or-later
"""The administrator and the kernel's SMB client: it is listed, closed, and put out or stopped from writing by a reload,
and comes back by itself where it may."""
from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "system"))

from controlling import control, listed
from guest import IN_GUEST, NOWHERE
from server import KsmbdServer
from test_cifs import missing

pytestmark = pytest.mark.skipif(not IN_GUEST, reason=NOWHERE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KsmbdServer]:
    if lack := missing():
        pytest.skip(f"needs {lack}")
    made = KsmbdServer(
        tmp_path_factory.mktemp("server") / "server", workers=2, bpf=False, shares={"share": {}, "other": {}},
        options={"smb2 leases": "yes", "durable handles": "yes"},
    )  # fmt: skip
    # An emulated machine is slow.
    made.wait_for(rf"^ksmbd: listening on \S+:{made.port}$", 180)
    yield made
    assert not made.finish(), made.stderr


@pytest.fixture
def mounted(server: KsmbdServer, tmp_path: Path) -> Iterator[Path]:
    """The first share, without caching of data or attributes, so that each operation asks the server."""
    place = tmp_path / "mounted"
    place.mkdir()
    options = f"port={server.port},username={server.user},password={server.password},vers=3.1.1,noperm,nosharesock"
    line = ["mount", "-t", "cifs", "//127.0.0.1/share", str(place), "-o", f"{options},cache=none,actimeo=0,soft"]
    result = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False)


def reload(server: KsmbdServer, before: str, after: str) -> None:
    server.config.write_text(server.config.read_text().replace(before, after, 1))
    result = control(server, "-r")
    assert result.returncode == 0, result.stderr


def test_it_is_listed_with_what_it_has_open(server: KsmbdServer, mounted: Path) -> None:
    with (mounted / "listed").open("w") as stream:
        stream.write("x")
        stream.flush()
        found = listed(server)
        assert [row["dialect"] for row in found["sessions"]] == ["3.1.1"]
        assert "share" in [row["share"] for row in found["tree_connects"]]
        assert "listed" in [row["path"] for row in found["files"]]


@pytest.mark.parametrize("what", ["127.0.0.1", "share"])
def test_after_it_was_closed_it_comes_back(server: KsmbdServer, mounted: Path, what: str) -> None:
    (mounted / "before").write_text("x")
    assert control(server, "--close", what).returncode == 0
    # The operation that meets the end may fail (STATUS_USER_SESSION_DELETED, STATUS_NETWORK_NAME_DELETED); it makes the
    # client connect again.
    try:
        (mounted / f"after-{what}").write_text("y")
    except OSError as error:
        assert error.errno in (errno.EAGAIN, errno.EREMCHG)
        (mounted / f"after-{what}").write_text("y")
    assert (server.share_path / f"after-{what}").read_text() == "y"


def test_a_share_that_became_read_only(server: KsmbdServer, mounted: Path) -> None:
    fd = os.open(mounted / "writing", os.O_RDWR | os.O_CREAT)
    try:
        assert os.write(fd, b"before") == 6
        reload(server, "read only = no", "read only = yes")
        with pytest.raises(OSError) as refused:
            os.pwrite(fd, b"after", 0)
            os.fsync(fd)
        assert refused.value.errno in (errno.EROFS, errno.EACCES, errno.EIO)
        assert (server.share_path / "writing").read_bytes() == b"before"
        with pytest.raises(OSError):
            (mounted / "new").write_text("x")
        assert not (server.share_path / "new").exists()
        reload(server, "read only = yes", "read only = no")
        assert os.pwrite(fd, b"after", 0) == 5
        os.fsync(fd)
        assert (server.share_path / "writing").read_bytes() == b"aftere"
    finally:
        os.close(fd)


def test_a_share_that_was_removed_and_returned(server: KsmbdServer, mounted: Path) -> None:
    (mounted / "there").write_text("x")
    reload(server, "[share]", "[away]")
    with pytest.raises(OSError):
        (mounted / "there").read_text()
    reload(server, "[away]", "[share]")
    assert (mounted / "there").read_text() == "x"
