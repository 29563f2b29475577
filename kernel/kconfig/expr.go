package kconfig

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// An expr is a Kconfig condition. A word has neither operator nor operands.
type expr struct {
	op    string // "", "!", "&&", "||", "=", "!=", "<", ">", "<=", ">="
	left  *expr  // the operand of "!"
	right *expr
	word  string // symbol, constant, "quoted constant" or $(macro)
}

// truth is what is known of a condition: macros that ask the compiler are not.
type truth int

const (
	no truth = iota
	unknown
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

var (
	exprToken = regexp.MustCompile(`^\s*(&&|\|\||!=|<=|>=|[!=<>()]|"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_.-]+)`)
	constant  = regexp.MustCompile(`^([ymn]|-?[0-9]+|0[xX][0-9a-fA-F]+|["'].*)$`)
)

// parseExpr reads a condition to the end of the text or to a comment.
func parseExpr(text string) (*expr, error) {
	p := &exprParser{rest: text}
	e, err := p.binary(0)
	if err != nil {
		return nil, fmt.Errorf("condition %q: %w", text, err)
	}
	if rest := strings.TrimSpace(p.rest); rest != "" && rest[0] != '#' {
		return nil, fmt.Errorf("condition %q: unexpected %q", text, rest)
	}
	return e, nil
}

type exprParser struct{ rest string }

// token returns the next token without consuming it, and what follows it.
func (p *exprParser) token() (tok, rest string) {
	if s := strings.TrimLeft(p.rest, " \t"); strings.HasPrefix(s, "$(") {
		return macro(s)
	}
	m := exprToken.FindStringSubmatch(p.rest)
	if m == nil {
		return "", p.rest
	}
	return m[1], p.rest[len(m[0]):]
}

// macro splits off $(...) with its inner parentheses.
func macro(s string) (tok, rest string) {
	depth := 0
	for i, c := range s {
		switch c {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return s[:i+1], s[i+1:]
			}
		}
	}
	return "", s
}

// precedence has the binary operators, loosest first.
var precedence = [][]string{{"||"}, {"&&"}, {"=", "!=", "<", ">", "<=", ">="}}

func (p *exprParser) binary(level int) (*expr, error) {
	if level == len(precedence) {
		return p.unary()
	}
	left, err := p.binary(level + 1)
	if err != nil {
		return nil, err
	}
	for {
		tok, rest := p.token()
		if !slices.Contains(precedence[level], tok) {
			return left, nil
		}
		p.rest = rest
		right, err := p.binary(level + 1)
		if err != nil {
			return nil, err
		}
		left = &expr{op: tok, left: left, right: right}
	}
}

func (p *exprParser) unary() (*expr, error) {
	tok, rest := p.token()
	p.rest = rest
	switch tok {
	case "":
		return nil, fmt.Errorf("expected an operand before %q", rest)
	case "!":
		e, err := p.unary()
		return &expr{op: "!", left: e}, err
	case "(":
		e, err := p.binary(0)
		if err != nil {
			return nil, err
		}
		if tok, rest := p.token(); tok == ")" {
			p.rest = rest
			return e, nil
		}
		return nil, fmt.Errorf("expected ) before %q", p.rest)
	}
	return &expr{word: tok}, nil
}

// eval gives the truth of a condition under a configuration; none is true.
func (e *expr) eval(c Config) truth {
	if e == nil {
		return yes
	}
	switch e.op {
	case "":
		v := e.value(c)
		if strings.HasPrefix(v, "$(") {
			return unknown
		}
		return truthOf(v == "y" || v == "m" && c.Get("MODULES") != Off)
	case "!":
		return yes - e.left.eval(c)
	case "&&":
		return min(e.left.eval(c), e.right.eval(c))
	case "||":
		return max(e.left.eval(c), e.right.eval(c))
	}
	return compare(e.left.value(c), e.op, e.right.value(c))
}

// value is the text that a word stands for.
func (e *expr) value(c Config) string {
	v := e.word
	if !constant.MatchString(v) && !strings.HasPrefix(v, "$(") {
		v = c.Get(v)
	}
	return strings.Trim(v, `"'`)
}

func compare(a, op, b string) truth {
	if strings.Contains(a+b, "$(") {
		return unknown
	}
	switch op {
	case "=":
		return truthOf(a == b)
	case "!=":
		return truthOf(a != b)
	}
	x, errX := strconv.ParseInt(a, 0, 64)
	y, errY := strconv.ParseInt(b, 0, 64)
	if errX != nil || errY != nil {
		return unknown
	}
	return truthOf(op[0] == '<' && x < y || op[0] == '>' && x > y || len(op) == 2 && x == y)
}

// unmet lists the parts of a conjunction that are false.
func (e *expr) unmet(c Config) []string {
	switch {
	case e == nil || e.eval(c) != no:
		return nil
	case e.op == "&&":
		return append(e.left.unmet(c), e.right.unmet(c)...)
	}
	return []string{e.String()}
}

// String writes the condition in Kconfig's form.
func (e *expr) String() string {
	switch {
	case e.op == "":
		return e.word
	case e.op == "!":
		return "!" + e.left.operand()
	case e.op == "&&" || e.op == "||":
		return e.left.operand() + " " + e.op + " " + e.right.operand()
	}
	return e.left.operand() + e.op + e.right.operand()
}

func (e *expr) operand() string {
	if e.op == "" || e.op == "!" {
		return e.String()
	}
	return "(" + e.String() + ")"
}
