#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Install ksmbd on a Debian machine from a copy of the sources: to /opt/ksmbd, with a share, a user and the service.
# As root:  provision.sh [SOURCES]     SMB_USER and SMB_PASSWORD name the user; without a password one is drawn.
# Run again it updates the program and leaves configuration and users as they are.
set -eu

sources=${1:-/vagrant}
program=/opt/ksmbd
settings=/etc/ksmbd
data=/srv/ksmbd
user=${SMB_USER:-vagrant}
password=${SMB_PASSWORD:-}

[ "$(id -u)" = 0 ] || { echo "provision.sh: run me as root" >&2; exit 1; }
[ -f "$sources/pyproject.toml" ] || { echo "provision.sh: no sources in $sources" >&2; exit 1; }

export DEBIAN_FRONTEND=noninteractive
command -v make >/dev/null || { apt-get -q update; apt-get -q -y install --no-install-recommends make; }

# The sources without what belongs to the place they come from.
mkdir -p "$program"
tar -C "$sources" --exclude=./.venv --exclude=./.venv-compiled --exclude=./var --exclude=./.git -cf - . | tar -C "$program" -xf -
# The busiest modules compiled, where the compiler can be installed; else the same as Python.
make -C "$program" build COMPILED=1

mkdir -p "$settings"
install -d -m 0750 -o root -g root "$data"
if ! id "$user" >/dev/null 2>&1; then
    useradd --no-create-home --shell /usr/sbin/nologin "$user"
fi
chown "$user:" "$data"

if [ ! -e "$settings/ksmbd.conf" ]; then
    "$program/.venv-compiled/bin/ksmbd.addshare" -a -o "path = $data" -o "read only = no" \
        -o "vfs objects = acl_xattr streams_xattr" -o "valid users = $user" data
fi
if ! grep -qs "^$user:" "$settings/ksmbdpwd.db"; then
    [ -n "$password" ] || password=$(head -c 9 /dev/urandom | base64)
    printf '%s\n' "$password" | "$program/.venv-compiled/bin/ksmbd.adduser" -a "$user"
    echo "provision.sh: user $user, password $password"
fi

install -m 0644 "$program/vagrant/ksmbd.service" /etc/systemd/system/ksmbd.service
install -d /usr/local/share/man/man5 /usr/local/share/man/man8
install -m 0644 "$program"/man/*.5 /usr/local/share/man/man5/
install -m 0644 "$program"/man/*.8 /usr/local/share/man/man8/
for command in mountd adduser addshare control; do
    ln -sf "$program/.venv-compiled/bin/ksmbd.$command" "/usr/local/sbin/ksmbd.$command"
done
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl enable ksmbd.service
    systemctl restart ksmbd.service
    systemctl --no-pager --lines=5 status ksmbd.service
fi
echo "provision.sh: try  smbclient //$(hostname)/data -U $user -c ls"
