#!/bin/bash
# Debian packages without dpkg's database: resolves, fetches and unpacks what a lock names.
#
#   debian.sh mirror ARCHIVE             where this machine gets debian or debian-security
#   debian.sh lock SPEC                  resolves SPEC (see tools/debian/README.md), prints a lock
#   debian.sh fetch LOCK DEBS [NAME...]  downloads the named packages, or all, to DEBS/<sha256>.deb
#   debian.sh unpack LOCK DEBS DEST      unpacks all of them into the new directory DEST
#   debian.sh data DEB                   writes one package's files as a tar stream
#   debian.sh version DEB                prints one package's version
#
# fetch shows progress and checks every file's hash. For a version that the mirror no longer has it
# takes the suite's present one, with a warning, or refuses if EMBER_LOCKED is set.
#
# It needs bash, coreutils, grep, sed, tar and either apt or curl; xz where there is no dpkg-deb.
# bazelw runs it before there is a Bazel, repository rules run it afterwards: every tool root is
# made by this file. Anything that goes wrong ends it with one sentence on standard error and exit
# status 1.
set -euo pipefail
umask 022
export LC_ALL=C

program=${EMBER_PROGRAM:-debian.sh}
apt_helper=/usr/lib/apt/apt-helper # in no PATH
scratch='' ticker=''
trap 'rm -rf "$scratch"; [[ -z $ticker ]] || kill "$ticker" 2>/dev/null || true' EXIT

say() { printf '%s: %s\n' "$program" "$*" >&2; }
die() { say "$*"; exit 1; }
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
  [[ -n $main ]] || die "neither apt's sources nor EMBER_DEBIAN_MIRROR name a Debian mirror: set the latter to the address of one (a folder that holds dists/ and pool/)"
  main=${main%/}
  case $archive in
    debian) echo "$main" ;;
    debian-security) security=${security:-${main%/debian}/debian-security}; echo "${security%/}" ;;
    *) die "unknown archive '$archive'" ;;
  esac
}

archive_of() { case $1 in *-security) echo debian-security ;; *) echo debian ;; esac; }

# private_apt DIR FILE makes apt's whole state in a directory for the suites and components of a spec
# or lock, and sets APT_CONFIG.
private_apt() {
  local dir=$1 key suites suite uri components
  mapfile -t suites < <(lines suite "$2")
  components=$({ echo main; lines component "$2"; } | paste -sd' ')
  have apt-get || die "resolving Debian packages needs apt-get, which this machine does not have: run it on Debian or through ./bazelw without bazelisk on PATH"
  key=/usr/share/keyrings/debian-archive-keyring.gpg
  [[ -e $key ]] || key=/usr/share/keyrings/debian-archive-keyring.pgp
  [[ -e $key ]] || die "checking Debian's signatures needs the package debian-archive-keyring: install it"
  mkdir -p "$dir"/{state/lists/partial,cache/archives/partial,empty}
  : >"$dir/status"
  for suite in "${suites[@]}"; do
    uri=$(mirror "$(archive_of "$suite")")
    printf 'deb [signed-by=%s] %s %s %s\n' "$key" "$uri" "$suite" "$components"
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
  apt-get -qq update >"$dir/log" 2>&1 ||
    die "reading the package lists of ${suites[*]} failed: $(grep -m1 '^E:' "$dir/log" || tail -n 1 "$dir/log"); check the mirrors that apt, or EMBER_DEBIAN_MIRROR and EMBER_DEBIAN_SECURITY_MIRROR, name"
}

# lines KEY FILE prints what follows KEY on each line that starts with it.
lines() { sed -n "s/^$1 //p" "$2"; }

lock() {
  local spec=$1 wanted drop security get=(-y install)
  scratch=$(mktemp -d)
  mapfile -t wanted < <(lines package "$spec")
  drop=$(lines without "$spec" | paste -sd'|')
  [[ -z $(lines dependencies "$spec") ]] || get=(download)
  security=$(mirror debian-security)
  private_apt "$scratch" "$spec"
  apt-get --print-uris "${get[@]}" "${wanted[@]}" >"$scratch/plan" 2>"$scratch/log" ||
    die "resolving $spec: $(grep -hE '^E:|Depends:' "$scratch/log" "$scratch/plan" | head -n 3 | paste -sd' ')"
  grep -E '^(suite|component|exclude|link) ' "$spec"
  # 'URI' NAME_VERSION_ARCH.deb SIZE SHA256:HEX
  sed -n "s#^'\(.*\)/\(pool/[^']*\)' \([^_]*\)_\([^_]*\)_[^ ]* \([0-9]*\) SHA256:\(.*\)#\3 \4 \1 \2 \5 \6#p" "$scratch/plan" |
    while read -r name version uri path size sha256; do
      archive=debian
      [[ ${uri%/} != "$security" ]] || archive=debian-security
      echo "deb $name ${version//%3a/:} $archive $path $size $sha256"
    done | grep -Ev "^deb (${drop:-^$}) " | sort
}

# good FILE SHA256
good() { [[ -f $1 && $(sha256sum <"$1") == "$2 "* ]]; }

# room DIR ends the run if room is what is missing there.
room() {
  (($(df --output=avail -m "$1" | tail -n 1) > 10)) || die "the disk that holds $1 is full: make room and start again"
}

fetch() {
  local lock=$1 debs=$2 name size total=0; shift 2
  (($#)) || set -- $(lines deb "$lock" | cut -d' ' -f1)
  while read -r name _ _ _ size _; do [[ " $* " != *" $name "* ]] || total=$((total + size)); done < <(lines deb "$lock")
  total=$((total / 1000000))
  say "fetching $# Debian packages, $total MB"
  mkdir -p "$debs"
  progress "$debs" "$total" 9>&- & # bazelw's lock, which the last sleep would keep
  ticker=$!
  take "$lock" "$debs" "$@"
}

# progress DIR TOTAL shows how many of TOTAL MB are in DIR, every second on a terminal and every 20
# seconds elsewhere, until it is killed or this script has ended.
progress() {
  local ticks=0 every=20 end='\n'
  if [[ -t 2 ]]; then every=1 end='\r'; fi
  while sleep 1 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
    ticks=$((ticks + 1))
    ((ticks % every)) || printf "%s: %s of %s MB$end" "$program" "$(du -s -BMB "$1" | sed 's/MB.*//')" "$2" >&2
  done
}

# take LOCK DEBS NAME... downloads what is not there yet.
take() {
  local lock=$1 debs=$2 name archive path sha256 text want='' failed='' gone=() wrong=(); shift 2
  local -A base=([debian]=$(mirror debian) [debian-security]=$(mirror debian-security)) hash=() fault=()
  have apt-get || have curl || die "downloading Debian packages needs apt or curl: install one of them"
  rm -f "$debs"/*.part
  while read -r name _ archive path _ sha256; do
    if [[ " $* " == *" $name "* ]] && ! good "$debs/$sha256.deb" "$sha256"; then
      want+="$name ${base[$archive]}/$path"$'\n'
      hash[$name]=$sha256
    fi
  done < <(lines deb "$lock")
  while read -r name text; do fault[$name]=$text; done < <(cd "$debs" && download <<<"$want")
  for name in "${!hash[@]}"; do
    if good "$debs/$name.part" "${hash[$name]}"; then
      mv "$debs/$name.part" "$debs/${hash[$name]}.deb"
    elif [[ ${fault[$name]:-} =~ ^(404|410) ]]; then
      gone+=("$name")
    elif [[ -s $debs/$name.part && -z ${fault[$name]:-} ]]; then
      wrong+=("$name")
    else
      failed="downloading $name: ${fault[$name]:-ended early}"
    fi
  done
  [[ -z ${wrong[*]} ]] || die "the mirror serves other bytes than the lock names for: ${wrong[*]}; take another mirror (EMBER_DEBIAN_MIRROR), and check that nothing rewrites downloads"
  [[ -z $failed ]] || { room "$debs"; die "$failed; check the network, http_proxy, and the mirror that apt or EMBER_DEBIAN_MIRROR names"; }
  [[ -z ${gone[*]} ]] || present "$lock" "$debs" "${gone[@]}"
}

# download reads lines of a package's name and URL, writes what is there to NAME.part, and prints a
# line of name and reason (an HTTP status first) for each that failed.
download() {
  local name url args=()
  if have apt-get && [[ -x $apt_helper ]]; then
    while read -r name url; do args+=("$url" "$name.part" ''); done < <(grep .)
    "$apt_helper" -qq -o APT::Sandbox::User= download-file "${args[@]}" 2>&1 |
      sed -n 's#^E: Failed to fetch .*/\([^_/]*\)_[^ ]*  *#\1 #p'
  else
    sed -n 's/\(.*\) \(.*\)/url = "\2"\noutput = "\1.part"/p' |
      curl -sS -L -Z --parallel-max 8 --retry 3 --connect-timeout 20 --speed-time 60 --speed-limit 1 \
        -w '%{filename_effective} %{http_code} %{errormsg}\n' -K - 2>/dev/null |
      sed -n '/ 200 $/d; s/\.part / /p'
  fi || true # take judges by what is there
}

# present LOCK DEBS NAME... takes the suite's present version of packages that have left the mirror.
present() {
  local lock=$1 debs=$2 name taken=(); shift 2
  local advice="renew the lock with 'bazel run //tools/debian:lock'"
  [[ -z ${EMBER_LOCKED:-} ]] || die "the mirror no longer has the locked version of: $*; $advice, or leave out --config=locked to take the suite's present versions"
  have apt-get || die "the mirror no longer has the locked version of: $*, and finding the present one needs apt, which this machine does not have: set EMBER_DEBIAN_MIRROR to a mirror with older files, or update this workspace"
  debs=$(cd "$debs" && pwd)
  scratch=$debs/present
  private_apt "$scratch" "$lock"
  (cd "$scratch" && apt-get -qq download "$@" >log 2>&1) ||
    die "the mirror no longer has the locked version of: $*, and not all of them in another one ($(grep -m1 '^E:' "$scratch/log" || tail -n 1 "$scratch/log")); update this workspace, $advice, or set EMBER_DEBIAN_MIRROR to a mirror with older files"
  for name; do
    taken+=("$(basename "$scratch/$name"_*.deb)")
    mv "$scratch/$name"_*.deb "$debs/$(lines deb "$lock" | sed -n "s/^$name .* //p").deb"
  done
  echo "WARNING: locked versions have left the mirror, and the suite's present ones are taken, so the bytes of what is built may differ from others': ${taken[*]}; $advice" >&2
}

# part FILE AT SIZE writes SIZE bytes of a file.
part() { dd if="$1" bs=1M iflag=skip_bytes,count_bytes skip="$2" count="$3" status=none; }

# member DEB NAME writes the archive member NAME.tar.* (data, control), unpacked, as a tar stream.
member() {
  local at=8 name size
  while read -r name _ _ _ _ size _ < <(part "$1" "$at" 60) && [[ -n $name ]]; do
    at=$((at + 60))
    case $name in
      "$2".tar.xz*) part "$1" "$at" "$size" | xz -dc; return ;;
      "$2".tar.zst*) part "$1" "$at" "$size" | zstd -dc; return ;;
      "$2".tar.gz*) part "$1" "$at" "$size" | gzip -dc; return ;;
    esac
    at=$((at + size + size % 2))
  done
  die "$1 is not a Debian package"
}

# data DEB writes the package's files as a tar stream.
data() { if have dpkg-deb; then dpkg-deb --fsys-tarfile "$1"; else member "$1" data; fi; }

# version DEB prints the package's version.
version() { if have dpkg-deb; then dpkg-deb -f "$1" Version; else member "$1" control | tar -xO ./control | lines Version: /dev/stdin; fi; }

unpack() {
  local lock=$1 debs=$2 dest=$3 list links name sha256 target error n=0 total excludes=()
  mapfile -t excludes < <(lines exclude "$lock" | sed 's/^/--exclude=/')
  list=$(lines deb "$lock")
  links=$(lines link "$lock")
  [[ -n $list ]] || die "$lock names no package"
  mkdir -p "$dest"
  # base-files first: it has the links from /bin to /usr/bin that the others rely on.
  list=$(grep '^base-files ' <<<"$list" || true; grep -v '^base-files ' <<<"$list")
  total=$(wc -l <<<"$list")
  while read -r name _ _ _ _ sha256; do
    n=$((n + 1))
    if [[ -t 2 ]]; then printf '%s: unpacking %s of %s\r' "$program" "$n" "$total" >&2; fi
    error=$({ data "$debs/$sha256.deb" | tar -x -C "$dest" --no-same-owner --no-same-permissions "${excludes[@]}"; } 2>&1) ||
      { room "$dest"; die "unpacking $name into $dest failed: ${error##*$'\n'}"; }
  done <<<"$list"
  chmod -R u+rwX "$dest"
  [[ -z $links ]] || while read -r name target; do ln -sfn "$target" "$dest/$name"; done <<<"$links"
}

case ${1:-} in
  mirror | lock | fetch | unpack | data | version) "$@" ;;
  *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2 ;;
esac
