# SPDX-License-Identifier: GPL-2.0-or-later
"""Where SMB differs from the system call on purpose. Each difference has a name; theirs.py says where it applies."""
from __future__ import annotations

from typing import Final

RULES: Final[dict[str, str]] = {
    "links stay inside": "A symbolic link that leads out of the share is not followed (`wide links = no`).",
    "links are not followed": "With `follow symlinks = no` an open of a link is of the link alone, with "
    "FILE_OPEN_REPARSE_POINT.",
    "a link that the client follows": "A symbolic link that is kept in an attribute stops an open without "
    "FILE_OPEN_REPARSE_POINT, and every link stops a POSIX open (MS-SMB2 2.2.2.2.1).",
    "a link that has no place": "Without `follow symlinks`, and where the user may not delete the file that the link "
    "is to replace, it is kept in an attribute.",
    "a link to nothing": "Without FILE_OPEN_REPARSE_POINT the target is opened, so it must be there; it is not made "
    "through the link, as open(O_CREAT) would.",
    "special files have no data": "A FIFO, socket or device would wait or act: it is opened for its attributes alone.",
    "the kind that was asked for": "FILE_DIRECTORY_FILE and FILE_NON_DIRECTORY_FILE (MS-FSA 2.1.5.1).",
    "it is there": "FILE_CREATE of what exists (MS-FSA 2.1.5.1.2), a name that is taken without ReplaceIfExists.",
    "it is not there": "FILE_OPEN and FILE_OVERWRITE of what does not exist (MS-FSA 2.1.5.1.1).",
    "directories are not overwritten": "FILE_OVERWRITE, FILE_OVERWRITE_IF, FILE_SUPERSEDE (MS-FSA 2.1.5.1.2).",
    "rights beyond the mode": "Rights for which Unix has no call at open: READ_CONTROL, READ_ATTRIBUTES and "
    "SYNCHRONIZE "
    "are everybody's, the rest is as Samba maps rwx (`acl map full control`): rwx is all, the owner has WRITE_DAC, "
    "WRITE_OWNER, DELETE and WRITE_ATTRIBUTES, who may write has WRITE_EA, WRITE_ATTRIBUTES and DELETE_CHILD. What "
    "Unix "
    "keeps to the owner is refused when it is tried (MS-DTYP 2.5.3.2).",
    "executing is reading": "Who executes a file over the network reads it: FILE_EXECUTE opens for reading (MS-SMB2 "
    "2.2.13.1.1).",
    "read-only attribute": "FILE_ATTRIBUTE_READONLY refuses writing, overwriting and deleting, but not to POSIX opens "
    "(MS-FSA 2.1.5.1.2.1, 2.1.5.15.3).",
    "read-only without attributes": "A share that keeps no attributes takes the w bits from a file made read-only "
    "(Samba's `store dos attributes = no`).",
    "hidden and system stay": "Overwriting must name HIDDEN and SYSTEM where the file has them (MS-FSA 2.1.5.1.2.1).",
    "no set-id bit of a client": "The mode of a POSIX create context is taken without set-user-ID and set-group-ID.",
    "set-id bits go with the permissions": "An owner, a group and permissions that a client sets leave no set-id "
    "bit on "
    "a file, as a change of owner (chown(2)) does; they are in no security descriptor (MS-FSA 2.1.5.17).",
    "a folder keeps its group": "The set-group-ID bit of a folder says whose its entries are and is the "
    "administrator's: "
    "it stays where permissions are set by an owner who is no member of that group (chmod(2) would take it).",
    "attributes by the handle": "DOS attributes and times are changed by a handle with FILE_WRITE_ATTRIBUTES, owner or "
    "not (MS-FSA 2.1.5.15.2; Samba's `dos filetimes`).",
    "owner is for owners": "Unix permissions are the owner's to change, whatever the handle's access.",
    "a directory is not replaced": "Nor does it replace anything, without POSIX semantics (MS-FSA 2.1.5.15.11).",
    "replacing is deleting": "What a rename, link or FILE_SUPERSEDE destroys is deleted: DELETE on it or "
    "FILE_DELETE_CHILD on its folder (MS-FSA 2.1.5.15.6, 2.1.5.15.11).",
    "renamed to its other name": "A name that is renamed over another one of the same file is gone (MS-FSA "
    "2.1.5.15.11); rename(2), and a POSIX open, leave both.",
    "the share's root stays": "It is neither renamed nor deleted.",
    "no link to a directory": "FileLinkInformation of a directory (MS-FSA 2.1.5.15.6).",
    "a link needs an empty file": "A symbolic link takes the place of a file without data (MS-FSA 2.1.5.10.37).",
    "a link is deleted as a file": "FSCTL_DELETE_REPARSE_POINT leaves a file without data behind, which a link of the "
    "disk cannot become (MS-FSA 2.1.5.10.3).",
    "streams of files and folders": "A special file has none.",
    "listing is by name": "A name in a folder that may be read but not searched is listed or left out; it fails "
    "nothing.",
}
"""name -> reason and section."""
