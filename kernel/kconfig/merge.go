package kconfig

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Merge lists the requests of all fragments, in order. A symbol that appears twice
// is an error that names both places, even if the values agree: a request that is
// changed in one place must not survive in another.
func Merge(fragments []*Fragment) ([]Request, error) {
	var all []Request
	var errs []error
	first := map[string]Request{}
	for _, f := range fragments {
		for _, r := range f.Requests() {
			if p, dup := first[r.Symbol]; dup {
				errs = append(errs, fmt.Errorf("CONFIG_%s is %s at %s and %s at %s: keep one of them",
					r.Symbol, p.Value, p.Where(), r.Value, r.Where()))
				continue
			}
			first[r.Symbol] = r
			all = append(all, r)
		}
	}
	return all, errors.Join(errs...)
}

// WriteAllconfig writes requests as a file for the kernel's KCONFIG_ALLCONFIG.
func WriteAllconfig(w io.Writer, requests []Request) error {
	b := bufio.NewWriter(w)
	for _, r := range requests {
		b.WriteString(r.Option.String() + "\n")
	}
	return b.Flush()
}
