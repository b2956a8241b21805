// Command prove shows that the tests notice when a guard of the product is gone: it
// removes one after the other, as the tables in guards/ say, and demands that the test
// of each turns red. docs/security-status.md says what rests on which guard.
//
//	go run ./test/prove [-run PATTERN] [-from ID] [-list] [-page] [-v]
//
// It changes no file of the tree (go's -overlay does the removing) and can be stopped at
// any time; -from goes on where it was. It imports nothing of the product, and must never
// count a test as red that did not compile, did not run, hung or crashed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// errUnproven ends the program with 1 where a guard's removal went unnoticed.
var errUnproven = errors.New("not every guard is proven")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "prove: %v\n", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("prove", flag.ContinueOnError)
	pattern := flags.String("run", "", "only the guards whose id, or one of whose rows, this regular expression matches as a whole")
	from := flags.String("from", "", "begin at this guard")
	list := flags.Bool("list", false, "list the guards and run nothing")
	page := flags.Bool("page", false, "write the guards into docs/security-status.md and run nothing")
	verbose := flags.Bool("v", false, "say what each test complained of")
	if err := flags.Parse(args); err != nil {
		return err
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	all, err := load()
	if err != nil {
		return err
	}
	guards, err := chosen(all, *pattern, *from)
	switch {
	case err != nil:
		return err
	case *page:
		return writePage(root, all)
	case *list:
		return show(out, guards)
	case len(guards) == 0:
		return errors.New("-run names no guard")
	}
	if found := faults(root, guards); len(found) > 0 {
		return fmt.Errorf("the table is out of date:\n%s", strings.Join(found, "\n"))
	}
	return prove(ctx, out, root, guards, *verbose)
}

// moduleRoot is the nearest folder upwards that holds a go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod here or above")
		}
		dir = up
	}
}

func show(out io.Writer, guards []Guard) error {
	for _, g := range guards {
		_, err := fmt.Fprintf(out, "%-28s %-16s %s: %s\n%45s %s.%s\n",
			g.ID, strings.Join(g.Rows, " "), g.File, g.Without, "", g.Package, g.Test)
		if err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "%d guards\n", len(guards))
	return err
}

// prove removes one guard after the other.
func prove(ctx context.Context, out io.Writer, root string, guards []Guard, verbose bool) error {
	dir, err := os.MkdirTemp("", "prove")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	begin := time.Now()
	before := map[string]*outcome{}
	var unnoticed, faulty []string
	for i, g := range guards {
		at := time.Now()
		if before[g.Package] == nil {
			fmt.Fprintf(out, "==> %s as it is\n", g.Package)
			if before[g.Package], err = unchanged(ctx, root, g.Package, guards); err != nil {
				return stopped(ctx, out, g, err)
			}
		}
		v, why := before[g.Package].of(g.Test)
		if v == green {
			if v, why, err = without(ctx, root, dir, g); err != nil {
				return stopped(ctx, out, g, err)
			}
		} else {
			v, why = broken, "it is not green with the guard in place: "+why
		}
		switch v {
		case green:
			unnoticed = append(unnoticed, fmt.Sprintf("%s (%s): %s, and %s.%s stayed green",
				g.ID, strings.Join(g.Rows, " "), g.Without, g.Package, g.Test))
		case broken:
			faulty = append(faulty, g.ID+": "+why)
		case red:
			if !verbose {
				why = ""
			}
		}
		fmt.Fprintf(out, "[%*d/%d] %-6s %-28s %5.1fs  %s.%s\n", digits(len(guards)), i+1, len(guards), v, g.ID,
			time.Since(at).Seconds(), g.Package, g.Test)
		if why != "" && (verbose || v == broken) {
			fmt.Fprintf(out, "        %s\n", why)
		}
	}
	return conclude(out, len(guards), unnoticed, faulty, time.Since(begin))
}

func digits(n int) int { return len(fmt.Sprint(n)) }

func stopped(ctx context.Context, out io.Writer, g Guard, err error) error {
	if ctx.Err() != nil {
		fmt.Fprintf(out, "stopped; to go on: -from %s\n", g.ID)
		return context.Cause(ctx)
	}
	return err
}

func conclude(out io.Writer, n int, unnoticed, faulty []string, took time.Duration) error {
	for _, part := range []struct {
		heading string
		lines   []string
	}{{"Their removal nothing noticed", unnoticed}, {"Broken entries", faulty}} {
		if len(part.lines) > 0 {
			fmt.Fprintf(out, "\n%s:\n  %s\n", part.heading, strings.Join(part.lines, "\n  "))
		}
	}
	fmt.Fprintf(out, "\n%d guards: %d noticed, %d not noticed, %d broken; %s\n",
		n, n-len(unnoticed)-len(faulty), len(unnoticed), len(faulty), took.Round(time.Second))
	if len(unnoticed)+len(faulty) > 0 {
		return errUnproven
	}
	return nil
}
