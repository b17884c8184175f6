# SPDX-License-Identifier: GPL-2.0-or-later
"""Assembles a worker from protocol, files, open table, mountd client and transports; the only module that knows all of
them."""

from __future__ import annotations

import hashlib
import resource
import signal
import socket
import struct
import sys
import time
from functools import cache, partial
from typing import Final, cast

from ksmbd import log
from ksmbd.auth.security import CryptoSecurity
from ksmbd.auth.settings import AuthSettings
from ksmbd.conn.connections import Connections, Limits
from ksmbd.conn.contract import Connected, Provider
from ksmbd.conn.offload import Helpers
from ksmbd.conn.tcp.provider import Tcp
from ksmbd.ipc.channel import Channel
from ksmbd.ipc.client import NetlinkDaemon
from ksmbd.ipc.settings import EngineSettings
from ksmbd.kernel import credentials, descriptors, leases
from ksmbd.kernel.leases import LeaseSignals
from ksmbd.oplock.report import kept_opens
from ksmbd.oplock.table import LocalOpenTable
from ksmbd.process import handing_on, privileges, reservations
from ksmbd.process.activity import Activity
from ksmbd.process.admission import SharedAdmission
from ksmbd.process.affinity import NO_GUID, Affinity
from ksmbd.process.budgets import budgets
from ksmbd.process.context import EXIT_STORE, WorkerContext, WorkerLife, watch_signals
from ksmbd.process.core import WorkerConnection
from ksmbd.process.interfaces import network_interfaces
from ksmbd.process.memory_bounds import largest_message, replies_budget
from ksmbd.process.opens import FIRST_WORKER, StoreGone, open_state, open_store, oplock_settings
from ksmbd.process.peers import Kind
from ksmbd.process.previous_sessions import PreviousSessions
from ksmbd.process.questions import Questions
from ksmbd.process.traced_keys import TracedKeys
from ksmbd.smb import former_sids
from ksmbd.smb.constants import DIALECT_202, DIALECT_210, DIALECT_300, DIALECT_302, DIALECT_311
from ksmbd.smb.data_paths import DataPaths
from ksmbd.smb.data_paths import parse as parse_data_paths
from ksmbd.smb.model import Server
from ksmbd.smb.open_life import end_notify, purge_open
from ksmbd.smb.oplock_break import send_break
from ksmbd.smb.settings import ServerSettings
from ksmbd.vfs.files import LocalFiles
from ksmbd.vfs.options import VfsSettings

SWITCH_SECONDS: Final = 0.001
DIALECTS: Final = {
    "SMB2_02": DIALECT_202,
    "SMB2_10": DIALECT_210,
    "SMB3_00": DIALECT_300,
    "SMB3_02": DIALECT_302,
    "SMB3_11": DIALECT_311,
}
"""`server min protocol` and `server max protocol`."""


def providers(settings: EngineSettings) -> list[Provider]:
    """The transports of the server."""
    return [Tcp(settings)]


def server_settings(settings: EngineSettings, worker: int) -> ServerSettings:
    """The protocol's settings, from [global]."""
    most = largest_message()
    return ServerSettings(
        min_dialect=DIALECTS[settings.min_prot],
        max_dialect=DIALECTS[settings.max_prot],
        signing_required=settings.signing == "mandatory",
        encryption=settings.smb3_encryption,
        max_read=min(settings.smb2_max_read, most),
        max_write=min(settings.smb2_max_write, most),
        max_transact=min(settings.smb2_max_trans, most),
        max_credits=settings.smb2_max_credits,
        leases=settings.smb2_leases,
        durable_handles=settings.durable_handles,
        multichannel=settings.server_multi_channel_support,
        dfs=settings.host_msdfs,
        max_sessions=settings.max_active_sessions,
        max_open_files=settings.file_max,
        server_name=settings.netbios_name,
        netbios_name=settings.netbios_name,
        workgroup=settings.work_group,
        worker=worker,
        first_id=(int(time.time()) & 0xFFFFFFFF) << 16,
        server_guid=server_guid(settings.sub_auth),
        data_paths=data_paths(settings.data_paths),
        interfaces=network_interfaces(settings.interfaces),
    )


def data_paths(words: str) -> DataPaths:
    """Parse `data paths`; if it is invalid, log an error and use the built-in table."""
    try:
        return parse_data_paths(words)
    except ValueError as error:
        log.error(f"data paths: {error}; the server's own table is used")
        return DataPaths()


def id_space(index: int, epoch: int) -> int:
    """The upper 16 bits of the ids of a worker: epoch and index, so that it reuses no id of its predecessor."""
    return (epoch & 0xFF) << 8 | (index & 0xFF)


@cache
def host_name() -> str:
    """This machine's name with its domain. The forker asks once for all workers: what that loads is 2 MiB."""
    return socket.getfqdn().lower()


def auth_settings(settings: EngineSettings) -> AuthSettings:
    """The settings of auth, from [global]."""
    name = host_name()
    return AuthSettings(
        netbios_name=settings.netbios_name,
        workgroup=settings.work_group,
        dns_name=name,
        dns_domain=name.partition(".")[2],
        ntlm_auth=settings.ntlm_auth,
        map_to_guest=settings.map_to_guest,
        guest_account=settings.guest_account,
        kerberos=settings.kerberos_support,
    )


def vfs_settings(settings: EngineSettings) -> VfsSettings:
    """The settings of vfs, from [global]."""
    return VfsSettings(
        sub_authorities=settings.sub_auth, share_fake_fscaps=settings.share_fake_fscaps, audit_file=settings.audit_file,
        mangle_prefix=settings.mangle_prefix, former_users=former_sids.decode(settings.former_users),
    )


def server_guid(sub_auth: tuple[int, int, int]) -> bytes:
    """ServerGuid (MS-SMB2 2.2.4): the same for all workers and after a restart, as the sub-authorities are."""
    return hashlib.sha256(b"ksmbd ServerGuid" + struct.pack("<III", *sub_auth)).digest()[:16]


def descriptor_limit() -> int:
    """The number of descriptors that this process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def limits(settings: EngineSettings) -> Limits:
    """The limits of connections, which may use at most half of the descriptors."""
    half = descriptor_limit() // 2
    return Limits(
        max_connections=min(settings.max_connections or half, half),
        max_ip_connections=settings.max_ip_connections,
        deadtime=settings.deadtime * 60.0,
    )


class Worker:
    """One worker and its parts."""

    def __init__(self, context: WorkerContext) -> None:
        self.life = life = WorkerLife(context)
        self.attention = context.shared.attention
        loop = life.loop
        settings = context.settings
        self.daemon = NetlinkDaemon(Channel.inherited(context.netlink_fd), loop, settings.ipc_timeout)
        self.daemon.on_shutdown = lambda: life.stop("ksmbd.mountd stops the server")
        self.daemon.on_lost = lambda reason: life.stop(f"ksmbd.mountd: {reason}")
        loop.add_reader(self.daemon.fileno(), self.daemon.on_readable)
        self.daemon.start()
        counters = context.counters
        self.store = open_store(settings, context.rundir)
        self.state = open_state(settings, context.statedir)
        me = (context.index, counters.epoch)
        self.table = table = LocalOpenTable(self.store, loop, oplock_settings(settings), *me, self.state)
        table.deliver = self._deliver
        life.peers.on(Kind.OPEN_TABLE, lambda sender, data, fds: table.on_message(data))
        life.on_worker_died = self._worker_died
        self.files = files = LocalFiles(vfs_settings(settings), loop)
        files.reservations = reservations.Journal(context.rundir, *me)
        loop.add_reader(files.notify_fileno(), files.on_notify_readable)
        self.leases = self._listen_for_leases()
        self.server = Server(
            server_settings(settings, id_space(context.index, counters.epoch)),
            CryptoSecurity(auth_settings(settings), loop.filetime),
            files,
            table,
            self.daemon,
            loop,
        )
        self.server.open_admission.watch_descriptors(descriptor_limit(), descriptors.count)
        self.server.end_remote_session = PreviousSessions(self.server, life.peers).end
        table.on_break = partial(send_break, self.server)
        table.on_purge = partial(purge_open, self.server)
        table.on_delete_pending = partial(end_notify, self.server)
        self.helpers = Helpers(loop)
        self.server.helper_threads.submit = files.offload = self.helpers.submit
        # Separate from the threads that sign and read ahead, since a disk that hangs blocks all threads of this group.
        self.long_helpers = Helpers(loop)
        self.server.long_calls.offload = files.offload_long = self.long_helpers.submit
        if settings.workers < 2:
            table.adopt_persistent()
            table.adopt(context.kept)
        elif me == FIRST_WORKER:
            table.watch_deadlines()
        self.connections = self._make_connections()
        if me == FIRST_WORKER:
            loop.call_soon(lambda: reservations.after_death(context.rundir, *reservations.BEFORE))
        self.questions = Questions(
            self.server, self.store, self._activity(), TracedKeys(self.server, self.life.context.index)
        )
        self.daemon.on_question, self.daemon.on_reload = self.questions.answer, self.questions.reloaded
        life.on_stop = self._ended

    def _make_connections(self) -> Connections:
        """The Connections of this worker; with several workers they bring all connections of a client to one of
        them."""
        context, table, loop = self.life.context, self.table, self.life.loop
        bounds = limits(context.settings)
        replies = replies_budget(context.settings)
        counters = context.counters
        counted = context.bpf.counted(context.index, counters)
        if context.settings.workers < 2:
            return Connections(loop, self._make_core, bounds, None, counted, replies)
        guids, index = context.shared.table, context.index
        affinity = Affinity(guids, counters, self.life.peers, context.bpf, self._make_core, context.providers)
        admission = SharedAdmission(context.shared, index, bounds)
        affinity.connections = connections = Connections(loop, affinity.first_core, bounds, admission, counted, replies)
        # A client that reconnects must reach the worker that has its durable opens.
        table.on_keep = lambda guid: guid != NO_GUID and guids.claim(guid, index, counters.epoch) == index
        table.on_release = lambda guid: guids.release(guid, index)
        return connections

    def _activity(self) -> Activity:
        """What lists who is connected."""
        context = self.life.context
        most = limits(context.settings).max_connections
        return Activity(
            self.server,
            self.store,
            context.index,
            lambda transport: cast(Connected, transport).last_received,
            lambda: budgets(self.server, self.connections, most, descriptor_limit()),
            None if self.state is None else partial(kept_opens, self.store, (context.index, context.counters.epoch)),
        )

    def _worker_died(self, index: int, epoch: int) -> None:
        """Clean up after a dead worker: its opens and its reserved blocks."""
        self.table.worker_died(index, epoch)
        reservations.after_death(self.life.context.rundir, index, epoch)

    def _listen_for_leases(self) -> LeaseSignals | None:
        """Receive signals when local processes open files that clients cache (`kernel oplocks`). Called before any
        thread starts."""
        if leases.probe():
            return None
        try:
            signals = LeaseSignals()
        except OSError as error:
            log.warning(f"kernel oplocks: no signalfd: {error.strerror}")
            return None
        self.files.leases = True
        self.life.loop.add_reader(signals.fileno(), lambda: self.table.kernel_sync.on_signals(signals.read()))
        return signals

    def _ended(self) -> None:
        self.server.scheduler.drain()  # opens of ended connections may still be closing in time slices
        context = self.life.context
        handing_on.leave(context.statedir, self.store, (context.index, context.counters.epoch), self.server)
        self.helpers.close()
        self.long_helpers.close()
        self.files.close()
        self.daemon.close()
        self.store.close()
        if self.state is not None:
            self.state.close()

    def _deliver(self, worker: int, message: bytes) -> None:
        # False: that worker is dead, and worker_died removes what the message was about.
        self.life.peers.deliver(worker, message)

    def _make_core(self, transport: Connected) -> WorkerConnection:
        return WorkerConnection(self.server, transport)

    def publish(self) -> None:
        """Write the number of sessions and opens to shared memory, and tell the forker where it asks."""
        self.life.context.counters.publish(len(self.server.sessions), len(self.server.opens))
        if self.attention.take():
            self.life.peers.deliver(0, b"", Kind.ACTIVE)


def serve(context: WorkerContext) -> int:
    """Run a worker from start to end. Returns its exit status."""
    log.take_over_logging()
    privileges.drop_worker_privileges()
    privileges.set_oom_score(0)
    descriptors.enter()
    # The event loop must get the interpreter back from a computing helper thread sooner than after Python's 5 ms.
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        worker = Worker(context)
    except StoreGone as error:
        log.error(str(error))
        return EXIT_STORE
    life = worker.life
    watch_signals(
        life.loop,
        {signal.SIGTERM: lambda: life.stop("SIGTERM")},
        (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1, signal.SIGUSR2),
    )
    life.loop.after_iteration(worker.publish)
    # Not for every request, which would be six system calls: code that acts for a user takes his rights first.
    life.loop.after_iteration(credentials.become_nobody_if_root)
    life.loop.before_sleep = credentials.become_nobody
    life.serve(worker.connections)
    return 0
