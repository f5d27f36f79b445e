package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"streamway/interop/streampb"
)

// runServer serves until SIGTERM, SIGINT or the end of its longest life. The first line on stdout says where.
func runServer(args []string) error {
	flags := newFlags("server")
	addr := flags.String("addr", "127.0.0.1:0", "`host:port` to listen on; port 0: any free one")
	orders := countFlag(flags, "orders", 200_000, "how many orders an export has")
	maxLife := flags.Duration("max-life", 10*time.Minute, "longest `time` to serve")
	timeout := timeoutFlag(flags, 5*time.Second, "longest `time` for calls in flight at the end")
	parse(flags, args)

	ctx, cancel := context.WithTimeout(context.Background(), *maxLife)
	defer cancel()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()

	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	server, checks := newServer(*orders)
	go func() {
		<-ctx.Done()
		stop() // a second signal ends the program at once
		checks.Shutdown()
		defer time.AfterFunc(*timeout, server.Stop).Stop()
		server.GracefulStop()
	}()

	fmt.Println("listening", listener.Addr())
	return server.Serve(listener)
}

func newServer(orders int32) (*grpc.Server, *health.Server) {
	server := grpc.NewServer()
	streampb.RegisterStreamServiceServer(server, &streamService{orders: orders})
	checks := health.NewServer()
	checks.SetServingStatus(streampb.StreamService_ServiceDesc.ServiceName, grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(server, checks)
	reflection.Register(server)
	return server, checks
}
