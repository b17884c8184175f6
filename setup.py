# SPDX-License-Identifier: GPL-2.0-or-later
"""The packages: ksmbd and mountd as they stand, and the folders tools/ and bpf/ as packages below ksmbd, so that no
top-level name as common as theirs is installed. Everything else is in pyproject.toml.

With KSMBD_COMPILE=1 in the environment the modules of scripts/compiled.txt are compiled by mypyc as well (`make
compiled-wheel`). They are what an ECHO and an open pass; the same sources run uncompiled everywhere else, and a wheel
needs no compiler.
"""

import os
from pathlib import Path

from setuptools import Extension, find_packages, setup

BELOW_KSMBD = {f"ksmbd.{name}": name for name in ("tools", "bpf") if Path(name, "__init__.py").exists()}



def extensions() -> list[Extension]:
    """The compiled modules, where they are asked for."""
    if os.environ.get("KSMBD_COMPILE") != "1":
        return []
    from mypyc.build import mypycify

    return mypycify(["--ignore-missing-imports", *Path("scripts/compiled.txt").read_text().split()], debug_level="0")


setup(
    ext_modules=extensions(),
    packages=[*find_packages(include=["ksmbd", "ksmbd.*", "mountd", "mountd.*"]), *BELOW_KSMBD],
    package_dir=BELOW_KSMBD,
    package_data={package: ["*.c", "*.h", "headers/*"] for package in BELOW_KSMBD},
)
