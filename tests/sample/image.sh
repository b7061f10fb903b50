#!/bin/sh
# Makes the sample image: image.sh TAG [APP]. One static program in an otherwise empty image, no registry needed.
set -eu

tag=${1:?usage: image.sh TAG [APP]}
app=${2:-${APP:-./tests/sample/app}}
docker=${DOCKER:-docker}

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp "$app" "$dir/app"
chmod 0755 "$dir/app"
tar --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$dir" -cf - app |
	"$docker" import --change 'ENTRYPOINT ["/app"]' --change 'EXPOSE 8080' - "$tag" >/dev/null
echo "$tag"
