# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.mountd with tests/system/fake_engine.py in the engine's place; arguments as ksmbd.mountd's."""
from __future__ import annotations

import os
import sys

from mountd import main as command
from mountd import server

FAKE = (sys.executable, os.path.join(os.path.dirname(__file__), "fake_engine.py"))


class Server(server.Server):
    """Starts the fake engine."""

    def __init__(self, options: server.Options, on_ready: object, real: object, on_line: object) -> None:
        super().__init__(options, on_ready, FAKE, on_line)  # type: ignore[arg-type]


vars(command)["Server"] = Server
sys.exit(command.main())
