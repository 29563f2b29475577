package unit

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// directive applies a value. An error says why the value was not taken.
type directive func(b *builder, value string) error

var unitDirectives = map[string]directive{
	"Description": func(b *builder, value string) error {
		text, err := b.expand(value)
		if err == nil {
			b.unit.Description = text
		}
		return err
	},
	"Documentation":         silent,
	"DefaultDependencies":   silent, // there are none
	"After":                 units(func(b *builder) *[]string { return &b.unit.After }),
	"Before":                units(func(b *builder) *[]string { return &b.before }),
	"Requires":              units(required),
	"Wants":                 units(func(b *builder) *[]string { return &b.unit.Wants }),
	"Conflicts":             units(func(b *builder) *[]string { return &b.conflicts }),
	"BindsTo":               bindsTo,
	"StartLimitIntervalSec": ofService(limitInterval),
	"StartLimitInterval":    ofService(limitInterval),
	"StartLimitBurst":       ofService(limitBurst),
}

var serviceDirectives = map[string]directive{
	"Type":             serviceType,
	"RemainAfterExit":  boolean(func(s *Service) *bool { return &s.RemainAfterExit }),
	"ExecStartPre":     commands(func(s *Service) *[]Command { return &s.ExecStartPre }),
	"ExecStart":        commands(func(s *Service) *[]Command { return &s.ExecStart }),
	"ExecStopPost":     commands(func(s *Service) *[]Command { return &s.ExecStopPost }),
	"NotifyAccess":     silent, // everybody in the service may notify
	"Environment":      environment,
	"EnvironmentFile":  environmentFile,
	"WorkingDirectory": workingDirectory,
	"StandardOutput":   output(func(b *builder) *Output { return &b.standardOutput }, Null),
	"StandardError":    output(func(b *builder) *Output { return &b.standardError }, ""),
	"Restart": word(func(s *Service) *Restart { return &s.Restart },
		"no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always"),
	"RestartSec":            span(func(b *builder, d time.Duration) { b.unit.Service.RestartSec = d }),
	"TimeoutStartSec":       timeout(setStartTimeout),
	"TimeoutStopSec":        timeout(setStopTimeout),
	"TimeoutSec":            timeout(setStartTimeout, setStopTimeout),
	"StartLimitIntervalSec": limitInterval,
	"StartLimitInterval":    limitInterval,
	"StartLimitBurst":       limitBurst,
	"KillMode": word(func(s *Service) *KillMode { return &s.KillMode },
		"control-group", "mixed", "process", "none"),
	"KillSignal":     only("SIGTERM", "TERM", "15"),
	"SendSIGKILL":    only("yes", "true", "1", "on"),
	"User":           rootOnly,
	"Group":          rootOnly,
	"Delegate":       delegate,
	"LimitNOFILE":    limit(func(s *Service) **Limit { return &s.LimitNOFILE }, parseCount),
	"LimitNPROC":     limit(func(s *Service) **Limit { return &s.LimitNPROC }, parseCount),
	"LimitCORE":      limit(func(s *Service) **Limit { return &s.LimitCORE }, parseSize),
	"LimitMEMLOCK":   limit(func(s *Service) **Limit { return &s.LimitMEMLOCK }, parseSize),
	"TasksMax":       tasksMax,
	"OOMScoreAdjust": oomScoreAdjust,
}

func silent(*builder, string) error { return nil }

// ofService is a directive of [Unit] that only services have a use for.
func ofService(d directive) directive {
	return func(b *builder, value string) error {
		if b.unit.Service == nil {
			return errors.New("only services have it")
		}
		return d(b, value)
	}
}

// units adds names of units. Nothing takes one off a list again.
func units(list func(*builder) *[]string) directive {
	return func(b *builder, value string) error {
		names, err := b.words(value)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := checkName(name); err != nil {
				b.problem(": %v, ignored", err)
				continue
			}
			*list(b) = append(*list(b), name)
		}
		return nil
	}
}

func required(b *builder) *[]string { return &b.unit.Requires }

func bindsTo(b *builder, value string) error {
	b.problem("%q is taken as Requires=", value)
	return units(required)(b, value)
}

func boolean(field func(*Service) *bool) directive {
	return func(b *builder, value string) error {
		v, err := parseBool(value)
		if err == nil {
			*field(b.unit.Service) = v
		}
		return err
	}
}

// word accepts exactly the given words.
func word[T ~string](field func(*Service) *T, all ...T) directive {
	return func(b *builder, value string) error {
		if !slices.Contains(all, T(value)) {
			return fmt.Errorf("%q is not one of %v", value, all)
		}
		*field(b.unit.Service) = T(value)
		return nil
	}
}

// only accepts the words for what we do anyway.
func only(words ...string) directive {
	return func(_ *builder, value string) error {
		if !slices.Contains(words, value) {
			return fmt.Errorf("%q is not supported, only %s", value, words[0])
		}
		return nil
	}
}

// rootOnly refuses to run as root what should not be; the last value counts.
func rootOnly(b *builder, value string) error {
	delete(b.refused, b.at.Name)
	if value != "" && value != "root" && value != "0" {
		b.refused[b.at.Name] = fmt.Sprintf("%s: %s=%q is not supported: every service runs as root", b.at.where(), b.at.Name, value)
	}
	return nil
}

func serviceType(b *builder, value string) error {
	switch value {
	case "dbus", "idle":
		b.problem("%s is taken as simple", value)
	case "notify-reload":
		b.problem("%s is taken as notify", value)
	case "simple", "exec", "notify", "oneshot", "forking":
	default:
		return fmt.Errorf("%q is not a type", value)
	}
	b.typ = value
	return nil
}

func span(set func(*builder, time.Duration)) directive {
	return func(b *builder, value string) error {
		d, err := parseSpan(value)
		if err == nil {
			set(b, d)
		}
		return err
	}
}

func setStartTimeout(b *builder, d time.Duration) { b.startTimeout = &d }
func setStopTimeout(b *builder, d time.Duration)  { b.unit.Service.StopTimeout = d }

// timeout is a span for which both 0 and infinity are none.
func timeout(setters ...func(*builder, time.Duration)) directive {
	return span(func(b *builder, d time.Duration) {
		if d == forever {
			d = 0
		}
		for _, set := range setters {
			set(b, d)
		}
	})
}

func limitInterval(b *builder, value string) error {
	return span(func(b *builder, d time.Duration) { b.unit.Service.LimitInterval = d })(b, value)
}

func limitBurst(b *builder, value string) error {
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return fmt.Errorf("%q is not a number", value)
	}
	b.unit.Service.LimitBurst = int(n)
	return nil
}

// delegate takes the names of controllers as a yes: all of them are delegated.
func delegate(b *builder, value string) error {
	v, err := parseBool(value)
	b.unit.Service.Delegate = v || err != nil
	return nil
}

func limit(field func(*Service) **Limit, number func(string) (uint64, error)) directive {
	return func(b *builder, value string) error {
		if value == "" {
			*field(b.unit.Service) = nil
			return nil
		}
		l, err := parseLimit(value, number)
		if err == nil {
			*field(b.unit.Service) = l
		}
		return err
	}
}

func tasksMax(b *builder, value string) error {
	max, err := "", error(nil)
	if value != "" {
		max, err = parseTasks(value)
	}
	if err == nil {
		b.unit.Service.TasksMax = max
	}
	return err
}

func oomScoreAdjust(b *builder, value string) error {
	if value == "" {
		b.unit.Service.OOMScoreAdjust = nil
		return nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < -1000 || n > 1000 {
		return fmt.Errorf("%q is not a number from -1000 to 1000", value)
	}
	b.unit.Service.OOMScoreAdjust = &n
	return nil
}

// output takes a destination; inherit is what that word stands for.
func output(field func(*builder) *Output, inherit Output) directive {
	return func(b *builder, value string) error {
		switch v := Output(value); v {
		case Journal, JournalConsole, Null:
			*field(b) = v
		case "inherit":
			*field(b) = inherit
		default:
			return fmt.Errorf("%q is not one of %v", value, []Output{Journal, JournalConsole, Null, "inherit"})
		}
		return nil
	}
}

func workingDirectory(b *builder, value string) error {
	value, optional := strings.CutPrefix(value, "-")
	dir, err := b.expand(value)
	switch {
	case err != nil:
		return err
	case dir == "":
		dir = "/"
	case dir == "~":
		dir = "/root"
	case !path.IsAbs(dir):
		return fmt.Errorf("%q is not an absolute path", dir)
	}
	b.unit.Service.WorkingDirectory, b.unit.Service.DirectoryOptional = path.Clean(dir), optional
	return nil
}
