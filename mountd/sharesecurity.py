# SPDX-License-Identifier: GPL-2.0-or-later
"""The security descriptors of shares (MS-SRVS 3.1.1.1, Share.FileSecurity): which rights a tree connect grants to whom.

They restrict what the lists of ksmbd.conf allow, and grant nothing by themselves. A share without one grants all to
everybody. As with Samba's share_info.tdb, a descriptor stays with the name of its share when the share's section is
edited by hand, and goes with a share that is deleted over RPC.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import replace
from typing import Any, Final, Protocol

from ksmbd.ipc.constants import TreeFlag, TreeStatus
from ksmbd.smb.acl import ACCESS_ALLOWED, Ace, Acl
from ksmbd.smb.constants import (
    DACL_SECURITY_INFORMATION,
    FILE_ALL_ACCESS,
    FILE_READ_DATA,
    FILE_WRITE_DATA,
    GROUP_SECURITY_INFORMATION,
    OWNER_SECURITY_INFORMATION,
)
from ksmbd.smb.security_descriptor import (
    SE_DACL_PRESENT,
    SE_SELF_RELATIVE,
    SecurityDescriptor,
    Token,
    maximal_access,
    parse_security_descriptor,
)
from ksmbd.smb.session_token import Standing, session_token
from ksmbd.smb.sid import EVERYONE
from ksmbd.smb.status import NtStatusError, WireError
from ksmbd.smb.unix_sids import domain_sid, group_sid, user_sid
from mountd.config import Configuration, ShareSettings, share_key
from mountd.files import FileProblem
from mountd.files import replace as replace_file
from mountd.sharing import TreeAnswer, TreeRequest
from mountd.unixusers import UnixUsers, guest

FILE: Final = "share_info.json"
"""Its name in the state directory: an object of share names in lower case -> descriptors in base64."""
DESCRIPTOR_MAX: Final = 16 << 10
"""Bytes of one descriptor."""
_PARTS: Final = OWNER_SECURITY_INFORMATION | GROUP_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION

EVERYBODY: Final = SecurityDescriptor(
    SE_DACL_PRESENT | SE_SELF_RELATIVE, dacl=Acl((Ace(ACCESS_ALLOWED, 0, FILE_ALL_ACCESS, EVERYONE),))
).encode()
"""The descriptor of a share that has none: full control for Everyone."""


class ServerView(Protocol):
    """The parts of the daemon that say who a user is."""

    @property
    def configuration(self) -> Configuration: ...
    @property
    def users(self) -> UnixUsers: ...
    @property
    def sub_authorities(self) -> tuple[int, int, int]: ...


class ShareSecurity:
    """The stored descriptors, by share."""

    def __init__(self, path: str = "") -> None:
        """`path` is the file, '' for none: they are kept in memory. Raises FileProblem where it cannot be used: to pass
        over descriptors would let in whom they keep out."""
        self._path = path
        self._stored: dict[str, SecurityDescriptor] = _load(path) if path else {}
        self.version = 0
        """Changes with every change."""

    def descriptor(self, share: str) -> SecurityDescriptor | None:
        """The descriptor of a share; None: it has none."""
        return self._stored.get(share_key(share))

    def encoded(self, share: str) -> bytes:
        """The descriptor of a share, or that of a share which has none."""
        found = self.descriptor(share)
        return EVERYBODY if found is None else found.encode()

    def set(self, share: str, data: bytes) -> None:
        """Store a descriptor without its SACL, and write the file. Raises ValueError where it is none or too long,
        OSError where the file cannot be written; nothing has changed then."""
        if len(data) > DESCRIPTOR_MAX:
            raise ValueError("too long")
        try:
            parsed = parse_security_descriptor(data)
            plain = parse_security_descriptor(parsed.encode(_PARTS))
        except (NtStatusError, WireError) as error:
            raise ValueError(str(error)) from None
        self._change({**self._stored, share_key(share): plain})

    def remove(self, share: str) -> None:
        """Forget the descriptor of a share. Raises OSError."""
        left = {key: value for key, value in self._stored.items() if key != share_key(share)}
        if len(left) != len(self._stored):
            self._change(left)

    def _change(self, stored: dict[str, SecurityDescriptor]) -> None:
        if self._path:
            os.makedirs(os.path.dirname(self._path), mode=0o755, exist_ok=True)
            texts = {key: base64.b64encode(value.encode()).decode("ascii") for key, value in sorted(stored.items())}
            replace_file(self._path, (json.dumps(texts, indent=1) + "\n").encode(), mode=0o600)
        self._stored = stored
        self.version += 1


def _load(path: str) -> dict[str, SecurityDescriptor]:
    try:
        with open(path, "rb") as stream:
            raw: Any = json.loads(stream.read())
        if not isinstance(raw, dict):
            raise ValueError("no object")
        return {
            share_key(key): parse_security_descriptor(base64.b64decode(text, validate=True))
            for key, text in raw.items()
        }
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise FileProblem(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, NtStatusError, WireError):
        raise FileProblem(f"{path}: no security descriptors of shares; without the file they have none") from None


# --------------------------------------------------------------------------------------------------- tree connects


def obeyed(answer: TreeAnswer, request: TreeRequest, server: ServerView, security: ShareSecurity) -> TreeAnswer:
    """What the descriptor of a share leaves of an answer that allows the tree connect."""
    share = server.configuration.share(request.share)
    if answer.status is not TreeStatus.OK or share is None or share.is_ipc:
        return answer
    descriptor = security.descriptor(share.name)
    if descriptor is None:
        return answer
    is_guest = bool(answer.flags & TreeFlag.GUEST_ACCOUNT)
    is_admin = bool(answer.flags & TreeFlag.ADMIN_ACCOUNT)
    granted = maximal_access(descriptor, _token(request.account, share, server, is_guest, is_admin))
    if not granted & (FILE_READ_DATA | FILE_WRITE_DATA):
        return TreeAnswer(TreeStatus.INVALID_USER, why="the security descriptor of the share")
    flags = answer.flags
    if not granted & FILE_WRITE_DATA:
        flags = flags & ~TreeFlag.WRITABLE | TreeFlag.READ_ONLY
    return replace(answer, flags=flags, withheld=FILE_ALL_ACCESS & ~granted)


def may_read(
    descriptor: SecurityDescriptor, account: str, share: ShareSettings, server: ServerView, is_guest: bool
) -> bool:
    """Whether the descriptor of a share lets a user read."""
    return bool(maximal_access(descriptor, _token(account, share, server, is_guest, False)) & FILE_READ_DATA)


def _token(account: str, share: ShareSettings, server: ServerView, is_guest: bool, is_admin: bool) -> Token:
    """The token of a user, before `force user`; a guest's is that of the share's guest account."""
    unix = None if is_guest else server.users.user(account)
    if unix is None:
        unix = guest(server.users, share.guest_account or server.configuration.settings.guest_account)
    domain = domain_sid(server.sub_authorities)
    groups = {group_sid(gid) for gid in (unix.gid, *unix.groups)}
    if is_guest:
        standing = Standing.GUEST if account else Standing.ANONYMOUS
    else:
        standing = Standing.ADMINISTRATOR if is_admin else Standing.USER
    return session_token(user_sid(domain, unix.uid), unix.uid, groups, standing)
