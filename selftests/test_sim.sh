#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# 'labvisor sched sim' plays a recording: recordings/two-guests.dat, made in a lab
# host (SVM) whose pool "pool" of one CPU had the policy credit, slices of 2 ms and
# two VMs: 1, of weight 128, that computes, and 2, of weight 512, that a timer wakes
# up every 10 ms. And what 'report' makes of the same is sound.
# shellcheck disable=SC2016 # the $ in single quotes are jq's
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=../lab/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lab/lib.sh"
# shellcheck source-path=SCRIPTDIR source=tap.sh
source "$LAB_TOP/selftests/tap.sh"

labvisor=$LAB_BUILD/userspace/labvisor
recording=$LAB_TOP/selftests/recordings/two-guests.dat

# sim OPTION...: into $scratch/out and $scratch/err.
sim()
{
	"$labvisor" sched sim --recording "$recording" "$@" >"$scratch/out" \
		2>"$scratch/err"
}

# holds FILTER: what jq makes of $scratch/out is true.
holds()
{
	jq -e --slurpfile report "$scratch/report" "$1" "$scratch/out" >/dev/null
}

reported()
{
	"$labvisor" sched report --json "$recording" >"$scratch/report" \
		2>"$scratch/err" &&
		jq -e '[.vcpus[].vm] == [1, 2] and .lost == 0 and
			.vcpus[1].wakes >= 10' "$scratch/report" >/dev/null
}

# What the recording says of VMs, CPUs, time, and slices: who is alone has all.
as_recorded()
{
	sim --json && holds '.policy == "credit" and .cpus == 1 and
		.time == $report[0].length_ns and
		[.vms[] | .name, .weight, .cap, (.vcpus | length)] ==
		["vm1", 128, 0, 1, "vm2", 512, 0, 1]' && sim --cpus 2 --json &&
		holds '.vms[0].vcpus[0].dispatches == (.time / 2e6 | ceil)'
}

# Alone on a CPU, in the time that its script takes, a vCPU runs and sleeps to the
# nanosecond as it did then: how long it waited is gone. Who computes does so in one
# burst, however many slices it had.
same_bursts()
{
	local time

	time=$(jq '.vcpus[1] | .run + .blocked + .out' "$scratch/report")
	sim --cpus 2 -S kick=0 -S wake=0 -t "${time}ns" --json &&
		holds '(.vms[1] | .executed, .wakes, .vcpus[0].blocked) ==
			($report[0].vcpus[1] | .run, .wakes, .blocked)' &&
		holds '.vms[0].executed == .time and .vms[0].rounds <= 2'
}

over_again()
{
	sim --cpus 2 -t 10s --json && holds '.vms[1].executed as $ran |
		$report[0].vcpus[1] | .run / (.run + .blocked + .out) * 1e10 |
		. > 0.98 * $ran and . < 1.02 * $ran'
}

# The one that sleeps is woken as often; who computes lets it wait, or not.
policies()
{
	local policy late

	for policy in host rr credit edf gang gang-relaxed; do
		sim -p "$policy" -t 5s -S slice=7ms --json && holds '.thrown == 0 and
			.vms[1].wakes > 100 and .vms[0].executed > 1e9' ||
			return
		late=$(jq '.vms[1].latency["99.0"]' "$scratch/out")
		case $policy in
		credit) [ "$late" -lt 1000000 ] || return ;;
		rr) [ "$late" -gt 1000000 ] || return ;;
		esac
	done
	sim --sweep policy=rr,credit,partition &&
		[ "$(grep -cE '^(rr|credit) +[0-9]' "$scratch/out")" -eq 2 ]
}

same_again()
{
	sim -t 3s -s 7 -S steal_every=5ms && mv "$scratch/out" "$scratch/a" &&
		sim -t 3s -s 7 -S steal_every=5ms &&
		cmp "$scratch/a" "$scratch/out"
}

beside_others()
{
	sim --vm does=hog,weight=1024 --json && holds '(.vms | length) == 3'
}

# refused STATUS WORDS FILE: nothing is played. The library, too, has words for it.
refused()
{
	"$labvisor" sched sim --recording "$3" >"$scratch/out" 2>"$scratch/err"
	[ $? -eq "$1" ] && grep -q -- "$2" "$scratch/err" &&
		! grep -q '^policy' "$scratch/out"
}

# change WORDS WORDS...: another recording, of the same size.
change()
{
	cp "$recording" "$scratch/changed"
	while [ $# -gt 0 ]; do
		[ ${#1} -eq ${#2} ] && grep -q -- "$1" "$scratch/changed" &&
			sed -i "s/$1/$2/g" "$scratch/changed" || return
		shift 2
	done
}

# All that is known of it is that it ran in the beginning.
never_stopped()
{
	change 'name: lv_sched' 'name: lv_other' &&
		"$labvisor" sched sim --recording "$scratch/changed" --json \
			>"$scratch/out" 2>"$scratch/err" &&
		holds '[.vms[].name] == ["vm1"] and .vms[0].share == 1'
}

malformed()
{
	: >"$scratch/empty"
	refused 1 "No such file" "$scratch/none" &&
		refused 1 "no recording" "$scratch/empty" &&
		refused 1 "no recording" "$0" &&
		change '"weight":512' '"weight":  0' &&
		refused 2 "parameters of a VM" "$scratch/changed" &&
		change 'name: lv_sched' 'name: lv_other' '"state":3' '"state":1' &&
		refused 2 "no vCPU was scheduled" "$scratch/changed"
}

# Wherever it is cut off.
cut_off()
{
	local size at

	size=$(stat -c %s "$recording")
	for ((at = 1; at < size; at += size / 40)); do
		head -c "$at" "$recording" >"$scratch/cut"
		refused 1 'no recording\|the end of the recording is missing' \
			"$scratch/cut" || return
	done
}


perfetto()
{
	"$labvisor" sched report --perfetto "$scratch/trace" "$recording" \
		2>"$scratch/err" &&
		jq -e --slurpfile report "$scratch/report" \
			-f "$LAB_TOP/selftests/trace_event.jq" "$scratch/trace" \
			>"$scratch/out"
}

make -s -C "$LAB_TOP/userspace" OUT="$LAB_BUILD/userspace"
echo TAP version 13
ok reported reported
ok as_recorded as_recorded
ok same_bursts same_bursts
ok over_again over_again
ok policies policies
ok same_again same_again
ok beside_others beside_others
ok never_stopped never_stopped
ok malformed malformed
ok cut_off cut_off
ok perfetto perfetto
echo "1..$count"
