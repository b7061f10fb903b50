#!/bin/sh
# Who may include whom (ARCHITECTURE.md): a folder includes its own layer and those below it, and each
# library's header stays in the one place that talks to that library.
set -eu
cd "${srcdir:-.}"
failed=0

# allow FOLDER LAYER...: every "layer/header.h" that src/FOLDER includes must be of one of these.
allow() {
	folder=$1
	shift
	allowed=$(printf '%s|' "$@")
	found=$(grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]+"' "src/$folder" --include='*.[ch]' |
		grep -vE "include[[:space:]]+\"(${allowed%|})/[a-z0-9_]+\.h\"" || true)
	if [ -n "$found" ]; then
		printf '%s\n' "$found" | sed "s|\$|   <- src/$folder may include only: $*|"
		failed=1
	fi
}

# only HEADER FILES: HEADER is included by source files that match the pattern FILES and by no other.
only() {
	found=$(grep -rnE "^[[:space:]]*#[[:space:]]*include[[:space:]]+[<\"]$1" src --include='*.[ch]' |
		grep -vE "^$2:" || true)
	if [ -n "$found" ]; then
		printf '%s\n' "$found" | sed "s|\$|   <- this library stays in $2|"
		failed=1
	fi
}

allow base base
allow sched base sched
allow reactor base reactor
allow http base reactor http
allow store base reactor store
allow proxy base reactor http store proxy
allow agent base reactor http store agent
allow control base reactor http store sched proxy agent control
allow cli base reactor http store sched proxy agent control cli

only 'ev\.h' 'src/reactor/[a-z0-9_]+\.[ch]'
only 'openssl/' 'src/reactor/[a-z0-9_]+\.[ch]'
only 'ares' 'src/reactor/[a-z0-9_]+\.[ch]'
only 'curl/' 'src/reactor/rpc[a-z0-9_]*\.[ch]'
only 'crypt\.h' 'src/reactor/password\.c'
only 'lmdb\.h' 'src/store/[a-z0-9_]+\.c'
only 'jansson\.h' 'src/base/json\.c'
only 'zlib\.h' 'src/proxy/encode\.c'
only 'brotli/' 'src/proxy/encode\.c'
only 'yaml\.h' 'src/cli/tree\.c'
only 'nghttp2/' 'src/http/(client_)?h2[a-z0-9_]*\.[ch]'

exit $failed
