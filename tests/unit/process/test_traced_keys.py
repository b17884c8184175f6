# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys are told while a trace asks for them, those of ended sessions too, and none are kept without one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from activity_bench import Answer, Bench

from ksmbd.process.traced_keys import TRACE_SECONDS
from ksmbd.smb.teardown import delete_session


def asked(bench: Bench, after: int = 0) -> list[dict[str, Any]]:
    return answered(bench, {"ask": "keys", "after": after}).rows("keys")


def answered(bench: Bench, question: dict[str, Any]) -> Answer:
    answer = Answer()
    bench.questions.answer(json.dumps(question), answer)
    assert answer.over()
    return answer


def encrypted() -> Bench:
    bench = Bench()
    session = next(iter(bench.server.sessions.values()))
    session.sealer = bench.server.security.sealer(2, b"e" * 16, b"d" * 16)
    return bench


def test_the_keys_of_an_encrypted_session_are_told() -> None:
    bench = encrypted()
    session = next(iter(bench.server.sessions.values()))
    assert asked(bench) == [
        {
            "session": f"{session.session_id:#x}", "account": session.identity.account if session.identity else "",
            "session_key": session.session_key.hex(), "encryption": (b"e" * 16).hex(),
            "decryption": (b"d" * 16).hex(), "worker": 3,
        }
    ]  # fmt: skip


def test_a_session_without_encryption_has_none() -> None:
    bench = Bench()
    for session in bench.server.sessions.values():
        session.sealer = None
    assert asked(bench) == []


def test_older_sessions_are_not_told_again() -> None:
    bench = encrypted()
    session = next(iter(bench.server.sessions.values()))
    assert len(asked(bench, session.creation_time)) == 1
    assert asked(bench, session.creation_time + 1) == []


def test_the_keys_of_a_session_that_ends_during_a_trace_are_told_and_then_forgotten() -> None:
    bench = encrypted()
    assert len(asked(bench)) == 1
    delete_session(next(iter(bench.server.sessions.values())))
    assert len(asked(bench)) == 1
    bench.clock.now += TRACE_SECONDS
    assert asked(bench) == []


def test_without_a_trace_nothing_is_kept() -> None:
    bench = encrypted()
    delete_session(next(iter(bench.server.sessions.values())))
    assert asked(bench) == []


def test_a_question_that_is_none_is_answered_with_nothing() -> None:
    assert answered(encrypted(), {"ask": "keys"}).parts == []
