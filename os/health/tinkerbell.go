package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"

	"github.com/ember-os/ember/os/cgroup"
	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/health/peer"
	"github.com/ember-os/ember/os/service"
)

const (
	tinkerbellCheck = "tinkerbell"
	agentUnit       = "tink-agent.service"
)

// tinkerbell checks the agent's connection. It is zero for another workload.
//
// What counts are the sockets of the agent's processes, because every agent has them, whatever it prints; and that the
// server has said something, because a connection that is only accepted looks the same for the 20 seconds after which
// an agent gives it up.
func (l *looker) tinkerbell(ctx context.Context, statuses []service.Status) Check {
	if l.Config.EffectiveWorkload() != cmdline.WorkloadTinkerbell {
		return Check{}
	}
	authority := l.Config.Tinkerbell.GRPCAuthority
	if authority == "" {
		return unhealthy(tinkerbellCheck, "%s is not given, so the agent has no server", cmdline.GRPCAuthorityParam)
	}
	peers, err := agentPeers(statuses)
	if err != nil {
		return unhealthy(tinkerbellCheck, "%v", err)
	}
	through, err := l.servers(ctx, authority)
	if err != nil {
		return unhealthy(tinkerbellCheck, "%s", shown(err.Error()))
	}
	reason := "the agent has no connection to " + authority
	for _, p := range peers {
		switch {
		case !slices.Contains(through, p.Address):
		case p.Said == 0:
			reason = authority + " has accepted the agent's connection and says nothing"
		default:
			return healthy(tinkerbellCheck, "the agent is connected to %s", authority)
		}
	}
	return unhealthy(tinkerbellCheck, "%s", reason)
}

func agentPeers(statuses []service.Status) ([]peer.Peer, error) {
	i := slices.IndexFunc(statuses, func(s service.Status) bool { return s.Name == agentUnit })
	if i < 0 || statuses[i].State != service.Active {
		return nil, fmt.Errorf("%s is not active", agentUnit)
	}
	if statuses[i].Cgroup == "" {
		return nil, fmt.Errorf("%s has no cgroup, so which processes are the agent's is not known", agentUnit)
	}
	pids, err := cgroup.Group{Dir: statuses[i].Cgroup}.PIDs()
	if err != nil {
		return nil, err
	}
	return peer.Of(pids)
}

// servers is where the agent may connect to: the authority's addresses, or those of the proxy that is for it. The agent
// has our environment.
func (l *looker) servers(ctx context.Context, authority string) ([]netip.AddrPort, error) {
	server := &url.URL{Scheme: "https", Host: authority}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: server})
	if err != nil {
		return nil, errors.New("the proxy in the environment is not a URL") // it may have a password
	}
	if proxy != nil {
		server = proxy
	}
	port, err := portOf(server)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", server.Hostname())
	if err != nil {
		return nil, err
	}
	all := make([]netip.AddrPort, len(addresses))
	for i, a := range addresses {
		all[i] = netip.AddrPortFrom(a.Unmap().WithZone(""), port)
	}
	return all, nil
}

// portOf is the port of a URL, if it has none that of its scheme: grpc's default is https's too.
func portOf(u *url.URL) (uint16, error) {
	switch {
	case u.Port() == "" && u.Scheme == "https":
		return 443, nil
	case u.Port() == "":
		return 80, nil
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%s has no port", u.Host)
	}
	return uint16(port), nil
}
