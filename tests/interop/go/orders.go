package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"streamway/interop/streampb"
)

// runOrders prints `count firstId lastId`, or `0 - -`; also for an export that fails on the way.
func runOrders(args []string) error {
	flags := newFlags("orders")
	export := exportFlags(flags)
	parse(flags, args)

	var count int
	var first, last int32
	err := export.read(func(order *streampb.Order) error {
		if count == 0 {
			first = order.GetId()
		}
		last = order.GetId()
		count++
		return nil
	})
	if count == 0 {
		fmt.Println("0 - -")
	} else {
		fmt.Println(count, first, last)
	}
	return err
}

// record is an order as the dump shows it. Unlike protojson it has every field, the id 0 included, and one fixed form.
type record struct {
	Order fields `json:"order"`
}

type fields struct {
	ID      int32  `json:"id"`
	OrderSn string `json:"orderSn"`
	Date    string `json:"date"`
}

// runDump prints the orders that came, also those of an export that fails on the way.
func runDump(args []string) error {
	flags := newFlags("dump")
	export := exportFlags(flags)
	parse(flags, args)

	out := bufio.NewWriterSize(os.Stdout, 64<<10)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	err := export.read(func(order *streampb.Order) error {
		return lines.Encode(record{fields{order.GetId(), order.GetOrderSn(), order.GetDate()}})
	})
	return errors.Join(err, out.Flush())
}
