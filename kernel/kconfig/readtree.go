package kconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// ReadTree reads Kconfig and what it includes from a kernel source tree, for the
// architecture that the kernel calls arch (x86, arm64).
func ReadTree(source fs.FS, arch string) (*Tree, error) {
	r := &treeReader{
		source: source,
		vars:   strings.NewReplacer("$(SRCARCH)", arch),
		tree:   &Tree{definitions: map[string][]definition{}, selectors: map[string][]selector{}},
	}
	if err := r.file("Kconfig"); err != nil {
		return nil, err
	}
	return r.tree, nil
}

// treeReader holds the state that spans files that include one another.
type treeReader struct {
	source fs.FS
	vars   *strings.Replacer
	tree   *Tree
	open   []string // files being read
	blocks []block
	entry  entry
}

// block is an open if, menu or choice; its conditions hold for all inside.
type block struct{ depends, visible *expr }

// entry is what attributes belong to. A config is added to the tree when it ends,
// because dependencies may follow selects.
type entry struct {
	kind    entryKind
	symbol  string
	def     definition
	selects []selector // symbol is the selected one
}

type entryKind int

const (
	ignored   entryKind = iota // comment, or between entries
	config                     // config, menuconfig
	container                  // menu, choice
)

func (r *treeReader) file(name string) error {
	if slices.Contains(r.open, name) {
		return fmt.Errorf("%s includes itself", name)
	}
	text, err := fs.ReadFile(r.source, name)
	if err != nil {
		return fmt.Errorf("reading Kconfig: %w", err)
	}
	r.open = append(r.open, name)
	defer func() { r.open = r.open[:len(r.open)-1] }()

	lines := strings.Split(strings.ReplaceAll(string(text), "\\\n", " "), "\n")
	for i := 0; i < len(lines); i++ {
		word, rest := splitWord(lines[i])
		if word == "help" {
			i = skipHelp(lines, i)
			continue
		}
		if err := r.statement(word, rest); err != nil {
			return fmt.Errorf("%s: %q: %w", name, strings.TrimSpace(lines[i]), err)
		}
	}
	r.end()
	return nil
}

// splitWord cuts the first word of a line; a comment has none.
func splitWord(line string) (string, string) {
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "#") {
		return "", ""
	}
	if i := strings.IndexAny(line, " \t\"(!"); i > 0 {
		return line[:i], strings.TrimSpace(line[i:])
	}
	return line, ""
}

// skipHelp returns the index of the last line of a help text, which ends where the
// indentation becomes less than that of its first line.
func skipHelp(lines []string, i int) int {
	indent := -1
	for ; i+1 < len(lines); i++ {
		next := strings.ReplaceAll(lines[i+1], "\t", "        ")
		body := strings.TrimLeft(next, " ")
		if strings.TrimSpace(body) == "" {
			continue
		}
		n := len(next) - len(body)
		if indent < 0 {
			indent = n
		}
		if n < indent || n == 0 {
			break
		}
	}
	return i
}

func (r *treeReader) statement(word, rest string) error {
	switch word {
	case "config", "menuconfig":
		r.end()
		r.entry = entry{kind: config}
		r.entry.symbol, _ = splitWord(rest)
	case "menu", "choice":
		r.end()
		r.entry.kind = container
		r.blocks = append(r.blocks, block{})
	case "comment":
		r.end()
	case "if":
		r.end()
		e, err := parseExpr(rest)
		r.blocks = append(r.blocks, block{depends: e})
		return err
	case "endmenu", "endchoice", "endif":
		r.end()
		if len(r.blocks) == 0 {
			return errors.New("nothing to end")
		}
		r.blocks = r.blocks[:len(r.blocks)-1]
	case "source":
		r.end()
		name, _, err := unquote(rest)
		if err != nil {
			return err
		}
		return r.file(path.Clean(r.vars.Replace(name)))
	default:
		return r.attribute(word, rest)
	}
	return nil
}

func (r *treeReader) attribute(word, rest string) error {
	switch word {
	case "depends":
		e, err := parseExpr(strings.TrimPrefix(rest, "on "))
		switch r.entry.kind {
		case config:
			r.entry.def.depends = and(r.entry.def.depends, e)
		case container:
			b := &r.blocks[len(r.blocks)-1]
			b.depends = and(b.depends, e)
		}
		return err
	case "visible":
		e, err := parseExpr(strings.TrimPrefix(rest, "if "))
		r.visible(e)
		return err
	case "select":
		symbol, cond := splitWord(rest)
		when, err := condition(cond)
		r.entry.selects = append(r.entry.selects, selector{symbol, when})
		return err
	case "bool", "tristate", "int", "hex", "string", "prompt":
		if rest == "" || !strings.ContainsAny(rest[:1], `"'`) {
			return nil
		}
		_, after, err := unquote(rest)
		if err != nil {
			return err
		}
		when, err := condition(after)
		r.entry.def.asked, r.entry.def.prompt = true, when
		r.visible(when)
		return err
	}
	return nil // defaults, ranges, macros
}

// condition reads what may follow a select or a prompt.
func condition(text string) (*expr, error) {
	word, rest := splitWord(text)
	if word != "if" {
		return nil, nil
	}
	return parseExpr(rest)
}

// visible adds a condition under which a menu or choice shows what is inside.
func (r *treeReader) visible(e *expr) {
	if r.entry.kind == container {
		b := &r.blocks[len(r.blocks)-1]
		b.visible = and(b.visible, e)
	}
}

// end closes the current entry.
func (r *treeReader) end() {
	e := r.entry
	r.entry = entry{}
	if e.kind != config {
		return
	}
	for i := len(r.blocks) - 1; i >= 0; i-- {
		e.def.depends = and(r.blocks[i].depends, e.def.depends)
		e.def.prompt = and(r.blocks[i].visible, e.def.prompt)
	}
	r.tree.definitions[e.symbol] = append(r.tree.definitions[e.symbol], e.def)
	for _, s := range e.selects {
		r.tree.selectors[s.symbol] = append(r.tree.selectors[s.symbol], selector{e.symbol, s.when})
	}
}
