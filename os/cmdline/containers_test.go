package cmdline

import "testing"

func TestContainers(t *testing.T) {
	containers := func(f func(*Containers)) Config { return with(func(c *Config) { f(&c.Containers) }) }
	memory := func(size string) Config { return containers(func(c *Containers) { c.Memory = size }) }
	scratch := func(tag, value string) Config {
		return containers(func(c *Containers) { c.Scratch = Disk{tag, value} })
	}
	mirrors := func(m ...Mirror) Config { return containers(func(c *Containers) { c.Mirrors = m }) }
	checkParse(t, []parsing{
		{"ember.containers=4G", memory("4G"), nil},
		{"ember.containers=512m", memory("512m"), nil},
		{"ember.containers=90%", memory("90%"), nil},
		{"ember.containers=91%", standard, []string{`ember.containers: "91%" is not a size, or a share of up to 90%; expected `}},
		{"ember.containers=0G", standard, []string{"ember.containers: "}},
		{"ember.containers=4", standard, []string{"ember.containers: "}},
		{"ember.containers=4GB", standard, []string{"ember.containers: "}},
		{"ember.containers=1M,mode=0777", standard, []string{"ember.containers: "}},

		{"ember.scratch=/dev/nvme0n1p2", scratch("", "/dev/nvme0n1p2"), nil},
		{"ember.scratch=LABEL=ember-scratch", scratch(Label, "ember-scratch"), nil},
		{`ember.scratch="SERIAL=QM 0001" `, scratch(Serial, "QM 0001"), nil},
		{"ember.scratch=PARTLABEL=a=b", scratch(PartLabel, "a=b"), nil},
		{"ember.scratch=/dev/sda ember.scratch=UUID=1234", scratch(UUID, "1234"), nil},
		{"ember.scratch=/dev/", standard, []string{"ember.scratch: "}},
		{"ember.scratch=/dev/../etc/passwd", standard, []string{"ember.scratch: "}},
		{"ember.scratch=sda", standard, []string{`ember.scratch: "sda" is not the name of a disk; expected /dev/NAME, `}},
		{"ember.scratch=SERIAL=", standard, []string{"ember.scratch: "}},
		{"ember.scratch=serial=x", standard, []string{"ember.scratch: "}},

		{"ember.mirror=docker.io=https://mirror.example.com/v2/hub/", mirrors(Mirror{"docker.io", []string{"https://mirror.example.com/v2/hub"}}), nil},
		{"ember.mirror=a:5000=b,[2001:db8::1]:5000,http://c", mirrors(Mirror{"a:5000", []string{"b", "[2001:db8::1]:5000", "http://c"}}), nil},
		{"ember.mirror=a=b ember.mirror=c=d ember.mirror=a=e", mirrors(Mirror{"c", []string{"d"}}, Mirror{"a", []string{"e"}}), nil},
		{"ember.mirror=a ember.mirror=b=,", standard, []string{"ember.mirror: it names no mirrors", "ember.mirror: it names no mirrors"}},
		{"ember.mirror=https://a=b", standard, []string{`ember.mirror: "https://a" is not HOST or HOST:PORT`}},
		{"ember.mirror=a=https://user:hunter2@b", standard, []string{"ember.mirror: a mirror is not a URL or HOST:PORT; expected"}},
		{"ember.mirror=a=https://b?c ember.mirror=a=ftp://b ember.mirror=a=b/c ember.mirror=a=https://", standard,
			[]string{"ember.mirror: a mirror", "ember.mirror: a mirror", "ember.mirror: a mirror", "ember.mirror: a mirror"}},
	})
}

func TestDiskString(t *testing.T) {
	for _, name := range []string{"/dev/sda", "SERIAL=a b", ""} {
		d, _ := disk(name)
		if d.String() != name {
			t.Errorf("%q became %q", name, d)
		}
	}
}
