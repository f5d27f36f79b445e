package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"streamway/interop/streampb"
)

// runSum sends all numbers without waiting for answers, while another goroutine checks that the answers are
// 0, 1, 2, ... and one more than the numbers.
func runSum(args []string) error {
	flags := newFlags("sum")
	to := targetFlags(flags)
	count := countFlag(flags, "count", 200_000, "how many numbers to send")
	window := countFlag(flags, "window", 0, "most numbers sent and not yet answered; 0: no limit")
	parse(flags, args)

	ctx, client, done, err := to.dial()
	if err != nil {
		return err
	}
	defer done()
	stream, err := client.SumData(ctx)
	if err != nil {
		return errors.New(statusLine(err))
	}

	slots := newSlots(*window)
	sent := make(chan error, 1)
	go func() { sent <- sendNumbers(ctx, stream, *count, slots) }()
	if err := checkAnswers(stream, *count, slots); err != nil {
		return err
	}
	if err := <-sent; err != nil {
		return err
	}
	fmt.Println("ok", int64(*count)+1)
	return nil
}

// slots holds a token for each number that is sent and not yet answered; nil when there is no limit.
type slots chan struct{}

func newSlots(window int32) slots {
	if window == 0 {
		return nil
	}
	return make(slots, window)
}

func (s slots) take(ctx context.Context) error {
	if s == nil {
		return nil
	}
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s slots) give() {
	if s != nil {
		<-s
	}
}

// sendNumbers sends 1 to count, then half-closes. When the server has ended the call, it leaves the reason to the
// receiver.
func sendNumbers(ctx context.Context, stream streampb.StreamService_SumDataClient, count int32, slots slots) error {
	for number := range count {
		if err := slots.take(ctx); err != nil {
			return fmt.Errorf("gave up after sending %d numbers: %w", number, err)
		}
		err := stream.Send(&streampb.StreamSumData{Number: number + 1})
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("after sending %d numbers: %s", number, statusLine(err))
		}
	}
	return stream.CloseSend()
}

// checkAnswers reads until the stream ends. It wants the numbers 0 to count: the first comes unasked.
func checkAnswers(stream streampb.StreamService_SumDataClient, count int32, slots slots) error {
	for answers := int64(0); ; answers++ {
		answer, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF) && answers == int64(count)+1:
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("the stream ended OK after %d answers, want %d", answers, int64(count)+1)
		case err != nil:
			return fmt.Errorf("after %d answers: %s", answers, statusLine(err))
		case answers > int64(count):
			return fmt.Errorf("an answer too many: number %d after %d answers", answer.GetNumber(), answers)
		case int64(answer.GetNumber()) != answers:
			return fmt.Errorf("answer %d has number %d, want %d", answers, answer.GetNumber(), answers)
		case answers > 0:
			slots.give()
		}
	}
}
