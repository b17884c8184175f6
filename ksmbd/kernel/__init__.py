# SPDX-License-Identifier: GPL-2.0-or-later
"""Thin wrappers over kernel interfaces, each with its probe."""
