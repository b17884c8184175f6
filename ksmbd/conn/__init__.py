# SPDX-License-Identifier: GPL-2.0-or-later
"""Sockets: the listener, the event loop, framing, back-pressure."""
