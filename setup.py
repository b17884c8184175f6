# SPDX-License-Identifier: GPL-2.0-or-later
"""The packages: ksmbd and mountd as they stand, and the folders tools/ and bpf/ as packages below ksmbd, so that no
top-level name as common as theirs is installed. Everything else is in pyproject.toml.

With KSMBD_COMPILE=1 in the environment the modules of scripts/compiled.txt are compiled by mypyc as well (`make
compiled-wheel`, `make serve COMPILED=1`). They are what small requests pass; the same sources run uncompiled everywhere
else. Where mypyc or a C compiler is missing, one line says so, and nothing is compiled.
"""

import os
import shlex
import shutil
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

BELOW_KSMBD = {f"ksmbd.{name}": name for name in ("tools", "bpf") if Path(name, "__init__.py").exists()}

LENIENT = ["--ignore-missing-imports", "--no-warn-unused-ignores", "--no-warn-return-any"]
"""Where the dependencies are not installed their types are unknown. `make lint` is what checks types."""


JOINED_BYTES = 800_000
"""Of C in one file that is compiled."""


def missing() -> str:
    """What is needed to compile and is not there; '' where all is."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        return f"the C compiler {compiler}"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python.h (Debian: python3-dev)"
    return "" if find_spec("mypyc") else "mypyc (PyPI: mypy)"


def extensions() -> list[Extension]:
    """The compiled modules, where they are asked for."""
    if os.environ.get("KSMBD_COMPILE") != "1" or {"dist_info", "egg_info"} & set(sys.argv):
        return []
    if lacking := missing():
        print(f"setup: {lacking} is missing: all modules stay Python", file=sys.stderr)
        return []
    from mypyc.build import mypycify

    modules = Path("scripts/compiled.txt").read_text(encoding="utf-8").split()
    # -O1 makes as fast a server as -O2, in half the time; a C file a module lets all processors compile.
    made = mypycify(
        [*LENIENT, *modules], opt_level=os.environ.get("KSMBD_OPT", "1"), debug_level="0", multi_file=True
    )
    for extension in made:
        extension.sources = joined(extension.sources)
    return made


def joined(sources: list[str]) -> list[str]:
    """The same with small modules' C files included in common ones: each reads the headers of all modules, which takes
    longer than a small module itself. mypyc's names are unique in all of them together."""
    modules = [name for name in sources if Path(name).name.startswith("__native_ksmbd___")]
    if len(modules) < 2:
        return sources
    sizes = {name: Path(name).stat().st_size for name in modules}
    parts: list[list[str]] = [[] for _ in range(max(4, sum(sizes.values()) // JOINED_BYTES))]
    for name in sorted(modules, key=sizes.__getitem__, reverse=True):
        min(parts, key=lambda part: sum(map(sizes.__getitem__, part))).append(name)
    written = []
    for number, part in enumerate(filter(None, parts)):
        target = Path(part[0]).with_name(f"modules_{number}.c")
        text = "".join(f'#include "{Path(name).name}"\n' for name in part)
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")
        written.append(str(target))
    return [*(name for name in sources if name not in sizes), *written]


def size(source: str) -> int:
    """Bytes to compile: what a file of includes stands for is most of it."""
    return JOINED_BYTES if Path(source).name.startswith("modules_") else os.path.getsize(source)


class BuildInParallel(build_ext):
    """setuptools compiles the sources of one extension one after the other; this uses all processors."""

    def build_extensions(self) -> None:
        """Compile and link, and say how long that took."""
        one_by_one = self.compiler.compile

        def compile_all(sources: list[str], *arguments: object, **options: object) -> list[str]:
            # Largest first, so that no processor is left with a long one at the end.
            with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
                running = {
                    source: threads.submit(one_by_one, [source], *arguments, **options)
                    for source in sorted(sources, key=size, reverse=True)
                }
                return [name for source in sources for name in running[source].result()]

        begun = time.monotonic()
        self.compiler.compile = compile_all
        super().build_extensions()
        if self.extensions:
            seconds = time.monotonic() - begun
            used = os.times()
            total = used.user + used.system + used.children_user + used.children_system
            print(
                f"setup: compiled {len(self.extensions) - 1} modules in {analysed + seconds:.0f} s, {analysed:.0f} of "
                f"them mypyc's; {total:.0f} s of processor time", file=sys.stderr,
            )


started = time.monotonic()
compiled = extensions()
analysed = time.monotonic() - started
"""Seconds that mypyc took."""

setup(
    cmdclass={"build_ext": BuildInParallel} if compiled else {},
    ext_modules=compiled,
    packages=[*find_packages(include=["ksmbd", "ksmbd.*", "mountd", "mountd.*"]), *BELOW_KSMBD],
    package_dir=BELOW_KSMBD,
    package_data={package: ["*.c", "headers/**/*.h"] for package in BELOW_KSMBD},
)
