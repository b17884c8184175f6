# SPDX-License-Identifier: GPL-2.0-or-later
"""What a worker may do: the list of its capabilities, each with its reason, and the other limits of its process.

A worker handles clients' bytes, so it gives up what it does not need before it reads the first one. It keeps user 0,
whose file-system capabilities the kernel takes away while fsuid is another user's (capabilities(7)): they count for
what the server does as itself and for users that are root (`admin users`, `force user = root`).
"""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Final

from ksmbd import log
from ksmbd.conn.contract import StartError
from ksmbd.kernel import capabilities, credentials, prctl
from ksmbd.kernel.capabilities import (
    CAP_CHOWN,
    CAP_DAC_OVERRIDE,
    CAP_DAC_READ_SEARCH,
    CAP_FOWNER,
    CAP_LEASE,
    CAP_SETGID,
    CAP_SETUID,
    CAP_SYS_ADMIN,
)

WORKER_CAPABILITIES: Final = {
    CAP_SETUID: "setfsuid: file operations run as the connected user",
    CAP_SETGID: "setfsgid and setgroups: the same for groups",
    CAP_CHOWN: "`inherit owner`, and setting a file's owner through its security descriptor",
    CAP_DAC_OVERRIDE: "`admin users`; reaching a share whose parent folders only root may enter",
    CAP_DAC_READ_SEARCH: "open_by_handle_at: durable and persistent opens are found again by file handle",
    CAP_FOWNER: "times and attributes of files that WRITE_ATTRIBUTES was granted for but that others own",
    CAP_SYS_ADMIN: "security.NTACL, where access control lists are kept; users' quotas",
    CAP_LEASE: "F_SETLEASE on files of other users (`kernel oplocks`)",
}
"""Capability -> what it is for. All others are dropped, from the bounding set as well.

CAP_FSETID is not among them, so that the kernel takes the set-user-ID and set-group-ID bits off a file that anybody
writes through us, `admin users` included."""


def drop_worker_privileges() -> None:
    """Keep WORKER_CAPABILITIES and no way to gain others. Before threads start: capabilities are a thread's."""
    kept = capabilities.mask(WORKER_CAPABILITIES)
    try:
        with suppress(PermissionError):  # without CAP_SETPCAP the set stays, and gives nothing either
            capabilities.limit_bounding_set(kept)
        capabilities.keep(kept)
        prctl.forbid_new_privileges()
    except OSError as error:
        log.warning(f"a worker keeps all its privileges: {error.strerror}")


def must_impersonate() -> None:
    """Raise StartError where this process is root and cannot act as other users: all would be served as root."""
    if why := credentials.why_root_cannot():
        raise StartError(
            f"root cannot act as other users here ({why}), and would serve them all as root; give it CAP_SETUID and "
            "CAP_SETGID, or start the server as an ordinary user"
        )


def raise_descriptor_limit(wanted: int) -> int:
    """Allow `wanted` open descriptors, or as many as the hard limit lets; the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if wanted <= soft:
        return soft
    if wanted > hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return wanted
        except (ValueError, OSError):
            wanted = hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def set_oom_score(adjust: int) -> None:
    """Tell the kernel whom to end first when memory runs out: higher is sooner. Without the right, nothing."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as stream:
            stream.write(str(adjust))
    except OSError:
        pass


def set_title(title: str) -> None:
    """The process's name in ps and top."""
    import setproctitle

    setproctitle.setproctitle(title)
