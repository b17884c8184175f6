# SPDX-License-Identifier: GPL-2.0-or-later
"""The open table: decides which opens, oplocks, leases and byte-range locks are granted."""
