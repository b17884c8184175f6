# SPDX-License-Identifier: GPL-2.0-or-later
"""An engine without rooms: the real forker and workers around a core that answers every frame with its worker's index.

    python echo_engine.py RUNDIR PORT WORKERS

A frame whose body begins with a word does something else: `die` ends the worker at once, `raise` is a defect,
`pid` is answered with the process id, `crash-start` lets every worker die as soon as it starts from now on.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from ksmbd import log
from ksmbd.conn.connections import Connections, Limits
from ksmbd.conn.contract import Connected, StartError
from ksmbd.conn.tcp.provider import Tcp
from ksmbd.ipc.settings import EngineSettings
from ksmbd.process import privileges
from ksmbd.process.admission import SharedAdmission
from ksmbd.process.affinity import Affinity
from ksmbd.process.context import WorkerContext, WorkerLife
from ksmbd.process.forker import Forker
from ksmbd.smb.ports import Frame


class EchoCore:
    """Answers with the index of its worker."""

    session_count = 1
    open_count = 0
    offloaded_bytes = 0

    def __init__(self, transport: Connected, context: WorkerContext) -> None:
        self.max_frame = 1 << 20
        self.write_from = 1 << 20
        self.transport = transport
        self.context = context
        self.server = self

    def worker_of_session(self, session_id: int) -> int:
        """There are no sessions of other workers."""
        return 0

    def receive(self, frame: bytearray) -> None:
        word = bytes(frame[64:]).decode("latin-1").partition("\0")[0]
        answer = f"{self.context.index}"
        if word == "die":
            os._exit(9)
        if word == "raise":
            raise ValueError("asked for")
        if word == "pid":
            answer = f"{os.getpid()}"
        if word == "crash-start":
            with open(os.path.join(self.context.rundir, "crash"), "w", encoding="ascii"):
                pass
        data = b"\xfeSMB" + bytes(60) + answer.encode()
        self.transport.send(Frame(len(data).to_bytes(4, "big") + data))

    def receive_batch(self, view: memoryview, position: int, end: int, limit: int) -> tuple[int, int]:
        """Frames are wanted one by one."""
        return position, 0

    def begin_write(self, head: memoryview, length: int) -> None:
        """Every frame is wanted whole."""

    def disconnected(self, reason: str) -> None:
        log.info(f"gone: {reason}")


def serve(context: WorkerContext) -> int:
    if os.path.exists(os.path.join(context.rundir, "crash")):
        return 9
    privileges.drop_worker_privileges()
    life = WorkerLife(context)
    limits = Limits(max_connections=100, max_ip_connections=int(os.environ.get("MAX_IP", "100")))
    counters = context.counters

    def core(transport: Connected) -> Any:
        """An EchoCore: it has what Affinity asks of a WorkerConnection."""
        return EchoCore(transport, context)

    affinity = Affinity(
        context.shared.table, counters, life.peers, context.bpf, core,
        context.providers,
    )
    admission = SharedAdmission(context.shared, context.index, limits)
    connections = Connections(life.loop, affinity.first_core, limits, admission, counters)
    affinity.connections = connections
    life.serve(connections)
    return 0


def main() -> int:
    rundir, port, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    settings = EngineSettings(tcp_port=port, workers=workers, interfaces=("lo",), bind_interfaces_only=True)

    def listening(addresses: list[str]) -> None:
        for address in addresses:
            log.info(f"listening on {address}")
        if "DETACH" in os.environ:
            forker.leave_terminal()

    try:
        forker = Forker(settings, rundir, rundir, [], [Tcp(settings)], serve, listening)
        return forker.run()
    except StartError as error:
        log.error(str(error))
        return 78


if __name__ == "__main__":
    sys.exit(main())
