// Package sbom completes the SPDX 2.3 document that apko writes for an image.
//
// apko names the image and its layers, and packages only if they carry SBOMs of
// their own. Added are the APK packages of the image's database, the Go modules
// linked into their programs, and components that are delivered beside the image:
// the kernel, and Debian packages of which parts are in what boots it. Go programs
// say themselves of which modules they were built, but for those that Bazel's rules
// link: theirs are found by what is linked. The result is a function of the inputs;
// its namespace is made unique with a hash of its content, as SPDX wants it.
package sbom

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/package-url/packageurl-go"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
)

const (
	noAssertion = "NOASSERTION"
	namespace   = "https://spdx.org/spdxdocs/ember/"
	creator     = "github.com/ember-os/ember/tools/sbom"
)

// Document is an SPDX document that is being completed.
type Document struct {
	doc  *v2_3.Document
	root common.ElementID // the image
}

// Component is a package of the document.
type Component struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	License  string `json:"license"`  // SPDX expression
	Download string `json:"download"` // where its source is; may be empty
	Source   string `json:"source"`   // what the source is and how it is pinned; may be empty
	PURL     string `json:"purl"`     // package URL
}

// Parse reads the document that apko wrote for the image of one architecture.
func Parse(data []byte) (*Document, error) {
	var doc v2_3.Document
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("reading SPDX document: %w", err)
	}
	if doc.SPDXVersion != v2_3.Version || doc.CreationInfo == nil {
		return nil, fmt.Errorf("reading SPDX document: it is of version %q, not %s", doc.SPDXVersion, v2_3.Version)
	}
	d := &Document{doc: &doc}
	images := 0
	for _, r := range doc.Relationships {
		if r.Relationship != common.TypeRelationshipDescribe || r.RefA.ElementRefID != doc.SPDXIdentifier {
			continue
		}
		if p := d.find(r.RefB.ElementRefID); p != nil && p.PrimaryPackagePurpose == "CONTAINER" {
			d.root = p.PackageSPDXIdentifier
			images++
		}
	}
	if images != 1 {
		return nil, fmt.Errorf("reading SPDX document: it describes %d images, not one", images)
	}
	return d, nil
}

func (d *Document) find(id common.ElementID) *v2_3.Package {
	for _, p := range d.doc.Packages {
		if p.PackageSPDXIdentifier == id {
			return p
		}
	}
	return nil
}

// named finds a package that is part of the image.
func (d *Document) named(name string) *v2_3.Package {
	for _, p := range d.doc.Packages {
		if p.PackageName == name && !isWhole(p) {
			return p
		}
	}
	return nil
}

// isWhole says whether a package stands for the image, a layer or the system,
// which are made of packages.
func isWhole(p *v2_3.Package) bool {
	return p.PrimaryPackagePurpose == "CONTAINER" || p.PrimaryPackagePurpose == "OPERATING_SYSTEM"
}

// AddModules adds Go modules that are linked into the package called program.
// Those that another one has too are in the document once.
func (d *Document) AddModules(program string, modules []Component) error {
	linked := d.named(program)
	if linked == nil {
		return fmt.Errorf("adding Go modules: the image has no package %s", program)
	}
	for _, m := range modules {
		id := identifier("go", m)
		if d.find(id) == nil {
			if _, err := d.add("go", m); err != nil {
				return err
			}
		}
		d.relate(linked.PackageSPDXIdentifier, common.TypeRelationshipStaticLink, id)
	}
	return nil
}

// AddComponent adds a component that is delivered beside the image.
func (d *Document) AddComponent(c Component) error {
	id, err := d.add("component", c)
	if err != nil {
		return err
	}
	d.relate(d.doc.SPDXIdentifier, common.TypeRelationshipDescribe, id)
	return nil
}

var notInID = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

func identifier(kind string, c Component) common.ElementID {
	return common.ElementID("Package-" + kind + "-" + notInID.ReplaceAllString(c.Name+"-"+c.Version, "-"))
}

func (d *Document) add(kind string, c Component) (common.ElementID, error) {
	if c.Name == "" || c.Version == "" {
		return "", fmt.Errorf("adding %s package %q: name and version are needed", kind, c.Name)
	}
	id := identifier(kind, c)
	if d.find(id) != nil {
		return "", fmt.Errorf("adding %s: the document has a package %s already", c.Name, id)
	}
	p := &v2_3.Package{
		PackageSPDXIdentifier:   id,
		PackageName:             c.Name,
		PackageVersion:          c.Version,
		PackageSupplier:         &common.Supplier{Supplier: noAssertion},
		PackageDownloadLocation: noAssertion,
		PackageSourceInfo:       c.Source,
		PackageLicenseConcluded: noAssertion,
		PackageLicenseDeclared:  c.License,
		PackageCopyrightText:    noAssertion,
	}
	if c.Download != "" {
		p.PackageDownloadLocation = c.Download
	}
	if c.PURL != "" {
		if _, err := packageurl.FromString(c.PURL); err != nil {
			return "", fmt.Errorf("adding %s: package URL %q: %w", c.Name, c.PURL, err)
		}
		p.PackageExternalReferences = []*v2_3.PackageExternalReference{{
			Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: c.PURL,
		}}
	}
	d.doc.Packages = append(d.doc.Packages, p)
	return id, nil
}

func (d *Document) relate(a common.ElementID, how string, b common.ElementID) {
	d.doc.Relationships = append(d.doc.Relationships, &v2_3.Relationship{
		RefA: common.DocElementID{ElementRefID: a}, Relationship: how, RefB: common.DocElementID{ElementRefID: b},
	})
}

// Encode writes the document as JSON.
func (d *Document) Encode() ([]byte, error) {
	doc := *d.doc
	info := *doc.CreationInfo
	info.Creators = append(info.Creators[:len(info.Creators):len(info.Creators)], common.Creator{CreatorType: "Tool", Creator: creator})
	doc.CreationInfo = &info
	doc.DocumentNamespace = ""
	data, err := encode(&doc)
	if err != nil {
		return nil, err
	}
	doc.DocumentNamespace = fmt.Sprintf("%s%x", namespace, sha256.Sum256(data))
	return encode(&doc)
}

func encode(doc *v2_3.Document) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(doc); err != nil {
		return nil, fmt.Errorf("writing SPDX document: %w", err)
	}
	return b.Bytes(), nil
}

// CheckLicences names the packages without a declared licence. The image, its
// layers and the system as a whole need none.
func (d *Document) CheckLicences() error {
	var missing []string
	for _, p := range d.doc.Packages {
		if l := p.PackageLicenseDeclared; !isWhole(p) && (l == "" || l == noAssertion || l == "NONE") {
			missing = append(missing, p.PackageName+" "+p.PackageVersion)
		}
	}
	if missing != nil {
		return fmt.Errorf("no licence is declared for %s", strings.Join(missing, ", "))
	}
	return nil
}
