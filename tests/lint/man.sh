#!/bin/sh
# Every man page is free of mandoc's warnings.
set -eu
cd "${srcdir:-.}"
command -v mandoc >/dev/null || { echo 'mandoc is not installed' >&2; exit 77; }
failed=0
for page in man/*.[1-8]; do
	[ -e "$page" ] || continue
	mandoc -T lint -W warning "$page" || failed=1
done
exit $failed
