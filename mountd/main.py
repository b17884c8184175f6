# SPDX-License-Identifier: GPL-2.0-or-later
"""The command ksmbd.mountd: checks the files in the foreground, detaches unless -n is given, takes the lock, serves."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence

import setproctitle

from ksmbd import log
from ksmbd.log_record import from_json
from mountd import logsettings
from mountd import rundir as paths
from mountd.commandline import HELP, RUNDIR, VERBOSE, VERSION, Command, Option, Parsed
from mountd.engine import COMMAND
from mountd.kernelserver.control import DIRECTORY
from mountd.lock import AlreadyRunning, LockFile
from mountd.rundir import RunDirectory
from mountd.server import SIGNALS, Options, Server, StartProblem

TITLE = "ksmbd.mountd"

MOUNTD = Command(
    name="ksmbd.mountd",
    summary="Serve the shares of ksmbd.conf to SMB clients: start the engine and answer its requests.",
    usage=("[OPTION]...",),
    options=(
        Option("p", "port", "listen on this TCP port; overrides `tcp port`", "PORT"),
        Option("n", "nodetach", "stay in the foreground; WAY 0 detaches, 1 (default) does not", "WAY", optional=True),
        Option("", "engine", "own (default), or kernel: drive the kernel's own server, ksmbd.ko", "ENGINE"),
        Option("C", "config", f"the configuration file; default {paths.DEFAULT_CONFIG}", "CONF"),
        Option("P", "pwddb", f"the user database; default {paths.DEFAULT_PWDDB}", "PWDDB"),
        Option("", "log", "the form of the log's lines: text (default), or json, an object a line", "FORM"),
        RUNDIR,
        Option("", "statedir", "directory of persistent data; default /var/lib/ksmbd, with -R: DIR/state", "DIR"),
        VERBOSE,
        VERSION,
        HELP,
    ),
    epilog="SIGTERM stops the server in order, SIGHUP reloads configuration and users, SIGUSR1 lists the shares.",
)


def main(argv: Sequence[str] | None = None) -> int:
    """The command's entry point. Returns the exit status."""
    parsed = MOUNTD.start(argv)
    if parsed.arguments:
        MOUNTD.fail(f"no argument is expected, {parsed.arguments[0]!r} was given; --help lists the options")
    options = _options(parsed)
    form = parsed.last("log") or ""
    if form not in ("", "text", "json"):
        MOUNTD.fail(f"--log={form}: allowed is text or json")
    way = parsed.last("nodetach")
    if way not in (None, "", "0", "1"):
        MOUNTD.fail(f"--nodetach={way}: allowed is 0 or 1")
    foreground = way not in (None, "0")
    log.configure(logsettings.at_start(form, foreground))
    if not foreground:
        return _detached(options)
    return _serve(options, lambda problem: None)


def _options(parsed: Parsed) -> Options:
    port = parsed.last("port")
    if port is not None and not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        MOUNTD.fail(f"--port={port}: allowed is a number from 1 to 65535")
    engine = parsed.last("engine")
    if engine not in (None, "own", "kernel"):
        MOUNTD.fail(f"--engine={engine}: allowed is own or kernel")
    rundir = RunDirectory.from_option(parsed.last("rundir"))
    statedir = parsed.last("statedir")
    if statedir is None:
        statedir = "/var/lib/ksmbd" if rundir.path == paths.DEFAULT_RUNDIR else os.path.join(rundir.path, "state")
    return Options(
        config=os.path.abspath(parsed.last("config") or paths.DEFAULT_CONFIG),
        pwddb=os.path.abspath(parsed.last("pwddb") or paths.DEFAULT_PWDDB),
        rundir=rundir,
        statedir=os.path.abspath(statedir),
        port=int(port) if port is not None else None,
        verbose=parsed.has("verbose"),
        kernel=engine == "kernel",
    )


def _engine_line(line: str) -> None:
    """Log a line of the engine."""
    record = from_json(line)
    if record is not None:
        log.write(record)
    else:
        log.info(line)


def _serve(
    options: Options,
    on_ready: Callable[[str], None],
    command: Sequence[str] = COMMAND,
    on_line: Callable[[str], None] = _engine_line,
) -> int:
    """Take the lock and serve. Returns the exit status. `on_ready(problem)` is called once: with '' when clients can
    connect, else with the reason why not."""

    def refuse(problem: str) -> int:
        for line in problem.splitlines():
            print(f"{MOUNTD.name}: {line}", file=sys.stderr)
        on_ready(problem)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return 1

    setproctitle.setproctitle(TITLE)
    log.set_process(TITLE)
    # A tool that reads the process id in the lock file may send these signals at once: they wait for Server.run.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        os.makedirs(options.rundir.path, mode=0o755, exist_ok=True)
        lock = LockFile(options.rundir.lock, DIRECTORY if options.kernel else "")
        lock.acquire()
    except AlreadyRunning as error:
        return refuse(str(error))
    except OSError as error:
        return refuse(f"the run directory {options.rundir.path} cannot be used: {error.strerror}; -R names another")
    try:
        server = Server(options, on_ready, command, on_line)
    except StartProblem as error:
        lock.release()
        return refuse(str(error))
    try:
        return server.run()
    finally:
        lock.release()


def _detached(options: Options) -> int:
    """Serve in a detached process. Returns 0 when clients can connect, 1 when it has failed."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        os.close(writer)
        with open(reader, "rb") as stream:
            told = stream.read()
        os.wait()  # the intermediate process of the double fork
        return 0 if told == b"ready" else 1
    status = 1
    try:
        os.close(reader)
        os.setsid()
        if os.fork():
            os._exit(0)
        os.chdir("/")
        os.umask(0o022)

        def ready(problem: str) -> None:
            if not problem:
                log.leave_terminal()
                os.write(writer, b"ready")
            os.close(writer)

        status = _serve(options, ready)
    except BaseException as error:  # noqa: BLE001  this process must not return into the caller
        if not isinstance(error, SystemExit):
            log.exception("ksmbd.mountd ends", error)
    finally:
        os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
