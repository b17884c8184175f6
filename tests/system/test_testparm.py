# SPDX-License-Identifier: GPL-2.0-or-later
"""What an smb.conf means: `ksmbd.control --check` beside Samba's testparm, parameter by parameter."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from server import COMMANDS

from mountd import config, sambaconf
from mountd.config import ShareSettings
from mountd.parameters import GLOBAL_PARAMETERS, READ_ONLY_PRECEDENCE, SHARE_PARAMETERS, Kind, Parameter
from mountd.settings import GlobalSettings

pytestmark = pytest.mark.skipif(shutil.which("testparm") is None, reason="needs testparm (samba-common-bin)")

DEBIAN = Path("/usr/share/samba/smb.conf")
FILES = [*sorted((Path(__file__).parent / "smb_conf").iterdir()), DEBIAN]
OTHERS = frozenset((
    "server min protocol", "server max protocol",  # what is older than SMB 2 is raised
    "netbios name", "workgroup",  # in upper case
    "server string",  # the version
    "mangling method",  # hash is taken as hash2
    "interfaces", "deadtime", "max open files", "smb2 max credits", "tcp port", "smb2 leases",
    "max connections", "smbd max io size",  # 0 is the most
    "vfs objects",  # modules that are not here are left out
    "log level", "log file", "max log size",  # testparm shows its own
))  # fmt: skip
"""Parameters whose values differ on purpose, or that testparm changes on its way."""


def squeezed(name: str) -> str:
    return re.sub(r"\s", "", name.lower())


def samba_says(path: Path) -> dict[str, dict[str, str]]:
    """Section in lower case -> parameter without blanks -> value, all defaults of [global] included."""
    found: dict[str, dict[str, str]] = {}
    output = subprocess.run(["testparm", "-sv", str(path)], capture_output=True, text=True, timeout=60, check=True)
    section = ""
    for line in output.stdout.splitlines():
        if line.startswith("["):
            section = line[1:].partition("]")[0].lower()
            found[section] = {}
        elif "=" in line and not line.startswith("#"):
            name, _, value = line.strip().partition("=")
            found[section][squeezed(name)] = value.strip()
    return found


def meaning(parameter: Parameter, text: str) -> object:
    """A value of Samba as ours."""
    return parameter.parse(sambaconf.value(parameter, text))[0]


def own(settings: GlobalSettings | ShareSettings, parameter: Parameter) -> object:
    value = getattr(settings, parameter.attribute)
    return tuple(name.lstrip() for name in value) if parameter.kind is Kind.LIST else value


@pytest.mark.parametrize("original", FILES, ids=lambda path: path.name)
def test_a_file_means_what_it_means_to_samba(original: Path, tmp_path: Path) -> None:
    if not original.exists():
        pytest.skip(f"no {original}")
    path = tmp_path / "smb.conf"
    shutil.copyfile(original, path)
    found = config.load(path)
    assert found.errors == []
    theirs = samba_says(path)
    shares = {share.name.lower(): share for share in found.all_shares() if not share.is_ipc}
    served = {
        name for name, entries in theirs.items()
        if name not in ("global", "printers", "print$") and entries.get("available", "Yes") == "Yes"
    }  # fmt: skip
    assert set(shares) == served
    compared = 0
    for name, parameter in GLOBAL_PARAMETERS.items():
        names = [squeezed(one) for one in (name, *parameter.synonyms) if squeezed(one) in theirs["global"]]
        if names and name not in OTHERS:
            assert own(found.settings, parameter) == meaning(parameter, theirs["global"][names[0]]), name
            compared += 1
    for key, share in shares.items():
        for name, parameter in SHARE_PARAMETERS.items():
            if name in OTHERS or name in READ_ONLY_PRECEDENCE[1:]:
                continue
            names = [squeezed(one) for one in (name, *parameter.synonyms)]
            places = (theirs[key], theirs["global"]) if parameter.inherits else (theirs[key],)
            value = next((place[one] for place in places for one in names if one in place), None)
            if value is not None:
                assert own(share, parameter) == meaning(parameter, value), f"[{key}] {name} = {value}"
                compared += 1
    assert compared > 50


@pytest.mark.parametrize("original", FILES, ids=lambda path: path.name)
def test_each_parameter_is_obeyed_or_named(original: Path, tmp_path: Path) -> None:
    """What a file says is in one of the groups of a check: it has an effect, it has none, or it is a default."""
    if not original.exists():
        pytest.skip(f"no {original}")
    path = tmp_path / "smb.conf"
    shutil.copyfile(original, path)
    command = [str(COMMANDS / "ksmbd.control"), "--json", "--check", str(path)]
    output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found: dict[str, Any] = json.loads(output.stdout)
    assert found["valid"]
    named = {item["line"] for group in found["ignored"].values() for item in group}
    named |= {item["line"] for item in found["warnings"]}
    known = {squeezed(name) for name in (*GLOBAL_PARAMETERS, *SHARE_PARAMETERS)}
    known |= {squeezed(one) for p in (*GLOBAL_PARAMETERS.values(), *SHARE_PARAMETERS.values()) for one in p.synonyms}
    section = ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("["):
            section = line
        key = squeezed(line.partition("=")[0])
        if "=" in line and line.strip()[0] not in "#;" and section not in ("[printers]", "[print$]"):
            assert key in known or number in named or key in ("copy", "include"), line
