# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs Samba's gentest: random operations, the same on our server and on a private smbd, whose answers it compares.

Known differences are passed over, with the reason for each: those between two errors or in one field are in
`gentest-accepted.txt`, all others in `gentest_filter.py`. Any other difference ends a seed, and is an error. Root,
since smbd wants that; everything happens in a network namespace of its own.

`--between` is what `filtered/gentest` calls: not to start servers, but to run gentest on two that are there.
"""
from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "system")]

from gentest_filter import Filter  # noqa: E402
from processes import free_port  # noqa: E402
from server import KsmbdServer  # noqa: E402
from unixusers import people  # noqa: E402

ACCEPTED = HERE / "gentest-accepted.txt"
PASSWORD = "Passw0rd!"
SECONDS = 120
"""What a seed may take."""
FILTERS = ("127.77.0.2", "127.77.0.3")
"""Where the two filters listen, in this network namespace."""
_MODULES = "acl_xattr streams_xattr"
_SMB_CONF = """[global]
 netbios name = GENTEST
 server role = standalone server
 passdb backend = tdbsam:{folder}/passdb.tdb
 private dir = {folder}
 lock directory = {folder}
 state directory = {folder}
 cache directory = {folder}
 pid directory = {folder}
 ncalrpc dir = {folder}/ncalrpc
 log file = {folder}/log
 smb ports = {port}
 interfaces = lo
 bind interfaces only = yes
 disable netbios = yes
 disable spoolss = yes
 server multi channel support = yes
 vfs objects = acl_xattr streams_xattr
 acl_xattr:ignore system acls = yes
 ea support = yes
 store dos attributes = yes
 map archive = no
[share]
 path = {folder}/share
 read only = no
"""


def missing() -> str:
    """What a run needs and is not here, '' where all is."""
    if os.geteuid() != 0:
        return "smbd wants root"
    for command, package in (("gentest", "samba-testsuite"), ("smbd", "samba"), ("smbpasswd", "samba-common-bin")):
        if shutil.which(command) is None:
            return f"{command} is not installed (Debian: {package})"
    return ""


def difference(output: str) -> str:
    """What gentest found, in one line; '' where it found nothing."""
    if re.search(r"^gentest completed - no errors$", output, re.MULTILINE):
        return ""
    found = re.findall(r"^(?:status different in|Mismatch in) .*|^.* is NULL!$", output, re.MULTILINE)
    place = re.search(r"^Failed at operation (\d+) - (\w+)$", output, re.MULTILINE)
    if not found or place is None:
        return output.strip().splitlines()[-1] if output.strip() else "no output"
    return f"operation {place[1]}, {place[2]}: {found[-1]}"


def command(shares: tuple[str, str], port: int, arguments: list[str]) -> list[str]:
    """gentest on these shares of the filters; accepted differences are passed over unless `arguments` say otherwise."""
    uncs = [f"//{address}/{share}" for address, share in zip(FILTERS, shares, strict=True)]
    given = any(argument.startswith("--ignore") for argument in arguments)
    ignore = [] if given else [f"--ignore={ACCEPTED}"]
    return [_gentest(), *uncs, f"--option=smb ports={port}", *ignore, *arguments]


def _gentest() -> str:
    """Samba's, not the one in the folder `filtered`."""
    path = os.pathsep.join(
        folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep)
        if Path(folder or ".").resolve() != HERE / "filtered"
    )  # fmt: skip
    return shutil.which("gentest", path=path) or "gentest"


@contextmanager
def filters(servers: tuple[tuple[str, int], tuple[str, int]]) -> Iterator[int]:
    """Filters before two servers, (address, port); the port that both listen on."""
    port = free_port()
    made = [Filter((address, port), server) for address, server in zip(FILTERS, servers, strict=True)]
    try:
        yield port
    finally:
        for one in made:
            one.close()


def between(arguments: list[str]) -> int:
    """Run gentest as it was called, //SERVER/SHARE //SERVER/SHARE ..., but with a filter before each server."""
    if len(arguments) < 2 or not all(argument.startswith("//") for argument in arguments[:2]):
        return subprocess.run([_gentest(), *arguments], check=False).returncode
    names = [argument[2:].partition("/") for argument in arguments[:2]]
    with filters(((names[0][0], 445), (names[1][0], 445))) as port:
        return subprocess.run(command((names[0][2], names[1][2]), port, arguments[2:]), check=False).returncode


@contextmanager
def samba(folder: Path, user: str) -> Iterator[int]:
    """A private smbd with all of its own below `folder`, which is made; its port."""
    (folder / "share").mkdir(parents=True)
    os.chmod(folder, 0o755)
    os.chmod(folder / "share", 0o1777)
    port = free_port()
    configuration = folder / "smb.conf"
    configuration.write_text(_SMB_CONF.format(folder=folder, port=port))
    subprocess.run(
        ["smbpasswd", "-c", configuration, "-s", "-a", user], input=f"{PASSWORD}\n{PASSWORD}\n".encode(), check=True,
        capture_output=True,
    )  # fmt: skip
    smbd = subprocess.Popen(
        ["smbd", "-F", "--no-process-group", "-s", configuration], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        _await(port, smbd)
        yield port
    finally:
        smbd.send_signal(signal.SIGTERM)
        try:
            smbd.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(smbd.pid, signal.SIGKILL)
            smbd.wait()


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < give_up:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("smbd does not come up")


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink()


def run(folder: Path, workers: int, seeds: range, operations: int) -> list[str]:
    """Both servers, and all seeds; a line for each seed with a difference."""
    found: list[str] = []
    with people() as them, samba(folder / "samba", them.alice) as theirs:
        share = {
            "force user": "", "vfs objects": _MODULES, "create mask": "0777", "directory mask": "0777",
            "streams_xattr:max xattrs per stream": "1",  # as Samba before 4.24 has it
        }  # fmt: skip
        options = {"mangled names": "yes", "server multi channel support": "yes"}
        users = {them.alice: PASSWORD}
        server = KsmbdServer(
            folder / "ours", workers=workers, bpf=False, options=options, shares={"share": share}, users=users
        )
        try:
            os.chmod(server.shares["share"], 0o1777)
            server.wait_until_listening()
            for seed in seeds:
                _empty(server.shares["share"])
                _empty(folder / "samba" / "share")
                # each seed begins with filters that have seen nothing
                with filters((("127.0.0.1", server.port), ("127.0.0.1", theirs))) as port:
                    line = _seed(folder, them.alice, port, seed, operations)
                if line:
                    found.append(f"seed {seed}: {line}")
                    print(found[-1], flush=True)
        finally:
            problem = server.finish()
    if problem:
        raise AssertionError(f"{problem}\n{server.stderr}")
    return found


def _seed(folder: Path, user: str, port: int, seed: int, operations: int) -> str:
    account = f"{user}%{PASSWORD}"
    arguments = [
        "--smb2", "--valid", f"--user1={account}", f"--user2={account}", "-U", account, "-s", "/dev/null",
        f"--seed={seed}", f"--num-ops={operations}",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command(("share", "share"), port, arguments), cwd=folder, stdin=subprocess.DEVNULL, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"not done after {SECONDS} s"
    return difference(done.stdout.decode(errors="replace"))


def alone(arguments: list[str]) -> None:
    """Start again in a network namespace."""
    inside = 'ip link set lo up && exec "$0" "$@"'
    called = ["unshare", "--net", "--", "sh", "-c", inside, sys.executable, __file__, "--inside", *arguments]
    os.execvp(called[0], called)


def main(arguments: list[str]) -> int:
    """See the module; exit status 1 where a difference is left."""
    if arguments[:1] == ["--between"]:
        return between(arguments[1:])
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=100, help="how many (100)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--ops", type=int, default=500, help="operations of each (500)")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--root", type=Path, help="where the shares are made, for another file system than /tmp's")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    lack = missing()
    if lack:
        print(lack, file=sys.stderr)
        return 2
    if not options.inside:
        alone(arguments)
    with tempfile.TemporaryDirectory(dir=options.root) as folder:
        os.chmod(folder, 0o755)
        seeds = range(options.first, options.first + options.seeds)
        found = run(Path(folder), options.workers, seeds, options.ops)
    print(f"{options.seeds} seeds of {options.ops} operations, {len(found)} with a difference")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
