#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# 'labvisor sched': what it shows, changes, records and refuses, with guests that
# run. It says what to do when it fails, and its exit status is as the manual has
# it: 1 the host refuses, 2 usage.

count=0
scratch=$(mktemp -d)
guests=

if [ "$LABVISOR_DEV" != /dev/labvisor ] || [ ! -e /dev/labvisor ]; then
	echo "1..0 # SKIP only Labvisor has pools"
	exit
fi

# A hundred processes, seconds each; what they call is tried by sched_api.
if grep -q labdebug /proc/version; then
	echo "1..0 # SKIP programs start slowly on a kernel that checks"
	exit
fi

# ok NAME COMMAND...
ok()
{
	name=$1
	shift
	count=$((count + 1))
	if "$@"; then
		echo "ok $count $name"
	else
		tail -n 20 "$scratch/out" "$scratch/err" | sed 's/^/# /'
		echo "not ok $count $name"
	fi
}

# sched ARGUMENT...: into $scratch/out and $scratch/err.
sched()
{
	./labvisor sched "$@" >"$scratch/out" 2>"$scratch/err"
}

# fails STATUS WORDS ARGUMENT...: it does, and says why.
fails()
{
	want=$1
	words=$2
	shift 2
	sched "$@"
	status=$?
	[ $status -eq "$want" ] && grep -q -- "$words" "$scratch/err" && return
	echo "# status $status: sched $*"
	return 1
}

shows()
{
	grep -q -- "$1" "$scratch/out"
}

# pool_of VM: the name of its pool.
pool_of()
{
	sched list &&
		sed -n "/^VM /,\$s/^$1  *\([^ ]*\) .*/\1/p" "$scratch/out"
}

commands="list create set attach switch delete load unload stat top record
	report sim"

help()
{
	sched --help || return
	for command in $commands; do
		shows "^  $command " || return
	done
	for command in $commands; do
		[ "$command" = sim ] || { sched "$command" --help &&
			shows "Usage: labvisor sched $command" &&
			shows --device; } || return
	done
}

usage()
{
	fails 2 "which command" &&
		fails 2 "no command 'sched none'" none &&
		fails 2 "too much" list 1 &&
		fails 2 "which CPUs" create a &&
		fails 2 "not the name" create "a b" --cpus 0 &&
		fails 2 "not the name" create 0123456789abcdef --cpus 0 &&
		fails 2 "no list of CPUs" create a --cpus 1-0 &&
		fails 2 "no list of CPUs" create a --cpus 0,x &&
		fails 2 "no list of CPUs" create a --cpus 1024 &&
		fails 2 "is not a time" create a --cpus 0 --slice 10 &&
		fails 2 "out of range" create a --cpus 0 --slice 49us &&
		fails 2 "usage" attach 1 &&
		fails 2 "not the number" attach x default &&
		fails 2 "usage" switch default &&
		fails 2 "usage" set &&
		fails 2 "change what" set 1 &&
		fails 2 "go together" set 1 --period 10ms &&
		fails 2 "go together" set 1 --budget 1ms &&
		fails 2 "must be" set 1 --period 1ms --budget 2ms &&
		fails 2 "not a weight" set 1 --weight 0 &&
		fails 2 "do not go with" set 1 --vcpu 0 --weight 1 &&
		fails 2 "change what" set --pool default &&
		fails 2 "give --pool" set 1 --slice 1ms &&
		fails 2 "delay" top --delay 1ms
}

refused()
{
	fails 1 "no pool 'none'" switch none rr &&
		fails 1 "no policy 'none', but host " switch first none &&
		fails 1 "the default pool stays" switch default rr &&
		fails 1 "the default pool stays" delete default &&
		fails 1 "a pool 'first' already" create first --cpus 0 &&
		fails 1 "'first' has one of these" create second --cpus 0 &&
		fails 1 "online" create second --cpus 1000 &&
		fails 1 "no VM 4000" attach 4000 first &&
		fails 1 "no VM 4000" set 4000 --weight 1 &&
		fails 1 "no VM 4000" stat 4000 &&
		fails 1 "no VM" attach --pid 1 first &&
		fails 1 "has no vCPU 9" set 1 --vcpu 9 --group 1 &&
		fails 1 "does not exist" list --device /dev/none &&
		fails 1 "schedules no vCPUs" list --device /dev/null &&
		fails 1 "no recording" report /etc/passwd
}

create()
{
	sched create first --cpus 0 --policy rr --slice 2ms && sched list &&
		shows '^[1-9][0-9]*  *first  *rr  *0  *2.00ms '
}

list()
{
	sched list && shows '^policies: host, rr' &&
		shows '^0  *default  *host  *all ' &&
		[ "$(pool_of 1)" = default ] && [ "$(pool_of 2)" = default ]
}

attach()
{
	sched attach 1 first && [ "$(pool_of 1)" = first ] &&
		[ "$(pool_of 2)" = default ] &&
		sched attach --pid "$other" first && [ "$(pool_of 2)" = first ]
}

parameters()
{
	sched set 1 --weight 512 --cap 50 --period 10ms --budget 1ms &&
		sched list && shows '^1  *first .* 512  *50%  *1.00ms/10.0ms$' &&
		sched set 1 --period 0 --cap 0 && sched list &&
		shows '^1  *first .* 512  *-  *-$' &&
		sched set --pool first --slice 1ms && sched list &&
		shows ' first .* 1.00ms '
}

json()
{
	sched list --json && shows '"name": "first"' && shows '"weight": 512' &&
		shows '"policies": \[' && [ "$(tail -n 1 "$scratch/out")" = "}" ]
}

switched()
{
	sched switch first host && sched list && shows ' first  *host ' &&
		sched switch first rr && sched list && shows ' first  *rr '
}

# Each of the two has run since the picture before: column RUN% is not 0.
top()
{
	sched top -n 2 --delay 1s || return
	[ "$(grep -c '^labvisor sched top' "$scratch/out")" -eq 2 ] || return
	for vm in 1 2; do
		[ "$(grep "^$vm/0 " "$scratch/out" | tail -n 1 |
			awk '$5 > 0 && $5 <= 101' | wc -l)" -eq 1 ] || return
	done
}

top_ends()
{
	: >"$scratch/out"
	./labvisor sched top -b --delay 50ms >"$scratch/out" 2>"$scratch/err" &
	until grep -q '^2/0' "$scratch/out"; do :; done
	kill -TERM $!
	wait $!
}

stat()
{
	sched stat 1 && shows '^VM 1 (labvisor) vCPU 0: ' && shows '  time  *run' &&
		shows '  exits .* host' && ! shows '^VM 2'
}

record()
{
	sched record -t 1s -o r.dat --perfetto r.json &&
		sched report r.dat && shows '^Pool first, policy rr, CPUs 0' &&
		shows '^1  *labvisor  *512 ' && shows '^1/0 ' && shows '^2/0 ' &&
		awk '/^[12]\/0/ { if ($2 == "0" || !$7) exit 1 }' "$scratch/out" &&
		sched report r.dat --json && shows '"jain": [01]' &&
		grep -q '"name":"VM 1 vCPU 0"' r.json &&
		[ "$(tail -n 1 r.json)" = "]}" ]
}

draw()
{
	sched report r.dat --svg r.svg --html r.html &&
		[ "$(tail -n 1 r.svg)" = "</svg>" ] &&
		[ "$(tail -n 1 r.html)" = "</body></html>" ] &&
		grep -q '>VM 2 vCPU 0' r.svg && grep -q 'CPU 0<' r.svg &&
		! grep -qE '(href|src)=' r.html
}

record_command()
{
	sched record -o c.dat -- sh -c 'exit 7'
	[ $? -eq 7 ] && sched report c.dat
}

record_leaves_nothing()
{
	[ -z "$(ls /sys/kernel/tracing/instances)" ]
}

# as_nobody ARGUMENT...
as_nobody()
{
	su nobody -c "./labvisor sched $* --device /dev/labvisor" \
		>"$scratch/out" 2>"$scratch/err"
}

others()
{
	chmod 666 /dev/labvisor
	chmod 755 .
	for command in "create x --cpus 0" "switch first host" "delete first" \
		"attach 1 default" "set 1 --weight 1"; do
		as_nobody "$command"
		[ $? -eq 1 ] && grep -q "run it as root" "$scratch/err" || return
	done
	as_nobody list && shows ' first ' && chmod 600 /dev/labvisor || return
	as_nobody list
	[ $? -eq 1 ] && grep -q "permission denied" "$scratch/err"
}

delete()
{
	fails 1 "has VMs" delete first && sched attach 1 default &&
		sched attach 2 default && sched delete first &&
		fails 1 "no pool" delete first
}

# Two guests: one never leaves (jmp .), one writes to a port without end.
printf '\xeb\xfe' >"$scratch/spin"
printf '\xe6\x80\xeb\xfc' >"$scratch/ports"
vms=0
for guest in spin ports; do
	./labvisor exec "$scratch/$guest" </dev/null >/dev/null 2>&1 &
	other=$!
	guests="$guests $!"
	vms=$((vms + 1))
	until [ "$(pool_of $vms)" ]; do :; done
done

echo TAP version 13
ok help help
ok usage usage
ok list list
ok create create
ok refused refused
ok attach attach
ok parameters parameters
ok json json
ok switched switched
ok top top
ok top_ends top_ends
ok stat stat
ok record record
ok draw draw
ok record_command record_command
ok record_leaves_nothing record_leaves_nothing
ok others others
ok delete delete
echo "1..$count"
# shellcheck disable=SC2086 # one word each
kill $guests
