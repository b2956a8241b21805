package figures_test

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sallyport/sallyport/test/bench/figures"
)

func TestPercentileIsTheNearestRank(t *testing.T) {
	t.Parallel()
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = i + 1
	}
	for _, tt := range []struct {
		name   string
		sorted []int
		q      float64
		want   int
	}{
		{"of none", nil, 0.5, 0},
		{"of one", []int{7}, 0.99, 7},
		{"the middle of three", []int{1, 2, 9}, 0.5, 2},
		{"the lower middle of four", []int{1, 2, 3, 4}, 0.5, 2},
		{"p50 of a hundred", hundred, 0.5, 50},
		{"p99 of a hundred", hundred, 0.99, 99},
		{"the least", hundred, 0, 1},
		{"the most", hundred, 1, 100},
		{"beyond a rank goes up", []int{1, 2, 3}, 0.67, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := figures.Percentile(tt.sorted, tt.q); got != tt.want {
				t.Errorf("Percentile = %d, want %d", got, tt.want)
			}
		})
	}
}

func TestSummariseFindsMedianAndSpread(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		values []float64
		want   figures.Summary
	}{
		{"an odd number, unsorted", []float64{9, 1, 4}, figures.Summary{Median: 4, Min: 1, Max: 9}},
		{"an even number", []float64{8, 2, 4, 6}, figures.Summary{Median: 5, Min: 2, Max: 8}},
		{"one", []float64{3}, figures.Summary{Median: 3, Min: 3, Max: 3}},
		{"none", nil, figures.Summary{Median: math.NaN(), Min: math.NaN(), Max: math.NaN()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, figures.Summarise(tt.values), cmpopts.EquateNaNs()); diff != "" {
				t.Errorf("Summarise (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSummariseLeavesTheRoundsInTheirOrder(t *testing.T) {
	t.Parallel()
	values := []float64{9, 1, 4}
	figures.Summarise(values)
	if diff := cmp.Diff([]float64{9, 1, 4}, values); diff != "" {
		t.Errorf("the values that ratios are made of (-want +got):\n%s", diff)
	}
}

// The machine is half as fast in the second round; the ratio is the same.
func TestRatiosAndDifferencesArePaired(t *testing.T) {
	t.Parallel()
	of, to := []float64{100, 50, 90}, []float64{200, 100, 90}
	if diff := cmp.Diff([]float64{0.5, 0.5, 1}, figures.Ratios(of, to)); diff != "" {
		t.Errorf("Ratios (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]float64{-100, -50, 0}, figures.Differences(of, to)); diff != "" {
		t.Errorf("Differences (-want +got):\n%s", diff)
	}
	if got := figures.Ratios(of, nil); len(got) != 0 {
		t.Errorf("ratios to what was not measured: %v", got)
	}
}

func TestOrderRotatesAndNamesEachOnce(t *testing.T) {
	t.Parallel()
	want := [][]int{{0, 1, 2}, {1, 2, 0}, {2, 0, 1}, {0, 1, 2}}
	for round, order := range want {
		if diff := cmp.Diff(order, figures.Order(3, round)); diff != "" {
			t.Errorf("round %d (-want +got):\n%s", round, diff)
		}
	}
}

func TestGatherRepeatsWhatWasDisturbed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name            string
		rounds, repeats int
		disturbed       map[int]bool
		want            figures.Gathered[int]
	}{
		{"a quiet machine", 3, 3, nil, figures.Gathered[int]{Kept: []int{0, 1, 2}}},
		{"one disturbed round", 3, 3, map[int]bool{1: true}, figures.Gathered[int]{Kept: []int{0, 2, 3}, Thrown: 1}},
		{
			"more than may be repeated", 2, 1,
			map[int]bool{0: true, 1: true, 2: true},
			figures.Gathered[int]{Kept: []int{1, 2}, Thrown: 1, Disturbed: 2},
		},
		{"none may be repeated", 1, 0, map[int]bool{0: true}, figures.Gathered[int]{Kept: []int{0}, Disturbed: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := figures.Gather(tt.rounds, tt.repeats, func(round int) (int, bool, error) {
				return round, tt.disturbed[round], nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Gather (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGatherEndsWithAFailure(t *testing.T) {
	t.Parallel()
	failure := errors.New("nobody answers")
	_, err := figures.Gather(3, 3, func(int) (int, bool, error) { return 0, true, failure })
	if !errors.Is(err, failure) {
		t.Errorf("Gather: %v, want the round's failure", err)
	}
}

func TestMarkdownKeepsOrderAndMarksWhatIsMissing(t *testing.T) {
	t.Parallel()
	table := figures.NewTable("a", "b")
	table.Set("second", "b", "2")
	table.Set("first", "a", "1")
	table.Set("second", "a", "")
	want := "| what | a | b |\n| --- | --- | --- |\n| second | – | 2 |\n| first | 1 | – |\n"
	if diff := cmp.Diff(want, table.Markdown()); diff != "" {
		t.Errorf("Markdown (-want +got):\n%s", diff)
	}
}

func TestShowHasASpreadWhereThereIsOne(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		give figures.Summary
		want string
	}{
		{"a spread", figures.Summary{Median: 2, Min: 1, Max: 4}, "2 (1–4)"},
		{"a spread that is not seen", figures.Summary{Median: 2, Min: 1.9, Max: 2.1}, "2"},
		{"no number", figures.Summarise(nil), ""},
		{"a division by nothing", figures.Summarise([]float64{math.Inf(1)}), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := figures.Show("%.0f", tt.give); got != tt.want {
				t.Errorf("Show = %q, want %q", got, tt.want)
			}
		})
	}
}
