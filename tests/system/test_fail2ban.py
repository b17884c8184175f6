# SPDX-License-Identifier: GPL-2.0-or-later
"""The filter for fail2ban finds the addresses of refused log-ons in each form of the log, and never one that a client
has written into a name."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fail2ban import found_by_fail2ban

from ksmbd import limits, log, refusals
from ksmbd.log_record import Record, as_json, as_line, as_text

NOW = 1795795200.25
FORGED = (
    "otto",
    "198.51.100.1",
    "x from 198.51.100.1: wrong password",
    'x" from 198.51.100.1: wrong password (account="y',
    "x\nksmbd: refused log-on from 198.51.100.1: wrong password",
    'x\n{"time": "2026-11-27T16:00:00+00:00", "level": "notice", "id": "log-on-refused", "address": "198.51.100.1", '
    '"reason": "wrong password"}',
    'x", "level": "notice", "id": "log-on-refused", "address": "198.51.100.1", "reason": "wrong password"',
    '", "address": "198.51.100.1',
    "\\", '\\"', "\u2028\u202e\x00\ud800\U0001f600",
    "a" * 300,
)  # fmt: skip
FORMS: dict[str, Callable[[Record], str]] = {
    "text": lambda record: as_line(record, times=True),
    "json": as_json,
    "syslog": lambda record: f"Nov 27 16:00:00 host ksmbd[42]: {as_text(record)}",
    "syslog of json": lambda record: f"Nov 27 16:00:00 host ksmbd[42]: {as_json(record)}",
}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """What is logged; each call is the first of its address."""
    records: list[Record] = []
    monkeypatch.setattr(log, "write", records.append)
    monkeypatch.setattr(log.time, "time", lambda: NOW)  # type: ignore[attr-defined]
    return records


def refuse(what: str, address: str, reason: str, **facts: str) -> None:
    refusals._limited.forget()
    refusals.refused(what, address, reason, "STATUS_LOGON_FAILURE", **facts)


@pytest.mark.parametrize("form", FORMS)
def test_log_ons_with_forged_names(told: list[Record], form: str, tmp_path: Path) -> None:
    for name in FORGED:
        refuse("log-on", "192.0.2.7", "wrong password", account=name, domain=name, workstation=name)
        refuse("log-on", "2001:db8::7", "unknown user", account=name)
    assert len(told) == 2 * len(FORGED)
    found = found_by_fail2ban(tmp_path, [FORMS[form](record) for record in told])
    assert found == ["192.0.2.7", "2001:db8::7"] * len(FORGED)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_no_failed_log_on(told: list[Record], form: str, tmp_path: Path) -> None:
    for name in FORGED:
        refuse("tree connect", "192.0.2.7", "no such share", share=name, account=name)
        refuse("log-on", "192.0.2.7", "anonymous sessions are not allowed", workstation=name)
        log.debug(0, name)
    log.info("39 more refusals of 192.0.2.7 were not told", "held-back", of="192.0.2.7", count=39)
    assert len(told) >= 2 * len(FORGED) + 1
    assert found_by_fail2ban(tmp_path, [FORMS[form](record) for record in told]) == []


@pytest.mark.parametrize("form", FORMS)
def test_changes_of_passwords_that_guess(told: list[Record], form: str, tmp_path: Path) -> None:
    for name in FORGED:
        refuse("password change", "192.0.2.7", "wrong password", account=name, by="RPC")
        refuse("password change", "192.0.2.8", "an empty password", account=name, by="RPC")
    assert found_by_fail2ban(tmp_path, [FORMS[form](record) for record in told]) == ["192.0.2.7"] * len(FORGED)


def test_all_reasons_of_a_wrong_log_on(told: list[Record], tmp_path: Path) -> None:
    reasons = ("wrong password", "unknown user", "no Unix account of that name",
               "NTLMv1, which `ntlm auth` does not allow")  # fmt: skip
    for reason in reasons:
        refuse("log-on", "192.0.2.7", reason, account="otto")
    assert limits.REFUSALS_OF_ADDRESS.value > len(reasons)
    for form in FORMS.values():
        assert found_by_fail2ban(tmp_path, [form(record) for record in told]) == ["192.0.2.7"] * len(reasons)
