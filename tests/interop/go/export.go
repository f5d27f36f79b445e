package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"

	"streamway/interop/streampb"
)

// export is one OrderList call, read to its end.
type export struct {
	to      target
	maxRecv *int32
	pauseAt *int32
	pause   *time.Duration
}

func exportFlags(flags *flag.FlagSet) export {
	return export{
		to:      targetFlags(flags),
		maxRecv: countFlag(flags, "max-recv", 0, "largest message to accept, in `bytes`; 0: grpc-go's default, 4 MiB"),
		pauseAt: countFlag(flags, "pause-at", 0, "stop reading once after this many orders; 0: never"),
		pause:   flags.Duration("pause", time.Second, "how `long` to stop reading"),
	}
}

// read hands each order to use, and fails when the call fails or the ids do not rise.
func (e export) read(use func(*streampb.Order) error) error {
	var trailers trailerWatch
	ctx, client, done, err := e.to.dial(grpc.WithStatsHandler(&trailers))
	if err != nil {
		return err
	}
	defer done()
	stream, err := client.OrderList(ctx, &streampb.OrderSearchParams{}, e.callOptions()...)
	if err != nil {
		return errors.New(statusLine(err))
	}

	last := int64(-1)
	for n := int32(1); ; n++ {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return trailers.failed(err, stream.Trailer())
		}
		order := message.GetOrder()
		if order == nil {
			return fmt.Errorf("message %d has no order", n)
		}
		if int64(order.GetId()) <= last {
			return fmt.Errorf("order %d comes after order %d", order.GetId(), last)
		}
		last = int64(order.GetId())
		if err := use(order); err != nil {
			return err
		}
		if n == *e.pauseAt {
			sleep(ctx, *e.pause)
		}
	}
}

func (e export) callOptions() []grpc.CallOption {
	if *e.maxRecv == 0 {
		return nil
	}
	return []grpc.CallOption{grpc.MaxCallRecvMsgSize(int(*e.maxRecv))}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
