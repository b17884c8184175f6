# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes the password of a Unix account through PAM, in a process of its own that ends afterwards.

Only a password that is there is changed. An account gets none that has none (`*`), whose password is locked (`!`),
empty, not in the shadow database (a directory's), or too old for a log-in; nor does root. So no log-in becomes possible
that was not possible before.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from ksmbd import limits
from mountd.config import Configuration
from mountd.serviceprocess import environment
from mountd.unixusers import spellings

COMMAND: Final = (sys.executable, "-P", "-m", "mountd.unixpassword")
SERVICE: Final = "ksmbd"
SERVICE_ELSEWHERE: Final = "passwd"
"""The PAM services: ours where /etc/pam.d has it, else the one of passwd(1)."""
_FOLDERS: Final = ("/etc/pam.d", "/usr/lib/pam.d", "/usr/share/pam.d")
_PROMPTS_MAX: Final = 8
"""Questions of PAM that are answered; modules ask again where they do not like an answer."""
_DAY: Final = 86400
_HASH_LEAST: Final = 13
"""Bytes of a hash of crypt(3)."""


class Result(StrEnum):
    """What became of it."""

    CHANGED = "changed"
    LEFT = "left"
    """The account has no password that may be changed."""
    REFUSED = "refused"
    """PAM refuses the new password."""
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """What became of the password, and why not."""

    result: Result
    why: str = ""


def is_wanted(configuration: Configuration) -> bool:
    """Whether the Unix password is changed with a user's."""
    return configuration.settings.unix_password_sync and configuration.settings.pam_password_change


def problem(configuration: Configuration) -> str:
    """Why `unix password sync` cannot have its effect, or ''."""
    if not configuration.settings.unix_password_sync:
        return ""
    if not configuration.settings.pam_password_change:
        return "`unix password sync` has no effect: it needs `pam password change = yes`"
    if os.geteuid() != 0:
        return "`unix password sync`: passwords cannot be changed, because ksmbd.mountd does not run as root"
    return ""


def change(name: str, password: str) -> Outcome:
    """Change the password of the Unix account of a user. Waits for the process that does it; never raises."""
    try:
        process = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment(os.environ), cwd="/", process_group=0,
        )  # fmt: skip
        try:
            given = json.dumps([name, password]).encode()
            output, _ = process.communicate(given, limits.UNIX_PASSWORD_SECONDS.value)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # PAM's modules may have started others
            process.wait()
        result, why = json.loads(output)
        return Outcome(Result(result), str(why))
    except subprocess.TimeoutExpired as error:
        return Outcome(Result.FAILED, f"PAM has not answered in {error.timeout:g} s")
    except (OSError, ValueError) as error:
        return Outcome(Result.FAILED, f"the process that asks PAM has failed: {error}")


# ------------------------------------------------------------------------------------------------------ the process


class _Shadow(ctypes.Structure):
    """struct spwd (shadow.h)."""

    _fields_ = (
        ("name", ctypes.c_char_p), ("password", ctypes.c_char_p),
        *((name, ctypes.c_long) for name in ("changed", "least", "most", "warn", "inactive", "expires")),
        ("flag", ctypes.c_ulong),
    )  # fmt: skip


@dataclass(frozen=True)
class Shadow:
    """An entry of the shadow database: the password's hash; day of its last change, days that it counts and days after
    which it cannot be used any more (-1: not limited)."""

    password: bytes
    changed: int = -1
    most: int = -1
    inactive: int = -1


def shadow_entry(name: str) -> Shadow | None:
    """The entry of an account; None: there is none."""
    look = ctypes.CDLL(None).getspnam
    look.restype = ctypes.POINTER(_Shadow)
    found = look(name.encode())
    if not found:
        return None
    entry = found.contents
    return Shadow(entry.password or b"", entry.changed, entry.most, entry.inactive)


def why_left(uid: int, entry: Shadow | None, today: int) -> str:
    """Why the password of an account is left alone, or ''. `today`: days since 1970."""
    if uid == 0:
        return "root's Unix password is not changed"
    if entry is None:
        return "the account has no entry in the shadow database"
    if len(entry.password) < _HASH_LEAST or entry.password[:1] in (b"!", b"*"):
        return "the account has no Unix password, or it is locked"
    limited = entry.changed > 0 and entry.most >= 0 and entry.inactive >= 0  # changed on day 0: it must be changed
    if limited and today > entry.changed + entry.most + entry.inactive:
        return "the Unix password has expired for good"
    return ""


def perform(name: str, password: str) -> Outcome:
    """Change the password, in this process. Raises OSError where libpam is missing."""
    for spelling in spellings(name):
        try:
            account = pwd.getpwnam(spelling)
            break
        except (KeyError, ValueError):
            continue
    else:
        return Outcome(Result.LEFT, "there is no such Unix account")
    why = why_left(account.pw_uid, shadow_entry(account.pw_name), int(time.time()) // _DAY)
    if why:
        return Outcome(Result.LEFT, why)
    service = SERVICE if any(Path(folder, SERVICE).exists() for folder in _FOLDERS) else SERVICE_ELSEWHERE
    return Pam().change(service, account.pw_name, password)


class _Message(ctypes.Structure):
    """struct pam_message."""

    _fields_ = (("style", ctypes.c_int), ("text", ctypes.c_char_p))


class _Response(ctypes.Structure):
    """struct pam_response."""

    _fields_ = (("text", ctypes.c_void_p), ("code", ctypes.c_int))


_CONVERSE: Final = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.POINTER(_Message)),
    ctypes.POINTER(ctypes.POINTER(_Response)), ctypes.c_void_p,
)  # fmt: skip


class _Conversation(ctypes.Structure):
    """struct pam_conv."""

    _fields_ = (("converse", _CONVERSE), ("data", ctypes.c_void_p))


_PROMPT_ECHO_OFF, _PROMPT_ECHO_ON, _ERROR_MSG = 1, 2, 3
_PAM_SUCCESS, _PAM_CONV_ERR = 0, 19
_WEAK: Final = (11, 20)
"""PAM_MAXTRIES and PAM_AUTHTOK_ERR: the password is refused."""


class Pam:
    """libpam (pam(3))."""

    def __init__(self) -> None:
        """Raises OSError where there is no libpam."""
        self._pam = ctypes.CDLL("libpam.so.0")
        self._libc = ctypes.CDLL(None)
        self._libc.calloc.restype = ctypes.c_void_p
        self._libc.strdup.restype = ctypes.c_void_p
        self._pam.pam_strerror.restype = ctypes.c_char_p

    def change(self, service: str, name: str, password: str) -> Outcome:
        """Let the modules of a service change a password, with the rights of this process."""
        said: list[str] = []
        conversation = _Conversation(self._converse(password.encode(), said), None)
        handle = ctypes.c_void_p()
        code = self._pam.pam_start(service.encode(), name.encode(), ctypes.byref(conversation), ctypes.byref(handle))
        if code != _PAM_SUCCESS:
            return Outcome(Result.FAILED, f"pam_start: {code}")
        code = self._pam.pam_chauthtok(handle, 0)
        why = "; ".join(said[:3]) or (self._pam.pam_strerror(handle, code) or b"").decode("utf-8", "replace")
        self._pam.pam_end(handle, code)
        why = "".join(character if character.isprintable() else " " for character in why)
        if code == _PAM_SUCCESS:
            return Outcome(Result.CHANGED)
        return Outcome(Result.REFUSED if code in _WEAK else Result.FAILED, why[:200])

    def _converse(self, password: bytes, said: list[str]) -> Any:  # noqa: ANN401  a ctypes callback
        asked = 0

        def converse(count: int, messages: Any, responses: Any, data: Any) -> int:  # noqa: ANN401  pointers
            nonlocal asked
            answers = self._libc.calloc(count, ctypes.sizeof(_Response))
            if not answers:
                return _PAM_CONV_ERR
            responses[0] = ctypes.cast(answers, ctypes.POINTER(_Response))
            for index in range(count):
                message = messages[index].contents
                if message.style in (_PROMPT_ECHO_OFF, _PROMPT_ECHO_ON):
                    asked += 1
                    responses[0][index].text = self._libc.strdup(password if asked <= _PROMPTS_MAX else b"")
                elif message.style == _ERROR_MSG:
                    said.append((message.text or b"").decode("utf-8", "replace"))
            return _PAM_SUCCESS if asked <= _PROMPTS_MAX else _PAM_CONV_ERR

        return _CONVERSE(converse)


def main() -> int:
    """The process: reads name and password as JSON, and prints what became of it."""
    os.umask(0o077)
    name, password = json.loads(sys.stdin.buffer.read())
    try:
        outcome = perform(name, password)
    except (OSError, ValueError) as error:
        outcome = Outcome(Result.FAILED, str(error))
    print(json.dumps([outcome.result, outcome.why]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
