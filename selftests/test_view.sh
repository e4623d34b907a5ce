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
declare -A unlike_kvm=(
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

# as_kvm SECTION
as_kvm()
{
	if [ -n "${unlike_kvm[$1]:-}" ]; then
		count=$((count + 1))
		echo "ok $count kvm_$1 # SKIP ${unlike_kvm[$1]}"
	else
		ok "kvm_$1" same "$1" svm kvm
	fi
}

echo "TAP version 13"
module=$("$LAB_DIR/module" fast)
"$LAB_DIR/kselftest" >/dev/null
make -s --no-print-directory -C "$LAB_TOP/selftests" OUT="$LAB_BUILD/selftests" \
	KSELFTEST="$LAB_BUILD/kselftest" "$program"
ours=(--module "$module" -- env LABVISOR_DEV=/dev/labvisor ./view)
ok record_svm record svm "${ours[@]}"
ok record_vmx record vmx --lab bochs "${ours[@]}"
ok record_kvm record kvm -- sh -c \
	'modprobe kvm_amd && LABVISOR_DEV=/dev/kvm ./view'
mapfile -t sections < <(cat "$scratch"/{svm,vmx}/* 2>/dev/null |
	sed -n 's/^== //p' | sort -u)
for name in "${sections[@]}"; do
	ok "$name" same "$name" svm vmx
done
for name in "${sections[@]}"; do
	as_kvm "$name"
done
echo "1..$count"
