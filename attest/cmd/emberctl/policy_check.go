package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/policy"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/verify"
	"github.com/ember-os/ember/attest/view"
	"github.com/ember-os/ember/os/logline"
)

var tiers = []string{string(protocol.Attested), string(protocol.Enrolled), string(protocol.None)}

// policyCheck is what the flags of policy check say.
type policyCheck struct {
	connection
	evidence, node, tier string
	asJSON               bool
}

func (a *app) policyCheck() *cobra.Command {
	var p policyCheck
	c := &cobra.Command{
		Use:   "check FILE",
		Short: "Say which policy applies to a machine, and why the others do not",
		Long: `Read policies, a list of them or all of attestd's configuration, with the measurements
that they name, and say what is wrong with them. With the evidence of a machine, say
which policy would apply to it and why the others do not: before a server has them.

Evidence is what emberctl node --json has printed, from a file or "-", or what the
server has of a machine now (--node). If no policy lets the machine in, the exit
status is 5. For the rest of a configuration, and the files that it names, there is
attestd check.`,
		Example: `  emberctl policy check attestd.yaml
  emberctl policy check attestd.yaml --node 9f86d081
  emberctl node 9f86d081 --json >node.json
  emberctl policy check new-policies.yaml --evidence node.json --tier enrolled`,
		Args: takes("a file with policies"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if p.evidence != "" && p.node != "" {
				return misuse("one of --evidence and --node is enough")
			}
			if p.tier != "" && !slices.Contains(tiers, p.tier) {
				return misuse("there is no tier %q, only %s", p.tier, strings.Join(tiers, ", "))
			}
			set, err := readPolicies(args[0])
			if err != nil {
				return err
			}
			if p.evidence == "" && p.node == "" {
				if p.asJSON {
					return printJSON(a.stdout, checked{Policies: named(set.Names())})
				}
				return a.printf("%s: %d policies, nothing wrong\n", args[0], len(set.Names()))
			}
			n, err := p.machine(cmd.Context(), a.stdin)
			if err != nil {
				return err
			}
			return a.explain(set, n, p)
		},
	}
	f := c.Flags()
	f.StringVar(&p.evidence, "evidence", "", "file with a machine, as emberctl node --json has printed it, or \"-\"")
	f.StringVar(&p.node, "node", "", "machine that the server knows")
	f.StringVar(&p.tier, "tier", "", "as if the machine were of this tier: attested, enrolled or none")
	jsonFlag(c, &p.asJSON)
	p.add(c)
	c.RegisterFlagCompletionFunc("tier", cobra.FixedCompletions(tiers, cobra.ShellCompDirectiveNoFileComp))
	c.RegisterFlagCompletionFunc("node", p.completeWith(nodeNames))
	return c
}

// readPolicies reads a file of policies, and those with measurements that it names.
func readPolicies(path string) (*policy.Set, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading policies: %w", err)
	}
	set, err := policy.ParseFile(b, func(file string) ([]byte, error) {
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(path), file)
		}
		return os.ReadFile(file)
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return set, nil
}

func (p *policyCheck) machine(ctx context.Context, stdin io.Reader) (n view.Node, err error) {
	if p.node != "" {
		client, err := p.client()
		if err != nil {
			return n, err
		}
		return p.connection.node(ctx, client, p.node)
	}
	var b []byte
	if p.evidence == "-" {
		b, err = io.ReadAll(stdin)
	} else {
		b, err = os.ReadFile(p.evidence)
	}
	if err != nil {
		return n, fmt.Errorf("reading evidence: %w", err)
	}
	if err := json.Unmarshal(b, &n); err != nil {
		return n, fmt.Errorf("reading evidence of %s: %w: what emberctl node --json prints is read", p.evidence, err)
	}
	return n, nil
}

// checked is the answer as JSON.
type checked struct {
	Node     string          `json:"node,omitempty"`
	Tier     string          `json:"tier,omitempty"`
	Allow    bool            `json:"allow"`
	Omitted  int             `json:"omitted,omitempty"` // events that the server has not kept
	Policies []checkedPolicy `json:"policies"`
}

type checkedPolicy struct {
	Name    string       `json:"name"`
	Applies bool         `json:"applies"`
	Holds   bool         `json:"holds"`
	Code    string       `json:"code,omitempty"`
	Reason  string       `json:"reason,omitempty"`
	PCRs    []checkedPCR `json:"pcrs,omitempty"` // that are not as the policy wants them
	Overlay string       `json:"overlay,omitempty"`
	Version uint64       `json:"version,omitempty"`
}

type checkedPCR struct {
	Index   int               `json:"index"`
	Value   string            `json:"value"`
	Want    []string          `json:"want,omitempty"`
	Missing []string          `json:"missing,omitempty"` // events
	What    map[string]string `json:"what,omitempty"`    // is missing, by Missing
	Wrong   []int             `json:"wrong,omitempty"`   // events that are not allowed, by their numbers from 1 on
}

func named(names []string) (all []checkedPolicy) {
	for _, name := range names {
		all = append(all, checkedPolicy{Name: name})
	}
	return all
}

// explain prints how policies take a machine.
func (a *app) explain(set *policy.Set, n view.Node, p policyCheck) error {
	last := n.Last()
	if last == nil {
		return fmt.Errorf("there is no evidence of the machine %s: it has not asked yet, or the server has not kept it", n.Node)
	}
	e, err := last.Verified(n.Node)
	if err != nil {
		return fmt.Errorf("reading evidence: %w", err)
	}
	if p.tier != "" {
		e.Tier = protocol.Tier(p.tier)
	}
	result := checked{Node: n.Node, Tier: string(e.Tier), Omitted: last.Omitted}
	for _, x := range set.Explain(e) {
		result.Allow = result.Allow || x.Applies
		result.Policies = append(result.Policies, checkPolicy(x, e))
	}
	if !p.asJSON {
		a.printChecked(result, last)
	} else if err := printJSON(a.stdout, result); err != nil {
		return err
	}
	if !result.Allow {
		return answerNo("no policy lets this machine in")
	}
	return nil
}

func checkPolicy(x policy.Explained, e *verify.Evidence) checkedPolicy {
	c := checkedPolicy{
		Name: x.Policy, Applies: x.Applies, Holds: x.Holds, Code: x.Reason.Code, Reason: x.Reason.Message, Overlay: x.Overlay, Version: x.Version,
	}
	for _, index := range x.Comparison.Differing() {
		compared := x.Comparison.PCRs[index]
		pcr := checkedPCR{Index: index, Value: hex.EncodeToString(e.PCRs[index]), What: map[string]string{}}
		for _, want := range compared.Want {
			pcr.Want = append(pcr.Want, want.String())
		}
		for _, missing := range compared.Missing {
			digest := missing.Digest.String()
			pcr.Missing = append(pcr.Missing, digest)
			if missing.What != "" {
				pcr.What[digest] = missing.What
			}
		}
		for _, i := range slices.Sorted(maps.Keys(x.Comparison.Wrong)) {
			if e.Events[i].PCR == index {
				pcr.Wrong = append(pcr.Wrong, i+1)
			}
		}
		c.PCRs = append(c.PCRs, pcr)
	}
	return c
}

func (a *app) printChecked(c checked, e *view.Evidence) {
	a.printf("machine %s of tier %s, its quote of %s\n", c.Node, c.Tier, stamp(e.Time))
	if c.Omitted > 0 {
		a.printf("The server has not kept %d of its events: what is said of events may be wrong.\n", c.Omitted)
	}
	var winner string
	for _, p := range c.Policies {
		switch {
		case p.Applies:
			winner = p.Name
			a.printf("\n%s applies%s\n", p.Name, label(": overlay ", overlayAtLeast(p)))
		case p.Holds:
			a.printf("\n%s would apply, but %s comes first\n", p.Name, winner)
		default:
			a.printf("\n%s does not apply: %s\n", p.Name, p.Reason)
			a.printDiffering(p.PCRs, e)
		}
	}
}

func overlayAtLeast(p checkedPolicy) string {
	if p.Version == 0 {
		return p.Overlay
	}
	return fmt.Sprintf("%s, version %d or newer", p.Overlay, p.Version)
}

func (a *app) printDiffering(pcrs []checkedPCR, e *view.Evidence) {
	for _, p := range pcrs {
		a.printf("  PCR %-2d is       %s\n", p.Index, p.Value)
		for _, want := range p.Want {
			a.printf("         wanted   %s\n", want)
		}
		for _, digest := range p.Missing {
			a.printf("         missing  %s%s\n", digest, label(" ", logline.Visible(p.What[digest])))
		}
		for _, number := range p.Wrong {
			event := e.Events[number-1]
			a.printf("         event %-3d%s %s %s\n", number, event.Digest, event.Name, logline.Visible(event.Text))
		}
	}
}
