// Command emberctl is the operator's tool: it makes keys, and seals configuration for machines.
package main

import (
	"os"
	"strings"

	"github.com/ember-os/ember/os/cli"
)

const usage = `usage: emberctl keygen [--passphrase] [--out DIR]
       emberctl seal DIR|TAR --name NAME --key FILE --recipient KEY|FILE
                [--version N] [--nodes ID,...] [--expires TIME] [--kernel FILE]
                [--initrd FILE] [--url URL] [--out DIR]
       emberctl inspect NAME [--trust KEY|FILE] [--identity FILE] [--json]
       emberctl push NAME REGISTRY/REPOSITORY[:TAG] [--insecure]

keygen makes four files in DIR, by default the current one, and says what each is for:
signing.key, overlay.keys, attestd.identity and attestd.recipient. It replaces none.
  --passphrase     asks for one, which signing.key then needs

seal makes an overlay of what is in a directory, or in a tar archive ("-" is standard
input). Paths in it are those of a machine, without the first slash. Files of a
directory will be root's; an archive's keep their owners. The result is a folder NAME,
for attestd's folder of overlays, with the files manifest and overlay.age. It takes the
place of an older version at once.
  --name NAME      of a-z, 0-9, "-" and "."
  --key FILE       the private key that signs the manifest
  --recipient KEY  the attestation server's, age1pq1..., or a file of such; may be repeated
  --version N      default: one more than that of the folder that is there, or 1
  --nodes ID,...   the machines that it is for; default: all
  --expires TIME   30d, 12h, 2027-01-31 or 2027-01-31T12:00:00Z; default: never
  --kernel FILE    machines that run another kernel or initrd do not take it; those
  --initrd FILE    of an initrd need UEFI with a TPM, or the parameter retain_initrd
  --url URL        where you will put overlay.age, if attestd is not to serve it
  --out DIR        where the folder goes; default: the current directory

inspect prints the manifest of an overlay: of a folder, or a manifest alone. With
overlay.age beside it, it makes sure that this is what the manifest says.
  --trust KEY      the public key that must have signed it, or a file of such
  --identity FILE  the server's: also reads the archive to its end, and lists it
  --json           prints it for programs

push copies the ciphertext of an overlay to an OCI registry, with the credentials of
"docker login", and makes the folder say that it is there.
  --insecure       by HTTP

The exit status is 0, 1 for a failure or an overlay that something is wrong with, and
2 for a call that makes no sense.
`

func main() {
	os.Exit(cli.Run("emberctl", usage, flagsFirst(os.Args[1:]),
		keygenCommand(os.Stdout), sealCommand(os.Stdout), inspectCommand(os.Stdout), pushCommand(os.Stdout)))
}

// flagsFirst moves what stands between the command and its first flag behind the flags, where it is looked for.
func flagsFirst(args []string) []string {
	if len(args) == 0 {
		return nil
	}
	first := 1
	for first < len(args) && (!strings.HasPrefix(args[first], "-") || args[first] == "-") {
		first++
	}
	moved := append([]string{args[0]}, args[first:]...)
	return append(moved, args[1:first]...)
}
