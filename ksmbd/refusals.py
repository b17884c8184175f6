# SPDX-License-Identifier: GPL-2.0-or-later
"""Tells the administrator which clients are refused, and why: one line each, in a form that programs can match.

    ksmbd: refused log-on from 192.0.2.7: wrong password (account="otto" domain="WORK" workstation="PC7")

The address comes before everything that a client chooses, and such text is quoted, without control characters and cut.
The lines of an address are limited in rate; the next one says how many were left out.
"""
from __future__ import annotations

import json
import time
from collections import OrderedDict
from typing import Final

from ksmbd import limits, log
from ksmbd.limit import address_group

SECONDS: Final = 10.0
"""The interval of the limits."""
TEXT_MAX: Final = 80
"""Characters of a text that a client chose."""


class _Address:
    """What was told of an address."""

    __slots__ = ("left_out", "lines", "since")

    def __init__(self, now: float) -> None:
        self.since = now
        self.lines = 0
        self.left_out = 0


class Rate:
    """The limit of lines by address; bounded in the number of addresses, of which those heard of last are kept."""

    def __init__(self) -> None:
        self._addresses: OrderedDict[str, _Address] = OrderedDict()

    def __len__(self) -> int:
        """The number of addresses that are known."""
        return len(self._addresses)

    def admit(self, address: str, now: float) -> int | None:
        """None: leave this line out. Else the number of lines about this address (IPv6: its /64 network) that were left
        out before. `now` in seconds."""
        key = address_group(address)
        entry = self._addresses.pop(key, None) or _Address(now)
        self._addresses[key] = entry
        if len(self._addresses) > limits.REFUSALS_ADDRESSES.value:
            self._addresses.popitem(last=False)
        if now - entry.since >= SECONDS:
            entry.since, entry.lines = now, 0
        if entry.lines >= limits.REFUSALS_OF_ADDRESS.value:
            entry.left_out += 1
            return None
        entry.lines += 1
        left_out, entry.left_out = entry.left_out, 0
        return left_out


_rate: Final = Rate()


def line(what: str, address: str, reason: str, facts: dict[str, str], left_out: int = 0) -> str:
    """The text of a line, without its prefix. Empty facts are left out."""
    told = " ".join(f"{name}={_quoted(text)}" for name, text in facts.items() if text)
    more = f"; {left_out} more from this address were not told" if left_out else ""
    return f"refused {what} from {address}: {reason}" + (f" ({told})" if told else "") + more


def _quoted(text: str) -> str:
    cut = text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + "…"
    return json.dumps("".join(c if c.isprintable() else "?" for c in cut), ensure_ascii=False)


def refused(what: str, address: str, reason: str, **facts: str) -> None:
    """Log that `what` (log-on, tree connect, connection) of a client at `address` is refused. `reason` and the names of
    `facts` are the server's words, the values of `facts` what the client sent."""
    left_out = _rate.admit(address, time.monotonic())
    if left_out is not None:
        log.notice(line(what, address, reason, facts, left_out))
