# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Packages from suites of Debian that the machine's own apt does not have: read
# through an apt configuration of our own, and nothing is installed. Source it.

# The machine's own apt says where it gets Debian's packages.
# apt_repository CODENAME: its address.
# shellcheck disable=SC2016 # apt expands it
apt_repository()
{
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
		'Origin: Debian' "Codename: $1" | head -n 1
}

# The release's name, which suites are named after.
apt_release()
{
	sed -n 's/^VERSION_CODENAME=//p' /etc/os-release
}

# apt_private FOLDER COMMAND...: run an apt command that has FOLDER/sources.list
# for its sources. Proxies and the like stay as the machine has them; all that
# apt writes goes to FOLDER.
apt_private()
{
	local apt=$1 command=$2
	shift 2

	mkdir -p "$apt"/{state/lists/partial,cache/archives/partial,log}
	[ -e "$apt/status" ] || : >"$apt/status"
	"$command" -o Dir::Etc::sourcelist="$apt/sources.list" \
		-o Dir::Etc::sourceparts=/dev/null \
		-o Dir::Etc::preferences=/dev/null \
		-o Dir::Etc::preferencesparts=/dev/null \
		-o Dir::State="$apt/state" -o Dir::State::status="$apt/status" \
		-o Dir::Cache="$apt/cache" -o Dir::Log="$apt/log" \
		-o APT::Sandbox::User="$(id -un)" "$@"
}

# apt_from_backports FOLDER PACKAGE...: unpack packages of the release's backports
# in FOLDER/root. Chains with &&, for step().
apt_from_backports()
{
	local folder=$1 name main deb
	shift

	name=$(apt_release) &&
	main=$(apt_repository "$name") || return
	if [ -z "$main" ]; then
		echo "apt has no package lists of Debian '$name': apt-get update?"
		return 1
	fi
	mkdir -p "$folder/debs" "$folder/apt" &&
	echo "deb $main $name-backports main" >"$folder/apt/sources.list" &&
	apt_private "$folder/apt" apt-get -o APT::Update::Error-Mode=any update &&
	(cd "$folder/debs" && apt_private "$folder/apt" apt-get download "$@") ||
		return
	for deb in "$folder"/debs/*.deb; do
		dpkg-deb -x "$deb" "$folder/root" || return
	done
	rm -r "$folder/apt" "$folder/debs"
}
