# SPDX-License-Identifier: GPL-2.0-or-later
"""For all tests: continuous integration draws the same examples each time, so that it tells what a change did.

Elsewhere hypothesis searches anew in every run; what it finds becomes a test of its own."""
from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
