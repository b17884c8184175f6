# SPDX-License-Identifier: GPL-2.0-or-later
"""A share's parameters as this room uses them."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ksmbd.smb.ports import ShareConfig
from ksmbd.vfs.names import Patterns

# KSMBD_SHARE_FLAG bits (ksmbd_netlink.h)
FLAG_STORE_DOS_ATTRS: Final = 1 << 6
FLAG_HIDE_DOT_FILES: Final = 1 << 9
FLAG_INHERIT_OWNER: Final = 1 << 10
FLAG_STREAMS: Final = 1 << 11
FLAG_FOLLOW_SYMLINKS: Final = 1 << 12
FLAG_ACL_XATTR: Final = 1 << 13
FLAG_CROSSMNT: Final = 1 << 15
FLAG_HIDE_UNREADABLE: Final = 1 << 17
FLAG_WIDE_LINKS: Final = 1 << 19

_TRUE: Final = frozenset(("yes", "true", "1", "enable", "on"))


@dataclass(frozen=True, slots=True)
class VfsSettings:
    """What this room needs of [global]."""

    sub_authorities: tuple[int, int, int] = (0, 0, 0)
    """The server's domain, S-1-5-21-a-b-c (ksmbd.subauth)."""
    share_fake_fscaps: int = 64


@dataclass(frozen=True, slots=True)
class ShareOptions:
    """One share. Modes are permission bits."""

    store_dos_attributes: bool
    hide_dot_files: bool
    inherit_owner: bool
    streams: bool
    follow_symlinks: bool
    wide_links: bool
    acl_xattr: bool
    acl_name: bytes
    acl_canonicalize: bool
    crossmnt: bool
    hide_unreadable: bool
    change_notify: bool
    kernel_oplocks: bool
    posix_locking: bool
    create_mask: int
    directory_mask: int
    force_create_mode: int
    force_directory_mode: int
    veto: Patterns
    delete_veto: bool
    hide: Patterns

    @classmethod
    def of(cls, share: ShareConfig) -> ShareOptions:
        """The options in `share.flags` and, by their names in ksmbd.conf, `share.options`."""
        flags = share.flags

        def switch(name: str, bit: int = 0, default: bool = False) -> bool:
            text = share.options.get(name)
            if text is not None:
                return text.strip().lower() in _TRUE
            return bool(flags & bit) if bit else default

        hide = tuple(part for part in share.options.get("hide files", "").split("/") if part)
        follow = switch("follow symlinks", FLAG_FOLLOW_SYMLINKS)
        return cls(
            store_dos_attributes=switch("store dos attributes", FLAG_STORE_DOS_ATTRS),
            hide_dot_files=switch("hide dot files", FLAG_HIDE_DOT_FILES),
            inherit_owner=switch("inherit owner", FLAG_INHERIT_OWNER),
            streams=bool(flags & FLAG_STREAMS),
            follow_symlinks=follow,
            wide_links=follow and switch("wide links", FLAG_WIDE_LINKS),
            acl_xattr=bool(flags & FLAG_ACL_XATTR),
            acl_name=share.options.get("acl_xattr:security_acl_name", "security.NTACL").encode(),
            acl_canonicalize=switch("acl flag inherited canonicalization", default=True),
            crossmnt=switch("crossmnt", FLAG_CROSSMNT),
            hide_unreadable=switch("hide unreadable", FLAG_HIDE_UNREADABLE),
            change_notify=switch("change notify", default=True),
            kernel_oplocks=switch("kernel oplocks"),
            posix_locking=switch("posix locking"),
            create_mask=share.create_mask,
            directory_mask=share.directory_mask,
            force_create_mode=share.force_create_mode,
            force_directory_mode=share.force_directory_mode,
            veto=Patterns(share.veto_files),
            delete_veto=switch("delete veto files"),
            hide=Patterns(hide),
        )
