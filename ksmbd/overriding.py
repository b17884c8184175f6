# SPDX-License-Identifier: GPL-2.0-or-later
"""`@override` (PEP 698) marks a method that overrides one of a base class; mypy reports one that overrides nothing.

Python has it from 3.12 on. mypy knows typing_extensions without its being installed, and mypyc ignores the decorator,
so at run time nothing is imported or called."""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from typing_extensions import override as override
else:
    _Method = TypeVar("_Method", bound=Callable[..., object])

    def override(method: _Method) -> _Method:
        """The method itself."""
        return method


__all__ = ["override"]
