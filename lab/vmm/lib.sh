# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What a lab host needs to run Debian's QEMU. Source it.

# vmm_options KERNEL [FIRMWARE...]: options for lab/host, one per line: QEMU,
# which has its folder in /qemu, with its BIOS and further firmware files of
# Debian's packages, and Labvisor's module.
vmm_options()
{
	local module file
	module=$("$LAB_DIR/module" "$1") || return
	shift

	printf '%s\n' --file "$module:labvisor.ko" --file \
		"$(command -v qemu-system-x86_64):/qemu/bin/qemu-system-x86_64"
	for file in /usr/share/{seabios/bios-256k.bin,qemu/kvmvapic.bin} "$@"; do
		printf '%s\n' --file "$file:/qemu/share/qemu/${file##*/}"
	done
}

# vmm_newer_options: further options: the newer QEMU, in /newer
vmm_newer_options()
{
	local folder
	folder=$("$LAB_DIR/vmm/newer") || return

	printf '%s\n' --file "$folder/bin/qemu-system-x86_64:/newer/bin/qemu-system-x86_64" \
		--file "$folder/share:/newer/share/qemu" --file \
		/usr/share/seabios/bios-256k.bin:/newer/share/qemu/bios-256k.bin \
		--file /usr/share/qemu/qboot.rom:/newer/share/qemu/bios-microvm.bin
}
