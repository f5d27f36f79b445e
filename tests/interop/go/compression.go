package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

const largeRequest, largeResponse = 271828, 314159

// runCompression is a client of the interop cases that grpc-go's own lacks, with the flags of that one.
func runCompression(args []string) error {
	flags := newFlags("compression")
	host := flags.String("server_host", "localhost", "where the server is")
	port := flags.Int("server_port", 10000, "its port")
	name := flags.String("test_case", "", "client_compressed_unary and so on")
	timeout := timeoutFlag(flags, 30*time.Second, "for the whole case")
	parse(flags, args)
	cases := map[string]func(context.Context, pb.TestServiceClient, *flagWatch) error{
		"client_compressed_unary":     clientCompressedUnary,
		"server_compressed_unary":     serverCompressedUnary,
		"client_compressed_streaming": clientCompressedStreaming,
		"server_compressed_streaming": serverCompressedStreaming,
	}
	run, ok := cases[*name]
	if !ok {
		reject(flags, "no case %q", *name)
	}
	watch := &flagWatch{}
	conn, err := grpc.NewClient(net.JoinHostPort(*host, strconv.Itoa(*port)),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithStatsHandler(watch))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	return run(ctx, pb.NewTestServiceClient(conn), watch)
}

func clientCompressedUnary(ctx context.Context, client pb.TestServiceClient, watch *flagWatch) error {
	call := func(expect bool, options ...grpc.CallOption) error {
		answer, err := client.UnaryCall(ctx, &pb.SimpleRequest{
			ExpectCompressed: &pb.BoolValue{Value: expect},
			ResponseSize:     largeResponse,
			Payload:          zeros(largeRequest),
		}, options...)
		if err != nil {
			return err
		}
		return size(answer.GetPayload(), largeResponse)
	}
	// A server that does not look would pass the rest.
	if err := code(call(true), codes.InvalidArgument); err != nil {
		return err
	}
	if err := call(true, grpc.UseCompressor(gzip.Name)); err != nil {
		return err
	}
	if err := call(false); err != nil {
		return err
	}
	return watch.sent(false, true, false)
}

func serverCompressedUnary(ctx context.Context, client pb.TestServiceClient, watch *flagWatch) error {
	for _, compressed := range []bool{true, false} {
		answer, err := client.UnaryCall(ctx, &pb.SimpleRequest{
			ResponseCompressed: &pb.BoolValue{Value: compressed},
			ResponseSize:       largeResponse,
			Payload:            zeros(largeRequest),
		})
		if err != nil {
			return err
		}
		if err := size(answer.GetPayload(), largeResponse); err != nil {
			return err
		}
	}
	return watch.received(true, false)
}

func clientCompressedStreaming(ctx context.Context, client pb.TestServiceClient, watch *flagWatch) error {
	compressed := &pb.StreamingInputCallRequest{ExpectCompressed: &pb.BoolValue{Value: true}, Payload: zeros(27182)}
	plain := &pb.StreamingInputCallRequest{ExpectCompressed: &pb.BoolValue{Value: false}, Payload: zeros(45904)}

	probe, err := client.StreamingInputCall(ctx)
	if err != nil {
		return err
	}
	if err := probe.Send(compressed); err != nil {
		return err
	}
	_, err = probe.CloseAndRecv()
	if err := code(err, codes.InvalidArgument); err != nil {
		return err
	}

	// A stream of grpc-go compresses all that it sends, but for a message that another stream has prepared.
	aside, cancel := context.WithCancel(ctx)
	defer cancel()
	uncompressed, err := client.StreamingInputCall(aside)
	if err != nil {
		return err
	}
	prepared := &grpc.PreparedMsg{}
	if err := prepared.Encode(uncompressed, plain); err != nil {
		return err
	}
	stream, err := client.StreamingInputCall(ctx, grpc.UseCompressor(gzip.Name))
	if err != nil {
		return err
	}
	if err := stream.Send(compressed); err != nil {
		return err
	}
	if err := stream.SendMsg(prepared); err != nil {
		return err
	}
	answer, err := stream.CloseAndRecv()
	if err != nil {
		return err
	}
	if sum := answer.GetAggregatedPayloadSize(); sum != 27182+45904 {
		return fmt.Errorf("%d bytes were counted", sum)
	}
	return watch.sent(false, true, false)
}

func serverCompressedStreaming(ctx context.Context, client pb.TestServiceClient, watch *flagWatch) error {
	sizes := []int{31415, 92653}
	stream, err := client.StreamingOutputCall(ctx, &pb.StreamingOutputCallRequest{
		ResponseParameters: []*pb.ResponseParameters{
			{Size: int32(sizes[0]), Compressed: &pb.BoolValue{Value: true}},
			{Size: int32(sizes[1]), Compressed: &pb.BoolValue{Value: false}},
		},
	})
	if err != nil {
		return err
	}
	for _, wanted := range sizes {
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := size(answer.GetPayload(), wanted); err != nil {
			return err
		}
	}
	if _, err := stream.Recv(); err != io.EOF {
		return fmt.Errorf("at the end: %v", err)
	}
	return watch.received(true, false)
}

func zeros(count int) *pb.Payload {
	return &pb.Payload{Body: make([]byte, count)}
}

func size(payload *pb.Payload, wanted int) error {
	if count := len(payload.GetBody()); count != wanted {
		return fmt.Errorf("%d bytes, not %d", count, wanted)
	}
	return nil
}

func code(err error, wanted codes.Code) error {
	if status.Code(err) != wanted {
		return fmt.Errorf("%v, not %v", err, wanted)
	}
	return nil
}

// flagWatch is a stats.Handler that knows of each message whether it travelled compressed. All calls are made one after
// the other.
type flagWatch struct {
	in, out []bool
}

func (w *flagWatch) sent(wanted ...bool) error     { return same("sent", w.out, wanted) }
func (w *flagWatch) received(wanted ...bool) error { return same("received", w.in, wanted) }

func same(what string, flags, wanted []bool) error {
	if fmt.Sprint(flags) != fmt.Sprint(wanted) {
		return fmt.Errorf("%s compressed: %v, not %v", what, flags, wanted)
	}
	return nil
}

// HandleRPC implements stats.Handler.
func (w *flagWatch) HandleRPC(_ context.Context, event stats.RPCStats) {
	// Zeros get shorter when they are compressed.
	switch event := event.(type) {
	case *stats.InPayload:
		w.in = append(w.in, event.CompressedLength < event.Length)
	case *stats.OutPayload:
		w.out = append(w.out, event.CompressedLength < event.Length)
	}
}

// TagRPC implements stats.Handler.
func (*flagWatch) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// TagConn implements stats.Handler.
func (*flagWatch) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (*flagWatch) HandleConn(context.Context, stats.ConnStats) {}
