#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Shows what the compiled server still does as the interpreter would, on the way of small requests.

    .venv/bin/python scripts/interpreted.py [--all] [--least 0.5] [MODULE ...]

mypyc remarks on each line of the modules in scripts/compiled.txt that falls back on generic operations: attributes and
calls of classes that are not compiled, constructors that are left to the interpreter, functions made anew. This prints
the lines that run in ECHO, and in an open with QUERY_INFO, READ, WRITE and CLOSE, most frequent first: how often
in one operation of each kind together, module, function, line, and why. Modules on that way that are not compiled have
one row for each function. --all: all lines of the modules, whether they run or not.
"""

from __future__ import annotations

import argparse
import ast
import html
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).resolve().parent.parent
REPORT = """
import sys
from mypyc.build import mypycify
mypycify(sys.argv[2:], target_dir=sys.argv[1], multi_file=True)
"""
LENIENT = ("--ignore-missing-imports", "--no-warn-unused-ignores", "--no-warn-return-any")
FOUND = re.compile(
    r'<h2><tt>(?P<path>[^<]*)|class="collapsible"[^>]*> *(?P<line>\d+) .*?class="hint">(?P<why>.*?)</div>', re.DOTALL
)


class Finding(NamedTuple):
    """A line that is not wholly compiled."""

    times: float
    """How often it runs in one operation of each kind together."""
    module: str
    function: str
    line: int
    why: str


def listed() -> list[str]:
    """The modules that are compiled, as paths."""
    return (TOP / "scripts/compiled.txt").read_text(encoding="utf-8").split()


def remarks(page: str) -> dict[str, dict[int, str]]:
    """Path -> line -> what mypyc remarks, of its report in HTML."""
    found: dict[str, dict[int, str]] = {}
    lines: dict[int, str] = {}
    for match in FOUND.finditer(page):
        if match["path"]:
            lines = found.setdefault(html.unescape(match["path"]), {})
        else:
            lines[int(match["line"])] = html.unescape(match["why"])
    return found


def mypyc_report() -> dict[str, dict[int, str]]:
    """The remarks of mypyc. subprocess.CalledProcessError: it does not compile."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "report.html")
        command = [sys.executable, "-Pc", REPORT, folder, *LENIENT, "-a", str(page), *listed()]
        subprocess.run(command, cwd=TOP, stdout=subprocess.DEVNULL, check=True)
        return remarks(page.read_text(encoding="utf-8"))


def traced() -> dict[str, dict[int, float]]:
    """Path -> line -> how often it runs, by tests/bench/core.py with the sources as Python."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "trace.json")
        path = os.pathsep.join([str(TOP), str(TOP / "tests/unit/smb")])
        command = [sys.executable, str(TOP / "tests/bench/core.py"), "--trace", str(target)]
        subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=True)
        found = json.loads(target.read_text(encoding="utf-8"))
    return {name: {int(line): times for line, times in lines.items()} for name, lines in found.items()}


class Source:
    """The functions and statements of a file."""

    def __init__(self, text: str) -> None:
        self._functions: list[tuple[int, int, str]] = []
        self._statements: list[tuple[int, int]] = []
        self._enter(ast.parse(text), "")

    def _enter(self, node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{prefix}.{child.name}".lstrip(".")
                if not isinstance(child, ast.ClassDef):
                    self._functions.append((child.lineno, child.end_lineno or child.lineno, name))
            elif isinstance(child, ast.stmt):
                body = getattr(child, "body", None)
                # Of a compound statement its head alone, whose lines end before the body.
                end = body[0].lineno - 1 if isinstance(body, list) and body else child.end_lineno or child.lineno
                self._statements.append((child.lineno, max(end, child.lineno)))
            self._enter(child, name)

    def function(self, line: int) -> str:
        """The innermost function that a line is in; '' outside of all."""
        inside = [one for one in self._functions if one[0] <= line <= one[1]]
        return max(inside)[2] if inside else ""

    def statement(self, line: int) -> range:
        """The lines of the innermost statement that a line is in."""
        inside = [one for one in self._statements if one[0] <= line <= one[1]]
        first, last = max(inside) if inside else (line, line)
        return range(first, last + 1)


def compiled_findings(
    remarked: dict[str, dict[int, str]], ran: dict[str, dict[int, float]],
) -> Iterator[Finding]:
    """The remarks on functions of compiled modules, with how often their statements ran."""
    for path, lines in remarked.items():
        source = Source((TOP / path).read_text(encoding="utf-8"))
        runs = ran.get(path, {})
        for line, why in lines.items():
            function = source.function(line)
            if function:
                # A line of a statement of several lines runs anew after each of its parts: the least counts.
                times = min((runs[one] for one in source.statement(line) if one in runs), default=0.0)
                yield Finding(times, module_of(path), function, line, why)


def other_findings(ran: dict[str, dict[int, float]]) -> Iterator[Finding]:
    """One for each function that ran and is in no compiled module: how often any of its lines ran."""
    for path in sorted(ran.keys() - set(listed())):
        source = Source((TOP / path).read_text(encoding="utf-8"))
        functions: dict[str, tuple[float, int]] = {}
        for line, times in sorted(ran[path].items()):
            name = source.function(line)
            most, first = functions.get(name, (0.0, line))
            functions[name] = (max(most, times), first)
        for name, (times, line) in functions.items():
            if name:
                yield Finding(times, module_of(path), name, line, "The module is not compiled.")


def module_of(path: str) -> str:
    """ksmbd/smb/read.py -> ksmbd.smb.read"""
    return path.removesuffix(".py").replace("/", ".")


def main() -> int:
    """0."""
    parser = argparse.ArgumentParser(description="Show what mypyc leaves interpreted on the way of small requests.")
    parser.add_argument("--all", action="store_true", help="lines that do not run, too")
    parser.add_argument("--least", type=float, default=0.5, help="leave out what runs less often than that")
    parser.add_argument("modules", nargs="*", help="these modules alone, as ksmbd.smb.read")
    options = parser.parse_args()
    ran = traced()
    found = [*compiled_findings(mypyc_report(), ran), *other_findings(ran)]
    wanted = [
        one for one in found
        if (options.all or one.times >= options.least) and (not options.modules or one.module in options.modules)
    ]
    print(f"{'times':>6}  {'module':32} {'function':44} {'line':>5}  why")
    for one in sorted(wanted, key=lambda one: (-one.times, one.module, one.line)):
        print(f"{one.times:6.1f}  {one.module:32} {one.function:44} {one.line:5}  {one.why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
