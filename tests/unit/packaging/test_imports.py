# SPDX-License-Identifier: GPL-2.0-or-later
"""Imports run downwards: a room imports only the rooms below it, and no module imports itself through others. Imports
for types alone (TYPE_CHECKING) and those inside functions count as all others do."""
from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Final

TOP: Final = Path(__file__).resolve().parents[3]
COMMON: Final = frozenset((
    "address", "debug", "limit", "limits", "line_limit", "log", "log_record", "log_targets", "overriding", "refusals",
))  # fmt: skip
"""Modules directly below ksmbd/, which every room may use."""
FLOORS: Final[dict[str, tuple[str, ...]]] = {
    "tools": ("mountd", "vfs", "kernel"),
    "mountd": ("ipc", "auth", "smb", "kernel"),
    "process": ("conn", "vfs", "oplock", "ipc", "auth", "smb", "kernel"),
    "conn": ("smb", "kernel"),
    "vfs": ("smb", "kernel"),
    "oplock": ("smb",),
    "ipc": ("smb",),
    "auth": ("smb",),
    "smb": (),
    "kernel": (),
}
"""Each room, and what it may import beside the common modules."""


def name_of(file: Path) -> str:
    """The dotted name by which a source file is imported; tools/ is installed below ksmbd."""
    parts = list(file.relative_to(TOP).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(["ksmbd", *parts] if parts[0] == "tools" else parts)


FILES: Final = {name_of(file): file for top in ("ksmbd", "mountd", "tools") for file in (TOP / top).rglob("*.py")}


def imported(file: Path) -> set[str]:
    """The modules of ours that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None, f"{file}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in FILES else node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found & FILES.keys()


GRAPH: Final = {name: imported(file) for name, file in FILES.items()}


def room_of(name: str) -> str:
    """`ksmbd.smb.read` is of smb, `mountd.rpc.pipes` of mountd, `ksmbd.limits` is common."""
    parts = name.split(".")
    if parts[0] != "ksmbd":
        return parts[0]
    return "common" if len(parts) == 1 or parts[1] in COMMON else parts[1]


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Groups of modules each of which reaches all others of its group."""
    reach = {name: closure(graph, name) for name in graph}
    groups: list[set[str]] = []
    for name in graph:
        group = {other for other in reach[name] if name in reach[other]}
        if name in reach[name] and group not in groups:
            groups.append(group)
    return groups


def closure(graph: dict[str, set[str]], name: str) -> set[str]:
    """All that a module imports, directly or through others."""
    seen: set[str] = set()
    left = list(graph[name])
    while left:
        following = left.pop()
        if following not in seen:
            seen.add(following)
            left.extend(graph[following])
    return seen


def picture() -> str:
    """The rooms and what each imports, as ARCHITECTURE.md shows them."""
    alone = "(the common modules alone)"
    return "\n".join(f"    {room:<8} -> {', '.join(below) or alone}" for room, below in FLOORS.items())


def strangers(names: Iterable[str]) -> list[str]:
    """Imports that go beside or above the floors."""
    return [
        f"{name} imports {other}"
        for name in names
        for other in sorted(GRAPH[name])
        if room_of(other) not in (room_of(name), "common", *FLOORS.get(room_of(name), ()))
    ]


def test_every_room_has_its_floor() -> None:
    assert {room_of(name) for name in FILES} == {*FLOORS, "common"}


def test_a_room_imports_only_rooms_below_it() -> None:
    assert strangers(GRAPH) == []


def test_the_floors_themselves_have_no_circle() -> None:
    assert circles({room: set(below) for room, below in FLOORS.items()}) == []


def test_mountd_takes_of_auth_what_hashes_alone() -> None:
    """What reads the tokens of a log-on inside an RPC association is for the process of the RPC services. The kernel's
    server leaves to the daemon what our engine does itself, to take a ticket out of SPNEGO: the process of Kerberos
    does it. ksmbd.trace is a program of its own."""
    apart = ("mountd.rpc.", "mountd.kerberos.process", "mountd.trace.")
    taken = {
        other for name in GRAPH for other in GRAPH[name]
        if room_of(name) == "mountd" and not name.startswith(apart) and room_of(other) == "auth"
    }  # fmt: skip
    assert taken == {"ksmbd.auth.md4", "ksmbd.auth.ntlm_crypto"}


def test_rooms_beside_the_protocol_take_its_ports_and_structures_alone() -> None:
    """What knows a Connection or a Session is for process, which puts the rooms together."""
    above = [
        f"{name} imports {other}"
        for name in GRAPH
        if room_of(name) not in ("smb", "process")
        for other in GRAPH[name]
        if room_of(other) == "smb" and "ksmbd.smb.model" in {other, *closure(GRAPH, other)}
    ]
    assert above == []


def test_the_model_names_no_command() -> None:
    below = closure(GRAPH, "ksmbd.smb.model")
    assert not below & {"ksmbd.smb.request", "ksmbd.smb.dispatch", "ksmbd.smb.connection"}
    assert "ksmbd.smb.dispatch" not in closure(GRAPH, "ksmbd.smb.request")


def test_no_module_imports_itself_through_others() -> None:
    assert circles(GRAPH) == []


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": set(), "e": {"e"}}
    assert circles(graph) == [{"a", "b", "c"}, {"e"}]


def test_the_picture_is_the_floors() -> None:
    assert picture() in (TOP / "ARCHITECTURE.md").read_text(encoding="utf-8"), f"it is to say:\n{picture()}"


def test_only_the_assembler_knows_a_transport() -> None:
    """A transport is a folder and a line in worker.py."""
    inside = {name for name in FILES if f"{name}.".startswith("ksmbd.conn.tcp.")}
    assert {name for name, others in GRAPH.items() if others & inside} - inside == {"ksmbd.process.worker"}
