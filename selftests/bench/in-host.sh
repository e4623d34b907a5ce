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

# guest CPUS COMMAND: what runs a Linux guest.
guest()
{
	echo ./labvisor run --cpus "$1" --memory 256M --initrd initrd \
		--cmd "$2" vmlinux
}

# shellcheck disable=SC2046 # words they are
boot()
{
	! wanted "boot_$1" ||
		./ticks "boot_$1" "$2" $(guest "$1" true) | grep "^boot_"
}

boot 1 "Linux boot, to the end of its init"
# shellcheck disable=SC2046,SC2091
! wanted inside || $(guest 1 inside) | tr -d '\r' | grep "^in_"

