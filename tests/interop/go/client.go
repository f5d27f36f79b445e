package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"streamway/interop/streampb"
)

// target is the server that a client command talks to, and how long the whole command may take.
type target struct {
	addr    *string
	timeout *time.Duration
}

func targetFlags(flags *flag.FlagSet) target {
	return target{
		addr:    flags.String("addr", "127.0.0.1:9528", "`host:port` of the server"),
		timeout: timeoutFlag(flags, 120*time.Second, "longest `time` for the whole command"),
	}
}

// dial opens a channel in cleartext. The context ends with the command's timeout; call done at the end.
func (t target) dial(opts ...grpc.DialOption) (ctx context.Context, client streampb.StreamServiceClient, done func(), err error) {
	opts = append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	conn, err := grpc.NewClient(*t.addr, opts...)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("dial %s: %w", *t.addr, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), *t.timeout)
	done = func() {
		cancel()
		_ = conn.Close()
	}
	return ctx, streampb.NewStreamServiceClient(conn), done, nil
}

// statusLine says how a call ended, in one line that scripts can match.
func statusLine(err error) string {
	s := status.Convert(err)
	return fmt.Sprintf("status %v: %s", s.Code(), s.Message())
}
