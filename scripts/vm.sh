#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A virtual machine for tests/vm: Debian's own kernel (with ksmbd.ko, cifs.ko, nfsd.ko) under QEMU, without a disk image.
#
#   vm.sh up               boot it, for the first time after a download of the kernel's package (100 MB)
#   vm.sh run 'COMMAND'    run a command in it as root: its output, its exit status
#   vm.sh down             stop it
#   vm.sh test [MODULE]    boot it, run the modules of tests/vm in it (all), and stop it
#
# The root of the machine is this one's, read-only over 9p, below an overlay in memory: what is installed here is there, this
# checkout too, and nothing that the machine writes comes here. VM_MEMORY=3072 (MiB), VM_CPUS=2, VM_ACCEL=tcg or kvm.
set -eu

cd "$(dirname "$0")/.."
top=$(pwd)
state=$top/var/vm
socket=$state/agent
pid=$state/pid

say() { printf 'vm: %s\n' "$*" >&2; }

running() { [ -e "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null; }

kernel() {
    # The newest 6.12, which Debian 12 has beside its own kernel.
    [ -e "$state/version" ] && return
    say "fetching Debian's kernel"
    apt-cache show linux-image-6.12-amd64 >/dev/null 2>&1 && meta=linux-image-6.12-amd64 || meta=linux-image-amd64
    package=$(apt-cache depends $meta | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
    rm -rf "$state/kernel"
    mkdir -p "$state/kernel"
    (cd "$state/kernel" && apt-get -q download "$package" >&2 && dpkg -x ./*.deb . && rm -f ./*.deb)
    version=$(ls "$state/kernel/lib/modules" 2>/dev/null || ls "$state/kernel/usr/lib/modules")
    [ -d "$state/kernel/lib" ] || ln -s usr/lib "$state/kernel/lib"
    depmod -b "$state/kernel" "$version"
    echo "$version" > "$state/version"
}

initramfs() {
    # Busybox, and the modules without which the root cannot be mounted.
    work=$(mktemp -d)
    mkdir -p "$work/bin" "$work/modules"
    cp /bin/busybox "$work/bin/"
    for module in virtio_pci 9pnet_virtio 9p overlay; do
        modprobe -d "$state/kernel" -S "$version" --show-depends "$module" 2>/dev/null || true
    done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | while read -r path; do
        name=$(basename "$path" .xz)
        case $path in *.xz) xz -dc "$path" > "$work/modules/$name" ;; *) cp "$path" "$work/modules/$name" ;; esac
        echo "$name" >> "$work/order"
    done
    cat > "$work/init" <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /low /high /new
$b mount -t proc proc /proc
while read -r module; do $b insmod "/modules/$module"; done < /order
share() { $b mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=512000,cache=loose "$1" "$2" || exec $b sh; }
share root /low
$b mount -t tmpfs -o size=90% tmpfs /high
$b mkdir -p /high/upper /high/work
$b mount -t overlay -o lowerdir=/low,upperdir=/high/upper,workdir=/high/work overlay /new || exec $b sh
for folder in proc sys dev run lib/modules; do $b mkdir -p /new/$folder; done
share modules /new/lib/modules
$b mount -t proc proc /new/proc
$b mount -t sysfs sysfs /new/sys
$b mount -t devtmpfs devtmpfs /new/dev
$b mount -t tmpfs run /new/run
$b mkdir -p /new/dev/pts /new/dev/shm
$b mount -t devpts devpts /new/dev/pts
$b mount -t tmpfs shm /new/dev/shm
$b cp $b /second /new/run/
exec $b switch_root /new /run/busybox sh /run/second
INIT
    cat > "$work/second" <<'SECOND'
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
b=/run/busybox
ip link set lo up
modprobe virtio_net
modprobe virtio_console
for device in /sys/class/net/*; do
    name=$($b basename "$device")
    [ "$name" = lo ] || { ip addr add 10.0.2.15/24 dev "$name"; ip link set "$name" up; }
done
ip route add default via 10.0.2.2
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# One command after the other: a line of base64 in; its output and a last line with its status out.
while :; do
    exec 3<>/dev/vport1p1 || exec 3<>/dev/vport0p1
    while read -r line <&3; do
        printf %s "$line" | $b base64 -d > /run/command
        status=0
        (cd / && exec $b setsid /bin/bash /run/command) < /dev/null >&3 2>&1 || status=$?
        printf '\n__STATUS__ %d\n' "$status" >&3
    done
    exec 3>&-
    $b sleep 0.2
done
SECOND
    chmod +x "$work/init"
    (cd "$work" && find . | cpio -o -H newc --quiet) > "$state/initramfs"
    rm -rf "$work"
}

up() {
    if running; then
        say "it runs already"
        return
    fi
    sh scripts/setup.sh vm
    mkdir -p "$state"
    kernel
    version=$(cat "$state/version")
    initramfs
    accel=${VM_ACCEL:-tcg}
    cpu=Westmere
    [ "$accel" = tcg ] || cpu=host
    rm -f "$socket" "$state/console"
    qemu-system-x86_64 -accel "$accel" -cpu "$cpu" -M q35 -m "${VM_MEMORY:-3072}" -smp "${VM_CPUS:-2}" -nodefaults \
        -no-reboot -display none -serial "file:$state/console" -pidfile "$pid" -daemonize \
        -kernel "$state/kernel/boot/vmlinuz-$version" -initrd "$state/initramfs" \
        -append "console=ttyS0 quiet panic=-1 mitigations=off" \
        -netdev user,id=net -device virtio-net-pci,netdev=net,romfile= \
        -device virtio-serial-pci -chardev "socket,id=agent,path=$socket,server=on,wait=off" \
        -device virtserialport,chardev=agent \
        -virtfs local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap \
        -virtfs "local,path=$state/kernel/lib/modules,mount_tag=modules,security_model=none,readonly=on" \
        -object rng-random,id=random,filename=/dev/urandom -device virtio-rng-pci,rng=random
    run 'uname -r' >&2
}

run() {
    "$top/.venv/bin/python" - "$socket" "$1" <<'PYTHON'
import base64, re, socket, sys

path, command = sys.argv[1:]
connection = socket.socket(socket.AF_UNIX)
connection.connect(path)
connection.sendall(base64.b64encode(command.encode()) + b"\n")
end = re.compile(rb"\n__STATUS__ (\d+)\n$")
received = b""
while True:
    data = connection.recv(65536)
    received += data
    found = end.search(received)
    if found or not data:
        break
    sys.stdout.buffer.write(received[:-64])
    sys.stdout.buffer.flush()
    received = received[-64:]
sys.stdout.buffer.write(received[: found.start()] if found else received)
sys.exit(int(found[1]) if found else 255)
PYTHON
}

down() {
    if running; then
        kill "$(cat "$pid")"
        while running; do sleep 0.1; done
    fi
    rm -f "$pid" "$socket"
}

test_in_it() {
    up
    trap down EXIT
    if [ $# = 0 ]; then
        KSMBD_VM="sh $top/scripts/vm.sh run" .venv/bin/python -Pm pytest tests/vm/test_in_the_machine.py -v
        return
    fi
    for module in "$@"; do
        run "cd '$top' && KSMBD_VM_GUEST=1 PYTHONDONTWRITEBYTECODE=1 .venv/bin/python -Pm pytest -p no:cacheprovider -rs \
            -v --timeout 300 tests/vm/$module"
    done
}

what=${1:?usage: vm.sh up|run|down|test}
shift
case $what in
up) up ;;
run) run "$1" ;;
down) down ;;
test) test_in_it "$@" ;;
*) say "unknown: $what (up, run, down or test)"; exit 2 ;;
esac
