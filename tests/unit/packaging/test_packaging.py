# SPDX-License-Identifier: GPL-2.0-or-later
"""What the package says of itself is so: its list of packages, its manual pages, its licence lines, its scripts."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from mountd.commandline import Command
from mountd.parameters import PARAMETERS

TOP = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
TRACKED = [
    TOP / name
    for name in subprocess.run(["git", "ls-files"], cwd=TOP, capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )
    if name
]


def script_module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, TOP / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_installed_names_are_two_and_reach_every_folder() -> None:
    """In a wheel of this tree nothing but ksmbd and mountd is on top, and every module is in it."""
    code = (
        "import setuptools, json; setuptools.setup = lambda **k: print(json.dumps(k)); "
        "exec(compile(open('setup.py').read(), 'setup.py', 'exec'))"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=True).stdout
    packages = set(json.loads(shown)["packages"])
    assert {package.split(".")[0] for package in packages} == {"ksmbd", "mountd"}
    folders = {
        (file.parent.relative_to(TOP).as_posix(), package_of(file.parent.relative_to(TOP)))
        for top in ("ksmbd", "mountd", "tools", "bpf")
        for file in (TOP / top).rglob("*.py")
    }
    assert {package for _, package in folders} == packages, "a folder with modules needs an __init__.py"


def test_what_the_programs_are_compiled_from_is_installed_too() -> None:
    """A wheel has the BPF programs' sources and each header that they include."""
    code = (
        "import setuptools, json; setuptools.setup = lambda **k: print(json.dumps(k)); "
        "exec(compile(open('setup.py').read(), 'setup.py', 'exec'))"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=True).stdout
    found = {
        file for pattern in json.loads(shown)["package_data"]["ksmbd.bpf"] for file in (TOP / "bpf").glob(pattern)
    }
    assert found == {file for file in (TOP / "bpf").rglob("*") if file.suffix in (".c", ".h")} != set()


def package_of(folder: Path) -> str:
    name = ".".join(folder.parts)
    return f"ksmbd.{name}" if folder.parts[0] in ("tools", "bpf") else name


COMMANDS = sorted(PROJECT["project"]["scripts"])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_is_in_help_and_manual_page(name: str) -> None:
    script = Path(sys.executable).parent / name
    shown = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
    page = (TOP / "man" / f"{name}.8").read_text(encoding="utf-8").replace("\\-", "-")
    options = page[page.index(".SH OPTIONS") : page.index(".SH", page.index(".SH OPTIONS") + 4)]
    # An option is described by a tagged paragraph: the line behind .TP.
    tags = "\n".join(re.findall(r"^\.TP\n(.*)$", options, re.MULTILINE))
    table = "\n".join(line for line in shown.split("\n") if re.match(r" +-", line))

    def flags(text: str) -> set[str]:
        return set(re.findall(r"(?<![\w-])(--[a-z][a-z-]*|-[a-zA-Z])(?![a-z])", text))

    assert flags(tags) == flags(table)
    assert {"-R", "--rundir", "-h", "--help", "-V", "--version"} <= flags(tags)


@pytest.mark.parametrize("name", ["adduser", "addshare", "control"])
def test_help_is_made_from_the_table_that_parses(name: str) -> None:
    command: Command = importlib.import_module(f"ksmbd.tools.{name}").COMMAND
    assert all(f"--{option.long}" in command.help() for option in command.options)
    assert len({option.long for option in command.options}) == len(command.options)


def test_the_manual_page_of_the_configuration_follows_the_table() -> None:
    page = (TOP / "man" / "ksmbd.conf.5").read_text(encoding="utf-8")
    assert page == script_module("manpages").page(), "run scripts/manpages.py"
    for parameter in PARAMETERS:
        assert f"\\fB{parameter.name}\\fR ({parameter.scope.value})".replace("-", "\\-") in page


@pytest.mark.parametrize("page", sorted((TOP / "man").iterdir()), ids=lambda p: p.name)
def test_manual_pages_are_well_formed(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    name, section = page.name.rsplit(".", 1)
    assert f".TH {name.upper()} {section} " in text
    for heading in ("NAME", "DESCRIPTION", "SEE ALSO"):
        assert re.search(rf'^\.SH "?{heading}"?$', text, re.MULTILINE)
    for other, number in re.findall(r"^\.BR (ksmbd[\w.]*) \((\d)\)", text, re.MULTILINE):
        assert (TOP / "man" / f"{other}.{number}").exists()


@pytest.mark.skipif(not TRACKED, reason="not a checkout")
def test_every_source_file_names_its_licence() -> None:
    sources = [
        file for file in TRACKED if file.suffix in (".py", ".sh", ".toml", ".service") or file.name == "Makefile"
    ]
    bare = [
        str(file)
        for file in sources
        if file.exists()
        and file.stat().st_size
        and "SPDX-License-Identifier: GPL-2.0-or-later" not in file.read_text("utf-8")
    ]
    assert bare == []


@pytest.mark.parametrize("script", [".ci/run", "scripts/setup.sh", "vagrant/provision.sh"])
def test_shell_scripts_parse(script: str) -> None:
    shell = (TOP / script).read_text(encoding="utf-8").split("\n")[0].removeprefix("#!")
    subprocess.run([*shell.split(), "-n", TOP / script], check=True)
    assert os.access(TOP / script, os.X_OK)


@pytest.mark.parametrize("target", ["build", "serve", "test", "test-compiled", "lint", "clean"])
def test_make_knows_its_targets(target: str) -> None:
    subprocess.run(["make", "-n", target], cwd=TOP, check=True, capture_output=True)


def test_the_tests_that_documents_name_are_there() -> None:
    """SECURITY.md shows each promise by a test."""
    for document in ("SECURITY.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"):
        named = re.findall(r"tests/[\w/.]+\.py", (TOP / document).read_text(encoding="utf-8"))
        assert named or document != "SECURITY.md"
        assert [name for name in named if not (TOP / name).exists()] == [], document


_ABOVE = ("", "ksmbd/", "ksmbd/*/", "mountd/", "tests/")
"""Where ARCHITECTURE.md's paths begin; a bare name of a file stands behind the path of its folder."""


def test_the_files_that_the_architecture_names_are_there() -> None:
    text = (TOP / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:[\w.*]+/)+[\w.*]*)`", text)
    assert len(named) > 80
    assert [name for name in named if not any(any(TOP.glob(f"{above}{name}")) for above in _ABOVE)] == []
    bare = set(re.findall(r"`([a-z_]+\.py)`", text))
    assert sorted(name for name in bare if not any(any(TOP.glob(f"{above}{name}")) for above in _ABOVE)) == []
