# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2034,SC2154
#
# Lab hosts with VMX: Bochs' part of lab/host, which sources this.
#
# Bochs boots a CD by its own BIOS. The kernel comes from the CD; the initramfs
# is put into memory by Bochs itself, which is free whatever its size, and the
# kernel's setup header says where it is, as the boot protocol has it.

bochs_share=/usr/share/bochs
syslinux=/usr/lib/syslinux/modules/bios
isolinux=/usr/lib/ISOLINUX
vga_bios=/usr/share/seabios/vgabios-isavga.bin
# How many instructions are a second of the lab host's time: about as many as
# Bochs gets done.
instructions_per_second=100000000

bochs_check()
{
	local file

	for file in "$bochs_share/BIOS-bochs-latest" \
		"$vga_bios" "$isolinux/isolinux.bin" "$syslinux/ldlinux.c32" \
		/usr/bin/xorriso /usr/bin/socat; do
		[ -e "$file" ] || refuse "no $file here: run lab/setup bochs"
	done
	[ -z "$numa" ] || refuse "Bochs has no NUMA nodes"
	[ ${#disks[@]} -eq 0 ] || refuse "no disks in Bochs"
	[ ${#qemu_extra[@]} -eq 0 ] || refuse "--qemu is for --lab qemu"
}

# A line of the kernel log costs as much as 400,000 other instructions: hear
# only warnings until the init. A reset is a triple fault, which ends Bochs. Of
# several CPUs none may sleep, and what newer models say of their clock is wrong:
# see docs/emulators.md.
bochs_words()
{
	local words='loglevel=5 reboot=t tsc=reliable no_timer_check'

	[ -z "$cpu" ] ||
		words+=" tsc_early_khz=$((instructions_per_second / 1000))"
	[ "$smp" -eq 1 ] || words+=' idle=poll'
	echo "$words"
}

# From the init on, everything is heard, as on QEMU.
bochs_loglevel()
{
	echo 7
}

# little_endian NUMBER: its four bytes.
little_endian()
{
	local shift

	for shift in 0 8 16 24; do
		printf '%b' "$(printf '\\x%02x' $(($1 >> shift & 255)))"
	done
}

# patch FILE OFFSET NUMBER
patch()
{
	little_endian "$3" |
		dd of="$1" bs=1 seek=$(($2)) conv=notrunc status=none
}

# The boot CD: isolinux, and the kernel with the initramfs' place and size in
# its header (ramdisk_image, ramdisk_size).
make_cd()
{
	local cd=$run/cd

	mkdir "$cd"
	cp "$isolinux/isolinux.bin" "$syslinux/ldlinux.c32" "$cd/"
	cp "$image" "$cd/kernel"
	chmod u+w "$cd"/*
	patch "$cd/kernel" 0x218 "$initrd_at"
	patch "$cd/kernel" 0x21c "$(stat -c %s "$run/initrd")"
	printf 'DEFAULT lab\nLABEL lab\nLINUX /kernel\nAPPEND %s\n' \
		"$(command_line)" >"$cd/isolinux.cfg"
	xorriso -as mkisofs -quiet -o "$run/cd.iso" -b isolinux.bin \
		-c boot.cat -no-emul-boot -boot-load-size 4 \
		-boot-info-table "$cd" 2>"$run/stderr" || refuse "xorriso failed"
	rm -r "$cd"
}

# Paths in it are relative to $run, so that none needs quoting. A person wants
# the lab host's clock to go no faster than the wall's.
configuration()
{
	local sync=none speed=$instructions_per_second
	local command_port="mode=file, dev=/dev/fd/3"

	[ -z "$interactive" ] ||
		sync=slowdown command_port="mode=term, dev=/dev/fd/3"
	cat <<-END
	display_library: nogui
	cpu: model=${cpu:-corei7_haswell_4770}, count=$smp
	cpu: ips=$speed, reset_on_triple_fault=0
	memory: guest=$mem, host=$mem
	romimage: file=$bochs_share/BIOS-bochs-latest, options=fastboot
	vgaromimage: file=$vga_bios
	optramimage1: file=initrd, address=$(printf '0x%x' "$initrd_at")
	ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
	ata0-master: type=cdrom, path=cd.iso, status=inserted
	boot: cdrom
	clock: sync=$sync, time0=1704067200
	com1: enabled=1, mode=file, dev=log
	com2: enabled=1, $command_port
	com3: enabled=1, mode=file, dev=status
	log: bochs.log
	panic: action=fatal
	error: action=report
	info: action=ignore
	debug: action=ignore
	END
	[ ${#bochs_extra[@]} -eq 0 ] || printf '%s\n' "${bochs_extra[@]}"
}

# An ELF kernel is started by a small bzImage, whose lab host's command is to
# load it: unpacking a kernel as big as Debian's would take a minute.
start_by_kexec()
{
	local payload=$run/stage line

	[ -x /usr/sbin/kexec ] || refuse "no kexec here: run lab/setup bochs"
	mkdir -p "$payload/lab"
	mv "$run/initrd" "$payload/lab/initrd"
	cp "$image" "$payload/lab/kernel"
	add_file /usr/sbin/kexec /lab/kexec
	line=$(quote "--command-line=$(command_line)")
	cat >"$payload/lab/command" <<-END
		kexec --no-checks -c -l kernel --type=elf-x86_64 \
			--args-linux $line --initrd=initrd && kexec -e
		echo "kexec failed" >/dev/ttyS2
		poweroff -f
	END
	: >"$payload/lab/settings"
	kernel=fast # for find_kernel
	find_kernel
	make_initrd
	rm -r "$payload"
}

bochs_prepare()
{
	if [ "$(head -c 4 "$image")" = $'\x7fELF' ]; then
		start_by_kexec
	fi
	program=$("$LAB_DIR/bochs/build" ${LAB_PROFILE:+profile})
	initrd_at=$((mem * 512 * 1024))
	make_cd
	configuration >"$run/bochsrc"
	ln -s "$log" "$run/log"
	: >"$log.bochs"
	ln -s "$log.bochs" "$run/bochs.log"
}

# COM2 is a pipe, wherever our own output goes: Bochs would truncate a file.
# Or else it is a terminal, which socat connects with a person's.
bochs_run()
{
	local bochs=("$program" -q -f bochsrc) ours=STDIO

	cd "$run" || exit
	if [ -z "$interactive" ]; then
		limited "${bochs[@]}" 3>&"$command_output" >stdout
	fi
	if [ -t 0 ]; then
		ours+=,raw,echo=0,escape=0x1d
	else
		ours+=,ignoreeof
	fi
	echo "exec setpriv --pdeathsig TERM $(quote "${bochs[@]}")" \
		"3<&0 </dev/null >stdout 2>>stderr" >start
	limited socat "$ours" "EXEC:sh start,pty,raw,echo=0,setsid"
}

# Bochs panics at power-off, too.
bochs_trouble()
{
	grep -ah '>>PANIC<<' "$log.bochs" "$run/stderr" |
		grep -v 'soft power off' || true
}

bochs_says()
{
	tail -n 10 "$log.bochs"
	sed '/^=*$/d' "$run/stderr"
}
