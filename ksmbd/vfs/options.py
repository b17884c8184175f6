# SPDX-License-Identifier: GPL-2.0-or-later
"""The parameters of [global] and of a share in the form that ksmbd/vfs uses."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ksmbd.smb.catia import pairs_of
from ksmbd.smb.former_sids import FormerUser
from ksmbd.smb.ports import ShareConfig
from ksmbd.vfs.names import Patterns
from ksmbd.vfs.new_names import NewNames
from ksmbd.vfs.short_names import ShortNames


@dataclass(frozen=True, slots=True)
class VfsSettings:
    """The [global] parameters that ksmbd/vfs needs."""

    sub_authorities: tuple[int, int, int] = (0, 0, 0)
    """The a, b, c of the server's domain S-1-5-21-a-b-c (ksmbd.subauth)."""
    share_fake_fscaps: int = 64
    """FileSystemAttributes that are always shown (MS-FSCC 2.5.1)."""
    audit_file: str = ""
    """Where records of audited accesses go; '': to the log."""
    mangle_prefix: int = 1
    """Characters that a short name begins with."""
    former_users: tuple[FormerUser, ...] = ()
    """The SIDs of users on a former server (ksmbd.sidhistory)."""


@dataclass(frozen=True, slots=True)
class ShareOptions:
    """The parameters of one share, each named as in ksmbd.conf(5). Masks and modes are permission bits."""

    store_dos_attributes: bool
    hide_dot_files: bool
    inherit_owner: bool
    inherit_owner_unix_only: bool
    inherit_permissions: bool
    inherit_acls: bool
    streams: bool
    stream_xattrs: int
    follow_symlinks: bool
    wide_links: bool
    acl_xattr: bool
    acl_name: bytes
    acl_canonicalize: bool
    crossmnt: bool
    acl_full_control: bool
    dos_filemode: bool
    msdfs_root: bool
    nt_acls: bool
    eas: bool
    delete_readonly: bool
    map_archive: str
    map_hidden: bool
    map_readonly: str
    map_system: bool
    maps: bool
    """Whether permission bits keep DOS attributes in another way than KSMBD's."""
    hide_special: bool
    hide_unreadable: bool
    hide_unwriteable: bool
    change_notify: bool
    kernel_oplocks: bool
    posix_locking: bool
    share_locks: bool
    """As `posix_locking`, but only for opens that have locked something."""
    create_mask: int
    directory_mask: int
    force_create_mode: int
    force_directory_mode: int
    veto: Patterns
    delete_veto: bool
    hide: Patterns
    exact: bool
    """Names in another case are other names."""
    new_names: NewNames | None
    """None: new names keep their case."""
    short: ShortNames | None
    """None: there are no short names."""

    def matches_short(self, matches: Callable[[str], bool], disk: bytes) -> bool:
        """Whether the short name of a name on disk matches, where it has one of its own."""
        made = self.short.made(disk) if self.short is not None else ""
        return bool(made) and matches(made)

    @classmethod
    def of(cls, share: ShareConfig, settings: VfsSettings) -> ShareOptions:
        """The options of a configured share."""
        exact = share.case_sensitive == "yes"
        return cls(
            store_dos_attributes=share.store_dos_attributes,
            hide_dot_files=share.hide_dot_files,
            inherit_owner=share.inherit_owner != "no",
            inherit_owner_unix_only=share.inherit_owner == "unix only",
            inherit_permissions=share.inherit_permissions,
            inherit_acls=share.inherit_acls,
            streams=share.streams_xattr,
            stream_xattrs=share.streams_xattr_max_xattrs_per_stream,
            follow_symlinks=share.follow_symlinks,
            wide_links=share.follow_symlinks and share.wide_links,
            acl_xattr=share.acl_xattr,
            acl_name=share.acl_xattr_security_acl_name.encode(),
            acl_canonicalize=share.acl_flag_inherited_canonicalization,
            crossmnt=share.crossmnt,
            acl_full_control=share.acl_map_full_control,
            dos_filemode=share.dos_filemode,
            msdfs_root=share.msdfs_root,
            nt_acls=share.nt_acl_support,
            eas=share.ea_support,
            delete_readonly=share.delete_readonly,
            map_archive=share.map_archive,
            map_hidden=share.map_hidden,
            map_readonly=share.map_readonly,
            map_system=share.map_system,
            maps=share.map_archive != "auto" or share.map_hidden or share.map_system or share.map_readonly != "no",
            hide_special=share.hide_special_files,
            hide_unreadable=share.hide_unreadable,
            hide_unwriteable=share.hide_unwriteable_files,
            change_notify=share.change_notify,
            kernel_oplocks=share.kernel_oplocks,
            posix_locking=share.posix_locking == "yes",
            share_locks=share.posix_locking == "auto",
            create_mask=share.create_mask,
            directory_mask=share.directory_mask,
            force_create_mode=share.force_create_mode,
            force_directory_mode=share.force_directory_mode,
            veto=Patterns(share.veto_files, exact),
            delete_veto=share.delete_veto_files,
            hide=Patterns(share.hide_files, exact),
            exact=exact,
            new_names=None
            if share.preserve_case and share.short_preserve_case
            else NewNames(share.preserve_case, share.short_preserve_case, share.default_case == "upper"),
            short=None
            if share.mangled_names == "no"
            else ShortNames(share.mangled_names == "yes", settings.mangle_prefix, pairs_of(share.catia_mappings)),
        )
