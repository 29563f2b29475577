// Package tig has the one name of nerdctl's own test library that nerdctl's programs link: nerdctl
// has that library in a folder of its repository that no module holds.
package tig

// T is what is asked of a *testing.T.
type T interface {
	Fail()
	FailNow()
	Helper()
	Log(args ...any)
	Name() string
	TempDir() string
}
