#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs in a lab host: boots Linux under QEMU on Labvisor, once for each line of
# its input (name, machine, CPUs), and prints "RESULT <tab> name <tab> ok", or
# not ok with the end of what QEMU and its guest said.
qemu=/qemu/bin/qemu-system-x86_64

# shellcheck disable=SC2016 # the guest expands it
boot()
{
	"$qemu" -accel kvm -cpu host -machine "$1" -smp "$2" -m 256 \
		-nodefaults -no-user-config -display none -no-reboot \
		-kernel kernel -initrd initrd -serial stdio \
		-append 'console=ttyS0 quiet panic=-1 lv.cmd="echo cpus=$(nproc); poweroff -f"' \
		</dev/null >out 2>&1 && tr -d '\r' <out | grep -qx "cpus=$2"
}

insmod labvisor.ko node=kvm || exit
while read -r name machine cpus; do
	if boot "$machine" "$cpus"; then
		printf 'RESULT\t%s\tok\n' "$name"
	else
		tail -n 20 out
		printf 'RESULT\t%s\tnot ok\n' "$name"
	fi
done
rmmod labvisor
