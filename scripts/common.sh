# Shared by quickstart.sh and test.sh: packages, the Docker Engine, the build. Sourced, never run.
# shellcheck shell=bash disable=SC2034 # the package lists are for whoever sources this

BUILD_PACKAGES=(build-essential autoconf automake libtool pkg-config libev-dev libssl-dev liblmdb-dev
	libcurl4-openssl-dev libc-ares-dev libjansson-dev libnghttp2-dev zlib1g-dev libbrotli-dev libcrypt-dev libyaml-dev
	ca-certificates)
RUN_PACKAGES=(docker.io iptables curl procps)

die() {
	echo "$0: $*" >&2
	exit 1
}

need_root() {
	[ "$(id -u)" = 0 ] || die "needs root: run 'sudo $0'"
}

# Installs what is missing of "$@"; asks the network only when something is.
install_packages() {
	local missing=() p

	for p in "$@"; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
	done
	[ ${#missing[@]} -eq 0 ] && return
	echo "installing ${#missing[@]} packages"
	apt-get update -qq >/dev/null || die "apt-get update failed"
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
		>/tmp/temps-apt.log 2>&1 || { tail -n 20 /tmp/temps-apt.log >&2; die "apt-get install failed"; }
}

docker_answers() {
	docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}

# An engine that was killed leaves its pid files, and takes a zombie or whoever has that number now for itself.
forget_dead() {
	pgrep -x -r S,R,D "$1" >/dev/null || rm -f "$2"
}

# Starts an engine when none answers: by systemd where that runs, else as a process of its own.
start_docker() {
	local i

	docker_answers && return
	if [ -d /run/systemd/system ]; then
		systemctl start docker
	else
		forget_dead dockerd /var/run/docker.pid
		forget_dead containerd /var/run/docker/containerd/containerd.pid
		setsid nohup dockerd >/var/log/temps-dockerd.log 2>&1 </dev/null &
	fi
	for i in $(seq 150); do
		docker_answers && return
		sleep 0.2
	done
	die "no Docker Engine answers after 30 s ($i tries); see /var/log/temps-dockerd.log or 'journalctl -u docker'"
}

# configure_tree DIR [configure arguments]: an out-of-tree build of this source, configured once per set of arguments.
configure_tree() {
	local dir=$1
	shift
	[ -x "$SOURCE/configure" ] && [ "$SOURCE/configure" -nt "$SOURCE/configure.ac" ] &&
		[ "$SOURCE/Makefile.in" -nt "$SOURCE/Makefile.am" ] || (cd "$SOURCE" && ./autogen.sh) || return 1
	mkdir -p "$dir" || return 1
	[ -f "$dir/Makefile" ] && [ "$(cat "$dir/.arguments" 2>/dev/null)" = "$*" ] && return 0
	(cd "$dir" && "$SOURCE/configure" "$@") || return 1
	echo "$*" >"$dir/.arguments"
}
