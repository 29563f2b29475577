package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// cause is why the last try of a call has failed: a refused connection, a certificate. What the client gives
// when the call's time is over is no more than that.
type cause struct {
	mu  sync.Mutex
	err error
}

type causeKey struct{}

func withCause(ctx context.Context) context.Context {
	return context.WithValue(ctx, causeKey{}, new(cause))
}

// noteCause is called for each try (grpc.UnaryClientInterceptor), which may be one to connect until there is
// no more time.
func noteCause(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	err := invoke(ctx, method, request, reply, conn, options...)
	c, ok := ctx.Value(causeKey{}).(*cause)
	s := status.Convert(err)
	text, connecting := strings.CutPrefix(s.Message(), "latest balancer error: ")
	if ok && (s.Code() == codes.Unavailable || s.Code() == codes.DeadlineExceeded && connecting) {
		c.mu.Lock()
		c.err = errors.New(text)
		c.mu.Unlock()
	}
	return err
}

// explain gives the cause of a call's end, where that was its time.
func explain(ctx context.Context, err error) error {
	c, ok := ctx.Value(causeKey{}).(*cause)
	if !ok || !errors.Is(err, context.DeadlineExceeded) && status.Code(err) != codes.DeadlineExceeded {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	return fmt.Errorf("no answer within %v", Patience)
}
