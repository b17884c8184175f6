# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark's rows in the table's order, with the ratios that are aimed at."""
from __future__ import annotations

from dataclasses import replace

from workloads import (
    CMAC,
    GMAC,
    PLAIN,
    SEALED,
    Protection,
    Workload,
    compound,
    echo,
    limited,
    listing,
    open_close,
    random_4k,
    sequential,
    small_files,
    smbclient,
)

SENDFILE = "read-plain-sendfile"
"""The row where Samba reads synchronously, so that it uses sendfile."""
TARGETS = {
    "read-plain": 1.5, "read-signed-gmac": 1.3, "read-encrypted-gcm": 1.5, SENDFILE: 0.95, "write-plain": 1.0,
    "write-plain-ext4": 1.2, "write-encrypted-gcm": 1.4, "random-read-4k": 2.8, "random-write-4k": 2.2,
    "echo-depth1": 3.0, "echo-depth16": 6.0, "open-close": 2.3, "open-stat-close": 2.1, "open-close-8x4": 3.2,
    "open-close-signed": 2.0, "small-files": 2.4, "listing": 2.0, "idle-memory-1000": 20.0,
}
"""Row -> the ratio to Samba that is aimed at."""
LIMIT_TARGETS = {"read-plain": 0.8, "read-signed-gmac": 0.9, "read-encrypted-gcm": 0.9, "write-plain-ext4": 0.9}
"""Row -> the ratio to the bare loop that is aimed at."""
ALL_INFORMATION = 18
EXPLORER = (4, 5, 18, 34, 22)
"""FileBasicInformation, Standard, All, NetworkOpen, Stream (MS-FSCC 2.4): what Windows' Explorer asks of a file."""


def _bulk(name: str, protection: Protection, writes: bool, connections: int, bound: bool, depth: int, note: str,
          ) -> Workload:
    return Workload(
        name, "MiB/s", sequential(protection, writes, connections, bound, depth), f"1 GiB, 1 MiB requests, {note}",
        "s/GiB", apart=connections == 1, limit=limited(protection, writes, connections, depth),
        default=connections == 1 and depth == 1,
    )


def _bulks() -> list[Workload]:
    rows = []
    for writes, protections in ((False, (PLAIN, GMAC, CMAC, SEALED)), (True, (PLAIN, GMAC, SEALED))):
        for protection in protections:
            name = f"{'write' if writes else 'read'}-{protection.name}"
            for suffix, connections, bound, note in (
                ("", 1, False, "1 connection"), ("-8", 8, False, "8 connections"), ("-mc", 4, True, "4 channels"),
            ):
                rows.append(_bulk(name + suffix, protection, writes, connections, bound, 1, f"{note}, depth 1"))
    rows.append(Workload(
        SENDFILE, "MiB/s", sequential(PLAIN, False), "read-plain, Samba with aio read size = 0", "s/GiB",
        limit=limited(PLAIN, False),
    ))
    for writes, protection in ((False, PLAIN), (False, SEALED), (True, PLAIN), (True, SEALED)):
        name = f"{'write' if writes else 'read'}-{protection.name}-depth8"
        rows.append(_bulk(name, protection, writes, 1, False, 8, "1 connection, depth 8"))
    return rows


def _small() -> list[Workload]:
    rows = []
    for writes in (False, True):
        name = f"random-{'write' if writes else 'read'}-4k"
        rows.append(Workload(name, "op/s", random_4k(writes, 32), "4 KiB, depth 32", default=True))
        rows.append(Workload(f"{name}-depth1", "op/s", random_4k(writes, 1), "4 KiB, depth 1"))
    signed, sealed = open_close(protection=GMAC), open_close(protection=SEALED)
    eight = open_close((), 8, 4)
    explorer = open_close(EXPLORER)
    return [
        *rows,
        Workload("echo-depth1", "op/s", echo(1), "ECHO, depth 1"),
        Workload("echo-depth16", "op/s", echo(16), "ECHO, depth 16"),
        Workload("open-close", "op/s", open_close(), "open, close", default=True),
        Workload("open-stat-close", "op/s", open_close((ALL_INFORMATION,)), "open, query all information, close"),
        Workload("open-close-8x4", "op/s", eight, "open, close, 8 connections, depth 4", apart=False),
        Workload("open-close-signed", "op/s", signed, "open, close, each signed with AES-GMAC"),
        Workload("open-close-sealed", "op/s", sealed, "open, close, each sealed with AES-GCM"),
        Workload("compound-open-query-close", "op/s", compound, "CREATE, QUERY_INFO, CLOSE in one frame (cifs.ko)"),
        Workload("open-query5-close", "op/s", explorer, "open, query 5 classes, close (Windows' Explorer)"),
        Workload("small-files", "file/s", small_files, "create, write 4 KiB, close, delete", default=True),
        Workload("listing", "name/s", listing, "10,000 files, 64 KiB a reply", default=True),
    ]


def all_workloads(smbclient_program: str | None) -> list[Workload]:
    """All rows but those of idle connections, in the table's order."""
    rows = [*_bulks(), *_small()]
    on_ext4 = {"read-plain", "write-plain", "write-plain-8", "write-encrypted-gcm", "random-write-4k", "small-files"}
    rows += [
        replace(row, name=f"{row.name}-ext4", what=f"{row.what}, on ext4", ext4=True, default=False)
        for row in rows if row.name in on_ext4
    ]
    if smbclient_program is not None:
        for writes in (False, True):
            for encrypt in (False, True):
                rows.append(Workload(
                    f"smbclient-{'put' if writes else 'get'}-{'encrypted' if encrypt else 'plain'}", "MiB/s",
                    smbclient(smbclient_program, writes, encrypt), "1 GiB with smbclient", "s/GiB", apart=False,
                ))
    return [replace(row, target=TARGETS.get(row.name)) for row in rows]
