package main

import (
	"context"
	"maps"
	"path"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// What a call passes before it is served, be it gRPC or REST: it is counted, its
// token is looked at, and it fails or waits if a test has asked for that.
type gate struct {
	mu            sync.Mutex
	calls         map[string]int
	authorization string
	token         string
	faults        map[string]*fault
}

type fault struct {
	err     error
	hang    bool
	delay   time.Duration
	cleared chan struct{} // closed once the fault is no more
}

// In place of a method: each method that has no fault of its own.
const anyMethod = "*"

func newGate() *gate {
	return &gate{calls: map[string]int{}, faults: map[string]*fault{}}
}

func (g *gate) pass(ctx context.Context, method, authorization string) error {
	g.mu.Lock()
	g.calls[method]++
	if authorization != "" {
		g.authorization = authorization
	}
	refused := g.token != "" && authorization != "Bearer "+g.token
	found := g.faults[method]
	if found == nil {
		found = g.faults[anyMethod]
	}
	g.mu.Unlock()

	if refused {
		return status.Error(codes.Unauthenticated, "Request had invalid authentication credentials.")
	}
	if found == nil {
		return nil
	}
	if found.hang || found.delay > 0 {
		var late <-chan time.Time // for ever, if it hangs
		if !found.hang {
			late = time.After(found.delay)
		}
		select {
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-found.cleared:
			return nil
		case <-late:
		}
	}
	return found.err
}

func (g *gate) require(token string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.token = token
}

func (g *gate) setFault(method string, set *fault) {
	set.cleared = make(chan struct{})
	g.mu.Lock()
	defer g.mu.Unlock()
	if before := g.faults[method]; before != nil {
		close(before.cleared)
	}
	g.faults[method] = set
}

func (g *gate) clearFaults() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, cleared := range g.faults {
		close(cleared.cleared)
	}
	clear(g.faults)
}

// The number of calls of each method since the start, and the last Authorization header.
func (g *gate) seen() (map[string]int, string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.calls), g.authorization
}

func (g *gate) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, serve grpc.UnaryHandler) (any, error) {
	if err := g.pass(ctx, path.Base(info.FullMethod), authorizationOf(ctx)); err != nil {
		return nil, err
	}
	return serve(ctx, request)
}

func (g *gate) stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, serve grpc.StreamHandler) error {
	ctx := stream.Context()
	if err := g.pass(ctx, path.Base(info.FullMethod), authorizationOf(ctx)); err != nil {
		return err
	}
	return serve(server, stream)
}

func authorizationOf(ctx context.Context) string {
	if values := metadata.ValueFromIncomingContext(ctx, "authorization"); len(values) > 0 {
		return values[0]
	}
	return ""
}
