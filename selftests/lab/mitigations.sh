#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Speculation on Intel: what the parameters say is in force, and guests run.

parameters=/sys/module/labvisor/parameters
count=0

if [ ! -e /lab/labvisor.ko ] || [ "$LABVISOR_DEV" != /dev/labvisor ]; then
	echo "1..0 # SKIP Labvisor's module is not loaded"
	exit
fi
if ! grep -qw vmx /proc/cpuinfo; then
	echo "1..0 # SKIP no VMX: on AMD the kernel decides all of it"
	exit
fi

# ok NAME COMMAND...
ok()
{
	name=$1
	shift
	count=$((count + 1))
	if "$@"; then
		echo "ok $count $name"
	else
		sed 's/^/# /' $parameters/mitigations
		echo "not ok $count $name"
	fi
}

load()
{
	! grep -q '^labvisor ' /proc/modules || rmmod labvisor
	# shellcheck disable=SC2086 # a word each
	insmod /lab/labvisor.ko $LABVISOR_PARAMS "$@"
}

# in_force WORD PARAMETER...: loaded like this, it says WORD, and guests run.
in_force()
{
	word=$1
	shift
	load "$@" && grep -qw -- "$word" $parameters/mitigations &&
		./exits_io >/dev/null
}

refused()
{
	! load "$@" 2>/dev/null
}

# What "auto" comes to is what KVM makes of the kernel's choice.
modprobe kvm_intel
l1d=$(cat /sys/module/kvm_intel/parameters/vmentry_l1d_flush)
[ "$l1d" != "not required" ] || l1d=never
rmmod kvm_intel kvm
verw=off
! grep -q 'Clear CPU buffers' /sys/devices/system/cpu/vulnerabilities/mds ||
	verw=on

echo "TAP version 13"
ok l1d_flush_as_in_kvm in_force "l1d_flush=$l1d"
ok l1d_flush_always in_force l1d_flush=always l1d_flush=always
ok l1d_flush_cond in_force l1d_flush=cond l1d_flush=cond
ok l1d_flush_never in_force l1d_flush=never l1d_flush=never
ok l1d_flush_unknown refused l1d_flush=sometimes
ok verw_as_the_kernel_says in_force "verw=$verw"
ok verw_off in_force verw=off verw=0
ok ibpb_off in_force ibpb=off ibpb=0
echo "1..$count"
