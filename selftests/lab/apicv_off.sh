#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# On Intel, interrupts without APIC virtualization, as on CPUs that lack it.

programs='irqchip lapic_timer pv irqfd tpr_access'

if [ ! -e /lab/labvisor.ko ] || [ "$LABVISOR_DEV" != /dev/labvisor ]; then
	echo "1..0 # SKIP Labvisor's module is not loaded"
	exit
fi
if ! grep -q Y /sys/module/labvisor/parameters/apicv ||
   ! grep -qw vmx /proc/cpuinfo; then
	echo "1..0 # SKIP no APIC virtualization here"
	exit
fi
rmmod labvisor
# shellcheck disable=SC2086 # a word each
insmod /lab/labvisor.ko $LABVISOR_PARAMS apicv=0 || exit

echo "TAP version 13"
count=0
for program in $programs; do
	count=$((count + 1))
	if ! grep -q N /sys/module/labvisor/parameters/apicv; then
		echo "not ok $count $program"
	elif "./$program" >"/tmp/$program"; then
		echo "ok $count $program"
	else
		sed 's/^/# /' "/tmp/$program"
		echo "not ok $count $program"
	fi
done
echo "1..$count"
