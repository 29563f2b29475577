package executor

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/ember-os/ember/os/unit/words"
)

// defaultPath is where programs are if the unit has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// findProgram returns the path of a program, which it searches for in PATH unless
// the name is a path already.
func findProgram(name string, env *environment) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	dirs, ok := env.values["PATH"]
	if !ok {
		dirs = defaultPath
	}
	for dir := range strings.SplitSeq(dirs, ":") {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); filepath.IsAbs(path) && err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", failed(exitExec, "there is no program %q in %s", name, dirs)
}

// expandArgs puts variables into the arguments behind the first, as in "Command
// lines" of systemd.service(5): an argument $NAME becomes the words of the value,
// which may be none; ${NAME} anywhere is the value as it is; $$ is a dollar. A
// variable that is not set is empty.
func expandArgs(args []string, env *environment) []string {
	out := []string{args[0]}
	for _, arg := range args[1:] {
		if len(arg) > 1 && arg[0] == '$' && arg[1] != '{' && arg[1] != '$' {
			s := words.Scanner{Text: env.values[arg[1:]], Lax: true}
			all, _ := s.All() // lax scanners have no errors
			out = append(out, all...)
			continue
		}
		out = append(out, expandWord(arg, env))
	}
	return out
}

func expandWord(word string, env *environment) string {
	var out strings.Builder
	for {
		before, after, ok := strings.Cut(word, "$")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		word = after
		name, behind, closed := strings.Cut(strings.TrimPrefix(after, "{"), "}")
		switch {
		case strings.HasPrefix(after, "$"):
			out.WriteByte('$')
			word = after[1:]
		case strings.HasPrefix(after, "{") && closed:
			out.WriteString(env.values[name])
			word = behind
		default:
			out.WriteByte('$')
		}
	}
}
