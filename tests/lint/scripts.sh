#!/bin/sh
# Every shell script passes shellcheck.
set -eu
cd "${srcdir:-.}"
command -v shellcheck >/dev/null || { echo 'shellcheck is not installed' >&2; exit 77; }
# Those without the suffix are named one by one.
scripts=$(find ./*.sh .ci scripts tests bench init -type f \( -name "*.sh" -o -path .ci/run \) 2>/dev/null || true)
# shellcheck disable=SC2086 # a list of file names without blanks
shellcheck --severity=warning $scripts
