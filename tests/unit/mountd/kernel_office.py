# SPDX-License-Identifier: GPL-2.0-or-later
"""mountd's requests, the engine that drives the kernel's server, and a scripted kernel."""
from __future__ import annotations

import struct

import kernel_doubles as kernel
from mountd_doubles import FakeUsers, LocalServices, accounts, configuration

from ksmbd.ipc.settings import EngineSettings
from mountd.kernelserver.engine import KernelEngine
from mountd.requests import Requests
from mountd.rpc.services import Services

TEXT = """
    [global]
    map to guest = bad user
    [s]
    path = /srv/s
    read only = no
    veto files = /a/b*/
    [guests]
    path = /srv/g
    guest ok = yes
    [forced]
    path = /srv/f
    force user = ann
    [large]
    path = /srv/l
    force user = media
    [sealed]
    path = /srv/e
    smb3 encryption = mandatory
    [members]
    path = /srv/m
    force group = +staff
    inherit owner = yes
    [staff]
    path = /srv/t
    valid users = @staff
"""


class Office:
    """mountd's requests, the engine, and the kernel."""

    def __init__(self, *states: str, settings: EngineSettings = kernel.SETTINGS, text: str = TEXT) -> None:
        self.services = LocalServices()
        self.services.services = Services(fragment_max=1024)
        self.listening: list[str] = []
        self.requests = Requests(
            configuration(text), accounts("ann", "bob"), self.services, FakeUsers(), self.listening.extend
        )
        self.loop = kernel.FakeLoop()
        self.control = kernel.FakeControl(*(states or ("startup", "running")))
        self.socket = kernel.KernelSocket()
        self.now = 0.0
        self.ended: list[int] = []
        self.engine = KernelEngine(
            kernel.loop(self.loop), settings, self.requests.answer, self.control,
            lambda: kernel.channel(self.socket), lambda: self.now,
        )  # fmt: skip
        self.engine.on_exit = self.ended.append
        self.requests.reply = self.engine.reply
        self.requests.kerberos.in_spnego = True

    def ask(self, *messages: bytes) -> list[bytes]:
        """What the kernel gets for what it sends: the attributes' content."""
        self.socket.incoming.extend(messages)
        before = len(self.socket.sent)
        self.loop.readers[self.socket.fileno()]()
        return [content(data) for data in self.socket.sent[before:]]

    def tree(self, share: str, account: str = "ann", handle: int = 3, tree: int = 1, flags: int = 1) -> tuple[int, int]:
        """Status and flags of a tree connect."""
        (reply,) = self.ask(kernel.tree_connect(handle, account, share, flags, tree=tree))
        status, given = struct.unpack_from("=HH", reply, 4)
        return status, given

    def share_flags(self, name: str) -> int:
        (reply,) = self.ask(kernel.share_config(2, name))
        return int(struct.unpack_from("=I", reply, 4)[0])


def content(data: bytes) -> bytes:
    """The payload of the one attribute of a message; the attribute has the message's own type."""
    size, family, flags, _, port, command, version, _ = struct.unpack_from("=IHHIIBBH", data)
    length, kind = struct.unpack_from("=HH", data, 20)
    assert (size, family, flags & 1, port, version) == (len(data), kernel.FAMILY_ID, 1, kernel.PORT, 1)
    assert kind == command and 20 + length + -length % 4 == len(data), "one attribute, of the message's type"
    return data[24 : 20 + length]
