# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks the running daemon on its control socket (mountd/controlsocket.py)."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mountd.commandline import Command
from mountd.controlsocket import socket_address
from mountd.rundir import RunDirectory

ANSWER_SECONDS: Final = 10.0
"""Seconds without a line of the daemon after which it counts as silent. It waits for its workers for less."""
START_SECONDS: Final = 2.0
"""Seconds that a daemon which has just started may take until it has its socket."""
RETRY: Final = 0.05


def ask(command: Command, rundir: RunDirectory, question: Mapping[str, object]) -> Iterator[dict[str, Any]]:
    """Ask, and iterate over the lines of the answer. A failure prints one line and exits with 1. Raises
    PermissionError."""
    with _connect(command, rundir) as connection:
        connection.settimeout(ANSWER_SECONDS)
        try:
            connection.sendall(json.dumps(question).encode() + b"\n")
            with connection.makefile("rb") as stream:
                for line in stream:
                    answer: dict[str, Any] = json.loads(line)
                    if "error" in answer:
                        command.fail(str(answer["error"]))
                    yield answer
        except TimeoutError:
            command.fail(f"ksmbd.mountd did not answer within {ANSWER_SECONDS:.0f} seconds")
        except (OSError, ValueError) as error:
            command.fail(f"ksmbd.mountd in {rundir.path} broke off its answer: {error}")


def last(command: Command, rundir: RunDirectory, question: Mapping[str, object]) -> dict[str, Any]:
    """Ask, and return the last line of the answer."""
    answer: dict[str, Any] | None = None
    for line in ask(command, rundir, question):
        answer = line
    if answer is None:
        command.fail(f"ksmbd.mountd in {rundir.path} has just ended")
    return answer


def _connect(command: Command, rundir: RunDirectory) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with socket_address(rundir.socket) as address:
                connection.connect(address)
            return connection
        except (FileNotFoundError, ConnectionRefusedError):
            if rundir.manager_pid() is None:
                command.fail(f"ksmbd.mountd does not run in {rundir.path}; start it, or name its run directory with -R")
            if time.monotonic() >= deadline:
                command.fail(f"{rundir.socket} does not answer: the server is not up yet, or of another version")
            time.sleep(RETRY)
        except PermissionError as error:
            error.filename = rundir.socket
            raise
        except OSError as error:
            command.fail(f"{rundir.socket}: {error.strerror}")
