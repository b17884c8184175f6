# SPDX-License-Identifier: GPL-2.0-or-later
"""The settings that mountd sends to the engine at start: EngineSettings, and its two messages.

STARTING_UP is KSMBD's structure of 744 bytes; SETTINGS has the values that KSMBD has no field for. Each value is in one
of the two only.
"""
from __future__ import annotations

import select
import time
from dataclasses import dataclass
from typing import Any, Final

from ksmbd import limits
from ksmbd.ipc.channel import Channel
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, Event, GlobalFlag
from ksmbd.ipc.messages import text_of
from ksmbd.ipc.options import NO, YES, number, required, switch
from ksmbd.smb.status import WireError

SIGNING_WORDS: Final = ("disabled", "enabled", "auto", "mandatory")
"""The field `signing` of STARTING_UP is an index into this tuple (KSMBD's three values, and `mandatory`)."""

_NUMBERS: Final = (
    "tcp_port", "ipc_timeout", "deadtime", "file_max", "smb2_max_write", "smb2_max_read", "smb2_max_trans",
    "share_fake_fscaps", "smb2_max_credits", "smbd_max_io_size", "max_connections", "max_ip_connections",
)  # fmt: skip


_FLAGS: Final = {
    "durable_handles": GlobalFlag.DURABLE_HANDLE,
    "server_multi_channel_support": GlobalFlag.SMB3_MULTICHANNEL,
    "smb2_leases": GlobalFlag.SMB2_LEASES,
}
"""Settings that are flags in STARTING_UP. KSMBD's flags for `smb3 encryption` are not used, because they cannot express
`mandatory`."""
_TEXT_OPTIONS: Final = {
    "audit_file": "audit file",
    "data_paths": "data paths",
    "former_users": "former users",
    "guest_account": "guest account",
    "kerberos_missing": "kerberos missing",
    "map_to_guest": "map to guest",
    "ntlm_auth": "ntlm auth",
    "smb3_encryption": "smb3 encryption",
    "tune_networks": "tune networks",
}
_NUMBER_OPTIONS: Final = {
    "debug": "debug",
    "lookup_port": "lookup port",
    "mangle_prefix": "mangle prefix",
    "max_active_sessions": "max active sessions",
}
_SWITCH_OPTIONS: Final = {
    "continuous_availability": "continuous availability",
    "host_msdfs": "host msdfs",
    "kerberos_support": "kerberos support",
}


class NoSettings(Exception):
    """mountd has sent no valid settings."""


@dataclass(frozen=True)
class EngineSettings:
    """The engine's settings. Sizes are in bytes, `deadtime` is in minutes, `ipc_timeout` in seconds (0: for ever).

    The defaults are those of the table of parameters (mountd/parameters.py); a test compares them."""

    signing: str = "auto"
    min_prot: str = "SMB2_02"
    max_prot: str = "SMB3_11"
    netbios_name: str = "KSMBD SERVER"
    work_group: str = "WORKGROUP"
    server_string: str = "SMB SERVER"
    tcp_port: int = 445
    ipc_timeout: int = 0
    deadtime: int = 0
    file_max: int = limits.OPENS.value
    smb2_max_write: int = 4 << 20
    smb2_max_read: int = 4 << 20
    smb2_max_trans: int = 8 << 20
    share_fake_fscaps: int = 64
    sub_auth: tuple[int, int, int] = (0, 0, 0)
    smb2_max_credits: int = limits.CREDITS.value
    smbd_max_io_size: int = 8 << 20
    max_connections: int = limits.CONNECTIONS.value
    bind_interfaces_only: bool = False
    max_ip_connections: int = limits.CONNECTIONS_PER_ADDRESS.value
    interfaces: tuple[str, ...] = ()
    workers: int = 1
    audit_file: str = ""
    bpf: bool = True
    continuous_availability: bool = False
    """Whether any share has it. Its opens may be persistent, so the engine needs the state directory."""
    data_paths: str = ""
    debug: int = 0
    """Debug components that are on from the start (ksmbd.debug)."""
    durable_handles: bool = False
    former_users: str = ""
    """The SIDs of users on a former server (ksmbd.smb.former_sids)."""
    guest_account: str = "nobody"
    host_msdfs: bool = False
    kerberos_missing: str = "`kerberos support` is no"
    """Why there is no Kerberos; '' with it."""
    kerberos_support: bool = False
    lookup_port: int = 0
    mangle_prefix: int = 1
    map_to_guest: str = "never"
    max_active_sessions: int = 1024
    ntlm_auth: str = "ntlmv2-only"
    server_multi_channel_support: bool = False
    smb2_leases: bool = False
    smb3_encryption: str = "auto"
    tune_networks: str = ""

    def messages(self) -> tuple[Message, Message]:
        """The messages STARTING_UP and SETTINGS. Encoding them raises ValueError for a text that does not fit."""
        interfaces = b"".join(name.encode() + b"\0" for name in self.interfaces)
        fields = {name: getattr(self, name) for name in _NUMBERS}
        fields.update(
            flags=sum(int(flag) for name, flag in _FLAGS.items() if getattr(self, name)),
            signing=SIGNING_WORDS.index(self.signing),
            min_prot=self.min_prot,
            max_prot=self.max_prot,
            netbios_name=self.netbios_name,
            work_group=self.work_group,
            server_string=self.server_string,
            sub_auth=self.sub_auth,
            bind_interfaces_only=int(self.bind_interfaces_only),
            ifc_list_sz=len(interfaces),
            payload=interfaces,
        )
        numbers = {Attribute.WORKERS: self.workers, Attribute.BPF: int(self.bpf)}
        options = {option: getattr(self, name) for name, option in _TEXT_OPTIONS.items()}
        options |= {option: str(getattr(self, name)) for name, option in _NUMBER_OPTIONS.items()}
        options |= {option: YES if getattr(self, name) else NO for name, option in _SWITCH_OPTIONS.items()}
        return (
            Message(Event.STARTING_UP, fields=fields),
            Message(Event.SETTINGS, numbers=numbers, options=options),
        )

    @classmethod
    def from_messages(cls, start: Message, more: Message) -> EngineSettings:
        """The settings in the two messages. Raises WireError for a wrong index or length, or a missing option."""
        fields = start.fields
        if not 0 <= fields["signing"] < len(SIGNING_WORDS):
            raise WireError(f"signing {fields['signing']}")
        if fields["ifc_list_sz"] != len(fields["payload"]):
            raise WireError(f"ifc_list_sz {fields['ifc_list_sz']}")
        interfaces = tuple(text_of(name) for name in fields["payload"].split(b"\0") if name)
        values: dict[str, Any] = {name: fields[name] for name in _NUMBERS}
        values |= {name: bool(fields["flags"] & flag) for name, flag in _FLAGS.items()}
        values |= {name: required(more.options, option) for name, option in _TEXT_OPTIONS.items()}
        values |= {name: number(more.options, option) for name, option in _NUMBER_OPTIONS.items()}
        values |= {name: switch(more.options, option) for name, option in _SWITCH_OPTIONS.items()}
        return cls(
            signing=SIGNING_WORDS[fields["signing"]],
            min_prot=start.text("min_prot"),
            max_prot=start.text("max_prot"),
            netbios_name=start.text("netbios_name"),
            work_group=start.text("work_group"),
            server_string=start.text("server_string"),
            sub_auth=tuple(fields["sub_auth"]),
            bind_interfaces_only=bool(fields["bind_interfaces_only"]),
            interfaces=interfaces,
            workers=max(1, more.numbers.get(Attribute.WORKERS, 1)),
            bpf=bool(more.numbers.get(Attribute.BPF, 1)),
            **values,
        )


def receive_settings(channel: Channel, timeout: float = 10.0) -> EngineSettings:
    """Wait for STARTING_UP and SETTINGS on the forker's channel, `timeout` seconds. Raises NoSettings."""
    deadline = time.monotonic() + timeout
    start: Message | None = None
    while True:
        for message in channel.receive(1):
            if message.event is Event.STARTING_UP:
                start = message
            elif message.event is Event.SETTINGS and start is not None:
                try:
                    return EngineSettings.from_messages(start, message)
                except WireError as error:
                    raise NoSettings(f"the settings from ksmbd.mountd are malformed: {error}") from None
            elif message.event is Event.SHUTTING_DOWN:
                raise NoSettings("ksmbd.mountd is shutting down")
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not select.select([channel.fileno()], [], [], remaining)[0]:
            raise NoSettings("ksmbd.mountd sent no settings")


def announce_listening(channel: Channel, addresses: list[str]) -> None:
    """Tell mountd that clients can connect to these addresses, each `ADDRESS:PORT`. Raises PeerGone."""
    channel.send(Message(Event.LISTENING, addresses=list(addresses)))
