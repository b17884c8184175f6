# SPDX-License-Identifier: GPL-2.0-or-later
"""Adds, updates and deletes a share of ksmbd.conf, for ksmbd.addshare and for administrators over RPC.

The file is written only where the result has no error that it did not have before.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from mountd import config, configwriter
from mountd.files import locked_directory, replace


class Why(enum.Enum):
    """Why a share cannot be changed."""

    UNREADABLE = "the file cannot be read"
    THERE = "there is such a share already"
    MISSING = "there is no such share"
    NO_FOLDER = "a share without a folder"
    INVALID = "a value that is not allowed"


class ShareProblem(Exception):
    """A share cannot be changed; the message says why, in one line."""

    def __init__(self, why: Why, message: str) -> None:
        super().__init__(message)
        self.why = why


def check(path: str, name: str, action: str) -> None:
    """Raise ShareProblem where the file has no share for this action (`add`, `update`, `delete`; anything else adds or
    updates), or has one already."""
    _exists(_read(path), path, name, action)


def change(path: str, name: str, action: str, options: Mapping[str, str], wait: bool = True) -> str:
    """Change the file, and return what was done: `added`, `updated` or `deleted`. Raises ShareProblem; OSError where
    the file cannot be written, BlockingIOError where another writer is at it and `wait` is not set."""
    with locked_directory(path, wait):
        text = _read(path)
        there = _exists(text, path, name, action)
        if action == "delete":
            changed, outcome = configwriter.delete_section(text, name), "deleted"
        elif there:
            changed, outcome = configwriter.update_section(text, name, options), "updated"
        else:
            changed, outcome = configwriter.add_section(text, name, options), "added"
        after = config.parse(changed, path)
        share = after.share(name)
        if outcome == "added" and share is not None and not share.path and not share.is_ipc:
            raise ShareProblem(Why.NO_FOLDER, "a share needs a folder")
        new = {error.message for error in after.errors} - {error.message for error in config.parse(text, path).errors}
        if new:
            raise ShareProblem(Why.INVALID, min(new))
        replace(path, changed.encode(), mode=0o644)
    return outcome


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise ShareProblem(Why.UNREADABLE, f"{path}: not UTF-8") from None
    except OSError as error:
        raise ShareProblem(Why.UNREADABLE, f"{path}: cannot be read: {error.strerror}") from None


def _exists(text: str, path: str, name: str, action: str) -> bool:
    there = configwriter.has_section(text, name)
    if action == "add" and there:
        raise ShareProblem(Why.THERE, f"there is a share [{name}] in {path} already")
    if action in ("update", "delete") and not there:
        raise ShareProblem(Why.MISSING, f"no share [{name}] in {path}")
    return there
