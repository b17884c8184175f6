# SPDX-License-Identifier: GPL-2.0-or-later
"""Looks up host names for `hosts allow` and `hosts deny`, in threads: a slow name server delays only clients that
connect to a share whose lists have names.

Answers are cached for a while; those about clients' addresses are bounded in number. A failed look-up (no name server
answers, or not in time) is repeated after some seconds at the earliest; until then an older answer stays valid.
"""

from __future__ import annotations

import ctypes
import os
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from ksmbd import limits, log
from ksmbd.address import Address
from mountd.hosts import PeerNames, Truth, bare, parse_address
from mountd.lookup_threads import LookupThreads
from mountd.loop import Loop, Timer

KEPT_SECONDS: Final = 300.0
"""Seconds for which an answer is cached."""
NOBODY_SECONDS: Final = 60.0
"""Seconds for which a negative answer is cached: a name without an address, or an address without a name."""
FAILED_SECONDS: Final = 10.0
"""Seconds after which a failed look-up may be repeated."""
THREADS: Final = 4
_CONFIRMED_MAX: Final = 8
"""Names of an address that are checked at most."""
_NONE: Final = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", -5), getattr(socket, "EAI_ADDRFAMILY", -9))
_NO_SUCH_HOST: Final = (1, 4)
"""h_errno HOST_NOT_FOUND and NO_DATA."""

Query = tuple[str, ...]
"""("name", host name), ("peer", address) or ("group", netgroup, address)."""

Answer = frozenset[Address] | PeerNames | bool
"""The answer to a `name`, a `peer` and a `group`."""

def forward(name: str) -> frozenset[Address]:
    """The addresses of a name; empty where there is no such host. Raises OSError where the look-up fails."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in _NONE:
            return frozenset()
        raise
    except UnicodeError:
        return frozenset()
    return frozenset(a for a in (parse_address(str(entry[4][0])) for entry in found) if a is not None)


def reverse(address: str) -> PeerNames:
    """The names of an address. Raises OSError where the look-up fails."""
    try:
        name, aliases, _ = socket.gethostbyaddr(address)
    except socket.herror as error:
        if error.errno in _NO_SUCH_HOST:
            return PeerNames()
        raise
    names = list(dict.fromkeys(map(bare, (name, *aliases))))[:_CONFIRMED_MAX]
    wanted = parse_address(address)
    confirmed = tuple(name for name in names if wanted in forward(name))
    return PeerNames(confirmed, tuple(name for name in names if name not in confirmed))


def in_netgroup(group: str, address: str) -> bool:
    """Whether a confirmed name of the address is in a netgroup. Raises OSError where the look-up fails."""
    libc: Any = ctypes.CDLL(None)
    try:
        innetgr = libc.innetgr
    except AttributeError:
        raise OSError(None, "this machine's libc has no netgroups") from None
    return any(
        innetgr(os.fsencode(group), name.encode(), None, None)
        for name in (part for full in reverse(address).confirmed for part in (full, full.partition(".")[0]))
    )


def look_up(query: Query) -> Answer:
    """Look up the answer to a query. Raises OSError where the look-up fails."""
    kind, *rest = query
    if kind == "name":
        return forward(rest[0])
    return reverse(rest[0]) if kind == "peer" else in_netgroup(*rest)


@dataclass
class _Known:
    """A cached answer; `value` None: the look-up failed."""

    value: Answer | None
    until: float
    """Monotonic seconds."""


class Look:
    """The cached answers for one decision (mountd.hosts.Names). Queries without a valid answer are in `wanted`."""

    def __init__(self, known: Callable[[Query], tuple[bool, Answer | None]]) -> None:
        self._known = known
        self.wanted: set[Query] = set()

    def _ask(self, query: Query) -> Answer | None:
        fresh, value = self._known(query)
        if not fresh:
            self.wanted.add(query)
        return value

    def addresses(self, name: str) -> frozenset[Address] | None:
        """The addresses of a name; None: not known."""
        found = self._ask(("name", name))
        assert found is None or isinstance(found, frozenset)
        return found

    def names_of(self, address: Address) -> PeerNames | None:
        """The names of a client's address; None: not known."""
        found = self._ask(("peer", str(address)))
        assert found is None or isinstance(found, PeerNames)
        return found

    def in_netgroup(self, group: str, address: Address) -> Truth:
        """Whether a client is in a netgroup; None: not known."""
        found = self._ask(("group", group, str(address)))
        assert found is None or isinstance(found, bool)
        return found


class HostNames:
    """The cache of answers, and the threads that look them up."""

    def __init__(
        self,
        loop: Loop,
        resolve: Callable[[Query], Answer] = look_up,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._threads: LookupThreads[Query, Answer] = LookupThreads(loop, resolve, self._done, THREADS)
        self._listed: dict[Query, _Known] = {}
        """The answers for names in the configuration."""
        self._peers: OrderedDict[Query, _Known] = OrderedDict()
        self._under_way: set[Query] = set()
        self._waiting: dict[int, tuple[set[Query], Callable[[], None], Timer]] = {}
        self._next = 0
        self.on_failure: Callable[[Query, str], None] = lambda query, why: None
        """Called where a name in the configuration could not be looked up (`why`), or has no address (`why` is '')."""

    def __len__(self) -> int:
        """The number of callers that wait for look-ups."""
        return len(self._waiting)

    def close(self, seconds: float = 0.0) -> None:
        """Stop the threads. Each ends after its current look-up; wait for that at most `seconds` per thread. The
        process can end before that."""
        self._threads.close(seconds)

    def expect(self, names: Iterable[str]) -> None:
        """Set the names in the configuration, and look them up now, so that problems are reported at once."""
        queries = {("name", name) for name in names}
        self._listed = {query: known for query, known in self._listed.items() if query in queries}
        for query in sorted(queries):
            if not self._known(query)[0]:
                self._start(query)

    def look(self) -> Look:
        """The cached answers, for one decision."""
        return Look(self._known)

    def resolve(self, wanted: Iterable[Query], then: Callable[[], None]) -> bool:
        """Look up queries and call `then` afterwards, after LOOKUP_SECONDS at the latest. Returns False where too many
        callers wait already."""
        queries = set(wanted)
        if len(self._waiting) >= limits.LOOKUPS.value:
            return False
        self._next += 1
        number = self._next
        timer = self._loop.call_later(limits.LOOKUP_SECONDS.value, lambda: self._late(number))
        self._waiting[number] = (queries, then, timer)
        for query in queries:
            self._start(query)
        return True

    def _known(self, query: Query) -> tuple[bool, Answer | None]:
        """(whether there is a valid cached answer, the answer)."""
        known = self._stored(query)
        return (True, known.value) if known is not None and known.until > self._clock() else (False, None)

    def _stored(self, query: Query) -> _Known | None:
        return (self._listed if query[0] == "name" else self._peers).get(query)

    def _start(self, query: Query) -> None:
        if query in self._under_way:
            return
        self._under_way.add(query)
        self._threads.start(query)

    def _done(self, query: Query, value: Answer | None, why: str) -> None:
        self._under_way.discard(query)
        self._keep(query, value, why)
        self._settle(query)

    def _keep(self, query: Query, value: Answer | None, why: str) -> None:
        now = self._clock()
        if query[0] == "name":
            if why or not value:
                self.on_failure(query, why)
        elif why:
            log.peer(f"the name of {query[-1]} cannot be looked up: {why}")
        if why:
            old = self._stored(query)
            known = _Known(old.value if old is not None else None, now + FAILED_SECONDS)
        else:
            known = _Known(value, now + (KEPT_SECONDS if value not in (frozenset(), PeerNames()) else NOBODY_SECONDS))
        if query[0] == "name":
            self._listed[query] = known
            return
        self._peers[query] = known
        self._peers.move_to_end(query)
        while len(self._peers) > limits.NAMES_KEPT.value:
            self._peers.popitem(last=False)

    def _settle(self, query: Query) -> None:
        for number, (queries, then, timer) in list(self._waiting.items()):
            queries.discard(query)
            if not queries:
                del self._waiting[number]
                timer.cancel()
                then()

    def _late(self, number: int) -> None:
        entry = self._waiting.pop(number, None)
        if entry is None:
            return
        queries, then, _ = entry
        for query in queries:
            self._keep(query, None, f"no answer in {limits.LOOKUP_SECONDS.value} s")
        then()
