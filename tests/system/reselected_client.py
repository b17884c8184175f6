# SPDX-License-Identifier: GPL-2.0-or-later
"""A client whose first mechanism the server does not know, with the ticket in $KRB5CCNAME: MIT's library protects the
list of mechanisms and checks the server's proof (RFC 4178 5). It prints the NTSTATUS of each round.

    python reselected_client.py HOST PORT
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any, cast

sys.path.append("/usr/lib/python3/dist-packages")

import gssapi
from server import KsmbdServer
from tickets import KERBEROS, LogOn, spnego, tlv

from ksmbd.auth.spnego import parse_response

NEGOEX = bytes.fromhex("060a2b06010401823702021e")


def main(host: str, port: str) -> None:
    """Log on."""
    name = gssapi.Name(f"cifs@{host}", gssapi.NameType.hostbased_service)
    flags = gssapi.RequirementFlag.mutual_authentication | gssapi.RequirementFlag.integrity
    context: Any = gssapi.SecurityContext(name=name, usage="initiate", mech=gssapi.MechType.kerberos, flags=flags)
    mechanisms = [NEGOEX, KERBEROS]
    listed = tlv(0x30, *mechanisms)
    with LogOn(cast(KsmbdServer, SimpleNamespace(port=int(port)))) as connection:
        status, _ = connection.step(spnego(mechanisms, b"NEGOEXTS"))
        print(f"{status:#x}")
        status, reply = connection.step(tlv(0xA1, tlv(0x30, tlv(0xA2, tlv(4, context.step())))))
        print(f"{status:#x}")
        answer = parse_response(reply)
        context.step(answer.token)
        assert answer.mic is not None
        context.verify_signature(listed, answer.mic)
        proof = tlv(0xA1, tlv(0x30, tlv(0xA3, tlv(4, context.get_signature(listed)))))
        print(f"{connection.step(proof)[0]:#x}")


if __name__ == "__main__":
    main(*sys.argv[1:])
