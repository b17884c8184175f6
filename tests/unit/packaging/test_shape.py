# SPDX-License-Identifier: GPL-2.0-or-later
"""The shape of the sources: how long, how wide and how deep a function is, how long a file is, and that records with
many fields are made by name."""
from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pytest

TOP: Final = Path(__file__).resolve().parents[3]
SOURCES: Final = sorted(
    file for folder in ("ksmbd", "mountd", "tools", "bpf", "scripts") for file in (TOP / folder).rglob("*.py")
)
LINES: Final = 60
"""Of a function, its docstring among them."""
PARAMETERS: Final = 8
"""Of a function, beside `self` and `cls`."""
LEVELS: Final = 5
"""Of blocks in one another."""
FILE_LINES: Final = 500
VALUES: Final = 6
"""That a record takes by position."""

LONG_FILES: Final[dict[str, str]] = {}
"""Files beyond FILE_LINES, and the one idea that each of them is."""
BY_POSITION: Final = {
    "ksmbd/oplock/grant.py: Holder": "with each open that caches; by name it took more than twice as long",
    "ksmbd/vfs/attributes.py: FileInfo": "for each name of a listing; by name it took twice as long",
}
"""Records that one file makes by position, and why."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
BLOCKS: Final = (
    ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match
)  # fmt: skip


def functions(tree: ast.Module) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: Function) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def parameters(function: Function) -> int:
    given = function.args
    names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    names += [one.arg for one in (given.vararg, given.kwarg) if one is not None]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def levels(node: ast.AST) -> int:
    """How deep the blocks in a node are; functions and classes inside it are counted for themselves."""
    deepest = 0
    for name, value in ast.iter_fields(node):
        inside = value if isinstance(value, list) else [value]
        otherwise = name == "orelse" and isinstance(node, ast.If) and len(inside) == 1  # `elif` is as deep as its `if`
        for child in inside:
            if isinstance(child, ast.AST) and not isinstance(child, Function | ast.ClassDef):
                own = isinstance(child, BLOCKS) and not (otherwise and isinstance(child, ast.If))
                deepest = max(deepest, own + levels(child))
    return deepest


def excused(lines: list[str], function: Function, rule: str) -> bool:
    """A noqa on the line of its name that names the rule, and says why."""
    return re.search(rf"# noqa: {rule} - \w+", lines[function.lineno - 1]) is not None


def beyond(text: str) -> list[str]:
    """What is too long, too wide or too deep in one source."""
    lines = text.splitlines()
    found = []
    for function in functions(ast.parse(text)):
        if length(function) > LINES:
            found.append(f"{function.name} has {length(function)} lines")
        if parameters(function) > PARAMETERS and not excused(lines, function, "PLR0913"):
            found.append(f"{function.name} has {parameters(function)} parameters")
        if levels(function) > LEVELS:
            found.append(f"{function.name} has {levels(function)} levels")
    return found


def is_record(node: ast.ClassDef) -> bool:
    """A NamedTuple or a dataclass."""
    return any(ast.unparse(base) == "NamedTuple" for base in node.bases) or any(
        ast.unparse(mark).startswith("dataclass") for mark in node.decorator_list
    )


def records(trees: Iterable[ast.Module]) -> set[str]:
    """The names that records alone have: not those that another module gives to another kind of class."""
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    others = {node.name for node in classes if not is_record(node)}
    return {node.name for node in classes if is_record(node)} - others


def positional(tree: ast.Module, names: set[str]) -> list[str]:
    """The records among `names` that are made with too many values by position."""
    return [
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and len(node.args) > VALUES
        and (name := ast.unparse(node.func).rpartition(".")[2]) in names
    ]  # fmt: skip


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(TOP)))
def test_functions_fit_on_a_page(file: Path) -> None:
    assert beyond(file.read_text(encoding="utf-8")) == []


def test_files_are_no_longer_than_one_idea() -> None:
    support = [file for file in (TOP / "tests" / "unit").rglob("*.py") if not file.name.startswith("test_")]
    files = [*SOURCES, *support]
    lengths = {str(file.relative_to(TOP)): file.read_text(encoding="utf-8").count("\n") for file in files}
    assert {name for name, lines in lengths.items() if lines > FILE_LINES} == set(LONG_FILES)


def test_records_are_made_by_name() -> None:
    trees = {str(file.relative_to(TOP)): ast.parse(file.read_text(encoding="utf-8")) for file in SOURCES}
    known = records(trees.values())
    made = {f"{file}: {name}" for file, tree in trees.items() for name in positional(tree, known)}
    assert made == set(BY_POSITION)


def test_what_is_beyond_is_found() -> None:
    wide = "def wide(self, a, b, c, d, e, f, *g, h, **i): ...\n"
    long = "async def long():\n" + "    x\n" * 60
    fine = "def fine(self, a, b, c, d, e, f, *g, h):\n" + "    x\n" * 59
    deep = "def deep():\n" + "".join(f"{'    ' * level}if x:\n" for level in range(1, 7)) + "    " * 7 + "x\n"
    flat = "def flat():\n    if a: x\n" + "    elif a: x\n" * 6
    why = "def why(  # noqa: PLR0913 - it is hot\n    a, b, c, d, e, f, g, h, i\n): ...\n"
    bare = why.replace("why", "bare").replace(" - it is hot", "")
    assert beyond(wide + long + fine + deep + flat + why + bare) == [
        "wide has 9 parameters", "long has 61 lines", "deep has 6 levels", "bare has 9 parameters",
    ]  # fmt: skip


def test_records_made_by_position_are_found() -> None:
    text = "class A(NamedTuple): ...\n@dataclass(slots=True)\nclass B: ...\nclass C: ...\n"
    calls = "A(1, 2, 3, 4, 5, 6, 7)\nx.B(1, 2, 3, 4, 5, 6, 7)\nB(1, 2, 3, 4, 5, 6, c=7)\nC(1, 2, 3, 4, 5, 6, 7)\n"
    assert records([ast.parse(text)]) == {"A", "B"}
    assert records([ast.parse(text), ast.parse("class B: ...")]) == {"A"}
    assert positional(ast.parse(calls), {"A", "B"}) == ["A", "B"]
