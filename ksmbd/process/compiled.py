# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports which modules of the engine are compiled: an installation may compile some of them from the same sources
(scripts/compiled.txt, setup.py)."""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES

from ksmbd.process.control import Feature


def compiled_modules() -> list[str]:
    """The names of the compiled modules that are loaded so far, sorted."""
    suffixes = tuple(EXTENSION_SUFFIXES)
    return sorted(
        name
        for name, module in list(sys.modules.items())
        if name.startswith("ksmbd.") and str(getattr(module, "__file__", "")).endswith(suffixes)
    )


def compiled_feature() -> Feature:
    """The line of `ksmbd.control --features`."""
    count = len(compiled_modules())
    if count:
        return Feature("compiled", True, f"{count} of the engine's modules run as machine code")
    return Feature("compiled", False, "all modules run as Python: small requests take more processor time")
