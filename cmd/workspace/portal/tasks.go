package portal

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"
)

const (
	maxTasks      = 100
	maxTitleRunes = 200
)

// task is one thing that somebody has to do.
type task struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	// Due is a calendar day, YYYY-MM-DD, or absent.
	Due string `json:"due,omitzero"`
}

// tasks holds everybody's list.
type tasks struct {
	clock  func() time.Time
	mu     sync.Mutex
	last   int
	byUser map[string][]task
}

func newTasks(clock func() time.Time) *tasks {
	return &tasks{clock: clock, byUser: map[string][]task{}}
}

// list returns the user's tasks; whoever asks first finds three to begin with.
func (t *tasks) list(user string) []task {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begin(user)
	return slices.Clone(t.byUser[user])
}

func (t *tasks) begin(user string) {
	if _, begun := t.byUser[user]; begun {
		return
	}
	today := t.clock()
	for days, title := range []string{
		"Review the travel policy", "Confirm your holiday dates", "Book your workstation check",
	} {
		due := today.AddDate(0, 0, 2+4*days)
		for due.Weekday() == time.Saturday || due.Weekday() == time.Sunday {
			due = due.AddDate(0, 0, 1)
		}
		t.last++
		t.byUser[user] = append(t.byUser[user], task{ID: taskID(t.last), Title: title, Due: due.Format(time.DateOnly)})
	}
}

// add appends a task; ok is false where the list is full.
func (t *tasks) add(user, title string) (added task, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begin(user)
	if len(t.byUser[user]) >= maxTasks {
		return task{}, false
	}
	t.last++
	added = task{ID: taskID(t.last), Title: title}
	t.byUser[user] = append(t.byUser[user], added)
	return added, true
}

// remove deletes one of the user's own tasks and reports whether there was one.
func (t *tasks) remove(user, id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begin(user)
	left := slices.DeleteFunc(slices.Clone(t.byUser[user]), func(one task) bool { return one.ID == id })
	removed := len(left) < len(t.byUser[user])
	t.byUser[user] = left
	return removed
}

func taskID(n int) string { return "t-" + strconv.Itoa(n) }

func (p *Portal) listTasks(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]any{"tasks": p.tasks.list(callerOf(r).user.ID)})
}

func (p *Portal) addTask(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Title string `json:"title"`
	}
	if err := readJSON(w, r, &in); err != nil {
		return err
	}
	title := strings.TrimSpace(in.Title)
	if title == "" || utf8.RuneCountInString(title) > maxTitleRunes {
		return &httpError{status: http.StatusUnprocessableEntity, message: "A task needs a title of at most 200 characters."}
	}
	added, ok := p.tasks.add(callerOf(r).user.ID, title)
	if !ok {
		return &httpError{status: http.StatusConflict, message: "Your list is full. Finish a task first."}
	}
	return writeJSON(w, http.StatusCreated, added)
}

func (p *Portal) removeTask(w http.ResponseWriter, r *http.Request) error {
	if !p.tasks.remove(callerOf(r).user.ID, chi.URLParam(r, "id")) {
		return &httpError{status: http.StatusNotFound, message: "There is no such task."}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
