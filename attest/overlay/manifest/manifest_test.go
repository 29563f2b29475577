package manifest

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"strings"
	"testing"
	"time"
)

const node, other = "8b1a9953c4611296a827abf8c47804d7f1d6e5b4f54d0b8de8b9f9d9b0f9b1c2", "0000000000000000000000000000000000000000000000000000000000000001"

// signer is always the same for a name.
func signer(name byte) (ed25519.PrivateKey, Key) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{name}, ed25519.SeedSize))
	return key, Key(key.Public().(ed25519.PublicKey))
}

func example() *Manifest {
	return &Manifest{
		Format: Format, Name: "rack-a.control", Version: 18446744073709551615,
		Created:    time.Date(2026, 11, 21, 10, 44, 27, 0, time.UTC),
		Expires:    time.Date(2027, 11, 21, 0, 0, 0, 0, time.UTC),
		Nodes:      []string{other, node},
		Ciphertext: File{Size: 4711, SHA256: Digest{1, 2, 3, 0xff}}, ArchiveSize: 10240, Entries: 3,
		Kernel: Digest{4}, Initrd: Digest{5},
	}
}

func small() *Manifest {
	return &Manifest{Format: Format, Name: "a", Version: 1, Created: time.Unix(0, 0).UTC(), Ciphertext: File{Size: 1}, ArchiveSize: 1, Entries: 1}
}

func TestGolden(t *testing.T) {
	private, public := signer('k')
	for file, m := range map[string]*Manifest{"testdata/full.manifest": example(), "testdata/small.manifest": small()} {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Sign(m, private); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: signed as %q, %v", file, got, err)
		}
		back, err := Open(want, public)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Sign(back, private); err != nil || !bytes.Equal(again, want) {
			t.Errorf("%s: after reading it, signed as %q, %v", file, again, err)
		}
	}
}

func TestKey(t *testing.T) {
	_, public := signer('k')
	if back, err := ParseKey(public.String()); err != nil || back != public {
		t.Errorf("%s is read as %s, %v", public, back, err)
	}
	text := public.String()
	for _, bad := range []string{"", "ed25519:", strings.TrimPrefix(text, keyPrefix), text + "A", text[:len(text)-1], "rsa:" + text[8:], text + "\n", " " + text} {
		if k, err := ParseKey(bad); err == nil {
			t.Errorf("%q is read as %s", bad, k)
		}
	}
}

func TestKeys(t *testing.T) {
	_, one := signer('1')
	_, two := signer('2')
	keys, err := ParseKeys("# of the rack\n" + one.String() + "\r\n\n  " + two.String())
	if err != nil || len(keys) != 2 || keys[0] != one || keys[1] != two {
		t.Errorf("they are read as %v, %v", keys, err)
	}
	for _, bad := range []string{"", "# none\n", one.String() + " " + two.String(), one.String() + "\nx\n"} {
		if keys, err := ParseKeys(bad); err == nil {
			t.Errorf("%q is read as %v", bad, keys)
		}
	}
}

// TestGrant is the list of attacks on a manifest. Those on the grant around it are in package protocol.
func TestGrant(t *testing.T) {
	private, public := signer('k')
	signed, err := Sign(example(), private)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := bytes.Cut(signed, []byte("\n"))
	here := Machine{Node: node, Now: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), Kernel: Digest{4}, Initrds: []Digest{{5}, {7}}}
	check := func(b []byte, on Machine) error {
		m, err := Open(b, public)
		if err != nil {
			return err
		}
		return m.Check(on)
	}
	refused := func(b []byte, on Machine, why string) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			if err := check(b, on); err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("the error is %v, not one with %q", err, why)
			}
		}
	}
	// resign is what someone with the key, and without this package, could write.
	resign := func(old, new string) []byte {
		text := []byte(strings.Replace(string(line), old, new, 1))
		if bytes.Equal(text, line) {
			t.Fatalf("the manifest has no %q", old)
		}
		return append(append(text, '\n'), signaturePrefix+encoding.EncodeToString(ed25519.Sign(private, append([]byte(label), text...)))+"\n"...)
	}
	if err := check(signed, here); err != nil {
		t.Fatal(err)
	}

	t.Run("another node's", refused(signed, Machine{Node: strings.Repeat("a", 64), Now: here.Now}, "not for this machine"))
	t.Run("no node", refused(signed, Machine{Now: here.Now}, "not for this machine"))
	late := here
	late.Now = example().Expires
	t.Run("expired", refused(signed, late, "expired"))
	t.Run("older version", func(t *testing.T) {
		m := example()
		m.Version = 6
		b, err := Sign(m, private)
		if err != nil {
			t.Fatal(err)
		}
		least := here
		least.Least = 7
		refused(b, least, "older than version 7")(t)
		least.Least = 6
		if err := check(b, least); err != nil {
			t.Error(err)
		}
	})
	kernel, initrd, both := here, here, here
	kernel.Kernel, initrd.Initrds, both.Initrds = Digest{}, nil, []Digest{{7}, {6}}
	t.Run("another kernel's", refused(signed, kernel, "for another kernel"))
	t.Run("another initrd's", refused(signed, initrd, "for another initrd"))
	t.Run("another of two initrds", refused(signed, both, "for another initrd"))

	t.Run("unsigned", func(t *testing.T) {
		refused(line, here, "not signed")(t)
		refused(append(line[:len(line):len(line)], '\n'), here, "not signed")(t)
		refused(append(line[:len(line):len(line)], "\nsignature \n"...), here, "86 characters")(t)
	})
	t.Run("wrong signer", func(t *testing.T) {
		wrong, _ := signer('w')
		b, err := Sign(example(), wrong)
		if err != nil {
			t.Fatal(err)
		}
		refused(b, here, "not signed by a key that is trusted")(t)
	})
	t.Run("no key known", func(t *testing.T) {
		if _, err := Open(signed); err == nil {
			t.Error("a manifest is trusted without any key")
		}
	})
	t.Run("signature for something else", func(t *testing.T) {
		b := append(append(line[:len(line):len(line)], '\n'), signaturePrefix+encoding.EncodeToString(ed25519.Sign(private, line))+"\n"...)
		refused(b, here, "not signed by a key that is trusted")(t)
	})
	t.Run("bit flip", func(t *testing.T) {
		for i := range signed {
			for bit := range 8 {
				b := bytes.Clone(signed)
				b[i] ^= 1 << bit
				if err := check(b, here); err == nil {
					t.Errorf("bit %d of byte %d may be flipped", bit, i)
				}
			}
		}
	})
	t.Run("cut short", func(t *testing.T) {
		for i := range signed {
			if err := check(signed[:i], here); err == nil {
				t.Errorf("the first %d bytes are enough", i)
			}
		}
	})
	t.Run("appended data", func(t *testing.T) {
		for _, s := range []string{"\n", " ", "signature x\n", "{}"} {
			refused(append(signed[:len(signed):len(signed)], s...), here, "")(t)
		}
	})
	t.Run("unknown field", refused(resign(`"format":1`, `"format":1,"colour":"red"`), here, "colour"))
	for name, change := range map[string][2]string{
		"repeated field":     {`"version":`, `"version":1,"version":`},
		"misspelt field":     {`"name"`, `"Name"`},
		"white space":        {`"format":1,`, `"format":1, `},
		"another order":      {`"format":1,"name":"rack-a.control"`, `"name":"rack-a.control","format":1`},
		"another format":     {`"format":1`, `"format":2`},
		"null":               {`"nodes":[`, `"nodes":null,"nodez":[`},
		"escaped name":       {`rack-a`, `\u0072ack-a`},
		"bad name":           {`rack-a`, `../a`},
		"version 0":          {`18446744073709551615`, `0`},
		"giant version":      {`18446744073709551615`, `18446744073709551616`},
		"upper-case node":    {node, strings.ToUpper(node)},
		"short node":         {node, node[1:]},
		"repeated node":      {node, other},
		"time with a zone":   {`10:44:27Z`, `10:44:27+01:00`},
		"split second":       {`10:44:27Z`, `10:44:27.5Z`},
		"expires before":     {`"2027-`, `"2025-`},
		"negative size":      {`4711`, `-1`},
		"giant archive":      {`10240`, `1099511627777`},
		"no entries":         {`"entries":3`, `"entries":0`},
		"too many entries":   {`"entries":3`, `"entries":65537`},
		"digest of one byte": {`"0102`, `"02`},
		"something behind":   {`"initrd"`, `"initrd":"` + Digest{5}.String() + `"}{"initrd"`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Open(resign(change[0], change[1]), public); err == nil {
				t.Error("it is taken")
			}
		})
	}
}

func TestSignRefuses(t *testing.T) {
	private, _ := signer('k')
	for name, change := range map[string]func(*Manifest){
		"no name":      func(m *Manifest) { m.Name = "" },
		"unsorted":     func(m *Manifest) { m.Nodes = []string{node, other} },
		"local time":   func(m *Manifest) { m.Created = time.Now().Round(0).Local() },
		"no time":      func(m *Manifest) { m.Created = time.Time{} },
		"no format":    func(m *Manifest) { m.Format = 0 },
		"empty":        func(m *Manifest) { m.ArchiveSize = 0 },
		"no cipher":    func(m *Manifest) { m.Ciphertext.Size = 0 },
		"long name":    func(m *Manifest) { m.Name = strings.Repeat("a", maxName+1) },
		"slash":        func(m *Manifest) { m.Name = "a/b" },
		"leading dot":  func(m *Manifest) { m.Name = ".a" },
		"capital name": func(m *Manifest) { m.Name = "Rack" },
		"too large": func(m *Manifest) {
			m.Nodes = nil
			for i := range 4000 {
				d := Digest{byte(i >> 8), byte(i)}
				m.Nodes = append(m.Nodes, d.String())
			}
		},
	} {
		m := example()
		change(m)
		if b, err := Sign(m, private); err == nil {
			t.Errorf("%s: signed, %d bytes", name, len(b))
		}
	}
}

func FuzzOpen(f *testing.F) {
	private, public := signer('k')
	for _, m := range []*Manifest{example(), small()} {
		b, err := Sign(m, private)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("{}\nsignature \n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Peek(b)
		if err != nil {
			return
		}
		// What is read is the one encoding, of something that can be signed, and only the signer's is opened.
		text, _, _ := bytes.Cut(b, []byte("\n"))
		if again, err := m.Encode(); err != nil || !bytes.Equal(again, text) {
			t.Errorf("%q is read, and written as %q, %v", text, again, err)
		}
		own, err := Sign(m, private)
		if err != nil {
			t.Error(err)
		}
		if _, err := Open(b, public); (err == nil) != bytes.Equal(own, b) {
			t.Errorf("%q is opened with %v, and the signer writes %q", b, err, own)
		}
	})
}
