# SPDX-License-Identifier: GPL-2.0-or-later
"""The parameters of [global] on their way to the engine: one default, one crossing."""
from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from mountd_doubles import configuration

from ksmbd.auth.settings import AuthSettings
from ksmbd.ipc.settings import EngineSettings
from ksmbd.process.worker import auth_settings, server_settings
from ksmbd.smb.settings import ServerSettings
from mountd.parameters import GLOBAL_PARAMETERS, Parameter
from mountd.rundir import RunDirectory
from mountd.server import Options, engine_settings
from mountd.textvalue import text_value

NAMES = {
    "signing": "server signing", "min_prot": "server min protocol", "max_prot": "server max protocol",
    "work_group": "workgroup", "file_max": "max open files",
}  # fmt: skip
"""Fields of EngineSettings that KSMBD's structure names otherwise than ksmbd.conf."""
NO_PARAMETER = {"sub_auth", "continuous_availability", "debug", "former_users", "kerberos_missing"}
"""The subauth file's, a share's, a part of `log level`, the users' former SIDs, and what Kerberos' process says."""
DECIDED_BY_MOUNTD = {"workers"}
"""0 is one for each CPU: mountd counts them."""


def parameter_of(field: str) -> Parameter:
    by_attribute = {parameter.attribute: parameter for parameter in GLOBAL_PARAMETERS.values()}
    return GLOBAL_PARAMETERS[NAMES[field]] if field in NAMES else by_attribute[field]


def engine_value(field: str, value: object) -> object:
    """A setting as EngineSettings has it: lists that the engine parses are texts."""
    if isinstance(value, tuple) and field != "interfaces":
        return text_value(parameter_of(field), value)
    return value


FIELDS = [f.name for f in dataclasses.fields(EngineSettings) if f.name not in NO_PARAMETER]


@pytest.mark.parametrize("field", [name for name in FIELDS if name not in DECIDED_BY_MOUNTD])
def test_the_engines_default_is_the_tables(field: str) -> None:
    parameter = parameter_of(field)
    assert getattr(EngineSettings(), field) == engine_value(field, parameter.parse(parameter.default)[0])


OPTIONS = Options("/c", "/p", RunDirectory("/run"), "/state")


def told(text: str) -> EngineSettings:
    return engine_settings(configuration(text), OPTIONS, (1, 2, 3))


def test_a_file_that_says_nothing_starts_the_engine_with_its_defaults() -> None:
    workers = told("").workers
    assert told("[global]\nworkers = 0\n").workers == workers
    assert told("") == EngineSettings(sub_auth=(1, 2, 3), workers=workers)


CHANGES = {
    "audit file": "/var/log/audit.json", "bind interfaces only": "yes", "bpf": "no",
    "data paths": "read/ext4=copy", "deadtime": "7",
    "durable handles": "yes", "guest account": "guest", "host msdfs": "yes", "interfaces": "lo", "ipc timeout": "7",
    "kerberos support": "yes", "lookup port": "7",
    "mangle prefix": "3", "map to guest": "bad user", "max active sessions": "7",
    "max connections": "7", "max ip connections": "7", "max open files": "7", "netbios name": "X",
    "ntlm auth": "disabled", "server max protocol": "SMB3_00", "server min protocol": "SMB3_00",
    "server multi channel support": "yes", "server signing": "mandatory", "server string": "X",
    "share:fake_fscaps": "7", "smb2 leases": "yes", "smb2 max credits": "7", "smb2 max read": "1M",
    "smb2 max trans": "1M", "smb2 max write": "1M", "smb3 encryption": "mandatory", "smbd max io size": "1M",
    "tcp port": "7", "tune networks": "10.0.0.0/8=4M", "workers": "7", "workgroup": "X",
}  # fmt: skip


def differing(one: Any, other: Any) -> list[str]:
    return [f.name for f in dataclasses.fields(one) if getattr(one, f.name) != getattr(other, f.name)]


@pytest.mark.parametrize("name", CHANGES)
def test_a_parameter_crosses_once(name: str) -> None:
    """It changes one field of the settings, and one value in the two messages."""
    before, after = told("[global]\nworkers = 1\n"), told(f"[global]\n{name} = {CHANGES[name]}\nworkers = 1\n")
    changed = differing(before, after)
    assert [parameter_of(field).name for field in changed] == [name]
    count = 0
    for old, new in zip(before.messages(), after.messages(), strict=True):
        count += sum(old.fields[key] != new.fields[key] for key in old.fields if key not in ("payload", "ifc_list_sz"))
        count += old.fields.get("payload") != new.fields.get("payload")
        count += sum(old.numbers[key] != new.numbers[key] for key in old.numbers)
        count += sum(old.options[key] != new.options[key] for key in old.options)
    assert count == 1


def test_every_field_that_is_a_parameter_is_tried() -> None:
    assert {parameter_of(field).name for field in FIELDS} == set(CHANGES)


def test_the_rooms_defaults_are_the_tables() -> None:
    """What the protocol and the log-on have where nothing is said is what they get from an engine that is told
    nothing."""
    made, own = server_settings(EngineSettings(), 1), ServerSettings()
    machines = {"worker", "first_id", "server_guid", "data_paths", "interfaces"}
    assert set(differing(made, own)) <= machines
    assert set(differing(auth_settings(EngineSettings()), AuthSettings())) <= {"dns_name", "dns_domain"}


def test_a_share_with_continuous_availability_is_the_engines_matter() -> None:
    assert not told("[a]\npath = /a\n").continuous_availability
    assert told("[a]\npath = /a\n[b]\npath = /b\ncontinuous availability = yes\n").continuous_availability
