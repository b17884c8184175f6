# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.kerberos, the process that has the keytab, as the daemon sees it."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

from ksmbd import limits, log
from ksmbd.overriding import override
from mountd.kerberos.admission import asked_for
from mountd.kerberos.answers import ANSWER_MAX, Kind, Ready, Status
from mountd.loop import Loop
from mountd.serviceprocess import Service, ServiceProcess
from mountd.settings import GlobalSettings

COMMAND: Final = (sys.executable, "-P", "-m", "mountd.kerberos.process")
SERVICE: Final = Service(
    title="ksmbd.kerberos",
    what="log-ons with Kerberos",
    broken="log-ons with Kerberos fail",
    asking=frozenset(Kind),
    statuses=Status,
    backlog=limits.KERBEROS_BACKLOG,
    seconds=limits.KERBEROS_SECONDS,
    answer_max=ANSWER_MAX,
    environment=("KRB5_CONFIG", "KRB5_KTNAME"),
)
WAIT_SECONDS: Final = 20.0
"""How long the start of the server waits for the process."""
NOT_ASKED_FOR: Final = "`kerberos support` is no"
_FOLDER: Final = "kerberos"
_REPLAYS: Final = "kerberos.replays"


class KerberosProcess(ServiceProcess):
    """The process, or its successor after a restart."""

    def __init__(
        self,
        loop: Loop,
        rundir: str,
        statedir: str,
        command: Sequence[str] = COMMAND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(loop, SERVICE, command, clock)
        self._plain = list(command)
        self._root = os.path.join(rundir, _FOLDER)
        self._statedir = statedir
        self.why = NOT_ASKED_FOR
        """Why the server runs without Kerberos; '' where it runs with it."""
        self.ready = Ready()

    def configure(self, settings: GlobalSettings) -> None:
        """Use this configuration from the next start of the process on."""
        os.makedirs(self._statedir, mode=0o700, exist_ok=True)
        replays = os.path.join(self._statedir, _REPLAYS)
        self.set_command(
            [*self._plain, self._root, settings.kerberos_keytab_file, settings.kerberos_service_name, replays]
        )

    def begin_and_wait(self, settings: GlobalSettings) -> str:
        """Start the process where the configuration asks for it, and wait until it serves. Returns `why`."""
        if not asked_for(settings):
            return self.why
        self.why = ""
        self.configure(settings)
        self.start()
        if not self.wait(WAIT_SECONDS) and not self.why:
            self.why = "the process of Kerberos does not start"
            self.stop()
        return self.why

    def reload(self, settings: GlobalSettings) -> None:
        """Use this configuration: the process reads keytab and krb5.conf again, or ends."""
        if not asked_for(settings):
            self.why = NOT_ASKED_FOR
            self.stop()
            return
        self.configure(settings)
        self.renew()

    @override
    def begin(self, payload: bytes) -> None:
        """See ServiceProcess.begin."""
        self.ready = Ready.decode(payload)
        if self.ready.why:
            self.why = self.ready.why
            log.error(f"Kerberos: {self.why}")
            self.give_up()
            return
        self.why = ""
        self.tell_missing(self.ready.missing)
        log.info(f"Kerberos: {', '.join(self.ready.principals)} of {self.ready.keytab}")

    @override
    def stop(self) -> None:
        """See ServiceProcess.stop. The root directory of the process is removed."""
        super().stop()
        shutil.rmtree(self._root, ignore_errors=True)
