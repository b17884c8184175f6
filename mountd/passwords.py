# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes the passwords of users who know their old one (MS-SAMR 3.1.5.10.3), and of their Unix accounts, where
`unix password sync` says so.

What the client sends comes through the process of the RPC services, which can read neither password. It is checked, and
the user database is written, in a thread; a wrong old password counts as a failed log-on does.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from hmac import compare_digest
from typing import Any, Final, NamedTuple, Protocol

from ksmbd import limits, log
from ksmbd.auth.md4 import md4
from ksmbd.refusals import refused
from ksmbd.smb.status import (
    STATUS_ACCOUNT_DISABLED,
    STATUS_ACCOUNT_EXPIRED,
    STATUS_ACCOUNT_LOCKED_OUT,
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_PASSWORD_RESTRICTION,
    STATUS_SUCCESS,
    STATUS_UNSUCCESSFUL,
    STATUS_WRONG_PASSWORD,
    status_name,
)
from mountd import accounts as accounts_file
from mountd import unixpassword
from mountd.accounts import DISABLED, EXPIRED, HASH_SIZE, LOCKED, Account
from mountd.config import Configuration
from mountd.failedlogons import DELAY, FailedLogons
from mountd.files import locked_directory
from mountd.lookup_threads import LookupThreads
from mountd.loop import Loop
from mountd.rpc.names import Found, Outcome, PasswordChange
from mountd.rpc.samr_password import AUTH_SIZE, ITERATIONS_LEAST, ITERATIONS_MOST, SALT_SIZE
from mountd.unixpassword import Result
from mountd.unixusers import UnixUsers

BUFFER_SIZE: Final = 512
"""Bytes of SAMPR_USER_PASSWORD's Buffer (MS-SAMR 2.2.6.20), at whose end the password is."""
ENCRYPTION_KEY: Final = b"Microsoft SAM encryption key AEAD-AES-256-CBC-HMAC-SHA512 16\0"
MAC_KEY: Final = b"Microsoft SAM MAC key AEAD-AES-256-CBC-HMAC-SHA512 16\0"
"""What the keys of MS-SAMR 3.2.2.4 are derived with."""
BARS: Final = {
    DISABLED: STATUS_ACCOUNT_DISABLED, LOCKED: STATUS_ACCOUNT_LOCKED_OUT, EXPIRED: STATUS_ACCOUNT_EXPIRED,
}  # fmt: skip
WRONG: Final = "wrong password"

SyncUnix = Callable[[str, str], unixpassword.Outcome]


class ServerView(Protocol):
    """The parts of the daemon that a change needs."""

    @property
    def configuration(self) -> Configuration: ...
    @property
    def users(self) -> UnixUsers: ...
    @property
    def failed_logons(self) -> FailedLogons: ...


class Done(NamedTuple):
    """What became of a change: its NTSTATUS, why it is refused, and what became of the Unix password."""

    status: int
    why: str = ""
    account: str = ""
    unix: unixpassword.Outcome | None = None


@dataclass(frozen=True)
class Job:
    """A change for the thread. `sync`: with the Unix password."""

    number: int
    change: PasswordChange
    sync: bool


def encrypted_hash(nt_hash: bytes, key: bytes) -> bytes:
    """ENCRYPTED_NT_OWF_PASSWORD (MS-SAMR 2.2.11.1.1, 2.2.11.1.4): a hash under a key of 16 bytes."""
    from ksmbd.auth import ntlm_crypto as crypto

    return crypto.des(key[:7], nt_hash[:8]) + crypto.des(key[7:14], nt_hash[8:])


def new_password(change: PasswordChange, nt_hash: bytes) -> bytes | None:
    """The new password in UTF-16LE, where the client knows the password of this hash; None: it does not."""
    if change.iterations:
        return _new_password_aes(change, nt_hash)
    from ksmbd.auth import ntlm_crypto as crypto  # with the library of ciphers, which most daemons never need

    clear = crypto.rc4(nt_hash).update(change.new)
    size = int.from_bytes(clear[BUFFER_SIZE:], "little")
    if size > BUFFER_SIZE or size % 2:
        size = 0  # the key was wrong; it is compared all the same
    password = clear[BUFFER_SIZE - size : BUFFER_SIZE]
    return password if compare_digest(encrypted_hash(nt_hash, md4(password)), change.proof) else None


def _new_password_aes(change: PasswordChange, nt_hash: bytes) -> bytes | None:
    """AEAD-AES-256-CBC-HMAC-SHA512 (MS-SAMR 3.2.2.4) with a key by PBKDF2 (MS-SAMR 3.2.2.5)."""
    key = hashlib.pbkdf2_hmac("sha512", nt_hash, change.salt, change.iterations, HASH_SIZE)
    mac_key = hmac.digest(key, MAC_KEY, "sha512")
    if not compare_digest(hmac.digest(mac_key, b"\x01" + change.salt + change.new + b"\x01", "sha512"), change.proof):
        return None
    from cryptography.hazmat.primitives.ciphers import Cipher, modes
    from cryptography.hazmat.primitives.ciphers.algorithms import AES256

    cipher = Cipher(AES256(hmac.digest(key, ENCRYPTION_KEY, "sha512")[:32]), modes.CBC(change.salt)).decryptor()
    clear = cipher.update(change.new) + cipher.finalize()
    size = int.from_bytes(clear[:2], "little")
    return clear[2 : 2 + size] if size % 2 == 0 and 2 + size <= len(clear) else None


def perform(job: Job, database: str, now: float, sync: SyncUnix = unixpassword.change) -> Done:
    """Make a change: check the old password, change the Unix password, then that of the user database. Where PAM
    refuses, neither changes. Raises FileProblem and OSError where the user database cannot be read or written."""
    found = accounts_file.load(database, missing_ok=True).find(job.change.user)
    encoded = new_password(job.change, os.urandom(HASH_SIZE) if found is None else found.nt_hash)
    if found is None:
        return Done(STATUS_WRONG_PASSWORD, "unknown user")
    if encoded is None:
        return Done(STATUS_WRONG_PASSWORD, WRONG, found.name)
    bar = found.bar(now)
    if bar:
        return Done(BARS[bar], status_name(BARS[bar]).removeprefix("STATUS_").lower().replace("_", " "), found.name)
    try:
        password = encoded.decode("utf-16-le")
        problem = accounts_file.password_problem(password) or ("" if password else "an empty password")
    except UnicodeDecodeError:
        password, problem = "", "a password must be Unicode"
    if problem:
        return Done(STATUS_PASSWORD_RESTRICTION, problem, found.name)
    unix = sync(found.name, password) if job.sync else None
    if unix is not None and unix.result is Result.REFUSED:
        return Done(STATUS_PASSWORD_RESTRICTION, f"PAM refuses the new password: {unix.why}", found.name, unix)
    if unix is not None and unix.result is Result.FAILED:
        return Done(STATUS_UNSUCCESSFUL, f"the Unix password cannot be changed: {unix.why}", found.name, unix)
    return _store(database, found, accounts_file.nt_hash(password), unix)


def _store(database: str, found: Account, digest: bytes, unix: unixpassword.Outcome | None) -> Done:
    with locked_directory(database):
        accounts = accounts_file.load(database)
        current = accounts.find(found.name)
        if current is None or current.nt_hash != found.nt_hash:
            return Done(STATUS_UNSUCCESSFUL, "somebody else has changed the user at the same time", found.name, unix)
        accounts.put(replace(current, nt_hash=digest))
        accounts_file.save(accounts, database)
    return Done(STATUS_SUCCESS, "", current.name, unix)


class PasswordChanges:
    """Makes the changes one after the other. Implements mountd.rpc.host.Passwords."""

    def __init__(
        self, loop: Loop, server: ServerView, database: str, changed: Callable[[], None],
        make: Callable[[Job], Done] | None = None, clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        """`changed` is called when the user database has another content. `make` runs in a thread."""
        self._loop = loop
        self._server = server
        self._changed = changed
        self._make = make or (lambda job: perform(job, database, clock()))
        self._threads: LookupThreads[Job, Done] = LookupThreads(loop, self._make, self._done, 1)
        self._waiting: dict[int, tuple[PasswordChange, str, Callable[[Found], None]]] = {}
        self._next = 0

    def close(self, seconds: float = 0.0) -> None:
        """Stop the thread, as LookupThreads.close does."""
        self._threads.close(seconds)

    def change(self, text: str, address: str, then: Callable[[Found], None]) -> None:
        """See mountd.rpc.host.Passwords."""
        change = decode(text)
        configuration = self._server.configuration
        user = configuration.username_map.user(change.user, self._server.users)
        if len(self._waiting) >= limits.PASSWORD_CHANGES.value:
            then(Outcome(STATUS_INSUFFICIENT_RESOURCES))
            return
        self._next += 1
        change = change._replace(user=user)
        self._waiting[self._next] = (change, address, then)
        self._threads.start(Job(self._next, change, unixpassword.is_wanted(configuration)))

    def _done(self, job: Job, done: Done | None, why: str) -> None:
        change, address, then = self._waiting.pop(job.number)
        if done is None:
            log.error(f"the password of {change.user[:80]!r} cannot be changed: {why}", "password-change-failed")
            then(Outcome(STATUS_UNSUCCESSFUL))
            return
        if done.status == STATUS_SUCCESS:
            self._server.failed_logons.forget(change.user)
            self._changed()
            log.info(f"user {done.account!r} has changed the password from {address}{_unix(done.unix)}",
                     "password-changed", account=done.account, address=address)  # fmt: skip
            then(Outcome(STATUS_SUCCESS))
            return
        status = status_name(done.status)
        refused("password change", address or "nobody", done.why, status, account=change.user, by="RPC")
        delay = 0.0
        if done.status == STATUS_WRONG_PASSWORD:
            delay = DELAY if self._server.failed_logons.are_too_many(change.user) else 0.0
            self._server.failed_logons.count(change.user)
        self._loop.call_later(delay, lambda: then(Outcome(done.status)))


def _unix(outcome: unixpassword.Outcome | None) -> str:
    if outcome is None:
        return ""
    if outcome.result is Result.CHANGED:
        return ", the Unix password too"
    return f"; the Unix password stays: {outcome.why}"


def decode(text: str) -> PasswordChange:
    """The change that a question asks for. Raises ValueError where it is none."""
    raw: Any = json.loads(text)
    if not isinstance(raw, list) or [type(part) for part in raw] != [str, str, str, str, int]:
        raise ValueError("no change of a password")
    user, new, proof, salt, iterations = raw
    change = PasswordChange(user, bytes.fromhex(new), bytes.fromhex(proof), bytes.fromhex(salt), iterations)
    if change.iterations:
        right = len(change.proof) == AUTH_SIZE and len(change.salt) == SALT_SIZE and len(change.new) % 16 == 0
        right = right and bool(change.new) and ITERATIONS_LEAST <= iterations <= ITERATIONS_MOST
    else:
        right = len(change.new) == BUFFER_SIZE + 4 and len(change.proof) == HASH_SIZE
    if not right:
        raise ValueError("a change of a password of another size")
    user.encode()  # UnicodeEncodeError is a ValueError
    return change
