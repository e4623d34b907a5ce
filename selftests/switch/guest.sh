#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# A guest all of whose CPUs compute. Lines on its console are questions, 1, 2, 3
# and so on: each CPU answers between two chunks of its work, "beat CPU QUESTION
# CHUNKS". The answer to "stop" is "result CPU CHUNKS SUM".

console=/dev/ttyS0
asked=/tmp/asked

# work CPU: a sum that one wrong step spoils for good.
work()
{
	sum=$1 chunks=0 question=1
	until [ -e $asked.stop ]; do
		i=0
		while [ $i -lt 50 ]; do
			sum=$(((sum * 1103515245 + 12345) & 0x7fffffff))
			i=$((i + 1))
		done
		chunks=$((chunks + 1))
		[ -e $asked.$question ] || continue
		echo "beat $1 $question $chunks"
		question=$((question + 1))
	done
	echo "result $1 $chunks $sum"
}

# is FILE VALUE NAME: the name, if that is what the file has.
is()
{
	[ "$(cat "$1" 2>/dev/null)" != "$2" ] || echo "$3"
}

# Those of the kernel's watchdogs that are on.
watchdogs()
{
	is /proc/sys/kernel/soft_watchdog 1 soft-lockup
	is /sys/module/rcupdate/parameters/rcu_cpu_stall_suppress 0 rcu-stall
	is /proc/sys/kernel/hung_task_panic 1 hung-task
}

if [ "$1" = work ]; then
	work "$2"
	exit
fi

stty -F $console -echo -onlcr
for cpu in $(seq 0 $(($(nproc) - 1))); do
	taskset -c "$cpu" sh "$0" work "$cpu" &
done
# shellcheck disable=SC2046 # a word each
echo ready $(uname -r) $(watchdogs)
while [ "$question" != stop ]; do
	read -r question || exit
	: >"$asked.$question"
done <$console
wait
