# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
#
# QEMU's monitor, for scripts in lab hosts. Source it. Each QEMU has a name, and
# its monitor the pipes NAME.in and NAME.out. Nothing here waits for a QEMU that
# has ended, as long as its pipes are there.

qmp_pipes()
{
	mkfifo "$1.in" "$1.out"
}

# with_qmp NAME QEMU ARGUMENT...: run QEMU with a monitor, on pipes that are there.
with_qmp()
{
	qmp_name=$1
	shift
	"$@" -chardev "pipe,id=qmp,path=$qmp_name" -mon chardev=qmp,mode=control
	qmp_status=$?
	while [ -p "$qmp_name.out" ]; do
		echo '{"error": "QEMU has ended"}' >"$qmp_name.out"
	done &
	return $qmp_status
}

# qmp_wait NAME PATTERN: read what the monitor says up to the line that matches
# the shell pattern, and print that.
qmp_wait()
{
	while read -r qmp_line; do
		# shellcheck disable=SC2254 # it is a pattern
		case $qmp_line in
		$2)
			echo "$qmp_line"
			return ;;
		'{"error": '*)
			echo "$1: $qmp_line"
			return 1 ;;
		esac
	done <"$1.out"
	echo "$1: QEMU has ended"
	return 1
}

# qmp NAME COMMAND [ARGUMENTS]: run it and print what it returns. The first is
# qmp_capabilities.
qmp()
{
	[ "$2" != qmp_capabilities ] || qmp_wait "$1" '{"QMP": *' || return
	echo "{\"execute\": \"$2\", \"arguments\": {$3}}" 1<>"$1.in"
	qmp_wait "$1" '{"return": *'
}
