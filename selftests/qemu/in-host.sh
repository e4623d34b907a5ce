#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs in a lab host: boots Linux under QEMU on Labvisor, once for each line of
# its input (name, machine, CPUs; newer_* is for the newer QEMU, on the module's
# own device node), and prints "RESULT <tab> name <tab> ok", or not ok with the
# end of what QEMU and its guest said.

# shellcheck disable=SC2016 # the guest expands it
work='lv.cmd="echo cpus=$(nproc); poweroff -f"'

# boot FOLDER ACCELERATOR MACHINE CPUS. The small kernel knows of no interrupt
# for microvm's serial port: its console there is a virtio device.
boot()
{
	case $3 in
	microvm*) tty=hvc0 device='virtio-serial-device -device virtconsole' ;;
	*) tty=ttyS0 device=isa-serial ;;
	esac
	# shellcheck disable=SC2086 # two devices
	"$1/bin/qemu-system-x86_64" -L "$1/share/qemu" -accel "$2" \
		-cpu host -machine "$3" -smp "$4" -m 256 \
		-nodefaults -no-user-config -display none -no-reboot \
		-chardev stdio,id=tty -device $device,chardev=tty \
		-kernel kernel -initrd initrd \
		-append "console=$tty quiet panic=-1 $work" \
		</dev/null >out 2>&1 && tr -d '\r' <out | grep -qx "cpus=$4"
}

# on NODE COMMAND...: with the module loaded
on()
{
	insmod labvisor.ko node="$1" || return
	shift
	"$@"
	status=$?
	rmmod labvisor && return $status
}

while read -r name machine cpus; do
	case $name in
	newer_*) on labvisor boot /newer kvm,device=/dev/labvisor \
		"$machine" "$cpus" ;;
	*) on kvm boot /qemu kvm "$machine" "$cpus" ;;
	esac
	# shellcheck disable=SC2181 # of two commands
	if [ $? -eq 0 ]; then
		printf 'RESULT\t%s\tok\n' "$name"
	else
		tail -n 20 out
		printf 'RESULT\t%s\tnot ok\n' "$name"
	fi
done
