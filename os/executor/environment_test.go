package executor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/unit"
)

func TestParseEnvironment(t *testing.T) {
	for text, want := range map[string][]string{
		"":                         nil,
		"A=1":                      {"A=1"},
		"A=1\nB=2\n":               {"A=1", "B=2"},
		"# A=1\n; B=2\nC=3":        {"C=3"},
		"# A=1\\\nB=2\nC=3":        {"C=3"},
		"  A = 1 2 \r\nB=\t":       {"A=1 2", "B="},
		"A=a#b ;c":                 {"A=a#b ;c"},
		`A="a b" 'c'" d`:           {"A=a bc d"},
		`A=a"b"`:                   {`A=a"b"`},
		"A='a\nb'\nB=\"a\nb\"":     {"A=a\nb", "B=a\nb"},
		`A='a\b$'`:                 {`A=a\b$`},
		`A="\"\\\$\` + "`" + `\n"`: {"A=\"\\$`\\n"},
		"A=\"a\\\nb\"":             {"A=ab"},
		"A=a\\\n  b\\c\\ ":         {"A=a  bc "},
		"A=a  \\\nB=1":             {"A=a  B=1"},
		`A="open`:                  {"A=open"},
		`A=open\`:                  {"A=open"},
		`A="open\`:                 {`A=open\`},
		"A=1=2":                    {"A=1=2"},
	} {
		got, problems := parseEnvironment(text)
		if !slices.Equal(got, want) || problems != nil {
			t.Errorf("%q: %q, problems %q", text, got, problems)
		}
	}
}

func TestParseEnvironmentProblems(t *testing.T) {
	got, problems := parseEnvironment("A=1\nexport B=1\n\n=1\njunk\nC='\n\n'\nD=\xff\nE=\x00\n1=1\nF=1\nend")
	if !slices.Equal(got, []string{"A=1", "C=\n\n", "F=1"}) {
		t.Errorf("%q", got)
	}
	if want := []string{
		`2: what is before "=" is not the name of a variable, ignored`,
		`4: what is before "=" is not the name of a variable, ignored`,
		`5: there is no "=", ignored`,
		`9: the value of D is not text, ignored`,
		`10: the value of E is not text, ignored`,
		`11: what is before "=" is not the name of a variable, ignored`,
		`13: there is no "=", ignored`,
	}; !slices.Equal(problems, want) {
		t.Errorf("%q", problems)
	}
}

func FuzzParseEnvironment(f *testing.F) {
	f.Add("A=1\n# c\\\nB='x' \"y\\$\" z\\\n w\n")
	f.Add("A=\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, _ := parseEnvironment(text)
		var quoted strings.Builder
		for _, a := range got {
			name, value, ok := strings.Cut(a, "=")
			if !ok || !unit.IsVariable(name) || strings.Contains(value, "\x00") {
				t.Fatalf("%q", a)
			}
			quoted.WriteString(name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "`", "\\`", "$", `\$`).Replace(value) + "\"\n")
		}
		back, problems := parseEnvironment(quoted.String())
		if !slices.Equal(back, got) || problems != nil {
			t.Fatalf("%q became %q, problems %q", got, back, problems)
		}
	})
}

func TestEnvironmentOrder(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"1.env": "C=file\nD=1\njunk\n", "2.env": "D=2\nPATH=/x\n", "other": "E=1\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	spec := Spec{
		Environ: []string{"PATH=/bin", "A=base", "B=base"},
		Service: unit.Service{
			Environment: []string{"B=unit", "C=unit", "B=unit2"},
			EnvironmentFiles: []unit.EnvironmentFile{
				{Path: dir + "/gone", Optional: true}, {Path: dir, Optional: true},
				{Path: dir + "/*.env"}, {Path: dir + "/*.none", Optional: true},
			},
		},
	}
	var warnings []string
	env, err := spec.environment(func(text string) { warnings = append(warnings, strings.ReplaceAll(text, dir, "DIR")) })
	if err != nil {
		t.Fatal(err)
	}
	if got, want := env.list(), []string{"PATH=/x", "A=base", "B=unit2", "C=file", "D=2"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if want := []string{"EnvironmentFile=-DIR: read DIR: is a directory", `DIR/1.env:3: there is no "=", ignored`}; !slices.Equal(warnings, want) {
		t.Errorf("warnings: %q", warnings)
	}
}

func TestExpandArgs(t *testing.T) {
	env := &environment{values: map[string]string{}}
	env.set("A=1", "WORDS=-a 'b c'  \"d\" e\\ f", "EMPTY=", "QUOTE=a 'b c", "B=$A")
	for arg, want := range map[string][]string{
		"$A": {"1"}, "${A}": {"1"}, "x${A}y${A}": {"x1y1"}, "x$A": {"x$A"},
		"$WORDS": {"-a", "b c", "d", "e f"}, "${WORDS}": {`-a 'b c'  "d" e\ f`},
		"$EMPTY": nil, "${EMPTY}": {""}, "$GONE": nil, "${GONE}": {""}, "a${GONE}b": {"ab"},
		"$QUOTE": {"a", "b c"}, "$B": {"$A"}, "${B}": {"$A"},
		"$$": {"$"}, "$$A": {"$A"}, "$${A}": {"${A}"}, "$": {"$"}, "a$": {"a$"}, "${A": {"${A"}, "}${A}": {"}1"},
		"awk '{print $1}'": {"awk '{print $1}'"}, "": {""},
	} {
		got := expandArgs([]string{"$A", arg}, env)
		if got[0] != "$A" || !slices.Equal(got[1:], want) {
			t.Errorf("%q: %q", arg, got[1:])
		}
	}
}

func TestFindProgram(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"a/tool": 0o644, "b/tool": 0o755, "c/tool": 0o755} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	env := &environment{values: map[string]string{"PATH": ":relative:" + dir + ":" + dir + "/a:" + dir + "/b:" + dir + "/c"}}
	if got, err := findProgram("tool", env); err != nil || got != dir+"/b/tool" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := findProgram("a", env); err == nil {
		t.Errorf("a directory: %q", got)
	}
	if got, err := findProgram("/no/such", env); err != nil || got != "/no/such" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestBoundFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nr_open")
	if _, err := boundFiles(unit.Limit{}, file); err == nil {
		t.Error("no error without the file")
	}
	if err := os.WriteFile(file, []byte("1000\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := boundFiles(unit.Limit{Soft: 10, Hard: 1 << 40}, file); err != nil || got != (unit.Limit{Soft: 10, Hard: 1000}) {
		t.Errorf("%v, %v", got, err)
	}
}
