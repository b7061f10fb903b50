#!/bin/bash
# Measures what a request costs: CPU time of the proxy process per request, peers in turn, medians and ratios.
#
#   make bench                 all scenarios
#   bench/run.sh -s "http1 h2" some of: idle http1 https1 h2 connect big
#   bench/run.sh -r 5 -d 3     rounds, seconds a run
#
# Needs the built programs: temps, bench/backend and bench/relay in the build directory (the working directory). TEMPS names another binary; FRONT a
# bare front door ("tests/unit/front_main") to measure without a control plane. Peers are installed from Debian when missing (as root).
set -eu

rounds=5 seconds=3 connections=64 idle=2000 scenarios="idle http1 https1 h2 connect big"
while getopts r:d:c:s: opt; do
	case $opt in
	r) rounds=$OPTARG ;;
	d) seconds=$OPTARG ;;
	c) connections=$OPTARG ;;
	s) scenarios=$OPTARG ;;
	*) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
	esac
done

host=door.test
top=$(pwd)
temps=${TEMPS:-$top/temps}
front=${FRONT:-}
dir=$(mktemp -d "${TMPDIR:-/tmp}/temps-bench.XXXXXX")
port=$((18000 + $$ % 1000 * 10))
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=bench/peers.sh
. "$here/peers.sh"
trap stop_all EXIT
trap 'exit 1' INT TERM

# ---- measuring ----

# User and system time of a process, in ticks.
ticks()
{
	sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12, $13 }'
}

resident_kb()
{
	awk '/^VmRSS/ { print $2 }' "/proc/$1/status"
}

# load_wrk URL [HEADER…]: prints "requests rps p99_ms failed".
load_wrk()
{
	local url=$1
	shift
	taskset -c "$last_cpu" wrk -t1 -c"$connections" -d"${seconds}s" --latency -H "Host: $host" "$@" "$url" >"$dir/load.out" || die "wrk failed"
	awk '
		/requests in/ { req = $1 }
		/Requests\/sec/ { rps = $2 }
		$1 == "99%" { p99 = $2 }
		/Socket errors/ { gsub(",", ""); failed += $4 + $6 + $8 + $10 }
		/Non-2xx/ { failed += $NF }
		END {
			ms = p99 + 0; if (p99 ~ /us$/) ms /= 1000; else if (p99 ~ /[0-9]s$/ && p99 !~ /ms$/) ms *= 1000
			printf "%d %.0f %.2f %d\n", req, rps, ms, failed
		}' "$dir/load.out"
}

# load_h2 PORT: 8 connections of 32 streams; h2load gives no percentiles.
load_h2()
{
	taskset -c "$last_cpu" h2load -t1 -c8 -m32 -D"$seconds" "--connect-to=127.0.0.1:$1" "https://$host/" >"$dir/load.out" 2>&1 || die "h2load failed"
	grep -q '^Application protocol: h2$' "$dir/load.out" || { cat "$dir/load.out" >&2; die "port $1 does not speak HTTP/2"; }
	awk '
		/^finished in/ { rps = $4 }
		/^requests:/ { gsub(",", ""); req = $8; failed = $10 + $12 + $14 }
		/^status codes:/ { failed += $5 + $7 + $9 }
		END { printf "%d %.0f 0 %d\n", req, rps, failed }' "$dir/load.out"
}

# measure NAME SCENARIO PID LOAD…: appends "scenario name user_us system_us total_us rps p99_ms failed" to $dir/samples
measure()
{
	local name=$1 scenario=$2 pid=$3 before after load
	shift 3
	before=$(ticks "$pid")
	load=$("$@")
	after=$(ticks "$pid")
	echo "$before $after $load" | awk -v hz="$(getconf CLK_TCK)" -v s="$scenario" -v n="$name" '{
		if (!$5) exit 1
		u = ($3 - $1) * 1e6 / hz / $5; k = ($4 - $2) * 1e6 / hz / $5
		printf "%s %s %.2f %.2f %.2f %.0f %.2f %d\n", s, n, u, k, u + k, $6, $7, $8
	}' >>"$dir/samples" || { cat "$dir/load.out" >&2; die "$name served nothing"; }
}

each_tls()
{
	local scenario=$1
	shift
	measure nginx "$scenario" "$nginx_pid" "$@" "https://127.0.0.1:$nginx_tls$path" "${headers[@]}"
	measure haproxy "$scenario" "$haproxy_pid" "$@" "https://127.0.0.1:$haproxy_tls$path" "${headers[@]}"
	measure temps "$scenario" "$temps_tls_pid" "$@" "https://127.0.0.1:$temps_tls$path" "${headers[@]}"
}

run_scenario()
{
	local path=/ headers=()

	for _ in $(seq "$rounds"); do
		case $1 in
		http1)
			measure relay http1 "$relay_pid" load_wrk "http://127.0.0.1:$relay_port/"
			measure nginx http1 "$nginx_pid" load_wrk "http://127.0.0.1:$nginx_port/"
			measure haproxy http1 "$haproxy_pid" load_wrk "http://127.0.0.1:$haproxy_port/"
			measure temps http1 "$temps_pid" load_wrk "http://127.0.0.1:$temps_port/" ;;
		https1) each_tls https1 load_wrk ;;
		connect) headers=(-H "Connection: close") ; each_tls connect load_wrk ;;
		big) path=/big; each_tls big load_wrk ;;
		h2)
			measure nginx h2 "$nginx_pid" load_h2 "$nginx_tls"
			measure haproxy h2 "$haproxy_pid" load_h2 "$haproxy_tls"
			measure temps h2 "$temps_tls_pid" load_h2 "$temps_tls" ;;
		*) die "unknown scenario $1" ;;
		esac
	done
}

# Memory that idle connections take, each after one request; on proxies that have served nothing before.
hold_idle()
{
	local name=$1 pid=$2 at=$3 before after ready=
	before=$(resident_kb "$pid")
	coproc IDLE { python3 "$here/idle.py" "$at" "$host" "$idle"; }
	read -r ready <&"${IDLE[0]}" || true
	[ "$ready" = ready ] || die "$name does not keep $idle connections"
	after=$(resident_kb "$pid")
	eval "exec ${IDLE[1]}>&-"
	wait "$IDLE_PID" 2>/dev/null || true
	echo "$name $before $after" | awk -v n="$idle" '{ printf "idle %s kb_a_connection=%.1f\n", $1, ($3 - $2) / n }' >>"$dir/memory"
}

# ---- reporting ----

report()
{
	sort -k1,1 -k2,2 -k5,5n "$dir/samples" | awk '
		function flush() {
			if (!n) return
			m = int((n + 1) / 2)
			median[key] = t[m]
			printf "scenario=%s proxy=%s us=%.2f user_us=%.2f system_us=%.2f min_us=%.2f max_us=%.2f rps=%d p99_ms=%.2f failed=%d\n", \
				sc, name, t[m], u[m], k[m], t[1], t[n], r[m], p[m], failed
			n = failed = 0
		}
		{
			if ($1 SUBSEP $2 != key) { flush(); key = $1 SUBSEP $2; sc = $1; name = $2; seen[sc] = 1 }
			n++; u[n] = $3; k[n] = $4; t[n] = $5; r[n] = $6; p[n] = $7; failed += $8
		}
		function cell(s, p) {
			return (s SUBSEP p) in median ? sprintf("%.1f", median[s, p]) : "-"
		}
		function ratio(s, p) {
			return (s SUBSEP p) in median && median[s, p] ? sprintf("%.2f", median[s, "temps"] / median[s, p]) : "-"
		}
		END {
			flush()
			title["http1"] = "HTTP/1.1 keep-alive, 128 B"
			title["https1"] = "HTTPS/1.1 keep-alive, 128 B"
			title["h2"] = "HTTPS, HTTP/2, 8 x 32, 128 B"
			title["connect"] = "new TLS connection each, 128 B"
			title["big"] = "HTTPS/1.1, 1 MiB"
			row = "%-30s %8s %8s %8s %8s %9s %9s %9s\n"
			printf "\n" row, "CPU a request, us (median)", "relay", "nginx", "haproxy", "temps", "t/relay", "t/nginx", "t/haproxy"
			n = split("http1 https1 h2 connect big", order, " ")
			for (i = 1; i <= n; i++)
				if ((s = order[i]) in seen)
					printf row, title[s], cell(s, "relay"), cell(s, "nginx"), cell(s, "haproxy"), cell(s, "temps"), \
						ratio(s, "relay"), ratio(s, "nginx"), ratio(s, "haproxy")
		}'
	[ ! -s "$dir/memory" ] || awk '
		{ split($3, kv, "="); kb[$2] = kv[2]; print }
		END {
			printf "%-30s %8s %8.1f %8.1f %8.1f %9s %9.2f %9.2f\n", "memory an idle connection, kB", "-", kb["nginx"], kb["haproxy"], kb["temps"], \
				"-", kb["temps"] / kb["nginx"], kb["temps"] / kb["haproxy"]
		}' "$dir/memory"
}

install_peers
write_certificate
start_all
: >"$dir/samples"
: >"$dir/memory"
for s in $scenarios; do
	if [ "$s" = idle ]; then
		hold_idle nginx "$nginx_pid" "$nginx_tls"
		hold_idle haproxy "$haproxy_pid" "$haproxy_tls"
		hold_idle temps "$temps_tls_pid" "$temps_tls"
	else
		run_scenario "$s"
	fi
done
echo "date=$(date +%F) kernel=$(uname -r) cpu=\"$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)\" cpus=$(nproc) rounds=$rounds seconds=$seconds connections=$connections"
report
