# SPDX-License-Identifier: GPL-2.0-or-later
"""mountd's answers, as the port `Daemon` returns them. WireError: lengths that contradict each other."""
from __future__ import annotations

import struct
from typing import Final

from ksmbd.ipc.codec import Parcel
from ksmbd.ipc.constants import Attribute, RpcStatus, ShareFlag
from ksmbd.ipc.messages import text_of
from ksmbd.smb.ports import LoginResponse, ShareConfig
from ksmbd.smb.reader import Reader
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_HANDLE,
    STATUS_INVALID_PARAMETER,
    STATUS_NOT_IMPLEMENTED,
    STATUS_PIPE_BROKEN,
    STATUS_PIPE_NOT_AVAILABLE,
    NtStatusError,
    WireError,
)

RPC_ERRORS: Final = {
    RpcStatus.BAD_FUNC: STATUS_INVALID_DEVICE_REQUEST,
    RpcStatus.ACCESS_DENIED: STATUS_ACCESS_DENIED,
    RpcStatus.BAD_FID: STATUS_INVALID_HANDLE,
    RpcStatus.NOMEM: STATUS_INSUFFICIENT_RESOURCES,
    RpcStatus.BAD_DATA: STATUS_PIPE_BROKEN,
    RpcStatus.BROKEN_PIPE: STATUS_PIPE_BROKEN,
    RpcStatus.PIPE_BUSY: STATUS_PIPE_NOT_AVAILABLE,
    RpcStatus.NOT_IMPLEMENTED: STATUS_NOT_IMPLEMENTED,
    RpcStatus.INVALID_PARAMETER: STATUS_INVALID_PARAMETER,
}


def fits(text: str, size: int) -> bool:
    """Whether a text goes into a field of `size` bytes and a NUL, without a NUL inside."""
    try:
        return "\0" not in text and len(text.encode()) <= size
    except UnicodeEncodeError:
        return False


def login_response(parcel: Parcel) -> LoginResponse:
    """LOGIN_RESPONSE, or the one inside SPNEGO_AUTHEN_RESPONSE; the groups come separately."""
    fields = parcel.fields
    if fields["hash_sz"] > len(fields["hash"]):
        raise WireError(f"hash_sz {fields['hash_sz']}")
    digest = fields["hash"][: fields["hash_sz"]]
    return LoginResponse(fields["status"], parcel.text("account"), digest, fields["uid"], fields["gid"])


_GID: Final = struct.Struct("=I")


def groups(parcel: Parcel) -> tuple[int, ...]:
    """LOGIN_RESPONSE_EXT: the supplementary groups."""
    reader = Reader(parcel.fields["payload"])
    return tuple(reader.unpack(_GID)[0] for _ in range(max(0, parcel.fields["ngroups"])))


def share_config(parcel: Parcel) -> ShareConfig | None:
    """SHARE_CONFIG_RESPONSE with our attributes; None: there is no such share."""
    fields = parcel.fields
    flags = fields["flags"]
    if not flags & ShareFlag.AVAILABLE:
        return None
    reader = Reader(fields["payload"])
    if fields["payload_sz"] != len(reader):
        raise WireError(f"payload_sz {fields['payload_sz']}")
    veto = reader.bytes(fields["veto_list_sz"])
    if veto:
        reader.skip(1)  # the NUL between
    path = reader.bytes(reader.remaining).partition(b"\0")[0].decode("utf-8", "surrogateescape")
    numbers = parcel.numbers
    return ShareConfig(
        name=text_of(fields["share_name"]),
        path=path,
        flags=flags,
        create_mask=fields["create_mask"],
        directory_mask=fields["directory_mask"],
        force_create_mode=fields["force_create_mode"],
        force_directory_mode=fields["force_directory_mode"],
        force_uid=numbers.get(Attribute.FORCE_UID),
        force_gid=numbers.get(Attribute.FORCE_GID),
        veto_files=tuple(p.decode("utf-8", "surrogateescape") for p in veto.split(b"\0") if p),
        comment=parcel.texts.get(Attribute.COMMENT, ""),
        is_pipe=bool(flags & ShareFlag.PIPE),
        encrypt=bool(numbers.get(Attribute.ENCRYPT, 0)),
        options=dict(parcel.options),
    )


def pipe_data(parcel: Parcel) -> tuple[bytes, bool]:
    """RPC_RESPONSE: the bytes and whether more is there; NtStatusError where the call failed."""
    fields = parcel.fields
    if fields["payload_sz"] != len(fields["payload"]):
        raise WireError(f"payload_sz {fields['payload_sz']}", STATUS_PIPE_BROKEN)
    status = fields["flags"]
    if status in (RpcStatus.OK, RpcStatus.MORE_DATA):
        return fields["payload"], status == RpcStatus.MORE_DATA
    raise NtStatusError(RPC_ERRORS.get(status, STATUS_PIPE_BROKEN), "pipe")
