# SPDX-License-Identifier: GPL-2.0-or-later
"""Opens the listening sockets of all workers, and follows network interfaces that come and go.

With `bind interfaces only` each item of `interfaces` selects interfaces or addresses of this machine. If one is
missing, a warning says so, and the server listens on it when the kernel reports it. If one goes away, its listeners are
closed.
"""
from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from ksmbd import log
from ksmbd.conn.contract import StartError
from ksmbd.conn.tcp.accepting import TcpListener
from ksmbd.conn.tcp.options import ANY, BindTarget, listening_text, open_listener
from ksmbd.kernel import interface_patterns, local_addresses
from ksmbd.kernel.interface_patterns import InterfacePattern
from ksmbd.kernel.local_addresses import State

_NO_IPV6: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
_NOT_THERE: Final = (errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENXIO)
"""The interface or address is gone, or not ready yet (duplicate address detection of IPv6)."""


class Settings(Protocol):
    """The part of [global] that says where to listen (ksmbd.ipc.settings.EngineSettings)."""

    @property
    def tcp_port(self) -> int:
        """`tcp port`"""
        ...

    @property
    def interfaces(self) -> tuple[str, ...]:
        """`interfaces`"""
        ...

    @property
    def bind_interfaces_only(self) -> bool:
        """`bind interfaces only`"""
        ...


class AddressUnavailable(Exception):
    """The address does not exist on this machine now."""


def patterns_of(settings: Settings) -> list[InterfacePattern]:
    """The items of `interfaces` that say where to listen; none: everywhere. Raises StartError."""
    try:
        return [interface_patterns.parse(item) for item in settings.interfaces] if settings.bind_interfaces_only else []
    except ValueError as error:
        raise StartError(f"interfaces: {error}") from None


def targets_of(words: Iterable[InterfacePattern], now: State) -> tuple[dict[BindTarget, int], list[str]]:
    """Where to listen for these items: each target with the index of its interface (0 for an address), and the items
    that match nothing now. If a whole interface is a target, its addresses are no targets of their own."""
    targets: dict[BindTarget, int] = {}
    missing: list[str] = []
    asked: list[tuple[InterfacePattern, list[tuple[str, str]]]] = []
    local = {address.partition("%")[0] for _, address in now.addresses}
    for word in words:
        named = [name for name in now.interfaces if word.names(name)]
        for name in named:
            for target in ANY:
                targets[BindTarget(target.family, target.host, name)] = now.interfaces[name]
        covered = [(name, address) for name, address in now.addresses if word.covers(address, local)]
        asked.append((word, covered))
        if not named and not covered:
            missing.append(word.text)
    whole = {target.device for target in targets}
    for _, covered in asked:
        for name, address in covered:
            if name not in whole:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                targets.setdefault(BindTarget(family, address), 0)
    return targets, missing


@dataclass
class Group:
    """The sockets of one target, one for each worker."""

    target: BindTarget
    index: int
    sockets: list[socket.socket]

    @property
    def listeners(self) -> list[TcpListener]:
        """In the workers' order."""
        return [TcpListener(sock) for sock in self.sockets]

    @property
    def steered(self) -> list[socket.socket]:
        """All of them."""
        return self.sockets

    def open_another(self) -> socket.socket:
        """See the contract: in the SO_REUSEPORT group of these."""
        one = self.sockets[0]
        host, port = one.getsockname()[:2]
        return open_listener(BindTarget(one.family, host), port, True)

    def text(self) -> str:
        """`ADDRESS:PORT`."""
        return listening_text(self.sockets[0])

    def close(self) -> None:
        """Close them all."""
        for sock in self.sockets:
            sock.close()


class Listening:
    """The groups of all targets. `look` returns the interfaces and addresses of the machine."""

    def __init__(
        self, settings: Settings, workers: int, look: Callable[[], State] = local_addresses.state
    ) -> None:
        """Opens the sockets. Raises StartError; missing targets only give a warning."""
        self._port = settings.tcp_port
        self._workers = workers
        self._look = look
        self._words = patterns_of(settings)
        self._missing: set[str] = set()
        self._refused: set[BindTarget] = set()
        self.groups: list[Group] = []
        try:
            wanted = self._wanted()
        except OSError as error:
            raise StartError(f"network interfaces cannot be listed: {error.strerror}") from None
        try:
            there = [target for target in wanted if self._is_free(target)]
            for target in there:
                try:
                    self.groups.append(self._open(target, wanted[target]))
                except AddressUnavailable:
                    pass
        except BaseException:
            self.close()
            raise
        if not self.groups and not self._words:
            raise StartError("there is no address to listen on")
        if not self.groups:
            log.warning("nothing of `interfaces` is there: nobody can connect until it comes")

    @property
    def follows(self) -> bool:
        """Whether the targets depend on the interfaces that the machine has."""
        return bool(self._words)

    def update(self) -> tuple[list[Group], list[Group]]:
        """Follow changes of the interfaces: returns the new groups and those that are gone, which the caller closes.
        Never raises."""
        try:
            wanted = self._wanted()
        except OSError as error:
            log.warning(f"network interfaces cannot be listed: {error.strerror}")
            return [], []
        gone = [group for group in self.groups if wanted.get(group.target) != group.index]
        self.groups = [group for group in self.groups if group not in gone]
        for group in gone:
            log.info(f"no longer listening on {group.text()}{_device(group.target)}")
        have = {group.target for group in self.groups}
        self._refused &= set(wanted)
        new: list[Group] = []
        for target in wanted:
            if target in have:
                continue
            try:
                # A trial would fail because of our own sockets where some are bound to an interface and others to an
                # address.
                mixed = any(bool(group.target.device) != bool(target.device) for group in (*self.groups, *new))
                if mixed or self._is_free(target):
                    new.append(self._open(target, wanted[target]))
                self._refused.discard(target)
            except AddressUnavailable:
                pass  # the kernel tells of it again
            except StartError as error:
                if target not in self._refused:
                    self._refused.add(target)
                    log.error(str(error))
        self.groups += new
        return new, gone

    def close(self) -> None:
        """Close all sockets."""
        for group in self.groups:
            group.close()
        self.groups.clear()

    def _wanted(self) -> dict[BindTarget, int]:
        if not self._words:
            return dict.fromkeys(ANY, 0)
        targets, missing = targets_of(self._words, self._look())
        for word in missing:
            if word not in self._missing:
                log.warning(f"interfaces: {word} is not there; it is served when it comes")
        self._missing = set(missing)
        return targets

    def _open(self, target: BindTarget, index: int) -> Group:
        """Open the sockets of a target. Raises StartError, AddressUnavailable."""
        sockets: list[socket.socket] = []
        try:
            for _ in range(self._workers):
                # Beside a socket for one address one for a whole interface needs SO_REUSEPORT too.
                sockets.append(self._listen(target, self._workers > 1 or self.follows))
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        return Group(target, index, sockets)

    def _is_free(self, target: BindTarget) -> bool:
        """Whether the target exists. Raises StartError where another server listens on it, since with SO_REUSEPORT one
        of the same user would silently share the port."""
        try:
            self._listen(target, False).close()
        except AddressUnavailable:
            return False
        return True

    def _listen(self, target: BindTarget, share_port: bool) -> socket.socket:
        try:
            return open_listener(target, self._port, share_port)
        except PermissionError:
            raise StartError(
                f"not allowed to listen on port {self._port}: run as root, or choose another one with -p or `tcp port`"
            ) from None
        except OSError as error:
            if target.family == socket.AF_INET6 and target.host == "::" and error.errno in _NO_IPV6:
                raise AddressUnavailable from None
            if self._words and error.errno in _NOT_THERE:
                raise AddressUnavailable from None
            where = target.host + _device(target)
            raise StartError(f"cannot listen on {where} port {self._port}: {error.strerror}") from None


def _device(target: BindTarget) -> str:
    return f"%{target.device}" if target.device else ""
