# SPDX-License-Identifier: GPL-2.0-or-later
"""SESSION_SETUP (MS-SMB2 2.2.5, 2.2.6, 3.3.5.5): new sessions, further rounds of a log-on, re-authentication and
binding."""
from __future__ import annotations

from dataclasses import replace
from functools import partial
from struct import Struct
from typing import Final

from ksmbd import debug, limits
from ksmbd.limit import address_group
from ksmbd.refusals import refused
from ksmbd.smb import constants as c
from ksmbd.smb import debug_lines
from ksmbd.smb.credits import CREDIT_UNIT
from ksmbd.smb.header import HEADER_SIZE
from ksmbd.smb.model import Channel, Connection, Exchange, Session
from ksmbd.smb.ports import AuthStep, Identity
from ksmbd.smb.previous_session import end_previous_session
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.session_state import SessionInput, SessionState, next_state
from ksmbd.smb.sid import Sid
from ksmbd.smb.signature_check import verify_signature
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INVALID_PARAMETER,
    STATUS_MORE_PROCESSING_REQUIRED,
    STATUS_NETWORK_SESSION_EXPIRED,
    STATUS_NOT_SUPPORTED,
    STATUS_REQUEST_NOT_ACCEPTED,
    STATUS_REQUEST_OUT_OF_SEQUENCE,
    STATUS_SUCCESS,
    STATUS_USER_SESSION_DELETED,
    LogonRefused,
    LogonThrottled,
    NtStatusError,
    SignatureWrong,
    WireError,
    status_name,
)
from ksmbd.smb.teardown import delete_session
from ksmbd.smb.tree_connect import rights_on_share
from ksmbd.smb.waiting import pause, with_timeout

FRAME_OVERHEAD: Final = 0x11000
"""Bytes that a message may have beside the largest payload: headers, contexts, other requests of its compound."""
_REQUEST: Final = Struct("<HBBIIHHQ")
_RESPONSE: Final = Struct("<HHHH")
CHANNELS_MAX: Final = limits.CHANNELS_PER_SESSION.value
"""Channels of one session, as in Windows."""
ROUND_SECONDS: Final = limits.LOGON_ROUND_SECONDS.value / 2
"""Seconds to wait in the queue of the address, and again for the answer of mountd."""
THROTTLE_SECONDS: Final = 5.0
"""Seconds by which a failed log-on is answered late for an account that has failed too often, as in KSMBD."""
_OF_THE_SESSION: Final = (
    STATUS_NETWORK_SESSION_EXPIRED, STATUS_REQUEST_NOT_ACCEPTED, STATUS_REQUEST_OUT_OF_SEQUENCE,
    STATUS_USER_SESSION_DELETED,
)  # fmt: skip
"""Statuses that say what the session is; nobody is refused anything."""


async def handle(request: Request) -> Reply:
    """Handle one round of a log-on."""
    connection = request.connection
    reader = request.reader()
    _, flags, security_mode, _, _, offset, length, previous = reader.unpack(_REQUEST)
    if length and offset < HEADER_SIZE + _REQUEST.size:
        raise WireError("SecurityBufferOffset")
    token = bytes(reader.at(offset, length)) if length else b""
    if connection.server.settings.encryption == "mandatory" and not connection.cipher:
        refused("log-on", connection.transport.peer, "`smb3 encryption` is mandatory, and the client cannot encrypt")
        raise NtStatusError(STATUS_ACCESS_DENIED, "the server wants encryption, which the client cannot do")
    try:
        exchange = _exchange(request, bool(flags & c.SESSION_FLAG_BINDING))
    except NtStatusError as error:
        _tell(request, error)
        raise
    if exchange.busy:
        raise NtStatusError(STATUS_REQUEST_NOT_ACCEPTED, "a round of this exchange is being handled")
    session = exchange.session
    request.session_ = session
    request.exchange = exchange
    request.set_reply_session(session.session_id)
    # Rounds of a binding or a re-authentication are signed with the key that the session has
    request.sign_reply = bool(request.header.flags & c.FLAGS_SIGNED) and session.identity is not None
    if connection.dialect == c.DIALECT_311:
        exchange.hash_message(request.message)
    exchange.busy = True
    try:
        step = await _step(request, exchange, token)
        if step.identity is None:
            return Reply(_response(0, step.token), STATUS_MORE_PROCESSING_REQUIRED)
        if exchange.binding:
            _bind(request, exchange, step.identity)
        elif session.state is SessionState.IN_PROGRESS:
            _establish(request, exchange, step.identity, security_mode)
            if previous and previous != session.session_id:
                await end_previous_session(request.server, previous, step.identity)
        else:
            _reauthenticate(request, session, step.identity)
    except NtStatusError as error:
        if connection.exchanges.get(session.session_id) is exchange:
            _end_failed(connection, exchange)
        _tell(request, error)
        if isinstance(error, LogonThrottled):
            await pause(request.server.clock, THROTTLE_SECONDS)
        raise
    finally:
        exchange.busy = False
    connection.exchanges.remove(session.session_id)
    return Reply(_response(_session_flags(session), step.token), STATUS_SUCCESS)


def _tell(request: Request, error: NtStatusError) -> None:
    """Tell the administrator that a round of a log-on is refused, and why."""
    peer = request.connection.transport.peer
    if debug.mask[0] & debug.AUTH:
        debug_lines.log_on_refused(request, error, error.account if isinstance(error, LogonRefused) else "")
    if isinstance(error, LogonRefused):
        refused(
            "log-on", peer, error.reason, status_name(error.status), account=error.account, domain=error.domain,
            workstation=error.workstation,
        )  # fmt: skip
    elif error.status not in _OF_THE_SESSION and not isinstance(error, SignatureWrong):  # which dispatch tells
        refused("log-on", peer, str(error), status_name(error.status))


async def _step(request: Request, exchange: Exchange, token: bytes) -> AuthStep:
    """Pass the token to the authenticator, after waiting in the queue of the address. Raises NtStatusError: what the
    authenticator raises, STATUS_IO_TIMEOUT where the queue or mountd takes too long, and an error where the exchange
    was dropped meanwhile."""
    clock = request.server.clock
    queue, key = request.server.logon_queue, address_group(request.connection.transport.peer)
    await with_timeout(clock, ROUND_SECONDS, queue.enter(key))
    try:
        step = await with_timeout(clock, ROUND_SECONDS, exchange.authenticator.step(token))
    finally:
        queue.leave(key)
    if exchange.session.state is SessionState.DELETED:
        raise NtStatusError(STATUS_USER_SESSION_DELETED)
    if request.connection.exchanges.get(exchange.session.session_id) is not exchange:
        raise NtStatusError(STATUS_INSUFFICIENT_RESOURCES, "others needed the room of this log-on")
    if debug.mask[0] & debug.AUTH:
        debug_lines.logged_on(request, step)
    return step


def _end_failed(connection: Connection, exchange: Exchange) -> None:
    """End a failed exchange. A new session, or one that fails to re-authenticate, is deleted (3.3.5.5.3). After a
    failed binding the session stays as it was."""
    session = exchange.session
    connection.exchanges.remove(session.session_id)
    if session.state is SessionState.IN_PROGRESS or (
        session.state is not SessionState.DELETED and not exchange.binding
    ):
        delete_session(session)
        connection.sessions.pop(session.session_id, None)


def _response(flags: int, token: bytes) -> bytes:
    """The SESSION_SETUP response's body (MS-SMB2 2.2.6)."""
    return _RESPONSE.pack(9, flags, HEADER_SIZE + _RESPONSE.size, len(token)) + token


def _session_flags(session: Session) -> int:
    identity = session.identity
    assert identity is not None
    if identity.is_anonymous:
        return c.SESSION_FLAG_IS_NULL
    if identity.is_guest:
        return c.SESSION_FLAG_IS_GUEST
    return c.SESSION_FLAG_ENCRYPT_DATA if session.encrypt_data else 0


# ---------------------------------------------------------------------------------------------- which exchange it is


def _exchange(request: Request, binding: bool) -> Exchange:
    """The exchange that this round belongs to, made for the first round (MS-SMB2 3.3.5.5, steps 3 to 6). Raises
    NtStatusError."""
    connection = request.connection
    session_id = request.header.session_id
    if session_id == 0:
        return _new_session(request)
    exchange = connection.exchanges.get(session_id)
    if binding:
        if exchange is not None and exchange.binding:
            _check_binding_signature(request, exchange.session)
            return exchange
        return _new_binding(request)
    session = connection.sessions.get(session_id)
    if session is None:
        raise NtStatusError(STATUS_USER_SESSION_DELETED)
    protected = request.sealed or (bool(request.header.flags & c.FLAGS_SIGNED) and session.signer is not None)
    if not protected and (
        session.signing_required or session.encrypt_data or (exchange is not None and exchange.protected)
    ):
        # Each round of a re-authentication (3.3.5.2.4; dispatch has verified what is signed). An attacker that can
        # only insert messages into the stream changes neither the session nor the exchange.
        raise NtStatusError(STATUS_ACCESS_DENIED, "a round of a re-authentication that is not signed")
    if exchange is not None:
        return exchange
    exchange = _begin(request, session)
    exchange.protected = protected
    return exchange


def _begin(request: Request, session: Session, binding: bool = False) -> Exchange:
    connection = request.connection
    server = request.server
    exchange = Exchange(
        session, server.security.authenticator(server.daemon), connection.preauth_hash, binding=binding
    )
    connection.exchanges.add(exchange, partial(_drop, connection, exchange))
    return exchange


def _drop(connection: Connection, exchange: Exchange) -> None:
    """Drop an exchange that takes too long, or for which there is no room any more. A new session is deleted; an
    existing one stays as it was."""
    connection.exchanges.remove(exchange.session.session_id)
    if exchange.session.state is SessionState.IN_PROGRESS:
        delete_session(exchange.session)


def _new_session(request: Request) -> Exchange:
    connection = request.connection
    server = request.server
    server.admission.check()
    session = Session(server.new_session_id(), server, connection.dialect, connection.client_guid)
    session.creation_time = server.clock.filetime()
    server.sessions[session.session_id] = session
    connection.sessions[session.session_id] = session
    # The channel is known from the start: the connection's end takes an unfinished log-on with it
    session.channels[connection] = Channel(connection)
    return _begin(request, session)


def _new_binding(request: Request) -> Exchange:
    """Begin a binding (step 4 of 3.3.5.5). Each condition has its own status. A refusal never changes the session."""
    connection = request.connection
    server = request.server
    header = request.header
    session = server.sessions.get(header.session_id)
    if session is None:
        raise NtStatusError(STATUS_USER_SESSION_DELETED)
    # What refuses a signed binding is signed with the key that the client has
    request.session_ = session
    request.sign_reply = bool(header.flags & c.FLAGS_SIGNED)
    # A session signed with AES-GMAC takes channels with AES-GMAC alone, and the other way round
    if session.signing_algorithm != connection.signing_algorithm:
        if session.signing_algorithm == c.SIGNING_AES_GMAC:
            raise NtStatusError(STATUS_REQUEST_OUT_OF_SEQUENCE)
        if connection.signing_algorithm == c.SIGNING_AES_GMAC:
            raise NtStatusError(STATUS_NOT_SUPPORTED)
    if connection.dialect < c.DIALECT_300 or not server.settings.multichannel:
        raise NtStatusError(STATUS_REQUEST_NOT_ACCEPTED)
    if not header.flags & c.FLAGS_SIGNED and not request.sealed:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "an unsigned binding")
    if session.dialect != connection.dialect:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "the dialect of the session's connection differs")
    if session.cipher != connection.cipher:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "the cipher of the session's connection differs")
    if connection in session.channels:
        raise NtStatusError(STATUS_REQUEST_NOT_ACCEPTED, "the session has this channel already")
    if session.state is SessionState.IN_PROGRESS:
        raise NtStatusError(STATUS_REQUEST_NOT_ACCEPTED)
    if session.state is SessionState.EXPIRED:
        raise NtStatusError(STATUS_NETWORK_SESSION_EXPIRED)
    if session.is_guest_or_anonymous:
        raise NtStatusError(STATUS_NOT_SUPPORTED)
    if len(session.channels) >= CHANNELS_MAX:
        raise NtStatusError(STATUS_INSUFFICIENT_RESOURCES)
    _check_binding_signature(request, session)
    return _begin(request, session, binding=True)


def _check_binding_signature(request: Request, session: Session) -> None:
    """Verify that a round of a binding is signed with the key of the session. Raises STATUS_INVALID_PARAMETER or
    STATUS_ACCESS_DENIED."""
    if request.sealed:
        return
    if not request.header.flags & c.FLAGS_SIGNED:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "an unsigned binding")
    verify_signature(request, session)


# ----------------------------------------------------------------------------------------------- how an exchange ends


def _establish(request: Request, exchange: Exchange, identity: Identity, security_mode: int) -> None:
    """Make the session valid: keys, signing, encryption (MS-SMB2 3.3.5.5.3). Raises STATUS_ACCESS_DENIED or
    STATUS_TOO_MANY_SESSIONS."""
    connection = request.connection
    server = request.server
    settings = server.settings
    session = exchange.session
    guest = identity.is_guest or identity.is_anonymous
    if guest and (settings.signing_required or settings.encryption == "mandatory"):
        reason = "guests and anonymous users can neither sign nor encrypt, which is mandatory"
        raise LogonRefused(STATUS_ACCESS_DENIED, reason, identity.account, identity.domain)
    session.admitted = server.admission.take(identity, connection.transport.peer)
    session.identity = identity
    session.creation_time = server.clock.filetime()
    session.expires = identity.expires
    if not guest:
        session.full_session_key = identity.session_key
        session.session_key = identity.session_key[:16].ljust(16, b"\0")
        keys = server.security.derive_keys(
            session.dialect, identity.session_key, exchange.preauth_hash, connection.cipher
        )
        session.application_key = keys.application
        session.signing_algorithm = connection.signing_algorithm
        session.cipher = connection.cipher
        session.signer = server.security.signer(session.signing_algorithm, keys.signing)
        session.channels[connection].signer = session.signer
        if connection.cipher:
            session.sealer = server.security.sealer(connection.cipher, keys.encryption, keys.decryption)
        session.signing_required = bool(
            settings.signing_required or security_mode & c.NEGOTIATE_SIGNING_REQUIRED
        )
        session.encrypt_data = settings.encryption == "mandatory" and session.sealer is not None
    session.state = next_state(session.state, SessionInput.AUTHENTICATED)
    # 3.3.4.1.1: the final reply of a log-on with a key is signed, whatever was agreed
    request.sign_reply = not guest
    _raise_frame_limit(connection)


def _raise_frame_limit(connection: Connection) -> None:
    """Allow messages as large as the negotiated sizes, since there is a valid session."""
    settings = connection.server.settings
    most = max(settings.max_read, settings.max_write, settings.max_transact)
    connection.max_frame = (CREDIT_UNIT if connection.dialect == c.DIALECT_202 else most) + FRAME_OVERHEAD


def _reauthenticate(request: Request, session: Session, identity: Identity) -> None:
    """Re-authenticate the session: its keys stay (3.3.5.5.3), and what is opened from now on has the rights of the new
    identity."""
    old = session.identity
    session.expires = identity.expires
    session.identity = identity
    session.state = next_state(session.state, SessionInput.REAUTHENTICATED)
    request.sign_reply = session.signer is not None
    if old is not None and _rights(old) == _rights(identity):
        return
    for tree in list(session.tree_connects.values()):
        # mountd was asked about the user before: `admin users` and `force group = +GROUP` are about that one alone.
        same = old is not None and old.account.lower() == identity.account.lower()
        tree.is_admin, tree.is_guest = tree.is_admin and same, tree.is_guest and same
        if not same and tree.share.force_group_of_members:
            tree.share = replace(tree.share, force_gid=None)
        if tree.volume is not None:
            rights = rights_on_share(identity, tree.share, tree.is_admin, tree.is_guest)
            rights = replace(rights, address=request.connection.transport.peer)
            volume = request.server.files.volume(tree.share, rights, tree.read_only)
            tree.volume.close()
            tree.volume = volume


def _rights(identity: Identity) -> tuple[str, int, int, tuple[int, ...], bool, bool, tuple[Sid, ...]]:
    return (
        identity.account.lower(), identity.uid, identity.gid, identity.groups, identity.is_guest, identity.is_anonymous,
        identity.sids,
    )  # fmt: skip


def _bind(request: Request, exchange: Exchange, identity: Identity) -> None:
    """Add this connection as a channel with its own signing key to the session. Raises STATUS_ACCESS_DENIED for another
    user (3.3.5.5.2)."""
    connection = request.connection
    session = exchange.session
    if connection in session.channels or session.state is not SessionState.VALID:
        raise NtStatusError(STATUS_REQUEST_NOT_ACCEPTED, "the session has changed since the binding began")
    if len(session.channels) >= CHANNELS_MAX:
        raise NtStatusError(STATUS_INSUFFICIENT_RESOURCES)
    owner = session.identity
    if owner is None or identity.account.lower() != owner.account.lower() or identity.is_guest or identity.is_anonymous:
        raise NtStatusError(STATUS_ACCESS_DENIED, "a binding by another user")
    keys = request.server.security.derive_keys(
        session.dialect, identity.session_key, exchange.preauth_hash, connection.cipher
    )
    channel = Channel(connection, request.server.security.signer(connection.signing_algorithm, keys.signing))
    session.channels[connection] = channel
    connection.sessions[session.session_id] = session
    _raise_frame_limit(connection)
    request.sign_reply = True
