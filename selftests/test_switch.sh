#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# test_switch.sh [LAB/KERNEL/GUEST/SWITCHES]...: Linux guests whose vCPUs all
# compute go on, and compute the right thing, while their pool is switched among
# all policies. LAB is svm or vmx, KERNEL the lab host's, GUEST stock or fast.
# Without arguments, what is quick.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=../lab/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lab/lib.sh"
# shellcheck source-path=SCRIPTDIR source=tap.sh
source "$LAB_TOP/selftests/tap.sh"

[ $# -gt 0 ] || set -- svm/stock/stock/120 vmx/fast/fast/120

# guest_image stock|fast: unpacked is quicker than unpacking.
guest_image()
{
	if [ "$1" = stock ]; then
		stock_image "$(stock_release)"
	else
		echo "$("$LAB_DIR/kernel/build" "$1")/bzImage"
	fi
}

# make_initrd: a guest's, and what it is to run.
make_initrd()
{
	mkdir -p "$scratch/root/root" &&
		cp "$LAB_TOP/selftests/switch/guest.sh" "$scratch/root/root" &&
		{
			cat "$("$LAB_DIR/initramfs" guest)"
			pack_cpio "$scratch/root"
		} >"$scratch/initrd"
}

# Trouble that the guest's kernel notices ends it, with a status of its own.
watchdogs='oops=panic panic_on_warn=1 softlockup_panic=1'
watchdogs+=' sysctl.kernel.hung_task_panic=1 sysctl.kernel.panic_on_rcu_stall=1'

# run LAB KERNEL GUEST SWITCHES
run()
{
	local lab=qemu options=(--kernel "$2" --smp 2 --mem 1536)

	[ "$1" = svm ] || lab=bochs
	[ "$2" != debug ] || options+=(--kmemleak)
	"$LAB_DIR/host" --lab "$lab" "${options[@]}" --timeout 3600 \
		--log "$scratch/log" \
		--module "$("$LAB_DIR/module" "$2")" \
		--module "$("$LAB_DIR/policy-module" "$2")/fair.ko" \
		--file "$LAB_BUILD/userspace/labvisor" --file "$program" \
		--file "$scratch/initrd" --file "$(guest_image "$3"):kernel" \
		-- ./switch "$4" ./labvisor run --cpus 2 --memory 256M \
		--initrd initrd --cmd 'sh guest.sh' \
		--cmdline "console=ttyS0 quiet panic=-1 $watchdogs" kernel \
		>"$scratch/out" 2>"$scratch/err" &&
		sed 's/^/# /' "$scratch/out"
}

# watched GUEST: its kernel would have told of a CPU that stands still.
watched()
{
	local watchdogs=' soft-lockup rcu-stall hung-task'

	[ "$1" = stock ] || watchdogs=' rcu-stall'
	[ "$(grep -c ": ready .*$watchdogs\$" "$scratch/out")" -eq 2 ]
}

# The same steps on this machine.
right_results()
{
	perl -ne 'BEGIN { $n = 0 }
		next unless /^guest [01]: result (\d) (\d+) (\d+)$/;
		$sum = $1;
		$sum = ($sum * 1103515245 + 12345) & 0x7fffffff for 1 .. 50 * $2;
		$n += $sum == $3 && $2 > 0;
		END { exit($n != 4) }' "$scratch/out"
}

make -s -C "$LAB_TOP/userspace" OUT="$LAB_BUILD/userspace"
program=$LAB_BUILD/selftests.switch/switch
make -s -C "$LAB_TOP/selftests" OUT="$LAB_BUILD/selftests" \
	KSELFTEST="$("$LAB_DIR/kselftest")" "$program"
make_initrd
echo "TAP version 13"
for where; do
	IFS=/ read -r lab kernel guest switches <<<"$where"
	name=${lab}_${kernel}_$guest
	ok "$name" run "$lab" "$kernel" "$guest" "$switches"
	ok "${name}_watched" watched "$guest"
	ok "${name}_results" right_results
done
echo "1..$count"
