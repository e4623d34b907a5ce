# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# TAP for the tests that are scripts. Source it. What a test leaves in
# $scratch/out and $scratch/err is shown if it fails, once.

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
count=0
shown=''

show()
{
	local said

	said=$(cat "$scratch/out" "$scratch/err" 2>/dev/null | tail -n 45)
	[ "$said" = "$shown" ] || printf '%s\n' "$said" | sed 's/^/# /'
	shown=$said
}

# ok NAME COMMAND...
ok()
{
	local name=$1
	shift

	count=$((count + 1))
	if "$@"; then
		echo "ok $count $name"
	else
		show
		echo "not ok $count $name"
	fi
}

# skip NAME REASON
skip()
{
	count=$((count + 1))
	echo "ok $count $1 # SKIP $2"
}
