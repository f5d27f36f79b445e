package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	callDeadline = 200 * time.Millisecond
	// The server may end the call a little early by our clock, never at once and never much later, as far as a busy
	// machine lets us see it.
	earliestEnd = callDeadline * 9 / 10
	latestEnd   = callDeadline * 100
)

// runDeadline opens SumData and stays silent until the deadline has passed.
func runDeadline(args []string) error {
	flags := newFlags("deadline")
	to := targetFlags(flags)
	parse(flags, args)

	ctx, client, done, err := to.dial()
	if err != nil {
		return err
	}
	defer done()
	started := time.Now()
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	stream, err := client.SumData(ctx)
	for err == nil {
		_, err = stream.Recv()
	}
	took := time.Since(started)
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the stream ended OK; want DeadlineExceeded")
	case status.Code(err) != codes.DeadlineExceeded:
		return fmt.Errorf("%s; want DeadlineExceeded", statusLine(err))
	case took < earliestEnd || took > latestEnd:
		return fmt.Errorf("DeadlineExceeded after %v; want it after about %v", took, callDeadline)
	}
	fmt.Println("ok")
	return nil
}
