# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports which features of the kernel the engine can use, for the control file `features`."""

from __future__ import annotations

import os
import socket

from ksmbd.ipc.settings import EngineSettings
from ksmbd.kernel import capabilities, inotify, leases, ofd_locks
from ksmbd.kernel.capabilities import CAP_SETUID, CAP_SYS_ADMIN
from ksmbd.process.control import Feature


def collect_features() -> list[Feature]:
    """Probe all features. Each has the reason, or what its absence costs. For BPF see ksmbd.process.bpf_programs."""
    permitted = capabilities.permitted()
    return [_impersonation(permitted), _ntacl(permitted), _leases(), _ofd_locks(), _notify(), _sendfile(), _ipv6()]


def kerberos_feature(settings: EngineSettings) -> Feature:
    """Whether mountd accepts Kerberos tickets."""
    if settings.kerberos_support:
        return Feature("kerberos", True, "log-ons with a ticket are accepted")
    return Feature("kerberos", False, settings.kerberos_missing)


def _impersonation(permitted: int) -> Feature:
    if os.geteuid() == 0 and permitted >> CAP_SETUID & 1:
        return Feature("impersonation", True, "file operations run as the connected user")
    return Feature("impersonation", False, "without CAP_SETUID all file operations run as the server's own user")


def _ntacl(permitted: int) -> Feature:
    if permitted >> CAP_SYS_ADMIN & 1:
        return Feature("ntacl", True, "access control lists are kept in security.NTACL")
    why = "without CAP_SYS_ADMIN security.NTACL cannot be written; `acl_xattr:security_acl_name = user.NTACL` can"
    return Feature("ntacl", False, why)


def _leases() -> Feature:
    why = leases.probe()
    if why:
        return Feature("leases", False, f"{why}; clients cache nothing on shares with `kernel oplocks`")
    return Feature("leases", True, "`kernel oplocks`: local processes wait until clients have given up what they cache")


def _ofd_locks() -> Feature:
    why = ofd_locks.probe()
    if why:
        return Feature("ofd-locks", False, f"{why}; `posix locking` has no effect, byte-range locks are clients' alone")
    return Feature("ofd-locks", True, "`posix locking`: clients and local processes see each other's byte-range locks")


def _notify() -> Feature:
    why = inotify.probe()
    if why:
        how = "see fs.inotify.max_user_instances"
        return Feature("notify", False, f"no inotify instance ({why}; {how}): clients are not told of changes")
    return Feature("notify", True, "clients are told of changes in folders, local ones included")


def _sendfile() -> Feature:
    return Feature("sendfile", hasattr(os, "sendfile"), "plain reads go from the page cache to the socket")


def _ipv6() -> Feature:
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError as error:
        return Feature("ipv6", False, f"{error.strerror}; IPv4 alone")
    return Feature("ipv6", True, "")
