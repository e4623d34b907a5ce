#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs in a Linux guest: its part of a case of cases.sh, to which the second
# serial port leads.
exec 3<>/dev/ttyS1
stty raw -echo <&3

tell()
{
	echo "$*" >&3
}

hear()
{
	read -r word <&3
}

noise()
{
	head -c "$1" /dev/urandom
}

# The state that was saved is that of before "change".
saved()
{
	noise 20m >data
	sum=$(sha256sum <data)
	tell ready
	hear
	if [ "$word" = change ]; then
		noise 20m >data
		sum=changed
		tell changed
		hear
	fi
	[ "$sum" = "$(sha256sum <data)" ] && tell as it was
	hear
}

# Memory changes all the time, and is checked; the console has the turns.
moved()
{
	tell ready
	n=0
	(
		while [ ! -e stop ]; do
			n=$((n + 1))
			noise 200k >a
			cp a b
			[ "$(sha256sum <a)" = "$(sha256sum <b)" ] || exit
			echo "turn $n"
			echo $n >turn
		done
	) &
	hear
	touch stop
	wait
	tell "turns $(cat turn)"
	hear
}

nmis()
{
	awk '$1 == "NMI:" { print $2 + $3 }' /proc/interrupts
}

nmi()
{
	before=$(nmis)
	tell ready
	hear
	tell "$(($(nmis) - before)) NMIs"
	hear
}

added()
{
	cpu=/sys/devices/system/cpu/cpu1
	tell "$(nproc)"
	while [ ! -e $cpu/online ]; do
		:
	done
	echo 1 >$cpu/online
	tell "$(nproc) $(taskset 2 cut -d ' ' -f 39 /proc/self/stat)"
	hear
}

"$1"
