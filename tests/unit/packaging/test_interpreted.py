# SPDX-License-Identifier: GPL-2.0-or-later
"""The tool that shows what mypyc leaves interpreted: how it reads mypyc's report, and what it counts."""
from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[3]
SPEC = importlib.util.spec_from_file_location("interpreted", TOP / "scripts/interpreted.py")
assert SPEC is not None and SPEC.loader is not None
interpreted = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(interpreted)

PAGE = """<html><h2><tt>ksmbd/smb/a.py</tt></h2>
<pre>    1  x &lt; 1
<span><div class="collapsible" style="background-color: #fcc">    2  y = z.&quot;w</div><div class="content">       \
<div class="hint">Get non-native attribute &quot;w&quot;. Generic.</div></div></span>    3
</pre><h2><tt>ksmbd/b.py</tt></h2>
<pre><span><div class="collapsible" style="background-color: #fcc">   17  f()</div><div class="content">\
<div class="hint">\
Generic call operation.</div></div></span></pre>
"""
TEXT = """
class A:
    x = 1

    def one(self):
        return A(
            1,
            2,
        )

def two():
    for each in range(3):
        print(each)
    def inner():
        return 5
    return inner
"""


def test_the_report_is_read_line_by_line() -> None:
    assert interpreted.remarks(PAGE) == {
        "ksmbd/smb/a.py": {2: 'Get non-native attribute "w". Generic.'},
        "ksmbd/b.py": {17: "Generic call operation."},
    }


def test_a_line_belongs_to_its_function_and_statement() -> None:
    source = interpreted.Source(TEXT)
    found = [source.function(line) for line in (3, 6, 8, 12, 15, 16)]
    assert found == ["", "A.one", "A.one", "two", "two.inner", "two"]
    assert source.statement(7) == range(6, 10)
    assert source.statement(12) == range(12, 13) and source.statement(13) == range(13, 14)


def test_what_ran_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(TEXT)
    monkeypatch.setattr(interpreted, "TOP", tmp_path)
    monkeypatch.setattr(interpreted, "listed", lambda: ["a.py"])
    ran = {"a.py": {6: 4.0, 7: 2.0, 8: 2.0}, "b.py": {12: 3.0, 13: 9.0, 15: 1.0}}
    remarked = {"a.py": {3: "outside", 6: "slow", 13: "does not run"}}
    assert list(interpreted.compiled_findings(remarked, ran)) == [
        (2.0, "a", "A.one", 6, "slow"), (0.0, "a", "two", 13, "does not run"),
    ]
    assert list(interpreted.other_findings(ran)) == [
        (9.0, "b", "two", 12, "The module is not compiled."),
        (1.0, "b", "two.inner", 15, "The module is not compiled."),
    ]
