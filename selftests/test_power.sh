#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The lab host reboots, and goes over to another kernel by kexec, while guests
# run. The kernel that comes next must find virtualization turned off.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=../lab/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lab/lib.sh"
# shellcheck source-path=SCRIPTDIR source=tap.sh
source "$LAB_TOP/selftests/tap.sh"

tests=$LAB_TOP/selftests

# boot STATUS CPUS OPTION... -- COMMAND...: does the lab host end like that?
boot()
{
	local want=$1 smp=$2 status=0
	shift 2

	"$LAB_DIR/host" --log "$scratch/log" --smp "$smp" --timeout 120 "$@" \
		>"$scratch/out" 2>"$scratch/err" || status=$?
	[ "$status" -eq "$want" ] && return
	tr -d '\r' <"$scratch/log" | tail -n 15 >>"$scratch/err"
	return 1
}

# Two guests that never end, one of which is in KVM_RUN all the time (jmp .),
# and one that sleeps in it (cli; hlt). Both say first that they run.
printf '\xb0R\xe6\xe9\xeb\xfe' >"$scratch/spin"
printf '\xb0R\xe6\xe9\xfa\xf4' >"$scratch/sleep"
# And one that ends at once (mov $21, %al; out %al, $0xf4), with status 43.
printf '\xb0\x15\xe6\xf4' >"$scratch/end"

cat >"$scratch/start-guests" <<'END'
#!/bin/sh
: >spin.out >sleep.out
for guest in spin sleep; do
	labvisor exec $guest </dev/null >$guest.out 2>&1 &
done
until grep -q R spin.out && grep -q R sleep.out; do :; done
END

# What the next kernel runs: both hypervisors find the CPUs free.
cat >"$scratch/next" <<'END'
insmod /lab/labvisor.ko || exit 1
labvisor exec end
[ $? -eq 43 ] || exit 2
rmmod labvisor || exit 3
modprobe "$1" || exit 4
exit 17
END

files=()
for file in spin sleep end start-guests next; do
	chmod +x "$scratch/$file"
	files+=(--file "$scratch/$file")
done
files+=(--file "$LAB_BUILD/userspace/labvisor")

# The initramfs of the kernel that comes next, as lab/host makes its own.
make_next_initrd()
{
	local folder=$1 release base

	release=$(basename "$folder"/modules/lib/modules/*)
	base=$("$LAB_DIR/initramfs" host "$release" "$folder/modules")
	mkdir -p "$scratch/next-root/lab" "$scratch/next-root/lib"
	ldd "$LAB_BUILD/userspace/labvisor" | grep -o '/[^ ]*' |
		xargs cp -L -t "$scratch/next-root/lib"
	cp "$scratch/end" "$scratch/next" "$LAB_BUILD/userspace/labvisor" \
		"$("$LAB_DIR/module" fast)" "$scratch/next-root/lab/"
	echo "sh /lab/next kvm_amd" >"$scratch/next-root/lab/command"
	printf 'LAB_%s=\n' MODULES INTERACTIVE KMEMLEAK ROWS COLS \
		>"$scratch/next-root/lab/settings"
	{ cat "$base"; pack_cpio "$scratch/next-root"; } >"$scratch/next-initrd"
}

# The status is what the second kernel's command ended with.
kexec_with_guests()
{
	# shellcheck disable=SC2016 # for the lab host's shell
	boot 17 "$1" "${files[@]}" --module "$module" --file "$scratch/kexec" \
		--file "$folder/bzImage" --file "$scratch/next-initrd" -- sh -c '
		sh start-guests && exec kexec bzImage next-initrd "console=ttyS0,115200 panic=-1 oops=panic"'
}

# QEMU ends where a reboot would begin.
reboot_with_guests()
{
	boot 125 "$1" "${files[@]}" --module "$module" -- \
		sh -c 'sh start-guests && exec reboot -f' &&
	grep -q 'reboot: Restarting system' "$scratch/log"
}

echo "TAP version 13"
module=$("$LAB_DIR/module" stock)
folder=$("$LAB_DIR/kernel/build" fast)
make -s -C "$LAB_TOP/userspace" OUT="$LAB_BUILD/userspace"
gcc -O2 -Wall -Werror -static -o "$scratch/kexec" "$tests/tools/kexec.c"
make_next_initrd "$folder"
for cpus in 1 2; do
	ok "reboot_with_guests_$cpus" reboot_with_guests "$cpus"
	ok "kexec_with_guests_$cpus" kexec_with_guests "$cpus"
done
echo "1..$count"
