#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Processors other than those that all tests run on: what they lack, and a
# second opinion on SVM.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=../lab/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lab/lib.sh"
# shellcheck source-path=SCRIPTDIR source=tap.sh
source "$LAB_TOP/selftests/tap.sh"

module=$("$LAB_DIR/module" fast) || die "the module does not build"
programs=$LAB_BUILD/selftests

# on LAB CPU COMMAND: its output is in $scratch/out.
on()
{
	"$LAB_DIR/host" --lab "$1" --cpu "$2" --kernel fast --timeout 100 \
		--log "$scratch/log" --file "$module" \
		--file "$programs/exits_io" --file "$programs/memslots" \
		--file "$programs/state" \
		-- sh -c "$3" >"$scratch/out" 2>"$scratch/err"
}

# refuses LAB CPU WORDS: the module does not load, and the log says why.
refuses()
{
	on "$1" "$2" '! insmod labvisor.ko' &&
		grep -aq "labvisor: .*$3" "$scratch/log"
}

# runs LAB CPU BACKEND PROGRAM...: tests pass there, and parameters tell that
# nothing of Intel's newer processors is in use.
runs()
{
	on "$1" "$2" "insmod labvisor.ko && dmesg | grep '$3 backend' &&
		! grep -v N /sys/module/labvisor/parameters/apicv \
			/sys/module/labvisor/parameters/posted &&
		export LABVISOR_DEV=/dev/labvisor &&
		for program in ${*:4}; do \$program || exit; done"
}

echo "TAP version 13"
ok no_svm_no_vmx refuses qemu EPYC,-svm 'neither SVM nor VMX'
ok svm_without_npt refuses qemu EPYC,+svm,-npt 'no nested paging'
ok vmx_without_ept refuses bochs core2_penryn_t9600 'no EPT'
ok svm_without_xsave runs qemu EPYC,+svm,+npt,-xsave svm state
ok ept_without_accessed_bits runs bochs corei7_sandy_bridge_2600k vmx exits_io \
	memslots
# Bochs' SVM forgets host interrupts while the guest has them off: no guest
# may spin there.
ok svm_in_bochs runs bochs trinity_apu svm exits_io
echo "1..$count"
