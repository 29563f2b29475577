package lock

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Checksum is that of what decides on packages in an apko configuration, whatever
// its layout and comments: "sha256-" and base64.
func Checksum(config []byte) (string, error) {
	var deciding struct {
		Contents map[string]any `json:"contents"`
		Archs    []string       `json:"archs"`
		Include  string         `json:"include"`
	}
	if err := yaml.Load(config, &deciding); err != nil {
		return "", fmt.Errorf("reading configuration: %w", err)
	}
	canonical, err := json.Marshal(deciding)
	if err != nil {
		return "", fmt.Errorf("reading configuration: %w", err)
	}
	sum := sha256.Sum256(canonical)
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:]), nil
}

// CheckConfig fails with ErrStale if the configuration asks for other packages
// than the one that was locked.
func (l *Lock) CheckConfig(config []byte) error {
	sum, err := Checksum(config)
	if err == nil && sum != l.Config.Checksum {
		err = fmt.Errorf("%s asks for other packages than when it was locked; %w", l.Config.Name, ErrStale)
	}
	return err
}

// Offline gives the configuration without the repositories, the keys and the
// repository names at packages that it brings, so that apko builds from the
// repositories on its command line and asks no other.
func Offline(config []byte) ([]byte, error) {
	var document yaml.Node
	if err := yaml.Load(config, &document); err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	if document.Kind != yaml.DocumentNode {
		return nil, errors.New("reading configuration: it is empty")
	}
	contents := value(document.Content[0], "contents")
	if contents == nil || contents.Kind != yaml.MappingNode {
		return nil, errors.New("reading configuration: it has no contents of its own")
	}
	for _, key := range []string{"repositories", "build_repositories", "keyring"} {
		remove(contents, key)
	}
	if packages := value(contents, "packages"); packages != nil {
		for _, p := range packages.Content {
			p.Value, _, _ = strings.Cut(p.Value, "@")
		}
	}
	return yaml.Dump(&document)
}

func index(mapping *yaml.Node, key string) int {
	if mapping.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(mapping.Content); i += 2 {
			if mapping.Content[i].Value == key {
				return i
			}
		}
	}
	return -1
}

func value(mapping *yaml.Node, key string) *yaml.Node {
	if i := index(mapping, key); i >= 0 {
		return mapping.Content[i+1]
	}
	return nil
}

func remove(mapping *yaml.Node, key string) {
	for i := index(mapping, key); i >= 0; i = index(mapping, key) {
		mapping.Content = append(mapping.Content[:i], mapping.Content[i+2:]...)
	}
}
