#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# docs/api.md has a row for each name in the kernel's document of the KVM API,
# and there are tests for what it says is there. That the rows are true and that
# <linux/kvm.h> has no other names is what selftests/lab/api.c tests.
# shellcheck disable=SC2016 # patterns have the backticks of the tables
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=../lab/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lab/lib.sh"
# shellcheck source=selftests/tap.sh
source "$LAB_TOP/selftests/tap.sh"

doc=$LAB_TOP/docs/api.md
tests=$LAB_TOP/selftests/lab
rst=$("$LAB_DIR/kselftest")/api.rst

# Where the document has other names than <linux/kvm.h>, or parts of names.
documented()
{
	{
		sed -n 's/^4\.[0-9]* //p' "$rst" | grep -oE '\bKVM_[A-Z0-9_]+'
		grep -ohE '\bKVM_(CAP|EXIT)_[A-Z0-9_]+' "$rst"
	} | sed -e 's/^KVM_CAP_STATS_BINARY_FD$/KVM_CAP_BINARY_STATS_FD/' \
		-e 's/^KVM_CAP_IRQCHIP_SPLIT$/KVM_CAP_SPLIT_IRQCHIP/' \
		-e 's/^KVM_CAP_X86_IOAPIC_P/KVM_CAP_IOAPIC_P/' \
		-e 's/^KVM_EXIT_BUS_LOCK$/KVM_EXIT_X86_BUS_LOCK/' \
		-e 's/^KVM_EXIT_DIRTY_LOG_FULL$/KVM_EXIT_DIRTY_RING_FULL/' \
		-e 's/^KVM_EXIT_PAPR$/KVM_EXIT_PAPR_HCALL/' \
		-e '/_$/d' | sort -u
}

# The first cells of the rows, as patterns for whole lines.
patterns()
{
	sed -n 's/^| \(`KVM_[^|]*\) |.*/\1/p' "$doc" | tr -d '` ' |
		tr , '\n' | sed 's/\*$/.*/'
}

complete()
{
	documented >"$scratch/wanted"
	[ "$(wc -l <"$scratch/wanted")" -gt 200 ] || return
	grep -vxf <(patterns) "$scratch/wanted" >"$scratch/out"
	[ ! -s "$scratch/out" ]
}

# A program other than api.c uses each ioctl that is there.
used()
{
	local request n=0

	while read -r request; do
		n=$((n + 1))
		grep -rqw --include='*.[ch]' --exclude=api.c "$request" \
			"$tests" "$LAB_TOP/userspace" || echo "$request"
	done < <(sed -n 's/^| `\(KVM_[A-Z0-9_]*\)` | [^|]* | \(yes\|differs\) |.*/\1/p' \
		"$doc") >"$scratch/out"
	[ ! -s "$scratch/out" ] && [ "$n" -gt 50 ]
}

# body PROGRAM CASE: the source of a test.
body()
{
	awk -v test="$2" '
		/^TEST/ { inside = $0 ~ "[(, ]" test "[)]" }
		inside
		/^}/ { inside = 0 }' "$tests/$1.c"
}

# What is produced is seen by the test in its row, and is in the module's source;
# what is never produced is not.
exits()
{
	local reason produced notes test n=0

	while IFS='|' read -r _ reason produced notes _; do
		reason=${reason//[\` ]/}
		produced=${produced// /}
		case $produced in
		yes)
			test=$(sed -n 's/^ `\([a-z_0-9]*\.[a-z_0-9]*\)`.*/\1/p' \
				<<<"$notes")
			[ -n "$test" ] &&
				body "${test%.*}" "${test#*.}" |
				grep -qw "$reason" ||
				echo "$reason is not in test '$test'"
			grep -rqw "$reason" "$LAB_TOP/module" ||
				echo "$reason is not in the module"
			n=$((n + 1))
			;;
		never)
			[ "$reason" = KVM_EXIT_UNKNOWN ] ||
				! grep -rqw "$reason" "$LAB_TOP/module" ||
				echo "$reason is in the module"
			;;
		payload) ;;
		*) echo "$reason: neither yes nor never" ;;
		esac
	done < <(sed -n '/^## Exit reasons/,/^## D/s/^| `/&/p' "$doc") \
		>"$scratch/out"
	[ ! -s "$scratch/out" ] && [ "$n" -gt 0 ]
}

echo "TAP version 13"
ok a_row_for_each_name complete
ok ioctls_are_used used
ok exit_reasons_are_shown exits
echo "1..$count"
