# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest

from ksmbd.ipc.settings import EngineSettings
from ksmbd.kernel import bpf
from ksmbd.kernel.steering import TuneRule
from ksmbd.process import bpf_programs
from ksmbd.process.bpf_programs import EVERYWHERE, BpfPrograms, tune_rules


@pytest.mark.parametrize(
    ("words", "rules"),
    [
        ("", []),
        ("10.0.0.0/8=4M", [TuneRule("10.0.0.0/8", 4 << 20, 4 << 20)]),
        ("10.0.0.0/8=4M/64K, fd00::/8=1000/2000", [TuneRule("10.0.0.0/8", 4 << 20, 64 << 10),
                                                    TuneRule("fd00::/8", 1000, 2000)]),
        ("192.0.2.1", [TuneRule("192.0.2.1")]),
    ],
)  # fmt: skip
def test_rules(words: str, rules: list[TuneRule]) -> None:
    assert tune_rules(words) == [*EVERYWHERE, *rules]


def test_bpf_no_turns_all_off_and_says_what_that_costs() -> None:
    programs = BpfPrograms(EngineSettings(bpf=False, lookup_port=445), [[]], lambda sock: sock)
    assert [(feature.name, feature.on) for feature in programs.features] == [
        ("steer", False), ("tune", False), ("lookup", False),
    ]  # fmt: skip
    assert all("`bpf = no`; " in feature.why for feature in programs.features)
    programs.worker_started(1)
    programs.pin("10.0.0.1", 1)
    programs.set_debug_mask(1)
    assert programs.worker_descriptors == set()
    programs.close()


def test_what_the_kernel_refuses_is_a_reason_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf, "probe", lambda: "")

    def refused(*arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(bpf_programs, "Steer", refused)
    monkeypatch.setattr(bpf_programs, "Tune", refused)
    programs = BpfPrograms(EngineSettings(), [[]], lambda sock: sock)
    assert [feature.line().split(";")[0] for feature in programs.features] == [
        "steer off Operation not permitted", "tune off Operation not permitted",
    ]  # fmt: skip


def test_a_bad_rule_leaves_the_other_programs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf, "probe", lambda: "")
    monkeypatch.setattr(bpf_programs, "Steer", lambda workers: None)
    programs = BpfPrograms(EngineSettings(tune_networks="10.0.0.0/8=much"), [[]], lambda sock: sock)
    assert [(feature.name, feature.on) for feature in programs.features] == [("steer", True), ("tune", False)]
