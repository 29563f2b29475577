package policy

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v4"
)

// Digests are several; in YAML one, or a list of them that is not empty.
type Digests []Digest

func (ds Digests) contains(b []byte) bool {
	for _, d := range ds {
		if bytes.Equal(d[:], b) {
			return true
		}
	}
	return false
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (ds *Digests) UnmarshalYAML(n *yaml.Node) error {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	if len(items) == 0 {
		return fmt.Errorf("line %d: the list is empty", n.Line)
	}
	*ds = nil
	for _, item := range items {
		b, err := hex.DecodeString(item.Value)
		if item.Kind != yaml.ScalarNode || err != nil || len(b) != len(Digest{}) {
			return fmt.Errorf("line %d: not a SHA-256, 64 digits of hex", item.Line)
		}
		*ds = append(*ds, Digest(b))
	}
	return nil
}

// maxDepth is deeper than any file that makes sense.
const maxDepth = 16

// DecodeYAML decodes one document strictly: no unknown or repeated keys, and no key without a value, since a
// condition that was begun and not written is not one that holds. There are no aliases, which can make a
// small file a giant one.
func DecodeYAML(b []byte, to any) error {
	var document yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&document); errors.Is(err, io.EOF) {
		return errors.New("it is empty")
	} else if err != nil {
		return err
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("it has more than one document")
	}
	if err := checkNode(&document, 0); err != nil {
		return err
	}
	strict := yaml.NewDecoder(bytes.NewReader(b))
	strict.KnownFields(true)
	return strict.Decode(to)
}

func checkNode(n *yaml.Node, depth int) error {
	switch {
	case depth > maxDepth:
		return fmt.Errorf("line %d: it is nested too deeply", n.Line)
	case n.Kind == yaml.AliasNode:
		return fmt.Errorf("line %d: there are no aliases here", n.Line)
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return fmt.Errorf("line %d: a value is missing", n.Line)
	}
	for _, child := range n.Content {
		if err := checkNode(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// Parse reads a YAML document that is a list of policies.
func Parse(b []byte) (*Set, error) {
	var policies []Policy
	if err := DecodeYAML(b, &policies); err != nil {
		return nil, fmt.Errorf("reading policies: %w", err)
	}
	set, err := New(policies)
	if err != nil {
		return nil, fmt.Errorf("reading policies: %w", err)
	}
	return set, nil
}

// ParseFile reads a YAML document that is a list of policies, or the configuration of an attestation server, which
// has such a list under "policies". What else that has is the server's business. Read gives files with measurements.
func ParseFile(b []byte, read func(file string) ([]byte, error)) (*Set, error) {
	policies, err := parseFile(b)
	if err == nil {
		policies, err = Expand(policies, read)
	}
	var set *Set
	if err == nil {
		set, err = New(policies)
	}
	if err != nil {
		return nil, fmt.Errorf("reading policies: %w", err)
	}
	return set, nil
}

func parseFile(b []byte) ([]Policy, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(b, &document); err != nil {
		return nil, err
	}
	if len(document.Content) == 0 || document.Content[0].Kind != yaml.MappingNode {
		var list []Policy
		err := DecodeYAML(b, &list)
		return list, err
	}
	var c struct {
		Policies []Policy       `yaml:"policies"`
		Rest     map[string]any `yaml:",inline"`
	}
	err := DecodeYAML(b, &c)
	return c.Policies, err
}
