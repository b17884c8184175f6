# SPDX-License-Identifier: GPL-2.0-or-later
"""The modules that may be compiled (scripts/compiled.txt): both twins do the same. All tests run against the compiled
one in `make test COMPILED=1`; here is what can be said of the sources, and a small group is compiled and tried."""

from __future__ import annotations

import ast
import importlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

import ksmbd.process.worker  # noqa: F401 - it loads what the engine loads
from ksmbd.process.compiled import compiled_feature, compiled_modules

TOP = Path(__file__).resolve().parents[3]
NAMES = (TOP / "scripts/compiled.txt").read_text(encoding="utf-8").split()
MODULES = {name.removesuffix(".py").replace("/", ".") for name in NAMES}
FOREIGN_BASES = {
    "BaseException", "Enum", "Exception", "Generic", "IntEnum", "IntFlag", "NamedTuple", "Protocol", "enum.Enum",
    "threading.local",
}
"""What a class of these modules may inherit from beside their own classes."""
EAGER = {
    "all", "any", "b''.join", "''.join", "dict", "dict.fromkeys", "frozenset", "list", "max", "min", "next", "set",
    "sorted", "sum", "tuple",
}
CLASSES = {
    node.name
    for name in NAMES
    for node in ast.walk(ast.parse((TOP / name).read_text(encoding="utf-8")))
    if isinstance(node, ast.ClassDef)
}
SMALL_GROUP = ("ksmbd/smb/credits.py", "ksmbd/smb/header.py", "ksmbd/smb/reader.py")
SMALL_TESTS = ("test_credits.py", "test_round_trips.py")


@cache
def tree(name: str) -> ast.Module:
    return ast.parse((TOP / name).read_text(encoding="utf-8"))


def test_the_list_is_sorted_and_its_modules_are_there() -> None:
    assert sorted(set(NAMES)) == NAMES
    for module in MODULES:
        importlib.import_module(module)


@pytest.mark.parametrize("name", NAMES)
def test_bases_are_compiled_too(name: str) -> None:
    """A compiled class below one with __slots__ that is not compiled ends the import with a TypeError."""
    module = tree(name)
    own = {node.name for node in ast.walk(module) if isinstance(node, ast.ClassDef)}
    imported = {
        alias.asname or alias.name
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and node.module in MODULES
        for alias in node.names
    }
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef):
            bases = {ast.unparse(base).split("[")[0] for base in node.bases}
            assert bases <= own | imported | FOREIGN_BASES, node.name


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stands_for_errors_of_one_kind(name: str) -> None:
    """The first `except ... as error` of a function gives `error` its type there: where that is a compiled class, an
    error of another kind in a later one becomes a TypeError."""
    for function in ast.walk(tree(name)):
        if not isinstance(function, ast.FunctionDef):
            continue
        kinds: dict[str, set[str]] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.ExceptHandler) and node.name and node.type:
                kinds.setdefault(node.name, set()).add(ast.unparse(node.type))
        for variable, types in kinds.items():
            assert len(types) == 1 or not types & CLASSES, f"{function.name}: {variable} is one of {sorted(types)}"


def test_each_limit_says_its_type() -> None:
    """mypyc looks at who uses a constant of another module before it has seen the call that makes it: "Cannot determine
    type"."""
    bare = [
        ast.unparse(node.target)
        for node in tree("ksmbd/limits.py").body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "Final"
        and isinstance(node.value, ast.Call)
    ]  # fmt: skip
    assert bare == []


@pytest.mark.parametrize("name", NAMES)
def test_no_generator_expression_is_kept(name: str) -> None:
    """Compiled it is a list, made at once: it may only be an argument of what takes all of it at once."""
    module = tree(name)
    fine = {
        id(argument)
        for node in ast.walk(module)
        if isinstance(node, ast.Call)
        and (ast.unparse(node.func) in EAGER or ast.unparse(node.func).endswith((".join", ".extend", ".update")))
        for argument in node.args
    } | {
        id(node.value)
        for node in ast.walk(module)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple)
    }
    kept = [node.lineno for node in ast.walk(module) if isinstance(node, ast.GeneratorExp) and id(node) not in fine]
    assert kept == []


@pytest.mark.parametrize("name", NAMES)
def test_no_field_is_an_object(name: str) -> None:
    """mypyc looks for the class `object` among the names of the module: importing the dataclass is a KeyError."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.ClassDef):
            fields = [one for one in node.body if isinstance(one, ast.AnnAssign)]
            assert [one.lineno for one in fields if ast.unparse(one.annotation) == "object"] == [], node.name


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_bound_that_compiled_code_refuses(name: str) -> None:
    text = (TOP / name).read_text(encoding="utf-8")
    assert ".__new__(" not in text
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.ClassDef) and any("__slots__" in ast.unparse(one) for one in node.body):
            computed = [
                ast.unparse(one)
                for one in node.body
                if isinstance(one, ast.Assign) and not isinstance(one.value, ast.Constant)
            ]
            assert [one for one in computed if not one.startswith("__slots__")] == [], f"{node.name}: needs ClassVar"


def test_what_is_said_of_it() -> None:
    loaded = set(compiled_modules())
    feature = compiled_feature()
    assert feature.name == "compiled" and feature.on == bool(loaded) and feature.why
    assert loaded <= MODULES or not loaded & MODULES
    if os.environ.get("COMPILED") == "1" and can_compile():
        assert loaded == MODULES, "make test COMPILED=1 runs the compiled twin"


def can_compile() -> bool:
    return bool(
        find_spec("mypyc")
        and shutil.which(sysconfig.get_config_var("CC").split()[0])
        and Path(sysconfig.get_path("include"), "Python.h").exists()
    )


BUILD = """
import sys
from mypyc.build import mypycify
from setuptools import setup
setup(
    name="ksmbd", packages=[], script_args=["-q", "build_ext", "--inplace"],
    ext_modules=mypycify(["--ignore-missing-imports", *sys.argv[1:]], opt_level="0", debug_level="0"),
)
"""


@pytest.fixture(scope="module")
def compiled_tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the package in which SMALL_GROUP is compiled, in seconds."""
    folder = tmp_path_factory.mktemp("compiled")
    shutil.copytree(TOP / "ksmbd", folder / "ksmbd", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    subprocess.run(
        [sys.executable, "-Pc", BUILD, *SMALL_GROUP], cwd=folder, check=True, capture_output=True, text=True,
        env={**os.environ, "MYPYPATH": str(folder)},
    )
    yield folder


@pytest.mark.skipif(not can_compile(), reason="needs mypy, a C compiler and Python.h")
def test_a_small_group_compiled_passes_its_tests(compiled_tree: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(compiled_tree), "COMPILED": ""}
    where = "import ksmbd.smb.credits as c, ksmbd.smb.header as h, ksmbd.smb.reader as r; print(c, h, r)"
    shown = subprocess.run(
        [sys.executable, "-Pc", where], cwd=compiled_tree, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert shown.count(".so") == len(SMALL_GROUP) and shown.count(str(compiled_tree)) == len(SMALL_GROUP)
    tests = [str(TOP / "tests/unit/smb" / name) for name in SMALL_TESTS]
    done = subprocess.run(
        [sys.executable, "-Pm", "pytest", "-q", "-p", "no:cacheprovider", *tests], cwd=TOP, env=environment,
        capture_output=True, text=True, timeout=200, check=False,
    )
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-3000:] + done.stderr[-1000:]
