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
DEFAULT_KEYTAB: Final = "/etc/krb5.keytab"
_FOLDER: Final = "kerberos"
_REPLAYS: Final = "kerberos.replays"


def keytab_path(name: str) -> str:
    """The file of a keytab; '' is the system's default one. '' where it is no file."""
    kind, colon, path = (name or os.environ.get("KRB5_KTNAME") or DEFAULT_KEYTAB).rpartition(":")
    return path if not colon or kind.upper() in ("FILE", "WRFILE") else ""


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
        self._keytab = ""
        self._seen: tuple[int, ...] = ()
        """What the keytab's file was when the process was started."""
        self._has_served = False

    def configure(self, settings: GlobalSettings) -> None:
        """Use this configuration from the next start of the process on."""
        os.makedirs(self._statedir, mode=0o700, exist_ok=True)
        replays = os.path.join(self._statedir, _REPLAYS)
        self._keytab = keytab_path(settings.kerberos_keytab_file)
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
    def start(self) -> None:
        """See ServiceProcess.start."""
        self._seen = self._look()
        super().start()

    def refresh(self) -> None:
        """Where the keytab has changed, as it does when the keys of a domain's member are renewed, let a fresh process
        read it, once nothing waits."""
        if self.serving and not self.waiting and self._look() != self._seen:
            log.info(f"Kerberos: {self._keytab} has changed")
            self.renew()

    def _look(self) -> tuple[int, ...]:
        try:
            found = os.stat(self._keytab)
        except OSError:
            return ()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    @override
    def begin(self, payload: bytes) -> None:
        """See ServiceProcess.begin."""
        self.ready = Ready.decode(payload)
        if self.ready.why:
            self.why = self.ready.why
            log.error(f"Kerberos: {self.why}")
            if not self._has_served:  # nobody is told of Kerberos; else another process tries it later
                self.give_up()
            return
        self._has_served = True
        self.why = ""
        self.tell_missing(self.ready.missing)
        log.info(f"Kerberos: {', '.join(self.ready.principals)} of {self.ready.keytab}")

    @override
    def stop(self) -> None:
        """See ServiceProcess.stop. The root directory of the process is removed."""
        super().stop()
        shutil.rmtree(self._root, ignore_errors=True)
