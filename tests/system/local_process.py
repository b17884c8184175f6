# SPDX-License-Identifier: GPL-2.0-or-later
"""A process of this machine that opens and locks files as any program does, step by step as a test says.

Each step is one request and one answer: `run` waits for the answer, `begin` and `finish` let it block meanwhile.
"""
from __future__ import annotations

import select
import subprocess
import sys
from types import TracebackType

_PROGRAM = """
import errno, fcntl, os, sys
fd = -1
def out(text):
    sys.stdout.write(text + "\\n")
    sys.stdout.flush()
for line in sys.stdin:
    word, *rest = line.rstrip("\\n").split(" ", 1)
    rest = rest[0] if rest else ""
    try:
        if word == "read":
            fd = os.open(rest, os.O_RDONLY)
            out(os.read(fd, 100).decode())
        elif word == "write":
            fd = os.open(rest, os.O_RDWR)
            out("open")
        elif word == "again":
            out(os.pread(fd, 100, 0).decode())
        elif word == "put":
            out(str(os.pwrite(fd, rest.encode(), 0)))
            os.fsync(fd)
        elif word == "close":
            os.close(fd)
            out("closed")
        elif word == "lease":
            fd = os.open(rest, os.O_RDWR)
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            out("leased")
        elif word == "await":
            import signal
            signal.sigwait([signal.SIGIO])
            out("broken")
        elif word == "release":
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            out("released")
        elif word in ("exclusive", "shared", "unlock"):
            kind = {"exclusive": fcntl.LOCK_EX, "shared": fcntl.LOCK_SH, "unlock": fcntl.LOCK_UN}[word]
            first, length = rest.split()
            wait = 0 if word == "unlock" else fcntl.LOCK_NB
            fcntl.lockf(fd, kind | wait, int(length), int(first))
            out("done")
        elif word == "wait":
            first, length = rest.split()
            fcntl.lockf(fd, fcntl.LOCK_EX, int(length), int(first))
            out("done")
    except OSError as error:
        out(errno.errorcode[error.errno])
"""
_BLOCK = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])\n"


class LocalProcess:
    """A context manager. Steps: `read PATH`, `write PATH`, `again`, `put TEXT`, `close`, `lease PATH`, `await`,
    `release`, `exclusive FIRST LENGTH`, `shared ...`, `unlock ...`, `wait ...`; an error answers with its name."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-c", _BLOCK + _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            bufsize=1,
        )

    def begin(self, step: str) -> None:
        """Have it do a step, which may block."""
        assert self._process.stdin is not None
        self._process.stdin.write(step + "\n")
        self._process.stdin.flush()

    @property
    def waits(self) -> bool:
        """Whether the step that was begun has not ended."""
        assert self._process.stdout is not None
        return not select.select([self._process.stdout], [], [], 0)[0]

    def finish(self) -> str:
        """The answer of the step that was begun. AssertionError where none comes."""
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], 60)[0], "the local process is held up"
        return self._process.stdout.readline().rstrip("\n")

    def run(self, step: str) -> str:
        """Do a step to its end."""
        self.begin(step)
        return self.finish()

    def __enter__(self) -> LocalProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
