# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes SHARE_CONFIG_RESPONSE, and decides who may connect to a share, without side effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, Event, ShareFlag, TreeFlag, TreeStatus, UserFlag
from ksmbd.ipc.options import FORCE_GROUP, GUEST_GID, GUEST_GROUPS, GUEST_UID, NO, OF_MEMBERS, PERSONAL, YES
from mountd.accounts import Accounts
from mountd.config import Configuration, ShareSettings
from mountd.hosts import Names, NoNames, admitted
from mountd.kerberos.admission import realm_user
from mountd.login import maps_users
from mountd.parameters import SHARE_PARAMETERS
from mountd.personal import Who, is_personal, resolve
from mountd.textvalue import text_value
from mountd.unixusers import UnixUser, UnixUsers, guest, is_member
from mountd.variables import Unsafe

GUEST_GROUPS_MAX = 1000
"""Groups of a share's guest account that are sent to the engine at most."""
NO_ID = 0xFFFF
"""The value of force_uid and force_gid for no id, or for an id of more than 16 bits, which an attribute has then."""


SHARE_OPTIONS = (
    "acl flag inherited canonicalization", "acl map full control", "acl_xattr:security_acl_name", "case sensitive",
    "catia:mappings", "change notify", "default case", "delete readonly", "delete veto files", "dos filemode",
    "ea support", "hide files", "hide special files", "hide unwriteable files", "inherit acls", "inherit owner",
    "inherit permissions", "kernel oplocks", "mangled names", "map archive", "map hidden", "map readonly",
    "map system", "msdfs proxy", "msdfs root", "nt acl support", "posix locking",
    "preserve case", "shadow:basedir", "shadow:crossmountpoints",
    "shadow:delimiter", "shadow:localtime", "shadow:mountpoint", "shadow:snapdirseverywhere", "shadow:snapprefix",
    "shadow:snapsharepath", "shadow:sort", "shadow:sscanf", "short preserve case", "snapshot path",
    "streams_xattr:max xattrs per stream",
)  # fmt: skip
"""Share parameters that the engine needs and that have no field or flag in KSMBD's structure."""


def share_options(share: ShareSettings) -> dict[str, str]:
    """Name -> text of the SHARE_OPTIONS of a share."""
    parameters = (SHARE_PARAMETERS[name] for name in SHARE_OPTIONS)
    options = {p.name: text_value(p, getattr(share, p.attribute)) for p in parameters}
    options["snapshot path"] = share.snapshots
    options["catia:mappings"] = share.character_mappings
    return options


def share_flags(share: ShareSettings) -> ShareFlag:
    """The KSMBD_SHARE_FLAG bits of a share."""
    flags = ShareFlag.AVAILABLE | (ShareFlag.READONLY if share.read_only else ShareFlag.WRITEABLE)
    for holds, flag in (
        (share.browseable, ShareFlag.BROWSEABLE),
        (share.guest_ok, ShareFlag.GUEST_OK),
        (share.guest_ok and share.guest_only, ShareFlag.GUEST_ONLY),
        (share.store_dos_attributes, ShareFlag.STORE_DOS_ATTRS),
        (share.oplocks, ShareFlag.OPLOCKS),
        (share.is_ipc, ShareFlag.PIPE),
        (share.hide_dot_files, ShareFlag.HIDE_DOT_FILES),
        (share.streams_xattr, ShareFlag.STREAMS),
        (share.follow_symlinks, ShareFlag.FOLLOW_SYMLINKS),
        (share.acl_xattr, ShareFlag.ACL_XATTR),
        (share.crossmnt, ShareFlag.CROSSMNT),
        (share.continuous_availability, ShareFlag.CONTINUOUS_AVAILABILITY),
        (share.hide_unreadable, ShareFlag.HIDE_UNREADABLE),
        (share.wide_links, ShareFlag.WIDE_LINKS),
    ):
        if holds:
            flags |= flag
    return flags


@dataclass(frozen=True)
class ForcedIds:
    """The ids of `force user` and `force group`; `problem` names an account that does not exist."""

    uid: int | None = None
    gid: int | None = None
    problem: str = ""


def forced_ids(share: ShareSettings, users: UnixUsers) -> ForcedIds:
    """The ids with which all users access the share. `force user` also sets its primary group, which `force group`
    overrides; `+GROUP` overrides it only if that user is a member."""
    uid = gid = None
    user: UnixUser | None = None
    if share.force_user:
        user = users.user(share.force_user)
        if user is None:
            return ForcedIds(problem=f"[{share.name}]: no Unix account for `force user = {share.force_user}`")
        uid, gid = user.uid, user.gid
    if share.force_group:
        forced = users.group(share.force_group.lstrip("@+&"))
        if forced is None:
            return ForcedIds(problem=f"[{share.name}]: no Unix group for `force group = {share.force_group}`")
        if user is None or not share.force_group.startswith("+") or is_member(user, share.force_group, users):
            gid = forced
    return ForcedIds(uid, gid)


def share_response(
    name: str, configuration: Configuration, users: UnixUsers, who: Who | None = None
) -> tuple[Message, str]:
    """(SHARE_CONFIG_RESPONSE without its handle, a line for the log or ''). `who`: the session that asks; None: the
    answer is for all sessions."""
    missing = Message(Event.SHARE_CONFIG_RESPONSE, fields={"share_name": name})
    if who is None and is_personal(name, configuration):
        fields = {"share_name": name, "flags": int(ShareFlag.AVAILABLE)}
        return Message(Event.SHARE_CONFIG_RESPONSE, fields=fields, options={PERSONAL: YES}), ""
    try:
        share = configuration.share(name) if who is None else resolve(name, who, configuration, users)
    except Unsafe as error:
        return missing, f"[{name}]: {error}: refused"
    if share is None or not (share.path or share.is_ipc):
        return missing, ""
    forced = forced_ids(share, users)
    if forced.problem:
        return missing, forced.problem  # the share must not be served as another user than `force user`
    veto = b"".join(pattern.encode() + b"\0" for pattern in share.veto_files)
    path = b"" if share.is_ipc else share.full_path(configuration.settings).encode()
    payload = veto + b"\0" + path if veto else path
    message = Message(
        Event.SHARE_CONFIG_RESPONSE,
        fields={
            "flags": int(share_flags(share)),
            "create_mask": share.create_mask,
            "directory_mask": share.directory_mask,
            "force_create_mode": share.force_create_mode,
            "force_directory_mode": share.force_directory_mode,
            "force_uid": _short_id(forced.uid),
            "force_gid": _short_id(forced.gid),
            "share_name": share.name,
            "payload": payload,
            "payload_sz": len(payload),
            "veto_list_sz": len(veto),
        },
        options=share_options(share),
    )
    if not configuration.settings.host_msdfs:
        message.options["msdfs root"], message.options["msdfs proxy"] = NO, ""
    if forced.uid is not None:
        message.numbers[Attribute.FORCE_UID] = forced.uid
    if forced.gid is not None:
        message.numbers[Attribute.FORCE_GID] = forced.gid
    if share.force_group.startswith("+") and not share.force_user:
        message.options[FORCE_GROUP] = OF_MEMBERS
    message.numbers[Attribute.ENCRYPT] = int(share.smb3_encryption == "mandatory")
    message.texts[Attribute.COMMENT] = share.comment
    if share.guest_account or share.guest_only:
        ids = guest(users, share.guest_account or configuration.settings.guest_account)
        message.options[GUEST_UID], message.options[GUEST_GID] = str(ids.uid), str(ids.gid)
        message.options[GUEST_GROUPS] = " ".join(map(str, ids.groups[:GUEST_GROUPS_MAX]))
    return message, ""


def _short_id(number: int | None) -> int:
    return NO_ID if number is None or number >= NO_ID else number


@dataclass(frozen=True)
class TreeRequest:
    """TREE_CONNECT_REQUEST."""

    account: str
    """'' is the anonymous user."""
    account_flags: UserFlag
    share: str
    peer: str
    client: Who | None = None
    """Of a share that depends on the session: its values."""

    @property
    def who(self) -> Who:
        """The session."""
        return self.client or Who(self.account, self.is_guest, self.peer)

    @property
    def is_guest(self) -> bool:
        """Whether the user is a guest or anonymous."""
        return not self.account or bool(self.account_flags & UserFlag.GUEST_ACCOUNT)


@dataclass(frozen=True)
class TreeAnswer:
    """TREE_CONNECT_RESPONSE, and a line for the log or ''."""

    status: TreeStatus
    flags: TreeFlag = TreeFlag(0)  # noqa: RUF009  immutable
    why: str = ""
    """The rule by which the tree connect is refused."""
    withheld: int = 0
    """Access rights that the security descriptor of the share does not grant (mountd/sharesecurity.py)."""
    note: str = ""
    undecided: bool = False
    """The decision depends on a host name that is not known yet; HOST_DENIED is the result if it stays unknown."""


def in_list(names: Sequence[str], account: str, unix: UnixUser | None, users: UnixUsers) -> bool:
    """Whether a list of users and groups (@group, +group, &group) contains this user."""
    for name in names:
        if name[:1] in ("@", "+", "&"):
            gid = users.group(name.lstrip("@+&"))
            if gid is not None and unix is not None and gid in (*unix.groups, unix.gid):
                return True
        elif name.casefold() == account.casefold() and account:
            return True
    return False


def decide_tree_connect(
    request: TreeRequest,
    configuration: Configuration,
    accounts: Accounts,
    users: UnixUsers,
    connections: int,
    names: Names = NoNames(),  # noqa: B008  without state
) -> TreeAnswer:
    """Decide whether a user may use a share from a client. `connections`: number of sessions that use it already.

    The checks come in KSMBD's order: the share's limit, the client's address, guests, then the lists: invalid users,
    valid users, admin users, read list, write list. `admin users` says whose rights count, and not whether they may
    write. For guests and anonymous users, the lists are searched for the share's guest account.
    """
    try:
        share = resolve(request.share, request.who, configuration, users)
    except Unsafe as error:
        return TreeAnswer(TreeStatus.NO_SHARE, why=str(error))
    if share is None or not (share.path or share.is_ipc):
        return TreeAnswer(TreeStatus.NO_SHARE, why="no such share")
    if share.msdfs_proxy and configuration.settings.host_msdfs:
        return TreeAnswer(TreeStatus.NO_SHARE, why="`msdfs proxy` refers clients to another share")
    if not share.is_ipc and connections >= share.max_connections:
        return TreeAnswer(TreeStatus.TOO_MANY_CONNS, why="`max connections` of the share")
    inside = admitted(request.peer, share.hosts_allow, share.hosts_deny, names)
    if not inside:
        return TreeAnswer(TreeStatus.HOST_DENIED, why="`hosts allow` or `hosts deny`", undecided=inside is None)
    flags = TreeFlag.READ_ONLY if share.read_only else TreeFlag.WRITABLE
    is_guest = request.is_guest
    if share.is_ipc:
        if not request.account and configuration.settings.restrict_anonymous:
            return TreeAnswer(TreeStatus.INVALID_USER, why="`restrict anonymous`")
        return TreeAnswer(TreeStatus.OK, flags | (TreeFlag.GUEST_ACCOUNT if is_guest else TreeFlag(0)))
    if is_guest or (share.guest_ok and share.guest_only):
        return _guest(share, configuration, users)
    known = accounts.find(request.account) or realm_user(request.account, configuration, users)
    if known is None:
        return TreeAnswer(TreeStatus.NO_USER, why="the user is not in the user database any more")
    unix = users.user(known.name)
    if unix is None and not maps_users(share, users):
        if not share.guest_ok:
            note = f"user {known.name} has no Unix account and [{share.name}] no `force user`: refused"
            return TreeAnswer(TreeStatus.INVALID_USER, why="no Unix account of that name", note=note)
        return _guest(share, configuration, users, known.name)
    if unix is None and not share.force_user:
        # A user without a Unix account works as the share's `guest account`; the lists still count for its own name.
        nobody = guest(users, share.guest_account)
        return _by_lists(share, ((known.name, None),), nobody, users, TreeFlag.GUEST_ACCOUNT)
    return _by_lists(share, ((known.name, unix),), unix, users)


def _guest(share: ShareSettings, configuration: Configuration, users: UnixUsers, known: str = "") -> TreeAnswer:
    """Decide for a guest or anonymous user, for whom the lists count as for the guest account. `known`: the user's own
    name, if there is one."""
    if not share.guest_ok:
        return TreeAnswer(TreeStatus.INVALID_USER, why="a guest, and no `guest ok`")
    nobody = guest(users, share.guest_account or configuration.settings.guest_account)
    who: tuple[tuple[str, UnixUser | None], ...] = ((nobody.name, nobody),)
    return _by_lists(share, (*who, (known, None)) if known else who, nobody, users, TreeFlag.GUEST_ACCOUNT)


def hidden_shares(account: str, restricted: bool, configuration: Configuration, users: UnixUsers) -> list[str]:
    """The keys of the shares that lists of shares leave out for a user (`access based share enum`): those that he may
    not connect to. `restricted`: a guest, or anonymous."""
    shares = {key: share for key, share in configuration.shares.items() if share.access_based_share_enum}
    if not shares:
        return []
    unix = None if restricted else users.user(account)
    hidden = []
    for key, share in shares.items():
        name, of = account, unix
        if restricted:
            of = guest(users, share.guest_account or configuration.settings.guest_account)
            name = of.name
        outside = bool(share.valid_users) and not in_list(share.valid_users, name, of, users)
        if outside or (restricted and not share.guest_ok) or in_list(share.invalid_users, name, of, users):
            hidden.append(key)
    return hidden


def _by_lists(
    share: ShareSettings,
    names: Sequence[tuple[str, UnixUser | None]],
    works_as: UnixUser | None,
    users: UnixUsers,
    flags: TreeFlag = TreeFlag(0),  # noqa: B008  immutable
) -> TreeAnswer:
    """Decide by the lists for a user with these names, who works as the Unix user `works_as`. A guest is never an
    administrator."""

    def named(listed: Sequence[str]) -> bool:
        return any(in_list(listed, name, unix, users) for name, unix in names)

    if named(share.invalid_users):
        return TreeAnswer(TreeStatus.INVALID_USER, why="`invalid users`")
    if share.valid_users and not named(share.valid_users):
        return TreeAnswer(TreeStatus.INVALID_USER, why="not in `valid users`")
    if _keeps_group(share, works_as, users):
        flags |= TreeFlag.KEEP_GROUP
    if not flags & TreeFlag.GUEST_ACCOUNT and named(share.admin_users):
        flags |= TreeFlag.ADMIN_ACCOUNT
    if named(share.read_list):
        return TreeAnswer(TreeStatus.OK, flags | TreeFlag.READ_ONLY)
    if not share.read_only or named(share.write_list):
        return TreeAnswer(TreeStatus.OK, flags | TreeFlag.WRITABLE)
    return TreeAnswer(TreeStatus.OK, flags | TreeFlag.READ_ONLY)


def _keeps_group(share: ShareSettings, unix: UnixUser | None, users: UnixUsers) -> bool:
    """Whether `force group = +GROUP` does not apply, because the user is no member. With `force user`, `forced_ids`
    decides this for all users."""
    return (
        share.force_group.startswith("+") and not share.force_user and not is_member(unix, share.force_group, users)
    )
