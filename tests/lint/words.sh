#!/bin/sh
# Functions that cannot be used safely, words that name two things, and notes of unfinished work.
set -eu
cd "${srcdir:-.}"
failed=0

# ban REASON PATTERN FILE...: none of the files may match.
ban() {
	reason=$1 pattern=$2
	shift 2
	found=$(printf '%s\n' "$@" | xargs grep -nE "$pattern" /dev/null || true)
	if [ -n "$found" ]; then
		printf '%s\n' "$found" | sed "s|\$|   <- $reason|"
		failed=1
	fi
}

product=$(find src -name '*.[ch]')
code=$(find src tests bench -name '*.[ch]' 2>/dev/null || true)
texts=$(find src tests man ./*.md -path tests/lint -prune -o -type f \
	\( -name '*.[ch]' -o -name '*.py' -o -name '*.[1-8]' -o -name '*.md' \) -print 2>/dev/null || true)

# shellcheck disable=SC2086 # lists of file names without blanks
{
	ban 'no bound' '(^|[^A-Za-z0-9_.>])(strcpy|strcat|sprintf|vsprintf|strtok|gets|alloca)\(' $product
	ban 'no way to see an error' '(^|[^A-Za-z0-9_.>])(atoi|atol|atof)\(' $product
	ban 'runs a shell' '(^|[^A-Za-z0-9_.>])(system|popen)\(' $product
	ban 'say struct tag' 'typedef (struct|union|enum)' $code
	ban 'sides are client and upstream' \
		'(^|[^A-Za-z_])(downstream|backend|frontend|Downstream|Backend|Frontend)s?([^A-Za-z_]|$)' $texts
	ban 'finish it, or write down why not' '(^|[^A-Za-z])(TODO|FIXME|XXX|HACK)([^A-Za-z]|$)' $texts

	# Not a failure: a place to look.
	wc -l $code | awk '$2 != "total" && $1 > 600 { print "note: " $2 " has " $1 " lines" }'
}
exit $failed
