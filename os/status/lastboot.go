package status

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ember-os/ember/os/bootreason"
	"github.com/ember-os/ember/os/crash"
	"github.com/ember-os/ember/os/jsonfile"
	"github.com/ember-os/ember/os/logline"
)

// LastBoot is how the boot before this one ended, as far as it left a trace.
type LastBoot struct {
	Reboot *bootreason.Record `json:",omitempty"` // the reason of an orderly reboot
	Crash  *crash.Dump        `json:",omitempty"` // what the kernel left when it crashed
	Resets []crash.Reset      `json:",omitempty"` // what watchdogs say
}

// lastBootFile keeps it for as long as the machine runs, because the places that it
// comes from are emptied for the next crash.
const lastBootFile = "/run/ember/last-boot.json"

// takeLastBoot finds out how the last boot ended and keeps it. What was found before
// in this boot stays if there is nothing new.
func takeLastBoot(root string) (LastBoot, error) {
	l, err := jsonfile.Read[LastBoot](filepath.Join(root, lastBootFile))
	errs := []error{err}
	places := bootreason.Places{
		Variables: filepath.Join(root, bootreason.Default.Variables),
		Store:     filepath.Join(root, bootreason.Default.Store),
	}
	reboot, err := places.Take()
	errs = append(errs, err)
	if reboot != nil {
		l.Reboot = reboot
	}
	dump, err := crash.Read(filepath.Join(root, crash.Store))
	errs = append(errs, err)
	if dump != nil {
		l.Crash = dump
	}
	l.Resets = crash.Resets(filepath.Join(root, crash.Watchdogs))
	return l, errors.Join(append(errs, l.save(root))...)
}

func (l LastBoot) save(root string) error {
	path := filepath.Join(root, lastBootFile)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = jsonfile.Write(path, l, 0o600) // a kernel log is for root
	}
	if err != nil {
		return fmt.Errorf("keeping how the last boot ended: %w", err)
	}
	return nil
}

// LastReason is why the boot before this one has ended, "" if that is not known, or not yet.
func LastReason(root string) (string, error) {
	l, err := jsonfile.Read[LastBoot](filepath.Join(root, lastBootFile))
	if err != nil || l.Reboot == nil {
		return "", err
	}
	return l.Reboot.Text, nil
}

// alarms are what the log should know of a boot that ended badly.
func (l LastBoot) alarms() []logline.Line {
	var lines []logline.Line
	if d := l.Crash; d != nil {
		lines = append(lines, logline.Line{Severity: logline.Error, Text: "the last kernel crashed: " + describe(d)})
		for _, t := range d.Tail {
			lines = append(lines, logline.Line{Severity: logline.Warning, Text: "crash: " + t.Text})
		}
	}
	for _, r := range l.Resets {
		lines = append(lines, logline.Line{Severity: logline.Warning, Text: "the machine was reset: " + r.String()})
	}
	return lines
}
