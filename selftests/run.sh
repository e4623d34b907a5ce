#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Run the tests: unit tests in user space, then test programs in lab hosts.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lab/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lab/lib.sh"

usage()
{
	cat <<'END'
Usage: selftests/run.sh [OPTION]... [--] [TEST]...

Run all tests, or those named: PROGRAM or PROGRAM.CASE.

  --kernel K   lab host's kernel, default stock and debug (may repeat)
  --smp N      CPUs of the lab host, default 1 and 2 (may repeat)
  --kvm        run the programs on KVM, as a reference for them
  --limit SEC  time for one program, default 120
END
}

tests=$LAB_TOP/selftests
out=$LAB_BUILD/selftests
unit=$LAB_BUILD/unit
driver=labvisor limit=120
kernels=() cpus=()

while [ $# -gt 0 ]; do
	case $1 in
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
[ ${#kernels[@]} -gt 0 ] || kernels=(stock debug)
[ ${#cpus[@]} -gt 0 ] || cpus=(1 2)
only="$*"

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
touch "$results/tally"

count()
{
	grep -cx "$1" "$results/tally" || true
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

# parse WHERE: results from TAP on standard input.
parse()
{
	awk -f "$tests/tap.awk" -v where="$1" -v only="$only" \
		-v tally="$results/tally" -v done="$results/done"
}

fail()
{
	echo "FAIL $1"
	echo FAIL >>"$results/tally"
}

run_unit_tests()
{
	local program status

	for program in "${unit_programs[@]}"; do
		status=0
		echo "@begin $program"
		(cd "$tests/unit" && "$unit/$program" 2>&1 </dev/null) || status=$?
		echo "@end $program $status"
	done | parse unit
}

# Everything that a program in a lab host may want to use.
payload_arguments()
{
	local path

	payload=(--file "$tests/in-host.sh")
	for path in "$out"/* "$tests"/lab/*.sh "$LAB_BUILD/userspace/labvisor"; do
		[ ! -e "$path" ] || payload+=(--file "$path")
	done
	[ "$driver" = kvm ] || payload+=(--file "$1")
}

# boot_and_test KERNEL CPUS MODULE PROGRAM...: one boot of a lab host. Its
# failure is a failed test, whether or not a program was running at the time.
boot_and_test()
{
	local kernel=$1 smp=$2 module=$3 where=$1/$2 options=() status
	shift 3

	[ "$kernel" != debug ] || options+=(--kmemleak)
	[ "$smp" -lt 2 ] || options+=(--numa)
	payload_arguments "$module"
	"$LAB_DIR/host" --kernel "$kernel" --smp "$smp" --mem 2048 \
		--timeout $((limit * $# + 120)) "${payload[@]}" \
		"${options[@]}" -- \
		sh /lab/in-host.sh "$driver" "$limit" "$@" | parse "$where"
	status=${PIPESTATUS[0]}
	[ "$status" -eq 0 ] || fail "$where: lab host ended with status $status"
	return "$status"
}

# A program that takes the lab host down with it must not hide the others: go
# on with those behind it in a new lab host.
run_configuration()
{
	local kernel=$1 smp=$2 module=$3 left=("${lab_programs[@]}")

	while [ ${#left[@]} -gt 0 ]; do
		: >"$results/done"
		boot_and_test "$kernel" "$smp" "$module" "${left[@]}" && return
		[ -s "$results/done" ] || return 0
		mapfile -t left < <(printf '%s\n' "${left[@]}" |
			grep -vxFf "$results/done")
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

build()
{
	build_in "$tests/unit" "$unit" "${unit_programs[@]}" &&
	build_in "$tests" "$out" "${lab_programs[@]}" &&
	make -s -C "$LAB_TOP/userspace" OUT="$LAB_BUILD/userspace"
}

started=$SECONDS
steps=$((2 + ${#kernels[@]} * ${#cpus[@]}))
n=1

mapfile -t unit_programs < <(programs "$tests/unit" 'test_*.c')
mapfile -t lab_programs < <(programs "$tests/lab" '*.c')
mapfile -t lab_scripts < <(programs "$tests/lab" '*.sh')

say "[1/$steps] building"
"$LAB_DIR/kselftest" >/dev/null
step "$LAB_BUILD/logs/tests.log" "test programs and launcher" build
lab_programs+=("${lab_scripts[@]}")

say "[2/$steps] unit tests"
[ "$driver" = kvm ] || run_unit_tests

n=2
for kernel in "${kernels[@]}"; do
	module=none
	if [ "$driver" = labvisor ] && [ ${#lab_programs[@]} -gt 0 ]; then
		module=$("$LAB_DIR/module" "$kernel")
	fi
	for smp in "${cpus[@]}"; do
		n=$((n + 1))
		say "[$n/$steps] lab host: $kernel kernel, $smp CPUs," \
			"${#lab_programs[@]} programs ($(elapsed "$started"))"
		run_configuration "$kernel" "$smp" "$module"
	done
done

say "done in $(elapsed "$started")"
echo "$(count PASS) passed, $(count FAIL) failed, $(count SKIP) skipped"
[ "$(count FAIL)" -eq 0 ] && [ "$(count PASS)" -gt 0 ]
