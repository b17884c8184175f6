# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of budgets: its page is of today, each entry is used, a parameter's default is the entry's; its counter."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from ksmbd import limits
from ksmbd.limit import Limit, Meter, Per, limit
from ksmbd.limits import TABLE
from mountd.parameters import PARAMETERS, Scope

TOP = Path(__file__).resolve().parents[3]
ENTRIES = {name: value for name, value in vars(limits).items() if isinstance(value, Limit)}


def used_names(text: str) -> set[str]:
    """The entries that a module takes from ksmbd.limits, as an attribute of it or by import."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "limits":
            names.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.module == "ksmbd.limits":
            names.update(alias.name for alias in node.names)
    return names


def test_the_page_follows_the_table() -> None:
    spec = importlib.util.spec_from_file_location("limits_page", TOP / "scripts" / "limits.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (TOP / "docs" / "limits.md").read_text(encoding="utf-8")
    assert page == module.page(), "run scripts/limits.py"
    assert all(f"| {limit.name} |" in page for limit in TABLE.values())
    alone = f"import runpy; print(runpy.run_path({str(TOP / 'scripts' / 'limits.py')!r})['page'](), end='')"
    written = subprocess.run([sys.executable, "-c", alone], cwd=TOP, capture_output=True, check=True, timeout=60)
    assert written.stdout.decode() == page, "the script alone fills the table, too"


def test_each_entry_is_used_where_it_is_enforced() -> None:
    used: set[str] = set()
    for top in ("ksmbd", "mountd"):
        for file in (TOP / top).rglob("*.py"):
            if file != TOP / "ksmbd" / "limits.py":
                used |= used_names(file.read_text(encoding="utf-8"))
    assert sorted(set(ENTRIES) - used) == [], "limits that nothing enforces"


def test_every_entry_has_a_name_of_the_module() -> None:
    assert {limit.name for limit in ENTRIES.values()} == set(TABLE)
    assert all(limit.value > 0 and limit.unit and limit.beyond for limit in TABLE.values())


@pytest.mark.parametrize("limit", [limit for limit in TABLE.values() if limit.parameter], ids=lambda limit: limit.name)
def test_a_parameter_is_there_and_has_the_default_of_the_table(limit: Limit) -> None:
    scope = Scope.SHARE if limit.per is Per.SHARE else Scope.GLOBAL
    (parameter,) = (each for each in PARAMETERS if each.name == limit.parameter and each.scope is scope)
    assert parameter.parse(parameter.default) == (limit.value, "")


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match="two limits"):
        limit("sessions", Per.SERVER, 1, "sessions", "nothing")
    assert TABLE["sessions"] is limits.SESSIONS


def test_a_meter_counts_by_key_and_forgets_what_is_given_back() -> None:
    meter = Meter(limits.CHANNELS_PER_SESSION, 3)
    assert meter.take("a") and meter.take("a", 2) and not meter.take("a") and meter.take("b")
    assert (meter.used, meter.peak, meter.refused, len(meter)) == (4, 3, 1, 2)
    meter.give("a", 3)
    assert meter.count("a") == 0 and meter.count("b") == 1 and len(meter) == 1
    with pytest.raises(ValueError, match="more is given back"):
        meter.give("a")
    meter.give("b")
    assert (meter.used, len(meter), meter.peak) == (0, 0, 3)


def test_a_meter_has_the_limit_of_its_entry_unless_told() -> None:
    meter = Meter(limits.CHANNELS_PER_SESSION)
    assert meter.take(1, limits.CHANNELS_PER_SESSION.value) and not meter.take(1)
    assert meter.count(1) == limits.CHANNELS_PER_SESSION.value
