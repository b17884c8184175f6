# SPDX-License-Identifier: GPL-2.0-or-later
"""The forker, the workers' life, the control files."""
