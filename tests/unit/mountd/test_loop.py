# SPDX-License-Identifier: GPL-2.0-or-later
"""mountd's event loop."""
from __future__ import annotations

import os

from mountd.loop import Loop


def test_what_one_call_removes_is_not_called_in_the_same_turn() -> None:
    """A process's end and the end of its socket come together: the first one's call closes what the other is for."""
    loop = Loop()
    pipes = [os.pipe() for _ in range(2)]
    called: list[int] = []

    def ready(which: int) -> None:
        called.append(which)
        os.read(pipes[which][0], 1)
        loop.remove_reader(pipes[1 - which][0])
        loop.call_later(0, loop.stop)

    for which, (reader, writer) in enumerate(pipes):
        os.write(writer, b"x")
        loop.add_reader(reader, lambda which=which: ready(which))  # type: ignore[misc]
    loop.run()
    assert len(called) == 1
    loop.close()
    for pair in pipes:
        for descriptor in pair:
            os.close(descriptor)


def test_a_stop_before_the_run_counts_once() -> None:
    loop = Loop()
    called: list[str] = []
    loop.call_later(0, lambda: called.append("early"))
    loop.stop()
    loop.run()
    assert called == []
    loop.call_later(0, loop.stop)
    loop.run()
    assert called == ["early"]
    loop.close()
