#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What 'labvisor sched record' wrote in a lab host is read elsewhere: trace-cmd
# opens it, the JSON for Perfetto is JSON with slices that do not overlap, and
# report draws the same from it.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=../lab/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lab/lib.sh"
# shellcheck source-path=SCRIPTDIR source=tap.sh
source "$LAB_TOP/selftests/tap.sh"

labvisor=$LAB_BUILD/userspace/labvisor
dat=$scratch/labvisor.dat
json=$scratch/trace.json

# Three guests: two spin (jmp .), one writes to a port without end.
printf '\xeb\xfe' >"$scratch/spin"
printf '\xe6\x80\xeb\xfc' >"$scratch/ports"
cat >"$scratch/record" <<'END'
exec 3>&1 >&2
export LABVISOR_DEV=/dev/labvisor
for guest in spin spin ports; do
	labvisor exec $guest </dev/null >/dev/null 2>&1 &
done
until labvisor sched list | grep -q '^3 '; do :; done
labvisor sched create pool --cpus 0-1 --policy rr --slice 2ms &&
	for vm in 1 2 3; do labvisor sched attach $vm pool || exit; done &&
	labvisor sched record -t 1s -e sched:sched_switch &&
	base64 labvisor.dat >&3
END

record()
{
	"$LAB_DIR/host" --kernel fast --smp 2 --timeout 120 \
		--module "$("$LAB_DIR/module" fast)" --file "$labvisor" \
		--file "$scratch/spin" --file "$scratch/ports" \
		--file "$scratch/record" -- sh record \
		>"$scratch/out" 2>"$scratch/err" &&
		base64 -d "$scratch/out" >"$dat" && : >"$scratch/out"
}

# Each of our events, with its fields, and one of Linux's.
trace_cmd_reads_it()
{
	local event

	trace-cmd report "$dat" >"$scratch/trace" 2>"$scratch/err" || return
	for event in 'lv_sched:.* pool 1 vm [123] vcpu 0 cpu [01] run arg 2000000' \
		'lv_sched:.* stop arg 1' 'lv_entry:.* vcpu 0 rip' \
		'lv_exit:.* vcpu 0 ' 'sched_switch:.* labvisor:' \
		'print:.*{"vm":3,"pool":1,"weight":256,'; do
		grep -q "$event" "$scratch/trace" ||
			{ echo "no $event" >"$scratch/err"; return 1; }
	done
}

# count EVENT WORDS: how many of them trace-cmd has.
count_of()
{
	grep -c "lv_sched: .*vm $1 .*$2" "$scratch/trace"
}

# The library's numbers are trace-cmd's own.
report_agrees()
{
	local vm

	"$labvisor" sched report --json "$dat" >"$scratch/out" || return
	for vm in 1 2 3; do
		[ "$(jq ".vcpus[] | select(.vm == $vm).runs" "$scratch/out")" \
			-eq "$(count_of $vm ' run arg')" ] || return
	done
	jq -e '.pools[] | select(.name == "pool") | .policy == "rr" and
		.jain <= 1 and .jain > 0.5 and
		([.vms[].share] | add | . > 0.999 and . < 1.001)' \
		"$scratch/out" >/dev/null
}

perfetto_is_valid()
{
	"$labvisor" sched report --json "$dat" >"$scratch/report" &&
		"$labvisor" sched report --perfetto "$json" "$dat" &&
		jq -e --slurpfile report "$scratch/report" \
			-f "$LAB_TOP/selftests/trace_event.jq" "$json" \
			>"$scratch/out"
}

# On a track one slice begins when the one before is over (a rounding aside).
perfetto_is_sound()
{
	jq -e '[.traceEvents[] | select(.ph == "X")] | length > 100 and
		(group_by([.pid, .tid]) | all(
		sort_by(.ts) | . as $all | [range(1; length)] |
		all(. as $i | $all[$i].ts + 0.002 >
			$all[$i - 1].ts + $all[$i - 1].dur)))' \
		"$json" >"$scratch/out" &&
		jq -e '[.traceEvents[] | select(.ph == "M").args.name] |
			contains(["CPU 0", "CPU 1", "VM 3 labvisor", "vCPU 0 exits"])' \
			"$json" >"$scratch/out"
}

# The simulator runs the same VMs on as many CPUs (more of it in test_sim.sh).
simulated()
{
	"$labvisor" sched sim --recording "$dat" -p rr --json >"$scratch/out" \
		2>"$scratch/err" &&
		jq -e '.cpus == 2 and .thrown == 0 and
			([.vms[] | .name, .weight] ==
			["vm1", 256, "vm2", 256, "vm3", 256])' \
			"$scratch/out" >/dev/null
}

# A row for each CPU and vCPU, a share for each VM, and all of it well-formed.
drawn()
{
	"$labvisor" sched report --svg "$scratch/a.svg" --html "$scratch/a.html" \
		"$dat" 2>"$scratch/err" &&
		[ "$(grep -cE '>CPU [01]<' "$scratch/a.svg")" -eq 2 ] &&
		[ "$(grep -c '>VM [123] vCPU 0 ' "$scratch/a.svg")" -eq 3 ] &&
		[ "$(grep -c '% by weight<' "$scratch/a.svg")" -eq 3 ] &&
		[ "$(grep -c '<rect' "$scratch/a.svg")" -gt 100 ] &&
		perl -e 'undef $/; my ($depth, $bad) = (0, 0); $_ = <>;
			while (/<(\/?)(\w+)[^>]*?(\/?)>/g) {
				$depth += $1 ? -1 : $3 ? 0 : 1;
				$bad ||= $depth < 0;
			}
			exit($depth || $bad)' "$scratch/a.svg"
}

make -s -C "$LAB_TOP/userspace" OUT="$LAB_BUILD/userspace"
echo TAP version 13
ok recorded record
ok trace_cmd_reads_it trace_cmd_reads_it
ok report_agrees report_agrees
ok perfetto_is_valid perfetto_is_valid
ok perfetto_is_sound perfetto_is_sound
ok simulated simulated
ok drawn drawn
echo "1..$count"
