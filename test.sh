#!/bin/bash
# Installs the test packages, builds, and runs everything that CI runs. Each step's output is in build/test/<step>.log; what is printed is
# a line a step, the end of a failed step's log, and the totals.
set -uo pipefail
SOURCE=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/common.sh
. "$SOURCE/scripts/common.sh"

TEST_PACKAGES=(clang libclang-rt-14-dev libcmocka-dev mandoc shellcheck codespell valgrind strace openssl iproute2 nftables
	python3 python3-pytest python3-pytest-xdist python3-grpcio python3-h11 python3-h2 python3-hpack nodejs python3-requests docker-registry prometheus
	nghttp2-client apache2-utils lmdb-utils busybox-static)
JOBS=$(nproc)
BUILD=$SOURCE/build
LOGS=$BUILD/test
FUZZ_SECONDS=${FUZZ_SECONDS:-10}
passed=0 failed=0

sum() {
	awk '{ s += $1 } END { print s + 0 }'
}

# What automake's and pytest's own summaries in a log say: "PASSED FAILED". A skipped test is a failed one: nothing may be left out.
count() {
	local log=$1 summary good bad

	summary=$(grep -E '^=*[^=]*[0-9]+ (passed|failed|errors?|skipped|xfailed|xpassed).* in [0-9.]+s' "$log" | tail -n 1)
	good=$({ sed -n 's/^# PASS: *//p' "$log"; grep -oE '[0-9]+ passed' <<<"$summary"; } | sum)
	bad=$({ sed -nE 's/^# (FAIL|ERROR|SKIP|XPASS): *//p' "$log"
		grep -oE '[0-9]+ (failed|errors?|skipped|xfailed|xpassed)' <<<"$summary"; } | sum)
	echo "$good $bad"
}

# step NAME COMMAND…: one line, and on failure the end of its log. A step without tests of its own counts as one.
step() {
	local name=$1 log=$LOGS/$1.log start=$SECONDS status=0 good bad

	shift
	"$@" >"$log" 2>&1 </dev/null || status=$?
	read -r good bad < <(count "$log")
	[ "$status" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
	[ "$((good + bad))" -gt 0 ] || good=1
	passed=$((passed + good)) failed=$((failed + bad))
	if [ "$bad" -eq 0 ]; then
		echo "ok      $name ($((SECONDS - start)) s, $good)"
		return 0
	fi
	echo "FAILED  $name ($((SECONDS - start)) s, $bad of $((good + bad))); from $log:"
	grep -E '^(FAIL|ERROR|FAILED):? |error:' "$log" | head -n 20
	tail -n 25 "$log"
	return 1
}

build_and_check() {
	local dir=$1
	shift
	configure_tree "$dir" --enable-werror "$@" && make -C "$dir" -j"$JOBS" && make -C "$dir" -j"$JOBS" check
}

# The functional suite against the binary of a build tree, two files of tests at a time: most of their time is waiting. Its files are where the
# path of a unix socket stays short.
functional() {
	local files status=0

	files=$(mktemp -d /tmp/temps-func.XXXXXX)
	TEMPS=$1/temps PYTHONDONTWRITEBYTECODE=1 timeout 1200 /usr/bin/python3 -m pytest -q -n 2 --dist loadfile \
		--maxfail=10 --tb=short -p no:cacheprovider --basetemp="$files/t" "$SOURCE/tests/func" || status=$?
	[ "$status" -ne 0 ] || rm -rf "$files"
	return "$status"
}

distcheck() {
	make -C "$BUILD/gcc" -j"$JOBS" distcheck DISTCHECK_CONFIGURE_FLAGS=--enable-werror
}

fuzz() {
	configure_tree "$BUILD/fuzz" --enable-fuzzing --enable-sanitize CC=clang && make -C "$BUILD/fuzz" -j"$JOBS" fuzz FUZZ_SECONDS="$FUZZ_SECONDS" FUZZ_JOBS="$JOBS"
}

need_root
install_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
mkdir -p "$LOGS"
step docker start_docker || { echo "$passed passed, $failed failed"; exit 1; }
step gcc build_and_check "$BUILD/gcc"
step clang build_and_check "$BUILD/clang" CC=clang
step sanitize build_and_check "$BUILD/sanitize" --enable-sanitize
step functional functional "$BUILD/gcc"
step functional-sanitized functional "$BUILD/sanitize"
step simulation make -C "$BUILD/gcc" simulate
step fuzz fuzz
step distcheck distcheck
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
