# SPDX-License-Identifier: GPL-2.0-or-later
"""The oracle's long lane, and single draws again. Root.

    run.py all    [--draws N] [--seed S]                                 make oracle
    run.py files  [--draws N] [--seed S] [--fs tmpfs|ext4] [--replay FILE]
    run.py access [--draws N] [--seed S]

Exit status 0 where all agree, 1 where a draw differs, 77 where this machine cannot (the reason is printed). FILE has a
draw as a failing one is printed behind `replay:`.
"""
from __future__ import annotations

import argparse
import ast
import os
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict

CANNOT = 77
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)


class Unsupported(Exception):
    """This machine lacks something."""


def ground(kind: str) -> str:
    """The folder of a file system of its own; Unsupported."""
    from ground import enter

    try:
        return enter(kind)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unsupported(f"{kind}: {error}") from error


def files(draws: int, seed: int, kind: str, replay: str, failures: int) -> int:
    """The files' part; the number of draws that fail."""
    from compare import Oracle, clean, report, shrink
    from draws import draw, from_plain

    oracle = Oracle(ground(kind))
    failed = 0
    why: Counter[str] = Counter()
    began = time.monotonic()
    try:
        if replay:
            with open(replay) as file:
                again = [from_plain(ast.literal_eval(file.read()))]
        else:
            again = (draw(seed * 1_000_000 + index) for index in range(draws))  # type: ignore[assignment]
        for one in again:
            try:
                failure = oracle.run(one)
            except Exception as error:  # noqa: BLE001  (the draws after it are run all the same)
                print(one.script(), f"\n  {error!r}")
                clean(oracle.folder)
                failed += 1
                continue
            if failure is None:
                continue
            failed += 1
            if failed <= failures:
                small = shrink(oracle, failure)
                report(small)
                print(f"  replay: {asdict(small.draw)!r}", flush=True)
                why[f"{small.draw.steps[-1].op}: {small.lines[0]}"] += 1
    finally:
        oracle.close()
    granted = sum(count for name, count in oracle.counts.items() if name.endswith("granted"))
    refused = sum(oracle.counts.values()) - granted
    took = time.monotonic() - began
    print(f"oracle: {draws} draws of seed {seed} on {kind} in {took:.0f} s: {granted} steps granted, {refused} "
          f"refused, {failed} draws differ")  # fmt: skip
    for counter in (oracle.counts, oracle.reasons):
        print("  " + ", ".join(f"{name} {count}" for name, count in sorted(counter.items())))
    return failed


def access(draws: int, seed: int, failures: int) -> int:
    """The part with access control lists; 1 where a draw fails."""
    from descriptors import AclOracle, draw, missing

    lacks = missing()
    if lacks:
        raise Unsupported(lacks)
    oracle = AclOracle(ground("tmpfs"))
    failed = 0
    began = time.monotonic()
    try:
        for index in range(draws):
            one = draw(seed * 1_000_000 + index)
            lines = oracle.run(one)
            if lines:
                failed += 1
                if failed <= failures:
                    print("\n    ".join([one.script(), *lines]), flush=True)
    finally:
        oracle.close()
    print(f"oracle: {draws} descriptors of seed {seed} in {time.monotonic() - began:.0f} s: {oracle.granted} opens "
          f"granted, {oracle.refused} refused, {oracle.layouts} "
          f"descriptors written by Samba, {oracle.changed} set, {failed} draws differ from Samba's")  # fmt: skip
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("all", "files", "access"))
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="0: one is drawn")
    parser.add_argument("--fs", choices=("tmpfs", "ext4"), default="tmpfs")
    parser.add_argument("--replay", default="")
    parser.add_argument("--failures", type=int, default=5, help="how many failing draws are shrunk and shown")
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 31)
    if os.geteuid() != 0:
        print("oracle: needs root: acts as other users")
        return CANNOT
    if options.part == "all":
        half = str(max(options.draws // 2, 1))
        parts = (
            ("files", "--fs", "tmpfs", "--draws", half, "--seed", str(seed)),
            ("files", "--fs", "ext4", "--draws", half, "--seed", str(seed + 1)),
            ("access", "--draws", str(options.draws), "--seed", str(seed)),
        )  # fmt: skip
        calls = [[sys.executable, "-P", os.path.abspath(__file__), *part] for part in parts]
        results = [subprocess.run(call, check=False).returncode for call in calls]
        return 1 if any(result not in (0, CANNOT) for result in results) else max(results)
    try:
        if options.part == "access":
            return access(options.draws, seed, options.failures)
        return 1 if files(options.draws, seed, options.fs, options.replay, options.failures) else 0
    except Unsupported as error:
        print(f"oracle: {options.part} left out: {error}")
        return CANNOT


if __name__ == "__main__":
    sys.exit(main())
