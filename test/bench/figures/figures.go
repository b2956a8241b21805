// Package figures is the arithmetic of a benchmark: medians and percentiles, the order
// in which contenders take turns, which rounds count, and what Linux and Redis tell of
// the work that was done.
//
// It imports the standard library only, reads no clock and no file, and must never
// round: that is for whoever prints.
package figures

import (
	"cmp"
	"math"
	"slices"
)

// Percentile returns the smallest value that the share q of all values does not exceed
// (nearest rank). The values are in ascending order; of none it is the zero value.
func Percentile[T cmp.Ordered](sorted []T, q float64) T {
	if len(sorted) == 0 {
		var none T
		return none
	}
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Summary is what repeated measurements of one thing say.
type Summary struct{ Median, Min, Max float64 }

// Summarise returns median and spread; not a number where there is no value.
func Summarise(values []float64) Summary {
	if len(values) == 0 {
		return Summary{math.NaN(), math.NaN(), math.NaN()}
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	median := sorted[middle]
	if len(sorted)%2 == 0 {
		median = (sorted[middle-1] + sorted[middle]) / 2
	}
	return Summary{Median: median, Min: sorted[0], Max: sorted[len(sorted)-1]}
}

// Ratios divides pairwise, round by round: what drifts from round to round is in both
// sides of each quotient, and so in none.
func Ratios(of, to []float64) []float64 {
	ratios := make([]float64, min(len(of), len(to)))
	for i := range ratios {
		ratios[i] = of[i] / to[i]
	}
	return ratios
}

// Differences subtracts pairwise, for the same reason.
func Differences(of, from []float64) []float64 {
	differences := make([]float64, min(len(of), len(from)))
	for i := range differences {
		differences[i] = of[i] - from[i]
	}
	return differences
}

// Order is the order in which n contenders take their turn in a round. It rotates, so
// that none always follows the same state of the machine.
func Order(n, round int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = (i + round) % n
	}
	return order
}

// Gathered are the rounds that count.
type Gathered[T any] struct {
	Kept []T
	// Thrown away, since others used the machine, and repeated.
	Thrown int
	// Disturbed rounds that were kept: the bound on repetitions was reached.
	Disturbed int
}

// Gather runs rounds until enough of them were undisturbed. It repeats a disturbed one at
// most `repeats` times in all, and keeps what is disturbed after that.
func Gather[T any](rounds, repeats int, run func(round int) (result T, disturbed bool, err error)) (Gathered[T], error) {
	var g Gathered[T]
	for round := 0; len(g.Kept) < rounds; round++ {
		result, disturbed, err := run(round)
		if err != nil {
			return g, err
		}
		if disturbed && g.Thrown < repeats {
			g.Thrown++
			continue
		}
		if disturbed {
			g.Disturbed++
		}
		g.Kept = append(g.Kept, result)
	}
	return g, nil
}
