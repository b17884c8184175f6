# SPDX-License-Identifier: GPL-2.0-or-later
"""The ports Clock, Daemon and Transport, scripted."""
from __future__ import annotations

from collections.abc import Callable

from fake_clock import NOW
from playbook import Act, Playbook
from scripted import Scripted

from ksmbd.smb.ports import (
    Client,
    Frame,
    LoginResponse,
    ShareConfig,
    SpnegoResponse,
    Timer,
    TreeConnectResult,
)
from ksmbd.smb.waiting import Future


class ScriptedTimer(Scripted):
    """A call that is to come. `fires` is the act."""

    def __init__(self, play: Playbook, name: str, clock: ScriptedClock) -> None:
        super().__init__(play, name)
        self._clock = clock
        self._call: Callable[[], None] | None = None
        self._due = 0.0

    def arm(self, seconds: float, call: Callable[[], None]) -> None:
        """The clock was asked for it."""
        assert self._call is None, f"{self} runs already"
        self._call, self._due = call, self._clock.now + seconds
        self.play.left[self] = lambda: f"{self} was not cancelled" if self._call is not None else ""

    def cancel(self) -> None:
        self._call = None
        self._tell(self.cancel)

    def fires(self) -> Act:
        """Its time has come."""

        def fire() -> None:
            call, self._call = self._call, None
            assert call is not None, f"{self} does not run"
            self._clock.now = max(self._clock.now, self._due)
            call()

        return Act(f"{self} fires", fire)


class ScriptedClock(Scripted):
    """Time stands still until a timer fires."""

    now = 1000.0

    def timer(self, name: str) -> ScriptedTimer:
        """For `call(clock.call_later, ...).gives(...)`."""
        return ScriptedTimer(self.play, name, self)

    def passes(self, seconds: float) -> Act:
        """Time goes on; no timer fires by that."""

        def go() -> None:
            self.now += seconds

        return Act(f"{seconds} s pass", go)

    def monotonic(self) -> float:
        return self.now

    def filetime(self) -> int:
        return NOW + int((self.now - 1000.0) * 10_000_000)

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        timer = self._tell(self.call_later, seconds, call)
        if isinstance(timer, ScriptedTimer):
            timer.arm(seconds, call)
        return timer


class ScriptedDaemon(Scripted):
    """Mountd."""

    def login(self, account: str, mapped: bool = False) -> Future[LoginResponse]:
        return self._tell(self.login, account)

    def logout(self, account: str, failed: bool) -> None:
        self._tell(self.logout, account, failed)

    def share_config(self, name: str) -> Future[ShareConfig | None]:
        return self._tell(self.share_config, name)

    def personal_share(self, name: str, client: Client) -> Future[ShareConfig | None]:
        return self._tell(self.personal_share, name, client)

    def tree_connect(
        self,
        session_id: int,
        connect_id: int,
        account: str,
        is_guest: bool,
        share: str,
        peer: str,
        client: Client | None = None,
    ) -> Future[TreeConnectResult]:
        more = () if client is None else (client,)
        return self._tell(self.tree_connect, session_id, connect_id, account, is_guest, share, peer, *more)

    def check_tree_connect(
        self, account: str, is_guest: bool, share: str, peer: str, client: Client | None = None
    ) -> Future[TreeConnectResult]:
        more = () if client is None else (client,)
        return self._tell(self.check_tree_connect, account, is_guest, share, peer, *more)

    def tree_disconnect(self, session_id: int, connect_id: int) -> None:
        self._tell(self.tree_disconnect, session_id, connect_id)

    def spnego_authen(self, blob: bytes, mechanism_list: bytes = b"") -> Future[SpnegoResponse]:
        return self._tell(self.spnego_authen, blob, mechanism_list)

    def spnego_verify(self, number: int, mic: bytes) -> Future[SpnegoResponse]:
        return self._tell(self.spnego_verify, number, mic)

    def rpc_open(self, pipe: str, account: str, restricted: bool, address: str = "") -> Future[int]:
        return self._tell(self.rpc_open, pipe, account, restricted)

    def rpc_write(self, handle: int, data: bytes) -> Future[None]:
        return self._tell(self.rpc_write, handle, data)

    def rpc_read(self, handle: int, size: int) -> Future[tuple[bytes, bool]]:
        return self._tell(self.rpc_read, handle, size)

    def rpc_peek(self, handle: int) -> Future[tuple[bytes, bool]]:
        return self._tell(self.rpc_peek, handle)

    def rpc_transceive(self, handle: int, data: bytes, size: int) -> Future[tuple[bytes, bool]]:
        return self._tell(self.rpc_transceive, handle, data, size)

    def rpc_close(self, handle: int) -> None:
        self._tell(self.rpc_close, handle)


class ScriptedTransport(Scripted):
    """A connection's other side. What is sent goes to `receive`, which makes steps of it."""

    local = "192.0.2.1"

    def __init__(self, play: Playbook, name: str, peer: str, receive: Callable[[bytes], None]) -> None:
        super().__init__(play, name)
        self.peer = peer
        self._receive = receive
        self.sent = 0
        self.progress = 0
        """Bytes that the client's machine has confirmed; an act of `confirms` adds to them."""

    def confirms(self, count: int) -> Act:
        """The client's machine confirms so many bytes more."""

        def do() -> None:
            self.progress += count

        return Act(f"{self} confirms {count} bytes", do)

    def send(self, frame: Frame) -> None:
        data = bytes(frame.data)
        self.sent += len(data)
        self._receive(data[4:])

    def close(self, reason: str) -> None:
        self._tell(self.close, reason)

    def room(self) -> Future[None] | None:
        return None

    def delivery_mark(self) -> int:
        return self.sent

    def delivery_seconds(self) -> float:
        return 0.5

    def confirmed(self) -> int:
        return self.progress

    def delivered(self, mark: int) -> bool:
        return self._tell(self.delivered, mark)
