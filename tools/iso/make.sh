# Makes an ISO image that boots on BIOS and UEFI, from optical and virtual media and from USB sticks:
# KERNEL INITRD GRUB_CFG OUT. Runs in the boot root, in an empty directory.
#
# GRUB comes up from a boot image of its own (BIOS) or from a small FAT (UEFI), looks for the image
# that holds the file named after this content, and reads its grub.cfg, the only one there is.
kernel=$1 initrd=$2 config=$3 out=$4
grub=/usr/lib/grub
export SOURCE_DATE_EPOCH=315532800 # 1980, when FAT begins; xorriso takes 0 for none

mkdir -p iso/boot/grub
install -m 644 "$kernel" iso/boot/vmlinuz
install -m 644 "$initrd" iso/boot/initramfs
install -m 644 "$config" iso/boot/grub/grub.cfg
name=/boot/ember-$(cat "$kernel" "$initrd" "$config" | sha256sum | head -c 16)
: >"iso$name"
printf 'search --no-floppy --set=root --file %s\nset prefix=($root)/boot/grub\n' "$name" >early.cfg

modules='iso9660 part_gpt part_msdos search search_fs_file normal configfile linux all_video'
grub-mkimage -O i386-pc-eltorito -p /boot/grub -c early.cfg -o iso/boot/grub/bios.img biosdisk $modules
grub-mkimage -O x86_64-efi -p /boot/grub -c early.cfg -o bootx64.efi fat $modules

mkfs.vfat --invariant -n EMBER -C efi.img $(($(stat -c %s bootx64.efi) / 1024 + 256)) >/dev/null
mmd -i efi.img ::/EFI ::/EFI/BOOT
mcopy -i efi.img bootx64.efi ::/EFI/BOOT/BOOTX64.EFI

xorriso -as mkisofs -V EMBER -r --set_all_file_dates 1980010100000000 \
  -b boot/grub/bios.img -no-emul-boot -boot-load-size 4 -boot-info-table --grub2-boot-info \
  --grub2-mbr $grub/i386-pc/boot_hybrid.img -partition_offset 16 -appended_part_as_gpt \
  -append_partition 2 C12A7328-F81F-11D2-BA4B-00A0C93EC93B efi.img \
  -eltorito-alt-boot -e --interval:appended_partition_2:all:: -no-emul-boot \
  -o "$out" iso >log 2>&1 || { cat log >&2; exit 1; }
