package main

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"

	"streamway/interop/streampb"
)

// runUpload sends many small messages on one stream: parts of files that follow one another.
func runUpload(args []string) error {
	flags := newFlags("upload")
	to := targetFlags(flags)
	count := countFlag(flags, "count", 200_000, "how many messages to send")
	files := countFlag(flags, "files", 1, "how many files the messages are spread over")
	parse(flags, args)
	if *files < 1 || *files > *count {
		reject(flags, "-files must be from 1 to -count")
	}

	var trailers trailerWatch
	ctx, client, done, err := to.dial(grpc.WithStatsHandler(&trailers))
	if err != nil {
		return err
	}
	defer done()
	stream, err := client.UploadFile(ctx)
	if err != nil {
		return errors.New(statusLine(err))
	}
	if err := sendParts(stream, *count, *files); err != nil {
		return err
	}
	if _, err := stream.CloseAndRecv(); err != nil {
		return trailers.failed(err, stream.Trailer())
	}
	fmt.Println("ok")
	return nil
}

// sendParts sends count lines of ten bytes: their numbers. When the server has ended the call, it leaves the reason to
// CloseAndRecv.
func sendParts(stream streampb.StreamService_UploadFileClient, count, files int32) error {
	for part := range count {
		file := int64(part) * int64(files) / int64(count)
		err := stream.Send(&streampb.StreamImageList{Image: &streampb.Image{
			FileName: fmt.Sprintf("grpc-go-%d.txt", file),
			File:     fmt.Sprintf("%09d\n", part),
		}})
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("after sending %d messages: %s", part, statusLine(err))
		}
	}
	return nil
}
