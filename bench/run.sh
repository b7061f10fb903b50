#!/bin/bash
# Measures what a request costs: CPU time of the proxy process per request, peers in turn, medians and ratios.
#
#   make bench                 all scenarios
#   bench/run.sh -s http1      one of: http1 https1 big
#   bench/run.sh -r 5 -d 3     rounds, seconds a run
#
# Needs the built programs: temps, bench/backend and bench/relay in the build directory (the working directory). TEMPS names another binary; FRONT a
# bare front door ("tests/unit/front_main") to measure without a control plane. Peers are installed from Debian when missing (as root).
set -eu

rounds=5 seconds=3 connections=64 scenarios="http1 https1 big"
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
backend_port=$port relay_port=$((port + 1)) nginx_port=$((port + 2)) nginx_tls=$((port + 3))
haproxy_port=$((port + 4)) haproxy_tls=$((port + 5)) temps_port=$((port + 6)) temps_tls=$((port + 7))
pids=

die()
{
	echo "bench: $*" >&2
	exit 1
}

cleanup()
{
	for pid in $pids; do
		kill "$pid" 2>/dev/null || true
	done
	wait 2>/dev/null || true
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

# ---- peers ----

need()
{
	command -v "$1" >/dev/null || PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null || missing="$missing $2"
}

install_peers()
{
	missing=
	need nginx nginx-light
	need haproxy haproxy
	need wrk wrk
	need openssl openssl
	[ -z "$missing" ] && return
	[ "$(id -u)" = 0 ] || die "run as root once, or install:$missing"
	# Not to be started by their packages.
	printf '#!/bin/sh\nexit 101\n' >"$dir/policy"
	chmod +x "$dir/policy"
	[ -e /usr/sbin/policy-rc.d ] || { cp "$dir/policy" /usr/sbin/policy-rc.d; ours=1; }
	apt-get install -y --no-install-recommends $missing >/dev/null || die "cannot install:$missing"
	[ -z "${ours:-}" ] || rm -f /usr/sbin/policy-rc.d
}

# ---- processes: pinned, proxies to CPU 0, everything else to the last ----

last_cpu=$(($(nproc) - 1))

start()
{
	local cpu=$1 log=$2
	shift 2
	taskset -c "$cpu" "$@" >"$dir/$log.log" 2>&1 &
	pids="$pids $!"
	started=$!
}

wait_port()
{
	for _ in $(seq 100); do
		(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
		sleep 0.05
	done
	cat "$dir"/*.log >&2
	die "nothing listens on port $1"
}

write_certificate()
{
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$host" \
		-addext "subjectAltName=DNS:$host" -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
	cat "$dir/cert.pem" "$dir/key.pem" >"$dir/both.pem"
}

start_nginx()
{
	cat >"$dir/nginx.conf" <<-CONF
	daemon off; master_process off; worker_processes 1; pid $dir/nginx.pid; error_log $dir/nginx.err;
	events { worker_connections 8192; multi_accept on; }
	http {
		access_log off; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 75;
		client_body_temp_path $dir; proxy_temp_path $dir; fastcgi_temp_path $dir; uwsgi_temp_path $dir; scgi_temp_path $dir;
		ssl_certificate $dir/cert.pem; ssl_certificate_key $dir/key.pem; ssl_session_cache shared:s:10m;
		ssl_protocols TLSv1.2 TLSv1.3;
		upstream b { server 127.0.0.1:$backend_port; keepalive 256; keepalive_requests 1000000000; }
		server {
			listen 127.0.0.1:$nginx_port; listen 127.0.0.1:$nginx_tls ssl;
			location / {
				proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection "";
				proxy_set_header Host \$host; proxy_set_header X-Forwarded-For \$remote_addr;
				proxy_set_header X-Forwarded-Proto \$scheme; proxy_max_temp_file_size 0;
			}
		}
	}
	CONF
	start 0 nginx nginx -c "$dir/nginx.conf" -p "$dir"
	nginx_pid=$started
	wait_port "$nginx_port"
}

start_haproxy()
{
	cat >"$dir/haproxy.cfg" <<-CONF
	global
		nbthread 1
		maxconn 8192
		ssl-default-bind-options ssl-min-ver TLSv1.2
	defaults
		mode http
		timeout connect 2s
		timeout client 75s
		timeout server 75s
		option http-keep-alive
		http-reuse always
	frontend f
		bind 127.0.0.1:$haproxy_port
		bind 127.0.0.1:$haproxy_tls ssl crt $dir/both.pem alpn http/1.1
		option forwardfor
		default_backend b
	backend b
		server s 127.0.0.1:$backend_port pool-max-conn 256
	CONF
	start 0 haproxy haproxy -db -f "$dir/haproxy.cfg"
	haproxy_pid=$started
	wait_port "$haproxy_port"
}

# Plain and TLS are two processes: with a TLS listener, plain requests would be redirected.
start_temps()
{
	if [ -n "$front" ]; then
		start 0 temps "$front" -p "$temps_port" "127.0.0.1:$backend_port"
		temps_pid=$started
		start 0 temps-tls "$front" -p "$temps_tls" -t "$dir/cert.pem" "$dir/key.pem" "127.0.0.1:$backend_port"
	else
		start_serve plain --address "127.0.0.1:$temps_port"
		temps_pid=$started
		start_serve tls --address 127.0.0.1:0 --tls-address "127.0.0.1:$temps_tls" --cert "$dir/cert.pem" --key "$dir/key.pem"
	fi
	temps_tls_pid=$started
	wait_port "$temps_port"
	wait_port "$temps_tls"
}

start_serve()
{
	local data=$dir/data-$1
	shift
	start 0 "$(basename "$data")" "$temps" serve --data-dir "$data" --docker-host none --no-access-log --ready-file "$data.ready" "$@"
	for _ in $(seq 200); do
		[ -s "$data.ready" ] && break
		sleep 0.05
	done
	[ -s "$data.ready" ] || { cat "$dir"/*.log >&2; die "temps serve did not start"; }
	"$temps" route add --data-dir "$data" "$host" "http://127.0.0.1:$backend_port" >/dev/null
}

# ---- measuring ----

# User and system time of a process, in ticks.
ticks()
{
	sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12, $13 }'
}

# measure NAME SCENARIO PID URL: appends "scenario name user_us system_us total_us rps p99_ms failed" to $dir/samples
measure()
{
	local before after
	before=$(ticks "$3")
	taskset -c "$last_cpu" wrk -t1 -c"$connections" -d"${seconds}s" --latency -H "Host: $host" "$4" >"$dir/wrk.out" || die "wrk failed"
	after=$(ticks "$3")
	awk -v b="$before" -v a="$after" -v hz="$(getconf CLK_TCK)" -v s="$2" -v n="$1" '
		/requests in/ { req = $1 }
		/Requests\/sec/ { rps = $2 }
		$1 == "99%" { p99 = $2 }
		/Socket errors/ { gsub(",", ""); failed += $4 + $6 + $8 + $10 }
		/Non-2xx/ { failed += $NF }
		END {
			split(b, x, " "); split(a, y, " ")
			if (!req) exit 1
			u = (y[1] - x[1]) * 1e6 / hz / req; k = (y[2] - x[2]) * 1e6 / hz / req
			ms = p99 + 0; if (p99 ~ /us$/) ms /= 1000; else if (p99 ~ /[0-9]s$/) ms *= 1000
			printf "%s %s %.2f %.2f %.2f %.0f %.2f %d\n", s, n, u, k, u + k, rps, ms, failed
		}' "$dir/wrk.out" >>"$dir/samples" || { cat "$dir/wrk.out" >&2; die "$1 served nothing"; }
}

run_scenario()
{
	for _ in $(seq "$rounds"); do
		case $1 in
		http1)
			measure relay http1 "$relay_pid" "http://127.0.0.1:$relay_port/"
			measure nginx http1 "$nginx_pid" "http://127.0.0.1:$nginx_port/"
			measure haproxy http1 "$haproxy_pid" "http://127.0.0.1:$haproxy_port/"
			measure temps http1 "$temps_pid" "http://127.0.0.1:$temps_port/" ;;
		https1)
			measure nginx https1 "$nginx_pid" "https://127.0.0.1:$nginx_tls/"
			measure haproxy https1 "$haproxy_pid" "https://127.0.0.1:$haproxy_tls/"
			measure temps https1 "$temps_tls_pid" "https://127.0.0.1:$temps_tls/" ;;
		big)
			measure nginx big "$nginx_pid" "https://127.0.0.1:$nginx_tls/big"
			measure haproxy big "$haproxy_pid" "https://127.0.0.1:$haproxy_tls/big"
			measure temps big "$temps_tls_pid" "https://127.0.0.1:$temps_tls/big" ;;
		*) die "unknown scenario $1" ;;
		esac
	done
}

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
			title["big"] = "HTTPS/1.1, 1 MiB"
			row = "%-28s %8s %8s %8s %8s %9s %9s %9s\n"
			printf "\n" row, "CPU a request, us (median)", "relay", "nginx", "haproxy", "temps", "t/relay", "t/nginx", "t/haproxy"
			n = split("http1 https1 big", order, " ")
			for (i = 1; i <= n; i++)
				if ((s = order[i]) in seen)
					printf row, title[s], cell(s, "relay"), cell(s, "nginx"), cell(s, "haproxy"), cell(s, "temps"), \
						ratio(s, "relay"), ratio(s, "nginx"), ratio(s, "haproxy")
		}'
}

install_peers
PATH=$PATH:/usr/sbin:/sbin
[ -x "$top/bench/backend" ] || die "build first: make bench/backend bench/relay"
write_certificate
start "$last_cpu" backend "$top/bench/backend" "$backend_port"
wait_port "$backend_port"
start 0 relay "$top/bench/relay" "$relay_port" "$backend_port"
relay_pid=$started
start_nginx
start_haproxy
start_temps
: >"$dir/samples"
for s in $scenarios; do
	run_scenario "$s"
done
echo "date=$(date +%F) kernel=$(uname -r) cpu=\"$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)\" cpus=$(nproc) rounds=$rounds seconds=$seconds connections=$connections"
report
