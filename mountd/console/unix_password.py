# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of ksmbd.adduser that changes the Unix password with a user's, where `unix password sync` says so."""

from __future__ import annotations

import os

from mountd import config, unixpassword
from mountd.commandline import Command
from mountd.unixpassword import Result


def sync(command: Command, configuration: str, name: str, password: str) -> None:
    """Change the Unix password of a user, where the configuration says so. Fails where PAM refuses it; where it is left
    alone, a note says why."""
    if not os.path.exists(configuration):
        return
    found = config.load(configuration)
    if found.errors:
        command.note(f"{found.errors[0]}; whether `unix password sync` is set is not known: the Unix password stays")
        return
    if not unixpassword.is_wanted(found):
        return
    outcome = unixpassword.change(name, password)
    match outcome.result:
        case Result.CHANGED:
            print(f"Unix password of {name} changed")
        case Result.LEFT:
            command.note(f"the Unix password of {name} stays: {outcome.why}")
        case Result.REFUSED:
            command.fail(f"PAM refuses the new password, nothing is changed: {outcome.why}")
        case Result.FAILED:
            command.fail(f"the Unix password cannot be changed, nothing is changed: {outcome.why}")
