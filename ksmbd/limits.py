# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of limits: everything that a peer can hold or make the server do, and how much of it.

Code that enforces a limit takes its number from here: the `value` of the entry, or the parameter of ksmbd.conf that the
entry names (`value` is then its default). scripts/limits.py writes docs/limits.md from the table. Limits that the
specification or a wire field sets are here, too, if a peer may reach them.
"""
from __future__ import annotations

from typing import Final

from ksmbd.limit import TABLE as TABLE  # read by those who need all of the limits
from ksmbd.limit import Limit, Per
from ksmbd.limit import limit as _limit

CONNECTIONS: Final[Limit] = _limit(
    "connections", Per.SERVER, 256, "connections",
    "one without a session is closed for it, of the address that has most; where each has one, the new one",
    "max connections", "KSMBD",
)
CONNECTIONS_PER_ADDRESS: Final[Limit] = _limit(
    "connections of an address", Per.ADDRESS, 32, "connections",
    "its oldest one without a session is closed for it; where each has one, the new one", "max ip connections", "KSMBD",
)
CONNECTIONS_BEFORE_LOGON: Final[Limit] = _limit(
    "connections without a session (IPv6: of a /64 network)", Per.ADDRESS, 256, "connections of a worker",
    "its oldest one without a session is closed",
)
FRAME_BEFORE_LOGON: Final[Limit] = _limit(
    "message before log-on (a token and its headers), of which no more than twice what has come is set aside",
    Per.MESSAGE, 68 << 10, "bytes", "the connection ends", source="MS-SMB2 3.3.5.1",
)
SECONDS_BEFORE_LOGON: Final[Limit] = _limit(
    "time without a session", Per.CONNECTION, 60, "seconds", "the connection ends",
)
SECONDS_UNREAD: Final[Limit] = _limit(
    "time in which a client reads nothing of what waits for it", Per.CONNECTION, 60, "seconds", "the connection ends",
)
REPLIES_UNREAD: Final[Limit] = _limit(
    "replies that the client has not read", Per.CONNECTION, 4 << 20, "bytes",
    "its further requests are not read until it reads",
)
REPLIES_UNREAD_ALL: Final[Limit] = _limit(
    "replies that all clients have not read (at most a sixteenth of the memory)", Per.SERVER, 256 << 20, "bytes",
    "further requests are read of those alone who have read all of theirs",
)
REPLIES_OFFLOADED: Final[Limit] = _limit(
    "replies that helper threads sign or encrypt", Per.CONNECTION, 8 << 20, "bytes",
    "the worker signs and encrypts itself, and the client waits",
)
CREDITS: Final[Limit] = _limit(
    "credits", Per.CONNECTION, 8192, "credits", "no further credits are granted", "smb2 max credits", "MS-SMB2 3.3.1.2",
)
COMPOUND_REPLIES: Final[Limit] = _limit(
    "replies to a compound", Per.MESSAGE, 6 << 20, "bytes",
    "the further elements are not carried out: STATUS_INSUFFICIENT_RESOURCES", source="MS-SMB2 2.1",
)
NETBIOS_SESSION_REQUEST: Final[Limit] = _limit(
    "NetBIOS session request", Per.MESSAGE, 512, "bytes", "the connection ends", source="RFC 1002 4.1",
)

LOG_LINES_OF_A_KIND: Final[Limit] = _limit(
    "log lines of one kind about one address, in five seconds", Per.ADDRESS, 10, "lines",
    "the further ones are counted, and a line says how many",
)
LOG_LINES: Final[Limit] = _limit(
    "log lines about clients, in five seconds", Per.SERVER, 100, "lines of a process",
    "the further ones are counted, and a line says how many",
)
LOG_KEYS: Final[Limit] = _limit(
    "kinds and addresses whose log lines are counted", Per.SERVER, 1024, "kinds and addresses of a process",
    "those heard of longest ago are counted together",
)
REFUSALS_OF_ADDRESS: Final[Limit] = _limit(
    "log lines about refusals of one address, in ten seconds", Per.ADDRESS, 10, "lines of a process",
    "the further ones are counted, and a line says how many",
)
REFUSALS: Final[Limit] = _limit(
    "log lines about refusals, in ten seconds", Per.SERVER, 1000, "lines of a process",
    "the further ones are counted by address, and a line says how many",
)
AUDIT_SECONDS: Final = 5.0
AUDIT_RECORDS_OF_USER: Final[Limit] = _limit(
    "records of audited accesses by one user from one address, in five seconds", Per.USER, 1000, "records of a worker",
    "the further ones are counted and left out",
)
AUDIT_RECORDS: Final[Limit] = _limit(
    "records of audited accesses, in five seconds", Per.SERVER, 5000, "records of a worker",
    "the further ones are counted and left out",
)
TRACEBACKS_OF_A_PLACE: Final[Limit] = _limit(
    "tracebacks from one place in the source, in a minute", Per.SERVER, 3, "tracebacks of a process",
    "the further ones are counted, and a line says how many",
)
TRACEBACKS: Final[Limit] = _limit(
    "tracebacks, in a minute", Per.SERVER, 20, "tracebacks of a process",
    "the further ones are counted, and a line says how many",
)

# ---------------------------------------------------------------------------------------------------- log-on, sessions

SESSIONS: Final[Limit] = _limit(
    "sessions", Per.SERVER, 1024, "sessions", "STATUS_TOO_MANY_SESSIONS", "max active sessions", "KSMBD",
)
SESSIONS_PER_USER: Final[Limit] = _limit(
    "sessions of a user, or of all guests and anonymous callers (seven eighths of `max active sessions`)", Per.USER,
    896, "sessions", "STATUS_TOO_MANY_SESSIONS",
)
GUEST_SESSIONS_PER_ADDRESS: Final[Limit] = _limit(
    "sessions of guests and anonymous callers (half of `max active sessions`)", Per.ADDRESS, 512, "sessions",
    "STATUS_TOO_MANY_SESSIONS",
)
LOGONS_IN_PROGRESS_PER_CONNECTION: Final[Limit] = _limit(
    "log-ons in progress on a connection", Per.CONNECTION, 16, "log-ons", "the oldest of them ends",
)
LOGONS_IN_PROGRESS_PER_ADDRESS: Final[Limit] = _limit(
    "log-ons in progress from an address (IPv6: a /64 network)", Per.ADDRESS, 128, "log-ons of a worker",
    "the oldest of them ends",
)
LOGONS_IN_PROGRESS: Final[Limit] = _limit(
    "log-ons in progress", Per.SERVER, 1024, "log-ons of a worker",
    "the oldest of the address that has most of them ends",
)
LOGON_IN_PROGRESS_SECONDS: Final[Limit] = _limit(
    "time between the rounds of a log-on", Per.SESSION, 60, "seconds", "the log-on ends", source="MS-SMB2 3.3.6.3",
)
LOGON_ROUND_SECONDS: Final[Limit] = _limit(
    "time that the daemon may take for a log-on, and time before it is its turn, together", Per.MESSAGE, 10, "seconds",
    "STATUS_IO_TIMEOUT",
)
LOGONS_AT_ONCE: Final[Limit] = _limit(
    "rounds of log-ons that are worked on at once (IPv6: of a /64 network)", Per.ADDRESS, 16, "rounds",
    "the further ones wait for their turn",
)
TRACED_SESSIONS: Final[Limit] = _limit(
    "encrypted sessions that have ended and whose keys are kept for a running ksmbd.trace", Per.SERVER, 4096,
    "sessions of a worker", "those of the oldest are forgotten",
)
CHANNELS_PER_SESSION: Final[Limit] = _limit(
    "channels", Per.SESSION, 32, "connections", "STATUS_INSUFFICIENT_RESOURCES", source="as Windows",
)
LOGON_TOKEN: Final[Limit] = _limit(
    "log-on token", Per.MESSAGE, 65535, "bytes", "STATUS_INVALID_PARAMETER", source="MS-SMB2 2.2.5",
)
LOGON_MECHANISMS: Final[Limit] = _limit(
    "mechanisms of a log-on token", Per.MESSAGE, 32, "object identifiers", "STATUS_INVALID_PARAMETER",
    source="RFC 4178 4.2.1",
)
LOGON_NESTING: Final[Limit] = _limit(
    "nesting inside one field of a log-on token", Per.MESSAGE, 4, "levels", "STATUS_INVALID_PARAMETER",
    source="RFC 4178 4.2.1",
)
LOGON_IDENTIFIER: Final[Limit] = _limit(
    "object identifier in a log-on token", Per.MESSAGE, 64, "bytes", "STATUS_INVALID_PARAMETER",
)
NTLM_NEGOTIATE: Final[Limit] = _limit(
    "NEGOTIATE_MESSAGE of NTLMSSP, which is kept", Per.MESSAGE, 2048, "bytes", "STATUS_INVALID_PARAMETER",
    source="MS-NLMP 2.2.1.1",
)
NTLM_AV_PAIRS: Final[Limit] = _limit(
    "AV_PAIRs of an NTLMv2 response", Per.MESSAGE, 32, "pairs", "STATUS_INVALID_PARAMETER", source="MS-NLMP 2.2.2.1",
)
KERBEROS_REPLAYS: Final[Limit] = _limit(
    "log-ons with Kerberos that are remembered for ten minutes, so that none is repeated", Per.SERVER, 1 << 16,
    "log-ons", "further ones are refused: STATUS_LOGON_FAILURE", source="RFC 4120 3.2.3",
)
KERBEROS_REPLAYS_PER_USER: Final[Limit] = _limit(
    "log-ons with Kerberos in ten minutes", Per.USER, 4096, "log-ons", "further ones are refused: STATUS_LOGON_FAILURE",
)
FORMER_USERS: Final[Limit] = _limit(
    "users whose SIDs of a former server count (ksmbd.sidhistory)", Per.SERVER, 800, "users",
    "the server does not start, ksmbd.adduser takes no more",
)
KERBEROS_SIDS: Final[Limit] = _limit(
    "groups in a Kerberos ticket's PAC", Per.SESSION, 1024, "SIDs", "STATUS_LOGON_FAILURE", source="MS-PAC 2.5",
)
KERBEROS_BACKLOG: Final[Limit] = _limit(
    "what the process of Kerberos has not taken", Per.SERVER, 4 << 20, "bytes", "STATUS_INSUFF_SERVER_RESOURCES",
)
KERBEROS_SECONDS: Final[Limit] = _limit(
    "time without an answer of the process of Kerberos", Per.SERVER, 10, "seconds",
    "it is killed and started again: STATUS_LOGON_FAILURE",
)
KERBEROS_MEMORY: Final[Limit] = _limit(
    "memory of the process of Kerberos", Per.SERVER, 128 << 20, "bytes", "it ends and is started again",
)
FAILED_LOGONS: Final[Limit] = _limit(
    "failed log-ons of an account in a row", Per.USER, 10, "log-ons", "further failures are answered 5 s later",
    source="KSMBD",
)
ACCOUNTS_WITH_FAILURES: Final[Limit] = _limit(
    "account names whose failed log-ons are counted", Per.SERVER, 4096, "names", "the oldest is forgotten",
)
GROUPS_PER_USER: Final[Limit] = _limit(
    "groups of a user", Per.USER, 16000, "groups", "the further ones do not count",
)
LOOKUPS: Final[Limit] = _limit(
    "clients whose names are being looked up", Per.SERVER, 1024, "clients", "the share is refused",
)
LOOKUP_SECONDS: Final[Limit] = _limit(
    "time that looking up a name may take", Per.TREE_CONNECT, 5, "seconds", "the name counts as not known",
)
NAMES_KEPT: Final[Limit] = _limit(
    "clients' addresses whose names are remembered", Per.SERVER, 4096, "addresses", "the oldest is forgotten",
)
DAEMON_QUESTIONS: Final[Limit] = _limit(
    "questions to ksmbd.mountd under way", Per.SERVER, 8192, "questions of a worker", "the request fails",
)

# --------------------------------------------------------------------------------------------------- names and requests

WAITING_REQUESTS: Final[Limit] = _limit(
    "requests that wait: for changes, locks, breaks, pipes", Per.CONNECTION, 511, "requests",
    "STATUS_INSUFFICIENT_RESOURCES", source="MS-SMB2 3.3.4.2; as Samba",
)
WAITING_BYTES: Final[Limit] = _limit(
    "messages that are kept for requests that wait", Per.CONNECTION, 64 << 20, "bytes", "STATUS_INSUFFICIENT_RESOURCES",
)
COMPOUND_ELEMENTS: Final[Limit] = _limit(
    "requests of a compound", Per.MESSAGE, 1024, "requests", "the connection ends",
)

TREE_CONNECT_PATH: Final[Limit] = _limit(
    "path of TREE_CONNECT", Per.MESSAGE, 2048, "bytes", "STATUS_INVALID_PARAMETER",
)
PATH: Final[Limit] = _limit(
    "path", Per.MESSAGE, 32760, "UTF-16 code units", "STATUS_OBJECT_NAME_INVALID", source="MS-FSCC 2.1.5",
)
COMPONENT: Final[Limit] = _limit(
    "component of a path", Per.MESSAGE, 255, "UTF-16 code units", "STATUS_OBJECT_NAME_INVALID", source="MS-FSCC 2.1.5",
)
CREATE_CONTEXTS: Final[Limit] = _limit(
    "create contexts of CREATE", Per.MESSAGE, 64, "contexts", "STATUS_INVALID_PARAMETER",
    source="MS-SMB2 2.2.13.2 has 14 kinds",
)
EA_LIST: Final[Limit] = _limit(
    "list of extended attributes", Per.MESSAGE, 64 << 10, "bytes",
    "STATUS_EA_TOO_LARGE; for a list of names STATUS_INVALID_PARAMETER", source="MS-FSA 2.1.5.1; as NTFS",
)
ALLOCATED_RANGES: Final[Limit] = _limit(
    "ranges in an answer to FSCTL_QUERY_ALLOCATED_RANGES", Per.MESSAGE, 4096, "ranges",
    "STATUS_BUFFER_OVERFLOW, with the first ones", source="MS-FSCC 2.3.56",
)
COPY_CHUNKS: Final[Limit] = _limit(
    "ranges of FSCTL_SRV_COPYCHUNK", Per.MESSAGE, 256, "ranges", "STATUS_INVALID_PARAMETER, with the limits",
    source="MS-SMB2 3.3.3",
)
COPY_CHUNK_SIZE: Final[Limit] = _limit(
    "one range of FSCTL_SRV_COPYCHUNK", Per.MESSAGE, 1 << 20, "bytes", "STATUS_INVALID_PARAMETER, with the limits",
    source="MS-SMB2 3.3.3",
)
COPY_TOTAL_SIZE: Final[Limit] = _limit(
    "all ranges of FSCTL_SRV_COPYCHUNK", Per.MESSAGE, 16 << 20, "bytes",
    "STATUS_INVALID_PARAMETER, with the limits", source="MS-SMB2 3.3.3",
)
ACCESS_CONTROL_ENTRIES: Final[Limit] = _limit(
    "entries of an access control list", Per.FILE, 1024, "entries", "STATUS_INVALID_ACL",
)
EXTENDED_ATTRIBUTES: Final[Limit] = _limit(
    "extended attributes", Per.FILE, 1024, "attributes", "STATUS_EA_TOO_LARGE",
)
TRIM_RANGES: Final[Limit] = _limit(
    "ranges of FSCTL_FILE_LEVEL_TRIM", Per.MESSAGE, 4096, "ranges", "STATUS_INVALID_PARAMETER",
)
LOCK_SEQUENCES: Final[Limit] = _limit(
    "lock sequence numbers that are remembered", Per.OPEN, 64, "buckets", "the lock is not verified for replay",
    source="MS-SMB2 3.3.5.14",
)
LOCK_ELEMENTS: Final[Limit] = _limit(
    "ranges of LOCK", Per.MESSAGE, 512, "ranges", "STATUS_INSUFFICIENT_RESOURCES",
)

# ----------------------------------------------------------------------------------------------------- files, watches

OPENS: Final[Limit] = _limit(
    "opens (a user: seven eighths)", Per.SERVER, 10000, "opens of a worker", "STATUS_TOO_MANY_OPENED_FILES",
    "max open files", "KSMBD",
)
TREE_CONNECTS_PER_SESSION: Final[Limit] = _limit(
    "tree connects of a session", Per.SESSION, 1024, "tree connects", "STATUS_INSUFFICIENT_RESOURCES",
)
TREE_CONNECTS_PER_USER: Final[Limit] = _limit(
    "tree connects of a user, or of all guests and anonymous callers", Per.USER, 14336, "tree connects of a worker",
    "STATUS_INSUFFICIENT_RESOURCES",
)
TREE_CONNECTS: Final[Limit] = _limit(
    "tree connects", Per.SERVER, 16384, "tree connects of a worker", "STATUS_INSUFFICIENT_RESOURCES",
)
FOLDERS_KEPT: Final[Limit] = _limit(
    "folders whose names are kept", Per.SERVER, 256, "folders of a worker", "the one unused for longest is read again",
)
FOLDER_NAMES_KEPT: Final[Limit] = _limit(
    "names kept, short ones too", Per.SERVER, 1_000_000, "names of a worker", "the same; one folder is always kept",
)
LISTED_ENTRIES_KEPT: Final[Limit] = _limit(
    "entries kept of folders that were listed", Per.SERVER, 16384, "entries of a worker", "they are read again",
)
REGULAR_FILES_KNOWN: Final[Limit] = _limit(
    "paths known to name regular files", Per.SERVER, 16384, "paths of a worker, of at most 255 bytes",
    "a look at the file's type precedes its open",
)
NAMES_REMEMBERED: Final[Limit] = _limit(
    "names remembered for 15 seconds after they go", Per.SERVER, 1024, "names of a worker", "the oldest is forgotten",
)
FOLDERS_READ: Final[Limit] = _limit(
    "large folders read piece by piece", Per.SERVER, 16, "folders of a worker", "the one begun first begins again",
)
VETOED_ENTRIES: Final[Limit] = _limit(
    "vetoed entries that go with a folder", Per.MESSAGE, 2048, "files and folders", "STATUS_DIRECTORY_NOT_EMPTY",
)
UNUSED_ALLOCATIONS: Final[Limit] = _limit(
    "files whose unused blocks wait", Per.SERVER, 256, "descriptors of a worker", "the blocks stay allocated",
)
DESCRIPTORS_KEPT: Final[Limit] = _limit(
    "descriptors that opens leave for connections, log-ons and the server itself", Per.SERVER, 12, "percent",
    "STATUS_TOO_MANY_OPENED_FILES",
)
DESCRIPTORS_OF_USER: Final[Limit] = _limit(
    "opens of a user, in parts of all descriptors, where three quarters of those are taken", Per.USER, 6, "percent",
    "STATUS_TOO_MANY_OPENED_FILES",
)
CHANGES_KEPT: Final[Limit] = _limit(
    "changes kept between two CHANGE_NOTIFY requests", Per.OPEN, 4096, "changes", "STATUS_NOTIFY_ENUM_DIR",
    source="MS-SMB2 3.3.4.4",
)
WATCHED_DIRECTORIES: Final[Limit] = _limit(
    "directories that a CHANGE_NOTIFY with WATCH_TREE watches", Per.OPEN, 16384, "directories",
    "STATUS_NOTIFY_ENUM_DIR at each request",
)
WATCHED_DEPTH: Final[Limit] = _limit(
    "depth that a CHANGE_NOTIFY with WATCH_TREE watches", Per.OPEN, 128, "directories",
    "STATUS_NOTIFY_ENUM_DIR at each request",
)
LOCKS_PER_OPEN: Final[Limit] = _limit(
    "byte-range locks of an open", Per.OPEN, 16384, "locks", "STATUS_INSUFFICIENT_RESOURCES",
)
LOCKS_PER_FILE: Final[Limit] = _limit(
    "byte-range locks of a file", Per.FILE, 32768, "locks of a stream", "STATUS_INSUFFICIENT_RESOURCES",
)
OPENS_PER_FILE: Final[Limit] = _limit(
    "opens of a file", Per.FILE, 16384, "opens", "STATUS_INSUFFICIENT_RESOURCES",
)
WAITERS_PER_FILE: Final[Limit] = _limit(
    "requests that wait for a file's oplocks, leases, locks and opens", Per.FILE, 512, "requests",
    "STATUS_INSUFFICIENT_RESOURCES",
)
LOCKS_PER_SESSION: Final[Limit] = _limit(
    "byte-range locks of a session", Per.SESSION, 32768, "locks", "STATUS_INSUFFICIENT_RESOURCES",
)
LOCKS: Final[Limit] = _limit(
    "byte-range locks", Per.SERVER, 65536, "locks", "STATUS_INSUFFICIENT_RESOURCES",
)

# ------------------------------------------------------------------------------------------------------ pipes in mountd

PIPES: Final[Limit] = _limit(
    "named pipes", Per.SERVER, 1024, "opens", "STATUS_INSUFFICIENT_RESOURCES",
)
SNAPSHOTS: Final[Limit] = _limit(
    "snapshots that a share's clients are told of", Per.SHARE, 4096, "snapshots", "the others are not listed",
)
QUOTA_ENTRIES: Final[Limit] = _limit(
    "quotas in one answer, or set by one request", Per.MESSAGE, 1024, "entries",
    "the next request goes on from there; STATUS_INVALID_PARAMETER where they are to be set",
)
SNAPSHOT_NAMES: Final[Limit] = _limit(
    "names in a folder of snapshots that are looked at", Per.SHARE, 8192, "names", "the others are no snapshots",
)
SNAPSHOT_SUBVOLUMES: Final[Limit] = _limit(
    "names in a folder of snapshots that are opened to see their times", Per.SHARE, 1024, "names",
    "the others are no snapshots",
)
SNAPSHOT_FOLDERS: Final[Limit] = _limit(
    "folders of snapshots whose lists are kept", Per.SERVER, 64, "folders of a worker",
    "the one unused for longest is listed again",
)
SNAPSHOT_ROOTS: Final[Limit] = _limit(
    "snapshots kept open beyond their files", Per.TREE_CONNECT, 16, "snapshots", "the one unused for longest is closed",
)
PIPES_PER_USER: Final[Limit] = _limit(
    "named pipes of a user (anonymous callers and guests are one)", Per.USER, 256, "opens",
    "STATUS_INSUFFICIENT_RESOURCES; the pipe of an anonymous caller or guest that was idle longest breaks instead",
)
PIPES_PER_SESSION: Final[Limit] = _limit(
    "named pipes of a session", Per.SESSION, 64, "opens", "STATUS_INSUFFICIENT_RESOURCES",
)
PIPE_IDLE: Final[Limit] = _limit(
    "time without a request after which a guest's pipe may be taken for another guest", Per.OPEN, 10, "seconds",
    "the pipe breaks where there is none for the other",
)
PIPE_QUEUE: Final[Limit] = _limit(
    "written to a named pipe and not yet taken by ksmbd.mountd", Per.OPEN, 256 << 10, "bytes",
    "STATUS_INSUFFICIENT_RESOURCES",
)
PIPE_QUEUES: Final[Limit] = _limit(
    "written to named pipes and not yet taken by ksmbd.mountd", Per.SERVER, 8 << 20, "bytes of a worker",
    "STATUS_INSUFFICIENT_RESOURCES",
)
RPC_BACKLOG: Final[Limit] = _limit(
    "what the process of the RPC services has not taken (anonymous callers and guests: half of it)", Per.SERVER,
    1 << 20, "bytes", "STATUS_INSUFFICIENT_RESOURCES",
)
RPC_SECONDS: Final[Limit] = _limit(
    "time without an answer of the process of the RPC services", Per.SERVER, 10, "seconds",
    "it is killed and started again, and open pipes break with STATUS_PIPE_BROKEN",
)
RPC_MEMORY: Final[Limit] = _limit(
    "memory of the process of the RPC services", Per.SERVER, 128 << 20, "bytes", "the pipe breaks",
)
RPC_REQUEST: Final[Limit] = _limit(
    "request on a named pipe", Per.OPEN, 256 << 10, "bytes", "the fault nca_s_fault_remote_no_memory",
    source="C706 12.6.3",
)
RPC_REPLIES: Final[Limit] = _limit(
    "replies on a named pipe that nobody read", Per.OPEN, 64, "messages", "the pipe breaks",
)
RPC_REPLY: Final[Limit] = _limit(
    "entries in one answer of an enumeration", Per.MESSAGE, 512 << 10, "bytes", "ERROR_MORE_DATA, and where to go on",
    source="MS-SRVS 3.1.4",
)
RPC_HELD: Final[Limit] = _limit(
    "unfinished requests and unread replies on a named pipe", Per.OPEN, 1 << 20, "bytes",
    "the fault nca_s_fault_remote_no_memory, and the pipe breaks",
)
RPC_HELD_BY_GUESTS: Final[Limit] = _limit(
    "unfinished requests and unread replies of all anonymous callers and guests", Per.SERVER, 4 << 20, "bytes",
    "the fault nca_s_fault_remote_no_memory, and the pipe breaks",
)
RPC_HELD_IN_ALL: Final[Limit] = _limit(
    "unfinished requests and unread replies on all named pipes", Per.SERVER, 16 << 20, "bytes",
    "the fault nca_s_fault_remote_no_memory, and the pipe breaks",
)
RPC_CONTEXTS: Final[Limit] = _limit(
    "presentation contexts of a named pipe", Per.OPEN, 32, "contexts", "the context is refused", source="C706 12.6.4",
)
RPC_SECURITY_CONTEXTS: Final[Limit] = _limit(
    "security contexts of a named pipe", Per.OPEN, 4, "contexts", "a fault, and the pipe breaks",
    source="MS-RPCE 3.3.1.5.2",
)
RPC_HANDLES: Final[Limit] = _limit(
    "context handles of a named pipe (policies, domains, users)", Per.OPEN, 256, "handles",
    "STATUS_INSUFFICIENT_RESOURCES",
)
RPC_NAMES: Final[Limit] = _limit(
    "names, SIDs or RIDs that one call translates", Per.MESSAGE, 1000, "entries", "STATUS_INVALID_PARAMETER",
    source="MS-LSAT 3.1.4.5, MS-SAMR 3.1.5.11.2",
)
DFS_TARGETS: Final[Limit] = _limit(
    "targets of a DFS link", Per.OPEN, 32, "targets", "the others are not told", source="MS-DFSC 2.2.4",
)
RPC_ROWS: Final[Limit] = _limit(
    "sessions, tree connects or opens that one call over RPC learns of", Per.MESSAGE, 10_000, "entries",
    "the others are not listed", source="MS-SRVS 3.1.4.2",
)
DFS_LINKS: Final[Limit] = _limit(
    "links of a DFS root that one call over RPC learns of", Per.MESSAGE, 1000, "links", "the others are not listed",
    source="MS-DFSNM 3.1.4.1.7",
)
DFS_ENTRIES: Final[Limit] = _limit(
    "entries of a folder among which such a call looks for links", Per.MESSAGE, 1 << 16, "entries",
    "links among the others are not found",
)
PASSWORD_CHANGES: Final[Limit] = _limit(
    "users' changes of their passwords that wait", Per.SERVER, 16, "changes", "STATUS_INSUFFICIENT_RESOURCES",
)
MAP_SCRIPT_SECONDS: Final[Limit] = _limit(
    "time that `username map script` may take", Per.SESSION, 4, "seconds", "the name stays as the client sent it",
)
MAPPED_NAMES_KEPT: Final[Limit] = _limit(
    "clients' names whose user by `username map script` is remembered", Per.SERVER, 1024, "names",
    "the oldest is forgotten",
)
UNIX_PASSWORD_SECONDS: Final[Limit] = _limit(
    "time that PAM may take for a Unix password", Per.SERVER, 20, "seconds", "neither password is changed",
)
RPC_STRING: Final[Limit] = _limit(
    "text in a request on a named pipe", Per.MESSAGE, 64 << 10, "code units", "a fault",
)
