# SPDX-License-Identifier: GPL-2.0-or-later
"""The debug toggles: one bit for each component, in a word of memory that all processes of a server share.

Components and their order are those of /sys/class/ksmbd-control/debug. A debug line that is off costs one look at this
word:

    if debug.mask[0] & debug.SMB:
        log.debug(debug.SMB, f"...")

Use it through the module (`debug.mask`), because `attach` replaces the buffer.
"""

from __future__ import annotations

from typing import Final

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

mask: memoryview = memoryview(bytearray(4)).cast("I")
"""One 32-bit word; private to this process until `attach`."""


def attach(memory: memoryview) -> None:
    """Use the first four bytes of `memory`, shared by the processes of the server, as the mask."""
    global mask
    mask = memory[:4].cast("B").cast("I")


def toggle(word: str) -> bool:
    """Toggle a component, or with `all` all of them: off if all are on, else on. False: there is no such component."""
    word = word.strip()
    if word == "all":
        mask[0] = 0 if mask[0] & ALL == ALL else mask[0] | ALL
        return True
    bit = COMPONENTS.get(word)
    if bit is None:
        return False
    mask[0] ^= bit
    return True


def listing(value: int | None = None) -> str:
    """All components as text, with those that are on in brackets: `[smb] auth vfs oplock ipc conn rdma`."""
    bits = mask[0] if value is None else value
    return " ".join(f"[{name}]" if bits & bit else name for name, bit in COMPONENTS.items())


def is_listing(text: str) -> bool:
    """Whether `text` is the result of `listing`, not a command that somebody wrote."""
    return [word.strip("[]") for word in text.split()] == list(COMPONENTS)
