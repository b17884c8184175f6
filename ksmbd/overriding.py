# SPDX-License-Identifier: GPL-2.0-or-later
"""`@override` (PEP 698), which marks what replaces a method of a base class: mypy refuses one that replaces nothing.

Python has it from 3.12 on. The checker knows typing_extensions without its being installed, and mypyc leaves the mark
out, so at run time there is nothing to import and nothing to call."""
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
