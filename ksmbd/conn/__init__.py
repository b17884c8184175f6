# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections: the event loop, limits, back-pressure, and what a transport provides (contract.py)."""
