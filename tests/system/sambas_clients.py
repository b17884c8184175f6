# SPDX-License-Identifier: GPL-2.0-or-later
"""Samba's clients of a server at 127.0.0.1, each run to its end and without an smb.conf. A login is `user%password`."""

from __future__ import annotations

import subprocess

Ended = subprocess.CompletedProcess[str]


def ran(*command: str) -> Ended:
    """What a command ended with."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def smbclient(share: str, commands: str, login: str) -> Ended:
    """Commands in a share."""
    return ran("smbclient", "-s", "/dev/null", f"//127.0.0.1/{share}", "-U", login, "-c", commands)


def rpcclient(commands: str, *login: str, binding: str = "127.0.0.1") -> Ended:
    """Commands over named pipes. `login`: -U and a login, or what stands for it."""
    return ran("rpcclient", "-s", "/dev/null", *login, binding, "-c", commands)


def net_rpc(login: str, *words: str) -> Ended:
    """`net rpc WORDS`."""
    return ran("net", "-s", "/dev/null", "rpc", *words, "-U", login, "-S", "127.0.0.1")
