#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Measure in a lab host: in-host.sh LOAD DEVICE [NAME]... First come facts about
# the lab host, with tabs between their fields, as the program's results have. On
# several CPUs it is scaling that is measured.

load=$1
export LABVISOR_DEV="$2"
shift 2

fact()
{
	printf 'fact\t%s\t%s\n' "$1" "$2"
}

$load || exit
fact kernel "$(uname -r)"
fact cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
fact cmdline "$(cat /proc/cmdline)"
fact mitigations "$(grep -H . /sys/devices/system/cpu/vulnerabilities/* |
	grep -v 'Not affected' | sed 's,^/[^:]*/,,; s/:/: /' | tr '\n' '|')"
if [ "$(nproc)" -gt 1 ]; then
	exec ./scale "$@"
fi
# Pages are swapped out to there.
modprobe brd rd_nr=1 rd_size=16384 && mkswap /dev/ram0 >/dev/null &&
	swapon /dev/ram0 || exit
./exits "$@" || exit

# wanted NAME...: all measurements are, or one of these.
names=" $* "
wanted()
{
	[ "$names" != "  " ] || return 0
	for name; do
		case $names in *" $name "*) return 0 ;; esac
	done
	return 1
}

# Guests do without XSAVE: on QEMU, what KVM says about it makes Linux warn at
# length, and then do so. Where a program is would say how much fork() copies.
words="console=ttyS0 panic=-1 noxsave norandmaps"

# guest CPUS COMMAND [WORD]...: a Linux guest runs it; the words come before what
# starts the guest.
guest()
{
	cpus=$1 command=$2
	shift 2
	"$@" ./labvisor run --cpus "$cpus" --memory 256M --initrd initrd \
		--cmdline "$words" --cmd "$command" vmlinux | tr -d '\r'
}

# The same as a guest of QEMU, which knows one name only.
[ -e /dev/kvm ] || ln -s "$LABVISOR_DEV" /dev/kvm
truncate -s 1M disk
qemu()
{
	cpus=$1 command=$2
	shift 2
	"$@" /qemu/bin/qemu-system-x86_64 -accel kvm -cpu host -machine q35 \
		-smp "$cpus" -m 256 -nodefaults -no-user-config -display none \
		-no-reboot -serial stdio -kernel vmlinux -initrd initrd \
		-drive file=disk,format=raw,if=virtio,cache=unsafe \
		-netdev user,id=net \
		-device virtio-net-pci,netdev=net,romfile= -append \
		"$words quiet lv.cmd=\"$command; poweroff -f\"" \
		</dev/null 2>&1 | tr -d '\r'
}

# Two vCPUs on one CPU wait for each other as long as a time slice is: it is short
# then, 100 us, where the kernel can be asked for that.
short_slices()
{
	sched=/sys/kernel/debug/sched
	[ -e $sched ] || return
	echo HRTICK >$sched/features
	echo 100000 >$sched/min_granularity_ns
	echo 200000 >$sched/latency_ns
}

boot="Linux boot, to the end of its init"
! wanted boot || guest 1 true ./ticks boot "$boot" | grep ^boot || exit
! wanted boot_qemu || qemu 1 true ./ticks boot_qemu "in QEMU: Linux boot, 1 vCPU" |
	grep ^boot_ || exit
! wanted inside || guest 1 inside | grep ^in_ || exit
! wanted virtio || qemu 1 "ifconfig eth0 10.0.2.15; inside /dev/vda 10.0.2.2" |
	grep ^virtio || exit
! wanted boot_2 boot_qemu_2 || short_slices
! wanted boot_2 || guest 2 true ./ticks boot_2 "$boot, 2 vCPUs" |
	grep ^boot_ || exit
! wanted boot_qemu_2 ||
	qemu 2 true ./ticks boot_qemu_2 "in QEMU: Linux boot, 2 vCPUs" |
	grep ^boot_
