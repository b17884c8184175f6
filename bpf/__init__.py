# SPDX-License-Identifier: GPL-2.0-or-later
"""The BPF programs, C for bcc: steer, lookup, tune and capture. `headers/` stands in for a kernel tree, so that none is
needed."""
