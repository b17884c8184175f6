# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines of the debug components smb, auth and oplock, with the client that they are about. Called only where the
component is on."""
from __future__ import annotations

from struct import Struct
from typing import Final

from ksmbd import debug, log
from ksmbd.smb.constants import COMMAND_NAMES, CREATE, FLAGS_SIGNED, OPLOCK_NAMES
from ksmbd.smb.header import HEADER_SIZE
from ksmbd.smb.model import Connection, Open
from ksmbd.smb.ports import AuthStep, BreakNotice
from ksmbd.smb.request import Request
from ksmbd.smb.status import NtStatusError, WireError, status_name

_NAME: Final = Struct("<HH")  # NameOffset, NameLength of CREATE (MS-SMB2 2.2.13)
_NAME_AT: Final = HEADER_SIZE + 44


def _peer(request: Request) -> str:
    return request.connection.transport.peer


def _who(request: Request) -> str:
    session = request.session_
    return session.identity.account if session is not None and session.identity is not None else "nobody"


def _command(request: Request) -> str:
    number = request.header.command
    return COMMAND_NAMES[number] if number < len(COMMAND_NAMES) else f"command {number:#x}"


def _what(request: Request) -> str:
    """The name of the file that a request is about, and of its share; '' where there is none."""
    open_ = request.open
    tree = request.tree_
    where = f" on [{tree.share.name}]" if tree is not None else ""
    if open_ is not None and open_.file is not None:
        return f" {open_.file.path!r}{where}"
    if request.header.command == CREATE:
        return f" {_name(request)!r}{where}"
    return where


def _name(request: Request) -> str:
    """The name in a CREATE request, also in one that is refused."""
    try:
        reader = request.reader()
        offset, length = reader.restrict(_NAME_AT, _NAME.size).unpack(_NAME)
        return reader.restrict(offset, length).utf16(length) if length else ""
    except WireError:
        return "?"


def answered(request: Request, status: int) -> None:
    """Tell of a request and the status that it got: client, user, command, file and share."""
    header = request.header
    how = "sealed" if request.sealed else "signed" if header.flags & FLAGS_SIGNED else "clear"
    log.debug(
        debug.SMB,
        f"{_peer(request)} {_who(request)}: {_command(request)}{_what(request)} mid {header.message_id} session "
        f"{header.session_id:#x} tree {header.tree_id} ({how}): {status_name(status)}",
        _peer(request),
    )


def failed(request: Request, error: NtStatusError) -> None:
    """Tell why a request fails, which the client is not told."""
    about = f"{_command(request)}{_what(request)} mid {request.header.message_id}"
    log.debug(debug.SMB, f"{_peer(request)} {_who(request)}: {about}: {error}", _peer(request))


def logged_on(request: Request, step: AuthStep) -> None:
    """Tell of a round of a log-on."""
    identity = step.identity
    if identity is None:
        text = "another round"
    else:
        kind = "anonymous" if identity.is_anonymous else "guest" if identity.is_guest else "user"
        text = (
            f"{kind} {identity.account!r} is uid {identity.uid}, gid {identity.gid}, groups {identity.groups}"
        )
    log.debug(debug.AUTH, f"log-on: {text}, from {_peer(request)}", _peer(request))


def log_on_refused(request: Request, error: NtStatusError, account: str) -> None:
    """Tell of a log-on that is refused."""
    who = f" of {account!r}" if account else ""
    log.debug(debug.AUTH, f"log-on{who} refused: {error}, from {_peer(request)}", _peer(request))


def granted(request: Request, open_: Open) -> None:
    """Tell which oplock or lease an open was granted."""
    lease = open_.lease
    level = OPLOCK_NAMES.get(open_.oplock_level, hex(open_.oplock_level))
    what = f"oplock {level}" if lease is None else f"lease {lease.key.hex()} state {_state(lease.state)}"
    path = open_.file.path if open_.file is not None else ""
    log.debug(
        debug.OPLOCK,
        f"open {open_.persistent_id:#x} of {path}: granted {what}{_where(open_)}, to {_peer(request)} {_who(request)}",
        _peer(request),
    )


def broken(notice: BreakNotice, opens: list[Open], connection: Connection | None) -> None:
    """Tell which oplock or lease is broken, of which file, and to whom the notification goes."""
    if notice.lease_key:
        what = f"lease {notice.lease_key.hex()} from {_state(notice.current_state)} to {_state(notice.new_state)}"
    else:
        what = f"oplock to {OPLOCK_NAMES.get(notice.oplock_level, hex(notice.oplock_level))}"
    files = ", ".join(
        dict.fromkeys(f"{open_.file.path}{_where(open_)}" for open_ in opens if open_.file is not None)
    )
    peer = connection.transport.peer if connection is not None else ""
    whom = f"to {peer}" if peer else "to nobody: no channel is left"
    how = "" if notice.ack_required else ", without acknowledgment"
    log.debug(debug.OPLOCK, f"break of {files or notice.open_ids}: {what}{how}, {whom}", peer)


def acknowledged(request: Request, path: str, what: str) -> None:
    """Tell what a client acknowledges."""
    log.debug(debug.OPLOCK, f"{path}: {what} acknowledged by {_peer(request)} {_who(request)}", _peer(request))


def _where(open_: Open) -> str:
    return f" on [{open_.tree.share.name}]" if open_.tree is not None else ""


def _state(state: int) -> str:
    return "".join(letter for bit, letter in ((1, "R"), (2, "H"), (4, "W")) if state & bit) or "none"
