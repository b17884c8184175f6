# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the OPTION attributes: parameters that KSMBD's structures have no field for, by their names in ksmbd.conf.

mountd has parsed and checked them; it sends booleans as yes or no and numbers in decimal. The functions have no
defaults: they raise WireError for an option that is missing or malformed.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ksmbd.smb.ports import Client
from ksmbd.smb.status import WireError

YES: Final = "yes"
NO: Final = "no"

GUEST_UID: Final = "guest uid"
GUEST_GID: Final = "guest gid"
GUEST_GROUPS: Final = "guest groups"
"""The ids of a share's own `guest account`; all are left out where it has none."""
FORCE_GROUP: Final = "force group"
OF_MEMBERS: Final = "members"
"""The value of FORCE_GROUP for `force group = +GROUP`, which applies to members of the group only; otherwise the option
is left out."""
PERSONAL: Final = "personal"
"""A share is not the same for all sessions; nothing else is said of it until it is asked for with a client."""

MAPPED: Final = "mapped"
"""In LOGIN_REQUEST: the account is that of a session, for which `username map` has been obeyed."""

ACCOUNT: Final = "account"
IS_GUEST: Final = "guest"
PEER: Final = "address"
LOCAL: Final = "local address"
CLIENT_NAME: Final = "client name"
DIALECT: Final = "dialect"
CLIENT_NAME_MAX: Final = 255


def client_options(client: Client) -> dict[str, str]:
    """What a share may depend on, as options of a request."""
    return {
        ACCOUNT: client.account, IS_GUEST: YES if client.is_guest else NO, PEER: client.peer, LOCAL: client.local,
        CLIENT_NAME: _plain(client.name), DIALECT: str(client.dialect),
    }  # fmt: skip


def _plain(name: str) -> str:
    """A name of a client as UTF-8 without NUL, cut where it is too long."""
    return name.replace("\0", "")[:CLIENT_NAME_MAX].encode(errors="replace").decode()


def required(options: Mapping[str, str], name: str) -> str:
    """The text of an option. Raises WireError where it is missing."""
    try:
        return options[name]
    except KeyError:
        raise WireError(f"no `{name}`") from None


def switch(options: Mapping[str, str], name: str) -> bool:
    """The value of a boolean option. Raises WireError where it is missing, or neither yes nor no."""
    text = required(options, name)
    if text not in (YES, NO):
        raise WireError(f"`{name}` is {text!r}")
    return text == YES


def number(options: Mapping[str, str], name: str) -> int:
    """The value of a number option. Raises WireError where it is missing, or no decimal number."""
    found = numbers(required(options, name))
    if len(found) != 1:
        raise WireError(f"`{name}` is {options[name]!r}")
    return found[0]


def numbers(text: str) -> tuple[int, ...]:
    """The decimal numbers in a text, separated by blanks. Raises WireError for anything else."""
    words = text.split()
    if not all(word.isascii() and word.isdigit() for word in words):
        raise WireError(f"no numbers: {text!r}")
    return tuple(int(word) for word in words)


def patterns(text: str) -> tuple[str, ...]:
    """The names in a list like `/*.tmp/name/`."""
    return tuple(name for name in text.split("/") if name)
