#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Debian's QEMU, unmodified, with -accel kvm on Labvisor: Linux boots to user
# space on the machine types and with the interrupt controllers that it offers,
# through SeaBIOS from power-on. The newer QEMU is that of backports.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=../lab/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lab/lib.sh"
# shellcheck source-path=SCRIPTDIR source=../lab/vmm/lib.sh
source "$LAB_DIR/vmm/lib.sh"
# shellcheck source-path=SCRIPTDIR source=tap.sh
source "$LAB_TOP/selftests/tap.sh"

# name, machine, CPUs
on_stock='pc pc 1
pc_smp pc 2
pc_split pc,kernel-irqchip=split 2
pc_irqchip_off pc,kernel-irqchip=off 1
q35 q35 2
q35_split q35,kernel-irqchip=split 8
q35_no_smm q35,smm=off 1
microvm microvm,rtc=on 2
newer_pc pc 1
newer_q35 q35 2
newer_q35_split q35,kernel-irqchip=split 2
newer_microvm microvm,rtc=on 1'
on_debug='debug_q35 q35 2
debug_q35_split q35,kernel-irqchip=split 2
debug_pc_irqchip_off pc,kernel-irqchip=off 1'
on_vmx='vmx_pc pc 1
vmx_pc_irqchip_off pc,kernel-irqchip=off 1
vmx_q35 q35 2
vmx_q35_split q35,kernel-irqchip=split 8
vmx_microvm microvm,rtc=on 2
newer_vmx_q35 q35 2'

# run_all MACHINES KERNEL OPTION...: in one lab host
run_all()
{
	local machines=$1 kernel=$2 options
	shift 2

	mapfile -t options < <(vmm_options "$kernel" \
		/usr/share/qemu/{linuxboot_dma,bios-microvm}.bin &&
		vmm_newer_options)
	echo "$machines" >"$scratch/machines"
	"$LAB_DIR/host" --kernel "$kernel" --mem 2048 --timeout 600 "$@" \
		--log "$scratch/log" "${options[@]}" \
		--file "$("$LAB_DIR/kernel/build" fast)/bzImage:kernel" \
		--file "$("$LAB_DIR/initramfs" guest):initrd" \
		--file "$scratch/machines:machines" \
		--file "$LAB_TOP/selftests/qemu/in-host.sh" \
		-- sh -c './in-host.sh <machines' \
		>"$scratch/out" 2>"$scratch/err"
}

booted()
{
	grep -qxF $'RESULT\t'"$1"$'\tok' "$scratch/out"
}

# boot LAB_HOST MACHINES KERNEL OPTION...
boot()
{
	local name
	ok "$1" run_all "${@:2}"
	while read -r name _; do
		ok "$name" booted "$name"
	done <<<"$2"
}

echo "TAP version 13"
boot lab_host "$on_stock" stock --smp 2
boot lab_host_debug "$on_debug" debug
boot lab_host_vmx "$on_vmx" fast --lab bochs
echo "1..$count"
