# SPDX-License-Identifier: GPL-2.0-or-later
"""Fuzzes the decoders by coverage with atheris: fuzz.py [--seconds 600] [--target NAME ...] [--folder var/fuzz]

Each target runs in a process of its own for its part of the time, two at once. It starts with the inputs of
tests/fuzz/corpus; what it finds beyond goes to the folder, inputs that raise something unexpected, too. The exit status
is 1 where there is one; put it into the corpus once it is mended.
"""
from __future__ import annotations

import argparse
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
AT_ONCE: Final = 2
LONGEST: Final = 4096
"""Bytes of an input."""
_COUNT: Final = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


def child(name: str, arguments: list[str]) -> None:
    """Fuzz one target in this process; never returns."""
    import atheris  # make fuzz installs it

    with atheris.instrument_imports(include=["ksmbd", "mountd"]):
        sys.path.insert(0, str(HERE))
        import targets
    atheris.Setup([name, *arguments], lambda data: targets.run(name, data))
    atheris.Fuzz()


def fuzz(name: str, seconds: int, folder: Path) -> tuple[str, int, str]:
    """(target, executions, what went wrong or '') of some seconds of fuzzing."""
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)
    seeds = HERE / "corpus" / name
    ended = subprocess.run(
        [
            sys.executable, "-P", str(HERE / "fuzz.py"), "--child", name, str(own), *([str(seeds)] * seeds.is_dir()),
            f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-timeout=10", "-rss_limit_mb=1024",
            "-print_final_stats=1", f"-artifact_prefix={own}/finding-",
        ],
        capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    said = ended.stdout + ended.stderr
    found = _COUNT.search(said)
    return name, int(found[1]) if found else 0, said[-3000:] if ended.returncode else ""


def main() -> int:
    """Fuzz all targets, print a line each. Returns the exit status."""
    sys.path.insert(0, str(HERE))
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    from targets import TARGETS

    parser = argparse.ArgumentParser(description="Fuzz the decoders by coverage.")
    parser.add_argument("--seconds", type=int, default=600, help="of all targets together")
    parser.add_argument("--target", action="append", choices=TARGETS, help="this one alone; may be given again")
    parser.add_argument("--folder", type=Path, default=Path("var/fuzz"), help="for new inputs and findings")
    options = parser.parse_args()
    names = options.target or list(TARGETS)
    each = max(1, options.seconds * AT_ONCE // len(names))
    total = findings = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for name, count, wrong in pool.map(lambda one: fuzz(one, each, options.folder), names):
            total += count
            findings += bool(wrong)
            print(f"{name:22} {count:10} executions{'   FINDING' if wrong else ''}", flush=True)
            if wrong:
                print(wrong, flush=True)
    print(f"{total} executions in all, {findings} targets with findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
