# SPDX-License-Identifier: GPL-2.0-or-later
"""Thin wrappers over kernel interfaces that Python lacks, each with a probe where a kernel may not have it."""
