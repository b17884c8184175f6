# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon with accounts, for the log-on's tests."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

from ksmbd.auth.ntlm_crypto import ntowf_v1
from ksmbd.smb.ports import LoginResponse, SpnegoResponse
from ksmbd.smb.waiting import Future


class Accounts:
    """The Daemon port's log-on half: alice with a password, the guest account, what mountd does for ''."""

    def __init__(self, anonymous: bool = True, mapped: bool = False, guest_account: bool = True) -> None:
        self.anonymous, self.mapped, self.guest_account = anonymous, mapped, guest_account
        self.asked: list[str] = []
        self.ended: list[tuple[str, bool]] = []
        self.pending: Future[LoginResponse] | None = None
        self.kerberos = SpnegoResponse(LoginResponse("", b"", 0, 0), reason="refused")
        self.kerberos_tokens: list[bytes] = []
        self.protected = b""
        """The MechTypeList of the last ticket, where it is to be protected."""

    def answer(self, account: str) -> LoginResponse:
        guest = LoginResponse("nobody", b"", 65534, 65534, admitted=True, is_guest=True)
        if account.lower() == "alice":
            return LoginResponse("alice", ntowf_v1("Pa55wörd"), 1000, 1000, (1000, 27), admitted=True)
        if (account == "nobody" and self.guest_account) or (account == "" and self.anonymous) or self.mapped:
            return guest
        return LoginResponse(account, b"", 0, 0)

    def login(self, account: str, mapped: bool = False) -> Future[LoginResponse]:
        self.asked.append(account)
        if self.pending is not None:
            return self.pending
        return Future.of(self.answer(account))

    def logout(self, account: str, failed: bool) -> None:
        self.ended.append((account, failed))

    def spnego_authen(self, blob: bytes, mechanism_list: bytes = b"") -> Future[SpnegoResponse]:
        self.kerberos_tokens.append(blob)
        self.protected = mechanism_list
        return Future.of(replace(self.kerberos, mic=b"ours" if mechanism_list else b"", number=7))

    def spnego_verify(self, number: int, mic: bytes) -> Future[SpnegoResponse]:
        right = (number, mic) == (7, b"client's")
        return Future.of(SpnegoResponse(LoginResponse("", b"", 0, 0, admitted=right), reason="" if right else "wrong"))

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the log-on has no use for {name}")
