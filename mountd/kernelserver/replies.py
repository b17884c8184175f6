# SPDX-License-Identifier: GPL-2.0-or-later
"""mountd's replies as the kernel's server takes them: KSMBD's structures without further attributes.

What an attribute says to our engine is said here by a field, or the reply is a refusal: a share must not be served with
other rights, or less protected, than its configuration says.
"""

from __future__ import annotations

from typing import Final

from ksmbd import log
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, Event, RpcStatus, ShareFlag, TreeFlag, TreeStatus, UserFlag
from ksmbd.ipc.options import FORCE_GROUP, OF_MEMBERS, PERSONAL
from ksmbd.smb.constants import FILE_READ_DATA
from mountd.sharing import NO_ID

_TREE_FLAGS: Final = (
    TreeFlag.GUEST_ACCOUNT | TreeFlag.READ_ONLY | TreeFlag.WRITABLE | TreeFlag.ADMIN_ACCOUNT | TreeFlag.UPDATE
)


def plain(reply: Message, encrypts: bool) -> Message:
    """The reply for the kernel. `encrypts`: `smb3 encryption` is mandatory in [global]."""
    if reply.event is Event.SHARE_CONFIG_RESPONSE:
        return _share(reply, encrypts)
    fields = dict(reply.fields)
    if reply.event is Event.TREE_CONNECT_RESPONSE:
        flags = TreeFlag(fields["connection_flags"] & _TREE_FLAGS)
        withheld = reply.numbers.get(Attribute.WITHHELD, 0)
        if withheld & FILE_READ_DATA:
            return Message(reply.event, fields | {"status": int(TreeStatus.INVALID_USER), "connection_flags": 0})
        if withheld:
            # The kernel withholds all writing or nothing.
            flags = flags & ~TreeFlag.WRITABLE | TreeFlag.READ_ONLY
        fields["connection_flags"] = int(flags)
    return Message(reply.event, fields)


def _share(reply: Message, encrypts: bool) -> Message:
    fields = dict(reply.fields)
    if not fields.get("flags", 0) & ShareFlag.AVAILABLE:
        return Message(reply.event, fields)
    problem = _problem(reply, encrypts)
    if problem:
        log.peer(f"[{fields['share_name']}] is not served by the kernel's server: {problem}", "not served")
        return Message(reply.event, {"handle": reply.handle, "share_name": fields["share_name"]})
    if reply.options.get(FORCE_GROUP) == OF_MEMBERS:
        fields["force_gid"] = NO_ID  # else it would be the group of those that are no members, too
    if reply.options.get("inherit owner", "no") != "no":
        fields["flags"] |= int(ShareFlag.INHERIT_OWNER)
    fields["payload"] += b"\0"
    fields["payload_sz"] = len(fields["payload"])
    return Message(reply.event, fields)


def _problem(reply: Message, encrypts: bool) -> str:
    if PERSONAL in reply.options:
        return "it differs by session ([homes], or a variable like %U), and the kernel has one configuration for all"
    for attribute, name in ((Attribute.FORCE_UID, "force user"), (Attribute.FORCE_GID, "force group")):
        number = reply.numbers.get(attribute, 0)
        if number >= NO_ID and not (name == "force group" and reply.options.get(FORCE_GROUP) == OF_MEMBERS):
            return f"it takes no id as large as that of `{name}` ({number})"
    if reply.numbers.get(Attribute.ENCRYPT, 0) and not encrypts:
        return "it encrypts all shares or none: set `smb3 encryption = mandatory` in [global]"
    return ""


def refusal(request: Message) -> Message | None:
    """The reply to a request that could not be answered, so that the kernel need not wait; None: it expects none."""
    fields: dict[str, object] = {"handle": request.handle}
    match request.event:
        case Event.LOGIN_REQUEST:
            fields |= {"status": int(UserFlag.BAD_USER)}
        case Event.LOGIN_REQUEST_EXT | Event.SHARE_CONFIG_REQUEST:
            pass
        case Event.TREE_CONNECT_REQUEST:
            fields |= {"status": int(TreeStatus.ERROR), "connection_flags": 0}
        case Event.RPC_REQUEST:
            fields |= {"flags": int(RpcStatus.NOMEM), "payload_sz": 0}
        case Event.SPNEGO_AUTHEN_REQUEST:
            fields |= {"status": int(UserFlag.BAD_USER)}
        case _:
            return None
    return Message(Event(request.event + 1), fields)
