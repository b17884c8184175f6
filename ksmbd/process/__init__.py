# SPDX-License-Identifier: GPL-2.0-or-later
"""The processes of the engine: the forker, its workers and their messages, and the control files."""
