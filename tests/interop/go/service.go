package main

import (
	"errors"
	"io"
	"log"
	"time"

	"streamway/interop/streampb"
)

// firstOrder is when order 0 was placed; every other follows a second after the one before it.
var firstOrder = time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC)

// streamService is the service as its first clients knew it. It keeps nothing.
type streamService struct {
	streampb.UnimplementedStreamServiceServer
	orders int32
}

// OrderList sends all orders, whatever the search asks: the oldest form of the service has no search fields.
func (s *streamService) OrderList(_ *streampb.OrderSearchParams, stream streampb.StreamService_OrderListServer) error {
	for id := range s.orders {
		if err := stream.Send(&streampb.StreamOrderList{Order: sampleOrder(id)}); err != nil {
			return err
		}
	}
	return nil
}

func sampleOrder(id int32) *streampb.Order {
	placed := firstOrder.Add(time.Duration(id) * time.Second)
	return &streampb.Order{
		Id:      id,
		OrderSn: placed.Format("20060102150405") + "order_sn",
		Date:    placed.Format(time.DateTime),
	}
}

// UploadFile counts what comes, and logs it: the oldest answer has no field that could say it.
func (*streamService) UploadFile(stream streampb.StreamService_UploadFileServer) error {
	var messages, files, bytes int
	var name string
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			log.Printf("upload: %d messages, %d files, %d bytes", messages, files, bytes)
			return stream.SendAndClose(&streampb.UploadResponse{})
		}
		if err != nil {
			log.Printf("upload: cut after %d messages: %v", messages, err)
			return err
		}
		image := message.GetImage()
		if messages == 0 || image.GetFileName() != name {
			files++
		}
		name = image.GetFileName()
		messages++
		bytes += len(image.GetFile())
	}
}

// SumData sends 0 at once, then the next counter for each number received.
func (*streamService) SumData(stream streampb.StreamService_SumDataServer) error {
	for counter := int32(0); ; counter++ {
		if err := stream.Send(&streampb.StreamSumData{Number: counter}); err != nil {
			return err
		}
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
