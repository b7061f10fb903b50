#!/bin/sh
# The long versions of what `make check` does briefly, from the build directory: simulation, power loss, unit tests
# under valgrind, fuzzing. Usage: soak.sh SECONDS SOURCE-DIRECTORY UNIT-TEST... ; simulation, power loss and each
# fuzz harness take SECONDS, valgrind as long as the suite does. Stops at the first failure, whose last lines say
# how to repeat it.
set -eu

seconds=$1 source=$2
shift 2

# part NAME COMMAND...: again and again until the time is up, at least once.
part()
{
	name=$1
	shift
	echo "soak: $name, $seconds s"
	end=$(($(date +%s) + seconds)) runs=0
	while [ "$runs" = 0 ] || [ "$(date +%s)" -lt "$end" ]; do
		"$@" >soak.log 2>&1 || { tail -n 40 soak.log; echo "soak: $name failed" >&2; exit 1; }
		runs=$((runs + 1))
	done
	echo "soak: $name: $runs runs passed"
}

sanitized()
{
	nm -D "$1" 2>/dev/null | grep -q __asan_init
}

# Every run goes on where the last one ended; where the first begins, nobody knows.
next_seed=$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')
simulate()
{
	tests/sim/sim --first "$next_seed" --seeds 10000 --steps 500
	next_seed=$((next_seed + 10000))
}

unit_tests_under_valgrind()
{
	# The C library has one function for both, so valgrind takes a memmove for a memcpy.
	printf '{\n memmove\n Memcheck:Overlap\n fun:__memcpy_chk\n}\n' >soak.supp
	for t; do
		case $t in
		*/hotpath_test) continue ;; # counts allocations and system calls: valgrind adds its own
		*/listener_test) continue ;; # runs out of descriptors, of which valgrind keeps some back
		esac
		echo "soak: valgrind $t, QUEUE_SEED=$next_seed"
		QUEUE_SEED=$next_seed timeout 600 valgrind -q --error-exitcode=99 --suppressions=soak.supp --leak-check=full \
			--errors-for-leak-kinds=definite "$t" >soak.log 2>&1 ||
			{ tail -n 40 soak.log; echo "soak: $t under valgrind failed" >&2; exit 1; }
	done
}

fuzz()
{
	if ! command -v clang >/dev/null; then
		echo 'soak: no clang, nothing is fuzzed' >&2
		exit 1
	fi
	mkdir -p soak-fuzz
	(cd soak-fuzz && { [ -f Makefile ] || "$source/configure" --enable-fuzzing CC=clang >configure.log; } &&
		make fuzz FUZZ_SECONDS="$seconds" FUZZ_SEED=0)
}

# Kills under load and writes, power cuts of a whole control plane; a Docker Engine must be there.
sudden_ends()
{
	KILLS=200 CUTS=200 TEMPS=$PWD/temps PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m pytest -q -s -p no:cacheprovider \
		"$source/tests/func/test_sudden_end.py"
}

# Deploys that nobody may notice, and whatever can be killed or cut off, over machines in namespaces of their own.
deploys_and_kills()
{
	DEPLOYS=50 TUNNEL_DEPLOYS=100 KILLS=100 TEMPS=$PWD/temps PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m pytest -q -s \
		-p no:cacheprovider "$source/tests/func/test_zero_failed.py" "$source/tests/func/test_kills.py"
}

part simulation simulate
part 'power loss' tests/preload/store_power_test
echo 'soak: 200 kills and 200 power cuts'
sudden_ends
echo 'soak: 50 deploys under load, 100 beside tunnels, 100 kills'
deploys_and_kills
if sanitized "$1"; then
	echo 'soak: built with sanitizers, valgrind has nothing to add'
else
	unit_tests_under_valgrind "$@"
fi
fuzz
rm -f soak.log soak.supp
echo 'soak: passed'
