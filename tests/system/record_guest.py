# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs in a virtual machine, as root: mounts the share with cifs.ko and appends records to common files until there is
a file `stop`. Says on its output when it is mounted, what is acknowledged (fsync came back) and what failed."""
from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import subprocess
import sys
import tempfile
import time

RECORD = 64
APPEND_LOCK = 1 << 62


def record(client: int, number: int) -> bytes:
    head = struct.pack("<HI26s", client, number, bytes([client * 37 + number & 0xFF]) * 26)
    return head + hashlib.sha256(head).digest()


def append(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX, 1, APPEND_LOCK)
        size = os.fstat(fd).st_size
        done = os.pwrite(fd, data, size - size % RECORD)
        if done != len(data):
            raise OSError(f"{done} bytes written")
        os.fsync(fd)
        fcntl.lockf(fd, fcntl.LOCK_UN, 1, APPEND_LOCK)
    finally:
        os.close(fd)


def main(address: str, port: str, share: str, user: str, password: str, client: str, names: str) -> None:
    place = tempfile.mkdtemp(prefix="ksmbd-records-")
    subprocess.run(["modprobe", "cifs"], check=True)
    # No size is believed that is not known through a lease: another client may have appended a moment ago.
    options = f"port={port},username={user},password={password},vers=3.1.1,nosharesock,actimeo=0,echo_interval=5"
    subprocess.run(["mount", "-t", "cifs", f"//{address}/{share}", place, "-o", options], check=True)
    print("mounted", flush=True)
    files = names.split(",")
    number = 0
    try:
        while not os.path.exists(f"{place}/stop"):
            number += 1
            name = files[number % len(files)]
            try:
                append(f"{place}/{name}", record(int(client), number))
            except OSError as error:
                print("failed", name, number, str(error).replace("\n", " "), flush=True)
                time.sleep(0.1)
            else:
                print("acknowledged", name, number, flush=True)
    finally:
        os.chdir("/")
        subprocess.run(["umount", "-l", place], check=False)
        os.rmdir(place)


if __name__ == "__main__":
    main(*sys.argv[1:])
