// Package iso writes the configuration of GRUB for an ISO image that Tinkerbell's
// network-boot server can serve.
//
// That server does not make an image for each machine. It looks for a string of 1,024
// letters in what it passes on and puts the kernel parameters there, with spaces
// behind them. It sees one part of the image at a time, so the string must lie in one
// sector of 2,048 bytes, uncompressed, and be there once. A file of an ISO image begins
// with a sector; so a configuration of up to a sector is all that it takes.
package iso

import (
	"errors"
	"fmt"
	"strings"
)

// Placeholder is the string that Tinkerbell's server looks for, unless it is told of
// another.
const Placeholder = "" +
	"464vn90e7rbj08xbwdjejmdf4it17c5zfzjyfhthbh19eij201hjgit021bmpdb9ctrc87x2ymc8e7icu4ffi15x1hah9iya" +
	"iz38ckyap8hwx2vt5rm44ixv4hau8iw718q5yd019um5dt2xpqqa2rjtdypzr5v1gun8un110hhwp8cex7pqrh2ivh0ynpm4" +
	"zkkwc8wcn367zyethzy7q8hzudyeyzx3cgmxqbkh825gcak7kxzjbgjajwizryv7ec1xm2h0hh7pz29qmvtgfjj1vphpgq1z" +
	"cbiiehv52wrjy9yq473d9t1rvryy6929nk435hfx55du3ih05kn5tju3vijreru1p6knc988d4gfdz28eragvryq5x8aibe5" +
	"trxd0t6t7jwxkde34v6pj1khmp50k6qqj3nzgcfzabtgqkmeqhdedbvwf3byfdma4nkv3rcxugaj2d0ru30pa2fqadjqrtjn" +
	"v8bu52xzxv7irbhyvygygxu1nt5z4fh9w1vwbdcmagep26d298zknykf2e88kumt59ab7nq79d8amnhhvbexgh48e8qc61vq" +
	"2e9qkihzt1twk1ijfgw70nwizai15iqyted2dt9gfmf2gg7amzufre79hwqkddc1cd935ywacnkrnak6r7xzcz7zbmq3kt04" +
	"u2hg1iuupid8rt4nyrju51e6uejb2ruu36g9aibmz3hnmvazptu8x5tyxk820g2cdpxjdij766bt2n3djur7v623a2v44juy" +
	"fgz80ekgfb9hkibpxh3zgknw8a34t4jifhf116x15cei9hwch0fye3xyq0acuym8uhitu5evc4rag3ui0fny3qg4kju7zkfy" +
	"y8hwh537urd5uixkzwu5bdvafz4jmv7imypj543xg5em8jk8cgk7c4504xdd5e4e71ihaumt6u5u2t1w7um92fepzae8p0vq" +
	"93wdrd1756npu1pziiur1payc7kmdwyxg3hj5n4phxbc29x0tcddamjrwt260b0w"
const sectorSize = 2048

// Where the image has its files.
const (
	kernelPath = "/boot/vmlinuz"
	initrdPath = "/boot/initramfs"
)

// special are the characters that GRUB's language gives a meaning.
const special = "\\'\"$;&|<>{}()#*?[]~`!"

// Config is grub.cfg. The words of the command line come before what the server puts
// in, so that where both have a parameter the server's counts. Without that server the
// placeholder stays, a word that means nothing to kernel and system.
func Config(cmdline string) ([]byte, error) {
	config, err := config(cmdline)
	if err != nil {
		return nil, fmt.Errorf("writing GRUB's configuration: %w", err)
	}
	return config, nil
}

func config(cmdline string) ([]byte, error) {
	if strings.ContainsFunc(cmdline, func(r rune) bool { return r < ' ' || r > '~' }) {
		return nil, fmt.Errorf("the command line %q is not one line of printable ASCII", cmdline)
	}
	if at := strings.IndexAny(cmdline, special); at >= 0 {
		return nil, fmt.Errorf("the command line %q has a %q, which means something to GRUB; leave it to an overlay or to the boot server", cmdline, cmdline[at])
	}
	words := append([]string{"linux", kernelPath}, strings.Fields(cmdline)...)
	lines := []string{
		"set timeout=2",
		"set timeout_style=hidden",
		"menuentry Ember {",
		"\t" + strings.Join(append(words, Placeholder), " "),
		"\tinitrd " + initrdPath,
		"}",
	}
	b := []byte(strings.Join(lines, "\n") + "\n")
	if len(b) > sectorSize {
		return nil, errors.New("the command line is too long: it has to be in one sector of 2,048 bytes with what the boot server replaces")
	}
	return b, nil
}
