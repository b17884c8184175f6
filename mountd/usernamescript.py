# SPDX-License-Identifier: GPL-2.0-or-later
"""`username map script` of smb.conf(5): a program that gets the name that a client logs on with, and prints the user's.

It runs without a shell, as nobody, for a bounded time, in a thread of the look-ups (mountd/userlookups.py). Where it
fails or prints nothing, the name stays.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ksmbd import limits, log

KEEP_LEAST: Final = 10
"""Seconds that an answer counts at least: a log-on asks several times."""
USER: Final = "nobody"
OUTPUT_MAX: Final = 4096
NAME_MAX: Final = 256
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Script(NamedTuple):
    """The parameter, and how many seconds an answer counts (`username map cache time`)."""

    command: str
    keep: int = 0


class Scripts:
    """Runs scripts and keeps what they have answered. Its methods may be called in any thread."""

    def __init__(
        self, run: Callable[[str, str], str | None] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._run = run or run_script
        self._clock = clock
        self._kept: dict[tuple[Script, str], tuple[float, str | None]] = {}
        self._lock = threading.Lock()

    def mapped(self, script: Script, name: str) -> str | None:
        """The user that the script names; None: it names none."""
        key = (script, name)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept[0] > self._clock():
                return kept[1]
        found = self._run(script.command, name)
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = (self._clock() + max(script.keep, KEEP_LEAST), found)
            if len(self._kept) > limits.MAPPED_NAMES_KEPT.value:
                del self._kept[next(iter(self._kept))]
        return found


def run_script(command: str, name: str) -> str | None:
    """Run a script for a name that a client has sent. Returns the first line that it prints; None: there is none."""
    if not name or len(name) > NAME_MAX or name.startswith("-") or not name.isprintable():
        return None
    try:
        output = _output([*shlex.split(command), name])
    except (OSError, ValueError) as error:
        log.peer(f"`username map script` {command}: {getattr(error, 'strerror', None) or error}: the name stays")
        return None
    line = output.decode("utf-8", "replace").split("\n")[0].strip()
    return line if line and line.isprintable() else None


def _nobody() -> dict[str, Any]:
    """As whom the script runs. Raises OSError where there is no such account."""
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        raise OSError(f"there is no Unix account {USER}") from None
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _output(command: list[str]) -> bytes:
    """What a command prints. Raises OSError; ValueError where it fails or takes too long."""
    who: dict[str, Any] = _nobody() if os.geteuid() == 0 else {}
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/",
        env={"PATH": PATH, "LANG": "C.UTF-8"}, process_group=0, umask=0o077, **who,
    )  # fmt: skip
    assert process.stdout is not None
    deadline = time.monotonic() + limits.MAP_SCRIPT_SECONDS.value
    output = b""
    with process.stdout as stream:
        descriptor = stream.fileno()
        try:
            while len(output) < OUTPUT_MAX:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                    raise ValueError(f"no answer in {limits.MAP_SCRIPT_SECONDS.value} s")
                part = os.read(descriptor, OUTPUT_MAX)
                if not part:
                    break
                output += part
            status = process.wait(max(0.0, deadline - time.monotonic())) if len(output) < OUTPUT_MAX else 0
        except subprocess.TimeoutExpired:
            raise ValueError(f"does not end in {limits.MAP_SCRIPT_SECONDS.value} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if status:
        raise ValueError(f"ends with status {status}")
    return output
