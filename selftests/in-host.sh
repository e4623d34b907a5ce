#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Run test programs in a lab host: in-host.sh labvisor|kvm SECONDS PROGRAM...
# Each one gets a freshly loaded module, and SECONDS of time. Status 75: one has
# spoiled the lab host, and the programs behind it have not run.

driver=$1
limit=$2
shift 2

kvm=kvm_amd
! grep -qw vmx /proc/cpuinfo || kvm=kvm_intel

case $driver in
labvisor) export LABVISOR_DEV=/dev/labvisor ;;
kvm) export LABVISOR_DEV=/dev/kvm ;;
esac

load()
{
	# shellcheck disable=SC2086 # the parameters are a word each
	case $driver in
	labvisor) insmod /lab/labvisor.ko $LABVISOR_PARAMS ;;
	kvm) modprobe $kvm ;;
	esac
}

# A test may have unloaded the module by itself.
unload()
{
	case $driver in
	labvisor) ! grep -q '^labvisor ' /proc/modules || rmmod labvisor ;;
	kvm) ! grep -q "^$kvm " /proc/modules || rmmod $kvm kvm ;;
	esac
}

# Tests push guest memory out to a swap device.
modprobe brd rd_nr=1 rd_size=262144 && mkswap /dev/ram0 >/dev/null &&
	swapon /dev/ram0
spoilt=

# Set $leftovers to the processes that were not here before, other than the
# kernel's threads.
before=" $(echo /proc/[0-9]*) "
find_leftovers()
{
	leftovers=
	for process in /proc/[0-9]*; do
		case $before in *" $process "*) continue ;; esac
		! readlink "$process/exe" >/dev/null ||
			leftovers="$leftovers ${process#/proc/}"
	done
}

# A program that ran out of time leaves children, which hold the module.
kill_leftovers()
{
	tries=100
	find_leftovers
	while [ -n "$leftovers" ] && [ $tries -gt 0 ]; do
		# shellcheck disable=SC2086 # one word each
		kill -9 $leftovers
		sleep 0.1
		tries=$((tries - 1))
		find_leftovers
	done
}

for program; do
	echo "@begin $program"
	echo "selftest: $program" >/dev/kmsg
	if load; then
		timeout "$limit" "./$program" 2>&1
		status=$?
		kill_leftovers
		unload || spoilt="the module does not unload"
	else
		status=1
		spoilt="the module does not load"
	fi
	[ -z "$spoilt" ] || echo "Bail out! $spoilt"
	echo "@end $program $status"
	[ -z "$spoilt" ] || exit 75
done
