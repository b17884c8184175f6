# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts, stops and talks to a process of the daemon's that reads what clients send (ksmbd.rpc, ksmbd.kerberos), and
restarts it when it ends.

The child is not trusted. What it sends is bounded and checked (mountd/rpc/frames.py); where it says nonsense, does not
answer in time or ends, it is killed and another one starts, later each time that one did not live long.
"""

from __future__ import annotations

import os
import pwd
import select
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from ksmbd import log
from ksmbd.limit import Limit
from mountd.loop import Loop, Timer
from mountd.rpc.frames import ANSWER_MAX, READY, Answer, Answers, BadAnswer, Request
from mountd.unixusers import OVERFLOW_ID

USER: Final = "nobody"
"""The Unix account of the process; OVERFLOW_ID where it does not exist."""
FIRST_DELAY: Final = 0.5
LAST_DELAY: Final = 30.0
STEADY_SECONDS: Final = 60.0
"""Seconds after which a process that ends is restarted at once."""
START_SECONDS: Final = 60.0
"""Seconds within which the process must report that it serves."""
RETRY: Final = 0.005
"""Seconds until sending to a full stream is tried again."""
STOP_SECONDS: Final = 2.0
_RECEIVE: Final = 64 << 10
_LINE_MAX: Final = 4096
_KEPT_ENVIRONMENT: Final = ("PATH", "LANG", "TZ", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True)
class Service:
    """What differs between the processes."""

    title: str
    """The process's name."""
    what: str
    """What it does, for a line of the log: "the RPC services"."""
    broken: str
    """What its end means for clients: "open pipes are broken"."""
    asking: frozenset[int]
    """The kinds of requests that are answered."""
    statuses: type[IntEnum]
    """The statuses of its answers."""
    backlog: Limit
    seconds: Limit
    answer_max: int = ANSWER_MAX
    """Bytes of an answer."""
    environment: tuple[str, ...] = ()
    """Environment variables that it gets beside those of all."""


def environment(given: Mapping[str, str], more: Sequence[str] = ()) -> dict[str, str]:
    """Environment variables that are passed to the child; others may contain passwords."""
    kept = (*_KEPT_ENVIRONMENT, *more)
    return {name: value for name, value in given.items() if name in kept or name.startswith("LC_")}


def ids(name: str = USER) -> tuple[int, int]:
    """The uid and gid of the process; never root's."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return OVERFLOW_ID, OVERFLOW_ID
    return entry.pw_uid or OVERFLOW_ID, entry.pw_gid or OVERFLOW_ID


class ServiceProcess:
    """The process, or its successor after a restart. Implements mountd.rpc.host.Backend."""

    def __init__(
        self, loop: Loop, service: Service, command: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`command` gets the descriptor of its end of the stream, a uid and a gid as further arguments."""
        self._service = service
        self._loop = loop
        self._command = list(command)
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._pidfd = -1
        self._answers = Answers(service.answer_max)
        self._ready = False
        self._queue: deque[tuple[memoryview, bool]] = deque()
        """(frame that is not sent yet, whether it has client data)."""
        self._queued = 0
        """Bytes of client data that are not sent yet."""
        self._asked = 0
        """Requests without an answer yet."""
        self._heard = 0.0
        """When it last answered, or got a request while it had none."""
        self._watch: Timer | None = None
        self._retry: Timer | None = None
        self._line = b""
        self._started = 0.0
        self._failures = 0
        self._stopping = False
        self._asleep = False
        """Whether the next request starts the process."""
        self._warned = False
        self.on_answer: Callable[[Answer], None] = lambda answer: None
        self.on_end: Callable[[], None] = lambda: None

    def set_command(self, command: Sequence[str]) -> None:
        """The command of the next start."""
        self._command = list(command)

    @property
    def pid(self) -> int:
        """The process's id, 0 without one."""
        return self._process.pid if self._process is not None else 0

    @property
    def waiting(self) -> int:
        """The number of requests without an answer yet."""
        return self._asked

    @property
    def serving(self) -> bool:
        """Whether there is a process, or the next request starts it. It may still be starting; the stream keeps what is
        sent."""
        return self._socket is not None or self._asleep

    def start(self) -> None:
        """Start the process. A failed start is tried again later."""
        if self._stopping or self._process is not None:
            return
        self._asleep = False
        self._started = self._clock()
        try:
            self._launch()
        except OSError as error:
            log.error(f"{self._service.what} cannot be started: {error}")
            self._again()

    def _launch(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with theirs:
            try:
                ours.setblocking(False)
                process = subprocess.Popen(
                    [*self._command, str(theirs.fileno()), *map(str, ids())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=[theirs.fileno()],
                    env=environment(os.environ, self._service.environment),
                    process_group=0,
                    cwd="/",
                )
            except BaseException:
                ours.close()
                raise
        assert process.stderr is not None
        self._process, self._socket = process, ours
        self._answers, self._ready, self._line = Answers(self._service.answer_max), False, b""
        self._loop.add_reader(ours.fileno(), self._readable)
        os.set_blocking(process.stderr.fileno(), False)
        self._loop.add_reader(process.stderr.fileno(), self._take_lines)
        self._pidfd = os.pidfd_open(process.pid)
        self._loop.add_reader(self._pidfd, self._ended)
        self._heard = self._clock()
        self._arm()

    def stop(self) -> None:
        """End the process, and wait until it has ended."""
        self._stopping = True
        process = self._process
        if process is None:
            return
        self._hang_up()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        self._ended()

    def renew(self) -> None:
        """Let a fresh process take over, or start one where there is none. What waits for an answer breaks."""
        ServiceProcess.stop(self)
        self._stopping, self._failures = False, 0
        self.start()

    def sleep(self) -> None:
        """Have no process until the next request. What waits for an answer breaks."""
        ServiceProcess.stop(self)
        self._stopping, self._failures = False, 0
        self._asleep = True

    # ---------------------------------------------------------------------------------------------------- sending

    def send(self, request: Request, guest: bool) -> bool:
        """Send a request, or queue it. Returns False where too much is queued already."""
        if self._asleep:
            self.start()
        if self._socket is None:
            return request.kind not in self._service.asking
        asks = request.kind in self._service.asking
        room = self._service.backlog.value // 2 if guest else self._service.backlog.value
        if asks and self._queued >= room:
            return False
        if asks:
            if not self._asked:
                self._heard = self._clock()
            self._asked += 1
            self._arm()
        data = request.encode()
        self._queue.append((memoryview(data), asks))
        self._queued += len(data) if asks else 0
        self._flush()
        return True

    def _flush(self) -> None:
        while self._queue and self._socket is not None:
            head, counted = self._queue[0]
            try:
                sent = self._socket.send(head)
            except (BlockingIOError, InterruptedError):
                if self._retry is None:
                    self._retry = self._loop.call_later(RETRY, self._try_again)
                return
            except OSError:
                return  # it has ended; its pidfd tells
            self._queued -= sent if counted else 0
            if sent < len(head):
                self._queue[0] = head[sent:], counted
            else:
                self._queue.popleft()

    def _try_again(self) -> None:
        self._retry = None
        self._flush()

    # -------------------------------------------------------------------------------------------------- receiving

    def _readable(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(_RECEIVE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up()
            return
        try:
            for answer in self._answers.take(data):
                self._take(answer)
        except (BadAnswer, ValueError) as error:
            self._kill(f"it does not speak our language ({error})")

    def _take(self, answer: Answer) -> None:
        """Process an answer. Raises ValueError where it is not expected."""
        status = self._service.statuses(answer.status)
        self._heard = self._clock()
        if not self._ready:
            if status != READY:
                raise ValueError("it answers before it is ready")
            self._ready = True
            self.begin(answer.payload)
            return
        if status == READY or not self._asked:
            raise ValueError("an answer that nobody asked for")
        self._asked -= 1
        self.on_answer(answer)

    def begin(self, payload: bytes) -> None:
        """Take what the process says of itself when it begins to serve: a line for each right that it could not give
        up. Raises ValueError where it is not expected."""
        self.tell_missing(payload.decode("utf-8", "replace").splitlines())

    def tell_missing(self, rights: Sequence[str]) -> None:
        """Log once which rights the process could not give up."""
        if rights and not self._warned:
            self._warned = True
            log.warning(f"{self._service.what} ({self._service.title}) run without {', '.join(rights)}: a defect in "
                        "them would reach further")  # fmt: skip

    def give_up(self) -> None:
        """Let the process end, and start no other."""
        self._stopping = True

    def wait(self, seconds: float) -> bool:
        """Wait until the process serves, before the loop runs. Returns whether it does."""
        deadline = self._clock() + seconds
        poll = select.poll()
        while self._socket is not None and not self._ready:
            poll.register(self._socket.fileno(), select.POLLIN)
            left = deadline - self._clock()
            if left <= 0 or not poll.poll(left * 1000):
                break
            self._readable()
        return self._ready and self._socket is not None

    def _take_lines(self) -> None:
        """Log what the child prints, limited in rate like messages that clients cause."""
        assert self._process is not None and self._process.stderr is not None
        data = self._process.stderr.read(_LINE_MAX)
        if data == b"":
            self._close_lines()
            return
        *lines, self._line = (self._line + (data or b"")).split(b"\n")
        self._line = self._line[-_LINE_MAX:]
        for line in lines:
            log.peer(line.decode("utf-8", "replace").removeprefix(log.PREFIX))

    def _close_lines(self) -> None:
        process = self._process
        if process is not None and process.stderr is not None:
            self._loop.remove_reader(process.stderr.fileno())
            process.stderr.close()
            process.stderr = None

    # -------------------------------------------------------------------------------------------------------- end

    def _arm(self) -> None:
        if self._watch is None:
            self._watch = self._loop.call_later(1.0, self._check)

    def _check(self) -> None:
        """Kill the process if it hangs."""
        self._watch = None
        if self._socket is None:
            return
        silent = self._clock() - self._heard
        if not self._ready:
            if silent > START_SECONDS:
                self._kill(f"it did not come up in {START_SECONDS:g} s")
            self._arm()
        elif self._asked:
            if silent > self._service.seconds.value:
                self._kill(f"it did not answer for {self._service.seconds.value} s")
            self._arm()

    def _kill(self, why: str) -> None:
        log.error(f"{self._service.title} is killed: {why}")
        self._hang_up()
        if self._process is not None:
            self._process.kill()

    def _hang_up(self) -> None:
        """Close the stream; pipes that wait for an answer are broken."""
        if self._socket is None:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        self._queue.clear()
        self._queued = self._asked = 0
        self.on_end()

    def _ended(self) -> None:
        """Clean up after the process has ended, and restart it."""
        assert self._process is not None
        self._hang_up()
        if self._process.stderr is not None:
            self._take_lines()  # its last words
        self._close_lines()
        process, self._process = self._process, None
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        status = process.wait()
        if self._stopping:
            return
        steady = self._clock() - self._started >= STEADY_SECONDS
        if steady:
            self._failures = 0
        if status or not steady:
            how = f"was ended by signal {signal.Signals(-status).name}" if status < 0 else f"ended with {status}"
            log.error(f"{self._service.title} {how}: {self._service.broken}; it starts again{self._when()}")
        self._again()

    def _delay(self) -> float:
        return min(FIRST_DELAY * 2.0 ** (self._failures - 1), LAST_DELAY) if self._failures else 0.0

    def _when(self) -> str:
        return f" in {self._delay():g} s" if self._failures else ""

    def _again(self) -> None:
        delay = self._delay()
        self._failures += 1
        self._loop.call_later(delay, self.start)
