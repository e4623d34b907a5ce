#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Linux as the guest: Debian's unmodified kernel and the small lab kernel boot,
# run a command and end with its status, leave nothing behind in the lab host,
# and do so by `make run` from a fresh copy of the tree.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=../lab/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lab/lib.sh"
# shellcheck source-path=SCRIPTDIR source=tap.sh
source "$LAB_TOP/selftests/tap.sh"

# host STATUS OPTION... -- COMMAND...
host()
{
	local want=$1 status=0
	shift

	"$LAB_DIR/host" --log "$scratch/log" --mem 2048 --module "$module" \
		--file "$LAB_BUILD/userspace/labvisor" \
		--file "$initrd:initrd" "$@" \
		>"$scratch/out" 2>"$scratch/err" || status=$?
	[ "$status" -eq "$want" ]
}

# guest STATUS KERNEL CPUS COMMAND: run it in a guest.
guest()
{
	host "$1" --file "$2:kernel" -- labvisor run --cpus "$3" \
		--initrd initrd --cmdline 'console=ttyS0 quiet panic=-1' \
		--cmd "$4" kernel
}

says()
{
	tr -d '\r' <"$scratch/out" | grep -qxF "$1"
}

stock_guest()
{
	guest 0 "$stock" 2 'uname -r; nproc' && says "$release" &&
		says 2
}

fast_guest()
{
	guest 5 "$fast" 2 'nproc; exit 5' && says 2
}

# on_vmx STATUS GUEST COMMAND: the same in Bochs, by the way that a person takes.
on_vmx()
{
	local status=0

	LAB=bochs GUEST=$2 SMP=2 CMD=$3 "$LAB_DIR/run" </dev/null \
		>"$scratch/out" 2>"$scratch/err" || status=$?
	[ "$status" -eq "$1" ]
}

stock_guest_on_vmx()
{
	on_vmx 0 stock 'uname -r; nproc' && says "$release" && says 2
}

fast_guest_on_vmx()
{
	on_vmx 5 fast 'nproc; exit 5' && says 2
}

power_off()
{
	guest 0 "$fast" 1 'poweroff -f'
}

leaks_nothing()
{
	host 0 --timeout 900 --file "$fast:kernel" --file "$leak" -- env \
		LEAK_BOOTS=40 LEAK_WARM_UP=3 \
		LEAK_COMMAND='labvisor run --cpus 2 --memory 128M --initrd initrd --cmdline "console=ttyS0 quiet panic=-1" --cmd true kernel >/tmp/guest 2>&1' \
		./leak
}

# Standard input is no terminal, and nothing is built yet.
make_run()
{
	local copy=$scratch/tree status=0

	mkdir "$copy"
	(cd "$LAB_TOP" && git ls-files -z --cached --others --exclude-standard |
		xargs -0 cp --parents -t "$copy") || return
	env -u MAKEFLAGS -u LABVISOR_BUILD make -C "$copy" run "GUEST=$1" SMP=2 \
		CMD=nproc </dev/null >"$scratch/out" \
		2>"$scratch/err" || status=$?
	rm -rf "$copy"
	[ "$status" -eq 0 ] && says 2
}

echo "TAP version 13"
leak=$LAB_BUILD/selftests/leak
module=$("$LAB_DIR/module" stock)
release=$(stock_release)
stock=/boot/vmlinuz-$release
fast=$("$LAB_DIR/kernel/build" fast)/bzImage
make -s -C "$LAB_TOP/userspace" OUT="$LAB_BUILD/userspace"
make -s -C "$LAB_TOP/selftests" OUT="$LAB_BUILD/selftests" \
	KSELFTEST="$("$LAB_DIR/kselftest")" "$leak"
initrd=$("$LAB_DIR/initramfs" guest)

ok stock_guest stock_guest
ok fast_guest fast_guest
ok stock_guest_on_vmx stock_guest_on_vmx
ok fast_guest_on_vmx fast_guest_on_vmx
ok power_off power_off
if git -C "$LAB_TOP" rev-parse 2>/dev/null; then
	ok make_run_stock make_run stock
else
	skip make_run_stock "this tree is not in git, so what to copy?"
fi
ok boots_leak_nothing leaks_nothing
echo "1..$count"
