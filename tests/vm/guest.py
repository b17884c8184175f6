# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the tests run: in the virtual machine, or here, to have them run there."""
from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
IN_GUEST = os.environ.get("KSMBD_VM_GUEST") == "1"
COMMAND = os.environ.get("KSMBD_VM", "")
CHECKOUT = os.environ.get("KSMBD_VM_CHECKOUT", str(TOP))
NOWHERE = "no virtual machine: KSMBD_VM names the command that runs one in it (tests/vm/README.md)"


def run_there(test: str) -> subprocess.CompletedProcess[str]:
    """Run a module of this folder with pytest in the machine."""
    python = Path(sys.executable)
    try:
        python = Path(CHECKOUT) / python.relative_to(TOP)
    except ValueError:
        pass  # the interpreter is not the checkout's: the machine has the same one
    line = (
        f"cd {shlex.quote(CHECKOUT)} && KSMBD_VM_GUEST=1 PYTHONDONTWRITEBYTECODE=1 {shlex.quote(str(python))} "
        f"-m pytest -p no:cacheprovider -rs --timeout 300 tests/vm/{shlex.quote(test)}"
    )
    return subprocess.run(
        [*shlex.split(COMMAND), line], capture_output=True, text=True, timeout=1800, check=False
    )
