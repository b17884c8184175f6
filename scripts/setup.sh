#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Set up what the project needs: Debian packages, the virtual environment .venv, the package in it.
#
#   setup.sh serve   to run the server
#   setup.sh test    to run the tests as well
#   setup.sh conformance   to run smbtorture as well
#   setup.sh vm      to run the tests that need a virtual machine as well
#   setup.sh bench   to measure beside Samba; none of Debian's services is started
#   setup.sh built   sets up nothing: 0 where that is done and of these sources
#
# With COMPILED=1 in the environment the virtual environment is .venv-compiled, with the modules of scripts/compiled.txt
# compiled: it has a copy of the sources, which is made again when they change.
#
# As root missing packages are installed; without root they are named, and the set-up goes on where it can.
# Run again it does nothing but compare a checksum: .setup-PROFILE in the virtual environment holds that of what it
# depends on.
set -eu

profile=${1:?usage: setup.sh serve|test|conformance|vm|bench}
cd "$(dirname "$0")/.."
top=$(pwd)
compiled=${COMPILED:-0}
name=.venv
[ "$compiled" != 1 ] || name=.venv-compiled
venv=$top/$name

say() { printf 'setup: %s\n' "$*" >&2; }

# The server needs a Python with venv; python3-bpfcc compiles the BPF programs and is never imported by the server itself.
# python3-gssapi is imported by the process of Kerberos alone, from where Debian keeps it.
required="python3 python3-venv"
optional="python3-bpfcc python3-gssapi"
case $profile in
serve | built) extra="" ;;
test) extra="[test]"; required="$required smbclient"; optional="$optional tshark xfsprogs btrfs-progs python3-samba fail2ban samba samba-vfs-modules acl krb5-kdc krb5-admin-server krb5-user" ;;
conformance) extra="[test]"; required="$required smbclient samba samba-vfs-modules samba-testsuite iproute2 iptables"; optional="$optional krb5-kdc krb5-admin-server krb5-user" ;;
vm) extra="[test]"; required="$required smbclient qemu-system-x86 busybox-static cpio kmod xz-utils cifs-utils"; optional="$optional keyutils krb5-kdc krb5-admin-server krb5-user" ;;
bench) extra="[test,bench]"; required="$required samba samba-vfs-modules smbclient gcc libc6-dev libssl-dev e2fsprogs" ;;
*) say "unknown profile '$profile' (serve, test, conformance, vm or bench)"; exit 2 ;;
esac
[ "$compiled" != 1 ] || optional="$optional gcc libc6-dev python3-dev"

sources() { find ksmbd mountd tools bpf -name '*.py' -o -name '*.[ch]' | LC_ALL=C sort; }

# What is compiled depends on the sources alone: another profile takes what one has compiled.
compiled_key() { { cat pyproject.toml setup.py; sources; sources | xargs cat scripts/compiled.txt; } | cksum; }

if [ "$profile" = built ]; then
    [ -x "$venv/bin/ksmbd.mountd" ] || exit 1
    [ "$compiled" != 1 ] || [ "$(cat "$venv/.compiled" 2>/dev/null)" = "$(compiled_key)" ]
    exit
fi

stamp=$venv/.setup-$profile
key=$({ cat pyproject.toml setup.py scripts/setup.sh; ls tools/__init__.py bpf/__init__.py 2>/dev/null
    if [ "$compiled" = 1 ]; then
        sources
        sources | xargs cat scripts/compiled.txt
    fi
} | cksum)" $top"
if [ -x "$venv/bin/ksmbd.mountd" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$key" ]; then
    exit 0
fi

# Of two set-ups at once the second waits, and then finds everything done.
exec 9<"$top"
if command -v flock >/dev/null 2>&1; then
    flock 9
    [ "$(cat "$stamp" 2>/dev/null)" != "$key" ] || exit 0
fi

installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'; }

missing() {
    list=""
    for package in "$@"; do
        installed "$package" || list="$list $package"
    done
    printf '%s' "${list# }"
}

apt_install() {
    # No recommended packages, and no service of Debian's is started by what we install: invoke-rc.d asks policy-rc.d.
    policy=/usr/sbin/policy-rc.d
    made=""
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' > $policy
        chmod 755 $policy
        made=$policy
    fi
    status=0
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 install --no-install-recommends "$@" >&2 || status=$?
    [ -z "$made" ] || rm -f "$made"
    return $status
}

install_packages() {
    # $1: fail | try; the rest: packages
    how=$1; shift
    wanted=$(missing "$@")
    [ -n "$wanted" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        say "not root, so please install yourself: apt-get install $wanted"
        return 0
    fi
    say "installing Debian packages: $wanted"
    # shellcheck disable=SC2086
    if ! apt_install $wanted; then
        say "updating the package lists"
        apt-get -q update >&2 || true
        # shellcheck disable=SC2086
        apt_install $wanted || [ "$how" = try ] || { say "apt-get could not install: $wanted"; exit 1; }
    fi
}

if command -v dpkg-query >/dev/null 2>&1 && command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && ! ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1; then
        say "fetching the package lists"
        apt-get -q update >&2 || true
    fi
    # shellcheck disable=SC2086
    install_packages fail $required
    # shellcheck disable=SC2086
    install_packages try $optional
    # shellcheck disable=SC2086
    absent=$(missing $optional)
    [ -z "$absent" ] || say "going on without $absent: what needs it is left out"
else
    say "not a Debian system: python3 (3.11 or later) with venv must be there${extra:+, and smbclient}"
fi

# Debian's own Python first: its site-packages hold bcc.
python=""
for candidate in /usr/bin/python3 python3 python3.13 python3.12 python3.11; do
    path=$(command -v "$candidate" 2>/dev/null) || continue
    if "$path" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$path
        break
    fi
done
if [ -z "$python" ]; then
    say "no Python 3.11 or later with venv: install python3 and python3-venv"
    exit 1
fi

# A virtual environment that was moved, or whose Python is gone, is made again.
if [ -d "$venv" ] && ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
    rm -rf "$venv"
fi
if [ -x "$venv/bin/pip" ] && ! head -1 "$venv/bin/pip" | grep -qF "$venv/"; then
    rm -rf "$venv"
fi
if [ ! -x "$venv/bin/python" ]; then
    say "making $name with $python"
    "$python" -m venv "$venv"
fi
# What one profile has installed the other keeps.
[ -z "$extra" ] && [ -e "$venv/.setup-test" ] && extra="[test]"
[ "$extra" = "[test]" ] && [ -e "$venv/.setup-bench" ] && extra="[test,bench]"
pip() { "$venv/bin/python" -m pip "$@" --quiet --disable-pip-version-check --no-input --root-user-action=ignore >&2; }
if [ "$compiled" = 1 ]; then
    # What was compiled before is kept beside what it became, out of the way of other wheels. After a change of the list
    # nothing of it may be found again.
    rm -rf build
    if cmp -s scripts/compiled.txt "$venv/build/compiled.txt"; then
        mv "$venv/build" build
        find build -path 'build/lib*' -name '*.py' -delete
    else
        rm -rf "$venv/build"
    fi
    say "installing what the package${extra:+ and its tests} need"
    # Not the package: it would take the place of what is compiled.
    "$venv/bin/python" - "$extra" > "$venv/requirements" <<'PYTHON'
import re, sys, tomllib
with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
wanted = list(project["dependencies"])
for name in re.findall(r"\w+", sys.argv[1]):
    wanted += project["optional-dependencies"][name]
print("\n".join(wanted))
PYTHON
    pip install "setuptools>=77" "mypy>=2.4,<3" wheel -r "$venv/requirements"
    is_compiled() { ls "$venv"/lib/python*/site-packages/ksmbd/conn/loop.*.so >/dev/null 2>&1; }
    if ! is_compiled || [ "$(cat "$venv/.compiled" 2>/dev/null)" != "$(compiled_key)" ]; then
        say "compiling, which takes a minute"
        begun=$(date +%s)
        rm -f "$venv/.compiled"
        KSMBD_COMPILE=1 pip install --no-build-isolation --no-deps --force-reinstall .
        if is_compiled; then
            say "compiled $(wc -l < scripts/compiled.txt) modules in $(($(date +%s) - begun)) s"
            for module in $(cat scripts/compiled.txt); do
                ls "$venv"/lib/python*/site-packages/"${module%.py}".*.so >/dev/null 2>&1 ||
                    { say "$module was not compiled, and others were: the build is broken"; exit 1; }
            done
        else
            say "no C compiler, or no Python.h (apt-get install gcc python3-dev): all modules stay Python"
        fi
        compiled_key > "$venv/.compiled"
    fi
    [ ! -d build ] || { cp scripts/compiled.txt build/ && mv build "$venv/build"; }
else
    say "installing the package${extra:+ with what the tests need}"
    pip install --editable ".$extra"
fi
printf '%s' "$key" > "$stamp"
[ "$profile" = serve ] || printf '%s' "$key" > "$venv/.setup-serve"
[ "$profile" != bench ] || printf '%s' "$key" > "$venv/.setup-test"
