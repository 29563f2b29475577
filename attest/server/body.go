package server

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
)

const (
	// usualBody is how much memory the body of every request may take.
	usualBody = 128 << 10
	// unusualBodies is how much the bodies of all requests together may take beyond that.
	unusualBodies = 64 << 20
	// firstBody is what is there for a body whose size nobody has said.
	firstBody = 4 << 10
)

// bodies has the memory for what bodies take beyond usualBody.
type bodies struct{ left atomic.Int64 }

func newBodies(size int64) *bodies {
	b := new(bodies)
	b.left.Store(size)
	return b
}

func (b *bodies) take(n int64) bool {
	if b.left.Add(-n) < 0 {
		b.left.Add(n)
		return false
	}
	return true
}

// read reads the body of a request. Memory for it is taken as it comes, not as it is promised; release gives it back,
// when nothing of the body is needed any more. The error is a *refusal; what names the request in it.
func (b *bodies) read(w http.ResponseWriter, r *http.Request, most int, what string) (body []byte, release func(), err error) {
	large := &refusal{status: http.StatusRequestEntityTooLarge, code: CodeTooLarge, message: "the " + what + " is too large"}
	if r.ContentLength > int64(most) {
		return nil, nil, large
	}
	var taken int64
	giveBack := func() { b.left.Add(taken) }
	defer func() {
		if err != nil {
			giveBack()
		}
	}()
	size := firstBody
	if r.ContentLength >= 0 {
		size = int(min(r.ContentLength+1, usualBody)) // one more for the end
	}
	body = make([]byte, 0, size)
	from := http.MaxBytesReader(w, r.Body, int64(most))
	for {
		if len(body) == cap(body) {
			size := min(2*cap(body), most+1)
			more := int64(max(size, usualBody) - max(cap(body), usualBody))
			if !b.take(more) {
				w.Header().Set("Connection", "close") // its rest stays unread
				return nil, nil, &refusal{status: http.StatusServiceUnavailable, code: CodeBusy, message: "the server is busy", detail: "there is no memory left for large requests", after: slotTimeout}
			}
			taken += more
			body = append(make([]byte, 0, size), body...)
		}
		n, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			return body, giveBack, nil
		} else if _, is := errors.AsType[*http.MaxBytesError](err); is {
			return nil, nil, large
		} else if err != nil {
			return nil, nil, &refusal{status: http.StatusBadRequest, code: CodeIncomplete, message: "the " + what + " is incomplete", detail: err.Error()}
		}
	}
}
