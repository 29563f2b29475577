package verify

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
)

// The types of events (TCG PC Client Platform Firmware Profile 1.06, table 27) that have names here.
var typeNames = map[uint32]string{
	0x00: "EV_PREBOOT_CERT", 0x01: "EV_POST_CODE", 0x03: "EV_NO_ACTION", 0x04: "EV_SEPARATOR", 0x05: "EV_ACTION",
	0x06: "EV_EVENT_TAG", 0x07: "EV_S_CRTM_CONTENTS", 0x08: "EV_S_CRTM_VERSION", 0x09: "EV_CPU_MICROCODE",
	0x0a: "EV_PLATFORM_CONFIG_FLAGS", 0x0b: "EV_TABLE_OF_DEVICES", 0x0c: "EV_COMPACT_HASH", 0x0d: "EV_IPL",
	0x0e: "EV_IPL_PARTITION_DATA", 0x0f: "EV_NONHOST_CODE", 0x10: "EV_NONHOST_CONFIG", 0x11: "EV_NONHOST_INFO",
	0x12: "EV_OMIT_BOOT_DEVICE_EVENTS", 0x13: "EV_POST_CODE2",
	0x80000001: "EV_EFI_VARIABLE_DRIVER_CONFIG", variableBoot: "EV_EFI_VARIABLE_BOOT",
	0x80000003: "EV_EFI_BOOT_SERVICES_APPLICATION", 0x80000004: "EV_EFI_BOOT_SERVICES_DRIVER",
	0x80000005: "EV_EFI_RUNTIME_SERVICES_DRIVER", 0x80000006: "EV_EFI_GPT_EVENT", 0x80000007: "EV_EFI_ACTION",
	0x80000008: "EV_EFI_PLATFORM_FIRMWARE_BLOB", 0x80000009: "EV_EFI_HANDOFF_TABLES",
	0x8000000a: "EV_EFI_PLATFORM_FIRMWARE_BLOB2", 0x8000000b: "EV_EFI_HANDOFF_TABLES2",
	0x8000000c: "EV_EFI_VARIABLE_BOOT2", 0x8000000d: "EV_EFI_GPT_EVENT2", 0x80000010: "EV_EFI_HCRTM_EVENT",
	0x800000e0: "EV_EFI_VARIABLE_AUTHORITY", 0x800000e1: "EV_EFI_SPDM_FIRMWARE_BLOB",
	0x800000e2: "EV_EFI_SPDM_FIRMWARE_CONFIG", 0x800000e3: "EV_EFI_SPDM_DEVICE_POLICY",
	0x800000e4: "EV_EFI_SPDM_DEVICE_AUTHORITY",
}

const variableBoot = 0x80000002

// TypeName is an event type's name, or its number.
func TypeName(t uint32) string {
	if name, ok := typeNames[t]; ok {
		return name
	}
	return fmt.Sprintf("%#x", t)
}

// maxText is the longest Text, in characters.
const maxText = 64

// Text is what was measured, in one short line of visible characters: the name of a variable, or the text that
// was. It is "" for what is no text, or is not the data that the digest is of.
func (e Event) Text() string {
	switch {
	case e.Type == 0x80000001 || e.Type == variableBoot || e.Type == 0x8000000c || e.Type == 0x800000e0:
		return visible(variableName(e.Data))
	case e.Type == 0x08:
		return visible(wide(e.Data))
	}
	if text := strings.TrimRight(string(e.Data), "\x00"); printable(text) {
		return visible(text)
	}
	// Any two bytes are a character of UTF-16, so only ASCII in it is taken for a text.
	if text := wide(e.Data); printable(text) && strings.IndexFunc(text, func(r rune) bool { return r > unicode.MaxASCII }) < 0 {
		return visible(text)
	}
	return ""
}

// variableName is that of a UEFI_VARIABLE_DATA: a GUID, two sizes, then the name, of as many UTF-16 units as the
// first size says.
func variableName(b []byte) string {
	const header = 16 + 8 + 8
	if len(b) < header {
		return ""
	}
	n := binary.LittleEndian.Uint64(b[16:])
	if n > uint64(len(b)-header)/2 {
		return ""
	}
	return wide(b[header : header+2*n])
}

// wide reads UTF-16, little-endian, up to its zero.
func wide(b []byte) string {
	units := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		unit := binary.LittleEndian.Uint16(b)
		if unit == 0 {
			break
		}
		units = append(units, unit)
	}
	return string(utf16.Decode(units))
}

// printable tells whether s is a text, of one line or more.
func printable(s string) bool {
	return len(s) >= 2 && strings.IndexFunc(s, func(r rune) bool {
		return r == unicode.ReplacementChar || !unicode.IsPrint(r) && r != '\n' && r != '\r' && r != '\t'
	}) < 0
}

// visible makes s one line of at most maxText characters.
func visible(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.TrimSpace(s)
	if runes := []rune(s); len(runes) > maxText {
		return string(runes[:maxText-1]) + "…"
	}
	return s
}
