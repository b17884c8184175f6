# SPDX-License-Identifier: GPL-2.0-or-later
"""The control files in class/ksmbd-control of the run directory, which correspond to those of /sys/class/ksmbd-control.

    debug        reading: `[smb] auth vfs oplock ipc conn [rdma]`; a name written to it is toggled, `all` toggles all;
                 `NAME@ADDRESS` toggles it for one client, and a second line lists these
    stats        the counters of the server as text, and as JSON in stats.json: rewritten each second while they change;
                 any write to it refreshes both
    kill_server  writing `hard` ends the engine
    features     one line for each feature: its name, `on` or `off`, and the reason

They are regular files. The forker watches the folder and answers a write by rewriting the file with one write, so that
a reader sees the old or the new text. It keeps the descriptors open, so its own writes cause no events.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Final, NamedTuple

from ksmbd import debug, log
from ksmbd.conn.loop import Loop, TimerHandle
from ksmbd.process.inotify import FolderWatch
from ksmbd.process.shared import Attention, WorkerStats

_MAX_COMMAND: Final = 256
STATS_SECONDS: Final = 1.0
FOLDER: Final = os.path.join("class", "ksmbd-control")


class Feature(NamedTuple):
    """A feature of the system that the server uses where it exists."""

    name: str
    on: bool
    why: str

    def line(self) -> str:
        """`NAME on|off WHY`."""
        return f"{self.name} {'on' if self.on else 'off'} {self.why}".rstrip()


class ControlFile:
    """A regular file whose text the server writes, and in which others write commands."""

    def __init__(self, path: str, mode: int) -> None:
        self.path = path
        self._mode = mode
        self._text: str | None = None
        self._fd = -1
        self._open()

    def _open(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, self._mode)
        os.fchmod(self._fd, self._mode)  # the umask, or the mode that an earlier server left, may differ

    def command(self) -> str:
        """The content of the file: a command that somebody wrote, or else the text itself."""
        try:
            if os.stat(self.path).st_ino != os.fstat(self._fd).st_ino:
                self._open()  # replaced by a rename
        except FileNotFoundError:
            self._open()
        # `write` leaves NULs where somebody writes a shorter command between its two calls
        text = os.pread(self._fd, _MAX_COMMAND, 0).decode("utf-8", "replace").replace("\0", "").strip()
        return text.partition("\n")[0].strip()  # a further line is what is left of the former text

    def write(self, text: str) -> None:
        """Replace the content by `text`. If the file system is full, the old text stays and a warning is logged."""
        data = text.encode()
        try:
            os.pwrite(self._fd, data, 0)
            os.ftruncate(self._fd, len(data))
        except OSError as error:
            if self._text is not None:
                log.warning(f"{self.path} cannot be written: {error.strerror}")
            self._text = None
            return
        self._text = text

    def update(self, text: str) -> bool:
        """`write`, unless `text` is the content already. Returns whether it was not."""
        if text == self._text:
            return False
        self.write(text)
        return True

    def close(self) -> None:
        """Remove it."""
        os.close(self._fd)
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass


def stats_text(workers: Sequence[WorkerStats]) -> str:
    """The counters as text: a line for each sum, then a line for each worker."""
    lines = [f"workers: {sum(1 for worker in workers if worker.pid)}"]
    for name in ("connections", "sessions", "opens", "requests", "bytes_received", "bytes_sent", "accepted", "refused"):
        lines.append(f"{name}: {sum(getattr(worker, name) for worker in workers)}")
    for worker in workers:
        lines.append(
            f"ksmbd/{worker.worker}: pid {worker.pid}, started {worker.epoch}, connections {worker.connections}, "
            f"sessions {worker.sessions}, opens {worker.opens}, requests {worker.requests}, "
            f"received {worker.bytes_received}, sent {worker.bytes_sent}"
        )
    return "\n".join(lines) + "\n"


def stats_json(workers: Sequence[WorkerStats]) -> str:
    """The same as JSON: {"workers": [...]}."""
    return json.dumps({"workers": [asdict(worker) for worker in workers]}) + "\n"


def _debug_text() -> str:
    """The text of `debug`: the components, and in a second line what is on for some clients alone."""
    clients = debug.clients()
    return debug.listing() + "\n" + (" ".join(clients) + "\n" if clients else "")


class ControlFiles:
    """The folder with the control files; the forker owns it."""

    def __init__(
        self,
        rundir: str,
        loop: Loop,
        stats: Callable[[], list[WorkerStats]],
        features: Sequence[Feature],
        on_kill: Callable[[], None],
        attention: Attention,
        on_debug: Callable[[int], None] = lambda mask: None,
    ) -> None:
        """`on_kill` is called when somebody wrote `hard` to kill_server, `on_debug` with a new mask. While the counters
        stay as they are, their timer rests until `happened`. Raises OSError."""
        self._attention = attention
        self._on_debug = on_debug
        self._loop = loop
        self._stats = stats
        self._on_kill = on_kill
        self._folder = folder = os.path.join(rundir, FOLDER)
        os.makedirs(folder, mode=0o755, exist_ok=True)
        self._debug = ControlFile(os.path.join(folder, "debug"), 0o644)
        self._stats_text = ControlFile(os.path.join(folder, "stats"), 0o644)
        self._stats_json = ControlFile(os.path.join(folder, "stats.json"), 0o644)
        self._kill = ControlFile(os.path.join(folder, "kill_server"), 0o200)
        self._features = ControlFile(os.path.join(folder, "features"), 0o644)
        self._debug.write(_debug_text())
        self._kill.write("")
        self._features.write("".join(feature.line() + "\n" for feature in features))
        self._refresh_stats()
        self._watch = FolderWatch(folder)
        loop.add_reader(self._watch.fileno(), self._readable)
        self._timer: TimerHandle | None = loop.call_later(STATS_SECONDS, self._tick)

    def set_features(self, features: Sequence[Feature]) -> None:
        """Write changed features."""
        self._features.update("".join(feature.line() + "\n" for feature in features))

    def set_debug(self, components: int) -> None:
        """Turn on these debug components and no others, for all clients."""
        debug.set_plain(components)
        self._on_debug(debug.plain())
        self._debug.write(_debug_text())

    def close(self) -> None:
        """Remove the files, and the folders if they are empty."""
        self.rest()
        self._loop.remove(self._watch.fileno())
        self._watch.close()
        for file in (self._debug, self._stats_text, self._stats_json, self._kill, self._features):
            file.close()
        with contextlib.suppress(OSError):
            os.rmdir(self._folder)
            os.rmdir(os.path.dirname(self._folder))

    def happened(self) -> None:
        """The counters have changed, or are about to: look at them in a second."""
        if self._timer is None:
            self._timer = self._loop.call_later(STATS_SECONDS, self._tick)

    def rest(self) -> None:
        """Look at the counters no more until `happened`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        """Look at the counters. The timer rests after a whole second in which a worker would have told of a change, and
        none did: a change that comes while the question is put is seen by the last look."""
        self._timer = None
        if self._refresh_stats():
            self.happened()
        elif not self._attention.asked:
            self._attention.ask()
            self.happened()

    def _refresh_stats(self) -> bool:
        """Write the counters. Returns whether they have changed."""
        stats = self._stats()
        changed = self._stats_text.update(stats_text(stats))
        self._stats_json.update(stats_json(stats))
        return changed

    def _readable(self) -> None:
        names = self._watch.written()
        if names is None:
            names = ["debug", "kill_server", "stats", "features"]
        for name in names:
            match name:
                case "debug":
                    self._toggle(self._debug.command())
                case "kill_server":
                    self._kill_server(self._kill.command())
                case "stats" | "stats.json":
                    stats = self._stats()
                    self._stats_text.write(stats_text(stats))
                    self._stats_json.write(stats_json(stats))

    def _toggle(self, word: str) -> None:
        if not debug.is_listing(word) and not debug.toggle(word):
            log.warning(f"debug: {word!r} is none of {', '.join(debug.COMPONENTS)}, all and COMPONENT@ADDRESS")
        self._on_debug(debug.plain())
        self._debug.write(_debug_text())

    def _kill_server(self, word: str) -> None:
        if not word:
            return
        self._kill.write("")
        if word == "hard":
            self._on_kill()
        else:
            log.warning(f"kill_server: {word!r} means nothing; `hard` ends the engine")
