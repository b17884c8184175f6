# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of configuration parameters: name, scope, type, default, allowed values and description.

The parser (mountd/config.py), the completion of ksmbd.addshare and the manual page ksmbd.conf.5 are driven by this
table; a test compares it with the settings' fields (mountd/settings.py) and with the manual page.

The defaults are those of ksmbd-tools 3.5.6; where their manual and code differ (`max connections`, `max ip
connections`), the code's value is used. Two defaults differ on purpose: `server min protocol` is SMB2_02, which the
kernel's server does not have, for old clients; `smb2 max trans` is 8MB as on Windows, because listings of some clients
fail with 1MB. Samba's defaults, which apply to an smb.conf, are given where they differ.
"""

from __future__ import annotations

from collections.abc import Iterable

from mountd.name_parameters import NAME_PARAMETERS
from mountd.parameter import (
    FALSE_WORDS,
    TRUE_WORDS,
    WORDS,
    Kind,
    Parameter,
    Scope,
    Value,
    split_list,
)
from mountd.permission_parameters import PERMISSION_PARAMETERS

__all__ = [
    "FALSE_WORDS", "GLOBAL_PARAMETERS", "Kind", "PARAMETERS", "PROTOCOLS", "Parameter", "READ_ONLY_PRECEDENCE",
    "SHARE_PARAMETERS", "Scope", "TRUE_WORDS", "Value", "split_list",
]  # fmt: skip

PROTOCOLS: dict[str, int] = {
    "SMB2_02": 0x0202,
    "SMB2_10": 0x0210,
    "SMB3_00": 0x0300,
    "SMB3_02": 0x0302,
    "SMB3_11": 0x0311,
}
"""Dialect names of `server min protocol` and `server max protocol`, with the DialectRevision (MS-SMB2 2.2.3)."""

CAP = 65536
"""KSMBD's upper bound of connections, sessions and open files."""

G, S = Scope.GLOBAL, Scope.SHARE
_SIGNING_CHOICES = ("disabled", "enabled", "auto", "mandatory")
_PROTOCOL_ALIASES = {
    "smb2": "SMB2_10", "smb3": "SMB3_11", "smb2_fd": "SMB2_10", "smb2_22": "SMB2_10", "smb2_24": "SMB2_10",
    "smb2_ff": "SMB2_10", "smb3_10": "SMB3_02",
    "smb20": "SMB2_02", "smb21": "SMB2_10", "smb30": "SMB3_00", "smb302": "SMB3_02",
    "smb311": "SMB3_11",
}  # fmt: skip
_OLD_MINIMA = dict.fromkeys(
    ("smb1", "nt1", "cifs", "core", "lanman2"), ("SMB2_02", "is never spoken; taken as SMB2_02")
)
_OLD_MAXIMA = dict.fromkeys(
    ("smb1", "nt1", "cifs", "core", "coreplus", "lanman1", "lanman2"), ("SMB2_02", "is never spoken; taken as SMB2_02")
)
_OLD_GUESTS = dict.fromkeys(
    ("bad password", "bad uid"),
    ("never", "is not supported and taken as never: guests would be let in after a failed log-on"),
)
_OLD_ENCRYPTION = dict.fromkeys(
    (*TRUE_WORDS, "on"),
    ("mandatory", "taken as mandatory: clients that cannot encrypt are refused (`enabled` lets them in)"),
) | dict.fromkeys(
    FALSE_WORDS,
    ("disabled", "taken as disabled: nothing is encrypted (`auto` encrypts where a client or a share asks)"),
)
_ENCRYPTION_ALIASES = {
    "off": "disabled",
    "default": "auto",
    "if_required": "auto",
    "desired": "enabled",
    "required": "mandatory",
}
_IO_LEAST, _IO_MOST = 64 << 10, 8 << 20

PARAMETERS: tuple[Parameter, ...] = (
    # [global]
    Parameter("audit file", G, Kind.STRING, "",
              "The file that records of audited accesses are added to, a line of JSON each; empty means the log. "
              "What is audited, the files' system access control lists say (`vfs objects = acl_xattr`); they are set "
              "by users who have that right, such as `admin users`. A record has time, outcome (success or failure), "
              "user, SID, address, share, path and rights. At most 1000 of a user and 5000 in all are written in five "
              "seconds by a worker; a record's `left_out` says how many were not. The file is made anew where it was "
              "moved away.",
              maximum=4095, ours=True),
    Parameter("bind interfaces only", G, Kind.BOOLEAN, "no",
              "Listen only on the addresses of the interfaces in `interfaces`."),
    Parameter("bpf", G, Kind.BOOLEAN, "yes",
              "Use BPF programs where the kernel and the privileges allow it; no disables all of them.", ours=True),
    Parameter("data paths", G, Kind.LIST, "",
              "How unsigned and unencrypted data is transferred between file and socket, if the default is not the "
              "fastest on a machine. An item is DIRECTION[/FILE SYSTEM[/FROM]]=METHOD, such as read/ext4/1M=splice: "
              "DIRECTION is `read` or `write`, FILE SYSTEM a file system's name or * for all, FROM the smallest size "
              "of a request, in bytes or with K or M. METHOD is copy, sendfile or splice for reads; for writes it is "
              "copy, splice or either, which copies the data of a connection that writes alone; of several it splices "
              "what has arrived and copies the rest. The defaults are "
              "read/*/64K=sendfile and write/*/192K=either; shorter requests are copied.",
              ours=True),
    Parameter("deadtime", G, Kind.NUMBER, "0",
              "Minutes without a request after which a connection without open files is closed; 0 disables this.",
              samba="10080"),
    Parameter("durable handles", G, Kind.BOOLEAN, "no",
              "Grant durable handles, so that a client that loses its connection can reclaim its open files, after an "
              "orderly restart of the server, too.",
              samba="yes"),
    Parameter("guest account", G, Kind.STRING, "nobody",
              "The Unix account with whose rights guests access files.", maximum=47),
    Parameter("host msdfs", G, Kind.BOOLEAN, "no",
              "Be a server of DFS: shares with `msdfs root` or `msdfs proxy` refer clients to other servers.",
              ours=True, samba="yes"),
    Parameter("interfaces", G, Kind.LIST, "",
              "Network interfaces to serve; empty means all. An item is an interface's name or a pattern (eth*), an "
              "address, or a network (10.0.0.0/8, 10.0.0.0/255.0.0.0), which stands for this machine's addresses in "
              "it. Options may follow after a semicolon; the item is put in double quotes then: "
              "\"eth0;speed=10000000000,capability=RSS\". `speed` (bits per second), `capability` (RSS or RDMA) and "
              "`if_index` replace the driver's values in the information for multichannel clients. With `bind "
              "interfaces only`, an interface that does not exist yet gives a warning, and is served when it appears."),
    Parameter("ipc timeout", G, Kind.NUMBER, "0",
              "Seconds within which the daemon must answer the engine's heartbeat; otherwise the engine closes all "
              "connections. 0 waits for ever.", maximum=65535),
    Parameter("kerberos keytab file", G, Kind.STRING, "",
              "The keytab of the service principal; empty means the system's default keytab. Its AES keys are used. "
              "A change counts from the next log-on on.",
              synonyms=("dedicated keytab file",)),
    Parameter("kerberos method", G, Kind.CHOICE, "default",
              "Where the keys are, as Samba calls it: each of those with a keytab means `kerberos support = yes`, the "
              "others change nothing.",
              choices=("default", "secrets only", "system keytab", "dedicated keytab", "secrets and keytab"),
              ours=True),
    Parameter("kerberos service name", G, Kind.STRING, "",
              "The service principal, with or without its realm; empty means any of the keytab's for the services cifs "
              "and host, and a domain member's own account."),
    Parameter("kerberos support", G, Kind.BOOLEAN, "no",
              "Accept Kerberos, in addition to NTLM. It needs a keytab, and python-gssapi (Debian: python3-gssapi): "
              "docs/kerberos.md."),
    Parameter("log file", G, Kind.STRING, "",
              "A file that the log's lines are added to, with times; empty means the journal or syslog, and in the "
              "foreground the terminal, which has the lines beside the file, too. Samba's variables of a client, such "
              "as `%m`, stand for `ksmbd`: one file has the lines about all clients. The file is made anew where it "
              "was moved away, and at a reload.",
              maximum=4095, ours=True),
    Parameter("log level", G, Kind.STRING, "2",
              "What is told: 0 errors and warnings; 1 refusals and other notices, too; 2 and more all information. "
              "From 5 on the debug lines of all components are on, from the start or a reload on. `1 "
              "auth:3 smb2:5` sets it for Samba's "
              "debug classes, too, which stand for a component each; others mean nothing. What `ksmbd.control "
              "--debug` toggles is told at any level.",
              ours=True, synonyms=("debuglevel",)),
    Parameter("lookup port", G, Kind.NUMBER, "0",
              "A second TCP port; a BPF program redirects its connections to the listener on `tcp port`. 0 means none.",
              maximum=65535, ours=True),
    Parameter("mangle prefix", G, Kind.NUMBER, "1",
              "How many characters of the name a short name begins with; the more, the fewer are left to tell names "
              "apart.",
              minimum=1, maximum=6, clamp=True, ours=True),
    Parameter("mangling method", G, Kind.CHOICE, "hash2",
              "How short names are made: hash2 makes those of Samba.", choices=("hash2",), ours=True),
    Parameter("map to guest", G, Kind.CHOICE, "never",
              "When a failed log-on becomes a guest log-on: never, or bad user if the user does not exist.",
              choices=("never", "bad user"), old=_OLD_GUESTS),
    Parameter("max active sessions", G, Kind.NUMBER, "1024",
              "Sessions that may exist at once; 0 means the maximum.", maximum=CAP, clamp=True, zero_is_maximum=True),
    Parameter("max connections", G, Kind.NUMBER, "256",
              "Connections that may exist at once; 0 means the maximum.", maximum=CAP, clamp=True, zero_is_maximum=True,
              samba="0"),
    Parameter("max ip connections", G, Kind.NUMBER, "32",
              "Connections that may exist at once from one address; 0 means the maximum.",
              maximum=CAP, clamp=True, zero_is_maximum=True, samba="0"),
    Parameter("max log size", G, Kind.NUMBER, "5000",
              "The size in KiB at which `log file` is renamed, with `.old` behind its name; 0 means never.",
              maximum=1 << 40, clamp=True, ours=True),
    Parameter("max open files", G, Kind.NUMBER, "10000",
              "Files that a client may have open at once; 0 means the maximum.",
              maximum=CAP, clamp=True, zero_is_maximum=True, samba="16384"),
    Parameter("min domain uid", G, Kind.NUMBER, "1000",
              "The lowest uid of a Unix account that may log on with a Kerberos ticket without being in the user "
              "database.", ours=True),
    Parameter("netbios name", G, Kind.STRING, "KSMBD SERVER",
              "The server's NetBIOS name.", maximum=15, cut=True),
    Parameter("ntlm auth", G, Kind.CHOICE, "ntlmv2-only",
              "The NTLM versions that are accepted: ntlmv2-only; ntlmv1-permitted accepts NTLMv1, too; disabled none.",
              choices=("ntlmv2-only", "ntlmv1-permitted", "disabled"),
              aliases={"yes": "ntlmv1-permitted", "true": "ntlmv1-permitted", "1": "ntlmv1-permitted",
                       "no": "ntlmv2-only", "false": "ntlmv2-only", "0": "ntlmv2-only",
                       "mschapv2-and-ntlmv2-only": "ntlmv2-only"}, ours=True),
    Parameter("pam password change", G, Kind.BOOLEAN, "no",
              "With `unix password sync`: Unix passwords are changed through PAM. There is no other way here: `passwd "
              "program` and `passwd chat` are not used.", ours=True),
    Parameter("restrict anonymous", G, Kind.NUMBER, "0",
              "1 and 2 refuse anonymous sessions access to IPC$ and to shares without `guest ok`.", maximum=2),
    Parameter("root directory", G, Kind.STRING, "",
              "A directory that is prepended to the path of every share.", synonyms=("root", "root dir")),
    Parameter("server max protocol", G, Kind.CHOICE, "SMB3_11",
              "The highest dialect that is negotiated.", choices=tuple(PROTOCOLS), aliases=_PROTOCOL_ALIASES,
              synonyms=("max protocol", "protocol"), old=_OLD_MAXIMA),
    Parameter("server min protocol", G, Kind.CHOICE, "SMB2_02",
              "The lowest dialect that is negotiated. The default of ksmbd-tools is SMB2_10, because the kernel's "
              "server has no SMB2_02; some scanners and players speak nothing newer.", choices=tuple(PROTOCOLS),
              aliases=_PROTOCOL_ALIASES, synonyms=("min protocol",), old=_OLD_MINIMA),
    Parameter("server multi channel support", G, Kind.BOOLEAN, "no",
              "Multichannel: let a session use several connections.", samba="yes"),
    Parameter("server signing", G, Kind.CHOICE, "auto",
              "Signing: auto and enabled sign if the client requires it; mandatory requires it of all clients; "
              "disabled does not offer it (the session is still signed if the client requires it).",
              choices=_SIGNING_CHOICES,
              aliases={"default": "auto", "if_required": "auto", "required": "mandatory", "desired": "enabled",
                       "yes": "enabled", "no": "disabled", "off": "disabled"}),
    Parameter("server string", G, Kind.STRING, "SMB SERVER",
              "The comment that browse lists show for the server.", maximum=63, cut=True),
    Parameter("share:fake_fscaps", G, Kind.NUMBER, "64",
              "File system attributes (MS-FSCC 2.5.1) that are reported in addition to the real ones; 64 means sparse "
              "files.",
              maximum=0xFFFFFFFF, samba="0"),
    Parameter("smb2 leases", G, Kind.BOOLEAN, "no",
              "Grant leases, with which a client's opens of a file share one cache.", samba="yes"),
    Parameter("smb2 max credits", G, Kind.NUMBER, "8192",
              "Credits that a client may hold: the number of requests that may be outstanding on a connection.",
              minimum=1, maximum=65535, clamp=True),
    Parameter("smb2 max read", G, Kind.SIZE, "4MB",
              "The largest READ, in bytes (MaxReadSize). Like the next two it is a 256th of the memory at most, where "
              "a control group leaves the server little.", samba="8MB",
              minimum=_IO_LEAST, maximum=_IO_MOST, clamp=True),
    Parameter("smb2 max trans", G, Kind.SIZE, "8MB",
              "The largest buffer of QUERY_INFO, SET_INFO, QUERY_DIRECTORY and CHANGE_NOTIFY, in bytes "
              "(MaxTransactSize). The default of ksmbd-tools is 1MB; Windows has 8MB, and some clients need that for "
              "listings.",
              minimum=_IO_LEAST, maximum=_IO_MOST, clamp=True),
    Parameter("smb2 max write", G, Kind.SIZE, "4MB", "The largest WRITE, in bytes (MaxWriteSize).", samba="8MB",
              minimum=_IO_LEAST, maximum=_IO_MOST, clamp=True),
    Parameter("smb3 encryption", G, Kind.CHOICE, "auto",
              "Encryption: disabled never encrypts, auto encrypts if the client or a share requires it, enabled if the "
              "client supports it, mandatory always, and refuses clients that do not support it.",
              choices=_SIGNING_CHOICES, aliases=_ENCRYPTION_ALIASES, synonyms=("server smb encrypt", "smb encrypt"),
              old=_OLD_ENCRYPTION),
    Parameter("smbd max io size", G, Kind.SIZE, "8MB",
              "The largest read or write over SMB Direct, in bytes, which our engine does not have.",
              minimum=512 << 10, maximum=16 << 20, clamp=True, pending=True),
    Parameter("tcp port", G, Kind.NUMBER, "445", "The TCP port to listen on; option -p of ksmbd.mountd overrides it.",
              minimum=1, maximum=65535, synonyms=("smb ports",)),
    Parameter("trace keys", G, Kind.BOOLEAN, "yes",
              "Hand the keys of encrypted sessions to ksmbd.trace, which root alone can run, so that it can show what "
              "is encrypted. A reload changes it at once.",
              ours=True),
    Parameter("tune networks", G, Kind.LIST, "",
              "Socket buffer sizes for client networks, set by a BPF program. An item is NETWORK=SEND/RECEIVE, with "
              "sizes in bytes or with K or M, such as 10.0.0.0/8=4M/1M; a single size counts for both. Other clients "
              "have the system's sizes.",
              ours=True),
    Parameter("unix password sync", G, Kind.BOOLEAN, "no",
              "With `pam password change = yes`: whoever changes a password over the network, or by ksmbd.adduser -u, "
              "changes the password of the Unix account, too. Where PAM refuses it, neither is changed. Its service is "
              "ksmbd where /etc/pam.d/ksmbd is there (contrib/pam has one), else passwd. Only a Unix password that can "
              "be used is changed: an account that has none, or a locked one, or one that has expired for good, or is "
              "not in the shadow database, stays as it is, and so does root. So nobody can log in at the machine who "
              "could not before.", ours=True),
    Parameter("username map", G, Kind.STRING, "",
              "A file that maps the names that clients log on with to users: lines of the form user = name @group \"a "
              "name\", * for all names; of several lines for a name the last one counts, or the first that begins with "
              "!. It is read at start and at a reload.",
              maximum=4095, ours=True),
    Parameter("username map cache time", G, Kind.NUMBER, "0",
              "For how many seconds an answer of `username map script` counts; 10 at least. The file of `username map` "
              "is read at start and at a reload.", maximum=86400 * 365, clamp=True, ours=True),
    Parameter("username map script", G, Kind.STRING, "",
              "A program that maps names instead of `username map`: it gets the name that a client logs on with as its "
              "last argument, and prints the user's in its first line. It runs as nobody, without a shell, and has 4 "
              "seconds. Where it fails or prints nothing, the name stays.", maximum=4095, ours=True),
    Parameter("workers", G, Kind.NUMBER, "0",
              "The number of worker processes; 0 means one for each CPU.", maximum=256, ours=True),
    Parameter("workgroup", G, Kind.STRING, "WORKGROUP", "The server's workgroup.",
              maximum=63, cut=True),
    # Shares
    Parameter("admin users", S, Kind.LIST, "",
              "Users who access this share as root. Whether they may write, `read only` and the lists say. What they "
              "make is root's, and their group's."),
    Parameter("available", S, Kind.BOOLEAN, "yes", "no: the share is not there for clients.", ours=True),
    Parameter("browseable", S, Kind.BOOLEAN, "yes", "Show the share in browse lists.", synonyms=("browsable",)),
    Parameter("change notify", S, Kind.BOOLEAN, "yes", "Report changes in directories that clients watch.",
              ours=True),
    Parameter("comment", S, Kind.STRING, "", "The comment that browse lists show for the share.",
              maximum=4095, cut=True),
    Parameter("continuous availability", S, Kind.BOOLEAN, "no",
              "Grant persistent handles, which survive a restart of the server.", ours=True),
    Parameter("crossmnt", S, Kind.BOOLEAN, "yes",
              "Let clients access file systems that are mounted below the share's path."),
    Parameter("delete veto files", S, Kind.BOOLEAN, "no",
              "When a client deletes a directory that contains only entries of `veto files`, delete these, too.",
              ours=True),
    Parameter("follow symlinks", S, Kind.BOOLEAN, "no",
              "Follow symbolic links that stay inside the share.", samba="yes"),
    Parameter("guest account", S, Kind.STRING, "",
              "The Unix account with whose rights guests access this share; empty means that of [global].",
              maximum=47, inherits=False),
    Parameter("guest ok", S, Kind.BOOLEAN, "no", "Admit guests.", synonyms=("public",)),
    Parameter("guest only", S, Kind.BOOLEAN, "no",
              "With `guest ok`, all users access the share as guests.", synonyms=("only guest",), ours=True),
    Parameter("hosts allow", S, Kind.LIST, "",
              "Clients that may use the share; empty means all. An item is an address, a network (10.1.0.0/16, "
              "10.1.0.0/255.255.0.0), the beginning of an IPv4 address with a final dot, a host name, a .domain, a "
              "pattern with * and ?, a netgroup as @group, or ALL, LOCAL, KNOWN, UNKNOWN, PARANOID or FAIL as in "
              "hosts_access(5); items after EXCEPT are excluded from those before it. A host name stands for its "
              "addresses; the other forms compare the names of the client's address that resolve back to it. If a "
              "name cannot be looked up within 5 seconds, clients that it might admit are refused.",
              synonyms=("allow hosts",)),
    Parameter("hosts deny", S, Kind.LIST, "",
              "Clients that may not use the share, with items as in `hosts allow`, which takes precedence. Here, a "
              "client's names also count if they do not resolve back to its address. If a name cannot be looked up, "
              "clients that it might mean are refused. A name without an address matches no client and gives a "
              "warning.",
              synonyms=("deny hosts",)),
    Parameter("invalid users", S, Kind.LIST, "",
              "Users, and groups as @group, who may not connect; takes precedence over `valid users`. In all lists of "
              "users, the guest account stands for guests and anonymous users."),
    Parameter("kernel oplocks", S, Kind.BOOLEAN, "no",
              "Break a client's oplock or lease when a local process or an NFS client opens the file. That waits until "
              "the client has acknowledged the break, at most 35 seconds or /proc/sys/fs/lease-break-time, if that is "
              "less. Clients cache nothing while another open of the file can write, and nothing at all where the "
              "file system has no leases.",
              ours=True),
    Parameter("max connections", S, Kind.NUMBER, "128",
              "Connections that may use the share at once; 0 means the maximum.",
              maximum=CAP, clamp=True, zero_is_maximum=True, inherits=False, samba="0"),
    Parameter("msdfs proxy", S, Kind.STRING, "",
              "With `host msdfs`: refer clients of this share to others, as in `\\\\server\\share,\\\\other\\share`. "
              "Nobody can connect to the share itself.",
              ours=True),
    Parameter("msdfs root", S, Kind.BOOLEAN, "no",
              "With `host msdfs`: the share is a DFS root. A symbolic link in it to `msdfs:server\\share` refers "
              "clients to that share; several, with commas between them, are alternatives.",
              ours=True),
    Parameter("oplocks", S, Kind.BOOLEAN, "yes", "Grant oplocks and leases."),
    Parameter("path", S, Kind.STRING, "", "The directory that is shared, an absolute path.", synonyms=("directory",)),
    Parameter("posix locking", S, Kind.CHOICE, "auto",
              "Map byte-range locks of clients to POSIX locks (fcntl), so that clients, local processes and NFS "
              "clients respect each other's locks. Locks of length 0 or beyond 2^63 bytes are not mapped. auto: reads "
              "and writes meet the locks of local processes only through an open that has locked something itself, and "
              "nothing is mapped where the share's folder is on another machine or in FUSE.",
              choices=("auto", "yes", "no"), aliases=WORDS, ours=True, samba="yes"),
    Parameter("read list", S, Kind.LIST, "",
              "Users, and groups as @group, who may only read, whatever `read only` and `write list` say."),
    Parameter("read only", S, Kind.BOOLEAN, "yes",
              "Refuse writing, except by the users in `write list`. `writable`, `writeable` and `write ok` have the "
              "opposite meaning; of several the first one counts, in the order read only, writable, writeable, "
              "write ok."),
    Parameter("shadow:basedir", S, Kind.STRING, "",
              "The folder of which snapshots are taken: that of the share or one above it, up to the mount point. "
              "Empty means the mount point.", ours=True),
    Parameter("shadow:crossmountpoints", S, Kind.BOOLEAN, "no",
              "With `shadow:snapdirseverywhere`, look for snapshots above the mount point of the share, too.",
              ours=True),
    Parameter("shadow:delimiter", S, Kind.STRING, "_GMT",
              "With `shadow:snapprefix`, the text between the prefix and the time in a snapshot's name; "
              "`shadow:format` begins with it.", ours=True),
    Parameter("shadow:format", S, Kind.STRING, "@GMT-%Y.%m.%d-%H.%M.%S",
              "The names of snapshots, with those conversions of strptime(3) that stand for numbers or months. Entries "
              "with other names are no snapshots.", ours=True),
    Parameter("shadow:localtime", S, Kind.BOOLEAN, "no",
              "The names of snapshots contain the local time instead of UTC.", ours=True),
    Parameter("shadow:mountpoint", S, Kind.STRING, "",
              "The mount point of the file system that the share is on; empty means the highest folder above the "
              "share's that is on the same device.", ours=True),
    Parameter("shadow:snapdir", S, Kind.STRING, ".snapshots",
              "The directory of the snapshots with `vfs objects = shadow_copy2`, absolute or below the mount point.",
              ours=True),
    Parameter("shadow:snapdirseverywhere", S, Kind.BOOLEAN, "no",
              "Look for a relative `shadow:snapdir` in the folder of a file and in all folders above it, up to the "
              "mount point.", ours=True),
    Parameter("shadow:snapprefix", S, Kind.STRING, "",
              "A basic regular expression for the part of a snapshot's name before the time.", ours=True),
    Parameter("shadow:snapsharepath", S, Kind.STRING, "",
              "The path of the share's folder in a snapshot; empty means its path below `shadow:basedir`.", ours=True),
    Parameter("shadow:sort", S, Kind.STRING, "desc",
              "The order in which snapshots are listed: desc (newest first), asc, or any other text for the order of "
              "the folder.",
              ours=True),
    Parameter("shadow:sscanf", S, Kind.BOOLEAN, "no",
              "`shadow:format` contains %lu, which stands for the seconds since 1970.", ours=True),
    Parameter("smb3 encryption", S, Kind.CHOICE, "auto",
              "mandatory encrypts all traffic of the share and refuses clients that do not support it; enabled "
              "encrypts if the client supports it; auto and disabled require nothing. The value in [global] "
              "still applies to "
              "whole sessions.",
              choices=_SIGNING_CHOICES, aliases=_ENCRYPTION_ALIASES, inherits=False, synonyms=("smb encrypt",),
              old=_OLD_ENCRYPTION, ours=True),
    Parameter("snapshot path", S, Kind.STRING, "",
              "Offer snapshots as previous versions. The value is `shadow:snapdir` and `shadow:format` in one, such as "
              ".snapshots/%Y-%m-%d_%H%M; without a % it is the folder alone. With * in place of a time, as in "
              "snapper's .snapshots/*/snapshot, snapshots are subvolumes of btrfs, and their time is that of their "
              "creation. This parameter takes precedence over both and needs no `vfs objects`.",
              ours=True),
    Parameter("streams_xattr:max xattrs per stream", S, Kind.NUMBER, "16",
              "Extended attributes, of 64 KiB at most, that the data of a named stream may take. What fits one is "
              "stored as all versions of Samba do it; more than one Samba reads from version 4.24 on, with the same "
              "parameter. File systems may allow less: ext4 without the feature ea_inode 4 KiB for all attributes "
              "of a file.",
              minimum=1, maximum=16, ours=True, samba="1"),
    Parameter("valid users", S, Kind.LIST, "",
              "Users, and groups as @group, who may connect; empty means all."),
    Parameter("veto files", S, Kind.PATTERNS, "",
              "Names of files and directories that clients can neither see nor access."),
    Parameter("vfs objects", S, Kind.LIST, "",
              "acl_xattr stores Windows' access control lists, streams_xattr named streams, both in extended "
              "attributes; shadow_copy2 offers snapshots as previous versions; catia maps characters of names.",
              choices=("acl_xattr", "streams_xattr", "shadow_copy2", "catia"), synonyms=("vfs object",)),
    Parameter("wide links", S, Kind.BOOLEAN, "no",
              "With `follow symlinks`, also follow symbolic links that lead out of the share.", ours=True),
    Parameter("writable", S, Kind.BOOLEAN, "", "The opposite of `read only`."),
    Parameter("write list", S, Kind.LIST, "",
              "Users, and groups as @group, who may write although the share is read only."),
    Parameter("write ok", S, Kind.BOOLEAN, "", "The opposite of `read only`."),
    Parameter("writeable", S, Kind.BOOLEAN, "", "The opposite of `read only`."),
    *NAME_PARAMETERS,
    *PERMISSION_PARAMETERS,
)

READ_ONLY_PRECEDENCE = ("read only", "writable", "writeable", "write ok")
"""The first of these that is set counts; all except the first have the opposite meaning."""


def by_name(scope: Scope, parameters: Iterable[Parameter] = PARAMETERS) -> dict[str, Parameter]:
    """The parameters of a scope by name."""
    return {parameter.name: parameter for parameter in parameters if parameter.scope is scope}


GLOBAL_PARAMETERS = by_name(Scope.GLOBAL)
SHARE_PARAMETERS = by_name(Scope.SHARE)
