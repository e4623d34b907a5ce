# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2154
#
# Lab hosts with SVM: QEMU's part of lab/host, which sources this.

qemu_check()
{
	command -v qemu-system-x86_64 >/dev/null ||
		refuse "no QEMU here: run lab/setup"
}

# The emulator's timers are right, though late when the machine is busy: do not
# have them checked. Nor have the TSC measured by them: a lab host whose clock is
# several times too fast sees lockups everywhere. QEMU's TSC is this machine's,
# unless it counts instructions.
qemu_words()
{
	local words='loglevel=7 tsc=reliable no_timer_check'

	if [ -z "$icount" ] && [ "${ACCEL:-tcg}" != kvm ]; then
		words+=" tsc_early_khz=$(awk '/^bogomips/ {
			printf "%d", $3 * 500; exit }' /proc/cpuinfo)"
	fi
	echo "$words"
}

qemu_prepare()
{
	local accel=${ACCEL:-tcg,thread=single} model=${cpu:-EPYC,+svm,+npt}
	local disk

	args=(-nodefaults -no-user-config -display none -monitor none
		-no-reboot -machine q35 -smp "$smp" -m "$mem"
		-kernel "$image" -initrd "$run/initrd"
		-append "$(command_line)" -serial "file:$log"
		-serial chardev:command -serial "file:$run/status")
	if [ -n "$interactive" ]; then
		args+=(-chardev "stdio,id=command,mux=on,signal=off"
			-echr 0x1d)
	else
		args+=(-chardev "stdio,id=command")
	fi
	for disk in "${disks[@]}"; do
		args+=(-drive "file=$disk,format=raw,if=virtio,snapshot=on")
	done
	if [ -n "$numa" ]; then
		args+=(-object "memory-backend-ram,id=m0,size=$((mem / 2))M"
			-object "memory-backend-ram,id=m1,size=$((mem / 2))M"
			-numa "node,memdev=m0" -numa "node,memdev=m1")
	fi
	[ "$accel" != kvm ] || model=${cpu:-host}
	args+=(-accel "$accel" -cpu "$model")
	[ -z "$icount" ] || args+=(-icount "shift=0,sleep=off" -seed 1
		-rtc "base=2024-01-01T00:00:00,clock=vm")
	args+=("${qemu_extra[@]}")
}

# choose_cpu: set $host_cpu to one that no other lab host has, if there is one.
# It is ours for as long as the emulator, which inherits the lock, lives.
choose_cpu()
{
	local range first last lock

	mkdir -p "$LAB_CACHE"
	for range in $(taskset -cp $$ | sed 's/.*: //; s/,/ /g'); do
		first=${range%-*} last=${range#*-}
		for ((host_cpu = first; host_cpu <= last; host_cpu++)); do
			exec {lock}>"$LAB_CACHE/cpu-$host_cpu.lock"
			! flock -n "$lock" || return 0
			exec {lock}>&-
		done
	done
	host_cpu=$((first + RANDOM % (last - first + 1)))
}

# TCG has one CPU, since it may lose an interrupt on two: see docs/emulators.md.
qemu_run()
{
	local host_cpu pinned=()

	if [ "${ACCEL:-tcg}" != kvm ]; then
		choose_cpu
		pinned=(taskset -c "$host_cpu")
	fi
	limited "${pinned[@]}" qemu-system-x86_64 "${args[@]}"
}

qemu_trouble()
{
	:
}

qemu_says()
{
	sed '/warning: TCG doesn.t support/d' "$run/stderr"
}

# The kernel's own, as the command line has it.
qemu_loglevel()
{
	:
}
