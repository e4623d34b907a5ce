#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What Debian's QEMU does with its guests on Labvisor beside running Linux.
# test_vmm.sh [LAB/KERNEL[/CASE]...]...: LAB is svm or vmx, KERNEL the lab host's;
# without a case, all that the lab has. Without arguments, svm/stock and vmx/fast.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=../lab/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lab/lib.sh"
# shellcheck source-path=SCRIPTDIR source=../lab/vmm/lib.sh
source "$LAB_DIR/vmm/lib.sh"
# shellcheck source-path=SCRIPTDIR source=tap.sh
source "$LAB_TOP/selftests/tap.sh"

on_svm=(snapshot migration registers steps nmi hot_add isolinux memtest ipxe ovmf
	overcommit)
on_vmx=(breakpoints migration registers steps nmi isolinux memtest ipxe)
[ $# -gt 0 ] || set -- svm/stock vmx/fast

# The guests: a boot sector and its symbols, an initramfs with its work.
make_guests()
{
	local base

	make -s -C "$LAB_TOP/userspace" OUT="$LAB_BUILD/userspace" &&
	base=$("$LAB_DIR/initramfs" guest) &&
	gcc -m32 -c -o "$scratch/sector.o" "$LAB_TOP/selftests/qemu/sector.S" &&
	ld -m elf_i386 -Ttext 0x7c00 -e 0x7c00 -o "$scratch/sector.elf" \
		"$scratch/sector.o" &&
	nm "$scratch/sector.elf" >"$scratch/symbols" &&
	objcopy -O binary "$scratch/sector.elf" "$scratch/sector" &&
	mkdir -p "$scratch/more/root" &&
	cp "$LAB_TOP/selftests/qemu/guest-work.sh" "$scratch/more/root/work.sh" &&
	{
		cat "$base"
		pack_cpio "$scratch/more"
	} >"$scratch/initrd" &&
	mkdir -p "$scratch/cd" &&
	cp /usr/lib/ISOLINUX/isolinux.bin \
		/usr/lib/syslinux/modules/bios/ldlinux.c32 "$scratch/cd" &&
	printf '%s\n' 'PROMPT 1' 'SAY A line that isolinux.cfg has' \
		>"$scratch/cd/isolinux.cfg" &&
	xorriso -as mkisofs -quiet -o "$scratch/isolinux.iso" -b isolinux.bin \
		-no-emul-boot -boot-load-size 4 -boot-info-table "$scratch/cd"
}

# What screens look like: these pictures were looked at.
make_pictures()
{
	local name

	for name in isolinux memtest ipxe ovmf; do
		pngtopnm "$LAB_TOP/docs/img/qemu-$name.png" \
			>"$scratch/$name.ppm" || return
		files+=(--file "$scratch/$name.ppm")
	done
}

make_files()
{
	make_guests >"$scratch/out" 2>&1 &&
	files=(--file "$scratch/sector" --file "$scratch/symbols"
		--file "$scratch/initrd"
		--file "$("$LAB_DIR/kernel/build" fast)/bzImage:kernel"
		--file "/boot/vmlinuz-$(stock_release):stock"
		--file "$scratch/isolinux.iso"
		--file /boot/memtest86+x64.bin:memtest
		--file /usr/lib/ipxe/qemu/pxe-virtio.rom
		--file /usr/share/OVMF/OVMF_CODE.fd:ovmf-code
		--file /usr/share/OVMF/OVMF_VARS.fd:ovmf-vars
		--file "$LAB_TOP/selftests/qemu/qmp.sh"
		--file "$LAB_TOP/selftests/qemu/cases.sh") &&
	make_pictures 2>>"$scratch/err"
}

# run LAB KERNEL CASE...: in one lab host. QEMU's TCG lets no breakpoint of a
# guest reach its hypervisor: that takes Bochs.
run()
{
	local lab=qemu kernel=$2 options more=(--timeout 900)
	mapfile -t options < <(vmm_options "$kernel" \
		/usr/share/qemu/linuxboot_dma.bin \
		/usr/share/seabios/vgabios-stdvga.bin)

	[ "$1" = svm ] || lab=bochs
	[ "$kernel" != debug ] || more=(--timeout 3600 --kmemleak)
	shift 2
	"$LAB_DIR/host" --lab "$lab" --kernel "$kernel" --smp 1 --mem 2048 \
		--log "$scratch/log" "${more[@]}" "${options[@]}" \
		"${files[@]}" -- sh -c \
		"insmod labvisor.ko node=kvm && ./cases.sh $*" \
		>"$scratch/out" 2>"$scratch/err"
}

passed()
{
	grep -qxF $'RESULT\t'"$1"$'\tok' "$scratch/out"
}

# test_in LAB KERNEL CASE...
test_in()
{
	local prefix='' name

	[ "$2" != debug ] || prefix=debug_
	[ "$1" = svm ] || prefix+=vmx_
	ok "${prefix}lab_host" run "$@"
	for name in "${@:3}"; do
		ok "$prefix$name" passed "$name"
	done
}

echo "TAP version 13"
ok files make_files
for where; do
	IFS=/ read -r lab kernel cases <<<"$where"
	names=("${on_svm[@]}")
	[ "$lab" = svm ] || names=("${on_vmx[@]}")
	[ -z "$cases" ] || IFS=/ read -ra names <<<"$cases"
	test_in "$lab" "$kernel" "${names[@]}"
done
echo "1..$count"
