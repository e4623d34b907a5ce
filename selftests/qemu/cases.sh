#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs in a lab host: what QEMU does with a guest beside running it. cases.sh
# NAME... prints "RESULT <tab> name <tab> ok" for each case, or not ok after what
# was said.
# shellcheck source-path=SCRIPTDIR source=qmp.sh
. /lab/qmp.sh
mkdir -p /var/tmp || exit

# qemu NAME ARGUMENT...: run it, with a monitor and a control pipe (chardev
# "control") of that name.
qemu()
{
	vm=$1
	shift
	with_qmp "$vm" /qemu/bin/qemu-system-x86_64 -accel kvm -cpu host \
		-nodefaults -no-user-config -display none -no-reboot \
		-chardev "pipe,id=control,path=$vm.control" "$@"
	while [ -p "$vm.control.out" ]; do
		echo ended >"$vm.control.out"
	done
}

# start NAME ARGUMENT...: in the background
start()
{
	mkfifo "$1.control.in" "$1.control.out"
	qmp_pipes "$1"
	qemu "$@" &
	qmp "$1" qmp_capabilities
}

# linux NAME WORK ARGUMENT...: a Linux guest that runs part WORK of guest-work.sh
linux()
{
	vm=$1 work=$2
	shift 2
	start "$vm" -kernel /lab/kernel -initrd /lab/initrd -m 128 -append \
		"console=ttyS0 quiet panic=-1 lv.cmd=\"sh work.sh $work\"" \
		-serial "file:$vm.console" -serial chardev:control "$@"
}

# sector NAME ARGUMENT...: one that boots from the boot sector
sector()
{
	vm=$1
	shift
	start "$vm" -machine pc -m 16 "$@" \
		-drive file=/lab/sector,format=raw,if=ide,readonly=off,snapshot=on
}

tell()
{
	echo "$2" >"$1.control.in"
}

# hear NAME WORD: the guest's next word must be this.
hear()
{
	read -r word <"$1.control.out"
	echo "$1 says: $word"
	[ "$word" = "$2" ]
}

# hmp NAME COMMAND: what the human monitor prints
hmp()
{
	qmp "$1" human-monitor-command "\"command-line\": \"$2\"" |
		tr -d '\r' | sed 's/^{"return": "//; s/"}$//; s/\\r\\n/\n/g'
}

# quiet_hmp: it must print nothing
quiet_hmp()
{
	said=$(hmp "$@")
	echo "$said"
	[ -z "$said" ]
}

# word NAME ADDRESS: four bytes of memory, as 0x...
word()
{
	hmp "$1" "xp /1wx $2" | sed -n 's/.*: \(0x[0-9a-f]*\)/\1/p'
}

# has TEXT PATTERN
has()
{
	echo "$1" | grep -q -e "$2" && return
	echo "no '$2' in: $1"
	return 1
}

# symbol NAME: an address of the boot sector's
symbol()
{
	sed -n "s/^0*\([0-9a-f]*\) [A-Za-z] $1\$/\1/p" /lab/symbols
}

# until_turns: the boot sector has come to its loop.
until_turns()
{
	while true; do
		mark=$(word vm 0x608)
		[ -n "$mark" ] || return
		[ "$mark" = 0x5ec70412 ] || continue
		[ "$(word vm 0x600)" = 0x00000000 ] || return 0
	done
}

case_snapshot()
{
	truncate -s 64M state &&
	linux vm saved -smp 2 -drive file=state,format=raw,if=none,snapshot=on &&
	hear vm ready &&
	quiet_hmp vm 'savevm first' &&
	has "$(hmp vm 'info snapshots')" first &&
	tell vm change &&
	hear vm changed &&
	quiet_hmp vm 'loadvm first' &&
	tell vm look &&
	hear vm 'as it was'
}

# turns CONSOLE...: their numbers, each in its line
turns()
{
	cat "$@" | tr -d '\r' | sed -n 's/^turn //p'
}

# last CONSOLE: its last turn
last()
{
	turns "$1" | tail -n 1
}

# The guest works while its memory is on the way, which is slow at first, and goes
# on where it was: no turn is lost, and none is there twice.
# until_migration NAME STATUS
until_migration()
{
	while migration=$(qmp "$1" query-migrate); do
		case $migration in
		*"\"status\": \"$2\""*) return ;;
		*'"status": "failed"'*) break ;;
		esac
	done
	echo "$migration"
	return 1
}

case_migration()
{
	linux to moved -smp 2 -incoming unix:socket &&
	linux vm moved -smp 2 &&
	hear vm ready &&
	qmp vm migrate-set-parameters '"max-bandwidth": 1000000' &&
	until [ "$(last vm.console)" -gt 2 ]; do :; done &&
	qmp vm migrate '"uri": "unix:socket"' &&
	until_migration vm active &&
	before=$(last vm.console) &&
	until [ "$(last vm.console)" -gt $((before + 4)) ]; do :; done &&
	qmp vm query-migrate &&
	qmp vm migrate-set-parameters '"max-bandwidth": 10000000000,
		"downtime-limit": 2000' &&
	until_migration vm completed &&
	qmp vm query-migrate &&
	after=$(last vm.console) &&
	until [ "$(turns to.console | wc -l)" -gt 2 ]; do :; done &&
	tell to stop &&
	read -r word <to.control.out &&
	echo "turns: $before, $after, $word" &&
	seq "${word#turns }" >all &&
	turns vm.console to.console | cmp - all &&
	qmp vm quit
	status=$?
	qmp to quit
	return $status
}

case_registers()
{
	sector vm &&
	until_turns &&
	qmp vm stop &&
	registers=$(hmp vm 'info registers') &&
	has "$registers" 'EAX=11223344 EBX=55667788 ECX=[0-9a-f]* EDX=99aabbcc' &&
	has "$registers" 'ESP=00007c00' &&
	has "$registers" 'EIP=00007c\(4e\|5[34]\)' &&
	has "$registers" 'CS =0000 00000000 0000ffff' &&
	turns=$(word vm 0x600) &&
	hmp vm 'info lapic' &&
	[ "$(word vm 0x600)" = "$turns" ] &&
	qmp vm cont &&
	while [ "$(word vm 0x600)" = "$turns" ]; do :; done
}

case_nmi()
{
	sector vm &&
	until_turns &&
	qmp vm inject-nmi &&
	until [ "$(word vm 0x604)" = 0x00000001 ]; do :; done
	qmp vm quit
	linux to nmi -smp 2 &&
	hear to ready &&
	qmp to inject-nmi &&
	tell to count &&
	hear to '1 NMIs'
	status=$?
	qmp to quit
	return $status
}

case_hot_add()
{
	linux vm added -kernel /lab/stock -m 256 -smp 1,maxcpus=2 &&
	hear vm 1 &&
	qmp vm device_add '"driver": "host-x86_64-cpu", "id": "second",
		"socket-id": 0, "core-id": 1, "thread-id": 0' &&
	hear vm '2 1'
}

# heard: what the debug stub of QEMU says, on the pipe "gdb", goes to $reply.
heard()
{
	# shellcheck disable=SC3045 # busybox has that
	read -r -d '#' reply <gdb.out && read -r -n 2 sum <gdb.out
	printf + 1<>gdb.in
	reply=${reply#*$}
	echo "gdb: $reply"
}

# send PACKET
send()
{
	sum=0 rest=$1
	while [ -n "$rest" ]; do
		sum=$((sum + $(printf %d "'$rest")))
		rest=${rest#?}
	done
	echo "gdb does $1"
	printf '$%s#%02x' "$1" $((sum & 255)) 1<>gdb.in
}

# gives PACKET PATTERN: that must be its reply.
gives()
{
	send "$1"
	heard
	# shellcheck disable=SC2254 # it is a pattern
	case $reply in
	$2) ;;
	*) return 1 ;;
	esac
}

# at SYMBOL: that is where the guest is (the lower 16 bits of RIP, the 17th
# register of those that "g" reads; "p" does not read them anew in QEMU 7.2).
at()
{
	gives g '????????*' || return
	rip=$(echo "$reply" | cut -c 257-260)
	[ "${rip#??}${rip%??}" = "$(symbol "$1")" ]
}

# attach: the stub tells single registers once it was asked which there are.
attach()
{
	gives '?' 'T05*' && gives qXfer:features:read:target.xml:0,10 'm*'
}

# A running guest is stopped, goes by single steps, is looked at, and let go.
case_steps()
{
	mkfifo gdb.in gdb.out &&
	sector vm -S -gdb pipe:gdb &&
	attach && send c && until_turns &&
	printf '\003' 1<>gdb.in && heard && [ "${reply#T02}" != "$reply" ] &&
	until at again; do gives s 'T05*' || return; done &&
	turns=$(word vm 0x600) &&
	gives s 'T05*' && at stepped &&
	[ $(($(word vm 0x600))) -eq $((turns + 1)) ] &&
	gives s 'T05*' && at jumping &&
	gives s 'T05*' && at again &&
	gives p0 4433221100000000 &&
	gives P0=7856341200000000 OK &&
	has "$(hmp vm 'info registers')" EAX=12345678 &&
	turns=$(word vm 0x600) &&
	gives D OK &&
	while [ "$(word vm 0x600)" = "$turns" ]; do :; done
}

# Breakpoints of both kinds, and a watchpoint.
case_breakpoints()
{
	again=$(symbol again)
	mkfifo gdb.in gdb.out &&
	sector vm -S -gdb pipe:gdb &&
	attach &&
	gives Z1,7c00,1 OK && gives c 'T05*' && at _start &&
	gives z1,7c00,1 OK &&
	gives "Z0,$again,1" OK && gives c 'T05*' && at again &&
	gives m600,4 00000000 &&
	gives "z0,$again,1" OK && gives s 'T05*' && at stepped &&
	gives "Z0,$again,1" OK && gives c 'T05*' && at again &&
	gives m600,4 01000000 &&
	gives "z0,$again,1" OK &&
	gives Z2,600,4 OK && gives c 'T05*watch:*600;*' && at stepped &&
	gives m600,4 02000000 &&
	gives z2,600,4 OK && gives D OK &&
	while [ "$(word vm 0x600)" = 0x00000002 ]; do :; done
}

# screen NAME: the 25 lines of its VGA text
screen()
{
	qmp "$1" pmemsave '"val": 753664, "size": 4000, "filename": "screen"' \
		>/dev/null &&
		tr -c '\040-\176' ' ' <screen | sed 's/\(.\)./\1/g' | fold -w 80
}

# until_screen NAME PATTERN
until_screen()
{
	while text=$(screen "$1"); do
		! echo "$text" | grep -q -e "$2" || return 0
		sleep 1 # the guest needs the CPU, too
	done
	echo "$text"
	return 1
}

# band PICTURE FIRST COUNT: its size, and so many of its lines of pixels
band()
{
	{
		read -r _ && read -r width height && read -r _ &&
		echo "$width $height" &&
		dd bs=$((3 * width)) skip="$2" count="$3" 2>/dev/null
	} <"$1"
}

# pictured NAME PICTURE FIRST COUNT: its screen is as large as that, and these
# lines look the same. (The cursor blinks, and what took time says how much.)
pictured()
{
	qmp "$1" screendump '"filename": "screen.ppm"' >/dev/null &&
	band screen.ppm "$3" "$4" >screen.band &&
	band "/lab/$2.ppm" "$3" "$4" | cmp - screen.band
}

# press NAME KEY...
press()
{
	vm=$1
	shift
	for key; do
		qmp "$vm" send-key "\"keys\": [
			{\"type\": \"qcode\", \"data\": \"$key\"}]" || return
	done
}

# Code that is none of Linux's: what it shows on its screen is right.
case_memtest()
{
	start vm -machine pc -m 32 -vga std -kernel /lab/memtest &&
	until_screen vm '^ *Memtest86+ v6\.' &&
	until_screen vm '^Memory  : *31MB' &&
	until_screen vm 'Errors: 0' &&
	press vm f1 &&
	until_screen vm 'Exit menu' &&
	pictured vm memtest 144 256
}

# 16-bit code, which lives on the BIOS, keyboard and all.
case_isolinux()
{
	start vm -machine pc -m 16 -vga std -cdrom /lab/isolinux.iso &&
	until_screen vm '^ISOLINUX 6' &&
	until_screen vm '^boot:' &&
	press vm l a b ret &&
	until_screen vm '^boot: lab' &&
	until_screen vm '^Loading lab... failed: No such file' &&
	until_screen vm '^A line that isolinux.cfg has' &&
	until_screen vm '^boot: *$' &&
	pictured vm isolinux 16 144
}

# A network card's ROM has what to boot sent to it: there is nothing else.
case_ipxe()
{
	mkdir tftp && cp /lab/kernel /lab/initrd tftp &&
	cat >tftp/boot.ipxe <<-END
	#!ipxe
	kernel kernel console=ttyS0 quiet panic=-1 lv.cmd="sh work.sh nmi" initrd=initrd
	initrd initrd
	boot
	END
	start vm -machine pc -m 128 -vga std -serial file:vm.console \
		-serial chardev:control \
		-netdev user,id=net,tftp=tftp,bootfile=boot.ipxe -device \
		virtio-net-pci,netdev=net,disable-legacy=on,romfile=/lab/pxe-virtio.rom &&
	hear vm ready &&
	pictured vm ipxe 0 208
}

# UEFI firmware from power-on, without system management mode, to its shell, which
# starts Linux from a disk. Both are on the serial ports as well.
case_ovmf()
{
	cp /lab/ovmf-vars vars && mkdir disk && cp /lab/initrd disk &&
	cp /lab/stock disk/linux.efi &&
	cat >disk/startup.nsh <<-'END' &&
	pause
	fs0:
	linux.efi initrd=\initrd console=ttyS0 quiet panic=-1 lv.cmd="sh work.sh nmi"
	END
	start vm -machine q35,smm=off -m 256 -vga std \
		-serial file:vm.console -serial chardev:control \
		-drive if=pflash,format=raw,readonly=on,file=/lab/ovmf-code \
		-drive if=pflash,format=raw,file=vars \
		-drive if=virtio,format=raw,readonly=on,file=fat:disk &&
	until grep -q "'q' to quit" vm.console; do
		qmp vm query-status >/dev/null || return
		sleep 1 # the guest needs the CPU, too
	done &&
	pictured vm ovmf 104 208 &&
	press vm ret || return
	while read -r word <vm.control.out; do
		case $word in
		*ready) return ;;
		*ended) return 1 ;;
		esac
	done
}

# Guests larger in sum than what they may have: pages are swapped out and shared,
# and have what was written to them.
case_overcommit()
{
	modprobe brd rd_nr=1 rd_size=524288 && mkswap /dev/ram0 &&
	swapon /dev/ram0 && mount -t cgroup2 none /sys/fs/cgroup &&
	echo +memory >/sys/fs/cgroup/cgroup.subtree_control &&
	mkdir /sys/fs/cgroup/guests && cd /sys/fs/cgroup/guests &&
	echo 112M >memory.max && echo 0 >cgroup.procs && cd - &&
	echo 10000 >/sys/kernel/mm/ksm/pages_to_scan &&
	echo 1 >/sys/kernel/mm/ksm/run || return
	for vm in a b c; do
		linux "$vm" saved && hear "$vm" ready || return
	done
	until [ "$(cat /sys/fs/cgroup/guests/memory.swap.current)" -gt 20000000 ] &&
	      [ "$(cat /sys/kernel/mm/ksm/pages_sharing)" -gt 1000 ]; do
		:
	done
	for vm in a b c; do
		tell "$vm" look && hear "$vm" 'as it was' || return
	done
}

for name; do
	mkdir "/tmp/$name" && cd "/tmp/$name" || exit
	# A shell of its own: children of the case before would interrupt this.
	if ("case_$name") >log 2>&1; then
		printf 'RESULT\t%s\tok\n' "$name"
	else
		tail -n 20 -- *.console log
		printf 'RESULT\t%s\tnot ok\n' "$name"
	fi
	[ "$name" = migration ] || qmp vm quit >/dev/null 2>&1
	rm -rf "/tmp/$name"
done
