#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Measure in a lab host: in-host.sh LOAD DEVICE [NAME]... First come facts about
# the lab host, with tabs between their fields, as the program's results have.

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
./exits "$@" || exit

# wanted NAME...: all measurements are, or this one.
names=" $* "
wanted()
{
	[ "$names" = "  " ] || case $names in *" $1 "*) ;; *) false ;; esac
}

# guest COMMAND [WORD]...: a Linux guest runs it; the words come before what
# starts the guest.
guest()
{
	command=$1
	shift
	"$@" ./labvisor run --memory 256M --initrd initrd --cmd "$command" \
		vmlinux | tr -d '\r'
}

! wanted boot || guest true ./ticks boot "Linux boot, to the end of its init" |
	grep "^boot"
! wanted inside || guest inside | grep "^in_"

