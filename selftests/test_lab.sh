#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A lab host that hides a crash would pass every test: see it report each kind.
set -uo pipefail

tests=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
host=$tests/../lab/host
# shellcheck source-path=SCRIPTDIR source=tap.sh
source "$tests/tap.sh"

# boot STATUS WORDS OPTION... -- COMMAND...: does it end with this status, and
# with these words on standard error?
boot()
{
	local want=$1 words=$2 status=0
	shift 2

	"$host" --log "$scratch/log" "$@" >"$scratch/out" 2>"$scratch/err" ||
		status=$?
	[ "$status" -eq "$want" ] || return
	[ -z "$words" ] || grep -q "$words" "$scratch/err"
}

# leaves_nothing OPTION...: kill lab/host without a warning. Its standard output
# ends when the last process that has it is gone.
leaves_nothing()
{
	local output line status=0

	exec {output}< <(LABVISOR_BUILD=$scratch exec "$host" "$@" -- \
		sh -c 'echo up; while :; do :; done' 2>"$scratch/err")
	read -r -t 120 -u "$output" line
	kill -KILL $!
	read -r -t 10 -u "$output" || status=$?
	exec {output}<&-
	[ "$line" = up ] && [ "$status" -eq 1 ]
}

# says TEXT: it was the command's output.
says()
{
	[ "$(cat "$scratch/out")" = "$1" ]
}

# twice OPTION... -- COMMAND...: is the output the same both times?
twice()
{
	boot 0 '' "$@" && mv "$scratch/out" "$scratch/first" &&
		boot 0 '' "$@" && cmp -s "$scratch/first" "$scratch/out"
}

provoke()
{
	boot 125 "$2" --kernel debug -- sh -c \
		"modprobe lkdtm && echo $1 >/sys/kernel/debug/provoke-crash/DIRECT"
}

# A module that forgets memory; a report is longer than a line of the log may be.
leaks()
{
	local folder
	folder=$("$tests/../lab/policy-module" debug "$tests/leak-module" \
		2>"$scratch/err") || return

	boot 125 'kmemleak: unreferenced object' --kernel debug --kmemleak \
		--module "$folder/leak.ko" -- true
}

bochs=(--lab bochs --kernel fast)
crash='echo c >/proc/sysrq-trigger'
odd="a  b 'c' \"d\" \$e * \\ ;"

echo "TAP version 13"
ok status boot 7 '' -- sh -c 'exit 7'
ok not_found boot 127 '' -- no-such-program
ok arguments boot 0 '' -- printf '%s' "$odd"
ok arguments_say says "$odd"
ok files boot 0 '' --file "$(command -v flock)" --file "$tests:/opt/x" -- \
	sh -c 'flock /lab true && ls /opt/x/test_lab.sh'
ok files_say says /opt/x/test_lab.sh
ok two_cpus_two_nodes boot 0 '' --smp 2 --numa -- \
	sh -c 'nproc; cat /sys/devices/system/node/online'
ok two_cpus_two_nodes_say says $'2\n0-1'
ok time_limit boot 124 'time limit of 8 s' --timeout 8 -- sleep 1000
ok panic boot 125 'Kernel panic - not syncing: sysrq' -- sh -c "$crash"
ok power_off boot 125 'without a status' -- poweroff -f
ok warning boot 125 'WARNING: a' -- sh -c 'echo WARNING: a >/dev/kmsg'
ok allowed_warning boot 0 '' --allow-warn 'WARNING: a' -- \
	sh -c 'echo WARNING: a >/dev/kmsg'
ok bad_module boot 125 'insmod .* failed' --module "$host" -- true
ok no_file boot 125 'no file' --file /no/such/file -- true
ok no_kernel boot 125 'no kernel' --kernel /no/such/file -- true
ok kernel_warning provoke WARNING 'WARNING: CPU'
ok kasan provoke WRITE_AFTER_FREE 'BUG: KASAN: use-after-free'
ok ubsan provoke ARRAY_BOUNDS 'UBSAN: array-index-out-of-bounds'
ok list_debugging provoke CORRUPT_LIST_ADD 'list_add corruption'
ok refcount provoke REFCOUNT_INC_OVERFLOW 'refcount_t: saturated'
ok leak leaks
ok nothing_left leaves_nothing
ok bochs_status boot 7 '' "${bochs[@]}" -- sh -c 'exit 7'
ok bochs_arguments boot 0 '' "${bochs[@]}" -- printf '%s' "$odd"
ok bochs_arguments_say says "$odd"
ok bochs_files boot 0 '' "${bochs[@]}" --file "$(command -v flock)" \
	--file "$tests:/opt/x" -- sh -c 'flock /lab true && ls /opt/x/test_lab.sh'
ok bochs_files_say says /opt/x/test_lab.sh
ok bochs_two_cpus boot 0 '' "${bochs[@]}" --smp 2 -- \
	sh -c 'nproc; grep -cw vmx /proc/cpuinfo'
ok bochs_two_cpus_say says $'2\n4'
ok bochs_svm boot 0 '' "${bochs[@]}" --cpu trinity_apu -- \
	grep -qw svm /proc/cpuinfo
ok bochs_same_twice twice "${bochs[@]}" -- cat /proc/uptime /proc/interrupts
ok bochs_time_limit boot 124 'time limit of 12 s' "${bochs[@]}" --timeout 12 -- \
	sh -c 'while :; do :; done'
ok bochs_panic boot 125 'Kernel panic - not syncing: sysrq' "${bochs[@]}" -- \
	sh -c "$crash"
ok bochs_reset boot 125 'PANIC.*no resolution' "${bochs[@]}" -- reboot -f
ok bochs_power_off boot 125 'without a status' "${bochs[@]}" -- poweroff -f
ok bochs_warning boot 125 'WARNING: a' "${bochs[@]}" -- \
	sh -c 'echo WARNING: a >/dev/kmsg'
ok bochs_bad_module boot 125 'insmod .* failed' "${bochs[@]}" \
	--module "$host" -- true
ok bochs_no_cpu boot 125 'PANIC.*cpu directive' "${bochs[@]}" --cpu no_such_cpu -- \
	true
ok bochs_no_nodes boot 125 'no NUMA nodes' "${bochs[@]}" --numa -- true
ok bochs_nothing_left leaves_nothing "${bochs[@]}"
echo "1..$count"

