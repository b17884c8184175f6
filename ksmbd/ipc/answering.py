# SPDX-License-Identifier: GPL-2.0-or-later
"""An answer in parts to a question of mountd (Event.QUESTION)."""
from __future__ import annotations

from typing import Final

from ksmbd.ipc.channel import Channel
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, Event
from ksmbd.ipc.exchange import Exchange

PART_MAX: Final = 32 << 10
"""Bytes of UTF-8 in one part at most."""


class Answering:
    """The answer to one question: any number of parts, then the end."""

    def __init__(self, exchange: Exchange, channel: Channel, handle: int) -> None:
        self._exchange = exchange
        self._channel = channel
        self._handle = handle
        self._parts = 0

    @property
    def congested(self) -> bool:
        """Whether parts wait for mountd to read. The caller goes on when they have left."""
        return self._channel.backlog > 0

    def part(self, text: str) -> None:
        """Send a part of at most PART_MAX bytes."""
        self._parts += 1
        numbers = {Attribute.HANDLE: self._handle}
        self._exchange.post(Message(Event.ANSWER, numbers=numbers, texts={Attribute.BODY: text}))

    def end(self) -> None:
        """Send the end, with the number of parts."""
        numbers = {Attribute.HANDLE: self._handle, Attribute.SIZE: self._parts}
        self._exchange.post(Message(Event.ANSWER, numbers=numbers))
