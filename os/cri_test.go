package os_test

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/lab"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// overTCP has containerd serve CRI to other machines too.
var overTCP = vm.File{Path: "etc/containerd/conf.d/tcp.toml", Data: `version = 3
[grpc]
tcp_address = "0.0.0.0:` + criPort + `"
[plugins."io.containerd.grpc.v1.cri"]
disable_tcp_service = false
`}

const criPort = "3000"

// cri is a client of the Container Runtime Interface, as a kubelet is. It has no messages of its own: the
// first fields of those that it needs are like the fields of protobuf's.
type cri struct{ *grpc.ClientConn }

// dialCRI connects to a machine with overTCP.
func dialCRI(t testing.TB, l *lab.Lab, address string) cri {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(address, criPort),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(_ context.Context, address string) (net.Conn, error) { return l.Network.Dial("tcp", address) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return cri{conn}
}

// ask gives the answer's first field.
func (c cri) ask(t testing.TB, method string, request proto.Message) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), vmtest.Patience)
	defer cancel()
	var first wrapperspb.StringValue
	if err := c.Invoke(ctx, "/runtime.v1."+method, request, &first); err != nil {
		t.Errorf("CRI's %s: %v", method, err)
	}
	return first.GetValue()
}

func (c cri) version(t testing.TB) string {
	t.Helper()
	return c.ask(t, "RuntimeService/Version", &emptypb.Empty{})
}

func (c cri) pull(t testing.TB, image string) {
	t.Helper()
	spec, err := proto.Marshal(wrapperspb.String(image)) // like an ImageSpec
	if err != nil {
		t.Fatal(err)
	}
	c.ask(t, "ImageService/PullImage", wrapperspb.Bytes(spec))
}
