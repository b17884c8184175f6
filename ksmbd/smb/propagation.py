# SPDX-License-Identifier: GPL-2.0-or-later
"""How a change of a folder's access control lists reaches what lies below it (MS-DTYP 2.5.3.4).

A file is created with what its folder passes on; when that changes later, nothing follows by itself. The one who
changes it brings the descriptors below up to date: the entries that each file has of its own stay, those that it has
inherited are replaced by what the folder passes on now, and a protected list stays as it is.
"""
from __future__ import annotations

from dataclasses import replace

from ksmbd.smb.acl import ACL_REVISION, INHERITED_ACE, Acl, inherited_aces
from ksmbd.smb.security_descriptor import (
    SE_DACL_AUTO_INHERITED,
    SE_DACL_PRESENT,
    SE_DACL_PROTECTED,
    SE_SACL_AUTO_INHERITED,
    SE_SACL_PRESENT,
    SE_SACL_PROTECTED,
    SecurityDescriptor,
)


def propagated(parent: SecurityDescriptor, child: SecurityDescriptor, is_directory: bool) -> SecurityDescriptor:
    """The descriptor that `child`, in the folder `parent`, has after the folder's inheritable entries have reached it.

    Its own entries come first, in their order, then the inherited ones in the folder's order, which is the canonical
    order (MS-DTYP 2.4.5). A NULL DACL has no entries and stays."""
    control = child.control
    dacl, sacl = child.dacl, child.sacl
    if not control & SE_DACL_PROTECTED and not (control & SE_DACL_PRESENT and dacl is None):
        dacl = _joined(parent, parent.dacl, child, dacl, is_directory)
        control |= SE_DACL_PRESENT | SE_DACL_AUTO_INHERITED
    if not control & SE_SACL_PROTECTED and (parent.sacl is not None or sacl is not None):
        sacl = _joined(parent, parent.sacl, child, sacl, is_directory)
        control |= SE_SACL_PRESENT | SE_SACL_AUTO_INHERITED
        if not sacl.aces:
            sacl = None
            control &= ~(SE_SACL_PRESENT | SE_SACL_AUTO_INHERITED)
    return replace(child, control=control, dacl=dacl, sacl=sacl)


def is_protected(descriptor: SecurityDescriptor) -> bool:
    """Whether nothing of the folder's DACL reaches the file."""
    return bool(descriptor.control & SE_DACL_PROTECTED)


def _joined(
    parent: SecurityDescriptor, theirs: Acl | None, child: SecurityDescriptor, own: Acl | None, is_directory: bool
) -> Acl:
    explicit = tuple(ace for ace in own.aces if not ace.flags & INHERITED_ACE) if own is not None else ()
    inherited = inherited_aces(theirs.aces, child.owner, child.group, is_directory) if theirs is not None else ()
    revision = max(own.revision if own else ACL_REVISION, theirs.revision if theirs and inherited else ACL_REVISION)
    return Acl(explicit + inherited, revision)
