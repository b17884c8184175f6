# SPDX-License-Identifier: GPL-2.0-or-later
"""The servers that are compared: ksmbd, a private Samba smbd, and the bare loop that knows no protocol.

Each has a folder of its own for all that it keeps, a port of its own, and shares the same folder. Nothing of the
system's own Samba is read, written or started.
"""
from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ksmbd.overriding import override

ADDRESS = "127.0.0.1"
PASSWORD = "bench-Passw0rd"
SHARE = "bench"
START_SECONDS = 30
STOP_SECONDS = 15
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
TICKS = os.sysconf("SC_CLK_TCK")


class ServerProblem(Exception):
    """A server that does not start, with what it said."""


def free_port() -> int:
    """A TCP port that nobody listens on; below those that the kernel gives to clients, who could take it meanwhile."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port


def bench_user() -> str:
    """The Unix account that both servers access files as: an ordinary one of every system, or who runs this."""
    if os.geteuid() == 0:
        for name in ("daemon", "bin", "games"):
            with contextlib.suppress(KeyError):
                return pwd.getpwnam(name).pw_name
    return pwd.getpwuid(os.geteuid()).pw_name


class Server:
    """A running server: its address, and what its processes cost."""

    name = ""

    def __init__(self, folder: Path, share: Path) -> None:
        """`folder` is made and is the server's; `share` is what it shares."""
        self.folder = folder
        self.share = share
        self.port = free_port()
        self.user = bench_user()
        self.password = PASSWORD
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        os.chmod(folder, 0o755)

    def command(self) -> list[str]:
        """What is run."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until clients can connect; ServerProblem: it does not."""
        log = self.folder / "output"
        with open(log, "wb") as output:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                preexec_fn=_end_with_parent,  # no other thread exists
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self.ready(log):
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise ServerProblem(f"{self.name} does not start: {log.read_text(errors='replace')[-2000:]}")
            select.select([], [], [], 0.02)

    def ready(self, log: Path) -> bool:
        """Whether clients can connect; `log` is what it printed."""
        with contextlib.suppress(OSError), socket.create_connection((ADDRESS, self.port), 1):
            return True
        return False

    def stop(self) -> None:
        """SIGTERM, and after a while SIGKILL, to it and to what it started."""
        if self._process is None:
            return
        everyone = self.processes()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        deadline = time.monotonic() + STOP_SECONDS
        while left := [pid for pid in everyone if _alive(pid)]:
            number = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            select.select([], [], [], 0.05)
        self._process = None

    def processes(self) -> list[int]:
        """The server's processes, the first one first."""
        assert self._process is not None
        children: dict[int, list[int]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdecimal() and (fields := _stat(int(entry))):
                children.setdefault(int(fields[1]), []).append(int(entry))
        found = [self._process.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def pin(self, cpus: set[int]) -> None:
        """Let all its threads, and what they start, run on these CPUs alone."""
        for pid in self.processes():
            with contextlib.suppress(OSError):
                for thread in os.listdir(f"/proc/{pid}/task"):
                    with contextlib.suppress(ProcessLookupError):
                        os.sched_setaffinity(int(thread), cpus)

    def cpu(self) -> float:
        """Seconds of processor time of all its processes so far, those that ended included."""
        total = 0.0
        for pid in self.processes():
            if fields := _stat(pid):
                with contextlib.suppress(OSError):
                    # clock_getcpuclockid(3): user and system time as in stat, but not in ticks
                    total += time.clock_gettime(~pid << 3 | 2)
                total += sum(int(field) for field in fields[13:15]) / TICKS  # cutime, cstime: children that ended
        return total

    def pss(self) -> int:
        """Bytes of memory of all its processes, shared pages by their share (PSS)."""
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
                total += int(found[1]) * 1024 if found else 0
        return total

    def version(self) -> str:
        """Name and version."""
        raise NotImplementedError


def _end_with_parent() -> None:
    """In the child: SIGTERM when the benchmark dies without stopping it."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty: it has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _alive(pid: int) -> bool:
    fields = _stat(pid)
    return bool(fields) and fields[0] != "Z"


class Ksmbd(Server):
    """This project's server, as its users start it."""

    name = "ksmbd"
    bin = Path(sys.executable).parent

    def __init__(
        self, folder: Path, share: Path, workers: int = 0, options: dict[str, str] | None = None, shares: str = "",
        users: Sequence[str] = (),
    ) -> None:
        """`workers`: 0 is the default, one a CPU. `options` are lines of [global], `shares` is text behind the share's
        section, `users` are further accounts with the same password."""
        super().__init__(folder, share)
        self.workers = workers
        self.compiled = False
        """Whether compiled modules run; known once it has started."""
        text = f"""[global]
    netbios name = BENCH
    workers = {workers}
    bind interfaces only = yes
    interfaces = lo
    smb2 leases = yes
    durable handles = yes
    server multi channel support = yes
    max connections = 65536
    max ip connections = 65536
    max active sessions = 65536
""" + "".join(f"    {key} = {value}\n" for key, value in (options or {}).items()) + f"""[{SHARE}]
    path = {share}
    read only = no
    max connections = 65536
{shares}"""
        self._config = folder / "ksmbd.conf"
        self._config.write_text(text)
        self._files = ["-C", str(self._config), "-P", str(folder / "ksmbdpwd.db"), "-R", str(folder / "run")]
        for user in (self.user, *users):
            _check([str(self.bin / "ksmbd.adduser"), "-a", "-p", PASSWORD, *self._files, user])

    @override
    def command(self) -> list[str]:
        return [str(self.bin / "ksmbd.mountd"), "-n", "-p", str(self.port), *self._files]

    @override
    def ready(self, log: Path) -> bool:
        if b"ksmbd: listening on" not in log.read_bytes():
            return False
        features = self.folder / "run" / "class" / "ksmbd-control" / "features"
        self.compiled = any(line.startswith("compiled on") for line in features.read_text().split("\n"))
        return True

    @override
    def version(self) -> str:
        from importlib.metadata import version

        return f"ksmbd {version('ksmbd')} ({'compiled' if self.compiled else 'not compiled'})"


SAMBA_CONF = """[global]
    server role = standalone server
    workgroup = BENCH
    netbios name = BENCH
    disable netbios = yes
    smb ports = {port}
    bind interfaces only = yes
    interfaces = 127.0.0.1/8
    passdb backend = tdbsam:{folder}/private/passdb.tdb
    private dir = {folder}/private
    lock directory = {folder}/lock
    state directory = {folder}/state
    cache directory = {folder}/cache
    pid directory = {folder}/pid
    ncalrpc dir = {folder}/ncalrpc
    binddns dir = {folder}/binddns
    usershare path =
    load printers = no
    printcap name = /dev/null
    printing = bsd
    disable spoolss = yes
    log file = {folder}/log
{tuning}[{share_name}]
    path = {share}
    read only = no
{shares}"""


SAMBA_TUNING = """    # What Samba's own documentation names for speed
    log level = 0
    use sendfile = {sendfile}
    aio read size = {aio_read}
    aio write size = 1
    min receivefile size = 16384
    server multi channel support = yes
"""


class Samba(Server):
    """A smbd with everything of its own."""

    name = "samba"

    def __init__(
        self, folder: Path, share: Path, sendfile: bool = True, aio_read: bool = True, shares: str = "",
        users: Sequence[str] = (), tuned: bool = True,
    ) -> None:
        """`shares` and `users`: as Ksmbd has them. `tuned`: False leaves Samba its defaults; it is called
        samba_default then."""
        super().__init__(folder, share)
        if not tuned:
            self.name = "samba_default"
        tuning = SAMBA_TUNING.format(sendfile="yes" if sendfile else "no", aio_read=1 if aio_read else 0)
        self._program = find_program("smbd")
        for name in ("private", "lock", "state", "cache", "pid", "ncalrpc", "binddns"):
            (folder / name).mkdir()
        self._config = folder / "smb.conf"
        self._config.write_text(SAMBA_CONF.format(
            port=self.port, folder=folder, share=share, share_name=SHARE, shares=shares,
            tuning=tuning if tuned else "",
        ))
        for user in (self.user, *users):
            _check(
                [find_program("smbpasswd"), "-c", str(self._config), "-L", "-s", "-a", user],
                f"{PASSWORD}\n{PASSWORD}\n",
            )

    @override
    def command(self) -> list[str]:
        return [
            self._program, "--foreground", "--no-process-group", f"--configfile={self._config}",
            f"--log-basename={self.folder}",
        ]

    @override
    def version(self) -> str:
        said = subprocess.run([self._program, "-V"], capture_output=True, text=True, check=True).stdout
        return "Samba " + said.split()[-1]


class Limit(Server):
    """limit.c: reads frames and sends or stores data, whatever they ask; what a server costs that does nothing else but
    sign, verify, seal and open."""

    name = "limit"

    def __init__(self, folder: Path, share: Path, program: Path, writes: bool, protection: str) -> None:
        """`protection` is the name of a Protection. It sends the share's file `data`, or stores in `received`."""
        super().__init__(folder, share)
        self.file = share / ("received" if writes else "data")
        self._line = [str(program), "receive" if writes else "send", protection, str(self.file), str(self.port)]

    @override
    def command(self) -> list[str]:
        return self._line

    @override
    def version(self) -> str:
        return "bare loop"


def find_program(name: str) -> str:
    """Where a program of Samba's is; ServerProblem: nowhere."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin:/usr/local/samba/sbin")
    if path is None:
        raise ServerProblem(f"{name} is not installed: apt-get install samba")
    return path


def _check(command: list[str], text: str = "") -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise ServerProblem(f"{' '.join(command)}: {done.stdout}{done.stderr}")
