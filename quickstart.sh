#!/bin/bash
# Installs what temps needs, builds and installs it, starts `temps serve` and puts a sample app behind HTTPS.
set -euo pipefail
SOURCE=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/common.sh
. "$SOURCE/scripts/common.sh"

DATA=/var/lib/temps
READY=/run/temps.ready
key=
HOST=hello.example.test

need_root
install_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}"
start_docker

echo "building"
log=$(mktemp)
{ configure_tree "$SOURCE/build" && make -C "$SOURCE/build" -j"$(nproc)" all tests/sample/app &&
	make -C "$SOURCE/build" install; } >"$log" 2>&1 ||
	{ tail -n 30 "$log" >&2; die "the build failed; all of it is in $log"; }
rm -f "$log"

if temps status >/dev/null 2>&1; then
	echo "a control plane is running already; leaving it as it is"
else
	rm -f "$READY"
	install -d -m 0700 "$DATA"
	(umask 077 && : >>"$DATA/serve.log")
	# The first start prints the admin key, once: kept out of the log.
	out=$(mktemp)
	setsid nohup temps serve --address 127.0.0.1:8080 --tls-address 127.0.0.1:8443 --ready-file "$READY" \
		>"$out" 2>>"$DATA/serve.log" </dev/null &
	pid=$!
	for _ in $(seq 100); do
		[ -s "$READY" ] && break
		kill -0 "$pid" 2>/dev/null || { tail -n 5 "$DATA/serve.log" >&2; die "temps serve did not start"; }
		sleep 0.1
	done
	[ -s "$READY" ] || die "temps serve is not ready after 10 s; see $DATA/serve.log"
	key=$(sed -n 's/^admin key: //p' "$out")
	rm -f "$out"
fi

echo "deploying the sample app"
image=temps-sample:quickstart
"$SOURCE/tests/sample/image.sh" "$image" "$SOURCE/build/tests/sample/app" >/dev/null
temps deploy hello --image "$image" --replicas 2 --port 8080 --domain "$HOST"

join=$(temps token create --json | sed -n 's/.*"command":"\([^"]*\)".*/\1/p')
cat <<END

temps is running. Try it:

  curl --cacert $DATA/front-ca.pem --resolve $HOST:8443:127.0.0.1 https://$HOST:8443/

admin key     ${key:-was printed by the first start; 'temps api-key create NAME' makes another}
add a worker  $join

  temps status, temps ps hello, temps logs hello, temps --help; stop it with: kill \$(pgrep -x -f 'temps serve.*')
END
