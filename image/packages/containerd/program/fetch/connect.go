package fetch

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

const (
	connectTime = 10 * time.Second
	releaseTime = 10 * time.Second
)

// connect opens containerd's content store, and waits for it. What is written to it within ctx belongs
// to a lease named after ref, which keeps it from being collected as garbage. release
// ends the connection and, if all is done, the lease with all that belongs to it;
// otherwise it stays for the next call. containerd drops the content soon after, and nobody waits for it.
func connect(ctx context.Context, wait time.Duration, socket, namespace, ref string) (_ context.Context, _ store, release func(done bool), _ error) {
	c, err := client.New(socket, client.WithTimeout(wait))
	if err != nil {
		return nil, nil, nil, noContainerd(socket, err)
	}
	ctx = namespaces.WithNamespace(ctx, namespace)
	id := "ember-fetch-" + digest.FromString(ref).Encoded()[:16]
	lease, err := makeLease(ctx, wait, c, id)
	if err != nil {
		c.Close()
		return nil, nil, nil, noContainerd(socket, err)
	}
	release = func(done bool) {
		defer c.Close()
		if !done {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
		defer cancel()
		// What is not deleted costs memory and nothing else.
		_ = c.LeasesService().Delete(ctx, lease)
	}
	return leases.WithLease(ctx, id), c.ContentStore(), release, nil
}

func makeLease(ctx context.Context, wait time.Duration, c *client.Client, id string) (leases.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	lease, err := c.LeasesService().Create(ctx, leases.WithID(id))
	if errdefs.IsAlreadyExists(err) {
		return leases.Lease{ID: id}, nil
	}
	return lease, err
}

func noContainerd(socket string, err error) error {
	return problem(fmt.Sprintf("containerd does not answer at %s: see what its log says (%v)", socket, err))
}
