#!/bin/bash
# Builds targets twice, as differently as one machine allows, and compares every byte: two clones
# in two folders, two homes (so two private roots, two output bases, nothing cached), two umasks,
# locales and time zones, as root also two users; and in the second the host's compiler fails.
#
#   tools/reproduce.sh [TARGET...]        default: //kernel //image //os:release
#
# Prints the hash of every output, and exits with 1 if one differs. Two kernels take a while.
set -euo pipefail
workspace=$(cd "$(dirname "$0")/.." && pwd -P)
targets=("$@")
((${#targets[@]})) || targets=(//kernel //image //os:release)
work=$(mktemp -d)
chmod 755 "$work"

# build NAME FOLDER UMASK LOCALE ZONE USER writes the hashes of the outputs to $work/NAME.
build() {
  local name=$1 folder=$work/$2 mask=$3 locale=$4 zone=$5 user=$6 run=()
  git clone -q "$workspace" "$folder"
  mkdir "$work/home-$name" "$work/tmp-$name"
  if [[ $user != "$(id -u)" ]]; then
    chown -R "$user" "$folder" "$work/home-$name" "$work/tmp-$name"
    run=(setpriv --reuid "$user" --regid "$user" --clear-groups)
  fi
  echo "building ${targets[*]} in $folder, umask $mask, LC_ALL=$locale, TZ=$zone, uid $user" >&2
  (
    cd "$folder"
    umask "$mask"
    export HOME=$work/home-$name TMPDIR=$work/tmp-$name USER=user-$name LC_ALL=$locale TZ=$zone
    unset XDG_CACHE_HOME EMBER_CACHE
    "${run[@]}" ./bazelw build "${targets[@]}" >&2
    "${run[@]}" ./bazelw cquery --output=files "set(${targets[*]})" 2>/dev/null | sort |
      while read -r output; do find "$output" -type f -exec sha256sum {} +; done | sed 's#bazel-out/[^/]*/bin/##' | sort -k2
    "${run[@]}" ./bazelw shutdown >&2
  ) >"$work/$name"
}

other=$(id -u)
[[ $other != 0 ]] || other=65534
build one ember 022 C.UTF-8 UTC "$(id -u)"
mkdir "$work/broken"
for tool in cc gcc g++ as ld ar strip objcopy; do ln -s /bin/false "$work/broken/$tool"; done
export PATH=$work/broken:$PATH
build two "another folder/ember" 077 POSIX Pacific/Auckland "$other"
cat "$work/one"
[[ -s $work/one ]] || { echo "no outputs were found" >&2; exit 1; }
if diff "$work/one" "$work/two"; then
  echo "both builds gave the same bytes"
  chmod -R u+w "$work"; rm -rf "$work"
else
  echo "the builds differ; they are in $work" >&2
  exit 1
fi
