# SPDX-License-Identifier: GPL-2.0-or-later
"""The process ksmbd/0: opens and owns the listening sockets, starts the workers and restarts those that die.

    python -m ksmbd.process.forker --rundir DIR [--statedir DIR] --netlink FD,FD,... [--ready FD] [--detach]

mountd starts it. The first netlink descriptor is the forker's, followed by one for each worker (a restarted worker uses
that of its predecessor). The forker receives the settings on it (STARTING_UP and SETTINGS). When all workers are ready,
it sends LISTENING, and writes the addresses, one in a line, to `--ready`. With `--detach` the engine then leaves the
terminal: log lines go to syslog and the standard descriptors to /dev/null, so that the process that started the server
does not wait for them.

The forker ends in order on SIGTERM, on SHUTTING_DOWN, when `hard` is written to kill_server and when mountd has ended.
Exit status: 0 after an orderly stop, EXIT_CONFIG where another start would fail the same way (the port is taken, an
interface is missing), 1 otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final

from ksmbd import debug, log
from ksmbd.conn.contract import Group, Listener, Provider, StartError
from ksmbd.conn.loop import Loop
from ksmbd.ipc.channel import Channel, PeerGone
from ksmbd.ipc.client import NetlinkDaemon
from ksmbd.ipc.settings import EngineSettings, NoSettings, announce_listening, receive_settings
from ksmbd.kernel import prctl, rtnetlink
from ksmbd.kernel.local_addresses import Changes
from ksmbd.oplock.handed_on import Kept
from ksmbd.oplock.store import StoreError
from ksmbd.process import privileges
from ksmbd.process.bpf_programs import BpfPrograms
from ksmbd.process.compiled import compiled_feature
from ksmbd.process.context import EXIT_STORE, STOP_SECONDS, WorkerContext, watch_signals
from ksmbd.process.control import ControlFiles
from ksmbd.process.features import collect_features, kerberos_feature
from ksmbd.process.lending import Lending
from ksmbd.process.listeners import Listeners
from ksmbd.process.peers import DIED, INODE, Inboxes, Kind, Peers
from ksmbd.process.shared import SharedState, WorkerStats

EXIT_CONFIG: Final = 78
"""sysexits.h's EX_CONFIG."""

FIRST_DELAY: Final = 0.1
LAST_DELAY: Final = 30.0
STEADY_SECONDS: Final = 60.0
"""A worker that lived this many seconds is restarted without delay."""
SETTLE: Final = 0.2
"""Seconds between a change of interfaces and the update of the listeners, since changes come in groups."""
STOP_GRACE: Final = STOP_SECONDS + 3.0
"""Seconds after which workers are killed that have not ended."""

Serve = Callable[[WorkerContext], int]


class _Worker:
    """One worker as the forker sees it."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.pid = 0
        self.pidfd = -1
        self.started = 0.0
        self.failures = 0
        self.ready = False
        self.listeners: list[Listener] = []


class Forker:
    """The forker. `serve` is the function that a worker runs; its result is the exit status of the worker."""

    def __init__(
        self,
        settings: EngineSettings,
        rundir: str,
        statedir: str,
        netlink: list[int],
        providers: Sequence[Provider],
        serve: Serve,
        on_listening: Callable[[list[str]], None],
    ) -> None:
        """Opens the listeners of all transports and writes the control files. Raises StartError, OSError."""
        count = max(1, settings.workers)
        self.settings = settings
        self._rundir = rundir
        self._statedir = statedir
        self._netlink = netlink
        self._providers = providers
        self._serve = serve
        self._on_listening = on_listening
        self.kept: list[Kept] = []
        """Opens of the last server that the first worker adopts."""
        self._announced = False
        self._stopping = False
        self.exit_status = 0
        self.loop = Loop()
        log.use_clock(self.loop.call_later)
        self.on_more_listening: Callable[[list[str]], None] = lambda addresses: None
        """Called with addresses that clients can use from now on."""
        self._changes = _follow_interfaces(settings)
        self.listening = Listeners([provider.listen(count) for provider in providers], count)
        self._looks_again = False
        self.shared = SharedState.create(rundir, count, settings.max_connections)
        self.shared.counters[0].begin(os.getpid())
        debug.attach(self.shared.memory)
        debug.mask[0] = settings.debug & debug.ALL
        self._inboxes = Inboxes(count)
        self.peers = Peers(self.loop, self._inboxes, 0, lambda worker: self.shared.counters[worker].epoch)
        self.peers.on(Kind.READY, self._ready)
        self.peers.on(Kind.CLEANED, self._cleaned)
        self._deaths: dict[tuple[int, int], int] = {}
        """Dead workers (index, epoch) whose entries are not removed yet -> the worker that was told to do so, 0 for
        none."""
        self._workers = [_Worker(index) for index in range(1, count + 1)]
        for worker, row in zip(self._workers, self.listening.rows(), strict=True):
            worker.listeners = row
        self._lending = Lending(self._workers, self.peers.deliver)
        self.addresses = self.listening.addresses()
        self.bpf = BpfPrograms(settings, self.listening.steered_rows(), self.listening.open_another)
        found = [*collect_features(), compiled_feature(), *self.bpf.features]
        features = [*found, kerberos_feature(settings)]  # mountd has told why it is off, where somebody asked for it
        self.control = ControlFiles(
            rundir, self.loop, self.stats, features, self._killed, self.shared.attention, self.bpf.set_debug_mask
        )
        self.peers.on(Kind.ACTIVE, lambda sender, data, fds: self.control.happened())
        missing = [f"{feature.name} ({feature.why})" for feature in found if not feature.on]
        if missing:
            log.info(f"running without {', '.join(missing)}")

    def stats(self) -> list[WorkerStats]:
        """The workers' counters."""
        return [counters.read() for counters in self.shared.counters[1:]]

    def run(self) -> int:
        """Start the workers and supervise them until `stop`. Returns the exit status."""
        watch_signals(
            self.loop,
            {signal.SIGTERM: lambda: self.stop("SIGTERM")},
            (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1, signal.SIGUSR2),
        )
        gc.collect()
        gc.freeze()  # workers share the pages of loaded objects, since the collector does not write to them
        for worker in self._workers:
            self._start(worker)
        if self._changes is not None:
            self.loop.add_reader(self._changes.fileno(), self._interfaces_changed)
            self._look_at_interfaces()  # changes before this point were not reported
        self.loop.run()
        self.control.close()
        self.bpf.close()
        SharedState.remove(self._rundir)
        return self.exit_status

    def leave_terminal(self) -> None:
        """Detach from the terminal: this process, the workers, and thus restarted workers."""
        self.peers.broadcast(b"", Kind.LEAVE_TERMINAL)
        log.leave_terminal()

    def stop(self, reason: str) -> None:
        """End all workers in order, then `run`."""
        if self._stopping:
            return
        self._stopping = True
        if debug.mask[0] & debug.CONN:
            log.debug(debug.CONN, f"stopping: {reason}")
        for worker in self._workers:
            if worker.pid:
                self.peers.deliver(worker.index, b"", Kind.STOP)
        self.loop.call_later(STOP_GRACE, self._kill_workers)
        self._end_if_done()

    # -------------------------------------------------------------------------------------------------- interfaces

    def _interfaces_changed(self) -> None:
        assert self._changes is not None
        self._changes.drain()
        if not self._looks_again:
            self._looks_again = True
            self.loop.call_later(SETTLE, self._look_at_interfaces)

    def _look_at_interfaces(self) -> None:
        """Open listeners for interfaces that have appeared and close those of interfaces that have gone, in all
        workers."""
        self._looks_again = False
        if self._stopping:
            return
        new, gone = self.listening.update()
        for worker, row in zip(self._workers, self.listening.rows(), strict=True):
            worker.listeners = row
        for group in new:
            self.bpf.listened(group.steered)
        for worker in self._workers:
            for index in self._lending.who_have(worker):
                if self._workers[index - 1].pid:
                    self._tell_worker(worker.index, index, new, gone)
        for group in gone:
            self.bpf.unlistened(group.steered)
            group.close()
        if new:
            self._tell_more(new)

    def _tell_worker(self, owner: int, index: int, new: list[Group], gone: list[Group]) -> None:
        """Tell the worker `index` of new and gone listeners of `owner`, which are its own or borrowed."""
        for group in gone:
            inode = os.fstat(group.listeners[owner - 1].fileno()).st_ino
            self.peers.deliver(index, INODE.pack(inode), Kind.UNLISTEN)
        for group in new:
            listener = group.listeners[owner - 1]
            self.peers.deliver(index, listener.provider.encode(), Kind.LISTEN, [listener.fileno()])

    def _tell_more(self, new: list[Group]) -> None:
        self.addresses = self.listening.addresses()
        if self._announced:
            self.on_more_listening([group.text() for group in new])

    # ----------------------------------------------------------------------------------------------------- workers

    def _start(self, worker: _Worker) -> None:
        if self._stopping:
            return
        worker.ready = False
        worker.started = self.loop.monotonic()
        context = WorkerContext(
            index=worker.index,
            settings=self.settings,
            rundir=self._rundir,
            statedir=self._statedir,
            providers=self._providers,
            listeners=worker.listeners,
            netlink_fd=self._netlink[worker.index] if worker.index < len(self._netlink) else -1,
            shared=self.shared,
            bpf=self.bpf,
            inboxes=self._inboxes,
            parent=os.getpid(),
            kept=self.kept,
        )
        context.counters.begin(0)  # the epoch must be there before the worker looks at its inbox
        try:
            pid = os.fork()
        except OSError as error:
            log.error(f"cannot start ksmbd/{worker.index}: {error.strerror}")
            context.counters.end()
            self._again(worker)
            return
        if pid == 0:
            self._child(context)
        self.kept = []
        context.counters.set_pid(pid)
        self.control.happened()
        worker.pid = pid
        worker.pidfd = os.pidfd_open(pid)
        self.loop.add_reader(worker.pidfd, lambda: self._ended(worker))

    def _child(self, context: WorkerContext) -> None:
        """The process of the worker; never returns. `self` stays referenced, so that no finaliser of the forker closes
        a descriptor whose number the worker reuses."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            prctl.signal_when_parent_dies(signal.SIGTERM)
            kept = {0, 1, 2, self.shared.lock_fd, context.netlink_fd, *(one.fileno() for one in context.listeners)}
            close_others(kept | self._inboxes.descriptors(context.index) | self.bpf.worker_descriptors)
            title = f"ksmbd/{context.index}"
            privileges.set_title(title)
            log.set_process(title)
            status = self._serve(context)
        except BaseException as error:  # noqa: BLE001 - whatever it is, this process ends here
            log.exception(f"ksmbd/{context.index} ends: unexpected {type(error).__name__}", error)
        finally:
            os._exit(status)

    def _ready(self, sender: int, data: bytes, fds: list[int]) -> None:
        self._workers[sender - 1].ready = True
        self.bpf.worker_started(sender)
        self._assign_deaths()
        self._lending.is_ready(self._workers[sender - 1])
        if not self._announced and all(worker.ready for worker in self._workers):
            self._announced = True
            self._on_listening(self.addresses)

    def _ended(self, worker: _Worker) -> None:
        self.loop.remove(worker.pidfd)
        os.close(worker.pidfd)
        worker.pidfd = -1
        _, status = os.waitpid(worker.pid, 0)
        counters = self.shared.counters[worker.index]
        epoch = counters.epoch
        was_ready = worker.ready
        worker.pid = 0
        worker.ready = False
        self.bpf.worker_ended(worker.index)
        counters.end()
        self.control.happened()
        self.shared.table.forget_worker(worker.index)
        self.peers.forget(worker.index)
        if self._stopping:
            self._end_if_done()
            return
        code = os.waitstatus_to_exitcode(status)
        how = f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
        if not self._announced and not was_ready:
            log.error(f"ksmbd/{worker.index} {how} before it served anybody: the engine does not start")
            self.exit_status = 1
            self.stop("a worker cannot start")
            return
        if code == EXIT_STORE:
            # No restarted worker could use it either, but the whole engine can start again.
            log.error(f"ksmbd/{worker.index} cannot work with the others: the engine ends, to start again")
            self.exit_status = 1
            self.stop("the table of open files is gone")
            return
        log.error(f"ksmbd/{worker.index} {how}; its clients are disconnected")
        self._lending.ended(worker)
        for other in self._workers:
            if other.pid:
                self.peers.deliver(other.index, DIED.pack(worker.index, epoch, False), Kind.WORKER_DIED)
        for death, cleaner in self._deaths.items():
            if cleaner == worker.index:
                self._deaths[death] = 0  # the one that cleaned up died, too
        self._deaths[worker.index, epoch] = 0
        self._assign_deaths()
        self._again(worker)

    def _assign_deaths(self) -> None:
        """Tell a worker that is ready to clean up after dead workers. If none is ready, the next one is told."""
        cleaner = next((worker.index for worker in self._workers if worker.ready), 0)
        if not cleaner:
            return
        for (index, epoch), told in self._deaths.items():
            if not told and self.peers.deliver(cleaner, DIED.pack(index, epoch, True), Kind.WORKER_DIED):
                self._deaths[index, epoch] = cleaner

    def _cleaned(self, sender: int, data: bytes, fds: list[int]) -> None:
        index, epoch, _ = DIED.unpack(data)
        self._deaths.pop((index, epoch), None)

    def _again(self, worker: _Worker) -> None:
        """Restart a worker, with growing delay if it did not live long."""
        if self.loop.monotonic() - worker.started >= STEADY_SECONDS:
            worker.failures = 0
        delay = min(FIRST_DELAY * 2**worker.failures, LAST_DELAY) if worker.failures else 0.0
        worker.failures += 1
        self.loop.call_later(delay, lambda: self._start(worker))

    def _end_if_done(self) -> None:
        if self._stopping and not any(worker.pid for worker in self._workers):
            self.loop.stop()

    def _kill_workers(self) -> None:
        for worker in self._workers:
            if worker.pid:
                log.warning(f"ksmbd/{worker.index} did not end in {STOP_GRACE:g} s and is killed")
                os.kill(worker.pid, signal.SIGKILL)

    def _killed(self) -> None:
        log.info("`hard` was written to kill_server: the engine stops")
        self.stop("kill_server")


def _follow_interfaces(settings: EngineSettings) -> Changes | None:
    """The source of interface changes, where listeners depend on interfaces; else None."""
    if not (settings.bind_interfaces_only and settings.interfaces):
        return None
    try:
        return Changes()
    except OSError as error:
        log.warning(f"interfaces: those that come later are not noticed (netlink: {error.strerror})")
        return None


def close_others(kept: set[int]) -> None:
    """Close all descriptors but these."""
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd not in kept:
            with contextlib.suppress(OSError):  # the listing's own
                os.close(fd)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ksmbd.process.forker", description="The engine; ksmbd.mountd starts it.")
    parser.add_argument("--rundir", required=True)
    parser.add_argument("--statedir", default="/var/lib/ksmbd")
    parser.add_argument("--netlink", required=True, help="inherited descriptors, the forker's first, then one a worker")
    parser.add_argument("--ready", type=int, default=-1, help="a descriptor to which the addresses are written")
    parser.add_argument("--detach", action="store_true", help="leave the terminal once clients can connect")
    return parser.parse_args(argv)


def _announce(channel: Channel, ready: int, addresses: list[str]) -> None:
    with contextlib.suppress(PeerGone):
        announce_listening(channel, addresses)
    if ready >= 0:
        with contextlib.suppress(OSError):
            os.write(ready, "".join(address + "\n" for address in addresses).encode())
        os.close(ready)


def main(argv: list[str] | None = None) -> int:
    """Run the engine; the exit status."""
    options = _parse(argv)
    netlink = [int(word) for word in options.netlink.split(",")]
    parent = os.getppid()
    prctl.signal_when_parent_dies(signal.SIGTERM)
    privileges.set_title("ksmbd/0")
    log.take_over_logging()
    log.use_relay()
    log.set_process("ksmbd/0")
    # A worker is to be ended before the one that can start it again.
    privileges.set_oom_score(-500)
    try:
        channel = Channel.inherited(netlink[0])
        settings = receive_settings(channel)
        privileges.must_impersonate()
        privileges.raise_descriptor_limit(descriptors_needed(settings))
        from ksmbd.process import memory_bounds, opens, reservations
        from ksmbd.process.worker import host_name, providers, serve  # all rooms: loaded once, before the fork
        if settings.server_multi_channel_support:
            rtnetlink.load()

        def listening(addresses: list[str]) -> None:
            _announce(channel, options.ready, addresses)
            if options.detach:
                forker.leave_terminal()

        forker = Forker(settings, options.rundir, options.statedir, netlink, providers(settings), serve, listening)
        host_name()
        reservations.gather(options.rundir)
        memory_bounds.tell(settings)
        forker.kept = opens.prepare(settings, options.rundir, options.statedir)
    except (NoSettings, StartError) as error:
        log.error(str(error))
        return EXIT_CONFIG
    except StoreError as error:
        log.error(f"the engine cannot start: {error.detail}")
        return 1
    except OSError as error:
        log.error(f"the engine cannot start: {error}")
        return 1
    daemon = NetlinkDaemon(channel, forker.loop, settings.ipc_timeout)
    forker.on_more_listening = lambda addresses: _announce(channel, -1, addresses)
    daemon.on_shutdown = lambda: forker.stop("SHUTTING_DOWN")
    daemon.on_debug = forker.control.set_debug
    daemon.on_lost = lambda reason: forker.stop(f"ksmbd.mountd: {reason}")
    forker.loop.add_reader(daemon.fileno(), daemon.on_readable)
    daemon.start()
    daemon.watch()  # for all of the engine
    _watch_parent(forker, parent)
    try:
        return forker.run()
    finally:
        opens.remove(options.rundir)
        reservations.remove(options.rundir)


def descriptors_needed(settings: EngineSettings) -> int:
    """The number of descriptors that a process needs: connections, two for each open file (file and directory), and
    those of the server itself."""
    return settings.max_connections + 2 * settings.file_max + 256


def _watch_parent(forker: Forker, parent: int) -> None:
    """Stop when mountd ends, for whatever reason."""
    try:
        fd = os.pidfd_open(parent)
    except ProcessLookupError:
        forker.loop.call_soon(lambda: forker.stop("ksmbd.mountd has ended"))
        return
    if os.getppid() != parent:
        forker.loop.call_soon(lambda: forker.stop("ksmbd.mountd has ended"))

    def ended() -> None:
        forker.loop.remove(fd)
        forker.stop("ksmbd.mountd has ended")

    forker.loop.add_reader(fd, ended)


if __name__ == "__main__":
    sys.exit(main())
