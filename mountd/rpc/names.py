# SPDX-License-Identifier: GPL-2.0-or-later
"""What an operation needs of mountd: names of Unix accounts and groups, who is connected, and an administrator's acts.

The process of the RPC services may open no file, so it cannot look up a name itself, and it has no way to the engine.
An operation that lacks an answer raises Unanswered. mountd answers, and the operation runs again, from its beginning,
with what was found. An act is done once, because its outcome stays among the answers until the operation has ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from ksmbd import limits
from ksmbd.smb.status import STATUS_ACCESS_DENIED, STATUS_WRONG_PASSWORD
from mountd.rpc.rows import ROW_KINDS, FileInfo, RowInfo, SessionInfo, TreeInfo

USER, GROUP, UID, GID, ACCOUNTS, MEMBER, FORMER = "user", "group", "uid", "gid", "accounts", "member", "former"
ROWS, ACT, LOGON, TICKET, PASSWORD, DFS = "rows", "act", "logon", "ticket", "password", "dfs"
ALONE: Final = (ROWS, ACT, LOGON, TICKET, PASSWORD, DFS)
"""Questions that come alone: two of administrators, two of each user who logs on inside an association, one who changes
a password, and one who asks for the links of a DFS root."""
KINDS: Final = (USER, GROUP, UID, GID, ACCOUNTS, MEMBER, FORMER, *ALONE)
NONE_NAME: Final = "None"
"""The group of all users of the server."""
NAME_MAX: Final = 256
"""Characters of a name that is looked up; a longer one is not known."""
ACT_MAX: Final = 24 << 10
"""Bytes of an act at most: what fits into an answer of the process (mountd.rpc.frames.ANSWER_MAX)."""
TICKET_MAX: Final = 16 << 10
"""Bytes of a Kerberos token at most: what fits into ACT_MAX in base64."""
_ID_MAX: Final = 0xFFFFFFFF
_LONG: Final = (ACT, LOGON, TICKET, PASSWORD, DFS)
"""Questions with JSON or a path as their value."""


class Question(NamedTuple):
    """What is looked up: a user or group by name, by uid or gid in decimal, by the SID on a former server; all accounts
    of the server or the one that has a uid; the rows of a kind; what becomes of an act; whether a log-on by NTLM or a
    ticket is right; or what becomes of a change of a password. The last four are JSON. Or the links of a DFS root, or
    one of them by its path, whose components are separated by backslashes."""

    kind: str
    value: str = ""


class UnixAccount(NamedTuple):
    """One Unix account."""

    name: str
    uid: int
    gid: int
    full_name: str = ""
    home: str = ""


class UnixGroup(NamedTuple):
    """One Unix group."""

    name: str
    gid: int


class Rows(NamedTuple):
    """Who is connected, or what is open, by id."""

    rows: tuple[RowInfo, ...]


class Outcome(NamedTuple):
    """What became of an act: 0, or the Win32 error code; of a change of a password: its NTSTATUS."""

    code: int


class DfsLink(NamedTuple):
    """A link of DFS: its name, and its targets (`\\server\\share`)."""

    name: str
    targets: tuple[str, ...]


class Links(NamedTuple):
    """Links of a DFS root."""

    links: tuple[DfsLink, ...]


class PasswordChange(NamedTuple):
    """A user's change of a password: the new one, encrypted with the old one's NT hash, and that hash, encrypted with
    the new one's (MS-SAMR 3.1.5.10.3); or a Cipher and its AuthData (MS-SAMR 3.1.5.10.4)."""

    user: str
    new: bytes
    proof: bytes
    salt: bytes = b""
    iterations: int = 0
    """Of PBKDF2; 0: MS-SAMR 3.1.5.10.3."""


class Admitted(NamedTuple):
    """Who has logged on inside an association, with the key of it in hexadecimal digits, and as whom its calls run."""

    account: str
    key: str
    level: int
    hidden: tuple[str, ...]
    home: str = ""
    """The share of the user's own home (mountd.rpc.facts.encode_share)."""


class Ticket(NamedTuple):
    """A step of a log-on with Kerberos. Without `admitted`, another token of the client is to come, for the context
    `number`. `keys` are the fields of ksmbd.auth.krb5_sealing.MessageKeys; the key and the server's `token` are in
    hexadecimal digits. `seconds`: how long the ticket is good."""

    token: str
    number: int = 0
    admitted: Admitted | None = None
    keys: tuple[int, str, bool, int, int] = (0, "", False, 0, 0)
    seconds: int = 0


Found = UnixAccount | UnixGroup | tuple[UnixAccount, ...] | Rows | Outcome | Admitted | Ticket | Links | None
"""The answer to a question; None: there is no such user or group, or nobody could answer."""


class Unanswered(Exception):
    """An operation needs the answers to these questions."""

    def __init__(self, questions: Iterable[Question]) -> None:
        self.questions = tuple(questions)
        super().__init__(f"{len(self.questions)} questions")


class Names:
    """The answers that an operation has. Each method raises Unanswered where one is missing."""

    def __init__(self) -> None:
        self._found: dict[Question, Found] = {}

    def add(self, found: Mapping[Question, Found]) -> None:
        """Take answers."""
        self._found.update(found)

    def clear(self) -> None:
        """Forget all answers: the next operation asks anew."""
        self._found.clear()

    def want(self, questions: Iterable[Question]) -> None:
        """Raise Unanswered with those of the questions that have no answer, so that they are asked together."""
        missing = dict.fromkeys(question for question in questions if question not in self._found)
        if missing:
            raise Unanswered(missing)

    def _answer(self, question: Question) -> Found:
        self.want((question,))
        return self._found[question]

    def account(self, question: Question) -> UnixAccount | None:
        """The answer to a question of kind USER, UID, MEMBER or FORMER."""
        found = self._answer(question)
        return found if isinstance(found, UnixAccount) else None

    def group(self, question: Question) -> UnixGroup | None:
        """The answer to a question of kind GROUP, GID or FORMER."""
        found = self._answer(question)
        return found if isinstance(found, UnixGroup) else None

    def accounts(self) -> tuple[UnixAccount, ...]:
        """The server's accounts that have a Unix account, by uid."""
        found = self._answer(Question(ACCOUNTS))
        if found is None or isinstance(found, (UnixAccount, UnixGroup, Rows, Outcome, Admitted, Ticket, Links)):
            return ()
        return found

    def links(self, path: str) -> tuple[DfsLink, ...]:
        """The links of a DFS root by the share's name, or the one that a path below it leads to; none where the caller
        may not see them."""
        if len(json.dumps(path)) > ACT_MAX:
            return ()
        found = self._answer(Question(DFS, path))
        return found.links if isinstance(found, Links) else ()

    def sessions(self) -> list[SessionInfo]:
        """The sessions."""
        return [row for row in self._rows("sessions") if isinstance(row, SessionInfo)]

    def tree_connects(self) -> list[TreeInfo]:
        """The tree connects."""
        return [row for row in self._rows("tree_connects") if isinstance(row, TreeInfo)]

    def files(self) -> list[FileInfo]:
        """The opens."""
        return [row for row in self._rows("files") if isinstance(row, FileInfo)]

    def _rows(self, kind: str) -> tuple[RowInfo, ...]:
        found = self._answer(Question(ROWS, kind))
        return found.rows if isinstance(found, Rows) else ()

    def act(self, what: Mapping[str, object]) -> int | None:
        """Let mountd do something, once. Returns 0 or a Win32 error code; None: it could not be asked."""
        text = json.dumps(what, separators=(",", ":"))
        if len(json.dumps(text)) > ACT_MAX:
            return None
        found = self._answer(Question(ACT, text))
        return found.code if isinstance(found, Outcome) else None

    def change_password(self, change: PasswordChange) -> int:
        """Let mountd change a password, once. Returns the NTSTATUS."""
        parts = [part.hex() if isinstance(part, bytes) else part for part in change]
        text = json.dumps(parts, separators=(",", ":"))
        if len(change.user) > NAME_MAX:
            return STATUS_WRONG_PASSWORD
        found = self._answer(Question(PASSWORD, text))
        return found.code if isinstance(found, Outcome) else STATUS_ACCESS_DENIED


# ------------------------------------------------------------------------------------------------------ the stream


def encode_questions(questions: Iterable[Question], size: int) -> bytes:
    """As many of the questions, at least one, as `size` bytes hold; the operation asks for the others later."""
    parts: list[str] = []
    length = 2
    for question in questions:
        part = json.dumps(question, separators=(",", ":"))
        length += len(part) + 1
        if parts and length > size:
            break
        parts.append(part)
    return f"[{','.join(parts)}]".encode("ascii")


def decode_questions(data: bytes) -> list[Question]:
    """The questions of the RPC process, which is not trusted. Raises ValueError where they are malformed or too
    many."""
    try:
        raw: Any = json.loads(data)
    except RecursionError:
        raise ValueError("questions nested too deeply") from None
    if not isinstance(raw, list) or not 0 < len(raw) <= limits.RPC_NAMES.value:
        raise ValueError("no questions, or too many")
    return [_checked(entry) for entry in raw]


def _checked(raw: Any) -> Question:  # noqa: ANN401  what JSON gives
    if not isinstance(raw, list) or len(raw) != 2 or not all(isinstance(part, str) for part in raw):
        raise ValueError("a question is a kind and a value")
    question = Question(*raw)
    if question.kind not in KINDS or len(question.value) > (ACT_MAX if question.kind in _LONG else NAME_MAX):
        raise ValueError(f"a question of kind {question.kind[:20]!r}")
    if question.kind in (UID, GID, MEMBER) and not (question.value.isdecimal() and int(question.value) <= _ID_MAX):
        raise ValueError("no uid or gid")
    if question.kind == ROWS and question.value not in ROW_KINDS:
        raise ValueError("rows of another kind")
    return question


def encode_found(found: Mapping[Question, Found]) -> bytes:
    """The answers, for the RPC process."""
    return json.dumps([[question, answer] for question, answer in found.items()], separators=(",", ":")).encode("ascii")


def decode_found(data: bytes) -> dict[Question, Found]:
    """Decode the result of `encode_found`. It comes from mountd, so it is not checked."""
    return {Question(*asked): _found(Question(*asked), answer) for asked, answer in json.loads(data)}


def _found(question: Question, raw: Any) -> Found:  # noqa: ANN401  what JSON gives
    kind, value = question
    if raw is None:
        return None
    if kind == ROWS:
        return Rows(tuple(ROW_KINDS[value](*row) for row in raw[0]))
    if kind in (ACT, PASSWORD):
        return Outcome(*raw)
    if kind == LOGON:
        return _admitted(raw)
    if kind == TICKET:
        token, number, admitted, keys, seconds = raw
        enctype, key, by_acceptor, sent, received = keys
        who = None if admitted is None else _admitted(admitted)
        return Ticket(token, number, who, (enctype, key, by_acceptor, sent, received), seconds)
    if kind == DFS:
        return Links(tuple(DfsLink(name, tuple(targets)) for name, targets in raw[0]))
    if kind == ACCOUNTS:
        return tuple(UnixAccount(*entry) for entry in raw)
    if kind == FORMER and len(raw) == len(UnixGroup._fields):
        return UnixGroup(*raw)
    return UnixAccount(*raw) if kind in (USER, UID, MEMBER, FORMER) else UnixGroup(*raw)


def _admitted(raw: Any) -> Admitted:  # noqa: ANN401  what JSON gives
    account, key, level, hidden, home = raw
    return Admitted(account, key, level, tuple(hidden), home)
