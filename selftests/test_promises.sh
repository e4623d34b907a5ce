#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What scheduling policies promise, they keep on lab hosts that count instructions:
# shares, caps, deadlines, and how far apart the vCPUs of a gang are. Guests say it,
# by loops and by the clock that counts (selftests/bench/sched.c).
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=../lab/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lab/lib.sh"
# shellcheck source-path=SCRIPTDIR source=tap.sh
source "$LAB_TOP/selftests/tap.sh"

program=$LAB_BUILD/selftests.bench/sched
make -s --no-print-directory -C "$LAB_TOP/selftests" OUT="$LAB_BUILD/selftests" \
	KSELFTEST="$LAB_BUILD/kselftest" "$program" || die "sched does not build"
module=$("$LAB_DIR/module" fast) || die "the module does not build"
newer=$("$LAB_DIR/vmm/newer") || die "there is no newer QEMU"

# Linux works at its clock for 20 ms, a second or two after its start.
settled=/sys/devices/system/clocksource/clocksource0/current_clocksource
settled="until grep -qx tsc $settled; do sleep 0.1; done"

# measure OPTION... -- EXPERIMENT...: each case in $scratch/rows, with its figures.
measure()
{
	local options=()

	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	"$LAB_DIR/host" --kernel fast --timeout 200 --log "$scratch/log" \
		--module "$module" --file "$program" "${options[@]}" \
		-- sh -c "$settled; MEASURE_MS=500 ./sched $*" \
		>"$scratch/out" 2>"$scratch/err" &&
	jq -Rn '[inputs / "\t" | select(.[0] == "figure")] | group_by(.[1:4]) |
		map({ experiment: .[0][1], policy: .[0][2], case: .[0][3] } +
			(map({ (.[4]): .[5] | tonumber }) | add))' \
		"$scratch/out" >"$scratch/rows"
}

# keeps EXPERIMENT POLICY FILTER: the filter is true of each of its cases.
keeps()
{
	jq -e --arg experiment "$1" --arg policy "$2" '
		map(select(.experiment == $experiment and .policy == $policy)) |
		length > 0 and all('"$3"')' "$scratch/rows" >/dev/null
}

echo "TAP version 13"
ok measured measure --icount -- fairness.credit caps.credit deadlines.edf
ok shares_are_by_weight keeps fairness credit \
	'."got %" == null or (."got %" / ."wanted %" - 1 | fabs <= 0.05)'
ok caps_are_kept keeps caps credit \
	'."got %" / ."wanted %" - 1 | fabs <= 0.02'
ok no_deadline_is_missed keeps deadlines edf \
	'.refused == 0 and ."missed %" == 0 or .case == "99" and .refused == 1'
# Its HPET gives QEMU 10 with two CPUs no timers of high resolution.
PATH=$newer/bin:$PATH ok gangs_measured measure --icount --smp 2 \
	--append hpet=disable -- gang.gang gang.gang-relaxed gang.rr
ok gangs_run_as_a_whole keeps gang gang \
	'."at a stretch, us" <= ."promised, us"'
ok relaxed_siblings_are_near keeps gang gang-relaxed \
	'."promised, us" == null or ."apart, us" <= ."promised, us"'
ok others_run_in_part keeps gang rr '."at a stretch, us" > 4000'
# Each has as many turns as the other; the host's task is in the way of some.
ok nobody_waits_to_move keeps gang rr \
	'."apart, us" <= 5040 or (.case | test("host task"))'
echo "1..$count"
