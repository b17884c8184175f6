# SPDX-License-Identifier: GPL-2.0-or-later
"""Dispatches requests (mountd/rpc/frames.py) to the RPC services; holds their open pipes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ksmbd import limits, log
from mountd.rpc import dssetup, facts, lsarpc, netdfs, samr, srvsvc, winreg, wkssvc
from mountd.rpc.facts import Facts, Level
from mountd.rpc.frames import ANSWER_MAX, ASKING, Answer, Kind, Request, Status
from mountd.rpc.names import decode_found, encode_questions
from mountd.rpc.pipe import Pipe, PipeBroken
from mountd.rpc.service import Caller, Interface

INTERFACES: Final[Sequence[Interface]] = tuple(
    module.INTERFACE for module in (srvsvc, wkssvc, samr, lsarpc, dssetup, winreg, netdfs)
)
"""The interfaces. A further one is a module with INTERFACE, named here."""
SERVICES: Final[Mapping[str, Sequence[Interface]]] = {
    pipe: tuple(each for each in INTERFACES if each.pipe == pipe)
    for pipe in dict.fromkeys(interface.pipe for interface in INTERFACES)
}
"""The interfaces by their pipe."""


class Purse:
    """Bytes that pipes hold: each, those of anonymous callers and guests, and all."""

    def __init__(self) -> None:
        self.total = 0
        self.guests = 0
        self._pipes: dict[int, tuple[int, bool]] = {}

    def hold(self, pipe: int, guest: bool, size: int) -> bool:
        """`pipe` holds `size` bytes now. False: that is beyond a limit; it is counted until it says that it holds
        less."""
        before, _ = self._pipes.get(pipe, (0, guest))
        if size:
            self._pipes[pipe] = size, guest
        else:
            self._pipes.pop(pipe, None)
        self.total += size - before
        if guest:
            self.guests += size - before
        return size <= before or not (
            size > limits.RPC_HELD.value
            or self.total > limits.RPC_HELD_IN_ALL.value
            or (guest and self.guests > limits.RPC_HELD_BY_GUESTS.value)
        )

    def forget(self, pipe: int) -> None:
        """Forget the bytes of a closed pipe."""
        _, guest = self._pipes.get(pipe, (0, False))
        self.hold(pipe, guest, 0)


class Services:
    """The RPC services, and all open pipes by number."""

    def __init__(self, services: Mapping[str, Sequence[Interface]] = SERVICES, fragment_max: int = 0) -> None:
        """`fragment_max`: see Pipe."""
        self._services = services
        self._fragment_max = fragment_max
        self._pipes: dict[int, Pipe] = {}
        self._asking: dict[int, Request] = {}
        """Pipe -> the request that needs names."""
        self._facts = Facts()
        self.purse = Purse()

    def __len__(self) -> int:
        return len(self._pipes)

    def take(self, request: Request) -> Answer | None:
        """Handle a request. Returns the answer, or None where there is none. Client data never makes it raise."""
        if request.kind == Kind.FACTS:
            self._facts = facts.decode(request.payload)
        elif request.kind == Kind.OPEN:
            self._open(request)
        elif request.kind == Kind.CLOSE:
            self._end(request.pipe)
        elif request.kind in ASKING:
            return self._ask(request)
        return None

    def _open(self, request: Request) -> None:
        name, account, home, *hidden = [*request.payload.decode("utf-8", "replace").split("\0"), "", ""]
        interfaces = self._services.get(name)
        if interfaces is not None:
            level = Level(request.argument)
            caller = Caller(lambda: self._facts, level, account, frozenset(hidden), facts.decode_share(home))
            self._pipes[request.pipe] = Pipe(
                interfaces, caller, self._holder(request.pipe, level), self._fragment_max
            )

    def _holder(self, number: int, level: Level) -> Callable[[int], bool]:
        return lambda size: self.purse.hold(number, level is Level.NAMES, size)

    def _end(self, number: int) -> None:
        self._pipes.pop(number, None)
        self._asking.pop(number, None)
        self.purse.forget(number)

    def _ask(self, request: Request) -> Answer:
        pipe = self._pipes.get(request.pipe)
        if pipe is None:
            return Answer(Status.BROKEN, request.pipe, b"")
        try:
            if request.kind == Kind.FOUND:
                pipe.resume(decode_found(request.payload))
                request = self._asking.pop(request.pipe, request)
            elif request.kind != Kind.READ:
                pipe.write(request.payload)
            if pipe.questions:
                self._asking[request.pipe] = request._replace(payload=b"")
                return Answer(Status.QUESTION, request.pipe, encode_questions(pipe.questions, ANSWER_MAX // 2))
            if request.kind == Kind.WRITE:
                return Answer(Status.DONE, request.pipe, b"")
            found = pipe.read(min(request.argument, ANSWER_MAX))
        except PipeBroken:
            return Answer(Status.BROKEN, request.pipe, b"")
        except Exception as error:  # noqa: BLE001  a defect, or no memory: this pipe's end, and nobody else's
            self._end(request.pipe)
            log.exception(f"rpc: {type(error).__name__}; the pipe breaks", error)
            return Answer(Status.BROKEN, request.pipe, b"")
        if found is None:  # no message: an empty read, never a reader that waits for ever
            return Answer(Status.DONE, request.pipe, b"")
        data, more = found
        return Answer(Status.MORE if more else Status.DONE, request.pipe, data)
