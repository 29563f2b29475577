package sbom

import (
	"strings"

	"github.com/package-url/packageurl-go"
	"github.com/spdx/tools-golang/spdx/v2/common"

	"github.com/ember-os/ember/tools/apk"
)

// Origins is where packages come from, which their package URLs say.
type Origins struct {
	Own    string            // the distribution of those that are built here
	Public map[string]string // the address of the file of each that is fetched from a public repository, by name
	Known  map[string]string // distributions by the beginning of their repositories' addresses
}

// packageURL follows purl's type apk. A package of a public repository whose distribution is not known has no
// namespace; where its repository is stands in it anyway.
func (o Origins) packageURL(p apk.Installed) string {
	distribution, qualifiers := o.Own, map[string]string{"arch": p.Arch}
	if file := o.Public[p.Name]; file != "" {
		distribution = o.distribution(file)
		repository, _, _ := strings.Cut(file, "/"+p.Arch+"/")
		qualifiers["repository_url"] = repository
	}
	return packageurl.NewPackageURL(packageurl.TypeApk, distribution, p.Name, p.Version, packageurl.QualifiersFromMap(qualifiers), "").ToString()
}

// distribution is that with the longest beginning of an address.
func (o Origins) distribution(address string) (name string) {
	longest := -1
	for beginning, distribution := range o.Known {
		if strings.HasPrefix(address, beginning) && len(beginning) > longest {
			name, longest = distribution, len(beginning)
		}
	}
	return name
}

// AddPackages adds the packages installed in the image that the document does not have yet.
func (d *Document) AddPackages(installed []apk.Installed, origins Origins) error {
	for _, p := range installed {
		if old := d.named(p.Name); old != nil && old.PackageVersion == p.Version {
			continue
		}
		id, err := d.add("apk", Component{Name: p.Name, Version: p.Version, License: p.License, Download: p.URL, PURL: origins.packageURL(p)})
		if err != nil {
			return err
		}
		d.relate(d.root, common.TypeRelationshipContains, id)
	}
	return nil
}
