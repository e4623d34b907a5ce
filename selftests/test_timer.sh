#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The local APIC's timer in a lab host that counts instructions: only there is a
# guest always on time, so that the host's timer comes early and the vCPU has to
# wait for the deadline.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=../lab/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lab/lib.sh"
# shellcheck source-path=SCRIPTDIR source=tap.sh
source "$LAB_TOP/selftests/tap.sh"

module=$("$LAB_DIR/module" fast) || die "the module does not build"

on_time()
{
	"$LAB_DIR/host" --icount --kernel fast --timeout 100 \
		--log "$scratch/log" --module "$module" \
		--file "$LAB_BUILD/selftests/lapic_timer" \
		-- sh -c 'LABVISOR_DEV=/dev/labvisor ./lapic_timer' \
		>"$scratch/out" 2>"$scratch/err"
}

echo "TAP version 13"
ok never_early_when_on_time on_time
echo "1..$count"
