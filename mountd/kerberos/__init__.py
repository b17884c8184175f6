# SPDX-License-Identifier: GPL-2.0-or-later
"""Log-ons with Kerberos: the process that has the keytab, and what the daemon makes of its answers."""
