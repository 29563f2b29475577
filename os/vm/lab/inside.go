package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Init makes a program able to start a lab. It must follow toolroot.Init in
// main or TestMain. In the program itself it returns at once, in the lab never.
func Init() {
	if os.Args[0] != insideExe {
		return
	}
	if err := serve(); err != nil {
		fmt.Fprintf(os.Stderr, "lab: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// inside is the lab as its own process sees it.
type inside struct {
	config  Config
	wires   map[string]*wire // by the name of the LAN without tags
	servers map[Server]*process
}

// wire is what cables are plugged into.
type wire struct {
	hub       *hub
	aggregate *aggregate // nil without LACP
}

// serve answers the requests until it closes the control socket.
func serve() error {
	control, err := unixConn(os.Stdin)
	if err != nil {
		return err
	}
	in := &inside{wires: map[string]*wire{}, servers: map[Server]*process{}}
	for {
		var r request
		if _, err := receive(control, &r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading a request: %w", err)
		}
		f, err := in.do(r)
		var a answer
		if err != nil {
			a.Error = err.Error()
		}
		if err := send(control, a, f); err != nil {
			return fmt.Errorf("answering a request: %w", err)
		}
		if f != nil {
			f.Close()
		}
	}
}

func (in *inside) do(r request) (*os.File, error) {
	if r.SetDHCP != "" {
		if err := in.setDHCP(r.SetDHCP, r.Lines); err != nil {
			return nil, err
		}
	}
	switch {
	case r.Config != nil:
		return nil, in.setUp(*r.Config)
	case r.Plug != "":
		return nil, in.plug(r.Plug, r.Cable)
	case r.Start != "":
		return nil, in.start(r.Start)
	case r.Stop != "":
		in.stop(r.Stop)
		return nil, nil
	default:
		return r.socket()
	}
}

func (in *inside) setUp(c Config) error {
	in.config = c
	// The daemons look up users, and keep their state, in places that the root's files are read-only in.
	for _, dir := range []string{"/etc", "/run", "/var/lib"} {
		if err := unix.Mount("lab", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
			return fmt.Errorf("mounting a tmpfs on %s: %w", dir, err)
		}
	}
	// No group is known: dnsmasq would change to it, which needs setgroups(2), which a user namespace
	// that was made without privileges does not allow.
	// The host name is one that is found without a name server.
	for name, text := range map[string]string{
		"/etc/passwd": "root:x:0:0::/root:/bin/sh\n",
		"/etc/hosts":  "127.0.0.1 localhost toolroot\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := in.wireUp(); err != nil {
		return err
	}
	for _, s := range c.Servers {
		if err := in.start(s); err != nil {
			return fmt.Errorf("starting %s: %w", s, err)
		}
	}
	return nil
}

// wireUp makes the wires and the LANs on them.
func (in *inside) wireUp() error {
	far, err := newWireSide()
	if err != nil {
		return err
	}
	for i, n := range in.config.LANs {
		if n.Wire == "" {
			w := &wire{hub: newHub()}
			in.wires[n.Name] = w
			if n.LACP {
				w.aggregate = &aggregate{system: mac{0x02, 0x1a, 0xcb, 0, uint8(i + 1), 0}, hub: w.hub}
				w.hub.attach(w.aggregate)
				go w.aggregate.run()
			}
		}
	}
	for i, n := range in.config.LANs {
		name, vlan := n.Name, 0
		if n.Wire != "" {
			name, vlan = n.Wire, n.VLAN
			if vlan < 1 || vlan > maxVLAN {
				return fmt.Errorf("LAN %s: on a wire with others its VLAN must be from 1 to %d, not %d", n.Name, maxVLAN, vlan)
			}
		}
		w := in.wires[name]
		if w == nil {
			return fmt.Errorf("LAN %s: there is no wire %s", n.Name, name)
		}
		conn, err := far.link(n.Name, mac{0x02, 0x1a, 0xb0, 0, 0, uint8(i + 1)}, n.Addrs)
		if err != nil {
			return fmt.Errorf("LAN %s: %w", n.Name, err)
		}
		s := &segment{vlan: vlan, slow: &slowDHCP{delay: n.Delay}, out: func(frame []byte) { conn.WriteTo(frame, conn.LocalAddr()) }}
		w.hub.attach(s)
		go func() {
			buf := make([]byte, maxFrame)
			for {
				length, _, err := conn.ReadFrom(buf)
				if err != nil {
					fmt.Fprintf(os.Stderr, "lab: LAN %s: %v\n", n.Name, err)
					return
				}
				s.receive(w.hub, buf[:length])
			}
		}()
	}
	return nil
}

func (in *inside) plug(name, socket string) error {
	w := in.wires[name]
	if w == nil {
		return fmt.Errorf("there is no wire %s", name)
	}
	c, err := plug(filepath.Join(insideDir, cablesDir, socket))
	if err != nil {
		return err
	}
	if w.aggregate != nil {
		c.source = w.aggregate.join(c).receive
	} else {
		w.hub.attach(c)
		c.source = func(frame []byte) { w.hub.forward(c, frame) }
	}
	go c.read()
	return nil
}

const dialTime = 10 * time.Second

// socket makes the socket that a request wants, if it wants one.
func (r request) socket() (*os.File, error) {
	type filer interface{ File() (*os.File, error) }
	var made any
	var err error
	switch {
	case r.Listen != "":
		made, err = net.Listen(r.Listen, r.Address)
	case r.ListenPacket != "":
		made, err = net.ListenPacket(r.ListenPacket, r.Address)
	case r.Dial != "":
		ctx, cancel := context.WithTimeout(context.Background(), dialTime)
		defer cancel()
		made, err = new(net.Dialer).DialContext(ctx, r.Dial, r.Address)
	default:
		return nil, fmt.Errorf("the request %+v asks for nothing", r)
	}
	if err != nil {
		return nil, err
	}
	defer made.(io.Closer).Close()
	return made.(filer).File()
}
