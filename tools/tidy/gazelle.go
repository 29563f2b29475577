package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bazelbuild/buildtools/build"
	"github.com/bazelbuild/rules_go/go/runfiles"
	"golang.org/x/mod/modfile"
)

// ownModule is the one Go module that is a Bazel module of its own here.
const ownModule = "github.com/bazelbuild/rules_go"

// repositories maps the modules that go.mod asks for to the repositories that
// gazelle's go_deps makes of them.
func repositories(workspace string) (map[string]string, error) {
	path := filepath.Join(workspace, "go.mod")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	file, err := modfile.ParseLax(path, text, nil)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, r := range file.Require {
		if !r.Indirect && r.Mod.Path != ownModule {
			names[r.Mod.Path] = repositoryName(r.Mod.Path)
		}
	}
	return names, nil
}

// repositoryName is gazelle's: the host's labels in reverse, then the path, with
// underscores.
func repositoryName(module string) string {
	host, path, _ := strings.Cut(strings.ToLower(module), "/")
	labels := strings.Split(host, ".")
	slices.Reverse(labels)
	return strings.NewReplacer("-", "_", ".", "_", "/", "_").Replace(strings.Join(labels, "_") + "/" + path)
}

// setUseRepo makes MODULE.bazel's use_repo of go_deps name exactly the repositories.
func setUseRepo(file *build.File, repositories map[string]string) {
	for _, statement := range file.Stmt {
		call, ok := statement.(*build.CallExpr)
		if !ok || callee(call) != "use_repo" || build.FormatString(call.List[0]) != "go_deps" {
			continue
		}
		call.List = call.List[:1]
		for _, name := range repositories {
			call.List = append(call.List, &build.StringExpr{Value: name})
		}
		slices.SortFunc(call.List[1:], func(a, b build.Expr) int {
			return strings.Compare(a.(*build.StringExpr).Value, b.(*build.StringExpr).Value)
		})
		call.ForceCompact = false
	}
}

// runGazelle brings the Go rules up to date, or gives the difference.
func runGazelle(gazelle, workspace string, check bool) (string, error) {
	program, err := runfiles.Rlocation(gazelle)
	if err != nil {
		return "", err
	}
	names, err := repositories(workspace)
	if err != nil {
		return "", err
	}
	// Without this list gazelle would look for every module on the network.
	config, err := os.CreateTemp("", "repositories")
	if err != nil {
		return "", err
	}
	defer os.Remove(config.Name())
	defer config.Close()
	for module, name := range names {
		fmt.Fprintf(config, "go_repository(name = %q, importpath = %q)\n", name, module)
	}
	mode := "fix"
	if check {
		mode = "diff"
	}
	cmd := exec.Command(program, "-mode="+mode, "-bzlmod", "-repo_config="+config.Name(), "-repo_root="+workspace)
	cmd.Dir = workspace
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if check && errors.As(err, &exit) && len(out) > 0 {
		return string(out), nil
	}
	if err != nil {
		return "", fmt.Errorf("gazelle: %w\n%s", err, out)
	}
	return string(out), nil
}
