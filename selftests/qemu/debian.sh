#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs in a lab host: boots the disk image with debian-work.sh, and is what its
# devices lead to. debian.sh BOOT_ARGUMENT...
# shellcheck source-path=SCRIPTDIR source=qmp.sh
. /lab/qmp.sh
modprobe tun && modprobe vhost_net || exit
tunctl -t tap0 >/dev/null
ifconfig tap0 192.168.99.1 up
httpd -h web
mkfifo control.in control.out

# resident: of QEMU's memory, in kB
resident()
{
	sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' \
		"/proc/$(pidof qemu-system-x86_64)/status"
}

# balloon MIB
balloon()
{
	qmp vm balloon "\"value\": $(($1 << 20))" &&
	qmp_wait vm "*BALLOON_CHANGE*\"actual\": $(($1 << 20))}*"
}

inflate()
{
	before=$(resident)
	balloon 512 || return
	after=$(resident)
	echo "QEMU: $before kB, $after kB"
	[ $((before - after)) -ge $((300 << 10)) ]
}

serve()
{
	qmp vm qmp_capabilities || return
	while read -r word; do
		case $word in
		inflate) inflate ;;
		deflate) balloon 1024 ;;
		vhost) grep '^vhost-[0-9]' /proc/[0-9]*/comm ;;
		*) false ;;
		esac >serve.log 2>&1 && echo ok >control.in && continue
		echo "lab host: $word"
		cat serve.log
		echo "not ok" >control.in
	done <control.out
}

qmp_pipes vm
serve &
with_qmp vm ./boot --command debian-work.sh "$@" \
	-netdev tap,id=tap,ifname=tap0,script=no,downscript=no,vhost=on \
	-device virtio-net-pci,netdev=tap,romfile=,mac=52:54:00:00:00:99 \
	-device virtio-rng-pci -device virtio-balloon-pci,id=balloon \
	-chardev pipe,id=control,path=control -device virtconsole,chardev=control
status=$?
if [ "$status" -ne 0 ]; then
	echo "status $status"
	exit "$status"
fi
grep -q 'labdisk login: ' console && printf 'RESULT\tlogin\tok\n'
grep -q 'reboot: Power down' console && printf 'RESULT\tpower_off\tok\n'
