#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Debian's QEMU boots a Debian from its disk on Labvisor, to a login and to work:
# dpkg, apt, gcc, network, and what virtio devices are for.
# test_debian.sh [KERNEL]...: the lab host's, default stock
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=../lab/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lab/lib.sh"
# shellcheck source-path=SCRIPTDIR source=../lab/vmm/lib.sh
source "$LAB_DIR/vmm/lib.sh"
# shellcheck source-path=SCRIPTDIR source=tap.sh
source "$LAB_TOP/selftests/tap.sh"

[ $# -gt 0 ] || set -- stock
results=(login units dpkg apt compile vhost_net rng balloon no_trouble power_off)

# A package, in a repository, and a file with its checksum: what the lab host's
# web server has.
make_web()
{
	local web=$scratch/web deb=$scratch/deb

	mkdir -p "$web/repository" "$deb"/{DEBIAN,usr/share/lab-sent} &&
	cp "/boot/vmlinuz-$(stock_release)" "$web/blob" &&
	(cd "$web" && sha256sum blob >sums) &&
	cp "$web"/* "$deb/usr/share/lab-sent" 2>/dev/null
	printf '%s\n' 'Package: lab-sent' 'Version: 1' 'Architecture: all' \
		'Maintainer: lab' 'Description: sent' >"$deb/DEBIAN/control" &&
	dpkg-deb -Znone -b "$deb" "$web/repository/lab-sent.deb" &&
	{
		cat "$deb/DEBIAN/control"
		echo 'Filename: lab-sent.deb'
		echo "Size: $(stat -c %s "$web/repository/lab-sent.deb")"
		echo "SHA256: $(sha256sum <"$web/repository/lab-sent.deb" |
			cut -c1-64)"
	} >"$web/repository/Packages"
}

# run KERNEL
run()
{
	local image options more=(--timeout 600)

	[ "$1" != debug ] || more=(--timeout 3600 --kmemleak)
	make_web >"$scratch/out" 2>&1 &&
	image=$("$LAB_DIR/disk/build" 2>"$scratch/err") &&
	mapfile -t options < <(vmm_options "$1") &&
	"$LAB_DIR/host" --kernel "$1" --smp 1 --mem 2048 --disk "$image" \
		"${more[@]}" --log "$scratch/log" "${options[@]}" --file "$scratch/web" \
		--file "$LAB_DIR/vmm/boot" \
		--file "$LAB_TOP/selftests/qemu/qmp.sh" \
		--file "$LAB_TOP/selftests/qemu/debian.sh" \
		--file "$LAB_TOP/selftests/qemu/debian-work.sh" \
		-- ./debian.sh -m 1024 >"$scratch/out" 2>"$scratch/err"
}

passed()
{
	grep -qxF $'RESULT\t'"$1"$'\tok' "$scratch/out"
}

echo "TAP version 13"
for kernel; do
	prefix=''
	[ "$kernel" != debug ] || prefix=debug_
	ok "${prefix}lab_host" run "$kernel"
	for name in "${results[@]}"; do
		ok "$prefix$name" passed "$name"
	done
done
echo "1..$count"
