# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads and writes the user database ksmbdpwd.db: one line per user, `name:base64(MD4(UTF-16LE(password)))`.

A user who may not log on has two more fields, which ksmbd-tools do not have: `:flags:expires`. Flags are D (disabled)
and L (locked out), as in smbpasswd(5); `expires` are seconds since 1970, or empty."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ksmbd.auth.md4 import md4
from mountd.files import FileProblem, replace

NAME_MAX = 47
"""Bytes of a user's name in UTF-8: the field in the netlink messages has 48 with the NUL."""

PASSWORD_MAX = 128
"""Bytes of a password in UTF-8."""

HASH_SIZE = 16

_EXPIRES: Final = re.compile(r"[0-9]{0,12}")


class AccountsProblem(FileProblem):
    """The user database cannot be read, written or parsed."""


DISABLED: Final = "D"
LOCKED: Final = "L"
EXPIRED: Final = "X"
"""What `Account.bar` returns."""
FLAGS: Final = DISABLED + LOCKED


@dataclass(frozen=True)
class Account:
    """A user: the name as written in the file, and the NT hash (MS-NLMP 3.3.1 NTOWFv1), 16 bytes."""

    name: str
    nt_hash: bytes
    flags: str = ""
    """Of FLAGS."""
    expires: int | None = None
    """When the account expires, in seconds since 1970; None: never."""

    def bar(self, now: float) -> str:
        """Why the user may not log on: DISABLED, LOCKED, EXPIRED; '' if nothing is in the way."""
        for flag in FLAGS:
            if flag in self.flags:
                return flag
        return EXPIRED if self.expires is not None and self.expires <= now else ""

    def line(self) -> str:
        """The line of the file."""
        digest = base64.b64encode(self.nt_hash).decode("ascii")
        if not self.flags and self.expires is None:
            return f"{self.name}:{digest}\n"
        return f"{self.name}:{digest}:{self.flags}:{'' if self.expires is None else self.expires}\n"


def nt_hash(password: str) -> bytes:
    """MD4 of the password in UTF-16LE (MS-NLMP 3.3.1)."""
    return md4(password.encode("utf-16-le"))


def name_problem(name: str) -> str:
    """Why this cannot be a user's name, or an empty string."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "a user's name must be UTF-8"
    if not 1 <= size <= NAME_MAX:
        return f"a user's name has 1 to {NAME_MAX} bytes, this one has {size}"
    if ":" in name or any(ord(character) < 0x20 for character in name):
        return "a user's name cannot contain ':' or control characters"
    return ""


def password_problem(password: str) -> str:
    """Why this cannot be a password, or an empty string."""
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        return "a password must be UTF-8"
    if size > PASSWORD_MAX:
        return f"a password has at most {PASSWORD_MAX} bytes, this one has {size}"
    if "\n" in password or "\0" in password:
        return "a password cannot contain a line's end or NUL"
    return ""


class Accounts:
    """The users, in the file's order. Names that differ in case are different users; look-ups ignore case."""

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self._accounts = {account.name: account for account in accounts}

    def __len__(self) -> int:
        return len(self._accounts)

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts.values())

    def __contains__(self, name: str) -> bool:
        return self.find(name) is not None

    def find(self, name: str) -> Account | None:
        """The user with exactly this name, else the first whose name differs in case only; None: there is none."""
        exact = self._accounts.get(name)
        if exact is not None:
            return exact
        folded = name.casefold()
        return next((account for account in self._accounts.values() if account.name.casefold() == folded), None)

    def put(self, account: Account) -> None:
        """Add a user, or replace the one with the same name."""
        self._accounts[account.name] = account

    def remove(self, name: str) -> None:
        """Remove the user with exactly this name. Raises KeyError."""
        del self._accounts[name]

    def encode(self) -> bytes:
        """The file's content."""
        return "".join(account.line() for account in self._accounts.values()).encode()


def parse(content: bytes, path: str) -> Accounts:
    """Parse a file's content. Raises AccountsProblem, whose message names `path` and the line."""
    accounts: dict[str, Account] = {}
    for number, raw in enumerate(content.split(b"\n"), 1):
        line = raw.rstrip(b"\r")
        if not line:
            continue

        def problem(what: str, number: int = number) -> AccountsProblem:
            return AccountsProblem(f"{path}:{number}: {what}; allowed is name:hash as ksmbd.adduser writes it")

        try:
            name, colon, rest = line.decode().partition(":")
        except UnicodeDecodeError:
            raise problem("not UTF-8") from None
        if not colon:
            raise problem("no ':' in the line")
        reason = name_problem(name)
        if reason:
            raise problem(reason)
        encoded, limited, limits = rest.partition(":")
        flags, second, until = limits.partition(":")
        if limited and (not second or set(flags) - set(FLAGS) or not _EXPIRES.fullmatch(until)):
            raise problem(f"after the hash of {name}, {limits!r} is not FLAGS:EXPIRES")
        try:
            bare = encoded.rstrip("=")
            digest = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise problem(f"the hash of {name} is not base64") from None
        if len(digest) != HASH_SIZE:
            raise problem(f"the hash of {name} has {len(digest)} bytes and not {HASH_SIZE}")
        accounts[name] = Account(name, digest, flags, int(until) if until else None)
    return Accounts(accounts.values())


def load(path: str, *, missing_ok: bool = False) -> Accounts:
    """Read the database. Raises AccountsProblem with a message of one line."""
    try:
        with open(path, "rb") as stream:
            content = stream.read()
    except FileNotFoundError:
        if missing_ok:
            return Accounts()
        raise AccountsProblem(f"{path}: no such user database; ksmbd.adduser -a USER -P {path} makes one") from None
    except OSError as error:
        raise AccountsProblem(f"{path}: the user database cannot be read: {error.strerror}") from None
    return parse(content, path)


def save(accounts: Accounts, path: str) -> None:
    """Replace the database; a new one gets mode 0600. Raises AccountsProblem."""
    try:
        os.makedirs(os.path.dirname(os.path.realpath(path)), exist_ok=True)
        replace(path, accounts.encode(), mode=0o600)
    except OSError as error:
        raise AccountsProblem(f"{path}: the user database cannot be written: {error.strerror}") from None
