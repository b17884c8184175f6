# SPDX-License-Identifier: GPL-2.0-or-later
"""Shares with access control lists: what the server grants for random descriptors and tokens, beside Samba's check.

A draw is a folder and a file in it, each perhaps with a descriptor in security.NTACL (written by us or by Samba, in
each of its layouts), and some opens of the file by a user. The Unix permissions allow everything, so that the
descriptors decide. What is expected is put together of Samba's answers; where the server differs on purpose there is a
name for it in RULES.
"""
from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import Any, Final

from draws import GIDS, UIDS, User
from ours import NowClock

from ksmbd.kernel import credentials, descriptors
from ksmbd.kernel.stat import stat_fd
from ksmbd.process import privileges
from ksmbd.smb import constants as c
from ksmbd.smb.acl import Ace, Acl, map_generic
from ksmbd.smb.ports import CreateIntent, Identity, ShareConfig
from ksmbd.smb.security_descriptor import (
    SE_DACL_PRESENT,
    SE_SELF_RELATIVE,
    Privilege,
    SecurityDescriptor,
    Token,
    check_access,
    parse_security_descriptor,
)
from ksmbd.smb.sid import (
    AUTHENTICATED_USERS,
    BUILTIN_ADMINISTRATORS,
    BUILTIN_GUESTS,
    BUILTIN_USERS,
    CREATOR_OWNER,
    EVERYONE,
    NETWORK,
    OWNER_RIGHTS,
    PRINCIPAL_SELF,
    UNIX_GROUPS,
    UNIX_USERS,
    Sid,
)
from ksmbd.smb.status import NtStatusError
from ksmbd.vfs import ntacl, posix_acl
from ksmbd.vfs.files import LocalFiles
from ksmbd.vfs.idmap import IdMap
from ksmbd.vfs.options import VfsSettings

RULES: Final[dict[str, str]] = {
    "administrators": "`admin users` act as root: nothing is refused to them, as in Samba's smbd above its check.",
    "SYNCHRONIZE": "Everybody may wait (as Samba's smbd grants it).",
    "DELETE_CHILD": "DELETE is also had by the folder's FILE_DELETE_CHILD (MS-FSA 2.1.5.1.2.1); what Unix asks of the "
    "folder stays.",
    "LIST_DIRECTORY": "FILE_READ_ATTRIBUTES is also had by the folder's FILE_LIST_DIRECTORY (MS-FSA 2.1.5.1.2.1).",
    "generic rights": "Generic bits of entries are mapped when they are read; smbd maps them when they are stored.",
    "NULL DACL": "No DACL, present or absent, allows everything, MAXIMUM_ALLOWED too, but ACCESS_SYSTEM_SECURITY "
    "(MS-DTYP "
    "2.5.3.2). Samba's check refuses all without the present bit, gives MAXIMUM_ALLOWED nothing, and asks for no "
    "privilege.",
    "object entries": "A file has no object tree: an object entry without ObjectType is as a plain one, one with it "
    "concerns no file (MS-DTYP 2.5.3.2). Samba lets no object entry allow, and all of them deny.",
    "unknown entries": "An entry of a type that is not known is passed over; Samba takes one for OWNER RIGHTS by "
    "its SID.",
    "conditions": "A conditional entry cannot be evaluated here: it never allows and always denies (MS-DTYP "
    "2.4.4.17.3). Samba passes over it.",
    "privileges in MAXIMUM_ALLOWED": "WRITE_OWNER by SeTakeOwnershipPrivilege is in it (MS-DTYP 2.5.3.2); not in "
    "Samba.",
}
"""name -> reason and section."""

ALLOW, DENY, ALLOW_OBJECT, DENY_OBJECT, ALLOW_IF, DENY_IF, DENY_OBJECT_IF = 0, 1, 5, 6, 9, 10, 12
IDMAP = IdMap((1, 2, 3))
RIGHTS = [1 << bit for bit in (*range(9), *range(16, 21))]
MASKS = (
    c.FILE_ALL_ACCESS, c.FILE_GENERIC_READ, c.FILE_GENERIC_WRITE, c.FILE_GENERIC_EXECUTE, c.DELETE, c.WRITE_DAC,
    c.READ_CONTROL | c.FILE_READ_ATTRIBUTES, c.FILE_DELETE_CHILD, c.GENERIC_ALL, c.GENERIC_READ, c.GENERIC_WRITE,
)  # fmt: skip


@dataclass
class AclDraw:
    """One of them."""

    number: int
    user: User
    admin: bool
    file: SecurityDescriptor
    folder: SecurityDescriptor | None
    folder_mode: int
    version: int
    """Layout of security.NTACL as Samba writes it; 0: as we do."""
    desired: list[int]
    change: SecurityDescriptor
    """What the user sets in the end, as far as he is let."""
    information: int
    owner: tuple[int, int]
    """The file's on the disk."""
    privileges: list[str]
    """Of the token, where the check alone is compared."""

    def script(self) -> str:
        """Readable."""
        folder = self.folder.to_sddl() if self.folder else "none"
        return (
            f"draw {self.number}: as {self.user}{' (admin)' if self.admin else ''} {self.privileges}, layout "
    "{self.version}\n"
            f"  file of {self.owner} {self.file.to_sddl()}\n  folder {self.folder_mode:04o} {folder}\n"
            f"  then set {self.information}: {self.change.to_sddl()}"
        )


def _sid(r: Random, user: User) -> Sid:
    if r.random() < 0.4:
        mine = [UNIX_USERS.child(user.uid), IDMAP.user_sid(user.uid), *map(UNIX_GROUPS.child, [user.gid, *user.groups])]
        return r.choice([*mine, EVERYONE, AUTHENTICATED_USERS, BUILTIN_USERS])
    return r.choice((
        *map(UNIX_USERS.child, UIDS), *map(IDMAP.user_sid, UIDS), *map(UNIX_GROUPS.child, GIDS), EVERYONE, NETWORK,
        AUTHENTICATED_USERS, BUILTIN_USERS, BUILTIN_GUESTS, BUILTIN_ADMINISTRATORS, OWNER_RIGHTS, OWNER_RIGHTS,
        CREATOR_OWNER, PRINCIPAL_SELF, Sid(5, (21, 9, 9, 9, 1000)),
    ))  # fmt: skip


def _mask(r: Random) -> int:
    if r.random() < 0.5:
        return r.choice(MASKS)
    mask = 0
    for _ in range(r.randint(1, 5)):
        mask |= r.choice(RIGHTS)
    return mask


def _ace(r: Random, user: User) -> Ace:
    kind = r.choice((ALLOW,) * 10 + (DENY,) * 6 + (ALLOW_OBJECT, DENY_OBJECT, ALLOW_IF, DENY_IF, DENY_OBJECT_IF, 77))
    flags = r.choice((0, 0, 0, 0x10, 0x03, 0x08, 0x0B, 0x04))
    mask, sid = _mask(r), _sid(r, user)
    if kind == 77:
        return Ace(kind, flags, 0, None, body=mask.to_bytes(4, "little") + sid.encode())
    guid = bytes(range(16)) if kind in (ALLOW_OBJECT, DENY_OBJECT, DENY_OBJECT_IF) and r.random() < 0.5 else b""
    return Ace(kind, flags, mask, sid, guid)


def _descriptor(r: Random, user: User) -> SecurityDescriptor:
    owner = r.choice((UNIX_USERS.child(user.uid), IDMAP.user_sid(user.uid), *map(UNIX_USERS.child, UIDS),
                      BUILTIN_ADMINISTRATORS, UNIX_GROUPS.child(user.gid)))  # fmt: skip
    group = UNIX_GROUPS.child(r.choice(GIDS))
    if r.random() < 0.05:
        return SecurityDescriptor(SE_SELF_RELATIVE | r.choice((0, SE_DACL_PRESENT)), owner, group, None)
    aces = tuple(_ace(r, user) for _ in range(r.choice((0, 1, 2, 3, 4, 5, 6))))
    return SecurityDescriptor(SE_SELF_RELATIVE | SE_DACL_PRESENT, owner, group, Acl(aces, 4))


def draw(number: int) -> AclDraw:
    """The draw of this number."""
    r = Random(number)
    gid, *groups = r.sample(GIDS, r.randint(1, 3))
    user = User(r.choice(UIDS), gid, groups)
    desired = [c.MAXIMUM_ALLOWED]
    for _ in range(8):
        mask = _mask(r) & ~0xF0000000 or c.FILE_READ_DATA
        desired.append(mask | r.choice((0, 0, 0, c.MAXIMUM_ALLOWED, c.ACCESS_SYSTEM_SECURITY)))
    names = [name for name in ("SECURITY", "TAKE_OWNERSHIP", "BACKUP", "RESTORE") if r.random() < 0.2]
    return AclDraw(
        number, user, r.random() < 0.05, _descriptor(r, user), _descriptor(r, user) if r.random() < 0.6 else None,
        r.choice((0o777, 0o777, 0o1777, 0o755, 0o733)), r.choice((0, 0, 1, 3, 4)), desired, _descriptor(r, user),
        r.choice((1, 2, 3, 4, 5, 6, 7)), (r.choice((0, *UIDS)), r.choice((0, *GIDS))), names,
    )  # fmt: skip


# -------------------------------------------------------------------------------------------------- Samba's answers


class Samba:
    """Debian's interpreter with python3-samba, as a child."""

    def __init__(self) -> None:
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "samba_check.py")
        self._child = subprocess.Popen(
            [INTERPRETER, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, questions: list[dict[str, Any]]) -> list[Any]:
        """The answers to questions as in samba_check.py."""
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(json.dumps(questions) + "\n")
        self._child.stdin.flush()
        answers: list[Any] = json.loads(self._child.stdout.readline())
        return answers

    def close(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait()


INTERPRETER = "/usr/bin/python3"


def missing() -> str:
    """Why Samba cannot be asked, '' where it can."""
    if not os.path.exists(INTERPRETER):
        return f"no {INTERPRETER}"
    call = [INTERPRETER, "-c", "import samba.security, samba.dcerpc.xattr"]
    return "" if subprocess.run(call, capture_output=True, check=False).returncode == 0 else "no python3-samba"


def for_samba(descriptor: SecurityDescriptor) -> SecurityDescriptor:
    """As Samba has to see it to mean what MS-DTYP says: the rules on entries."""
    if descriptor.dacl is None:
        return descriptor
    aces = []
    for ace in descriptor.dacl.aces:
        mask = map_generic(ace.mask)  # rule: generic rights
        kind = ace.type
        if ace.sid is None:  # rule: unknown entries
            continue
        if kind in (ALLOW_OBJECT, DENY_OBJECT, DENY_OBJECT_IF):  # rule: object entries
            if ace.object_type:
                mask = 0  # an entry for OWNER RIGHTS still takes away what an owner has by being it
            kind = ALLOW if kind == ALLOW_OBJECT else DENY
        if kind == DENY_IF:  # rule: conditions
            kind = DENY
        aces.append(Ace(kind, ace.flags, mask, ace.sid))
    return SecurityDescriptor(
        descriptor.control, descriptor.owner, descriptor.group, Acl(tuple(aces), descriptor.dacl.revision)
    )


class Asked:
    """Questions of one draw, with answers once they are there."""

    def __init__(self, token: Token, names: list[str]) -> None:
        self._sids = [str(token.user), *map(str, sorted(token.groups))]
        self._names = names
        self.questions: list[dict[str, Any]] = []
        self._places: dict[tuple[bytes, int], int] = {}
        self.answers: list[Any] = []

    def want(self, descriptor: SecurityDescriptor, desired: int) -> None:
        key = (for_samba(descriptor).encode(), desired)
        if key not in self._places:
            self._places[key] = len(self.questions)
            self.questions.append({"descriptor": key[0].hex(), "sids": self._sids, "privileges": self._names,
                                   "desired": desired})  # fmt: skip

    def allowed(self, descriptor: SecurityDescriptor, desired: int) -> bool:
        if not desired:
            return True
        if descriptor.dacl is None:
            return not desired & c.ACCESS_SYSTEM_SECURITY or "SECURITY" in self._names
        return isinstance(self.answers[self._places[for_samba(descriptor).encode(), desired]], int)

    def maximal(self, descriptor: SecurityDescriptor) -> int:
        if descriptor.dacl is None:
            return c.FILE_ALL_ACCESS  # rule: NULL DACL
        answer = self.answers[self._places[for_samba(descriptor).encode(), c.MAXIMUM_ALLOWED]]
        return answer & c.FILE_ALL_ACCESS if isinstance(answer, int) else 0


# ------------------------------------------------------------------------------------------------------ comparing


class AclServer:
    """The process that opens, with a worker's rights."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.files = LocalFiles(VfsSettings((1, 2, 3)), NowClock())
        descriptors.enter()

    def prepare(self, one: AclDraw, packed: dict[str, str]) -> None:
        """The folder and the file, as root: `packed` has what Samba made of their descriptors."""
        credentials.as_server()
        os.umask(0)
        root = f"{self.folder}/acl"
        os.makedirs(f"{root}/d", exist_ok=True)
        os.chmod(root, 0o777)
        with open(f"{root}/d/f", "w"):
            pass
        os.chown(f"{root}/d/f", *one.owner)
        for name in ("system.posix_acl_access", "security.NTACL"):
            if name in os.listxattr(f"{root}/d/f"):
                os.removexattr(f"{root}/d/f", name)
        os.chmod(f"{root}/d/f", 0o6777)
        os.chmod(f"{root}/d", one.folder_mode)
        for name, descriptor in (("d/f", one.file), ("d", one.folder)):
            path = f"{root}/{name}"
            if descriptor is None:
                if "security.NTACL" in os.listxattr(path):
                    os.removexattr(path, "security.NTACL")
                continue
            value = bytes.fromhex(packed[name]) if name in packed else self.ours(path, descriptor)
            os.setxattr(path, "security.NTACL", value)

    def ours(self, path: str, descriptor: SecurityDescriptor) -> bytes:
        return ntacl.encode(descriptor.encode(), self.blob(path), 1)

    def blob(self, path: str) -> bytes:
        fd = os.open(path, os.O_RDONLY)
        try:
            return posix_acl.blob(fd, False, stat_fd(fd))
        finally:
            os.close(fd)

    def opens(self, one: AclDraw) -> list[int | str]:
        """What each of the draw's opens is granted, or the status that refuses it."""
        identity = Identity("user", "", one.user.uid, one.user.gid, tuple(one.user.groups), is_admin=one.admin)
        share = ShareConfig("share", f"{self.folder}/acl", acl_xattr=True, hide_dot_files=False)
        volume = self.files.volume(share, identity, False)
        granted: list[int | str] = []
        try:
            for desired in one.desired:
                try:
                    opened = volume.create(CreateIntent("d\\f", "", desired, c.FILE_OPEN, 0, 0))
                    granted.append(opened.granted_access)
                    opened.file.close()
                except NtStatusError as error:
                    granted.append(str(error))
        finally:
            volume.close()
            credentials.as_server()
        return granted

    def change(self, one: AclDraw) -> tuple[bool, bytes]:
        """Set the draw's descriptor through a handle with all that the user has; whether that went, and what is stored
        then."""
        identity = Identity("user", "", one.user.uid, one.user.gid, tuple(one.user.groups), is_admin=one.admin)
        share = ShareConfig("share", f"{self.folder}/acl", acl_xattr=True, hide_dot_files=False)
        volume = self.files.volume(share, identity, False)
        good = False
        try:
            file = volume.create(CreateIntent("d\\f", "", c.MAXIMUM_ALLOWED, c.FILE_OPEN, 0, 0)).file
            try:
                file.set_security_descriptor(one.information, one.change.encode())
                good = True
            finally:
                file.close()
        except NtStatusError:
            pass
        finally:
            volume.close()
            credentials.as_server()
        return good, os.getxattr(f"{self.folder}/acl/d/f", "security.NTACL")


def token_of(one: AclDraw) -> Token:
    """The session's token."""
    user = one.user
    identity = Identity("user", "", user.uid, user.gid, tuple(user.groups), is_admin=one.admin)
    uid, gid = (0, 0) if one.admin else (user.uid, user.gid)
    return IDMAP.token(identity, uid, gid, () if one.admin else (user.gid, *user.groups))


class AclOracle:
    """Runs draws below `folder`."""

    def __init__(self, folder: str) -> None:
        privileges.drop_worker_privileges()
        self.samba = Samba()
        self.server = AclServer(folder)
        self.granted = self.refused = self.layouts = self.changed = 0

    def close(self) -> None:
        self.samba.close()

    def run(self, one: AclDraw) -> list[str]:
        """Where the server and Samba part, [] where nowhere."""
        packed: dict[str, str] = {}
        if one.version:
            self.server.prepare(one, {})
            root = f"{self.server.folder}/acl"
            names = [(name, d) for name, d in (("d/f", one.file), ("d", one.folder)) if d is not None]
            questions = [
                {"pack": d.encode().hex(), "version": one.version, "time": 1,
                 "hash": sha256(self.server.blob(f"{root}/{name}")).hexdigest()} for name, d in names
            ]  # fmt: skip
            for (name, descriptor), value in zip(names, self.samba.ask(questions), strict=True):
                if _same(descriptor, value):
                    packed[name] = value
                    self.layouts += 1
        self.server.prepare(one, packed)
        ours = self.server.opens(one)
        lines = []
        for desired, mine, expected in zip(one.desired, ours, self._expected(one), strict=True):
            if isinstance(mine, int) != isinstance(expected, int) or (isinstance(mine, int) and mine != expected):
                lines.append(f"open for 0x{desired:08x}: ours {_said(mine)}, Samba {_said(expected)}")
            if isinstance(mine, int):
                self.granted += 1
            else:
                self.refused += 1
        return lines + self._pure(one) + self._changes(one)

    def _changes(self, one: AclDraw) -> list[str]:
        """Whoever may change what: nobody gives a file away, no set-id bit stays, and Samba reads what was stored."""
        path = f"{self.server.folder}/acl/d/f"
        before, stored = os.stat(path), os.getxattr(path, "security.NTACL")
        good, value = self.server.change(one)
        now = os.stat(path)
        lines = []
        if not good and (before.st_uid, before.st_gid, before.st_mode & 0o777, stored) != (
            now.st_uid, now.st_gid, now.st_mode & 0o777, value
        ):  # fmt: skip
            lines.append("refused, and something changed")
        self.changed += good
        if now.st_uid != before.st_uid and now.st_uid != one.user.uid and not one.admin:
            lines.append(f"given to {now.st_uid}")
        if now.st_gid != before.st_gid and now.st_gid not in (one.user.gid, *one.user.groups) and not one.admin:
            lines.append(f"given to group {now.st_gid}")
        if good and now.st_mode & 0o6000 and (one.information & 4 or (now.st_uid, now.st_gid) != one.owner):
            lines.append(f"set-id bits stay: {now.st_mode:o}")
        if good:
            descriptor = self.samba.ask([{"unpack": value.hex()}])[0]
            mine = ntacl.decode(value)
            assert mine is not None
            read = parse_security_descriptor(mine.descriptor)
            if read.dacl is None or all(ace.sid is not None and ace.type in (ALLOW, DENY) for ace in read.dacl.aces):
                theirs = parse_security_descriptor(bytes.fromhex(descriptor)) if descriptor else None
                if theirs != read:
                    lines.append(f"stored {read.to_sddl()}, Samba reads {theirs.to_sddl() if theirs else descriptor}")
        return lines

    def _expected(self, one: AclDraw) -> list[int | str]:
        asked = Asked(token_of(one), [])
        user = one.user
        member = one.folder_mode >> (6 if user.uid == 0 else 0) & 7  # the folder is root's
        unlinks = member & 3 == 3 and (not one.folder_mode & 0o1000 or one.owner[0] == user.uid)
        descriptors = [d for d in (one.file, one.folder) if d is not None]
        for descriptor in descriptors:
            asked.want(descriptor, c.MAXIMUM_ALLOWED)
            asked.want(descriptor, c.FILE_DELETE_CHILD)
            asked.want(descriptor, c.FILE_LIST_DIRECTORY)
        spare = c.SYNCHRONIZE | c.DELETE | c.FILE_READ_ATTRIBUTES
        for desired in one.desired:
            wanted = desired & ~(c.MAXIMUM_ALLOWED | c.ACCESS_SYSTEM_SECURITY | c.SYNCHRONIZE)
            for part in (wanted, *(wanted & ~less for less in (c.DELETE, c.FILE_READ_ATTRIBUTES, spare))):
                asked.want(one.file, part)
        asked.answers = self.samba.ask(asked.questions)
        extra = c.SYNCHRONIZE
        if unlinks and (one.folder is None or asked.allowed(one.folder, c.FILE_DELETE_CHILD)):
            extra |= c.DELETE
        if member & 4 and (one.folder is None or asked.allowed(one.folder, c.FILE_LIST_DIRECTORY)):
            extra |= c.FILE_READ_ATTRIBUTES
        result: list[int | str] = []
        for desired in one.desired:
            system = desired & c.ACCESS_SYSTEM_SECURITY
            wanted = desired & ~(c.MAXIMUM_ALLOWED | c.ACCESS_SYSTEM_SECURITY)
            if one.admin:
                result.append(c.FILE_ALL_ACCESS | system if desired & c.MAXIMUM_ALLOWED else wanted | system)
            elif system:
                result.append("no SeSecurityPrivilege")
            elif not asked.allowed(one.file, wanted & ~extra):
                result.append("refused")
            else:
                result.append(asked.maximal(one.file) | extra if desired & c.MAXIMUM_ALLOWED else wanted)
        return result

    def _pure(self, one: AclDraw) -> list[str]:
        """The check alone, with privileges."""
        token = token_of(one)
        held = Privilege.NONE
        for name in one.privileges:
            held |= Privilege[name]
        token = Token(token.user, token.groups, held)
        asked = Asked(token, one.privileges)
        for desired in one.desired:
            asked.want(one.file, desired & ~c.MAXIMUM_ALLOWED)
        asked.want(one.file, c.MAXIMUM_ALLOWED)
        asked.answers = self.samba.ask(asked.questions)
        lines = []
        for desired in one.desired:
            try:
                mine: int | str = check_access(one.file, token, desired)
            except NtStatusError as error:
                mine = str(error)
            expected: int | str = "refused"
            if asked.allowed(one.file, desired & ~c.MAXIMUM_ALLOWED):
                expected = desired & ~c.MAXIMUM_ALLOWED
                if desired & c.MAXIMUM_ALLOWED:
                    expected |= asked.maximal(one.file)
                    if held & Privilege.TAKE_OWNERSHIP:
                        expected |= c.WRITE_OWNER  # rule: privileges in MAXIMUM_ALLOWED
                    expected = expected or "nothing"
            if isinstance(mine, int) != isinstance(expected, int) or (isinstance(mine, int) and mine != expected):
                lines.append(f"check for 0x{desired:08x}: ours {_said(mine)}, Samba {_said(expected)}")
        return lines


def _same(descriptor: SecurityDescriptor, packed: str) -> bool:
    """Whether Samba kept every entry: it writes those of types that it does not know without their body."""
    stored = ntacl.decode(bytes.fromhex(packed))
    assert stored is not None, packed
    try:
        found = parse_security_descriptor(stored.descriptor)
    except NtStatusError:
        return False
    return (found.dacl.aces if found.dacl else None) == (descriptor.dacl.aces if descriptor.dacl else None)


def _said(answer: int | str) -> str:
    return f"0x{answer:08x}" if isinstance(answer, int) else answer
