package executor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ember-os/ember/os/unit"
)

// environment is variables in the order in which they came up.
type environment struct {
	names  []string
	values map[string]string
}

func (e *environment) set(assignments ...string) {
	for _, a := range assignments {
		name, value, _ := strings.Cut(a, "=")
		if _, ok := e.values[name]; !ok {
			e.names = append(e.names, name)
		}
		e.values[name] = value
	}
}

func (e *environment) list() []string {
	all := make([]string, len(e.names))
	for i, name := range e.names {
		all[i] = name + "=" + e.values[name]
	}
	return all
}

// mostProblems is how many of a file are worth a warning.
const mostProblems = 16

// environment is what the program gets: PID 1's variables, then those of
// Environment=, then those of the files in their order; the last one counts.
func (s Spec) environment(warn func(string)) (*environment, error) {
	env := &environment{values: map[string]string{}}
	env.set(s.Environ...)
	env.set(s.Service.Environment...)
	for _, f := range s.Service.EnvironmentFiles {
		paths, err := matches(f)
		if err != nil {
			return nil, failed(exitConfig, "EnvironmentFile=%s: %w", f.Path, err)
		}
		for _, path := range paths {
			text, err := readFile(path)
			switch {
			case err == nil:
			case !f.Optional:
				return nil, failed(exitConfig, "EnvironmentFile=%s: %w", f.Path, err)
			case errors.Is(err, fs.ErrNotExist):
				continue
			default:
				warn(fmt.Sprintf("EnvironmentFile=-%s: %v", f.Path, err))
				continue
			}
			assignments, problems := parseEnvironment(text)
			for i, p := range problems {
				if i == mostProblems {
					warn(fmt.Sprintf("%s: there are %d more problems", path, len(problems)-i))
					break
				}
				warn(path + ":" + p)
			}
			env.set(assignments...)
		}
	}
	return env, nil
}

// matches is the files that an EnvironmentFile= means, whose path may be a pattern.
func matches(f unit.EnvironmentFile) ([]string, error) {
	if !strings.ContainsAny(f.Path, `*?[\`) {
		return []string{f.Path}, nil
	}
	paths, err := filepath.Glob(f.Path)
	if err == nil && len(paths) == 0 && !f.Optional {
		err = fs.ErrNotExist
	}
	return paths, err
}

// readFile reads a file of at most 1 MiB.
func readFile(path string) (string, error) {
	const longest = 1 << 20
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, longest+1))
	if err == nil && len(text) > longest {
		err = fmt.Errorf("it has more than %d bytes", longest)
	}
	return string(text), err
}
