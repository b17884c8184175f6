# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds shares whose folder is missing or unreadable, so that the administrator hears of it before the users do."""

from __future__ import annotations

import os

from mountd.config import Configuration
from mountd.personal import depends


def problems(configuration: Configuration) -> list[str]:
    """A line for each share whose path is missing, no folder, or cannot be read by this process. Users' rights are not
    checked."""
    found = []
    for share in configuration.all_shares():
        path = share.full_path(configuration.settings)
        if share.is_ipc or not path.startswith("/") or (configuration.samba and depends(share)):
            continue  # a path that is not absolute is an error of the configuration
        reason = _reason(path)
        if reason:
            found.append(f"[{share.name}]: {path}: {reason}")
    return found


def _reason(path: str) -> str:
    try:
        os.scandir(path).close()
    except (FileNotFoundError, NotADirectoryError) as error:
        return f"{error.strerror}: nobody can connect until the folder is there"
    except OSError as error:
        return f"{error.strerror}: the server cannot read the folder"
    except ValueError:
        return "no path: nobody can connect"
    return ""
