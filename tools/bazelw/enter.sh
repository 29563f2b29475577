#!/bin/bash
# Makes the private root the root of this process and runs a command in it as the caller's own uid.
# It is started as root of a mount namespace of its own, by private.sh, and sees there the root's
# /usr and /etc, with some files of the host's /etc, and all of the host's other top-level
# directories but HIDDEN. Whole directories, because the Bazel server lives on in this namespace and
# would not see a workspace that is deleted and made again.
#
#   enter.sh ROOT TRUST LOCK MOUNTPOINT HIDDEN DIR UID GID COMMAND...
#
# TRUST holds the certificates that make_trust made; it may be empty. LOCK is the workspace's
# MODULE.bazel.lock: Debian's Bazel crashes on any lock of the registry's modules, which it does not
# use, and sees an empty one.
set -euo pipefail
root=$1 trust=$2 lock=$3 mountpoint=$4 hidden=$5 dir=$6 uid=$7 gid=$8
shift 8

mount -t tmpfs -o mode=755 bazelw "$mountpoint"
cd "$mountpoint"
mkdir usr etc dev proc sys run
ln -s usr/bin usr/sbin usr/lib usr/lib64 .
for d in usr etc; do mount --bind "$root/$d" "$d"; done
for d in dev proc sys; do mount --rbind "/$d" "$d"; done
for d in /*; do
  if [[ " $hidden " == *" ${d#/} "* ]]; then continue; fi
  if [[ -L $d ]]; then
    cp -P "$d" ".$d"
  elif [[ -d $d ]]; then
    mkdir ".$d"
    mount --rbind "$d" ".$d"
  fi
done
for f in passwd group hosts resolv.conf nsswitch.conf; do
  if [[ -e /etc/$f ]]; then mount --bind "/etc/$f" "etc/$f"; fi
done
if [[ -n $trust ]]; then
  mount --bind "$trust/ca-certificates.crt" etc/ssl/certs/ca-certificates.crt
  mount --bind "$trust/java" etc/ssl/certs/java
fi
if [[ -s $lock ]]; then mount --bind "$root/etc/bazelw.lock" ".$lock"; fi

# Not every system has a pivot_root any more. What is moved onto the root of the mount namespace is its root: the
# kernel takes nothing in it for a chroot, in which it would allow no user namespace.
mount --no-mtab --move . / # the table is in /run, where only the host's root may write
if ((uid != 0)); then set -- unshare --user --map-user="$uid" --map-group="$gid" "$@"; fi
exec chroot . /usr/bin/bash -c 'cd "$1" && shift && PATH=/usr/sbin:/usr/bin && exec "$@"' enter "$dir" "$@"
