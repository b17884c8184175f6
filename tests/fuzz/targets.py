# SPDX-License-Identifier: GPL-2.0-or-later
"""The decoders that are fuzzed: each takes bytes, and may raise nothing but what its docstring names."""
from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ksmbd.auth.ntlm_messages import parse_authenticate
from ksmbd.auth.spnego import parse_initial, parse_response
from ksmbd.ipc import codec
from ksmbd.oplock import handed_on, state_records
from ksmbd.oplock.state_records import Unreadable
from ksmbd.smb import negotiate_contexts
from ksmbd.smb.create_contexts import parse_contexts
from ksmbd.smb.ea import parse_get_ea
from ksmbd.smb.full_ea import parse_full_ea
from ksmbd.smb.reader import Reader
from ksmbd.smb.security_descriptor import parse_security_descriptor
from ksmbd.smb.status import NtStatusError
from mountd import config
from mountd.rpc import pdu

Target = Callable[[bytes], object]


def _rpc(data: bytes) -> None:
    reader = Reader(data)
    header = pdu.read_header(reader)
    if header.ptype:
        pdu.read_bind(reader)
    else:
        pdu.read_request(reader, header)


def _negotiate_contexts(data: bytes) -> None:
    """The first byte is ContextCount."""
    negotiate_contexts.parse(Reader(data[1:]), 0, data[0] if data else 0)


def _configuration(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for samba in (False, True):
        config.parse(text, "fuzzed.conf", samba=samba, diagnostics=[])


TARGETS: Final[dict[str, tuple[Target, tuple[type[Exception], ...]]]] = {
    "spnego-initial": (parse_initial, (NtStatusError,)),
    "spnego-response": (parse_response, (NtStatusError,)),
    "ntlm-authenticate": (lambda data: parse_authenticate(data, 0xE2898215), (NtStatusError,)),
    "negotiate-contexts": (_negotiate_contexts, (NtStatusError,)),
    "create-contexts": (lambda data: parse_contexts(Reader(data)), (NtStatusError,)),
    "security-descriptor": (parse_security_descriptor, (NtStatusError,)),
    "full-ea": (parse_full_ea, (NtStatusError,)),
    "get-ea": (parse_get_ea, (NtStatusError,)),
    "rpc-pdu": (_rpc, (NtStatusError,)),
    "netlink": (lambda data: codec.decode(len(data).to_bytes(4, "little") + data[4:]), (NtStatusError,)),
    "state-record": (state_records.decode, (Unreadable,)),
    "handed-on": (lambda data: handed_on.decode(data, 0), (Unreadable,)),
    "configuration": (_configuration, ()),
}


def run(name: str, data: bytes) -> None:
    """Give one input to a target. Raises what is a finding."""
    target, expected = TARGETS[name]
    try:
        target(data)
    except expected:
        return
