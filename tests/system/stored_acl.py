# SPDX-License-Identifier: GPL-2.0-or-later
"""For the interpreter that has python3-samba: what security.NTACL of a file holds, as a line of JSON. With a version
behind the path it is brought into that one's layout first."""
from __future__ import annotations

import json
import os
import sys

from samba.dcerpc import xattr
from samba.ndr import ndr_pack, ndr_unpack


def _convert(path: str, version: int) -> None:
    old = ndr_unpack(xattr.NTACL, os.getxattr(path, "security.NTACL")).info
    stored = xattr.NTACL()
    stored.version = version
    if version == 1:
        stored.info = old.sd
    else:
        stored.info = getattr(xattr, f"security_descriptor_hash_v{version}")()
        stored.info.sd = old.sd
        if version == 3:
            stored.info.hash_type, stored.info.hash = old.hash_type, old.hash
    os.setxattr(path, "security.NTACL", ndr_pack(stored))


def main() -> None:
    if sys.argv[2:]:
        _convert(sys.argv[1], int(sys.argv[2]))
    stored = ndr_unpack(xattr.NTACL, os.getxattr(sys.argv[1], "security.NTACL"))
    found: dict[str, str | int] = {"version": stored.version, "hash_type": 0, "description": ""}
    inner = stored.info
    found["sddl"] = (inner if stored.version == 1 else inner.sd).as_sddl()
    if stored.version == 4:
        found["hash_type"], found["description"] = inner.hash_type, inner.description
    print(json.dumps(found))


if __name__ == "__main__":
    main()
