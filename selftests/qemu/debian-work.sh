#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs in the Debian guest: work as one does in a Debian, with each device that
# it has. Prints "RESULT <tab> name <tab> ok" or "not ok".
# The lab host does what one asks of it by a line on the virtio console.
set -u
exec 3<>/dev/hvc0
stty raw -echo <&3

# ask WORD: have the lab host do something, and wait until it is done.
ask()
{
	echo "$1" >&3
	read -r answer <&3
	[ "$answer" = ok ]
}

result()
{
	name=$1
	shift
	if "$@" >log 2>&1; then
		printf 'RESULT\t%s\tok\n' "$name"
	else
		sed "s/^/$name: /" log
		printf 'RESULT\t%s\tnot ok\n' "$name"
	fi
}

units()
{
	systemctl --failed --no-legend
	[ -z "$(systemctl --failed --no-legend)" ]
}

# A package is made, installed, checked and removed.
dpkg_works()
{
	mkdir -p made/DEBIAN made/usr/share/lab-made &&
	printf '%s\n' 'Package: lab-made' 'Version: 1' 'Architecture: all' \
		'Maintainer: lab' 'Description: made here' >made/DEBIAN/control &&
	cp /bin/bash made/usr/share/lab-made/data &&
	dpkg-deb -b made lab-made.deb &&
	dpkg -i lab-made.deb &&
	cmp /bin/bash /usr/share/lab-made/data &&
	dpkg -s lab-made &&
	dpkg --verify lab-made &&
	dpkg -r lab-made &&
	! [ -e /usr/share/lab-made ] &&
	[ -z "$(dpkg --audit)" ]
}

# From the lab host, by virtio-net and QEMU's user networking.
apt_works()
{
	echo 'deb [trusted=yes] http://10.0.2.2/repository ./' \
		>/etc/apt/sources.list &&
	rm -f /etc/apt/sources.list.d/* &&
	apt-get check &&
	apt-get update &&
	apt-get install -y lab-sent &&
	(cd /usr/share/lab-sent && sha256sum -c sums) &&
	apt-get remove -y lab-sent
}

compile_works()
{
	cat >squares.c <<-'END'
	#include <pthread.h>
	#include <stdio.h>

	static void *sum(void *result)
	{
		unsigned long *n = result;

		for (unsigned long i = 1; i <= 100000; i++)
			*n += i * i;
		return NULL;
	}

	int main(void)
	{
		unsigned long n[2] = {};
		pthread_t threads[2];

		for (int i = 0; i < 2; i++)
			pthread_create(&threads[i], NULL, sum, &n[i]);
		for (int i = 0; i < 2; i++)
			pthread_join(threads[i], NULL);
		printf("%lu %.3f\n", n[0] + n[1], n[0] / 3.0);
		return 0;
	}
	END
	gcc -O2 -Wall -Werror -pthread squares.c -o squares &&
	./squares && [ "$(./squares)" = "666676666700000 111112777783333.328" ]
}

# By a tap device, the frames of which vhost carries.
vhost_works()
{
	nic=$(grep -l 52:54:00:00:00:99 /sys/class/net/*/address) || return
	nic=${nic%/address}
	nic=${nic##*/}
	ip link set "$nic" up &&
	ip address add 192.168.99.2/24 dev "$nic" &&
	for file in blob sums; do
		/usr/lib/apt/apt-helper download-file \
			"http://192.168.99.1/$file" "$file" || return
	done
	sha256sum -c sums && ask vhost
}

rng_works()
{
	modprobe virtio_rng
	grep -x virtio_rng.0 /sys/class/misc/hw_random/rng_current &&
	head -c 64 /dev/hwrng >random1 &&
	head -c 64 /dev/hwrng >random2 &&
	[ "$(stat -c %s random1)" -eq 64 ] && ! cmp random1 random2
}

memory()
{
	sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo
}

# fill: memory is used, and given back
fill()
{
	head -c 400M /dev/zero >/dev/shm/fill &&
	sha256sum /dev/shm/fill &&
	rm /dev/shm/fill
}

# The lab host takes half of the memory away and looks whether it gets it.
balloon_works()
{
	modprobe virtio_balloon
	before=$(memory)
	fill && ask inflate || return
	small=$(memory)
	ask deflate || return
	echo "$before kB, $small kB, $(memory) kB"
	[ $((before - small)) -ge $((500 << 10)) ] &&
	[ "$(memory)" -eq "$before" ] && fill
}

# What the kernel says at an oops, a warning, a stall; the other warning is of an
# emulated Zen 1.
no_trouble()
{
	dmesg | grep -v 'Speculative Return Stack Overflow' |
		grep -E 'BUG:|WARNING:|Oops|stall|lockup|blocked for' && return 1
	dmesg | grep -q 'Hypervisor detected: KVM'
}

result units units
result dpkg dpkg_works
result apt apt_works
result compile compile_works
result vhost_net vhost_works
result rng rng_works
result balloon balloon_works
result no_trouble no_trouble
