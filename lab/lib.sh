# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2034
#
# What the lab's scripts share: where things live, progress, logs, locks.
# Source it; it sets no options.

LAB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LAB_TOP=$(dirname "$LAB_DIR")
LAB_BUILD=$(realpath -m "${LABVISOR_BUILD:-$LAB_TOP/build}")
# Lab kernels take 15 minutes to build and depend on nothing in this tree but
# their config fragments: keep them where every clone finds them.
LAB_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/labvisor

say()
{
	printf '%s\n' "$*" >&2
}

die()
{
	say "${0##*/}: $*"
	exit 1
}

# as_root COMMAND...: run it as root, by sudo where we are not.
as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# elapsed START: the time since START seconds (see $SECONDS), as 1m05s.
elapsed()
{
	local s=$((SECONDS - $1))

	if [ "$s" -lt 60 ]; then
		printf '%ds' "$s"
	else
		printf '%dm%02ds' $((s / 60)) $((s % 60))
	fi
}

# hash_of: a short key of standard input.
hash_of()
{
	sha256sum | cut -c1-16
}

# The pulse of a long step: its elapsed time and log lines, twice a minute, for
# as long as the script lives.
pulse()
{
	local start=$SECONDS s=0

	while sleep 1 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
		s=$((s + 1))
		[ $((s % 30)) -ne 0 ] ||
			say "      ... $(elapsed "$start"), $(wc -l <"$2") lines: $1"
	done
}

# step LOG TITLE COMMAND...: run a command with its output in LOG, show that it
# lives, and on failure say where the log is and how it ends. A shell function
# run this way must chain with &&: `set -e` does not reach into it.
step()
{
	local log=$1 title=$2 start=$SECONDS status=0 ticker
	shift 2

	mkdir -p "$(dirname "$log")"
	: >"$log"
	say "  ==> $title"
	pulse "$title" "$log" &
	ticker=$!
	"$@" >"$log" 2>&1 </dev/null || status=$?
	kill "$ticker" 2>/dev/null || true
	wait "$ticker" 2>/dev/null || true
	if [ "$status" -ne 0 ]; then
		say "  FAILED ($status) after $(elapsed "$start"): $title"
		say "  log: $log; its last lines:"
		tail -n 20 "$log" | sed 's/^/    /' >&2
		return "$status"
	fi
	say "      done in $(elapsed "$start")"
}

# work_folder FOLDER KDIR: a folder for modules that are built against a kernel.
# Times of files do not tell make that it is another one than before.
work_folder()
{
	[ "$(cat "$1/.kdir" 2>/dev/null)" = "$2" ] || rm -rf "$1"
	mkdir -p "$1" && echo "$2" >"$1/.kdir"
}

# with_lock FILE COMMAND...: run the command, one at a time.
with_lock()
{
	local lock=$1
	shift

	mkdir -p "${lock%/*}"
	(
		flock 9
		"$@" 9>&-
	) 9>"$lock"
}

# pack_cpio DIR: the folder as an initramfs archive, always the same bytes for
# the same content.
pack_cpio()
{
	(
		cd "$1" || exit
		find . -mindepth 1 -exec touch -h -d @0 {} +
		find . -mindepth 1 | LC_ALL=C sort |
			cpio -o -H newc --reproducible -R 0:0 --quiet
	)
}

# stock_release: the newest Debian 6.1 kernel that is here with its headers.
stock_release()
{
	local image release newest=''

	while read -r image; do
		release=${image#/boot/vmlinuz-}
		[ ! -d "/usr/src/linux-headers-$release" ] || newest=$release
	done < <(find /boot -regex '.*/vmlinuz-6\.1\.0-[0-9]+-amd64' | sort -V)
	[ -n "$newest" ] ||
		die "no Debian 6.1 kernel with its headers: run lab/setup"
	echo "$newest"
}

# le FILE OFFSET SIZE: a little-endian number of a file.
le()
{
	od -An -v -t "u$3" -j "$2" -N "$3" "$1" | tr -d ' '
}

# unpack_bzimage FILE: the compressed ELF image in a bzImage, found by the boot
# protocol's setup_sects, payload_offset and payload_length. Its last four bytes
# are its size, which is none of the decompressor's business.
unpack_bzimage()
{
	local start length unpack=(xz -dc)

	start=$((($(le "$1" $((0x1f1)) 1) + 1) * 512 +
		$(le "$1" $((0x248)) 4)))
	length=$(($(le "$1" $((0x24c)) 4) - 4))
	[ "$(le "$1" "$start" 4)" -ne $((0xfd2fb528)) ] || unpack=(zstd -dc)
	dd if="$1" bs=1M iflag=skip_bytes,count_bytes skip="$start" \
		count="$length" status=none | "${unpack[@]}"
}

# stock_image RELEASE: Debian's kernel, unpacked. Three quarters of the
# instructions of its boot are the unpacking.
stock_image()
{
	local out=$LAB_BUILD/stock/vmlinux-$1

	if [ ! -f "$out" ] || [ "/boot/vmlinuz-$1" -nt "$out" ]; then
		mkdir -p "${out%/*}"
		unpack_bzimage "/boot/vmlinuz-$1" >"$out.$$"
		mv "$out.$$" "$out"
	fi
	echo "$out"
}

# put_into_document FILE NAME TEXT: replace what stands between the lines
# <!-- NAME --> and <!-- end NAME --> of a document by the file TEXT.
put_into_document()
{
	local begin="<!-- $2 -->" end="<!-- end $2 -->" new

	if ! grep -qxF -- "$begin" "$1" || ! grep -qxF -- "$end" "$1"; then
		die "$1 has no lines '$begin' and '$end'"
	fi
	new=$(awk -v begin="$begin" -v end="$end" -v text="$3" '
		$0 == end { inside = 0 }
		!inside { print }
		$0 == begin {
			inside = 1
			print ""
			while ((getline line <text) > 0)
				print line
			print ""
		}' "$1")
	printf '%s\n' "$new" >"$1"
}
