# The proxies that bench/*.sh compare: installed, configured alike, started. Sourced; needs $dir, $host and $port of the one who does.
# shellcheck shell=bash disable=SC2034,SC2154 # those, and what is for them

backend_port=$port relay_port=$((port + 1)) nginx_port=$((port + 2)) nginx_tls=$((port + 3))
haproxy_port=$((port + 4)) haproxy_tls=$((port + 5)) temps_port=$((port + 6)) temps_tls=$((port + 7))
last_cpu=$(($(nproc) - 1))
pids=

die()
{
	echo "bench: $*" >&2
	exit 1
}

stop_all()
{
	for pid in $pids; do
		kill "$pid" 2>/dev/null || true
	done
	wait 2>/dev/null || true
	rm -rf "$dir"
}

need()
{
	command -v "$1" >/dev/null || missing="$missing $2"
}

install_peers()
{
	PATH=$PATH:/usr/sbin:/sbin
	missing=
	need nginx nginx-light
	need haproxy haproxy
	need wrk wrk
	need h2load nghttp2-client
	need openssl openssl
	need valgrind valgrind
	[ -z "$missing" ] && return
	[ "$(id -u)" = 0 ] || die "run as root once, or install:$missing"
	# Not to be started by their packages.
	[ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; ours=1; }
	# shellcheck disable=SC2086 # a list of names
	apt-get install -y --no-install-recommends $missing >/dev/null || die "cannot install:$missing"
	[ -z "${ours:-}" ] || rm -f /usr/sbin/policy-rc.d
}

# start CPU NAME COMMAND…: pinned; its process is $started.
start()
{
	local cpu=$1 log=$2
	shift 2
	taskset -c "$cpu" "$@" >"$dir/$log.log" 2>&1 &
	started=$!
	pids="$pids $started"
}

wait_port()
{
	for _ in $(seq 400); do
		(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
		sleep 0.05
	done
	cat "$dir"/*.log >&2
	die "nothing listens on port $1"
}

# ECDSA on P-256 for everybody.
write_certificate()
{
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$host" \
		-addext "subjectAltName=DNS:$host" -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
	cat "$dir/cert.pem" "$dir/key.pem" >"$dir/both.pem"
}

write_nginx_conf()
{
	cat >"$dir/nginx.conf" <<-CONF
	daemon off; master_process off; worker_processes 1; pid $dir/nginx.pid; error_log $dir/nginx.err;
	events { worker_connections 8192; multi_accept on; }
	http {
		access_log off; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 75;
		client_body_temp_path $dir; proxy_temp_path $dir; fastcgi_temp_path $dir; uwsgi_temp_path $dir; scgi_temp_path $dir;
		ssl_certificate $dir/cert.pem; ssl_certificate_key $dir/key.pem; ssl_session_cache shared:s:10m;
		ssl_protocols TLSv1.2 TLSv1.3; http2_max_concurrent_streams 128;
		upstream b { server 127.0.0.1:$backend_port; keepalive 256; keepalive_requests 1000000000; }
		server {
			listen 127.0.0.1:$nginx_port; listen 127.0.0.1:$nginx_tls ssl http2;
			location / {
				proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection "";
				proxy_set_header Host \$host; proxy_set_header X-Forwarded-For \$remote_addr;
				proxy_set_header X-Forwarded-Proto \$scheme; proxy_max_temp_file_size 0;
			}
		}
	}
	CONF
}

start_nginx()
{
	write_nginx_conf
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
		tune.ssl.cachesize 20000
	defaults
		mode http
		timeout connect 2s
		timeout client 75s
		timeout server 75s
		option http-keep-alive
		http-reuse always
	frontend f
		bind 127.0.0.1:$haproxy_port
		bind 127.0.0.1:$haproxy_tls ssl crt $dir/both.pem alpn h2,http/1.1
		option forwardfor
		default_backend b
	backend b
		server s 127.0.0.1:$backend_port pool-max-conn 256
	CONF
	start 0 haproxy haproxy -db -f "$dir/haproxy.cfg"
	haproxy_pid=$started
	wait_port "$haproxy_port"
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

start_backend()
{
	[ -x "$top/bench/backend" ] || die "build first: make bench/backend bench/relay"
	start "$last_cpu" backend "$top/bench/backend" "$backend_port"
	wait_port "$backend_port"
}

start_all()
{
	start_backend
	start 0 relay "$top/bench/relay" "$relay_port" "$backend_port"
	relay_pid=$started
	start_nginx
	start_haproxy
	start_temps
}
