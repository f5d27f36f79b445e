package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"streamway/interop/streampb"
)

// runCancel leaves an export that has more to say. Messages that had already arrived may still come out.
func runCancel(args []string) error {
	flags := newFlags("cancel")
	to := targetFlags(flags)
	after := countFlag(flags, "after", 1, "how many messages to read first")
	parse(flags, args)

	ctx, client, done, err := to.dial()
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.OrderList(ctx, &streampb.OrderSearchParams{})
	if err != nil {
		return errors.New(statusLine(err))
	}
	for n := range *after {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			return fmt.Errorf("the export ended after %d messages, before the cancel", n)
		} else if err != nil {
			return fmt.Errorf("after %d messages: %s", n, statusLine(err))
		}
	}

	cancel()
	for err == nil {
		_, err = stream.Recv()
	}
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the export ended OK in spite of the cancel; read fewer messages of more")
	case status.Code(err) != codes.Canceled:
		return fmt.Errorf("%s; want Canceled", statusLine(err))
	}
	fmt.Println("ok")
	return nil
}
