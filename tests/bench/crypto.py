# SPDX-License-Identifier: GPL-2.0-or-later
"""What signing and sealing cost: µs a message of 200 B, 64 KiB and 1 MiB, and what two threads gain over one.

    .venv/bin/python tests/bench/crypto.py [MEGABYTES_A_ROW]

Best of five rounds; the last column is the throughput of two threads with 1 MiB messages relative to one thread, which
tells whether the interpreter is let go meanwhile.
"""
from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

from ksmbd.auth.encryption import AeadSealer
from ksmbd.auth.signing import make_signer
from ksmbd.smb import constants as c

SIZES = (200, 64 * 1024, 1024 * 1024)
SIGNERS = {
    "HMAC-SHA256": c.SIGNING_HMAC_SHA256,
    "AES-CMAC": c.SIGNING_AES_CMAC,
    "AES-GMAC": c.SIGNING_AES_GMAC,
}
CIPHERS = {
    "AES-128-GCM": (c.CIPHER_AES128_GCM, 16),
    "AES-256-GCM": (c.CIPHER_AES256_GCM, 32),
    "AES-128-CCM": (c.CIPHER_AES128_CCM, 16),
    "AES-256-CCM": (c.CIPHER_AES256_CCM, 32),
}


def measure(work: Callable[[], object], repeat: int) -> float:
    """Seconds a call: the best of five rounds of `repeat` calls."""
    best = float("inf")
    for _ in range(5):
        start = perf_counter()
        for _ in range(repeat):
            work()
        best = min(best, (perf_counter() - start) / repeat)
    return best


def two_threads(make: Callable[[], Callable[[], object]], repeat: int) -> float:
    """Throughput of two threads, each on a message of its own, relative to one."""
    one, other = make(), make()
    alone = measure(one, repeat)
    with ThreadPoolExecutor(2) as pool:
        start = perf_counter()
        for each in [pool.submit(measure, work, repeat) for work in (one, other)]:
            each.result()
        together = (perf_counter() - start) / (10 * repeat)
    return alone / together


def signing(algorithm: int, size: int, verify: bool) -> Callable[[], object]:
    signer = make_signer(algorithm, bytes(16))
    message = memoryview(bytearray(os.urandom(size)))
    return (lambda: signer.verify(message)) if verify else (lambda: signer.sign(message))


def sealing(cipher: int, key_size: int, size: int, unseal: bool) -> Callable[[], object]:
    key = bytes(key_size)
    sealer = AeadSealer(cipher, key, key)
    frame = bytearray(os.urandom(56 + size))
    if not unseal:
        return lambda: sealer.seal(frame, 56, 1)
    sealer.seal(frame, 56, 1)
    sealed, target = bytes(frame[56:]), memoryview(frame)[4:]

    def open_again() -> None:
        target[52:] = sealed  # it was decrypted in place: the copy is part of what is measured
        sealer.open(target)

    return open_again


def main() -> None:
    budget = float(sys.argv[1]) * 1e6 if len(sys.argv) > 1 else 50e6
    rows: list[tuple[str, Callable[[int], Callable[[], object]]]] = []
    for name, algorithm in SIGNERS.items():
        rows.append((f"{name} sign", lambda size, a=algorithm: signing(a, size, False)))  # type: ignore[misc]
        rows.append((f"{name} verify", lambda size, a=algorithm: signing(a, size, True)))  # type: ignore[misc]
    for name, (cipher, key_size) in CIPHERS.items():
        rows.append((f"{name} seal", lambda size, a=cipher, k=key_size: sealing(a, k, size, False)))  # type: ignore[misc]
        rows.append((f"{name} open", lambda size, a=cipher, k=key_size: sealing(a, k, size, True)))  # type: ignore[misc]
    print(f"{'µs a message':22}" + "".join(f"{size:>12,}" for size in SIZES) + "   2 threads")
    for name, make in rows:
        figures = [measure(make(size), max(3, min(20000, int(budget / 50 / size)))) * 1e6 for size in SIZES]
        gain = two_threads(lambda make=make: make(SIZES[-1]), max(3, int(budget / 50 / SIZES[-1])))  # type: ignore[misc]
        print(f"{name:22}" + "".join(f"{figure:12.2f}" for figure in figures) + f"{gain:12.2f}")


if __name__ == "__main__":
    main()
