# SPDX-License-Identifier: GPL-2.0-or-later
"""Tells the administrator which clients are refused, and why: one line each, in a form that programs can match.

    ksmbd: refused log-on from 192.0.2.7: wrong password (account="otto" domain="WORK" workstation="PC7")

The address comes before everything that a client chooses, and such text is quoted, without control characters and cut.
The lines of an address (IPv6: of its /64 network) are limited in rate; a line says how many were left out, once the
interval has ended.
"""
from __future__ import annotations

import json
from typing import Final

from ksmbd import limits, log
from ksmbd.limit import address_group
from ksmbd.line_limit import LineLimit

SECONDS: Final = 10.0
"""The interval of the limits."""
TEXT_MAX: Final = 80
"""Characters of a text that a client chose."""


def _count(address: str, number: int) -> str:
    return f"{number} more refusals of {address or 'other addresses'} were not told"


_limited: Final = log.Limited(LineLimit(limits.REFUSALS_OF_ADDRESS.value, limits.REFUSALS.value, SECONDS), _count)


def line(what: str, address: str, reason: str, facts: dict[str, str]) -> str:
    """The text of a line, without its prefix. Empty facts are left out."""
    told = " ".join(f"{name}={_quoted(text)}" for name, text in facts.items() if text)
    return f"{what} from {address}: {reason}" + (f" ({told})" if told else "")


def _quoted(text: str) -> str:
    cut = text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + "…"
    return json.dumps("".join(c if c.isprintable() else "?" for c in cut), ensure_ascii=False)


def noticed(what: str, address: str, reason: str, **facts: str) -> None:
    """Log that `what` of a client at `address` is served, and yet not as its user will expect. As `refused`."""
    if _limited.admits(address_group(address)):
        log.notice(line(what, address, reason, facts))


def refused(what: str, address: str, reason: str, **facts: str) -> None:
    """Log that `what` (log-on, tree connect, connection) of a client at `address` is refused. `reason` and the names of
    `facts` are the server's words, the values of `facts` what the client sent."""
    if _limited.admits(address_group(address)):
        log.notice(line(f"refused {what}", address, reason, facts))
