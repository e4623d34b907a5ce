#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Run the kernel's KVM selftests in a lab host: in-host.sh labvisor|kvm, with one
# test a line on standard input of the shell: NAME SECONDS [ARGUMENT]... in
# /lab/kvm-tests. Each gets a freshly loaded module. Status 75: one has spoiled
# the lab host, and those behind it have not run.

driver=$1
kvm=kvm_amd
! grep -qw vmx /proc/cpuinfo || kvm=kvm_intel

load()
{
	case $driver in
	labvisor) insmod /lab/labvisor.ko node=kvm ;;
	kvm) modprobe $kvm ;;
	esac
}

# What the last processes held is let go of a little later.
unload()
{
	tries=300
	until case $driver in
	labvisor) rmmod labvisor ;;
	kvm) rmmod $kvm && rmmod kvm ;;
	esac 2>/dev/null; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return
		sleep 0.1
	done
}

# The children of a test that ran out of time hold the module, and are in its
# process group.
kill_group()
{
	while kill -9 -- "-$1" 2>/dev/null; do
		sleep 0.1
	done
}

while read -r name limit arguments; do
	echo "@begin $name"
	echo "kvm selftest: $name" >/dev/kmsg
	load || exit 75
	start=$(cut -d. -f1 /proc/uptime)
	# shellcheck disable=SC2086 # one word each
	setsid timeout -s KILL "$limit" "./$name" $arguments 2>&1 </dev/null &
	wait $!
	status=$?
	kill_group $!
	echo
	echo "@end $name $status $(($(cut -d. -f1 /proc/uptime) - start))"
	unload || exit 75
done </lab/kvm-tests
