#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Run the tests: unit tests in user space, tests of the lab itself, then test
# programs in lab hosts.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lab/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lab/lib.sh"

# The lab hosts that all programs run in, as LAB/KERNEL/CPUS; with /short, those
# that meet what kernels do differently: memory, threads, files and power; with
# /posted, those about interrupts, on a CPU that has posted interrupts.
defaults=(vmx/debug/1 svm/debug/2 vmx/fast/2 vmx/fast/1 svm/stock/2
	svm/stock/1/short svm/6.12/2/short vmx/6.12/1/short vmx/stock/1/short
	vmx/fast/2/posted)
short=(beside_kvm debug dirty_log eventfd fpu irqfd lapic_timer launcher
	lifetimes memory memslots mitigations power pv sched_plugins smp unload)
posted=(apicv irqfd lapic_timer posted power smp unload)

# What takes minutes each on a kernel that checks itself, which looks for leaks
# anyway, and more of it in Bochs. Other lab hosts run it with that kernel, others
# with Bochs; and these do if they are asked to.
slow=(leak)
slow_in_bochs=(api beside_kvm launcher roundtrip sched)

usage()
{
	cat <<END
Usage: selftests/run.sh [OPTION]... [--] [TEST]...

Run all tests, or those named: PROGRAM or PROGRAM.CASE.

  --lab L      svm or vmx, default both (may repeat)
  --kernel K   lab host's kernel (may repeat)
  --smp N      CPUs of the lab host, default 1 and 2 (may repeat)
  --kvm        run the lab-host programs on KVM, as a reference for them
  --limit SEC  time for one program, default 600

Without --kernel and --smp, the lab hosts are:
  ${defaults[*]}
END
}

tests=$LAB_TOP/selftests
out=$LAB_BUILD/selftests
unit=$LAB_BUILD/unit
driver=labvisor limit=600
labs=() kernels=() cpus=()

while [ $# -gt 0 ]; do
	case $1 in
	--lab) labs+=("$2"); shift ;;
	--kernel) kernels+=("$2"); shift ;;
	--smp) cpus+=("$2"); shift ;;
	--kvm) driver=kvm ;;
	--limit) limit=$2; shift ;;
	-h|--help) usage; exit 0 ;;
	--) shift; break ;;
	-*) usage >&2; die "unknown option $1" ;;
	*) break ;;
	esac
	shift || die "the last option lacks its argument"
done
[ ${#labs[@]} -gt 0 ] || labs=(svm vmx)
only="$*"

# configurations: those that were asked for.
configurations()
{
	local lab kernel smp some=("${kernels[@]}")

	if [ ${#kernels[@]} -eq 0 ] && [ ${#cpus[@]} -eq 0 ]; then
		printf '%s\n' "${defaults[@]}" |
			grep -E "^($(IFS='|'; echo "${labs[*]}"))/"
		return
	fi
	[ ${#cpus[@]} -gt 0 ] || cpus=(1 2)
	for lab in "${labs[@]}"; do
		[ ${#kernels[@]} -gt 0 ] ||
			mapfile -t some < <(printf '%s\n' "${defaults[@]}" |
				sed -n "s,^$lab/\([^/]*\)/[^/]*$,\1,p" |
				sort -u)
		for kernel in "${some[@]}"; do
			for smp in "${cpus[@]}"; do
				echo "$lab/$kernel/$smp"
			done
		done
	done
}

for lab in "${labs[@]}"; do
	case $lab in
	svm|vmx) ;;
	*) die "--lab is svm or vmx, not '$lab'" ;;
	esac
done
mapfile -t wanted < <(configurations)

started=$SECONDS
n=0
results=$(mktemp -d)
jobs=()

# shellcheck disable=SC2317 # called by the trap
cleanup()
{
	[ ${#jobs[@]} -eq 0 ] || kill "${jobs[@]}" 2>/dev/null || true
	rm -rf "$results"
}

trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

announce()
{
	n=$((n + 1))
	say "[$n/$steps] $* ($(elapsed "$started"))"
}

count()
{
	cat "$results"/*.tally | grep -cx "$1" || true
}

# programs DIR PATTERN: those in a folder that were asked for.
programs()
{
	local program word

	find "$1" -maxdepth 1 -name "$2" -printf '%f\n' | sort |
	while read -r program; do
		program=${program%.c}
		[ -n "$only" ] || echo "$program"
		for word in $only; do
			[ "${word%%.*}" = "${program%%.*}" ] || continue
			echo "$program"
			break
		done
	done
}

# build_in FOLDER OUT PROGRAM...: only what was asked for.
build_in()
{
	local folder=$1 to=$2
	shift 2

	[ $# -eq 0 ] || make -s --no-print-directory -j"$(nproc)" -C "$folder" \
		OUT="$to" KSELFTEST="$LAB_BUILD/kselftest" "${@/#/$to/}"
}

# Policies in BPF, for lab hosts that can load them.
build_bpf()
{
	local libbpf

	if ! printf '%s\n' "${wanted[@]}" | grep -q /6.12/ ||
	   ! printf '%s\n' "${lab_programs[@]}" | grep -qx sched_plugins; then
		return
	fi
	libbpf=$("$LAB_DIR/libbpf") &&
	make -s -C "$tests/bpf" OUT="$out" LIBBPF="$libbpf"
}

build()
{
	build_in "$tests/unit" "$unit" "${unit_programs[@]}" &&
	build_in "$tests" "$out" "${lab_programs[@]}" &&
	build_bpf &&
	make -s -C "$LAB_TOP/userspace" OUT="$LAB_BUILD/userspace"
}

# parse WHERE NAME: results from TAP on standard input, tallied under NAME.
parse()
{
	awk -f "$tests/tap.awk" -v where="$1" -v only="$only" \
		-v tally="$results/$2.tally" -v done="$results/$2.done" \
		-v failed="$results/$2.failed"
}

# run_here WHERE NAME PROGRAM...: run programs on this machine, tallied under
# NAME.
run_here()
{
	local where=$1 name=$2 program status
	shift 2

	for program; do
		status=0
		echo "@begin ${program##*/}"
		"$program" 2>&1 </dev/null || status=$?
		echo "@end ${program##*/} $status"
	done | parse "$where" "$name"
}

# Everything that a program in a lab host may want to use.
payload_arguments()
{
	local path

	payload=(--file "$tests/in-host.sh")
	for path in "$out"/* "$tests"/lab/*.sh "$LAB_BUILD/userspace/labvisor"; do
		[ ! -e "$path" ] || payload+=(--file "$path")
	done
	[ "$driver" = kvm ] || payload+=(--file "$1" --file "$policy/fair.ko" \
		--file "$broken/broken.ko")
}

# host_options CONFIGURATION: set $options for lab/host. Bochs has one node,
# and its lab hosts' seconds are not ours. There the newer kernel has a newer CPU,
# with posted interrupts, AVX-512 and XSAVES, whose RETBleed kernels warn of.
host_options()
{
	local lab kernel smp

	IFS=/ read -r lab kernel smp _ <<<"$1"
	options=(--kernel "$kernel" --smp "$smp" --mem 2048)
	case $lab in
	svm) options+=(--lab qemu --numa) ;;
	vmx) options+=(--lab bochs) ;;
	esac
	[ "$kernel" != debug ] || options+=(--kmemleak)
	case $1 in
	vmx/6.12/*|vmx/*/posted)
		options+=(--cpu corei7_skylake_x --append retbleed=off) ;;
	esac
}

# boot_and_test CONFIGURATION MODULE PROGRAM...: one boot of a lab host. Its
# failure is a failed test: of the program that was running, or else its own.
boot_and_test()
{
	local where=$1 module=$2 name=${1//\//-} options status
	shift 2

	host_options "$where"
	payload_arguments "$module"
	setpriv --pdeathsig TERM "$LAB_DIR/host" "${options[@]}" \
		--timeout $((limit * $# + 120)) "${payload[@]}" -- \
		sh /lab/in-host.sh "$driver" "$limit" "$@" |
		parse "$where" "$name" && return
	status=("${PIPESTATUS[@]}")
	if [ "${status[0]}" -ne 75 ] && [ "${status[1]}" -eq 0 ]; then
		echo "FAIL $where    lab host (status ${status[0]})" |
			tee -a "$results/$name.failed"
		echo FAIL >>"$results/$name.tally"
	fi
	return 1
}

# left_out CONFIGURATION: programs that take too long in it
left_out()
{
	[ -z "$only" ] || return 0
	case $1 in
	vmx/debug/*) printf '%s\n' "${slow[@]}" "${slow_in_bochs[@]}" ;;
	svm/debug/*) printf '%s\n' "${slow[@]}" ;;
	esac
}

# programs_in CONFIGURATION: those that it runs.
programs_in()
{
	case $1 in
	*/short)
		printf '%s\n' "${lab_programs[@]}" |
			grep -xF "$(printf '%s\n' "${short[@]}")" ;;
	*/posted)
		printf '%s\n' "${lab_programs[@]}" |
			grep -xF "$(printf '%s\n' "${posted[@]}")" ;;
	*)
		printf '%s\n' "${lab_programs[@]}" |
			grep -vxF "$(left_out "$1")" ;;
	esac
}

# A program that takes the lab host down with it must not hide the others: go
# on with those behind it in a new lab host.
run_configuration()
{
	local where=$1 module=$2 left program
	local done=$results/${1//\//-}.done

	left_out "$where" | while read -r program; do
		echo "SKIP $where $program (it takes minutes in this lab host)"
		echo SKIP >>"$results/${where//\//-}.tally"
	done
	mapfile -t left < <(programs_in "$where")
	while [ ${#left[@]} -gt 0 ]; do
		: >"$done"
		boot_and_test "$where" "$module" "${left[@]}" && return
		[ -s "$done" ] || return 0
		mapfile -t left < <(printf '%s\n' "${left[@]}" |
			grep -vxFf "$done")
	done
}

# start TITLE COMMAND...: in the background. As many at a time as there are CPUs:
# each has one lab host, which keeps one busy.
start()
{
	local title=$1
	shift

	while [ "$(jobs -pr | wc -l)" -ge "$(nproc)" ]; do
		wait -n || true
	done
	announce "$title"
	"$@" &
	jobs+=($!)
}

mapfile -t unit_programs < <(programs "$tests/unit" 'test_*.c')
mapfile -t lab_programs < <(programs "$tests/lab" '*.c')
mapfile -t lab_scripts < <(programs "$tests/lab" '*.sh')
mapfile -t lab_tests < <(programs "$tests" 'test_*.sh')
[ "$driver" = labvisor ] || unit_programs=() lab_tests=()
steps=$((2 + ${#lab_tests[@]} + ${#wanted[@]}))

announce "building"
"$LAB_DIR/kselftest" >/dev/null
step "$LAB_BUILD/logs/tests.log" "test programs and launcher" build
lab_programs+=("${lab_scripts[@]}")

announce "unit tests: ${#unit_programs[@]} programs"
run_here unit unit "${unit_programs[@]/#/$unit/}"

for test in "${lab_tests[@]}"; do
	start "the lab: $test" run_here lab "lab-$test" "$tests/$test"
done

module=none policy=none broken=none
for where in "${wanted[@]}"; do
	[ -n "$(programs_in "$where" || true)" ] || continue
	IFS=/ read -r _ kernel _ <<<"$where"
	if [ "$driver" = labvisor ]; then
		module=$("$LAB_DIR/module" "$kernel")
		policy=$("$LAB_DIR/policy-module" "$kernel")
		broken=$("$LAB_DIR/policy-module" "$kernel" "$tests/broken-policy")
	fi
	start "lab host $where: $(programs_in "$where" | wc -l) programs" \
		run_configuration "$where" "$module"
done
[ ${#jobs[@]} -eq 0 ] || wait "${jobs[@]}" || true
jobs=()

say "done in $(elapsed "$started")"
if [ "$(count FAIL)" -gt 0 ]; then
	say "What failed, with the last that each said:"
	cat "$results"/*.failed
fi
echo "$(count PASS) passed, $(count FAIL) failed, $(count SKIP) skipped"
[ "$(count FAIL)" -eq 0 ] && [ "$(count PASS)" -gt 0 ]
