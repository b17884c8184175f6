# SPDX-License-Identifier: GPL-2.0-or-later
"""The packages: ksmbd and mountd as they stand, and the folders tools/ and bpf/ as packages below ksmbd, so that no
top-level name as common as theirs is installed. Everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

BELOW_KSMBD = {f"ksmbd.{name}": name for name in ("tools", "bpf") if Path(name, "__init__.py").exists()}

setup(
    packages=[*find_packages(include=["ksmbd", "ksmbd.*", "mountd", "mountd.*"]), *BELOW_KSMBD],
    package_dir=BELOW_KSMBD,
    package_data={package: ["*.c", "*.h", "headers/*"] for package in BELOW_KSMBD},
)
