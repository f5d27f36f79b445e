// Bench is grpc-go as people write it: a server of bench.proto, and a client that receives exports.
//
//	bench server ADDR
//	bench client ADDR EXPORTS
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"streamway/bench/benchpb"
)

func main() {
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 2 && args[0] == "server":
		err = serve(args[1])
	case len(args) == 3 && args[0] == "client":
		err = receive(args[1], args[2])
	default:
		err = fmt.Errorf("bench server ADDR | bench client ADDR EXPORTS")
	}
	if err != nil {
		log.Fatal(err)
	}
}

type service struct {
	benchpb.UnimplementedStreamServiceServer
}

func serve(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	benchpb.RegisterStreamServiceServer(server, service{})
	return server.Serve(listener)
}

func (service) OrderList(search *benchpb.OrderSearchParams, stream grpc.ServerStreamingServer[benchpb.StreamOrderList]) error {
	for id := range count(search.GetCount()) {
		order := &benchpb.Order{Id: id, OrderSn: orderSn(id), Date: date(id)}
		if err := stream.Send(&benchpb.StreamOrderList{Order: order}); err != nil {
			return err
		}
	}
	return nil
}

func (service) UploadFile(stream grpc.ClientStreamingServer[benchpb.StreamImageList, benchpb.UploadResponse]) error {
	images := 0
	for {
		_, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&benchpb.UploadResponse{})
		}
		if err != nil {
			return err
		}
		images++
	}
}

func (service) SumData(stream grpc.BidiStreamingServer[benchpb.StreamSumData, benchpb.StreamSumData]) error {
	var sum int32
	for {
		data, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		sum += data.GetNumber()
		if err := stream.Send(&benchpb.StreamSumData{Number: sum}); err != nil {
			return err
		}
	}
}

func (service) Echo(_ context.Context, data *benchpb.StreamSumData) (*benchpb.StreamSumData, error) {
	return data, nil
}

func receive(address, exports string) error {
	n, err := strconv.Atoi(exports)
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	client := benchpb.NewStreamServiceClient(conn)
	// Connects.
	if _, err := client.Echo(context.Background(), &benchpb.StreamSumData{}); err != nil {
		return err
	}
	messages, started, before := 0, time.Now(), cpuSeconds()
	for range n {
		orders, err := client.OrderList(context.Background(), &benchpb.OrderSearchParams{})
		if err != nil {
			return err
		}
		for {
			_, err := orders.Recv()
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
			messages++
		}
	}
	fmt.Printf("{\"messages\":%d,\"wall_s\":%.6f,\"cpu_s\":%.6f,\"p50_us\":0,\"p99_us\":0}\n",
		messages, time.Since(started).Seconds(), cpuSeconds()-before)
	return nil
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}
