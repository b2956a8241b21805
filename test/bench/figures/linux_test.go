package figures_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/test/bench/figures"
)

// stat is a line of /proc/<pid>/stat as Linux 6 writes it.
func stat(name string) string {
	return "42 (" + name + ") S 7 42 42 0 -1 4194304 1000 2000 3 4 150 50 30 20 20 0 9 0 123456 1000000 500 18446744073709551615 1 1 0 0 0 0\n"
}

func TestParseStatSumsUserAndKernelTime(t *testing.T) {
	t.Parallel()
	want := figures.Process{PID: 42, Parent: 7, Own: 200, Reaped: 50}
	for _, name := range []string{"sidecar", "a name", "half) R 9 (", ""} {
		got, err := figures.ParseStat(stat(name))
		if err != nil {
			t.Fatalf("of %q: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("of %q (-want +got):\n%s", name, diff)
		}
	}
}

func TestParseStatRefusesWhatItIsNot(t *testing.T) {
	t.Parallel()
	whole := stat("sidecar")
	for name, line := range map[string]string{
		"nothing": "", "no name": "42 sidecar S 7", "closed before it opens": "42 )( S 7", "cut short": whole[:60],
		"no number": strings.Replace(whole, "150", "x", 1), "no id": strings.Replace(whole, "42 (", "x (", 1),
		"no parent": strings.Replace(whole, "S 7", "S x", 1),
	} {
		if got, err := figures.ParseStat(line); err == nil {
			t.Errorf("%s: %+v, want an error", name, got)
		}
	}
}

// machine has an init, a kernel thread, somebody's shell with a compiler, and the
// benchmark (10) with a proxy (11) and its worker (12).
func machine(adjust ...figures.Process) figures.Snapshot {
	s := make(figures.Snapshot)
	for _, p := range append([]figures.Process{
		{PID: 1},
		{PID: 2},
		{PID: 3, Parent: 2, Own: 100},
		{PID: 5, Parent: 1, Own: 10, Reaped: 40},
		{PID: 6, Parent: 5, Own: 300},
		{PID: 10, Parent: 5, Own: 50},
		{PID: 11, Parent: 10, Own: 20},
		{PID: 12, Parent: 11, Own: 70},
	}, adjust...) {
		s[p.PID] = p
	}
	return s
}

func without(s figures.Snapshot, pid int) figures.Snapshot {
	delete(s, pid)
	return s
}

func TestTreeAndItsCPU(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(map[int]bool{10: true, 11: true, 12: true}, machine().Tree(10)); diff != "" {
		t.Errorf("Tree (-want +got):\n%s", diff)
	}
	if got := machine().CPU(11); got != 90 {
		t.Errorf("CPU of the proxy and its worker = %d, want 90", got)
	}
}

func TestForeignIsWhatOthersUsed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		after figures.Snapshot
		want  int64
	}{
		{"nobody did anything", machine(), 0},
		{"we did", machine(figures.Process{PID: 12, Parent: 11, Own: 900}, figures.Process{PID: 10, Parent: 5, Own: 60, Reaped: 500}), 0},
		{"the kernel did", machine(figures.Process{PID: 3, Parent: 2, Own: 900}), 0},
		{"a compiler did", machine(figures.Process{PID: 6, Parent: 5, Own: 325}), 25},
		{"somebody began", machine(figures.Process{PID: 20, Parent: 1, Own: 30}), 30},
		{"the compiler has ended", without(machine(figures.Process{PID: 5, Parent: 1, Own: 10, Reaped: 40 + 310}), 6), 10},
		{"somebody came and went", machine(figures.Process{PID: 5, Parent: 1, Own: 10, Reaped: 55}), 15},
		{"somebody ended for whom nobody waited", without(machine(), 6), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := figures.Foreign(machine(), tt.after, 10); got != tt.want {
				t.Errorf("Foreign = %d, want %d", got, tt.want)
			}
		})
	}
}

func TestStealIsTheEighthOfTheFirstLine(t *testing.T) {
	t.Parallel()
	got, err := figures.Steal("cpu  1 2 3 4 5 6 7 88 9 10\ncpu0 1 2 3 4 5 6 7 99 9 10\n")
	if err != nil || got != 88 {
		t.Errorf("Steal = %d, %v, want 88", got, err)
	}
	for _, text := range []string{"", "cpu 1 2 3", "intr 1 2 3 4 5 6 7 8 9", "cpu 1 2 3 4 5 6 7 x"} {
		if got, err := figures.Steal(text); err == nil {
			t.Errorf("of %q: %d, want an error", text, got)
		}
	}
}

func TestKiBFindsTheWholeName(t *testing.T) {
	t.Parallel()
	const status = "Name:\tsidecar\nVmRSSx:\t1 kB\nVmHWM:\t   20480 kB\nVmRSS:\t   12345 kB\nRss:  77 kB\n"
	for name, want := range map[string]int64{"VmRSS": 12345, "VmHWM": 20480, "Rss": 77} {
		if got, err := figures.KiB(status, name); err != nil || got != want {
			t.Errorf("%s = %d, %v, want %d", name, got, err, want)
		}
	}
	for _, name := range []string{"VmSwap", "Name"} {
		if got, err := figures.KiB(status, name); err == nil {
			t.Errorf("%s = %d, want an error", name, got)
		}
	}
}

func TestCPUsOfAList(t *testing.T) {
	t.Parallel()
	for list, want := range map[string][]int{"0\n": {0}, "0-1": {0, 1}, "0-2,5,8-9\n": {0, 1, 2, 5, 8, 9}} {
		got, err := figures.CPUs(list)
		if err != nil {
			t.Fatalf("of %q: %v", list, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("of %q (-want +got):\n%s", list, diff)
		}
	}
	for _, list := range []string{"", "x", "0-x"} {
		if got, err := figures.CPUs(list); err == nil {
			t.Errorf("of %q: %v, want an error", list, got)
		}
	}
}

func TestCommandsCountsAllButTheQuestion(t *testing.T) {
	t.Parallel()
	const info = "# Commandstats\r\n" +
		"cmdstat_get:calls=12,usec=34,usec_per_call=2.83,rejected_calls=0,failed_calls=0\r\n" +
		"cmdstat_config|get:calls=3,usec=9,usec_per_call=3.00,rejected_calls=0,failed_calls=0\r\n" +
		"cmdstat_info:calls=100,usec=9000,usec_per_call=90.00,rejected_calls=0,failed_calls=0\r\n"
	if got, err := figures.Commands(info); err != nil || got != 15 {
		t.Errorf("Commands = %d, %v, want 15", got, err)
	}
	if got, err := figures.Commands("cmdstat_get:calls=x,usec=1\r\n"); err == nil {
		t.Errorf("Commands = %d, want an error", got)
	}
}
