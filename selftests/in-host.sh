#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Run test programs in a lab host: in-host.sh labvisor|kvm SECONDS PROGRAM...
# Each one gets a freshly loaded module, and SECONDS of time.

driver=$1
limit=$2
shift 2

case $driver in
labvisor) export LABVISOR_DEV=/dev/labvisor ;;
kvm) export LABVISOR_DEV=/dev/kvm ;;
esac

load()
{
	case $driver in
	labvisor) insmod /lab/labvisor.ko ;;
	kvm) modprobe kvm_amd ;;
	esac
}

# A test may have unloaded the module by itself.
unload()
{
	case $driver in
	labvisor) ! grep -q '^labvisor ' /proc/modules || rmmod labvisor ;;
	kvm) ! grep -q '^kvm_amd ' /proc/modules || rmmod kvm_amd kvm ;;
	esac
}

# Tests push guest memory out to a swap device.
modprobe brd rd_nr=1 rd_size=262144 && mkswap /dev/ram0 && swapon /dev/ram0

for program; do
	echo "@begin $program"
	echo "selftest: $program" >/dev/kmsg
	if load; then
		timeout "$limit" "./$program" 2>&1
		status=$?
		unload || echo "Bail out! the module does not unload"
	else
		status=1
		echo "Bail out! the module does not load"
	fi
	echo "@end $program $status"
done
