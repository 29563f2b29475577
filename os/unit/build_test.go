package unit

import (
	"bytes"
	"errors"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// build makes a unit of one file.
func build(name, text string) Unit {
	b := newBuilder(name)
	b.file("F", text)
	return b.finish()
}

func TestSyntax(t *testing.T) {
	text := strings.Join([]string{
		"early=1",
		"# comment \\",
		"[A]",
		"  ; another",
		" One = 1 ",
		`Two=a \`,
		"  # amid \\",
		"; too",
		`  b\`,
		"",
		`Even=\\`,
		"Empty=",
		"junk",
		"=1",
		"A b=1",
		"[B] x",
		"[Br]oken]",
		"Bytes=\xff",
		"Nul=\x00",
		"[B]",
		"Long=" + strings.Repeat("x", 5000),
		"Windows=1\r",
		"é=1",
		`End=1 \`,
	}, "\n")
	got, problems := parse("F", text)
	want := []assignment{
		{"F", 5, "A", "One", "1"},
		{"F", 6, "A", "Two", "a    b"},
		{"F", 11, "A", "Even", `\\`},
		{"F", 12, "A", "Empty", ""},
		{"F", 21, "B", "Long", strings.Repeat("x", 5000)},
		{"F", 22, "B", "Windows", "1"},
		{"F", 24, "B", "End", `1 \`},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	if want := []string{
		`F:1: "early=1" is in no section, ignored`,
		`F:13: "junk" is not understood, ignored`,
		`F:14: "=1" is not understood, ignored`,
		`F:15: "A b=1" is not understood, ignored`,
		`F:16: "[B] x" is not understood, ignored`,
		`F:17: "[Br]oken]" is not understood, ignored`,
		`F:18: the line has bytes that are not text, ignored`,
		`F:19: the line has bytes that are not text, ignored`,
		`F:23: "é=1" is not understood, ignored`,
	}; !slices.Equal(problems, want) {
		t.Errorf("%q", problems)
	}
}

// TestProblems has one wrong or unusual line in each case.
func TestProblems(t *testing.T) {
	for line, want := range map[string]string{
		"ExecReload=/bin/kill":                   "F:4: ExecReload= is not supported, ignored",
		"PIDFile=/run/x":                         "F:4: PIDFile= is not supported, ignored",
		"X-Ours=1":                               "",
		"NotifyAccess=all":                       "",
		"KillSignal=SIGTERM":                     "",
		"KillSignal=SIGINT":                      `F:4: KillSignal=: "SIGINT" is not supported, only SIGTERM, ignored`,
		"Type=idle":                              `F:4: Type=idle is taken as simple`,
		"Type=notify-reload":                     `F:4: Type=notify-reload is taken as notify`,
		"Type=magic":                             `F:4: Type=: "magic" is not a type, ignored`,
		"Restart=maybe":                          `F:4: Restart=: "maybe" is not one of [no on-success on-failure on-abnormal on-watchdog on-abort always], ignored`,
		"RestartSec=soon":                        `F:4: RestartSec=: "soon" is not a time span such as "5min 20s", ignored`,
		"RestartSec=":                            `F:4: RestartSec=: "" is not a time span such as "5min 20s", ignored`,
		"RemainAfterExit=perhaps":                `F:4: RemainAfterExit=: "perhaps" is neither yes nor no, ignored`,
		"LimitNOFILE=1K":                         `F:4: LimitNOFILE=: "1K" is neither a number nor "infinity", ignored`,
		"LimitNOFILE=2:1":                        `F:4: LimitNOFILE=: the soft limit is above the hard one, ignored`,
		"LimitMEMLOCK=16E":                       `F:4: LimitMEMLOCK=: "16E" is neither a size such as "64M" nor "infinity", ignored`,
		"TasksMax=0":                             `F:4: TasksMax=: "0" is neither a number nor "infinity", ignored`,
		"TasksMax=50%":                           `F:4: TasksMax=: "50%" is neither a number nor "infinity", ignored`,
		"OOMScoreAdjust=1001":                    `F:4: OOMScoreAdjust=: "1001" is not a number from -1000 to 1000, ignored`,
		"StartLimitBurst=-1":                     `F:4: StartLimitBurst=: "-1" is not a number, ignored`,
		"StandardOutput=file:/x":                 `F:4: StandardOutput=: "file:/x" is not one of [journal journal+console null inherit], ignored`,
		"StandardError=null":                     `StandardError=null is not supported where standard output goes to journal, and goes there too`,
		"StandardError=inherit":                  "",
		"WorkingDirectory=here":                  `F:4: WorkingDirectory=: "here" is not an absolute path, ignored`,
		"EnvironmentFile=here":                   `F:4: EnvironmentFile=: "here" is not an absolute path, ignored`,
		"EnvironmentFile=/%H":                    `F:4: EnvironmentFile=: the specifier "%H" is not supported, ignored`,
		"EnvironmentFile=/%":                     `F:4: EnvironmentFile=: a "%" has no letter behind it; "%%" stands for one, ignored`,
		"Environment=A 1B=1":                     `F:4: Environment=: "A" is not of the form NAME=value, ignored`,
		`Environment="A=1`:                       `F:4: Environment=: a quote does not end, ignored`,
		`Environment=A=\xff`:                     `F:4: Environment=: "A=\xff" is not UTF-8, ignored`,
		`ExecStartPre=/bin/grep \d`:              "F:4: ExecStartPre=: the escape sequence `\\d` is not known, and stays as it is; `\\\\` stands for a backslash",
		"ExecStartPre=-/bin/echo %H":             `F:4: ExecStartPre=: the specifier "%H" is not supported, ignored`,
		"User=root":                              "",
		"[Unit]\nDescription=%H":                 `F:5: Description=: the specifier "%H" is not supported, ignored`,
		"[Unit]\nConditionPathExists=/x":         "F:5: ConditionPathExists= is not supported, ignored",
		"[Unit]\nAfter=a/b.service x.foo":        `F:5: After=: "a/b.service" is not a unit's name, ignored`,
		"[Install]\nWantedBy=x\nAny=1":           "",
		"[X-Ours]\nAny=1":                        "",
		"[Socket]\nListenStream=/x\nSocketMode=": "F:5: the section [Socket] is not supported, ignored",
	} {
		u := build("a.service", "[Service]\nExecStart=/bin/true\n\n"+line)
		got := strings.Join(u.Problems, "\n")
		if first, _, _ := strings.Cut(got, "\n"); first != want || u.Error != "" {
			t.Errorf("%s: %q, error %q", line, got, u.Error)
		}
	}
}

func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                               "it has no ExecStart=",
		"ExecStart=/a\nExecStart=":                       "it has no ExecStart=",
		"ExecStart=/a\nExecStart=/b":                     "it has more than one ExecStart=, which only Type=oneshot may have",
		"ExecStart=/a ; /b":                              "it has more than one ExecStart=, which only Type=oneshot may have",
		"Type=forking\nExecStart=/a":                     "Type=forking is not supported: let the program stay in the foreground",
		"Type=oneshot\nExecStart=/a":                     "",
		"ExecStart=/a\nUser=nobody":                      `F:3: User="nobody" is not supported: every service runs as root`,
		"ExecStart=/a\nUser=root\nGroup=a\nGroup=b":      `F:5: Group="b" is not supported: every service runs as root`,
		"ExecStart=/a\nUser=a\nGroup=a\nUser=root":       `F:4: Group="a" is not supported: every service runs as root`,
		"ExecStart=/a %H\nExecStart=/b/%":                `F:2: ExecStart=: the specifier "%H" is not supported`,
		"ExecStart=/a %H\nExecStartPre=":                 `F:2: ExecStart=: the specifier "%H" is not supported`,
		"ExecStart=a/b":                                  `F:2: ExecStart=: "a/b" is neither an absolute path nor the name of a program`,
		"ExecStart=-":                                    "it has no ExecStart=",
		"ExecStart=@/a":                                  `F:2: ExecStart=: "@" wants a second word, the program's name for itself`,
		"ExecStart=/a \"b":                               "F:2: ExecStart=: a quote does not end",
		"ExecStart=/a\nExecStartPre=/b %H":               `F:3: ExecStartPre=: the specifier "%H" is not supported`,
		"ExecStart=/a\nExecStartPre=-/b %H":              "",
		"Type=oneshot\nExecStart=/a\nRestart=always":     "Type=oneshot can not have Restart=always",
		"Type=oneshot\nExecStart=/a\nRestart=on-failure": "",
	} {
		if u := build("a.service", "[Service]\n"+text); u.Error != want {
			t.Errorf("%q: %q", text, u.Error)
		}
	}
}

func TestCommands(t *testing.T) {
	u := build("a@b.service", `[Service]
Type=oneshot
ExecStart=-/bin/sh -c "echo  'a b' $HOME" \; x; ; @:/bin/b //c ${X}	;	tool %i
ExecStart=+!/usr//bin/d '' "%%n"
`)
	want := []Command{
		{Path: "/bin/sh", Args: []string{"/bin/sh", "-c", "echo  'a b' $HOME", ";", "x;"}, IgnoreFailure: true},
		{Path: "/bin/b", Args: []string{"//c", "${X}"}, Literal: true},
		{Path: "tool", Args: []string{"tool", "b"}},
		{Path: "/usr/bin/d", Args: []string{"/usr/bin/d", "", "%n"}},
	}
	if !reflect.DeepEqual(u.Service.ExecStart, want) || u.Problems != nil || u.Error != "" {
		t.Errorf("%+v %+v", u.Service.ExecStart, u)
	}
}

func TestService(t *testing.T) {
	u := build("a.service", `[Unit]
Description=Every directive
StartLimitIntervalSec=1min
StartLimitBurst=3
[Service]
Type=notify
RemainAfterExit=on
ExecStart=/a
Environment=A=1
Environment=
Environment="B=x y" C=3
EnvironmentFile=/x
EnvironmentFile=
EnvironmentFile=-/etc/default/%p
EnvironmentFile=/e/*.env
WorkingDirectory=-%S/a/
StandardOutput=null
StandardError=null
Restart=on-failure
RestartSec=1.5
TimeoutSec=infinity
TimeoutStopSec=5min 20s
KillMode=mixed
Delegate=cpu memory
LimitNOFILE=1024:infinity
LimitNPROC=7
LimitCORE=1
LimitCORE=
LimitMEMLOCK=64M
TasksMax=100
OOMScoreAdjust=-999
`)
	n := -999
	want := &Service{
		Type: Notify, RemainAfterExit: true,
		ExecStart:         []Command{{Path: "/a", Args: []string{"/a"}}},
		Environment:       []string{"B=x y", "C=3"},
		EnvironmentFiles:  []EnvironmentFile{{"/etc/default/a", true}, {"/e/*.env", false}},
		WorkingDirectory:  "/var/lib/a",
		DirectoryOptional: true,
		Output:            Null,
		Restart:           "on-failure", RestartSec: 1500 * time.Millisecond,
		StartTimeout: 0, StopTimeout: 320 * time.Second,
		LimitInterval: time.Minute, LimitBurst: 3,
		KillMode: "mixed", Delegate: true,
		LimitNOFILE: &Limit{1024, unlimited}, LimitNPROC: &Limit{7, 7}, LimitMEMLOCK: &Limit{64 << 20, 64 << 20},
		TasksMax: "100", OOMScoreAdjust: &n,
	}
	if !reflect.DeepEqual(u.Service, want) || u.Problems != nil || u.Error != "" {
		t.Errorf("%+v %+v", u.Service, u)
	}
	if d := build("a.service", "[Service]\nType=oneshot\nExecStart=/a\n").Service; d.StartTimeout != 0 || d.StopTimeout != defaultTimeout {
		t.Errorf("%+v", d)
	}
}

func TestSpans(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "90": 90 * time.Second, "5min 20s": 320 * time.Second, "5min20s": 320 * time.Second,
		"1h 30": time.Hour + 30*time.Second, "100ms": 100 * time.Millisecond, "0.5 sec": 500 * time.Millisecond,
		"2us": 2000, "1d": day, "1w": 7 * day, "1y": year, "infinity": forever,
	} {
		if got, err := parseSpan(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", " ", "s", "-1", "1x", "1.2.3", ".", "1 s s", "300y", "nan", "1e3"} {
		if got, err := parseSpan(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// TestDecodeUnfinished has a writer that does not come to an end.
func TestDecodeUnfinished(t *testing.T) {
	if _, err := Decode(io.MultiReader(strings.NewReader("[]"), iotest.ErrReader(os.ErrDeadlineExceeded))); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading gives %v", err)
	}
}

func TestDecode(t *testing.T) {
	for text, want := range map[string]string{
		`[]`:                              "",
		` [{"Name":"a.service"}] ` + "\n": "",
		``:                                "reading units: EOF",
		`[{"Name":"a.service"}] []`:       "reading units: there is more than one document",
		`[{"Name":"a.service"}] x`:        "reading units: invalid character 'x' looking for beginning of value",
		`[{"Name":"../a.service"}]`:       `reading units: "../a.service" is not a unit's name`,
		`[{"Name":"a.service","New":1}]`:  `reading units: json: unknown field "New"`,
		`[{"Name":"a.target"},{"Name":"a.target"}]`: "reading units: a.target is there twice",
		strings.Repeat(" ", MaxJSON+1):              "reading units: there are more than 1048576 bytes",
		`[]` + strings.Repeat(" ", MaxJSON):         "reading units: there are more than 1048576 bytes",
	} {
		_, err := Decode(strings.NewReader(text))
		if got := errorText(err); got != want {
			t.Errorf("%.50q: %q", text, got)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func FuzzUnit(f *testing.F) {
	f.Add("[Unit]\nAfter=a.service\n[Service]\nExecStart=-/bin/sh -c 'a b' \\\n x ; /b\nEnvironment=\"A=b c\" %n\n", "a@b.service")
	f.Add("[Service]\nTimeoutSec=5min 20s\nLimitCORE=1:2K\nTasksMax=9\nType=oneshot\nExecStart=\n", "x.service")
	f.Add("[Install]\nX=\\\n#\n", "t.target")
	f.Fuzz(func(t *testing.T, text, name string) {
		if checkName(name) != nil {
			return
		}
		u := build(name, text)
		if kind(name) == service && u.Error == "" && len(u.Service.ExecStart) == 0 {
			t.Fatal("nothing to start")
		}
		if u.Service != nil {
			for _, c := range u.Service.ExecStart {
				if c.Path == "" || len(c.Args) == 0 {
					t.Fatalf("%+v", c)
				}
			}
		}
		var b bytes.Buffer
		if err := Encode(&b, []Unit{u}); err != nil {
			t.Fatal(err)
		}
		if b.Len() > MaxJSON {
			return
		}
		back, err := Decode(&b)
		if err != nil || !reflect.DeepEqual(back, []Unit{u}) {
			t.Fatalf("%+v became %+v, %v", u, back, err)
		}
	})
}
