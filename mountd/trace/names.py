# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of numbers on the wire: FSCTLs (MS-FSCC 2.3), information classes (MS-FSCC 2.4, 2.5; MS-SMB2 2.2.37)."""

from __future__ import annotations

from typing import Final

from ksmbd.smb import constants as c

FSCTLS: Final[dict[int, str]] = {
    value: name.removeprefix("FSCTL_") for name, value in vars(c).items() if name.startswith("FSCTL_")
}
INFO_TYPES: Final = {c.INFO_FILE: "file", c.INFO_FILESYSTEM: "filesystem", c.INFO_SECURITY: "security",
                     c.INFO_QUOTA: "quota"}  # fmt: skip
_FILE: Final = {
    1: "Directory", 2: "FullDirectory", 3: "BothDirectory", 4: "Basic", 5: "Standard", 6: "Internal", 7: "Ea",
    8: "Access", 9: "Name", 10: "Rename", 11: "Link", 12: "Names", 13: "Disposition", 14: "Position", 15: "FullEa",
    16: "Mode", 17: "Alignment", 18: "All", 19: "Allocation", 20: "EndOfFile", 21: "AlternateName", 22: "Stream",
    23: "Pipe", 24: "PipeLocal", 25: "PipeRemote", 28: "Compression", 34: "NetworkOpen", 35: "AttributeTag",
    37: "IdBothDirectory", 38: "IdFullDirectory", 39: "ValidDataLength", 40: "ShortName", 48: "NormalizedName",
    59: "Id", 60: "IdExtdDirectory", 64: "DispositionEx", 65: "RenameEx", 72: "LinkEx", 100: "Posix",
}  # fmt: skip
_FILESYSTEM: Final = {
    1: "FsVolume", 2: "FsLabel", 3: "FsSize", 4: "FsDevice", 5: "FsAttribute", 6: "FsControl", 7: "FsFullSize",
    8: "FsObjectId", 11: "FsSectorSize", 100: "FsPosix",
}  # fmt: skip
INFORMATION: Final[dict[tuple[int, int], str]] = {
    **{(c.INFO_FILE, level): name for level, name in _FILE.items()},
    **{(c.INFO_FILESYSTEM, level): name for level, name in _FILESYSTEM.items()},
}
"""(InfoType, class) -> name without File and Information."""
