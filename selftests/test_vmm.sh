#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What Debian's QEMU does with its guests on Labvisor beside running them.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=../lab/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lab/lib.sh"
# shellcheck source-path=SCRIPTDIR source=../lab/vmm/lib.sh
source "$LAB_DIR/vmm/lib.sh"
# shellcheck source-path=SCRIPTDIR source=tap.sh
source "$LAB_TOP/selftests/tap.sh"

cases=(snapshot migration registers nmi hot_add)
[ $# -eq 0 ] || cases=("$@")

# The guests: a boot sector and its symbols, an initramfs with its work.
make_guests()
{
	gcc -m32 -c -o "$scratch/sector.o" "$LAB_TOP/selftests/qemu/sector.S" &&
	ld -m elf_i386 -Ttext 0x7c00 -e 0x7c00 -o "$scratch/sector.elf" \
		"$scratch/sector.o" &&
	nm "$scratch/sector.elf" >"$scratch/symbols" &&
	objcopy -O binary "$scratch/sector.elf" "$scratch/sector" &&
	mkdir -p "$scratch/more/root" &&
	cp "$LAB_TOP/selftests/qemu/guest-work.sh" "$scratch/more/root/work.sh" &&
	{
		cat "$("$LAB_DIR/initramfs" guest)"
		pack_cpio "$scratch/more"
	} >"$scratch/initrd"
}

run()
{
	local options

	make_guests >"$scratch/out" 2>&1 &&
	mapfile -t options < <(vmm_options stock \
		/usr/share/qemu/linuxboot_dma.bin) &&
	"$LAB_DIR/host" --smp 1 --mem 2048 --timeout 400 --log "$scratch/log" \
		"${options[@]}" --file "$scratch/sector" \
		--file "$scratch/symbols" --file "$scratch/initrd" \
		--file "$("$LAB_DIR/kernel/build" fast)/bzImage:kernel" \
		--file "/boot/vmlinuz-$(stock_release):stock" \
		--file "$LAB_TOP/selftests/qemu/qmp.sh" \
		--file "$LAB_TOP/selftests/qemu/cases.sh" \
		-- sh -c 'insmod labvisor.ko node=kvm && ./cases.sh "$@"' - "${cases[@]}" \
		>"$scratch/out" 2>"$scratch/err"
}

passed()
{
	grep -qxF $'RESULT\t'"$1"$'\tok' "$scratch/out"
}

echo "TAP version 13"
ok lab_host run
for name in "${cases[@]}"; do
	ok "$name" passed "$name"
done
echo "1..$count"
