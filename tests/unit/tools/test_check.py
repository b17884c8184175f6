# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.control --check: what a file means, what has no effect, what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toolbench import Place

from mountd import config
from mountd.console.check import meaning

GOOD = """[global]
workgroup = HOME
guest account = nobody
hosts allow = 192.0.2.0/24
os level = 20
[data]
path = {folder}
writeable = yes
valid users = ann, @"domain users"
magic script = x
[gone]
path = /no/such/folder
"""

MISSING = "/no/such/folder: No such file or directory: nobody can connect until the folder is there"


def written(place: Place, text: str, name: str = "ksmbd.conf") -> str:
    path = place.folder / name
    path.write_text(text.format(folder=place.folder))
    return str(path)


def test_what_is_not_a_default_is_shown_a_share_each(place: Place) -> None:
    outcome = place.call("control", "--check", written(place, GOOD))
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == f"""[global]
    workgroup = HOME

[data]
    hosts allow = 192.0.2.0/24
    path = {place.folder}
    read only = no
    valid users = ann, @"domain users"

[gone]
    hosts allow = 192.0.2.0/24
    path = /no/such/folder

; Without effect, though access or data may differ:
;   line 10, [data] magic script = x (not known)
; Without effect and harmless:
;   line 5, [global] os level = 20 (not known)
; Warning: {place.folder}/ksmbd.conf: [gone]: {MISSING}
"""


def test_the_path_may_be_attached(place: Place) -> None:
    assert "HOME" in place.call("control", f"--check={written(place, GOOD)}").out


def test_json_has_the_same(place: Place) -> None:
    outcome = place.call("control", "--json", "--check", written(place, GOOD))
    found = json.loads(outcome.out)
    assert outcome.status == 0 and found["valid"] is True
    assert found["file"] == f"{place.folder}/ksmbd.conf"
    assert found["global"] == {"workgroup": "HOME"}
    assert list(found["shares"]) == ["data", "gone"]
    assert found["shares"]["data"]["read only"] == "no"
    assert found["ignored"]["changes"] == [
        {
            "section": "data", "name": "magic script", "value": "x", "file": found["file"], "line": 10,
            "why": "not known",
        }
    ]
    assert [item["name"] for item in found["ignored"]["harmless"]] == ["os level"]
    assert [one["message"] for one in found["warnings"]] == [f"[gone]: {MISSING}"]
    assert found["errors"] == []


def test_errors_are_a_line_each_with_file_and_line(place: Place) -> None:
    path = written(place, "[global]\nworkers = many\n[x\n")
    outcome = place.call("control", "--check", path)
    assert outcome.status == 1
    first, second = outcome.err.splitlines()
    assert first.startswith(f"{path}:2: `workers = many`: allowed is ")
    assert second.startswith(f"{path}:3: not a section")
    outcome = place.call("control", "--json", "--check", path)
    found = json.loads(outcome.out)
    assert (outcome.status, outcome.err, found["valid"]) == (1, "", False)
    assert [one["line"] for one in found["errors"]] == [2, 3]


def test_a_file_that_is_not_there(place: Place) -> None:
    outcome = place.call("control", "--check", str(place.folder / "none"))
    assert outcome.status == 1
    assert "cannot be read: No such file or directory" in outcome.err


def test_no_control_character_reaches_the_terminal(place: Place) -> None:
    outcome = place.call("control", "--check", written(place, "[a]\npath = /x\x1b[2J\ncomment = a\x07b\n"))
    assert "\x1b" not in outcome.out and "\x07" not in outcome.out


def test_what_is_said_of_ipc_is_shown(place: Place) -> None:
    text = "[IPC$]\nhosts allow = 192.0.2.1\n"
    assert "[IPC$]\n    comment = IPC share\n    hosts allow = 192.0.2.1\n" in place.call(
        "control", "--check", written(place, text)
    ).out


@pytest.mark.parametrize("name", ["ksmbd.conf", "smb.conf"])
def test_the_output_is_a_ksmbd_conf_that_means_the_same(place: Place, name: str) -> None:
    """Moving from Samba: what is printed for an smb.conf, read as ksmbd.conf, gives the same settings."""
    path = written(place, GOOD + "[other]\npath = {folder}\nguest ok = yes\nveto files = /a b/*.tmp/\n", name)
    shown = place.folder / "again.conf"
    shown.write_text(place.call("control", "--check", path).out)
    before, after = config.load(path), config.load(shown)
    assert not after.errors
    assert before.settings == after.settings
    named = [key for key in before.shares if key != "ipc$"]
    assert named == [key for key in after.shares if key != "ipc$"] != []
    for key in named:
        assert before.shares[key] == after.shares[key], meaning(before.shares[key])


def test_the_default_file_is_the_one_of_the_daemon(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def load(path: str) -> config.Configuration:
        seen.append(path)
        return config.parse("", path)

    monkeypatch.setattr("mountd.console.check.config.load", load)
    assert place.call("control", "--check").status == 0
    assert seen == [str(Path("/etc/ksmbd/ksmbd.conf"))]
