# SPDX-License-Identifier: GPL-2.0-or-later
"""A file or directory of the port Files in memory."""
from __future__ import annotations

from dataclasses import dataclass, field

from fake_clock import NOW

from ksmbd.smb import constants as c
from ksmbd.smb.ports import (
    FileInfo,
)


@dataclass(eq=False)
class Node:
    """A file or directory of FakeVolume."""

    name: str
    is_directory: bool
    inode: int
    data: bytearray = field(default_factory=bytearray)
    streams: dict[str, bytearray] = field(default_factory=dict)
    eas: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    children: dict[str, Node] = field(default_factory=dict)
    """By the name upper-cased."""
    parent: Node | None = None
    attributes: int = 0
    times: list[int] = field(default_factory=lambda: [NOW + 1, NOW + 2, NOW + 3, NOW + 4])
    """Creation, last access, last write, change."""
    descriptor: bytes = b""
    reparse: tuple[int, bytes] | None = None
    sparse: bool = False
    compression: int = 0
    has_object_id: bool = False
    links: int = 1

    def info(self, stream: str = "") -> FileInfo:
        """As the file system would report it, in clusters of 4096."""
        size = 0 if self.is_directory and not stream else len(self.streams[stream] if stream else self.data)
        attributes = self.attributes | (c.FILE_ATTRIBUTE_DIRECTORY if self.is_directory else 0)
        attributes |= c.FILE_ATTRIBUTE_SPARSE_FILE if self.sparse else 0
        attributes |= c.FILE_ATTRIBUTE_REPARSE_POINT if self.reparse else 0
        creation, access, write, change = self.times
        return FileInfo(
            creation, access, write, change, -(-size // 4096) * 4096, size, attributes or c.FILE_ATTRIBUTE_NORMAL,
            self.links, self.inode, 0x1122334455667788, sum(len(n) + len(v) + 5 for n, (_, v) in self.eas.items()),
            self.reparse[0] if self.reparse else 0, self.is_directory, 1000, 1001,
            0o755 if self.is_directory else 0o644,
        )  # fmt: skip

    @property
    def path(self) -> str:
        if self.parent is None:
            return ""
        above = self.parent.path
        return f"{above}\\{self.name}" if above else self.name
