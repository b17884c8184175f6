# SPDX-License-Identifier: GPL-2.0-or-later
"""The debug toggles: one bit for each component, in a word of memory that all processes of a server share.

Components and their order are those of /sys/class/ksmbd-control/debug. A debug line that is off costs one look at this
word:

    if debug.mask[0] & debug.SMB:
        log.debug(debug.SMB, f"...", address)

Use it through the module (`debug.mask`), because `attach` replaces the buffer. A component may be on for some clients
alone; then its bit is set, too, and `log.debug` looks at the address of the line (`wanted`).
"""

from __future__ import annotations

from typing import Final

from ksmbd.address import normal_address

SMB: Final = 0x01
AUTH: Final = 0x02
VFS: Final = 0x04
OPLOCK: Final = 0x08
IPC: Final = 0x10
CONN: Final = 0x20
RDMA: Final = 0x40

COMPONENTS: Final = {"smb": SMB, "auth": AUTH, "vfs": VFS, "oplock": OPLOCK, "ipc": IPC, "conn": CONN, "rdma": RDMA}
"""Names and bits, in the order in which they are listed."""

ALL: Final = sum(COMPONENTS.values())
CLIENTS_MAX: Final = 16
"""Addresses for which components may be on."""
_ENTRY: Final = 64
"""Bytes of one of them: its bits, and its address up to the first NUL."""
SIZE: Final = 8 + CLIENTS_MAX * _ENTRY
"""Bytes of the memory: the word of components, that of those which are on for some clients alone, these clients."""

_memory: memoryview = memoryview(bytearray(SIZE))
mask: memoryview = _memory[:4].cast("I")
"""One 32-bit word; private to this process until `attach`."""
_some: memoryview = _memory[4:8].cast("I")


def attach(memory: memoryview) -> None:
    """Use the first SIZE bytes of `memory`, shared by the processes of the server."""
    global mask, _some, _memory
    _memory = memory[:SIZE].cast("B")
    mask, _some = _memory[:4].cast("I"), _memory[4:8].cast("I")


def plain() -> int:
    """The components that are on for all clients."""
    return int(mask[0] & ~_some[0])


def wanted(component: int, address: str) -> bool:
    """Whether a line of `component` about the client at `address` ('' is none) is to be told."""
    if not mask[0] & component:
        return False
    if not _some[0] & component:
        return True
    if not address:
        return False
    return any(bits & component and known == address for bits, known in _entries())


def toggle(word: str) -> bool:
    """Toggle a component, or with `all` all of them: off if all are on, else on. `COMPONENT@ADDRESS` toggles it for the
    client at this address alone. False: there is no such component or address, or no room for another address."""
    word = word.strip()
    name, at, address = word.partition("@")
    bits = ALL if name == "all" else COMPONENTS.get(name, 0)
    if not bits:
        return False
    if at:
        return _toggle_for(bits, address)
    on = plain()
    _apply(0 if name == "all" and on == ALL else ALL if name == "all" else on ^ bits)
    return True


def set_plain(components: int) -> None:
    """Turn on these components and no others for all clients. What is on for some clients alone stays so."""
    _apply(components & ALL)


def clients() -> list[str]:
    """What is on for some clients alone: `smb@192.0.2.7`."""
    return [
        f"{name}@{address}" for bits, address in _entries() for name, bit in COMPONENTS.items() if bits & bit
    ]


def _toggle_for(bits: int, text: str) -> bool:
    try:
        address = normal_address(text)
    except ValueError:
        return False
    if len(address) >= _ENTRY - 4:
        return False
    entries = dict[str, int]()
    for known_bits, known in _entries():
        entries[known] = known_bits
    now = entries.pop(address, 0)
    after = now & ~bits if now & bits == bits else now | bits
    if after:
        entries[address] = after
    if len(entries) > len(_memory[8:]) // _ENTRY:
        return False
    on = plain()
    # Others read meanwhile: while the entries change, lines may be missing, and none comes that nobody wants.
    for number in range(len(_memory[8:]) // _ENTRY):
        _memory[8 + number * _ENTRY : 8 + (number + 1) * _ENTRY] = bytes(_ENTRY)
    for number, (known, known_bits) in enumerate(entries.items()):
        data = known_bits.to_bytes(4, "little") + known.encode()
        _memory[8 + number * _ENTRY : 8 + number * _ENTRY + len(data)] = data
    _apply(on)
    return True


def _entries() -> list[tuple[int, str]]:
    """Bits and address of each client."""
    found = []
    for start in range(8, len(_memory) - _ENTRY + 1, _ENTRY):
        bits = int.from_bytes(_memory[start : start + 4], "little")
        if bits:
            address = bytes(_memory[start + 4 : start + _ENTRY]).partition(b"\0")[0]
            found.append((bits, address.decode("ascii", "replace")))
    return found


def _apply(on: int) -> None:
    """Have the components `on` on for all clients."""
    some = 0
    for bits, _ in _entries():
        some |= bits
    _some[0] = some & ~on
    mask[0] = on | some


def listing(value: int | None = None) -> str:
    """All components as text, with those that are on for all clients in brackets: `[smb] auth vfs oplock ipc conn
    rdma`."""
    bits = plain() if value is None else value
    return " ".join(f"[{name}]" if bits & bit else name for name, bit in COMPONENTS.items())


def is_listing(text: str) -> bool:
    """Whether `text` is the result of `listing`, not a command that somebody wrote."""
    return [word.strip("[]") for word in text.split()] == list(COMPONENTS)
