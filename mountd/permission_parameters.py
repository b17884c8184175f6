# SPDX-License-Identifier: GPL-2.0-or-later
"""The parameters of a share that decide on permissions, owners, DOS attributes and what is hidden: a part of the table
in mountd/parameters.py."""

from __future__ import annotations

from typing import Final

from mountd.parameter import FALSE_WORDS, MORE_FALSE_WORDS, MORE_TRUE_WORDS, TRUE_WORDS, Kind, Parameter, Scope

S: Final = Scope.SHARE
_YES: Final = dict.fromkeys((*TRUE_WORDS, *MORE_TRUE_WORDS), "yes")
_NO: Final = dict.fromkeys((*FALSE_WORDS, *MORE_FALSE_WORDS), "no")

PERMISSION_PARAMETERS: Final[tuple[Parameter, ...]] = (
    Parameter("access based share enum", S, Kind.BOOLEAN, "no",
              "Leave the share out of the lists of users who may not connect.", ours=True),
    Parameter("acl flag inherited canonicalization", S, Kind.BOOLEAN, "yes",
              "Set the auto-inherited flag of an access control list as Windows does; no keeps what the client sent.",
              ours=True),
    Parameter("acl map full control", S, Kind.BOOLEAN, "yes",
              "Show the permissions rwx as full control; no shows them as the rights to read, write and execute. "
              "Concerns files without a stored access control list.", ours=True),
    Parameter("acl_xattr:security_acl_name", S, Kind.STRING, "security.NTACL",
              "The extended attribute that holds access control lists with `vfs objects = acl_xattr`.",
              maximum=255, ours=True),
    Parameter("create mask", S, Kind.MODE, "0744", "Permission bits that a new file may have.",
              synonyms=("create mode",)),
    Parameter("delete readonly", S, Kind.BOOLEAN, "no", "Let clients delete files with the attribute read-only.",
              ours=True),
    Parameter("directory mask", S, Kind.MODE, "0755", "Permission bits that a new directory may have.",
              synonyms=("directory mode",)),
    Parameter("dos filemode", S, Kind.BOOLEAN, "no",
              "Let users who may write a file change its permissions, too. With `vfs objects = acl_xattr` the stored "
              "list decides.", ours=True),
    Parameter("ea support", S, Kind.BOOLEAN, "yes", "Let clients read and write extended attributes.", ours=True),
    Parameter("force create mode", S, Kind.MODE, "0000", "Permission bits that every new file has."),
    Parameter("force directory mode", S, Kind.MODE, "0000", "Permission bits that every new directory has."),
    Parameter("force group", S, Kind.STRING, "",
              "The Unix group with which all users access the share. +GROUP applies only to users who are members of "
              "the group (with `force user`, if that user is a member).",
              synonyms=("group",)),
    Parameter("force user", S, Kind.STRING, "",
              "The Unix account as which all users access the share; they need no Unix account of their own then."),
    Parameter("hide dot files", S, Kind.BOOLEAN, "yes", "Show names that begin with a dot as hidden."),
    Parameter("hide files", S, Kind.PATTERNS, "", "Names shown as hidden.", ours=True),
    Parameter("hide special files", S, Kind.BOOLEAN, "no",
              "Leave sockets, devices and FIFOs out of listings.", ours=True),
    Parameter("hide unreadable", S, Kind.BOOLEAN, "no", "Leave entries that the user may not read out of listings.",
              ours=True),
    Parameter("hide unwriteable files", S, Kind.BOOLEAN, "no",
              "Leave files that the user may not write out of listings; directories stay.", ours=True),
    Parameter("inherit acls", S, Kind.BOOLEAN, "no",
              "Give new files and directories the mode 0777 where their directory has a default access control list, "
              "so that it alone decides.", ours=True),
    Parameter("inherit owner", S, Kind.CHOICE, "no",
              "Give new files and directories the owner of their directory. With unix only, access control lists "
              "still name the user as the owner.",
              choices=("no", "windows and unix", "unix only"),
              aliases={**dict.fromkeys(_YES, "windows and unix"), **dict.fromkeys(_NO, "no")}),
    Parameter("inherit permissions", S, Kind.BOOLEAN, "no",
              "Give new directories the mode of their directory, without the set-user-ID bit, and new files its bits "
              "to read and write. Masks and forced modes have no effect then.", ours=True),
    Parameter("map archive", S, Kind.CHOICE, "auto",
              "yes: the owner's x is the attribute archive. no: the permissions do not keep it. auto, as in KSMBD: "
              "new files get all bits that `create mask` allows, x too, and a file without stored attributes has it.",
              choices=("auto", "yes", "no"), aliases={**_YES, **_NO}, samba="yes", ours=True),
    Parameter("map hidden", S, Kind.BOOLEAN, "no", "The others' x is the attribute hidden.", ours=True),
    Parameter("map readonly", S, Kind.CHOICE, "no",
              "yes: the owner's missing w is the attribute read-only. permissions: the attribute is shown to users who "
              "may not write the file. no: the permissions do not keep it.",
              choices=("no", "yes", "permissions"), aliases={**_YES, **_NO, "perm": "permissions"},
              synonyms=("map read only",), ours=True),
    Parameter("map system", S, Kind.BOOLEAN, "no", "The group's x is the attribute system.", ours=True),
    Parameter("nt acl support", S, Kind.BOOLEAN, "yes",
              "Show and set the permissions of files as access control lists.", ours=True),
    Parameter("store dos attributes", S, Kind.BOOLEAN, "yes",
              "Keep DOS attributes and the creation time in the extended attribute user.DOSATTRIB."),
)
