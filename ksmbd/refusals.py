# SPDX-License-Identifier: GPL-2.0-or-later
"""Tells the administrator which clients are refused, and why: one line each, in a form that programs can match.

    ksmbd: refused log-on from 192.0.2.7: wrong password (account="otto" domain="WORK" workstation="PC7")

In JSON and in the journal its id is log-on-refused (tree-connect-, connection-, request-), with the fields address,
reason, rule, status, path, account, domain, workstation, share.

The address comes before everything that a client chooses, and such text is quoted, without control characters and cut.
The lines of an address (IPv6: of its /64 network) are limited in rate; a line says how many were left out, once the
interval has ended.
"""
from __future__ import annotations

import json
import re
from typing import Final

from ksmbd import limits, log
from ksmbd.limit import address_group
from ksmbd.line_limit import LineLimit

SECONDS: Final = 10.0
"""The interval of the limits."""
TEXT_MAX: Final = 80
"""Characters of a text that a client chose, in a line of text."""
FIELD_MAX: Final = 256
"""The same in a field."""
_PARAMETER: Final = re.compile("`([^`]+)`")


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
        fields = {"address": address, "reason": reason, **_facts(facts), "component": _component(what)}
        log.notice(line(what, address, reason, facts), f"{_slug(what)}-noticed", **fields)


def refused(what: str, address: str, reason: str, status: str = "", path: str = "", **facts: str) -> None:
    """Log that `what` (log-on, password change, tree connect, connection) of a client at `address` is refused. `reason`
    and the names of `facts` are the server's words, the values of `facts` what the client sent; the NTSTATUS and a path
    that the reason is about are for programs alone. The field `rule` has the parameters that the reason names."""
    if not _limited.admits(address_group(address)):
        return
    more = {"rule": ", ".join(_PARAMETER.findall(reason)), "status": status, "path": path}
    fields = {
        "address": address, "reason": reason, **{name: text for name, text in more.items() if text}, **_facts(facts),
        "component": _component(what),
    }  # fmt: skip
    log.notice(line(f"refused {what}", address, reason, facts), f"{_slug(what)}-refused", **fields)


def _facts(facts: dict[str, str]) -> dict[str, str]:
    return {name: text[:FIELD_MAX] for name, text in facts.items() if text}


def _slug(what: str) -> str:
    return what.replace(" ", "-")


def _component(what: str) -> str:
    return "auth" if what in ("log-on", "password change") else "smb"
