package portal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

const (
	defaultDownloadMiB = 64
	maxDownloadMiB     = 8 << 10
)

// downloadLarge serves ?size=N MiB of the pattern, ranges included.
func (p *Portal) downloadLarge(w http.ResponseWriter, r *http.Request) error {
	size := int64(defaultDownloadMiB)
	if asked := r.URL.Query().Get("size"); asked != "" {
		var err error
		if size, err = strconv.ParseInt(asked, 10, 64); err != nil || size < 1 || size > maxDownloadMiB {
			return &httpError{status: http.StatusBadRequest, message: "The size is a number of MiB from 1 to 8192.", cause: err}
		}
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=sample-%d-MiB.bin", size))
	h.Set("Etag", fmt.Sprintf(`"pattern-%d"`, size))
	http.ServeContent(w, r, "", time.Time{}, NewPattern(size<<20))
	return nil
}

// Pattern is a file of a given size that takes no space: every byte follows from
// its position, so that whoever receives it can prove that nothing was lost,
// doubled or moved.
type Pattern struct {
	size, offset int64
}

// NewPattern returns the pattern of that many bytes.
func NewPattern(size int64) *Pattern { return &Pattern{size: size} }

// Read continues the pattern from the current position.
func (f *Pattern) Read(b []byte) (int, error) {
	if f.offset >= f.size {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), f.size-f.offset)]
	var word [8]byte
	for n := 0; n < len(b); {
		binary.LittleEndian.PutUint64(word[:], mix(uint64(f.offset)/8)) //nolint:gosec // Seek keeps it from being negative
		copied := copy(b[n:], word[f.offset%8:])
		n += copied
		f.offset += int64(copied)
	}
	return len(b), nil
}

// Seek moves the current position.
func (f *Pattern) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.offset
	case io.SeekEnd:
		offset += f.size
	}
	if offset < 0 {
		return 0, errors.New("seek to before the start of the pattern")
	}
	f.offset = offset
	return offset, nil
}

// mix is the finaliser of SplitMix64: neighbours in, nothing alike out.
func mix(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}
