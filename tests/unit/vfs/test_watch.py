# SPDX-License-Identifier: GPL-2.0-or-later
"""Change notify. inotify's events are queued before the call that made them returns, so nothing here waits."""
from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from vfs_share import Share

from ksmbd.kernel import credentials
from ksmbd.kernel.fanotify import Fanotify
from ksmbd.smb.status import (
    STATUS_DELETE_PENDING,
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_NOTIFY_CLEANUP,
    NtStatusError,
)
from ksmbd.smb.waiting import Future
from ksmbd.vfs import watch as w
from ksmbd.vfs.watch_filesystem import FilesystemWatches

ALL = 0xFFF


class Watching:
    def __init__(self, share: Share, completion_filter: int = ALL, tree: bool = False, name: str = "") -> None:
        self.share = share
        self.watch = share.mkdir(name).watch(completion_filter, tree) if name else share.open("").watch(
            completion_filter, tree
        )

    def changes(self, limit: int = 65536) -> Any:
        """What has come, [] for nothing."""
        while select.select([self.share.files.notify_fileno()], [], [], 0)[0]:
            self.share.files.on_notify_readable()
        future = self.watch.next(limit)
        if not future.done:
            future.cancel()
            return []
        return future.result()


def test_names_come_and_go(share: Share) -> None:
    watching = Watching(share, w.CHANGE_FILE_NAME)
    share.open("new").close()
    assert watching.changes() == [(w.ACTION_ADDED, "new")]
    os.rename(share.path / "new", share.path / "renamed")
    assert watching.changes() == [(w.ACTION_RENAMED_OLD_NAME, "new"), (w.ACTION_RENAMED_NEW_NAME, "renamed")]
    os.unlink(share.path / "renamed")
    assert watching.changes() == [(w.ACTION_REMOVED, "renamed")]
    os.mkdir(share.path / "dir")
    assert watching.changes() == []


def test_filters(share: Share) -> None:
    directories = Watching(share, w.CHANGE_DIR_NAME)
    sizes = Watching(share, w.CHANGE_SIZE)
    attributes = Watching(share, w.CHANGE_ATTRIBUTES)
    share.mkdir("d").close()
    file = share.open("f")
    directories_seen = directories.changes()
    assert directories_seen == [(w.ACTION_ADDED, "d")]
    attributes.changes()
    assert sizes.changes() == []
    file.write(0, b"x")
    assert sizes.changes() == [(w.ACTION_MODIFIED, "f")]
    assert attributes.changes() == []
    os.chmod(share.path / "f", 0o600)
    assert attributes.changes() == [(w.ACTION_MODIFIED, "f")]
    assert sizes.changes() == []


def test_nothing_matches_an_empty_filter(share: Share) -> None:
    """MS-FSA 2.1.4.1 compares with the filter, and 2.1.5.11 takes any: 0 is no error, and tells of nothing."""
    flat, tree = Watching(share, 0), Watching(share, 0, tree=True)
    seen = Watching(share, w.CHANGE_FILE_NAME)
    share.mkdir("d").close()
    file = share.open("f")
    file.write(0, b"x")
    os.chmod(share.path / "f", 0o600)
    os.rename(share.path / "f", share.path / "g")
    os.unlink(share.path / "g")
    share.open("d\\below").close()
    assert seen.changes() != []
    assert flat.changes() == tree.changes() == []


def test_trees(share: Share) -> None:
    share.mkdir("a").close()
    flat, tree = Watching(share, w.CHANGE_FILE_NAME), Watching(share, w.CHANGE_FILE_NAME, tree=True)
    share.open("a\\f").close()
    assert tree.changes() == [(w.ACTION_ADDED, "a\\f")]
    assert flat.changes() == []
    share.mkdir("a\\new").close()
    tree.changes()
    share.open("a\\new\\deep").close()
    assert tree.changes() == [(w.ACTION_ADDED, "a\\new\\deep")]
    os.rename(share.path / "a" / "f", share.path / "g")
    assert sorted(tree.changes()) == [(w.ACTION_ADDED, "g"), (w.ACTION_REMOVED, "a\\f")]
    assert flat.changes() == [(w.ACTION_ADDED, "g")]


def test_too_much_to_tell(share: Share) -> None:
    watching = Watching(share, w.CHANGE_FILE_NAME)
    share.open("name").close()
    assert watching.changes(limit=12 + 7) is None
    share.open("name2").close()
    assert watching.changes(limit=12 + 10) is None, "the first request's buffer counts"
    watching = Watching(share, w.CHANGE_FILE_NAME)
    assert watching.changes() == []
    share.open("name2").unlink()
    share.open("name2").close()
    assert watching.changes(limit=2 * (12 + 10) + 2)[1:] == [(w.ACTION_ADDED, "name2")]
    for number in range(5000):
        (share.path / f"{number}").touch()
    assert watching.changes() is None
    share.open("after").close()
    assert watching.changes() == [(w.ACTION_ADDED, "after")]


def test_cancel_and_close(share: Share) -> None:
    watching = Watching(share)
    watching.watch.next(100).cancel()
    share.open("f").close()
    assert watching.changes()
    waiting = watching.watch.next(100)
    watching.watch.close()
    errors = []
    waiting.add_callback(lambda future: errors.append(future))
    try:
        waiting.result()
    except NtStatusError as error:
        assert error.status == STATUS_NOTIFY_CLEANUP
    else:
        raise AssertionError("still waiting")
    assert errors == [waiting]
    other = Watching(share, w.CHANGE_FILE_NAME)
    share.open("g").close()
    assert other.changes() == [(w.ACTION_ADDED, "g")]


def test_two_watches_of_one_directory(share: Share) -> None:
    names, everything = Watching(share, w.CHANGE_FILE_NAME), Watching(share)
    share.open("f").close()
    assert names.changes() == [(w.ACTION_ADDED, "f")]
    everything.changes()
    names.watch.close()
    share.open("g").close()
    assert (w.ACTION_ADDED, "g") in everything.changes()


def test_no_change_notify(make_share: Callable[..., Share]) -> None:
    share = make_share(change_notify=False)
    watching = Watching(share)
    share.open("f").close()
    assert watching.changes() == []


def test_names_of_linux(share: Share) -> None:
    watching = Watching(share, w.CHANGE_FILE_NAME)
    (share.path / "a:b").touch()
    assert watching.changes() == [(w.ACTION_ADDED, "a\uf022b")]


def test_the_first_change_is_told_at_once(share: Share) -> None:
    """MS-FSA 2.1.5.11: the request that waits is complete with the first change; what follows queues for the next."""
    watching = Watching(share, w.CHANGE_FILE_NAME | w.CHANGE_SIZE)
    waiter = watching.watch.next(1000)
    file = share.open("f")
    file.write(0, b"x")
    share.files.on_notify_readable()
    assert waiter.result() == [(w.ACTION_ADDED, "f")]
    assert watching.changes() == [(w.ACTION_MODIFIED, "f")]


def test_attributes_that_come_with_a_new_file_are_no_change(share: Share) -> None:
    watching = Watching(share, w.CHANGE_ATTRIBUTES)
    share.open("f").close()
    assert watching.changes() == []
    os.chmod(share.path / "f", 0o600)
    assert watching.changes() == [(w.ACTION_MODIFIED, "f")]


def test_attributes_that_another_worker_writes_a_moment_later_are_no_change(share: Share) -> None:
    """Its events may come in two batches; what comes after them is news again, at once or after a while."""
    seconds = 1000.0
    clock: Any = SimpleNamespace(monotonic=lambda: seconds)
    share.files.clock = clock
    watching = Watching(share, w.CHANGE_ATTRIBUTES | w.CHANGE_FILE_NAME)
    for name in ("f", "g", "h"):
        (share.path / name).write_bytes(b"")
        assert watching.changes() == [(w.ACTION_ADDED, name)]
        if name == "g":
            seconds += 0.1
        os.chmod(share.path / name, 0o644)
        assert watching.changes() == ([(w.ACTION_MODIFIED, "g")] if name == "g" else [])
        os.chmod(share.path / name, 0o600)
        assert watching.changes() == [(w.ACTION_MODIFIED, name)]


def test_a_renamed_file_counts_as_changed(share: Share) -> None:
    """As Windows has it: for files, and not for directories."""
    share.open("f").close()
    share.mkdir("d").close()
    watching = Watching(share, w.CHANGE_ATTRIBUTES)
    os.rename(share.path / "f", share.path / "g")
    os.rename(share.path / "d", share.path / "e")
    assert watching.changes() == [(w.ACTION_MODIFIED, "g")]


def test_two_requests_wait_in_their_order(share: Share) -> None:
    watching = Watching(share, w.CHANGE_FILE_NAME)
    first, second, third = (watching.watch.next(1000) for _ in range(3))
    second.cancel()
    share.open("f").close()
    share.files.on_notify_readable()
    assert first.result() == [(w.ACTION_ADDED, "f")] and not third.done
    share.open("g").close()
    share.files.on_notify_readable()
    assert third.result() == [(w.ACTION_ADDED, "g")]
    left = watching.watch.next(1000)
    watching.watch.close()
    assert left.done


def status_of(future: Future[Any]) -> int:
    """The status that a request failed with."""
    try:
        future.result()
    except NtStatusError as error:
        return error.status
    return 0


@pytest.mark.parametrize("name", ["dir", "dir (deleted)"])
def test_a_directory_that_a_local_process_removes(share: Share, name: str) -> None:
    """What changed in it is told first; then no request waits for ever, neither those that wait nor later ones."""
    watching = Watching(share, name=name)
    first, second = watching.watch.next(1000), watching.watch.next(1000)
    share.open(f"{name}\\f").close()
    share.files.on_notify_readable()
    assert first.result() and not second.done
    os.unlink(share.path / name / "f")
    os.rmdir(share.path / name)
    while select.select([share.files.notify_fileno()], [], [], 0)[0]:
        share.files.on_notify_readable()
    assert second.result()[-1] == (w.ACTION_REMOVED, "f")
    assert status_of(watching.watch.next(1000)) == STATUS_DELETE_PENDING


def test_an_empty_directory_that_a_local_process_removes(share: Share) -> None:
    """No event of its own tells of it."""
    os.mkdir(share.path / "other")
    watching = Watching(share, w.CHANGE_FILE_NAME, name="dir")
    waiting = watching.watch.next(1000)
    os.rmdir(share.path / "other")
    share.files.on_notify_readable()
    assert not waiting.done
    os.rmdir(share.path / "dir")
    share.files.on_notify_readable()
    assert status_of(waiting) == STATUS_DELETE_PENDING


# ----------------------------------------------------------------------------------- trees of very many directories


def whole_or_skip() -> None:
    try:
        with credentials.privileged():
            Fanotify().close()
    except OSError as error:
        pytest.skip(f"fanotify: {error.strerror}")


@pytest.fixture
def many(share: Share, monkeypatch: pytest.MonkeyPatch) -> Share:
    """A share with more directories than inotify is to watch."""
    whole_or_skip()
    monkeypatch.setattr(w, "_DIRECTORIES", 1)
    share.mkdir("a").close()
    share.mkdir("a\\b").close()
    return share


def test_the_whole_file_system_is_watched_for_a_tree_of_many_directories(many: Share) -> None:
    watching = Watching(many, w.CHANGE_FILE_NAME | w.CHANGE_DIR_NAME, tree=True)
    deep = many.path / "a" / "b"
    (deep / "f").write_bytes(b"")
    assert watching.changes() == [(w.ACTION_ADDED, "a\\b\\f")]
    os.rename(deep / "f", deep / "g")
    assert watching.changes() == [
        (w.ACTION_RENAMED_OLD_NAME, "a\\b\\f"), (w.ACTION_RENAMED_NEW_NAME, "a\\b\\g"),
    ]  # fmt: skip
    os.rename(deep / "g", many.path / "g")
    assert watching.changes() == [(w.ACTION_REMOVED, "a\\b\\g"), (w.ACTION_ADDED, "g")]
    os.mkdir(deep / "new")
    (deep / "new" / "x").write_bytes(b"")
    assert watching.changes() == [(w.ACTION_ADDED, "a\\b\\new"), (w.ACTION_ADDED, "a\\b\\new\\x")]
    os.rename(many.path / "a", many.path / "z")
    assert watching.changes() == [(w.ACTION_RENAMED_OLD_NAME, "a"), (w.ACTION_RENAMED_NEW_NAME, "z")]
    os.unlink(many.path / "z" / "b" / "new" / "x")
    assert watching.changes() == [(w.ACTION_REMOVED, "z\\b\\new\\x")]
    os.rmdir(many.path / "z" / "b" / "new")
    assert watching.changes() == [(w.ACTION_REMOVED, "z\\b\\new")]


def test_filters_of_a_watched_file_system(many: Share) -> None:
    file = many.path / "a" / "b" / "f"
    file.write_bytes(b"")
    sizes = Watching(many, w.CHANGE_SIZE, tree=True)
    attributes = Watching(many, w.CHANGE_ATTRIBUTES, tree=True)
    file.write_bytes(b"x")
    assert sizes.changes() == [(w.ACTION_MODIFIED, "a\\b\\f")]
    assert attributes.changes() == []
    os.chmod(file, 0o600)
    os.chmod(many.path / "a" / "b", 0o700)
    assert attributes.changes() == [(w.ACTION_MODIFIED, "a\\b\\f"), (w.ACTION_MODIFIED, "a\\b")]
    assert sizes.changes() == []


def test_what_is_elsewhere_or_secret_is_not_told(many: Share, tmp_path: Path) -> None:
    """inotify would not watch a directory that its user may not list."""
    watching = Watching(many, w.CHANGE_FILE_NAME, tree=True, name="a")
    (many.path / "outside").write_bytes(b"")
    with credentials.privileged():
        (tmp_path / "far").write_bytes(b"")
    os.chmod(many.path / "a" / "b", 0o300)
    (many.path / "a" / "b" / "secret").write_bytes(b"")
    (many.path / "a" / "told").write_bytes(b"")
    assert watching.changes() == [(w.ACTION_ADDED, "told")]


def test_a_name_that_was_made_and_removed(many: Share) -> None:
    """fanotify joins the two; what is there in the end is told last."""
    watching = Watching(many, w.CHANGE_FILE_NAME, tree=True)
    file = many.path / "a" / "b" / "f"
    file.write_bytes(b"")
    file.unlink()
    assert watching.changes() == [(w.ACTION_ADDED, "a\\b\\f"), (w.ACTION_REMOVED, "a\\b\\f")]
    file.write_bytes(b"")
    watching.changes()
    file.unlink()
    file.write_bytes(b"")
    assert watching.changes() == [(w.ACTION_REMOVED, "a\\b\\f"), (w.ACTION_ADDED, "a\\b\\f")]


def test_a_tree_that_grows_beyond_the_bound(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client lists again once, for what may have been missed meanwhile."""
    whole_or_skip()
    monkeypatch.setattr(w, "_DIRECTORIES", 2)
    watching = Watching(share, w.CHANGE_FILE_NAME, tree=True)
    for name in ("a", "b", "c"):
        os.mkdir(share.path / name)
    assert watching.changes() is None
    (share.path / "c" / "f").write_bytes(b"")
    assert watching.changes() == [(w.ACTION_ADDED, "c\\f")]


def test_an_ended_watch_of_a_file_system_is_told_nothing(many: Share) -> None:
    one, other = Watching(many, w.CHANGE_FILE_NAME, tree=True), Watching(many, w.CHANGE_FILE_NAME, tree=True)
    one.watch.close()
    (many.path / "a" / "f").write_bytes(b"")
    assert other.changes() == [(w.ACTION_ADDED, "a\\f")]
    other.watch.close()
    (many.path / "a" / "g").write_bytes(b"")
    assert not select.select([many.files.notify_fileno()], [], [], 0)[0]


def test_without_fanotify_the_client_lists_again(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(watches: object) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(w, "_DIRECTORIES", 1)
    monkeypatch.setattr(FilesystemWatches, "__init__", refuse)
    share.mkdir("a").close()
    watching = Watching(share, w.CHANGE_FILE_NAME, tree=True)
    assert watching.changes() is None
    (share.path / "f").write_bytes(b"")
    assert watching.changes() == [(w.ACTION_ADDED, "f")]


def test_without_an_inotify_instance_all_else_works(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    share.open("file").close()
    with monkeypatch.context() as patch:
        patch.setattr("ksmbd.vfs.watches.Inotify", none_left)
        with pytest.raises(NtStatusError) as refused:
            Watching(share)
        assert refused.value.status == STATUS_INSUFFICIENT_RESOURCES
        share.files.on_notify_readable()
    watching = Watching(share, w.CHANGE_FILE_NAME)  # as soon as there is one again
    share.open("new").close()
    assert watching.changes() == [(w.ACTION_ADDED, "new")]
