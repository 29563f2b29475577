// Package etcd is a [store.Store] in an etcd cluster, for servers that share what they know: the keys under
// one prefix. etcd 3.5 and newer do.
//
// An entry's revision is etcd's ModRevision, and each change a transaction that compares it. Reads are
// linearizable. Entries that end hang on leases, which they share: see lease.
//
// No call takes longer than [Patience], whatever has become of the cluster. Every error of etcd's is
// store.ErrUnavailable, as the caller can do nothing but come again; a change that ended so may have been
// made. That etcd is lost, and that it is back, is in the log once each time.
package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/ember-os/ember/attest/store"
)

const (
	// Patience is the longest time of a call. A cluster that elects a leader needs about two seconds.
	Patience = 5 * time.Second

	// A member that is silent is asked for a sign of life after keepAlive, the shortest that gRPC takes, and
	// left silence later. The second is also how long the kernel sends again what nobody confirms.
	keepAlive = 10 * time.Second
	silence   = 3 * time.Second
)

// reconnect has a member tried every few seconds, however long it was away: gRPC would wait two minutes.
var reconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
	MinConnectTimeout: silence,
}

// Config says where the cluster is. Endpoints, Prefix and Log are required.
type Config struct {
	Endpoints          []string // http://, https:// or unix:// and where a member takes clients
	TLS                *tls.Config
	Prefix             string // of all keys
	Username, Password string // may be empty
	Log                *slog.Logger
}

// Store is a connection to the cluster.
type Store struct {
	client *clientv3.Client
	prefix string
	health health
	leases leases
}

// Open connects to the cluster and reads from it once: what is wrong with the configuration shows now.
func Open(ctx context.Context, c Config) (*Store, error) {
	login := withCause(context.WithoutCancel(ctx)) // as long as the client lives
	client, err := clientv3.New(clientv3.Config{
		Endpoints: c.Endpoints, TLS: c.TLS, Username: c.Username, Password: c.Password,
		DialTimeout: Patience, DialKeepAliveTime: keepAlive, DialKeepAliveTimeout: silence,
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(reconnect), grpc.WithChainUnaryInterceptor(noteCause)},
		Logger:      zap.NewNop(), // it tells of every try
		Context:     login,
	})
	if err != nil {
		return nil, fmt.Errorf("opening the store in etcd at %q: %w", c.Endpoints, explain(login, err))
	}
	s := &Store{
		client: client, prefix: c.Prefix,
		health: health{log: c.Log, endpoints: c.Endpoints, now: time.Now},
		leases: newLeases(),
	}
	if err := s.probe(ctx); err != nil {
		client.Close()
		return nil, fmt.Errorf("opening the store in etcd at %q: %w", c.Endpoints, err)
	}
	return s, nil
}

func (s *Store) probe(ctx context.Context) error {
	ctx, cancel := s.context(ctx)
	defer cancel()
	_, err := s.client.Get(ctx, s.prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1))
	return explain(ctx, err)
}

// Close ends the connection.
func (s *Store) Close() error { return s.client.Close() }

// context bounds a call. A member that has no leader says so at once.
func (s *Store) context(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(withCause(clientv3.WithRequireLeader(ctx)), Patience)
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Entry, error) {
	e, err := s.get(ctx, key)
	if err != nil {
		return store.Entry{}, fmt.Errorf("reading %q: %w", key, err)
	}
	return e, nil
}

func (s *Store) get(ctx context.Context, key string) (store.Entry, error) {
	if err := errors.Join(ctx.Err(), store.Check(key, nil)); err != nil {
		return store.Entry{}, err
	}
	call, cancel := s.context(ctx)
	defer cancel()
	got, err := s.client.Get(call, s.prefix+key)
	if err := s.health.judge(ctx, explain(call, err)); err != nil {
		return store.Entry{}, err
	}
	if len(got.Kvs) == 0 {
		return store.Entry{}, store.ErrNotFound
	}
	return store.Entry{Key: key, Value: got.Kvs[0].Value, Revision: uint64(got.Kvs[0].ModRevision)}, nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
	list, err := s.list(ctx, prefix, after, limit)
	if err != nil {
		return nil, fmt.Errorf("listing %q: %w", prefix, err)
	}
	return list, nil
}

func (s *Store) list(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	first, end := s.prefix+prefix, clientv3.GetPrefixRangeEnd(s.prefix+prefix)
	if after >= prefix {
		first = s.prefix + after + "\x00"
	}
	if limit <= 0 || first >= end { // etcd takes 0 for no limit
		return nil, nil
	}
	call, cancel := s.context(ctx)
	defer cancel()
	got, err := s.client.Get(call, first, clientv3.WithRange(end), clientv3.WithLimit(int64(limit)))
	if err := s.health.judge(ctx, explain(call, err)); err != nil {
		return nil, err
	}
	list := make([]store.Entry, len(got.Kvs))
	for i, kv := range got.Kvs {
		list[i] = store.Entry{Key: string(kv.Key[len(s.prefix):]), Value: kv.Value, Revision: uint64(kv.ModRevision)}
	}
	return list, nil
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, key string, value []byte, revision uint64, life time.Duration) (uint64, error) {
	next, err := s.put(ctx, key, value, revision, life)
	if err != nil {
		return 0, fmt.Errorf("writing %q: %w", key, err)
	}
	return next, nil
}

func (s *Store) put(ctx context.Context, key string, value []byte, revision uint64, life time.Duration) (uint64, error) {
	if err := errors.Join(ctx.Err(), store.Check(key, value)); err != nil {
		return 0, err
	}
	call, cancel := s.context(ctx)
	defer cancel()
	if life == store.Forever {
		next, err := s.change(call, key, revision, clientv3.OpPut(s.prefix+key, string(value)))
		return next, s.health.judge(ctx, explain(call, err))
	}
	for again := true; ; again = false {
		lease, err := s.lease(call, life)
		var next uint64
		if err == nil {
			next, err = s.change(call, key, revision, clientv3.OpPut(s.prefix+key, string(value), clientv3.WithLease(lease)))
		}
		// It is gone if somebody has revoked it, or the cluster was restored from a copy.
		if again && errors.Is(err, rpctypes.ErrLeaseNotFound) {
			s.leases.forget(call, life)
			continue
		}
		return next, s.health.judge(ctx, explain(call, err))
	}
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key string, revision uint64) error {
	if err := s.delete(ctx, key, revision); err != nil {
		return fmt.Errorf("deleting %q: %w", key, err)
	}
	return nil
}

func (s *Store) delete(ctx context.Context, key string, revision uint64) error {
	if err := errors.Join(ctx.Err(), store.Check(key, nil)); err != nil {
		return err
	}
	if revision == 0 { // what is not there cannot be deleted
		return store.ErrConflict
	}
	call, cancel := s.context(ctx)
	defer cancel()
	_, err := s.change(call, key, revision, clientv3.OpDelete(s.prefix+key))
	return s.health.judge(ctx, explain(call, err))
}

// change does op if the key is of that revision.
func (s *Store) change(ctx context.Context, key string, revision uint64, op clientv3.Op) (next uint64, err error) {
	is := clientv3.Compare(clientv3.ModRevision(s.prefix+key), "=", int64(revision))
	done, err := s.client.Txn(ctx).If(is).Then(op).Commit()
	switch {
	case err != nil:
		return 0, err
	case !done.Succeeded:
		return 0, store.ErrConflict
	}
	return uint64(done.Header.Revision), nil
}
