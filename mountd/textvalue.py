# SPDX-License-Identifier: GPL-2.0-or-later
"""Settings as text, for the engine's options and for ksmbd.control --check."""

from __future__ import annotations

from ksmbd.ipc.options import NO, YES
from mountd.parameters import Kind, Parameter


def text_value(parameter: Parameter, value: object) -> str:
    """A setting as text, in the syntax of ksmbd.conf."""
    if isinstance(value, bool):
        return YES if value else NO
    if isinstance(value, tuple):
        if parameter.kind is Kind.PATTERNS:
            return "/" + "/".join(value) + "/" if value else ""
        return ", ".join(value)
    if parameter.kind is Kind.MODE and isinstance(value, int):
        return f"{value:04o}"
    return str(value)
