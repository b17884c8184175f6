# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks the log-ons inside RPC associations (mountd/rpc/logon.py): the response to a challenge against the NT
hash of the account, which never leaves this process. The other one learns the key of the session."""

from __future__ import annotations

import base64
import binascii
import json
import os
from hmac import compare_digest
from typing import Any, NamedTuple, Protocol

from ksmbd.ipc.constants import UserFlag
from ksmbd.refusals import refused
from ksmbd.smb.status import STATUS_LOGON_FAILURE, status_name
from mountd.failedlogons import DELAY, FailedLogons
from mountd.login import UserView, decide

_CHALLENGE_SIZE = 8
_PROOF_SIZE = 16


class ServerView(UserView, Protocol):
    """The parts of the daemon that know the accounts, and who failed to log on."""

    @property
    def failed_logons(self) -> FailedLogons: ...


class Checked(NamedTuple):
    """The answer to a log-on: the account and KeyExchangeKey (MS-NLMP 3.3.2), both empty where it is refused."""

    account: str
    key: bytes
    delay: float = 0.0
    """Seconds by which the refusal is to be told later."""


def check(server: ServerView, text: str, address: str = "") -> Checked:
    """Check a log-on. Those that are refused the log tells with the client's address, and they count as failed ones.
    Raises ValueError where the question is none."""
    raw: Any = json.loads(text)
    if not isinstance(raw, dict):
        raise ValueError("no log-on")
    user, domain = raw.get("user"), raw.get("domain")
    challenge, response = _bytes(raw.get("challenge")), _bytes(raw.get("response"))
    if not isinstance(user, str) or not isinstance(domain, str):
        raise ValueError("a log-on without names")
    if len(challenge) != _CHALLENGE_SIZE or len(response) < _PROOF_SIZE:
        raise ValueError("a log-on without a response")
    try:
        user.encode()
        domain.encode("utf-16-le")
    except UnicodeEncodeError:
        return _refused(server, address, user, domain)
    from ksmbd.auth import ntlm_crypto as crypto  # with the library of ciphers, which most daemons never need

    login = decide(user, server.accounts, server.configuration, server.users)
    usable = bool(user) and bool(login.status & UserFlag.OK) and len(login.nt_hash) == 16
    # An unknown user is checked against a key that nobody knows, so that it takes as long as a wrong password
    key = crypto.ntowf_v2(login.nt_hash if usable else os.urandom(16), user, domain)
    proof = crypto.nt_proof(key, challenge, response[_PROOF_SIZE:])
    if not compare_digest(proof, response[:_PROOF_SIZE]) or not usable:
        return _refused(server, address, user, domain)
    server.failed_logons.forget(user)
    return Checked(login.account, crypto.hmac_md5(key, proof))


def _refused(server: ServerView, address: str, user: str, domain: str) -> Checked:
    """Tell of a log-on that is refused; the result for it."""
    reason = "unknown user" if server.accounts.find(user) is None else "wrong password"
    refused(
        "log-on", address or "nobody", reason, status_name(STATUS_LOGON_FAILURE), account=user, domain=domain, by="RPC"
    )
    delay = DELAY if server.failed_logons.are_too_many(user) else 0.0
    server.failed_logons.count(user)
    return Checked("", b"", delay)


def _bytes(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("no bytes")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("no bytes in base64") from None
