# SPDX-License-Identifier: GPL-2.0-or-later
"""Samba's access check, for the interpreter that has python3-samba (Debian's own): answers batches over a pipe.

A line of JSON, a list of questions, is answered by a line of JSON, a list of answers in the same order. A question is
{"descriptor": HEX, "sids": [TEXT], "privileges": [NAME], "desired": N}; its answer is the granted mask, or an error's
text. {"pack": HEX, "version": N, "hash": HEX, "time": N} is answered by the bytes of security.NTACL that Samba makes of
a descriptor, in hexadecimal; {"unpack": HEX} by the descriptor that Samba reads in those bytes.
"""
from __future__ import annotations

import json
import sys
from typing import Any

import samba.security
from samba.dcerpc import security, xattr
from samba.ndr import ndr_pack, ndr_unpack

PRIVILEGES = {
    "SECURITY": security.SEC_PRIV_SECURITY, "TAKE_OWNERSHIP": security.SEC_PRIV_TAKE_OWNERSHIP,
    "BACKUP": security.SEC_PRIV_BACKUP, "RESTORE": security.SEC_PRIV_RESTORE,
}  # fmt: skip


def _token(sids: list[str], privileges: list[str]) -> security.token:
    token = security.token()
    token.num_sids = len(sids)
    token.sids = [security.dom_sid(sid) for sid in sids]
    for name in privileges:
        token.set_privilege(PRIVILEGES[name])
    return token


def _check(question: dict[str, Any]) -> int | str:
    try:
        descriptor = ndr_unpack(security.descriptor, bytes.fromhex(question["descriptor"]))
        token = _token(question["sids"], question["privileges"])
        return int(samba.security.access_check(descriptor, token, question["desired"]))
    except Exception as error:  # noqa: BLE001  (whatever Samba says, the other side looks at it)
        return str(error)


def _pack(question: dict[str, Any]) -> str:
    stored = xattr.NTACL()
    stored.version = question["version"]
    descriptor = ndr_unpack(security.descriptor, bytes.fromhex(question["pack"]))
    if stored.version == 1:
        stored.info = descriptor
    else:
        kinds = {3: xattr.security_descriptor_hash_v3, 4: xattr.security_descriptor_hash_v4}
        inner = kinds[stored.version]()
        inner.sd = descriptor
        inner.hash_type = xattr.XATTR_SD_HASH_TYPE_SHA256
        inner.hash = [0] * 64
        if stored.version == 4:
            inner.description = "posix_acl"
            inner.time = question["time"]
            inner.sys_acl_hash = list(bytes.fromhex(question["hash"]).ljust(64, b"\0"))
        stored.info = inner
    return bytes(ndr_pack(stored)).hex()


def _unpack(question: dict[str, Any]) -> str:
    try:
        stored = ndr_unpack(xattr.NTACL, bytes.fromhex(question["unpack"]))
        return bytes(ndr_pack(stored.info if stored.version == 1 else stored.info.sd)).hex()
    except Exception as error:  # noqa: BLE001
        return str(error)


def _answer(question: dict[str, Any]) -> int | str:
    if "pack" in question:
        return _pack(question)
    return _unpack(question) if "unpack" in question else _check(question)


def main() -> None:
    for line in sys.stdin:
        answers = [_answer(question) for question in json.loads(line)]
        print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
