#!/bin/bash
# Runs Bazel in a private Debian root under ~/.cache/ember, made on first use from
# tools/debian/bazel.lock and entered without privileges: a user and a mount namespace, a new root,
# then a second user namespace back to the caller's own uid (enter.sh). Modules come from the root's
# Debian packages, from modules.txt and from modules/, so no Bazel registry is asked.
#
# Under $cache everything is made in tmp and renamed when complete, by one process at a time:
#   lock                     held while something is made or removed
#   debs, tmp                downloads, which an interrupted run leaves to the next, and the rest
#   bazel-KEY/root           the Debian root
#   bazel-KEY/modules-KEY    rules_go and gazelle
#   bazel-KEY/trust-KEY      the certificates that this machine trusts
#   bazel-KEY/lock           held, shared, by whatever runs in the root
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin # chroot is there, which people's PATH often is not
caller_umask=$(umask)
umask 022
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
workspace=${here%/tools/bazelw}
debian=$workspace/tools/debian
export EMBER_PROGRAM=bazelw

say() { printf 'bazelw: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null; }
digest() { cat "$@" | sha256sum | cut -c1-12; }

# Top-level directories of the host that the private root has its own of, or none.
hidden="usr bin sbin lib lib32 lib64 libx32 libo32 etc dev proc sys run boot lost+found"

# usable DIR WHAT ends the run if DIR is not one that the private root shows and Bazel can use.
usable() {
  local top=${1#/} LC_ALL=C
  top=${top%%/*}
  [[ $1 != *[!\ -~]* ]] || die "$2 is $1, but Bazel knows only ASCII names: use a directory elsewhere"
  [[ " $hidden " != *" $top "* ]] ||
    die "$2 is $1, but /$top is not the host's in the private root in which Bazel runs: use a directory elsewhere, for example under /home, /srv, /opt or /var"
}

# places sets $cache and checks where everything is.
places() {
  [[ $(uname -sm) == "Linux x86_64" ]] || die "the private root holds programs for Linux on x86-64, and this is $(uname -sm): install bazelisk"
  [[ -n ${EMBER_CACHE:-${XDG_CACHE_HOME:-${HOME:-}}} ]] || die "HOME is not set: set it, or set EMBER_CACHE to a folder"
  cache=${EMBER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ember}
  { mkdir -p "$cache/mnt" && [[ -w $cache ]]; } 2>/dev/null || die "cannot write $cache: set EMBER_CACHE to a folder that can be written"
  cache=$(cd "$cache" && pwd -P)
  usable "$workspace" "the workspace"
  usable "$cache" "the cache"
  usable "$(pwd -P)" "the current directory"
  base=$cache/bazel-$(digest "$debian/bazel.lock" "$debian/debian.sh" "${BASH_SOURCE[0]}")
  root=$base/root
  modules=$base/modules-$(digest "$here/modules.txt" "$here/modules.bazelrc")
}

# namespaces sets NS to the command that gives a process mounts of its own.
namespaces() {
  have unshare || die "entering the private root needs unshare: install util-linux, or bazelisk"
  local probe=(mount -t tmpfs bazelw "$cache/mnt")
  NS=(unshare --user --map-root-user --mount --propagation slave)
  "${NS[@]}" "${probe[@]}" 2>/dev/null || die "this machine refuses user namespaces, in which the build runs its tools: $(refusal)"
  # Root of the machine keeps its rights over files of other users.
  local mounts=(unshare --mount --propagation slave)
  if ((EUID == 0)) && "${mounts[@]}" "${probe[@]}" 2>/dev/null; then NS=("${mounts[@]}"); fi
}

# refusal prints which setting forbids user namespaces, and what to do.
refusal() {
  local setting
  for setting in kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000 kernel.apparmor_restrict_unprivileged_userns=0; do
    local file=/proc/sys/${setting%=*} forbidding=0
    [[ $setting != *=0 ]] || forbidding=1
    if [[ $(cat "${file//./\/}" 2>/dev/null) == "$forbidding" ]]; then
      echo "allow them with 'sysctl $setting' as root"
      return
    fi
  done
  echo "a container has to be started with them allowed (--privileged), a chroot cannot have them"
}

# inside DIR sets INSIDE to the command that runs its arguments in DIR with the private root as /.
inside() {
  INSIDE=("${NS[@]}" "$BASH" "$here/enter.sh" "$root" "$trust" "$workspace/MODULE.bazel.lock" "$cache/mnt" "$hidden" "$1" "$EUID" "$(id -g)")
}

# network exports what the root, which has settings of its own, has to know of the host's.
network() {
  EMBER_DEBIAN_MIRROR=$("$debian/debian.sh" mirror debian)
  EMBER_DEBIAN_SECURITY_MIRROR=$("$debian/debian.sh" mirror debian-security)
  export EMBER_DEBIAN_MIRROR EMBER_DEBIAN_SECURITY_MIRROR
  if [[ -z ${http_proxy:-} ]] && have apt-config; then
    eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
    if [[ -n ${http_proxy:-} ]]; then export http_proxy; fi
  fi
}

# remove_old removes the roots of other versions of the lock in which nothing runs.
remove_old() {
  local old
  for old in "$cache"/bazel-*; do
    if [[ $old != "$base" && -d $old ]] && flock -n "$old/lock" rm -rf "$old"; then say "removed an older root, $old"; fi
  done
}

make_root() {
  local t=$cache/tmp free needed
  remove_old
  mkdir -p "$cache/debs"
  free=$(df --output=avail -m "$cache" | tail -n 1)
  needed=$((900 - $(du -sm "$cache/debs" | cut -f1)))
  ((free >= needed)) || die "the private root needs $needed MB in $cache, where ${free// /} MB are free: make room, or set EMBER_CACHE to another folder"
  say "making a private root with Bazel in $base (once; about a minute)"
  "$debian/debian.sh" fetch "$debian/bazel.lock" "$cache/debs"
  right_bazel
  say "unpacking them"
  "$debian/debian.sh" unpack "$debian/bazel.lock" "$cache/debs" "$t/root"
  rm -rf "$t/root/etc/bazel" # Debian's own settings for every workspace
  mkdir -p "$t/root/etc/ssl/certs/java"
  touch "$t/root/etc/"{passwd,group,hosts,resolv.conf,nsswitch.conf,ssl/certs/ca-certificates.crt,bazelw.lock}
  cat "$t/root/usr/share/ca-certificates/mozilla"/*.crt >"$t/root/etc/ssl/mozilla.crt"
  mkdir -p "$base"
  mv "$t/root" "$root"
}

# right_bazel ends the run if the suite's present Bazel, where the locked one is gone, is another.
right_bazel() {
  local sha256 version wanted
  sha256=$(sed -n 's/^deb bazel-bootstrap .* //p' "$debian/bazel.lock")
  version=$("$debian/debian.sh" version "$cache/debs/$sha256.deb")
  wanted=$(<"$workspace/.bazelversion")
  [[ ${version%%.*} == "${wanted%%.*}" ]] ||
    die "Ember is built by Bazel $wanted, and the mirror has only $version left: set EMBER_DEBIAN_MIRROR to a mirror with older files, update this workspace (git pull), or install bazelisk"
}

# make_trust makes $trust: what this machine trusts, for OpenSSL, Go and Java.
make_trust() {
  local t=$cache/tmp/trust
  mkdir -p "$t/java"
  cp "$bundle" "$t/ca-certificates.crt"
  grep -q '^-----BEGIN CERTIFICATE-----' "$bundle" || die "$bundle holds no certificates: set SSL_CERT_FILE to a file that does"
  csplit -s -z -f "$t/ca" -b '%04d.crt' "$bundle" '/^-----BEGIN CERTIFICATE-----/' '{*}'
  trust=$t inside /
  printf '+%s\n' "$t"/ca[0-9]*.crt |
    "${INSIDE[@]}" /usr/lib/jvm/default-java/bin/java -jar /usr/share/ca-certificates-java/ca-certificates-java.jar -storepass changeit >"$t/log" 2>&1 ||
    die "making Java's trust store from $bundle failed: $(tail -n 1 "$t/log")"
  rm -f "$t"/ca[0-9]*.crt "$t/log"
  mv "$t" "$trust"
}

# go_proxy exports GOPROXY: the environment's, the host's Go's, else what Debian's Go is set to.
go_proxy() {
  export GOPROXY=${GOPROXY:-}
  # In / and of this version: a go.mod could make it fetch another Go first.
  if [[ -z $GOPROXY ]] && have go; then GOPROXY=$(cd / && GOTOOLCHAIN=local go env GOPROXY) || GOPROXY=; fi
  if [[ -z $GOPROXY ]]; then
    [[ -s $cache/goproxy ]] || ask_debian
    GOPROXY=$(<"$cache/goproxy")
  fi
  [[ $GOPROXY == *://* ]] || die "no Go module proxy is known here (GOPROXY is '$GOPROXY'): set GOPROXY to the address of one"
}

# ask_debian writes the Go module proxy to which Debian's Go is set to $cache/goproxy.
ask_debian() {
  local sha256
  sha256=$(sed -n 's/^deb .* //p' "$debian/goproxy.lock")
  say "asking Debian's Go package for its module proxy"
  # Nothing is built of it, so any version does.
  EMBER_LOCKED='' "$debian/debian.sh" fetch "$debian/goproxy.lock" "$cache/debs"
  "$debian/debian.sh" data "$cache/debs/$sha256.deb" | tar -xO --wildcards '*/go.env' | sed -n 's/^GOPROXY=//p' >"$cache/tmp/goproxy"
  mv "$cache/tmp/goproxy" "$cache/goproxy"
}

make_modules() {
  local t=$cache/tmp/modules name module version sha256 settings
  mkdir -p "$t"
  say "fetching rules_go and gazelle from the Go module proxy"
  inside "$t"
  while read -r name module version sha256; do
    fetch_module "$module" "$version" "$sha256" "$t/zip"
    "${INSIDE[@]}" unzip -q zip -d unzipped </dev/null
    mv "$t/unzipped/$module@$version" "$t/$name"
    rm -rf "$t/unzipped" "$t/zip"
  done < <(grep -v '^#' "$here/modules.txt")
  grep -rlIZ --include=*.sh --include=*.bash '^#!' "$t" | xargs -0 -r chmod +x # module zips carry no modes
  settings=$(<"$here/modules.bazelrc")
  printf '%s\n' "${settings//@MODULES@/"$modules"}" >"$t/bazelrc"
  mv "$t" "$modules"
}

# fetch_module MODULE VERSION SHA256 FILE downloads a module's zip from the first proxy that has it.
fetch_module() {
  local proxy error=
  for proxy in ${GOPROXY//[,|]/ }; do
    [[ $proxy == *://* ]] || continue
    error=$("${INSIDE[@]}" curl -fsS --retry 3 --connect-timeout 20 -o "$4" "${proxy%/}/$1/@v/$2.zip" </dev/null 2>&1) || continue
    [[ $(sha256sum <"$4") == "$3 "* ]] || die "$1 $2 from the Go module proxy does not have the hash in tools/bazelw/modules.txt: check GOPROXY, and that nothing rewrites downloads"
    return
  done
  die "downloading $1 $2 from the Go module proxy failed: ${error%%$'\n'*}; check GOPROXY and https_proxy, and if the network has a certificate authority of its own, set SSL_CERT_FILE to a file with its certificate"
}

# make makes what is missing, and sets $bundle and $trust.
make() {
  exec 9>>"$cache/lock"
  flock -n 9 || { say "waiting for another bazelw that is making the private root"; flock 9; }
  rm -rf "$cache/tmp"
  mkdir "$cache/tmp"
  go_proxy
  [[ -e $root ]] || make_root
  for bundle in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem "$root/etc/ssl/mozilla.crt"; do
    if [[ -s $bundle ]]; then break; fi
  done
  trust=$base/trust-$(digest "$bundle")
  [[ -e $trust ]] || make_trust
  [[ -e $modules ]] || make_modules
  rm -rf "$cache/tmp" "$cache/debs"
  exec 8>>"$base/lock"
  flock -s 8
  exec 9>&-
}

# start replaces this process by Bazel.
start() {
  local changes
  # These make a server restart that runs in an older root or beside replaced files: what is mounted
  # over a file stays with the file.
  changes=$(stat -L -c %i.%Z "$workspace/MODULE.bazel.lock" /etc/hosts /etc/resolv.conf 2>/dev/null | paste -sd,) || true
  inside "$(pwd -P)"
  umask "$caller_umask"
  # Locales, libraries and certificates are the root's.
  exec "${INSIDE[@]}" env -u LD_LIBRARY_PATH -u LD_PRELOAD -u SSL_CERT_DIR -u CURL_CA_BUNDLE \
    LC_ALL=C.UTF-8 SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    bazel --bazelrc="$modules/bazelrc" --host_jvm_args="-Dember.root=${base##*/},${trust##*/},$changes" "$@"
}

places
namespaces
if [[ " $* " == *" --config=locked "* ]]; then export EMBER_LOCKED=1; fi
network
make
start "$@"
