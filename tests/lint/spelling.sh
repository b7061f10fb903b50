#!/bin/sh
# Words for people are spelled right.
set -eu
cd "${srcdir:-.}"
command -v codespell >/dev/null || { echo 'codespell is not installed' >&2; exit 77; }
# shellcheck disable=SC2046 # folders that are there
codespell --quiet-level=2 --skip='tests/fuzz/corpus,*.pyc' \
	--ignore-words-list='fo,nd,nin,statics,te,toke' \
	$(for f in src tests man init scripts web/src README.md ARCHITECTURE.md HACKING.md; do
		if [ -e "$f" ]; then echo "$f"; fi
	done)
