# SPDX-License-Identifier: GPL-2.0-or-later
"""Search patterns (MS-FSA 2.1.4.4): a table of examples, and every matcher against a direct reading of the rules."""
from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ksmbd.smb.patterns import compile_pattern, fold, has_wildcards

CASES = [
    # pattern, names that it selects, names that it does not
    ("*", ["a", "a.b", ".", "..", ".hidden"], []),
    ("*.*", ["a", "a.b", ".."], []),
    ("a", ["a", "A"], ["aa", "b", ""]),
    ("Straße.TXT", ["straße.txt", "STRAßE.txt"], ["strasse.txt"]),
    ("ÄÖÜ", ["äöü"], ["aou"]),
    ("*.txt", ["a.txt", "A.TXT", ".txt", "a.b.txt"], ["a.txt2", "txt"]),
    ("a*", ["a", "ab", "A.b"], ["ba"]),
    ("a*b", ["ab", "axb", "abab"], ["a", "b", "aba"]),
    ("aa*a", ["aaa", "aaba"], ["aa"]),
    ("a*b*c", ["abc", "axbxc", "abbcc"], ["acb", "ab", "abcd"]),
    ("*b*", ["b", "abc"], ["ac"]),
    ("?", ["a", "é", "😀"], ["", "ab"]),
    ("a?c", ["abc", "a.c"], ["ac", "abbc"]),
    ("?*", ["a", "ab"], []),
    ("[ab]", ["[ab]"], ["a", "b"]),
    ("a+b", ["a+b"], ["aab"]),
    ("*??", ["ab", "abc"], ["a"]),
    # DOS_DOT
    ('a"b', ["a.b"], ["ab", "a"]),
    ('ab"', ["ab", "ab."], ["abc"]),
    ('*"', ["ab", "ab."], []),
    # DOS_QM
    ("a>", ["a", "ab"], ["abc", "a.b"]),
    ("a>>>.txt", ["a.txt", "ab.txt", "abcd.txt"], ["abcde.txt", "a.b.txt"]),
    (">>>>>>>>.>>>", ["a.b", "readme.txt", "abcdefgh.abc"], ["abcdefghi.a", "a.bcde"]),
    # DOS_STAR
    ("<.txt", ["a.txt", "a.b.txt", ".txt"], ["a.txt.b", "txt"]),
    ("<", ["a", "abc", "abc."], []),
    ("a<c", ["abc", "a.c", "a.b.c"], ["a.cb", "a.bc"]),
    ('<"', ["abc", "abc.", "a.b."], []),
    ('<"*', ["abc", "a.b", "a.b.c"], []),
]


@pytest.mark.parametrize(("pattern", "yes", "no"), CASES)
def test_table(pattern: str, yes: list[str], no: list[str]) -> None:
    matches = compile_pattern(pattern)
    assert [name for name in yes if not matches(name)] == []
    assert [name for name in no if matches(name)] == []


def test_case_sensitive() -> None:
    for pattern in ("Ab", "A*", "*b", "A?", "A*b*", "A<"):
        assert compile_pattern(pattern, case_sensitive=True)("Ab")
        assert not compile_pattern(pattern, case_sensitive=True)("aB")
        assert compile_pattern(pattern)("aB")


def test_fold_keeps_the_length() -> None:
    assert fold("straße ŉ ǰ é") == "STRAßE ŉ ǰ É"
    assert fold("\ud800a") == "\ud800A"


def test_has_wildcards() -> None:
    assert all(has_wildcards(f"a{wildcard}b") for wildcard in '*?"<>')
    assert not has_wildcards("a[b]!.txt")


def by_the_rules(pattern: str, name: str) -> bool:
    """The rules of 2.1.4.4 read straight off, with memory instead of cleverness."""
    if pattern == "*.*":
        return True
    last_dot = name.rfind(".")

    @cache
    def rest(p: int, n: int) -> bool:
        if p == len(pattern):
            return n == len(name)
        sign = pattern[p]
        if sign == "*":
            return rest(p + 1, n) or (n < len(name) and rest(p, n + 1))
        if sign == "<":
            if rest(p + 1, n):
                return True
            if n == len(name):
                return False
            return rest(p + 1, n + 1) if n == last_dot else rest(p, n + 1)
        at_end = n == len(name)
        if sign == ">":
            return rest(p + 1, n) if at_end or name[n] == "." else rest(p + 1, n + 1)
        if sign == '"':
            return rest(p + 1, n) if at_end else name[n] == "." and rest(p + 1, n + 1)
        return not at_end and sign in ("?", name[n]) and rest(p + 1, n + 1)

    return rest(0, 0)


@settings(max_examples=1500, deadline=None)
@given(pattern=st.text('ab.*?"<>', min_size=1, max_size=8), name=st.text("ab.", min_size=1, max_size=8))
def test_against_the_rules(pattern: str, name: str) -> None:
    assert compile_pattern(pattern, case_sensitive=True)(name) == by_the_rules(pattern, name)


@pytest.mark.parametrize("sign", ["*", "<", "*?", "*a", ">", "<>", '*"'])
def test_hostile_patterns_end(sign: str) -> None:
    """A backtracking matcher would need 2^100 steps for these."""
    matches = compile_pattern(sign * 100 + "b")
    assert not matches("a" * 200)


@settings(max_examples=300, deadline=None)
@given(pattern=st.text(max_size=20), name=st.text(min_size=1, max_size=20))
def test_any_text(pattern: str, name: str) -> None:
    assert compile_pattern(pattern)(name) in (True, False)
