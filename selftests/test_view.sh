#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Guests see the same on both vendors: the record of selftests/view from an SVM
# and from a VMX lab host, section by section. KVM's on SVM is a third opinion.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=../lab/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lab/lib.sh"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
program=$LAB_BUILD/selftests.view/view
count=0

# Sections in which Labvisor and KVM differ, and why.
strings="KVM shows the steps of a string instruction, and the end of it, otherwise"
unused="KVM's attributes of registers that nobody has loaded"
shutdown="KVM resets the vCPU after a triple fault"
emulation="KVM leaves a #UD pending with its internal error"
declare -A unlike_kvm=(
	[apic_errors]="KVM takes self IPIs with a vector below 16"
	[choices]="KVM lets RDPMC and MONITOR pass, and a CR4 that QEMU takes; no fast strings"
	[debug_detect]="KVM leaves DR6 and DR7.GD to the CPU, where QEMU lacks them"
	[interrupt_window_mmio]="KVM forgets the shadow of STI at an MMIO access"
	[mmio_fetch]=$emulation
	[mmio_fpu]=$emulation
	[mmio_strings]=$strings
	[mmio_strings_16]=$strings
	[reset]=$unused
	[set_state]=$unused
	[single_step_mmio]="KVM does not trap behind an MMIO write"
	[strings_16]=$strings
	[strings_32]=$strings
	[strings_64]=$strings
	[triple_fault]=$shutdown
	[triple_fault_16]=$shutdown
	[triple_fault_32]=$shutdown
	[triple_fault_64]=$shutdown
	[x2apic_limits]="KVM has a hole where the APIC page was, 4 bits of TPR on SVM, any EOI"
	[xcr0]="KVM does not know of the XSETBV that QEMU does not intercept"
)

# Sections in which the emulators differ, with the guest's own debug registers.
declare -A unlike_bochs=(
	[debug_detect]="QEMU has no DR7.GD, and lets reserved bits of DR6 be written"
)

# ok NAME COMMAND...: what the command prints is shown if it fails.
ok()
{
	local name=$1
	shift

	count=$((count + 1))
	if "$@" >"$scratch/out" 2>&1; then
		echo "ok $count $name"
	else
		head -n 60 "$scratch/out" | sed 's/^/# /'
		echo "not ok $count $name"
	fi
}

# record NAME OPTION... -- COMMAND...: run in a lab host, and split into sections.
# QEMU counts instructions, so that host interrupts come at the same ones each time.
# Counting, it steps once more at the end of a REP: single_step is compared with what
# was recorded without.
record()
{
	local name=$1
	shift

	mkdir "$scratch/$name"
	"$LAB_DIR/host" --kernel fast --timeout 200 --file "$program" "$@" \
		>"$scratch/$name.txt" 2>"$scratch/$name.err" ||
		{ tail -n 20 "$scratch/$name.err"; return 1; }
	awk -v to="$scratch/$name" \
		'/^== / { file = to "/" $2 } file { print >file }' \
		"$scratch/$name.txt"
	[ -e "$scratch/$name/end" ] || { echo "it is cut short"; return 1; }
}

# same SECTION RECORD RECORD
same()
{
	diff -U 4 --label "$2" --label "$3" "$scratch/$2/$1" "$scratch/$3/$1"
}

# svm_record SECTION: the one to compare with VMX
svm_record()
{
	[ "$1" = single_step ] && echo svm || echo counted
}

# as_vmx SECTION: where the emulators differ, it cannot be told.
as_vmx()
{
	if [ -n "${unlike_bochs[$1]:-}" ]; then
		count=$((count + 1))
		echo "ok $count $1 # SKIP ${unlike_bochs[$1]}"
	else
		ok "$1" same "$1" "$(svm_record "$1")" vmx
	fi
}

# unlike SECTION: is it right to say that they differ?
unlike()
{
	! same "$1" counted kvm >/dev/null || { echo "take $1 off the list"; return 1; }
}

# as_kvm SECTION: where they differ for a reason, say so.
as_kvm()
{
	if [ -n "${unlike_kvm[$1]:-}" ]; then
		ok "kvm_$1" unlike "$1"
		echo "# $1 differs: ${unlike_kvm[$1]}"
	else
		ok "kvm_$1" same "$1" counted kvm
	fi
}

echo "TAP version 13"
module=$("$LAB_DIR/module" fast)
"$LAB_DIR/kselftest" >/dev/null
make -s --no-print-directory -C "$LAB_TOP/selftests" OUT="$LAB_BUILD/selftests" \
	KSELFTEST="$LAB_BUILD/kselftest" "$program"
ours=(--module "$module" -- env LABVISOR_DEV=/dev/labvisor ./view)
ok record_svm record svm "${ours[@]}"
ok record_counted record counted --icount "${ours[@]}"
ok record_vmx record vmx --lab bochs "${ours[@]}"
ok record_kvm record kvm --icount -- sh -c \
	'modprobe kvm_amd && LABVISOR_DEV=/dev/kvm ./view'
mapfile -t sections < <(cat "$scratch"/{svm,counted,vmx}/* 2>/dev/null |
	sed -n 's/^== //p' | sort -u)
for name in "${sections[@]}"; do
	as_vmx "$name"
done
for name in "${sections[@]}"; do
	as_kvm "$name"
done
echo "1..$count"
