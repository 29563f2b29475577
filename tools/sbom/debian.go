package sbom

import (
	"fmt"
	"strings"

	"github.com/package-url/packageurl-go"
)

// Debian gives the component that a Debian package is, as a lock of //tools/debian has it: a line
// "deb NAME VERSION ARCHIVE PATH SIZE SHA256".
func Debian(lock []byte, name, licence string) (Component, error) {
	for line := range strings.Lines(string(lock)) {
		f := strings.Fields(line)
		if len(f) != 7 || f[0] != "deb" || f[1] != name {
			continue
		}
		arch := strings.TrimSuffix(f[4][strings.LastIndex(f[4], "_")+1:], ".deb")
		url := packageurl.NewPackageURL(packageurl.TypeDebian, "debian", name, f[2], packageurl.QualifiersFromMap(map[string]string{"arch": arch}), "")
		return Component{Name: name, Version: f[2], License: licence, Source: "Debian package with the SHA-256 " + f[6], PURL: url.ToString()}, nil
	}
	return Component{}, fmt.Errorf("the lock has no package %s", name)
}
