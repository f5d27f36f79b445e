package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
)

// trailerWatch is a stats.Handler for a single call. It knows whether the peer's trailers came, so a status that the
// peer sent can be told from one that grpc-go made up, which stream.Trailer cannot: it hides grpc-status.
type trailerWatch struct {
	came atomic.Bool
}

// failed says how the call ended, and whether the peer said so.
func (w *trailerWatch) failed(err error, md metadata.MD) error {
	return fmt.Errorf("%s\n%s", statusLine(err), w.describe(md))
}

// describe returns one line that says whether trailers came, and a line for each value that grpc-go shows of them: the
// custom metadata, and in a Trailers-Only answer the content-type.
func (w *trailerWatch) describe(md metadata.MD) string {
	if !w.came.Load() {
		return "trailers: none"
	}
	var text strings.Builder
	text.WriteString("trailers: received")
	for _, name := range slices.Sorted(maps.Keys(md)) {
		for _, value := range md[name] {
			fmt.Fprintf(&text, "\ntrailer %s: %q", name, value)
		}
	}
	return text.String()
}

// HandleRPC implements stats.Handler.
func (w *trailerWatch) HandleRPC(_ context.Context, event stats.RPCStats) {
	if _, ok := event.(*stats.InTrailer); ok {
		w.came.Store(true)
	}
}

// TagRPC implements stats.Handler.
func (*trailerWatch) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// TagConn implements stats.Handler.
func (*trailerWatch) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (*trailerWatch) HandleConn(context.Context, stats.ConnStats) {}
