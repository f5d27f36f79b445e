package main

import (
	"flag"
	"fmt"
	"math"
	"os"
	"strconv"
	"time"
)

// newFlags begins the flags of a command. A mistake in them ends the program with exit code 2.
func newFlags(command string) *flag.FlagSet {
	return flag.NewFlagSet(command, flag.ExitOnError)
}

// parse reads args, which must be flags only.
func parse(flags *flag.FlagSet, args []string) {
	_ = flags.Parse(args) // ExitOnError: never returns an error
	if flags.NArg() > 0 {
		reject(flags, "unexpected argument %q", flags.Arg(0))
	}
}

// reject ends the program because its command line is wrong.
func reject(flags *flag.FlagSet, format string, args ...any) {
	fmt.Fprintf(flags.Output(), "%s: %s\n", flags.Name(), fmt.Sprintf(format, args...))
	flags.Usage()
	os.Exit(2)
}

// timeoutFlag adds -timeout, which every command has so that nothing hangs for ever.
func timeoutFlag(flags *flag.FlagSet, limit time.Duration, what string) *time.Duration {
	return flags.Duration("timeout", limit, what)
}

// countFlag adds a flag for a number of things, which has to fit the int32 that ids and numbers have on the wire.
func countFlag(flags *flag.FlagSet, name string, value int32, what string) *int32 {
	count := count(value)
	flags.Var(&count, name, what)
	return (*int32)(&count)
}

// count is a flag.Value: an int32 that is not negative.
type count int32

func (c *count) String() string {
	return strconv.FormatInt(int64(*c), 10)
}

func (c *count) Set(text string) error {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return fmt.Errorf("want a whole number from 0 to %d", math.MaxInt32)
	}
	*c = count(n)
	return nil
}
