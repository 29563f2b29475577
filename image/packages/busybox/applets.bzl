"""The names under which busybox is in the image."""

def _words(text):
    return [word for line in text.splitlines() for word in line.split(" ") if word]

APPLETS = ["usr/bin/" + name for name in _words("""
    [ [[ ash awk base64 basename bc bunzip2 bzcat cat chgrp chmod chown clear cmp cp cpio cut date dd
    df diff dirname dmesg dos2unix du echo ed egrep env expr fallocate false fgrep find fold free fsfreeze
    getopt grep groups gunzip gzip head hexdump hostname id install ionice kill killall less link ln
    ls lsscsi lzcat md5sum microcom mkdir mkfifo mknod mktemp more mount mv nc nl nproc
    nsenter nslookup od passwd paste patch pidof ping ping6 printf ps pwd readlink realpath renice reset
    rev rm rmdir sed seq setpriv setsid sh sha1sum sha256sum sha512sum shuf sleep sort stat strings
    stty su sync tac tail tar taskset tee telnet test tftp time timeout top touch tr traceroute true truncate
    tty umount uname uniq unlink unshare unxz unzip uptime usleep vi watch wc wget which whoami xargs xxd xz
    xzcat yes zcat
""")] + ["usr/sbin/" + name for name in _words("""
    adjtimex arp arping blkdiscard blockdev brctl chroot devmem fdisk findfs fstrim halt hwclock
    i2cdetect i2cdump i2cget i2cset ifconfig ip losetup mke2fs mkdosfs netstat partprobe poweroff
    reboot route swapoff swapon switch_root sysctl vconfig watchdog
""")]
