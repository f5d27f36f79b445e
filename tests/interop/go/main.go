// Interop is the independent judge of streamway: a server and clients of proto.StreamService written on stock grpc-go,
// with code generated from the oldest form of the service (stream_v0.proto).
//
// Results go to stdout, everything else to stderr. The exit code is 0 when the peer did what it should, 1 when it did
// not, and 2 when the command line is wrong. A call that fails is reported as a line `status <Code>: <message>`.
package main

import (
	"fmt"
	"os"
)

// A command reads its own flags from args, and fails when the peer misbehaves.
type command struct {
	name    string
	summary string
	run     func(args []string) error
}

var commands = []command{
	{"server", "serve StreamService, health and reflection until SIGTERM", runServer},
	{"sum", "send numbers without waiting on one SumData stream, check every answer", runSum},
	{"upload", "send small messages on one UploadFile stream", runUpload},
	{"orders", "read an export, print how many orders came and their first and last id", runOrders},
	{"dump", "read an export, print one JSON line for each order", runDump},
	{"cancel", "cancel an export in its midst", runCancel},
	{"deadline", "let the deadline of a silent SumData stream pass", runDeadline},
	{"compression", "run one of the interop cases about compression", runCompression},
}

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	for _, c := range commands {
		if c.name != os.Args[1] {
			continue
		}
		if err := c.run(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	usage()
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: interop <command> [flags]; `interop <command> -h` lists the flags")
	for _, c := range commands {
		fmt.Fprintf(os.Stderr, "  %-11s %s\n", c.name, c.summary)
	}
	os.Exit(2)
}
