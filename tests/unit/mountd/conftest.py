# SPDX-License-Identifier: GPL-2.0-or-later
"""The doubles beside the tests can be imported."""
from __future__ import annotations

import os.path
import sys

sys.path.insert(0, os.path.dirname(__file__))
