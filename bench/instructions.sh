#!/bin/bash
# Counts the user part: instructions a request under callgrind, as the difference of two runs, so that starting up and stopping cancel out. Unlike a
# time it comes out nearly the same each time, so that a regression shows. In the build directory: bench/instructions.sh [SCENARIO…]
set -eu

host=door.test
top=$(pwd)
dir=$(mktemp -d "${TMPDIR:-/tmp}/temps-bench.XXXXXX")
port=$((18000 + $$ % 1000 * 10))
few=4000 many=12000
# shellcheck source=bench/peers.sh
. "$(cd "$(dirname "$0")" && pwd)/peers.sh"
trap stop_all EXIT
trap 'exit 1' INT TERM

# total PORT REQUESTS LOAD… -- COMMAND…: instructions of COMMAND while it serves so many requests.
total()
{
	local at=$1 n=$2 load=() pid
	shift 2
	while [ "$1" != -- ]; do load+=("$1"); shift; done
	shift
	start 0 counted valgrind --tool=callgrind --callgrind-out-file="$dir/callgrind.out" "$@"
	pid=$started
	wait_port "$at"
	h2load -t1 -n"$n" "--connect-to=127.0.0.1:$at" "${load[@]}" >"$dir/load.out" 2>&1
	grep -q " $n succeeded, 0 failed" "$dir/load.out" || { cat "$dir/load.out" >&2; die "not every request was served"; }
	kill "$pid"
	wait "$pid" 2>/dev/null || true
	sed -n 's/.*Collected : //p' "$dir/counted.log"
}

# count SCENARIO PROXY PORT LOAD… -- COMMAND…
count()
{
	local scenario=$1 proxy=$2 at=$3 a b
	shift 3
	a=$(total "$at" "$few" "$@")
	b=$(total "$at" "$many" "$@")
	echo "instructions scenario=$scenario proxy=$proxy a_request=$(((b - a) / (many - few)))"
}

scenario()
{
	local door=("$top/tests/unit/front_main" -p "$temps_port") nginx=(nginx -c "$dir/nginx.conf" -p "$dir")
	local secure=(-t "$dir/cert.pem" "$dir/key.pem") load

	case $1 in
	http1)
		load=(--h1 -c64 "http://$host/")
		count http1 nginx "$nginx_port" "${load[@]}" -- "${nginx[@]}"
		count http1 temps "$temps_port" "${load[@]}" -- "${door[@]}" "127.0.0.1:$backend_port" ;;
	https1)
		load=(--h1 -c64 "https://$host/")
		count https1 nginx "$nginx_tls" "${load[@]}" -- "${nginx[@]}"
		count https1 temps "$temps_port" "${load[@]}" -- "${door[@]}" "${secure[@]}" "127.0.0.1:$backend_port" ;;
	h2)
		load=(-c8 -m32 "https://$host/")
		count h2 nginx "$nginx_tls" "${load[@]}" -- "${nginx[@]}"
		count h2 temps "$temps_port" "${load[@]}" -- "${door[@]}" "${secure[@]}" "127.0.0.1:$backend_port" ;;
	*) die "unknown scenario $1" ;;
	esac
}

install_peers
[ -x tests/unit/front_main ] || die "build first: make tests/unit/front_main"
write_certificate
write_nginx_conf
start_backend
[ $# -gt 0 ] || set -- http1 https1 h2
for s; do
	scenario "$s"
done
