package efiboot

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// Entry is a system on the disk that is to have a boot entry.
type Entry struct {
	Title string // that the firmware shows, and that the entry is found again by
	File  string // on the partition, with slashes
}

// Boot is what firmware knows of a boot, as far as it says.
type Boot struct {
	Network   bool   // it was from the network
	Title     string // of the entry that was booted; "" if that is not known
	Partition GUID   // that was booted from; zero if that is not known
	File      string // on the partition, with slashes; "" if that is not known
	Stub      bool   // Partition and File are what systemd-stub says of the program that runs
}

const (
	orderVariable   = "BootOrder"
	nextVariable    = "BootNext"
	currentVariable = "BootCurrent"
	partVariable    = "DevicePartUUID" // behind one of by
	imageVariable   = "ImageIdentifier"
)

// by is who tells where a program comes from: systemd-stub of itself, and of the loader before it, which is itself if
// there was none. Before version 256 it has only the latter.
var by = []string{"Stub", "Loader"}

func entryName(number uint16) string { return fmt.Sprintf("Boot%04X", number) }

// Current tells how the machine was booted.
func (v Variables) Current() (Boot, error) {
	if _, err := os.Stat(v.Dir); err != nil {
		return Boot{}, fmt.Errorf("%w: %w", ErrNoVariables, err)
	}
	var b Boot
	number, err := v.number(currentVariable)
	if err == nil {
		var o option
		o, err = v.entry(number)
		k := follow(o.path)
		b = Boot{Network: k.network, Title: o.description, Partition: k.partition, File: k.file}
	}
	for _, who := range by {
		image, noImage := v.text(who + imageVariable)
		part, _ := v.text(who + partVariable)
		if guid := parseGUID(part); guid != (GUID{}) {
			b.Partition = guid
			if noImage == nil {
				b.File, b.Stub = slashes(image), true
			}
		}
		if noImage == nil {
			break
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return b, err
}

// text reads one of the loader's variables.
func (v Variables) text(name string) (string, error) {
	b, err := v.read(name, loader)
	if err != nil {
		return "", err
	}
	text, _, ok := fromUCS2(b)
	if !ok {
		return "", fmt.Errorf("reading EFI variable %s: it is no text", name)
	}
	return text, nil
}

// parseGUID gives the zero GUID for what is none.
func parseGUID(s string) (g GUID) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != len(g) {
		return GUID{}
	}
	copy(g[:], b)
	slices.Reverse(g[0:4])
	slices.Reverse(g[4:6])
	slices.Reverse(g[6:8])
	if !strings.EqualFold(g.String(), s) {
		return GUID{}
	}
	return g
}

// Update has the firmware boot the network first and the entries after it, in their order, and then whatever it
// had. They are on one partition. If fromNetwork is set, what was booted this time is the network, whatever it is:
// it may be iPXE on a USB stick. Else it is the first entry that is one; without any, what the order had in front of
// the entries stays there. An error leaves an order that works as it did.
func (v Variables) Update(p Partition, fromNetwork bool, entries ...Entry) error {
	if _, err := os.Stat(v.Dir); err != nil {
		return fmt.Errorf("%w: %w", ErrNoVariables, err)
	}
	all, err := v.entries()
	if err != nil {
		return err
	}
	var ours []uint16
	for _, e := range entries {
		number, err := v.place(all, p, e)
		if err != nil {
			return err
		}
		ours = append(ours, number)
	}
	old, err := v.order()
	if err != nil {
		return err
	}
	var order []uint16
	if first, ok := v.network(all, old, ours, fromNetwork); ok {
		order = append(order, first)
	}
	for _, n := range append(ours, old...) {
		if !slices.Contains(order, n) {
			order = append(order, n)
		}
	}
	return v.setOrder(order)
}

// network chooses what comes before our entries.
func (v Variables) network(all map[uint16]option, order, ours []uint16, fromNetwork bool) (uint16, bool) {
	isOurs := func(n uint16) bool { return slices.Contains(ours, n) }
	if n, err := v.number(currentVariable); fromNetwork && err == nil && !isOurs(n) && all[n].active {
		return n, true
	}
	for _, n := range append(slices.Clone(order), sorted(all)...) {
		if o := all[n]; o.active && follow(o.path).network {
			return n, true
		}
	}
	if slices.ContainsFunc(order, isOurs) && !isOurs(order[0]) {
		return order[0], true
	}
	return 0, false
}

// place makes the entry what it should be, and gives its number.
func (v Variables) place(all map[uint16]option, p Partition, e Entry) (uint16, error) {
	want := option{active: true, description: e.Title, path: fileOn(p, e.File)}
	number, found := uint16(0), false
	for _, n := range sorted(all) {
		if all[n].description == e.Title && follow(all[n].path).file != "" {
			number, found = n, true
			break
		}
	}
	for n := 0; !found && n < 1<<16; n++ {
		if _, taken := all[uint16(n)]; !taken {
			number, found = uint16(n), true
		}
	}
	if !found {
		return 0, errors.New("there is no number left for a boot entry")
	}
	all[number] = want
	return number, v.write(entryName(number), want.encode())
}

func sorted(all map[uint16]option) []uint16 {
	var numbers []uint16
	for n := range all {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers
}

// Preferred is the first of the titles in the boot order; "" if it has none of them.
func (v Variables) Preferred(titles ...string) string {
	order, _ := v.order()
	for _, n := range order {
		if o, err := v.entry(n); err == nil && slices.Contains(titles, o.description) {
			return o.description
		}
	}
	return ""
}

// Partition is where the first of the titles that has an entry boots from, zero if none has.
func (v Variables) Partition(titles ...string) GUID {
	all, _ := v.entries()
	for _, title := range titles {
		for _, n := range sorted(all) {
			if k := follow(all[n].path); all[n].description == title && k.file != "" {
				return k.partition
			}
		}
	}
	return GUID{}
}

// Pending tells whether the firmware is still to boot an entry the next time: at the beginning of a boot, that it
// has ignored that.
func (v Variables) Pending() bool {
	_, err := v.number(nextVariable)
	return err == nil
}

// Next has the firmware boot an entry the next time, and only then. It is an fs.ErrNotExist if there is no such
// entry.
func (v Variables) Next(title string) error {
	all, err := v.entries()
	if err != nil {
		return err
	}
	for _, n := range sorted(all) {
		if all[n].description == title {
			return v.write(nextVariable, binary.LittleEndian.AppendUint16(nil, n))
		}
	}
	return fmt.Errorf("there is no boot entry %q: %w", title, fs.ErrNotExist)
}

// number reads a variable with the number of an entry.
func (v Variables) number(name string) (uint16, error) {
	b, err := v.read(name, global)
	if err == nil && len(b) != 2 {
		err = fmt.Errorf("reading EFI variable %s: it has %d bytes", name, len(b))
	}
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint16(b), nil
}

func (v Variables) entry(number uint16) (option, error) {
	b, err := v.read(entryName(number), global)
	if err != nil {
		return option{}, err
	}
	return decodeOption(b)
}

// entries are those there are. One that can not be read has its number, and nothing else.
func (v Variables) entries() (map[uint16]option, error) {
	files, err := os.ReadDir(v.Dir)
	if err != nil {
		return nil, fmt.Errorf("looking for boot entries: %w", err)
	}
	all := map[uint16]option{}
	for _, f := range files {
		var n uint16
		name, vendor, _ := strings.Cut(f.Name(), "-")
		if vendor != global || len(name) != len("Boot0000") {
			continue
		}
		if _, err := fmt.Sscanf(name, "Boot%04X", &n); err != nil || entryName(n) != name {
			continue
		}
		all[n], _ = v.entry(n)
	}
	return all, nil
}

// order is the boot order; none if the firmware has forgotten it.
func (v Variables) order() ([]uint16, error) {
	b, err := v.read(orderVariable, global)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var order []uint16
	for ; len(b) >= 2; b = b[2:] {
		order = append(order, binary.LittleEndian.Uint16(b))
	}
	return order, nil
}

func (v Variables) setOrder(order []uint16) error {
	var b []byte
	for _, n := range order {
		b = binary.LittleEndian.AppendUint16(b, n)
	}
	return v.write(orderVariable, b)
}
