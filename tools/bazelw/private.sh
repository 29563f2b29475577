#!/bin/bash
# Runs Bazel in a private Debian root under ~/.cache/ember, made on first use from
# tools/debian/bazel.lock, and entered without privileges: a user and a mount namespace, pivot_root,
# then a second user namespace back to the caller's own uid. Modules come from the root's Debian
# packages, from modules.txt and from modules/, so no Bazel registry is asked.
# Every step is made under a temporary name and renamed when complete, under a lock.
set -euo pipefail
umask 022
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
workspace=${here%/tools/bazelw}
debian=$workspace/tools/debian
cache=${EMBER_CACHE:-${XDG_CACHE_HOME:-${HOME:?bazelw: HOME is not set: set it, or set EMBER_CACHE to a folder}/.cache}/ember}
export EMBER_PROGRAM=bazelw

say() { printf 'bazelw: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
digest() { cat "$@" | sha256sum | cut -c1-12; }

root=$cache/root-$(digest "$debian/bazel.lock" "$debian/debian.sh" "${BASH_SOURCE[0]}")
modules=$cache/modules-$(digest "$here/modules.txt" "$here/modules.bazelrc" "${BASH_SOURCE[0]}")

# namespaces sets NS to the command that gives a process mounts of its own.
namespaces() {
  command -v unshare >/dev/null || die "entering the private root needs unshare: install util-linux, or bazelisk"
  if [[ $(id -u) == 0 ]] && unshare --mount true 2>/dev/null; then
    NS=(unshare --mount --propagation private)
  elif unshare --user --map-root-user --mount true 2>/dev/null; then
    NS=(unshare --user --map-root-user --mount --propagation private)
  else
    die "this machine refuses user namespaces, in which the build runs its tools: allow them (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces=10000, kernel.apparmor_restrict_unprivileged_userns=0), or in a container add --privileged"
  fi
}

# enter DIR COMMAND...: COMMAND in DIR with the root as /; same user, network, processes, and all
# of the host's top-level directories but the system's. Whole directories, because the Bazel server
# lives on in its own mount namespace and would not see a workspace that is deleted and made again.
# Debian's Bazel crashes on any lock of the registry's modules, which it does not use: it sees an
# empty one.
enter() {
  local dir=$1 keep='' d; shift
  for d in /*; do
    case $d in
      /usr | /bin | /sbin | /lib | /lib32 | /lib64 | /libx32 | /libo32 | /etc | /dev | /proc | /sys | /run | /boot | /lost+found) ;;
      *) [[ -d $d && ! -L $d ]] && keep+="$d"$'\n' ;;
    esac
  done
  mkdir -p "$cache/mnt"
  EMBER_ENTER="$root|$cache/mnt|$dir|$(id -u)|$(id -g)|${trust:-}|$workspace/MODULE.bazel.lock" EMBER_KEEP=$keep \
    "${run[@]}" "${NS[@]}" /bin/bash -euc '
      IFS="|" read -r root new dir uid gid trust lock <<<"$EMBER_ENTER"
      mount -t tmpfs -o mode=755 bazelw "$new"
      cd "$new"
      mkdir etc usr dev proc sys run old
      for d in bin sbin lib lib64; do ln -s "usr/$d" "$d"; done
      mount --bind "$root/usr" usr
      mount --bind "$root/etc" etc
      for d in dev proc sys; do mount --rbind "/$d" "$d"; done
      for f in passwd group hosts resolv.conf nsswitch.conf; do
        [ ! -e "/etc/$f" ] || mount --bind "$(readlink -f "/etc/$f")" "etc/$f"; done
      if [ -n "$trust" ]; then
        mount --bind "$trust/ca-certificates.crt" etc/ssl/certs/ca-certificates.crt
        mount --bind "$trust/java" etc/ssl/certs/java
      fi
      while read -r d; do [ -z "$d" ] || { mkdir -p ".$d"; mount --rbind "$d" ".$d"; }; done <<<"$EMBER_KEEP"
      [ ! -s ".$lock" ] || mount --bind "$root/etc/bazelw.lock" ".$lock"
      pivot_root . old
      cd "$dir" || { echo "bazelw: $dir is not visible in the private root: move the workspace out of the system directories" >&2; exit 1; }
      umount -l /old
      unset EMBER_ENTER EMBER_KEEP
      [ "$uid" = 0 ] || set -- unshare --user --map-user="$uid" --map-group="$gid" "$@"
      exec "$@"' bazelw "$@"
}

make_root() {
  local t=$cache/tmp-root free
  rm -rf "$t"; mkdir -p "$t"
  free=$(df -Pk "$cache" | awk 'NR == 2 {print int($4 / 1024)}')
  ((free > 1500)) || die "the private root needs 1.5 GB in $cache, where $free MB are free: make room, or set EMBER_CACHE to another folder"
  say "making a private root with Bazel in $root (once; about a minute)"
  "$debian/debian.sh" fetch "$debian/bazel.lock" "$cache/debs"
  say "unpacking it"
  "$debian/debian.sh" unpack "$debian/bazel.lock" "$cache/debs" "$t/root"
  [[ -e $t/root/usr/bin/bazel ]] || die "the Debian package bazel-bootstrap no longer holds /usr/bin/bazel: install bazelisk instead"
  rm -rf "$t/root/etc/bazel" # Debian's own settings for every workspace
  mkdir -p "$t/root/etc/ssl/certs/java"
  touch "$t/root/etc/"{passwd,group,hosts,resolv.conf,nsswitch.conf,ssl/certs/ca-certificates.crt,bazelw.lock}
  mv "$t/root" "$root"
  rm -rf "$t" "$cache/debs"
}

# make_trust makes $trust: the certificates that this machine trusts, for OpenSSL, Go and Java.
make_trust() {
  local t=$cache/tmp-trust
  rm -rf "$t"; mkdir -p "$t/java"
  cp "$bundle" "$t/ca-certificates.crt"
  csplit -s -z -f "$t/ca" -b '%04d.crt' "$t/ca-certificates.crt" '/-----BEGIN CERTIFICATE-----/' '{*}'
  ls "$t"/ca[0-9]*.crt | sed 's/^/+/' >"$t/list"
  trust=$t enter / /usr/lib/jvm/default-java/bin/java -jar /usr/share/ca-certificates-java/ca-certificates-java.jar -storepass changeit <"$t/list" >"$t/log" 2>&1 ||
    die "making Java's trust store from $bundle failed: $(tail -n 1 "$t/log")"
  rm -f "$t"/ca[0-9]*.crt "$t/list" "$t/log"
  mv "$t" "$trust"
}

# go_proxy sets GOPROXY: the environment's, the host's Go's, else what Debian's Go is set to.
go_proxy() {
  [[ -z ${GOPROXY:-} ]] || return 0
  if command -v go >/dev/null; then GOPROXY=$(go env GOPROXY); export GOPROXY; return; fi
  if [[ ! -s $cache/goproxy ]]; then
    say "asking Debian's Go package for its module proxy"
    "$debian/debian.sh" fetch "$debian/goproxy.lock" "$cache/debs"
    "$debian/debian.sh" data "$cache"/debs/*.deb | tar -xO --wildcards '*/go.env' | sed -n 's/^GOPROXY=//p' >"$cache/goproxy"
    rm -rf "$cache/debs"
  fi
  GOPROXY=$(<"$cache/goproxy"); export GOPROXY
  [[ -n $GOPROXY ]] || die "no Go module proxy is known here: set GOPROXY to the address of one"
}

make_modules() {
  local t=$cache/tmp-modules name module version sha256 proxy
  rm -rf "$t"; mkdir -p "$t"
  say "fetching rules_go and gazelle from the Go module proxy"
  while read -r name module version sha256; do
    for proxy in ${GOPROXY//[,|]/ }; do
      [[ $proxy == http* ]] || continue
      enter "$t" curl -fsS --retry 3 -o "$t/zip" "${proxy%/}/$module/@v/$version.zip" && break
    done
    [[ $(sha256sum <"$t/zip") == "$sha256 "* ]] || die "$module $version from the Go module proxy does not have the hash in tools/bazelw/modules.txt: check GOPROXY, and that nothing rewrites downloads"
    enter "$t" unzip -q zip -d unzipped
    mv "$t/unzipped/$module@$version" "$t/$name"
    rm -rf "$t/unzipped" "$t/zip"
  done < <(grep -v '^#' "$here/modules.txt")
  grep -rlIZ --include=*.sh --include=*.bash '^#!' "$t" | xargs -0 -r chmod +x # module zips carry no modes
  sed "s#@MODULES@#$modules#" "$here/modules.bazelrc" >"$t/bazelrc"
  mv "$t" "$modules"
}

namespaces
run=()
EMBER_DEBIAN_MIRROR=$("$debian/debian.sh" mirror debian)
EMBER_DEBIAN_SECURITY_MIRROR=$("$debian/debian.sh" mirror debian-security)
export EMBER_DEBIAN_MIRROR EMBER_DEBIAN_SECURITY_MIRROR
mkdir -p "$cache" || die "cannot write $cache: set EMBER_CACHE to a folder that can be written"
exec 9>"$cache/lock"
flock -n 9 || { say "waiting for another bazelw that is making the private root"; flock 9; }
go_proxy
[[ -e $root ]] || make_root
bundle=/etc/ssl/certs/ca-certificates.crt
if [[ ! -s $bundle ]]; then
  bundle=$root/etc/ssl/mozilla.crt
  [[ -s $bundle ]] || cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$bundle"
fi
trust=$cache/trust-$(digest "$bundle")
[[ -e $trust ]] || make_trust
[[ -e $modules ]] || make_modules
exec 9>&-

run=(exec)
# The properties make a server restart that runs in an older root or beside a replaced lock.
enter "$PWD" /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
  bazel --bazelrc="$modules/bazelrc" --host_jvm_args="-Dember.root=${root##*/},$(stat -c %i "$workspace/MODULE.bazel.lock")" "$@"
