# SPDX-License-Identifier: GPL-2.0-or-later
"""Adds, changes and deletes shares for administrators over RPC (MS-SRVS 3.1.4.7, 3.1.4.11, 3.1.4.12): in ksmbd.conf, by
the code of ksmbd.addshare, and at once for those who are connected.

What the file cannot hold or must not, is refused: nothing is written to an smb.conf, and a share that the file itself
does not have, because another file has it, is not changed.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from ksmbd import log
from mountd.config import Configuration, is_smb_conf, share_key, share_name_problem
from mountd.files import FileProblem
from mountd.parameters import CAP
from mountd.rpc.service import Win32
from mountd.sharefile import ShareProblem, Why, change
from mountd.sharesecurity import ShareSecurity

Then = Callable[[int], None]
UNLIMITED_USES: Final = 0xFFFFFFFF
"""shi2_max_uses where the share has no limit (MS-SRVS 2.2.4.24)."""
_CODES: Final = {
    Why.UNREADABLE: Win32.WRITE_PROTECT, Why.THERE: Win32.NERR_DUPLICATE_SHARE,
    Why.MISSING: Win32.NOT_SUPPORTED, Why.NO_FOLDER: Win32.NERR_UNKNOWN_DEV_DIR, Why.INVALID: Win32.INVALID_PARAMETER,
}  # fmt: skip


class ServerView(Protocol):
    """The parts of the daemon that know the shares."""

    @property
    def configuration(self) -> Configuration: ...
    @property
    def share_security(self) -> ShareSecurity: ...


class Refused(Exception):
    """An act is refused, with this code."""

    def __init__(self, code: Win32, why: str) -> None:
        super().__init__(why)
        self.code = code


class ShareActs:
    """The acts on shares."""

    def __init__(
        self,
        server: ServerView,
        reload: Callable[[], bool],
        applied: Callable[[Callable[[Counter[str], list[int]], None]], None],
    ) -> None:
        """`reload` reads the file again and says whether it is in use. `applied` calls its argument once the workers
        use it."""
        self._server = server
        self._reload = reload
        self._applied = applied

    def act(self, what: Mapping[str, Any], account: str, then: Then) -> None:
        """Do one act, and call `then` with 0 or a Win32 error code. Raises ValueError where it is none."""
        acts = {"add share": self._add, "set share": self._set, "delete share": self._delete}
        act = acts.get(what.get("do", ""))
        if act is None:
            raise ValueError(f"an act {what.get('do')!r}")
        name = text_of(what, "name")
        try:
            done = act(name, what)
        except Refused as refusal:
            log.peer(f"{what['do']} [{name}] over RPC by {account!r}: refused: {refusal}")
            then(int(refusal.code))
            return
        log.info(f"[{name}] {done} over RPC by {account!r}")
        if not self._reload():
            then(int(Win32.GEN_FAILURE))
            return
        self._applied(lambda closed, silent: then(0))

    # -------------------------------------------------------------------------------------------------------- acts

    def _add(self, name: str, what: Mapping[str, Any]) -> str:
        problem = share_name_problem(name)
        if problem or share_key(name) == "global":
            raise Refused(Win32.INVALID_NAME, problem or "[global] is no share")
        if self._server.configuration.share(name) is not None:
            raise Refused(Win32.NERR_DUPLICATE_SHARE, "there is such a share")
        options = {
            "path": _folder(text_of(what, "path")), "comment": _comment(what.get("comment", "")), "read only": "no",
            **_max_uses(what),
        }  # fmt: skip
        security = _security(what)
        self._store_security(name, security)  # before anybody can connect to it
        try:
            self._change(name, "add", options)
        except Refused:
            self._store_security(name, None)
            raise
        return "added"

    def _set(self, name: str, what: Mapping[str, Any]) -> str:
        share = self._server.configuration.share(name)
        if share is None:
            raise Refused(Win32.NERR_NET_NAME_NOT_FOUND, "no such share")
        options = _max_uses(what)
        if "comment" in what:
            options["comment"] = _comment(what["comment"])
        security = _security(what)
        if share.is_ipc and (security is not None or options):
            raise Refused(Win32.ACCESS_DENIED, "IPC$ stays as it is")
        if options and (options.get("comment", share.comment), _uses(options, share.max_connections)) != (
            share.comment, share.max_connections,
        ):  # fmt: skip
            self._change(share.name, "update", options)
        if security is not None:
            self._store_security(share.name, security)
        return "changed"

    def _delete(self, name: str, what: Mapping[str, Any]) -> str:
        share = self._server.configuration.share(name)
        if share is None:
            raise Refused(Win32.NERR_NET_NAME_NOT_FOUND, "no such share")
        if share.is_ipc:
            raise Refused(Win32.ACCESS_DENIED, "IPC$ stays")
        self._change(share.name, "delete", {})
        self._store_security(share.name, None)
        return "deleted"

    def _change(self, name: str, action: str, options: Mapping[str, str]) -> None:
        path = self._server.configuration.path
        if is_smb_conf(path):
            raise Refused(Win32.WRITE_PROTECT, f"{path} is Samba's and is not written")
        try:
            change(path, name, action, options, wait=False)
        except ShareProblem as problem:
            raise Refused(_CODES[problem.why], str(problem)) from None
        except BlockingIOError:
            raise Refused(Win32.BUSY, f"{path}: another program is changing it") from None
        except OSError as error:
            raise Refused(Win32.WRITE_PROTECT, f"{path}: cannot be written: {error.strerror}") from None

    def _store_security(self, name: str, data: bytes | None) -> None:
        try:
            if data is None:
                self._server.share_security.remove(name)
            else:
                self._server.share_security.set(name, data)
        except ValueError as error:
            raise Refused(Win32.INVALID_SECURITY_DESCR, f"the security descriptor: {error}") from None
        except (OSError, FileProblem) as error:
            raise Refused(Win32.WRITE_PROTECT, f"the security descriptors cannot be written: {error}") from None


# --------------------------------------------------------------------------------------------------------- values


def text_of(what: Mapping[str, Any], name: str) -> str:
    """A text of an act. Raises ValueError where it has none."""
    value = what.get(name)
    if not isinstance(value, str):
        raise ValueError(f"an act without {name}")
    return value


def _folder(path: str) -> str:
    """The folder that a client names as on Windows: the root file system is C:. Raises Refused where there is none."""
    path = path.replace("\\", "/")
    if path[:2].upper() == "C:":
        path = path[2:]
    plain = path.startswith("/") and ".." not in path.split("/") and not any(c in path for c in ";#\n\r\0")
    if not plain or path != path.strip():
        raise Refused(Win32.NERR_UNKNOWN_DEV_DIR, f"{path!r} cannot be a share's folder")
    folder = os.path.normpath(path)
    try:
        there = stat.S_ISDIR(os.stat(folder).st_mode)
    except (OSError, ValueError):
        there = False
    if not there:
        raise Refused(Win32.NERR_UNKNOWN_DEV_DIR, f"{folder} is no folder")
    return folder


def _comment(text: Any) -> str:  # noqa: ANN401  what JSON gives
    if not isinstance(text, str):
        raise ValueError("a comment is a text")
    if any(ord(c) < 0x20 or c in ";#" or 0xD800 <= ord(c) < 0xE000 for c in text) or text != text.strip():
        raise Refused(Win32.INVALID_PARAMETER, f"a comment that ksmbd.conf cannot hold: {text!r}")
    return text


def _max_uses(what: Mapping[str, Any]) -> dict[str, str]:
    value = what.get("max uses")
    if value is None:
        return {}
    if not isinstance(value, int) or value < 0:
        raise ValueError("max uses is a number")
    return {"max connections": "0" if value == UNLIMITED_USES else str(value)}


def _uses(options: Mapping[str, str], now: int) -> int:
    """The number that `max connections` says, of which 0 is the maximum; `now` where it says nothing."""
    return int(options.get("max connections", now)) or CAP


def _security(what: Mapping[str, Any]) -> bytes | None:
    value = what.get("security")
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("a descriptor is a text")
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        raise ValueError("a descriptor in base64") from None
