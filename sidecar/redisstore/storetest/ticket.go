package storetest

import (
	"errors"
	"time"

	"github.com/sallyport/sallyport/sidecar/mfa"
)

func ticket(f *fixture) {
	_, err := f.Store.Ticket(f.ctx(), user)
	f.want(mfa.ErrTicket, err, "load what nobody issued")
	f.must(f.Store.SaveTicket(f.ctx(), user, []byte("first"), time.Minute))
	f.must(f.Store.SaveTicket(f.ctx(), user, []byte("second"), time.Minute))
	kept, err := f.Store.Ticket(f.ctx(), user)
	f.must(err)
	f.same("second", string(kept), "ticket")
	_, err = f.Store.Ticket(f.ctx(), other)
	f.want(mfa.ErrTicket, err, "load another user's")
	s, err := f.Store.Load(f.ctx(), user, "")
	f.must(err)
	f.same(mfa.Snapshot{}, s, "snapshot of a user with a ticket")
}

func ticketExpires(f *fixture) {
	f.must(f.Store.SaveTicket(f.ctx(), user, []byte("ticket"), 50*time.Millisecond))
	f.must(f.Store.SavePending(f.ctx(), user, browser, []byte("pending"), time.Minute))
	f.eventually("the ticket expires", func() bool {
		_, err := f.Store.Ticket(f.ctx(), user)
		return err != nil
	})
	_, err := f.Store.Ticket(f.ctx(), user)
	f.want(mfa.ErrTicket, err, "load what expired")
	err = f.Store.Enrol(f.ctx(), user, browser, []byte("pending"), []byte("ticket"), record("g1"), mfa.Grant{})
	f.want(mfa.ErrTicket, err, "enrol by what expired")
}

func enrollingByTicket(f *fixture) {
	pending := func() { f.must(f.Store.SavePending(f.ctx(), user, browser, []byte("pending"), time.Minute)) }
	enrol := func(ticket string) error {
		return f.Store.Enrol(f.ctx(), user, browser, []byte("pending"), []byte(ticket), record("g1"), mfa.Grant{})
	}
	pending()
	f.want(mfa.ErrTicket, enrol("ticket"), "enrol by a ticket that nobody issued")
	f.must(f.Store.SaveTicket(f.ctx(), other, []byte("ticket"), time.Minute))
	f.want(mfa.ErrTicket, enrol("ticket"), "enrol by another user's")
	f.must(f.Store.SaveTicket(f.ctx(), user, []byte("newer"), time.Minute))
	f.want(mfa.ErrTicket, enrol("ticket"), "enrol by a replaced one")
	s, err := f.Store.Load(f.ctx(), user, "")
	f.must(err)
	f.same(mfa.Snapshot{}, s, "snapshot of who has not enrolled")

	f.must(enrol("newer"))
	f.load()
	_, err = f.Store.Ticket(f.ctx(), user)
	f.want(mfa.ErrTicket, err, "load what was spent")
	f.must(f.Store.Reset(f.ctx(), user))
	pending()
	f.want(mfa.ErrTicket, enrol("newer"), "enrol by what was spent")
	kept, err := f.Store.Ticket(f.ctx(), other)
	f.must(err)
	f.same("ticket", string(kept), "another user's ticket")
}

func ticketInParallel(f *fixture) {
	const n = 50
	f.must(f.Store.SaveTicket(f.ctx(), user, []byte("ticket"), time.Minute))
	for i := range n {
		f.must(f.Store.SavePending(f.ctx(), user, name("browser", i), []byte("pending"), time.Minute))
	}
	// Each enrolment is ended at once, so that only the ticket stands in the way of the next.
	wins := f.parallel(n, mfa.ErrTicket, func(i int) error {
		for {
			err := f.Store.Enrol(f.ctx(), user, name("browser", i), []byte("pending"), []byte("ticket"), record(name("g", i)), mfa.Grant{})
			switch {
			case err == nil:
				return f.Store.Delete(f.ctx(), user, name("g", i))
			case !errors.Is(err, mfa.ErrAlreadyEnabled):
				return err
			}
		}
	})
	f.same(1, wins, "enrolments by one ticket")
}
