package figures

import (
	"fmt"
	"strconv"
	"strings"
)

// Process is what /proc/<pid>/stat says of a process.
type Process struct {
	PID, Parent int
	// Own is the CPU time of the process, Reaped that of its children that have ended
	// and were waited for; both in clock ticks.
	Own, Reaped int64
}

// Fields of /proc/<pid>/stat after the name, counted from the state: proc(5).
const (
	statParent   = 1
	statUserTime = 11 // then the kernel's, and both of the reaped children
	statFields   = 15
)

// ParseStat reads /proc/<pid>/stat. The name is in parentheses and may hold any byte,
// parentheses and spaces too.
func ParseStat(line string) (Process, error) {
	opening, closing := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if opening < 0 || closing < opening {
		return Process{}, fmt.Errorf("read a process's stat: no name in %q", line)
	}
	fields := strings.Fields(line[closing+1:])
	if len(fields) < statFields {
		return Process{}, fmt.Errorf("read a process's stat: %d fields in %q", len(fields), line)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line[:opening]))
	if err != nil {
		return Process{}, fmt.Errorf("read a process's stat: %w", err)
	}
	parent, err := strconv.Atoi(fields[statParent])
	if err != nil {
		return Process{}, fmt.Errorf("read a process's stat: %w", err)
	}
	var times [4]int64
	for i := range times {
		if times[i], err = strconv.ParseInt(fields[statUserTime+i], 10, 64); err != nil {
			return Process{}, fmt.Errorf("read a process's stat: %w", err)
		}
	}
	return Process{PID: pid, Parent: parent, Own: times[0] + times[1], Reaped: times[2] + times[3]}, nil
}

// Snapshot is every process of the machine, by its id.
type Snapshot map[int]Process

// Tree returns the ids of a process and of all that descend from it.
func (s Snapshot) Tree(root int) map[int]bool {
	tree := map[int]bool{root: true}
	for grown := true; grown; {
		grown = false
		for pid, p := range s {
			if tree[p.Parent] && !tree[pid] {
				tree[pid], grown = true, true
			}
		}
	}
	return tree
}

// CPU is what the process and all that descend from it have used, in clock ticks,
// without children that have ended.
func (s Snapshot) CPU(root int) int64 {
	var sum int64
	for pid := range s.Tree(root) {
		sum += s[pid].Own
	}
	return sum
}

// kernelThreads is the parent of the kernel's own threads. They work for whoever
// causes it, so that their time is nobody else's.
const kernelThreads = 2

// Foreign is what processes used between two snapshots that are not of root's tree, in
// clock ticks. What a process used before it ended is by then with whoever waited for
// it, so that the sum misses none that came and went in between.
func Foreign(before, after Snapshot, root int) int64 {
	return max(0, after.foreign(root)-before.foreign(root))
}

func (s Snapshot) foreign(root int) int64 {
	ours := s.Tree(root)
	var sum int64
	for pid, p := range s {
		if !ours[pid] && pid != kernelThreads && p.Parent != kernelThreads {
			sum += p.Own + p.Reaped
		}
	}
	return sum
}

// Steal is what the hypervisor gave to others, in clock ticks, of /proc/stat.
func Steal(stat string) (int64, error) {
	const steal = 8 // user nice system idle iowait irq softirq steal
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) <= steal || fields[0] != "cpu" {
		return 0, fmt.Errorf("read the machine's stat: %q", line)
	}
	ticks, err := strconv.ParseInt(fields[steal], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the machine's stat: %w", err)
	}
	return ticks, nil
}

// KiB is the value of a line such as "VmRSS:   1234 kB", of /proc/<pid>/status and its
// like.
func KiB(text, name string) (int64, error) {
	for line := range strings.Lines(text) {
		value, ok := strings.CutPrefix(line, name+":")
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", name, err)
		}
		return kib, nil
	}
	return 0, fmt.Errorf("no line %s", name)
}

// CPUs reads a list such as "0-3,8", of Cpus_allowed_list in /proc/<pid>/status.
func CPUs(list string) ([]int, error) {
	var cpus []int
	for part := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err := strconv.Atoi(first)
		if err != nil {
			return nil, fmt.Errorf("read a list of CPUs: %w", err)
		}
		to, err := strconv.Atoi(last)
		if err != nil {
			return nil, fmt.Errorf("read a list of CPUs: %w", err)
		}
		for cpu := from; cpu <= to; cpu++ {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// Commands counts the calls that Redis' INFO commandstats tells of, without INFO itself,
// by which one asks. A command that a script calls is a call of its own.
func Commands(info string) (int64, error) {
	var sum int64
	for line := range strings.Lines(info) {
		name, values, ok := strings.Cut(strings.TrimSpace(line), ":calls=")
		if !ok || name == "cmdstat_info" {
			continue
		}
		calls, _, _ := strings.Cut(values, ",")
		n, err := strconv.ParseInt(calls, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read Redis' command statistics: %w", err)
		}
		sum += n
	}
	return sum, nil
}
