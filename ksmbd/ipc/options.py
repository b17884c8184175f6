# SPDX-License-Identifier: GPL-2.0-or-later
"""The OPTION attributes: parameters that KSMBD's structures have no room for, by their name in ksmbd.conf.

mountd has read and checked them; it writes booleans as yes and no, numbers in decimal. What it does not write is no
value: the functions raise WireError for an option that is missing or malformed, and know no default.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ksmbd.smb.status import WireError

YES: Final = "yes"
NO: Final = "no"

GUEST_UID: Final = "guest uid"
GUEST_GID: Final = "guest gid"
GUEST_GROUPS: Final = "guest groups"
"""The ids of a share's own `guest account`; none of them where it has none."""
FORCE_GROUP: Final = "force group"
OF_MEMBERS: Final = "members"
"""The value of FORCE_GROUP where the forced group is for its members alone; the option is left out otherwise."""


def required(options: Mapping[str, str], name: str) -> str:
    """An option's text. WireError: it is missing."""
    try:
        return options[name]
    except KeyError:
        raise WireError(f"no `{name}`") from None


def switch(options: Mapping[str, str], name: str) -> bool:
    """A boolean. WireError: it is missing, or neither yes nor no."""
    text = required(options, name)
    if text not in (YES, NO):
        raise WireError(f"`{name}` is {text!r}")
    return text == YES


def number(options: Mapping[str, str], name: str) -> int:
    """A number that is not negative. WireError: it is missing, or no such number."""
    found = numbers(required(options, name))
    if len(found) != 1:
        raise WireError(f"`{name}` is {options[name]!r}")
    return found[0]


def numbers(text: str) -> tuple[int, ...]:
    """Numbers between blanks. WireError: one is none."""
    words = text.split()
    if not all(word.isascii() and word.isdigit() for word in words):
        raise WireError(f"no numbers: {text!r}")
    return tuple(int(word) for word in words)


def patterns(text: str) -> tuple[str, ...]:
    """Names between slashes, as in `/*.tmp/name/`."""
    return tuple(name for name in text.split("/") if name)
