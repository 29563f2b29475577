#!/bin/bash
# Debian packages without dpkg's database: resolves, fetches and unpacks what a lock names.
#
#   debian.sh mirror ARCHIVE             where this machine gets debian or debian-security
#   debian.sh lock SPEC                  resolves SPEC (see tools/debian/README.md), prints a lock
#   debian.sh fetch LOCK DEBS            downloads every package to DEBS/<sha256>.deb, checks it
#   debian.sh newest LOCK DEBS NAME...   takes the suite's present version for packages gone from the mirror
#   debian.sh unpack LOCK DEBS DEST      unpacks all of them into the new directory DEST
#   debian.sh data DEB                   writes one package's files as a tar stream
#   debian.sh version DEB                prints one package's version
#
# It needs bash, tar, sha256sum and either apt or curl; xz where there is no dpkg-deb. bazelw runs it before there is
# a Bazel, repository rules run it afterwards: every tool root is made by this file. Anything that
# goes wrong ends it with one sentence on standard error and exit status 1.
set -euo pipefail
umask 022
export LC_ALL=C

die() { printf '%s: %s\n' "${EMBER_PROGRAM:-debian.sh}" "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# mirror prints the URI of an archive: the environment's, else the one in apt's own sources.
mirror() {
  local archive=$1 uris main security
  main=${EMBER_DEBIAN_MIRROR:-}
  security=${EMBER_DEBIAN_SECURITY_MIRROR:-}
  if [[ -z $main ]] && have apt-get; then
    uris=$(apt-get update --print-uris 2>/dev/null | sed -n "s#^'\(.*\)/dists/\([^/]*\)/main/binary-.*#\1 \2#p") || true
    main=$(sed -n 's#^\(.*/debian\)/* .*#\1#p' <<<"$uris" | head -n 1)
    security=${security:-$(sed -n 's#^\(.*/debian-security\)/* .*-security$#\1#p' <<<"$uris" | head -n 1)}
  fi
  [[ -n $main ]] || die "this machine's apt names no Debian mirror: set EMBER_DEBIAN_MIRROR to the address of one (a folder that holds dists/ and pool/), or install bazelisk and a Debian mirror address all the same for the compilers"
  main=${main%/}
  case $archive in
    debian) echo "$main" ;;
    debian-security) security=${security:-${main%/debian}/debian-security}; echo "${security%/}" ;;
    *) die "unknown archive '$archive'" ;;
  esac
}

archive_of() { case $1 in *-security) echo debian-security ;; *) echo debian ;; esac; }

# private_apt makes apt's whole state in directory $1 for the suites named after it, and fills APT.
private_apt() {
  local dir=$1 key suite uri; shift
  have apt-get || die "resolving Debian packages needs apt-get, which this machine does not have: run it on Debian or through ./bazelw without bazelisk on PATH"
  key=/usr/share/keyrings/debian-archive-keyring.gpg
  [[ -e $key ]] || key=/usr/share/keyrings/debian-archive-keyring.pgp
  [[ -e $key ]] || die "checking Debian's signatures needs the package debian-archive-keyring: install it"
  mkdir -p "$dir"/{state/lists/partial,cache/archives/partial,empty}
  : >"$dir/status"
  for suite; do
    uri=$(mirror "$(archive_of "$suite")")
    printf 'deb [signed-by=%s] %s %s main\n' "$key" "$uri" "$suite"
  done >"$dir/sources.list"
  # A lock is compared with old indexes on purpose, so an expired index is as good as a fresh one.
  printf '%s;\n' \
    "Dir::Etc::sourcelist \"$dir/sources.list\"" 'Dir::Etc::sourceparts "/dev/null"' \
    'Dir::Etc::preferences "/dev/null"' 'Dir::Etc::preferencesparts "/dev/null"' \
    "Dir::State \"$dir/state\"" "Dir::State::status \"$dir/status\"" "Dir::Cache \"$dir/cache\"" \
    'APT::Install-Recommends "false"' 'APT::Architecture "amd64"' 'APT::Architectures "amd64"' \
    'APT::Sandbox::User ""' 'Acquire::Languages "none"' 'Acquire::Check-Valid-Until "false"' \
    'Debug::NoLocking "true"' 'Acquire::ForceHash "sha256"' 'Binary::apt-get::APT::Update::Post-Invoke-Success ""' >"$dir/apt.conf"
  export APT_CONFIG=$dir/apt.conf
  apt-get -qq update >"$dir/log" 2>&1 || die "reading the package lists of $* failed: $(grep -m1 '^[EW]:' "$dir/log" || tail -n 1 "$dir/log")"
}

# lines KEY FILE prints what follows KEY on each line that starts with it.
lines() { sed -n "s/^$1 //p" "$2"; }


lock() {
  local spec=$1 suites wanted drop security get=(-y install)
  scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
  mapfile -t suites < <(lines suite "$spec")
  mapfile -t wanted < <(lines package "$spec")
  drop=$(lines without "$spec" | paste -sd'|')
  [[ -z $(lines dependencies "$spec") ]] || get=(download)
  security=$(mirror debian-security)
  private_apt "$scratch" "${suites[@]}"
  apt-get --print-uris "${get[@]}" "${wanted[@]}" >"$scratch/plan" 2>"$scratch/log" ||
    die "resolving $spec: $(grep -hE '^E:|Depends:' "$scratch/log" "$scratch/plan" | head -n 3 | paste -sd' ')"
  grep -E '^(suite|exclude|link) ' "$spec"
  # 'URI' NAME_VERSION_ARCH.deb SIZE SHA256:HEX
  sed -n "s#^'\(.*\)/\(pool/[^']*\)' \([^_]*\)_\([^_]*\)_[^ ]* \([0-9]*\) SHA256:\(.*\)#\3 \4 \1 \2 \5 \6#p" "$scratch/plan" |
    while read -r name version uri path size sha256; do
      archive=debian
      [[ ${uri%/} != "$security" ]] || archive=debian-security
      echo "deb $name ${version//%3a/:} $archive $path $size $sha256"
    done | grep -Ev "^deb (${drop:-^$}) " | sort
}

# good FILE SHA256
good() { [[ -f $1 && $(sha256sum <"$1") == "$2"* ]]; }

fetch() {
  local lock=$1 debs=$2 name version archive path size sha256 n=0 total missing=()
  mkdir -p "$debs"
  local -A uri=([debian]=$(mirror debian) [debian-security]=$(mirror debian-security))
  local -a names=() urls=() sums=()
  while read -r name version archive path size sha256; do
    good "$debs/$sha256.deb" "$sha256" && continue
    names+=("$name"); urls+=("${uri[$archive]}/$path"); sums+=("$sha256"); n=$((n + size))
  done < <(lines deb "$lock")
  total=${#names[@]}
  ((total == 0)) && return
  echo "fetching $total Debian packages, $((n / 1000000)) MB" >&2
  local i
  if have curl; then
    for i in "${!urls[@]}"; do printf 'url = "%s"\noutput = "%s/%s.part"\n' "${urls[i]}" "$debs" "${sums[i]}"; done |
      curl -sS --retry 3 --fail -Z --parallel-max 8 -K - 2>"$debs/curl.log" || true
  elif [[ -x /usr/lib/apt/apt-helper ]]; then
    for i in "${!urls[@]}"; do /usr/lib/apt/apt-helper -qq download-file "${urls[i]}" "$debs/${sums[i]}.part" "SHA256:${sums[i]}" || true; done
  else
    die "downloading Debian packages needs curl or apt: install one of them"
  fi
  for i in "${!sums[@]}"; do
    if good "$debs/${sums[i]}.part" "${sums[i]}"; then mv "$debs/${sums[i]}.part" "$debs/${sums[i]}.deb"
    else rm -f "$debs/${sums[i]}.part"; missing+=("${names[i]}"); fi
  done
  rm -f "$debs/curl.log"
  ((${#missing[@]} == 0)) || newest "$lock" "$debs" "${missing[@]}"
}

newest() {
  local lock=$1 debs=$2 suites name sha256; shift 2
  [[ -z ${EMBER_LOCKED:-} ]] || die "the mirror no longer has the locked version of: $*; renew the lock with 'bazel run //tools/debian:lock', or leave out --config=locked to take the suite's present versions"
  debs=$(cd "$debs" && pwd)
  lock=$(cd "$(dirname "$lock")" && pwd)/$(basename "$lock")
  scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
  mapfile -t suites < <(lines suite "$lock")
  private_apt "$scratch" "${suites[@]}"
  for name; do
    (cd "$scratch" && apt-get -qq download "$name" >log 2>&1) || die "downloading $name: $(tail -n 1 "$scratch/log")"
    sha256=$(lines deb "$lock" | grep "^$name " | cut -d' ' -f6)
    echo "WARNING: $name: the locked version has left the mirror; taking $(basename "$scratch/$name"_*.deb), so the bytes of what is built may differ from others'; renew the lock with 'bazel run //tools/debian:lock'" >&2
    mv "$scratch/$name"_*.deb "$debs/$sha256.deb"
  done
}

# member DEB NAME writes the archive member NAME.tar.* (data, control), unpacked, as a tar stream.
member() {
  local at=8 name size
  while read -r name _ _ _ _ size _ < <(tail -c +$((at + 1)) "$1" | head -c 60) && [[ -n $name ]]; do
    case $name in
      "$2".tar.xz*) tail -c +$((at + 61)) "$1" | head -c "$size" | xz -dc; return ;;
      "$2".tar.zst*) tail -c +$((at + 61)) "$1" | head -c "$size" | zstd -dc; return ;;
      "$2".tar.gz*) tail -c +$((at + 61)) "$1" | head -c "$size" | gzip -dc; return ;;
    esac
    at=$((at + 60 + size + size % 2))
  done
  die "$1 is not a Debian package"
}

# data DEB writes the package's files as a tar stream.
data() { if have dpkg-deb; then dpkg-deb --fsys-tarfile "$1"; else member "$1" data; fi; }

# version DEB prints the package's version.
version() { if have dpkg-deb; then dpkg-deb -f "$1" Version; else member "$1" control | tar -xO ./control | lines Version: /dev/stdin; fi; }

unpack() {
  local lock=$1 debs=$2 dest=$3 list links name version archive path size sha256 target excludes=()
  mapfile -t excludes < <(lines exclude "$lock" | sed 's/^/--exclude=/')
  list=$(lines deb "$lock")
  links=$(lines link "$lock")
  [[ -n $list ]] || die "$lock names no package"
  mkdir -p "$dest"
  # base-files first: it has the links from /bin to /usr/bin that the others rely on.
  list=$(grep '^base-files ' <<<"$list"; grep -v '^base-files ' <<<"$list")
  while read -r name version archive path size sha256; do
    data "$debs/$sha256.deb" | tar -x -C "$dest" --no-same-owner --no-same-permissions "${excludes[@]}" || die "unpacking $name into $dest failed: is the disk full?"
  done <<<"$list"
  chmod -R u+rwX "$dest"
  [[ -z $links ]] || while read -r name target; do ln -sfn "$target" "$dest/$name"; done <<<"$links"
}

case ${1:-} in
  mirror | lock | fetch | newest | unpack | data | version) "$@" ;;
  *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2 ;;
esac
