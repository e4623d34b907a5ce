#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The kernel's own KVM selftests, those that are quick, on Labvisor: each ends as
# docs/kvm-selftests.md has it. `make test-kvm` runs all of them, and on KVM.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=../lab/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lab/lib.sh"
# shellcheck source-path=SCRIPTDIR source=tap.sh
source "$LAB_TOP/selftests/tap.sh"

# passed NAME RESULT WHY
passed()
{
	[ "$2" = pass ] || echo "$1: $2: $3" >"$scratch/out"
	[ "$2" = pass ]
}

# run_in LAB KERNEL: the quick ones in one lab host; it fails as a test, too.
run_in()
{
	local name result why status=0

	"$LAB_DIR/kvm-selftests/run" --lab "$1" --kernel "$2" --quick \
		--driver labvisor --results >"$scratch/$1" 2>"$scratch/err" ||
		status=$?
	while IFS=$'\t' read -r name result _ why; do
		: >"$scratch/out"
		ok "$1/$name" passed "$name" "$result" "$why"
	done <"$scratch/$1"
	: >"$scratch/out"
	ok "$1/lab_host" [ "$status" -eq 0 ]
}

echo "TAP version 13"
run_in svm stock
run_in vmx fast
echo "1..$count"
