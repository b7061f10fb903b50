#!/bin/sh
# Makes `configure` from configure.ac; needed once after a clone.
set -eu
cd "$(dirname "$0")"
exec autoreconf --install --warnings=all,error
