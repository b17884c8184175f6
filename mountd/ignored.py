# SPDX-License-Identifier: GPL-2.0-or-later
"""Parameters of a configuration that have no effect here, in two groups: those whose loss changes who has access or
what happens to data, and those that are harmless.

Harmless is what is listed here as such: what concerns other programs (printing, NetBIOS names, winbindd, Samba as a
client), what only tunes or logs, and a value that asks for what this server does anyway. Everything else belongs to the
first group, unknown names too, because one may be a misspelt `read only`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

LISTED: Final = 40
"""Parameters that a line names at most."""


class Ignored(NamedTuple):
    """A parameter, or a part of its value, that has no effect."""

    section: str
    """`global`, or the name of a share."""
    name: str
    value: str
    line: int
    why: str
    changes: bool
    """Its loss changes access or data."""
    file: str = ""
    """The included file that it is in; '': in none."""


class Groups(NamedTuple):
    """The two groups, each in the order of the file."""

    changes: list[Ignored]
    harmless: list[Ignored]


def _words(text: str) -> frozenset[str]:
    return frozenset(_squeeze(name) for name in text.split(","))


def _squeeze(name: str) -> str:
    return re.sub(r"\s+", "", name.lower())


_OTHER_PROGRAMS: Final = (
    "client", "cups", "dns", "idmap", "iprint", "kcc", "kdc", "krb5", "ldap", "lm", "lpq", "lpr", "lpp", "nbt", "nmbd",
    "print", "samba", "spoolss", "svcctl", "tls", "winbind", "wins", "rpc_daemon:", "rpc_server:", "full_audit:",
    "dsdb", "ctdb", "afs", "prefork", "eventlog",
)  # fmt: skip
"""First letters of the names of parameters that concern other programs than a file server."""

_HARMLESS: Final = _words(
    # names, browsing, announcements
    "additional dns hostnames, browse list, cldap port, default service, dgram port, disable netbios, domain master,"
    "enhanced browsing, local master, max ttl, max wins ttl, mdns name, message command, min wins ttl,"
    "multicast dns register, name cache timeout, name resolve order, netbios aliases, netbios scope, os level,"
    "preferred master, remote announce, remote browse sync, time server, auto services, preload, hostname lookups,"
    # printing
    "addprinter command, deleteprinter command, disable spoolss, enumports command, addport command, load printers,"
    "force printername, max print jobs, max reported print jobs, min print space, os2 driver map, default devmode,"
    "queuepause command, queueresume command, show add printer wizard, use client driver,"
    # domains and accounts that this server does not make
    "add group script, add machine script, add user script, add user to group script, delete group script,"
    "delete user script, delete user from group script, set primary group script, rename user script,"
    "algorithmic rid base, allow nt4 crypto, apply group policies, gpo update command, init logon delay,"
    "init logon delayed hosts, logon drive, logon home, logon path, logon script, machine password timeout,"
    "neutralize nt4 emulation, password server, template homedir, template shell, create krb5 conf,"
    "include system krb5 conf, log nt token command, old password allowed period, passwd chat, passwd chat debug,"
    "passwd chat timeout, passwd program, reject md5 servers, reject md5 clients, shutdown script,"
    "abort shutdown script, enable asu support, server schannel, server schannel require seal, allow dns updates,"
    "nsupdate command, spn update command, ntp signd socket directory, mit kdc command, cache directory,"
    # logging and debugging
    "debug class, debug encryption, debug hires timestamp, debug pid, debug prefix timestamp, debug syslog format,"
    "debug uid, debug timestamp, timestamp logs, enable core files, logging,"
    "panic action, perfcount module, smbd profiling level, syslog, syslog only, utmp, utmp directory,"
    "wtmp directory, auth event notification,"
    # tuning, and what SMB 2 does not have
    "aio max threads, aio read size, aio write size, aio write behind, async dns timeout, async smb echo handler,"
    "block size, allocation roundup size, dfree cache time, directory name cache size, getwd cache, keepalive,"
    "large readwrite, lock spin time, mangle prefix, max mux, max smbd processes, max stat cache size, max xmit,"
    "min receivefile size, nt status support, read raw, write raw, raw ntlmv2 auth, stat cache, unicode, use mmap,"
    "use sendfile, smb1 unix extensions, unix extensions, lanman auth, dos charset, display charset, write cache size,"
    "reset on zero vc, smbd async dosmode, smbd max async dosmode, smbd max io size, socket options,"
    "smb2 disable oplock break retry, usershare max shares, allow unsafe cluster upgrade, defer sharing violations,"
    "oplock break wait time, rpc big endian, rpc server dynamic port range, rpc server port,"
    "rpc start on demand helpers, dcerpc endpoint servers, server services, allow dcerpc auth level connect,"
    # what only programs of Samba use
    "config backend, lock directory, lock dir, ncalrpc dir, pid directory, private dir, preload modules,"
    "state directory, binddns dir, volume, volume serial number, csc policy, dmapi support,"
    "fstype, ntvfs handler"
)  # fmt: skip
"""Names without effect on access or data."""

_AS_HERE: Final[dict[str, frozenset[str]]] = {
    _squeeze(name): _words(values)
    for name, values in (
        ("security", "user, auto"),
        ("server role", "standalone, standalone server, auto"),
        ("passdb backend", "tdbsam, smbpasswd"),
        ("encrypt passwords", "yes"), ("null passwords", "no"), ("obey pam restrictions", "no"),
        ("domain logons", "no"),
        ("username level", "0"), ("usershare path", ""), ("usershare allow guests", "no"),
        ("enable privileges", "yes"),
        ("mangling char", "~"),
        ("locking", "yes"),
        ("strict locking", "auto, yes, no"), ("blocking locks", "yes"), ("level2 oplocks", "yes"),
        ("fake oplocks", "no"), ("kernel share modes", "no"), ("strict sync", "yes, no"), ("sync always", "no"),
        ("strict allocate", "no, yes"), ("strict rename", "no"), ("nt pipe support", "yes"),
        ("dos filetimes", "yes"), ("dos filetime resolution", "no"),
        ("fake directory create times", "no"),
        ("map acl inherit", "no"),
        ("acl group control", "no"), ("acl allow execute always", "no"),
        ("acl check permissions", "yes"), ("force unknown acl user", "no"), ("profile acls", "no"),
        ("hide new files timeout", "0"),
        ("printable", "no"), ("print ok", "no"),
        ("spotlight", "no"), ("administrative share", "no"), ("smbd getinfo ask sharemode", "yes"),
        ("smbd search ask sharemode", "yes"), ("kernel change notify", "yes"), ("unix charset", "utf-8, utf8"),
        ("clustering", "no"), ("registry shares", "no"), ("allow trusted domains", "yes, no"),
        ("allow insecure wide links", "no"), ("require strong key", "yes"),
        ("smb2 disable lock sequence checking", "no"), ("afs share", "no"),
        ("max disk size", "0"), ("preexec close", "no"), ("root preexec close", "no"),
        ("check parent directory delete on close", "no"), ("honor change notify privilege", "no"),
        ("smbd force process locks", "no"), ("nt hash store", "always, auto"), ("kerberos support", "no"),
        ("acl_xattr:ignore system acls", "no"), ("time offset", "0"),
    )
}  # fmt: skip
"""Values that ask for what this server does anyway. An empty value never changes anything."""

_HARMLESS_MODULES: Final = frozenset((
    "aio_fork", "aio_linux", "aio_posix", "aio_pthread", "audit", "btrfs", "cacheprime", "commit", "default_quota",
    "dirsort", "extd_audit", "full_audit", "io_uring", "preopen", "readahead", "time_audit",
))  # fmt: skip
"""Modules of `vfs objects` that only log or tune."""


def changes_access_or_data(name: str, value: str) -> bool:
    """Whether the loss of `name = value` changes who has access or what happens to data."""
    key, word = _squeeze(name), _squeeze(value)
    if not word:
        return False
    if key in _AS_HERE:
        word = {"true": "yes", "1": "yes", "on": "yes", "false": "no", "off": "no"}.get(word, word)
        return word not in _AS_HERE[key]
    return key not in _HARMLESS and not key.startswith(_OTHER_PROGRAMS)


def module_changes(module: str) -> bool:
    """Whether the loss of a module of `vfs objects` changes access or data."""
    return module.lower() not in _HARMLESS_MODULES


def place(file: str, line: int) -> str:
    """Where an entry is: its line, with the name of an included file."""
    return f"{file}:{line}" if file else f"line {line}"


def groups(ignored: Iterable[Ignored]) -> Groups:
    """Divide parameters into the two groups."""
    both = Groups([], [])
    for item in sorted(ignored, key=lambda item: (item.file, item.line)):
        (both.changes if item.changes else both.harmless).append(item)
    return both


def lines(ignored: Iterable[Ignored]) -> list[str]:
    """A line for each group that has members, without the file's name."""
    both = groups(ignored)
    texts = (
        ("without effect, though access or data may differ by it", both.changes),
        ("without effect and harmless", both.harmless),
    )
    return [f"{text}: {_listed(items)}" for text, items in texts if items]


def _listed(items: list[Ignored]) -> str:
    named = ", ".join(f"{item.name} ({place(item.file, item.line)})" for item in items[:LISTED])
    return named if len(items) <= LISTED else f"{named} and {len(items) - LISTED} more"
