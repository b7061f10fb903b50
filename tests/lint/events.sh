#!/bin/sh
# Every type of event that the domain tells is explained in temps-events(1), and no other.
set -eu
cd "${srcdir:-.}"
told=$(grep -ohE '"([A-Z][a-z]+){2,}"' src/sched/*.c | tr -d '"' | sort -u)
explained=$(sed -n 's/^\.It \(\([A-Z][a-z]\{1,\}\)\{2,\}\)$/\1/p' man/temps-events.1 | sort -u)
[ "$told" = "$explained" ] && exit 0
for type in $told; do
	echo "$explained" | grep -qx "$type" || echo "src/sched: $type is not explained in man/temps-events.1" >&2
done
for type in $explained; do
	echo "$told" | grep -qx "$type" || echo "man/temps-events.1: nobody tells $type" >&2
done
exit 1
