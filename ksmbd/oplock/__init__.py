# SPDX-License-Identifier: GPL-2.0-or-later
"""The open table: who may open, cache and lock what."""
