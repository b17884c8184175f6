# SPDX-License-Identifier: GPL-2.0-or-later
"""One parameter of ksmbd.conf: its scope and syntax, and how its value is read from text."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass, field


class Scope(enum.Enum):
    """The section in which a parameter is valid."""

    GLOBAL = "G"
    SHARE = "S"


class Kind(enum.Enum):
    """The syntax of a value, and the type that it is parsed to."""

    BOOLEAN = "boolean"
    NUMBER = "number"
    SIZE = "size"
    MODE = "mode"
    CHOICE = "choice"
    STRING = "string"
    LIST = "list"
    PATTERNS = "patterns"


Value = bool | int | str | tuple[str, ...]

TRUE_WORDS = ("yes", "true", "1", "enable")
FALSE_WORDS = ("no", "false", "0", "disable")
MORE_TRUE_WORDS = ("on", "enabled")
MORE_FALSE_WORDS = ("off", "disabled")
"""Samba's further words, which older ksmbd.conf files have, too."""
WORDS = {
    **dict.fromkeys((*TRUE_WORDS, *MORE_TRUE_WORDS), "yes"), **dict.fromkeys((*FALSE_WORDS, *MORE_FALSE_WORDS), "no"),
}  # fmt: skip
"""Their meaning, for a choice of which yes and no are two."""

_SIZE = re.compile(r"(0[xX][0-9a-fA-F]+|[0-9]+)[ \t]*([kmgtpeKMGTPE]?)(?:i?[bB])?")
_SHIFT = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50, "e": 60}
_LIST_ITEM = re.compile(r'([@+&]*)"([^"]*)"|([^,\t ]+)')


@dataclass(frozen=True)
class Parameter:
    """One parameter. `default` and `samba`, Samba's default, are written as in the file; `samba` None: they are
    equal."""

    name: str
    scope: Scope
    kind: Kind
    default: str
    doc: str
    choices: tuple[str, ...] = ()
    aliases: dict[str, str] = field(default_factory=dict)
    """Other spelling in lower case -> choice."""
    old: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Value that ksmbd-tools up to 3.4 accepted, in lower case -> (choice, warning)."""
    cut: bool = False
    """A text that is too long is truncated with a warning, as by ksmbd-tools up to 3.4, instead of being an error."""
    minimum: int = 0
    maximum: int | None = None
    clamp: bool = False
    """A number out of range becomes the nearest valid one with a warning, as in KSMBD, instead of being an error."""
    zero_is_maximum: bool = False
    inherits: bool = True
    """Whether a value in [global] is the default of all shares (share parameters only)."""
    samba: str | None = None
    synonyms: tuple[str, ...] = ()
    """Samba's other names for the parameter."""
    ours: bool = False
    """ksmbd-tools 3.5.6 do not have this parameter."""
    pending: bool = False
    """It is parsed and checked, but has no effect with our engine; the kernel's server obeys it."""

    @property
    def attribute(self) -> str:
        """The name of the settings' field."""
        return re.sub(r"[ :]", "_", self.name)

    def allowed(self) -> str:
        """A description of the allowed values, for messages and the manual page."""
        match self.kind:
            case Kind.BOOLEAN:
                return "yes or no (also " + ", ".join((*TRUE_WORDS[1:], *FALSE_WORDS[1:])) + ")"
            case Kind.CHOICE:
                return " or ".join(filter(None, (", ".join(self.choices[:-1]), self.choices[-1])))
            case Kind.NUMBER | Kind.SIZE:
                what = "a number" if self.kind is Kind.NUMBER else "a size (suffix K, M, G, T, P or E)"
                if self.maximum is None:
                    return f"{what} from {self.minimum}" if self.minimum else what
                return f"{what} from {self.minimum} to {self.maximum}"
            case Kind.MODE:
                return "an octal mode from 0000 to 7777"
            case Kind.LIST:
                members = f", of {', '.join(self.choices)}" if self.choices else ""
                return "a list, separated by commas, tabs or spaces" + members
            case Kind.PATTERNS:
                return "names between slashes, like /name/*.tmp/"
            case Kind.STRING:
                return f"a text of at most {self.maximum} bytes" if self.maximum else "a text"

    def parse(self, text: str) -> tuple[Value, str]:
        """Parse a value: (value, warning or ''). Raises ValueError, with `allowed` as its message."""
        match self.kind:
            case Kind.BOOLEAN:
                return self._parse_boolean(text), ""
            case Kind.CHOICE:
                return self._parse_choice(text)
            case Kind.NUMBER | Kind.SIZE:
                return self._parse_number(text)
            case Kind.MODE:
                if not re.fullmatch(r"(0[oO])?[0-7]{1,5}", text) or int(text, 8) > 0o7777:
                    raise ValueError(self.allowed())
                return int(text, 8), ""
            case Kind.LIST:
                return self._parse_list(text)
            case Kind.PATTERNS:
                return tuple(pattern for pattern in text.split("/") if pattern), ""
            case Kind.STRING:
                return self._parse_string(text)

    def _parse_boolean(self, text: str) -> bool:
        word = text.lower()
        if word in TRUE_WORDS or word in MORE_TRUE_WORDS:
            return True
        if word in FALSE_WORDS or word in MORE_FALSE_WORDS:
            return False
        raise ValueError(self.allowed())

    def _parse_choice(self, text: str) -> tuple[str, str]:
        word = " ".join(text.lower().split())
        for choice in self.choices:
            if word == choice.lower():
                return choice, ""
        if word in self.aliases:
            return self.aliases[word], ""
        if word in self.old:
            return self.old[word]
        raise ValueError(self.allowed())

    def _parse_list(self, text: str) -> tuple[tuple[str, ...], str]:
        items = tuple(split_list(text))
        if self.choices and (lost := [item for item in items if item not in self.choices]):
            known = tuple(item for item in items if item in self.choices)
            return known, f"not supported and left out: {', '.join(lost)}"
        return items, ""

    def _parse_string(self, text: str) -> tuple[str, str]:
        if self.maximum is None or len(text.encode()) <= self.maximum:
            return text, ""
        if not self.cut:
            raise ValueError(self.allowed())
        text = text.encode()[: self.maximum].decode("utf-8", "ignore")
        return text, f"too long, taken as {text}: allowed is {self.allowed()}"

    def _parse_number(self, text: str) -> tuple[int, str]:
        match = _SIZE.fullmatch(text)
        if match is None or (self.kind is Kind.NUMBER and match[0] != match[1] + match[2]):
            raise ValueError(self.allowed())
        number = (int(match[1], 16) if match[1][:2] in ("0x", "0X") else int(match[1])) << _SHIFT[match[2].lower()]
        if self.zero_is_maximum and number == 0 and self.maximum is not None:
            return self.maximum, ""
        inside = max(number, self.minimum)
        if self.maximum is not None:
            inside = min(inside, self.maximum)
        if inside == number:
            return number, ""
        if not self.clamp:
            raise ValueError(self.allowed())
        return inside, f"out of range, taken as {inside}: allowed is {self.allowed()}"


def split_list(text: str) -> Iterator[str]:
    """The items of a list, separated by commas, tabs and spaces; an item in double quotes may contain them."""
    for match in _LIST_ITEM.finditer(text):
        item = match[1] + match[2] if match[3] is None else match[3]
        if item:
            yield item
