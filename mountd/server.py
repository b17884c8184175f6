# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the daemon: starts and restarts the engine, handles signals and reloads, and stops."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ksmbd import log
from ksmbd.ipc.constants import Attribute, Event
from ksmbd.ipc.settings import EngineSettings
from ksmbd.smb import former_sids
from mountd import accounts as accounts_file
from mountd import config as config_file
from mountd import ignored, listing, logsettings, sharepaths, sharesecurity, sidhistory, subauth, unixpassword
from mountd.accounts import Accounts
from mountd.activity import Activity
from mountd.administration import Administration
from mountd.config import Configuration
from mountd.control import Control, Reloaded
from mountd.controlsocket import ControlSocket
from mountd.dfsroots import DfsRoots
from mountd.engine import COMMAND, EXIT_CONFIG, FIRST_DELAY, LAST_DELAY, STEADY_SECONDS, Engine
from mountd.files import FileProblem
from mountd.hostnames import HostNames
from mountd.kerberos.admission import asked_for
from mountd.kerberos.child import KerberosProcess
from mountd.loop import Loop
from mountd.parameters import GLOBAL_PARAMETERS
from mountd.passwords import PasswordChanges
from mountd.questions import Questions
from mountd.requests import Requests
from mountd.rpc.child import COMMAND as RPC
from mountd.rpc.child import RpcProcess
from mountd.rundir import RunDirectory
from mountd.shareacts import ShareActs
from mountd.sharesecurity import ShareSecurity
from mountd.textvalue import text_value
from mountd.tracing import Tracing
from mountd.unixnames import UnixNames
from mountd.unixusers import SystemUsers
from mountd.userlookups import UserLookups

if TYPE_CHECKING:  # what drives the kernel's server is loaded where it is driven
    from mountd.kernelserver.activity import KernelActivity
    from mountd.kernelserver.engine import KernelEngine

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
"""The signals that `Server.run` handles."""


@dataclass(frozen=True)
class Options:
    """The options of the command line. Paths are absolute; `port` None: the value of `tcp port`."""

    config: str
    pwddb: str
    rundir: RunDirectory
    statedir: str
    port: int | None = None
    verbose: bool = False
    kernel: bool = False
    """The engine is the kernel's server (mountd/kernelserver)."""


class StartProblem(Exception):
    """The daemon cannot start. The message has one line for each problem."""


def read_configuration(options: Options) -> Configuration:
    """Read the configuration and log its warnings. Raises StartProblem with the errors, which name file and line."""
    configuration = config_file.load(options.config)
    errors = configuration.errors
    if not errors:
        log.configure(logsettings.of_parameters(log.settings(), configuration.settings))
    for diagnostic in configuration.warnings:
        log.warning(f"{where(diagnostic)}: {diagnostic.message}", event="configuration")
    if errors:
        raise StartProblem("\n".join(f"{where(diagnostic)}: {diagnostic.message}" for diagnostic in errors))
    pending = [parameter.name for parameter in GLOBAL_PARAMETERS.values() if parameter.pending and options.kernel]
    for line in ignored.lines(item for item in configuration.ignored if item.name not in pending):
        log.warning(f"{options.config}: {line}", event="without-effect", path=options.config)
    if options.kernel:
        from mountd.kernelserver import parameters as kernel_parameters

        for line in kernel_parameters.lines(configuration):
            log.warning(f"{options.config}: {line}", event="without-effect", path=options.config)
    for line in filter(None, [unixpassword.problem(configuration)]):
        log.warning(f"{options.config}: {line}", event="without-effect", path=options.config)
    for line in logsettings.problems(configuration.settings):
        log.warning(f"{options.config}: {line}", event="configuration")
    for line in sharepaths.problems(configuration):
        log.warning(line, event="share-path")
    return configuration


def where(diagnostic: config_file.Diagnostic) -> str:
    """`FILE:LINE` of a diagnostic."""
    return f"{diagnostic.file}:{diagnostic.line}" if diagnostic.line else diagnostic.file


def read_accounts(options: Options) -> Accounts:
    """Read the user database; a missing one is logged and counts as empty. Raises StartProblem."""
    try:
        if not os.path.exists(options.pwddb):
            log.warning(f"{options.pwddb}: no such user database: nobody can log on until ksmbd.adduser has made it")
        return accounts_file.load(options.pwddb, missing_ok=True)
    except FileProblem as error:
        raise StartProblem(str(error)) from None


def read_sid_history(options: Options, sub_auth: subauth.SubAuthorities) -> str:
    """The SIDs of users on a former server, as the engine is told. A line that does not count is logged. Raises
    FileProblem."""
    path = sidhistory.path_for(options.config)
    found, problems = sidhistory.read(options.config, SystemUsers(), sub_auth)
    for problem in problems:
        log.warning(f"{path}: {problem}")
    if found and options.kernel:
        log.warning(f"{path}: the kernel's server does not use it")
    return former_sids.encode(found)


def engine_settings(configuration: Configuration, options: Options, sub_auth: tuple[int, int, int]) -> EngineSettings:
    """The settings of the engine for this configuration."""
    settings = configuration.settings
    return EngineSettings(
        signing=settings.server_signing,
        min_prot=settings.server_min_protocol,
        max_prot=settings.server_max_protocol,
        netbios_name=settings.netbios_name,
        work_group=settings.workgroup,
        server_string=settings.server_string,
        tcp_port=settings.tcp_port if options.port is None else options.port,
        ipc_timeout=settings.ipc_timeout,
        deadtime=settings.deadtime,
        file_max=settings.max_open_files,
        smb2_max_write=settings.smb2_max_write,
        smb2_max_read=settings.smb2_max_read,
        smb2_max_trans=settings.smb2_max_trans,
        share_fake_fscaps=settings.share_fake_fscaps,
        sub_auth=sub_auth,
        smb2_max_credits=settings.smb2_max_credits,
        smbd_max_io_size=settings.smbd_max_io_size,
        max_connections=settings.max_connections,
        bind_interfaces_only=settings.bind_interfaces_only,
        max_ip_connections=settings.max_ip_connections,
        interfaces=settings.interfaces,
        workers=settings.workers or len(os.sched_getaffinity(0)),
        audit_file=settings.audit_file,
        bpf=settings.bpf,
        continuous_availability=any(share.continuous_availability for share in configuration.all_shares()),
        data_paths=text_value(GLOBAL_PARAMETERS["data paths"], settings.data_paths),
        durable_handles=settings.durable_handles,
        guest_account=settings.guest_account,
        host_msdfs=settings.host_msdfs,
        kerberos_support=settings.kerberos_support,
        debug=logsettings.levels(settings.log_level).debug,
        lookup_port=settings.lookup_port,
        mangle_prefix=settings.mangle_prefix,
        map_to_guest=settings.map_to_guest,
        max_active_sessions=settings.max_active_sessions,
        ntlm_auth=settings.ntlm_auth,
        server_multi_channel_support=settings.server_multi_channel_support,
        smb2_leases=settings.smb2_leases,
        smb3_encryption=settings.smb3_encryption,
        tune_networks=text_value(GLOBAL_PARAMETERS["tune networks"], settings.tune_networks),
    )


def _for_kernel() -> tuple[str, ...]:
    """The command of the RPC services beside the kernel's server."""
    from mountd.kernelserver.pipes import FRAGMENT_MAX

    return (*RPC, str(FRAGMENT_MAX))


def _kernel_engine(loop: Loop, settings: EngineSettings, requests: Requests) -> KernelEngine:
    from mountd.kernelserver.engine import KernelEngine

    return KernelEngine(loop, settings, requests.answer)


def _kernel_activity(questions: Questions, kernel: KernelEngine, requests: Requests) -> KernelActivity:
    from mountd.kernelserver.activity import KernelActivity

    return KernelActivity(questions, kernel, requests)


class Server:
    """The running daemon."""

    def __init__(
        self,
        options: Options,
        on_ready: Callable[[str], None] = lambda problem: None,
        command: Sequence[str] = COMMAND,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        """Read the files. `on_ready(problem)` is called once: with '' when clients can connect, else with the reason
        why not. `on_line` gets the lines that the engine prints; None: the engine prints them itself. Raises
        StartProblem."""
        self.options = options
        self._on_ready = on_ready
        configuration = read_configuration(options)
        users = read_accounts(options)
        try:
            self._sub_auth = subauth.load_or_create(subauth.path_for(options.config))
            former_users = read_sid_history(options, self._sub_auth)
            security = ShareSecurity(os.path.join(options.statedir, sharesecurity.FILE))
        except FileProblem as error:
            raise StartProblem(str(error)) from None
        self.loop = Loop()
        log.use_clock(self.loop.call_later)
        self.services = RpcProcess(self.loop, _for_kernel() if options.kernel else RPC)
        self.kerberos = KerberosProcess(self.loop, options.rundir.path, options.statedir)
        self.names = HostNames(self.loop)
        self.unix_names = UnixNames(self.loop)
        self.dfs_roots = DfsRoots(self.loop)
        self.user_lookups = UserLookups(self.loop)
        self.requests = Requests(
            configuration, users, self.services, users=self.user_lookups, on_listening=self._listening,
            names=self.names, unix_names=self.unix_names, sub_authorities=self._sub_auth,
        )  # fmt: skip
        self.requests.kerberos.attach(self.kerberos)
        self.requests.share_security = security
        settings = replace(engine_settings(configuration, options, self._sub_auth), former_users=former_users)
        self.unix_names.former = sidhistory.by_sid(former_sids.decode(former_users))
        directories = options.rundir.path, options.statedir
        self.engine: Engine | KernelEngine
        kernel = _kernel_engine(self.loop, settings, self.requests) if options.kernel else None
        self.engine = kernel or Engine(
            self.loop, settings, *directories, self.requests.answer, self.requests.refused, command, on_line
        )
        self.engine.on_exit = self._engine_ended
        self.requests.kerberos.in_spnego = options.kernel
        self.requests.reply = self.engine.reply
        questions = Questions(self.loop, self.engine)
        self.requests.on_answer = questions.answered
        self.activity = _kernel_activity(questions, kernel, self.requests) if kernel else Activity(questions)
        self.control = Control(self.reload, self.activity, self._tracing())
        shares = ShareActs(self.requests, lambda: not self.reload().problems, self.activity.reloaded)
        self.requests.pipes.later = self.loop.call_later
        self.requests.pipes.administrator = Administration(self.activity, shares)
        self.passwords = PasswordChanges(self.loop, self.requests, options.pwddb, self._reload_accounts)
        self.requests.pipes.passwords = self.passwords
        self.requests.pipes.roots = self.dfs_roots
        self._listened = False
        self._failures = 0
        self._started = 0.0
        self._stopping = False
        self._status = 0

    def _tracing(self) -> Tracing:
        requests = self.requests
        return Tracing(
            self.activity, lambda: [self.engine.settings.tcp_port], lambda: requests.configuration.settings.trace_keys
        )

    def run(self) -> int:
        """Start the engine and serve until stopped. Returns the exit status. Call it in the main thread."""
        calls = (self.stop, self.stop, self._reload_quietly, self._list)
        self.loop.on_signals(dict(zip(SIGNALS, calls, strict=True)), ignored=(signal.SIGPIPE, signal.SIGUSR2))
        if self.options.verbose:
            log.info(f"configuration {self.options.config}, {len(self.requests.configuration.shares)} shares")
            log.info(f"users {self.options.pwddb}, {len(self.requests.accounts)} of them")
            log.info(f"run directory {self.options.rundir.path}, state directory {self.options.statedir}")
        why = self.kerberos.begin_and_wait(self.requests.configuration.settings)
        self.engine.settings = replace(self.engine.settings, kerberos_support=not why, kerberos_missing=why)
        listener = self._listen_for_control()
        self.services.sleep()  # until somebody opens a pipe
        self._start_engine()
        if self.options.kernel and self.engine.running:
            self.services.start()  # the kernel's server waits two seconds for an answer, and no longer
        self.loop.run()
        if listener is not None:
            listener.close()
        self.services.stop()
        self.kerberos.stop()
        self.names.close()
        self.unix_names.close()
        self.dfs_roots.close()
        self.user_lookups.close()
        self.passwords.close()
        self.loop.close()
        return self._status

    def _listen_for_control(self) -> ControlSocket | None:
        path = self.options.rundir.socket
        try:
            return ControlSocket(self.loop, path, self.control.handle)
        except OSError as error:
            log.warning(f"{path}: {error.strerror}: ksmbd.control can neither reload nor list sessions")
            return None

    # -------------------------------------------------------------------------------------------------- the engine

    def _start_engine(self) -> None:
        if self._stopping:
            return
        self._started = time.monotonic()
        try:
            self.engine.start()
        except (OSError, ValueError) as error:
            self._failed(f"the engine cannot be started: {error}")

    def _listening(self, addresses: list[str]) -> None:
        for address in addresses:
            log.info(f"listening on {address}", "listening", address=address)
        if not self._listened:
            self._listened = True
            self._on_ready("")

    def _engine_ended(self, status: int) -> None:
        for slot in range(1 + self.engine.settings.workers):
            self.requests.forget(slot)
        if self._stopping:
            self.loop.stop()
            return
        if status == 0:
            log.info("the engine was stopped; so does ksmbd.mountd")
            self.loop.stop()
            return
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        if not self._listened or status == EXIT_CONFIG:
            self._failed(f"the engine {how} and does not start again")
            return
        if time.monotonic() - self._started >= STEADY_SECONDS:
            self._failures = 0
        delay = min(FIRST_DELAY * 2.0**self._failures, LAST_DELAY)
        self._failures += 1
        log.error(f"the engine {how}; it starts again in {delay:g} s")
        self.loop.call_later(delay, self._start_engine)

    def _failed(self, problem: str) -> None:
        """End the daemon with status 1, because it cannot serve."""
        log.error(problem)
        self._status = 1
        if not self._listened:
            self._on_ready(problem)
        self.loop.stop()

    # ---------------------------------------------------------------------------------------------------- signals

    def stop(self) -> None:
        """Stop the engine in order; then `run` returns 0."""
        if self._stopping:
            return
        self._stopping = True
        if self.engine.running:
            self.engine.stop()
        else:
            self.loop.stop()

    def reload(self) -> Reloaded:
        """Reload configuration and accounts. If they have errors, which are logged and returned, the old ones stay in
        use."""
        if self._stopping:
            return Reloaded(["the server stops"])
        try:
            configuration = read_configuration(self.options)
            users = read_accounts(self.options)
        except StartProblem as error:
            problems = str(error).splitlines()
            for line in problems:
                log.error(line)
            log.reopen()
            log.error("not reloaded: the former configuration stays", event="not-reloaded")
            return Reloaded(problems)
        before = self.engine.settings
        self.engine.settings = replace(
            engine_settings(configuration, self.options, self._sub_auth), former_users=before.former_users
        )
        asked = asked_for(configuration.settings)
        if asked == asked_for(self.requests.configuration.settings):
            self.engine.settings = replace(
                self.engine.settings, kerberos_support=before.kerberos_support, kerberos_missing=before.kerberos_missing
            )
        else:
            self.engine.settings = replace(self.engine.settings, kerberos_support=asked)
        self.kerberos.reload(configuration.settings)
        self.requests.reload(configuration, users)
        changed = self.engine.settings.debug != before.debug
        self.engine.broadcast(Event.RELOAD, {Attribute.DEBUG: self.engine.settings.debug} if changed else {})
        log.info("configuration and users reloaded", "reloaded")
        notes = [f"{where(diagnostic)}: {diagnostic.message}" for diagnostic in configuration.diagnostics]
        restart = replace(self.engine.settings, debug=before.debug) != before
        if restart:
            log.info("changes in [global] that concern the engine count from its next start")
            if self.engine.running:
                self.engine.settings = _keep_workers(self.engine.settings, before)
        return Reloaded([], notes, restart)

    def _reload_accounts(self) -> None:
        """Use the user database as it is now."""
        try:
            self.requests.accounts = read_accounts(self.options)
        except StartProblem as error:
            log.error(str(error))

    def _reload_quietly(self) -> None:
        self.reload()

    def _list(self) -> None:
        listing.answer(self.options.rundir, self.requests.configuration)


def _keep_workers(settings: EngineSettings, running: EngineSettings) -> EngineSettings:
    """The new settings with the number of workers that run now, which determines the slots."""
    return replace(settings, workers=running.workers)
